//! What a stanza says of GnuPG's keys: with which keyring a packet is opened, whose signature it needs, and the HMAC key
//! that goes before both.

use std::path::{Path, PathBuf};

use portunus_crypto::hash::{HashType, Output};
use portunus_crypto::hmac::MacKey;
use portunus_crypto::{LibraryRefused, digest};
use portunus_model::KeyId;
use zeroize::Zeroizing;

use super::message::{Form, HQ};
use crate::fwknop::{LONGEST_HMAC_KEY, OpenError, Packet};

/// What names a keyring and how it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId(pub [u8; 32]);

/// A keyring and how gpg is to use it. Wiped when dropped, and without `Debug`.
pub struct Ring {
    home: PathBuf,
    program: PathBuf,
    passphrase: Option<Zeroizing<Vec<u8>>>,
    id: RingId,
}

impl Ring {
    /// The keyring in the folder `home`, used by `program`; without a passphrase its key must not need one.
    #[must_use]
    pub fn new(home: &Path, program: &Path, passphrase: Option<&[u8]>) -> Self {
        // By their components: a slash more makes no other folder.
        let [home, program] = [home, program].map(|path| path.components().collect::<PathBuf>());
        let parts = [
            home.as_os_str().as_encoded_bytes(),
            program.as_os_str().as_encoded_bytes(),
            if passphrase.is_some() { b"passphrase".as_slice() } else { b"none" },
            passphrase.unwrap_or_default(),
        ];
        Self {
            passphrase: passphrase.map(|bytes| Zeroizing::new(bytes.to_vec())),
            id: RingId(named(b"portunus gpg ring", &parts)),
            home,
            program,
        }
    }

    /// What names it.
    #[must_use]
    pub const fn id(&self) -> RingId {
        self.id
    }

    /// The folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The secret key's passphrase.
    #[must_use]
    pub fn passphrase(&self) -> Option<&[u8]> {
        self.passphrase.as_ref().map(|bytes| bytes.as_slice())
    }
}

/// Whose signature a packet needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signers {
    /// Whether one is looked at at all (GPG_REQUIRE_SIG; GPG_DISABLE_SIG turns it off).
    pub required: bool,
    /// Whether the signer's key may be one that nobody vouches for, or past its time (GPG_IGNORE_SIG_VERIFY_ERROR).
    pub any_validity: bool,
    /// The ends of fingerprints, 8 digits and more (GPG_REMOTE_ID); empty: not looked at.
    pub ids: Vec<String>,
    /// Whole fingerprints (GPG_FINGERPRINT_ID); empty: not looked at.
    pub fingerprints: Vec<String>,
}

impl Signers {
    /// Whether one of these fingerprints (a key's and its owner's first key's) is of them. Both lists must agree, and two
    /// empty ones are nobody's.
    #[must_use]
    pub fn have(&self, fingerprints: [&str; 2]) -> bool {
        if self.ids.is_empty() && self.fingerprints.is_empty() {
            return false;
        }
        let any = |list: &[String], fits: fn(&str, &str) -> bool| {
            list.is_empty() || list.iter().any(|one| fingerprints.iter().any(|print| fits(print, one)))
        };
        any(&self.ids, is_of) && any(&self.fingerprints, str::eq_ignore_ascii_case)
    }
}

/// [`ends_with`] for what is a key's id: fewer digits are anybody's.
fn is_of(fingerprint: &str, id: &str) -> bool {
    is_key_id(id) && ends_with(fingerprint, id)
}

/// Whether `fingerprint` ends with these digits, in capitals or not.
pub(super) fn ends_with(fingerprint: &str, digits: &str) -> bool {
    let start = fingerprint.len().checked_sub(digits.len());
    let end = start.and_then(|start| fingerprint.get(start..));
    !digits.is_empty() && end.is_some_and(|end| end.eq_ignore_ascii_case(digits))
}

