//! The listing of a packet's fields, as people and their scripts know it.

use std::fmt;

use portunus_dialect::fwknop::{Asked, HashType, Keys, Kind, Mode, Sealed};

/// The fields of a packet.
pub(super) struct Fields<'a> {
    /// What it says.
    pub(super) asked: &'a Asked,
    /// What it was made of.
    pub(super) sealed: &'a Sealed,
    /// What made it.
    pub(super) keys: &'a Keys,
}

const NONE: &str = "<NULL>";

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, sealed, keys } = self;
        let wish = &asked.wish;
        let (kind, mode) = (wish.kind(), keys.mode());
        let (digest, hmac) = (Some(wish.digest), keys.hmac_type());
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
        let auth = wish.server_auth.as_ref().map(|auth| String::from_utf8_lossy(auth).into_owned());
        writeln!(f, "SPA Field Values:\n=================")?;
        for (name, value) in [
            ("Random Value", asked.random.clone()),
            ("Username", wish.user.clone()),
            ("Timestamp", asked.stamp.to_string()),
            ("FKO Version", wish.version.clone()),
            ("Message Type", format!("{} ({})", kind.number(), kind_name(kind))),
            ("Message String", wish.message.to_string()),
            ("Nat Access", or_none(wish.nat.as_ref().map(ToString::to_string))),
            ("Server Auth", or_none(auth)),
            ("Client Timeout", wish.timeout.unwrap_or_default().to_string()),
            ("Digest Type", hash_name(digest)),
            ("HMAC Type", hash_name(hmac)),
            ("Encryption Type", "1 (Rijndael)".to_owned()),
            ("Encryption Mode", mode_name(mode).to_owned()),
            ("Encoded Data", sealed.encoded.clone()),
            ("SPA Data Digest", sealed.digest.clone()),
            ("HMAC", or_none(sealed.hmac.clone())),
            ("Final SPA Data", sealed.wire.clone()),
        ] {
            writeln!(f, "{name:>15}: {value}")?;
        }
        writeln!(f)
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Command => "Command msg",
        Kind::Access => "Access msg",
        Kind::Nat => "NAT access msg",
        Kind::AccessTimeout => "Client timeout access msg",
        Kind::NatTimeout => "Client timeout NAT access msg",
        Kind::LocalNat => "Local NAT access msg",
        Kind::LocalNatTimeout => "Client timeout local NAT access msg",
    }
}

fn hash_name(hash: Option<HashType>) -> String {
    let number = match hash {
        None => return "0 (None)".to_owned(),
        Some(HashType::Md5) => 1,
        Some(HashType::Sha1) => 2,
        Some(HashType::Sha256) => 3,
        Some(HashType::Sha384) => 4,
        Some(HashType::Sha512) => 5,
        Some(HashType::Sha3_256) => 6,
        Some(HashType::Sha3_512) => 7,
    };
    format!("{number} ({})", hash.map(HashType::as_str).unwrap_or_default().to_ascii_uppercase())
}

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Ecb => "1 (ECB)",
        Mode::Cbc => "2 (CBC)",
        Mode::Cfb => "3 (CFB)",
        Mode::Ofb => "5 (OFB)",
        Mode::Ctr => "6 (CTR)",
        Mode::Legacy => "8 (legacy)",
    }
}

#[cfg(test)]
mod tests {
    use portunus_crypto::SystemEntropy;
    use portunus_dialect::fwknop::{Message, Wish, seal};
    use portunus_model::{Proto, Unix};

    use super::*;

    #[test]
    fn the_listing_has_the_known_shape() {
        let keys = Keys::new(b"key", Mode::Ctr, Some((HashType::Sha512, b"other"))).unwrap();
        let message = Message::Access { address: None, ports: vec![(Proto::Tcp, 22)] };
        let sealed =
            seal(&keys, Wish::new("alice", message), Unix::from_secs(1_800_000_000), &mut SystemEntropy);
        let sealed = sealed.unwrap();
        let text = Fields { asked: &sealed.asked, sealed: &sealed, keys: &keys }.to_string();
        assert!(text.starts_with("SPA Field Values:\n=================\n   Random Value: "), "{text}");
        for line in [
            "       Username: alice\n",
            "      Timestamp: 1800000000\n",
            "   Message Type: 1 (Access msg)\n",
            " Message String: 0.0.0.0,tcp/22\n",
            "     Nat Access: <NULL>\n",
            "    Digest Type: 3 (SHA256)\n",
            "      HMAC Type: 5 (SHA512)\n",
            "Encryption Mode: 6 (CTR)\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(text.ends_with(&format!(" Final SPA Data: {}\n\n", sealed.wire)), "{text}");
    }
}
