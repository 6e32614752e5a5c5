//! What is kept and erased: links that are announced, closings, days that are over.

use super::*;

/// The changes that it wants made; as if the store had made them, new ones from slot 900 on.
pub(super) fn kept(gate: &mut Gate, now: Now) -> Vec<ChainChange> {
    let mut all = Vec::new();
    loop {
        gate.handle_timeout(now);
        let actions: Vec<Action> = std::iter::from_fn(|| gate.poll_action()).collect();
        let mut batches = actions
            .into_iter()
            .filter_map(|action| if let Action::Chains(changes) = action { Some(changes) } else { None });
        let Some(changes) = batches.next() else { return all };
        assert!(batches.next().is_none(), "one batch at a time");
        let new =
            changes.iter().filter(|change| matches!(change, ChainChange::Put { slot: None, .. })).count();
        let slots: Vec<u32> = (900..).take(new).collect();
        all.extend(changes);
        gate.handle_chains(now, Some(&slots));
        // Datagrams come first: the next batch is asked for in another round.
        assert!(gate.poll_action().is_none());
    }
}

#[test]
fn a_link_that_is_announced_takes_the_others_place_when_it_is_used() {
    let mut gate = native_gate(2);
    let fresh = Chain::new(today(), value(555));
    let announce = |nonce| {
        let link = Some(value(555));
        sealed(1, &Payload { kind: Kind::NewLink, link, ..Payload::knock(at(nonce).wall) }, nonce).0
    };
    for nonce in [1, 2] {
        hear(&mut gate, at(nonce), announce(nonce), 7);
        let _ = granted(&mut gate, at(nonce));
        let _ = event(&mut gate);
    }
    let changes = kept(&mut gate, at(2));
    let owner = ChainOwner::Announced(*key(1).public());
    let Some(ChainChange::Put { slot: None, .. }) = changes.first() else { panic!("{changes:?}") };
    // The same again changes nothing, and the old one still holds.
    hear(&mut gate, at(3), announce(3), 7);
    let _ = granted(&mut gate, at(3));
    let _ = event(&mut gate);
    assert_eq!(kept(&mut gate, at(3)), []);
    hear(&mut gate, at(4), sealed_with(1, &fresh, &Payload::knock(at(4).wall), 4).0, 7);
    let _ = granted(&mut gate, at(4));
    let _ = event(&mut gate);
    let changes = kept(&mut gate, at(4));
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(changes[1], ChainChange::Erase { owner, slot: 900 });
    let ChainChange::Put { owner, slot, value: kept, .. } = &changes[0] else { panic!("{changes:?}") };
    assert!(*owner == ChainOwner::Link(*key(1).public()) && *slot == Some(2) && *kept == value(555));
    // An old mail or photo of the profile opens nothing any more.
    hear(&mut gate, at(5), sealed(1, &Payload::knock(at(5).wall), 5).0, 7);
    assert_eq!(reason(&mut gate), Reason::Unauthentic);
}

#[test]
fn who_closes_takes_back_what_was_made_before_also_after_a_restart() {
    let mut gate = native_gate(1);
    let withheld = sealed(0, &Payload::knock(at(10).wall), 1).0;
    hear(&mut gate, at(0), sealed(0, &Payload::knock(at(0).wall), 2).0, 7);
    let _ = granted(&mut gate, at(0));
    let _ = event(&mut gate);
    hear(&mut gate, at(20), sealed(0, &Payload { kind: Kind::Close, ..Payload::knock(at(20).wall) }, 3).0, 7);
    let (ticket, _) = claim(&mut gate);
    gate.handle_claimed(at(20), ticket, Claimed::Fresh);
    let Some(Action::Close(closing)) = next(&mut gate) else { panic!("it is closed") };
    assert_eq!(closing.client, gate.clients.name(0));
    // What was open; and the closing's own word, once the kernel has done it.
    let told = event(&mut gate);
    assert_eq!((told.reason, told.source), (Reason::Closed, None));
    let Some(Action::Settle(ticket)) = next(&mut gate) else { panic!("it asks whether it is closed") };
    assert_eq!(gate.poll_action(), None);
    gate.handle_settled(at(20), ticket, true);
    assert_eq!(reason(&mut gate), Reason::Closed);
    let refused = |gate: &mut Gate| {
        hear(gate, at(30), withheld.clone(), 8);
        let (ticket, _) = claim(gate);
        gate.handle_claimed(at(30), ticket, Claimed::Fresh);
        assert_eq!(reason(gate), Reason::NotAllowed);
    };
    refused(&mut gate);
    let changes = kept(&mut gate, at(30));
    let [ChainChange::Put { owner, value, day, .. }] = &changes[..] else { panic!("{changes:?}") };
    let mut again = native_gate(1);
    again.handle_chain(*owner, 900, *day, value.duplicate());
    refused(&mut again);
    hear(&mut again, at(40), sealed(0, &Payload::knock(at(40).wall), 4).0, 7);
    let _ = granted(&mut again, at(40));
}

