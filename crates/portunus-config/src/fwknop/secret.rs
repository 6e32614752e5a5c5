//! The keys of a stanza: symmetric ones, and what it says of GnuPG.

use std::path::{Path, PathBuf};

use portunus_crypto::text;
use portunus_dialect::fwknop::gpg::{GpgKeysError, RawGpg, Ring, Signers, is_fingerprint, is_key_id};
use portunus_dialect::fwknop::{
    HashType, KeysError, LEGACY_KEY, LONGEST_HMAC_KEY, LONGEST_KEY, LONGEST_LEGACY_KEY, Mode, RawKeys,
};
use zeroize::Zeroizing;

use super::Host;
use super::access::Written;
use super::conf::Conf;
use super::field::Field;
use super::lines::Spot;
use super::variable::Variable;
use crate::odd_bytes;
use crate::source::Findings;

/// What a stanza says of GnuPG.
pub(super) struct Gpg {
    pub(super) home: PathBuf,
    pub(super) check_signature: bool,
    /// `None`: nothing ever comes in by them, which was said.
    pub(super) keys: Option<RawGpg>,
}

/// Both kinds of keys. A stanza without any is a mistake, and is said.
pub(super) fn read(
    written: &Written,
    conf: &Conf,
    host: &dyn Host,
    findings: &mut Findings,
) -> (Option<RawKeys>, Option<Gpg>) {
    let mut check = Check { written, findings, bad: false };
    let digest = check.digest();
    let hmac = check.key(Field::HmacKey, Field::HmacKeyBase64);
    let gpg = check.gpg(conf, host, hmac.as_ref().map(|key| (digest, key.as_slice())));
    let mode = check.mode();
    let key = check.key(Field::Key, Field::KeyBase64);
    let source = &written.source;
    let Some(key) = key else {
        // A key that is there and is none was told where it stands.
        if gpg.is_none() && !check.bad && !written.unset {
            let what = format!("No keys found for access stanza source: '{source}'");
            let of_gpg =
                [Field::GpgDecryptId, Field::GpgRemoteId, Field::GpgFingerprintId, Field::GpgAllowNoPw];
            let mend = if of_gpg.into_iter().any(|field| written.get(field).is_some()) {
                "write GPG_DECRYPT_PW, or GPG_ALLOW_NO_PW Y where the server's key has no passphrase"
            } else {
                "write KEY_BASE64 and HMAC_KEY_BASE64, as fwknop --key-gen prints them"
            };
            check.wrong(None, what, mend);
        }
        return (None, gpg);
    };
    let Some(mode) = mode else {
        if gpg.is_none() {
            let mend = "say CBC, or name keys of GnuPG's: so nothing ever comes in by this stanza";
            check.odd(Field::EncryptionMode, "the stanza is for GnuPG and has symmetric keys only", mend);
        }
        return (None, gpg);
    };
    check.padding(mode, key.len(), hmac.is_some());
    let hmac = hmac.as_ref().map(|key| (digest, key.as_slice()));
    match RawKeys::new(&key, mode, hmac) {
        Ok(keys) => (Some(keys), gpg),
        Err(error) => {
            check.useless(error);
            (None, gpg)
        }
    }
}

/// The line that counts says that it is base64, and it is not.
pub(super) struct NotBase64;

/// The key of the later of two lines; `None` where there is none, or an empty one.
pub(super) fn key(
    written: &Written,
    plain: Field,
    base64: Field,
) -> Result<Option<Zeroizing<Vec<u8>>>, NotBase64> {
    let Some((field, value)) = written.later(plain, base64) else { return Ok(None) };
    if field == plain {
        return Ok(Some(odd_bytes::to_bytes(&value.text)));
    }
    // Whatever stands behind a first = is not looked at.
    let bare = value.text.split('=').next().unwrap_or_default();
    let key = text::decode_loose(bare.as_bytes()).map(Zeroizing::new).ok_or(NotBase64)?;
    Ok((!key.is_empty()).then_some(key))
}

struct Check<'c> {
    written: &'c Written,
    findings: &'c mut Findings,
    /// Whether a key was no base64.
    bad: bool,
}

