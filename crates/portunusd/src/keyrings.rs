//! GnuPG's keyrings, looked at before anybody knocks: for `portunus check` and `fwknopd --exit-parse-config`. The daemon starts
//! all the same where only a client's part of it is wrong, as the original does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_config::Settings;
use portunus_dialect::fwknop::gpg::RawGpg;

use crate::keeper;
use crate::oracle::{self, Gpg, Keys, RunError, Unlisted};

/// How long gpg may take to list its keys. Nobody waits at a door.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is wrong with one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// What.
    pub what: String,
    /// Where.
    pub place: PathBuf,
    /// What to do.
    pub mend: String,
}

impl Trouble {
    pub(crate) fn new(what: impl Into<String>, place: &Path, mend: impl Into<String>) -> Self {
        Self { what: what.into(), place: place.to_owned(), mend: mend.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place.display(), self.what, self.mend)
    }
}

impl std::error::Error for Trouble {}

/// As which user gpg will run, where there are keyrings.
///
/// # Errors
/// What is wrong with one, for which the daemon does not start.
pub fn user(settings: &Settings) -> Result<Option<u32>, Trouble> {
    Ok(keeper::keyring_owner(settings)?.map(|owner| owner.uid))
}

/// All that keeps gpg, or a client with keys of GnuPG's, from ever opening a packet. gpg is asked as the keyrings' owner, who was
/// found once: in another user's folder root would leave files of its own, and run programs that its settings name.
#[must_use]
pub fn look(settings: &Settings) -> Vec<Trouble> {
    let ids = match keeper::keyring_owner_to_look(settings) {
        Ok(owner) => keeper::becomes_owner(owner),
        Err(trouble) => return vec![trouble],
    };
    let (mut found, mut rings) = (BTreeSet::new(), BTreeMap::new());
    for keys in &settings.secrets.gpg {
        let gpg = Gpg { home: keys.ring().home(), program: keys.ring().program(), ids };
        let ring = rings.entry((gpg.home, gpg.program)).or_insert_with(|| Looked::at(&gpg));
        if let Err(trouble) = ring.judge(&gpg, keys) {
            found.insert(trouble);
        }
    }
    found.into_iter().collect()
}

/// What was learned of a keyring.
struct Looked<'k> {
    keys: Result<Keys, Trouble>,
    /// Whether a secret key is of this name.
    names: BTreeMap<&'k str, Result<bool, Trouble>>,
}

impl<'k> Looked<'k> {
    fn at(gpg: &Gpg<'_>) -> Self {
        let keys = if is_program(gpg.program) {
            oracle::keys_of(gpg, PATIENCE).map_err(|why| unlisted(gpg, &why))
        } else {
            let mend = "install the package gpg, or name the program with gpg_program (GPG_EXE)";
            Err(Trouble::new("gpg is not there, or cannot be executed", gpg.program, mend))
        };
        Self { keys, names: BTreeMap::new() }
    }

    /// Whether a packet for these keys can ever be opened.
    fn judge(&mut self, gpg: &Gpg<'_>, wanted: &'k RawGpg) -> Result<(), Trouble> {
        let keys = self.keys.as_ref().map_err(Clone::clone)?;
        if !keys.can_open() {
            let what = "the keyring has no secret key, so no packet of GnuPG's can be opened";
            let mend = "make one, gpg --homedir FOLDER --full-generate-key, or name another folder with gpg_home (GPG_HOME_DIR)";
            return Err(Trouble::new(what, gpg.home, mend));
        }
        let mend = "gpg --homedir FOLDER --list-secret-keys shows what is there";
        if let Some(id) = wanted.decrypts()
            && !keys.can_open_as(id)
        {
            let what = format!(
                "no secret key of the keyring is {id} (GPG_DECRYPT_ID), so nothing ever comes in by it"
            );
            return Err(Trouble::new(what, gpg.home, mend));
        }
        if let Some(name) = wanted.decrypts_by_name() {
            let asked = || oracle::has_secret_key_of(gpg, name, PATIENCE).map_err(|why| unlisted(gpg, &why));
            if !self.names.entry(name).or_insert_with(asked).clone()? {
                let what = format!("no secret key of the keyring is {name:?}'s (GPG_DECRYPT_ID)");
                return Err(Trouble::new(what, gpg.home, mend));
            }
        }
        let signers = wanted.signers();
        let Some(named) = keys.without(signers).filter(|_| signers.required) else { return Ok(()) };
        let what = format!(
            "no key of the keyring is {named} (GPG_FINGERPRINT_ID, GPG_REMOTE_ID), so nobody ever comes in by it"
        );
        let mend = "gpg --homedir FOLDER --import the client's public key, and --lsign-key it; --list-keys shows what is there";
        Err(Trouble::new(what, gpg.home, mend))
    }
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn unlisted(gpg: &Gpg<'_>, why: &Unlisted) -> Trouble {
    match why {
        Unlisted::NotRun(error @ RunError::NotRun(_)) => {
            let mend = "install the package gpg, or name the program with gpg_program (GPG_EXE)";
            Trouble::new(format!("gpg cannot be run ({error})"), gpg.program, mend)
        }
        Unlisted::NotRun(RunError::TooMuch) => {
            let mend = "give the server a keyring of its own, with its clients' keys and no others";
            Trouble::new("the keyring has more keys than are looked at", gpg.home, mend)
        }
        Unlisted::NotRun(error @ RunError::TooSlow(_)) => {
            let mend = "an agent that hangs is ended with: gpgconf --homedir FOLDER --kill gpg-agent";
            Trouble::new(format!("gpg does not list its keys ({error})"), gpg.home, mend)
        }
        Unlisted::NotRun(error @ RunError::Killed(_)) => {
            let mend = "the kernel's log may say by whom (out of memory?)";
            Trouble::new(format!("gpg does not list its keys ({error})"), gpg.home, mend)
        }
        Unlisted::Failed(words) => {
            let mend = "look at the folder as its owner: gpg --homedir FOLDER --list-secret-keys; GPG_EXE names the program";
            Trouble::new(format!("gpg cannot use the keyring ({words})"), gpg.home, mend)
        }
    }
}
