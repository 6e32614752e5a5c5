//! Packets of GnuPG's through the whole gate; what gpg would say is made up here.

use portunus_dialect::fwknop::gpg::{Answer, Failure, GpgKeys, HmacKey, RingId, Signers, Spoken, wrap};
use portunus_dialect::fwknop::{HashType, encode};
use portunus_model::{KeyId, Net};

use super::fwknop::{access, keys, packet, stanza_with};
use super::*;
use crate::Question;

const KEY: &str = "1F3133294BA3F0304255353F14729E41FC66E495";
const HMAC: &[u8] = b"hmac key";

/// Set `n`, which takes packets signed by `KEY` where `n` is odd.
fn set(n: u8, ring: u8, hmac: bool) -> GpgKeys {
    let print = if n % 2 == 1 { KEY.to_owned() } else { "A".repeat(40) };
    let signers = Signers { required: true, fingerprints: vec![print], ..Signers::default() };
    let hmac = hmac.then_some((HashType::Sha256, HMAC));
    GpgKeys::new(KeyId([n; 32]), RingId([ring; 32]), signers, None, hmac).unwrap()
}

fn stanza_of(number: u32, n: u8) -> Client {
    Client { key: ClientKey::Fwknop(KeyId([n; 32])), ..stanza_with(number, 0, |_| ()) }
}

fn gate_with(clients: Vec<Client>, gpg: Vec<GpgKeys>) -> Gate {
    let keyring = Keyring { gpg, fwknop: vec![keys(7)], ..keyring() };
    Gate::new(rules(clients), keyring, Tuning::default())
}

/// A message whose encrypted part is so many of these bytes.
fn message_of(length: usize, data: u8) -> Vec<u8> {
    let mut message = vec![0x85, 1, 12, 3];
    message.extend((1..268).map(|n| n as u8));
    message.push(0xd2);
    message.extend(vec![data; length]);
    message
}

fn sealed(data: u8, from: u8, hmac: bool) -> Datagram {
    sealed_of(300, data, from, hmac)
}

fn sealed_of(length: usize, data: u8, from: u8, hmac: bool) -> Datagram {
    let message = message_of(length, data);
    let hmac = hmac.then(|| HmacKey::new(HashType::Sha256, HMAC).unwrap());
    let wire = wrap(&message, hmac.as_ref()).unwrap().wire;
    Datagram::new(wire.into_bytes(), ([192, 0, 2, from], 4000).into(), Via::Udp)
}

/// What gpg would say of a good one.
fn good(now: Now, nonce: u64) -> Answer {
    let text = encode(access("tcp/22"), now.wall, &mut Dice(nonce)).unwrap().text();
    let lines = format!(
        "BEGIN_DECRYPTION\nDECRYPTION_INFO 2 9 0\nPLAINTEXT 62 0 \nNEWSIG\nGOODSIG 1 x\n\
         VALIDSIG {KEY} a b c d e f g h {KEY}\nTRUST_FULLY 0 pgp\nDECRYPTION_OKAY\nGOODMDC\nEND_DECRYPTION"
    );
    let report = lines.lines().map(|line| format!("[GNUPG:] {line}\n")).collect::<String>();
    Answer::Spoken(Spoken { text: text.into_bytes().into(), report: report.into_bytes() })
}

/// What gpg says of a packet that is for no key in the keyring.
fn not_theirs() -> Answer {
    let lines =
        "[GNUPG:] ENC_TO 1\n[GNUPG:] BEGIN_DECRYPTION\n[GNUPG:] DECRYPTION_FAILED\n[GNUPG:] END_DECRYPTION\n";
    Answer::Spoken(Spoken { text: Vec::new().into(), report: lines.as_bytes().to_vec() })
}

fn come(gate: &mut Gate, now: Now, datagram: Datagram) {
    gate.handle_datagram(now, datagram);
    while gate.work(now, 16) {}
}

fn question(gate: &mut Gate) -> Question {
    match next(gate) {
        Some(Action::Gpg(question)) => question,
        other => panic!("a question to gpg, not {other:?}"),
    }
}

