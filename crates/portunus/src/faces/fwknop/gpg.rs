//! A packet that the user's own gpg seals.

use std::path::Path;

use portunus_client::gpg::{Gpg, GpgError, Opens, Signer};
use portunus_crypto::SystemEntropy;
use portunus_dialect::fwknop::gpg::wrap;
use portunus_dialect::fwknop::{Fields, Wish, encode};
use portunus_model::Unix;

use super::keys::{self, GpgSecrets};
use super::line::Task;
use super::settings::Settings;
use super::{NAME, wish};
use crate::say::{Done, Failure, out, remark};

/// What is wrong with the wish for it, before anything is asked or run.
///
/// # Errors
/// A key or a folder is missing.
pub(super) fn check(settings: &Settings) -> Done {
    let gpg = &settings.gpg;
    if gpg.recipient.is_none() {
        if settings.asymmetric {
            let what = "Must specify GPG recipient/signing keys when Asymmetric encryption mode is used";
            return Err(Failure::new(what, "", "name one by --gpg-recipient-key"));
        }
        let what = "Must specify --gpg-recipient-key when GPG is used";
        return Err(Failure::new(what, "", "name one, or leave all --gpg flags out"));
    }
    let is_there = |path: &Path, dir: bool| if dir { path.is_dir() } else { path.is_file() };
    if let Some(dir) = gpg.home_dir.as_deref().filter(|dir| !is_there(dir, true)) {
        let what = "Unable to stat the GPG home directory";
        return Err(Failure::file(what, dir, "name a folder that is there"));
    }
    if let Some(exe) = gpg.exe.as_deref().filter(|exe| !is_there(exe, false)) {
        let what = "Unable to stat the GPG executable";
        return Err(Failure::file(what, exe, "name a program that is there"));
    }
    Ok(())
}

/// The packet.
///
/// # Errors
/// gpg refuses, or what it made cannot be sent.
pub(super) fn seal(settings: &Settings, task: &Task, wish: Wish, stamp: Unix) -> Result<String, Failure> {
    let GpgSecrets { passphrase, hmac } = keys::gpg_secrets(settings, task)?;
    let encoded = encode(wish, stamp, &mut SystemEntropy).map_err(wish::refused)?;
    let gpg = &settings.gpg;
    let opens = match passphrase {
        Some(passphrase) => Opens::Passphrase(passphrase),
        None if gpg.agent => Opens::Agent,
        None => Opens::Nothing,
    };
    let run = Gpg {
        program: gpg.exe.clone(),
        home: gpg.home_dir.clone(),
        recipient: gpg.recipient.clone().unwrap_or_default(),
        signer: gpg.signer.clone().map(|key| Signer { key, opens }),
    };
    let message = run.seal(encoded.text().as_bytes()).map_err(|error| {
        let mend = mend(&error, gpg.agent);
        Failure::new(format_args!("GPG: {error}"), "", mend)
    })?;
    let (hash, key) = hmac.map(|(hash, key)| (Some(hash), Some(key))).unwrap_or_default();
    let wrapped = wrap(&message, key.as_ref()).map_err(|error| Failure::new(error, "", ""))?;
    if gpg.signer.is_none() {
        remark(
            NAME,
            "the packet is not signed: a server takes it only where it says GPG_DISABLE_SIG; --gpg-signer-key names who signs",
        );
    }
    if wrapped.only_for_ours {
        remark(
            NAME,
            "only a server that is Portunus reads this packet: it is longer than fwknopd takes, or for an elliptic-curve key",
        );
    }
    if task.test || settings.verbose > 0 {
        out(Fields::wrapped(&encoded, &wrapped, hash));
    }
    Ok(wrapped.wire)
}

/// What to do about it.
const fn mend(error: &GpgError, agent: bool) -> &'static str {
    match error {
        GpgError::NotRun { .. } | GpgError::NotGpg { .. } => {
            "install the package gpg, or name the program with --gpg-exe"
        }
        GpgError::NoPassphrase(_) if agent => {
            "the agent could not ask for it: in a terminal say export GPG_TTY=$(tty); or leave --gpg-agent out, and fwknop asks"
        }
        GpgError::NoPassphrase(_) => {
            "leave --gpg-no-signing-pw out, and fwknop asks for it; --gpg-agent has the agent ask"
        }
        GpgError::BadPassphrase(_) => "type it again, or see what GPG_SIGNING_PW of ~/.fwknoprc says",
        GpgError::Refused(_) if agent => {
            "the agent may want export GPG_TTY=$(tty) to ask in a terminal; or leave --gpg-agent out, and fwknop asks"
        }
        GpgError::Signer { .. } | GpgError::Recipient { .. } | GpgError::Refused(_) => {
            "gpg --list-keys and --list-secret-keys show what is there; --gpg-home-dir names another keyring"
        }
    }
}
