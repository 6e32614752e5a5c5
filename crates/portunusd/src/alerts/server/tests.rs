//! What a server may do, and what it comes to.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use portunus_config::alerts::Carrier;

use super::super::mail::{Mailer, Ready};
use super::super::text::Batch;
use super::super::{Alert, Desk, Ring, Teller, Way, open_spool};
use super::*;

/// A mail server that has no `nobody` and takes nothing for `later` yet; whom each mail went to.
fn server() -> (u16, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (to_us, mails) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (mut write, read) = (stream.try_clone().unwrap(), BufReader::new(stream));
            let (mut to, mut text) = (Vec::new(), false);
            let _ = write.write_all(b"220 here\r\n");
            for line in read.lines().map_while(Result::ok) {
                let answer = match line.as_str() {
                    "." if std::mem::take(&mut text) => {
                        let _ = to_us.send(std::mem::take(&mut to));
                        "250 kept"
                    }
                    _ if text => continue,
                    "DATA" => {
                        text = true;
                        "354 go on"
                    }
                    line if line.contains("<nobody@") => "550 no such user",
                    line if line.contains("<later@") => "450 come again",
                    line => {
                        to.extend(line.strip_prefix("RCPT TO:").map(str::to_owned));
                        "250 good"
                    }
                };
                let _ = write.write_all(format!("{answer}\r\n").as_bytes());
            }
        }
    });
    (port, mails)
}

fn mailer(port: u16, to: &[&str]) -> Mailer {
    let smtp = alerts::parse_smtp(&format!("smtp://127.0.0.1:{port}")).unwrap();
    let to = to.iter().map(ToString::to_string).collect();
    let mail = alerts::Mail { to, from: None, carrier: Carrier::Smtp(smtp) };
    Mailer::new(&mail, "gate.example.org").unwrap()
}

#[test]
fn who_is_refused_keeps_nobody_else_from_it() {
    let (port, mails) = server();
    let alerts = [Alert::test()];
    let batch = Batch { host: "gate", alerts: &alerts, lost: 0, more: 0 };
    let mut some = mailer(port, &["a@example.org", "nobody@example.org", "b@example.org"]);
    let why = some.send(&batch).unwrap().unwrap();
    assert!(why.starts_with("nobody@example.org: ") && why.contains("no such user"), "{why}");
    assert!(!why.contains("b@"), "{why}");
    assert_eq!(mails.recv().unwrap(), ["<a@example.org>", "<b@example.org>"]);
    // Where nobody is left it waits.
    let why = mailer(port, &["nobody@example.org"]).send(&batch).unwrap_err().to_string();
    assert!(why.contains("no such user"), "{why}");
    // Who is to come again is waited for, and then no more.
    let mut some = mailer(port, &["a@example.org", "later@example.org"]);
    assert!(some.send(&batch).unwrap_err().to_string().contains("come again"));
    assert!(some.send(&batch).unwrap_err().to_string().starts_with("later@example.org"));
    assert!(mails.try_recv().is_err());
    // However long the pause has become, the next try is at the end of that.
    let left = some.waits_at_most().unwrap();
    assert!(left > Duration::from_secs(500) && left <= WAITED_FOR + Duration::from_secs(1), "{left:?}");
    let Ready::Smtp(server) = &mut some.carrier else { unreachable!() };
    server.waited_for = Duration::ZERO;
    assert_eq!(some.waits_at_most(), None);
    assert!(some.send(&batch).unwrap().unwrap().contains("come again"));
    assert_eq!(mails.recv().unwrap(), ["<a@example.org>"]);
}

/// A server that says what it likes for as long as it likes.
fn sent_to(longest: Duration, talk: impl Fn(&mut std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| talk(&mut stream)));
    let alerts = [Alert::test()];
    let batch = Batch { host: "gate", alerts: &alerts, lost: 0, more: 0 };
    let mut mailer = mailer(port, &["a@example.org"]);
    let Ready::Smtp(server) = &mut mailer.carrier else { unreachable!() };
    server.longest = longest;
    mailer.send(&batch).unwrap_err().to_string()
}

/// Anybody on the way can say it before there is TLS, and it comes to root's terminal.
#[test]
fn what_a_server_says_gives_a_terminal_no_orders() {
    let why = sent_to(Duration::from_secs(60), |stream| {
        let _ = stream.write_all(b"554 \x1b]0;owned\x07 go away\r\n");
    });
    assert!(why.contains("554") && why.contains("go away"), "{why}");
    assert!(!why.chars().any(char::is_control), "{why:?}");
}

