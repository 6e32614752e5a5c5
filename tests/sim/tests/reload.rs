//! A reload that ends many grants at once: what that takes in time, during which no knock is answered.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use portunus_gate::{Door, Gate, Keyring, RestoredGrant, Tuning};
use portunus_model::{ClientName, Grounds, Mono, Now, PortSpec, Reason, Rules, Unix};

#[test]
fn twenty_thousand_grants_end_without_a_walk_for_each() {
    let now = Now { mono: Mono::from_nanos(1), wall: Unix::from_secs(1_800_000_000) };
    let mut gate = Gate::new(Rules::default(), Keyring::default(), Tuning::default());
    let restored = |n: u32| RestoredGrant {
        client: ClientName::new(&format!("gone-{n}")).unwrap(),
        address: IpAddr::V4(Ipv4Addr::from(n)),
        door: Door { ports: PortSpec::parse("22/tcp").unwrap().into(), ..Door::default() },
        until: now.mono.after(Duration::from_secs(30)),
        grounds: Grounds::default(),
    };
    let began = Instant::now();
    gate.handle_restored(now, (1..=20_000).map(restored).collect());
    assert_eq!(gate.counters().of(Reason::Closed), 20_000);
    let took = began.elapsed();
    println!("{took:?} for 20,000 grants of clients that are gone");
    assert!(took < Duration::from_secs(3), "{took:?}");
}
