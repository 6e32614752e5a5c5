//! Alerts: who comes in is told by mail, to a page and to a program; a server that is away loses nobody anything; and no
//! stranger can have anybody told of anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use portunus_interop::fwknop::within;
use portunus_interop::told::{QUIET, SOON, Sink, authority, house, http, private, set, smtp};
use portunus_interop::{Daemon, SERVER};

#[test]
fn a_grant_and_a_refusal_are_mailed_under_seal_in_one_message() {
    let (world, alice) = house("to = [\"root@localhost\"]\n");
    let (pem, config) = authority("localhost");
    let (ca, password) = (world.folder().join("ca.pem"), world.folder().join("password"));
    fs::write(&ca, pem).expect("a file can be written");
    private(&password, "sesame\n");
    let section = format!(
        "to = [\"root@localhost\", \"nobody@example.org\", \"b@example.org\"]\nsmtp = \"smtps://localhost:4465\"\nuser = \"gate\"\n\
         password_file = {password:?}\nca_file = {ca:?}\n"
    );
    set(&world, &section);
    let sink = Sink::at(&world, "127.0.0.1:4465", Some(config), smtp);
    let daemon = world.serve();
    alice.knock(&world.client, SERVER);
    // For another address than its own, which she may not.
    let other = alice.packet_for(Some([192, 0, 2, 9].into()), Duration::ZERO);
    alice.send(&world.client, SERVER, &other);
    assert!(sink.hears("refused alice: not-allowed"), "{:?}\n{}", sink.all(), daemon.log());
    let all = sink.all();
    let mail = all.first().cloned().unwrap_or_default();
    // AUTH PLAIN of "\0gate\0sesame".
    for words in [
        "AUTH PLAIN AGdhdGUAc2VzYW1l",
        "RCPT TO:<root@localhost>",
        "RCPT TO:<b@example.org>",
        "Subject: [10.90.0.1] 1 grant, 1 refusal",
        "granted alice: 22/tcp",
        "Auto-Submitted: auto-generated",
        "EHLO [10.90.0.1]",
        "Message-ID: <",
    ] {
        assert!(mail.contains(words), "{words}: {mail}");
    }
    assert_eq!(all.len(), 1, "{all:?}");
    // One of them is not there: the others have it, and the log names him.
    daemon.until_logged("alerts do not reach everybody");
    assert!(daemon.log().contains("nobody@example.org: permanent error (550): no such user"));
    // The mail server's name is not the certificate's: nothing goes to it.
    set(&world, &section.replace("smtps://localhost", "smtps://127.0.0.1"));
    daemon.until_logged("reloaded");
    alice.knock(&world.client, SERVER);
    daemon.until_logged("alerts do not go out");
    assert_eq!(sink.all().len(), 1);
}

#[test]
fn a_server_that_is_away_loses_nothing_until_the_ring_is_full() {
    let (world, alice) = house("to = [\"root@localhost\"]\nsmtp = \"smtp://127.0.0.1:2525\"\nkeep = 10\n");
    let daemon = world.serve();
    let knock = |daemon: &Daemon| daemon.verdict(|| alice.knock(&world.client, SERVER));
    assert_eq!(knock(&daemon), "granted");
    daemon.until_logged("alerts do not go out");
    assert_eq!(knock(&daemon), "extended");
    // It lies on the disk a moment after it happened; then they all die at once.
    std::thread::sleep(Duration::from_millis(300));
    daemon.kill_all();
    let daemon = world.serve();
    let sink = Sink::at(&world, "127.0.0.1:2525", None, smtp);
    assert!(sink.hears("extended alice"), "{:?}\n{}", sink.all(), daemon.log());
    let told = sink.all().concat();
    assert!(told.contains("granted alice") && told.contains("extended alice"), "{told}");
    drop(sink);
    drop(daemon);

    // To a server that takes nothing; so more than there is room for.
    set(&world, "to = [\"root@localhost\"]\nsmtp = \"smtp://127.0.0.1:2526\"\nkeep = 10\n");
    let daemon = world.serve();
    let failures = || daemon.log().matches("alerts do not go out").count();
    let before = failures();
    for _ in 0..14 {
        assert_eq!(knock(&daemon), "extended");
    }
    daemon.until_logged("the oldest alerts are lost from now on");
    assert!(within(SOON, || failures() > before), "{}", daemon.log());
    let sink = Sink::at(&world, "127.0.0.1:2526", None, smtp);
    assert!(sink.hears("4 alerts were lost"), "{:?}\n{}", sink.all(), daemon.log());
    daemon.until_logged("alerts were lost");
    assert_eq!(sink.all().concat().matches("extended alice").count(), 10);
    daemon.until_logged("alerts go out again");
}

