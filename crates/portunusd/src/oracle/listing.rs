//! Which keys a keyring has, and so which packets can never be opened with it. gpg is asked once for all of them.

use std::path::Path;
use std::time::Duration;

use portunus_dialect::fwknop::gpg::Signers;

use super::run::{self, Bounds, Gpg, RunError, Spoken};

/// The most that is read of a list of keys.
const LONGEST_LIST: usize = 4 << 20;
/// Asked for a list, gpg makes a keyring where there is none. A folder without any of these has no key, and stays as it is.
/// (The settings may name a keyring elsewhere.)
const HAVE_KEYS: [&str; 5] = ["pubring.kbx", "pubring.gpg", "public-keys.d", "common.conf", "gpg.conf"];

/// A key's fingerprint, and that of its owner's first key.
type Prints = [String; 2];

/// The keys of a keyring.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    all: Vec<Prints>,
    /// Those whose secret part is there, or on a card.
    secret: Vec<Prints>,
    /// What gpg said besides.
    words: String,
}

/// Why it was not listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unlisted {
    #[error("{0}")]
    NotRun(#[from] RunError),
    /// With its own words.
    #[error("{0}")]
    Failed(String),
}

/// The keys of a keyring.
pub(crate) fn keys_of(gpg: &Gpg<'_>, time: Duration) -> Result<Keys, Unlisted> {
    if !may_have_keys(gpg.home) {
        return Ok(Keys { words: "no keyring was ever made there".to_owned(), ..Keys::default() });
    }
    let spoken = list(gpg, &["--with-secret", "--list-keys"], time)?;
    if !spoken.well {
        return Err(Unlisted::Failed(spoken.own_words()));
    }
    let words = spoken.own_words();
    Ok(Keys { words, ..Keys::read(&String::from_utf8_lossy(&spoken.text)) })
}

/// Whether a secret key is somebody's of this name, in whichever of its ways gpg finds one by it.
pub(crate) fn has_secret_key_of(gpg: &Gpg<'_>, name: &str, time: Duration) -> Result<bool, Unlisted> {
    let spoken = list(gpg, &["--list-secret-keys", "--", name], time)?;
    Ok(spoken.well && !spoken.text.is_empty())
}

fn list(gpg: &Gpg<'_>, what: &[&str], time: Duration) -> Result<Spoken, RunError> {
    // How far anybody is trusted is not asked, so no file of that is made or brought up to date.
    let how = ["--with-colons", "--lock-never", "--trust-model", "always", "--no-auto-check-trustdb"];
    run::run(gpg, None, &[&how, what].concat(), b"", Bounds { time, text: LONGEST_LIST })
}

fn may_have_keys(home: &Path) -> bool {
    HAVE_KEYS.iter().any(|name| home.join(name).try_exists().unwrap_or(true))
}

