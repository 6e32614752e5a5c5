//! A hostile front against a grantor: whatever it says, nothing is opened that the limits do not allow, and the grantor
//! goes on. Long because each test is short and stands by itself, on one stage.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portunus_fw::{Change, Element, Ended, Firewall, FirewallError, Record, Standing, Structure};
use portunus_model::{
    Cause, ClientName, Closing, Grounds, HolderNames, Limits, Nat, NatLimits, NatSource, Now, Opened,
    Opening, PortSpec, Way,
};

use portunus_ctl::frame::Killed;

use super::book::Found;
use super::duty::{CALM, Disturbed, LONGEST_PAUSE, SHORT_PAUSE};
use super::*;
use crate::message::{Backend, Wish};

/// A recording firewall that the test can look into while the grantor has it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Record>>);

impl Firewall for Shared {
    fn install(&mut self, structure: &Structure, open: &[(Element, Duration)]) -> Result<(), FirewallError> {
        self.0.lock().unwrap().install(structure, open)
    }

    fn change(&mut self, changes: &[Change]) -> Vec<Result<(), FirewallError>> {
        self.0.lock().unwrap().change(changes)
    }

    fn end_flows(&mut self, elements: &[Element], lasting: Duration) -> Result<Ended, FirewallError> {
        self.0.lock().unwrap().end_flows(elements, lasting)
    }

    fn open_now(&mut self) -> Result<Vec<(Element, Duration)>, FirewallError> {
        self.0.lock().unwrap().open_now()
    }

    fn standing(&mut self) -> Result<Standing, FirewallError> {
        self.0.lock().unwrap().standing()
    }

    fn watch(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    fn teardown(&mut self) -> Result<(), FirewallError> {
        self.0.lock().unwrap().teardown()
    }
}

/// A grantor in a thread, and we are its front and its keeper.
struct Stage {
    keeper: Channel,
    front: Channel,
    firewall: Shared,
    grantor: JoinHandle<io::Result<()>>,
    folder: tempfile::TempDir,
}

fn limits() -> Limits {
    let mut doors = PortSpec::parse("22/tcp").unwrap();
    doors.extend(PortSpec::parse("8000-8010/udp").unwrap());
    doors.sort();
    Limits { doors, longest: Duration::from_secs(60), most_open: 3, ..Limits::default() }
}

fn wish() -> Wish {
    Wish {
        place: Some(Place::Own),
        interfaces: Vec::new(),
        protected: PortSpec::parse("22/tcp").unwrap(),
        sent_on: Vec::new(),
        knock_port: None,
        listen_port: None,
        firewall: Backend::Nft,
        trial: None,
    }
}

impl Stage {
    fn set(firewall: Shared, folder: tempfile::TempDir) -> Self {
        Self::within(limits(), firewall, folder)
    }

    fn within(limits: Limits, firewall: Shared, folder: tempfile::TempDir) -> Self {
        let (keeper, their_keeper) = Channel::pair().unwrap();
        let (front, their_front) = Channel::pair().unwrap();
        let file = |name: &str| portunus_sys::files::open_state(&folder.path().join(name)).unwrap();
        let boot = BootId::from_bytes([7; 16]);
        let files = [file("a"), file("b")];
        let shared = firewall.clone();
        // A book is no thread's property, so it is made where it is used.
        let grantor = std::thread::spawn(move || {
            let now = clock::mono();
            let (journal, rows) = Journal::open(files, boot, now).unwrap();
            let post = Post {
                keeper: their_keeper,
                front: their_front,
                ground: Ground::look(),
                snapshot: GrantorSnapshot { limits: limits.clone(), wish: wish() },
                place: Place::Own,
                holding: false,
                errand: None,
                book: Book::take_up((now, ahead()), limits, journal, rows, Box::new(shared)),
            };
            Grantor::take(post)?.unwrap().serve()
        });
        let stage = Self { keeper, front, firewall, grantor, folder };
        assert!(
            portunus_sys::poll::readable(&stage.keeper, Duration::from_secs(10)).unwrap(),
            "never in force"
        );
        let said = message::receive::<FromGrantor>(&stage.keeper).unwrap().unwrap();
        assert!(matches!(said.value, FromGrantor::InForce { .. }));
        stage
    }

    fn fresh() -> Self {
        Self::set(Shared::default(), tempfile::tempdir().unwrap())
    }