/// Nobody hears that it is closed before it is, and nobody hears it of a firewall that says nothing.
#[test]
fn who_closes_is_answered_once_the_kernel_has_closed() {
    let mut alice = native_client(0);
    alice.native.answers = true;
    let mut gate = gate_with(vec![alice]);
    let mut close = |now: Now, nonce| {
        let close = Payload { kind: Kind::Close, wants_answer: true, ..Payload::knock(now.wall) };
        let (bytes, pending) = sealed(0, &close, nonce);
        hear(&mut gate, now, bytes, 7);
        let (ticket, _) = claim(&mut gate);
        gate.handle_claimed(now, ticket, Claimed::Fresh);
        let Some(Action::Close(_)) = next(&mut gate) else { panic!("it is closed") };
        let Some(Action::Settle(ticket)) = next(&mut gate) else { panic!("it asks whether it is closed") };
        assert_eq!(gate.poll_action(), None, "no answer yet");
        (ticket, pending)
    };
    let (closed, first) = close(at(0), 1);
    let (not_closed, second) = close(at(2000), 2);
    let (_unanswered, third) = close(at(4000), 3);
    gate.handle_settled(at(4001), closed, true);
    assert_eq!(answer(&mut gate, 0, &first).status, Status::Closed);
    assert_eq!(reason(&mut gate), Reason::Closed);
    gate.handle_settled(at(5002), not_closed, false);
    assert_eq!(answer(&mut gate, 0, &second).status, Status::FirewallFailed);
    assert_eq!(reason(&mut gate), Reason::FirewallFailed);
    gate.handle_timeout(at(7000));
    assert_eq!(answer(&mut gate, 0, &third).status, Status::FirewallFailed);
}

/// Which day each chain has got to, by what is asked for.
fn aged(changes: &[ChainChange]) -> Vec<(ChainOwner, Day)> {
    let day = |change: &ChainChange| match change {
        ChainChange::Put { owner, day, .. } => (*owner, *day),
        ChainChange::Erase { .. } => panic!("{change:?}"),
    };
    changes.iter().map(day).collect()
}

#[test]
fn a_days_keys_go_an_hour_after_it_and_only_on_evidence() {
    let tomorrow = MIDNIGHT + 3_600_001;
    // Nobody has said that the clock is right.
    let mut gate = native_gate(2);
    assert_eq!(kept(&mut gate, at(tomorrow)), []);
    assert_eq!(kept(&mut gate, at(tomorrow + 20 * DAY_MILLIS)), []);
    // Back from there, everybody still gets in.
    hear(&mut gate, at(50), sealed(1, &Payload::knock(at(50).wall), 1).0, 7);
    let _ = granted(&mut gate, at(50));
    let _ = event(&mut gate);
    assert_eq!(kept(&mut gate, at(tomorrow)), [], "a knock of that day is no evidence for the next");
    // The kernel vouches for it, and the day is not over for an hour.
    let mut gate = native_gate(2);
    gate.handle_clock(true);
    assert_eq!(kept(&mut gate, at(MIDNIGHT + 3_500_000)), []);
    let changes = kept(&mut gate, at(tomorrow));
    let next = today().plus(1);
    let links = [0, 1].map(|n| (ChainOwner::Link(*key(n).public()), next));
    assert_eq!(aged(&changes), [&[(ChainOwner::Door(*door(1).public()), next)][..], &links].concat());
    assert_eq!(kept(&mut gate, at(tomorrow + 60_000)), [], "once");
    // What was recorded yesterday opens nothing, and today's knocks do.
    hear(&mut gate, at(tomorrow), sealed(1, &Payload::knock(at(50).wall), 1).0, 7);
    assert_eq!(reason(&mut gate), Reason::Noise);
    hear(&mut gate, at(tomorrow), sealed(1, &Payload::knock(at(tomorrow).wall), 2).0, 7);
    let _ = granted(&mut gate, at(tomorrow));
}

#[test]
fn an_accepted_knock_of_the_next_day_is_evidence_and_a_replayed_one_is_not() {
    let tomorrow = MIDNIGHT + 3_600_001;
    for (answer, wanted) in [(Claimed::Replayed, 0), (Claimed::Fresh, 3)] {
        let mut gate = native_gate(2);
        hear(&mut gate, at(tomorrow), sealed(1, &Payload::knock(at(tomorrow).wall), 2).0, 7);
        let (ticket, _) = claim(&mut gate);
        gate.handle_claimed(at(tomorrow), ticket, answer);
        assert_eq!(kept(&mut gate, at(tomorrow)).len(), wanted);
    }
}

#[test]
fn near_midnight_both_days_count() {
    let mut gate = native_gate(1);
    for (nonce, (made, come)) in [
        (MIDNIGHT - 1, MIDNIGHT + 50_000),
        (MIDNIGHT + 30_000, MIDNIGHT - 20_000),
        (MIDNIGHT + 5, MIDNIGHT + 6),
    ]
    .into_iter()
    .enumerate()
    {
        hear(&mut gate, at(come), sealed(0, &Payload::knock(at(made).wall), nonce as u64).0, 7);
        let _ = granted(&mut gate, at(come));
        let _ = event(&mut gate);
    }
}

