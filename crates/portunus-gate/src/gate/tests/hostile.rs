//! What somebody who means harm, a slow grantor or an odd clock does to the gate.

use super::*;

#[test]
fn a_grant_does_not_outlast_a_client_whose_end_was_moved() {
    let until = |n: u32, seconds: i64| Client { expires: Some(Unix::from_secs(WALL + seconds)), ..client(n) };
    let mut gate = Gate::new(
        rules(vec![until(0, 10), until(1, 100), client(2), client(3)]),
        keyring(),
        Tuning::default(),
    );
    for n in 0..3 {
        assert_eq!(knock(&mut gate, at(0), packet(n, at(0), 1, 1)), Reason::Granted);
    }
    let asked = knock_until_asked(&mut gate, at(0), packet(3, at(0), 1, 1));
    let left = |gate: &Gate| {
        let mut left: Vec<_> =
            gate.sessions(at(0)).map(|s| (s.client.to_string(), s.left.as_secs())).collect();
        left.sort();
        left
    };
    let pairs = |all: &[(&str, u64)]| all.iter().map(|&(name, n)| (name.to_owned(), n)).collect::<Vec<_>>();
    assert_eq!(left(&gate), pairs(&[("client-0", 10), ("client-1", 30), ("client-2", 30)]));
    // The answer came a second after the decision: that alone is no reason to close it at a reload.
    let again = knock_until_asked(&mut gate, at(1000), packet(0, at(1000), 1, 2));
    gate.handle_opened(at(2000), again, Opened::Open);
    assert_eq!(reason(&mut gate), Reason::Extended);
    let moved = vec![until(0, 10), until(1, 20), client(2), until(3, 5)];
    gate.handle_rules(at(2000), rules(moved), keyring());
    assert!(
        matches!(gate.poll_action(), Some(Action::Close(closing)) if closing.client == gate.clients.name(1))
    );
    assert_eq!(reason(&mut gate), Reason::Closed);
    assert!(
        matches!(gate.poll_action(), Some(Action::Close(closing)) if closing.client == gate.clients.name(3))
    );
    gate.handle_opened(at(2001), asked, Opened::Open);
    assert_eq!((reason(&mut gate), gate.poll_action()), (Reason::Closed, None));
    assert_eq!(left(&gate), pairs(&[("client-0", 11), ("client-2", 30)]));
}

#[test]
fn a_flood_under_one_known_address_delays_no_other_known_source() {
    let mut gate = gate(4);
    for n in 0..4 {
        let _ = knock(&mut gate, at(0), packet(n, at(0), n as u8, 1));
    }
    let spoofed = packet(77_777, at(1), 1, 9);
    (0..20_000).for_each(|_| gate.handle_datagram(at(1), spoofed.clone()));
    while gate.poll_action().is_some() {}
    // The lane is full. Of the others none is thrown out, and none waits behind the flood.
    for n in [0, 2, 3] {
        gate.handle_datagram(at(1), packet(n, at(1), n as u8, 2));
    }
    while let Some(action) = gate.poll_action() {
        assert!(matches!(action, Action::Tell(event) if event.source == Some(spoofed.source)));
    }
    gate.work(at(1), 16);
    let claims =
        std::iter::from_fn(|| gate.poll_action()).filter(|action| matches!(action, Action::Claim(..)));
    assert_eq!(claims.count(), 3);
}

#[test]
fn a_client_that_knocks_too_often_pays_for_it_like_everybody() {
    let tuning = Tuning { knocks_at_once: 1, knocks_a_minute: 1, waste_a_second: 10, ..Tuning::default() };
    let mut gate = Gate::new(rules((0..3).map(client).collect()), keyring(), tuning);
    let _ = knock(&mut gate, at(0), packet(1, at(0), 1, 1));
    let before = gate.effort().verified;
    for n in 0..100 {
        gate.handle_datagram(at(1), packet(1, at(1), 1, 100 + n));
    }
    assert_eq!(gate.effort().verified - before, 5, "then it waits in the lane for work");
}

#[test]
fn what_one_client_can_make_the_store_remember_is_less_than_its_room() {
    let tuning = Tuning::default();
    let two_hours = tuning.knocks_at_once + 120 * tuning.knocks_a_minute;
    // portunusd gives the store room for 400,000; the horizon rises when more than half of it is younger than 2 h.
    assert!(two_hours < 400_000 && 120 * tuning.knocks_a_minute < 200_000);
    let mut clients = Clients::new(rules(vec![client(0)]), Allowance::of(&tuning));
    let mut accepted = 0;
    for second in 0..7200 {
        let now = at(second * 1000);
        while !clients.is_over(0, now.mono) {
            clients.saw(0, now);
            accepted += 1;
        }
    }
    assert!((two_hours - 20..=two_hours).contains(&accepted), "{accepted}");
}

