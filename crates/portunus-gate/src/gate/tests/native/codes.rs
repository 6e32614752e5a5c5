//! One-time codes.

use super::*;

/// A client that needs one-time codes of this secret, and the gate that has it.
fn coded_gate() -> Gate {
    let mut alice = native_client(0);
    alice.native.second_factor = true;
    let mut gate = native_gate(1);
    let codes = vec![(*key(0).public(), Secret::from_bytes([9; 20]))];
    gate.handle_rules(
        at(0),
        rules(vec![alice]),
        Keyring { native: vec![(DoorRole::Current, door(1))], codes, ..keyring() },
    );
    gate
}

/// The code of so many steps from now.
fn code(steps: i64) -> u32 {
    let seconds = u64::try_from(WALL + 30 * steps).unwrap();
    Codes::new(&Secret::from_bytes([9; 20])).at(seconds).parse().unwrap()
}

/// What becomes of a knock with this code, with a store that remembers `used`.
fn with_code(gate: &mut Gate, now: Now, value: u32, attempt: u8, used: &mut Vec<Claim>) -> Option<Reason> {
    let code = Some(Code { value, attempt: [attempt; 8] });
    let nonce = now.mono.as_nanos() + 1;
    hear(gate, now, sealed(0, &Payload { code, ..Payload::knock(now.wall) }, nonce).0, 7);
    loop {
        match next(gate) {
            Some(Action::Claim(ticket, claim)) => {
                let seen = used.iter().any(|before| before.key == claim.key);
                used.push(claim);
                gate.handle_claimed(now, ticket, if seen { Claimed::Replayed } else { Claimed::Fresh });
            }
            Some(Action::Open(ticket, _)) => gate.handle_opened(now, ticket, Opened::Open),
            Some(Action::Tell(event)) if event.source.is_none() => (),
            Some(Action::Tell(event)) => return Some(event.reason).filter(|reason| reason.refuses()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_one_time_code_opens_for_one_attempt_which_may_come_twice() {
    let (mut gate, mut used) = (coded_gate(), Vec::new());
    let refused = Some(Reason::SecondFactor);
    assert_eq!(with_code(&mut gate, at(0), code(2), 1, &mut used), refused, "of a later step");
    assert_eq!(with_code(&mut gate, at(1), code(0), 1, &mut used), None);
    assert_eq!(with_code(&mut gate, at(2), code(0), 1, &mut used), None, "a pair, or a retry");
    assert_eq!(with_code(&mut gate, at(3), code(0), 2, &mut used), refused, "somebody who read along");
    assert_eq!(with_code(&mut gate, at(4), code(-1), 3, &mut used), refused, "one of before the last used");
    assert_eq!(with_code(&mut gate, at(5), code(1), 4, &mut used), None);
    // Across a restart the code is used up, for whoever comes with it.
    let mut gate = coded_gate();
    assert_eq!(with_code(&mut gate, at(6), code(1), 5, &mut used), refused);
    assert_eq!(with_code(&mut gate, at(60_000), code(2), 6, &mut used), None);
}

#[test]
fn five_wrong_codes_an_hour_and_twenty_a_day_are_looked_at() {
    let (mut gate, mut used) = (coded_gate(), Vec::new());
    let hour = 3_600_000;
    let mut right = |gate: &mut Gate, at: Now| {
        let step = i64::try_from(at.mono.as_nanos() / 30_000_000_000).unwrap();
        with_code(gate, at, code(step), 9, &mut used)
    };
    let mut guesses = Vec::new();
    for hours in 0..4 {
        let start = hours * hour + hours;
        for n in 0..5 {
            assert_eq!(right(&mut gate, at(start + n * 60_000)), None, "{n} in hour {hours}");
            let guess = with_code(&mut gate, at(start + n * 60_000 + 1), 1_000_000, 1, &mut guesses);
            assert_eq!(guess, Some(Reason::SecondFactor));
        }
        assert_eq!(
            right(&mut gate, at(start + 600_000)),
            Some(Reason::SecondFactor),
            "also for the right one, hour {hours}"
        );
    }
    assert_eq!(right(&mut gate, at(6 * hour)), Some(Reason::SecondFactor), "twenty");
    assert_eq!(right(&mut gate, at(15 * hour)), Some(Reason::SecondFactor));
}

/// A typing error goes out by IPv4 and IPv6, and three times when no answer comes. Nobody is shut out by one.
#[test]
fn a_wrong_code_that_comes_again_in_its_step_counts_once() {
    let (mut gate, mut used) = (coded_gate(), Vec::new());
    let refused = Some(Reason::SecondFactor);
    // Four errors, each six times; of these the third is the second again, in the next step.
    for (errors, (start, value)) in
        [(0, 1_000_000), (1_000, 1_000_001), (30_000, 1_000_001), (31_000, 1_000_002)].into_iter().enumerate()
    {
        for n in 0..6 {
            assert_eq!(with_code(&mut gate, at(start + n), value, 1, &mut used), refused, "{errors}");
        }
    }
    assert_eq!(with_code(&mut gate, at(32_000), code(1), 2, &mut used), None, "four are not five");
    // The fourth in a later step is a fifth guess: what is right has changed.
    assert_eq!(with_code(&mut gate, at(60_000), 1_000_002, 1, &mut used), refused);
    assert_eq!(with_code(&mut gate, at(61_000), code(2), 3, &mut used), refused, "five");
}

#[test]
fn a_pair_whose_claims_are_on_their_way_together_opens_both() {
    let mut gate = coded_gate();
    let pair: Vec<_> = [1, 2]
        .map(|nonce| {
            let code = Some(Code { value: code(0), attempt: [7; 8] });
            sealed(0, &Payload { code, ..Payload::knock(at(nonce).wall) }, nonce).0
        })
        .into();
    pair.into_iter().for_each(|bytes| hear(&mut gate, at(3), bytes, 7));
    for _ in 0..2 {
        let (ticket, _) = claim(&mut gate);
        gate.handle_claimed(at(3), ticket, Claimed::Fresh);
    }
    for answer in [Claimed::Fresh, Claimed::Replayed] {
        let (ticket, _) = claim(&mut gate);
        gate.handle_claimed(at(3), ticket, answer);
    }
    let _ = (open(&mut gate), open(&mut gate));
}
