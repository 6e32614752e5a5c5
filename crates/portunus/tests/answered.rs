//! What a native profile's commands say, send and write down, against a server that does as the test says.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

mod answering;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use answering::{LINK, PROGRAM, Scene, all, chain, now, text, today};
use portunus_config::profile::Renewal;
use portunus_dialect::native::{Kind, Status};

#[test]
fn a_knock_that_opened_is_told_and_the_keys_of_days_gone_are_erased() {
    let scene = Scene::new();
    scene.profile(20, |_, _| ());
    let told = scene.serve(vec![chain(LINK)], Box::new(|_| Some((Status::Granted, now()))));
    let output = scene.run(&["knock", "-v", "home", "--service", "ssh", "--service", "web", "--for", "90s"]);
    let said = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    assert!(said.ends_with("\nhome: the server opened for 30 s, seen from 127.0.0.1\n"), "{said}");
    let seen = all(&told);
    let [one] = seen.as_slice() else { panic!("one knock, and {} came", seen.len()) };
    assert!(one.payload.wants_answer && one.payload.kind == Kind::Knock && one.payload.seconds == 90);
    assert_eq!(one.payload.services, ["ssh".into(), "web".into()]);
    let keys = scene.keys();
    assert!(keys.door.day() >= today().minus(2) && keys.newest >= today().minus(1));
    assert!(keys.link.at(today()).unwrap() == chain(LINK).at(today()).unwrap());
}

#[test]
fn what_opened_nothing_is_said_with_its_mend_and_ends_with_1() {
    let cases = [
        (
            Status::NotAllowed,
            "portunus: home: the server does not open that for you, or not without its address in the knock (bind = \"must\"): ask for less, or ask its admin\n",
        ),
        (Status::Expired, "portunus: home: your time on this server is over: ask its admin for more\n"),
    ];
    for (status, expected) in cases {
        let scene = Scene::new();
        scene.profile(20, |_, _| ());
        let told = scene.serve(vec![chain(LINK)], Box::new(move |_| Some((status, now()))));
        let output = scene.run(&["knock", "home"]);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), expected));
        assert_eq!(all(&told).len(), 1, "it is not asked again");
        assert!(scene.keys().door.day() <= today().minus(20), "no day is proven");
    }
}

#[test]
fn a_clock_that_is_off_is_told_by_how_much_by_every_command_that_knocks() {
    let scene = Scene::new();
    scene.profile(0, |_, _| ());
    let ahead = || Some((Status::Stale, now().after(Duration::from_secs(93))));
    let _told = scene.serve(vec![chain(LINK)], Box::new(move |_| ahead()));
    for words in [
        &["knock", "home"][..],
        &["knock", "home", "--check"],
        &["connect", "home", "--", "true"],
        &["status", "home", "--knock"],
    ] {
        let output = scene.run(words);
        let said = text(&[output.stdout, output.stderr].concat());
        let (_, rest) =
            said.split_once("your clock is ").unwrap_or_else(|| unreachable!("{words:?}: {said}"));
        let (seconds, rest) = rest.split_once(' ').unwrap();
        // A machine under load takes its time to hear of it.
        assert!((60..=93).contains(&seconds.parse().unwrap()), "{said}");
        assert!(rest.starts_with("s behind: set it, or ask for a wider window"), "{words:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{words:?}");
    }
}

#[test]
fn a_lost_answer_is_asked_for_again_by_a_fresh_knock() {
    let scene = Scene::new();
    scene.profile(0, |_, _| ());
    let mut knocks = 0;
    let answer = move |_: &answering::Seen| {
        knocks += 1;
        (knocks > 1).then(|| (Status::Granted, now()))
    };
    let told = scene.serve(vec![chain(LINK)], Box::new(answer));
    let start = Instant::now();
    assert!(scene.run(&["knock", "home"]).status.success());
    assert!(start.elapsed() > Duration::from_secs(1), "a server answers once a second");
    let seen = all(&told);
    let [one, two] = seen.as_slice() else { panic!("two knocks, and {} came", seen.len()) };
    assert!(one.bytes != two.bytes && one.bytes[8..40] != two.bytes[8..40]);
    assert!(two.payload.stamp > one.payload.stamp);
}

