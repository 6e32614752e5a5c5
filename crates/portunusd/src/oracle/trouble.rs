//! What is wrong with a keyring or with gpg itself, and no stranger's fault: said with the mend, and not again within a
//! minute, however many packets come.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use portunus_dialect::fwknop::gpg::{Signers, Status};
use portunus_model::Mono;
use portunus_sys::clock;

use super::listing::{self, Unlisted};
use super::run::{Gpg, MOST_WORDS, PATIENCE, RunError, Spoken};
use crate::message::{Named, Ring};

/// How often one kind of trouble with one keyring is said.
const EVERY: Duration = Duration::from_secs(60);
/// How many are remembered.
const MOST: usize = 256;

const UNUSABLE: &str = "gpg cannot use the keyring";
const LOOK: &str = "look at the folder as its owner: gpg --homedir FOLDER --list-secret-keys";

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
                return one("the server's secret key cannot be used", spoken.own_words(), mend);
            }
            if has_read(&spoken.report) { None } else { one(UNUSABLE, spoken.own_words(), LOOK) }
        }
        Err(RunError::NotRun(error)) => not_run(ring, error),
        // Whoever has the public key can write that.
        Err(RunError::TooMuch) => None,
        Err(error @ RunError::Killed(_)) => {
            let mend = "the kernel's log may say by whom (out of memory?); where packets do it, an HMAC key keeps them from it";
            one("gpg was ended while it ran", error.to_string(), mend)
        }
        Err(error @ RunError::TooSlow(_)) => {
            let mend = "an agent that hangs: gpgconf --homedir FOLDER --kill gpg-agent; or somebody sends what takes gpg long, \
                 which an HMAC key keeps from it";
            one("gpg was stopped", error.to_string(), mend)
        }
    }
}

/// What can be told before anybody knocks: that it cannot be used, that nothing can be opened with it, or that the keys of a
/// client's signers are not in it.
pub(super) fn before(ring: &Ring) -> Option<One> {
    let one = |what, why: String, mend| Some(One { what, home: ring.home.display().to_string(), why, mend });
    let keys = match listing::keys_of(&Gpg::of(ring), PATIENCE) {
        Ok(keys) => keys,
        Err(Unlisted::NotRun(RunError::NotRun(error))) => return not_run(ring, &error),
        Err(Unlisted::Failed(words)) => return one(UNUSABLE, words, LOOK),
        // A long list is no trouble, and a slow one is seen when somebody knocks.
        Err(Unlisted::NotRun(RunError::TooSlow(_) | RunError::TooMuch | RunError::Killed(_))) => return None,
    };
    if !keys.can_open() {
        let mend =
            "make one: gpg --homedir FOLDER --full-generate-key; or is it another folder, or another user's?";
        return one(
            "the keyring has no secret key, so no packet of GnuPG's can be opened",
            keys.why_so_few(),
            mend,
        );
    }
    let missing: Vec<String> =
        ring.signers.iter().filter_map(|named| keys.without(&signers(named))).collect();
    if missing.is_empty() {
        return None;
    }
    one(
        "the keyring has none of the keys that must sign a client's packets, so nobody ever comes in by them",
        missing.join("; ").chars().take(MOST_WORDS).collect(),
        "gpg --homedir FOLDER --import the client's public key, and --lsign-key it; or mend GPG_FINGERPRINT_ID, GPG_REMOTE_ID",
    )
}

fn signers(named: &Named) -> Signers {
    let Named { ids, fingerprints } = named.clone();
    Signers { ids, fingerprints, ..Signers::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

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
