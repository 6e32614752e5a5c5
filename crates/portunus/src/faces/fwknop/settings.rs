//! What is wanted, as the stanzas and the command line together say it.

use std::net::IpAddr;
use std::path::PathBuf;

use portunus_config::fwknoprc::Variable;
use portunus_config::odd_bytes;
use portunus_dialect::fwknop::{HashType, LONGEST_HMAC_KEY, Mode};

use super::values::{self, KeyBytes, ModeWord, Refused, Way};

/// Where a packet goes unless somebody says otherwise.
pub(super) const PORT: u16 = 62201;

/// An encryption or HMAC key in its two spellings, and the file where it may be instead.
#[derive(Default)]
pub(super) struct KeyWish {
    /// As it is.
    pub(super) plain: Option<KeyBytes>,
    /// From base64.
    pub(super) decoded: Option<KeyBytes>,
    /// Where it is.
    pub(super) file: Option<PathBuf>,
}

impl KeyWish {
    /// The key that was named; the original prefers the plain one.
    pub(super) fn named(&self) -> Option<&KeyBytes> {
        self.plain.as_ref().or(self.decoded.as_ref())
    }

    /// What comes now has the last word, however it is spelt.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// What GnuPG is wanted for.
#[derive(Default)]
pub(super) struct Gpg {
    pub(super) wanted: bool,
    pub(super) recipient: Option<String>,
    pub(super) signer: Option<String>,
    pub(super) home_dir: Option<PathBuf>,
    pub(super) exe: Option<PathBuf>,
    /// What opens the signer's key.
    pub(super) passphrase: KeyWish,
    /// Nothing is needed for that.
    pub(super) no_passphrase: bool,
    /// The agent is to ask for it.
    pub(super) agent: bool,
}

/// Whom to open for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allow {
    /// Where the packet comes from.
    Source,
    /// This address.
    Address(IpAddr),
    /// This machine as others see it.
    Resolve,
}

/// Everything that a variable of the file can say.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) digest: HashType,
    pub(super) way: Way,
    pub(super) port: Option<u16>,
    pub(super) source_port: Option<u16>,
    pub(super) timeout: u32,
    pub(super) allow: Option<Allow>,
    pub(super) offset: i64,
    pub(super) mode: Mode,
    pub(super) asymmetric: bool,
    pub(super) gpg: Gpg,
    pub(super) user: Option<String>,
    pub(super) spoof: Option<IpAddr>,
    pub(super) access: Option<String>,
    pub(super) server: Option<String>,
    pub(super) rand_port: bool,
    pub(super) key: KeyWish,
    pub(super) hmac: KeyWish,
    pub(super) hmac_type: Option<HashType>,
    pub(super) use_hmac: bool,
    pub(super) wget_agent: bool,
    pub(super) nat_access: Option<String>,
    pub(super) nat_local: bool,
    pub(super) nat_port: Option<u16>,
    pub(super) nat_rand_port: bool,
    pub(super) agent: Option<String>,
    pub(super) resolve_url: Option<String>,
    pub(super) resolve_http_only: bool,
    pub(super) wget: Option<PathBuf>,
    pub(super) ipv4_only: bool,
    pub(super) verbose: u8,
    pub(super) no_save_args: bool,
}

