//! Marks: what stands for clients' keys in the journal of grants, so that a grant can be told to belong to a stanza whose
//! number has changed, and one whose key was exchanged while nobody ran can be closed.
//!
//! A plain hash of a weak passphrase could be guessed. So a mark is a MAC under a secret that never leaves this machine's
//! state folder, and that is made anew when it is lost: then the grants of stanzas are closed, and their clients knock again.

use std::path::Path;

use portunus_config::Settings;
use portunus_crypto::hash::HashType;
use portunus_crypto::hmac::MacKey;
use portunus_crypto::{Entropy, SystemEntropy};
use portunus_model::{Client, ClientKey, Mark};
use portunus_sys::files::{self, FileError, Secrecy};
use zeroize::Zeroizing;

use super::error::StartError;

/// The secret's file in the state folder.
const FILE: &str = "marks";
const LENGTH: usize = 32;
/// Before what is marked: what the secret is used for.
const START: &[u8] = b"portunus mark of a key";

/// Makes marks.
pub(super) struct Marks(MacKey);

impl Marks {
    /// Reads the secret, or makes one.
    pub(super) fn open(state_dir: &Path) -> Result<Self, StartError> {
        let path = state_dir.join(FILE);
        let secret = match files::read_bytes(&path, Secrecy::Secret).map(Zeroizing::new) {
            Ok(secret) if secret.len() == LENGTH => secret,
            Err(FileError::Missing(_)) => new_secret(&path)?,
            odd => {
                // Cut off, or readable for others: nothing that was marked with it counts.
                let why =
                    odd.err().map_or_else(|| "it has not its length".to_owned(), |error| error.to_string());
                tracing::warn!(
                    why,
                    "the secret in {} is made anew: stanzas' grants are closed",
                    path.display()
                );
                new_secret(&path)?
            }
        };
        let key = MacKey::new(HashType::Sha256, &secret, START);
        key.map(Self).map_err(|e| StartError::System("the secret of the marks", e.to_string()))
    }

    /// Gives every client its mark.
    pub(super) fn give(&self, settings: &mut Settings) {
        settings.rules.clients.iter_mut().for_each(|client| client.mark = self.of(client));
    }

    fn of(&self, client: &Client) -> Option<Mark> {
        let dialect = match client.key {
            ClientKey::Openme(_) => b'o',
            ClientKey::Fwknop(_) => b'f',
            ClientKey::Native(_) => b'n',
        };
        let mut text = vec![dialect];
        text.extend_from_slice(client.key.as_bytes());
        let tag = self.0.tag(&text);
        tag.as_bytes().first_chunk().copied().and_then(Mark::from_bytes)
    }
}

fn new_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, StartError> {
    let mut secret = Zeroizing::new(vec![0; LENGTH]);
    SystemEntropy.fill(&mut secret).map_err(|e| StartError::System("random bytes", e.to_string()))?;
    // What is in its place may be a folder, or others' to read: it goes.
    let _ = std::fs::remove_file(path);
    // A full disk is no reason to let nobody in.
    if let Err(error) = files::create(path, &secret, 0o600) {
        tracing::warn!(%error, "the secret of the marks cannot be kept: a later start closes the grants that this one gives");
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use portunus_model::{ClientName, KeyId};

    use super::*;

    fn client(key: ClientKey) -> Client {
        let name = ClientName::new("alice").unwrap();
        Client::new(name, key, Box::default(), std::time::Duration::from_secs(1))
    }

    fn marks(folder: &Path) -> [Option<Mark>; 3] {
        let marks = Marks::open(folder).unwrap();
        let keys =
            [ClientKey::Openme([7; 32]), ClientKey::Fwknop(KeyId([7; 32])), ClientKey::Openme([8; 32])];
        keys.map(|key| marks.of(&client(key)))
    }

    #[test]
    fn a_key_has_one_mark_for_as_long_as_the_secret_lives() {
        let folder = tempfile::tempdir().unwrap();
        let first = marks(folder.path());
        assert!(first[0].is_some() && first[0] != first[1] && first[0] != first[2] && first[1] != first[2]);
        assert_eq!(marks(folder.path()), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(marks(other.path()), first, "nobody can work a mark out without the secret");
    }

    #[test]
    fn a_secret_that_is_none_or_that_others_can_read_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let first = marks(folder.path());
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let second = marks(folder.path());
        assert_ne!(second, first);
        assert_eq!(mode(), 0o600);
        std::fs::write(&path, b"short").unwrap();
        assert_ne!(marks(folder.path()), second);
    }
}
