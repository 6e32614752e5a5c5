//! What no key that a user may paste into a file can break. Shared by the fuzz target and by the test that replays its
//! corpus (crates/portunus-crypto/tests/corpus.rs).

use curve25519_dalek::edwards::CompressedEdwardsY;
use portunus_crypto::ed25519::{KeyError, VerifyingKey};
use portunus_crypto::{Secret, text};

/// A key, as bytes and as text. The judgement of a public key must be that of the definition: a point, in its one
/// encoding, not of small order.
pub(crate) fn keys(data: &[u8]) {
    if let Some((key, signature)) = data.split_first_chunk::<32>() {
        let verdict = VerifyingKey::new(*key);
        assert_eq!(verdict.is_ok(), is_good(*key), "{verdict:?}");
        let quick = VerifyingKey::already_checked(*key);
        assert_eq!(quick.is_ok(), matches!(verdict, Ok(_) | Err(KeyError::NotAPoint)));
        if let (Ok(quick), Some(signature)) = (quick, signature.first_chunk::<64>()) {
            assert!(!quick.verify(b"nobody signed this", signature));
        }
        assert_eq!(text::decode::<32>(&text::encode(key)), Ok(*key));
    }
    let Ok(pasted) = std::str::from_utf8(data) else { return };
    let public = text::decode::<32>(pasted);
    let secret = Secret::<32>::from_base64(pasted);
    assert_eq!(public.as_ref().err(), secret.as_ref().err());
    if let (Ok(public), Ok(secret)) = (public, secret) {
        assert_eq!(&public, secret.expose());
    }
}

fn is_good(key: [u8; 32]) -> bool {
    let Some(point) = CompressedEdwardsY(key).decompress() else { return false };
    point.compress().to_bytes() == key && !point.is_small_order()
}
