//! nftables on the real kernel: whatever the back end says must be what packets meet.

mod bench;

use std::process::Command;
use std::time::{Duration, Instant};

use bench::{Bench, MACHINE, OTHER, OUTSIDE};
use portunus_fw::{Change, Element, Firewall, FirewallError, Nft, Standing, Structure};
use portunus_model::{Family, Place, PortSpec, Seat, Stance};

fn port(text: &str) -> PortSpec {
    PortSpec::parse(text).unwrap()[0]
}

fn door(address: &str, text: &str) -> Element {
    Element { address: address.parse().unwrap(), port: port(text) }
}

fn structure(place: Place) -> Structure {
    let protected = if place == Place::Own { vec![port("22/tcp"), port("80/tcp"), port("8000-8010/tcp")] } else { vec![] };
    Structure {
        doors: vec![port("22/tcp"), port("80/tcp"), port("8000-8010/tcp"), port("8000-8020/tcp")],
        stance: Stance { place, interfaces: Vec::new(), protected, knock_port: Some(54154) },
        most_open: 10_000,
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn listing() -> String {
    let out = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_door_opens_for_one_address_and_the_kernel_closes_it() {
    let mut bench = Bench::new();
    bench.listen(&[22, 80, 8005, 443]);
    let mut nft = Nft::open().unwrap();
    nft.install(&structure(Place::Own), &[]).unwrap();
    eprintln!("{}", listing());
    for version in [0, 1] {
        assert_eq!(bench.connects(&[22, 80, 8005, 443], version, OUTSIDE), [false, false, false, true]);
        let open = door(OUTSIDE[version], "22/tcp");
        assert_eq!(nft.change(&[Change::Open(open, secs(2))]), [Ok(())]);
        assert_eq!(bench.connects(&[22, 80], version, OUTSIDE), [true, false]);
        assert_eq!(bench.connects(&[22, 80], version, OTHER), [false, false]);
        let range = door(OUTSIDE[version], "8000-8010/tcp");
        assert_eq!(nft.change(&[Change::Open(range, secs(2))]), [Ok(())]);
        assert_eq!(bench.connects(&[8005], version, OUTSIDE), [true]);
        assert_eq!(nft.change(&[Change::Close(range)]), [Ok(())]);
        assert_eq!(bench.connects(&[8005], version, OUTSIDE), [false]);
        std::thread::sleep(secs(2));
        assert_eq!(bench.connects(&[22], version, OUTSIDE), [false]);
    }
    assert_eq!(nft.standing(), Ok(Standing::Whole));
    nft.teardown().unwrap();
    assert_eq!(listing(), "");
    let _ = MACHINE;
}

#[test]
fn attached_before_the_first_drop() {
    let mut bench = Bench::new();
    bench.listen(&[22, 443]);
    bench::run("nft", &["add table inet filter; add chain inet filter input { type filter hook input priority 0; policy drop; }; add rule inet filter input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; add rule inet filter input tcp dport 443 accept; add rule inet filter input drop"]);
    let before = listing();
    let seat = Seat { family: Family::Inet, table: "filter".into(), chain: "input".into() };
    let mut nft = Nft::open().unwrap();
    nft.install(&structure(Place::Attach(vec![seat])), &[]).unwrap();
    eprintln!("{}", listing());
    assert_eq!(bench.connects(&[22, 443], 0, OUTSIDE), [false, true]);
    nft.change(&[Change::Open(door(OUTSIDE[0], "22/tcp"), secs(30))]).pop().unwrap().unwrap();
    assert_eq!(bench.connects(&[22, 443], 0, OUTSIDE), [true, true]);
    bench::run("nft", &["flush", "ruleset"]);
    let start = Instant::now();
    assert_eq!(nft.standing(), Ok(Standing::Broken));
    eprintln!("heard after {:?}", start.elapsed());
    let _ = (before, FirewallError::Full);
}

#[test]
fn what_it_costs() {
    let _bench = Bench::new();
    let mut nft = Nft::open().unwrap();
    nft.install(&structure(Place::Own), &[]).unwrap();
    for batch in [1_u32, 16, 64, 1024] {
        let start = Instant::now();
        let rounds = 4096 / batch;
        for round in 0..rounds {
            let changes: Vec<_> = (0..batch)
                .map(|n| {
                    let address = std::net::Ipv4Addr::from(0x0a00_0000 + (round * batch + n) % 1000);
                    Element { address: address.into(), port: port("22/tcp") }
                })
                .collect::<std::collections::BTreeSet<_>>().into_iter()
                .map(|element| Change::Open(element, secs(30)))
                .collect();
            assert!(nft.change(&changes).iter().all(Result::is_ok));
        }
        eprintln!("batch {batch}: {:?} each", start.elapsed() / 4096);
    }
}