/// Whether a word is the end of a fingerprint: 8 to 64 digits of base 16.
#[must_use]
pub fn is_key_id(word: &str) -> bool {
    (8..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a word is a whole fingerprint: 40 digits, or the 64 of newer keys.
#[must_use]
pub fn is_fingerprint(word: &str) -> bool {
    matches!(word.len(), 40 | 64) && is_key_id(word)
}

/// Why these are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GpgKeysError {
    /// The HMAC key is empty or too long.
    #[error("the HMAC key has {0} bytes: use 1 to {LONGEST_HMAC_KEY}")]
    HmacLength(usize),
    /// No memory.
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

/// What a stanza says, as it is written down. Wiped when dropped, and without `Debug`.
pub struct RawGpg {
    ring: Ring,
    signers: Signers,
    decrypts: Option<String>,
    decrypts_by_name: Option<String>,
    hmac: Option<(HashType, Zeroizing<Vec<u8>>)>,
    id: KeyId,
}

impl RawGpg {
    /// With this ring, for packets signed so. `decrypts`: the end of the fingerprint of the key that must have opened it
    /// (GPG_DECRYPT_ID).
    ///
    /// # Errors
    /// [`GpgKeysError`] says what is wrong with the HMAC key.
    pub fn new(
        ring: Ring,
        signers: Signers,
        decrypts: Option<String>,
        hmac: Option<(HashType, &[u8])>,
    ) -> Result<Self, GpgKeysError> {
        hmac.map(|(hash, key)| HmacKey::new(hash, key)).transpose()?;
        let id = id(&ring, &signers, decrypts.as_deref(), hmac);
        let hmac = hmac.map(|(hash, key)| (hash, Zeroizing::new(key.to_vec())));
        Ok(Self { ring, signers, decrypts, decrypts_by_name: None, hmac, id })
    }

    /// The same, where GPG_DECRYPT_ID is a name. It tells no key from another, so only who checks the configuration looks at it.
    #[must_use]
    pub fn with_name(self, name: Option<String>) -> Self {
        Self { decrypts_by_name: name, ..self }
    }

    /// The same, ready to open packets.
    ///
    /// # Errors
    /// [`GpgKeysError::Library`] only: the rest was checked.
    pub fn worked_in(&self) -> Result<GpgKeys, GpgKeysError> {
        GpgKeys::new(self.id, self.ring.id, self.signers.clone(), self.decrypts.clone(), self.hmac())
    }

    /// What names these keys in rules.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The keyring.
    #[must_use]
    pub const fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Whose signature is needed.
    #[must_use]
    pub const fn signers(&self) -> &Signers {
        &self.signers
    }

    /// The end of the fingerprint of the key that must have opened it.
    #[must_use]
    pub fn decrypts(&self) -> Option<&str> {
        self.decrypts.as_deref()
    }

    /// GPG_DECRYPT_ID, where it is a name.
    #[must_use]
    pub fn decrypts_by_name(&self) -> Option<&str> {
        self.decrypts_by_name.as_deref()
    }

    /// The HMAC and its key.
    #[must_use]
    pub fn hmac(&self) -> Option<(HashType, &[u8])> {
        self.hmac.as_ref().map(|(hash, key)| (*hash, key.as_slice()))
    }
}

/// What opens a packet and judges what comes out, without the passphrase: that is for who runs gpg. Without `Debug`.
pub struct GpgKeys {
    id: KeyId,
    ring: RingId,
    pub(super) signers: Signers,
    pub(super) decrypts: Option<String>,
    hmac: Option<HmacKey>,
}

impl GpgKeys {
    /// Of the parts of a [`RawGpg`].
    ///
    /// # Errors
    /// [`GpgKeysError`] says what is wrong with the HMAC key.
    pub fn new(
        id: KeyId,
        ring: RingId,
        signers: Signers,
        decrypts: Option<String>,
        hmac: Option<(HashType, &[u8])>,
    ) -> Result<Self, GpgKeysError> {
        let hmac = hmac.map(|(hash, key)| HmacKey::new(hash, key)).transpose()?;
        Ok(Self { id, ring, signers, decrypts, hmac })
    }

    /// What names these keys in rules.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// With which keyring gpg is to be asked.
    #[must_use]
    pub const fn ring(&self) -> RingId {
        self.ring
    }

    /// Which HMAC they have; a packet without it is then nobody's.
    #[must_use]
    pub fn hmac_type(&self) -> Option<HashType> {
        self.hmac.as_ref().map(|hmac| hmac.hash)
    }

    /// The message for gpg, when it may be for these keys: the HMAC fits where they have one, and it has the one text that
    /// its bytes have.
    ///
    /// # Errors
    /// [`OpenError`] says why it is not.
    pub fn message(&self, packet: &Packet<'_>) -> Result<Vec<u8>, OpenError> {
        let form = Form::of(packet.text()).ok_or(OpenError::Shape)?;
        let body = self.authentic(form, packet.text())?;
        form.decoded(body).ok_or(OpenError::NotCanonical)
    }

    /// Whether the packet may be for these keys: the HMAC fits where they have one.
    ///
    /// # Errors
    /// [`OpenError`] says why it is not.
    pub fn may_be_for(&self, packet: &Packet<'_>) -> Result<(), OpenError> {
        let form = Form::of(packet.text()).ok_or(OpenError::Shape)?;
        self.authentic(form, packet.text()).map(drop)
    }

    fn authentic<'a>(&self, form: Form, text: &'a [u8]) -> Result<&'a [u8], OpenError> {
        let Some(hmac) = &self.hmac else { return Ok(text) };
        let length = text.len().checked_sub(hmac.hash.bare_length());
        let (body, tag) = length.and_then(|at| text.split_at_checked(at)).ok_or(OpenError::Shape)?;
        if hmac.tag(form, body).is_bare(tag) { Ok(body) } else { Err(OpenError::Hmac) }
    }
}

