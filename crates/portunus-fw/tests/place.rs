//! Where we would stand in rulesets that people have, and which rule would still keep somebody out. Needs root, nft
//! and iptables.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod bench;

use bench::{load, read, run, unshare};
use portunus_fw::place::{
    Blocked, Finding, Keeper, Neighbour, SeatError, Wish, check_seat, find, first_drop, still_blocked,
};
use portunus_fw::ruleset::TableFamily;
use portunus_fw::walk::Verdict;
use portunus_model::{ChainRow, Chains, Family, Place, PortSpec, Proto, Seat};

fn ssh() -> PortSpec {
    PortSpec::single(Proto::Tcp, 22).unwrap()
}

fn found(rules: &str, place: Option<&Place>) -> Finding {
    unshare();
    run("ip", &["link", "add", "outer0", "type", "veth", "peer", "name", "wire"]);
    load(rules);
    find(
        &read(),
        &Wish {
            doors: &[ssh()],
            knock_port: Some(54154),
            interfaces: &[bench::outer()],
            place,
            ..Wish::default()
        },
    )
}

fn seat(family: Family, table: &str, chain: &str) -> Seat {
    Seat { family, table: table.to_owned(), chain: chain.to_owned() }
}

fn said(blocked: &[Blocked]) -> String {
    blocked.iter().map(|b| format!("{b}\n")).collect()
}

#[test]
fn where_nothing_is_dropped_we_drop_ourselves() {
    let finding = found(include_str!("rulesets/debian-default.nft"), None);
    assert_eq!(finding.place, Place::Own);
    assert_eq!((finding.blocked, finding.neighbours), (vec![], vec![]));
    assert!(finding.doors.iter().all(|d| d.today == Verdict::Passes));
}

#[test]
fn where_the_admin_drops_we_stand_in_his_chain() {
    let finding = found(include_str!("rulesets/policy-drop.nft"), None);
    assert_eq!(finding.place, Place::Attach(vec![seat(Family::Inet, "filter", "input")]));
    assert_eq!(said(&finding.blocked), "");
    let Verdict::Dropped(site) = &finding.doors[0].today else { panic!("{:?}", finding.doors) };
    assert_eq!(site.to_string(), "table inet filter, chain input: policy drop");
}

#[test]
fn a_final_reject_is_a_drop_under_any_name() {
    let finding = found(include_str!("rulesets/final-reject.nft"), None);
    assert_eq!(finding.place, Place::Attach(vec![seat(Family::Inet, "fw", "in")]));
    let Verdict::Dropped(site) = &finding.doors[0].today else { panic!("{:?}", finding.doors) };
    assert!(
        site.to_string()
            .starts_with("table inet fw, chain in: rule `log prefix \"refused \" reject` (handle "),
        "{site}"
    );
}

#[test]
fn own_beside_a_dropping_table_is_named_with_the_mend() {
    let finding = found(include_str!("rulesets/policy-drop.nft"), Some(&Place::Own));
    assert_eq!(
        said(&finding.blocked).lines().next(),
        Some(
            "a knock to 54154/udp over IPv4 is dropped by table inet filter, chain input: policy drop: use place = \"attach:inet/filter/input\""
        )
    );
    assert_eq!(finding.blocked.len(), 4, "knock and door, both families");
}

#[test]
fn every_table_that_drops_gets_a_seat_and_a_drop_before_input_is_named() {
    let rules = "table inet a { chain in { type filter hook input priority 0; policy drop; }; }
        table ip b { chain in { type filter hook input priority 10; policy drop; }; }
        table ip6 c { chain pre { type filter hook prerouting priority raw; tcp dport 22 drop; }; }";
    let finding = found(rules, None);
    let seats = vec![seat(Family::Inet, "a", "in"), seat(Family::Ip, "b", "in")];
    assert_eq!(finding.place, Place::Attach(seats));
    let said = said(&finding.blocked);
    assert!(said.starts_with("a granted packet to 22/tcp over IPv6 is dropped by table ip6 c, chain pre: rule `tcp dport 22 drop` (handle "), "{said}");
    assert!(
        said.ends_with(
            "it stands where we cannot; allow it there (`nft insert rule ip6 c pre tcp dport 22 accept`)\n"
        ),
        "{said}"
    );
}

