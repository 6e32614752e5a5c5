//! nftables on the real kernel: the suite of every back end, in our own table and in the admin's, and what only
//! nftables promises. Needs root, nft and ip; it touches no rule of the host. Long because each test is short and stands by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod bench;
mod conformance;

use std::time::{Duration, Instant};

use bench::{Bench, OTHER, OUTSIDE, load, run};
use conformance::nat::translating;
use conformance::{Ground, LONG, SSH, all_done, conformance, door, machine, open, port, structure};
use portunus_fw::{Change, Firewall, FirewallError, Nft, Standing};
use portunus_model::{Family, Place, Seat};

/// Our own table beside others that drop nothing.
struct Own;

/// The admin's tables, each with a base chain that drops: family, table, chain and rules.
struct Attached(&'static [(Family, &'static str, &'static str, &'static str)]);

/// Rules that every admin has, so that neighbours are found and 80 is served.
const SERVED: &str = "ct state established,related counter accept; iif \"lo\" accept;
    meta l4proto ipv6-icmp accept; tcp dport { 80, 443 } accept;";

const FOREIGN: &str = "
table ip nat {
    comment \"the admin's\"
    chain post { type nat hook postrouting priority 100; }
}
table inet watch {
    set seen {
        type ipv4_addr . inet_service; flags interval, timeout; timeout 1h
        elements = { 192.0.2.0/24 . 1-10 }
    }
    map names {
        type ipv4_addr : verdict
        elements = { 192.0.2.1 : accept }
    }
    chain look {
        type filter hook input priority -5;
        ip saddr vmap @names
        ip saddr . tcp dport @seen meta mark set 0x1 comment \"portunus is not this\"
    }
}
table bridge low {
    chain c { type filter hook input priority 0; }
}
";

const POLICY_DROP: Attached = Attached(&[(Family::Inet, "filter", "input", "policy drop; { SERVED }")]);
const FINAL_DROP: Attached =
    Attached(&[(Family::Inet, "my-fw.v2", "INPUT_4", "policy accept; { SERVED } counter drop")]);
const FINAL_REJECT: Attached = Attached(&[(
    Family::Inet,
    "A",
    "b",
    "policy accept; { SERVED } reject with icmpx type admin-prohibited",
)]);
const TWO_FAMILIES: Attached = Attached(&[
    (Family::Ip, "four", "in", "policy drop; { SERVED }"),
    (Family::Ip6, "six", "in", "policy accept; { SERVED } jump end\n}\nchain end {\ndrop"),
]);

impl Ground for Own {
    fn prepare(&self, _: &Bench) {
        load(FOREIGN);
    }

    fn back_end(&self) -> Box<dyn Firewall> {
        Box::new(Nft::open().unwrap())
    }

    fn place(&self) -> Place {
        Place::Own
    }

    fn listing(&self) -> String {
        listing()
    }

    fn foreign(&self) -> String {
        without_ours(&listing())
    }

    fn flush(&self) {
        load("flush ruleset");
    }

    fn load(&self, listing: &str) {
        load(listing);
    }

    fn late(&self) -> Duration {
        Duration::from_millis(50)
    }

    fn guards_the_way_through(&self) -> bool {
        false
    }
}

impl Ground for Attached {
    fn prepare(&self, bench: &Bench) {
        for (family, table, chain, rules) in self.0 {
            let family = family.as_str();
            let rules = rules.replace("{ SERVED }", SERVED);
            load(&format!(
                "table {family} {table} {{ chain {chain} {{ type filter hook input priority 0; {rules}\n}}\n}}"
            ));
        }
        Own.prepare(bench);
    }

    fn place(&self) -> Place {
        let seat = |(family, table, chain, _): &(Family, &str, &str, &str)| Seat {
            family: *family,
            table: (*table).to_owned(),
            chain: (*chain).to_owned(),
        };
        Place::Attach(self.0.iter().map(seat).collect())
    }

    fn back_end(&self) -> Box<dyn Firewall> {
        Own.back_end()
    }

    fn listing(&self) -> String {
        Own.listing()
    }

    fn foreign(&self) -> String {
        Own.foreign()
    }

    fn flush(&self) {
        Own.flush();
    }

    fn load(&self, listing: &str) {
        Own.load(listing);
    }

    fn late(&self) -> Duration {
        Own.late()
    }
}

