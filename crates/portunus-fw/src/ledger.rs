//! The ledger: who may reach what until when. Pure.
//!
//! A grant is a row (client, address, port, deadline). An [`Element`] of the firewall is derived: its deadline is
//! the latest of its rows. So two clients behind one address keep a door that either of them holds, and none ends or
//! prolongs the other's. Called by the grantor; the deadlines are BOOTTIME, so that they go on in suspend.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::time::Duration;

use portunus_model::{ClientName, Element, Grounds, Mono, Way};

use crate::Change;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// Whose it is.
    pub client: ClientName,
    /// What it keeps open.
    pub element: Element,
    /// Until when.
    pub until: Mono,
    /// On what it stands.
    pub grounds: Grounds,
}

/// Until when a row lasts, and on what grounds: those of the knock that gave it this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Until when.
    pub until: Mono,
    /// On what it stands.
    pub grounds: Grounds,
}

/// What [`Ledger::open`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The row before; `None`: there was none.
    pub before: Option<Term>,
    /// The row now: never with an earlier end.
    pub term: Term,
    /// What the firewall needs.
    pub change: Change,
}

/// The rows of one door, by client; nearly always one.
type Rows = Vec<(ClientName, Term)>;

/// Every row, and when to look at each again.
#[derive(Debug, Default)]
pub struct Ledger {
    doors: BTreeMap<Element, Rows>,
    rows: usize,
    /// For each row one at its deadline or before. Prolonging a row, which is what most knocks do, leaves its alarm as it
    /// is; when that rings, it is set anew.
    alarms: BinaryHeap<Reverse<Alarm>>,
}

/// When to look at a row.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alarm {
    at: Mono,
    element: Element,
    client: ClientName,
}

