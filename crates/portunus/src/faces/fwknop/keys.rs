//! Where the keys come from: named, in a file by server, from a descriptor, or typed at the terminal.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use portunus_config::odd_bytes;
use portunus_dialect::fwknop::gpg::HmacKey;
use portunus_dialect::fwknop::{HashType, Keys, KeysError, Mode};
use portunus_sys::files::{self, FileError, Secrecy};
use zeroize::Zeroizing;

use super::NAME;
use super::line::Task;
use super::settings::{KeyWish, Settings};
use super::values::KeyBytes;
use crate::say::{Failure, remark};

/// What makes the packet.
///
/// # Errors
/// A key is missing, or cannot be one.
pub(super) fn keys(settings: &Settings, task: &Task) -> Result<Keys, Failure> {
    let mut from = Source::default();
    let key = one(&settings.key, settings, task, &mut from, "Enter encryption key: ")?;
    let hmac = match settings.wants_hmac() {
        true => Some(one(&settings.hmac, settings, task, &mut from, "Enter HMAC key: ")?),
        false => None,
    };
    if settings.mode == Mode::Legacy && key.len() > portunus_dialect::fwknop::LEGACY_KEY {
        remark(
            NAME,
            "legacy mode uses the first 16 bytes of the key only: upgrade the server, and leave -M out",
        );
    }
    let hmac = hmac.as_ref().map(|hmac| (settings.hmac_type.unwrap_or_default(), hmac.as_slice()));
    Keys::new(&key, settings.mode, hmac).map_err(refused)
}

/// What a packet of GnuPG's needs besides gpg's own keyring.
pub(super) struct GpgSecrets {
    /// The signer's passphrase, where one is needed.
    pub(super) passphrase: Option<KeyBytes>,
    /// The HMAC and its key, worked in.
    pub(super) hmac: Option<(HashType, HmacKey)>,
}

/// The same for packets that GnuPG seals.
///
/// # Errors
/// As [`keys`].
pub(super) fn gpg_secrets(settings: &Settings, task: &Task) -> Result<GpgSecrets, Failure> {
    let mut from = Source::default();
    let gpg = &settings.gpg;
    let asks = gpg.signer.is_some() && !gpg.no_passphrase && !gpg.agent;
    let passphrase = match asks {
        true => {
            let wish = KeyWish {
                plain: gpg.passphrase.named().cloned(),
                decoded: None,
                file: settings.key.file.clone(),
            };
            Some(one(&wish, settings, task, &mut from, SIGNING)?)
        }
        false => None,
    };
    let hmac = match settings.wants_hmac() {
        true => {
            let key = one(&settings.hmac, settings, task, &mut from, "Enter HMAC key: ")?;
            let hash = settings.hmac_type.unwrap_or_default();
            let worked_in = HmacKey::new(hash, &key).map_err(|error| {
                Failure::new(
                    format_args!("Invalid hmac key length: {error}"),
                    "",
                    "fwknop --key-gen makes one",
                )
            })?;
            Some((hash, worked_in))
        }
        false => None,
    };
    Ok(GpgSecrets { passphrase, hmac })
}

fn refused(error: KeysError) -> Failure {
    let (what, mend) = match error {
        KeysError::Empty | KeysError::TooLong(_) | KeysError::LegacyTooLong(_) => {
            (format!("Invalid key length: {error}"), "fwknop --key-gen makes one")
        }
        KeysError::HmacEmpty | KeysError::HmacTooLong(_) => {
            (format!("Invalid hmac key length: {error}"), "fwknop --key-gen makes one")
        }
        KeysError::Equal => {
            let what = "The encryption passphrase and HMAC key should not be identical, so nothing was sent";
            (what.to_owned(), "fwknop --key-gen makes two")
        }
        KeysError::LegacyWithHmac => (error.to_string(), ""),
        KeysError::Library(_) => (error.to_string(), "try again"),
    };
    Failure::new(what, "", mend)
}

/// The descriptor that keys are read from, opened once: it has a line for each.
#[derive(Default)]
struct Source(Option<File>);

impl Source {
    /// One line, byte by byte, so that the next line stays for the next key.
    fn line(&mut self, number: i32) -> Result<KeyBytes, Failure> {
        let bad = |error: std::io::Error| {
            let what = format!("the key was not read: Bad file descriptor {number} ({error})");
            Failure::new(what, "", "open it for reading before fwknop starts")
        };
        let file = match &mut self.0 {
            Some(file) => file,
            none => none.insert(File::from(portunus_sys::process::inherited(number).map_err(bad)?)),
        };
        let mut key = Zeroizing::new(Vec::with_capacity(LONGEST_LINE));
        let mut byte = [0];
        while key.len() < LONGEST_LINE && file.read(&mut byte).map_err(bad)? == 1 && byte != *b"\n" {
            key.extend_from_slice(&byte);
        }
        Ok(key)
    }
}

