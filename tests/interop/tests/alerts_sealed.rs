//! Alerts go under seal, to whom the certificate is good for and to nobody else; and what they are sealed with stands in
//! no log.

use std::fs;

use portunus_interop::fwknop::within;
use portunus_interop::told::{SOON, Sink, Stream, WRONG, authority, house, http, private, set, smtp};
use portunus_interop::{Daemon, Knocker, SERVER, World};

/// The password, and what base64 makes of it alone and in AUTH PLAIN.
const SECRETS: [&str; 4] = ["sesame", "c2VzYW1l", "AGdhdGUAc2VzYW1l", WRONG];

fn keeps_its_secrets(daemon: &Daemon) {
    for secret in SECRETS {
        assert!(!daemon.log().contains(secret), "{secret}: {}", daemon.log());
    }
}

/// With this section, a knock goes nowhere.
fn not_told((world, alice): (&World, &Knocker), sink: &Sink, section: &str, why: &str) -> Daemon {
    let before = sink.all().len();
    set(world, section);
    let log = world.folder().join("log");
    let since = fs::read_to_string(&log).unwrap_or_default().lines().count();
    let daemon = world.serve();
    alice.knock(&world.client, SERVER);
    // Earlier daemons of this world have written into the same log.
    let said = || {
        let log = daemon.log();
        log.lines().skip(since).any(|line| line.contains("alerts do not go out") && line.contains(why))
    };
    assert!(within(SOON, said), "{why}: {}", daemon.log());
    assert_eq!(sink.all().len(), before, "{:?}", sink.all());
    keeps_its_secrets(&daemon);
    daemon
}

#[test]
fn mail_goes_under_a_seal_that_starttls_begins() {
    let (world, alice) = house("to = [\"root@localhost\"]\n");
    let (pem, config) = authority(SERVER);
    let (_, others) = authority("localhost");
    let (ca, password) = (world.folder().join("ca.pem"), world.folder().join("password"));
    fs::write(&ca, pem).expect("a file can be written");
    private(&password, "sesame\n");
    let section = |port| {
        format!(
            "to = [\"root@example.org\"]\nsmtp = \"smtp://{SERVER}:{port}\"\nuser = \"gate\"\n\
             password_file = {password:?}\nca_file = {ca:?}\n"
        )
    };
    let sink = Sink::by_starttls(&world, &format!("{SERVER}:2587"), config);
    // One whose certificate another authority made for another name.
    let other = Sink::by_starttls(&world, &format!("{SERVER}:2588"), others);
    not_told((&world, &alice), &other, &section(2588), "certificate");
    set(&world, &section(2587));
    let daemon = world.serve();
    alice.knock(&world.client, SERVER);
    assert!(sink.hears("granted alice"), "{:?}\n{}", sink.all(), daemon.log());
    let mail = sink.all().concat();
    assert!(mail.starts_with("EHLO ") && mail.contains("AUTH PLAIN AGdhdGUAc2VzYW1l"), "{mail}");
    keeps_its_secrets(&daemon);
    drop(daemon);
    // A server that takes no such login, and repeats it.
    private(&password, "wrong sesame\n");
    not_told((&world, &alice), &sink, &section(2587), "the mail server refuses the login (535)");
    assert!(other.all().is_empty(), "{:?}", other.all());
}

