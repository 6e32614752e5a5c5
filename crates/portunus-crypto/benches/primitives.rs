//! What each primitive costs on this machine.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portunus_crypto::ed25519::{SigningKey, VerifyingKey};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{LibraryRefused, Secret, aead, digest, hkdf};

fn primitives(c: &mut Criterion) {
    let secret = Secret::from_bytes([7; 32]);
    let (Ok(dh), Ok(peer)) = (PrivateKey::new(&secret), PrivateKey::new(&Secret::from_bytes([9; 32]))) else {
        return;
    };
    c.bench_function("x25519/key", |b| {
        b.iter(|| PrivateKey::new(black_box(&secret)).map(|key| *key.public()));
    });
    c.bench_function("x25519/agree", |b| b.iter(|| dh.agree(black_box(peer.public()))));

    ed25519(c, &secret).unwrap_or_default();

    c.bench_function("hkdf/derive", |b| {
        b.iter(|| hkdf::derive(black_box(&secret), b"openme-v1-chacha20poly1305"));
    });
    let mut text = [0; 40];
    let Ok(tag) = aead::seal(&secret, &[0; 12], &[], &mut text) else { return };
    let sealed = [&text[..], &tag[..]].concat();
    c.bench_function("aead/open 56 bytes", |b| {
        b.iter(|| aead::open(&secret, &[0; 12], &[], black_box(&sealed), &mut text));
    });
    c.bench_function("sha256/69 bytes", |b| {
        b.iter(|| digest::sha256(black_box(&[&[0; 21], &[0; 32], &[0; 16]])));
    });
}

fn ed25519(c: &mut Criterion, seed: &Secret<32>) -> Result<(), LibraryRefused> {
    let key = SigningKey::new(seed)?;
    let message = [1; 101];
    let signature = key.sign(&message)?;
    let public = VerifyingKey::new(*key.public()).map_err(|_| LibraryRefused)?;
    c.bench_function("ed25519/sign", |b| b.iter(|| key.sign(black_box(&message))));
    c.bench_function("ed25519/verify", |b| b.iter(|| public.verify(black_box(&message), &signature)));
    c.bench_function("ed25519/check a key", |b| b.iter(|| VerifyingKey::new(black_box(*key.public()))));
    c.bench_function("ed25519/key already checked", |b| {
        b.iter(|| VerifyingKey::already_checked(black_box(*key.public())));
    });
    Ok(())
}

criterion_group!(benches, primitives);
criterion_main!(benches);
