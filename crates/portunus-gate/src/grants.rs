//! The grants that are open, as far as the gate knows: for sessions, for "extended", for the word at the end. The
//! kernel closes by its own timer; what is kept here never runs out before that.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use portunus_model::{ClientName, Mono, Now, Opening, PortSpec, Reason, Unix};

/// A grant that the grantor found still open when it was started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredGrant {
    /// Whose it is.
    pub client: ClientName,
    /// For which address; canonical.
    pub address: IpAddr,
    /// What is open.
    pub ports: Box<[PortSpec]>,
    /// Until when.
    pub until: Mono,
}

/// A grant that is open now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session<'a> {
    /// Whose it is.
    pub client: &'a ClientName,
    /// For which address.
    pub address: IpAddr,
    /// What is open.
    pub ports: &'a [PortSpec],
    /// Since when (for a restored one: since it was restored).
    pub opened: Unix,
    /// Until when.
    pub until: Mono,
    /// How much longer.
    pub left: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Grants {
    open: HashMap<(ClientName, IpAddr), Grant>,
    deadlines: BTreeSet<(Mono, ClientName, IpAddr)>,
}

#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) ports: Box<[PortSpec]>,
    opened: Unix,
    pub(crate) until: Mono,
}

/// A grant that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) client: ClientName,
    pub(crate) address: IpAddr,
    pub(crate) ports: Box<[PortSpec]>,
}

impl Grants {
    /// The kernel has it. The deadline counts from the answer, so it is never before the kernel's.
    pub(crate) fn opened(&mut self, opening: Opening, now: Now) -> Reason {
        let until = now.mono.after(opening.lasting);
        self.put((opening.client, opening.address), opening.ports, now, until)
    }

    pub(crate) fn restored(&mut self, grant: RestoredGrant, now: Now) {
        let _ = self.put((grant.client, grant.address), grant.ports, now, grant.until);
    }

    fn put(&mut self, key: (ClientName, IpAddr), ports: Box<[PortSpec]>, now: Now, until: Mono) -> Reason {
        let was = self.open.get_mut(&key).filter(|grant| grant.until > now.mono);
        if let Some(grant) = was {
            grant.ports = ports;
            self.prolong(key, until);
            return Reason::Extended;
        }
        let (client, address) = key.clone();
        self.deadlines.insert((until, client, address));
        if let Some(old) = self.open.insert(key.clone(), Grant { ports, opened: now.wall, until })
            && old.until != until
        {
            self.deadlines.remove(&(old.until, key.0, key.1));
        }
        Reason::Granted
    }

    /// A live grant lasts until then at least: a shorter one never takes away from it.
    fn prolong(&mut self, key: (ClientName, IpAddr), until: Mono) {
        let Some(grant) = self.open.get_mut(&key).filter(|grant| grant.until < until) else { return };
        let (client, address) = key;
        self.deadlines.remove(&(grant.until, client.clone(), address));
        grant.until = until;
        self.deadlines.insert((until, client, address));
    }