#[test]
fn a_server_that_says_a_byte_now_and_then_has_a_minute_and_no_more() {
    let start = Instant::now();
    let why = sent_to(Duration::from_secs(1), |stream| {
        while stream.write_all(b"2").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(why, "the mail server did not answer within 1 s");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn a_line_without_an_end_does_not_become_our_memory() {
    let (start, sent) = (Instant::now(), std::sync::Arc::new(AtomicU64::new(0)));
    let count = sent.clone();
    let why = sent_to(Duration::from_secs(60), move |stream| {
        let _ = stream.write_all(b"220-");
        while count.load(Ordering::Relaxed) < 4 << 30 && stream.write_all(&[b'A'; 1 << 16]).is_ok() {
            count.fetch_add(1 << 16, Ordering::Relaxed);
        }
    });
    assert_eq!(why, "the mail server says more than 1024 KiB");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(sent.load(Ordering::Relaxed) < 1 << 29, "{sent:?}");
}

/// A server that says what it likes to each line, until it says nothing; the mails that it was handed.
fn scripted(say: impl Fn(&str) -> Option<String> + Send + 'static) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (to_us, mails) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (mut write, mut read) = (stream.try_clone().unwrap(), BufReader::new(stream));
            let _ = write.write_all(b"220 here\r\n");
            let (mut line, mut text, mut is_text) = (String::new(), String::new(), false);
            while read.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                let word = std::mem::take(&mut line);
                if is_text && word != ".\r\n" {
                    text.push_str(&word);
                    continue;
                }
                if std::mem::take(&mut is_text) {
                    let _ = to_us.send(std::mem::take(&mut text));
                }
                is_text = word == "DATA\r\n";
                let usual = if is_text { "354 go on" } else { "250 good" };
                match say(&word) {
                    Some(said) if said.is_empty() => drop(write.write_all(format!("{usual}\r\n").as_bytes())),
                    Some(said) => drop(write.write_all(format!("{said}\r\n").as_bytes())),
                    None => break,
                }
            }
        }
    });
    (port, mails)
}

fn one_test(mailer: &mut Mailer) -> Result<Option<String>, Failed> {
    let alerts = [Alert::test()];
    mailer.send(&Batch { host: "gate", alerts: &alerts, lost: 0, more: 0 })
}

/// A server with a login that answers this word with what it was told, in this way.
fn told_to_log_in(word: &'static str, answer: &'static str) -> String {
    let told = std::sync::Mutex::new(String::new());
    let (port, _mails) = scripted(move |line| {
        if line.starts_with("AUTH ") {
            *told.lock().unwrap() = line.trim_end().to_owned();
        }
        if line.starts_with("EHLO") {
            return Some("250-here\r\n250 AUTH PLAIN".to_owned());
        }
        let said =
            if line.starts_with(word) { answer.replace("{}", &told.lock().unwrap()) } else { String::new() };
        Some(if line.starts_with("AUTH ") && said.is_empty() { "235 come in".to_owned() } else { said })
    });
    let mut smtp = alerts::parse_smtp(&format!("smtp://127.0.0.1:{port}")).unwrap();
    smtp.login = Some(("gate".to_owned(), Password::of_file("sesame").unwrap()));
    let mail =
        alerts::Mail { to: vec!["a@example.org".to_owned()], from: None, carrier: Carrier::Smtp(smtp) };
    let why = one_test(&mut Mailer::new(&mail, "gate.example.org").unwrap()).unwrap_err().to_string();
    for secret in ["sesame", "c2VzYW1l", "AGdhdGUAc2VzYW1l"] {
        assert!(!why.contains(secret), "{why}");
    }
    why
}

#[test]
fn a_server_that_repeats_the_login_repeats_it_in_no_words_of_ours() {
    for (word, answer, why) in [
        ("AUTH", "what is {}", "the mail server's answer to the login is none: it has no code"),
        ("AUTH", "535 what is {}", "the mail server refuses the login (535)"),
        // A line more than was asked for is the answer to the next.
        ("AUTH", "235 good\r\n550 what is {}", "the mail server answers 550, and repeats the login"),
        ("MAIL", "what is {}", "the mail server repeats the login"),
        ("MAIL", "550 you said sesame", "the mail server answers 550, and repeats the login"),
        ("RCPT", "550 {}", "a@example.org: the mail server answers 550, and repeats the login"),
    ] {
        assert_eq!(told_to_log_in(word, answer), why, "{word} {answer}");
    }
}

#[test]
fn what_a_server_says_is_cut_and_of_many_who_are_refused_there_are_few() {
    let (port, _mails) = scripted(|line| {
        Some(if line.starts_with("RCPT") { format!("550 {}", "no ".repeat(300)) } else { String::new() })
    });
    let to: Vec<String> = (0..40).map(|n| format!("n{n}@example.org")).collect();
    let why = one_test(&mut mailer(port, &to.iter().map(String::as_str).collect::<Vec<_>>())).unwrap_err();
    let why = why.to_string();
    assert!(why.ends_with("; and 35 more") && why.contains("n4@") && !why.contains("n5@"), "{why}");
    assert!(why.len() < 1300, "{}", why.len());
    let long = format!("550-{}\r\n", "x".repeat(900)).repeat(50);
    let (port, _mails) = scripted(move |line| {
        Some(if line.starts_with("MAIL") { format!("{long}550 x") } else { String::new() })
    });
    let why = one_test(&mut mailer(port, &["a@example.org"])).unwrap_err().to_string();
    assert!(why.starts_with("permanent error (550): xxx") && why.chars().count() == 201, "{why}");
}

