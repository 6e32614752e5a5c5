//! The variables of access.conf.

macro_rules! fields {
    ($($variant:ident $name:literal;)*) => {
        /// A variable of a stanza, SOURCE aside: that begins one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Field { $($variant,)* }

        impl Field {
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

fields! {
    Destination "DESTINATION";
    OpenPorts "OPEN_PORTS";
    RestrictPorts "RESTRICT_PORTS";
    Key "KEY";
    KeyBase64 "KEY_BASE64";
    HmacKey "HMAC_KEY";
    HmacKeyBase64 "HMAC_KEY_BASE64";
    HmacDigestType "HMAC_DIGEST_TYPE";
    EncryptionMode "ENCRYPTION_MODE";
    FwAccessTimeout "FW_ACCESS_TIMEOUT";
    MaxFwTimeout "MAX_FW_TIMEOUT";
    EnableCmdExec "ENABLE_CMD_EXEC";
    EnableCmdSudoExec "ENABLE_CMD_SUDO_EXEC";
    CmdSudoExecUser "CMD_SUDO_EXEC_USER";
    CmdSudoExecGroup "CMD_SUDO_EXEC_GROUP";
    CmdExecUser "CMD_EXEC_USER";
    CmdExecGroup "CMD_EXEC_GROUP";
    CmdCycleOpen "CMD_CYCLE_OPEN";
    CmdCycleClose "CMD_CYCLE_CLOSE";
    CmdCycleTimer "CMD_CYCLE_TIMER";
    RequireUsername "REQUIRE_USERNAME";
    RequireSourceAddress "REQUIRE_SOURCE_ADDRESS";
    ForceNat "FORCE_NAT";
    ForceSnat "FORCE_SNAT";
    ForceMasquerade "FORCE_MASQUERADE";
    DisableDnat "DISABLE_DNAT";
    ForwardAll "FORWARD_ALL";
    AccessExpire "ACCESS_EXPIRE";
    AccessExpireEpoch "ACCESS_EXPIRE_EPOCH";
    GpgHomeDir "GPG_HOME_DIR";
    GpgExe "GPG_EXE";
    GpgDecryptId "GPG_DECRYPT_ID";
    GpgDecryptPw "GPG_DECRYPT_PW";
    GpgAllowNoPw "GPG_ALLOW_NO_PW";
    GpgRequireSig "GPG_REQUIRE_SIG";
    GpgDisableSig "GPG_DISABLE_SIG";
    GpgIgnoreSigVerifyError "GPG_IGNORE_SIG_VERIFY_ERROR";
    GpgRemoteId "GPG_REMOTE_ID";
    GpgFingerprintId "GPG_FINGERPRINT_ID";
    DataCollectMode "DATA_COLLECT_MODE";
    PermitClientPorts "PERMIT_CLIENT_PORTS";
}

impl Field {
    pub(super) fn of_name(name: &str) -> Option<Self> {
        // The older spelling.
        let name = if name == "REQUIRE_SOURCE" { "REQUIRE_SOURCE_ADDRESS" } else { name };
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }

    /// Whether a file of keys may have it (%include_keys).
    pub(super) const fn is_key(self) -> bool {
        matches!(
            self,
            Self::Key
                | Self::KeyBase64
                | Self::HmacKey
                | Self::HmacKeyBase64
                | Self::GpgDecryptId
                | Self::GpgDecryptPw
                | Self::GpgAllowNoPw
                | Self::GpgRequireSig
                | Self::GpgDisableSig
                | Self::GpgIgnoreSigVerifyError
                | Self::GpgRemoteId
                | Self::GpgFingerprintId
        )
    }

    /// Whether its value is a secret.
    pub(super) const fn is_secret(self) -> bool {
        matches!(self, Self::Key | Self::KeyBase64 | Self::HmacKey | Self::HmacKeyBase64 | Self::GpgDecryptPw)
    }
}
