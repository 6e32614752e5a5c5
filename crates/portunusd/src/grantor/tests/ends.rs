//! How grants end, and who hears of it.

use super::*;

#[test]
fn what_was_open_is_told_after_a_restart_and_closed_at_the_end() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    stage.say(&[
        opening(1, "alice", "192.0.2.7", &["22/tcp", "8000-8010/udp"], 30),
        opening(2, "bob", "192.0.2.7", &["22/tcp"], 60),
        Said::Close(Closing {
            client: Some(ClientName::new("bob").unwrap()),
            address: None,
            cause: Cause::Close,
        }),
    ]);
    assert_eq!(stage.hear().len(), 2);
    let (firewall, folder) = stage.end(false);
    let again = Stage::set(firewall, folder);
    let restored = again.hear();
    let Said::Restored { client, ports, .. } = &restored[0] else { panic!("{restored:?}") };
    assert_eq!((client.as_str(), ports.len()), ("alice", 2));
    assert_eq!(restored[1..], [Said::RestoredAll]);
    assert_eq!(again.open_now().len(), 2);
    let (firewall, _) = again.end(true);
    assert!(firewall.0.lock().unwrap().open.is_empty());
}

#[test]
fn whoever_waits_for_the_end_of_it_hears_what_the_kernel_said() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    stage.say(&[opening(1, "alice", "192.0.2.7", &["22/tcp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(1, Opened::Open)]);
    let close = Said::Close(Closing { client: None, address: None, cause: Cause::Close });
    stage.firewall.0.lock().unwrap().failing = Some(FirewallError::NotThere);
    stage.say(&[close.clone(), Said::Settle(7)]);
    assert_eq!(stage.hear(), [Said::Settled(7, false)]);
    stage.firewall.0.lock().unwrap().failing = None;
    // It is tried again by itself.
    let start = Instant::now();
    while !stage.open_now().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "an end that was owed never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    stage.say(&[close, Said::Settle(8)]);
    assert_eq!(stage.hear(), [Said::Settled(8, true)]);
    stage.end(false);
}

#[test]
fn a_kill_ends_what_its_client_alone_has_had() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    let alice = ClientName::new("alice").unwrap();
    stage.say(&[
        opening(1, "alice", "192.0.2.7", &["22/tcp", "8000-8010/udp"], 30),
        opening(2, "bob", "192.0.2.7", &["22/tcp"], 60),
    ]);
    assert_eq!(stage.hear().len(), 2);
    // Closed some time before, as a reload does; a stranger has nothing that could end.
    stage.say(&[Said::Close(Closing { client: Some(alice.clone()), address: None, cause: Cause::Close })]);
    stage.say(&[Said::Kill(3, ClientName::new("mallory").unwrap()), Said::Kill(4, alice.clone())]);
    let mut said = stage.hear();
    if said.len() == 1 {
        said.extend(stage.hear());
    }
    let ssh: Box<[PortSpec]> = PortSpec::parse("22/tcp").unwrap().into();
    let bob = ClientName::new("bob").unwrap();
    assert_eq!(
        said,
        [
            Said::Killed(3, Killed::Done { sockets: 0, flows: 0 }),
            Said::Kept { ticket: 4, client: bob, address: "192.0.2.7".parse().unwrap(), ports: ssh },
            Said::Killed(4, Killed::Done { sockets: 1, flows: 0 }),
        ]
    );
    assert_eq!(stage.firewall.0.lock().unwrap().ended, [element("192.0.2.7", "8000-8010/udp")]);
    assert_eq!(stage.open_now(), [element("192.0.2.7", "22/tcp")]);
    // Once is enough: what it had is forgotten.
    stage.say(&[Said::Kill(5, alice)]);
    assert_eq!(stage.hear(), [Said::Killed(5, Killed::Done { sockets: 0, flows: 0 })]);
    stage.end(false);
}

#[test]
fn a_reload_takes_back_what_nobody_may_have_any_more() {
    let stage = Stage::fresh();
    assert_eq!(stage.hear(), [Said::RestoredAll]);
    stage.say(&[opening(1, "alice", "192.0.2.7", &["22/tcp", "8000-8010/udp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(1, Opened::Open)]);
    let fewer = Limits { doors: PortSpec::parse("22/tcp").unwrap(), ..limits() };
    let snapshot = GrantorSnapshot { limits: fewer, wish: wish() };
    let beside = message::beside(&GrantorBrief { snapshot, names: HolderNames::default() }).unwrap();
    message::send(&stage.keeper, &ToGrantor::Reload, &[beside.as_fd()]).unwrap();
    // What was done before is told before it, for the audit log.
    let mut facts = Vec::new();
    loop {
        match message::receive::<FromGrantor>(&stage.keeper).unwrap().unwrap().value {
            FromGrantor::Facts { facts: some, .. } => facts.extend(some),
            FromGrantor::InForce { .. } => break,
            other @ (FromGrantor::NeedErrand
            | FromGrantor::Refused { .. }
            | FromGrantor::NoJournal { .. }
            | FromGrantor::Came { .. }
            | FromGrantor::TrialOver) => panic!("{other:?}"),
        }
    }
    assert!(matches!(facts.as_slice(), [Fact::Opened { ports, .. }] if ports == "22/tcp,8000-8010/udp"));
    assert_eq!(stage.open_now(), [element("192.0.2.7", "22/tcp")]);
    stage.say(&[opening(2, "alice", "192.0.2.7", &["8000-8010/udp"], 30)]);
    assert_eq!(stage.hear(), [Said::Opened(2, Opened::Refused)]);
    stage.end(false);
}

#[test]
fn what_the_kernel_closes_by_itself_is_not_told_to_it_again() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let mut book = book(&firewall, &folder);
    let told = || firewall.0.lock().unwrap().changes.len();
    let over = |n: u64| clock::mono().after(Duration::from_secs(n));
    book.carry_out(clock::mono(), vec![opening(1, "alice", "192.0.2.1", &["22/tcp"], 30)], true);
    book.expire(over(31), ahead(), true);
    assert_eq!((told(), book.deadline()), (1, None));
    // Where the kernel has no timers it must be told.
    book.carry_out(clock::mono(), vec![opening(2, "alice", "192.0.2.1", &["22/tcp"], 30)], true);
    book.expire(over(31), ahead(), false);
    assert_eq!((told(), firewall.0.lock().unwrap().open.len()), (3, 0));
}

#[test]
fn an_end_that_the_firewall_refuses_comes_as_soon_as_it_can() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let structure = stand::structure(&limits(), &wish(), Place::Own);
    let mut duty = Duty::new(book(&firewall, &folder), false);
    let ask = || vec![opening(1, "alice", "192.0.2.1", &["22/tcp"], 30)];
    let close = || vec![Said::Close(Closing { client: None, address: None, cause: Cause::Close })];
    let fail = |error| firewall.0.lock().unwrap().failing = error;
    let open = || firewall.0.lock().unwrap().open.len();
    assert_eq!(duty.hear(clock::now(), ask()).0, [Said::Opened(1, Opened::Open)]);
    fail(Some(FirewallError::NotThere));
    let at = clock::now();
    let now = at.mono;
    let _ = duty.hear(at, close());
    assert_eq!((open(), duty.must_put_back(now)), (1, true));
    let whole = duty.book.install(now, &structure).is_ok();
    duty.tried(now, whole);
    let later = now.after(LONGEST_PAUSE);
    assert!(duty.must_put_back(later) && duty.book.owes());
    fail(None);
    duty.install(Now { mono: later, ..clock::now() }, &structure).unwrap();
    duty.tried(later, true);
    assert_eq!((open(), duty.must_put_back(later.after(LONGEST_PAUSE))), (0, false));
    // What was asked for and is taken back whole is no debt.
    fail(Some(FirewallError::Full));
    let _ = duty.hear(Now { mono: later, ..at }, ask());
    assert!(duty.book.owes(), "it could not be taken back either");
}

/// A disk that hung, a grantor that was stopped, a machine that slept between what the kernel is told and when it has done it: its
/// timers count from then, and the door would be open for so much longer.
#[test]
fn what_the_kernel_was_told_late_is_told_anew_and_no_door_stays_open_for_it() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let structure = stand::structure(&limits(), &wish(), Place::Own);
    let mut duty = Duty::new(book(&firewall, &folder), false);
    let left = || firewall.0.lock().unwrap().open.values().copied().next();
    let began = clock::now();
    let after = |secs: u64| Now { mono: began.mono.after(Duration::from_secs(secs)), ..began };
    let ask = |ticket| vec![opening(ticket, "alice", "192.0.2.1", &["22/tcp"], 30)];
    // Quick enough: nothing more is done.
    let _ = duty.hear(began, ask(1));
    duty.took(began.mono, began.mono.after(Duration::from_millis(100)));
    assert!(!duty.must_put_back(began.mono) && !duty.book.owes());
    // Ten seconds late: the rest is told.
    duty.took(began.mono, after(10).mono);
    assert!(duty.must_put_back(after(10).mono));
    duty.install(after(10), &structure).unwrap();
    duty.took(after(10).mono, after(10).mono);
    duty.tried(after(10).mono, true);
    assert_eq!(left(), Some(Duration::from_secs(20)));
    assert!(!duty.must_put_back(after(12).mono) && !duty.book.owes());
    // So late that it is over: it is closed.
    duty.install(after(12), &structure).unwrap();
    duty.took(after(12).mono, after(45).mono);
    duty.tried(after(45).mono, true);
    let again = after(47);
    assert!(duty.must_put_back(again.mono), "though that was a try, it is none that did");
    duty.install(again, &structure).unwrap();
    duty.took(again.mono, again.mono);
    duty.tried(again.mono, true);
    assert_eq!((left(), duty.must_put_back(after(60).mono)), (None, false));
}

#[test]
fn where_the_kernel_is_always_slow_we_close_what_is_due() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let structure = stand::structure(&limits(), &wish(), Place::Own);
    let mut duty = Duty::new(book(&firewall, &folder), false);
    let began = clock::now();
    let after = |secs: u64| Now { mono: began.mono.after(Duration::from_secs(secs)), ..began };
    let _ = duty.hear(began, vec![opening(1, "alice", "192.0.2.1", &["22/tcp"], 30)]);
    duty.took(began.mono, after(2).mono);
    let mut tries = 0;
    for secs in (2..20).step_by(2) {
        if duty.must_put_back(after(secs).mono) {
            tries += 1;
            duty.install(after(secs), &structure).unwrap();
            duty.took(after(secs).mono, after(secs + 1).mono);
            duty.tried(after(secs + 1).mono, true);
        }
    }
    assert_eq!((tries, duty.book.owes()), (3, false), "it is not told for ever");
    assert_eq!(firewall.0.lock().unwrap().open.len(), 1);
    assert!(duty.expire(after(32).mono, ahead));
    assert_eq!(firewall.0.lock().unwrap().open.len(), 0, "its timer is not waited for");
}

#[test]
fn where_doors_end_by_dates_a_moved_clock_has_them_written_anew() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let structure = stand::structure(&limits(), &wish(), Place::Own);
    let began = clock::now();
    let at = |secs: u64, moved: i64| {
        let span = Duration::from_secs(secs);
        let wall = portunus_model::Unix::from_nanos(began.wall.as_nanos() + i128::from(moved) * 1_000_000);
        Now { mono: began.mono.after(span), wall: wall.after(span) }
    };
    let mut duty = Duty::new(book(&firewall, &folder), true);
    duty.install(began, &structure).unwrap();
    let moves = [(0, false), (900, false), (-3_600_000, true), (-3_600_000, false), (864_000_000, true)];
    for ((moved, anew), secs) in moves.into_iter().zip((20..).step_by(20)) {
        let now = at(secs, moved);
        duty.look(now);
        assert_eq!(duty.must_put_back(now.mono), anew, "moved by {moved} ms");
        if anew {
            duty.install(now, &structure).unwrap();
            duty.tried(now.mono, true);
        }
    }
    // nftables' timers know no date.
    let mut duty = Duty::new(book(&firewall, &folder), false);
    duty.look(at(20, 3_600_000));
    assert!(!duty.must_put_back(at(20, 0).mono));
}