#[test]
fn iptables_rules_are_stood_in_by_iptables() {
    let finding = found("#!/bin/sh\niptables-nft -P INPUT DROP\nip6tables-nft -P INPUT DROP\n", None);
    assert_eq!(finding.place, Place::Iptables);
    assert_eq!(
        (said(&finding.blocked).as_str(), &finding.neighbours[..]),
        ("", &[Neighbour::IptablesNft][..])
    );
    let wished = Place::Attach(vec![seat(Family::Ip, "filter", "INPUT")]);
    let finding = find(&read(), &Wish { doors: &[ssh()], place: Some(&wished), ..Wish::default() });
    assert_eq!(
        finding.refused.first().map(ToString::to_string).as_deref(),
        Some(
            "table ip filter is managed by iptables, which would lose our rule or save it as something else: use place = \"iptables\""
        )
    );
}

#[test]
fn a_single_xt_expression_makes_a_table_iptables_own() {
    unshare();
    load(
        "#!/bin/sh\niptables-nft -A INPUT -m comment --comment x -j ACCEPT\nnft rename chain ip filter INPUT other\n",
    );
    assert_eq!(
        check_seat(&read(), &seat(Family::Ip, "filter", "other")),
        Err(SeatError::Kept { seat: seat(Family::Ip, "filter", "other"), keeper: Keeper::Iptables })
    );
}

#[test]
fn legacy_rules_count_though_nft_does_not_list_them() {
    unshare();
    load("#!/bin/sh\niptables-legacy -A INPUT -p tcp --dport 22 -j DROP\n");
    let mut ruleset = read();
    ruleset.add_legacy(TableFamily::Ip, &run("iptables-legacy-save", &[]));
    let finding = find(&ruleset, &Wish { doors: &[ssh()], ..Wish::default() });
    assert_eq!((finding.place, finding.neighbours), (Place::Iptables, vec![Neighbour::IptablesLegacy]));
    let Verdict::Dropped(site) = &finding.doors[0].today else { panic!("{:?}", finding.doors) };
    assert_eq!(
        site.to_string(),
        "iptables-legacy table ip filter, chain INPUT: rule `-A INPUT -p tcp -m tcp --dport 22 -j DROP`"
    );
}

#[test]
fn firewalld_is_never_stood_in() {
    let finding = found(include_str!("rulesets/firewalld.nft"), None);
    assert_eq!((&finding.place, &finding.neighbours[..]), (&Place::Own, &[Neighbour::Firewalld][..]));
    let said = said(&finding.blocked);
    assert!(said.contains("table inet firewalld, chain filter_IN_public: rule `reject`"), "{said}");
    assert!(
        said.contains("firewall-cmd --permanent --add-port=54154/udp && firewall-cmd --reload"),
        "{said}"
    );
    assert!(!said.contains("22/tcp"), "it allows ssh: {said}");
}

#[test]
fn ufw_is_never_stood_in() {
    let finding = found(include_str!("rulesets/ufw.sh"), None);
    assert_eq!(finding.place, Place::Own);
    assert!(finding.neighbours.contains(&Neighbour::Ufw));
    let said = said(&finding.blocked);
    assert!(said.contains("`ufw allow 22/tcp`") && said.contains("`ufw allow 54154/udp`"), "{said}");
}

