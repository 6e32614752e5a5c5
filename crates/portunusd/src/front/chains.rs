//! The store of chains, for the gate: what it has is shown to the gate at the start, what the gate wants kept is kept, and
//! what commands have left for us is taken up.

use std::fs::File;
use std::io;

use portunus_crypto::Secret;
use portunus_dialect::native::Day;
use portunus_gate::{ChainChange, Gate};
use portunus_model::{ChainOwner, Now};
use portunus_store::chains::{BATCH, Chains, Change, Entry};

use crate::message::{NewChain, NewKind};

/// The store; `None`: the native dialect is not spoken.
#[derive(Default)]
pub(super) struct Kept {
    store: Option<Chains<File>>,
    /// The trouble that was told last.
    fault: Option<io::ErrorKind>,
}

impl Kept {
    /// Takes up what is in `file`, and shows it to the gate.
    pub(super) fn open(&mut self, file: File, gate: &mut Gate) -> io::Result<()> {
        let show = |entry: Entry<'_>| {
            gate.handle_chain(entry.owner, entry.slot, Day::from_number(entry.day), value_of(&entry));
        };
        self.open_with(file, show)
    }

    /// The same while others are served: where it cannot be taken up they are served on, and the native dialect stays closed.
    pub(super) fn open_or_stay_closed(&mut self, file: File, gate: &mut Gate) {
        let mut shown = Vec::new();
        let opened = self.open_with(file, |entry| {
            shown.push(entry.owner);
            gate.handle_chain(entry.owner, entry.slot, Day::from_number(entry.day), value_of(&entry));
        });
        if let Err(error) = opened {
            // Whose key cannot be replaced by the next day's has none.
            shown.into_iter().for_each(|owner| gate.forget_chain(owner));
            tracing::error!(%error, "nobody can knock in the native dialect until a reload can take up its chains");
        }
    }

    /// Whether there is one.
    pub(super) fn is_open(&self) -> bool {
        self.store.is_some()
    }

    fn open_with(&mut self, file: File, show: impl FnMut(Entry<'_>)) -> io::Result<()> {
        let (store, found) = Chains::open(file, show).map_err(|error| crate::bad_chains(&error))?;
        if found.rotten > 0 {
            tracing::warn!(
                slots = found.rotten,
                "chains of the native dialect are damaged: whose they were cannot knock, and must be added anew"
            );
        }
        self.store = Some(store);
        Ok(())
    }

    /// Says who cannot knock for want of a chain: a store that is gone, cut or damaged is nothing that anybody notices before
    /// somebody stands outside.
    pub(super) fn say_missing(gate: &Gate) {
        const NAMED: usize = 8;
        let (doors, clients) = gate.without_chains();
        if doors > 0 {
            tracing::error!(
                doors,
                "nobody can knock in the native dialect: the chain of its door is not in the state folder's `chains`; restore \
                 the file, or run `portunus init --force` with the --host, --port and --dialects it had (the old file is kept as \
                 portunus.toml.old) and add its clients anew"
            );
        } else if !clients.is_empty() {
            let names: Vec<&str> = clients.iter().take(NAMED).map(|name| name.as_str()).collect();
            tracing::error!(
                clients = clients.len(),
                names = names.join(",").as_str(),
                "these cannot knock: their links are not in the state folder's `chains`; restore the file, or revoke them and add \
                 them anew"
            );
        }
    }

    /// Takes up what commands have left: what the store has already is not written over. True when all of it is durable.
    pub(super) fn take_up(&mut self, new: &[NewChain], gate: &mut Gate) -> bool {
        new.chunks(BATCH).all(|some| self.take_up_some(some, gate))
    }

    fn take_up_some(&mut self, new: &[NewChain], gate: &mut Gate) -> bool {
        let mut changes = Vec::new();
        for one in new {
            let value = || Secret::from_bytes(*one.value);
            let day = Day::from_number(one.day);
            match one.kind {
                NewKind::Door | NewKind::Link => {
                    let owner = if one.kind == NewKind::Door {
                        ChainOwner::Door(one.public)
                    } else {
                        ChainOwner::Link(one.public)
                    };
                    if gate.slot_of(owner).is_none() {
                        changes.push(ChainChange::Put { owner, slot: None, day, value: value() });
                    }
                }
                NewKind::Gone => {
                    let all = [
                        ChainOwner::Door,
                        ChainOwner::Link,
                        ChainOwner::Announced,
                        ChainOwner::Closed,
                        ChainOwner::Moved,
                    ];
                    let owners = all.map(|kind| kind(one.public));
                    changes.extend(
                        owners.into_iter().filter_map(|owner| {
                            Some(ChainChange::Erase { owner, slot: gate.slot_of(owner)? })
                        }),
                    );
                }
            }
        }
        changes.chunks(BATCH).all(|changes| {
            let Some(slots) = self.make(changes) else { return false };
            let mut slots = slots.into_iter();
            for change in changes {
                match change {
                    ChainChange::Put { owner, day, value, .. } => {
                        if let Some(slot) = slots.next() {
                            gate.handle_chain(*owner, slot, *day, value.duplicate());
                        }
                    }
                    ChainChange::Erase { owner, .. } => gate.forget_chain(*owner),
                }
            }
            true
        })
    }

    /// Carries out what the gate asked for, and tells it.
    pub(super) fn carry_out(&mut self, changes: &[ChainChange], gate: &mut Gate, now: Now) {
        let slots = self.make(changes);
        gate.handle_chains(now, slots.as_deref());
    }

    /// Makes these changes durably; the slots of those that had none, in their order. `None`: they are not made.
    fn make(&mut self, changes: &[ChainChange]) -> Option<Vec<u32>> {
        let made = self.try_make(changes);
        match &made {
            Ok(_) if self.fault.take().is_some() => {
                tracing::info!("chains of the native dialect can be written again");
            }
            Ok(_) => (),
            Err(error) if self.fault != Some(error.kind()) => {
                self.fault = Some(error.kind());
                tracing::error!(
                    %error,
                    "the chains of the native dialect cannot be written: old keys stay, and new clients cannot knock"
                );
            }
            Err(_) => (),
        }
        made.ok()
    }

    fn try_make(&mut self, changes: &[ChainChange]) -> io::Result<Vec<u32>> {
        let store = self.store.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let mut new = Vec::new();
        let slot_of = |change: &ChainChange| match change {
            ChainChange::Put { slot: Some(slot), .. } | ChainChange::Erase { slot, .. } => *slot,
            ChainChange::Put { slot: None, .. } => {
                let slot = store.reserve();
                new.push(slot);
                slot
            }
        };
        let slots: Vec<u32> = changes.iter().map(slot_of).collect();
        let whole = changes.iter().zip(slots).map(|(change, slot)| match change {
            ChainChange::Put { owner, day, value, .. } => {
                let (owner, day, value) = (*owner, day.number(), value.expose());
                Change::Put(Entry { slot, owner, day, value })
            }
            ChainChange::Erase { .. } => Change::Erase(slot),
        });
        let whole: Vec<Change<'_>> = whole.collect();
        match store.change(&whole) {
            Ok(()) => Ok(new),
            Err(error) => {
                new.into_iter().for_each(|slot| store.give_back(slot));
                Err(error)
            }
        }
    }
}

