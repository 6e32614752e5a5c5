//! Floods of every kind, from one address and from a thousand: one knock after the other of a client whose address is known
//! gets through, each soon. `FLOOD_KNOCKS=50 FLOOD_PAUSE_MS=1000` is the long form (`make test-long`).
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use portunus_crypto::SystemEntropy;
use portunus_dialect::fwknop::gpg::{HmacKey, wrap};
use portunus_dialect::fwknop::{HashType, Keys, Message, Mode, Wish, encode, seal};
use portunus_model::{Proto, Unix};

use portunus_ctl::control::Followed;
use portunus_interop::gpg::{Keyring, RSA};
use portunus_interop::{
    Daemon, Firewall, Flood, Lag, Member, SERVER, World, crowd, honoured, new_key, settle,
};

/// Packets of a kind that are made before and sent by turns.
const MADE: usize = 4096;
/// Each knock is opened within this.
const SOON: Duration = Duration::from_millis(50);
/// Who is not opened by then counts as not opened at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longer than a packet may be with gpg: by then it is opened, or refused with a reason.
const GPGS_PATIENCE: Duration = Duration::from_secs(8);
/// All processes of the daemon together have no more memory than this.
const MEMORY_KIB: u64 = 64 << 10;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Random numbers, the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.roll().to_le_bytes()[0]).collect()
    }

    /// Base64 as fwknop sends it, with this beginning.
    fn base64(&mut self, begin: &str, length: usize) -> Vec<u8> {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = begin.as_bytes().to_vec();
        text.resize_with(length, || LETTERS[usize::from(self.roll().to_le_bytes()[0] & 63)]);
        text
    }
}

/// Every kind of what strangers may send.
fn kinds(alice: &Member, keyring: &Keyring) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut dice = Dice(7);
    let stranger = alice.knocker.with_key(new_key());
    let replayed = alice.knocker.packet();
    alice.send(&replayed);
    let mut made = |each: &mut dyn FnMut(&mut Dice) -> Vec<u8>| (0..MADE).map(|_| each(&mut dice)).collect();
    vec![
        (
            "random sizes",
            made(&mut |dice| {
                let length = usize::try_from(dice.roll() % 1400).unwrap_or(0);
                dice.bytes(length)
            }),
        ),
        ("the right size", made(&mut |dice| [&[1][..], &dice.bytes(164)].concat())),
        ("sealed for the server", made(&mut |_| stranger.packet().to_vec())),
        ("one that was heard", vec![replayed.to_vec()]),
        (
            "like fwknop's",
            made(&mut |dice| {
                let length = 150 + usize::from(dice.roll().to_le_bytes()[0]);
                dice.base64("", length)
            }),
        ),
        ("like GnuPG's", made(&mut |dice| dice.base64("hQ", 1000))),
        ("for gpg", for_gpg(keyring, &mut Dice(11))),
    ]
}

/// Packets that only gpg can tell from one that is good: encrypted for the server's own key, and changed within.
fn for_gpg(keyring: &Keyring, dice: &mut Dice) -> Vec<Vec<u8>> {
    for_gpg_with(keyring, None, dice)
}

/// The same with an HMAC.
fn for_gpg_with(keyring: &Keyring, hmac: Option<&HmacKey>, dice: &mut Dice) -> Vec<Vec<u8>> {
    let words = ["--trust-model", "always", "--recipient", "server@example.org", "--encrypt"];
    let message = keyring.gpg(&words, &[b'x'; 100]);
    let one = |dice: &mut Dice| {
        // Behind the header of the session key, before that of the data.
        let junk = dice.bytes(200);
        let changed = [&message[..40], &junk, &message[240..]].concat();
        wrap(&changed, hmac).unwrap_or_else(|e| panic!("{e}")).wire.into_bytes()
    };
    (0..MADE).map(|_| one(dice)).collect()
}

/// The keys of `carol`, a client of fwknop's.
fn carols_keys() -> Keys {
    let hmac = Some((HashType::Sha256, b"her HMAC key".as_slice()));
    Keys::new(b"her key", Mode::Cbc, hmac).unwrap_or_else(|e| panic!("{e}"))
}

/// A knock of carol's.
fn carols_knock() -> Vec<u8> {
    let message = Message::Access { address: None, ports: vec![(Proto::Tcp, 22)] };
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let now = Unix::from_secs(i64::try_from(now).unwrap_or_default());
    let sealed = seal(&carols_keys(), Wish::new("carol", message), now, &mut SystemEntropy);
    sealed.unwrap_or_else(|e| panic!("{e}")).wire.into_bytes()
}