#[test]
fn a_table_with_an_owner_is_never_stood_in() {
    unshare();
    // A table with an owner lives as long as its owner: an nft that waits for more to read.
    let mut nft = std::process::Command::new("nft")
        .arg("-i")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let rules = b"add table inet mine { flags owner; }\nadd chain inet mine in { type filter hook input priority 0; policy drop; }\n";
    std::io::Write::write_all(nft.stdin.as_mut().unwrap(), rules).unwrap();
    let mut ruleset = read();
    for _ in 0..100 {
        if ruleset.tables.iter().any(|t| !t.chains.is_empty()) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        ruleset = read();
    }
    let finding = find(&ruleset, &Wish { doors: &[ssh()], ..Wish::default() });
    drop(nft.stdin.take());
    nft.wait().unwrap();
    assert_eq!((finding.place, finding.neighbours), (Place::Own, vec![Neighbour::Owned]));
    assert!(
        finding.blocked[0].mend.contains("in the program that owns this table"),
        "{}",
        finding.blocked[0]
    );
}

#[test]
fn a_port_that_docker_publishes_is_never_called_protected() {
    unshare();
    load(include_str!("rulesets/docker.sh"));
    let web = PortSpec::single(Proto::Tcp, 8080).unwrap();
    let finding = find(&read(), &Wish { doors: &[web, ssh()], ..Wish::default() });
    assert!(finding.neighbours.contains(&Neighbour::Docker));
    let unguarded: Vec<_> = finding.unguarded().map(|(door, site)| (door.port, site.chain.clone())).collect();
    assert_eq!(unguarded, [(web, "DOCKER".to_owned())]);
    assert_eq!(finding.doors.iter().find(|d| d.port == ssh()).map(|d| &d.today), Some(&Verdict::Passes));
}

#[test]
fn the_jump_goes_before_the_first_rule_that_can_drop() {
    unshare();
    load(include_str!("rulesets/vmaps.nft"));
    let ruleset = read();
    let table = ruleset.table(TableFamily::Inet, "filter").unwrap();
    let input = table.chain("input").unwrap();
    let first = first_drop(table, input).unwrap();
    let words = input.rules.iter().find(|r| r.handle == first).unwrap().words(table);
    assert_eq!(
        words, "meta l4proto vmap { tcp : jump tcp_chain, udp : goto udp_chain }",
        "invalid is not new"
    );
    load(
        "table inet p { chain in { type filter hook input priority 0; policy drop; tcp dport 80 accept; }; }",
    );
    let ruleset = read();
    let table = ruleset.table(TableFamily::Inet, "p").unwrap();
    assert_eq!(first_drop(table, table.chain("in").unwrap()), None);
}

/// What the daemon asks once it stands: our sets let a granted packet in, wherever they are.
#[test]
fn with_our_rules_in_place_only_others_block() {
    let own = "table inet portunus {
        set open4 { typeof ip saddr . meta l4proto . th dport; flags timeout; comment \"portunus\"; }
        chain input {
            type filter hook input priority filter - 10;
            udp dport 54154 accept comment \"portunus\"
            ip saddr . meta l4proto . th dport @open4 accept comment \"portunus\"
            tcp dport 22 drop comment \"portunus\"
        }
    }";
    let admin = "table ip filter2 { chain in { type filter hook input priority 0; policy drop; udp dport 54154 accept; }; }";
    unshare();
    load(own);
    let wish = Wish { doors: &[ssh()], knock_port: Some(54154), ..Wish::default() };
    let v4 = |blocked: Vec<Blocked>| said(&blocked).lines().filter(|l| l.contains("IPv4")).count();
    assert_eq!(v4(still_blocked(&read(), &wish)), 0);
    load(admin);
    assert_eq!(v4(still_blocked(&read(), &wish)), 1);
    load(
        "table ip filter2 { set portunus_open4 { type ipv4_addr . inet_proto . inet_service; flags timeout; comment \"portunus\"; }; chain portunus { ip saddr . meta l4proto . th dport @portunus_open4 accept; }; }
         insert rule ip filter2 in jump portunus comment \"portunus\"",
    );
    assert_eq!(v4(still_blocked(&read(), &wish)), 0, "attached");
    let finding = find(&read(), &wish);
    assert_eq!(
        finding.place,
        Place::Attach(vec![seat(Family::Ip, "filter2", "in")]),
        "as if we were not there"
    );
}