#[test]
fn a_page_is_told_whose_certificate_is_good_for_its_name() {
    let (world, alice) = house("to = [\"root@localhost\"]\n");
    let ((pem, config), (stranger, _)) = (authority("localhost"), authority("localhost"));
    let place = |name: &str| world.folder().join(name);
    let (ca, other, token, url) = (place("ca.pem"), place("other.pem"), place("token"), place("url"));
    fs::write(&ca, pem).expect("a file can be written");
    fs::write(&other, stranger).expect("a file can be written");
    private(&token, "sesame\n");
    private(&url, "https://localhost:8443/hook/sesame\n");
    let sink = Sink::at(&world, "127.0.0.1:8443", Some(config), http);
    let section =
        |to: &str, ca: &std::path::Path| format!("{to}\ntoken_file = {token:?}\nca_file = {ca:?}\n");
    let named = "webhook = \"https://localhost:8443/hook/x\"";
    let house = (&world, &alice);
    not_told(house, &sink, &section(named, &other), "certificate");
    not_told(house, &sink, &section(&named.replace("localhost", "127.0.0.1"), &ca), "certificate");
    // The machine's own authorities do not know it either.
    not_told(house, &sink, &format!("{named}\n"), "certificate");
    // Its address may stand in a file, where it is a secret.
    set(&world, &section(&format!("url_file = {url:?}"), &ca));
    let daemon = world.serve();
    alice.knock(&world.client, SERVER);
    assert!(sink.hears("\"client\":\"alice\""), "{:?}\n{}", sink.all(), daemon.log());
    let post = sink.all().concat().to_ascii_lowercase();
    assert!(post.starts_with("post /hook/sesame") && post.contains("authorization: bearer sesame"), "{post}");
    assert_eq!(world.portunus(&["alerts"]).lines().next(), Some("webhook  https://localhost:8443/…"));
    drop(sink);
    alice.knock(&world.client, SERVER);
    keeps_its_secrets(&daemon);
    fs::set_permissions(&url, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("its mode can be set");
    let out = world.try_portunus(&["check"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && !said.contains("sesame"), "{said}");
}

/// The real process, in its sandbox: what a server says without end becomes neither its memory nor its end.
#[test]
fn a_server_that_greets_without_end_is_left_and_ends_nobody() {
    let (world, alice) = house("to = [\"root@localhost\"]\n");
    let (pem, config) = authority("localhost");
    let ca = world.folder().join("ca.pem");
    fs::write(&ca, pem).expect("a file can be written");
    let greets = |stream: &mut dyn Stream| {
        // As much as it takes, and it must not take this.
        for _ in 0..(64 << 20) / 4096 {
            stream.write_all("220-there is more to say\r\n".repeat(160).as_bytes())?;
        }
        Ok(Some("all of it".to_owned()))
    };
    let endless = Sink::at(&world, "127.0.0.1:4467", Some(config), greets);
    let section = format!("to = [\"root@localhost\"]\nsmtp = \"smtps://localhost:4467\"\nca_file = {ca:?}\n");
    let daemon = not_told((&world, &alice), &endless, &section, "too large");
    let teller = || {
        daemon.processes().into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0).any(|word| word == b"alerts")
        })
    };
    let first = teller().expect("it runs");
    let tries = || daemon.log().matches("alerts do not go out").count();
    assert!(tries() >= 1, "{}", daemon.log());
    let status = fs::read_to_string(format!("/proc/{first}/status")).expect("it is there");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak: u64 = peak.and_then(|kb| kb.parse().ok()).expect("the kernel says it");
    assert!(peak < 64 << 10, "{peak} kB");
    assert!(daemon.log().lines().all(|line| line.len() < 2000), "{}", daemon.log());
    // It is the same process, and tells by another server what waited.
    let sink = Sink::at(&world, "127.0.0.1:2529", None, smtp);
    set(&world, "to = [\"root@localhost\"]\nsmtp = \"smtp://127.0.0.1:2529\"\n");
    assert!(sink.hears("granted alice"), "{:?}\n{}", sink.all(), daemon.log());
    assert!(!daemon.log().contains("ended by itself"), "{}", daemon.log());
}

/// One certificate in `ca_file` that nobody can read, or one way that cannot be made, ends no other.
#[test]
fn a_way_that_cannot_be_used_leaves_the_others() {
    let (world, alice) = house("to = [\"root@localhost\"]\n");
    let (pem, config) = authority("localhost");
    let (ca, heard) = (world.folder().join("ca.pem"), world.folder().join("heard"));
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&ca, format!("{nonsense}{pem}")).expect("a file can be written");
    fs::write(&heard, "").expect("a file can be written");
    fs::set_permissions(&heard, std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .expect("its mode can be set");
    let command = format!("command = [\"/bin/sh\", \"-c\", \"cat >> {}\"]\n", heard.display());
    let section =
        format!("to = [\"root@localhost\"]\nsmtp = \"smtps://localhost:4466\"\nca_file = {ca:?}\n{command}");
    let sink = Sink::at(&world, "127.0.0.1:4466", Some(config), smtp);
    set(&world, &section);
    let daemon = world.serve();
    alice.knock(&world.client, SERVER);
    assert!(sink.hears("granted alice"), "{:?}\n{}", sink.all(), daemon.log());
    drop(daemon);
    fs::write(&ca, nonsense).expect("a file can be written");
    let told = || fs::read_to_string(&heard).unwrap_or_default().matches("\"client\":\"alice\"").count();
    let before = told();
    // While it lives: what a program has not told when the daemon ends, it tells after the next start.
    let _daemon =
        not_told((&world, &alice), &sink, &section, "there is no certificate in ca_file that can be read");
    assert!(within(SOON, || told() > before));
}
