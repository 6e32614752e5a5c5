//! What becomes of open grants when access.conf is edited: while the server runs, and while it lies dead.

#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail as the test itself")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use portunus_ctl::control::Client;
use portunus_dialect::fwknop::{HashType, Mode, RawKeys};
use portunus_interop::fwknop::{Fwknopd, Whose, fwknop, within};
use portunus_interop::{Firewall, SERVER, World};
use portunus_model::ClientName;
use rustix::process::{Signal, kill_process};

const AT_ONCE: Duration = Duration::from_secs(5);

/// How the new files come into force.
#[derive(Debug, Clone, Copy)]
enum How {
    /// By SIGHUP, as `fwknopd -R` sends it.
    Alive,
    /// Killed, edited, started again.
    Dead,
}

const BOTH: [How; 2] = [How::Alive, How::Dead];

fn key(n: u8) -> String {
    format!("the encryption key {n}")
}

fn hmac(n: u8) -> String {
    format!("the HMAC key {n}")
}

/// A stanza for who has the keys `n`.
fn stanza(n: u8, source: &str, more: &str) -> String {
    format!("SOURCE {source}\nKEY {}\nHMAC_KEY {}\n{more}\n", key(n), hmac(n))
}

fn stanzas(sets: &[u8]) -> String {
    sets.iter().map(|&n| stanza(n, "ANY", "")).collect()
}

/// Replaces a file in one step.
fn edit(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    let file = File::options().write(true).create_new(true).mode(0o600).open(&draft);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a file can be written");
    fs::rename(&draft, path).expect("a file can be renamed");
}

struct House {
    world: World,
    daemon: Fwknopd,
}

impl House {
    fn new(access: &str) -> Self {
        let world = World::bare(Firewall::Iptables);
        let daemon = Fwknopd::start(&world, Whose::Ours, "", access, &[]);
        Self { world, daemon }
    }

    /// Whoever has the keys `n` lets 10.90.0.`address` in, for 200 seconds.
    fn knock(&self, n: u8, address: u8, port: &str) {
        let (key, hmac, address) = (key(n), hmac(n), format!("10.90.0.{address}"));
        let keys = ["--key-rijndael", &key, "--key-hmac", &hmac, "--use-hmac"];
        let out = fwknop(
            &self.world,
            Whose::Theirs,
            &[&keys[..], &["-A", port, "-a", &address, "-f", "200"]].concat(),
        );
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(within(AT_ONCE, || self.ends().contains_key(&address)), "{address} was not let in");
    }

    /// New files, by either way.
    fn becomes(self, how: How, access: &str) -> Self {
        let Self { world, daemon } = self;
        let place = world.folder().join("fwknop/access.conf");
        match how {
            How::Alive => {
                edit(&place, access);
                kill_process(daemon.pid(), Signal::HUP).expect("it can be told");
                Self { world, daemon }
            }
            How::Dead => {
                let all = daemon.processes();
                kill_process(daemon.pid(), Signal::KILL).expect("it can be killed");
                let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}/fd/0")).exists();
                assert!(within(AT_ONCE, || all.iter().all(gone)), "its parts ended with it");
                drop(daemon);
                let daemon = Fwknopd::start(&world, Whose::Ours, "", access, &[]);
                Self { world, daemon }
            }
        }
    }

    fn control(&self) -> Client {
        let run = self.world.folder().join("fwknop/run/portunus");
        Client::connect(&run).unwrap_or_else(|e| panic!("{e}\n{}", self.daemon.log()))
    }

    /// Whose grants are shown, and for which address.
    fn shown(&self) -> Vec<(String, String)> {
        let sessions = self.control().sessions().expect("it says what is open").sessions;
        let mut shown: Vec<_> =
            sessions.into_iter().map(|one| (one.client, one.address.to_string())).collect();
        shown.sort();
        shown
    }

    /// The addresses that the kernel lets in, and until when: the seconds of the rules' own comments.
    fn ends(&self) -> BTreeMap<String, i64> {
        let rules = self.world.server.run("iptables-save", &["-t", "filter"]);
        let one = |line: &str| {
            let address = line.split("-s ").nth(1)?.split('/').next()?.to_owned();
            let end = line.split("_exp_").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?;
            Some((address, end.parse().ok()?))
        };
        rules
            .lines()
            .filter(|line| line.starts_with("-A FWKNOP_INPUT") && line.ends_with("-j ACCEPT"))
            .filter_map(one)
            .collect()
    }

    /// Waits until just these are open; the ones that were before must end when they did.
    fn has_only(&self, wanted: &[(&str, u8)], before: &BTreeMap<String, i64>, why: &str) {
        let wanted: Vec<(String, String)> =
            wanted.iter().map(|(name, n)| ((*name).to_owned(), format!("10.90.0.{n}"))).collect();
        let addresses = || self.ends().into_keys().collect::<Vec<_>>();
        let mut expected: Vec<String> = wanted.iter().map(|(_, address)| address.clone()).collect();
        expected.sort();
        let there = within(AT_ONCE, || self.shown() == wanted && addresses() == expected);
        assert!(there, "{why}: {:?} and {:?}\n{}", self.shown(), self.ends(), self.daemon.log());
        for (address, end) in self.ends() {
            let was = before.get(&address).copied().unwrap_or_default();
            assert!((end - was).abs() <= 1, "{why}: {address} ended at {was}, and ends at {end}");
        }
    }
}

