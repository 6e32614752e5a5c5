use std::net::SocketAddr;

use portunus_dialect::fwknop::{Nat as AskedNat, read_ports};
use portunus_model::{ClientKey, ClientName, CommandRule, Cycle, KeyId, Mono, Net, Unix};

use super::*;

const WALL: i64 = 1_800_000_000;

fn now() -> Now {
    Now { mono: Mono::from_nanos(1), wall: Unix::from_secs(WALL) }
}

fn access(address: Option<&str>, ports: &str) -> Wish {
    let address = address.map(|address| address.parse().unwrap());
    Wish::new("alice", Message::Access { address, ports: read_ports(ports).unwrap() })
}

fn client(stanza: &Stanza) -> Client {
    let name = ClientName::new(&format!("stanza {}", stanza.number)).unwrap();
    let (key, lasting) = (ClientKey::Fwknop(KeyId([0; 32])), Duration::from_secs(30));
    let stanza = Some(Box::new(stanza.clone()));
    Client { any_target: true, stanza, ..Client::new(name, key, Box::default(), lasting) }
}

fn stanza() -> Stanza {
    let window = Some(Duration::from_secs(120));
    Stanza { number: 1, longest: Duration::from_secs(300), window, ..Stanza::default() }
}

fn judged_from(source: &str, wish: &Wish, stanza: &Stanza) -> Judged {
    let source = SocketAddr::new(source.parse().unwrap(), 4000);
    let knock = Taken::for_test(source, wish.clone(), Unix::from_secs(WALL - 5));
    judge(&knock, wish, &client(stanza), stanza, &Names::default(), now())
}

fn judged(wish: &Wish, stanza: &Stanza) -> Judged {
    judged_from("192.0.2.7", wish, stanza)
}

fn opening(judged: Judged) -> Opening {
    match judged {
        Judged::Open(opening) => opening,
        other @ (Judged::Run(_) | Judged::Name(_) | Judged::Refuse(_)) => panic!("{other:?}"),
    }
}

fn specs(text: &str) -> Vec<PortSpec> {
    text.split(',').flat_map(|one| PortSpec::parse(one).unwrap()).collect()
}

#[test]
fn without_lists_any_port_of_any_address_opens() {
    let got = opening(judged(&access(Some("198.51.100.9"), "tcp/22,udp/53,tcp/22"), &stanza()));
    assert_eq!(got.address.to_string(), "198.51.100.9");
    assert_eq!(got.ports[..], specs("22/tcp,53/udp"));
    assert_eq!((got.way, got.destination, got.lasting.as_secs()), (Way::Here, None, 30));
    assert_eq!(opening(judged(&access(None, "tcp/22"), &stanza())).address.to_string(), "192.0.2.7");
}

#[test]
fn every_port_must_be_open_and_none_restricted() {
    let mut rule = stanza();
    rule.open_ports = Some(specs("22/tcp,80/tcp"));
    assert_eq!(opening(judged(&access(None, "tcp/80"), &rule)).ports[..], specs("80/tcp"));
    assert_eq!(judged(&access(None, "tcp/22,tcp/81"), &rule), Judged::Refuse(Refusal::Port));
    assert_eq!(judged(&access(None, "udp/22"), &rule), Judged::Refuse(Refusal::Port));
    rule = Stanza { restrict_ports: specs("22/tcp"), ..stanza() };
    assert_eq!(judged(&access(None, "tcp/22,tcp/81"), &rule), Judged::Refuse(Refusal::Port));
    assert_eq!(opening(judged(&access(None, "tcp/81"), &rule)).ports[..], specs("81/tcp"));
}

#[test]
fn who_and_when() {
    let rule = Stanza { require_source: true, ..stanza() };
    assert_eq!(judged(&access(None, "tcp/22"), &rule), Judged::Refuse(Refusal::NoAddress));
    assert!(matches!(judged(&access(Some("192.0.2.9"), "tcp/22"), &rule), Judged::Open(_)));
    let rule = Stanza { username: Some("bob".into()), ..stanza() };
    assert_eq!(judged(&access(None, "tcp/22"), &rule), Judged::Refuse(Refusal::Username));
    let rule = Stanza { window: Some(Duration::from_secs(4)), ..stanza() };
    assert_eq!(judged(&access(None, "tcp/22"), &rule), Judged::Refuse(Refusal::Stale));
    let rule = Stanza { window: None, ..stanza() };
    assert!(matches!(judged(&access(None, "tcp/22"), &rule), Judged::Open(_)));
    assert_eq!(judged(&access(Some("224.0.0.1"), "tcp/22"), &stanza()), Judged::Refuse(Refusal::Address));
    assert_eq!(judged(&access(Some("127.0.0.2"), "tcp/22"), &stanza()), Judged::Refuse(Refusal::Address));
    // A client of ours may be held to its own address; a stanza of access.conf never is.
    let own = Client { any_target: false, ..client(&stanza()) };
    let asks = |address: &str| {
        let wish = access(Some(address), "tcp/22");
        let knock = Taken::for_test(([192, 0, 2, 7], 1).into(), wish.clone(), Unix::from_secs(WALL));
        judge(&knock, &wish, &own, &stanza(), &Names::default(), now())
    };
    assert_eq!(asks("192.0.2.8"), Judged::Refuse(Refusal::Address));
    assert_eq!(opening(asks("192.0.2.7")).address.to_string(), "192.0.2.7");
    let over_loopback = judged_from("127.0.0.1", &access(Some("127.0.0.2"), "tcp/22"), &stanza());
    assert_eq!(opening(over_loopback).address.to_string(), "127.0.0.2");
}