/// A gateway: what comes in is dropped by the first of these chains, what goes through by the second.
struct Gateway(&'static str, [(Family, &'static str, &'static str); 2]);

const ONE_TABLE: Gateway = Gateway(
    "table inet filter {
        chain input { type filter hook input priority 0; policy drop; { SERVED } }
        chain forward { type filter hook forward priority 0; policy drop;
            ct state established,related accept; iifname \"inner0\" accept; }
    }",
    [(Family::Inet, "filter", "input"), (Family::Inet, "filter", "forward")],
);
/// Only what goes through is dropped by the admin: what comes in, we drop.
const FORWARD_ONLY: Gateway = Gateway(
    "table inet edge {
        chain through { type filter hook forward priority 10; policy accept;
            ct state established,related accept; iifname \"inner0\" accept; counter reject; }
    }",
    [(Family::Inet, "edge", "through"); 2],
);

impl Ground for Gateway {
    fn leaves_the_drops_to_us(&self) -> bool {
        !self.0.contains("hook input")
    }

    fn prepare(&self, bench: &Bench) {
        load(&self.0.replace("{ SERVED }", SERVED));
        Own.prepare(bench);
    }

    fn place(&self) -> Place {
        let mut seats: Vec<Seat> = Vec::new();
        for (family, table, chain) in self.1 {
            let [table, chain] = [table, chain].map(str::to_owned);
            seats.push(Seat { family, table, chain });
        }
        seats.dedup();
        Place::Attach(seats)
    }

    fn back_end(&self) -> Box<dyn Firewall> {
        Own.back_end()
    }

    fn listing(&self) -> String {
        Own.listing()
    }

    fn foreign(&self) -> String {
        Own.foreign()
    }

    fn flush(&self) {
        Own.flush();
    }

    fn load(&self, listing: &str) {
        Own.load(listing);
    }

    fn late(&self) -> Duration {
        Own.late()
    }
}

fn listing() -> String {
    run("nft", &["-s", "list", "ruleset"])
}

/// A listing without our table, our sets and chain, and the jump to it.
fn without_ours(listing: &str) -> String {
    let (mut kept, mut inside) = (String::new(), None);
    let mut after_ours = false;
    for line in listing.lines() {
        let indent = line.len() - line.trim_start().len();
        if let Some(level) = inside {
            if indent == level && line.trim() == "}" {
                (inside, after_ours) = (None, true);
            }
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let ours = match words.as_slice() {
            ["table", "inet", "portunus", "{"] => true,
            ["set" | "map" | "chain", name, "{"] => name.starts_with("portunus"),
            _ => false,
        };
        if ours {
            inside = Some(indent);
            // The blank line between it and what came before.
            if kept.ends_with("}\n\n") {
                kept.pop();
            }
            continue;
        }
        if (line.contains("jump portunus") && line.ends_with("comment \"portunus\""))
            || (after_ours && line.is_empty() && kept.ends_with("{\n"))
        {
            continue;
        }
        after_ours = false;
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

conformance! { own, Own; a_door_may_expire_within_the_batch, an_interface_counts_by_its_name, sessions_survive_the_first_install }
conformance! { policy_drop, POLICY_DROP; a_door_may_expire_within_the_batch, an_interface_counts_by_its_name }
conformance! { final_drop, FINAL_DROP; an_interface_counts_by_its_name }
conformance! { final_reject, FINAL_REJECT }
conformance! { two_families, TWO_FAMILIES; a_door_may_expire_within_the_batch }

conformance! { through through_own, Own }
conformance! { through through_one_table, ONE_TABLE }
conformance! { through through_forward_only, FORWARD_ONLY }

/// What nft lists of ours, it loads again as it was.
#[test]
fn a_listing_is_loaded_as_it_was() {
    for ground in [&Own as &dyn Ground, &POLICY_DROP, &ONE_TABLE] {
        let (_bench, mut nft) = machine(ground);
        let mut structure = translating(ground);
        structure.stance.interfaces = vec!["outer0".to_owned(), "a-long-name.123".to_owned()];
        nft.install(&structure, &[]).unwrap();
        let listed = listing();
        assert!(listed.contains("elements = { \"outer0\"") || listed.contains("\"outer0\" }"), "{listed}");
        load(&format!("flush ruleset\n{listed}"));
        assert_eq!(listed, listing());
    }
}

/// Waits as the grantor does; how long until it was heard and put back, and whether it was ours.
fn put_back(nft: &mut dyn Firewall, place: &Place, doors: &[(portunus_fw::Element, Duration)]) -> Duration {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let began = Instant::now();
    loop {
        {
            let fd = nft.watch().unwrap();
            let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
            assert_eq!(
                poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)),
                Ok(1),
                "nothing was heard"
            );
        }
        if nft.standing() == Ok(Standing::Broken) {
            nft.install(&structure(place.clone()), doors).unwrap();
            return began.elapsed();
        }
    }
}

/// `nft flush ruleset`, and a reload of the admin's file: back within 50 ms of the event.
#[test]
fn a_flush_is_put_back_within_50_ms() {
    let mut took = Vec::new();
    for ground in [&Own as &dyn Ground, &POLICY_DROP] {
        let (bench, mut nft) = machine(ground);
        let doors: Vec<_> = (0..=255)
            .map(|n| (door(&format!("203.0.113.{n}"), "22/tcp"), LONG))
            .chain([(door(OUTSIDE[0], "22/tcp"), LONG)])
            .collect();
        for _ in 0..5 {
            // One transaction, as `nft -f /etc/nftables.conf` is.
            let admin = format!("flush ruleset\n{}", ground.foreign());
            load(&admin);
            took.push(put_back(nft.as_mut(), &ground.place(), &doors));
            assert!(bench.opens(SSH));
        }
    }
    took.sort();
    println!("put back within {:?} (median), {:?} (longest)", took[took.len() / 2], took[took.len() - 1]);
    assert!(took[took.len() / 2] < Duration::from_millis(50), "{took:?}");
}

/// Each way to harm us is seen; what others do to what is theirs is none.
#[test]
fn every_harm_is_seen_and_nothing_else() {
    let (bench, mut nft) = machine(&POLICY_DROP);
    let place = POLICY_DROP.place();
    for harmless in [
        "add table inet more",
        "add rule inet filter input tcp dport 8080 accept",
        "add element inet watch seen { 198.51.100.0/24 . 1-2 }",
        "add chain inet filter forward { type filter hook forward priority 0; policy drop; }",
    ] {
        load(harmless);
        assert_eq!(nft.standing(), Ok(Standing::Whole), "{harmless}");
    }
    for harm in [
        "flush chain inet filter portunus",
        "flush chain inet filter input",
        "insert rule inet filter input tcp dport 22 drop",
        "flush set inet filter portunus_open4",
        "add element inet filter portunus_open4 { 198.51.100.99 . tcp . 22 }",
        "add table inet filter { flags dormant; }",
        "flush ruleset",
    ] {
        load(harm);
        assert_eq!(nft.standing(), Ok(Standing::Broken), "{harm}");
        if harm.contains("dormant") {
            load("delete table inet filter");
        }
        if harm.contains("dormant") || harm == "flush ruleset" {
            POLICY_DROP.prepare(&bench);
        }
        nft.install(&structure(place.clone()), &[(door(OUTSIDE[0], "22/tcp"), LONG)]).unwrap();
        assert_eq!(nft.standing(), Ok(Standing::Whole), "{harm}");
        assert!(bench.opens(SSH), "{harm}");
        assert_eq!(bench.connects(&[SSH], 0, OTHER), [false], "{harm}");
    }
    load("flush ruleset");
    nft.install(&structure(place), &[(door(OUTSIDE[0], "22/tcp"), LONG)]).unwrap();
    assert_eq!(nft.absent(), Some("inet filter input"));
    assert_eq!(nft.standing(), Ok(Standing::Whole), "what can be there is");
    assert!(bench.opens(SSH), "who has a grant is not kept out");
    assert_eq!(bench.connects(&[SSH], 0, OTHER), [false], "a chain of theirs that is gone opens nothing");
    POLICY_DROP.prepare(&bench);
    assert_eq!(nft.standing(), Ok(Standing::Broken), "it is back, and we are not in it");
}

/// In our own table a changed policy would lock everybody out.
#[test]
fn a_changed_policy_is_a_harm() {
    let (bench, mut nft) = machine(&Own);
    load("add chain inet portunus input { type filter hook input priority filter - 10; policy drop; }");
    assert_eq!(nft.standing(), Ok(Standing::Broken));
    nft.install(&structure(Place::Own), &[]).unwrap();
    assert!(bench.opens(80));
}

/// What the admin drops on other ports stays dropped, also for who is connected or has a grant.
#[test]
fn the_admins_own_drops_stay() {
    let mut bench = Bench::new();
    bench.listen(&[SSH, 80]);
    POLICY_DROP.prepare(&bench);
    let session = bench.outside(|| std::net::TcpStream::connect((bench::MACHINE[0], 80)).unwrap());
    let mut nft = Nft::open().unwrap();
    load("insert rule inet filter input ip saddr 198.51.100.9 tcp dport 80 drop comment \"banned\"");
    nft.install(&structure(POLICY_DROP.place()), &[(door(OUTSIDE[0], "22/tcp"), LONG)]).unwrap();
    assert!(bench.opens(SSH), "the door is open");
    assert!(!bench.opens(80), "the ban stands");
    assert!(!bench.echoes(session), "for the live session too");
}

/// `drop_ports` where the admin's own policy accepts: the drops stand in the admin's chain, after our accepts.
#[test]
fn attached_drops_come_after_the_accepts() {
    let ground = Attached(&[(Family::Inet, "filter", "input", "policy accept;")]);
    let mut bench = Bench::new();
    bench.listen(&[SSH, 80]);
    ground.prepare(&bench);
    let mut nft = Nft::open().unwrap();
    let mut structure = structure(ground.place());
    structure.stance.protected = vec![port("22/tcp")];
    nft.install(&structure, &[]).unwrap();
    assert_eq!(bench.connects(&[SSH, 80], 0, OUTSIDE), [false, true]);
    all_done(&nft.change(&[open(door(OUTSIDE[0], "22/tcp"))]));
    assert!(bench.opens(SSH));
}

/// A reload carries every grant over, in one transaction, however many there are.
#[test]
fn a_reload_carries_sixty_thousand_over() {
    let (bench, mut nft) = machine(&Own);
    let at = |n: u32| door(&std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string(), "22/tcp");
    let mut doors: Vec<_> = (0..60_000).map(|n| (at(n), LONG)).collect();
    doors.push((door(OUTSIDE[1], "1500-1510/tcp"), LONG));
    let large = portunus_fw::Structure { most_open: 65_536, ..structure(Place::Own) };
    for _ in 0..2 {
        nft.install(&large, &doors).unwrap();
        assert_eq!(nft.open_now().unwrap().len(), 60_001);
    }
    assert_eq!(bench.connects(&[1500, SSH], 1, OUTSIDE), [true, false]);
}

/// A grant gets the end that it is to have, later or sooner, also where somebody's hand left one without an end, and also
/// where it is about to expire.
#[test]
fn a_new_end_is_the_end_whatever_was_there() {
    let (_bench, mut nft) = machine(&Own);
    let element = door("203.0.113.1", "22/tcp");
    let secs = |nft: &mut dyn Firewall| {
        let open = nft.open_now().unwrap();
        open.iter().find(|(one, _)| *one == element).map(|(_, left)| left.as_secs_f64().round())
    };
    for lasting in [30, 60, 60, 10, 600, 1, 20] {
        let lasting = Duration::from_secs(lasting);
        all_done(&nft.change(&[Change::Open(element, lasting)]));
        assert_eq!(secs(nft.as_mut()), Some(lasting.as_secs_f64()));
    }
    all_done(&nft.change(&[Change::Close(element)]));
    assert_eq!(secs(nft.as_mut()), None);
    load("add element inet portunus open4 { 203.0.113.1 . tcp . 22 timeout 0s }");
    // The second time it is written as for a kernel that renews nothing in place.
    for lasting in [30, 40] {
        all_done(&nft.change(&[Change::Open(element, Duration::from_secs(lasting))]));
        assert_eq!(secs(nft.as_mut()), Some(lasting as f64));
    }
    load("flush set inet portunus open4");
    all_done(&nft.change(&[Change::Open(element, Duration::from_secs(50))]));
    assert_eq!(secs(nft.as_mut()), Some(50.0));
}

/// A set that is really full refuses just what has no room.
#[test]
fn the_kernels_own_refusal_hits_only_the_one() {
    let (_bench, mut nft) = machine(&Own);
    let small = portunus_fw::Structure { most_open: 100, ..structure(Place::Own) };
    nft.install(&small, &[]).unwrap();
    let at = |n: usize| open(door(&format!("203.0.{}.{}", n / 250, n % 250), "22/tcp"));
    // The set has room for 264 (twice, and 64).
    let first: Vec<Change> = (0..201).map(at).collect();
    all_done(&nft.change(&first));
    let second: Vec<Change> = (201..265).map(at).collect();
    let answers = nft.change(&second);
    assert_eq!(second.len(), 64);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 63, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Err(FirewallError::Full)).count(), 1);
}