/// Longer than any key, so that one that is too long is told from one that fits.
const LONGEST_LINE: usize = 1024;

fn one(
    wish: &KeyWish,
    settings: &Settings,
    task: &Task,
    from: &mut Source,
    question: &str,
) -> Result<KeyBytes, Failure> {
    if let Some(key) = wish.named() {
        return Ok(key.clone());
    }
    if let Some(file) = &wish.file {
        return of_file(file, settings.server.as_deref().unwrap_or_default());
    }
    if let Some(number) = task.key_fd {
        return from.line(number);
    }
    let typed = rpassword::prompt_password(question).map(Zeroizing::new);
    let typed = typed.map_err(|error| {
        let (what, mend) = unasked(question);
        Failure::new(format_args!("no {what}, and no terminal to ask for it ({error})"), "", mend)
    })?;
    Ok(Zeroizing::new(typed.as_bytes().to_vec()))
}

/// The question for a passphrase that is no key of fwknop's.
const SIGNING: &str = "Enter passphrase for signing: ";

/// What is missing where nobody can be asked, and the mend.
fn unasked(question: &str) -> (&'static str, &'static str) {
    if question == SIGNING {
        let mend = "write GPG_SIGNING_PW into ~/.fwknoprc, or give it by --stdin or --fd; --gpg-agent has the agent ask, and \
                    --gpg-no-signing-pw is for a key without one";
        return ("passphrase of the signing key", mend);
    }
    ("key", "name one in ~/.fwknoprc, or by --get-key, --stdin or --fd")
}

/// The key of `server` in a file with a `SERVER: KEY` a line; the key is all that follows the blanks.
fn of_file(path: &Path, server: &str) -> Result<KeyBytes, Failure> {
    let bytes = match files::read_bytes(path, Secrecy::Secret) {
        Err(error @ (FileError::TooOpen { .. } | FileError::Foreign { .. })) => {
            remark(NAME, error);
            files::read_bytes(path, Secrecy::Public)
        }
        other => other,
    };
    let bytes =
        bytes.map_err(|error| Failure::new(format_args!("Could not open key file: {error}"), "", ""))?;
    let text = odd_bytes::to_text(&Zeroizing::new(bytes));
    let found = text.lines().find_map(|line| {
        let (host, key) = line.split_once(':').filter(|_| !server.contains(':')).or_else(|| {
            // An IPv6 address has colons of its own.
            line.strip_prefix(server)?.split_once(':').map(|(_, key)| (server, key))
        })?;
        (host == server && !server.is_empty()).then(|| key.trim_start())
    });
    let key = found.filter(|key| !key.is_empty()).ok_or_else(|| {
        let what = format!("Could not get key for IP: {server} from: {}", path.display());
        Failure::new(
            what,
            "",
            "the file has a line for each server: its name as after -D, a colon, a blank, the key",
        )
    })?;
    Ok(odd_bytes::to_bytes(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, server: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        files::create(&path, text.as_bytes(), 0o600).unwrap();
        let key = of_file(&path, server).map_err(|failure| failure.to_string())?;
        Ok(String::from_utf8(key.to_vec()).unwrap())
    }

    const FILE: &str = "#10.0.0.9: no\n10.0.0.1: my key ; x\n10.0.0.2:\ttwo\n2001:db8::1: six\n10.0.0.3\n";

    #[test]
    fn what_nobody_can_be_asked_for_is_named() {
        let (what, mend) = unasked(SIGNING);
        assert!(
            what.contains("signing key") && mend.contains("GPG_SIGNING_PW") && mend.contains("--gpg-agent")
        );
        assert_eq!(unasked("Enter HMAC key: ").0, "key");
    }

    #[test]
    fn each_server_has_its_line() {
        assert_eq!(of(FILE, "10.0.0.1").as_deref(), Ok("my key ; x"));
        assert_eq!(of(FILE, "10.0.0.2").as_deref(), Ok("two"));
        assert_eq!(of(FILE, "2001:db8::1").as_deref(), Ok("six"));
        for missing in ["10.0.0.3", "10.0.0.9", "", "#10.0.0.9"] {
            let found = of(FILE, missing);
            assert!(
                missing.starts_with('#') || found.unwrap_err().contains("Could not get key"),
                "{missing}"
            );
        }
    }
}
