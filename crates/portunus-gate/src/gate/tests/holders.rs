//! Whose a grant is, when stanzas come, go and change their numbers, and when what a client may is made less: while the
//! gate lives, and across a restart after which it knows only what the grantor tells it.

use portunus_dialect::fwknop::{Message, Wish, read_ports};
use portunus_model::{Mark, Net, Stanza};

use super::fwknop::{access, gate_of, keys, packet, stanza_with};
use super::*;

const SETS: u32 = 4;

/// Stanza `number` of access.conf with the keys `n`, as the keeper gives it to the gate.
fn stanza(number: u32, n: u32, change: impl Fn(&mut Stanza)) -> Client {
    Client {
        name: ClientName::new(&format!("stanza-{number}")).unwrap(),
        mark: mark(n),
        ..stanza_with(number, n, |stanza| {
            stanza.numbered = true;
            change(stanza);
        })
    }
}

fn mark(n: u32) -> Option<Mark> {
    Mark::from_bytes([u8::try_from(n).unwrap() + 1; 16])
}

/// Stanzas with these keys, in this order, that allow everything.
fn stanzas(sets: &[u32]) -> Vec<Client> {
    (1..).zip(sets).map(|(number, &n)| stanza(number, n, |_| ())).collect()
}

fn only(ports: &'static str) -> impl Fn(&mut Stanza) {
    move |stanza| {
        let ports = ports.split(' ').flat_map(|port| PortSpec::parse(port).unwrap());
        stanza.open_ports = Some(ports.collect());
    }
}

fn from(net: &'static str) -> impl Fn(&mut Stanza) {
    move |stanza| stanza.sources = vec![Net::parse(net).unwrap()]
}

/// A gate, and what its grantor would tell the next one.
struct House {
    gate: Gate,
    open: Vec<RestoredGrant>,
}

impl House {
    fn new(clients: Vec<Client>) -> Self {
        Self { gate: gate_of(clients, SETS), open: Vec::new() }
    }

    fn knock(&mut self, now: Now, datagram: Datagram) {
        self.gate.handle_datagram(now, datagram);
        while self.gate.work(now, 16) {}
        let (ticket, _) = claim(&mut self.gate);
        self.gate.handle_claimed(now, ticket, Claimed::Fresh);
        let (ticket, opening) = open(&mut self.gate);
        self.gate.handle_opened(now, ticket, Opened::Open);
        let _ = event(&mut self.gate);
        let Opening { client, address, ports, lasting, destination, way, grounds } = opening;
        let (door, until) = (Door { ports, destination, way }, now.mono.after(lasting));
        self.open.push(RestoredGrant { client, address, door, until, grounds });
    }

    /// One grant of each of the keys 0, 1 and 2: of 30 s from 192.0.2.1, .2 and .3.
    fn with_three(clients: Vec<Client>) -> Self {
        let mut house = Self::new(clients);
        for n in 0..3_u8 {
            house.knock(at(0), packet(n.into(), access("tcp/22"), at(0), n + 1, n.into()));
        }
        house
    }

    /// The new rules, once while it runs and once found by the next one: both come to the same end, which is given.
    fn then(&mut self, clients: Vec<Client>) -> Outcome {
        let keyring = || Keyring { fwknop: (0..SETS).map(keys).collect(), ..keyring() };
        let mut next = Gate::new(rules(clients.clone()), keyring(), Tuning::default());
        next.handle_restored(at(1000), self.open.clone());
        self.gate.handle_rules(at(1000), rules(clients), keyring());
        let (alive, restarted) = (outcome(&mut self.gate), outcome(&mut next));
        assert_eq!(alive.open, restarted.open);
        assert_eq!(alive.closings, restarted.closings);
        self.open.retain(|grant| !alive.closings.contains(&grant.address.to_string()));
        alive
    }
}

#[derive(Debug)]
struct Outcome {
    /// What is open: whose, for which address, for how many more seconds.
    open: Vec<(String, String, u64)>,
    /// What the grantor is told to close: for which addresses.
    closings: Vec<String>,
    /// Whose grants are said to have ended.
    said: Vec<String>,
}

fn outcome(gate: &mut Gate) -> Outcome {
    let open = gate.sessions(at(1000)).map(|one| {
        (one.client.to_string(), one.address.to_string(), one.until.since(at(1000).mono).as_secs())
    });
    let mut open: Vec<_> = open.collect();
    open.sort();
    let (mut closings, mut said) = (Vec::new(), Vec::new());
    while let Some(action) = gate.poll_action() {
        match action {
            Action::Close(closing) => closings.push(closing.address.unwrap().to_string()),
            Action::Tell(event) => said.push(event.client.unwrap().to_string()),
            other @ (Action::Claim(..)
            | Action::Accept(_)
            | Action::Open(..)
            | Action::Run(..)
            | Action::Resolve(..)
            | Action::Chains(_)
            | Action::Settle(_)
            | Action::Enrol(..)
            | Action::Answer(_)
            | Action::Gpg(_)) => panic!("{other:?}"),
        }
    }
    Outcome { open, closings, said }
}

