//! fwknop's programs and ours in every pairing: the same stanza, the same words, and the same comes of it. Where ours differs
//! on purpose the case says so, and docs/fwknop-as-it-is.md says why.

use std::path::Path;
use std::time::Duration;

use portunus_interop::fwknop::{Fwknopd, PAIRS, Whose, fwknop, grants, within};
use portunus_interop::{Firewall, World};

const KEYS: [&str; 5] = ["--key-rijndael", "an encryption key", "--key-hmac", "an HMAC key", "--use-hmac"];
const STANZA: &str = "SOURCE ANY\nKEY_BASE64 YW4gZW5jcnlwdGlvbiBrZXk=\nHMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";

/// What comes of a knock.
enum Comes<'a> {
    /// These rules stand in fwknop's chains.
    Rules(&'a [&'a str]),
    /// The server's maker decides: theirs, or ours, which are narrower (docs/fwknop-as-it-is.md).
    Either { theirs: &'a [&'a str], ours: &'a [&'a str] },
    /// No rule, and the server says this.
    Refused(&'a str),
}

/// One stanza (what stands behind its keys), one line of words, and what comes of it in all four pairings.
struct Case<'a> {
    conf: &'a str,
    stanza: &'a str,
    words: &'a [&'a str],
    comes: Comes<'a>,
}

impl Case<'_> {
    fn run(&self) {
        for (client, server) in PAIRS {
            let world = World::bare(Firewall::Iptables);
            let daemon = Fwknopd::start(&world, server, self.conf, &format!("{STANZA}{}", self.stanza), &[]);
            let out = fwknop(&world, client, &[&KEYS, self.words].concat());
            let said =
                String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
            assert!(out.status.success(), "{client:?} fwknop: {}: {said}", out.status);
            self.check(&world, &daemon, server, &format!("{client:?} client, {server:?} server"));
        }
    }

    fn check(&self, world: &World, daemon: &Fwknopd, server: Whose, pair: &str) {
        let stand = |wanted: &[&str]| {
            let there = within(Duration::from_secs(4), || grants(world) == wanted);
            assert!(there, "{pair}: {:#?}, not {wanted:#?}\n{}", grants(world), daemon.log());
        };
        match self.comes {
            Comes::Rules(wanted) => stand(wanted),
            Comes::Either { theirs, ours } => stand(if server == Whose::Ours { ours } else { theirs }),
            Comes::Refused(words) => {
                assert!(daemon.says(words), "{pair}: it did not say {words:?}:\n{}", daemon.log());
                assert_eq!(grants(world), [""; 0], "{pair}: refused, and yet a rule stands");
            }
        }
    }
}

const SSH: [&str; 4] = ["-A", "tcp/22", "-a", "10.90.0.2"];
const NAT: &str = "ENABLE_IPT_FORWARDING Y;\n";

#[test]
fn a_port_opens() {
    let rule = ["INPUT -s 10.90.0.2/32 -p tcp --dport 22 -j ACCEPT"];
    Case { conf: "", stanza: "", words: &SSH, comes: Comes::Rules(&rule) }.run();
    let stanza = "REQUIRE_SOURCE_ADDRESS Y\nOPEN_PORTS tcp/22, udp/53\nREQUIRE_USERNAME alice\n";
    let words = ["-A", "tcp/22,udp/53", "-a", "192.0.2.9", "-U", "alice", "-f", "20"];
    let rules = [
        "INPUT -s 192.0.2.9/32 -p tcp --dport 22 -j ACCEPT",
        "INPUT -s 192.0.2.9/32 -p udp --dport 53 -j ACCEPT",
    ];
    Case { conf: "", stanza, words: &words, comes: Comes::Rules(&rules) }.run();
}

