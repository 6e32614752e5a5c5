//! fwknop's sets of keys, and which stanzas have each. A packet proves itself by a set of keys and by no stanza: those that
//! share a set are asked one after the other, in the order of the files.

use std::collections::HashMap;

use portunus_dialect::Knock;
use portunus_dialect::fwknop::{Keys, Packet};
use portunus_model::{Client, ClientKey, KeyId};

/// The sets that some stanza has, in the order of their first stanza.
#[derive(Default)]
pub(crate) struct KeySets {
    sets: Vec<KeySet>,
    by_id: HashMap<KeyId, u32>,
    /// Whether what a packet says is listed for people.
    lists: bool,
}

struct KeySet {
    keys: Keys,
    /// The numbers of its clients, in the order of the files. Never empty.
    stanzas: Vec<u32>,
    /// Whether one of them is for packets from anywhere to anywhere: then none of them needs to be looked at.
    anywhere: bool,
}

impl KeySets {
    /// Keys without a stanza are left out, and a stanza without keys proves nothing.
    pub(crate) fn new(keys: Vec<Keys>, clients: &[Client], lists: bool) -> Self {
        let mut given: HashMap<KeyId, Keys> = keys.into_iter().map(|keys| (keys.id(), keys)).collect();
        let mut new = Self { lists, ..Self::default() };
        for (number, client) in (0..).zip(clients) {
            let ClientKey::Fwknop(id) = client.key else { continue };
            if let Some(set) = new.by_id.get(&id).and_then(|&set| new.sets.get_mut(set as usize)) {
                set.stanzas.push(number);
                set.anywhere |= is_for_all(client);
            } else if let Some(keys) = given.remove(&id) {
                new.by_id.insert(id, u32::try_from(new.sets.len()).unwrap_or(u32::MAX));
                new.sets.push(KeySet { keys, stanzas: vec![number], anywhere: is_for_all(client) });
            }
        }
        new
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The set of a client.
    pub(crate) fn of(&self, client: &Client) -> Option<u32> {
        match client.key {
            ClientKey::Fwknop(id) => self.by_id.get(&id).copied(),
            ClientKey::Openme(_) => None,
        }
    }

    /// The clients that have a set, in the order of the files; empty: there is no such set.
    pub(crate) fn stanzas(&self, set: u32) -> &[u32] {
        self.sets.get(set as usize).map_or(&[], |set| &set.stanzas)
    }

    /// Whether one of a set's stanzas is for packets from anywhere to anywhere.
    pub(crate) fn is_anywhere(&self, set: u32) -> bool {
        self.sets.get(set as usize).is_some_and(|set| set.anywhere)
    }

    /// Whether the packet is made with this set: under a microsecond when it is not.
    pub(crate) fn open(&self, set: u32, packet: &Packet<'_>) -> Option<Knock> {
        let keys = &self.sets.get(set as usize)?.keys;
        let knock = keys.open(packet).ok()?;
        Some(if self.lists { knock.with_listing(|asked| keys.listing(packet, asked)) } else { knock })
    }
}

fn is_for_all(client: &Client) -> bool {
    let stanza = client.stanza.as_deref();
    stanza.is_some_and(|stanza| stanza.sources.is_empty() && stanza.destinations.is_empty())
}