fn open_of(all: &[(&str, &str)]) -> Vec<(String, String, u64)> {
    all.iter().map(|(name, address)| ((*name).to_owned(), (*address).to_owned(), 29)).collect()
}

#[test]
fn a_stanza_that_goes_ends_its_own_grants_and_the_others_go_on_under_their_new_numbers() {
    let mut house = House::with_three(stanzas(&[0, 1, 2]));
    let after = house.then(stanzas(&[1, 2]));
    assert_eq!(after.open, open_of(&[("stanza-1", "192.0.2.2"), ("stanza-2", "192.0.2.3")]));
    assert_eq!((after.closings, after.said), (vec!["192.0.2.1".to_owned()], vec!["stanza-1".to_owned()]));
    // By the new name the grant is closed that has it now, and what it is known by is not what people see.
    let first = ClientName::new("stanza-1").unwrap();
    let closing = Closing { client: Some(first.clone()), address: None, cause: Cause::Close };
    assert_eq!(house.gate.handle_closing(at(1000), &closing), 1);
    let holder = ClientName::of_keys(mark(1).unwrap());
    assert_eq!((house.gate.holder(&first), house.gate.shown(&holder)), (holder.clone(), first));
    let Some(Action::Close(told)) = house.gate.poll_action() else { panic!("nothing is closed") };
    assert_eq!(told, Closing { client: Some(holder), address: None, cause: Cause::Close });
    assert_eq!(outcome(&mut house.gate).open, open_of(&[("stanza-2", "192.0.2.3")]));
}

#[test]
fn stanzas_in_another_order_keep_every_grant() {
    let mut house = House::with_three(stanzas(&[0, 1, 2]));
    let after = house.then(stanzas(&[2, 3, 0, 1]));
    let wanted = [("stanza-1", "192.0.2.3"), ("stanza-3", "192.0.2.1"), ("stanza-4", "192.0.2.2")];
    assert_eq!((after.open, after.closings.len()), (open_of(&wanted), 0));
    // Who was known stays known: one try finds its keys.
    let tried = house.gate.effort().tried;
    house.knock(at(1000), packet(1, access("tcp/22"), at(1000), 2, 9));
    assert_eq!(house.gate.effort().tried, tried + 1);
}

#[test]
fn what_is_on_its_way_is_told_under_the_new_number_or_closed() {
    let mut gate = gate_of(stanzas(&[0, 1]), SETS);
    let mut ask = |n: u8| {
        gate.handle_datagram(at(0), packet(n.into(), access("tcp/22"), at(0), n + 1, 1));
        while gate.work(at(0), 16) {}
        let (ticket, _) = claim(&mut gate);
        gate.handle_claimed(at(0), ticket, Claimed::Fresh);
        open(&mut gate).0
    };
    let (gone, stays) = (ask(0), ask(1));
    let keyring = Keyring { fwknop: (0..SETS).map(keys).collect(), ..keyring() };
    gate.handle_rules(at(1), rules(stanzas(&[1])), keyring);
    assert!(matches!(gate.poll_action(), Some(Action::Close(_))));
    gate.handle_opened(at(2), gone, Opened::Open);
    gate.handle_opened(at(2), stays, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Closed);
    let granted = event(&mut gate);
    assert_eq!((granted.reason, granted.client.unwrap().as_str()), (Reason::Granted, "stanza-1"));
}

#[test]
fn a_stanza_with_other_keys_ends_its_grant() {
    let mut house = House::with_three(stanzas(&[0, 1, 2]));
    let after = house.then(stanzas(&[0, 3, 2]));
    assert_eq!(after.open, open_of(&[("stanza-1", "192.0.2.1"), ("stanza-3", "192.0.2.3")]));
    assert_eq!(after.closings, ["192.0.2.2"]);
}

#[test]
fn of_stanzas_with_the_same_keys_any_that_allows_it_keeps_a_grant_and_none_means_closed() {
    let shared = || {
        let both = vec![stanza(1, 0, only("22/tcp")), stanza(2, 0, only("80/tcp")), stanza(3, 1, |_| ())];
        let mut house = House::new(both);
        for (from, ports) in [(1, "tcp/22"), (2, "tcp/80")] {
            house.knock(at(0), packet(0, access(ports), at(0), from, from.into()));
        }
        house
    };
    let after = shared().then(vec![stanza(1, 0, only("80/tcp")), stanza(2, 1, |_| ())]);
    assert_eq!(after.open, open_of(&[("stanza-1", "192.0.2.2")]));
    assert_eq!(after.closings, ["192.0.2.1"], "no stanza allows port 22 any more");
    let after = shared().then(vec![stanza(1, 0, only("80/tcp")), stanza(2, 0, only("22/tcp 80/tcp"))]);
    assert_eq!(after.open, open_of(&[("stanza-1", "192.0.2.2"), ("stanza-2", "192.0.2.1")]));
    let after = shared().then(vec![stanza(1, 1, |_| ())]);
    assert_eq!((after.open.len(), after.closings.len()), (0, 2));
    // They are one holder: whoever closes what one of them has opened closes what both have.
    let mut house = shared();
    let closing = Closing { client: ClientName::new("stanza-2").ok(), address: None, cause: Cause::Close };
    assert_eq!(house.gate.handle_closing(at(0), &closing), 2);
}

