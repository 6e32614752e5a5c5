//! The gate, told one thing at a time. Random orders are for tests/sim.

use std::net::IpAddr;

use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::{Entropy, EntropyFailed, Secret};
use portunus_dialect::openme::{ClientKeys, ServerKey, Wish, seal};
use portunus_model::{Cause, Claim, Client, ClientKey, Event, Grounds, Opening, PortSpec, Via};

use super::*;
use crate::Door;

mod fwknop;
mod gpg;
mod holders;

mod hostile;
mod native;

/// Randomness that repeats itself.
struct Dice(u64);

impl Entropy for Dice {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailed> {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
        Ok(())
    }
}

const WALL: i64 = 1_800_000_000;
const SERVER: [u8; 32] = [0x42; 32];

fn at(millis: u64) -> Now {
    Now {
        mono: Mono::from_nanos(millis * 1_000_000),
        wall: Unix::from_nanos(i128::from(WALL) * 1_000_000_000 + i128::from(millis) * 1_000_000),
    }
}

fn secret(n: u32) -> Secret<32> {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    Secret::from_bytes(seed)
}

fn client(n: u32) -> Client {
    let name = ClientName::new(&format!("client-{n}")).unwrap();
    let key = ClientKey::Openme(*SigningKey::new(&secret(n)).unwrap().public());
    let ports = PortSpec::parse("22/tcp").unwrap().into();
    Client { any_target: true, ..Client::new(name, key, ports, Duration::from_secs(30)) }
}

fn rules(clients: Vec<Client>) -> Rules {
    Rules { generation: 1, window: Duration::from_secs(60), clients, ..Rules::default() }
}

fn keyring() -> Keyring {
    Keyring { openme: Some(ServerKey::new(&Secret::from_bytes(SERVER)).unwrap()), ..Keyring::default() }
}

fn gate(clients: u32) -> Gate {
    Gate::new(rules((0..clients).map(client).collect()), keyring(), Tuning::default())
}

/// A packet of client `n`, made at `now`, from 192.0.2.`from`.
fn packet(n: u32, now: Now, from: u8, nonce: u64) -> Datagram {
    packet_for(None, n, now, ([192, 0, 2, from], 4000).into(), nonce)
}

fn packet_for(
    target: Option<IpAddr>,
    n: u32,
    now: Now,
    source: std::net::SocketAddr,
    nonce: u64,
) -> Datagram {
    let server = *keyring().openme.unwrap().public();
    let keys = ClientKeys { server, client: SigningKey::new(&secret(n)).unwrap() };
    let bytes = seal(&keys, Wish { target }, now.wall, &mut Dice(nonce << 32 | u64::from(n))).unwrap();
    Datagram::new(bytes, source, Via::Udp)
}

/// What it wants done next, whatever it has written down before.
fn next(gate: &mut Gate) -> Option<Action> {
    std::iter::from_fn(|| gate.poll_action()).find(|action| !matches!(action, Action::Accept(_)))
}

fn claim(gate: &mut Gate) -> (Ticket, Claim) {
    match next(gate) {
        Some(Action::Claim(ticket, claim)) => (ticket, claim),
        other => panic!("a claim, not {other:?}"),
    }
}

fn open(gate: &mut Gate) -> (Ticket, Opening) {
    match next(gate) {
        Some(Action::Open(ticket, warrant)) => (ticket, warrant.into_opening()),
        other => panic!("an opening, not {other:?}"),
    }
}

fn event(gate: &mut Gate) -> Event {
    match next(gate) {
        Some(Action::Tell(event)) => event,
        other => panic!("a word, not {other:?}"),
    }
}

fn reason(gate: &mut Gate) -> Reason {
    event(gate).reason
}

/// From the datagram to the open door, everything answering well.
fn knock(gate: &mut Gate, now: Now, datagram: Datagram) -> Reason {
    gate.handle_datagram(now, datagram);
    while gate.work(now, 100) {}
    let (ticket, _) = claim(gate);
    gate.handle_claimed(now, ticket, Claimed::Fresh);
    let (ticket, _) = open(gate);
    gate.handle_opened(now, ticket, Opened::Open);
    reason(gate)
}

