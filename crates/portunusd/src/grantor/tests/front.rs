//! What a front may say, whatever it is.

use super::*;

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