#[test]
fn a_clients_time_is_capped_and_never_past_the_stanzas_end() {
    let lasting = |timeout, expires: Option<i64>| {
        let wish = Wish { timeout, ..access(None, "tcp/22") };
        let knock = Taken::for_test(([192, 0, 2, 7], 1).into(), wish.clone(), Unix::from_secs(WALL));
        let expires = expires.map(Unix::from_secs);
        let client = Client { expires, ..client(&stanza()) };
        opening(judge(&knock, &wish, &client, &stanza(), &Names::default(), now())).lasting.as_secs()
    };
    assert_eq!(lasting(None, None), 30);
    assert_eq!(lasting(Some(0), None), 30);
    assert_eq!(lasting(Some(60), None), 60);
    assert_eq!(lasting(Some(10_000), None), 300);
    assert_eq!(lasting(Some(10_000), Some(WALL + 7)), 7);
}

#[test]
fn translations_need_to_be_enabled_or_are_forced() {
    let asks = |host: &str, local| {
        let nat = Some(AskedNat { host: host.into(), port: 22, local });
        Wish { nat, ..access(None, "tcp/5000") }
    };
    let with = |nat| Stanza { nat, ..stanza() };
    assert_eq!(judged(&asks("192.168.1.2", false), &stanza()), Judged::Refuse(Refusal::NatOff));
    assert_eq!(judged(&asks("192.168.1.2", true), &stanza()), Judged::Refuse(Refusal::LocalNatOff));
    let rule = with(NatRule { forward: true, local: true, ..NatRule::default() });
    let nat = |host: &str, local| Nat {
        local,
        host: host.parse().unwrap(),
        port: 22,
        rewrite: true,
        source: NatSource::Kept,
    };
    let way = |wish: &Wish, rule: &Stanza| opening(judged(wish, rule)).way;
    assert_eq!(way(&asks("192.168.1.2", false), &rule), Way::Nat(nat("192.168.1.2", false)));
    assert_eq!(way(&asks("127.0.0.1", true), &rule), Way::Nat(nat("127.0.0.1", true)));
    assert_eq!(judged(&asks("inner", false), &rule), Judged::Refuse(Refusal::NamesOff));
    let forced = Some(("10.0.0.9".parse().unwrap(), 22));
    let source = NatSource::Masquerade;
    let rule = with(NatRule { forward: true, force: forced, unasked: true, source, ..NatRule::default() });
    let got = Way::Nat(Nat { source, ..nat("10.0.0.9", false) });
    assert_eq!((way(&access(None, "tcp/22"), &rule), way(&asks("192.168.1.2", false), &rule)), (got, got));
    // Seen with Debian's fwknopd 2.6.10: a forced host is somewhere else, unless the client asks for the server itself.
    assert_eq!(judged(&asks("127.0.0.1", true), &rule), Judged::Refuse(Refusal::LocalNatOff));
    let rule = with(NatRule { local: true, force: forced, unasked: true, ..NatRule::default() });
    assert_eq!(way(&access(None, "tcp/22"), &rule), Way::Nat(nat("10.0.0.9", false)));
    assert_eq!(way(&asks("127.0.0.1", true), &rule), Way::Nat(nat("10.0.0.9", true)));
    let rule = with(NatRule { local: true, all: true, ..NatRule::default() });
    assert_eq!(way(&asks("127.0.0.1", true), &rule), Way::Nat(nat("127.0.0.1", true)));
    let rule = with(NatRule { forward: true, all: true, source, ..NatRule::default() });
    assert_eq!(way(&access(None, "tcp/22"), &rule), Way::Here);
    let to = Some("192.168.1.2".parse().unwrap());
    let got = opening(judged(&asks("192.168.1.2", false), &rule));
    assert_eq!((got.way, got.ports.len()), (Way::All { to, source }, 0));
    let rule = with(NatRule { all: true, unasked: true, source, ..NatRule::default() });
    assert_eq!(way(&access(None, "tcp/22"), &rule), Way::All { to: None, source });
}

