//! The variables of the file, in the order in which a saved stanza has them.

/// One variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// The digest inside of the packet.
    DigestType,
    /// How the packet travels.
    SpaServerProto,
    /// Where to, on the server.
    SpaServerPort,
    /// Where from.
    SpaSourcePort,
    /// How long the server is to open.
    FwTimeout,
    /// Whom it is to open for.
    AllowIp,
    /// How far our clock is to be set off.
    TimeOffset,
    /// How the packet is encrypted.
    EncryptionMode,
    /// By GnuPG.
    UseGpg,
    /// With its agent.
    UseGpgAgent,
    /// For this key.
    GpgRecipient,
    /// Signed by this key.
    GpgSigner,
    /// With the keyring of this folder.
    GpgHomedir,
    /// By this program.
    GpgExe,
    /// The signing key's passphrase.
    GpgSigningPw,
    /// The same in base64.
    GpgSigningPwBase64,
    /// The signing key has no passphrase.
    GpgNoSigningPw,
    /// The name that the packet carries.
    SpoofUser,
    /// The source address that the packet carries.
    SpoofSourceIp,
    /// What to open.
    Access,
    /// The server.
    SpaServer,
    /// To a port drawn by lot.
    RandPort,
    /// The encryption key.
    Key,
    /// The same in base64.
    KeyBase64,
    /// A file of encryption keys by server.
    KeyFile,
    /// Which HMAC.
    HmacDigestType,
    /// The HMAC key.
    HmacKey,
    /// The same in base64.
    HmacKeyBase64,
    /// A file of HMAC keys by server.
    HmacKeyFile,
    /// With an HMAC.
    UseHmac,
    /// Let the program that asks for our address name itself.
    UseWgetUserAgent,
    /// An inner host to reach.
    NatAccess,
    /// The user agent of HTTP.
    HttpUserAgent,
    /// Where our own address is asked for.
    ResolveUrl,
    /// Ask for our own address.
    ResolveIpHttp,
    /// The same.
    ResolveIpHttps,
    /// By plain HTTP.
    ResolveHttpOnly,
    /// By this program.
    WgetCmd,
    /// A port of the server itself.
    NatLocal,
    /// Through this outer port.
    NatPort,
    /// Through an outer port drawn by lot.
    NatRandPort,
    /// IPv4 addresses of the server only.
    ServerResolveIpv4,
    /// Say more.
    Verbose,
    /// Leave the command line out of the file of the last one.
    NoSaveArgs,
}

use Variable as V;

/// Every variable with its name.
const NAMES: [(Variable, &str); 44] = [
    (V::DigestType, "DIGEST_TYPE"),
    (V::SpaServerProto, "SPA_SERVER_PROTO"),
    (V::SpaServerPort, "SPA_SERVER_PORT"),
    (V::SpaSourcePort, "SPA_SOURCE_PORT"),
    (V::FwTimeout, "FW_TIMEOUT"),
    (V::AllowIp, "ALLOW_IP"),
    (V::TimeOffset, "TIME_OFFSET"),
    (V::EncryptionMode, "ENCRYPTION_MODE"),
    (V::UseGpg, "USE_GPG"),
    (V::UseGpgAgent, "USE_GPG_AGENT"),
    (V::GpgRecipient, "GPG_RECIPIENT"),
    (V::GpgSigner, "GPG_SIGNER"),
    (V::GpgHomedir, "GPG_HOMEDIR"),
    (V::GpgExe, "GPG_EXE"),
    (V::GpgSigningPw, "GPG_SIGNING_PW"),
    (V::GpgSigningPwBase64, "GPG_SIGNING_PW_BASE64"),
    (V::GpgNoSigningPw, "GPG_NO_SIGNING_PW"),
    (V::SpoofUser, "SPOOF_USER"),
    (V::SpoofSourceIp, "SPOOF_SOURCE_IP"),
    (V::Access, "ACCESS"),
    (V::SpaServer, "SPA_SERVER"),
    (V::RandPort, "RAND_PORT"),
    (V::Key, "KEY"),
    (V::KeyBase64, "KEY_BASE64"),
    (V::KeyFile, "KEY_FILE"),
    (V::HmacDigestType, "HMAC_DIGEST_TYPE"),
    (V::HmacKey, "HMAC_KEY"),
    (V::HmacKeyBase64, "HMAC_KEY_BASE64"),
    (V::HmacKeyFile, "HMAC_KEY_FILE"),
    (V::UseHmac, "USE_HMAC"),
    (V::UseWgetUserAgent, "USE_WGET_USER_AGENT"),
    (V::NatAccess, "NAT_ACCESS"),
    (V::HttpUserAgent, "HTTP_USER_AGENT"),
    (V::ResolveUrl, "RESOLVE_URL"),
    (V::ResolveIpHttp, "RESOLVE_IP_HTTP"),
    (V::ResolveIpHttps, "RESOLVE_IP_HTTPS"),
    (V::ResolveHttpOnly, "RESOLVE_HTTP_ONLY"),
    (V::WgetCmd, "WGET_CMD"),
    (V::NatLocal, "NAT_LOCAL"),
    (V::NatPort, "NAT_PORT"),
    (V::NatRandPort, "NAT_RAND_PORT"),
    (V::ServerResolveIpv4, "SERVER_RESOLVE_IPV4"),
    (V::Verbose, "VERBOSE"),
    (V::NoSaveArgs, "NO_SAVE_ARGS"),
];

impl Variable {
    /// All of them, in the order in which they are saved.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(variable, _)| variable)
    }

    /// The one of this name, letter by letter.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.into_iter().find_map(|(variable, own)| (own == name).then_some(variable))
    }

    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.into_iter().find_map(|(variable, own)| (variable == self).then_some(own)).unwrap_or_default()
    }

    /// Whether its value may never be shown or written anywhere else.
    #[must_use]
    pub const fn secret(self) -> bool {
        matches!(
            self,
            V::Key | V::KeyBase64 | V::HmacKey | V::HmacKeyBase64 | V::GpgSigningPw | V::GpgSigningPwBase64
        )
    }

    /// Whether it is asked before its value is replaced: what was in it may be nowhere else.
    #[must_use]
    pub const fn critical(self) -> bool {
        self.secret() || matches!(self, V::GpgRecipient | V::GpgSigner)
    }

    /// Whether both hold the same thing, so that one of them takes the other's place.
    #[must_use]
    pub const fn rivals(self, other: Self) -> bool {
        matches!(
            (self, other),
            (V::Key | V::KeyBase64, V::Key | V::KeyBase64)
                | (V::HmacKey | V::HmacKeyBase64, V::HmacKey | V::HmacKeyBase64)
                | (V::GpgSigningPw | V::GpgSigningPwBase64, V::GpgSigningPw | V::GpgSigningPwBase64)
        ) || self as u8 == other as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_a_name_and_is_found_by_it() {
        for variable in Variable::all() {
            assert_eq!(Variable::named(variable.name()), Some(variable));
        }
        assert_eq!(Variable::named("digest_type"), None);
        assert_eq!(Variable::named("CLIENT_TIMEOUT"), None);
    }

    #[test]
    fn a_key_is_one_thing_in_two_spellings() {
        assert!(V::Key.rivals(V::KeyBase64));
        assert!(V::Access.rivals(V::Access));
        assert!(!V::Key.rivals(V::HmacKey));
        assert!(V::KeyBase64.critical() && V::GpgSigner.critical() && !V::Access.critical());
        assert!(!V::GpgSigner.secret() && V::GpgSigningPw.secret());
    }
}