/// Up to the question to the grantor.
fn knock_until_asked(gate: &mut Gate, now: Now, datagram: Datagram) -> Ticket {
    gate.handle_datagram(now, datagram);
    while gate.work(now, 100) {}
    let (ticket, _) = claim(gate);
    gate.handle_claimed(now, ticket, Claimed::Fresh);
    open(gate).0
}

#[test]
fn a_knock_opens_and_a_second_one_extends() {
    let mut gate = gate(3);
    assert_eq!(knock(&mut gate, at(0), packet(1, at(0), 1, 1)), Reason::Granted);
    assert_eq!(knock(&mut gate, at(5), packet(1, at(5), 1, 2)), Reason::Extended);
    let session = gate.sessions(at(1005)).next().unwrap();
    assert_eq!((session.client.as_str(), session.left), ("client-1", Duration::from_secs(29)));
    assert_eq!(gate.poll_timeout(), Some(at(30_005).mono));
    gate.handle_timeout(at(30_004));
    assert_eq!(gate.poll_action(), None);
    gate.handle_timeout(at(30_005));
    let closed = event(&mut gate);
    assert_eq!((closed.reason, closed.source, closed.client), (Reason::Closed, None, gate.clients.name(1)));
    assert_eq!(gate.poll_action(), None, "the kernel has closed by itself");
    assert_eq!(gate.poll_timeout(), None);
}

#[test]
fn a_known_source_costs_one_verification() {
    let mut gate = gate(500);
    assert_eq!(knock(&mut gate, at(0), packet(400, at(0), 1, 1)), Reason::Granted);
    let before = gate.effort();
    gate.handle_datagram(at(1), packet(400, at(1), 1, 2));
    let after = gate.effort();
    assert_eq!((after.unsealed - before.unsealed, after.verified - before.verified), (1, 1));
    assert!(matches!(gate.poll_action(), Some(Action::Claim(..))), "without any work()");
}

#[test]
fn the_last_of_ten_thousand_opens_after_ten_thousand_verifications_in_slices() {
    let mut gate = gate(10_000);
    gate.handle_datagram(at(0), packet(9_999, at(0), 1, 1));
    assert_eq!(
        (gate.poll_action(), gate.effort()),
        (None, Effort::default()),
        "nothing is done when it comes in"
    );
    let mut slices = 0;
    while gate.work(at(0), 20) {
        slices += 1;
        let effort = gate.effort();
        assert!(effort.unsealed + effort.verified <= 20 * slices, "a slice is a slice");
    }
    assert_eq!(gate.effort(), Effort { unsealed: 1, verified: 10_000, tried: 0, asked: 0 });
    assert!(matches!(gate.poll_action(), Some(Action::Claim(..))));
}

#[test]
fn the_most_recently_seen_are_tried_first() {
    let mut gate = gate(1000);
    let _ = knock(&mut gate, at(0), packet(900, at(0), 1, 1));
    let before = gate.effort().verified;
    assert_eq!(knock(&mut gate, at(1), packet(900, at(1), 2, 2)), Reason::Granted);
    assert_eq!(gate.effort().verified - before, 1, "from a new address");
}

#[test]
fn a_flood_of_sealed_strangers_delays_no_known_source() {
    let mut gate = gate(20);
    let _ = knock(&mut gate, at(0), packet(7, at(0), 1, 1));
    // Strangers who know our public key: sealed well, signed by nobody whom we know.
    let stranger = packet(77_777, at(1), 9, 9);
    for n in 0..5000_u32 {
        let source = (IpAddr::V4((0xcb00_7100 + n % 200).into()), 4000).into();
        gate.handle_datagram(at(1), Datagram { source, ..stranger.clone() });
    }
    assert!(gate.work(at(1), 15), "one of them is being tried");
    let busy = gate.counters().of(Reason::Busy);
    assert_eq!(busy, 5000 - 1024);
    while gate.poll_action().is_some() {}

    let before = gate.effort();
    gate.handle_datagram(at(2), packet(7, at(2), 1, 2));
    let after = gate.effort();
    assert_eq!((after.unsealed - before.unsealed, after.verified - before.verified), (1, 1));
    assert!(matches!(gate.poll_action(), Some(Action::Claim(..))));

    while gate.work(at(3), 1000) {}
    let counters = gate.counters();
    assert_eq!(
        counters.of(Reason::UnknownClient) + counters.of(Reason::Busy),
        5000,
        "each ends in one verdict"
    );
    assert_eq!(gate.effort().verified, 8 + 1 + 1024 * 20, "each that was not thrown out walked all clients");
}

