//! Names of inner hosts (fwknop's NAT): looked up when a proven knock brings a new one, and again when its time is up,
//! never for each knock. Only proven clients' names come here; still they are bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use portunus_model::Mono;

/// How many names are remembered.
const MOST: usize = 256;
/// How long an answer holds. (A resolver library does not tell its own time to live.)
const HOLDS: Duration = Duration::from_secs(300);
/// How long it holds that nobody knows the name.
const NOBODY_HOLDS: Duration = Duration::from_secs(15);

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The host has this address.
    As(IpAddr),
    /// It was asked lately, and nobody knows it.
    Nobody,
    /// It is to be asked.
    NotYet,
}

#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<String, (Option<IpAddr>, Mono)>,
}

impl Names {
    pub(crate) fn look(&self, name: &str, now: Mono) -> Known {
        match self.known.get(name) {
            Some((answer, until)) if *until > now => answer.map_or(Known::Nobody, Known::As),
            Some(_) | None => Known::NotYet,
        }
    }

    /// An answer came.
    pub(crate) fn learn(&mut self, name: String, answer: Option<IpAddr>, now: Mono) {
        if self.known.len() >= MOST && !self.known.contains_key(&name) {
            self.known.retain(|_, (_, until)| *until > now);
            // Full of live ones: the one that ends first makes room, in an order that depends on no hash.
            let first =
                self.known.iter().min_by_key(|(name, (_, until))| (*until, *name)).map(|(n, _)| n.clone());
            if let Some(first) = first.filter(|_| self.known.len() >= MOST) {
                self.known.remove(&first);
            }
        }
        let holds = if answer.is_some() { HOLDS } else { NOBODY_HOLDS };
        self.known.insert(name, (answer.map(|address| address.to_canonical()), now.after(holds)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn an_answer_holds_for_its_time_and_then_is_asked_again() {
        let mut names = Names::default();
        let inner = "192.168.1.2".parse().unwrap();
        assert_eq!(names.look("inner", at(0)), Known::NotYet);
        names.learn("inner".into(), Some(inner), at(0));
        names.learn("nobody".into(), None, at(0));
        assert_eq!(names.look("inner", at(299)), Known::As(inner));
        assert_eq!(names.look("nobody", at(14)), Known::Nobody);
        assert_eq!(
            (names.look("inner", at(300)), names.look("nobody", at(15))),
            (Known::NotYet, Known::NotYet)
        );
    }

    #[test]
    fn a_client_that_names_ever_new_hosts_fills_no_memory() {
        let mut names = Names::default();
        for n in 0..10 * MOST {
            names.learn(format!("host-{n}"), None, at(0));
        }
        assert_eq!(names.known.len(), MOST);
    }
}
