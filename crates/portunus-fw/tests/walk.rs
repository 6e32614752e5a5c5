//! The walk says what real packets experience: rulesets that people have, in a namespace, times ports, times both
//! families. Needs root, nft, iptables and ip; it touches no rule of the host.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where it stopped"
)]

mod bench;

use bench::{Bench, MACHINE, OTHER, OUTSIDE, load, outer, read, run};
use portunus_fw::iptables::{Programs, Variant, add_legacy};
use portunus_fw::ruleset::Ruleset;
use portunus_fw::walk::{IpVersion, Ours, Probe, Source, Verdict, walk};
use portunus_model::Proto;

const TCP: [u16; 7] = [22, 80, 443, 1500, 2222, 8080, 8443];
const UDP: [u16; 3] = [53, 5353, 54154];

/// Every port by both families: the verdict is what the packet meets; `drops` says whether anything is dropped at
/// all, so that a bench on which nothing happens cannot agree with itself.
fn agrees(rules: &str, drops: bool) {
    let mut bench = Bench::new();
    bench.listen(&TCP);
    load(rules);
    let ruleset = everything();
    let (mut wrong, mut came_through, mut dropped) = (Vec::new(), 0, 0);
    for (v, version) in [IpVersion::V4, IpVersion::V6].into_iter().enumerate() {
        for from in [OUTSIDE, OTHER] {
            let met = bench.connects(&TCP, v, from);
            came_through += met.iter().filter(|&&came| came).count();
            dropped += met.iter().filter(|&&came| !came).count();
            for (&port, &came) in TCP.iter().zip(&met) {
                compare(&ruleset, &probe(version, Proto::Tcp, port, from[v], v), came, &mut wrong);
            }
        }
        for (port, came) in UDP.into_iter().zip(bench.hears(&UDP, v)) {
            compare(&ruleset, &probe(version, Proto::Udp, port, OUTSIDE[v], v), came, &mut wrong);
        }
    }
    assert!(
        came_through > 0 && (dropped > 0) == drops,
        "{came_through} came through, {dropped} were dropped"
    );
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), run("nft", &["list", "ruleset"]));
}

fn everything() -> Ruleset {
    let mut ruleset = read();
    add_legacy(&mut ruleset, &mut Programs::new(Variant::Legacy)).unwrap();
    ruleset
}

fn probe(version: IpVersion, proto: Proto, port: u16, from: &str, v: usize) -> Probe {
    Probe {
        version,
        proto,
        port: Some(port),
        source: Source::At(from.parse().unwrap()),
        destination: Some(MACHINE[v].parse().unwrap()),
        interface: Some(outer()),
        through: false,
    }
}

fn compare(ruleset: &Ruleset, probe: &Probe, came: bool, wrong: &mut Vec<String>) {
    let said = walk(ruleset, probe, Ours::Counted);
    let right = match &said {
        Verdict::Passes => came,
        Verdict::Dropped(_) => !came,
        Verdict::Maybe { .. } => false,
        // To a container that is not there: nobody answers.
        Verdict::Forwarded(_) => !came,
    };
    if !right {
        wrong.push(format!("{probe:?}: came through: {came}; said: {said:?}"));
    }
}

macro_rules! agree {
    ($($name:ident: $file:literal,)*) => {$(
        #[test]
        fn $name() {
            agrees(include_str!(concat!("rulesets/", $file)), $file != "debian-default.nft");
        }
    )*};
}

agree! {
    no_rules: "debian-default.nft",
    a_workstation: "workstation.nft",
    policy_drop: "policy-drop.nft",
    a_final_reject: "final-reject.nft",
    verdict_maps_and_sets: "vmaps.nft",
    two_tables_that_disagree: "two-tables.nft",
    redirected_ports: "redirect.nft",
    limits_and_marks: "limits-and-marks.nft",
    ingress_and_names: "ingress.nft",
    goto_and_return: "goto-and-return.nft",
    untracked: "notrack.nft",
    iptables_nft: "iptables-nft.sh",
    iptables_legacy: "iptables-legacy.sh",
    docker: "docker.sh",
    firewalld: "firewalld.nft",
    ufw: "ufw.sh",
}