#[test]
fn the_udp_server_opens_like_the_sniffer() {
    let conf = "ENABLE_UDP_SERVER Y;\nUDPSERV_PORT 62201;\n";
    for (client, server) in PAIRS {
        let world = World::bare(Firewall::Iptables);
        world.server.run("iptables", &["-A", "INPUT", "-p", "udp", "--dport", "62201", "-j", "ACCEPT"]);
        let daemon = Fwknopd::start(&world, server, conf, STANZA, &[]);
        let out = fwknop(&world, client, &[&KEYS[..], &["-A", "tcp/22", "-s"]].concat());
        assert!(out.status.success());
        let rule = ["INPUT -s 10.90.0.2/32 -p tcp --dport 22 -j ACCEPT"];
        let there = within(Duration::from_secs(4), || grants(&world) == rule);
        assert!(there, "{client:?} {server:?}: {:?}\n{}", grants(&world), daemon.log());
    }
}

#[test]
fn the_rules_options_are_heeded() {
    let conf = "ENABLE_DESTINATION_RULE Y;\nENABLE_IPT_OUTPUT Y;\n";
    let rules = [
        "INPUT -s 10.90.0.2/32 -d 10.90.0.1/32 -p tcp --dport 22 -j ACCEPT",
        "OUTPUT -s 10.90.0.1/32 -d 10.90.0.2/32 -p tcp --sport 22 -j ACCEPT",
    ];
    Case { conf, stanza: "", words: &SSH, comes: Comes::Rules(&rules) }.run();
}

#[test]
fn what_a_stanza_does_not_give_is_refused() {
    let refused = |stanza: &str, words: &[&str], says| {
        Case { conf: "", stanza, words, comes: Comes::Refused(says) }.run();
    };
    let port = "One or more requested protocol/ports was denied";
    refused("OPEN_PORTS tcp/80\n", &SSH, port);
    refused("RESTRICT_PORTS tcp/22\n", &SSH, port);
    refused("REQUIRE_SOURCE_ADDRESS Y\n", &["-A", "tcp/22", "-s"], "Got 0.0.0.0 when valid source IP");
    refused("REQUIRE_USERNAME bob\n", &[&SSH[..], &["-U", "alice"]].concat(), "Username in SPA data");
    refused("ACCESS_EXPIRE 01/01/2020\n", &SSH, "Access stanza has expired");
    refused("", &[&SSH[..], &["--time-offset-minus", "10m"]].concat(), "SPA data time difference");
    refused("", &[&SSH[..], &["-N", "10.91.0.2:22"]].concat(), "not enabled");
    refused("", &["-C", "touch /tmp/never", "-a", "10.90.0.2"], "Command messages are not allowed");
}

#[test]
fn only_its_sources_have_a_stanza() {
    for (client, server) in PAIRS {
        let world = World::bare(Firewall::Iptables);
        let access = STANZA.replace("ANY", "192.0.2.0/24, 198.51.100.7");
        let daemon = Fwknopd::start(&world, server, "", &access, &[]);
        assert!(fwknop(&world, client, &[&KEYS[..], &SSH].concat()).status.success());
        assert!(daemon.says("No access data found"), "{client:?} {server:?}: {}", daemon.log());
    }
}

#[test]
fn the_next_stanza_is_asked_when_one_refuses() {
    let second = format!("OPEN_PORTS tcp/80\n\n{STANZA}OPEN_PORTS tcp/22\n");
    let rule = ["INPUT -s 10.90.0.2/32 -p tcp --dport 22 -j ACCEPT"];
    Case { conf: "", stanza: &second, words: &SSH, comes: Comes::Rules(&rule) }.run();
}