#[test]
fn a_server_that_says_nothing_is_asked_thrice_and_then_the_door_is_looked_at() {
    let scene = Scene::new();
    scene.profile(0, |_, _| ());
    let told = scene.serve(vec![chain(LINK)], Box::new(|_| None));
    let output = scene.run(&["knock", "home"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.starts_with(
            "portunus: no answer to 3 knocks: home: the profile (somebody else may use a copy of it"
        ) && said.contains("this machine's clock"),
        "{said}"
    );
    assert_eq!(all(&told).len(), 3);
    let output = scene.run(&["knock", "-v", "--check", "home"]);
    assert!(output.status.success() && text(&output.stdout).contains("home is reachable at 127.0.0.1:"));
    // Behind the same address it may be open for another.
    assert!(
        text(&output.stderr).contains("home: no answer came, so it may be another's knock that opened it")
    );
}

#[test]
fn a_one_time_code_is_asked_for_once_a_run_and_sent_with_each_try() {
    let scene = Scene::new();
    scene.profile(0, |_, keys| keys.second_factor = true);
    let mut knocks = 0;
    let answer = move |_: &answering::Seen| {
        knocks += 1;
        (knocks > 1).then(|| (Status::Granted, now()))
    };
    let told = scene.serve(vec![chain(LINK)], Box::new(answer));
    let output = without_a_terminal(&scene, &["knock", "home"], b"012 345\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let codes: Vec<_> = all(&told).iter().map(|seen| seen.payload.code.unwrap()).collect();
    assert!(codes.len() == 2 && codes[0].value == 12_345);
    assert_eq!(codes[0], codes[1], "the same attempt: a server takes it as often as it comes");
    assert_ne!(codes[0].attempt, [0; 8]);
}

/// Without a terminal of its own, whoever runs this; with `input` on its standard input.
fn without_a_terminal(scene: &Scene, words: &[&str], input: &[u8]) -> Output {
    let mut command = scene.command_of("setsid");
    command.args(["--wait", PROGRAM]).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    // Who has ended by now reads nothing.
    let _ = running.stdin.take().unwrap().write_all(input);
    running.wait_with_output().unwrap()
}

#[test]
fn a_one_time_code_is_not_sent_with_knock_after_knock() {
    let scene = Scene::new();
    let told = scene.serve(vec![chain(LINK)], Box::new(|_| Some((Status::SecondFactor, now()))));
    let often = [
        (&["knock", "home", "--continuous"][..], "--continuous"),
        (&["knock", "home", "--count", "2", "--interval", "1ms"], "--count"),
    ];
    for needed in [true, false] {
        scene.profile(0, |_, keys| keys.second_factor = needed);
        for (words, flag) in often {
            let words = [words, if needed { &[][..] } else { &["--totp"] }].concat();
            let output = without_a_terminal(&scene, &words, b"012 345\n");
            let expected = format!(
                "portunus: a one-time code opens for one knock: {flag}: knock once, and ask for as long as you need with --for\n"
            );
            assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), expected), "{words:?}");
        }
    }
    assert!(all(&told).is_empty());
    // One is as many as a code opens for; and who needs none knocks as often as they like.
    let output = without_a_terminal(&scene, &["knock", "home", "--totp", "--count", "1"], b"012 345\n");
    assert!(text(&output.stderr).contains("the one-time code is missing or wrong"));
    assert_eq!(all(&told).len(), 1);
}

#[test]
fn who_closes_what_is_theirs_is_asked_for_no_code() {
    let scene = Scene::new();
    scene.profile(0, |_, keys| keys.second_factor = true);
    let told = scene.serve(vec![chain(LINK)], Box::new(|_| Some((Status::Closed, now()))));
    let output = without_a_terminal(&scene, &["close", "--client"], b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let seen = all(&told);
    assert!(seen.len() == 1 && seen[0].payload.kind == Kind::Close && seen[0].payload.code.is_none());
}

#[test]
fn proxy_takes_no_word_of_the_stream_for_a_code() {
    let scene = Scene::new();
    scene.profile(0, |_, keys| keys.second_factor = true);
    let told = scene.serve(vec![chain(LINK)], Box::new(|_| Some((Status::Granted, now()))));
    let output = without_a_terminal(&scene, &["proxy", "127.0.0.1", "9"], b"012 345\n");
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (
            Some(1),
            "portunus: a one-time code is needed, and there is no terminal: home: run ssh on a terminal, or open the door on \
             one with `portunus knock home` and connect without this ProxyCommand\n"
        )
    );
    assert!(all(&told).is_empty());
}

