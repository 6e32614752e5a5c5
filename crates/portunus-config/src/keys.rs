//! Keys as text: what is wrong with one, in words. Their mathematics is in portunus-crypto.

use portunus_crypto::text::{self, TextError};
use portunus_crypto::{Secret, digest, ed25519, x25519};
use zeroize::Zeroizing;

use crate::ValueError;

/// The first 8 bytes of the SHA-256 of a public key, in hex: what `add` and `list` show.
#[must_use]
pub fn fingerprint(public: &[u8; 32]) -> String {
    digest::sha256(&[public]).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A client's Ed25519 public key: a point, in its one encoding, not of small order.
pub(crate) fn client_public(key: &str, word: &str) -> Result<[u8; 32], ValueError> {
    let bytes = text::decode::<32>(word).map_err(|error| public_fault(key, error))?;
    match ed25519::VerifyingKey::new(bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            let why = error.to_string();
            let why = why.strip_prefix("it is ").unwrap_or(&why);
            Err(ValueError::new(format!("{key} is {why}"), "make new keys for this client with `add`"))
        }
    }
}

/// A client's X25519 public key (native): in its one spelling, not of low order.
pub(crate) fn native_public(key: &str, word: &str) -> Result<[u8; 32], ValueError> {
    let bytes = text::decode::<32>(word).map_err(|error| public_fault(key, error))?;
    x25519::check_public(&bytes).map(|()| bytes).map_err(|error| {
        let why = error.to_string();
        let why = why.strip_prefix("it is ").unwrap_or(&why);
        ValueError::new(format!("{key} is {why}"), "make new keys for this client with `add`")
    })
}

/// A server's X25519 public key.
pub(crate) fn server_public(key: &str, word: &str) -> Result<[u8; 32], ValueError> {
    text::decode::<32>(word).map_err(|error| public_fault(key, error))
}

/// A server's X25519 private key, and its public half.
pub(crate) fn server_private(key: &str, word: &str) -> Result<(Secret<32>, [u8; 32]), ValueError> {
    let secret = Secret::<32>::from_base64(word).map_err(|error| private_fault(key, error, 32))?;
    match x25519::PrivateKey::new(&secret) {
        Ok(private) => {
            let public = *private.public();
            Ok((secret, public))
        }
        Err(error) => Err(ValueError::new(format!("{key} cannot be used: {error}"), "try again")),
    }
}

/// 32 secret bytes of a profile: a private key of X25519, or a chain's value.
pub(crate) fn secret(key: &str, word: &str) -> Result<Secret<32>, ValueError> {
    Secret::<32>::from_base64(word).map_err(|error| {
        let what = match error {
            TextError::NotBase64 => format!("{key} is not base64"),
            TextError::Length { got, .. } => format!("{key} has {}, not 32", bytes(got)),
        };
        ValueError::new(what, "copy the whole of it: 44 characters, the last one is =")
    })
}

/// A client's Ed25519 private key: seed and public key behind it, or the seed alone. Gives both halves.
pub(crate) fn client_private(key: &str, word: &str) -> Result<(Secret<32>, [u8; 32]), ValueError> {
    let seed = match Secret::<32>::from_base64(word) {
        Ok(seed) => seed,
        Err(TextError::Length { got: 64, .. }) => seed_of_pair(key, word)?,
        Err(error) => return Err(private_fault(key, error, 64)),
    };
    match ed25519::SigningKey::new(&seed) {
        Ok(signing) => {
            let public = *signing.public();
            Ok((seed, public))
        }
        Err(error) => Err(ValueError::new(format!("{key} cannot be used: {error}"), "try again")),
    }
}

fn seed_of_pair(key: &str, word: &str) -> Result<Secret<32>, ValueError> {
    let pair = Secret::<64>::from_base64(word).map_err(|error| private_fault(key, error, 64))?;
    ed25519::SigningKey::from_pair(&pair).map_err(|error| {
        let why = error.to_string();
        let why = why.strip_prefix("its ").map_or_else(|| why.clone(), |rest| format!("{key}: its {rest}"));
        ValueError::new(why, "copy the whole profile again from the server's `add`")
    })?;
    let mut seed = Zeroizing::new([0; 32]);
    if let Some(half) = pair.expose().first_chunk::<32>() {
        seed.copy_from_slice(half);
    }
    Ok(Secret::from_bytes(*seed))
}

