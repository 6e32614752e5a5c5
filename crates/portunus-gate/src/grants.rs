//! The grants that are open, as far as the gate knows: for sessions, for "extended", for the word at the end. The
//! kernel closes by its own timer; what is kept here never runs out before that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use portunus_model::{ClientName, Mono, Now, Opening, PortSpec, Reason, Unix, Way};

/// A grant that the grantor found still open when it was started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredGrant {
    /// Whose it is.
    pub client: ClientName,
    /// For which address; canonical.
    pub address: IpAddr,
    /// What is open.
    pub door: Door,
    /// Until when.
    pub until: Mono,
}

/// What is open: ports, to where, by which way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Door {
    /// The ports; none for [`Way::All`].
    pub ports: Box<[PortSpec]>,
    /// Only for packets to this address of ours.
    pub destination: Option<IpAddr>,
    /// By which way.
    pub way: Way,
}

/// A grant that is open now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session<'a> {
    /// Whose it is.
    pub client: &'a ClientName,
    /// For which address.
    pub address: IpAddr,
    /// What is open.
    pub door: &'a Door,
    /// Since when (for a restored one: since it was restored).
    pub opened: Unix,
    /// Until when.
    pub until: Mono,
    /// How much longer.
    pub left: Duration,
}

/// Where the client asks for ports itself (fwknop) each door is a grant of its own. Where policy names the ports (openme)
/// there is one grant for a client and an address, whatever the policy was when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    open: HashMap<(ClientName, IpAddr), Vec<Grant>>,
    /// By deadline and the grant's number: whose it is, and for which address.
    deadlines: BTreeMap<(Mono, u64), (ClientName, IpAddr)>,
    number: u64,
}

#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) door: Door,
    number: u64,
    /// Whether the client asked for this door itself.
    asked: bool,
    opened: Unix,
    pub(crate) until: Mono,
}

/// A grant that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) client: ClientName,
    pub(crate) address: IpAddr,
    pub(crate) door: Door,
}

impl Grants {
    /// The kernel has it. The deadline counts from the answer, so it is never before the kernel's. `asked`: the client
    /// asked for these ports itself.
    pub(crate) fn opened(&mut self, opening: Opening, asked: bool, now: Now) -> Reason {
        let until = now.mono.after(opening.lasting);
        let Opening { client, address, ports, destination, way, lasting: _ } = opening;
        self.put(client, address, Door { ports, destination, way }, asked, now, until)
    }

    pub(crate) fn restored(&mut self, grant: RestoredGrant, asked: bool, now: Now) {
        let RestoredGrant { client, address, mut door, until } = grant;
        let all = self.open.get(&(client.clone(), address)).filter(|_| !asked);
        if let Some(part) = all.and_then(|all| all.iter().find(|grant| !grant.asked)) {
            // One grant whose ports end at different times comes in parts.
            let mut ports = [&part.door.ports[..], &door.ports].concat();
            ports.sort_unstable();
            ports.dedup();
            door.ports = ports.into();
        }
        let _ = self.put(client, address, door, asked, now, until);
    }

    fn put(
        &mut self,
        client: ClientName,
        address: IpAddr,
        door: Door,
        asked: bool,
        now: Now,
        until: Mono,
    ) -> Reason {
        let pair = (client, address);
        let all = self.open.entry(pair.clone()).or_default();
        let same = |grant: &&mut Grant| grant.asked == asked && (!asked || grant.door == door);
        let Some(grant) = all.iter_mut().find(same) else {
            self.number += 1;
            all.reserve_exact(1);
            all.push(Grant { door, number: self.number, asked, opened: now.wall, until });
            self.deadlines.insert((until, self.number), pair);
            return Reason::Granted;
        };
        grant.door = door;
        let (was, old) = (grant.until > now.mono, grant.until);
        // A live grant lasts until then at least: a shorter one never takes away from it.
        grant.until = if was { old.max(until) } else { until };
        if grant.until != old {
            self.deadlines.remove(&(old, grant.number));
            self.deadlines.insert((grant.until, grant.number), pair);
        }
        if was {
            return Reason::Extended;
        }
        grant.opened = now.wall;
        Reason::Granted
    }

