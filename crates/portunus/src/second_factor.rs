//! The one-time code of a second factor, asked for where the person is.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};

use portunus_config::profile::{Keys, Profile};
use portunus_crypto::{Entropy, SystemEntropy};
use portunus_dialect::native::Code;
use zeroize::Zeroizing;

use crate::say::{Failure, USAGE};

/// Nobody types a longer line than this for a code.
const LONGEST: usize = 64;

/// What standard input is, where there is no terminal to ask at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandardInput {
    /// Whoever runs this may give the code there.
    Ours,
    /// It is carried elsewhere, and no word of it is ours.
    AStream,
}

/// Whether a code is to be asked for: the profile needs one, or somebody said `--totp`.
pub(crate) fn needed(profile: &Profile, wanted: bool) -> bool {
    wanted
        || match &profile.keys {
            Keys::Openme { .. } => false,
            Keys::Native(keys) => keys.second_factor,
        }
}

/// A code, where [`needed`].
///
/// # Errors
/// Nobody is there to be asked, or what they typed is no code.
pub(crate) fn for_profile(
    profile: &Profile,
    wanted: bool,
    input: StandardInput,
) -> Result<Option<Code>, Failure> {
    if !needed(profile, wanted) {
        return Ok(None);
    }
    let mut attempt = [0; 8];
    SystemEntropy.fill(&mut attempt).map_err(|error| Failure::new(error, "", ""))?;
    Ok(Some(Code { value: read(&ask(&profile.name, input)?)?, attempt }))
}

/// From the terminal itself, since standard input may be somebody's stream; without one from standard input where it is not.
fn ask(name: &str, input: StandardInput) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            format_args!("the one-time code could not be read ({error})"),
            name,
            "run it on a terminal",
        )
    };
    let longest = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    let mut line = Zeroizing::new(String::with_capacity(LONGEST));
    match File::options().read(true).write(true).open("/dev/tty") {
        Ok(mut terminal) => {
            write!(terminal, "One-time code for {name}: ").map_err(failed)?;
            BufReader::new(terminal.take(longest)).read_line(&mut line).map_err(failed)?;
        }
        Err(_) => match input {
            StandardInput::Ours => {
                std::io::stdin().lock().take(longest).read_line(&mut line).map_err(failed)?;
            }
            StandardInput::AStream => return Err(no_terminal(name)),
        },
    }
    Ok(line)
}

fn no_terminal(name: &str) -> Failure {
    Failure::new(
        "a one-time code is needed, and there is no terminal",
        name,
        format_args!(
            "run ssh on a terminal, or open the door on one with `portunus knock {name}` and connect without this ProxyCommand"
        ),
    )
}

/// Six to eight digits, as apps show them: blanks between them are for the eye.
fn read(line: &str) -> Result<u32, Failure> {
    let mut digits = Zeroizing::new(String::with_capacity(line.len()));
    digits.extend(line.chars().filter(|c| !c.is_whitespace()));
    let fits = (6..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| fits).ok_or_else(|| {
        Failure::new("this is no one-time code", "", "type the 6 digits that the app shows").code(USAGE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_six_to_eight_digits() {
        assert_eq!(read("012 345\n"), Ok(12_345));
        assert_eq!(read("12345678"), Ok(12_345_678));
        for wrong in ["", "12345", "123456789", "12345a", "-12345", "+12345"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