#[test]
fn a_server_has_ten_minutes_to_say_that_it_has_a_mail_however_long_the_session_was() {
    let (port, mails) = scripted(|line| {
        if line == ".\r\n" {
            std::thread::sleep(Duration::from_millis(1500));
        }
        Some(String::new())
    });
    let mut one = mailer(port, &["a@example.org"]);
    let Ready::Smtp(server) = &mut one.carrier else { unreachable!() };
    assert_eq!((server.longest, server.verdict), (Duration::from_secs(60), Duration::from_secs(600)));
    (server.longest, server.verdict) = (Duration::from_millis(700), Duration::from_secs(60));
    assert_eq!(one_test(&mut one), Ok(None));
    assert_eq!(mails.try_iter().count(), 1);
}

#[test]
fn a_mail_that_nobody_says_he_has_taken_goes_a_few_times_and_then_no_more() {
    for goes in [true, false] {
        let (port, mails) = scripted(move |line| match line {
            // It is silent for longer than anybody waits, or it goes.
            ".\r\n" if goes => None,
            ".\r\n" => {
                std::thread::sleep(Duration::from_millis(500));
                None
            }
            _ => Some(String::new()),
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let file = std::fs::File::options().read(true).write(true).create_new(true).open(path).unwrap();
        let mut mailer = mailer(port, &["a@example.org"]);
        let Ready::Smtp(server) = &mut mailer.carrier else { unreachable!() };
        server.verdict = Duration::from_millis(200);
        let mut spool = open_spool(file, "alerts.spool", 10).unwrap();
        spool.only([true, false, false]).unwrap();
        let desk = std::sync::Arc::new(Desk {
            ring: std::sync::Mutex::new(Ring::new(spool, 10)),
            more: std::sync::Condvar::new(),
        });
        let mut teller =
            Teller::new(desk.clone(), "gate".into(), (0, Way::Mail(Box::new(mailer))), Duration::ZERO);
        let keep = |client: &str| {
            let alert = Alert::of_a_grant(client, false, portunus_model::Unix::from_secs(1));
            desk.lock().keep(&alert).unwrap();
        };
        keep("alice");
        keep("bob");
        for _ in 0..2 {
            assert!(teller.tell().unwrap_err().contains("whether the mail was taken nobody knows"));
            // It is the same mail that goes again, and tells nothing new.
            keep("carol");
        }
        assert_eq!(teller.tell(), Ok(()));
        // Three times the same by its name, and then what that came to.
        let first: Vec<String> = mails.try_iter().collect();
        let names: Vec<&str> = first
            .iter()
            .filter_map(|mail| mail.lines().find(|line| line.starts_with("Message-ID")))
            .collect();
        assert!(first.len() == 3 && names.len() == 3, "{first:?}");
        assert!(first.iter().all(|mail| mail.contains("bob") && !mail.contains("carol")), "{first:?}");
        assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
        assert_eq!(desk.lock().spool.counts(0), (2, 2));
        // So do the others, with what was lost; then that alone; and then there is nothing to tell.
        let mut told = Vec::new();
        while desk.lock().spool.counts(0) != (0, 0) {
            assert!(told.len() < 30, "{told:?}");
            let _ = teller.tell();
            told.extend(mails.try_iter());
        }
        assert_eq!(told.len(), 6, "{told:?}");
        assert!(told.iter().all(|mail| mail.contains("2 alerts were lost, or may be")), "{told:?}");
        assert_eq!(told.iter().filter(|mail| mail.contains("carol")).count(), 3, "{told:?}");
    }
}

#[test]
fn who_was_waited_for_yesterday_is_waited_for_again() {
    let (port, mails) = server();
    let mut some = mailer(port, &["a@example.org", "later@example.org"]);
    assert!(one_test(&mut some).unwrap_err().to_string().contains("come again"));
    let Ready::Smtp(server) = &mut some.carrier else { unreachable!() };
    server.waited_for = Duration::from_millis(300);
    std::thread::sleep(Duration::from_millis(400));
    // The wait is over, and it is remembered.
    assert!(one_test(&mut some).unwrap().unwrap().contains("come again"));
    assert_eq!(mails.recv().unwrap(), ["<a@example.org>"]);
    assert_eq!(some.waits_at_most(), None);
    let Ready::Smtp(server) = &mut some.carrier else { unreachable!() };
    assert_eq!(server.remembered, Duration::from_secs(24 * 3600));
    server.remembered = Duration::from_millis(100);
    assert!(one_test(&mut some).unwrap_err().to_string().contains("come again"));
    assert!(mails.try_recv().is_err());
}