#[test]
fn a_store_that_fails_is_asked_again_and_nothing_is_forgotten_meanwhile() {
    let tomorrow = MIDNIGHT + 3_600_001;
    let mut gate = native_gate(2);
    gate.handle_clock(true);
    gate.handle_timeout(at(tomorrow));
    let Some(Action::Chains(first)) = next(&mut gate) else { panic!("it asks") };
    gate.handle_chains(at(tomorrow), None);
    assert_eq!(gate.poll_action(), None, "not at once");
    hear(&mut gate, at(tomorrow), sealed(1, &Payload::knock(at(tomorrow).wall), 2).0, 7);
    let _ = granted(&mut gate, at(tomorrow));
    let _ = event(&mut gate);
    let wait = gate.poll_timeout().unwrap().since(at(tomorrow).mono);
    assert!(wait <= Duration::from_secs(30), "{wait:?}");
    gate.handle_timeout(at(tomorrow + 30_000));
    assert_eq!(reason(&mut gate), Reason::Closed, "its time is up");
    assert_eq!(next(&mut gate), Some(Action::Chains(first)));
}

#[test]
fn ten_thousand_clients_age_in_slices_with_knocks_between() {
    let tomorrow = MIDNIGHT + 3_600_001;
    let mut gate = native_gate(10_000);
    gate.handle_clock(true);
    let (mut rounds, mut changed) = (0, 0);
    loop {
        gate.handle_timeout(at(tomorrow));
        let Some(action) = gate.poll_action() else { break };
        let Action::Chains(changes) = action else { panic!("{action:?}") };
        assert!(changes.len() <= 512);
        (rounds, changed) = (rounds + 1, changed + changes.len());
        // A knock comes while the store works; nothing waits for it.
        let n = rounds % 10_000;
        hear(&mut gate, at(tomorrow), sealed(n, &Payload::knock(at(tomorrow).wall), u64::from(rounds)).0, 7);
        let _ = granted(&mut gate, at(tomorrow));
        let _ = event(&mut gate);
        gate.handle_chains(at(tomorrow), Some(&[]));
        assert_eq!(gate.poll_action(), None, "the next one in another round, which is due at once");
        assert!(gate.poll_timeout().is_some_and(|due| due <= at(tomorrow).mono) || changed == 10_001);
    }
    assert_eq!((changed, rounds >= 20), (10_001, true), "{rounds}");
}

/// Somebody has a copy of a profile that was printed: from its owner's first knock on he can undo nothing, and after its
/// second he opens nothing.
#[test]
fn of_two_links_that_are_announced_the_first_counts() {
    for at_once in [false, true] {
        let mut gate = native_gate(1);
        let announce = |link: u32, nonce: u64| {
            let payload =
                Payload { kind: Kind::NewLink, link: Some(value(link)), ..Payload::knock(at(nonce).wall) };
            sealed(0, &payload, nonce).0
        };
        for (link, nonce) in [(801, 1), (802, 2)] {
            hear(&mut gate, at(nonce), announce(link, nonce), 7);
            let _ = granted(&mut gate, at(nonce));
            let _ = event(&mut gate);
            if !at_once {
                assert_eq!(kept(&mut gate, at(nonce)).len(), usize::from(link == 801));
            }
        }
        if at_once {
            assert_eq!(kept(&mut gate, at(2)).len(), 1);
        }
        let with = |link: u32| Chain::new(today(), value(link));
        hear(&mut gate, at(3), sealed_with(0, &with(802), &Payload::knock(at(3).wall), 3).0, 7);
        assert_eq!(reason(&mut gate), Reason::Unauthentic);
        hear(&mut gate, at(4), sealed_with(0, &with(801), &Payload::knock(at(4).wall), 4).0, 7);
        let _ = granted(&mut gate, at(4));
        let _ = event(&mut gate);
        assert_eq!(kept(&mut gate, at(4)).len(), 2);
        hear(&mut gate, at(5), announce(803, 5), 7);
        assert_eq!(reason(&mut gate), Reason::Unauthentic, "the printed one is gone");
    }
}

/// Nobody says again that he has closed: a disk that was full just then must not forget it.
#[test]
fn a_closing_that_could_not_be_written_down_is_written_later() {
    let mut gate = native_gate(1);
    hear(&mut gate, at(20), sealed(0, &Payload { kind: Kind::Close, ..Payload::knock(at(20).wall) }, 3).0, 7);
    let (ticket, _) = claim(&mut gate);
    gate.handle_claimed(at(20), ticket, Claimed::Fresh);
    while gate.poll_action().is_some() {}
    gate.handle_timeout(at(21));
    assert!(matches!(next(&mut gate), Some(Action::Chains(_))));
    gate.handle_chains(at(21), None);
    assert_eq!(kept(&mut gate, at(22)), [], "the store is left alone for a while");
    let changes = kept(&mut gate, at(40_000));
    let [ChainChange::Put { owner, value, .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(*owner, ChainOwner::Closed(*key(0).public()));
    let millis = u64::try_from(at(20).wall.as_nanos() / 1_000_000).unwrap();
    assert_eq!(value.expose()[..8], millis.to_be_bytes());
}
