//! `--key-gen`: fresh keys, printed, into a file, or into the stanza.

use portunus_config::fwknoprc::Variable;
use portunus_crypto::{Entropy, EntropyFailed, SystemEntropy, text};
use portunus_dialect::fwknop::{HashType, LONGEST_HMAC_KEY, LONGEST_KEY};
use zeroize::Zeroizing;

use super::line::{Line, Task};
use super::rc::{self, RcFile};
use super::settings::Settings;
use crate::edit::{self, PRIVATE};
use crate::say::{Failure, line, out};

/// Makes both keys and puts them where they are wanted.
///
/// # Errors
/// A length is none, or the file cannot be written.
pub(super) fn run(given: &Line, settings: &Settings, rc: Option<&mut RcFile>) -> Result<(), Failure> {
    let made = make(&given.task, settings.hmac_type.unwrap_or_default(), &mut SystemEntropy)?;
    if let Some(rc) = rc.filter(|_| given.task.save_rc_stanza) {
        let refused = rc::save(rc, given, &made, settings.verbose)?;
        if refused.is_empty() {
            line(format_args!("[+] Wrote Rijndael and HMAC keys to rc file: {}", rc.path.display()));
            return Ok(());
        }
        let kept = refused.iter().map(|variable| variable.name()).collect::<Vec<_>>().join(" and ");
        return Err(Failure::file(
            format_args!("{kept}: the old value was kept"),
            &rc.path,
            "answer y to replace it",
        ));
    }
    let mut printed = Zeroizing::new(String::new());
    for (variable, value) in &made {
        printed.push_str(&format!("{}: {}\n", variable.name(), value.as_str()));
    }
    let Some(path) = &given.task.key_gen_file else {
        out(printed.as_str());
        return Ok(());
    };
    edit::write_new(path, &printed, PRIVATE, true)
        .map_err(|error| Failure::new(format_args!("Unable to create key gen file: {error}"), "", ""))?;
    line(format_args!("[+] Wrote Rijndael and HMAC keys to: {}", path.display()));
    Ok(())
}

type Made = [(Variable, Zeroizing<String>); 2];

fn make(task: &Task, hmac: HashType, entropy: &mut dyn Entropy) -> Result<Made, Failure> {
    let [key, hmac] = fresh(task.key_len, task.hmac_key_len, hmac, entropy)?;
    Ok([(Variable::KeyBase64, key), (Variable::HmacKeyBase64, hmac)])
}

/// Both keys as text, the server's `--key-gen` makes the same.
///
/// # Errors
/// A length is none, or the system gave no randomness.
pub(crate) fn fresh(
    key: Option<usize>,
    hmac_key: Option<usize>,
    hmac: HashType,
    entropy: &mut dyn Entropy,
) -> Result<[Zeroizing<String>; 2], Failure> {
    let key = key.unwrap_or(LONGEST_KEY);
    if key > LONGEST_KEY {
        let what = format!("Invalid key length '{key}'");
        return Err(Failure::new(what, "--key-len", format!("AES takes 1 to {LONGEST_KEY} bytes")));
    }
    let hmac = hmac_key.unwrap_or_else(|| usual_length(hmac));
    let failed = |error: EntropyFailed| Failure::new(error, "", "try again");
    Ok([random(key, entropy).map_err(failed)?, random(hmac, entropy).map_err(failed)?])
}

/// As many bytes as the original gives the key of this hash: its block, but for the two oldest.
fn usual_length(hash: HashType) -> usize {
    match hash {
        HashType::Md5 => 16,
        HashType::Sha1 => 20,
        HashType::Sha256 => 64,
        HashType::Sha384 | HashType::Sha512 => LONGEST_HMAC_KEY,
        // RFC 2104 wants no more than the block, and FIPS 202 has 136 and 72 bytes.
        HashType::Sha3_256 => LONGEST_HMAC_KEY,
        HashType::Sha3_512 => 72,
    }
}

fn random(length: usize, entropy: &mut dyn Entropy) -> Result<Zeroizing<String>, EntropyFailed> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    entropy.fill(&mut bytes)?;
    Ok(text::encode(&bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(task: &Task, hash: HashType) -> Option<(usize, usize)> {
        let [key, hmac] = make(task, hash, &mut SystemEntropy).ok()?;
        let length = |text: &str| text::decode_loose(text.as_bytes()).unwrap().len();
        Some((length(&key.1), length(&hmac.1)))
    }

    #[test]
    fn keys_have_the_length_of_their_hash_or_the_wanted_one() {
        assert_eq!(lengths(&Task::default(), HashType::Sha256), Some((32, 64)));
        assert_eq!(lengths(&Task::default(), HashType::Sha512), Some((32, 128)));
        assert_eq!(lengths(&Task::default(), HashType::Md5), Some((32, 16)));
        let task = Task { key_len: Some(16), hmac_key_len: Some(20), ..Task::default() };
        assert_eq!(lengths(&task, HashType::Sha256), Some((16, 20)));
        assert_eq!(lengths(&Task { key_len: Some(33), ..Task::default() }, HashType::Sha256), None);
    }

    #[test]
    fn no_two_keys_are_the_same() {
        let two = [0; 2].map(|_| make(&Task::default(), HashType::Sha256, &mut SystemEntropy).unwrap());
        assert_ne!(two[0][0].1, two[1][0].1);
        assert_ne!(two[0][0].1, two[0][1].1);
    }
}
