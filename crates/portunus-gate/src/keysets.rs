//! fwknop's sets of keys, and which stanzas have each. A packet proves itself by a set of keys and by no stanza: those that
//! share a set are asked one after the other, in the order of the files.

use std::collections::HashMap;

use portunus_dialect::Knock;
use portunus_dialect::fwknop::gpg::{GpgError, GpgKeys, Heard, RingId};
use portunus_dialect::fwknop::{Keys, OpenError, Packet};
use portunus_model::{Client, ClientKey, KeyId};

/// What opens a packet.
enum Lock {
    /// These keys.
    Keys(Box<Keys>),
    /// gpg, and these judge what it says.
    Gpg(Box<GpgKeys>),
}

/// The sets that some stanza has, in the order of their first stanza.
#[derive(Default)]
pub(crate) struct KeySets {
    sets: Vec<KeySet>,
    by_id: HashMap<KeyId, u32>,
    /// Those of GnuPG's, by the keyring that opens their packets.
    by_ring: HashMap<RingId, Vec<u32>>,
    /// Whether what a packet says is listed for people.
    lists: bool,
}

struct KeySet {
    keys: Lock,
    /// The numbers of its clients, in the order of the files. Never empty.
    stanzas: Vec<u32>,
    /// Whether one of them is for packets from anywhere to anywhere: then none of them needs to be looked at.
    anywhere: bool,
}

impl KeySets {
    /// Keys without a stanza are left out, and a stanza without keys proves nothing.
    pub(crate) fn new(keys: Vec<Keys>, gpg: Vec<GpgKeys>, clients: &[Client], lists: bool) -> Self {
        let keys = keys.into_iter().map(|keys| (keys.id(), Lock::Keys(Box::new(keys))));
        let gpg = gpg.into_iter().map(|keys| (keys.id(), Lock::Gpg(Box::new(keys))));
        let mut given: HashMap<KeyId, Lock> = keys.chain(gpg).collect();
        let mut new = Self { lists, ..Self::default() };
        for (number, client) in (0..).zip(clients) {
            let ClientKey::Fwknop(id) = client.key else { continue };
            if let Some(set) = new.by_id.get(&id).and_then(|&set| new.sets.get_mut(set as usize)) {
                set.stanzas.push(number);
                set.anywhere |= is_for_all(client);
            } else if let Some(keys) = given.remove(&id) {
                let set = u32::try_from(new.sets.len()).unwrap_or(u32::MAX);
                new.by_id.insert(id, set);
                if let Lock::Gpg(keys) = &keys {
                    new.by_ring.entry(keys.ring()).or_default().push(set);
                }
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
            ClientKey::Openme(_) | ClientKey::Native(_) => None,
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
        let Lock::Keys(keys) = &self.sets.get(set as usize)?.keys else { return None };
        let knock = keys.open(packet).ok()?;
        Some(if self.lists { knock.with_listing(|asked| keys.listing(packet, asked)) } else { knock })
    }

    /// The keyring that gpg is to open the packet with, where it may be for this set: one MAC.
    pub(crate) fn ring(&self, set: u32, packet: &Packet<'_>) -> Option<RingId> {
        let Lock::Gpg(keys) = &self.sets.get(set as usize)?.keys else { return None };
        keys.may_be_for(packet).ok().map(|()| keys.ring())
    }

    /// What gpg is to be asked with a keyring. Keys without an HMAC may read one that stands behind the message as more of it:
    /// whose HMAC fits has the shortest.
    pub(crate) fn message(&self, ring: RingId, packet: &Packet<'_>) -> Option<Vec<u8>> {
        self.of_ring(ring).filter_map(|(_, keys)| keys.message(packet).ok()).min_by_key(Vec::len)
    }

    /// What gpg's answer for a keyring makes of the packet, by the sets that `may` be meant: those that take it, in the order of
    /// the files, or why none does.
    pub(crate) fn judge(
        &self,
        ring: RingId,
        packet: &Packet<'_>,
        heard: &Heard,
        may: impl Fn(u32) -> bool,
    ) -> Result<(Vec<u32>, Knock), GpgError> {
        let (mut takers, mut taken) = (Vec::new(), None);
        let mut why = GpgError::Open(OpenError::Shape);
        for (set, keys) in self.of_ring(ring).filter(|(set, _)| may(*set)) {
            match keys.judge(packet, heard) {
                Ok(knock) => {
                    takers.push(set);
                    taken.get_or_insert_with(|| match self.lists {
                        true => knock.with_listing(|asked| keys.listing(packet, asked)),
                        false => knock,
                    });
                }
                // Of another set's packets nothing is to be said but that they are.
                Err(GpgError::Open(_)) => {}
                Err(error) => why = why.or(error),
            }
        }
        taken.map(|knock| (takers, knock)).ok_or(why)
    }

    fn of_ring(&self, ring: RingId) -> impl Iterator<Item = (u32, &GpgKeys)> {
        let sets = self.by_ring.get(&ring).into_iter().flatten();
        sets.filter_map(|&set| match &self.sets.get(set as usize)?.keys {
            Lock::Gpg(keys) => Some((set, keys.as_ref())),
            Lock::Keys(_) => None,
        })
    }
}

fn is_for_all(client: &Client) -> bool {
    let stanza = client.stanza.as_deref();
    stanza.is_some_and(|stanza| stanza.sources.is_empty() && stanza.destinations.is_empty())
}
