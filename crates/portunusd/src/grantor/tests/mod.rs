//! A hostile front against a grantor: whatever it says, nothing is opened that the limits do not allow, and the grantor
//! goes on. Here is the stage of all these tests.

mod elements;
mod ends;
mod front;
mod putting_back;

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