#[test]
fn a_grantor_that_is_always_late_makes_no_list_grow() {
    let mut gate = gate(2);
    let never = knock_until_asked(&mut gate, at(0), packet(1, at(0), 1, 0));
    for n in 0..100 {
        let sent = at(n * 3000);
        let ticket = knock_until_asked(&mut gate, sent, packet(1, sent, 1, n + 1));
        gate.handle_timeout(at(n * 3000 + 2000));
        gate.handle_opened(at(n * 3000 + 2500), ticket, Opened::Open);
        while gate.poll_action().is_some() {}
    }
    assert!(gate.pending.remembered() <= 10, "{}", gate.pending.remembered());
    gate.handle_opened(at(400_000), never, Opened::Open);
    assert!(matches!(gate.poll_action(), Some(Action::Close(_))), "that one is still known");
}

#[test]
fn replays_under_a_known_address_are_waste_too() {
    let tuning = Tuning { waste_a_second: 10, ..Tuning::default() };
    let mut gate = Gate::new(rules(vec![client(0)]), keyring(), tuning);
    let recorded = packet(0, at(0), 1, 1);
    let _ = knock(&mut gate, at(0), recorded.clone());
    for _ in 0..100 {
        gate.handle_datagram(at(1), recorded.clone());
        while let Some(action) = gate.poll_action() {
            if let Action::Claim(ticket, _) = action {
                gate.handle_claimed(at(1), ticket, Claimed::Replayed);
            }
        }
    }
    assert_eq!(gate.counters().of(Reason::Replayed), 5, "the others wait in the lane for work");
}

#[test]
fn after_a_change_of_the_servers_key_nothing_counts_as_opened() {
    let mut gate = gate(10);
    let _ = knock(&mut gate, at(0), packet(7, at(0), 1, 1));
    // One is in the middle of its walk; one more, under a known address, waits with its seal opened.
    gate.handle_datagram(at(1), packet(9, at(1), 2, 1));
    assert!(gate.work(at(1), 4));
    gate.handle_datagram(at(1), packet(8, at(1), 1, 1));
    assert_eq!(gate.waiting(), 2);
    let other =
        Keyring { openme: Some(ServerKey::new(&Secret::from_bytes([9; 32])).unwrap()), ..Keyring::default() };
    gate.handle_rules(at(2), rules((0..10).map(client).collect()), other);
    while gate.work(at(2), 100) {}
    assert_eq!((reason(&mut gate), reason(&mut gate)), (Reason::Unauthentic, Reason::Unauthentic));
}

#[test]
fn an_end_is_said_before_the_grant_that_follows_it() {
    let mut gate = gate(1);
    let _ = knock(&mut gate, at(0), packet(0, at(0), 1, 1));
    let ticket = knock_until_asked(&mut gate, at(29_000), packet(0, at(29_000), 1, 2));
    gate.handle_opened(at(30_500), ticket, Opened::Open);
    assert_eq!((reason(&mut gate), reason(&mut gate)), (Reason::Closed, Reason::Granted));
}

#[test]
fn noise_in_the_shape_of_packets_under_a_known_address_is_waste() {
    let tuning = Tuning { waste_a_second: 10, ..Tuning::default() };
    let mut gate = Gate::new(rules(vec![client(0)]), keyring(), tuning);
    let _ = knock(&mut gate, at(0), packet(0, at(0), 1, 1));
    let mut torn = packet(0, at(1), 1, 2);
    torn.bytes[60] ^= 1;
    let before = gate.effort().unsealed;
    (0..100).for_each(|_| gate.handle_datagram(at(1), torn.clone()));
    assert_eq!(gate.effort().unsealed - before, 10);
}

#[test]
fn a_late_opening_keeps_the_books_as_long_as_the_kernel() {
    let mut gate = gate(1);
    let _ = knock(&mut gate, at(0), packet(0, at(0), 1, 1));
    let late = knock_until_asked(&mut gate, at(10_000), packet(0, at(10_000), 1, 2));
    gate.handle_timeout(at(12_000));
    assert_eq!(reason(&mut gate), Reason::FirewallFailed);
    gate.handle_opened(at(13_000), late, Opened::Open);
    assert_eq!(gate.poll_action(), None, "the grant before it would be closed with it");
    assert_eq!(gate.sessions(at(13_000)).next().map(|session| session.left), Some(Duration::from_secs(30)));
}

#[test]
fn a_crowd_under_a_known_address_does_not_keep_strangers_out() {
    let mut gate = gate(4);
    let _ = knock(&mut gate, at(0), packet(0, at(0), 1, 1));
    gate.handle_datagram(at(1), packet(3, at(1), 9, 1));
    let spoofed = packet(77_777, at(1), 1, 9);
    (0..5000).for_each(|_| gate.handle_datagram(at(1), spoofed.clone()));
    while gate.poll_action().is_some() {}
    gate.work(at(1), 16);
    assert!(matches!(gate.poll_action(), Some(Action::Claim(..))), "half of the work is theirs");
}
