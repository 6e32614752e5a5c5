//! What a native knock costs on this machine: a tag that is wrong, and a knock from the first byte to its payload.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::native::{Chain, ClientKeys, Day, Door, LONGEST, Packet, Payload, SHORTEST, seal};
use portunus_model::Unix;

fn native(c: &mut Criterion) {
    let secret = |n| Secret::from_bytes([n; 32]);
    let stamp = Unix::from_secs(1_795_694_400);
    let (Ok(door), Ok(client), Some(day)) =
        (Door::new(&secret(1)), PrivateKey::new(&secret(2)), Day::of(stamp))
    else {
        return;
    };
    let (chain, link) = (Chain::new(day, secret(3)), Chain::new(day, secret(4)));
    let keys = ClientKeys { server: *door.public(), client: &client, door: &chain, link: &link };
    let payload = Payload::knock(stamp);
    let Ok((knock, _)) = seal(&keys, &payload, &mut SystemEntropy) else { return };
    let (Ok(today), Ok(shared)) = (door.day(&chain, day), door.shared_with(client.public())) else { return };

    c.bench_function("native/seal", |b| {
        b.iter(|| seal(black_box(&keys), &payload, &mut SystemEntropy).is_ok());
    });
    for length in [SHORTEST, LONGEST] {
        let junk = vec![7; length];
        c.bench_function(&format!("native/wrong tag, {length} bytes"), |b| {
            b.iter(|| Packet::new_checked(black_box(&junk)).is_some_and(|packet| today.admits(&packet)));
        });
    }
    c.bench_function("native/open", |b| {
        b.iter(|| {
            let packet = Packet::new_checked(black_box(&knock))?;
            let identified = today.admits(&packet).then(|| door.identify(&today, &packet))?.ok()?;
            identified.open(&shared, link.value()).ok().map(|opened| opened.claim)
        });
    });
}

criterion_group!(benches, native);
criterion_main!(benches);