#[test]
fn a_port_leads_to_an_inner_host() {
    let turned = "PREROUTING -s 10.90.0.2/32 -p tcp --dport 5000 -j DNAT --to-destination 10.91.0.2:22";
    let theirs = ["FORWARD -s 10.90.0.2/32 -p tcp --dport 22 -j ACCEPT", turned];
    let ours = ["FORWARD -s 10.90.0.2/32 -d 10.91.0.2/32 -p tcp --dport 22 -j ACCEPT", turned];
    let comes = || Comes::Either { theirs: &theirs, ours: &ours };
    let words = ["-A", "tcp/5000", "-a", "10.90.0.2", "-N", "10.91.0.2:22"];
    Case { conf: NAT, stanza: "", words: &words, comes: comes() }.run();
    let forced = "FORCE_NAT 10.91.0.2 22\n";
    let words = ["-A", "tcp/5000", "-a", "10.90.0.2"];
    Case { conf: NAT, stanza: forced, words: &words, comes: comes() }.run();
}

#[test]
fn the_inner_host_sees_another_source() {
    let conf = "ENABLE_IPT_FORWARDING Y;\nENABLE_IPT_SNAT Y;\nSNAT_TRANSLATE_IP 10.91.0.1;\n";
    let words = ["-A", "tcp/5000", "-a", "10.90.0.2", "-N", "10.91.0.2:22"];
    let turned = "PREROUTING -s 10.90.0.2/32 -p tcp --dport 5000 -j DNAT --to-destination 10.91.0.2:22";
    let theirs = [
        "FORWARD -s 10.90.0.2/32 -p tcp --dport 22 -j ACCEPT",
        "POSTROUTING -d 10.91.0.2/32 -p tcp --dport 22 -j SNAT --to-source 10.91.0.1",
        turned,
    ];
    let ours = [
        "FORWARD -s 10.90.0.2/32 -d 10.91.0.2/32 -p tcp --dport 22 -j ACCEPT",
        "POSTROUTING -s 10.90.0.2/32 -d 10.91.0.2/32 -p tcp --dport 22 -j SNAT --to-source 10.91.0.1",
        turned,
    ];
    let comes = Comes::Either { theirs: &theirs, ours: &ours };
    Case { conf, stanza: "", words: &words, comes }.run();
}

#[test]
fn a_port_leads_to_another_port_of_the_server() {
    let conf = "ENABLE_IPT_LOCAL_NAT Y;\n";
    let words = ["-A", "tcp/5000", "-a", "10.90.0.2", "-N", "10.90.0.1:22", "--nat-local"];
    let rules = [
        "INPUT -s 10.90.0.2/32 -p tcp --dport 22 -j ACCEPT",
        "PREROUTING -s 10.90.0.2/32 -p tcp --dport 5000 -j DNAT --to-destination 10.90.0.1:22",
    ];
    Case { conf, stanza: "", words: &words, comes: Comes::Rules(&rules) }.run();
}

#[test]
fn a_grant_ends_at_its_time_and_says_so() {
    for (client, server) in PAIRS {
        let world = World::bare(Firewall::Iptables);
        let stanza = format!("{STANZA}FW_ACCESS_TIMEOUT 2\nMAX_FW_TIMEOUT 3\n");
        let daemon = Fwknopd::start(&world, server, "", &stanza, &[]);
        let pair = format!("{client:?} client, {server:?} server");
        assert!(fwknop(&world, client, &[&KEYS[..], &SSH, &["-f", "600"]].concat()).status.success());
        assert!(
            daemon.says("Added access rule to FWKNOP_INPUT for 10.90.0.2 -> 0.0.0.0/0 tcp/22, expires at ")
        );
        assert!(within(Duration::from_secs(8), || grants(&world).is_empty()), "{pair}: {:?}", grants(&world));
        assert!(
            daemon.says("Removed rule 1 from FWKNOP_INPUT with expire time of "),
            "{pair}: {}",
            daemon.log()
        );
    }
}

