//! Files, packets and acquisition modes of fwknop 1.9, as they were written: access.conf with colons and semicolons, fwknop.conf
//! beside it, packets of old versions, a capture that grows, and packets that a rule of the firewall's logs.

#![expect(clippy::expect_used, reason = "a helper of a test may fail as the test itself")]

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use portunus_crypto::text;
use portunus_dialect::fwknop::{HashType, Keys, Mode, envelope};
use portunus_interop::fwknop::{Fwknopd, Whose, fwknop, grants, within};
use portunus_interop::{Firewall, SERVER, World};

const AT_ONCE: Duration = Duration::from_secs(5);
const RULE: [&str; 1] = ["INPUT -s 10.90.0.2/32 -p tcp --dport 22 -j ACCEPT"];

/// As tutorials of that time have it.
const ACCESS: &str = "\
### a stanza of 1.9
SOURCE: ANY;
OPEN_PORTS: tcp/22;
DATA_COLLECT_MODE: PCAP;
KEY: tutorialkey;
FW_ACCESS_TIMEOUT: 30;
PERMIT_CLIENT_TIMEOUT: N;
ENCRYPTION_MODE legacy;
";

const CONF: &str = "\
EMAIL_ADDRESSES             root@localhost;
ALERTING_METHODS            noemail;
HOSTNAME                    gate;
FIREWALL_TYPE               iptables;
AUTH_MODE                   PCAP;
PCAP_CMD_TIMEOUT            10;
IPT_INPUT_ACCESS            ACCEPT, src, filter, INPUT, 1, FWKNOP_INPUT, 1;
ENABLE_VOLUNTARY_EXITS      N;
KNOPTM_IP_TIMEOUT_FILE      $FWKNOP_RUN_DIR/knoptm;
gpgCmd                      /usr/bin/gpg;
ENABLE_SPA_PACKET_AGING     N;
";

fn stamp() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs()
}

/// A packet of an old client, with a passphrase that was filled up with zeros.
fn packet(version: &str, fields: &str, at: u64, salt: u8) -> String {
    let keys = Keys::new(b"tutorialkey", Mode::Legacy, None).expect("a key");
    let message = text::encode_bare(b"10.90.0.2,tcp/22");
    let text = format!("{:016}:{}:{at}:{version}:1:{message}{fields}", 7, text::encode_bare(b"mbr"));
    envelope(&keys, &text, HashType::Sha256, [salt; 8]).wire
}

fn send(world: &World, packet: &str) {
    world.client.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket can be bound");
        socket.send_to(packet.as_bytes(), (SERVER, 62201)).expect("a datagram can be sent");
    });
}

fn opened(world: &World, daemon: &Fwknopd) {
    assert!(within(AT_ONCE, || grants(world) == RULE), "{:?}\n{}", grants(world), daemon.log());
}

#[test]
fn files_and_packets_of_1_9_are_read_as_they_are() {
    let world = World::bare(Firewall::Iptables);
    let daemon = Fwknopd::start(&world, Whose::Ours, CONF, ACCESS, &[]);
    for said in ["FIREWALL_TYPE", "KNOPTM_IP_TIMEOUT_FILE", "gpgCmd"] {
        let line = format!("Ignoring unknown configuration parameter: '{said}'");
        assert!(daemon.log().contains(&line), "{said}: {}", daemon.log());
    }
    // Of 1.9 and of 2.0, and long ago: nobody looks at its age.
    send(&world, &packet("1.9.12", "", 1_200_000_000, 1));
    opened(&world, &daemon);
    send(&world, &packet("2.0.1", "", 1_300_000_000, 2));
    assert!(within(AT_ONCE, || daemon.log().matches("access source match").count() == 2), "{}", daemon.log());
    // Not twice, whatever its age.
    send(&world, &packet("2.0.1", "", 1_300_000_000, 2));
    assert!(daemon.says("Replay detected"), "{}", daemon.log());
    // Nor after a restart, the first one as little as the last.
    drop(daemon);
    let daemon = Fwknopd::start(&world, Whose::Ours, CONF, ACCESS, &[]);
    send(&world, &packet("1.9.12", "", 1_200_000_000, 1));
    send(&world, &packet("2.0.1", "", 1_300_000_000, 2));
    let refused = within(AT_ONCE, || daemon.log().matches("Replay detected").count() == 2);
    assert!(refused && !daemon.log().contains("access source match"), "{}", daemon.log());
    // And a new one is let in.
    send(&world, &packet("1.9.12", "", 1_200_000_001, 3));
    assert!(daemon.says("access source match"), "{}", daemon.log());
}