/// Where what goes out is dropped too, and connections are not tracked: answers go back to who has a grant.
#[test]
fn answers_go_out_where_the_seat_says() {
    let mut bench = Bench::new();
    bench.listen(&[SSH, 80]);
    load(
        "table inet filter {
            chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; tcp dport 80 accept; }
            chain output { type filter hook output priority 0; policy drop; meta l4proto ipv6-icmp accept; tcp sport 80 accept; }
        }",
    );
    let mut seats: Vec<Seat> = ["input", "output"]
        .map(|chain| Seat { family: Family::Inet, table: "filter".to_owned(), chain: chain.to_owned() })
        .into();
    let doors = ["22/tcp", "1500-1510/tcp"].map(|text| (door(OUTSIDE[1], text), LONG));
    let mut nft = Nft::open().unwrap();
    nft.install(&structure(Place::Attach(seats.clone())), &doors).unwrap();
    assert_eq!(bench.connects(&[SSH, 80], 1, OUTSIDE), [true, true], "{}", listing());
    assert_eq!(bench.connects(&[SSH, 80], 1, OTHER), [false, true]);
    assert_eq!(nft.standing(), Ok(Standing::Whole));
    seats.pop();
    nft.install(&structure(Place::Attach(seats)), &doors).unwrap();
    assert_eq!(bench.connects(&[SSH, 80], 1, OUTSIDE), [false, true], "{}", listing());
    assert!(!listing().contains("portunus_output"));
}