/// An HMAC key, worked in for both forms of a message. It always covers the whole one.
pub struct HmacKey {
    hash: HashType,
    bare: MacKey,
    whole: MacKey,
}

impl HmacKey {
    /// Of this key.
    ///
    /// # Errors
    /// [`GpgKeysError`] says what is wrong with it.
    pub fn new(hash: HashType, key: &[u8]) -> Result<Self, GpgKeysError> {
        if key.is_empty() || key.len() > LONGEST_HMAC_KEY {
            return Err(GpgKeysError::HmacLength(key.len()));
        }
        Ok(Self { hash, bare: MacKey::new(hash, key, HQ.as_bytes())?, whole: MacKey::new(hash, key, b"")? })
    }

    pub(super) fn tag(&self, form: Form, body: &[u8]) -> Output {
        match form {
            Form::Bare => self.bare.tag(body),
            Form::Whole => self.whole.tag(body),
        }
    }
}

fn id(ring: &Ring, signers: &Signers, decrypts: Option<&str>, hmac: Option<(HashType, &[u8])>) -> KeyId {
    let (hash, key) = hmac.map_or(("none", [].as_slice()), |(hash, key)| (hash.as_str(), key));
    let Signers { required, any_validity, ids, fingerprints } = signers;
    let lists = [ids, fingerprints].map(|list| list.join(",").to_ascii_uppercase());
    let [ids, fingerprints] = &lists;
    let flags = [u8::from(*required), u8::from(*any_validity)];
    let decrypts = decrypts.unwrap_or_default().to_ascii_uppercase();
    let parts: [&[u8]; 7] = [
        &ring.id.0,
        hash.as_bytes(),
        key,
        &flags,
        ids.as_bytes(),
        fingerprints.as_bytes(),
        decrypts.as_bytes(),
    ];
    KeyId(named(b"portunus fwknop gpg key id", &parts))
}