/// A server of both dialects, a client of each, one with GnuPG and without an HMAC, and the one of openme's is known.
fn server() -> (World, Daemon, Member, Keyring) {
    server_with("", "")
}

/// The same, where the key of GnuPG's has a passphrase and its client's file more lines.
fn server_with(passphrase: &str, more: &str) -> (World, Daemon, Member, Keyring) {
    let world = World::with_init(Firewall::None, &["--dialects", "openme,fwknop"]);
    let keyring = Keyring::new(world.folder(), "gs");
    let print = keyring.make("server", RSA, passphrase, "never");
    let clients = world.place("etc").join("clients");
    fs::create_dir_all(&clients).unwrap_or_else(|e| panic!("{e}"));
    for (name, text) in [
        (
            "gina.toml",
            format!(
                "dialect = \"fwknop\"\ngpg_home = {:?}\ngpg_signers = [\"{print}\"]\nservices = [\"ssh\"]\nrequire_source = false\n{more}",
                keyring.word()
            ),
        ),
        (
            "carol.toml",
            "dialect = \"fwknop\"\nkey = \"her key\"\nhmac_key = \"her HMAC key\"\nservices = [\"ssh\"]\nrequire_source = false\n"
                .to_owned(),
        ),
    ] {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(clients.join(name));
        let written = file.as_mut().map(|file| file.write_all(text.as_bytes()));
        assert!(matches!(written, Ok(Ok(()))), "{name}: {written:?}");
    }
    let alice = crowd(&world, 100, 1).remove(0);
    let daemon = world.serve();
    alice.knock();
    assert_eq!(settle(&daemon, 1), 1);
    (world, daemon, alice, keyring)
}

/// A line for each client that is let in, as it comes.
fn followed(daemon: &Daemon) -> Receiver<String> {
    let mut client = daemon.control();
    client.status().unwrap_or_else(|e| panic!("{e}"));
    let events = client.events().unwrap_or_else(|e| panic!("{e}"));
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for followed in events.flatten() {
            if let Followed::Event(line) = followed
                && matches!(line.reason.as_str(), "granted" | "extended")
                && send.send(line.client.map(|name| name.as_str().to_owned()).unwrap_or_default()).is_err()
            {
                return;
            }
        }
    });
    receive
}

/// Knocks again and again; how long each took to be opened, without what was spent waiting for a core. `None`: never.
fn knocks(daemon: &Daemon, alice: &Member) -> Vec<Option<Duration>> {
    knocks_as(daemon, &alice.name, PATIENCE, &|| alice.knock())
}

/// The same for anybody's knock, for each of which it waits no longer than that.
fn knocks_as(daemon: &Daemon, who: &str, patience: Duration, knock: &dyn Fn()) -> Vec<Option<Duration>> {
    let opened = followed(daemon);
    let pause = Duration::from_millis(number("FLOOD_PAUSE_MS", 100));
    (0..number("FLOOD_KNOCKS", 10))
        .map(|_| {
            std::thread::sleep(pause);
            let lag = Lag::begin(daemon);
            knock();
            let name = opened.recv_timeout(patience).ok()?;
            assert_eq!(name, who);
            Some(lag.end())
        })
        .collect()
}

/// The memory of all its processes, in KiB.
fn memory(daemon: &Daemon) -> u64 {
    let of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:").map(str::to_owned));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    daemon.processes().into_iter().map(of).sum()
}

/// One address, and a thousand.
fn addresses(count: u32) -> Vec<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(10, 91, 128, 1));
    (0..count).map(|n| Ipv4Addr::from(first + n)).collect()
}

#[test]
fn a_known_client_gets_through_every_kind_of_flood() {
    let (world, daemon, alice, keyring) = server();
    let kinds = kinds(&alice, &keyring);
    let (mut table, mut missed) = (String::new(), 0);
    for (what, packets) in &kinds {
        for sources in [addresses(1), addresses(1000)] {
            let flood = Flood { packets, sources: &sources, port: alice.knocker.port(), rate: None };
            let soon =
                |took: &[Option<Duration>]| took.iter().flatten().filter(|took| **took <= SOON).count();
            let (mut took, mut rate) = flood.during(&world, || knocks(&daemon, &alice));
            // One that is late may be the machine's doing, on which everything else runs too: then this flood is met once more, and
            // there every knock has to be soon. The long form asks for all at once.
            if soon(&took) + 1 == took.len() && std::env::var_os("FLOOD_KNOCKS").is_none() {
                (took, rate) = flood.during(&world, || knocks(&daemon, &alice));
            }
            let opened = soon(&took);
            let worst = took.iter().flatten().max().copied().unwrap_or_default();
            let (from, all) = (sources.len(), took.len());
            writeln!(table, "{what:24} from {from:4}: {rate:7}/s, {opened} of {all} soon, worst {worst:?}")
                .unwrap_or_default();
            missed += all - opened;
        }
    }
    let used = memory(&daemon);
    println!("{table}{used} KiB");
    assert_eq!(missed, 0, "\n{table}{:?}", daemon.control().status());
    assert!(used < MEMORY_KIB, "{used} KiB");
    let before = honoured(&daemon);
    alice.knock();
    assert_eq!(settle(&daemon, before + 1), before + 1, "it goes on");
}

