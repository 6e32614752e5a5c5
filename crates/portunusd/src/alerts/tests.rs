//! What is told, and what is not.

use std::net::IpAddr;
use std::time::Instant;

use portunus_model::{ClientName, Reason, Unix};
use portunus_store::audit::Fact;
use portunus_store::spool::LONGEST_RECORD;

use super::alert::{LONGEST_PORTS, What};
use super::teller::is_news;
use super::*;

fn refused(reason: Reason) -> Fact {
    Fact::Refused {
        client: ClientName::new("alice").unwrap(),
        reason,
        dialect: None,
        source: None,
        unsaid: 0,
    }
}

/// Whoever has recorded a packet can make these as often as he likes.
#[test]
fn a_copy_of_a_packet_makes_no_alert() {
    let alerts = Alerts::default();
    let told: Vec<Reason> = Reason::ALL
        .into_iter()
        .filter(|&reason| Alert::of(&refused(reason), &alerts, Unix::default()).is_some())
        .collect();
    assert_eq!(told, [Reason::Expired, Reason::NotAllowed, Reason::SecondFactor]);
}

#[test]
fn what_nobody_wants_to_hear_is_not_told() {
    let opened = Fact::Opened {
        client: "alice".into(),
        address: IpAddr::from([192, 0, 2, 1]),
        ports: "22/tcp".into(),
        lasting_s: 30,
        way: None,
        extended: false,
    };
    let heard = |grants, refusals| {
        let alerts = Alerts { grants, refusals, ..Alerts::default() };
        [&opened, &refused(Reason::NotAllowed)]
            .map(|fact| Alert::of(fact, &alerts, Unix::default()).is_some())
    };
    assert_eq!(heard(true, true), [true, true]);
    assert_eq!(heard(false, true), [false, true]);
    assert_eq!(heard(true, false), [true, false]);
}

/// Two ways by programs with a ring of four.
fn teller(folder: &tempfile::TempDir, words: &[&str]) -> Teller {
    let path = folder.path().join("spool");
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let desk = Arc::new(Desk {
        ring: Mutex::new(Ring::new(Spool::open(file, 4).unwrap(), 4)),
        more: Condvar::new(),
    });
    let way = Way::Command(words.iter().map(ToString::to_string).collect());
    let every = Duration::ZERO;
    Teller::new(desk, "gate".into(), (2, way), every)
}

#[test]
fn what_cannot_be_read_any_more_is_said_to_be_lost_and_is_not_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    let mut teller = teller(&folder, &["/bin/sh", "-c", &format!("cat >> {}", heard.display())]);
    for record in [Alert::test().record(), b"nonsense".to_vec()] {
        teller.desk.lock().spool.add(&record).unwrap();
    }
    teller.desk.lock().spool.lose(3).unwrap();
    teller.tell().unwrap();
    let told = std::fs::read_to_string(&heard).unwrap();
    assert!(told.contains("\"lost\":4") && told.matches("\"event\"").count() == 1, "{told}");
    assert_eq!(teller.desk.lock().spool.counts(2), (0, 0));
}