#[test]
fn a_page_and_a_program_are_told_as_whom_it_may_concern() {
    let (world, alice) = house("to = [\"root@localhost\"]\n");
    let (token, heard) = (world.folder().join("token"), world.folder().join("heard"));
    private(&token, "open sesame\n");
    fs::write(&heard, "").expect("a file can be written");
    fs::set_permissions(&heard, fs::Permissions::from_mode(0o666)).expect("its mode can be set");
    let script =
        format!("cat >> {0}; id -u >> {0}; grep -h NoNewPrivs /proc/self/status >> {0}", heard.display());
    set(
        &world,
        &format!(
            "webhook = \"http://127.0.0.1:8080/hook\"\ntoken_file = {token:?}\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\n"
        ),
    );
    let sink = Sink::at(&world, "127.0.0.1:8080", None, http);
    let daemon = world.serve();
    alice.knock(&world.client, SERVER);
    assert!(sink.hears("\"client\":\"alice\""), "{:?}\n{}", sink.all(), daemon.log());
    let post = sink.all().concat();
    assert!(
        post.starts_with("POST /hook")
            && post.to_ascii_lowercase().contains("authorization: bearer open sesame"),
        "{post}"
    );
    let told = || fs::read_to_string(&heard).unwrap_or_default();
    assert!(within(SOON, || told().contains("NoNewPrivs")), "{}\n{}", told(), daemon.log());
    let told = told();
    assert!(told.contains("\"event\":\"granted\"") && !told.lines().any(|line| line == "0"), "{told}");
    assert!(told.contains("NoNewPrivs:\t1"), "{told}");
    assert!(!daemon.log().contains("sesame"));
    // A test is sent by every way, as the daemon's user.
    let out = world.portunus(&["alerts", "--test"]);
    assert_eq!(out, "webhook: sent\ncommand: sent\n");
    assert!(sink.hears("\"event\":\"test\""));
}

#[test]
fn the_mail_program_of_this_host_is_called_as_sendmail_is() {
    let (world, alice) = house("to = [\"root@localhost\"]\n");
    let (program, heard) = (world.folder().join("sendmail"), world.folder().join("heard"));
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> {0}\ncat >> {0}\n", heard.display()))
        .expect("a file can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode can be set");
    fs::write(&heard, "").expect("a file can be written");
    fs::set_permissions(&heard, fs::Permissions::from_mode(0o666)).expect("its mode can be set");
    set(&world, &format!("to = [\"root@localhost\"]\nfrom = \"gate@localhost\"\nsendmail = {program:?}\n"));
    let daemon = world.serve();
    alice.knock(&world.client, SERVER);
    let told = || fs::read_to_string(&heard).unwrap_or_default();
    assert!(within(SOON, || told().contains("granted alice")), "{}\n{}", told(), daemon.log());
    assert!(told().starts_with("-i -f gate@localhost -- root@localhost\n"), "{}", told());
    assert!(told().contains("Subject: [10.90.0.1] alice let in from 10.90.0.2"), "{}", told());
}

/// Whom a package takes away for a while, or the administrator for good.
#[test]
fn a_program_that_is_missing_for_a_while_costs_nothing_and_a_way_that_is_taken_out_says_what_it_costs() {
    let (world, alice) = house("to = [\"root@localhost\"]\n");
    let (program, heard) = (world.folder().join("sendmail"), world.folder().join("heard"));
    fs::write(&heard, "").expect("a file can be written");
    fs::set_permissions(&heard, fs::Permissions::from_mode(0o666)).expect("its mode can be set");
    let section = format!("to = [\"root@localhost\"]\nsendmail = {program:?}\n");
    set(&world, &section);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    daemon.until_logged("there is no such program");
    daemon.until_logged("alerts do not go out");
    drop(daemon);
    fs::write(&program, format!("#!/bin/sh\ncat >> {}\n", heard.display())).expect("a file can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode can be set");
    let daemon = world.serve();
    let told = || fs::read_to_string(&heard).unwrap_or_default();
    assert!(within(SOON, || told().contains("granted alice")), "{}\n{}", told(), daemon.log());

    // Nobody listens there; and then another way stands in its place.
    set(&world, "to = [\"root@localhost\"]\nsmtp = \"smtp://127.0.0.1:2527\"\n");
    daemon.until_logged("reloaded");
    let failures = || daemon.log().matches("alerts do not go out").count();
    let before = failures();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "extended");
    assert!(within(SOON, || failures() > before), "{}", daemon.log());
    set(&world, "webhook = \"http://127.0.0.1:8080/\"\n");
    daemon.until_logged("they waited for a way that is configured no more");
    assert!(daemon.log().contains("way=mail lost=1"), "{}", daemon.log());
}