/// So many alarms of rows that are gone are no matter.
const STALE: usize = 1024;

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether it has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// `client`'s row on `element`, if it has one.
    #[must_use]
    pub fn row(&self, client: &ClientName, element: Element) -> Option<Term> {
        let rows = self.doors.get(&element)?;
        let place = place_of(rows, client).ok()?;
        rows.get(place).map(|(_, term)| *term)
    }

    /// Writes a row, or moves its end: never to earlier. Its grounds are those of whoever gave it the end that it has.
    pub fn open(&mut self, now: Mono, client: &ClientName, element: Element, term: Term) -> Opened {
        let rows = self.doors.entry(element).or_default();
        let place = place_of(rows, client);
        let row = place.ok().and_then(|place| rows.get_mut(place));
        let before = row.as_ref().map(|(_, term)| *term);
        let term = before.filter(|before| before.until > term.until).unwrap_or(term);
        match (row, place) {
            (Some((_, held)), _) => *held = term,
            (None, Ok(place) | Err(place)) => {
                rows.insert(place, (client.clone(), term));
                self.rows += 1;
                self.alarms.push(Reverse(Alarm { at: term.until, element, client: client.clone() }));
            }
        }
        Opened { before, term, change: derived(now, element, rows) }
    }

    /// Puts a row back to what it was before an `open` that the firewall refused; `None`: there was none.
    pub fn undo(&mut self, client: &ClientName, element: Element, before: Option<Term>) {
        match before {
            Some(term) => self.write(client, element, term),
            None => self.strike(client, element),
        }
    }

    /// Takes over a row of an earlier life. The firewall is told by [`Ledger::wanted`].
    pub fn restore(&mut self, row: &Row) {
        self.write(&row.client, row.element, Term { until: row.until, grounds: row.grounds });
    }

    /// Ends every row that matches; `None` matches all. The rows that ended, and the changes that the firewall needs:
    /// a door that another client still holds is rewritten to what remains.
    pub fn close(
        &mut self,
        now: Mono,
        client: Option<&ClientName>,
        address: Option<IpAddr>,
    ) -> (Vec<Row>, Vec<Change>) {
        let theirs = |row: &Row| client.is_none_or(|client| *client == row.client);
        let ended: Vec<Row> = match address {
            Some(address) => self.of(address).flat_map(rows_of).filter(theirs).collect(),
            None => self.rows().filter(theirs).collect(),
        };
        let changes = self.end(now, &ended);
        (ended, changes)
    }

    /// Ends every row that is due. Where the kernel held the timer the element is gone already and closing it again
    /// costs nothing; where the kernel's clock stood still (suspend) this is what closes it.
    pub fn expire(&mut self, now: Mono) -> (Vec<Row>, Vec<Change>) {
        let mut ended = Vec::new();
        while let Some(row) = self.next_due(now) {
            self.strike(&row.client, row.element);
            ended.push(row);
        }
        let changes = self.end(now, &ended);
        (ended, changes)
    }

    /// When [`Ledger::expire`] is worth calling next: no row ends before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.alarms.peek().map(|first| first.0.at)
    }

    fn next_due(&mut self, now: Mono) -> Option<Row> {
        loop {
            let mut first = self.alarms.peek_mut().filter(|first| first.0.at <= now)?;
            let Alarm { at, element, client } = &first.0;
            let rows = self.doors.get(element).map_or(&[][..], Vec::as_slice);
            let row = place_of(rows, client).ok().and_then(|place| rows.get(place));
            match row.map(|(_, term)| *term) {
                // Prolonged since.
                Some(term) if term.until > *at => first.0.at = term.until,
                Some(Term { until, grounds }) => {
                    let Alarm { element, client, .. } = PeekMut::pop(first).0;
                    return Some(Row { client, element, until, grounds });
                }
                // Closed before its time.
                None => drop(PeekMut::pop(first)),
            }
        }
    }

    /// Every door that is to be open at `now`, and for how much longer.
    #[must_use]
    pub fn wanted(&self, now: Mono) -> Vec<(Element, Duration)> {
        let left = |(element, rows): (&Element, &Rows)| match derived(now, *element, rows) {
            Change::Open(element, left) => Some((element, left)),
            Change::Close(_) => None,
        };
        self.doors.iter().filter_map(left).collect()
    }

    /// Drops every row that `keep` does not want. Returns them; the firewall is told by [`Ledger::wanted`] and an install.
    pub fn retain(&mut self, keep: impl Fn(&Row) -> bool) -> Vec<Row> {
        let gone: Vec<Row> = self.rows().filter(|row| !keep(row)).collect();
        for row in &gone {
            self.strike(&row.client, row.element);
        }
        gone
    }

    /// Every row on a door beside which the kernel cannot carry `element` out. They are of one address, so few are looked at.
    #[must_use]
    pub fn rivals(&self, element: &Element) -> Vec<Row> {
        self.of(element.address).filter(|(other, _)| other.rivals(element)).flat_map(rows_of).collect()
    }

    /// Ends these rows; the changes that the firewall needs.
    pub fn strike_all(&mut self, now: Mono, rows: &[Row]) -> Vec<Change> {
        self.end(now, rows)
    }

    /// Every row, by element and client.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.doors.iter().flat_map(rows_of)
    }

    /// The doors of one address.
    fn of(&self, address: IpAddr) -> impl Iterator<Item = (&Element, &Rows)> {
        let least = Element { address, port: None, destination: None, way: Way::Here };
        self.doors.range(least..).take_while(move |(element, _)| element.address == address)
    }

    fn end(&mut self, now: Mono, ended: &[Row]) -> Vec<Change> {
        for row in ended {
            self.strike(&row.client, row.element);
        }
        let elements: BTreeSet<Element> = ended.iter().map(|row| row.element).collect();
        elements.into_iter().map(|element| self.derived(now, element)).collect()
    }

    /// What the firewall needs so that one element is as its rows say.
    #[must_use]
    pub fn derived(&self, now: Mono, element: Element) -> Change {
        derived(now, element, self.doors.get(&element).map_or(&[], Vec::as_slice))
    }

    fn write(&mut self, client: &ClientName, element: Element, term: Term) {
        self.strike(client, element);
        let rows = self.doors.entry(element).or_default();
        let (Ok(place) | Err(place)) = place_of(rows, client);
        rows.insert(place, (client.clone(), term));
        self.rows += 1;
        self.alarms.push(Reverse(Alarm { at: term.until, element, client: client.clone() }));
    }

    fn strike(&mut self, client: &ClientName, element: Element) {
        let Some(rows) = self.doors.get_mut(&element) else { return };
        if let Ok(place) = place_of(rows, client) {
            rows.remove(place);
            self.rows -= 1;
        }
        if rows.is_empty() {
            self.doors.remove(&element);
        }
        self.forget_stale();
    }

    /// What is opened and taken back again and again must not pile up alarms.
    fn forget_stale(&mut self) {
        if self.alarms.len() > 2 * self.rows + STALE {
            let alarm = |row: Row| Reverse(Alarm { at: row.until, element: row.element, client: row.client });
            self.alarms = self.rows().map(alarm).collect();
        }
    }
}