/// Whatever a set of the admin's holds, we come before the drop that asks it.
#[test]
fn sets_of_the_admins_count_unread() {
    let ground = Attached(&[(Family::Inet, "filter", "input", "policy accept; { SERVED }")]);
    for asks in ["ip saddr @some drop", "ip saddr != @some drop", "tcp dport vmap { 22 : drop }"] {
        let mut bench = Bench::new();
        bench.listen(&[SSH]);
        ground.prepare(&bench);
        for part in [
            "add set inet filter some { type ipv4_addr; elements = { 192.0.2.1 }; }",
            "add rule inet filter input",
        ] {
            load(&if part.contains("rule") { format!("{part} {asks}") } else { part.to_owned() });
        }
        let mut nft = Nft::open().unwrap();
        nft.install(&structure(ground.place()), &[(door(OUTSIDE[0], "22/tcp"), LONG)]).unwrap();
        load("add element inet filter some { 198.51.100.9 }");
        assert!(bench.opens(SSH), "{asks}: {}", listing());
        assert_eq!(nft.standing(), Ok(Standing::Whole));
        load("flush set inet filter some");
        assert!(bench.opens(SSH), "{asks}: {}", listing());
    }
}

/// A large set of somebody else's costs nothing when ours is put back.
#[test]
fn a_large_blacklist_delays_nothing() {
    let (_bench, mut nft) = machine(&Own);
    let all: Vec<String> =
        (0..100_000_u32).map(|n| std::net::Ipv4Addr::from(0x0b00_0000 + n * 7).to_string()).collect();
    load(&format!(
        "table inet big {{\n set black {{ type ipv4_addr; elements = {{ {} }}\n }}\n}}",
        all.join(", ")
    ));
    assert_eq!(nft.standing(), Ok(Standing::Whole));
    let took = (0..3).map(|_| {
        load("delete table inet portunus");
        put_back(nft.as_mut(), &Place::Own, &[])
    });
    let best = took.min().unwrap();
    assert!(best < Duration::from_millis(50), "{best:?}");
}

