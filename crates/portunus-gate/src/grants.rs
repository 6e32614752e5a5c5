//! The grants that are open, as far as the gate knows: for sessions, for "extended", for the word at the end. The
//! kernel closes by its own timer; what is kept here never runs out before that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use portunus_model::{ClientName, Grounds, Mono, Now, Opening, PortSpec, Reason, Unix, Way};

/// A grant that the grantor found still open when it was started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredGrant {
    /// Whose it is, by the name in the ledger.
    pub client: ClientName,
    /// For which address; canonical.
    pub address: IpAddr,
    /// What is open.
    pub door: Door,
    /// Until when.
    pub until: Mono,
    /// On what it stands.
    pub grounds: Grounds,
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
    /// Whose it is, as the rules call it now.
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

/// Where the client asks for ports itself (fwknop, native) each door is a grant of its own. Where policy names the ports (openme)
/// there is one grant for a client and an address, whatever the policy was when it was opened.
///
/// Each is kept by its holder's name, which no reload changes, and told by the name that the rules have for it.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    open: HashMap<(ClientName, IpAddr), Vec<Grant>>,
    /// By deadline and the grant's number: whose it is, and for which address.
    deadlines: BTreeMap<(Mono, u64), (ClientName, IpAddr)>,
    number: u64,
}

#[derive(Debug)]
pub(crate) struct Grant {
    /// Whose it is, as the rules call it.
    name: ClientName,
    pub(crate) door: Door,
    pub(crate) grounds: Grounds,
    number: u64,
    /// Whether the client asked for this door itself.
    asked: bool,
    opened: Unix,
    pub(crate) until: Mono,
}

/// A grant that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whose it was, as the rules call or called it.
    pub(crate) client: ClientName,
    pub(crate) address: IpAddr,
    pub(crate) door: Door,
}

impl Grants {
    /// The kernel has it. The deadline counts from the answer, so it is never before the kernel's. `asked`: the client
    /// asked for these ports itself.
    pub(crate) fn opened(&mut self, opening: Opening, name: ClientName, asked: bool, now: Now) -> Reason {
        let until = now.mono.after(opening.lasting);
        let Opening { client, address, ports, destination, way, grounds, lasting: _ } = opening;
        let door = Door { ports, destination, way };
        self.put(RestoredGrant { client, address, door, until, grounds }, name, asked, now)
    }

    /// The ledger tells of doors by the knocks that opened them. What policy has opened is one grant all the same.
    pub(crate) fn restored(&mut self, mut grant: RestoredGrant, name: ClientName, asked: bool, now: Now) {
        let pair = (grant.client.clone(), grant.address);
        let known = self.open.get(&pair).into_iter().flatten().find(|known| !asked && !known.asked);
        if let Some(known) = known {
            let mut ports = [&*grant.door.ports, &*known.door.ports].concat();
            ports.sort_unstable();
            ports.dedup();
            grant.door.ports = ports.into();
        }
        let _ = self.put(grant, name, asked, now);
    }

    fn put(&mut self, grant: RestoredGrant, name: ClientName, asked: bool, now: Now) -> Reason {
        let RestoredGrant { client, address, door, until, grounds } = grant;
        let pair = (client, address);
        let all = self.open.entry(pair.clone()).or_default();
        let same = |grant: &&mut Grant| grant.asked == asked && (!asked || grant.door == door);
        let Some(grant) = all.iter_mut().find(same) else {
            self.number += 1;
            all.reserve_exact(1);
            all.push(Grant { name, door, grounds, number: self.number, asked, opened: now.wall, until });
            self.deadlines.insert((until, self.number), pair);
            return Reason::Granted;
        };
        grant.door = door;
        grant.name = name;
        let (was, old) = (grant.until > now.mono, grant.until);
        // A live grant lasts until then at least: a shorter one never takes away from it. It stands on the knock that gave
        // it its end, as in the ledger.
        grant.until = if was { old.max(until) } else { until };
        if grant.until == until {
            grant.grounds = grounds;
        }
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
        Some(Ended { client: grant.name, address: pair.1, door: grant.door })
    }

    /// Holds every grant against `whose`, which says of (holder, address, grant) under which name it stays. Gives the
    /// holders and addresses where one does not; in an order that depends on no hash.
    pub(crate) fn review(
        &mut self,
        whose: impl Fn(&ClientName, IpAddr, &Grant) -> Option<ClientName>,
    ) -> BTreeSet<(ClientName, IpAddr)> {
        let mut over = BTreeSet::new();
        for (pair, all) in &mut self.open {
            for grant in all {
                match whose(&pair.0, pair.1, grant) {
                    Some(name) => grant.name = name,
                    None => drop(over.insert(pair.clone())),
                }
            }
        }
        over
    }

    /// Ends those of `client` at `address`: a reload may end ten thousand, each pair by itself.
    pub(crate) fn end_one(&mut self, client: &ClientName, address: IpAddr) -> Vec<Ended> {
        let all = self.open.remove(&(client.clone(), address)).unwrap_or_default();
        let mut ended = Vec::new();
        self.strike(address, all, &mut ended);
        ended.sort_unstable_by(|a, b| a.door.cmp(&b.door));
        ended
    }

