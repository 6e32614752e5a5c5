//! What a packet costs, and above all what one costs that is somebody else's: a server tries every stanza.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portunus_crypto::SystemEntropy;
use portunus_dialect::fwknop::{self, HashType, Keys, Message, Mode, Packet, Wish};
use portunus_model::{Proto, Unix};

const STANZAS: u16 = 10_000;

fn keys(n: u16, mode: Mode, hash: Option<HashType>) -> Option<Keys> {
    let (mut encryption, mut hmac) = ([7; 32], [9; 64]);
    encryption[..2].copy_from_slice(&n.to_be_bytes());
    hmac[..2].copy_from_slice(&n.to_be_bytes());
    Keys::new(&encryption, mode, hash.map(|hash| (hash, hmac.as_slice()))).ok()
}

fn wire(keys: &Keys) -> Option<String> {
    let message = Message::Access { address: Some([1, 2, 3, 4].into()), ports: vec![(Proto::Tcp, 22)] };
    let wish = Wish::new("root", message);
    Some(fwknop::seal(keys, wish, Unix::from_secs(1_795_217_501), &mut SystemEntropy).ok()?.wire)
}

/// What these keys say to a packet of their own, and to one that only the keys tell from it.
fn pair(c: &mut Criterion, name: &str, mode: Mode, hash: Option<HashType>) -> Option<()> {
    let (own, other) = (keys(1, mode, hash)?, keys(2, mode, hash)?);
    let (own_text, other_text) = (wire(&own)?, wire(&other)?);
    let (own_packet, other_packet) =
        (Packet::new_checked(own_text.as_bytes())?, Packet::new_checked(other_text.as_bytes())?);
    c.bench_function(&format!("fwknop/open {name}"), |b| b.iter(|| own.open(black_box(&own_packet))));
    c.bench_function(&format!("fwknop/refuse {name}"), |b| b.iter(|| own.open(black_box(&other_packet))));
    Some(())
}

fn stanzas(c: &mut Criterion) -> Option<()> {
    let hash = Some(HashType::Sha256);
    let all: Vec<_> = (1..=STANZAS).filter_map(|n| keys(n, Mode::Cbc, hash)).collect();
    let text = wire(&keys(0, Mode::Cbc, hash)?)?;
    let packet = Packet::new_checked(text.as_bytes())?;
    c.bench_function("fwknop/refuse by 10,000 stanzas", |b| {
        b.iter(|| all.iter().filter(|keys| keys.open(black_box(&packet)).is_ok()).count());
    });
    c.bench_function("fwknop/shape", |b| b.iter(|| Packet::new_checked(black_box(text.as_bytes()))));
    c.bench_function("fwknop/claim", |b| b.iter(|| black_box(&packet).claim_key()));
    let keys = all.first()?;
    c.bench_function("fwknop/seal", |b| b.iter(|| wire(black_box(keys))));
    let noise = Packet::new_checked(text.get(1..)?.as_bytes())?;
    c.bench_function("fwknop/refuse another length", |b| b.iter(|| keys.open(black_box(&noise))));
    Some(())
}

fn fwknop(c: &mut Criterion) {
    stanzas(c);
    for hash in HashType::ALL {
        pair(c, &format!("hmac {}", hash.as_str()), Mode::Cbc, Some(hash));
    }
    for mode in Mode::ALL {
        pair(c, &format!("{} without hmac", mode.as_str()), mode, None);
    }
}

criterion_group!(benches, fwknop);
criterion_main!(benches);