#[test]
fn a_flood_under_a_known_address_wastes_a_bounded_amount() {
    let mut gate = gate(10);
    let _ = knock(&mut gate, at(0), packet(7, at(0), 1, 1));
    let _ = knock(&mut gate, at(0), packet(8, at(0), 2, 1));
    let before = gate.effort();
    let spoofed = packet(77_777, at(1), 1, 9);
    for _ in 0..20_000 {
        gate.handle_datagram(at(1), spoofed.clone());
    }
    let effort = gate.effort();
    let spent = effort.unsealed + effort.verified - before.unsealed - before.verified;
    assert!(spent <= 2001, "{spent} units in one millisecond");
    while gate.poll_action().is_some() {}

    // Another known client is not charged for it: it has its place in the lane, and is served before strangers.
    gate.handle_datagram(at(1), packet(8, at(1), 2, 2));
    assert_eq!(event(&mut gate).source, Some(spoofed.source), "one of the flood made room");
    gate.work(at(1), 8);
    assert!(matches!(gate.poll_action(), Some(Action::Claim(..))));
    // And with the time the budget is there again.
    gate.handle_datagram(at(1001), packet(8, at(1001), 2, 3));
    assert!(matches!(gate.poll_action(), Some(Action::Claim(..))));
}

#[test]
fn a_packet_of_a_known_source_may_be_another_clients() {
    let mut gate = gate(50);
    let _ = knock(&mut gate, at(0), packet(7, at(0), 1, 1));
    let before = gate.effort();
    assert_eq!(knock(&mut gate, at(1), packet(8, at(1), 1, 1)), Reason::Granted);
    assert_eq!(gate.effort().unsealed - before.unsealed, 1, "its seal is opened once");
    assert_eq!(gate.sources.clients([192, 0, 2, 1].into()), [8, 7]);
}

#[test]
fn nothing_is_remembered_of_a_replay() {
    let mut gate = gate(2);
    gate.handle_datagram(at(0), packet(1, at(0), 66, 1));
    while gate.work(at(0), 100) {}
    let (ticket, _) = claim(&mut gate);
    assert!(gate.sources.clients([192, 0, 2, 66].into()).is_empty());
    gate.handle_claimed(at(0), ticket, Claimed::Replayed);
    assert_eq!(reason(&mut gate), Reason::Replayed);
    assert!(gate.sources.clients([192, 0, 2, 66].into()).is_empty());
    assert_eq!(gate.last_seen().count(), 0);
}

#[test]
fn age_comes_first_and_the_client_is_told_how_far_it_is_off() {
    let mut gate = gate(2);
    for (sent, offset) in [(0, -60_001), (120_002, 60_001)] {
        gate.handle_datagram(at(60_001), packet(1, at(sent), 1, sent));
        gate.work(at(60_001), 100);
        let stale = event(&mut gate);
        assert_eq!((stale.reason, stale.detail), (Reason::Stale, Some(Detail::ClockOffset(offset))));
        assert!(stale.client.is_some());
    }
    gate.handle_datagram(at(60_000), packet(1, at(0), 1, 7));
    gate.work(at(60_000), 100);
    let (_, claim) = claim(&mut gate);
    assert_eq!(claim.keep_until, claim.stamp.after(Duration::from_secs(60)));
}

#[test]
fn the_ends_of_time_are_stale_and_break_nothing() {
    for (stamp, clock) in [(i64::MIN, i128::MAX), (i64::MAX, i128::MIN), (i64::MAX, 0), (i64::MIN, 0)] {
        let mut gate = gate(1);
        let sent = Now { wall: Unix::from_nanos(stamp.into()), ..at(0) };
        let now = Now { wall: Unix::from_nanos(clock), ..at(0) };
        gate.handle_datagram(now, packet(0, sent, 1, 1));
        gate.work(now, 10);
        assert_eq!(reason(&mut gate), Reason::Stale, "{stamp} at {clock}");
    }
}

