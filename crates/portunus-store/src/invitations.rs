//! Invitations, as files that hand them from commands to the daemon and back: in the state folder, one line each.
//!
//! ```text
//! invitations/ID             invitation SECRET UNTIL confirm|free NAME     by `portunus invite`
//! invitations/ID.taken       taken PUBLIC DAY LINK                         by the daemon: who came first
//! invitations/ID.confirmed   confirmed PUBLIC                              by `portunus confirm`
//! enrolled/ID                PUBLIC                                        by the daemon: it is a client
//! ```
//!
//! Keys and values are base64, times are Unix seconds, days are counted from 1970-01-01. ID is drawn anew for each invitation
//! and stands in its client's file (`public_key_file`), so what was left of one that was taken back is nobody's.

use std::path::{Path, PathBuf};

use portunus_crypto::{Secret, text};
use portunus_model::{ClientName, Unix};
use zeroize::Zeroizing;

/// So many can be out at once: each is tried with a packet that comes to their door.
pub const MOST: usize = 16;
/// The folder's name, in the state folder.
pub const FOLDER: &str = "invitations";
/// The folder of the keys of those who came, in the state folder.
pub const ENROLLED: &str = "enrolled";

const TAKEN: &str = ".taken";
const CONFIRMED: &str = ".confirmed";

/// Somebody is invited.
#[derive(PartialEq, Eq)]
pub struct Invitation {
    /// What the client will be called.
    pub name: ClientName,
    /// What proves that a packet is by who was invited.
    pub secret: Secret<32>,
    /// Until then.
    pub until: Unix,
    /// Whether the administrator confirms the key.
    pub confirm: bool,
}

/// Who came first.
#[derive(PartialEq, Eq)]
pub struct TakenBy {
    /// Its public key.
    pub public: [u8; 32],
    /// The day on which its link begins,
    pub day: u32,
    /// and that day's value.
    pub link: Secret<32>,
}

/// The line is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no invitation, nor a part of one: a command was cut off while it wrote it")]
pub struct NoInvitation;

impl Invitation {
    /// The line of its file.
    #[must_use]
    pub fn line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(256));
        line.push_str("invitation ");
        line.push_str(&self.secret.to_base64());
        let word = if self.confirm { "confirm" } else { "free" };
        line.push_str(&format!(" {} {word} {}\n", self.until.as_secs(), self.name));
        line
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`NoInvitation`].
    pub fn parse(line: &str) -> Result<Self, NoInvitation> {
        // A name may have blanks in it, so it comes last.
        let [secret, until, word, name] = words(line, "invitation")?;
        let secret = Secret::from_base64(secret).map_err(|_| NoInvitation)?;
        let until = until.parse().map(Unix::from_secs).map_err(|_| NoInvitation)?;
        let confirm = match word {
            "confirm" => true,
            "free" => false,
            _ => return Err(NoInvitation),
        };
        let name = ClientName::new(name).map_err(|_| NoInvitation)?;
        Ok(Self { name, secret, until, confirm })
    }
}

impl TakenBy {
    /// The line of its file.
    #[must_use]
    pub fn line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(128));
        line.push_str(&format!("taken {} {} ", text::encode(&self.public), self.day));
        line.push_str(&self.link.to_base64());
        line.push('\n');
        line
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`NoInvitation`].
    pub fn parse(line: &str) -> Result<Self, NoInvitation> {
        let [public, day, link] = words(line, "taken")?;
        let public = text::decode(public).map_err(|_| NoInvitation)?;
        let day = day.parse().map_err(|_| NoInvitation)?;
        let link = Secret::from_base64(link).map_err(|_| NoInvitation)?;
        Ok(Self { public, day, link })
    }
}

/// The line of a confirmation.
#[must_use]
pub fn confirmation(public: &[u8; 32]) -> String {
    format!("confirmed {}\n", text::encode(public))
}

/// The key that is confirmed.
///
/// # Errors
/// [`NoInvitation`].
pub fn confirmed(line: &str) -> Result<[u8; 32], NoInvitation> {
    let [public] = words(line, "confirmed")?;
    text::decode(public).map_err(|_| NoInvitation)
}

