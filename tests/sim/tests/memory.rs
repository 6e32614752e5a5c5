//! 10,000 clients, each known and with a door open, and a store that has their claims: what that takes in memory. A file
//! of its own, so that the process is this test's alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::openme::{ClientKeys, ServerKey, Wish, seal};
use portunus_gate::{Action, Door, Gate, Keyring, RestoredGrant, Tuning};
use portunus_model::{
    Client, ClientKey, ClientName, Datagram, Grounds, Mono, Now, Opened, PortSpec, Rules, Unix, Via,
};
use portunus_store::{MemoryStore, ReplayStore};

#[test]
fn ten_thousand_clients_are_cheap() {
    const CLIENTS: u32 = 10_000;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let key = |n: u32| {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        SigningKey::new(&Secret::from_bytes(seed)).unwrap()
    };
    let client = |n| {
        let name = ClientName::new(&format!("client-{n}")).unwrap();
        let ports = PortSpec::parse("22/tcp").unwrap().into();
        Client::new(name, ClientKey::Openme(*key(n).public()), ports, Duration::from_secs(30))
    };
    let now = Now { mono: Mono::from_nanos(1), wall: Unix::from_secs(1_800_000_000) };
    let server = ServerKey::new(&Secret::from_bytes([0x42; 32])).unwrap();
    let public = *server.public();
    drop(key(0));

    let before = resident();
    let rules = Rules {
        generation: 1,
        window: Duration::from_secs(60),
        clients: (0..CLIENTS).map(client).collect(),
        ..Rules::default()
    };
    let mut gate =
        Gate::new(rules, Keyring { openme: Some(server), ..Keyring::default() }, Tuning::default());
    let mut store = MemoryStore::new(1 << 18);
    let loaded = resident() - before;
    // As after a restart with their doors open: all are known, so that none of them walks past the others.
    let address = |n: u32| Ipv4Addr::from(0x0a00_0001 + n);
    let restored = |n: u32| RestoredGrant {
        client: ClientName::new(&format!("client-{n}")).unwrap(),
        address: address(n).into(),
        door: Door { ports: PortSpec::parse("22/tcp").unwrap().into(), ..Door::default() },
        until: now.mono.after(Duration::from_secs(30)),
        grounds: Grounds::default(),
    };
    gate.handle_restored(now, (0..CLIENTS).map(restored).collect());
    for n in (0..CLIENTS).step_by(10) {
        let keys = ClientKeys { server: public, client: key(n) };
        let bytes = seal(&keys, Wish::default(), now.wall, &mut SystemEntropy).unwrap();
        let source = SocketAddr::from((address(n), 4000));
        gate.handle_datagram(now, Datagram::new(bytes, source, Via::Udp));
        while let Some(action) = gate.poll_action() {
            match action {
                Action::Claim(ticket, claim) => {
                    gate.handle_claimed(now, ticket, store.claim(now, &[claim])[0]);
                }
                Action::Open(ticket, _) => gate.handle_opened(now, ticket, Opened::Open),
                Action::Accept(_)
                | Action::Run(..)
                | Action::Resolve(..)
                | Action::Gpg(_)
                | Action::Chains(_)
                | Action::Settle(_)
                | Action::Enrol(..)
                | Action::Answer(_)
                | Action::Close(_)
                | Action::Tell(_) => {}
            }
        }
    }
    assert_eq!(gate.sessions(now).count(), CLIENTS as usize);
    let busy = resident() - before;
    println!("{loaded} kB with the rules, {busy} kB with every client known and a door open");
    assert!(busy < 12_000, "{busy} kB");
}
