//! What commands leave for the daemon, which alone writes the store of chains: a file each in a folder of its own, one line.
//!
//! ```text
//! door PUBLIC DAY VALUE
//! link PUBLIC DAY VALUE
//! gone PUBLIC
//! ```
//!
//! Keys and values are base64, the day is counted from 1970-01-01.

use portunus_crypto::{Secret, text};
use zeroize::Zeroizing;

/// The folder's name, in the state folder.
pub const FOLDER: &str = "chains.new";
/// The store's name there.
pub const STORE: &str = "chains";

/// What is handed over.
#[derive(PartialEq, Eq)]
pub enum Handover {
    /// A new door's chain.
    Door(NewChain),
    /// A new client's link.
    Link(NewChain),
    /// Everything of this public key is to be gone.
    Gone([u8; 32]),
}

/// A chain that begins.
#[derive(PartialEq, Eq)]
pub struct NewChain {
    /// Whose: a public key.
    pub public: [u8; 32],
    /// The first day that there is a value for.
    pub day: u32,
    /// That day's value.
    pub value: Secret<32>,
}

/// The line is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no chain that was handed over: a command was cut off while it wrote it")]
pub struct NoHandover;

impl Handover {
    /// The line of a file.
    #[must_use]
    pub fn line(&self) -> Zeroizing<String> {
        let (word, new) = match self {
            Self::Gone(public) => return Zeroizing::new(format!("gone {}\n", text::encode(public))),
            Self::Door(new) => ("door", new),
            Self::Link(new) => ("link", new),
        };
        let mut line = Zeroizing::new(String::with_capacity(128));
        line.push_str(&format!("{word} {} {} ", text::encode(&new.public), new.day));
        line.push_str(&new.value.to_base64());
        line.push('\n');
        line
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`NoHandover`].
    pub fn parse(line: &str) -> Result<Self, NoHandover> {
        // Without its end it may have been cut in a way that still reads.
        let line = line.strip_suffix('\n').ok_or(NoHandover)?;
        let mut words = line.split(' ');
        let mut next = || words.next().ok_or(NoHandover);
        let (word, public) = (next()?, text::decode(next()?).map_err(|_| NoHandover)?);
        let mut new = || {
            let day = next()?.parse().map_err(|_| NoHandover)?;
            let value = Secret::from_base64(next()?).map_err(|_| NoHandover)?;
            Ok(NewChain { public, day, value })
        };
        let handover = match word {
            "door" => Self::Door(new()?),
            "link" => Self::Link(new()?),
            "gone" => Self::Gone(public),
            _ => return Err(NoHandover),
        };
        if words.next().is_some() { Err(NoHandover) } else { Ok(handover) }
    }

    /// The public key that it is about.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        match self {
            Self::Door(new) | Self::Link(new) => &new.public,
            Self::Gone(public) => public,
        }
    }

    /// A name for its file that no other one has: what it is, and a part of the key.
    #[must_use]
    pub fn file_name(&self) -> String {
        let word = match self {
            Self::Door(_) => "door",
            Self::Link(_) => "link",
            Self::Gone(_) => "gone",
        };
        let hex: String = self.public().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{word}-{hex}")
    }
}

impl std::fmt::Debug for Handover {
    /// Never a value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [Handover; 3] {
        let new = |n| NewChain { public: [n; 32], day: 20_783, value: Secret::from_bytes([n + 1; 32]) };
        [Handover::Door(new(1)), Handover::Link(new(3)), Handover::Gone([5; 32])]
    }

    #[test]
    fn reads_what_it_writes_and_nothing_that_is_cut() {
        for handover in all() {
            let line = handover.line();
            assert_eq!(Handover::parse(&line), Ok(handover));
            for cut in 0..line.len() {
                assert_eq!(Handover::parse(&line[..cut]), Err(NoHandover), "{cut}");
            }
            assert_eq!(Handover::parse(&format!("{} more\n", line.trim_end())), Err(NoHandover));
        }
        for wrong in ["\n", "door\n", "link x 1 y\n", "key AAAA\n", "gone \n"] {
            assert_eq!(Handover::parse(wrong), Err(NoHandover), "{wrong}");
        }
    }

    #[test]
    fn no_two_have_one_name_and_none_shows_its_value() {
        let mut names: Vec<String> = all().iter().map(Handover::file_name).collect();
        assert!(format!("{:?}", all()).contains("link-03030303"));
        names.dedup();
        assert_eq!(names.len(), 3);
    }
}