#[test]
fn the_main_file_may_have_its_old_name() {
    let world = World::bare(Firewall::Iptables);
    let folder = world.folder().join("old");
    fs::create_dir_all(&folder).expect("a folder can be made");
    for (name, text) in [("fwknop.conf", CONF), ("access.conf", ACCESS)] {
        private(&folder.join(name), text);
    }
    let place = folder.to_str().expect("plain letters");
    for words in [["explain-config", "fwknop", place], ["import", "fwknop", place]] {
        let out = world.try_portunus(&words);
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("fwknop.conf"), "{words:?}: {said}");
    }
    let conf = folder.join("fwknopd.conf");
    let conf = conf.to_str().expect("plain letters");
    let words = ["fwknopd", "-D", "--exit-parse-config", "-c", conf, "-a", &format!("{place}/access.conf")];
    let out = world.try_portunus(&words);
    assert!(String::from_utf8_lossy(&out.stdout).contains("OPEN_PORTS:  tcp/22"), "{out:?}");
}

#[test]
fn what_an_old_server_refused_explain_tells_the_reason_of() {
    let world = World::bare(Firewall::None);
    let folder = world.folder().join("old");
    fs::create_dir_all(&folder).expect("a folder can be made");
    private(&folder.join("fwknop.conf"), CONF);
    private(&folder.join("access.conf"), ACCESS);
    world.portunus(&["import", "fwknop", folder.to_str().expect("plain letters")]);
    let explained = |packet: &str| {
        let file = world.folder().join("packet.hex");
        let digits: String = packet.bytes().map(|byte| format!("{byte:02x}")).collect();
        fs::write(&file, digits).expect("a file can be written");
        let file = file.to_str().expect("plain letters");
        let out = world.try_portunus(&["explain", file, "--source", "10.90.0.2"]);
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let good = packet("1.9.12", "", stamp(), 3);
    assert!(explained(&good).contains("granted: 22/tcp for 10.90.0.2"), "{}", explained(&good));
    let salted = explained(&format!("U2FsdGVkX1{good}"));
    assert!(salted.contains("\"Salted__\" in front") && salted.contains("noise"), "{salted}");
    let keys = Keys::new(b"tutorialkey", Mode::Legacy, None).expect("a key");
    let few = format!("{:016}:{}:{}:1.8:1", 7, text::encode_bare(b"mbr"), stamp());
    let few = explained(&envelope(&keys, &few, HashType::Md5, [4; 8]).wire);
    assert!(few.contains("made with keys that are here, and refused") && few.contains("fields"), "{few}");
}

#[test]
fn the_tutorials_line_knocks_as_it_is_printed() {
    let world = World::bare(Firewall::Iptables);
    let daemon = Fwknopd::start(&world, Whose::Ours, CONF, ACCESS, &[]);
    let keys = ["--key-rijndael", "tutorialkey", "-M", "legacy", "--no-rc-file", "--no-save-args"];
    let knock = ["fwknop", "-A", "tcp/22", "-a", "10.90.0.2", "-k", SERVER];
    let out = world.try_laptop(&[&knock[..], &keys].concat());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("write -D 10.90.0.1 today"), "{said}");
    opened(&world, &daemon);
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
}

/// tcpdump on the server, which writes what it sees into a file. Dropped, it ends.
struct Tcpdump(Child);

