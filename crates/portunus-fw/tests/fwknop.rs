//! iptables in fwknop's own chains, on the real kernel, with both implementations of the tools: the suite of every back
//! end, with an inner host too, and what only these chains must do. Needs root, iptables and ip; it touches no rule of
//! the host.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod bench;
#[expect(dead_code, reason = "these chains know no interfaces, and drop nothing")]
mod conformance;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bench::{Bench, OTHER, OUTSIDE, load, pipe, run};
use conformance::nat::translating;
use conformance::{Ground, LONG, SSH, all_done, conformance, door, machine, open, structure};
use portunus_fw::iptables::{Fwknop, Note, Programs, RunError, Runner, Tool, Variant};
use portunus_fw::walk::IpVersion;
use portunus_fw::{Change, Element, Firewall, FirewallError, Standing, Structure};
use portunus_model::{ChainRow, Chains, Nat, NatSource, Place, Stance, Way};
use portunus_sys::clock;

/// A machine whose admin drops everything with these tools, and lets live connections in.
struct Tools(Variant);

const NFT: Tools = Tools(Variant::Nft);
const LEGACY: Tools = Tools(Variant::Legacy);

fn row(target: &str, table: &str, from: &str, chain: &str) -> ChainRow {
    let [target, table, from, chain] = [target, table, from, chain].map(str::to_owned);
    ChainRow { target, table, from, jump: 1, chain }
}

/// As fwknopd.conf has them where nobody changed it, with every kind enabled.
fn chains() -> Chains {
    Chains {
        input: row("ACCEPT", "filter", "INPUT", "FWKNOP_INPUT"),
        output: Some(row("ACCEPT", "filter", "OUTPUT", "FWKNOP_OUTPUT")),
        forward: Some(row("ACCEPT", "filter", "FORWARD", "FWKNOP_FORWARD")),
        dnat: Some(row("DNAT", "nat", "PREROUTING", "FWKNOP_PREROUTING")),
        snat: Some(row("SNAT", "nat", "POSTROUTING", "FWKNOP_POSTROUTING")),
        masquerade: Some(row("MASQUERADE", "nat", "POSTROUTING", "FWKNOP_MASQUERADE")),
        prepend: false,
        flush_at_start: true,
        flush_at_end: true,
        program: None,
    }
}

impl Tools {
    const fn names(&self) -> [&'static str; 2] {
        match self.0 {
            Variant::Nft | Variant::Default => ["iptables-nft", "ip6tables-nft"],
            Variant::Legacy => ["iptables-legacy", "ip6tables-legacy"],
        }
    }

    fn with(&self, chains: Chains) -> Fwknop<Programs> {
        Fwknop::new(Programs::new(self.0), clock::wall, chains)
    }

