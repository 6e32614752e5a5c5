//! What was promised, known from what passed between front and grantor: until when each client may have each door at
//! most, and must have it at least.

use std::collections::{BTreeMap, HashMap};

use portunus_fw::Row;
use portunus_model::{ClientName, Closing, Element, Mono, Opened, Opening, Way};

type Key = (ClientName, Element);

/// The promises.
#[derive(Default)]
pub(super) struct Truth {
    /// A proven knock allows it until then; after an end that a crash may have swallowed still the same.
    may: BTreeMap<Key, Mono>,
    /// It was said to be open until then, and nobody has ended it.
    must: BTreeMap<Key, Mono>,
    asked: HashMap<u64, Asked>,
}

struct Asked {
    rows: Vec<(Key, Option<Mono>)>,
    until: Mono,
}

fn is_meant(closing: &Closing, (client, element): &Key) -> bool {
    closing.client.as_ref().is_none_or(|only| only == client)
        && closing.address.is_none_or(|only| only == element.address)
}

impl Truth {
    /// The grantor is about to hear of it.
    pub(super) fn asked(&mut self, now: Mono, ticket: u64, opening: &Opening) {
        let until = now.after(opening.lasting);
        let mut rows = Vec::new();
        for element in Element::all_of(opening) {
            let key = (opening.client.clone(), element);
            let before = self.may.get(&key).copied();
            self.may.insert(key.clone(), before.map_or(until, |before| before.max(until)));
            rows.push((key, before));
            if opening.way != Way::Here {
                // Who asks last is meant.
                self.must.retain(|(_, other), _| !other.rivals(&element));
            }
        }
        self.asked.insert(ticket, Asked { rows, until });
    }

    /// The grantor has answered. `sure`: what it took back is taken back.
    pub(super) fn answered(&mut self, ticket: u64, answer: Opened, sure: bool) {
        let Some(Asked { rows, until }) = self.asked.remove(&ticket) else { return };
        for (key, before) in rows {
            match answer {
                Opened::Open => {
                    for promise in [&mut self.may, &mut self.must] {
                        let end = promise.entry(key.clone()).or_insert(until);
                        *end = until.max(*end);
                    }
                }
                Opened::Refused | Opened::Full | Opened::Failed if sure => match before {
                    Some(before) => drop(self.may.insert(key, before)),
                    None => drop(self.may.remove(&key)),
                },
                Opened::Refused | Opened::Full | Opened::Failed => {}
            }
        }
    }

    /// The front says that these are over.
    pub(super) fn ends(&mut self, closing: &Closing) {
        self.must.retain(|key, _| !is_meant(closing, key));
    }

    /// The grantor has heard it, and the kernel has taken it.
    pub(super) fn ended(&mut self, closing: &Closing) {
        self.may.retain(|key, _| !is_meant(closing, key));
    }

    /// The configuration has no such doors any more.
    pub(super) fn only(&mut self, allows: impl Fn(&Element) -> bool) {
        self.must.retain(|(_, element), _| allows(element));
    }

    /// The kernel has what the ledger says, and nothing else.
    pub(super) fn settle(&mut self, rows: &[Row]) {
        let allowed = |row: &Row| {
            let until = self.may.get(&(row.client.clone(), row.element));
            assert!(
                until.is_some_and(|until| row.until <= *until),
                "nobody is allowed {row:?}, but until {until:?}"
            );
            ((row.client.clone(), row.element), row.until)
        };
        self.may = rows.iter().map(allowed).collect();
    }

    /// A journal that could not be written has said so: what a restart does not find is over.
    pub(super) fn forget_all_but(&mut self, rows: &[Row]) {
        self.must.retain(|(client, element), _| {
            rows.iter().any(|row| row.client == *client && row.element == *element)
        });
    }

    /// Until when anybody may have it.
    pub(super) fn latest(&self, element: &Element) -> Option<Mono> {
        self.may.iter().filter(|((_, one), _)| one == element).map(|(_, until)| *until).max()
    }

    /// What must be open now.
    pub(super) fn open(&self, now: Mono) -> impl Iterator<Item = &Key> {
        self.must.iter().filter(move |(_, until)| **until > now).map(|(key, _)| key)
    }
}