#[test]
fn what_is_no_packet_is_noise_and_what_is_not_sealed_for_us_is_unauthentic() {
    let mut gate = gate(2);
    let mut datagram = packet(1, at(0), 1, 1);
    gate.handle_datagram(at(0), Datagram { bytes: datagram.bytes[..164].into(), ..datagram.clone() });
    assert_eq!(reason(&mut gate), Reason::Noise);
    datagram.bytes[50] ^= 1;
    gate.handle_datagram(at(0), datagram.clone());
    assert!(!gate.work(at(0), 100));
    assert_eq!(reason(&mut gate), Reason::Unauthentic);
    datagram.bytes[0] = 2;
    gate.handle_datagram(at(0), datagram);
    assert_eq!(reason(&mut gate), Reason::Noise);
    let mut mute = Gate::new(rules(vec![client(1)]), Keyring::default(), Tuning::default());
    mute.handle_datagram(at(0), packet(1, at(0), 1, 1));
    assert_eq!(reason(&mut mute), Reason::Noise, "a dialect without a key is not spoken");
}

#[test]
fn silence_of_the_store_refuses() {
    let mut gate = gate(2);
    gate.handle_datagram(at(0), packet(1, at(0), 1, 1));
    gate.work(at(0), 100);
    let (ticket, _) = claim(&mut gate);
    assert_eq!(gate.poll_timeout(), Some(at(2000).mono));
    gate.handle_timeout(at(2000));
    assert_eq!(reason(&mut gate), Reason::StoreUnavailable);
    gate.handle_claimed(at(2001), ticket, Claimed::Fresh);
    assert_eq!(gate.poll_action(), None, "too late is too late");
    gate.handle_claimed(at(2001), Ticket::from_u64(u64::MAX), Claimed::Fresh);
    gate.handle_opened(at(2001), Ticket::from_u64(1 << 32), Opened::Open);
    assert_eq!(gate.poll_action(), None, "tickets that were never given out");
}

#[test]
fn a_late_opening_is_closed_again() {
    let mut gate = gate(2);
    let ticket = knock_until_asked(&mut gate, at(0), packet(1, at(0), 1, 1));
    gate.handle_timeout(at(2000));
    assert_eq!(reason(&mut gate), Reason::FirewallFailed);
    gate.handle_opened(at(2500), ticket, Opened::Open);
    let closing =
        Closing { client: gate.clients.name(1), address: Some([192, 0, 2, 1].into()), cause: Cause::Late };
    assert_eq!(gate.poll_action(), Some(Action::Close(closing)));
    gate.handle_opened(at(2500), ticket, Opened::Open);
    assert_eq!(gate.poll_action(), None, "an answer counts once");
}

#[test]
fn a_late_opening_takes_nothing_from_a_grant_that_came_after_it() {
    let mut gate = gate(2);
    let late = knock_until_asked(&mut gate, at(0), packet(1, at(0), 1, 1));
    gate.handle_timeout(at(2000));
    assert_eq!(reason(&mut gate), Reason::FirewallFailed);
    let second = knock_until_asked(&mut gate, at(2100), packet(1, at(2100), 1, 2));
    gate.handle_opened(at(2200), late, Opened::Open);
    assert_eq!(gate.poll_action(), None, "the second is still to be answered");
    gate.handle_opened(at(2200), second, Opened::Failed);
    assert_eq!(reason(&mut gate), Reason::FirewallFailed);
    assert!(matches!(gate.poll_action(), Some(Action::Close(_))), "now nobody is entitled to the open door");
}

#[test]
fn refusals_of_the_grantor_are_the_firewalls() {
    let mut gate = gate(2);
    for (n, answer) in [(1, Opened::Refused), (2, Opened::Full), (3, Opened::Failed)] {
        let ticket = knock_until_asked(&mut gate, at(n), packet(1, at(n), 1, n));
        gate.handle_opened(at(n), ticket, answer);
        assert_eq!(reason(&mut gate), Reason::FirewallFailed);
    }
    assert_eq!(gate.sessions(at(9)).count(), 0);
}