impl Keys {
    /// Of a listing (GnuPG's doc/DETAILS): a key, its fingerprint, the next key. Of a secret part that is not there the 15th
    /// field says nothing, or `#`.
    fn read(listing: &str) -> Self {
        let (mut keys, mut first, mut begins, mut is_secret) = (Self::default(), String::new(), false, false);
        for line in listing.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let field = |number: usize| fields.get(number - 1).copied().unwrap_or_default();
            match field(1) {
                kind @ ("pub" | "sub") => {
                    begins = kind == "pub";
                    is_secret = !matches!(field(15), "" | "#");
                }
                "fpr" => {
                    let print = field(10).to_owned();
                    if std::mem::take(&mut begins) {
                        first.clone_from(&print);
                    }
                    let prints = [print, first.clone()];
                    if is_secret {
                        keys.secret.push(prints.clone());
                    }
                    keys.all.push(prints);
                }
                _ => {}
            }
        }
        keys
    }

    /// Whether any packet can be opened.
    pub(crate) fn can_open(&self) -> bool {
        !self.secret.is_empty()
    }

    /// Whether a secret key is the one of this id, or its owner's.
    pub(crate) fn can_open_as(&self, id: &str) -> bool {
        let named = Signers { ids: vec![id.to_owned()], ..Signers::default() };
        self.secret.iter().any(|[key, owner]| named.have([key, owner]))
    }

    /// Who is named, if no key is theirs.
    pub(crate) fn without(&self, signers: &Signers) -> Option<String> {
        let is_there = self.all.iter().any(|[key, owner]| signers.have([key, owner]));
        (!is_there).then(|| [signers.fingerprints.as_slice(), &signers.ids].concat().join(", "))
    }

    /// What gpg said, where there are fewer than there should be.
    pub(crate) fn why_so_few(&self) -> String {
        self.words.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, owner: &str) -> Prints {
        [key.to_owned(), owner.to_owned()]
    }

    /// What GnuPG 2.2.40 prints, shortened: an owner with a secret key whose first one is elsewhere, and one without.
    #[test]
    fn a_listing_gives_each_key_with_its_owners_first_and_whether_it_is_secret() {
        let listing = "tru:t:0:0:0:0:0:0\npub:-:3072:1:AA:1:2::-:::scESC::::::23::0:\nfpr:::::::::AAAA:\ngrp:::::::::FF:\n\
                       uid:-::::1::X::a <a@x>:\nsub:-:3072:1:BB:1::::::e:::+:::23:\nfpr:::::::::BBBB:\n\
                       pub:-:2048:1:CC:1:2::-:::scSC:::#:::23::0:\nfpr:::::::::CCCC:\n\
                       pub:-:2048:1:DD:1:2::-:::scSC:::D2760001:::23::0:\nfpr:::::::::DDDD:\nsub:-:1:1:EE:1:\nfpr:::::::::EEEE:\n";
        let keys = Keys::read(listing);
        let all = ["AAAA AAAA", "BBBB AAAA", "CCCC CCCC", "DDDD DDDD", "EEEE DDDD"];
        assert_eq!(
            keys.all,
            all.map(|both| both.split_once(' ').map(|(key, owner)| pair(key, owner)).unwrap())
        );
        assert_eq!(keys.secret, [pair("BBBB", "AAAA"), pair("DDDD", "DDDD")]);
        assert!(Keys::read("gpg: nonsense\nfpr").secret.is_empty());
    }

    #[test]
    fn a_client_is_missed_when_no_key_is_any_of_its_signers() {
        let (key, owner) = ("A".repeat(40), "B".repeat(40));
        let known = Keys { all: vec![[key.clone(), owner.clone()]], ..Keys::default() };
        let named = |ids: &[&str], fingerprints: &[&String]| Signers {
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
            fingerprints: fingerprints.iter().map(|&print| print.clone()).collect(),
            ..Signers::default()
        };
        let nobody = "C".repeat(40);
        assert_eq!(known.without(&named(&[], &[&nobody, &owner])), None);
        assert_eq!(known.without(&named(&["AAAAAAAA"], &[])), None);
        assert_eq!(known.without(&named(&["CCCCCCCC"], &[&key])), Some(format!("{key}, CCCCCCCC")));
        assert_eq!(known.without(&named(&[], &[&nobody])), Some(nobody));
        assert_eq!(Keys::default().without(&named(&[], &[&key])), Some(key));
    }

    #[test]
    fn a_packet_is_opened_by_a_secret_key_only() {
        let both = ["A".repeat(40), "B".repeat(40)];
        let public = Keys { all: vec![both.clone()], ..Keys::default() };
        let secret = Keys { secret: vec![both.clone()], ..Keys::default() };
        assert!(!public.can_open() && !public.can_open_as("AAAAAAAA"));
        assert!(secret.can_open() && secret.can_open_as("AAAAAAAA") && secret.can_open_as("BBBBBBBB"));
        assert!(!secret.can_open_as("CCCCCCCC") && !secret.can_open_as("AAAA"));
    }
}