fn refused(gate: &mut Gate) -> (Reason, Option<&'static str>) {
    let event = event(gate);
    let said = match event.detail {
        Some(Detail::Said(said)) => Some(said),
        _ => None,
    };
    assert_eq!(event.client, None, "nobody is proven");
    (event.reason, said)
}

#[test]
fn nothing_is_claimed_or_opened_before_gpg_has_answered_and_the_answer_counts_once() {
    let mut gate = gate_with(vec![stanza_of(1, 1)], vec![set(1, 9, false)]);
    come(&mut gate, at(0), sealed(1, 1, false));
    let asked = question(&mut gate);
    assert_eq!((asked.ring, asked.message[0], gate.waiting()), (RingId([9; 32]), 0x85, 0));
    assert_eq!(next(&mut gate), None);
    gate.handle_gpg(at(5), asked.number, &good(at(0), 1));
    let (ticket, claim) = claim(&mut gate);
    assert_eq!(gate.text_of(ticket).map(|key| key != claim.key), Some(true));
    gate.handle_gpg(at(5), asked.number, &good(at(0), 2));
    assert_eq!(next(&mut gate), None, "an answer counts once");
    gate.handle_claimed(at(6), ticket, Claimed::Fresh);
    let (ticket, opening) = open(&mut gate);
    assert_eq!(opening.ports.len(), 1);
    gate.handle_opened(at(7), ticket, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Granted);
}

#[test]
fn a_bad_hmac_never_reaches_gpg() {
    let mut gate = gate_with(vec![stanza_of(1, 1)], vec![set(1, 9, true)]);
    come(&mut gate, at(0), sealed(1, 1, false));
    assert_eq!(refused(&mut gate), (Reason::Unauthentic, None));
    come(&mut gate, at(0), sealed(1, 1, true));
    let _ = question(&mut gate);
    assert_eq!(gate.effort().asked, 1);
}