#[test]
fn a_named_inner_host_is_asked_for_once() {
    let nat = Some(AskedNat { host: "inner.example".into(), port: 22, local: false });
    let wish = Wish { nat, ..access(None, "tcp/5000") };
    let rule = Stanza { nat: NatRule { forward: true, names: true, ..NatRule::default() }, ..stanza() };
    assert_eq!(judged(&wish, &rule), Judged::Name("inner.example".into()));
    let answer = |answer: Option<&str>| {
        let mut names = Names::default();
        names.learn("inner.example".into(), answer.map(|a| a.parse().unwrap()), now().mono);
        let knock = Taken::for_test(([192, 0, 2, 7], 1).into(), wish.clone(), Unix::from_secs(WALL));
        judge(&knock, &wish, &client(&rule), &rule, &names, now())
    };
    assert!(
        matches!(opening(answer(Some("10.1.1.1"))).way, Way::Nat(nat) if nat.host.to_string() == "10.1.1.1")
    );
    assert_eq!(answer(None), Judged::Refuse(Refusal::NameUnknown));
    assert_eq!(answer(Some("224.0.0.1")), Judged::Refuse(Refusal::Address));
}

#[test]
fn commands_run_only_where_they_are_allowed() {
    let wish = Wish::new("alice", Message::Command { address: None, text: "touch /tmp/x".into() });
    assert_eq!(judged(&wish, &stanza()), Judged::Refuse(Refusal::CommandsOff));
    let rule = Stanza { command: Some(CommandRule::default()), ..stanza() };
    let work = Work::Command("touch /tmp/x".into());
    let order = Order { client: client(&rule).name, stanza: 1, source: "192.0.2.7".parse().unwrap(), work };
    assert_eq!(judged(&wish, &rule), Judged::Run(order));
}

#[test]
fn a_cycle_takes_the_place_of_the_door() {
    let cycle = Cycle { open: "open $IP".into(), close: None, timer: Duration::from_secs(7) };
    let rule = Stanza { cycle: Some(cycle), open_ports: Some(specs("22/tcp")), ..stanza() };
    assert_eq!(judged(&access(None, "tcp/23"), &rule), Judged::Refuse(Refusal::Port));
    let facts = |wish: &Wish| match judged(wish, &rule) {
        Judged::Run(Order { work: Work::Cycle(facts), .. }) => facts,
        other @ (Judged::Open(_) | Judged::Run(_) | Judged::Name(_) | Judged::Refuse(_)) => {
            panic!("{other:?}")
        }
    };
    let got = facts(&access(Some("198.51.100.9"), "tcp/22"));
    assert_eq!(
        (got.address.to_string(), got.source.to_string()),
        ("198.51.100.9".into(), "192.0.2.7".into())
    );
    assert_eq!((got.proto, got.port, got.client_timeout, got.lasting.as_secs()), (6, 22, 0, 7));
    assert_eq!(got.ends, Unix::from_secs(WALL - 5 + 7));
    let got = facts(&Wish { timeout: Some(9), ..access(None, "tcp/22") });
    assert_eq!((got.client_timeout, got.lasting.as_secs()), (9, 9));
}

#[test]
fn a_stanza_is_for_its_sources_and_destinations() {
    let net = |text: &str| Net::parse(text).unwrap();
    let is_for = |stanza: &Stanza, source: &str, destination: Option<&str>| {
        is_for(stanza, source.parse().unwrap(), destination.map(|to| to.parse().unwrap()))
    };
    assert!(is_for(&stanza(), "192.0.2.7", None));
    let rule = Stanza { sources: vec![net("10.0.0.0/8"), net("192.0.2.7")], ..stanza() };
    assert!(is_for(&rule, "192.0.2.7", None) && is_for(&rule, "10.9.9.9", None));
    assert!(!is_for(&rule, "192.0.2.8", None));
    let rule = Stanza { destinations: vec![net("203.0.113.1")], ..stanza() };
    assert!(is_for(&rule, "192.0.2.8", Some("203.0.113.1")));
    assert!(!is_for(&rule, "192.0.2.8", Some("203.0.113.2")) && !is_for(&rule, "192.0.2.8", None));
}

#[test]
fn a_reload_keeps_what_would_be_given_again() {
    let nat = Nat {
        local: false,
        host: "10.0.0.9".parse().unwrap(),
        port: 22,
        rewrite: true,
        source: NatSource::Kept,
    };
    let ports = specs("22/tcp");
    assert!(still_opens(&stanza(), &ports, Way::Here));
    assert!(!still_opens(&stanza(), &ports, Way::Nat(nat)));
    let narrow = Stanza { open_ports: Some(specs("80/tcp")), ..stanza() };
    assert!(!still_opens(&narrow, &ports, Way::Here));
    let rule = Stanza { nat: NatRule { forward: true, ..NatRule::default() }, ..stanza() };
    assert!(still_opens(&rule, &ports, Way::Nat(nat)));
    let other = Some(("10.0.0.8".parse().unwrap(), 22));
    let rule = Stanza {
        nat: NatRule { forward: true, force: other, unasked: true, ..NatRule::default() },
        ..stanza()
    };
    assert!(!still_opens(&rule, &ports, Way::Nat(nat)) && !still_opens(&rule, &ports, Way::Here));
}
