//! Reading back what a transaction opened: the kernel says of each element, when all is done, what it now has.
//!
//! That costs it a fraction of being asked for each afterwards. What it does not say, or says otherwise than it was asked
//! for, is asked for by itself.

use std::time::{Duration, Instant};

use netlink_bindings::nftables::OpNewsetelemDo;

use super::message::{NEW_ELEMENTS, TableName};
use super::stand::Keyed;
use super::talk::{Answer, Talk, elements_of};

/// The kernel's rounding, and far more. What is further from what was asked kept the end that it had before.
const SLACK: Duration = Duration::from_secs(1);

/// What a transaction is to be told, in the order in which it was written.
#[derive(Debug, Default)]
pub(super) struct Echoes<'a> {
    expected: Vec<Expected<'a>>,
    /// The first that may come next.
    next: usize,
}

#[derive(Debug)]
struct Expected<'a> {
    table: &'a TableName,
    set: &'a str,
    keyed: Keyed,
    /// It is there as it was asked for.
    heard: bool,
}

/// What is not there as it was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing {
    pub(super) keyed: Keyed,
    /// It is there, with another end.
    pub(super) stays: bool,
}

impl<'a> Echoes<'a> {
    /// This will be opened.
    pub(super) fn expect(&mut self, table: &'a TableName, set: &'a str, keyed: Keyed) {
        self.expected.push(Expected { table, set, keyed, heard: false });
    }

    /// Takes one message of the kernel's; the transaction was sent at `began`.
    pub(super) fn hear(&mut self, answer: &Answer<'_>, began: Instant) {
        if answer.kind != NEW_ELEMENTS {
            return;
        }
        let (header, attributes) = OpNewsetelemDo::decode_request(answer.body);
        let (Ok(table), Ok(set)) = (attributes.get_table(), attributes.get_set()) else { return };
        let is_in = |one: &Expected<'_>| {
            one.set.as_bytes() == set.to_bytes()
                && one.table.bytes() == table.to_bytes()
                && one.table.nfproto() == header.nfgen_family
        };
        elements_of(answer.body, &mut |key, left| {
            let mut rest = self.expected.iter_mut().enumerate().skip(self.next);
            if let Some((place, one)) = rest.find(|(_, one)| one.keyed.key.as_bytes() == key && is_in(one)) {
                one.heard = is_as_asked(left, one.keyed.milliseconds, began);
                self.next = place + 1;
            }
        });
    }

    /// Those whose elements are not there, or not for as long as was asked. Who was not heard of is asked for.
    pub(super) fn missing(self, talk: &mut Talk, began: Instant) -> Vec<Missing> {
        let mut missing = Vec::new();
        for Expected { table, set, keyed, .. } in self.expected.into_iter().filter(|one| !one.heard) {
            let left = talk.left(table, set, keyed.key.as_bytes());
            if !left.is_some_and(|left| is_as_asked(left, keyed.milliseconds, began)) {
                missing.push(Missing { keyed, stays: left.is_some() });
            }
        }
        missing
    }
}

/// Whether an element has the end that it was given after `began`: not none, and not the one that it had before.
fn is_as_asked(left: Option<Duration>, milliseconds: u64, began: Instant) -> bool {
    let asked = Duration::from_millis(milliseconds);
    left.is_some_and(|left| left <= asked + SLACK && left + SLACK + began.elapsed() >= asked)
}

#[cfg(test)]
mod tests {
    use portunus_model::{Family, PortSpec};

    use super::super::keys::{Meaning, places};
    use super::super::message::Batch;
    use super::super::talk::messages;
    use super::*;
    use crate::Element;

    const SET: &str = "open4";

    fn table() -> TableName {
        TableName { family: Family::Inet, name: "portunus".to_owned() }
    }

    fn keyed(place: usize, address: &str, milliseconds: u64) -> Keyed {
        let port = PortSpec::parse("22/tcp").unwrap()[0];
        let element = Element::here(address.parse().unwrap(), port);
        let placed = places(&element, Meaning::Open).next().unwrap();
        let (key, value) = (placed.key, placed.value);
        Keyed { key, value, milliseconds, opens: true, sure: false, place }
    }

    /// What was not heard of when the kernel says `said` of elements of `set`.
    fn unheard(set: &str, said: &[Keyed]) -> Vec<usize> {
        let table = table();
        let mut echoes = Echoes::default();
        for (place, address) in ["192.0.2.1", "192.0.2.2", "192.0.2.3"].into_iter().enumerate() {
            echoes.expect(&table, SET, keyed(place, address, 30_000));
        }
        let mut batch = Batch::begin(1, None);
        for one in said {
            batch.says_new_element(&table, set, one.key.as_bytes(), one.milliseconds);
        }
        let bytes = batch.end().bytes;
        messages(&bytes).for_each(|answer| echoes.hear(&answer, Instant::now()));
        echoes.expected.iter().filter(|one| !one.heard).map(|one| one.keyed.place).collect()
    }

    #[test]
    fn what_the_kernel_says_in_order_is_there() {
        let all =
            [keyed(0, "192.0.2.1", 30_000), keyed(0, "192.0.2.2", 29_990), keyed(0, "192.0.2.3", 30_000)];
        assert_eq!(unheard(SET, &all), [0; 0]);
        assert_eq!(unheard(SET, &all[1..]), [0]);
        assert_eq!(unheard(SET, &all[..2]), [2]);
    }

    #[test]
    fn another_set_another_address_and_another_end_are_not_what_was_asked_for() {
        let one = keyed(0, "192.0.2.1", 30_000);
        assert_eq!(unheard("cut4", &[one]), [0, 1, 2]);
        assert_eq!(unheard(SET, &[keyed(0, "192.0.2.4", 30_000), one]), [1, 2]);
        assert_eq!(unheard(SET, &[keyed(0, "192.0.2.1", 20_000)]), [0, 1, 2]);
        assert_eq!(unheard(SET, &[keyed(0, "192.0.2.1", 40_000)]), [0, 1, 2]);
    }
}
