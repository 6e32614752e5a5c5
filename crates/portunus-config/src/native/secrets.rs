//! The server's private keys: `keys/openme.key`, and the doors of the native dialect, `keys/native.key` and
//! `keys/native-NAME.key`.

use std::path::{Path, PathBuf};

use portunus_crypto::Secret;
use portunus_model::{Dialect, DoorRole};
use zeroize::Zeroizing;

use super::Paths;
use super::spoken::Spoken;
use crate::lower::Policy;
use crate::source::Findings;
use crate::{Diagnostic, DoorKey, FileError, Files, Secrecy, Secrets, keys};

/// So many doors stand at most: the current one, the next, and those of invitations (docs/protocol/native.md).
pub const MOST_DOORS: usize = 4;

/// Reads the keys of what is spoken, and tells `policy` their public halves.
pub(super) fn read(
    files: &dyn Files,
    paths: &Paths,
    spoken: &Spoken,
    policy: &mut Policy,
    findings: &mut Findings,
) -> Secrets {
    let mut secrets = Secrets::default();
    if spoken.names(Dialect::Openme) {
        let mend = "make it with `portunus init --host HOST`, or copy it from the old server";
        secrets.openme = key(files, &paths.openme_key(), mend, policy, findings);
    }
    if spoken.names(Dialect::Native) {
        let mend = "make it with `portunus init --force`, with the --host, --port and --dialects it had (every key and client \
                    stays, and the old file is kept as portunus.toml.old), or copy it from the old server";
        let secret = key(files, &paths.native_key(), mend, policy, findings);
        secrets.native.extend(secret.map(|secret| DoorKey { role: DoorRole::Current, secret }));
        for path in more_doors(files, paths, findings) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let role = DoorRole::of_file(name);
            let secret = key(files, &path, "", policy, findings);
            secrets.native.extend(secret.map(|secret| DoorKey { role, secret }));
        }
    }
    secrets
}

/// The doors besides the current one, in the order of their names.
fn more_doors(files: &dyn Files, paths: &Paths, findings: &mut Findings) -> Vec<PathBuf> {
    let dir = paths.keys_dir();
    let mut found = match files.list(&dir) {
        Ok(found) => found,
        // The current door's is not there either, which was said.
        Err(FileError::Missing) => return Vec::new(),
        Err(error) => {
            findings.push(error.at(&dir));
            return Vec::new();
        }
    };
    found.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".key"));
        name.and_then(|name| name.strip_prefix("native-")).is_some_and(|name| !name.is_empty())
    });
    found.sort_unstable();
    if let Some(first) = found.get(MOST_DOORS - 1) {
        let what = format!("there are {} doors, and {MOST_DOORS} can stand at once", found.len() + 1);
        findings.push(Diagnostic::of_file(
            first,
            what,
            "take away the keys of doors that nobody uses any more",
        ));
        found.truncate(MOST_DOORS - 1);
    }
    found
}

fn key(
    files: &dyn Files,
    path: &Path,
    mend: &str,
    policy: &mut Policy,
    findings: &mut Findings,
) -> Option<Secret<32>> {
    let text = match files.read(path, Secrecy::Secret) {
        Ok(text) => Zeroizing::new(text),
        // Gone between the listing and now.
        Err(FileError::Missing) if mend.is_empty() => return None,
        Err(FileError::Missing) => {
            findings.push(Diagnostic::of_file(path, "the server's private key is not there", mend));
            return None;
        }
        Err(error) => {
            findings.push(error.at(path));
            return None;
        }
    };
    let (secret, public) = match keys::server_private("the key", &text) {
        Ok(both) => both,
        Err(fault) => {
            let file = path.to_owned();
            findings.push(Diagnostic { file, line: 1, column: 1, what: fault.what, mend: fault.mend });
            return None;
        }
    };
    if policy.server_publics.contains(&public) {
        let mend = "take one of the two files away, and make a key of its own for what shall have one";
        findings.push(Diagnostic::of_file(path, "another of the server's keys is the same", mend));
        return None;
    }
    policy.server_publics.push(public);
    Some(secret)
}
