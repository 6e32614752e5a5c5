//! Who held which door before: a session outlives the grant that let it in, so whoever ends sessions must know of grants
//! that are over. Pure, bounded, and only as old as the daemon.

use std::collections::BTreeMap;

use portunus_fw::{Element, Row};
use portunus_model::ClientName;

/// The most that is remembered; then whoever's grant ended longest ago is forgotten.
const MOST: usize = 16_384;

/// Grants that are over.
#[derive(Debug, Default)]
pub(super) struct Past {
    held: BTreeMap<(ClientName, Element), u64>,
    /// The same by the order of their ends.
    order: BTreeMap<u64, (ClientName, Element)>,
    next: u64,
}

impl Past {
    /// These are over.
    pub(super) fn note(&mut self, ended: &[Row]) {
        for row in ended {
            let key = (row.client.clone(), row.element);
            if let Some(before) = self.held.insert(key.clone(), self.next) {
                self.order.remove(&before);
            }
            self.order.insert(self.next, key);
            self.next += 1;
        }
        while self.order.len() > MOST {
            let Some((_, key)) = self.order.pop_first() else { break };
            self.held.remove(&key);
        }
    }

    /// Forgets what one client held; what it was.
    pub(super) fn take(&mut self, client: &ClientName) -> Vec<Element> {
        let theirs = |((name, element), number): (&(ClientName, Element), &u64)| {
            (name == client).then_some((*number, *element))
        };
        let taken: Vec<(u64, Element)> = self.held.iter().filter_map(theirs).collect();
        for (number, element) in &taken {
            self.order.remove(number);
            self.held.remove(&(client.clone(), *element));
        }
        taken.into_iter().map(|(_, element)| element).collect()
    }

    /// Everything that is remembered.
    pub(super) fn all(&self) -> impl Iterator<Item = (&ClientName, Element)> {
        self.held.keys().map(|(client, element)| (client, *element))
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::{Grounds, Mono, PortSpec};

    use super::*;

    fn row(client: &str, n: u32) -> Row {
        let element =
            Element::here(std::net::Ipv4Addr::from(n).into(), PortSpec::parse("22/tcp").unwrap()[0]);
        let client = ClientName::new(client).unwrap();
        Row { client, element, until: Mono::default(), grounds: Grounds::default() }
    }

    #[test]
    fn one_client_is_taken_and_the_others_stay() {
        let mut past = Past::default();
        past.note(&[row("alice", 1), row("bob", 1), row("alice", 2), row("alice", 1)]);
        let alice = ClientName::new("alice").unwrap();
        assert_eq!(past.take(&alice), [row("alice", 1).element, row("alice", 2).element]);
        assert_eq!(past.take(&alice), []);
        assert_eq!((past.held.len(), past.order.len()), (1, 1));
    }

    #[test]
    fn the_longest_over_is_forgotten_first() {
        let mut past = Past::default();
        let most = u32::try_from(MOST).unwrap();
        for n in 0..most {
            past.note(&[row("alice", n)]);
        }
        past.note(&[row("alice", 0), row("bob", 0)]);
        assert_eq!((past.held.len(), past.order.len()), (MOST, MOST));
        let left = past.take(&ClientName::new("alice").unwrap());
        assert!(left.contains(&row("alice", 0).element) && !left.contains(&row("alice", 1).element));
    }
}