    pub(crate) fn is_open(&self, client: &ClientName, address: IpAddr, now: Mono) -> bool {
        let all = self.open.get(&(client.clone(), address));
        all.is_some_and(|all| all.iter().any(|grant| grant.until > now))
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.deadlines.keys().next().map(|&(until, _)| until)
    }

    /// The next whose time is up.
    pub(crate) fn overdue(&mut self, now: Mono) -> Option<Ended> {
        self.deadline().filter(|until| *until <= now)?;
        let ((_, number), pair) = self.deadlines.pop_first()?;
        let all = self.open.get_mut(&pair)?;
        let grant = all.swap_remove(all.iter().position(|grant| grant.number == number)?);
        if all.is_empty() {
            self.open.remove(&pair);
        }
        Some(Ended { client: pair.0, address: pair.1, door: grant.door })
    }

    /// Whose grants, and where, `which` says of (client, grant); in an order that depends on no hash.
    pub(crate) fn pairs(
        &self,
        which: impl Fn(&ClientName, &Grant) -> bool,
    ) -> BTreeSet<(ClientName, IpAddr)> {
        let meant =
            self.open.iter().filter(|((client, _), all)| all.iter().any(|grant| which(client, grant)));
        meant.map(|(pair, _)| pair.clone()).collect()
    }

    /// Ends those of `client` at `address`: a reload may end ten thousand, each pair by itself.
    pub(crate) fn end_one(&mut self, client: &ClientName, address: IpAddr) -> Vec<Ended> {
        let all = self.open.remove(&(client.clone(), address)).unwrap_or_default();
        let mut ended = Vec::new();
        self.strike(client, address, all, &mut ended);
        ended.sort_unstable_by(|a, b| a.door.cmp(&b.door));
        ended
    }

    /// Ends those that `ends` says of (client, address).
    pub(crate) fn end(&mut self, ends: impl Fn(&ClientName, IpAddr) -> bool) -> Vec<Ended> {
        let mut ended: Vec<Ended> = Vec::new();
        let gone: Vec<_> = self.open.extract_if(|key, _| ends(&key.0, key.1)).collect();
        for ((client, address), all) in gone {
            self.strike(&client, address, all, &mut ended);
        }
        // What is said must not depend on a hash's order.
        ended.sort_unstable_by(|a, b| (&a.client, a.address, &a.door).cmp(&(&b.client, b.address, &b.door)));
        ended
    }

    fn strike(&mut self, client: &ClientName, address: IpAddr, all: Vec<Grant>, ended: &mut Vec<Ended>) {
        for grant in all {
            self.deadlines.remove(&(grant.until, grant.number));
            ended.push(Ended { client: client.clone(), address, door: grant.door });
        }
    }