/// A digest of parts with their lengths before them: no two lists have one.
fn named(what: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let lengths: Vec<u8> = parts.iter().flat_map(|part| part.len().to_be_bytes()).collect();
    let mut all = vec![what, &lengths];
    all.extend_from_slice(parts);
    digest::sha256(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(passphrase: Option<&[u8]>) -> Ring {
        Ring::new(Path::new("/root/.gnupg"), Path::new("/usr/bin/gpg"), passphrase)
    }

    #[test]
    fn an_id_is_of_every_part() {
        let signers = || Signers { required: true, ids: vec!["1234ABCD".into()], ..Signers::default() };
        let raw = |ring, signers, decrypts: Option<&str>, hmac: Option<&[u8]>| {
            let hmac = hmac.map(|key| (HashType::Sha256, key));
            RawGpg::new(ring, signers, decrypts.map(str::to_owned), hmac).unwrap().id()
        };
        let prints = Signers { fingerprints: vec!["1234ABCD".into()], required: true, ..Signers::default() };
        let ids = [
            raw(ring(None), signers(), None, None),
            raw(ring(Some(b"")), signers(), None, None),
            raw(ring(Some(b"x")), signers(), None, None),
            raw(ring(None), prints, None, None),
            raw(ring(None), Signers { any_validity: true, ..signers() }, None, None),
            raw(ring(None), signers(), Some("1234ABCD"), None),
            raw(ring(None), signers(), None, Some(b"key")),
        ];
        for (n, id) in ids.iter().enumerate() {
            assert!(!ids[n + 1..].contains(id), "{n}");
        }
    }

    #[test]
    fn a_ring_is_one_however_its_folder_and_program_are_spelled() {
        let ring = |home: &str, program: &str| Ring::new(Path::new(home), Path::new(program), None);
        let plain = ring("/root/.gnupg", "/usr/bin/gpg");
        for home in ["/root/.gnupg/", "/root//.gnupg", "//root/./.gnupg/."] {
            let other = ring(home, "/usr/bin//gpg");
            assert_eq!((other.id(), other.home()), (plain.id(), plain.home()), "{home}");
        }
        // Where a link stands before it, .. leads elsewhere.
        for home in ["/root/x/../.gnupg", "/root/.gnupg2", "root/.gnupg", "/root"] {
            assert_ne!(ring(home, "/usr/bin/gpg").id(), plain.id(), "{home}");
        }
    }

    #[test]
    fn hmac_keys_have_limits() {
        let refused = |key: &[u8]| HmacKey::new(HashType::Sha256, key).err();
        assert_eq!(refused(&[]), Some(GpgKeysError::HmacLength(0)));
        assert_eq!((refused(&[1]), refused(&[1; 128])), (None, None));
        assert_eq!(refused(&[1; 129]), Some(GpgKeysError::HmacLength(129)));
    }

    #[test]
    fn both_lists_must_agree_and_an_id_is_the_end_of_a_fingerprint() {
        let print = "1F3133294BA3F0304255353F14729E41FC66E495";
        let have = |ids: &[&str], prints: &[&str]| {
            let list = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
            let signers = Signers { ids: list(ids), fingerprints: list(prints), ..Signers::default() };
            signers.have([print, "00CC95F05BC146B6AC4038C9E36F443C6A3FAD56"])
        };
        assert!(have(&["FC66E495"], &[]) && have(&["fc66e495"], &[]) && have(&["14729E41FC66E495"], &[]));
        assert!(have(&["6A3FAD56"], &[]), "the owner's first key counts too");
        assert!(!have(&[], &[]) && !have(&["E495"], &[]) && !have(&[""], &[]) && !have(&[], &[""]));
        assert!(!have(&["1F313329"], &[]) && !have(&["FC66E494"], &[]));
        assert!(have(&[], &[print]) && !have(&[], &["FC66E495"]) && have(&["FC66E495"], &[print]));
        assert!(!have(&["FC66E495"], &["AAAA"]) && !have(&["AAAAAAAA"], &[print]));
    }
}