impl Tcpdump {
    fn into(world: &World, file: &str) -> Self {
        let mut command = world.server.command("tcpdump");
        command.args(["-U", "-p", "-n", "-i", "door0", "-w", file, "udp", "port", "62201"]);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = Self(child.expect("tcpdump runs: `make test` installs it"));
        let began = || fs::metadata(file).is_ok_and(|meta| meta.len() >= 24);
        assert!(within(AT_ONCE, began), "tcpdump does not write");
        // It writes its header before it hears.
        std::thread::sleep(Duration::from_millis(300));
        child
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_capture_that_grows_is_followed_through_a_rotation() {
    let world = World::bare(Firewall::Iptables);
    let file = world.folder().join("sniff.pcap");
    let name = file.to_str().expect("plain letters");
    let conf = format!("AUTH_MODE FILE_PCAP;\nPCAP_PKT_FILE {name};\n");
    let access = ACCESS.replace("PCAP;", "FILE_PCAP;");
    // What was there before is not for us, however fresh.
    let tcpdump = Tcpdump::into(&world, name);
    let early = packet("2.0.1", "", stamp(), 5);
    send(&world, &early);
    assert!(within(AT_ONCE, || fs::metadata(&file).is_ok_and(|meta| meta.len() > 200)));
    let daemon = Fwknopd::start(&world, Whose::Ours, &conf, &access, &[]);
    send(&world, &packet("2.0.1", "", stamp(), 6));
    opened(&world, &daemon);
    assert_eq!(daemon.log().matches("access source match").count(), 1, "{}", daemon.log());
    drop(tcpdump);
    // Put aside, and begun anew.
    fs::rename(&file, world.folder().join("sniff.pcap.1")).expect("a file can be renamed");
    let _tcpdump = Tcpdump::into(&world, name);
    send(&world, &packet("2.0.1", "", stamp(), 7));
    let twice = within(AT_ONCE, || daemon.log().matches("access source match").count() == 2);
    assert!(twice, "{}", daemon.log());
    // And the ordinary client of today goes the same way.
    let words = ["--key-rijndael", "tutorialkey", "-M", "legacy", "-A", "tcp/22", "-a", "10.90.0.2"];
    assert!(fwknop(&world, Whose::Ours, &words).status.success());
    let thrice = within(AT_ONCE, || daemon.log().matches("access source match").count() == 3);
    assert!(thrice, "{}", daemon.log());
}

/// A capture's header, and a datagram to this port as a block of it. Its link type is raw IP.
fn capture_head() -> Vec<u8> {
    let words = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn captured(payload: &[u8], from: &str, port: u16) -> Vec<u8> {
    let long = u16::try_from(payload.len() + 28).expect("a short payload");
    let [high, low] = long.to_be_bytes();
    let from: Ipv4Addr = from.parse().expect("an address");
    let ip = [&[0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0][..], &from.octets(), &[10, 90, 0, 1]].concat();
    let udp = [&[0x9c, 0x40][..], &port.to_be_bytes(), &(long - 20).to_be_bytes(), &[0, 0]].concat();
    let stamp = u32::try_from(stamp()).expect("before 2106");
    let words = [stamp, 0, long.into(), long.into()];
    let words = words.iter().flat_map(|word: &u32| word.to_le_bytes());
    words.chain(ip).chain(udp).chain(payload.iter().copied()).collect()
}

#[test]
fn a_long_capture_does_not_keep_the_others_waiting() {
    let world = World::bare(Firewall::Iptables);
    world.server.run("iptables", &["-I", "INPUT", "-p", "tcp", "--dport", "62201", "-j", "ACCEPT"]);
    let file = world.folder().join("sniff.pcap");
    let name = file.to_str().expect("plain letters");
    fs::write(&file, capture_head()).expect("a file can be written");
    // 200 MB that are no knocks and one that is, put in the place of a short one while the server runs.
    let long = world.folder().join("long.pcap");
    let mut out = File::create(&long).expect("a file can be made");
    let mut write = |bytes: &[u8]| out.write_all(bytes).expect("a file can be written");
    write(&capture_head());
    let block = captured(&[b'x'; 36], "10.90.0.3", 53).repeat(10_000);
    (0..250).for_each(|_| write(&block));
    write(&captured(packet("2.0.1", "", stamp(), 20).as_bytes(), "10.90.0.3", 62201));
    let conf = format!(
        "AUTH_MODE FILE_PCAP;
PCAP_PKT_FILE {name};
ENABLE_TCP_SERVER Y;
"
    );
    let daemon = Fwknopd::start(&world, Whose::Ours, &conf, ACCESS, &[]);
    let heard = |from: &str| {
        let line = format!("SPA Packet from IP: {from} received with access source match");
        daemon.log().matches(&line).count()
    };
    fs::rename(&long, &file).expect("a file can be renamed");
    let (mut by_tcp, mut slowest, began) = (0, Duration::ZERO, Instant::now());
    while heard("10.90.0.3") == 0 {
        assert!(began.elapsed() < AT_ONCE * 6, "{}", daemon.log());
        let sent = Instant::now();
        let packet = packet("2.0.1", "", stamp(), 30 + u8::try_from(by_tcp).expect("not so many"));
        world.client.inside(|| {
            let mut stream = TcpStream::connect((SERVER, 62201)).expect("it listens");
            stream.write_all(packet.as_bytes()).expect("it reads");
        });
        assert!(within(AT_ONCE, || heard("10.90.0.2") > by_tcp), "{}", daemon.log());
        by_tcp += 1;
        slowest = slowest.max(sent.elapsed());
    }
    println!("{by_tcp} knocks in the {:?} of a long capture, the slowest {slowest:?}", began.elapsed());
    assert!(by_tcp >= 5, "{by_tcp} knocks in {:?}", began.elapsed());
}

fn tap(rule: &str) -> String {
    format!("table inet tap {{\n chain in {{\n type filter hook prerouting priority raw;\n {rule}\n }}\n}}\n")
}

#[test]
fn packets_that_a_rule_logs_open_the_port() {
    let conf = "NFLOG_GROUP 5;\n";
    // The rules stand where knocks are dropped: nobody listens, and nothing answers.
    let nft = tap("udp dport 62201 log group 5");
    for by_nft in [true, false] {
        let world = World::bare(Firewall::Iptables);
        if by_nft {
            world.server.nft(&nft);
        } else {
            let words = ["-I", "INPUT", "-p", "udp", "--dport", "62201", "-j", "NFLOG", "--nflog-group", "5"];
            world.server.run("iptables", &words);
        }
        let daemon = Fwknopd::start(&world, Whose::Ours, conf, ACCESS, &[]);
        send(&world, &packet("2.0.1", "", stamp(), 8));
        opened(&world, &daemon);
        assert!(daemon.log().contains("logged to group 5"), "{}", daemon.log());
    }
}

#[test]
fn our_own_spelling_takes_what_a_rule_logs_too() {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "22/tcp"]);
    let file = world.place("etc").join("portunus.toml");
    let text = fs::read_to_string(&file).expect("init has made it");
    fs::write(&file, text.replacen("port = ", "nflog = 7\nport = ", 1)).expect("a file can be written");
    world.portunus(&["check"]);
    // To a port where nobody listens.
    world.server.nft(&tap("udp dport 9 log group 7 drop"));
    let daemon = world.serve();
    let packet = alice.packet();
    let verdict = daemon.verdict(|| {
        world.client.inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket can be bound");
            socket.send_to(&packet, (SERVER, 9)).expect("a datagram can be sent");
        });
    });
    assert_eq!(verdict, "granted", "{}", daemon.log());
    // The same packet by the socket is the same knock.
    let again = daemon.verdict(|| alice.send(&world.client, SERVER, &packet));
    assert_eq!(again, "replayed");
}

