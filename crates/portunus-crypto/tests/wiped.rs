//! Secrets are gone when they are dropped: this test reads its own memory, all of it, and looks for them.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test reads its own memory, and may fail there"
)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use portunus_crypto::aes256::Chaining;
use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::evp::Passphrase;
use portunus_crypto::hash::HashType;
use portunus_crypto::hmac::MacKey;
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Entropy, EntropyFailed, Secret, SystemEntropy};

/// Random bytes, kept inverted: so that what is looked for is nowhere in memory on the searcher's account.
struct Inverted(Vec<u8>);

impl Inverted {
    fn new() -> Self {
        let mut bytes = vec![0; 32];
        SystemEntropy.fill(&mut bytes).unwrap();
        Self(bytes)
    }

    /// Without the ends, where X25519 sets and clears bits: 24 bytes that nothing else has.
    fn is_in(&self, window: &[u8]) -> bool {
        self.0.iter().skip(4).take(24).zip(window).all(|(inverted, byte)| *byte == !inverted)
    }

    /// How often it stands in this process's memory.
    fn found(&self) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = Vec::new();
        let mut found = 0;
        for line in maps.lines().filter(|line| line.contains(" rw") && !line.contains("[v")) {
            let (range, _) = line.split_once(' ').unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).unwrap());
            buffer.clear();
            memory.seek(SeekFrom::Start(from)).unwrap();
            // A mapping may have gone since, with the buffer that grew; what is not there holds no secret.
            let _ = (&mut memory).take(to - from).read_to_end(&mut buffer);
            found += buffer.windows(24).filter(|window| self.is_in(window)).count();
            buffer.fill(0);
        }
        found
    }
}

impl Entropy for Inverted {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailed> {
        for (to, inverted) in out.iter_mut().zip(&self.0) {
            *to = !inverted;
        }
        Ok(())
    }
}

#[test]
fn nothing_of_a_secret_is_left_in_memory() {
    let mut needle = Inverted::new();
    let secret = Secret::<32>::generate(&mut needle).unwrap();
    let moved = secret;
    let second = moved.duplicate();
    assert!(needle.found() >= 2, "the search finds what is there");
    drop((moved, second));
    assert_eq!(needle.found(), 0, "a dropped secret");

    let secret = Secret::<32>::generate(&mut needle).unwrap();
    let (dh, signing) = (PrivateKey::new(&secret).unwrap(), SigningKey::new(&secret).unwrap());
    let _ = dh.agree(signing.public());
    signing.sign(b"a message").unwrap();
    drop((secret, dh, signing));
    assert_eq!(needle.found(), 0, "the keys of a dropped secret");

    let secret = Secret::<32>::generate(&mut needle).unwrap();
    let passphrase = Passphrase::new(secret.expose());
    let cut = Passphrase::of_length(secret.expose(), 32, b'0');
    assert!(needle.found() >= 3, "the search finds passphrases");
    passphrase.cipher(&[7; 8]).encrypt(Chaining::Cbc, &mut [0; 64]);
    for hash in HashType::ALL {
        let mac = MacKey::new(hash, secret.expose(), b"start").unwrap();
        let _ = mac.tag(b"rest");
    }
    drop((secret, passphrase, cut));
    assert_eq!(needle.found(), 0, "passphrases and what was made of them");
}