    pub(crate) fn is_open(&self, client: &ClientName, address: IpAddr, now: Mono) -> bool {
        self.open.get(&(client.clone(), address)).is_some_and(|grant| grant.until > now)
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|&(until, ..)| until)
    }

    /// The next whose time is up.
    pub(crate) fn overdue(&mut self, now: Mono) -> Option<Ended> {
        self.deadlines.first().filter(|(until, ..)| *until <= now)?;
        let (_, client, address) = self.deadlines.pop_first()?;
        let key = (client, address);
        let grant = self.open.remove(&key)?;
        Some(Ended { client: key.0, address, ports: grant.ports })
    }

    /// Whose grants, and where, `which` says of (client, grant); in an order that depends on no hash.
    pub(crate) fn pairs(
        &self,
        which: impl Fn(&ClientName, &Grant) -> bool,
    ) -> BTreeSet<(ClientName, IpAddr)> {
        let meant = self.open.iter().filter(|((client, _), grant)| which(client, grant));
        meant.map(|(pair, _)| pair.clone()).collect()
    }

    /// Ends the one of `client` at `address`, if there is one: a reload may end ten thousand, each by itself.
    pub(crate) fn end_one(&mut self, client: &ClientName, address: IpAddr) -> Option<Ended> {
        let (key, grant) = self.open.remove_entry(&(client.clone(), address))?;
        self.deadlines.remove(&(grant.until, key.0.clone(), address));
        Some(Ended { client: key.0, address, ports: grant.ports })
    }

    /// Ends those that `ends` says of (client, address).
    pub(crate) fn end(&mut self, ends: impl Fn(&ClientName, IpAddr) -> bool) -> Vec<Ended> {
        let mut ended: Vec<Ended> = Vec::new();
        for (key, grant) in self.open.extract_if(|key, _| ends(&key.0, key.1)) {
            self.deadlines.remove(&(grant.until, key.0.clone(), key.1));
            ended.push(Ended { client: key.0, address: key.1, ports: grant.ports });
        }
        // What is said must not depend on a hash's order.
        ended.sort_unstable_by(|a, b| (&a.client, a.address).cmp(&(&b.client, b.address)));
        ended
    }

    pub(crate) fn sessions(&self, now: Mono) -> impl Iterator<Item = Session<'_>> {
        let live = self.open.iter().filter(move |(_, grant)| grant.until > now);
        live.map(move |((client, address), grant)| Session {
            client,
            address: *address,
            ports: &grant.ports,
            opened: grant.opened,
            until: grant.until,
            left: grant.until.since(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::Way;

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
        assert_eq!(grants.opened(opening("alice", "192.0.2.1", 30), at(0)), Reason::Granted);
        assert_eq!(grants.opened(opening("bob", "192.0.2.1", 10), at(5)), Reason::Granted);
        assert_eq!(grants.opened(opening("alice", "192.0.2.11", 30), at(6)), Reason::Granted);
        assert_eq!(grants.opened(opening("alice", "192.0.2.1", 30), at(7)), Reason::Extended);
        assert_eq!(grants.deadline(), Some(at(15).mono));
        assert_eq!(overdue(&mut grants, at(15)), ["bob@192.0.2.1"]);
        assert_eq!(overdue(&mut grants, at(36)), ["alice@192.0.2.11"]);
        assert_eq!(overdue(&mut grants, at(37)), ["alice@192.0.2.1"]);
        assert_eq!(grants.deadline(), None);
    }

    #[test]
    fn a_shorter_one_takes_nothing_away() {
        let mut grants = Grants::default();
        let _ = grants.opened(opening("alice", "192.0.2.1", 30), at(0));
        assert_eq!(grants.opened(opening("alice", "192.0.2.1", 5), at(1)), Reason::Extended);
        assert_eq!(overdue(&mut grants, at(29)), [""; 0]);
        assert_eq!(overdue(&mut grants, at(30)).len(), 1);
    }

    #[test]
    fn one_that_is_over_but_not_yet_said_is_granted_anew() {
        let mut grants = Grants::default();
        let _ = grants.opened(opening("alice", "192.0.2.1", 5), at(0));
        assert_eq!(grants.sessions(at(5).mono).count(), 0);
        assert_eq!(grants.opened(opening("alice", "192.0.2.1", 5), at(6)), Reason::Granted);
        assert_eq!(grants.deadline(), Some(at(11).mono));
        assert_eq!(overdue(&mut grants, at(11)).len(), 1);
    }

    #[test]
    fn an_end_leaves_nothing_behind() {
        let mut grants = Grants::default();
        let _ = grants.opened(opening("alice", "192.0.2.1", 5), at(0));
        let _ = grants.opened(opening("bob", "192.0.2.1", 5), at(0));
        assert_eq!(grants.end(|client, _| client.as_str() == "alice").len(), 1);
        assert_eq!((grants.open.len(), grants.deadlines.len()), (1, 1));
    }
}
