//! What fwknopd's log says of rules, for a place where none of its chains has them: there the kernel's own timers end
//! grants, and the back end sees no rule go.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use portunus_fw::iptables::Note;
use portunus_fw::{Change, Element, Ended, Firewall, FirewallError, Standing, Structure};
use portunus_model::Unix;

/// Where such grants stand: a word, as the name of a chain is one.
const PLACE: &str = "portunus";

/// A back end, and what is told of its grants.
pub(super) struct Told {
    inner: Box<dyn Firewall>,
    wall: fn() -> Unix,
    /// What is open, and until when it was said to be.
    ends: BTreeMap<Element, Unix>,
    notes: Vec<Note>,
}

impl Told {
    /// `wall` reads the clock that the log goes by.
    pub(super) fn new(inner: Box<dyn Firewall>, wall: fn() -> Unix) -> Self {
        Self { inner, wall, ends: BTreeMap::new(), notes: Vec::new() }
    }

    fn opened(&mut self, element: Element, until: Unix) {
        let before = self.ends.insert(element, until);
        // The same rule once more is none.
        if before.is_none_or(|before| before.as_secs() != until.as_secs()) {
            self.notes.extend(Note::all_added(PLACE, &element, until));
        }
    }

    /// A set has no numbers: it is the one that it would have in a list in the order of their ends.
    fn ended(&mut self, element: &Element) {
        let Some(&until) = self.ends.get(element) else { return };
        let before = self.ends.iter().filter(|(other, end)| (**end, *other) < (until, element)).count();
        self.ends.remove(element);
        let rules = Note::all_added(PLACE, element, until).len();
        let gone = Note::Removed { chain: PLACE.to_owned(), number: before + 1, until: until.as_secs() };
        self.notes.extend(std::iter::repeat_n(gone, rules));
    }

    fn end_all(&mut self, is_over: impl Fn(&Element, Unix) -> bool) {
        let over = self.ends.iter().filter(|(element, until)| is_over(element, **until));
        let over: Vec<Element> = over.map(|(element, _)| *element).collect();
        over.iter().for_each(|element| self.ended(element));
    }
}

impl Firewall for Told {
    /// What was open before we came is not told again.
    fn install(&mut self, structure: &Structure, open: &[(Element, Duration)]) -> Result<(), FirewallError> {
        self.inner.install(structure, open)?;
        let now = (self.wall)();
        let open: BTreeMap<Element, Unix> =
            open.iter().map(|(element, left)| (*element, now.after(*left))).collect();
        self.end_all(|element, _| !open.contains_key(element));
        for (element, until) in open {
            self.ends.entry(element).or_insert(until);
        }
        Ok(())
    }