    fn hear(&self) -> Vec<Said> {
        assert!(portunus_sys::poll::readable(&self.front, Duration::from_secs(5)).unwrap());
        let mut buffer = vec![0; frame::LONGEST_MESSAGE];
        let Received::Message(message) = self.front.try_receive_bytes(&mut buffer).unwrap() else {
            panic!("no answer")
        };
        frame::read(&buffer[..message.length]).unwrap()
    }

    fn say(&self, said: &[Said]) {
        let mut writer = Writer::default();
        said.iter().for_each(|one| assert!(writer.add(one)));
        self.front.send(writer.message(), &[]).unwrap();
    }

    fn open_now(&self) -> Vec<Element> {
        self.firewall.0.lock().unwrap().open.keys().copied().collect()
    }

    fn end(self, close: bool) -> (Shared, tempfile::TempDir) {
        message::send(&self.keeper, &ToGrantor::End { close }, &[]).unwrap();
        self.grantor.join().unwrap().unwrap();
        (self.firewall, self.folder)
    }
}

fn opening(ticket: u64, client: &str, address: &str, ports: &[&str], secs: u64) -> Said {
    let opening = Opening {
        client: ClientName::new(client).unwrap(),
        address: address.parse().unwrap(),
        ports: ports.iter().flat_map(|text| PortSpec::parse(text).unwrap()).collect(),
        lasting: Duration::from_secs(secs),
        destination: None,
        way: Way::Here,
        grounds: Grounds::default(),
    };
    Said::Open(ticket, opening)
}

fn element(address: &str, port: &str) -> Element {
    Element::here(address.parse().unwrap(), PortSpec::parse(port).unwrap()[0])
}

#[test]
fn a_hostile_front_opens_nothing_outside_the_limits() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);

    stage.say(&[opening(1, "alice", "192.0.2.7", &["22/tcp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(1, Opened::Open)]);

    stage.say(&[
        opening(2, "mallory", "192.0.2.8", &["23/tcp"], 30),
        opening(3, "mallory", "224.0.0.1", &["22/tcp"], 30),
        opening(4, "mallory", "192.0.2.8", &["22/tcp"], 61),
        opening(5, "mallory", "192.0.2.8", &["22/tcp", "23/tcp"], 30),
        opening(6, "mallory", "127.0.0.1", &["22/tcp"], 30),
        Said::Opened(1, Opened::Open),
        Said::RestoredAll,
    ]);
    let refused: Vec<Said> = (2..=6).map(|ticket| Said::Opened(ticket, Opened::Refused)).collect();
    assert_eq!(stage.hear(), refused);
    assert_eq!(stage.open_now(), [element("192.0.2.7", "22/tcp")]);
    stage.end(false);
}

#[test]
fn garbage_of_every_length_changes_nothing_and_the_grantor_lives() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    let mut seed = 7_u64;
    for length in [
        1,
        frame::SIZE - 1,
        frame::SIZE,
        frame::SIZE + 1,
        2 * frame::SIZE,
        1000,
        frame::LONGEST_MESSAGE,
        frame::LONGEST_MESSAGE + 1,
        100_000,
    ] {
        let garbage: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed.to_be_bytes()[0]
            })
            .collect();
        stage.front.send(&garbage, &[]).unwrap();
    }
    // Descriptors that come along are closed by the kernel, never taken.
    let null = File::open("/dev/null").unwrap();
    stage.front.send(&[1; frame::SIZE], &[null.as_fd()]).unwrap();
    stage.say(&[opening(9, "alice", "192.0.2.7", &["22/tcp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(9, Opened::Open)]);
    assert_eq!(stage.open_now().len(), 1);
    stage.end(false);
}

#[test]
fn more_than_the_limit_is_full_and_a_renewal_is_not_more() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    let many: Vec<Said> =
        (1..=4).map(|n| opening(n, "alice", &format!("192.0.2.{n}"), &["22/tcp"], 30)).collect();
    stage.say(&many);
    let mut answers = stage.hear();
    answers.sort_by_key(|said| if let Said::Opened(ticket, _) = said { *ticket } else { 0 });
    assert_eq!(answers.last(), Some(&Said::Opened(4, Opened::Full)));
    assert_eq!(stage.open_now().len(), 3);
    stage.say(&[opening(5, "alice", "192.0.2.1", &["22/tcp"], 60)]);
    assert_eq!(stage.hear(), [Said::Opened(5, Opened::Open)]);
    stage.end(false);
}

#[test]
fn a_firewall_that_refuses_leaves_no_row_behind() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    stage.firewall.0.lock().unwrap().failing = Some(FirewallError::NotThere);
    stage.say(&[opening(1, "alice", "192.0.2.7", &["22/tcp", "8000-8010/udp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(1, Opened::Failed)]);
    stage.firewall.0.lock().unwrap().failing = None;
    stage.say(&[opening(2, "bob", "192.0.2.8", &["22/tcp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(2, Opened::Open)]);
    let (firewall, folder) = stage.end(false);
    // What failed is in no journal either.
    let again = Stage::set(firewall, folder);
    let restored = again.hear();
    assert_eq!(restored.len(), 2, "{restored:?}");
    assert_eq!(again.open_now(), [element("192.0.2.8", "22/tcp")]);
    again.end(false);
}

#[test]
fn what_was_open_is_told_after_a_restart_and_closed_at_the_end() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    stage.say(&[
        opening(1, "alice", "192.0.2.7", &["22/tcp", "8000-8010/udp"], 30),
        opening(2, "bob", "192.0.2.7", &["22/tcp"], 60),
        Said::Close(Closing {
            client: Some(ClientName::new("bob").unwrap()),
            address: None,
            cause: Cause::Close,
        }),
    ]);
    assert_eq!(stage.hear().len(), 2);
    let (firewall, folder) = stage.end(false);
    let again = Stage::set(firewall, folder);
    let restored = again.hear();
    let Said::Restored { client, ports, .. } = &restored[0] else { panic!("{restored:?}") };
    assert_eq!((client.as_str(), ports.len()), ("alice", 2));
    assert_eq!(restored[1..], [Said::RestoredAll]);
    assert_eq!(again.open_now().len(), 2);
    let (firewall, _) = again.end(true);
    assert!(firewall.0.lock().unwrap().open.is_empty());
}

#[test]
fn whoever_waits_for_the_end_of_it_hears_what_the_kernel_said() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    stage.say(&[opening(1, "alice", "192.0.2.7", &["22/tcp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(1, Opened::Open)]);
    let close = Said::Close(Closing { client: None, address: None, cause: Cause::Close });
    stage.firewall.0.lock().unwrap().failing = Some(FirewallError::NotThere);
    stage.say(&[close.clone(), Said::Settle(7)]);
    assert_eq!(stage.hear(), [Said::Settled(7, false)]);
    stage.firewall.0.lock().unwrap().failing = None;
    // It is tried again by itself.
    let start = Instant::now();
    while !stage.open_now().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "an end that was owed never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    stage.say(&[close, Said::Settle(8)]);
    assert_eq!(stage.hear(), [Said::Settled(8, true)]);
    stage.end(false);
}

#[test]
fn a_kill_ends_what_its_client_alone_has_had() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    let alice = ClientName::new("alice").unwrap();
    stage.say(&[
        opening(1, "alice", "192.0.2.7", &["22/tcp", "8000-8010/udp"], 30),
        opening(2, "bob", "192.0.2.7", &["22/tcp"], 60),
    ]);
    assert_eq!(stage.hear().len(), 2);
    // Closed some time before, as a reload does; a stranger has nothing that could end.
    stage.say(&[Said::Close(Closing { client: Some(alice.clone()), address: None, cause: Cause::Close })]);
    stage.say(&[Said::Kill(3, ClientName::new("mallory").unwrap()), Said::Kill(4, alice.clone())]);
    let mut said = stage.hear();
    if said.len() == 1 {
        said.extend(stage.hear());
    }
    let ssh: Box<[PortSpec]> = PortSpec::parse("22/tcp").unwrap().into();
    let bob = ClientName::new("bob").unwrap();
    assert_eq!(
        said,
        [
            Said::Killed(3, Killed::Done { sockets: 0, flows: 0 }),
            Said::Kept { ticket: 4, client: bob, address: "192.0.2.7".parse().unwrap(), ports: ssh },
            Said::Killed(4, Killed::Done { sockets: 1, flows: 0 }),
        ]
    );
    assert_eq!(stage.firewall.0.lock().unwrap().ended, [element("192.0.2.7", "8000-8010/udp")]);
    assert_eq!(stage.open_now(), [element("192.0.2.7", "22/tcp")]);
    // Once is enough: what it had is forgotten.
    stage.say(&[Said::Kill(5, alice)]);
    assert_eq!(stage.hear(), [Said::Killed(5, Killed::Done { sockets: 0, flows: 0 })]);
    stage.end(false);
}

#[test]
fn a_reload_takes_back_what_nobody_may_have_any_more() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    stage.say(&[opening(1, "alice", "192.0.2.7", &["22/tcp", "8000-8010/udp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(1, Opened::Open)]);
    let fewer = Limits { doors: PortSpec::parse("22/tcp").unwrap(), ..limits() };
    let snapshot = GrantorSnapshot { limits: fewer, wish: wish() };
    let beside = message::beside(&GrantorBrief { snapshot, names: HolderNames::default() }).unwrap();
    message::send(&stage.keeper, &ToGrantor::Reload, &[beside.as_fd()]).unwrap();
    // What was done before is told before it, for the audit log.
    let mut facts = Vec::new();
    loop {
        match message::receive::<FromGrantor>(&stage.keeper).unwrap().unwrap().value {
            FromGrantor::Facts { facts: some, .. } => facts.extend(some),
            FromGrantor::InForce { .. } => break,
            other @ (FromGrantor::NeedErrand
            | FromGrantor::Refused { .. }
            | FromGrantor::Came { .. }
            | FromGrantor::TrialOver) => panic!("{other:?}"),
        }
    }
    assert!(matches!(facts.as_slice(), [Fact::Opened { ports, .. }] if ports == "22/tcp,8000-8010/udp"));
    assert_eq!(stage.open_now(), [element("192.0.2.7", "22/tcp")]);
    stage.say(&[opening(2, "alice", "192.0.2.7", &["8000-8010/udp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(2, Opened::Refused)]);
    stage.end(false);
}

#[test]
fn a_tool_that_keeps_reloading_is_met_with_pauses() {
    let at = |millis: u64| Mono::from_nanos(3_600_000_000_000 + millis * 1_000_000);
    let mut disturbed = Disturbed::default();
    disturbed.notice(at(0));
    assert_eq!(disturbed.next, at(0));
    let mut now = at(0);
    for _ in 0..20 {
        disturbed.tried(now, true);
        disturbed.notice(now);
        assert!(disturbed.next > now);
        now = disturbed.next;
    }
    assert_eq!(disturbed.pause, SHORT_PAUSE);
    disturbed.tried(now, false);
    assert!(disturbed.pause > SHORT_PAUSE, "what fails by itself is not tried so often");
    disturbed.tried(now, true);
    let calm = now.after(CALM);
    disturbed.notice(calm);
    assert_eq!(disturbed.next, calm);
}

#[test]
fn a_front_that_reads_nothing_delays_no_start_and_no_putting_back() {
    const OPEN: u32 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| portunus_sys::files::open_state(&folder.path().join(name)).unwrap());
    let now = clock::mono();
    let (mut journal, _) = Journal::open(files, BootId::from_bytes([7; 16]), now).unwrap();
    let row = |n: u32| portunus_store::Row {
        client: ClientName::new("alice").unwrap(),
        element: element(&std::net::Ipv4Addr::from(0x0a00_0001 + n).to_string(), "22/tcp"),
        until: now.after(Duration::from_secs(60)),
        grounds: Grounds::default(),
    };
    let rows: Vec<_> = (0..OPEN).map(|n| portunus_store::Entry::Open(row(n))).collect();
    journal.append(&rows).unwrap();
    drop(journal);
    // More than the channel holds: the front reads only once we are in force.
    let many = Limits { most_open: 2 * OPEN, ..limits() };
    let stage = Stage::within(many, Shared::default(), folder);
    {
        let mut record = stage.firewall.0.lock().unwrap();
        assert_eq!(record.open.len(), OPEN as usize);
        record.open.clear();
        record.broken = true;
    }
    let deadline = clock::mono().after(Duration::from_secs(10));
    while stage.open_now().is_empty() {
        assert!(clock::mono() < deadline, "never put back");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut heard = 0;
    while heard <= OPEN as usize {
        heard += stage.hear().len();
    }
    stage.say(&[opening(1, "alice", "192.0.2.7", &["22/tcp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(1, Opened::Open)]);
    stage.end(false);
}

fn book(firewall: &Shared, folder: &tempfile::TempDir) -> Book {
    book_within(limits(), firewall, folder)
}

fn book_within(limits: Limits, firewall: &Shared, folder: &tempfile::TempDir) -> Book {
    let file = |name: &str| portunus_sys::files::open_state(&folder.path().join(name)).unwrap();
    let now = clock::mono();
    let (journal, rows) = Journal::open([file("a"), file("b")], BootId::from_bytes([7; 16]), now).unwrap();
    let structure = stand::structure(&limits, &wish(), Place::Own);
    let mut book = Book::take_up((now, ahead()), limits, journal, rows, Box::new(firewall.clone()));
    book.install(now, &structure).unwrap();
    book
}

#[test]
fn a_knock_just_after_a_flush_is_put_back_with_the_rules() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let mut book = book(&firewall, &folder);
    let ask = |n: u64| vec![opening(n, "alice", &format!("192.0.2.{n}"), &["22/tcp"], 30)];
    let flush = || {
        let mut record = firewall.0.lock().unwrap();
        (record.structure, record.broken) = (None, true);
        record.open.clear();
    };
    assert_eq!(
        book.carry_out(clock::mono(), ask(1), true),
        (vec![Said::Opened(1, Opened::Open)], Found::Whole)
    );
    flush();
    // In a pause against a tool that keeps reloading it fails, as it must.
    assert_eq!(
        book.carry_out(clock::mono(), ask(2), false),
        (vec![Said::Opened(2, Opened::Failed)], Found::Broken)
    );
    assert_eq!(
        book.carry_out(clock::mono(), ask(3), true),
        (vec![Said::Opened(3, Opened::Open)], Found::PutBack)
    );
    let open: Vec<Element> = firewall.0.lock().unwrap().open.keys().copied().collect();
    assert_eq!(open, [element("192.0.2.1", "22/tcp"), element("192.0.2.3", "22/tcp")]);
}

/// Turned on to this inner host.
fn turned(ticket: u64, client: &str, host: &str) -> Said {
    let Said::Open(_, plain) = opening(ticket, client, "192.0.2.7", &["22/tcp"], 30) else {
        panic!("not that")
    };
    let host = host.parse().unwrap();
    let way = Way::Nat(Nat { local: false, host, port: 8022, rewrite: true, source: NatSource::Kept });
    Said::Open(ticket, Opening { way, ..plain })
}

#[test]
fn of_two_translations_of_one_port_the_later_is_carried_out() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let nat = NatLimits { forward: true, ..NatLimits::default() };
    let translating = Limits { nat, ..limits() };
    let mut book = book_within(translating.clone(), &firewall, &folder);
    let inner = |firewall: &Shared| -> Vec<String> {
        let record = firewall.0.lock().unwrap();
        record.open.keys().map(|element| element.nat().unwrap().host.to_string()).collect()
    };
    let now = clock::mono();
    let said =
        vec![turned(1, "alice", "10.0.0.2"), turned(2, "alice", "10.0.0.2"), turned(3, "bob", "10.0.0.2")];
    assert_eq!(book.carry_out(now, said, true).0.len(), 3);
    assert_eq!((inner(&firewall), book.ledger.len()), (vec!["10.0.0.2".to_owned()], 2));
    let said = vec![turned(4, "alice", "10.0.0.3")];
    assert_eq!(book.carry_out(now, said, true).0, [Said::Opened(4, Opened::Open)]);
    assert_eq!((inner(&firewall), book.ledger.len()), (vec!["10.0.0.3".to_owned()], 1));
    // One that fails leaves what was there before.
    firewall.0.lock().unwrap().failing = Some(FirewallError::NotThere);
    assert_eq!(
        book.carry_out(now, vec![turned(5, "bob", "10.0.0.4")], true).0,
        [Said::Opened(5, Opened::Failed)]
    );
    firewall.0.lock().unwrap().failing = None;
    drop(book);
    let again = book_within(translating, &firewall, &folder);
    assert_eq!((inner(&firewall), again.ledger.len()), (vec!["10.0.0.3".to_owned()], 1));
    // Without the permission nothing of it is taken up.
    drop(again);
    let again = book_within(limits(), &firewall, &folder);
    assert_eq!((inner(&firewall), again.ledger.len()), (vec![], 0));
}

#[test]
fn the_last_word_of_a_batch_on_an_element_is_what_the_kernel_is_told() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let mut book = book(&firewall, &folder);
    let ask = |n, secs| opening(n, "alice", "192.0.2.1", &["22/tcp"], secs);
    let close = || {
        Said::Close(Closing {
            client: Some(ClientName::new("alice").unwrap()),
            address: None,
            cause: Cause::Close,
        })
    };
    let told = || std::mem::take(&mut firewall.0.lock().unwrap().changes);
    book.carry_out(clock::mono(), vec![ask(1, 20), close(), ask(2, 30), ask(3, 10)], true);
    let lasting: Vec<u64> = told()
        .iter()
        .map(|change| match change {
            Change::Open(_, lasting) => lasting.as_millis().try_into().unwrap(),
            Change::Close(_) => 0,
        })
        .collect();
    assert_eq!(lasting, [30_000]);
    book.carry_out(clock::mono(), vec![ask(4, 40), close()], true);
    assert_eq!(told(), [Change::Close(element("192.0.2.1", "22/tcp"))]);
}

#[test]
fn what_the_kernel_closes_by_itself_is_not_told_to_it_again() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let mut book = book(&firewall, &folder);
    let told = || firewall.0.lock().unwrap().changes.len();
    let over = |n: u64| clock::mono().after(Duration::from_secs(n));
    book.carry_out(clock::mono(), vec![opening(1, "alice", "192.0.2.1", &["22/tcp"], 30)], true);
    book.expire(over(31), ahead(), true);
    assert_eq!((told(), book.deadline()), (1, None));
    // Where the kernel has no timers it must be told.
    book.carry_out(clock::mono(), vec![opening(2, "alice", "192.0.2.1", &["22/tcp"], 30)], true);
    book.expire(over(31), ahead(), false);
    assert_eq!((told(), firewall.0.lock().unwrap().open.len()), (3, 0));
}

#[test]
fn an_end_that_the_firewall_refuses_comes_as_soon_as_it_can() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let structure = stand::structure(&limits(), &wish(), Place::Own);
    let mut duty = Duty::new(book(&firewall, &folder), false);
    let ask = || vec![opening(1, "alice", "192.0.2.1", &["22/tcp"], 30)];
    let close = || vec![Said::Close(Closing { client: None, address: None, cause: Cause::Close })];
    let fail = |error| firewall.0.lock().unwrap().failing = error;
    let open = || firewall.0.lock().unwrap().open.len();
    assert_eq!(duty.hear(clock::now(), ask()).0, [Said::Opened(1, Opened::Open)]);
    fail(Some(FirewallError::NotThere));
    let at = clock::now();
    let now = at.mono;
    let _ = duty.hear(at, close());
    assert_eq!((open(), duty.must_put_back(now)), (1, true));
    let whole = duty.book.install(now, &structure).is_ok();
    duty.tried(now, whole);
    let later = now.after(LONGEST_PAUSE);
    assert!(duty.must_put_back(later) && duty.book.owes());
    fail(None);
    duty.install(Now { mono: later, ..clock::now() }, &structure).unwrap();
    duty.tried(later, true);
    assert_eq!((open(), duty.must_put_back(later.after(LONGEST_PAUSE))), (0, false));
    // What was asked for and is taken back whole is no debt.
    fail(Some(FirewallError::Full));
    let _ = duty.hear(Now { mono: later, ..at }, ask());
    assert!(duty.book.owes(), "it could not be taken back either");
}

#[test]
fn where_doors_end_by_dates_a_moved_clock_has_them_written_anew() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let structure = stand::structure(&limits(), &wish(), Place::Own);
    let began = clock::now();
    let at = |secs: u64, moved: i64| {
        let span = Duration::from_secs(secs);
        let wall = portunus_model::Unix::from_nanos(began.wall.as_nanos() + i128::from(moved) * 1_000_000);
        Now { mono: began.mono.after(span), wall: wall.after(span) }
    };
    let mut duty = Duty::new(book(&firewall, &folder), true);
    duty.install(began, &structure).unwrap();
    let moves = [(0, false), (900, false), (-3_600_000, true), (-3_600_000, false), (864_000_000, true)];
    for ((moved, anew), secs) in moves.into_iter().zip((20..).step_by(20)) {
        let now = at(secs, moved);
        duty.look(now);
        assert_eq!(duty.must_put_back(now.mono), anew, "moved by {moved} ms");
        if anew {
            duty.install(now, &structure).unwrap();
            duty.tried(now.mono, true);
        }
    }
    // nftables' timers know no date.
    let mut duty = Duty::new(book(&firewall, &folder), false);
    duty.look(at(20, 3_600_000));
    assert!(!duty.must_put_back(at(20, 0).mono));
}
