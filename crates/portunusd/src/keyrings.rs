//! GnuPG's keyrings, looked at before anybody knocks: for `portunus check` and `fwknopd --exit-parse-config`. The daemon starts
//! all the same where only a client's part of it is wrong, as the original does.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use portunus_config::Settings;
use portunus_dialect::fwknop::gpg::{RawGpg, Ring, Signers};
use portunus_sys::users;

use crate::keeper;

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

/// All that keeps gpg, or a client with keys of GnuPG's, from ever opening a packet.
#[must_use]
pub fn look(settings: &Settings) -> Vec<Trouble> {
    let all = &settings.secrets.gpg;
    if let Some(trouble) = unusable(all) {
        return vec![trouble];
    }
    if let Err(error) = keeper::keyring_owner(settings) {
        return vec![trouble(error.to_string(), Path::new(""), "")];
    }
    let mut found = BTreeSet::new();
    for keys in all {
        if let Err(trouble) = look_at(keys) {
            found.insert(trouble);
        }
    }
    found.into_iter().collect()
}

/// A folder or a program that is not there, or not so that it can be used.
fn unusable(all: &[RawGpg]) -> Option<Trouble> {
    all.iter().map(RawGpg::ring).find_map(|ring| {
        let (home, program) = (ring.home(), ring.program());
        match std::fs::metadata(home) {
            Ok(meta) if meta.mode() & 0o077 != 0 => {
                let mend = format!("chmod -R go= {}", home.display());
                Some(trouble("others than its owner can get into the keyring", home, mend))
            }
            Ok(_) if !is_program(program) => {
                let mend = "install the package gpg, or name the program with gpg_program (GPG_EXE)";
                Some(trouble("gpg is not there, or cannot be executed", program, mend))
            }
            Ok(_) => None,
            Err(error) => {
                let mend = "make it, or name another folder with gpg_home (GPG_HOME_DIR)";
                Some(trouble(format!("the keyring cannot be looked at ({error})"), home, mend))
            }
        }
    })
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn look_at(keys: &RawGpg) -> Result<(), Trouble> {
    let (ring, home) = (keys.ring(), keys.ring().home());
    let secret = prints(&list(ring, &["--list-secret-keys"])?);
    if secret.is_empty() {
        let mend = "make one, gpg --homedir FOLDER --full-generate-key, or name another folder with gpg_home (GPG_HOME_DIR)";
        return Err(trouble(
            "the keyring has no secret key, so no packet of GnuPG's can be opened",
            home,
            mend,
        ));
    }
    let mend = "gpg --homedir FOLDER --list-secret-keys shows what is there";
    if let Some(id) = keys.decrypts()
        && !secret.iter().any(|print| is_named(id, print))
    {
        let what =
            format!("no secret key of the keyring is {id} (GPG_DECRYPT_ID), so nothing ever comes in by it");
        return Err(trouble(what, home, mend));
    }
    if let Some(name) = keys.decrypts_by_name()
        && list(ring, &["--list-secret-keys", "--", name]).is_err()
    {
        let what = format!("no secret key of the keyring is {name:?}'s (GPG_DECRYPT_ID)");
        return Err(trouble(what, home, mend));
    }
    let signers = keys.signers();
    if !signers.required {
        return Ok(());
    }
    let known = prints(&list(ring, &["--list-keys"])?);
    if known.iter().any(|[key, owner]| signers.have([key, owner])) {
        return Ok(());
    }
    let named = [signers.fingerprints.as_slice(), &signers.ids].concat().join(", ");
    let what = format!(
        "no key of the keyring is {named} (GPG_FINGERPRINT_ID, GPG_REMOTE_ID), so nobody ever comes in by it"
    );
    let mend = "gpg --homedir FOLDER --import the client's public key, and --lsign-key it; --list-keys shows what is there";
    Err(trouble(what, home, mend))
}

/// Whether an id of a key is of one of its two fingerprints.
fn is_named(id: &str, [key, owner]: &[String; 2]) -> bool {
    Signers { ids: vec![id.to_owned()], ..Signers::default() }.have([key, owner])
}

/// What gpg lists, asked as the keyring's owner: in another user's folder root would leave files of its own.
fn list(ring: &Ring, what: &[&str]) -> Result<String, Trouble> {
    let home = ring.home();
    let mut command = Command::new(ring.program());
    command.arg("--homedir").arg(home).args(["--batch", "--no-tty", "--with-colons", "--lock-never"]);
    command.args(["--no-auto-check-trustdb", "--disable-dirmngr"]).args(what);
    command.env_clear().env("LC_ALL", "C").env("HOME", home).current_dir("/");
    command.env("PATH", std::env::var_os("PATH").as_deref().unwrap_or(OsStr::new("/usr/bin:/bin")));
    command.stdin(Stdio::null());
    if users::effective_uid() == 0
        && let Ok(meta) = std::fs::metadata(home)
    {
        command.uid(meta.uid()).gid(meta.gid());
    }
    let mend =
        "look at the folder as its owner: gpg --homedir FOLDER --list-secret-keys; GPG_EXE names the program";
    let said = |out: &Output| {
        let words = String::from_utf8_lossy(&out.stderr).into_owned();
        let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let all = if lines.is_empty() { out.status.to_string() } else { lines.join("; ") };
        all.chars().filter(|c| !c.is_control()).take(400).collect::<String>()
    };
    match command.output() {
        Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        Ok(out) => Err(trouble(format!("gpg cannot use the keyring ({})", said(&out)), home, mend)),
        Err(error) => Err(trouble(format!("gpg cannot be run ({error})"), ring.program(), mend)),
    }
}

/// The fingerprints of a listing (GnuPG's doc/DETAILS), each with that of its owner's first key.
pub(crate) fn prints(listing: &str) -> Vec<[String; 2]> {
    let (mut all, mut first, mut begins): (Vec<[String; 2]>, String, bool) =
        (Vec::new(), String::new(), false);
    for line in listing.lines() {
        let mut fields = line.split(':');
        match fields.next() {
            Some("pub" | "sec") => begins = true,
            Some("fpr") => {
                let print = fields.nth(8).unwrap_or_default().to_owned();
                if std::mem::take(&mut begins) {
                    first.clone_from(&print);
                }
                all.push([print, first.clone()]);
            }
            _ => {}
        }
    }
    all
}

fn trouble(what: impl Into<String>, place: &Path, mend: impl Into<String>) -> Trouble {
    Trouble { what: what.into(), place: place.to_owned(), mend: mend.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_gives_each_key_with_its_owners_first() {
        let listing = "tru::1:1:0:3:1:5\npub:f:2048:1:AA:1:::-:::scESC::::::23::0:\nfpr:::::::::AAAA:\nuid:f::::1::X::a <a@x>:\n\
                       sub:f:2048:1:BB:1::::::e::::::23:\nfpr:::::::::BBBB:\nsec:u:2048:1:CC:1\nfpr:::::::::CCCC:\n";
        let pair = |key: &str, owner: &str| [key.to_owned(), owner.to_owned()];
        assert_eq!(prints(listing), [pair("AAAA", "AAAA"), pair("BBBB", "AAAA"), pair("CCCC", "CCCC")]);
        assert!(prints("gpg: nonsense").is_empty());
    }
}