/// What has our names and lacks our comment is somebody else's: a start is refused and names it, and nothing of it is
/// touched, by a teardown neither.
#[test]
fn what_lacks_our_comment_is_not_ours() {
    const INPUT: &str = "type filter hook input priority 0; policy accept; tcp dport 22 drop;";
    let attach = Attached(&[(Family::Inet, "filter", "input", "")]).place();
    let chain = "chain portunus { tcp dport 81 accept; }";
    for (place, rules, said) in [
        (
            &Place::Own,
            "table inet portunus { chain mine { ip saddr 192.0.2.1 drop; }; }".to_owned(),
            "table inet portunus is not ours (it lacks our comment \"portunus\"), and we need its name: rename it",
        ),
        (
            &Place::Own,
            "table inet portunus { comment \"mine\"; }".to_owned(),
            "table inet portunus is not ours",
        ),
        (
            &attach,
            format!("table inet filter {{ {chain}; chain input {{ {INPUT} jump portunus; }}; }}"),
            "chain portunus in table inet filter is not ours (it lacks our comment \"portunus\"), and we need its name: rename it",
        ),
        (
            &attach,
            format!("table inet filter {{ chain portunus {{ }}; chain input {{ {INPUT} }}; }}"),
            "chain portunus in table inet filter is not ours",
        ),
        (
            &attach,
            format!(
                "table inet filter {{ set portunus_open4 {{ type ipv4_addr; }}; chain input {{ {INPUT} }}; }}"
            ),
            "set portunus_open4 in table inet filter is not ours",
        ),
    ] {
        let _bench = Bench::new();
        load(&rules);
        let before = run("nft", &["-s", "-a", "list", "ruleset"]);
        let mut nft = Nft::open().unwrap();
        let error = nft.install(&structure(place.clone()), &[]).unwrap_err();
        assert!(matches!(error, FirewallError::Taken(_)) && error.to_string().starts_with(said), "{error}");
        let wish = portunus_fw::place::Wish { place: Some(place), ..Default::default() };
        let found = portunus_fw::place::find(&nft.ruleset().unwrap(), &wish);
        if !rules.contains("set portunus_open4") {
            assert_eq!(found.refused.first().map(ToString::to_string), Some(error.to_string()));
        }
        assert_eq!(nft.guards(), Ok(false), "a drop in it is not ours");
        nft.teardown().unwrap();
        assert_eq!(run("nft", &["-s", "-a", "list", "ruleset"]), before);
    }
}