/// Where a client's row is, or would stand.
fn place_of(rows: &[(ClientName, Term)], client: &ClientName) -> Result<usize, usize> {
    rows.binary_search_by(|(other, _)| other.cmp(client))
}

/// A door lasts as long as its latest row.
fn derived(now: Mono, element: Element, rows: &[(ClientName, Term)]) -> Change {
    let latest = rows.iter().map(|(_, term)| term.until).max();
    match latest.map(|until| until.since(now)) {
        Some(left) if !left.is_zero() => Change::Open(element, left),
        Some(_) | None => Change::Close(element),
    }
}

fn rows_of((element, rows): (&Element, &Rows)) -> impl Iterator<Item = Row> {
    rows.iter().map(|(client, term)| Row {
        client: client.clone(),
        element: *element,
        until: term.until,
        grounds: term.grounds,
    })
}

#[cfg(test)]
mod tests {
    use portunus_model::{Nat, NatSource, PortSpec, Proto};

    use super::*;

    fn until(until: Mono) -> Term {
        Term { until, grounds: Grounds::default() }
    }

    fn open(ledger: &mut Ledger, now: Mono, client: &ClientName, element: Element, end: Mono) -> Opened {
        ledger.open(now, client, element, until(end))
    }

    fn at(secs: u64) -> Mono {
        Mono::from_nanos(secs * 1_000_000_000)
    }

    fn door(address: &str, port: u16) -> Element {
        Element::here(address.parse().unwrap(), PortSpec::single(Proto::Tcp, port).unwrap())
    }

