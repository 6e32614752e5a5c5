//! What a knock costs: to make, to open for a known client, to turn away.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::openme::{self, ClientKeys, LENGTH, Packet, ServerKey, VerifyingKey, Wish};
use portunus_model::Unix;

struct Scene {
    server: ServerKey,
    client: ClientKeys,
    public: VerifyingKey,
    packet: [u8; LENGTH],
}

fn scene() -> Option<Scene> {
    let server = ServerKey::new(&Secret::generate(&mut SystemEntropy).ok()?).ok()?;
    let client = SigningKey::new(&Secret::generate(&mut SystemEntropy).ok()?).ok()?;
    let public = VerifyingKey::new(*client.public()).ok()?;
    let client = ClientKeys { server: *server.public(), client };
    let packet = openme::seal(&client, Wish::default(), Unix::from_secs(0), &mut SystemEntropy).ok()?;
    Some(Scene { server, client, public, packet })
}

fn openme(c: &mut Criterion) {
    let Some(scene) = scene() else { return };
    let Scene { server, client, public, packet } = &scene;
    let unseal = |bytes: &[u8]| Packet::new_checked(bytes).map(|packet| server.unseal(&packet));

    c.bench_function("openme/seal", |b| {
        b.iter(|| openme::seal(black_box(client), Wish::default(), Unix::from_secs(0), &mut SystemEntropy));
    });
    c.bench_function("openme/open (known client)", |b| {
        b.iter(|| {
            let unsealed = unseal(black_box(packet))?.ok()?;
            unsealed.verify(black_box(public))
        });
    });
    c.bench_function("openme/unseal", |b| b.iter(|| unseal(black_box(packet))));
    if let Some(Ok(unsealed)) = unseal(packet) {
        c.bench_function("openme/verify", |b| b.iter(|| black_box(&unsealed).verify(black_box(public))));
    }
    let mut noise = *packet;
    noise.reverse();
    noise[0] = packet[0];
    c.bench_function("openme/unseal (noise of the right shape)", |b| b.iter(|| unseal(black_box(&noise))));
}

criterion_group!(benches, openme);
criterion_main!(benches);