#[test]
fn the_same_packet_is_refused_the_second_time() {
    for (client, server) in PAIRS {
        let world = World::bare(Firewall::Iptables);
        let daemon = Fwknopd::start(&world, server, "", STANZA, &[]);
        let saved = world.folder().join("packet");
        let file = saved.display().to_string();
        assert!(fwknop(&world, client, &[&KEYS[..], &SSH, &["-B", &file]].concat()).status.success());
        assert!(within(Duration::from_secs(4), || grants(&world).len() == 1), "{}", daemon.log());
        let text = std::fs::read_to_string(&saved).expect("the packet was saved");
        world.client.inside(|| {
            let socket = std::net::UdpSocket::bind("10.90.0.2:0").expect("a socket can be bound");
            socket.send_to(text.trim().as_bytes(), "10.90.0.1:62201").expect("a datagram can be sent");
        });
        assert!(
            daemon.says("Replay detected from source IP: 10.90.0.2"),
            "{client:?} {server:?}: {}",
            daemon.log()
        );
    }
}

#[test]
fn a_command_runs_where_it_may() {
    for (client, server) in PAIRS {
        let world = World::bare(Firewall::Iptables);
        let daemon = Fwknopd::start(&world, server, "", &format!("{STANZA}ENABLE_CMD_EXEC Y\n"), &[]);
        let made = world.folder().join("made");
        let text = format!("touch {}", made.display());
        assert!(
            fwknop(&world, client, &[&KEYS[..], &["-C", &text, "-a", "10.90.0.2"]].concat()).status.success()
        );
        let there = within(Duration::from_secs(4), || made.exists());
        assert!(there, "{client:?} {server:?}: {}", daemon.log());
        assert!(daemon.says("Processing SPA Command message: command='touch "), "{}", daemon.log());
    }
}

#[test]
fn a_cycle_runs_both_of_its_commands() {
    for (client, server) in PAIRS {
        let world = World::bare(Firewall::Iptables);
        let made = world.folder().join("made");
        let path = made.display();
        let stanza = format!(
            "{STANZA}CMD_CYCLE_OPEN touch {path}-$IP-$PORT-$PROTO\nCMD_CYCLE_CLOSE rm {path}-$SRC-$PORT-$PROTO\n\
             CMD_CYCLE_TIMER 2\n"
        );
        let daemon = Fwknopd::start(&world, server, "", &stanza, &[]);
        assert!(fwknop(&world, client, &[&KEYS[..], &SSH].concat()).status.success());
        let name = format!("{path}-10.90.0.2-22-6");
        let there = Path::new(&name);
        let pair = format!("{client:?} client, {server:?} server");
        assert!(within(Duration::from_secs(4), || there.exists()), "{pair}: {}", daemon.log());
        assert_eq!(grants(&world), [""; 0], "{pair}: a cycle opens no door");
        assert!(within(Duration::from_secs(6), || !there.exists()), "{pair}: {}", daemon.log());
    }
}

#[test]
fn digest_caches_are_continued_by_each_other() {
    for (first, second) in [(Whose::Theirs, Whose::Ours), (Whose::Ours, Whose::Theirs)] {
        let world = World::bare(Firewall::Iptables);
        let daemon = Fwknopd::start(&world, first, "", STANZA, &[]);
        let saved = world.folder().join("packet");
        let file = saved.display().to_string();
        assert!(fwknop(&world, Whose::Theirs, &[&KEYS[..], &SSH, &["-B", &file]].concat()).status.success());
        assert!(within(Duration::from_secs(4), || grants(&world).len() == 1), "{}", daemon.log());
        drop(daemon);
        let daemon = Fwknopd::start(&world, second, "", STANZA, &[]);
        let text = std::fs::read_to_string(&saved).expect("the packet was saved");
        world.client.inside(|| {
            let socket = std::net::UdpSocket::bind("10.90.0.2:0").expect("a socket can be bound");
            socket.send_to(text.trim().as_bytes(), "10.90.0.1:62201").expect("a datagram can be sent");
        });
        assert!(daemon.says("Replay detected from source IP: 10.90.0.2"), "{second:?}: {}", daemon.log());
    }
}