fn words<'a, const N: usize>(line: &'a str, first: &str) -> Result<[&'a str; N], NoInvitation> {
    // Without its end it may have been cut in a way that still reads.
    let line = line.strip_suffix('\n').ok_or(NoInvitation)?;
    let rest = line.strip_prefix(first).and_then(|rest| rest.strip_prefix(' ')).ok_or(NoInvitation)?;
    let words: Vec<&str> = rest.splitn(N, ' ').collect();
    words.try_into().map_err(|_| NoInvitation)
}

/// The files of one invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    state: PathBuf,
    id: String,
}

impl Place {
    /// Of one that is drawn: 8 random bytes.
    #[must_use]
    pub fn new(state: &Path, id: [u8; 8]) -> Self {
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { state: state.to_owned(), id }
    }

    /// Of the invitation whose client's key is to lie in `key_file`; `None`: that is a file of somebody else's.
    #[must_use]
    pub fn of_key_file(state: &Path, key_file: &Path) -> Option<Self> {
        let place = Self { state: state.to_owned(), id: id_of(key_file)? };
        (place.enrolled() == key_file).then_some(place)
    }

    /// The file of the invitation, of which there is one for each that is out.
    #[must_use]
    pub fn invitation(&self) -> PathBuf {
        self.state.join(FOLDER).join(&self.id)
    }

    /// Who came first.
    #[must_use]
    pub fn taken(&self) -> PathBuf {
        self.state.join(FOLDER).join(format!("{}{TAKEN}", self.id))
    }

    /// Whom the administrator has confirmed.
    #[must_use]
    pub fn confirmed(&self) -> PathBuf {
        self.state.join(FOLDER).join(format!("{}{CONFIRMED}", self.id))
    }

    /// Whose key it is, for the client's file.
    #[must_use]
    pub fn enrolled(&self) -> PathBuf {
        self.state.join(ENROLLED).join(&self.id)
    }
}

fn id_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (name.len() == 16 && name.bytes().all(hex)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(name: &str) -> Invitation {
        let until = Unix::from_secs(1_790_000_000);
        Invitation {
            name: ClientName::new(name).unwrap(),
            secret: Secret::from_bytes([7; 32]),
            until,
            confirm: true,
        }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_that_is_cut() {
        for name in ["alice", "alice of the house"] {
            let line = invitation(name).line();
            assert!(Invitation::parse(&line) == Ok(invitation(name)));
            for cut in 0..line.len() {
                assert!(Invitation::parse(&line[..cut]) == Err(NoInvitation), "{cut}");
            }
        }
        let taken = || TakenBy { public: [3; 32], day: 20_783, link: Secret::from_bytes([9; 32]) };
        let line = taken().line();
        assert!(TakenBy::parse(&line) == Ok(taken()));
        assert!((0..line.len()).all(|cut| TakenBy::parse(&line[..cut]) == Err(NoInvitation)));
        let line = confirmation(&[5; 32]);
        assert_eq!(confirmed(&line), Ok([5; 32]));
        assert!((0..line.len()).all(|cut| confirmed(&line[..cut]) == Err(NoInvitation)));
        for wrong in
            ["\n", "invitation\n", "invitation a b c d\n", "taken x 1 y\n", "confirmed \n", "confirmed a b\n"]
        {
            assert!(Invitation::parse(wrong) == Err(NoInvitation), "{wrong}");
            assert!(TakenBy::parse(wrong) == Err(NoInvitation), "{wrong}");
            assert_eq!(confirmed(wrong), Err(NoInvitation), "{wrong}");
        }
    }

    #[test]
    fn a_clients_file_names_its_invitation_and_no_others() {
        let state = Path::new("/var/lib/portunus");
        let place = Place::new(state, [0xab, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(place.enrolled(), Path::new("/var/lib/portunus/enrolled/ab01020304050607"));
        assert_eq!(Place::of_key_file(state, &place.enrolled()), Some(place.clone()));
        for other in [
            "/var/lib/portunus/enrolled/alice",
            "/tmp/ab01020304050607",
            "/var/lib/portunus/enrolled/AB01020304050607",
        ] {
            assert_eq!(Place::of_key_file(state, Path::new(other)), None, "{other}");
        }
        let names = [place.invitation(), place.taken(), place.confirmed()];
        assert!(names.iter().all(|name| name.parent() == Some(&state.join(FOLDER))));
    }
}
