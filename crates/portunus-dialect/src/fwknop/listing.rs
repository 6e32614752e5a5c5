//! The listing of a packet's fields, as people and their scripts know it: of the client that made it, and of a server
//! that opened it and is asked to say much.

use std::fmt;

use portunus_crypto::hash::HashType;

use super::gpg::{GpgKeys, Wrapped};
use super::keys::{Keys, Mode};
use super::packet::Packet;
use super::plain::Asked;
use super::seal::{Encoded, Sealed};
use super::wish::Kind;

/// The fields of a packet. Neither key is among them.
#[derive(Debug)]
pub struct Fields<'a> {
    asked: &'a Asked,
    /// `None`: GnuPG's.
    mode: Option<Mode>,
    hmac_type: Option<HashType>,
    encoded: &'a str,
    digest: &'a str,
    hmac: Option<&'a str>,
    wire: &'a str,
    /// The text for a second factor is a password, and not for a log.
    hides_auth: bool,
}

const NONE: &str = "<NULL>";
const HIDDEN: &str = "<not shown>";

impl<'a> Fields<'a> {
    /// What `asked` says, and how it was sealed with `keys`: for who made it.
    #[must_use]
    pub fn sealed(asked: &'a Asked, sealed: &'a Sealed, keys: &Keys) -> Self {
        let Sealed { encoded, digest, hmac, wire, .. } = sealed;
        let (mode, hmac_type, hmac) = (Some(keys.mode()), keys.hmac_type(), hmac.as_deref());
        Self { asked, mode, hmac_type, encoded, digest, hmac, wire, hides_auth: false }
    }

    /// What was said, and how gpg sealed it: for who had it made.
    #[must_use]
    pub fn wrapped(said: &'a Encoded, wrapped: &'a Wrapped, hmac_type: Option<HashType>) -> Self {
        let Encoded { asked, encoded, digest } = said;
        let Wrapped { hmac, wire, .. } = wrapped;
        let hmac = hmac.as_deref();
        Self { asked, mode: None, hmac_type, encoded, digest, hmac, wire, hides_auth: false }
    }
}

impl GpgKeys {
    /// The listing of a packet of these keys, for a server's log: first the packet as it came.
    #[must_use]
    pub fn listing(&self, packet: &Packet<'_>, asked: &Asked) -> String {
        opened(packet, asked, None, self.hmac_type())
    }
}

impl Keys {
    /// The listing of a packet that these keys opened, for a server's log: first the packet as it came.
    #[must_use]
    pub fn listing(&self, packet: &Packet<'_>, asked: &Asked) -> String {
        opened(packet, asked, Some(self.mode()), self.hmac_type())
    }
}

fn opened(packet: &Packet<'_>, asked: &Asked, mode: Option<Mode>, hmac_type: Option<HashType>) -> String {
    // A packet is letters only.
    let text = str::from_utf8(packet.text()).unwrap_or_default();
    let tail = hmac_type.map_or(0, HashType::bare_length);
    let (wire, hmac) = text.split_at_checked(text.len().saturating_sub(tail)).unwrap_or((text, ""));
    let encoded = asked.encode();
    let digest = asked.wish.digest.digest(encoded.as_bytes()).to_bare();
    let fields = Fields {
        asked,
        mode,
        hmac_type,
        encoded: &encoded,
        digest: &digest,
        hmac: Some(hmac).filter(|hmac| !hmac.is_empty()),
        wire,
        hides_auth: true,
    };
    fields.to_string()
}

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wish = &self.asked.wish;
        let kind = wish.kind();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
        let encryption = if self.mode.is_some() { "1 (Rijndael)" } else { "2 (GPG)" };
        let hides = self.hides_auth && wish.server_auth.is_some();
        let auth = wish
            .server_auth
            .as_ref()
            .map(|auth| if hides { HIDDEN.to_owned() } else { String::from_utf8_lossy(auth).into_owned() });
        writeln!(f, "SPA Field Values:\n=================")?;
        for (name, value) in [
            ("Random Value", self.asked.random.clone()),
            ("Username", wish.user.clone()),
            ("Timestamp", self.asked.stamp.to_string()),
            ("FKO Version", wish.version.clone()),
            ("Message Type", format!("{} ({})", kind.number(), kind_name(kind))),
            ("Message String", wish.message.to_string()),
            ("Nat Access", or_none(wish.nat.as_ref().map(ToString::to_string))),
            ("Server Auth", or_none(auth)),
            ("Client Timeout", wish.timeout.unwrap_or_default().to_string()),
            ("Digest Type", hash_name(Some(wish.digest))),
            ("HMAC Type", hash_name(self.hmac_type)),
            ("Encryption Type", encryption.to_owned()),
            ("Encryption Mode", self.mode.map_or("7 (Asymmetric)", mode_name).to_owned()),
            ("Encoded Data", if hides { HIDDEN.to_owned() } else { self.encoded.to_owned() }),
            ("SPA Data Digest", self.digest.to_owned()),
            ("HMAC", or_none(self.hmac.map(str::to_owned))),
            ("Final SPA Data", self.wire.to_owned()),
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
    use portunus_model::{Proto, Unix};

    use super::*;
    use crate::Ask;
    use crate::fwknop::{Message, Wish, seal};

    #[test]
    fn the_listing_has_the_known_shape() {
        let keys = Keys::new(b"key", Mode::Ctr, Some((HashType::Sha512, b"other"))).unwrap();
        let message = Message::Access { address: None, ports: vec![(Proto::Tcp, 22)] };
        let sealed =
            seal(&keys, Wish::new("alice", message), Unix::from_secs(1_800_000_000), &mut SystemEntropy);
        let sealed = sealed.unwrap();
        let text = Fields::sealed(&sealed.asked, &sealed, &keys).to_string();
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

    #[test]
    fn a_server_lists_the_same_but_for_the_second_factor() {
        let keys = Keys::new(b"key", Mode::Cbc, Some((HashType::Sha256, b"other"))).unwrap();
        let message = Message::Access { address: None, ports: vec![(Proto::Tcp, 22)] };
        let opened = |wish: Wish| {
            let sealed = seal(&keys, wish, Unix::from_secs(1_800_000_000), &mut SystemEntropy).unwrap();
            let packet = Packet::new_checked(sealed.wire.as_bytes()).unwrap();
            let knock = keys.open(&packet).unwrap();
            let Ask::Fwknop(asked) = knock.ask() else { panic!("it is fwknop's") };
            (keys.listing(&packet, asked), Fields::sealed(asked, &sealed, &keys).to_string(), sealed)
        };
        let (listing, clients, sealed) = opened(Wish::new("alice", message.clone()));
        let hmac = sealed.hmac.clone().unwrap();
        let body = sealed.wire.strip_suffix(hmac.as_str()).unwrap();
        assert_eq!(listing, clients.replace(&sealed.wire, body));
        let secret = Wish { server_auth: Some(b"a password".to_vec()), ..Wish::new("alice", message) };
        let (listing, ..) = opened(secret);
        assert!(listing.contains("    Server Auth: <not shown>\n Client Timeout"), "{listing}");
        let encoded = portunus_crypto::text::encode_bare(b"a password");
        assert!(!listing.contains("a password") && !listing.contains(&encoded), "{listing}");
    }
}