#[test]
fn revoking_closes_its_own_grants_and_nobody_elses() {
    let mut gate = gate(4);
    for n in 0..3 {
        assert_eq!(knock(&mut gate, at(0), packet(n, at(0), 1, 1)), Reason::Granted);
    }
    let asked = knock_until_asked(&mut gate, at(1), packet(1, at(1), 2, 2));
    // 1 is gone, 2 has lost its port, 0 stays and has another number.
    let mut two = client(2);
    two.ports = PortSpec::parse("23/tcp").unwrap().into();
    gate.handle_rules(at(2), rules(vec![client(3), client(0), two]), keyring());
    let mut closed = Vec::new();
    let mut told = 0;
    while let Some(action) = gate.poll_action() {
        match action {
            Action::Close(closing) => {
                closed.push(format!("{}@{}", closing.client.unwrap(), closing.address.unwrap()));
            }
            Action::Tell(event) => told += u32::from(event.reason == Reason::Closed),
            Action::Claim(..)
            | Action::Accept(_)
            | Action::Open(..)
            | Action::Run(..)
            | Action::Resolve(..)
            | Action::Chains(_)
            | Action::Settle(_)
            | Action::Enrol(..)
            | Action::Answer(_)
            | Action::Gpg(_) => {
                panic!("nothing else")
            }
        }
    }
    assert_eq!(closed, ["client-1@192.0.2.1", "client-1@192.0.2.2", "client-2@192.0.2.1"]);
    assert_eq!(told, 2);
    gate.handle_opened(at(3), asked, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Closed, "the close went out after it");
    assert_eq!(gate.sessions(at(3)).map(|session| session.client.as_str()).collect::<Vec<_>>(), ["client-0"]);
    assert_eq!(gate.sources.clients([192, 0, 2, 1].into()), [2, 1], "by their new numbers");
    assert_eq!(knock(&mut gate, at(4), packet(0, at(4), 1, 5)), Reason::Extended);
}

#[test]
fn a_reload_in_the_middle_of_a_walk_and_of_a_claim() {
    let mut gate = gate(100);
    gate.handle_datagram(at(0), packet(1, at(0), 2, 1));
    gate.work(at(0), 100);
    let (waiting, _) = claim(&mut gate);
    gate.handle_datagram(at(0), packet(99, at(0), 1, 1));
    assert!(gate.work(at(0), 50));
    // 99 comes first now: a walk that went on with old numbers would never find it.
    gate.handle_rules(at(0), rules(vec![client(99), client(2)]), keyring());
    gate.handle_claimed(at(0), waiting, Claimed::Fresh);
    let gone = event(&mut gate);
    assert_eq!((gone.reason, gone.client), (Reason::UnknownClient, None));
    while gate.work(at(0), 50) {}
    let (ticket, _) = claim(&mut gate);
    gate.handle_claimed(at(0), ticket, Claimed::Fresh);
    assert_eq!(open(&mut gate).1.client.as_str(), "client-99");
}

#[test]
fn a_client_with_a_new_key_is_another_client() {
    let mut gate = gate(2);
    let _ = knock(&mut gate, at(0), packet(1, at(0), 1, 1));
    let rekeyed = Client { key: client(55).key, ..client(1) };
    gate.handle_rules(at(1), rules(vec![client(0), rekeyed]), keyring());
    assert!(matches!(gate.poll_action(), Some(Action::Close(_))));
    assert_eq!((reason(&mut gate), gate.last_seen().count()), (Reason::Closed, 0));
}

#[test]
fn closing_by_hand_counts_and_reaches_what_is_on_its_way() {
    let mut gate = gate(3);
    let _ = knock(&mut gate, at(0), packet(1, at(0), 1, 1));
    let _ = knock(&mut gate, at(0), packet(2, at(0), 1, 1));
    let asked = knock_until_asked(&mut gate, at(1), packet(2, at(1), 3, 2));
    let closing = Closing { client: gate.clients.name(2), address: None, cause: Cause::Close };
    assert_eq!(gate.handle_closing(at(2), &closing), 1);
    assert_eq!(gate.poll_action(), Some(Action::Close(closing)));
    assert_eq!(reason(&mut gate), Reason::Closed);
    gate.handle_opened(at(3), asked, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Closed);
    assert_eq!(gate.sessions(at(3)).count(), 1);
}