#[test]
fn close_says_what_the_server_did() {
    let scene = Scene::new();
    scene.profile(0, |_, keys| keys.renewal = Renewal::Announced(chain_of_today(5)));
    let told = scene.serve(vec![chain(LINK)], Box::new(|_| Some((Status::Closed, now()))));
    let output = scene.run(&["close", "--client"]);
    assert_eq!(text(&output.stdout), "home: the server closed what was open\n", "{}", text(&output.stderr));
    let seen = all(&told);
    assert!(seen.len() == 1 && seen[0].payload.kind == Kind::Close && seen[0].payload.link.is_none());
    assert!(matches!(scene.keys().renewal, Renewal::Announced(_)), "a closing knock announces no link");
}

fn chain_of_today(n: u8) -> portunus_dialect::native::Chain {
    portunus_dialect::native::Chain::new(today(), chain(n).at(today()).unwrap())
}

#[test]
fn a_printed_profile_gets_a_link_that_nobody_has_seen() {
    let scene = Scene::new();
    scene.profile(0, |_, keys| keys.renewal = Renewal::Due);
    // The first knock is lost, so it announces again.
    let mut knocks = 0;
    let answer = move |_: &answering::Seen| {
        knocks += 1;
        (knocks > 1).then(|| (Status::Granted, now()))
    };
    let told = scene.serve(vec![chain(LINK)], Box::new(answer));
    assert!(scene.run(&["knock", "home"]).status.success());
    let seen = all(&told);
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.payload.kind == Kind::NewLink));
    assert!(seen[0].payload.link == seen[1].payload.link, "always the same one");
    let keys = scene.keys();
    let day = portunus_dialect::native::Day::of(seen[1].payload.stamp).unwrap();
    assert!(Some(keys.link.at(day).unwrap()) == seen[1].payload.link);
    // Somebody who has a copy of the profile may have announced one before: until ours opens a knock, the old one stays.
    assert!(
        matches!(&keys.renewal, Renewal::Replaced(old) if old.at(day).unwrap() == chain(LINK).at(day).unwrap())
    );
}

#[test]
fn a_link_is_the_profiles_own_once_it_has_opened_a_knock() {
    let scene = Scene::new();
    scene.profile(0, |_, keys| {
        keys.link = chain_of_today(5);
        keys.renewal = Renewal::Replaced(chain_of_today(LINK));
    });
    let told = scene.serve(vec![chain(LINK), chain(5)], Box::new(|_| Some((Status::Granted, now()))));
    assert!(scene.run(&["knock", "home"]).status.success());
    let seen = all(&told);
    assert!(seen.len() == 1 && seen[0].link == 1 && seen[0].payload.kind == Kind::Knock);
    let keys = scene.keys();
    assert!(matches!(keys.renewal, Renewal::Done));
    assert!(keys.link.at(today()).unwrap() == chain(5).at(today()).unwrap());
}