fn three() -> House {
    let house = House::new(&stanzas(&[1, 2, 3]));
    (1..=3).for_each(|n| house.knock(n, 10 + n, "tcp/22"));
    let three = [("stanza-1", 11), ("stanza-2", 12), ("stanza-3", 13)];
    house.has_only(&three, &house.ends(), "at first");
    house
}

#[test]
fn a_stanza_that_goes_takes_its_own_grant_and_no_other() {
    for how in BOTH {
        let house = three();
        let before = house.ends();
        let house = house.becomes(how, &stanzas(&[2, 3]));
        house.has_only(
            &[("stanza-1", 12), ("stanza-2", 13)],
            &before,
            &format!("{how:?}, the first is gone"),
        );
        let house = house.becomes(how, &stanzas(&[3, 4, 2]));
        house.has_only(&[("stanza-1", 13), ("stanza-3", 12)], &before, &format!("{how:?}, another order"));
        // A name means whoever has it now.
        let name = |text: &str| ClientName::new(text).ok();
        assert_eq!(house.control().close(name("stanza-1"), None).expect("it closes"), 1);
        house.has_only(&[("stanza-3", 12)], &before, &format!("{how:?}, closed by its new name"));
        let killed = house.control().kill(name("stanza-3").expect("a name")).expect("it kills");
        assert_eq!(killed.grants, 1);
        house.has_only(&[], &before, &format!("{how:?}, killed by its new name"));
        house.says_nothing_of_keys();
    }
}

impl House {
    /// By what a stanza is known stands in no log, and no hash of its keys anywhere.
    fn says_nothing_of_keys(&self) {
        assert!(!self.daemon.log().contains("keys-"), "{}", self.daemon.log());
        let folder = self.world.folder().join("fwknop/run/portunus");
        let texts: Vec<Vec<u8>> = fs::read_dir(folder)
            .expect("the state folder is there")
            .filter_map(|entry| fs::read(entry.expect("an entry").path()).ok())
            .chain([self.daemon.log().into_bytes()])
            .collect();
        let has =
            |needle: &[u8]| texts.iter().any(|text| text.windows(needle.len()).any(|part| part == needle));
        assert!(has(b"keys-"), "the journal says whose a grant is");
        for n in 1..=4 {
            let hmac = hmac(n);
            let keys = RawKeys::new(key(n).as_bytes(), Mode::Cbc, Some((HashType::Sha256, hmac.as_bytes())));
            let id = keys.expect("they are keys").id().0;
            let start = id.get(..8).expect("it has more");
            let digits: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(!has(start) && !has(digits.as_bytes()) && !has(key(n).as_bytes()), "of the keys {n}");
        }
    }
}

#[test]
fn a_stanza_with_another_key_takes_its_grant() {
    for how in BOTH {
        let house = three();
        let before = house.ends();
        let house = house.becomes(how, &stanzas(&[1, 4, 3]));
        house.has_only(&[("stanza-1", 11), ("stanza-3", 13)], &before, &format!("{how:?}"));
    }
}

#[test]
fn of_stanzas_with_the_same_keys_one_that_allows_it_keeps_a_grant() {
    let only = |ports: &str| stanza(1, "ANY", &format!("OPEN_PORTS {ports}"));
    for how in BOTH {
        let house = House::new(&(only("tcp/22") + &only("tcp/80")));
        house.knock(1, 11, "tcp/22");
        house.knock(1, 12, "tcp/80");
        let before = house.ends();
        house.has_only(&[("stanza-1", 11), ("stanza-2", 12)], &before, "at first");
        let house = house.becomes(how, &(only("tcp/80") + &only("tcp/22")));
        house.has_only(&[("stanza-1", 12), ("stanza-2", 11)], &before, &format!("{how:?}, exchanged"));
        let house = house.becomes(how, &only("tcp/22"));
        house.has_only(&[("stanza-1", 11)], &before, &format!("{how:?}, one is gone"));
        let house = house.becomes(how, &stanzas(&[2]));
        house.has_only(&[], &before, &format!("{how:?}, both are gone"));
    }
}

/// The packets come from 10.90.0.2, whatever address they name, and go to 10.90.0.1.
#[test]
fn a_narrower_stanza_takes_what_it_would_not_give_any_more() {
    let to = |destination: &str| stanza(3, "ANY", &format!("DESTINATION {destination}"));
    for how in BOTH {
        let house = three();
        let before = house.ends();
        let kept = stanza(1, "10.90.0.2/32", "") + &stanza(2, "10.90.0.0/30", "") + &to(SERVER);
        let house = house.becomes(how, &kept);
        let all = [("stanza-1", 11), ("stanza-2", 12), ("stanza-3", 13)];
        house.has_only(&all, &before, &format!("{how:?}, narrower and still wide enough"));
        // The address that was let in is no source.
        let house =
            house.becomes(how, &(stanza(1, "10.90.0.11/32", "") + &stanza(2, "ANY", "") + &to(SERVER)));
        house.has_only(&[("stanza-2", 12), ("stanza-3", 13)], &before, &format!("{how:?}, another SOURCE"));
        let house = house.becomes(how, &(stanzas(&[1, 2]) + &to("10.90.0.99/32")));
        house.has_only(&[("stanza-2", 12)], &before, &format!("{how:?}, another DESTINATION"));
    }
}