    pub(crate) fn sessions(&self, now: Mono) -> impl Iterator<Item = Session<'_>> {
        let all = self.open.iter().flat_map(|(pair, all)| all.iter().map(move |grant| (pair, grant)));
        all.filter(move |(_, grant)| grant.until > now).map(move |((client, address), grant)| Session {
            client,
            address: *address,
            door: &grant.door,
            opened: grant.opened,
            until: grant.until,
            left: grant.until.since(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Now {
        Now { mono: Mono::from_nanos(secs * 1_000_000_000), wall: Unix::from_secs(secs as i64) }
    }

    fn opening(client: &str, address: &str, secs: u64) -> Opening {
        Opening {
            client: ClientName::new(client).unwrap(),
            address: address.parse().unwrap(),
            ports: PortSpec::parse("22/tcp").unwrap().into(),
            lasting: Duration::from_secs(secs),
            destination: None,
            way: Way::Here,
        }
    }

    fn overdue(grants: &mut Grants, now: Now) -> Vec<String> {
        std::iter::from_fn(|| grants.overdue(now.mono))
            .map(|ended| format!("{}@{}", ended.client, ended.address))
            .collect()
    }

    #[test]
    fn each_grant_lives_and_ends_by_itself() {
        let mut grants = Grants::default();
        assert_eq!(grants.opened(opening("alice", "192.0.2.1", 30), false, at(0)), Reason::Granted);
        assert_eq!(grants.opened(opening("bob", "192.0.2.1", 10), false, at(5)), Reason::Granted);
        assert_eq!(grants.opened(opening("alice", "192.0.2.11", 30), false, at(6)), Reason::Granted);
        assert_eq!(grants.opened(opening("alice", "192.0.2.1", 30), false, at(7)), Reason::Extended);
        assert_eq!(grants.deadline(), Some(at(15).mono));
        assert_eq!(overdue(&mut grants, at(15)), ["bob@192.0.2.1"]);
        assert_eq!(overdue(&mut grants, at(36)), ["alice@192.0.2.11"]);
        assert_eq!(overdue(&mut grants, at(37)), ["alice@192.0.2.1"]);
        assert_eq!(grants.deadline(), None);
    }

    #[test]
    fn a_shorter_one_takes_nothing_away() {
        let mut grants = Grants::default();
        let _ = grants.opened(opening("alice", "192.0.2.1", 30), false, at(0));
        assert_eq!(grants.opened(opening("alice", "192.0.2.1", 5), false, at(1)), Reason::Extended);
        assert_eq!(overdue(&mut grants, at(29)), [""; 0]);
        assert_eq!(overdue(&mut grants, at(30)).len(), 1);
    }

    #[test]
    fn one_that_is_over_but_not_yet_said_is_granted_anew() {
        let mut grants = Grants::default();
        let _ = grants.opened(opening("alice", "192.0.2.1", 5), false, at(0));
        assert_eq!(grants.sessions(at(5).mono).count(), 0);
        assert_eq!(grants.opened(opening("alice", "192.0.2.1", 5), false, at(6)), Reason::Granted);
        assert_eq!(grants.deadline(), Some(at(11).mono));
        assert_eq!(overdue(&mut grants, at(11)).len(), 1);
    }

    #[test]
    fn an_end_leaves_nothing_behind() {
        let mut grants = Grants::default();
        let _ = grants.opened(opening("alice", "192.0.2.1", 5), false, at(0));
        let _ = grants.opened(opening("bob", "192.0.2.1", 5), false, at(0));
        assert_eq!(grants.end(|client, _| client.as_str() == "alice").len(), 1);
        assert_eq!((grants.open.len(), grants.deadlines.len()), (1, 1));
    }

    #[test]
    fn ports_that_were_asked_for_are_grants_of_their_own() {
        let mut grants = Grants::default();
        let asks = |port: &str, secs| Opening {
            ports: PortSpec::parse(port).unwrap().into(),
            ..opening("stanza 1", "192.0.2.1", secs)
        };
        assert_eq!(grants.opened(asks("22/tcp", 30), true, at(0)), Reason::Granted);
        assert_eq!(grants.opened(asks("80/tcp", 10), true, at(0)), Reason::Granted);
        assert_eq!(grants.opened(asks("22/tcp", 40), true, at(1)), Reason::Extended);
        assert_eq!(grants.sessions(at(2).mono).count(), 2);
        let first = grants.overdue(at(10).mono).unwrap();
        assert_eq!(first.door.ports[0].to_string(), "80/tcp");
        assert_eq!(grants.end_one(&ClientName::new("stanza 1").unwrap(), first.address).len(), 1);
        assert!(grants.open.is_empty() && grants.deadlines.is_empty());
    }
}