/// The same names where we need none of them are in nobody's way, and stay.
#[test]
fn our_names_elsewhere_are_left_alone() {
    let bench = Bench::new();
    POLICY_DROP.prepare(&bench);
    load(
        "table ip portunus { chain portunus { tcp dport 81 accept; }; chain input { type filter hook input priority 5; jump portunus; }; }
        table inet filter { set portunus_friends { type ipv4_addr; }; chain portunus_output { }; chain look { jump portunus_output; }; }",
    );
    let before = run("nft", &["-s", "-a", "list", "ruleset"]);
    let mut nft = Nft::open().unwrap();
    for _ in 0..2 {
        nft.install(&structure(POLICY_DROP.place()), &[]).unwrap();
        assert_eq!(nft.standing(), Ok(Standing::Whole));
    }
    nft.teardown().unwrap();
    assert_eq!(run("nft", &["-s", "-a", "list", "ruleset"]), before);
}

/// A rule of theirs that leads to our chain keeps the chain there; it is named.
#[test]
fn a_rule_that_leads_to_our_chain_is_named_and_stays() {
    let (_bench, mut nft) = machine(&POLICY_DROP);
    load("add chain inet filter more");
    load("add rule inet filter more tcp dport 82 jump portunus");
    let named = |error: FirewallError| {
        let said = error.to_string();
        assert!(said.contains("rule `tcp dport 82 jump portunus` (handle "), "{said}");
        assert!(
            said.contains("chain more is not ours")
                && said.contains("nft delete rule inet filter more handle"),
            "{said}"
        );
    };
    named(nft.install(&structure(POLICY_DROP.place()), &[]).unwrap_err());
    named(nft.teardown().unwrap_err());
    assert_eq!(
        listing().matches("portunus").count(),
        4,
        "the rule, our empty chain, its comment: {}",
        listing()
    );
    load("flush chain inet filter more");
    nft.teardown().unwrap();
    assert_eq!(listing().matches("portunus").count(), 1, "the word in a comment of theirs: {}", listing());
    nft.install(&structure(POLICY_DROP.place()), &[]).unwrap();
}