#[test]
fn each_ring_is_asked_once_and_each_set_of_keys_judges_for_itself() {
    let clients = (1..=4).map(|n| stanza_of(u32::from(n), n)).collect();
    let sets = vec![set(1, 9, true), set(2, 7, false), set(3, 8, false), set(4, 8, false)];
    let mut gate = gate_with(clients, sets);
    come(&mut gate, at(0), sealed(1, 1, false));
    let mut rings = Vec::new();
    loop {
        match next(&mut gate) {
            Some(Action::Gpg(Question { number, ring, .. })) => {
                rings.push(ring.0[0]);
                gate.handle_gpg(at(0), number, &good(at(0), 1));
            }
            Some(Action::Claim(ticket, _)) => break gate.handle_claimed(at(0), ticket, Claimed::Fresh),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rings, [7, 8], "in the files' order, and the ring whose HMAC does not fit is not asked");
    assert!(matches!(next(&mut gate), Some(Action::Open(..))));
    let (mut gate, answer) = (gate_with(vec![stanza_of(2, 2)], vec![set(2, 8, false)]), good(at(0), 1));
    come(&mut gate, at(0), sealed(1, 1, false));
    let number = question(&mut gate).number;
    gate.handle_gpg(at(0), number, &answer);
    let (reason, said) = refused(&mut gate);
    assert_eq!(reason, Reason::Unauthentic);
    assert!(said.unwrap().contains("GPG_FINGERPRINT_ID"), "{said:?}");
}

/// Behind its message it has an HMAC, so to keys without one it is no message; that says nothing to the others.
#[test]
fn a_packet_with_an_hmac_finds_its_keyring_behind_one_without() {
    let sets = vec![set(1, 9, false), set(3, 8, true)];
    let mut gate = gate_with(vec![stanza_of(1, 1), stanza_of(2, 3)], sets);
    come(&mut gate, at(0), sealed(1, 1, true));
    assert_eq!(question(&mut gate).ring, RingId([8; 32]));
}

/// Behind one address there may be several clients, and one that is known from there does not keep the others out.
#[test]
fn a_known_address_has_its_own_keyring_asked_first_and_then_all_that_are_for_it() {
    let elsewhere = {
        let mut client = stanza_of(3, 5);
        client.stanza.as_mut().unwrap().sources = vec![Net::parse("198.51.100.0/24").unwrap()];
        client
    };
    let clients = vec![stanza_of(1, 1), stanza_of(2, 3), elsewhere];
    let mut gate = gate_with(clients, vec![set(1, 9, false), set(3, 8, false), set(5, 7, false)]);
    for (nonce, ring, asked) in [(1, 8, [9, 8]), (2, 9, [8, 9])] {
        come(&mut gate, at(nonce), sealed(nonce as u8, 1, false));
        let mut rings = Vec::new();
        let ticket = loop {
            match next(&mut gate) {
                Some(Action::Gpg(question)) => {
                    rings.push(question.ring.0[0]);
                    let is_it = question.ring.0[0] == ring;
                    let answer = if is_it { good(at(nonce), nonce) } else { not_theirs() };
                    gate.handle_gpg(at(nonce), question.number, &answer);
                    while gate.work(at(nonce), 16) {}
                }
                Some(Action::Claim(ticket, _)) => break ticket,
                other => panic!("{other:?} after {rings:?}"),
            }
        };
        assert_eq!(rings, asked);
        gate.handle_claimed(at(nonce), ticket, Claimed::Fresh);
        let (ticket, _) = open(&mut gate);
        gate.handle_opened(at(nonce), ticket, Opened::Open);
        assert!(matches!(reason(&mut gate), Reason::Granted | Reason::Extended));
    }
}

/// Keys without an HMAC read what stands behind a message as more of it, where the letters allow that: what gpg is asked about
/// is the message alone, whichever keys of the keyring come first.
#[test]
fn a_message_with_an_hmac_goes_to_gpg_without_it_beside_keys_that_have_none() {
    for length in 300..306 {
        let clients = vec![stanza_of(1, 1), stanza_of(2, 3)];
        let mut gate = gate_with(clients, vec![set(1, 8, false), set(3, 8, true)]);
        come(&mut gate, at(0), sealed_of(length, 1, 1, true));
        let asked = question(&mut gate);
        assert_eq!(asked.message, message_of(length, 1), "{length}");
    }
}

/// Each keyring is a run of gpg's: for the second one a packet waits behind whoever came before.
#[test]
fn the_second_keyring_waits_its_turn() {
    let clients = vec![stanza_of(1, 1), stanza_of(2, 3)];
    let mut gate = gate_with(clients, vec![set(1, 9, false), set(3, 8, false)]);
    let both = [1, 2, 3].map(|from| sealed(from, from, false));
    both.into_iter().for_each(|packet| come(&mut gate, at(0), packet));
    let (first, second) = (question(&mut gate), question(&mut gate));
    assert_eq!(next(&mut gate), None, "two are with it at once");
    gate.handle_gpg(at(1), first.number, &not_theirs());
    let third = question(&mut gate);
    assert!(third.message != first.message && third.message != second.message, "it was its turn");
    assert_eq!(next(&mut gate), None);
    gate.handle_gpg(at(2), second.number, &not_theirs());
    assert_eq!(question(&mut gate).message, first.message);
}

/// Of the stanzas that take a signature a reload takes the first away: the packet is the other's, and is not used up.
#[test]
fn a_packet_whose_first_stanza_is_gone_is_the_next_ones() {
    let sets = || vec![set(1, 8, false), set(3, 8, false)];
    let mut gate = gate_with(vec![stanza_of(1, 1), stanza_of(2, 3)], sets());
    come(&mut gate, at(0), sealed(1, 1, false));
    let asked = question(&mut gate);
    gate.handle_gpg(at(0), asked.number, &good(at(0), 1));
    let (ticket, _) = claim(&mut gate);
    let keyring = Keyring { gpg: sets(), fwknop: vec![keys(7)], ..keyring() };
    gate.handle_rules(at(1), rules(vec![stanza_of(2, 3)]), keyring);
    gate.handle_claimed(at(1), ticket, Claimed::Fresh);
    let (ticket, _) = open(&mut gate);
    gate.handle_opened(at(2), ticket, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Granted);
}

/// As fwknopd has it: a stanza that refuses what is asked leaves the packet to the next one that takes its signature.
#[test]
fn each_stanza_that_takes_the_signature_is_asked_and_the_patience_of_the_last_counts() {
    let with = |number: u32, n: u8, ports: &str, patient: bool| {
        let mut client = stanza_of(number, n);
        let stanza = client.stanza.as_mut().unwrap();
        let ports = portunus_dialect::fwknop::read_ports(ports).unwrap().into_iter();
        stanza.open_ports = Some(ports.map(|(proto, port)| PortSpec::single(proto, port).unwrap()).collect());
        stanza.window = Some(Duration::from_secs(if patient { 300 } else { 10 }));
        client
    };
    let clients =
        || vec![with(1, 1, "tcp/80", false), with(2, 2, "tcp/22", false), with(3, 3, "tcp/22", true)];
    let sets = || vec![set(1, 9, false), set(2, 9, false), set(3, 9, false)];
    let mut gate = gate_with(clients(), sets());
    come(&mut gate, at(60), sealed(1, 1, false));
    let number = question(&mut gate).number;
    gate.handle_gpg(at(60), number, &good(at(0), 1));
    let (ticket, _) = claim(&mut gate);
    // A reload meanwhile gives them other numbers.
    let mut moved = clients();
    moved.rotate_right(1);
    let keyring = Keyring { gpg: sets(), fwknop: vec![keys(7)], ..keyring() };
    gate.handle_rules(at(60), rules(moved), keyring);
    gate.handle_claimed(at(60), ticket, Claimed::Fresh);
    let (ticket, opening) = open(&mut gate);
    assert_eq!(opening.ports.len(), 1);
    gate.handle_opened(at(60), ticket, Opened::Open);
    let event = event(&mut gate);
    assert_eq!((event.reason, event.client.unwrap().as_str()), (Reason::Granted, "stanza 3"));
    // Nobody's stanza is asked but who takes the signature.
    let mut gate = gate_with(
        vec![with(1, 1, "tcp/80", true), with(2, 2, "tcp/22", true)],
        vec![set(1, 9, false), set(2, 9, false)],
    );
    come(&mut gate, at(0), sealed(1, 1, false));
    let number = question(&mut gate).number;
    gate.handle_gpg(at(0), number, &good(at(0), 1));
    let (ticket, _) = claim(&mut gate);
    gate.handle_claimed(at(0), ticket, Claimed::Fresh);
    assert_eq!(reason(&mut gate), Reason::NotAllowed);
}

#[test]
fn what_waits_is_bounded_and_symmetric_knocks_do_not_wait_behind_it() {
    let clients = vec![stanza_of(1, 1), stanza_with(2, 7, |_| ())];
    let mut gate = gate_with(clients, vec![set(1, 9, false)]);
    for n in 0..500_u32 {
        come(&mut gate, at(0), sealed(n as u8, (n % 200) as u8, false));
    }
    let tuning = Tuning::default();
    let (mut asked, mut busy) = (Vec::new(), 0);
    while let Some(action) = next(&mut gate) {
        match action {
            Action::Gpg(question) => asked.push(question.number),
            Action::Tell(event) => busy += usize::from(event.reason == Reason::Busy),
            Action::Claim(..)
            | Action::Accept(_)
            | Action::Open(..)
            | Action::Run(..)
            | Action::Resolve(..)
            | Action::Chains(_)
            | Action::Settle(_)
            | Action::Enrol(..)
            | Action::Answer(_)
            | Action::Close(_) => panic!("nobody is proven"),
        }
    }
    assert_eq!((asked.len(), gate.with_gpg()), (tuning.gpg_at_once, tuning.gpg_queue + tuning.gpg_at_once));
    assert_eq!(busy, 500 - gate.with_gpg());
    assert_eq!((gate.waiting(), gate.lanes()), (0, (0, 0)), "nobody else waits for it");
    assert_eq!(knock(&mut gate, at(1), packet(7, access("tcp/22"), at(1), 9, 1)), Reason::Granted);
    // None of them is ever answered: each has its one verdict all the same.
    let mut last = at(0);
    while let Some(due) = gate.poll_timeout().filter(|_| gate.with_gpg() > 0) {
        last = Now { mono: due, ..last };
        gate.handle_timeout(last);
    }
    let told = std::iter::from_fn(|| next(&mut gate)).filter(|action| matches!(action, Action::Tell(_)));
    assert_eq!(told.count(), tuning.gpg_queue + tuning.gpg_at_once);
}

#[test]
fn a_known_source_does_not_wait_behind_strangers() {
    let mut gate = gate_with(vec![stanza_of(1, 1)], vec![set(1, 9, false)]);
    come(&mut gate, at(0), sealed(1, 1, false));
    let number = question(&mut gate).number;
    gate.handle_gpg(at(0), number, &good(at(0), 1));
    let (ticket, _) = claim(&mut gate);
    gate.handle_claimed(at(0), ticket, Claimed::Fresh);
    let (ticket, _) = open(&mut gate);
    gate.handle_opened(at(0), ticket, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Granted);
    for n in 0..500_u32 {
        come(&mut gate, at(1), sealed(n as u8, 2 + (n % 200) as u8, false));
    }
    let hers = sealed(77, 1, false);
    gate.handle_datagram(at(1), hers);
    let mut asked: Vec<u64> = Vec::new();
    let collect = |gate: &mut Gate, asked: &mut Vec<u64>| {
        while let Some(action) = next(gate) {
            if let Action::Gpg(question) = action {
                asked.push(question.number);
            }
        }
    };
    collect(&mut gate, &mut asked);
    for number in asked.clone() {
        gate.handle_gpg(at(2), number, &Answer::Failed(Failure::TooSlow));
    }
    asked.clear();
    collect(&mut gate, &mut asked);
    assert_eq!(asked.len(), 2);
    gate.handle_gpg(at(3), asked[0], &good(at(3), 3));
    gate.handle_gpg(at(3), asked[1], &good(at(3), 3));
    let actions = std::iter::from_fn(|| next(&mut gate));
    let claims =
        actions.filter_map(|action| if let Action::Claim(ticket, _) = action { Some(ticket) } else { None });
    let claims: Vec<Ticket> = claims.collect();
    let sources = claims.iter().filter_map(|ticket| gate.source_of(*ticket));
    assert_eq!(sources.filter(|source| *source == IpAddr::from([192, 0, 2, 1])).count(), 1, "hers is next");
}

#[test]
fn without_an_answer_nothing_is_opened_and_it_says_why() {
    for (failure, reason) in [
        (Failure::NotRun, Reason::Busy),
        (Failure::TooSlow, Reason::Busy),
        (Failure::Busy, Reason::Busy),
        (Failure::Killed, Reason::Busy),
        (Failure::TooMuch, Reason::Unauthentic),
    ] {
        let mut gate = gate_with(vec![stanza_of(1, 1)], vec![set(1, 9, false)]);
        come(&mut gate, at(0), sealed(1, 1, false));
        let number = question(&mut gate).number;
        gate.handle_gpg(at(0), number, &Answer::Failed(failure));
        let (was, said) = refused(&mut gate);
        assert_eq!((was, said.is_some()), (reason, true));
    }
}

#[test]
fn a_reload_that_takes_the_keys_away_takes_what_is_with_gpg_too() {
    let mut gate = gate_with(vec![stanza_of(1, 1)], vec![set(1, 9, false)]);
    come(&mut gate, at(0), sealed(1, 1, false));
    let number = question(&mut gate).number;
    let keyring = Keyring { fwknop: vec![keys(7)], ..keyring() };
    gate.handle_rules(at(1), rules(vec![stanza_with(2, 7, |_| ())]), keyring);
    gate.handle_gpg(at(2), number, &good(at(0), 1));
    assert_eq!(refused(&mut gate).0, Reason::Unauthentic);
}

#[test]
fn a_stanza_for_other_sources_has_no_packet_opened_from_elsewhere() {
    let only = |net: &str| {
        let mut client = stanza_of(1, 1);
        client.stanza.as_mut().unwrap().sources = vec![Net::parse(net).unwrap()];
        client
    };
    let mut gate = gate_with(vec![only("192.0.2.7")], vec![set(1, 9, false)]);
    come(&mut gate, at(0), sealed(1, 1, false));
    assert_eq!(refused(&mut gate), (Reason::UnknownClient, None));
    come(&mut gate, at(0), sealed(1, 7, false));
    let _ = question(&mut gate);
}
