//! `doctor` on a server: each finding with the real thing in the ruleset, and gone when its mend was done.

use portunus_interop::{CLIENT, Firewall, SERVER, World};

/// What it says, and whether something is wrong.
fn doctor(world: &World) -> (String, bool) {
    let out = world.try_portunus(&["doctor"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(said.lines().any(|line| line.starts_with("wrong")), out.status.code() == Some(1), "{said}");
    (said, !out.status.success())
}

fn with_alice(firewall: Firewall) -> World {
    let world = World::new(firewall);
    drop(world.add("alice", &["--ports", "ssh"]));
    world
}

#[test]
fn a_chain_that_drops_live_connections() {
    let world = with_alice(Firewall::None);
    world.server.nft(
        r#"table inet strict {
  chain input { type filter hook input priority 10; policy drop;
  iif "lo" accept; meta l4proto ipv6-icmp accept; udp dport 54154 accept; tcp dport { 22, 54154 } tcp flags syn accept; }
}
"#,
    );
    let mend = "nft insert rule inet strict input ct state established,related accept";
    for running in [false, true] {
        let daemon = running.then(|| world.serve());
        let (said, wrong) = doctor(&world);
        assert!(wrong, "{said}");
        let line =
            said.lines().find(|line| line.contains("a live connection to 22/tcp over IPv4")).expect(&said);
        assert!(line.contains("table inet strict, chain input: policy drop"), "{line}");
        assert!(line.contains(mend), "{line}");
        drop(daemon);
    }
    world.portunus(&["teardown"]);
    world.server.run("sh", &["-c", mend]);
    let (said, _) = doctor(&world);
    assert!(!said.contains("a live connection"), "{said}");
}

#[test]
fn another_table_that_drops_a_granted_packet() {
    let world = with_alice(Firewall::None);
    let daemon = world.serve();
    let (said, wrong) = doctor(&world);
    assert!(!wrong, "{said}");
    world.server.nft(
        r#"table ip late {
  chain input { type filter hook input priority 300; policy accept;
  ct state established accept; tcp dport 22 counter drop; }
}
"#,
    );
    let (said, wrong) = doctor(&world);
    assert!(
        wrong
            && said.contains("a granted packet to 22/tcp over IPv4 is dropped by table ip late, chain input"),
        "{said}"
    );
    assert!(
        said.contains("nft insert rule ip late input tcp dport 22 accept")
            || said.contains("attach:ip/late/input"),
        "{said}"
    );
    drop(daemon);
}

#[test]
fn firewalld_and_ufw_with_their_own_tools_as_the_mend() {
    let world = with_alice(Firewall::None);
    world.server.nft(
        r#"table inet firewalld {
  chain filter_INPUT { type filter hook input priority filter + 10; policy accept;
  ct state { established, related } accept; iifname "lo" accept; meta l4proto ipv6-icmp accept;
  udp dport 54154 accept; reject with icmpx admin-prohibited; }
}
"#,
    );
    let (said, wrong) = doctor(&world);
    assert!(wrong && said.contains("firewalld is here"), "{said}");
    assert!(said.contains("firewall-cmd --permanent --add-port=22/tcp"), "{said}");

    let world = with_alice(Firewall::Iptables);
    for rule in [&["-N", "ufw-user-input"][..], &["-A", "INPUT", "-j", "ufw-user-input"]] {
        world.server.run("iptables", rule);
        let six: Vec<String> = rule.iter().map(|word| word.replace("ufw-", "ufw6-")).collect();
        world.server.run("ip6tables", &six.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let (said, wrong) = doctor(&world);
    assert!(wrong && said.contains("ufw is here"), "{said}");
    assert!(said.contains("`ufw allow 22/tcp`"), "{said}");
}

#[test]
fn an_address_that_is_not_this_machines_and_what_cannot_be_known() {
    let world = with_alice(Firewall::None);
    let (said, _) = doctor(&world);
    assert!(said.contains("cannot be known from here") && said.contains("status PROFILE --knock"), "{said}");
    assert!(!said.contains("no address of this machine"), "{SERVER} is: {said}");
    world.portunus(&["init", "--force", "--host", CLIENT]);
    let (said, wrong) = doctor(&world);
    assert!(
        wrong && said.contains(&format!("clients knock at {CLIENT}, which is no address of this machine")),
        "{said}"
    );
    assert!(said.contains("54154/udp is refused there"), "nobody listens there: {said}");
    // Somebody does: whether it is sent on to here is not known.
    let listener = world.client.inside(|| std::net::UdpSocket::bind((CLIENT, 54154))).expect("a socket");
    let (said, _) = doctor(&world);
    assert!(
        said.contains("must send 54154/udp on to this machine") && !said.contains("refused there"),
        "{said}"
    );
    drop(listener);
}

#[test]
fn the_clock_is_looked_at() {
    let world = with_alice(Firewall::None);
    let (said, _) = doctor(&world);
    let line = said.lines().find(|line| line.contains("clock")).expect(&said);
    let mend = line.contains("systemd-timesyncd or chrony") || line.contains("compare it with another's");
    assert!(line.contains("the clock is synchronized") || mend, "{line}");
}