#[test]
fn a_narrower_source_ends_what_came_from_outside_it_whatever_address_was_let_in() {
    let for_another = |address: &str| {
        let ports = read_ports("tcp/22").unwrap();
        Wish::new("alice", Message::Access { address: address.parse().ok(), ports })
    };
    let mut house = House::new(stanzas(&[0]));
    house.knock(at(0), packet(0, for_another("198.51.100.1"), at(0), 1, 1));
    house.knock(at(0), packet(0, for_another("10.0.0.9"), at(0), 200, 2));
    let after = house.then(vec![stanza(1, 0, from("192.0.2.0/25"))]);
    assert_eq!(after.open, open_of(&[("stanza-1", "198.51.100.1")]));
    assert_eq!(after.closings, ["10.0.0.9"]);
    // A wider one ends nothing; where nobody knows where the knock came from, only one for anywhere keeps the grant.
    assert_eq!(house.then(vec![stanza(1, 0, from("192.0.0.0/8"))]).open.len(), 1);
    assert_eq!(house.open.len(), 1);
    house.open.iter_mut().for_each(|grant| grant.grounds.source = None);
    let mut next = gate_of(vec![stanza(1, 0, from("0.0.0.0/0"))], SETS);
    next.handle_restored(at(1000), house.open.clone());
    assert_eq!(outcome(&mut next).closings.len(), 1);
    let mut next = gate_of(stanzas(&[0]), SETS);
    next.handle_restored(at(1000), house.open);
    assert_eq!(outcome(&mut next).open.len(), 1);
}

#[test]
fn a_narrower_destination_ends_what_went_elsewhere() {
    let mut house = House::new(stanzas(&[0]));
    for (source, to) in [(1, Some("203.0.113.1")), (2, Some("203.0.113.2")), (3, None)] {
        let datagram = packet(0, access("tcp/22"), at(0), source, source.into());
        house.knock(at(0), datagram.sent_to(to.map(|to| to.parse().unwrap())));
    }
    // Each grant is for the packet's destination only now: what was wider is closed.
    let rule = |stanza: &mut Stanza| stanza.destination_rule = true;
    let wider = House { gate: gate_of(Vec::new(), 0), open: house.open.clone() }.then_restored(rule);
    assert_eq!(wider.closings, ["192.0.2.1", "192.0.2.2"]);
    let to = |stanza: &mut Stanza| stanza.destinations = vec![Net::parse("203.0.113.1").unwrap()];
    let after = house.then(vec![stanza(1, 0, to)]);
    assert_eq!(after.open, open_of(&[("stanza-1", "192.0.2.1")]));
    assert_eq!(after.closings, ["192.0.2.2", "192.0.2.3"]);
}

impl House {
    fn then_restored(self, change: impl Fn(&mut Stanza)) -> Outcome {
        let mut next = gate_of(vec![stanza(1, 0, change)], SETS);
        next.handle_restored(at(1000), self.open);
        outcome(&mut next)
    }
}

#[test]
fn a_grant_stands_on_the_knock_that_gave_it_its_end() {
    let lasting = |secs| Wish { timeout: Some(secs), ..for_one_address() };
    fn for_one_address() -> Wish {
        let ports = read_ports("tcp/22").unwrap();
        Wish::new("alice", Message::Access { address: "198.51.100.1".parse().ok(), ports })
    }
    for (first, second, stays) in [(200, 100, true), (100, 200, false)] {
        let mut gate = gate_of(stanzas(&[0]), SETS);
        let _ = knock(&mut gate, at(0), packet(0, lasting(first), at(0), 1, 1));
        let _ = knock(&mut gate, at(0), packet(0, lasting(second), at(0), 200, 2));
        let keyring = Keyring { fwknop: vec![keys(0)], ..keyring() };
        gate.handle_rules(at(1000), rules(vec![stanza(1, 0, from("192.0.2.0/25"))]), keyring);
        assert_eq!(gate.sessions(at(1000)).count(), usize::from(stays), "{first} s, then {second} s");
    }
}

/// A client of openme's: a key that was exchanged while nobody ran, and the right to open for others.
#[test]
fn a_named_client_keeps_only_what_its_key_and_its_limits_still_give() {
    let alice = Client { mark: mark(7), any_target: true, ..client(0) };
    let mut house = House::new(vec![alice.clone()]);
    house.knock(at(0), super::packet(0, at(0), 1, 1));
    house.knock(at(0), packet_for("198.51.100.1".parse().ok(), 0, at(0), ([192, 0, 2, 1], 9).into(), 2));
    let own = house.then(vec![Client { any_target: false, ..alice.clone() }]);
    assert_eq!((own.open.len(), own.closings), (1, vec!["198.51.100.1".to_owned()]));
    assert_eq!(own.open[0].1, "192.0.2.1");
    let rekeyed = Client { mark: mark(8), key: client(55).key, ..alice };
    assert_eq!(house.then(vec![rekeyed]).closings, ["192.0.2.1"]);
}