impl Check<'_> {
    fn wrong(&mut self, field: Option<Field>, what: impl Into<String>, mend: impl Into<String>) {
        let spot = field.map_or_else(|| self.written.spot.clone(), |field| self.spot(field));
        self.findings.tell(|| spot.diagnostic(what, mend));
    }

    fn odd(&mut self, field: Field, what: impl Into<String>, mend: impl Into<String>) {
        let spot = self.spot(field);
        self.findings.remark(|| spot.diagnostic(what, mend));
    }

    /// Keys by which nothing ever comes in: the original takes most of them, and does not say so.
    fn useless(&mut self, error: KeysError) {
        let (field, mend) = match error {
            KeysError::Equal => {
                let what = format!(
                    "The encryption passphrase and HMAC key should not be identical for access stanza source: '{}'",
                    self.written.source
                );
                return self.wrong(Some(Field::HmacKey), what, "make two keys with fwknop --key-gen");
            }
            KeysError::Library(error) => return self.wrong(None, error.to_string(), "start it again"),
            KeysError::LegacyTooLong(_) => {
                (Field::Key, format!("use a key of 1 to {LONGEST_LEGACY_KEY} bytes"))
            }
            KeysError::Empty | KeysError::TooLong(_) => {
                (Field::Key, format!("use a key of 1 to {LONGEST_KEY} bytes"))
            }
            KeysError::HmacEmpty | KeysError::HmacTooLong(_) => {
                (Field::HmacKey, format!("use a key of 1 to {LONGEST_HMAC_KEY} bytes"))
            }
            KeysError::LegacyWithHmac => (Field::EncryptionMode, "leave one of them out".to_owned()),
        };
        let why = error.to_string();
        let why = why.split_once(':').map_or(why.as_str(), |(why, _)| why);
        self.odd(field, format!("{why}, so nothing ever comes in by this stanza"), mend);
    }

    /// Where a variable stands: of a key, the line that counts.
    fn spot(&self, field: Field) -> Spot {
        let pairs = [(Field::Key, Field::KeyBase64), (Field::HmacKey, Field::HmacKeyBase64)];
        let other = pairs.into_iter().find(|(plain, _)| *plain == field).map_or(field, |(_, base64)| base64);
        let later = self.written.later(field, other);
        later.map_or_else(|| self.written.spot.clone(), |(_, value)| value.spot.clone())
    }

    fn key(&mut self, plain: Field, base64: Field) -> Option<Zeroizing<Vec<u8>>> {
        key(self.written, plain, base64).unwrap_or_else(|NotBase64| {
            // The text is not repeated: it may well be a key in the wrong line.
            let what = format!("{} argument doesn't look like base64-encoded data.", base64.name());
            let mend = format!("copy the whole key, or write it behind {} if it is plain text", plain.name());
            self.wrong(Some(base64), what, mend);
            self.bad = true;
            None
        })
    }

    /// How packets are encrypted; `None`: not with symmetric keys.
    fn mode(&mut self) -> Option<Mode> {
        let Some(text) = self.written.text(Field::EncryptionMode) else { return Some(Mode::default()) };
        let mode = Mode::named(text);
        if mode.is_none() && !text.eq_ignore_ascii_case("Asymmetric") {
            let what = format!("Unrecognized ENCRYPTION_MODE '{text}', use {{CBC,CTR,legacy,Asymmetric}}");
            self.wrong(
                Some(Field::EncryptionMode),
                what,
                "CBC is what clients use unless they say otherwise",
            );
        }
        mode
    }

    /// Clients of 1.9 and 2.0 filled a passphrase up to 16 letters, or cut it; today's take it as it is.
    fn padding(&mut self, mode: Mode, length: usize, has_hmac: bool) {
        let written = self.written;
        if mode == Mode::Legacy {
            if length > LEGACY_KEY {
                let what =
                    format!("KEY has {length} letters, and legacy mode cuts it after the first {LEGACY_KEY}");
                self.odd(Field::Key, what, format!("use a key of at most {LEGACY_KEY} letters"));
            }
            return;
        }
        let silent = written.get(Field::EncryptionMode).is_none() && !has_hmac;
        if written.of_1_9 && silent && length < LEGACY_KEY {
            let what = format!(
                "a KEY of fewer than {LEGACY_KEY} letters in a stanza as fwknop 1.9 wrote it: clients of 1.9 and 2.0 fill it \
                 up with zeros, and their packets are refused"
            );
            let mend = "write ENCRYPTION_MODE legacy for clients that old (today's need -M legacy then), or ENCRYPTION_MODE CBC";
            self.odd(Field::Key, what, mend);
        }
    }

    fn digest(&mut self) -> HashType {
        let Some(text) = self.written.text(Field::HmacDigestType) else { return HashType::default() };
        HashType::named(text).unwrap_or_else(|| {
            let known = HashType::ALL.map(HashType::as_str).join(",");
            let what = format!("HMAC_DIGEST_TYPE argument '{text}' must be one of {{{known}}}");
            self.wrong(
                Some(Field::HmacDigestType),
                what,
                "sha256 is what clients use unless they say otherwise",
            );
            HashType::default()
        })
    }

    fn gpg(&mut self, conf: &Conf, host: &dyn Host, hmac: Option<(HashType, &[u8])>) -> Option<Gpg> {
        let written = self.written;
        if let Some(home) = written.text(Field::GpgHomeDir)
            && !host.is_folder(Path::new(home))
        {
            let what = format!("GPG_HOME_DIR directory '{home}' stat()/existence problem");
            self.wrong(Some(Field::GpgHomeDir), what, "make that folder, or name another one");
        }
        let used = written.get(Field::GpgDecryptPw).is_some() || written.flag(Field::GpgAllowNoPw);
        if !used {
            return None;
        }
        let (require, disable) = (written.flag(Field::GpgRequireSig), written.flag(Field::GpgDisableSig));
        let (source, number) = (&written.source, written.number);
        if require && disable {
            let what = format!(
                "Warning: GPG_REQUIRE_SIG and GPG_DISABLE_SIG are both set, will check sigs (stanza source: \
                 '{source}' #{number})"
            );
            self.odd(Field::GpgDisableSig, what, "take one of them out");
        } else if disable {
            let what = format!(
                "Warning: GPG_REQUIRE_SIG should really be enabled for stanza source: '{source}' (#{number})"
            );
            self.odd(Field::GpgDisableSig, what, "take GPG_DISABLE_SIG out, and name GPG_FINGERPRINT_ID");
        }
        let check_signature = require || !disable;
        let signers = [Field::GpgRemoteId, Field::GpgFingerprintId];
        if check_signature && signers.into_iter().all(|field| written.get(field).is_none()) {
            let what = format!(
                "Warning: Must have either sig ID's or fingerprints to check via GPG_REMOTE_ID or GPG_FINGERPRINT_ID \
                 (stanza source: '{source}' #{number})"
            );
            self.wrong(None, what, "name the fingerprints of those who may knock with GPG_FINGERPRINT_ID");
        }
        let of = |field, variable| written.text(field).or_else(|| conf.text(variable)).unwrap_or_default();
        let home = PathBuf::from(of(Field::GpgHomeDir, Variable::GpgHomeDir));
        let program = Path::new(of(Field::GpgExe, Variable::GpgExe));
        let passphrase = written.get(Field::GpgDecryptPw).map(|value| odd_bytes::to_bytes(&value.text));
        let ring = Ring::new(&home, program, passphrase.as_ref().map(|bytes| bytes.as_slice()));
        let signers = Signers {
            required: check_signature,
            any_validity: written.flag(Field::GpgIgnoreSigVerifyError),
            ids: self.prints(Field::GpgRemoteId, is_key_id),
            fingerprints: self.prints(Field::GpgFingerprintId, is_fingerprint),
        };
        let decrypts = self.decrypts();
        let name = written.text(Field::GpgDecryptId).filter(|_| decrypts.is_none()).map(str::to_owned);
        let keys = match RawGpg::new(ring, signers, decrypts, hmac) {
            Ok(keys) => Some(keys.with_name(name)),
            Err(GpgKeysError::HmacLength(length)) => {
                self.useless(KeysError::HmacTooLong(length));
                None
            }
            Err(GpgKeysError::Library(error)) => {
                self.wrong(None, error.to_string(), "start it again");
                None
            }
        };
        Some(Gpg { home, check_signature, keys })
    }

    /// A list of keys. A word that is none is kept: nobody has it, where an empty list would be everybody's.
    fn prints(&mut self, field: Field, fits: fn(&str) -> bool) -> Vec<String> {
        let list = self.written.text(field).unwrap_or_default();
        let words: Vec<String> = list.split(',').map(bare).filter(|word| !word.is_empty()).collect();
        for word in words.iter().filter(|word| !fits(word)) {
            let what = format!("{} '{word}' is no key's, so nobody's signature fits it", field.name());
            let mend = "copy it from what gpg --list-keys --with-fingerprint prints, without blanks";
            self.odd(field, what, mend);
        }
        words
    }

    /// GPG_DECRYPT_ID, where it is a key's: a name tells no key from another.
    fn decrypts(&mut self) -> Option<String> {
        let id = bare(self.written.text(Field::GpgDecryptId)?);
        if is_key_id(&id) {
            return Some(id);
        }
        let what = "GPG_DECRYPT_ID is a name, so any secret key of the keyring's opens packets";
        self.odd(Field::GpgDecryptId, what, "write the key's fingerprint");
        None
    }
}

/// A key's digits without what people write around them.
fn bare(word: &str) -> String {
    let word = word.trim();
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
    digits.chars().filter(|c| !c.is_whitespace()).collect()
}