/// A sendmail that never ends may have taken it: it has it three times by one name, and then it is in nobody's way.
#[test]
fn a_program_that_was_ended_is_told_a_few_times_and_then_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (program, heard) = (folder.path().join("sendmail"), folder.path().join("heard"));
    std::fs::write(&program, format!("#!/bin/sh\ncat >> {}\nexec sleep 600\n", heard.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let carrier = Carrier::Sendmail(program);
    let mail = portunus_config::alerts::Mail { to: vec!["a@example.org".into()], from: None, carrier };
    let mut mailer = mail::Mailer::new(&mail, "gate.example.org").unwrap();
    let mail::Ready::Sendmail { patience, .. } = &mut mailer.carrier else { unreachable!() };
    assert_eq!(*patience, PATIENCE);
    *patience = Duration::from_millis(500);
    let mut teller = teller(&folder, &[]);
    teller.number = 0;
    teller.way = Way::Mail(Box::new(mailer));
    teller.desk.lock().spool.add(&Alert::test().record()).unwrap();
    for _ in 0..2 {
        let why = teller.tell().unwrap_err();
        assert!(why.contains("whether the mail was taken nobody knows"), "{why}");
    }
    teller.tell().unwrap();
    let told = std::fs::read_to_string(&heard).unwrap();
    let names: Vec<&str> = told.lines().filter(|line| line.starts_with("Message-ID")).collect();
    assert!(names.len() == 3 && names.iter().all(|name| *name == names[0]), "{told}");
    assert_eq!(teller.desk.lock().spool.counts(0), (0, 1));
    // That it is lost is told by another mail, which has one name too while it is not answered.
    for _ in 0..3 {
        let _ = teller.tell();
    }
    let told = std::fs::read_to_string(&heard).unwrap();
    let after: Vec<&str> = told.lines().filter(|line| line.starts_with("Message-ID")).skip(3).collect();
    assert!(after.len() == 3 && after.iter().all(|name| *name == after[0]) && after[0] != names[0], "{told}");
    assert_eq!(teller.desk.lock().spool.counts(0), (0, 0));
}

/// What nobody can read is all that there was to tell: it is gone over by who never answers too.
#[test]
fn a_message_of_rot_alone_that_nobody_answers_goes_a_few_times_and_then_no_more() {
    use std::os::unix::fs::FileExt;
    let folder = tempfile::tempdir().unwrap();
    let page = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", page.local_addr().unwrap().port());
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counts = asked.clone();
    thread::spawn(move || {
        for mut stream in page.incoming().flatten() {
            let (mut text, mut room) = (Vec::new(), [0; 4096]);
            while !text.ends_with(b"}") {
                let read = io::Read::read(&mut stream, &mut room).unwrap_or_default();
                text.extend_from_slice(&room[..read]);
            }
            counts.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let mut teller = teller(&folder, &[]);
    teller.number = 1;
    let hook = portunus_config::alerts::parse_webhook(&url).unwrap();
    teller.way = Way::Webhook(webhook::Hook::new(&hook).unwrap());
    for _ in 0..2 {
        teller.desk.lock().spool.add(&Alert::test().record()).unwrap();
    }
    let file = File::options().write(true).open(folder.path().join("spool")).unwrap();
    file.write_all_at(&[7; 1024], 1024).unwrap();
    for _ in 0..2 {
        let why = teller.tell().unwrap_err();
        assert!(why.contains("whether the message was taken nobody knows"), "{why}");
        // What comes meanwhile is in another message.
        teller.desk.lock().spool.add(&Alert::test().record()).unwrap();
    }
    teller.tell().unwrap();
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 3);
    assert_eq!(teller.desk.lock().spool.counts(1).0, 2);
}

/// The disk may be full by the time that somebody comes in.
#[test]
fn the_ring_has_its_room_on_the_disk_before_anything_is_in_it() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let spool = open_spool(file, "alerts.spool", 1000).unwrap();
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!(meta.len(), spool.room());
    assert!(meta.blocks() * 512 >= spool.room(), "{}", meta.blocks());
}

/// A full disk, on which there never was a ring.
#[test]
fn where_the_disk_takes_nothing_alerts_wait_in_memory() {
    let path = tempfile::tempdir().unwrap().keep();
    let place = path.join("spool");
    std::fs::write(&place, "").unwrap();
    let (mut spool, lies) = open_somewhere(File::open(&place).unwrap(), "alerts.spool", 1000).unwrap();
    spool.add(&Alert::test().record()).unwrap();
    assert_eq!((spool.counts(0), lies), ((1, 0), Lies::InMemory));
    let file = File::options().read(true).write(true).open(&place).unwrap();
    assert_eq!(open_somewhere(file, "alerts.spool", 1000).unwrap().1, Lies::OnDisk);
    std::fs::remove_dir_all(path).unwrap();
}

/// Another `keep`, on a disk that has no room for a second ring beside the first.
#[test]
fn what_waits_is_told_though_there_is_no_room_for_another_keep() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let file = || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    let mut spool = open_spool(file(), "spool", 40).unwrap();
    (0..30).for_each(|_| spool.add(&Alert::test().record()).unwrap());
    drop(spool);
    // It can be read, and nothing can be put there.
    let (spool, lies) = open_somewhere(File::open(&path).unwrap(), "spool", 5000).unwrap();
    assert_eq!((spool.counts(0), spool.slots(), lies), ((30, 0), 40, Lies::OnDisk));
    let (spool, lies) = open_somewhere(file(), "spool", 5000).unwrap();
    assert_eq!((spool.counts(0), spool.slots(), lies), ((30, 0), 5000, Lies::OnDisk));
}

#[test]
fn one_trouble_is_no_news_because_a_server_numbers_it() {
    let said = ("transient error (450): come again, id=4Xk9zQ".to_owned(), Instant::now());
    assert!(!is_news(Some(&said), "transient error (450): come again, id=7PpL1w"));
    assert!(is_news(Some(&said), "permanent error (550): come again, id=7PpL1w"));
}

#[test]
fn the_longest_alert_fits_into_the_ring() {
    let what = What::Granted {
        address: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
        ports: "9".repeat(LONGEST_PORTS * 2),
        lasting_s: u64::MAX,
        extended: true,
    };
    let alert = Alert { at: Unix::default(), client: "x".repeat(64), what };
    assert!(alert.record().len() <= LONGEST_RECORD);
    assert_eq!(postcard::from_bytes::<Alert>(&alert.record()).unwrap().client, alert.client);
}

/// What lies on disk was written by an older one of us, maybe. Where this fails, the spool's magic must be another
/// one, or what waits is told as something else.
#[test]
fn what_lies_on_disk_is_read_as_what_it_was() {
    let address = IpAddr::from([192, 0, 2, 1]);
    let (at, client) = (Unix::from_secs(1), "al".to_owned());
    for (what, bytes) in [
        (
            What::Granted { address, ports: "22".into(), lasting_s: 30, extended: true },
            &b"\x80\xa8\xd6\xb9\x07\x02al\x00\x00\xc0\x00\x02\x01\x0222\x1e\x01"[..],
        ),
        (
            What::Refused { reason: Reason::NotAllowed, source: Some(address), unsaid: 7 },
            b"\x80\xa8\xd6\xb9\x07\x02al\x01\x0bnot-allowed\x01\x00\xc0\x00\x02\x01\x07",
        ),
        (What::Test, b"\x80\xa8\xd6\xb9\x07\x02al\x02"),
        (
            What::More { grants: 300, refusals: 1, address: Some(address) },
            b"\x80\xa8\xd6\xb9\x07\x02al\x03\xac\x02\x01\x01\x00\xc0\x00\x02\x01",
        ),
    ] {
        let alert = Alert { at, client: client.clone(), what };
        assert_eq!(alert.record().escape_ascii().to_string(), bytes.escape_ascii().to_string());
        assert_eq!(postcard::from_bytes::<Alert>(bytes).unwrap(), alert);
    }
    for reason in Reason::ALL {
        let what = What::Refused { reason, source: None, unsaid: 0 };
        let alert = Alert { at, client: client.clone(), what };
        assert_eq!(postcard::from_bytes::<Alert>(&alert.record()).unwrap(), alert);
    }
}
