//! The clients as the rules have them, by number, with when each was last seen.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use portunus_dialect::Knock;
use portunus_dialect::openme::{Unsealed, VerifyingKey};
use portunus_model::{Client, ClientKey, ClientName, Mono, Now, Rules, Unix};

use crate::Tuning;

/// The number of no client: what a client's number becomes when a reload took it away.
pub(crate) const NOBODY: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Clients {
    rules: Rules,
    seen: Vec<Seen>,
    allowance: Allowance,
    clock: u64,
}

/// What is remembered of a client; 0 and defaults: nothing yet.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Larger: later.
    order: u64,
    at: Unix,
    /// When its allowance will be whole again; each knock moves it on by one knock's share.
    whole: Mono,
}

/// How many knocks of one client are accepted: so many at once, and one more each `every`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    every: Duration,
    all: Duration,
}

impl Allowance {
    pub(crate) fn of(tuning: &Tuning) -> Self {
        let every = Duration::from_secs(60) / tuning.knocks_a_minute.max(1);
        Self { every, all: every.saturating_mul(tuning.knocks_at_once) }
    }
}

impl Clients {
    pub(crate) fn new(rules: Rules, allowance: Allowance) -> Self {
        let seen = vec![Seen::default(); rules.clients.len()];
        Self { rules, seen, allowance, clock: 0 }
    }

    pub(crate) const fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) const fn window(&self) -> Duration {
        self.rules.window
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Client> {
        self.rules.clients.get(number as usize)
    }

    pub(crate) fn name(&self, number: u32) -> Option<ClientName> {
        self.get(number).map(|client| client.name.clone())
    }

    /// One verification: whether the packet is this client's.
    pub(crate) fn verify(&self, number: u32, unsealed: &Unsealed) -> Option<Knock> {
        let ClientKey::Openme(key) = self.get(number)?.key else { return None };
        // Checked when the rules were compiled; a key that is none after all fits no signature.
        unsealed.verify(&VerifyingKey::already_checked(key).ok()?)
    }

    /// Puts the numbers of all clients into `order`, the most recently seen first.
    pub(crate) fn by_recency(&self, order: &mut Vec<u32>) {
        order.clear();
        order.extend(0..u32::try_from(self.seen.len()).unwrap_or(NOBODY));
        let seen = |number: &u32| self.seen.get(*number as usize).map_or(0, |seen| seen.order);
        order.sort_by_key(|number| Reverse(seen(number)));
    }

    /// It was proven, fresh and claimed just now.
    pub(crate) fn saw(&mut self, number: u32, now: Now) {
        let Some(seen) = self.seen.get_mut(number as usize) else { return };
        self.clock += 1;
        seen.order = self.clock;
        seen.at = now.wall;
        seen.whole = seen.whole.max(now.mono).after(self.allowance.every);
    }

    /// Whether it has used up its allowance.
    pub(crate) fn is_over(&self, number: u32, now: Mono) -> bool {
        let left = |seen: &Seen| self.allowance.all.saturating_sub(seen.whole.since(now));
        self.seen.get(number as usize).is_some_and(|seen| left(seen) < self.allowance.every)
    }

    pub(crate) fn last_seen(&self) -> impl Iterator<Item = (&ClientName, Unix)> {
        let named = self.rules.clients.iter().zip(&self.seen);
        named.filter(|(_, seen)| seen.order > 0).map(|(client, seen)| (&client.name, seen.at))
    }

    /// Takes new rules. Gives the new number of each old one: a client stays the same when its holder and key do.
    pub(crate) fn replace(&mut self, rules: Rules) -> Vec<Option<u32>> {
        let numbers: HashMap<(ClientName, u32), u32> = holders(&rules).zip(0..).collect();
        let renumbered = holders(&self.rules).zip(&self.rules.clients).map(|(holder, old)| {
            let number = numbers.get(&holder).copied()?;
            let same = rules.clients.get(number as usize).is_some_and(|new| new.key == old.key);
            same.then_some(number)
        });
        let renumbered: Vec<Option<u32>> = renumbered.collect();
        let mut seen = vec![Seen::default(); rules.clients.len()];
        for (number, old) in renumbered.iter().zip(&self.seen) {
            if let Some(new) = number.and_then(|number| seen.get_mut(number as usize)) {
                *new = *old;
            }
        }
        self.rules = rules;
        self.seen = seen;
        renumbered
    }

    /// The clients with their numbers, by holder; those of one holder in the rules' order.
    pub(crate) fn by_holder(&self) -> HashMap<ClientName, Vec<(u32, &Client)>> {
        let mut all: HashMap<ClientName, Vec<(u32, &Client)>> = HashMap::new();
        for (number, client) in (0..).zip(&self.rules.clients) {
            all.entry(client.holder()).or_default().push((number, client));
        }
        all
    }

    /// The holder's name of whom the rules call `name`; the name itself for who is in no rules.
    pub(crate) fn holder(&self, name: &ClientName) -> ClientName {
        let named = self.rules.clients.iter().find(|client| client.name == *name);
        named.map_or_else(|| name.clone(), Client::holder)
    }

    /// What people are told of a holder: the name of its first client, or what is left to say of one that has none.
    pub(crate) fn shown(&self, holder: &ClientName) -> ClientName {
        let held = self.rules.clients.iter().find(|client| client.holder() == *holder);
        held.map_or_else(|| nobody(holder), |client| client.name.clone())
    }

    /// Whether there is one of this name.
    pub(crate) fn knows(&self, name: &ClientName) -> bool {
        self.rules.clients.iter().any(|client| client.name == *name)
    }

    /// Whose key is which, by holder.
    pub(crate) fn keys(&self) -> HashMap<ClientName, ClientKey> {
        self.rules.clients.iter().map(|client| (client.holder(), client.key)).collect()
    }
}

/// Of each client its holder, and how many of the same stand before it.
fn holders(rules: &Rules) -> impl Iterator<Item = (ClientName, u32)> {
    let mut so_far: HashMap<ClientName, u32> = HashMap::new();
    rules.clients.iter().map(move |client| {
        let holder = client.holder();
        let count = so_far.entry(holder.clone()).or_default();
        let before = *count;
        *count += 1;
        (holder, before)
    })
}

/// What is said of a holder that no client has: a stanza that is gone had a number, and nobody knows it any more.
pub(crate) fn nobody(holder: &ClientName) -> ClientName {
    let former = || ClientName::new("former stanza").ok();
    holder.is_of_keys().then(former).flatten().unwrap_or_else(|| holder.clone())
}
