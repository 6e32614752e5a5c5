//! What the doors of a batch of grants cost in the kernel's rules: with nftables our own CPU, with iptables the time that its
//! programs take, alone and beside doors that stand open.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use portunus_fw::iptables::{Iptables, Programs, Variant};
use portunus_fw::{Change, Element, Firewall as _, Nft, Structure};
use portunus_interop::{Firewall, World};
use portunus_model::{Place, PortSpec, Stance};
use portunus_sys::clock;

use crate::{cost, millis, row};

/// Longer than any of this takes.
const LONG: Duration = Duration::from_hours(1);
const MOST: u32 = 2000;
/// Doors opened for each figure of nftables.
const DOORS: u32 = 20_000;

pub(crate) fn all() {
    let world = World::new(Firewall::None);
    world.server.inside(nftables);
    for (variant, name) in [(Variant::Nft, "iptables-nft"), (Variant::Legacy, "iptables-legacy")] {
        let world = World::new(Firewall::None);
        world.server.inside(|| iptables(variant, name));
    }
}

fn nftables() {
    let mut nft = Nft::open().expect("the kernel speaks nftables");
    nft.install(&structure(Place::Own), &[]).expect("our rules go in");
    for size in [1, 16, 64] {
        let batches: Vec<Vec<Change>> = (0..DOORS / size).map(|n| doors(n * size, size)).collect();
        let began = cost::own();
        batches.iter().for_each(|batch| change(&mut nft, batch));
        let each = (cost::own() - began).as_secs_f64() * 1e6 / f64::from(DOORS / size * size);
        row(
            &format!("grants in the kernel, nftables, {size} at once"),
            &format!("{each:.1} us of CPU a grant"),
            "",
        );
    }
}

fn iptables(variant: Variant, name: &str) {
    let mut iptables = Iptables::new(Programs::new(variant), clock::wall).keeping_live_flows();
    iptables.install(&structure(Place::Iptables), &[]).expect("our rules go in");
    for standing in [0, 768] {
        let beside = doors(256, standing);
        change(&mut iptables, &beside);
        for size in [1, 16, 64] {
            let batch = doors(0, size);
            let began = Instant::now();
            change(&mut iptables, &batch);
            let what = format!("grants in the kernel, {name}, {size} at once beside {standing}");
            row(&what, &millis(began.elapsed()), "");
        }
    }
}

fn structure(place: Place) -> Structure {
    let doors = vec![ssh()];
    let stance = Stance { place, protected: doors.clone(), knock_port: Some(54154), ..Stance::default() };
    Structure { doors, stance, most_open: MOST, ..Structure::default() }
}

fn ssh() -> PortSpec {
    *PortSpec::parse("22/tcp").expect("a port").first().expect("one port")
}

/// So many from this one on; an address that comes again has its grant renewed.
fn doors(first: u32, count: u32) -> Vec<Change> {
    let address = |n: u32| Ipv4Addr::from(0x0a00_0000 + n % (MOST - 1));
    (first..first + count).map(|n| Change::Open(Element::here(address(n).into(), ssh()), LONG)).collect()
}

fn change(firewall: &mut dyn portunus_fw::Firewall, doors: &[Change]) {
    for answer in firewall.change(doors) {
        answer.expect("the door opens");
    }
}
