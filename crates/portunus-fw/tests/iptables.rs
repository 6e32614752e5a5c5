//! The iptables back end on the real kernel, with both implementations of the tools: the suite of every back end, and
//! what only iptables must do. Needs root, iptables and ip; it touches no rule of the host.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod bench;
#[expect(dead_code, reason = "nothing is translated in these chains")]
mod conformance;

use std::time::Duration;

use bench::{Bench, OUTSIDE, load, pipe, run};
use conformance::{Ground, LONG, SSH, conformance, door, machine, open, structure};
use portunus_fw::iptables::{Iptables, Programs, Variant};
use portunus_fw::{Firewall, FirewallError, Standing, Structure};
use portunus_model::Place;
use portunus_sys::clock;

/// A machine whose admin drops everything with these tools.
struct Tools(Variant);

const NFT: Tools = Tools(Variant::Nft);
const LEGACY: Tools = Tools(Variant::Legacy);

impl Tools {
    const fn names(&self) -> [&'static str; 2] {
        match self.0 {
            Variant::Nft | Variant::Default => ["iptables-nft", "ip6tables-nft"],
            Variant::Legacy => ["iptables-legacy", "ip6tables-legacy"],
        }
    }

    fn iptables(&self) -> Iptables<Programs> {
        Iptables::new(Programs::new(self.0), clock::wall).keeping_live_flows()
    }
}

impl Ground for Tools {
    fn prepare(&self, _: &Bench) {
        for tool in self.names() {
            load(&format!(
                "#!/bin/sh\n{tool} -P INPUT DROP\n{tool} -A INPUT -p tcp -m multiport --dports 80,443 -m comment --comment \"the admin's\" -j ACCEPT\n"
            ));
        }
        let [_, six] = self.names();
        run(six, &["-A", "INPUT", "-p", "ipv6-icmp", "-j", "ACCEPT"]);
    }

    fn back_end(&self) -> Box<dyn Firewall> {
        Box::new(self.iptables())
    }

    fn place(&self) -> Place {
        Place::Iptables
    }

    /// Both families' rules as the tools save them, without dates and counters.
    fn listing(&self) -> String {
        let all: String = self.names().iter().map(|tool| run(&format!("{tool}-save"), &[])).collect();
        let lines = all.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| format!("{}\n", line.split(" [").next().unwrap())).collect()
    }

    fn foreign(&self) -> String {
        let listing = self.listing();
        listing.lines().filter(|line| !line.contains("PORTUNUS")).map(|line| format!("{line}\n")).collect()
    }

    fn flush(&self) {
        for tool in self.names() {
            load(&format!("#!/bin/sh\n{tool} -F\n{tool} -X\n"));
        }
    }

    fn load(&self, listing: &str) {
        // Each tool's part ends with its COMMIT.
        for (tool, part) in self.names().iter().zip(listing.split_inclusive("COMMIT\n")) {
            pipe(&format!("{tool}-restore"), &[], part);
        }
    }

    /// xt_time counts in seconds: the last one may pass whole.
    fn late(&self) -> Duration {
        Duration::from_millis(1100)
    }
}

conformance! { nft, NFT; a_door_may_expire_within_the_batch, an_interface_counts_by_its_name, sessions_survive_the_first_install }
conformance! { legacy, LEGACY; a_door_may_expire_within_the_batch, an_interface_counts_by_its_name, sessions_survive_the_first_install }

fn what_comes_before_us_is_seen(tools: &Tools) {
    let (bench, mut iptables) = machine(tools);
    let mine = (door(OUTSIDE[0], "22/tcp"), LONG);
    assert_eq!(tools.listing().matches("-j PORTUNUS_INPUT").count(), 2, "one jump a family");
    for _ in 0..2 {
        run(tools.names()[0], &["-I", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP"]);
        assert_eq!(iptables.standing(), Ok(Standing::Broken), "something came before us");
        iptables.install(&structure(Place::Iptables), &[mine]).unwrap();
        assert_eq!(iptables.standing(), Ok(Standing::Whole));
        assert!(bench.opens(SSH));
    }
    assert_eq!(tools.listing().matches("-j PORTUNUS_INPUT").count(), 2);
}

/// Saved while a door is open, and restored after its end, when nobody of ours is there to see it.
fn a_door_does_not_outlive_its_end_in_a_file(tools: &Tools) {
    let (bench, mut iptables) = machine(tools);
    let brief = [(door(OUTSIDE[0], "22/tcp"), Duration::from_millis(1500))];
    iptables.install(&structure(Place::Iptables), &brief).unwrap();
    drop(iptables);
    assert!(bench.opens(SSH));
    let text = run(&format!("{}-save", tools.names()[0]), &[]);
    std::thread::sleep(Duration::from_millis(2600));
    assert!(!bench.opens(SSH));
    pipe(&format!("{}-restore", tools.names()[0]), &[], &text);
    assert!(!bench.opens(SSH), "what was open when it was saved is not open when it is restored");
    assert!(bench.opens(80));
}

fn the_bound_is_exact_and_the_kernel_closes(tools: &Tools) {
    let mut bench = Bench::new();
    bench.listen(&[SSH]);
    tools.prepare(&bench);
    let mut iptables = tools.iptables();
    iptables.install(&Structure { most_open: 1, ..structure(Place::Iptables) }, &[]).unwrap();
    assert!(iptables.kernel_closes());
    let answers = iptables.change(&[open(door(OUTSIDE[0], "22/tcp")), open(door(OUTSIDE[1], "22/tcp"))]);
    assert_eq!(answers, [Ok(()), Err(FirewallError::Full)]);
}

macro_rules! of_both {
    ($($name:ident),*) => {
        mod only_nft {
            $(#[test] fn $name() { super::$name(&super::NFT); })*
        }
        mod only_legacy {
            $(#[test] fn $name() { super::$name(&super::LEGACY); })*
        }
    };
}

of_both! {
    what_comes_before_us_is_seen,
    a_door_does_not_outlive_its_end_in_a_file,
    the_bound_is_exact_and_the_kernel_closes
}