#[test]
fn a_program_ends_with_who_runs_it() {
    let (world, alice) = house("to = [\"root@localhost\"]\n");
    let number = world.folder().join("number");
    fs::write(&number, "").expect("a file can be written");
    fs::set_permissions(&number, fs::Permissions::from_mode(0o666)).expect("its mode can be set");
    let script = format!("sleep 600 & echo $$ $! > {}; wait", number.display());
    let section = format!("command = [\"/bin/sh\", \"-c\", {script:?}]\n");
    set(&world, &section);
    let daemon = world.serve();
    let runs = || {
        let numbers = fs::read_to_string(&number).unwrap_or_default();
        let numbers: Vec<String> = numbers.split_whitespace().map(str::to_owned).collect();
        (numbers.len() == 2).then_some(numbers)
    };
    let lives = |numbers: &[String]| {
        numbers.iter().any(|number| {
            let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        })
    };
    alice.knock(&world.client, SERVER);
    assert!(within(SOON, || runs().is_some()), "{}", daemon.log());
    let numbers = runs().unwrap_or_default();
    assert!(lives(&numbers), "{numbers:?}");
    // Another configuration is another process.
    set(&world, &format!("{section}keep = 500\n"));
    assert!(within(Duration::from_secs(10), || !lives(&numbers)), "{numbers:?}");
    // And one that is killed takes the program along at least.
    fs::write(&number, "").expect("a file can be written");
    assert!(within(SOON, || runs().is_some()), "{}", daemon.log());
    let numbers = runs().unwrap_or_default();
    let program: Vec<String> = numbers.first().cloned().into_iter().collect();
    daemon.kill_all();
    assert!(within(Duration::from_secs(10), || !lives(&program)), "{numbers:?}");
    if let Some(sleep) = numbers.get(1) {
        portunus_interop::run("kill", &["-9", sleep]);
    }
}

#[test]
fn a_key_in_a_loop_hides_nobody_elses_entry() {
    let (world, alice) = house("to = [\"root@localhost\"]\nsmtp = \"smtp://127.0.0.1:2528\"\nkeep = 60\n");
    let bob = world.add("bob", &["--ports", "22/tcp"]);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| bob.knock(&world.client, SERVER)), "granted");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    for _ in 0..70 {
        assert_eq!(daemon.verdict(|| bob.knock(&world.client, SERVER)), "extended");
    }
    let sink = Sink::at(&world, "127.0.0.1:2528", None, smtp);
    assert!(sink.hears("more of bob: 51 more grants"), "{:?}\n{}", sink.all(), daemon.log());
    let told = sink.all().concat();
    assert!(told.contains("granted bob") && told.contains("granted alice"), "{told}");
    assert!(!told.contains("were lost"), "{told}");
}

#[test]
fn no_stranger_has_anybody_told_of_anything() {
    let (world, alice) = house("webhook = \"http://127.0.0.1:8080/\"\n");
    let sink = Sink::at(&world, "127.0.0.1:8080", None, http);
    let daemon = world.serve();
    let packet = alice.packet();
    alice.send(&world.client, SERVER, &packet);
    assert!(sink.hears("granted"), "{}", daemon.log());
    let before = sink.all().len();
    // Copies, an old packet, a damaged one, and noise.
    let stale = alice.packet_for(None, Duration::from_secs(3600));
    let mut damaged = alice.packet();
    damaged[100] ^= 1;
    for bytes in [&packet[..], &stale, &damaged, &[7; 165], b"noise"] {
        for _ in 0..5 {
            alice.send(&world.client, SERVER, bytes);
        }
    }
    std::thread::sleep(QUIET);
    assert_eq!(sink.all().len(), before, "{:?}", sink.all());
    // It hears all the same.
    alice.knock(&world.client, SERVER);
    assert!(sink.hears("extended"), "{}", daemon.log());
}