#[test]
fn a_group_that_somebody_has_is_a_mistake_with_the_mend() {
    let world = World::new(Firewall::None);
    let file = world.place("etc").join("portunus.toml");
    let text = fs::read_to_string(&file).expect("init has made it");
    fs::write(&file, text.replacen("port = ", "nflog = 7\nport = ", 1)).expect("a file can be written");
    let taken = world.server.inside(|| portunus_rx::open_nflog(7)).expect("root can ask for a group");
    let Err((status, log)) = portunus_interop::Daemon::try_start(&world, &["serve"]) else {
        unreachable!("it started with a group that another has")
    };
    assert!(!status.success() && log.contains("group 7") && log.contains("use another group"), "{log}");
    drop(taken);
    drop(world.serve());
}

/// Ours as `fwknopd` with files of its own in a folder; what it says, and its exit.
fn once(world: &World, access: &str, words: &[&str]) -> (String, i32) {
    let folder = world.folder().join("once");
    fs::create_dir_all(&folder).expect("a folder can be made");
    private(&folder.join("fwknopd.conf"), &format!("FWKNOP_RUN_DIR {}/run;\n", folder.display()));
    private(&folder.join("access.conf"), access);
    run(world, &folder, words)
}

/// The same with the files that are in a folder.
fn run(world: &World, folder: &Path, words: &[&str]) -> (String, i32) {
    let mut command = world.server.command(portunus_interop::binary());
    command
        .arg("fwknopd")
        .arg("-c")
        .arg(folder.join("fwknopd.conf"))
        .arg("-a")
        .arg(folder.join("access.conf"));
    let out = command.args(words).stdin(Stdio::null()).output().expect("it runs");
    let said = [out.stdout, out.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), out.status.code().unwrap_or(-1))
}