    fn name(text: &str) -> ClientName {
        ClientName::new(text).unwrap()
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_shared_door_lasts_as_long_as_its_latest_row() {
        let mut ledger = Ledger::new();
        let element = door("192.0.2.1", 22);
        assert_eq!(
            open(&mut ledger, at(0), &name("alice"), element, at(30)).change,
            Change::Open(element, secs(30))
        );
        assert_eq!(
            open(&mut ledger, at(1), &name("bob"), element, at(11)).change,
            Change::Open(element, secs(29))
        );
        let (ended, changes) = ledger.close(at(2), Some(&name("alice")), None);
        assert_eq!(ended.len(), 1);
        assert_eq!(changes, [Change::Open(element, secs(9))]);
        let (ended, changes) = ledger.expire(at(11));
        assert_eq!(ended.len(), 1);
        assert_eq!(changes, [Change::Close(element)]);
        assert!(ledger.is_empty());
    }

    #[test]
    fn a_repeated_knock_never_shortens() {
        let mut ledger = Ledger::new();
        let element = door("192.0.2.1", 22);
        open(&mut ledger, at(0), &name("alice"), element, at(30));
        let again = open(&mut ledger, at(1), &name("alice"), element, at(5));
        assert_eq!((again.before, again.term), (Some(until(at(30))), until(at(30))));
        assert_eq!(again.change, Change::Open(element, secs(29)));
        assert_eq!(ledger.len(), 1);
    }

    #[test]
    fn a_row_stands_on_the_knock_that_gave_it_its_end() {
        let mut ledger = Ledger::new();
        let (alice, element) = (name("alice"), door("192.0.2.1", 22));
        let on = |end: u64, source: &str| {
            let grounds = Grounds { source: source.parse().ok(), ..Grounds::default() };
            Term { until: at(end), grounds }
        };
        let (first, shorter, longer) = (on(30, "10.0.0.1"), on(20, "10.0.0.2"), on(40, "10.0.0.3"));
        ledger.open(at(0), &alice, element, first);
        assert_eq!(ledger.open(at(0), &alice, element, shorter).term, first);
        assert_eq!(ledger.open(at(0), &alice, element, longer).before, Some(first));
        let row = Row { client: alice, element, until: at(40), grounds: longer.grounds };
        assert_eq!(ledger.rows().collect::<Vec<_>>(), std::slice::from_ref(&row));
        assert_eq!(ledger.expire(at(40)).0, [row]);
    }

    #[test]
    fn addresses_that_begin_alike_are_strangers_to_each_other() {
        let mut ledger = Ledger::new();
        open(&mut ledger, at(0), &name("a"), door("10.0.0.1", 22), at(30));
        open(&mut ledger, at(0), &name("b"), door("10.0.0.11", 22), at(60));
        let (_, changes) = ledger.close(at(1), None, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(changes, [Change::Close(door("10.0.0.1", 22))]);
        assert_eq!(ledger.wanted(at(2)), [(door("10.0.0.11", 22), secs(58))]);
    }

    #[test]
    fn an_undone_open_leaves_what_was_before() {
        let mut ledger = Ledger::new();
        let element = door("192.0.2.1", 22);
        open(&mut ledger, at(0), &name("a"), element, at(30));
        let before = ledger.row(&name("a"), element);
        open(&mut ledger, at(1), &name("a"), element, at(60));
        ledger.undo(&name("a"), element, before);
        assert_eq!(ledger.row(&name("a"), element), Some(until(at(30))));
        ledger.undo(&name("a"), element, None);
        assert!(ledger.is_empty());
        assert_eq!((ledger.expire(at(60)), ledger.poll_timeout()), ((Vec::new(), Vec::new()), None));
    }

    #[test]
    fn of_two_translations_of_one_port_the_later_is_left() {
        let way = |host: &str| {
            let host = host.parse().unwrap();
            Way::Nat(Nat { local: false, host, port: 22, rewrite: true, source: NatSource::Kept })
        };
        let [here, other] = [door("192.0.2.1", 22), door("192.0.2.2", 22)];
        let [first, second] = ["10.0.0.2", "10.0.0.3"].map(|host| Element { way: way(host), ..here });
        let mut ledger = Ledger::new();
        for (client, element) in [("alice", here), ("alice", first), ("bob", first), ("alice", other)] {
            open(&mut ledger, at(0), &name(client), element, at(30));
        }
        let rivals = ledger.rivals(&second);
        assert_eq!(rivals.iter().map(|row| row.client.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(ledger.strike_all(at(1), &rivals), [Change::Close(first)]);
        assert_eq!(ledger.len(), 2);
    }

    #[test]
    fn a_prolonged_row_is_due_at_its_last_deadline() {
        let mut ledger = Ledger::new();
        let (one, other) = (door("192.0.2.1", 22), door("192.0.2.2", 22));
        open(&mut ledger, at(0), &name("a"), one, at(30));
        open(&mut ledger, at(0), &name("b"), other, at(40));
        open(&mut ledger, at(10), &name("a"), one, at(50));
        assert_eq!((ledger.poll_timeout(), ledger.expire(at(39)).0), (Some(at(30)), Vec::new()));
        assert_eq!(ledger.poll_timeout(), Some(at(40)), "looked at once, and not again before its time");
        let (ended, changes) = ledger.expire(at(45));
        assert_eq!((ended.len(), changes), (1, vec![Change::Close(other)]));
        assert_eq!(ledger.poll_timeout(), Some(at(50)));
        // Taken back to before: due earlier again.
        ledger.undo(&name("a"), one, Some(until(at(47))));
        assert_eq!(ledger.poll_timeout(), Some(at(47)));
        assert_eq!(ledger.expire(at(47)).1, [Change::Close(one)]);
        assert!(ledger.is_empty());
        assert_eq!((ledger.expire(at(50)), ledger.poll_timeout()), ((Vec::new(), Vec::new()), None));
    }

    #[test]
    fn what_is_opened_and_taken_back_leaves_nothing_behind() {
        let mut ledger = Ledger::new();
        let element = door("192.0.2.1", 22);
        open(&mut ledger, at(0), &name("a"), element, at(30));
        for _ in 0..100_000 {
            open(&mut ledger, at(0), &name("b"), element, at(60));
            ledger.undo(&name("b"), element, None);
        }
        assert_eq!((ledger.len(), ledger.doors.len()), (1, 1));
        assert!(ledger.alarms.len() <= 2 + STALE + 1, "{} alarms for one row", ledger.alarms.len());
        assert_eq!(ledger.expire(at(30)).1, [Change::Close(element)]);
    }

    #[test]
    fn ten_thousand_rows_expire_in_one_pass() {
        let mut ledger = Ledger::new();
        for n in 0..10_000_u32 {
            let address = IpAddr::V4((0x0a00_0000 + n).into());
            let element = Element::here(address, PortSpec::single(Proto::Tcp, 22).unwrap());
            open(&mut ledger, at(0), &name("a"), element, at(30));
        }
        let (ended, changes) = ledger.expire(at(30));
        assert_eq!((ended.len(), changes.len()), (10_000, 10_000));
    }
}
