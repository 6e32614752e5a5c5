//! What the gate costs besides the cryptography: a known source's knock from the datagram to the granted door, next to
//! the same packet unsealed and verified and nothing else. And the walk to the last of 10,000 clients.

#![expect(clippy::expect_used, reason = "a benchmark that cannot begin may stop")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::openme::{ClientKeys, Packet, ServerKey, VerifyingKey, Wish, seal};
use portunus_gate::{Action, Gate, Keyring, Tuning};
use portunus_model::{
    Claimed, Client, ClientKey, ClientName, Datagram, Mono, Now, Opened, PortSpec, Rules, Unix, Via,
};

const SERVER: [u8; 32] = [0x42; 32];

fn server() -> ServerKey {
    ServerKey::new(&Secret::from_bytes(SERVER)).expect("a key")
}

fn secret(n: u32) -> Secret<32> {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    Secret::from_bytes(seed)
}

fn now() -> Now {
    Now { mono: Mono::from_nanos(1), wall: Unix::from_secs(1_800_000_000) }
}

fn gate(clients: u32) -> Gate {
    let client = |n| {
        let name = ClientName::new(&format!("client-{n}")).expect("a name");
        let key = ClientKey::Openme(*SigningKey::new(&secret(n)).expect("a key").public());
        let ports = PortSpec::parse("22/tcp").expect("a port").into();
        Client::new(name, key, ports, Duration::from_secs(30))
    };
    let rules = Rules {
        generation: 1,
        window: Duration::from_secs(60),
        clients: (0..clients).map(client).collect(),
        ..Rules::default()
    };
    let tuning = Tuning { knocks_at_once: u32::MAX, knocks_a_minute: u32::MAX, ..Tuning::default() };
    Gate::new(rules, Keyring { openme: Some(server()), ..Keyring::default() }, tuning)
}

fn datagram(n: u32) -> Datagram {
    let keys = ClientKeys { server: *server().public(), client: SigningKey::new(&secret(n)).expect("a key") };
    let bytes = seal(&keys, Wish::default(), now().wall, &mut SystemEntropy).expect("a packet");
    let source = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0001 + n), 4000));
    Datagram::new(bytes, source, Via::Udp)
}

fn knock(gate: &mut Gate, datagram: Datagram) {
    gate.handle_datagram(now(), datagram);
    while gate.work(now(), 100) {}
    while let Some(action) = gate.poll_action() {
        match action {
            Action::Claim(ticket, _) => gate.handle_claimed(now(), ticket, Claimed::Fresh),
            Action::Open(ticket, warrant) => {
                black_box(warrant.into_opening());
                gate.handle_opened(now(), ticket, Opened::Open);
            }
            Action::Tell(event) => drop(black_box(event)),
            Action::Accept(_)
            | Action::Run(..)
            | Action::Resolve(..)
            | Action::Gpg(_)
            | Action::Chains(_)
            | Action::Settle(_)
            | Action::Enrol(..)
            | Action::Answer(_)
            | Action::Close(_) => {}
        }
    }
}

fn known(c: &mut Criterion) {
    let mut group = c.benchmark_group("a known source's knock");
    let packet = datagram(0);
    let server = server();
    let key = VerifyingKey::new(*SigningKey::new(&secret(0)).expect("a key").public()).expect("a key");
    group.bench_function("its cryptography alone", |b| {
        b.iter(|| {
            let packet = Packet::new_checked(&packet.bytes).expect("a packet");
            let unsealed = server.unseal(&packet).expect("sealed");
            let _ = black_box(unsealed.verify(&key).expect("signed"));
        });
    });
    for clients in [1, 100, 10_000] {
        let mut gate = gate(clients);
        let packets: Vec<Datagram> = (0..clients.min(1000)).map(datagram).collect();
        packets.iter().for_each(|packet| knock(&mut gate, packet.clone()));
        let mut next = packets.iter().cycle();
        group.bench_function(format!("with {clients} clients"), |b| {
            let packet = || next.next().expect("a cycle").clone();
            b.iter_batched(packet, |packet| knock(&mut gate, packet), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn walk(c: &mut Criterion) {
    let mut group = c.benchmark_group("a new address");
    group.sample_size(10);
    let packet = datagram(9_999);
    group.bench_function("the last of 10,000 clients", |b| {
        b.iter_batched_ref(|| gate(10_000), |gate| knock(gate, packet.clone()), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, known, walk);
criterion_main!(benches);