/// Whoever writes a client's own address on packets does not lock it out.
#[test]
fn its_own_address_written_on_junk_keeps_no_client_out() {
    let (world, daemon, alice, keyring) = server();
    let kinds = kinds(&alice, &keyring);
    let start = Instant::now();
    for (what, packets) in &kinds {
        let sources = [alice.address];
        let flood = Flood { packets, sources: &sources, port: alice.knocker.port(), rate: Some(2000) };
        let (took, rate) = flood.during(&world, || knocks(&daemon, &alice));
        let opened = took.iter().flatten().count();
        println!("{what:24} from her own address: {rate}/s, {opened} of {} opened, {took:?}", took.len());
        assert_eq!(opened, took.len(), "{what}: {took:?}, {:?}", daemon.control().status());
    }
    println!("{:?}", start.elapsed());
}

/// Packets that gpg is asked about wait by themselves: a symmetric knock is opened as soon as without them.
#[test]
fn packets_for_gpg_delay_no_symmetric_knock() {
    let (world, daemon, alice, keyring) = server();
    let packets = for_gpg(&keyring, &mut Dice(3));
    // From her address she is known by her own keys.
    alice.send(&carols_knock());
    daemon.until_logged("carol");
    for sources in [addresses(1), addresses(1000)] {
        let flood = Flood { packets: &packets, sources: &sources, port: alice.knocker.port(), rate: None };
        let carol = || knocks_as(&daemon, "carol", PATIENCE, &|| alice.send(&carols_knock()));
        let (took, rate) = flood.during(&world, carol);
        let soon = took.iter().flatten().filter(|took| **took <= SOON).count();
        let worst = took.iter().flatten().max().copied().unwrap_or_default();
        println!(
            "for gpg from {:4}: {rate}/s, {soon} of {} soon, worst {worst:?}",
            sources.len(),
            took.len()
        );
        assert_eq!(soon, took.len(), "{took:?}");
    }
    // gpg was asked, and more than it can be asked about came.
    daemon.until_logged("reason=unauthentic dialect=fwknop");
    daemon.until_logged("too many packets wait for gpg");
    let used = memory(&daemon);
    println!("{used} KiB");
    assert!(used < MEMORY_KIB, "{used} KiB");
}

/// As many knocks of gina's as are needed, made before: gpg takes a core of its own for each.
fn ginas_knocks(keyring: &Keyring, passphrase: &str, hmac: Option<&HmacKey>) -> RefCell<VecDeque<Vec<u8>>> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let words = ["--passphrase", passphrase, "--trust-model", "always", "-u", "server@example.org"];
    let sealed = ["-r", "server@example.org", "--sign", "--encrypt"];
    let one = |n: u64| {
        // As if each were made when it is sent.
        let then = now + Duration::from_millis(n * number("FLOOD_PAUSE_MS", 100));
        let stamp = Unix::from_secs(i64::try_from(then.as_secs()).unwrap_or_default());
        let message = Message::Access { address: None, ports: vec![(Proto::Tcp, 22)] };
        let text = encode(Wish::new("gina", message), stamp, &mut SystemEntropy);
        let text = text.unwrap_or_else(|e| panic!("{e}")).text();
        let message = keyring.gpg(&[&words[..], &sealed].concat(), text.as_bytes());
        wrap(&message, hmac).unwrap_or_else(|e| panic!("{e}")).wire.into_bytes()
    };
    (0..=number("FLOOD_KNOCKS", 10)).map(one).collect::<VecDeque<_>>().into()
}