impl Settings {
    /// Takes over what a variable says. `what` is how the messages call it: the variable's name or a flag's.
    pub(super) fn set(&mut self, variable: Variable, text: &str, what: &str) -> Result<(), Refused> {
        use Variable as V;
        let some = || Some(text.to_owned()).filter(|text| !text.is_empty());
        let yes = values::yes(text);
        match variable {
            V::DigestType => self.digest = values::digest(text)?,
            V::SpaServerProto => self.way = values::way(text)?,
            V::SpaServerPort => self.port = Some(values::port(text)?),
            V::SpaSourcePort => self.source_port = Some(values::port(text)?),
            V::FwTimeout => self.timeout = values::timeout(text)?,
            V::AllowIp => self.allow = Some(allow(text)?),
            V::TimeOffset => self.offset = signed_offset(text)?,
            V::EncryptionMode => self.set_mode(text)?,
            V::UseGpg => self.gpg.wanted = yes,
            // Each says how, and that alone is no wish for GnuPG.
            V::UseGpgAgent => self.gpg.agent = yes,
            V::GpgSigningPw => self.gpg.passphrase.plain = Some(bytes(text)),
            V::GpgSigningPwBase64 => {
                self.gpg.passphrase.decoded = Some(values::base64(text, what, LONGEST_HMAC_KEY)?);
            }
            V::GpgNoSigningPw => self.gpg.no_passphrase = yes,
            V::GpgRecipient => self.gpg.recipient = Some(named(text, "no key of a recipient")?),
            V::GpgSigner => self.gpg.signer = Some(named(text, "no key that signs")?),
            V::GpgHomedir => self.gpg.home_dir = Some(named(text, "no folder of a keyring")?.into()),
            V::GpgExe => self.gpg.exe = Some(named(text, "no program")?.into()),
            V::SpoofUser => self.user = some(),
            V::SpoofSourceIp => self.spoof = Some(values::spoof(text)?),
            V::Access => self.access = some(),
            V::SpaServer => self.server = some(),
            V::RandPort => self.rand_port = yes,
            V::Key => self.key.plain = Some(bytes(text)),
            V::KeyBase64 => self.key.decoded = Some(values::base64(text, what, LONGEST_HMAC_KEY)?),
            V::KeyFile => self.key.file = Some(PathBuf::from(text)),
            V::HmacDigestType => self.hmac_type = Some(values::hmac_digest(text)?),
            V::HmacKey => self.hmac.plain = Some(bytes(text)),
            V::HmacKeyBase64 => self.hmac.decoded = Some(values::base64(text, what, LONGEST_HMAC_KEY)?),
            V::HmacKeyFile => self.hmac.file = Some(PathBuf::from(text)),
            V::UseHmac => self.use_hmac = yes,
            V::UseWgetUserAgent => self.wget_agent = yes,
            V::NatAccess => self.nat_access = some(),
            V::HttpUserAgent => self.agent = some(),
            V::ResolveUrl => self.resolve_url = some(),
            V::ResolveIpHttp | V::ResolveIpHttps if yes => _ = self.allow.get_or_insert(Allow::Resolve),
            V::ResolveIpHttp | V::ResolveIpHttps => {}
            V::ResolveHttpOnly => self.resolve_http_only = yes,
            V::WgetCmd => self.wget = some().map(PathBuf::from),
            V::NatLocal => self.nat_local = yes,
            V::NatPort => self.nat_port = Some(values::port(text)?).filter(|&port| port != 0),
            V::NatRandPort => self.nat_rand_port = yes,
            V::ServerResolveIpv4 => self.ipv4_only = yes,
            V::Verbose => self.verbose = values::verbosity(text)?,
            V::NoSaveArgs => self.no_save_args = yes,
        }
        Ok(())
    }

    fn set_mode(&mut self, text: &str) -> Result<(), Refused> {
        self.asymmetric = false;
        match values::mode(text)? {
            ModeWord::Symmetric(mode) => self.mode = mode,
            ModeWord::Asymmetric => self.asymmetric = true,
        }
        Ok(())
    }

    /// The port that the packet goes to, unless one is drawn by lot.
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }

    /// Whether there is to be an HMAC. A key that is named is used, whatever USE_HMAC says: so does the original.
    pub(super) fn wants_hmac(&self) -> bool {
        self.use_hmac || self.hmac.named().is_some() || self.hmac.file.is_some()
    }

    /// Whether GnuPG is asked for, in one way or the other.
    pub(super) fn wants_gpg(&self) -> bool {
        self.gpg.wanted || self.asymmetric
    }
}

/// An address, or a word for one.
fn allow(text: &str) -> Result<Allow, Refused> {
    if text.eq_ignore_ascii_case("source") {
        return Ok(Allow::Source);
    }
    if text.eq_ignore_ascii_case("resolve") {
        return Ok(Allow::Resolve);
    }
    Ok(values::allow(text)?.map_or(Allow::Source, Allow::Address))
}

fn signed_offset(text: &str) -> Result<i64, Refused> {
    match text.strip_prefix('-') {
        Some(text) => Ok(-values::offset(text)?),
        None => values::offset(text),
    }
}

/// What stands for nothing is a variable of a script's that was not set: nobody wants another key, or none, for it.
fn named(text: &str, nothing: &str) -> Result<String, Refused> {
    if text.trim().is_empty() {
        return Err((format!("an empty word names {nothing}"), "name it, or leave it out".to_owned()));
    }
    Ok(text.to_owned())
}

fn bytes(text: &str) -> KeyBytes {
    odd_bytes::to_bytes(text)
}
