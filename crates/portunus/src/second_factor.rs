//! The one-time code of a second factor, asked for where the person is.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};

use portunus_config::profile::{Keys, Profile};
use portunus_crypto::{Entropy, SystemEntropy};
use portunus_dialect::native::Code;

use crate::say::{Failure, USAGE};

/// Nobody types a longer line than this for a code.
const LONGEST: u64 = 64;

/// A code for a profile that needs one, or for anybody who said `--totp`.
///
/// # Errors
/// Nobody is there to be asked, or what they typed is no code.
pub(crate) fn for_profile(profile: &Profile, wanted: bool) -> Result<Option<Code>, Failure> {
    let needed = match &profile.keys {
        Keys::Openme { .. } => false,
        Keys::Native(keys) => keys.second_factor,
    };
    if !needed && !wanted {
        return Ok(None);
    }
    let mut attempt = [0; 8];
    SystemEntropy.fill(&mut attempt).map_err(|error| Failure::new(error, "", ""))?;
    Ok(Some(Code { value: read(&ask(&profile.name)?)?, attempt }))
}

/// From the terminal itself, since standard input may be somebody's stream; without one from standard input.
fn ask(name: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            format_args!("the one-time code could not be read ({error})"),
            name,
            "run it on a terminal",
        )
    };
    let mut line = String::new();
    match File::options().read(true).write(true).open("/dev/tty") {
        Ok(mut terminal) => {
            write!(terminal, "One-time code for {name}: ").map_err(failed)?;
            BufReader::new(terminal.take(LONGEST)).read_line(&mut line).map_err(failed)?;
        }
        Err(_) => {
            std::io::stdin().lock().take(LONGEST).read_line(&mut line).map_err(failed)?;
        }
    }
    Ok(line)
}

/// Six to eight digits, as apps show them: blanks between them are for the eye.
fn read(line: &str) -> Result<u32, Failure> {
    let digits: String = line.chars().filter(|c| !c.is_whitespace()).collect();
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