/// How many of gina's knocks got through a flood from one address and from a thousand, and the longest that one took. With
/// `FLOOD_UNKNOWN=1` each comes from an address of its own, where nobody was heard before.
fn ginas_fate(
    (world, daemon, alice): (&World, &Daemon, &Member),
    packets: &[Vec<u8>],
    patience: Duration,
    knocks: impl Fn() -> RefCell<VecDeque<Vec<u8>>>,
) -> Vec<(usize, usize)> {
    // Known is who was heard from there once.
    alice.send(&knocks().borrow_mut().pop_front().unwrap_or_default());
    daemon.until_logged("gina");
    let fate = |from: u32| {
        let (made, sources) = (knocks(), addresses(from));
        let flood = Flood { packets, sources: &sources, port: alice.knocker.port(), rate: None };
        let next = || made.borrow_mut().pop_front().unwrap_or_default();
        let new = RefCell::new(u32::from(Ipv4Addr::new(10, 91, 200, 0)) + from);
        let port = alice.knocker.port();
        let from_elsewhere = || {
            *new.borrow_mut() += 1;
            let (address, packet) = (Ipv4Addr::from(*new.borrow()), next());
            let sent = world.client.inside(|| {
                let socket = UdpSocket::bind((address, 0))?;
                socket.send_to(&packet, (SERVER, port))
            });
            assert!(sent.is_ok(), "{sent:?}");
        };
        let is_new = number("FLOOD_UNKNOWN", 0) > 0;
        let knock = || if is_new { from_elsewhere() } else { alice.send(&next()) };
        let (took, rate) = flood.during(world, || knocks_as(daemon, "gina", patience, &knock));
        let through = took.iter().flatten().count();
        let worst = took.iter().flatten().max().copied().unwrap_or_default();
        println!("for gpg from {from:4}: {rate}/s, {through} of {} through, worst {worst:?}", took.len());
        (through, took.len())
    };
    vec![fate(1), fate(1000)]
}

/// What does not fit the HMAC never comes as far as gpg, so who has it gets through, with a passphrase and without.
#[test]
fn with_an_hmac_key_gnupgs_clients_get_through_packets_for_gpg() {
    let hmac = |key: &[u8]| HmacKey::new(HashType::Sha256, key).unwrap_or_else(|e| panic!("{e}"));
    for passphrase in passphrases() {
        let more = format!("hmac_key = \"her own\"\n{}", passphrase_line(passphrase));
        let (world, daemon, alice, keyring) = server_with(passphrase, &more);
        let packets = for_gpg_with(&keyring, Some(&hmac(b"another")), &mut Dice(5));
        let knocks = || ginas_knocks(&keyring, passphrase, Some(&hmac(b"her own")));
        for (through, all) in ginas_fate((&world, &daemon, &alice), &packets, GPGS_PATIENCE, knocks) {
            // The agent works a passphrase out anew each time, for a second and more beside a flood on two cores, and gpg has
            // three: that some knocks are too late then is measured and told. Nor has the kernel always room for a packet of
            // two thousand bytes between small ones, where the daemon waits for a core itself.
            let least = if passphrase.is_empty() { all - all / 10 } else { all / 2 };
            assert!(through >= least, "passphrase {passphrase:?}: {}", daemon.log());
        }
        let log = daemon.log();
        assert!(
            !log.contains("too many packets wait for gpg") && !log.contains("cannot be decrypted"),
            "{log}"
        );
    }
}

/// Without one gpg is asked about what anybody sends: what that costs its own clients is measured and told (docs/gnupg.md), and
/// over with the flood.
#[test]
fn without_an_hmac_key_gnupgs_clients_are_back_when_the_flood_is_over() {
    for passphrase in passphrases() {
        let (world, daemon, alice, keyring) = server_with(passphrase, &passphrase_line(passphrase));
        let packets = for_gpg(&keyring, &mut Dice(6));
        println!("passphrase {passphrase:?}");
        let fate = ginas_fate((&world, &daemon, &alice), &packets, PATIENCE, || {
            ginas_knocks(&keyring, passphrase, None)
        });
        println!("{fate:?}");
        // What waited is done or too old in ten seconds.
        std::thread::sleep(Duration::from_secs(10));
        let knocks = ginas_knocks(&keyring, passphrase, None);
        let next = || knocks.borrow_mut().pop_front().unwrap_or_default();
        let took = knocks_as(&daemon, "gina", GPGS_PATIENCE, &|| alice.send(&next()));
        assert!(took.iter().all(Option::is_some), "{took:?}");
    }
}

/// A passphrase on the server's key costs minutes here: that is for the long tests.
fn passphrases() -> &'static [&'static str] {
    if number("FLOOD_PASSPHRASE", 0) > 0 { &["", "its own"] } else { &[""] }
}

fn passphrase_line(passphrase: &str) -> String {
    if passphrase.is_empty() { String::new() } else { format!("gpg_passphrase = \"{passphrase}\"\n") }
}
