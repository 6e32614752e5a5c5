//! What is wrong with a keyring or with gpg itself, and no stranger's fault: said with the mend, and not again within a
//! minute, however many packets come.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use portunus_dialect::fwknop::gpg::{Signers, Status};
use portunus_model::Mono;
use portunus_sys::clock;

use super::run::{self, RunError, Spoken};
use crate::keyrings::prints;
use crate::message::{Named, Ring};

/// How often one kind of trouble with one keyring is said.
const EVERY: Duration = Duration::from_secs(60);
/// How many are remembered.
const MOST: usize = 256;

/// One.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct One {
    what: &'static str,
    home: String,
    /// gpg's own words, or the system's.
    why: String,
    mend: &'static str,
}

/// What was said lately.
#[derive(Debug, Default)]
pub(super) struct Trouble(HashMap<(String, &'static str), Mono>);

impl Trouble {
    pub(super) fn say(&mut self, one: &One) {
        if self.is_new(one, clock::mono()) {
            let One { what, home, why, mend } = one;
            tracing::warn!(keyring = %home, why = %why, mend, "{what}");
        }
    }

    fn is_new(&mut self, one: &One, now: Mono) -> bool {
        if self.0.len() >= MOST {
            self.0.retain(|_, at| now.since(*at) < EVERY);
        }
        let key = (one.home.clone(), one.what);
        let new = self.0.get(&key).is_none_or(|at| now.since(*at) >= EVERY) && self.0.len() < MOST;
        if new {
            self.0.insert(key, now);
        }
        new
    }
}

/// What a run shows of the keyring or of gpg.
pub(super) fn of(ring: &Ring, run: &Result<Spoken, RunError>) -> Option<One> {
    let one = |what, why: String, mend| Some(One { what, home: ring.home.display().to_string(), why, mend });
    match run {
        Ok(spoken) => {
            let status = Status::read(&spoken.report);
            if status.no_passphrase {
                let mend = "write its passphrase into GPG_DECRYPT_PW, or use a key that has none and GPG_ALLOW_NO_PW";
                return one("the server's secret key cannot be used", words(spoken), mend);
            }
            let mend = "look at the folder as its owner: gpg --homedir FOLDER --list-secret-keys";
            if has_read(&spoken.report) {
                None
            } else {
                one("gpg cannot use the keyring", words(spoken), mend)
            }
        }
        Err(RunError::NotRun(error)) => not_run(ring, error),
        // Whoever has the public key can write that.
        Err(RunError::TooMuch) => None,
        Err(error @ RunError::Killed(_)) => {
            let mend = "the kernel's log may say by whom (out of memory?); where packets do it, an HMAC key keeps them from it";
            one("gpg was ended while it ran", error.to_string(), mend)
        }
        Err(error @ RunError::TooSlow) => {
            let mend = "an agent that hangs: gpgconf --homedir FOLDER --kill gpg-agent; or somebody sends what takes gpg long, \
                 which an HMAC key keeps from it";
            one("gpg was stopped", error.to_string(), mend)
        }
    }
}

/// What can be told before anybody knocks.
pub(super) fn before(ring: &Ring) -> Option<One> {
    let home = ring.home.display().to_string();
    match run::list(ring) {
        Ok(spoken) if spoken.text.starts_with(b"sec:") || spoken.text.windows(5).any(|w| w == b"\nsec:") => {
            None
        }
        Ok(spoken) => Some(One {
            what: "the keyring has no secret key, so no packet of GnuPG's can be opened",
            home,
            why: words(&spoken),
            mend: "make one: gpg --homedir FOLDER --full-generate-key; or is it another folder, or another user's?",
        }),
        Err(RunError::NotRun(error)) => not_run(ring, &error),
        // A long list is no trouble, and a slow one is seen when somebody knocks.
        Err(RunError::TooSlow | RunError::TooMuch | RunError::Killed(_)) => None,
    }
}

/// Signers whose keys it does not have, told before one of them knocks.
pub(super) fn without_signers(ring: &Ring) -> Option<One> {
    // Why it cannot be listed is told of the secret keys, or when somebody knocks.
    let known = prints(&String::from_utf8_lossy(&run::list_public(ring).ok()?.text));
    let missing: Vec<String> = ring.signers.iter().filter_map(|named| missing(named, &known)).collect();
    let why: String = missing.join("; ").chars().take(400).collect();
    Some(One {
        what: "the keyring has none of the keys that must sign a client's packets, so nobody ever comes in by them",
        home: ring.home.display().to_string(),
        why,
        mend: "gpg --homedir FOLDER --import the client's public key, and --lsign-key it; or mend GPG_FINGERPRINT_ID, GPG_REMOTE_ID",
    })
    .filter(|_| !missing.is_empty())
}

/// Who is named, if no key is theirs.
fn missing(named: &Named, known: &[[String; 2]]) -> Option<String> {
    let Named { ids, fingerprints } = named;
    let signers = Signers { ids: ids.clone(), fingerprints: fingerprints.clone(), ..Signers::default() };
    let is_there = known.iter().any(|[key, owner]| signers.have([key, owner]));
    (!is_there).then(|| [fingerprints.as_slice(), ids].concat().join(", "))
}

/// Whether it came as far as the message: then whatever is wrong is wrong with that.
fn has_read(report: &[u8]) -> bool {
    const OF_THE_MESSAGE: [&str; 5] = ["ENC_TO", "NODATA", "UNEXPECTED", "BADARMOR", "BEGIN_DECRYPTION"];
    let report = String::from_utf8_lossy(report);
    let mut words = report.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")?.split(' ').next());
    words.any(|word| OF_THE_MESSAGE.contains(&word))
}

fn not_run(ring: &Ring, error: &io::Error) -> Option<One> {
    Some(One {
        what: "gpg cannot be run",
        home: ring.home.display().to_string(),
        why: format!("{}: {error}", ring.program.display()),
        mend: "install the package gpg, or name the program with GPG_EXE",
    })
}

/// Its own words, as one line of plain text.
fn words(spoken: &Spoken) -> String {
    let text = String::from_utf8_lossy(&spoken.words);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let all = if lines.is_empty() { "it gave no reason".to_owned() } else { lines.join("; ") };
    all.chars().filter(|c| !c.is_control()).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_missed_when_no_key_is_any_of_its_signers() {
        let (key, owner) = ("A".repeat(40), "B".repeat(40));
        let known = [[key.clone(), owner.clone()]];
        let named = |ids: &[&str], fingerprints: &[&String]| Named {
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
            fingerprints: fingerprints.iter().map(|&print| print.clone()).collect(),
        };
        let nobody = "C".repeat(40);
        assert_eq!(missing(&named(&[], &[&nobody, &owner]), &known), None);
        assert_eq!(missing(&named(&["AAAAAAAA"], &[]), &known), None);
        assert_eq!(missing(&named(&["CCCCCCCC"], &[&key]), &known), Some(format!("{key}, CCCCCCCC")));
        assert_eq!(missing(&named(&[], &[&nobody]), &known), Some(nobody));
        assert_eq!(missing(&named(&[], &[&key]), &[]), Some(key));
    }

    #[test]
    fn the_same_trouble_is_said_once_a_minute() {
        let one = |home: &str, what| One { what, home: home.into(), why: String::new(), mend: "" };
        let at = |secs: u64| Mono::from_nanos(secs * 1_000_000_000);
        let mut trouble = Trouble::default();
        let mut said = |one: &One, secs| trouble.is_new(one, at(secs));
        assert!(said(&one("/a", "x"), 100) && !said(&one("/a", "x"), 159) && said(&one("/a", "x"), 160));
        assert!(said(&one("/a", "y"), 160) && said(&one("/b", "x"), 160));
        for n in 0..1000 {
            let _ = said(&one(&format!("/{n}"), "x"), 170);
        }
        assert!(trouble.0.len() <= MOST);
    }
}
