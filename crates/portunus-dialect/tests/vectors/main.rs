//! Runs every vector of `vectors/` (its README says what the lines mean): openme's here, fwknop's in its module.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail where it stands"
)]

mod file;
mod fwknop;
mod judge;
mod native;
mod native_draft;

use std::net::IpAddr;
use std::path::Path;

use file::Vector;
use portunus_crypto::ed25519::{KeyError, SigningKey};
use portunus_crypto::{FixedEntropy, Secret, text};
use portunus_dialect::openme::{self, ClientKeys, Packet, ServerKey, VerifyingKey, Wish};
use portunus_dialect::recognise;
use portunus_model::{ClientKey, Dialect, Unix};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/openme");

#[test]
fn every_vector_comes_out_as_it_says() {
    let vectors = Vector::all(Path::new(FOLDER));
    let mut run = [0; 4];
    for vector in &vectors {
        let (count, check): (_, fn(&Vector)) = match vector.one("kind") {
            "seal" => (0, sealed_byte_for_byte),
            "open" => (1, opens),
            "judge" => (2, judge::judged),
            "key" => (3, key_checked),
            other => panic!("{}: unknown kind {other}", vector.name()),
        };
        run[count] += 1;
        check(vector);
    }
    let [seal, open, judge, key] = run;
    println!("{seal} sealed, {open} opened, {judge} judged, {key} keys");
    assert!(seal >= 15 && open >= 4 && judge >= 46 && key >= 8, "vectors are missing: {run:?}");
}

/// With every random input given, the packet is the original's, and it opens to what went in.
fn sealed_byte_for_byte(vector: &Vector) {
    let keys = ClientKeys { server: key(vector.one("server-public")), client: client(vector) };
    let random =
        ["ephemeral-secret", "aead-nonce", "random-nonce"].map(|name| file::hex(vector.one(name))).concat();
    let wish = Wish { target: address(vector.one("wish")) };
    let packet = openme::seal(&keys, wish, stamp(vector), &mut FixedEntropy::new(&random)).unwrap();
    assert_eq!(packet[..], vector.packet(), "{}", vector.name());
    opens(vector);
}

/// The packet is proven by its client's key and says what the vector says.
fn opens(vector: &Vector) {
    let server = ServerKey::new(&Secret::from_base64(vector.one("server-private")).unwrap()).unwrap();
    assert_eq!(*server.public(), key(vector.one("server-public")), "{}", vector.name());
    let public: [u8; 32] = key(vector.one("client-public"));
    assert_eq!(*client(vector).public(), public, "{}", vector.name());

    assert!(recognise(&vector.packet()).is_some(), "{}", vector.name());
    let unsealed = server.unseal(&Packet::new_checked(&vector.packet()).unwrap()).unwrap();
    let knock = unsealed.verify(&VerifyingKey::new(public).unwrap()).unwrap();
    assert_eq!(knock.dialect(), Dialect::Openme);
    assert_eq!(knock.key(), ClientKey::Openme(public), "{}", vector.name());
    assert_eq!(knock.stamp(), stamp(vector), "{}", vector.name());
    assert_eq!(knock.target(), address(vector.one("target")), "{}", vector.name());
}

/// What a public key in a file is taken for.
fn key_checked(vector: &Vector) {
    let bytes = key(vector.one("client-public"));
    let verdict = match VerifyingKey::new(bytes) {
        Ok(_) => "good",
        Err(KeyError::NotAPoint) => "not-a-point",
        Err(KeyError::NotCanonical) => "not-canonical",
        Err(KeyError::SmallOrder) => "small-order",
    };
    assert_eq!(verdict, vector.one("expect"), "{}", vector.name());
    let quick = VerifyingKey::already_checked(bytes);
    assert_eq!(quick.is_ok(), matches!(verdict, "good" | "not-a-point"), "{}", vector.name());
}

fn client(vector: &Vector) -> SigningKey {
    SigningKey::new(&Secret::from_base64(vector.one("client-seed")).unwrap()).unwrap()
}

fn key(base64: &str) -> [u8; 32] {
    text::decode(base64).unwrap()
}

pub(crate) fn stamp(vector: &Vector) -> Unix {
    Unix::from_nanos(vector.one("timestamp").parse().unwrap())
}

pub(crate) fn address(word: &str) -> Option<IpAddr> {
    (word != "source").then(|| word.parse().unwrap())
}
