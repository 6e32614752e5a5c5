//! What the real daemon tells journald, which here is a socket of the test's in a mount namespace of the daemon's own.

#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use portunus_interop::fwknop::{Whose, fwknop, within};
use portunus_interop::{CLIENT, Firewall, SERVER, World, binary};
use rustix::process::{Pid, Signal, kill_process};

/// A daemon whose standard error is the journal's, as far as it can see.
struct Journalled {
    child: Child,
    journald: UnixDatagram,
    stderr: PathBuf,
    seen: Vec<BTreeMap<String, String>>,
}

impl Journalled {
    fn start(world: &World, words: &[&str]) -> Self {
        let journal = world.folder().join("journal");
        fs::create_dir_all(&journal).unwrap();
        let journald = UnixDatagram::bind(journal.join("socket")).unwrap();
        journald.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let stderr = world.folder().join("stderr");
        let file = File::create(&stderr).unwrap();
        let meta = file.metadata().unwrap();
        // `ip netns exec` has given it a mount namespace: nobody else sees this.
        let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                      mount --bind \"$JOURNAL\" /run/systemd/journal && exec \"$@\"";
        let mut command = world.server.command("sh");
        command.args(["-c", script, "sh"]).arg(binary()).args(words);
        command.env("JOURNAL", &journal).env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()));
        command
            .env("PORTUNUS_CONFIG_DIR", world.place("etc"))
            .env("PORTUNUS_STATE_DIR", world.place("state"));
        command.env("PORTUNUS_RUN_DIR", world.place("run")).env("HOME", world.folder());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, journald, stderr, seen: Vec::new() }
    }

    /// The first record that has all of these.
    fn record(&mut self, wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
        let start = Instant::now();
        let mut bytes = vec![0; 64 << 10];
        loop {
            let has = |record: &&BTreeMap<String, String>| {
                wanted.iter().all(|(name, value)| record.get(*name).is_some_and(|found| found == value))
            };
            if let Some(found) = self.seen.iter().find(has) {
                return found.clone();
            }
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "no record has {wanted:?}: {:#?}\n{}",
                self.seen,
                fs::read_to_string(&self.stderr).unwrap_or_default()
            );
            if let Ok(length) = self.journald.recv(&mut bytes) {
                let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
                let fields = text.lines().filter_map(|line| line.split_once('='));
                self.seen.push(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
            }
        }
    }
}

impl Drop for Journalled {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

#[test]
fn the_journal_gets_fields_that_can_be_searched_by() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "1s"]);
    let mut daemon = Journalled::start(&world, &["serve"]);
    let serving = daemon.record(&[("PORTUNUS_PART", "keeper"), ("PORTUNUS_CLIENTS", "1")]);
    assert_eq!(serving["PRIORITY"], "6");
    assert_eq!(serving["SYSLOG_IDENTIFIER"], "portunus");
    assert!(serving["MESSAGE"].contains("msg=serving"), "{serving:?}");
    let packet = alice.packet();
    alice.send(&world.client, SERVER, &packet);
    let granted = daemon.record(&[("PORTUNUS_REASON", "granted"), ("PORTUNUS_CLIENT", "alice")]);
    assert_eq!(
        (granted["PORTUNUS_DIALECT"].as_str(), granted["PORTUNUS_PART"].as_str()),
        ("openme", "front")
    );
    assert!(granted["PORTUNUS_SOURCE"].starts_with(&format!("{CLIENT}:")), "{granted:?}");
    assert_eq!(granted["PORTUNUS_PORTS"], "22/tcp,54154/tcp");
    assert!(granted["MESSAGE"].contains("reason=granted client=alice"), "{granted:?}");
    alice.send(&world.client, SERVER, &packet);
    daemon.record(&[("PORTUNUS_REASON", "replayed"), ("PORTUNUS_CLIENT", "alice")]);
    // Each once: what is in the journal's own socket is not on standard error too.
    assert_eq!(fs::read_to_string(&daemon.stderr).unwrap(), "");

    // A journal that is gone costs no line.
    fs::remove_file(world.folder().join("journal/socket")).unwrap();
    daemon.journald = UnixDatagram::unbound().unwrap();
    alice.knock(&world.client, SERVER);
    let stderr = daemon.stderr.clone();
    let there = within(Duration::from_secs(10), || {
        fs::read_to_string(&stderr).unwrap().contains("<6>level=info part=front msg=knock reason=")
    });
    assert!(there, "{}", fs::read_to_string(&stderr).unwrap());
}

#[test]
fn the_journal_gets_the_same_fields_beside_fwknopds_words() {
    let world = World::bare(Firewall::Iptables);
    let folder = world.folder();
    let [conf, access] = ["fwknopd.conf", "access.conf"].map(|name| folder.join(name));
    fs::write(&conf, format!("PCAP_INTF door0;\nFWKNOP_RUN_DIR {};\n", folder.join("fw").display())).unwrap();
    let keys = "KEY_BASE64 YW4gZW5jcnlwdGlvbiBrZXk=\nHMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";
    fs::write(&access, format!("SOURCE ANY\n{keys}")).unwrap();
    for file in [&conf, &access] {
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let words = ["fwknopd", "-f", "-c", conf.to_str().unwrap(), "-a", access.to_str().unwrap()];
    let mut daemon = Journalled::start(&world, &words);
    let begun = daemon.record(&[("MESSAGE", "Starting fwknopd main event loop.")]);
    assert_eq!(begun["SYSLOG_IDENTIFIER"], "fwknopd");
    let saved = folder.join("packet");
    let knock = [
        "--key-rijndael",
        "an encryption key",
        "--key-hmac",
        "an HMAC key",
        "--use-hmac",
        "-A",
        "tcp/22",
        "-a",
        CLIENT,
        "-B",
        saved.to_str().unwrap(),
    ];
    let out = fwknop(&world, Whose::Ours, &knock);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let met = format!("(stanza #1) SPA Packet from IP: {CLIENT} received with access source match");
    let proven = daemon.record(&[("MESSAGE", &met)]);
    assert_eq!(proven["PORTUNUS_SOURCE"], CLIENT);
    assert_eq!(proven["PORTUNUS_CLIENT"], "stanza-1");
    // The same packet again, as somebody who has recorded it would send it.
    let packet = fs::read_to_string(&saved).unwrap();
    world.client.inside(|| {
        let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
        socket.send_to(packet.trim().as_bytes(), (SERVER, 62201)).unwrap();
    });
    let replayed = daemon.record(&[("PORTUNUS_REASON", "replayed"), ("PORTUNUS_DIALECT", "fwknop")]);
    assert!(replayed["PORTUNUS_SOURCE"].starts_with(&format!("{CLIENT}:")), "{replayed:?}");
    assert_eq!(replayed["MESSAGE"], format!("Replay detected from source IP: {CLIENT}"));
}