#[test]
fn restored_grants_are_known_and_judged_by_the_rules_of_today() {
    let mut gate = gate(2);
    let restored = |name: &str, until| RestoredGrant {
        client: ClientName::new(name).unwrap(),
        address: [192, 0, 2, 1].into(),
        door: Door { ports: PortSpec::parse("22/tcp").unwrap().into(), ..Door::default() },
        until: at(until).mono,
        grounds: Grounds::default(),
    };
    gate.handle_restored(
        at(10),
        vec![restored("client-1", 500), restored("client-0", 5), restored("gone", 500)],
    );
    let closing = Closing {
        client: Some(ClientName::new("gone").unwrap()),
        address: Some([192, 0, 2, 1].into()),
        cause: Cause::Revoke,
    };
    assert_eq!(gate.poll_action(), Some(Action::Close(closing)));
    assert_eq!(reason(&mut gate), Reason::Closed);
    assert_eq!(
        gate.sessions(at(10)).map(|session| session.client.as_str()).collect::<Vec<_>>(),
        ["client-1"]
    );
    assert_eq!(knock(&mut gate, at(20), packet(1, at(20), 1, 1)), Reason::Extended);
    assert_eq!(gate.effort().verified, 1);
}

#[test]
fn one_client_cannot_fill_the_store_alone() {
    let tuning = Tuning { knocks_at_once: 2, knocks_a_minute: 1, ..Tuning::default() };
    let mut gate = Gate::new(rules((0..3).map(client).collect()), keyring(), tuning);
    let _ = knock(&mut gate, at(0), packet(1, at(0), 1, 1));
    let _ = knock(&mut gate, at(0), packet(1, at(0), 1, 2));
    gate.handle_datagram(at(1), packet(1, at(1), 1, 3));
    assert_eq!(reason(&mut gate), Reason::RateLimited);
    assert_eq!(
        knock(&mut gate, at(1), packet(2, at(1), 1, 1)),
        Reason::Granted,
        "another one is not concerned"
    );
    gate.handle_timeout(at(60_000));
    assert_eq!((reason(&mut gate), reason(&mut gate)), (Reason::Closed, Reason::Closed));
    assert_eq!(knock(&mut gate, at(60_000), packet(1, at(60_000), 1, 4)), Reason::Granted, "a minute later");
}

#[test]
fn more_questions_than_can_be_kept_are_busy() {
    let tuning = Tuning { pending: 2, ..Tuning::default() };
    let mut gate = Gate::new(rules((0..3).map(client).collect()), keyring(), tuning);
    let first = knock_until_asked(&mut gate, at(0), packet(1, at(0), 1, 1));
    let second = knock_until_asked(&mut gate, at(0), packet(1, at(0), 1, 2));
    gate.handle_datagram(at(1), packet(1, at(1), 1, 3));
    assert_eq!(reason(&mut gate), Reason::Busy);
    gate.handle_timeout(at(2000));
    assert_eq!((reason(&mut gate), reason(&mut gate)), (Reason::FirewallFailed, Reason::FirewallFailed));
    let third = knock_until_asked(&mut gate, at(2001), packet(1, at(2001), 1, 4));
    assert_ne!(first, third);
    gate.handle_opened(at(2002), first, Opened::Open);
    assert_eq!(gate.poll_action(), None, "its place was needed; the kernel's timer ends it");
    gate.handle_opened(at(2002), third, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Granted);
    gate.handle_opened(at(2002), second, Opened::Failed);
    assert_eq!(gate.poll_action(), None);
}

#[test]
fn two_clients_behind_one_address_and_one_for_another() {
    let mut gate = gate(3);
    let target = Some("198.51.100.9".parse().unwrap());
    let source = "[::ffff:192.0.2.1]:9".parse().unwrap();
    assert_eq!(knock(&mut gate, at(0), packet_for(target, 1, at(0), source, 1)), Reason::Granted);
    assert_eq!(knock(&mut gate, at(0), packet(2, at(0), 1, 1)), Reason::Granted);
    let mut addresses: Vec<String> =
        gate.sessions(at(0)).map(|session| session.address.to_string()).collect();
    addresses.sort();
    assert_eq!(addresses, ["192.0.2.1", "198.51.100.9"]);
    assert_eq!(gate.sources.clients([192, 0, 2, 1].into()), [2, 1], "known is the source, not the target");
}
