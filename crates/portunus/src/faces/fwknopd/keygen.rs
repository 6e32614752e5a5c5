//! `--key-gen`: the keys that the client's face makes too.

use portunus_crypto::SystemEntropy;
use portunus_dialect::fwknop::{HashType, LONGEST_HMAC_KEY, LONGEST_KEY};
use zeroize::Zeroizing;

use super::args::Cli;
use crate::edit::{self, PRIVATE};
use crate::faces::fwknop::keygen::fresh;
use crate::say::{Done, Failure, line, out};

pub(super) fn run(cli: &Cli) -> Done {
    let key = length(cli.key_len.as_deref(), "key", LONGEST_KEY)?;
    let hmac_key = length(cli.hmac_key_len.as_deref(), "hmac key", LONGEST_HMAC_KEY)?;
    let [key, hmac] = fresh(key, hmac_key, hash(cli)?, &mut SystemEntropy)?;
    let printed = Zeroizing::new(format!("KEY_BASE64: {}\nHMAC_KEY_BASE64: {}\n", *key, *hmac));
    let Some(path) = &cli.key_gen_file else {
        out(printed.as_str());
        return Ok(());
    };
    edit::write_new(path, &printed, PRIVATE, true)
        .map_err(|error| Failure::new(format_args!("Unable to create key gen file: {error}"), "", ""))?;
    line(format_args!("[+] Wrote Rijndael and HMAC keys to: {}", path.display()));
    Ok(())
}

fn length(text: Option<&str>, which: &str, longest: usize) -> Result<Option<usize>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let fits = text.parse().ok().filter(|length| (1..=longest).contains(length));
    fits.map(Some).ok_or_else(|| {
        Failure::new(format_args!("Invalid {which} length '{text}', must be in [1-{longest}]"), "", "")
    })
}

fn hash(cli: &Cli) -> Result<HashType, Failure> {
    let Some(word) = &cli.hmac_digest_type else { return Ok(HashType::default()) };
    HashType::named(word).ok_or_else(|| {
        let all = HashType::ALL.map(HashType::as_str).join(",");
        Failure::new(format_args!("Invalid hmac digest type: {word}, use {{{all}}}"), "", "")
    })
}