/// Seed and public key in 64 bytes, base64: as openme writes a private key.
pub(crate) fn pair_text(seed: &Secret<32>, public: &[u8; 32]) -> Zeroizing<String> {
    let mut pair = Zeroizing::new([0; 64]);
    for (to, from) in pair.iter_mut().zip(seed.expose().iter().chain(public)) {
        *to = *from;
    }
    Zeroizing::new(text::encode(&*pair))
}

fn public_fault(key: &str, error: TextError) -> ValueError {
    match error {
        TextError::NotBase64 => ValueError::new(
            format!("{key} is not base64"),
            "copy the whole public key: 44 characters of A-Z a-z 0-9 + / and = at the end",
        ),
        TextError::Length { got: 64, .. } => ValueError::new(
            format!("{key} has 64 bytes: that is a private key"),
            "put the public key here (44 characters), and make new keys if others could read this file",
        ),
        TextError::Length { got, .. } => ValueError::new(
            format!("{key} has {}, not 32", bytes(got)),
            "copy the whole public key: 44 characters, the last one is =",
        ),
    }
}

fn private_fault(key: &str, error: TextError, want: usize) -> ValueError {
    let form = if want == 64 {
        "88 characters, or 44 for the seed alone"
    } else {
        "44 characters, the last one is ="
    };
    let mend = format!("copy the whole private key: {form}");
    match error {
        TextError::NotBase64 => ValueError::new(format!("{key} is not base64"), mend),
        TextError::Length { got: 64, .. } if want == 32 => ValueError::new(
            format!("{key} has 64 bytes: that is a client's key"),
            "put the server's X25519 key here (32 bytes, 44 characters)",
        ),
        TextError::Length { got, .. } => {
            ValueError::new(format!("{key} has {}, not {want}", bytes(got)), mend)
        }
    }
}

fn bytes(count: usize) -> String {
    format!("{count} byte{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b64(bytes: &[u8]) -> String {
        text::encode(bytes)
    }

    #[test]
    fn a_private_key_comes_with_or_without_its_public_half() {
        let seed = Secret::from_bytes([9; 32]);
        let public = *ed25519::SigningKey::new(&seed).unwrap().public();
        let pair = pair_text(&seed, &public);
        for word in [pair.as_str(), &seed.to_base64()] {
            let (read, half) = client_private("private_key", word).unwrap();
            assert!(read == seed);
            assert_eq!(half, public);
        }
    }

    #[test]
    fn a_fingerprint_is_eight_bytes_of_sha_256() {
        assert_eq!(fingerprint(&[0; 32]), "66687aadf862bd77");
    }

    #[test]
    fn says_what_is_wrong_with_a_key() {
        let point_less = |y: u8| {
            let mut bytes = [0; 32];
            bytes[0] = y;
            b64(&bytes)
        };
        let said = |word: &str| client_public("public_key", word).unwrap_err().to_string();
        assert_eq!(
            said("nonsense!"),
            "public_key is not base64: copy the whole public key: 44 characters of A-Z a-z 0-9 + / and = at the end"
        );
        assert_eq!(
            said(&b64(&[1; 31])),
            "public_key has 31 bytes, not 32: copy the whole public key: 44 characters, the last one is ="
        );
        assert_eq!(
            said(&b64(&[1; 64])),
            "public_key has 64 bytes: that is a private key: put the public key here (44 characters), and make new keys \
             if others could read this file"
        );
        assert_eq!(
            said(&point_less(2)),
            "public_key is not an Ed25519 public key: no point on the curve: make new keys for this client with `add`"
        );
        assert_eq!(
            said(&point_less(1)),
            "public_key is an Ed25519 public key of small order, for which anybody can sign: make new keys for this \
             client with `add`"
        );
        let private = |word: &str| client_private("private_key", word).err().map(|e| e.to_string()).unwrap();
        assert_eq!(
            private(&b64(&[1; 64])),
            "private_key: its second half is not the public key of its first: copy the whole profile again from the \
             server's `add`"
        );
        assert_eq!(
            private(&b64(&[1; 33])),
            "private_key has 33 bytes, not 64: copy the whole private key: 88 characters, or 44 for the seed alone"
        );
        let server = |word: &str| server_private("private_key", word).err().map(|e| e.to_string()).unwrap();
        assert_eq!(
            server(&b64(&[1; 64])),
            "private_key has 64 bytes: that is a client's key: put the server's X25519 key here (32 bytes, 44 characters)"
        );
        assert_eq!(
            server("?"),
            "private_key is not base64: copy the whole private key: 44 characters, the last one is ="
        );
    }
}