    /// Ends those that `ends` says of (client, address).
    pub(crate) fn end(&mut self, ends: impl Fn(&ClientName, IpAddr) -> bool) -> Vec<Ended> {
        let mut ended: Vec<Ended> = Vec::new();
        let gone: Vec<_> = self.open.extract_if(|key, _| ends(&key.0, key.1)).collect();
        for ((_, address), all) in gone {
            self.strike(address, all, &mut ended);
        }
        // What is said must not depend on a hash's order.
        ended.sort_unstable_by(|a, b| (&a.client, a.address, &a.door).cmp(&(&b.client, b.address, &b.door)));
        ended
    }

    fn strike(&mut self, address: IpAddr, all: Vec<Grant>, ended: &mut Vec<Ended>) {
        for grant in all {
            self.deadlines.remove(&(grant.until, grant.number));
            ended.push(Ended { client: grant.name, address, door: grant.door });
        }
    }

    pub(crate) fn sessions(&self, now: Mono) -> impl Iterator<Item = Session<'_>> {
        let all = self.open.iter().flat_map(|(pair, all)| all.iter().map(move |grant| (pair, grant)));
        all.filter(move |(_, grant)| grant.until > now).map(move |((_, address), grant)| Session {
            client: &grant.name,
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
            grounds: Grounds::default(),
        }
    }

    fn overdue(grants: &mut Grants, now: Now) -> Vec<String> {
        std::iter::from_fn(|| grants.overdue(now.mono))
            .map(|ended| format!("{}@{}", ended.client, ended.address))
            .collect()
    }

    fn opened(grants: &mut Grants, opening: Opening, asked: bool, now: Now) -> Reason {
        let name = opening.client.clone();
        grants.opened(opening, name, asked, now)
    }

    #[test]
    fn each_grant_lives_and_ends_by_itself() {
        let mut grants = Grants::default();
        assert_eq!(opened(&mut grants, opening("alice", "192.0.2.1", 30), false, at(0)), Reason::Granted);
        assert_eq!(opened(&mut grants, opening("bob", "192.0.2.1", 10), false, at(5)), Reason::Granted);
        assert_eq!(opened(&mut grants, opening("alice", "192.0.2.11", 30), false, at(6)), Reason::Granted);
        assert_eq!(opened(&mut grants, opening("alice", "192.0.2.1", 30), false, at(7)), Reason::Extended);
        assert_eq!(grants.deadline(), Some(at(15).mono));
        assert_eq!(overdue(&mut grants, at(15)), ["bob@192.0.2.1"]);
        assert_eq!(overdue(&mut grants, at(36)), ["alice@192.0.2.11"]);
        assert_eq!(overdue(&mut grants, at(37)), ["alice@192.0.2.1"]);
        assert_eq!(grants.deadline(), None);
    }

    #[test]
    fn a_shorter_one_takes_nothing_away() {
        let mut grants = Grants::default();
        let _ = opened(&mut grants, opening("alice", "192.0.2.1", 30), false, at(0));
        assert_eq!(opened(&mut grants, opening("alice", "192.0.2.1", 5), false, at(1)), Reason::Extended);
        assert_eq!(overdue(&mut grants, at(29)), [""; 0]);
        assert_eq!(overdue(&mut grants, at(30)).len(), 1);
    }

    #[test]
    fn one_that_is_over_but_not_yet_said_is_granted_anew() {
        let mut grants = Grants::default();
        let _ = opened(&mut grants, opening("alice", "192.0.2.1", 5), false, at(0));
        assert_eq!(grants.sessions(at(5).mono).count(), 0);
        assert_eq!(opened(&mut grants, opening("alice", "192.0.2.1", 5), false, at(6)), Reason::Granted);
        assert_eq!(grants.deadline(), Some(at(11).mono));
        assert_eq!(overdue(&mut grants, at(11)).len(), 1);
    }

    #[test]
    fn an_end_leaves_nothing_behind() {
        let mut grants = Grants::default();
        let _ = opened(&mut grants, opening("alice", "192.0.2.1", 5), false, at(0));
        let _ = opened(&mut grants, opening("bob", "192.0.2.1", 5), false, at(0));
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
        assert_eq!(opened(&mut grants, asks("22/tcp", 30), true, at(0)), Reason::Granted);
        assert_eq!(opened(&mut grants, asks("80/tcp", 10), true, at(0)), Reason::Granted);
        assert_eq!(opened(&mut grants, asks("22/tcp", 40), true, at(1)), Reason::Extended);
        assert_eq!(grants.sessions(at(2).mono).count(), 2);
        let first = grants.overdue(at(10).mono).unwrap();
        assert_eq!(first.door.ports[0].to_string(), "80/tcp");
        assert_eq!(grants.end_one(&ClientName::new("stanza 1").unwrap(), first.address).len(), 1);
        assert!(grants.open.is_empty() && grants.deadlines.is_empty());
    }
}