/// Who lets something through to another host must stand before what drops that, too.
#[test]
fn what_drops_the_way_through_is_found_and_named() {
    let input = "chain input { type filter hook input priority 0; policy drop; ct state established,related accept; tcp dport 80 accept; }";
    let forward =
        "chain forward { type filter hook forward priority 0; policy drop; iifname \"inner0\" accept; }";
    let through = Wish { any_port: true, through: true, ..Wish::default() };
    let both = [seat(Family::Inet, "filter", "forward"), seat(Family::Inet, "filter", "input")];
    unshare();
    load(&format!("table inet filter {{ {input}\n{forward}\n}}"));
    let finding = find(&read(), &through);
    assert_eq!((finding.place, said(&finding.blocked)), (Place::Attach(both.to_vec()), String::new()));
    // A seat in one of them only leaves the other in the way.
    let one = Place::Attach(vec![both[1].clone()]);
    let blocked = find(&read(), &Wish { place: Some(&one), ..through.clone() }).blocked;
    let told = said(&blocked);
    assert_eq!(blocked.len(), 4, "{told}");
    assert!(
        told.starts_with("a granted tcp packet to another host over IPv4 may be dropped by table inet filter, chain forward: policy drop: name this chain in `place` (attach:inet/filter/forward)"),
        "{told}"
    );
    // Nobody drops what comes in.
    load(&format!("flush ruleset\ntable inet filter {{ {forward}\n}}"));
    assert_eq!(find(&read(), &through).place, Place::Attach(vec![both[0].clone()]));
    // Where only packets to us are wanted, the way through is nobody's business.
    assert_eq!(find(&read(), &Wish { any_port: true, ..Wish::default() }).place, Place::Own);
    let output = seat(Family::Inet, "filter", "output");
    load(
        "table inet filter { chain output { type filter hook output priority 0; }; chain pre { type filter hook prerouting priority 0; }; }",
    );
    assert_eq!(check_seat(&read(), &output), Ok(()));
    let pre = seat(Family::Inet, "filter", "pre");
    assert_eq!(check_seat(&read(), &pre), Err(SeatError::NotInput(pre)));
}

#[test]
fn a_way_through_that_iptables_drops_is_named_with_its_mend() {
    unshare();
    for tool in ["iptables-nft", "ip6tables-nft"] {
        run(tool, &["-P", "FORWARD", "DROP"]);
        run(tool, &["-A", "INPUT", "-i", "lo", "-j", "ACCEPT"]);
    }
    let finding = find(&read(), &Wish { through: true, ..Wish::default() });
    let told = said(&finding.blocked);
    assert_eq!((finding.place, finding.blocked.len()), (Place::Own, 4), "{told}");
    assert!(told.contains("chain FORWARD: policy drop: leave FIREWALL out, so that fwknop's chains of iptables are used, or allow it there (`iptables -I FORWARD -d HOST -j ACCEPT`)"), "{told}");
    let row = |from: &str, chain: &str| ChainRow {
        target: "ACCEPT".to_owned(),
        table: "filter".to_owned(),
        from: from.to_owned(),
        jump: 1,
        chain: chain.to_owned(),
    };
    let chains = Chains {
        input: row("INPUT", "FWKNOP_INPUT"),
        output: None,
        forward: Some(row("FORWARD", "FWKNOP_FORWARD")),
        dnat: None,
        snat: None,
        masquerade: None,
        prepend: false,
        flush_at_start: true,
        flush_at_end: true,
        program: None,
    };
    let place = Place::Fwknop(Box::new(chains));
    let finding = find(&read(), &Wish { through: true, place: Some(&place), ..Wish::default() });
    assert_eq!(said(&finding.blocked), "");
}