    /// The rules of a chain, as `iptables -L CHAIN -n --line-numbers` lists them.
    fn listed(&self, chain: &str) -> Vec<String> {
        let listing = run(self.names()[0], &["-L", chain, "-n", "--line-numbers"]);
        listing.lines().skip(2).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

impl Ground for Tools {
    fn prepare(&self, _: &Bench) {
        for tool in self.names() {
            load(&format!(
                "#!/bin/sh
{tool} -P INPUT DROP
{tool} -P FORWARD DROP
{tool} -A INPUT -i lo -j ACCEPT
{tool} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{tool} -A INPUT -p udp --dport 54154 -j ACCEPT
{tool} -A INPUT -p tcp -m multiport --dports 80,443 -m comment --comment \"the admin's\" -j ACCEPT
{tool} -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{tool} -A FORWARD -i inner0 -j ACCEPT
{tool} -t nat -A POSTROUTING -o wan9 -j MASQUERADE
"
            ));
        }
        let [_, six] = self.names();
        run(six, &["-I", "INPUT", "1", "-p", "ipv6-icmp", "-j", "ACCEPT"]);
    }

    fn back_end(&self) -> Box<dyn Firewall> {
        Box::new(self.with(chains()))
    }

    fn place(&self) -> Place {
        Place::Fwknop(Box::new(chains()))
    }

    /// Both families' rules as the tools save them, without dates and counters.
    fn listing(&self) -> String {
        let all: String = self.names().iter().map(|tool| run(&format!("{tool}-save"), &[])).collect();
        let lines = all.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| format!("{}\n", line.split(" [").next().unwrap())).collect()
    }

    fn foreign(&self) -> String {
        let listing = self.listing();
        listing.lines().filter(|line| !line.contains("FWKNOP")).map(|line| format!("{line}\n")).collect()
    }

    fn flush(&self) {
        for tool in self.names() {
            load(&format!("#!/bin/sh\nfor t in filter nat; do {tool} -t $t -F\n{tool} -t $t -X\ndone\n"));
        }
    }

    fn load(&self, listing: &str) {
        // A family's part begins where its first table comes again.
        let first = listing.lines().next().unwrap();
        let six = listing.rmatch_indices(&format!("{first}\n")).next().unwrap().0;
        for (tool, part) in self.names().iter().zip([&listing[..six], &listing[six..]]) {
            pipe(&format!("{tool}-restore"), &[], part);
        }
    }

    /// xt_time counts in seconds: the last one may pass whole.
    fn late(&self) -> Duration {
        Duration::from_millis(1100)
    }

    /// The original's rules do not, and these have their shape.
    fn knows_what_was_translated(&self) -> bool {
        false
    }
}

conformance! { nft, NFT; a_door_may_expire_within_the_batch }
conformance! { legacy, LEGACY; a_door_may_expire_within_the_batch }
conformance! { through through_nft, NFT }
conformance! { through through_legacy, LEGACY }

/// The tools, counted; and worse than they are, when told so.
#[derive(Default)]
struct Odd {
    written: Rc<Cell<u32>>,
    without_time: bool,
    without_six: bool,
}

impl Runner for Odd {
    fn run(&mut self, tool: Tool, input: &str) -> Result<String, RunError> {
        if self.without_six && tool.version() == IpVersion::V6 {
            return Err(RunError::Missing(tool));
        }
        if self.without_time && input.contains("-m time") {
            return Err(RunError::Failed { tool, said: "Couldn't load match `time'".to_owned() });
        }
        self.written.set(self.written.get() + u32::from(!tool.saves()));
        Programs::new(Variant::Nft).run(tool, input)
    }
}

fn exp(rule: &str) -> i64 {
    let digits = rule.split("_exp_").nth(1).unwrap();
    digits.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// What people's monitoring looks for in a listing, and what the log says of it.
#[test]
fn a_listing_reads_as_the_originals() {
    let (_bench, mut fwknop) = machine(&NFT);
    fwknop.install(&translating(&NFT), &[]).unwrap();
    let began = clock::wall().as_secs();
    let nat = Nat {
        local: false,
        host: "10.77.0.2".parse().unwrap(),
        port: 8022,
        rewrite: true,
        source: NatSource::Masquerade,
    };
    let turned = Element { way: Way::Nat(nat), ..door(OUTSIDE[0], "2222/tcp") };
    all_done(&fwknop.change(&[open(door(OUTSIDE[0], "22/tcp")), open(turned)]));
    let [input] = NFT.listed("FWKNOP_INPUT").try_into().unwrap();
    assert!(input.starts_with("1 ACCEPT 6 -- 198.51.100.9 0.0.0.0/0 tcp dpt:22 "), "{input}");
    assert!(input.ends_with(&format!(" /* _exp_{} */", exp(&input))), "{input}");
    assert!((began + 60..began + 63).contains(&exp(&input)), "{input}");
    let [output] = NFT.listed("FWKNOP_OUTPUT").try_into().unwrap();
    assert!(output.starts_with("1 ACCEPT 6 -- 0.0.0.0/0 198.51.100.9 tcp spt:22 "), "{output}");
    let nat = |chain| run("iptables-nft", &["-t", "nat", "-L", chain, "-n"]);
    let (dnat, masquerade) = (nat("FWKNOP_PREROUTING"), nat("FWKNOP_MASQUERADE"));
    assert!(dnat.contains(" tcp dpt:2222 ") && dnat.ends_with(" */ to:10.77.0.2:8022\n"), "{dnat}");
    assert!(masquerade.contains(" 10.77.0.2 "), "{masquerade}");
    assert!(masquerade.ends_with(" */ masq ports: 2222\n"), "{masquerade}");
    let said: Vec<String> = fwknop.notes().iter().map(ToString::to_string).collect();
    let until = exp(&input);
    for words in [
        format!("Added access rule to FWKNOP_INPUT for 198.51.100.9 -> 0.0.0.0/0 tcp/22, expires at {until}"),
        format!(
            "Added OUTPUT rule to FWKNOP_OUTPUT for 198.51.100.9 -> 0.0.0.0/0 tcp/22, expires at {until}"
        ),
        format!(
            "Added FORWARD rule to FWKNOP_FORWARD for 198.51.100.9 -> 0.0.0.0/0 tcp/2222, expires at {until}"
        ),
        format!(
            "Added DNAT rule to FWKNOP_PREROUTING for 198.51.100.9 -> 0.0.0.0/0 tcp/2222, expires at {until}"
        ),
        format!(
            "Added SNAT rule to FWKNOP_MASQUERADE for 198.51.100.9 -> 0.0.0.0/0 tcp/2222, expires at {until}"
        ),
    ] {
        assert!(said.contains(&words), "{words}: {said:?}");
    }
    all_done(&fwknop.change(&[Change::Close(turned)]));
    let said: Vec<String> = fwknop.notes().iter().map(ToString::to_string).collect();
    assert!(
        said.contains(&format!("Removed rule 1 from FWKNOP_PREROUTING with expire time of {until}")),
        "{said:?}"
    );
}

/// The same grant again moves its rule's end, and nothing else; a rule that others put there stays in its place.
#[test]
fn a_renewal_replaces_its_rule_in_its_place() {
    let (_bench, mut fwknop) = machine(&NFT);
    let [one, two] = [OUTSIDE[0], OTHER[0]].map(|from| door(from, "22/tcp"));
    all_done(&fwknop.change(&[Change::Open(one, Duration::from_secs(20))]));
    run("iptables-nft", &["-A", "FWKNOP_INPUT", "-s", "203.0.113.5", "-j", "LOG"]);
    all_done(&fwknop.change(&[open(two)]));
    assert_eq!(fwknop.standing(), Ok(Standing::Whole));
    all_done(&fwknop.change(&[open(one)]));
    let listed = NFT.listed("FWKNOP_INPUT");
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(listed[0].contains(OUTSIDE[0]) && exp(&listed[0]) >= exp(&listed[2]), "{listed:?}");
    assert!(listed[1].contains("LOG") && listed[2].contains(OTHER[0]), "{listed:?}");
    all_done(&fwknop.change(&[Change::Close(one), Change::Close(two)]));
    assert_eq!(NFT.listed("FWKNOP_INPUT").len(), 1);
}

/// Somebody took the jump away a moment before a knock.
#[test]
fn a_grant_mends_the_way_to_its_chain() {
    let (bench, mut fwknop) = machine(&NFT);
    run("iptables-nft", &["-D", "INPUT", "-j", "FWKNOP_INPUT"]);
    all_done(&fwknop.change(&[open(door(OUTSIDE[0], "22/tcp"))]));
    assert!(bench.opens(SSH));
    run("iptables-nft", &["-D", "INPUT", "-j", "FWKNOP_INPUT"]);
    run("iptables-nft", &["-F", "FWKNOP_INPUT"]);
    run("iptables-nft", &["-X", "FWKNOP_INPUT"]);
    all_done(&fwknop.change(&[open(door(OTHER[0], "22/tcp"))]));
    assert_eq!(bench.connects(&[SSH], 0, OTHER), [true]);
    assert!(bench.opens(SSH), "the others come back with it");
    assert_eq!(fwknop.standing(), Ok(Standing::Whole));
    assert_eq!(NFT.listed("FWKNOP_INPUT").len(), 2);
}

/// Rules of the original's, and of those who put theirs beside it: what is over goes, what is not stays until it is.
#[test]
fn what_is_over_is_swept_whoever_wrote_it() {
    let bench = Bench::new();
    NFT.prepare(&bench);
    let now = clock::wall().as_secs();
    let theirs = |from: &str, until: i64| {
        let comment = format!("_exp_{until}");
        let rule = [
            "-s",
            from,
            "-p",
            "tcp",
            "--dport",
            "22",
            "-m",
            "comment",
            "--comment",
            &comment,
            "-j",
            "ACCEPT",
        ];
        run("iptables-nft", &[&["-A", "FWKNOP_INPUT"], &rule[..]].concat());
    };
    let place = |chains: &Chains| Structure { stance: stance(chains), ..structure(NFT.place()) };
    let kept = Chains { flush_at_start: false, ..chains() };
    for (chains, stays) in [(&kept, 2), (&chains(), 0)] {
        run("iptables-nft", &["-N", "FWKNOP_INPUT"]);
        run("iptables-nft", &["-A", "FWKNOP_INPUT", "-s", "203.0.113.9", "-j", "ACCEPT"]);
        theirs("203.0.113.1", now - 5);
        theirs("203.0.113.2", now + 60);
        let mut fwknop = NFT.with(chains.clone());
        fwknop.install(&place(chains), &[]).unwrap();
        let listed = NFT.listed("FWKNOP_INPUT");
        assert_eq!(listed.len(), stays, "{listed:?}");
        assert!(!listed.iter().any(|line| line.contains("203.0.113.1 ")), "{listed:?}");
        // While we run.
        theirs("203.0.113.3", now - 1);
        theirs("203.0.113.4", now + 60);
        assert_eq!(fwknop.standing(), Ok(Standing::Whole));
        let listed = NFT.listed("FWKNOP_INPUT");
        assert_eq!(listed.len(), stays + 1, "{listed:?}");
        let said: Vec<Note> = fwknop.notes();
        let gone = |until| said.iter().any(|n| matches!(n, Note::Removed { until: of, .. } if *of == until));
        assert!(gone(now - 1) && (gone(now - 5) || stays == 0), "{said:?}");
        // A reload is no start.
        fwknop.install(&place(chains), &[]).unwrap();
        assert_eq!(NFT.listed("FWKNOP_INPUT").len(), stays + 1);
        fwknop.teardown().unwrap();
    }
}

fn stance(chains: &Chains) -> Stance {
    Stance { place: Place::Fwknop(Box::new(chains.clone())), ..structure(NFT.place()).stance }
}

/// Ten thousand end in one transaction; a thousand are still appended to in a few milliseconds.
#[test]
fn ten_thousand_are_swept_in_one_pass() {
    let bench = Bench::new();
    NFT.prepare(&bench);
    let written = Rc::new(Cell::new(0));
    let runner = Odd { written: Rc::clone(&written), ..Odd::default() };
    let mut fwknop = Fwknop::new(runner, clock::wall, Chains { output: None, ..chains() });
    let structure = Structure {
        most_open: 20_000,
        stance: stance(&Chains { output: None, ..chains() }),
        ..structure(NFT.place())
    };
    fwknop.install(&structure, &[]).unwrap();
    let at = |n: u32| door(&std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string(), "22/tcp");
    let all: Vec<_> = (0..10_000).map(at).collect();
    let mut took = Vec::new();
    for part in all.chunks(1000) {
        let began = Instant::now();
        all_done(&fwknop.change(&part.iter().map(|one| Change::Open(*one, LONG)).collect::<Vec<_>>()));
        took.push(began.elapsed());
    }
    println!("a thousand more each: {took:?}");
    assert_eq!(fwknop.open_now().unwrap().len(), 10_000);
    let before = written.get();
    let began = Instant::now();
    all_done(&fwknop.change(&all.iter().map(|one| Change::Close(*one)).collect::<Vec<_>>()));
    println!("ten thousand swept in {:?}", began.elapsed());
    assert_eq!(written.get() - before, 1);
    assert_eq!(NFT.listed("FWKNOP_INPUT"), Vec::<String>::new());
}

/// A kernel without xt_time has the very rules of the original; they are still ours to close.
#[test]
fn without_xt_time_the_rules_are_the_originals() {
    let bench = Bench::new();
    NFT.prepare(&bench);
    let odd = Odd { without_time: true, ..Odd::default() };
    let mut fwknop = Fwknop::new(odd, clock::wall, chains());
    fwknop.install(&structure(NFT.place()), &[]).unwrap();
    assert!(!fwknop.kernel_closes());
    let mine = door(OUTSIDE[0], "22/tcp");
    all_done(&fwknop.change(&[open(mine)]));
    let saved = run("iptables-nft", &["-S", "FWKNOP_INPUT"]);
    let rule = saved.lines().nth(1).unwrap();
    let until = exp(rule);
    assert_eq!(
        rule,
        format!(
            "-A FWKNOP_INPUT -s 198.51.100.9/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_{until} -j ACCEPT"
        )
    );
    assert_eq!(fwknop.standing(), Ok(Standing::Whole));
    all_done(&fwknop.change(&[Change::Close(mine)]));
    assert_eq!(NFT.listed("FWKNOP_INPUT"), Vec::<String>::new());
}

#[test]
fn a_machine_without_ip6tables_has_ipv4() {
    let (bench, _) = machine(&NFT);
    let odd = Odd { without_six: true, ..Odd::default() };
    let mut fwknop = Fwknop::new(odd, clock::wall, chains());
    fwknop.install(&structure(NFT.place()), &[]).unwrap();
    assert!(!fwknop.has_ipv6());
    let six = door(OUTSIDE[1], "22/tcp");
    let answers = fwknop.change(&[open(six), open(door(OUTSIDE[0], "22/tcp"))]);
    assert_eq!(answers, [Err(FirewallError::NoWay(six)), Ok(())]);
    assert!(bench.opens(SSH));
    assert_eq!(fwknop.standing(), Ok(Standing::Whole));
    fwknop.teardown().unwrap();
}

/// At the place that fwknopd.conf says, once; new rules before the others where it says so; other chains after a reload.
#[test]
fn jumps_and_rules_stand_where_the_configuration_says() {
    let bench = Bench::new();
    NFT.prepare(&bench);
    let third = Chains {
        input: ChainRow { jump: 3, ..chains().input },
        forward: Some(ChainRow { jump: 99, ..chains().forward.unwrap() }),
        prepend: true,
        ..chains()
    };
    let mut fwknop = NFT.with(third.clone());
    let with = |chains: &Chains| Structure { stance: stance(chains), ..structure(NFT.place()) };
    fwknop.install(&with(&third), &[]).unwrap();
    fwknop.install(&with(&third), &[]).unwrap();
    let input = NFT.listed("INPUT");
    assert!(input[2].starts_with("3 FWKNOP_INPUT"), "{input:?}");
    assert_eq!(input.iter().filter(|line| line.contains("FWKNOP_INPUT")).count(), 1);
    assert!(NFT.listed("FORWARD").last().unwrap().contains("FWKNOP_FORWARD"));
    for from in [OUTSIDE[0], OTHER[0]] {
        all_done(&fwknop.change(&[open(door(from, "22/tcp"))]));
    }
    let listed = NFT.listed("FWKNOP_INPUT");
    assert!(listed[0].contains(OTHER[0]) && listed[1].contains(OUTSIDE[0]), "{listed:?}");
    let fewer = Chains { output: None, forward: None, dnat: None, snat: None, masquerade: None, ..third };
    fwknop.install(&with(&fewer), &[(door(OTHER[0], "22/tcp"), LONG)]).unwrap();
    assert!(!NFT.listing().contains("FWKNOP_OUTPUT") && !NFT.listing().contains("FWKNOP_PREROUTING"));
    assert_eq!(NFT.listed("FWKNOP_INPUT").len(), 1);
    let odd = Chains { input: row("ACCEPT", "filter", "INPUT", "TWO\nLINES"), ..fewer };
    assert!(fwknop.install(&with(&odd), &[]).is_err());
}
