use super::*;

fn ephemeral(n: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    bytes
}

#[test]
fn a_copy_is_known_for_two_days_and_no_honest_packet_is_taken_for_one() {
    let mut memory = Memory::new(7);
    let (today, tomorrow) = (Day::from_number(20_783), Day::from_number(20_784));
    for n in 0..200_000 {
        assert!(!memory.knows(today, &ephemeral(n)), "{n}");
        assert!(!memory.met(today, &ephemeral(n)), "{n}");
    }
    assert!((0..200_000).all(|n| memory.met(today, &ephemeral(n)) && memory.knows(today, &ephemeral(n))));
    // Another day's are others, and come and go by themselves.
    assert!(!memory.met(tomorrow, &ephemeral(1)) && memory.met(today, &ephemeral(1)));
    assert!(!memory.met(tomorrow.plus(1), &ephemeral(1)));
    assert!(!memory.knows(today, &ephemeral(2)) && memory.met(tomorrow, &ephemeral(1)));
}

#[test]
fn full_it_forgets_some_and_never_stands_still() {
    let mut memory = Memory::new(1);
    let today = Day::from_number(5);
    for n in 0..5_000_000 {
        let _ = memory.met(today, &ephemeral(n));
    }
    let known = (4_900_000..5_000_000).filter(|&n| memory.knows(today, &ephemeral(n))).count();
    assert!(known > 90_000, "{known}");
}