#[test]
fn a_test_run_over_a_capture_writes_nothing_down() {
    let world = World::bare(Firewall::Iptables);
    let file = world.folder().join("knock.pcap");
    let name = file.to_str().expect("plain letters");
    let knock = captured(packet("2.0.1", "", stamp(), 40).as_bytes(), "10.90.0.3", 62201);
    fs::write(&file, [capture_head(), knock].concat()).expect("a file can be written");
    let met = "SPA Packet from IP: 10.90.0.3 received with access source match";
    for _ in 0..2 {
        let (said, code) = once(&world, ACCESS, &["-f", "-t", "--pcap-file", name]);
        assert!(code == 0 && said.contains(met) && !said.contains("Replay"), "{code}: {said}");
        assert!(!world.folder().join("once/run/digest.cache").exists(), "{said}");
        assert!(!world.folder().join("once/run/portunus/replay.a").exists(), "{said}");
    }
    // And once in earnest.
    let (said, code) = once(&world, ACCESS, &["-f", "--pcap-file", name]);
    assert!(code == 0 && said.contains(met) && said.contains("Added access rule"), "{code}: {said}");
    // A test run knows what was used.
    let (said, _) = once(&world, ACCESS, &["-f", "-t", "--pcap-file", name]);
    assert!(said.contains("Replay") && !said.contains(met), "{said}");
}

#[test]
fn a_capture_that_is_not_whole_is_no_success() {
    let world = World::bare(Firewall::Iptables);
    let file = world.folder().join("knock.pcap");
    let name = file.to_str().expect("plain letters");
    let knock = captured(packet("2.0.1", "", stamp(), 41).as_bytes(), "10.90.0.3", 62201);
    let whole = [capture_head(), knock.clone()].concat();
    let mut short = knock[..16 + 96].to_vec();
    short[8..12].copy_from_slice(&96_u32.to_le_bytes());
    let midst = "not all of the capture was read error=\"it ends in the midst of a packet\"";
    for (bytes, what, wanted) in [
        (whole[..whole.len() - 5].to_vec(), midst, 1),
        (b"no capture, but a text that is long enough".to_vec(), "it is neither a pcap nor a pcapng file", 1),
        (
            [capture_head(), short].concat(),
            "the capture keeps only the first 96 bytes of a packet: tcpdump -s 0",
            0,
        ),
    ] {
        fs::write(&file, bytes).expect("a file can be written");
        let (said, code) = once(&world, ACCESS, &["-f", "-t", "--pcap-file", name]);
        assert!(code == wanted && said.contains(what) && !said.contains("this part ends"), "{code}: {said}");
    }
    let folder = world.folder().join("once");
    for (path, what) in [(folder.as_path(), "it is a folder"), (Path::new("/nonesuch.pcap"), "No such file")]
    {
        let path = path.to_str().expect("plain letters");
        let (said, code) = once(&world, ACCESS, &["-f", "-t", "--pcap-file", path]);
        assert!(code != 0 && said.contains(what) && !said.contains("this part ends"), "{code}: {said}");
    }
}

#[test]
fn the_digests_of_one_that_runs_are_not_put_aside() {
    let world = World::bare(Firewall::Iptables);
    let daemon = Fwknopd::start(&world, Whose::Ours, CONF, ACCESS, &[]);
    send(&world, &packet("2.0.1", "", stamp(), 42));
    opened(&world, &daemon);
    let folder = world.folder().join("fwknop");
    let (said, code) = run(&world, &folder, &["--rotate-digest-cache"]);
    assert!(code == 1 && said.contains("already running"), "{said}");
    let digests: Vec<_> = find(&folder, "digest.cache");
    assert_eq!(digests.len(), 1, "{digests:?}");
}

/// The files below a folder whose names begin so.
fn find(folder: &Path, begins: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let named = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins))
    };
    let below = folders.iter().flat_map(|folder| find(folder, begins));
    files.iter().filter(|path| named(path)).cloned().chain(below).collect()
}