    fn change(&mut self, changes: &[Change]) -> Vec<Result<(), FirewallError>> {
        let answers = self.inner.change(changes);
        let now = (self.wall)();
        for (change, _) in changes.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
            match *change {
                Change::Open(element, lasting) => self.opened(element, now.after(lasting)),
                Change::Close(element) => self.ended(&element),
            }
        }
        answers
    }

    fn end_flows(&mut self, elements: &[Element], lasting: Duration) -> Result<Ended, FirewallError> {
        self.inner.end_flows(elements, lasting)
    }

    fn open_now(&mut self) -> Result<Vec<(Element, Duration)>, FirewallError> {
        self.inner.open_now()
    }

    fn standing(&mut self) -> Result<Standing, FirewallError> {
        self.inner.standing()
    }

    fn others_changed(&mut self) -> bool {
        self.inner.others_changed()
    }

    fn absent(&self) -> Option<&str> {
        self.inner.absent()
    }

    fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.inner.watch()
    }

    fn kernel_closes(&self) -> bool {
        self.inner.kernel_closes()
    }

    fn notes(&mut self) -> Vec<Note> {
        let now = (self.wall)();
        self.end_all(|_, until| until <= now);
        let mut notes = self.inner.notes();
        notes.append(&mut self.notes);
        notes
    }

    fn teardown(&mut self) -> Result<(), FirewallError> {
        self.ends.clear();
        self.inner.teardown()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use portunus_fw::Record;
    use portunus_model::{Nat, NatSource, PortSpec, Way};

    use super::*;

    thread_local! { static CLOCK: Cell<i64> = const { Cell::new(0) } }

    fn told() -> Told {
        CLOCK.set(1_800_000_000);
        let mut told = Told::new(Box::new(Record::default()), || Unix::from_secs(CLOCK.get()));
        let doors = PortSpec::parse("22/tcp").unwrap();
        let nat = portunus_model::NatLimits { forward: true, ..Default::default() };
        let nat = portunus_model::NatLimits { sources: vec![NatSource::Masquerade], ..nat };
        told.install(&Structure { doors, most_open: 10, nat, ..Structure::default() }, &[]).unwrap();
        told
    }

    fn ssh(last: u8) -> Element {
        Element::here([10, 0, 0, last].into(), PortSpec::parse("22/tcp").unwrap()[0])
    }

    fn open(told: &mut Told, element: Element, secs: u64) {
        assert_eq!(told.change(&[Change::Open(element, Duration::from_secs(secs))]), [Ok(())]);
    }

    fn said(told: &mut Told) -> Vec<String> {
        told.notes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_grant_is_told_when_it_comes_and_when_it_goes() {
        let mut told = told();
        open(&mut told, ssh(1), 30);
        open(&mut told, ssh(2), 20);
        assert_eq!(
            said(&mut told),
            [
                "Added access rule to portunus for 10.0.0.1 -> 0.0.0.0/0 tcp/22, expires at 1800000030",
                "Added access rule to portunus for 10.0.0.2 -> 0.0.0.0/0 tcp/22, expires at 1800000020",
            ]
        );
        open(&mut told, ssh(1), 30);
        assert_eq!(said(&mut told), [""; 0], "the same again");
        open(&mut told, ssh(1), 40);
        assert!(said(&mut told)[0].ends_with("expires at 1800000040"), "prolonged");
        assert_eq!(told.change(&[Change::Close(ssh(1))]), [Ok(())]);
        assert_eq!(said(&mut told), ["Removed rule 2 from portunus with expire time of 1800000040"]);
        CLOCK.set(1_800_000_019);
        assert_eq!(said(&mut told), [""; 0]);
        CLOCK.set(1_800_000_020);
        assert_eq!(said(&mut told), ["Removed rule 1 from portunus with expire time of 1800000020"]);
    }

    #[test]
    fn each_step_of_a_translation_is_told() {
        let mut told = told();
        let host = "10.7.7.7".parse().unwrap();
        let nat = Nat { local: false, host, port: 8022, rewrite: true, source: NatSource::Masquerade };
        let through = Element { way: Way::Nat(nat), ..ssh(1) };
        open(&mut told, through, 30);
        let added = |kind: &str| {
            format!("Added {kind} rule to portunus for 10.0.0.1 -> 0.0.0.0/0 tcp/22, expires at 1800000030")
        };
        assert_eq!(said(&mut told), ["FORWARD", "DNAT", "SNAT"].map(added));
        assert_eq!(told.change(&[Change::Close(through)]), [Ok(())]);
        assert_eq!(said(&mut told).len(), 3);
    }

    #[test]
    fn what_was_open_before_is_told_at_its_end_only() {
        let mut told = told();
        let structure = Structure { doors: vec![], ..Structure::default() };
        told.install(&structure, &[(ssh(1), Duration::from_secs(5))]).unwrap();
        assert_eq!(said(&mut told), [""; 0]);
        told.install(&structure, &[]).unwrap();
        assert_eq!(said(&mut told), ["Removed rule 1 from portunus with expire time of 1800000005"]);
    }
}