fn value_of(entry: &Entry<'_>) -> Secret<32> {
    Secret::from_bytes(*entry.value)
}

#[cfg(test)]
mod tests {
    use portunus_gate::Tuning;
    use portunus_model::Rules;
    use portunus_sys::memfd;
    use zeroize::Zeroizing;

    use super::*;
    use crate::front::keyring;
    use crate::message::Keys;

    #[test]
    fn a_store_that_cannot_be_taken_up_while_others_are_served_leaves_the_dialect_closed() {
        let keys = Keys {
            openme: None,
            fwknop: vec![],
            gpg: vec![],
            native: vec![],
            codes: vec![],
            invited: vec![],
        };
        let mut gate = Gate::new(Rules::default(), keyring::read(&keys).unwrap(), Tuning::default());
        let mut kept = Kept::default();
        let owner = ChainOwner::Link([7; 32]);
        let (day, value) = (20_000, Zeroizing::new([9; 32]));
        let new = [NewChain { kind: NewKind::Link, public: [7; 32], day, value }];
        let other = || memfd::scratch("chains", &b"something else\n".repeat(4000)).unwrap();
        assert!(kept.open(other(), &mut gate).is_err());
        kept.open_or_stay_closed(other(), &mut gate);
        assert!(!kept.is_open() && !kept.take_up(&new, &mut gate));
        assert_eq!(gate.slot_of(owner), None);
        kept.open_or_stay_closed(memfd::scratch("chains", &[]).unwrap(), &mut gate);
        assert!(kept.is_open() && kept.take_up(&new, &mut gate));
        assert_eq!(gate.slot_of(owner), Some(0));
    }
}