#[test]
fn a_door_that_opens_after_a_knock_is_evidence_that_may_be_wrong() {
    let scene = Scene::new();
    let door = {
        let spare = TcpListener::bind("127.0.0.1:0").unwrap();
        spare.local_addr().unwrap()
    };
    scene.profile(0, |profile, keys| {
        keys.renewal = Renewal::Due;
        keys.answers = false;
        profile.opens = portunus_model::PortSpec::parse(&door.port().to_string()).unwrap();
    });
    // Whoever is on the way opens a door of his own, and lets no knock through: the server knows of no new link.
    let mut listener = None;
    let act = move |_: &answering::Seen| {
        listener = listener.take().or_else(|| TcpListener::bind(door).ok());
        None
    };
    let told = scene.serve(vec![chain(LINK)], Box::new(act));
    let output = scene.run(&["connect", "home", "--", "true"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let announced = all(&told).remove(0).payload.link.unwrap();
    let keys = scene.keys();
    assert!(keys.link.at(today()).unwrap() == announced);
    let Renewal::Replaced(old) = &keys.renewal else { panic!("the old link is kept") };
    assert!(old.at(today()).unwrap() == chain(LINK).at(today()).unwrap());

    // The first try is under the new link, which this server does not know; the next falls back, and announces it again.
    let shut = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = shut.port().to_string();
    let output = scene.run(&["connect", "home", "--wait", "2s", "--port", &port, "--", "true"]);
    assert_eq!(output.status.code(), Some(1));
    let seen = all(&told);
    assert!(seen.len() == 1 && seen[0].link == 0 && seen[0].payload.link == Some(announced));
}

#[test]
fn a_knock_that_nobody_answers_goes_out_with_the_old_link_too() {
    let scene = Scene::new();
    scene.profile(0, |_, keys| {
        keys.answers = false;
        keys.link = chain_of_today(5);
        keys.renewal = Renewal::Replaced(chain_of_today(LINK));
    });
    // Both are served, so that both are seen.
    let told = scene.serve(vec![chain(LINK), chain(5)], Box::new(|_| None));
    let output = scene.run(&["knock", "home", "--ip", "198.51.100.7"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    let mut seen = all(&told);
    seen.sort_by_key(|seen| seen.link);
    let [old, new] = seen.as_slice() else { panic!("two knocks, and {} came", seen.len()) };
    assert!(
        (old.link, old.payload.kind) == (0, Kind::NewLink)
            && (new.link, new.payload.kind) == (1, Kind::Knock)
    );
    let announced = chain(5).at(portunus_dialect::native::Day::of(old.payload.stamp).unwrap()).unwrap();
    assert!(old.payload.link == Some(announced), "a server that never had the new link has it now");
    let target = Some([198, 51, 100, 7].into());
    assert_eq!((old.payload.target, new.payload.target), (target, target));
    // One that closes announces nothing, and a server that knows the old link closes.
    let output = scene.run(&["close", "--client"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let kinds: Vec<_> = all(&told).iter().map(|seen| seen.payload.kind).collect();
    assert_eq!(kinds, [Kind::Close, Kind::Close]);
    // Whom nothing is doubtful to knocks once.
    scene.profile(0, |_, keys| keys.answers = false);
    assert!(scene.run(&["knock", "home"]).status.success());
    assert_eq!(all(&told).len(), 1);
}

#[test]
fn proxy_asks_for_its_own_connection_and_no_other() {
    let scene = Scene::new();
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = door.local_addr().unwrap();
    scene.profile(0, |_, keys| keys.source_port = true);
    let told = scene.serve(vec![chain(LINK)], Box::new(|_| Some((Status::Granted, now()))));
    let far = thread::spawn(move || {
        let (mut stream, peer) = door.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        peer.port()
    });
    let output = scene.run(&["proxy", "127.0.0.1", &at.port().to_string()]);
    assert!(output.stdout == b"hello" && output.stderr.is_empty(), "{}", text(&output.stderr));
    assert_eq!(all(&told)[0].payload.source_port, far.join().unwrap());
    assert!(scene.keys().newest >= today().minus(1));
}

#[test]
fn proxy_falls_back_where_ports_are_rewritten_on_the_way_and_says_so() {
    let scene = Scene::new();
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    scene.profile(0, |_, keys| keys.source_port = true);
    // The door opens for the whole address only.
    let mut far = None;
    let act = move |seen: &answering::Seen| {
        if seen.payload.source_port == 0 && far.is_none() {
            let door = TcpListener::bind(at).unwrap();
            far =
                Some(thread::spawn(move || door.accept().map(|(mut stream, _)| stream.write_all(b"hello"))));
        }
        Some((Status::Granted, now()))
    };
    let _told = scene.serve(vec![chain(LINK)], Box::new(act));
    let output = scene.run(&["proxy", "127.0.0.1", &at.port().to_string()]);
    let said = text(&output.stderr);
    assert_eq!(output.stdout, b"hello", "{said}");
    assert!(said.starts_with("portunus: a door for this connection alone did not open: a router"), "{said}");
}

#[test]
fn proxy_falls_back_where_the_server_opens_for_no_single_port() {
    let scene = Scene::new();
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    scene.profile(0, |_, keys| keys.source_port = true);
    let mut far = None;
    let act = move |seen: &answering::Seen| {
        if seen.payload.source_port != 0 {
            return Some((Status::NotAllowed, now()));
        }
        if far.is_none() {
            let door = TcpListener::bind(at).unwrap();
            far =
                Some(thread::spawn(move || door.accept().map(|(mut stream, _)| stream.write_all(b"hello"))));
        }
        Some((Status::Granted, now()))
    };
    let told = scene.serve(vec![chain(LINK)], Box::new(act));
    let output = scene.run(&["proxy", "127.0.0.1", &at.port().to_string()]);
    let said = text(&output.stderr);
    assert_eq!(output.stdout, b"hello", "{said}");
    assert!(said.contains("or the server opens none, so the door is open for this whole address"), "{said}");
    let seen = all(&told);
    assert!(seen.first().unwrap().payload.source_port != 0 && seen.last().unwrap().payload.source_port == 0);
    // What is not allowed for the address either is said.
    let refusing = Scene::new();
    refusing.profile(0, |_, keys| keys.source_port = true);
    let _told = refusing.serve(vec![chain(LINK)], Box::new(|_| Some((Status::NotAllowed, now()))));
    let shut = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = refusing.run(&["proxy", "127.0.0.1", &shut.port().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("portunus: the server does not open that for you"));
}

#[test]
fn proxy_hears_a_refusal_at_once() {
    let scene = Scene::new();
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    scene.profile(0, |_, _| ());
    let _told = scene.serve(vec![chain(LINK)], Box::new(|_| Some((Status::Expired, now()))));
    let output = scene.run(&["proxy", "127.0.0.1", &at.port().to_string()]);
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(1), "portunus: your time on this server is over: ask its admin for more\n")
    );
}

#[test]
fn a_profile_that_cannot_be_written_knocks_and_warns_once() {
    let scene = Scene::new();
    let path = scene.profile(20, |_, keys| keys.renewal = Renewal::Due);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let before = fs::read(&path).unwrap();
    let told = scene.serve(vec![chain(LINK)], Box::new(|_| Some((Status::Granted, now()))));
    let output = scene.run(&["knock", "home", "--count", "3", "--interval", "1ms"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.matches("was not written anew").count() == 1, "{said}");
    assert!(said.contains("make it writable for yourself"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), before);
    let seen = all(&told);
    // A link that could not be written down is not announced: who forgot it would be locked out.
    assert!(seen.len() == 3 && seen.iter().all(|seen| seen.payload.kind == Kind::Knock));
}

#[test]
fn nothing_is_written_by_reading() {
    let scene = Scene::new();
    let path = scene.profile(20, |_, keys| keys.renewal = Renewal::Due);
    let before = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    for words in [&["profiles"][..], &["profiles", "home"], &["status", "home"], &["ssh-config", "home"]] {
        let output = scene.run(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    }
    assert!((fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()) == before);
}

#[test]
fn a_profile_of_the_native_dialect_is_joined_and_shown_without_its_secrets() {
    let scene = Scene::new();
    let path = scene.profile(0, |_, keys| keys.renewal = Renewal::Due);
    let printed = fs::read(&path).unwrap();
    let mut join = scene.command();
    join.args(["join", "--as", "work"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut join = join.spawn().unwrap();
    join.stdin.take().unwrap().write_all(&printed).unwrap();
    let mut said = String::new();
    join.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(join.wait().unwrap().success() && said.starts_with("work (127.0.0.1) is in "), "{said}");
    let list = text(&scene.run(&["profiles"]).stdout);
    assert!(list.lines().filter(|line| line.contains("native")).count() == 2, "{list}");
    let shown = text(&scene.run(&["profiles", "work"]).stdout);
    assert!(shown.contains("fresh = true") && shown.matches("(not shown)").count() == 3, "{shown}");
}

#[test]
fn openme_s_profile_cannot_ask_for_what_its_dialect_has_no_word_for() {
    let scene = Scene::new();
    let path = scene.profile(0, |_, _| ());
    fs::write(
        &path,
        "host = \"127.0.0.1\"\nserver_pubkey = \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"\n\
         private_key = \"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\"\n",
    )
    .unwrap();
    for words in [&["knock", "home", "--service", "ssh"][..], &["knock", "home", "--for", "5m"]] {
        let said = text(&scene.run(words).stderr);
        assert!(said.starts_with("portunus: a knock of openme's dialect says only for whom"), "{said}");
    }
    let said = text(&scene.run(&["close", "--client"]).stderr);
    assert!(said.starts_with("portunus: a knock of openme's dialect cannot close: home: "), "{said}");
}