#[test]
fn nothing_is_mailed_to_a_server_that_begins_no_tls_and_a_dead_teller_comes_back() {
    let (world, alice) = house(&format!("to = [\"root@localhost\"]\nsmtp = \"smtp://{SERVER}:2525\"\n"));
    let sink = Sink::at(&world, &format!("{SERVER}:2525"), None, smtp);
    let daemon = world.serve();
    alice.knock(&world.client, SERVER);
    daemon.until_logged("alerts do not go out");
    assert!(sink.all().is_empty(), "{:?}", sink.all());
    let teller = || {
        daemon.processes().into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0).any(|word| word == b"alerts")
        })
    };
    let first = teller().expect("it runs");
    // It has no right at all.
    let status = fs::read_to_string(format!("/proc/{first}/status")).expect("it is there");
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    // What was on its way to it when it died is told by the next one.
    portunus_interop::run("kill", &["-STOP", &first.to_string()]);
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "extended");
    // It is in the pipe a moment later, and stays there.
    std::thread::sleep(Duration::from_millis(300));
    portunus_interop::run("kill", &["-9", &first.to_string()]);
    assert!(within(SOON, || teller().is_some_and(|pid| pid != first)), "{}", daemon.log());
    // To a server of this host it goes without.
    let local = Sink::at(&world, "127.0.0.1:2526", None, smtp);
    set(&world, "to = [\"root@localhost\"]\nsmtp = \"smtp://127.0.0.1:2526\"\n");
    assert!(
        local.hears("granted alice") && local.hears("extended alice"),
        "{:?}\n{}",
        local.all(),
        daemon.log()
    );
}

#[test]
fn mistakes_of_the_section_have_their_line_and_their_mend() {
    let (world, _) = house("to = [\"root@localhost\"]\n");
    let file = world.place("etc").join("portunus.toml");
    let text = fs::read_to_string(&file).expect("it is there");
    let head = text.split("\n[alerts]\n").next().unwrap_or_default();
    for (section, words) in [
        ("", "[alerts] tells nobody"),
        ("to = [\"root\"]", "\"root\" is no address of mail"),
        ("to = [\"a@b\\r\\nBcc: c@d\"]", "is no address of mail"),
        ("to = [\"a@b\"]\nsmtp = \"mail.example.org\"", "is no mail server"),
        ("to = [\"a@b\"]\nuser = \"x\"", "user needs a password"),
        ("to = [\"a@b\"]\nuser = \"x\"\npassword_file = \"/nonexistent/x\"", "there is no such file"),
        ("webhook = \"http://hooks.example.org/\"", "would tell everybody on the way"),
        ("command = [\"tell\"]", "does not begin with a whole path"),
        ("smtp = \"smtp://localhost\"\ncommand = [\"/bin/true\"]", "smtp is for mail, and nobody gets any"),
        ("to = [\"a..b@x\"]", "\"a..b@x\" is no address of mail"),
        ("to = [\"root@_x\"]", "\"root@_x\" is no address of mail"),
        ("to = [\"a@b\"]\nfrom = \"a.@x\"", "\"a.@x\" is no address of mail"),
        ("to = [\"a@b\"]\nca_file = \"/etc/passwd\"", "there is no certificate in it"),
        ("webhook = \"https://a/\"\nurl_file = \"/x\"", "webhook and url_file name two pages"),
        ("to = []", "to names nobody"),
        ("to = [\"a@b\", \"a@b\"]", "a@b stands here twice"),
        ("to = [\"a@b\"]\ngrants = false\nrefusals = false", "neither grants nor refusals are told"),
        ("to = [\"a@b\"]\ntoken_file = \"/x\"", "token_file is for a page, and none is named"),
        ("command = [\"/bin/true\"]\nca_file = \"/x\"", "ca_file is for a mail server or a page"),
        ("to = [\"a@b\"]\nsendmail = \"/bin/true\"\nca_file = \"/x\"", "ca_file is for a mail server, and"),
        ("to = [\"a@b\"]\nsendmail = \"/bin/true\"\nuser = \"x\"", "user is for a mail server, and"),
        ("webhok = \"x\"", "did you mean \"webhook\"?"),
    ] {
        fs::write(&file, format!("{head}\n[alerts]\n{section}\n")).expect("a file can be written");
        let out = world.try_portunus(&["check"]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.contains(words), "{section}: {said}");
        assert!(said.contains("portunus.toml:"), "{said}");
    }
}
