//! Ports that Docker or podman publish go past every input chain: they are named, and with `forward = true` they are
//! guarded on that way.
#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use portunus_interop::{
    Firewall, Knocker, Namespace, Open, SERVER, Try, World, closed, connects, open_within, run, serve_tcp,
};

/// What is published.
const DOOR: &str = "10.90.0.1:8080";
/// Where it leads: another port, so that only the first one tells what it was.
const INNER: &str = "172.30.0.2:80";
const SOON: Duration = Duration::from_secs(1);

const GUARDED: &str = "ssh = [\"22/tcp\"]\nweb = { ports = [\"8080/tcp\"], forward = true }\n";
const NOT_GUARDED: &str = "ssh = [\"22/tcp\"]\nweb = [\"8080/tcp\"]\n";

/// As their programs publish a port: their tables and chains, by their tools.
#[derive(Debug, Clone, Copy)]
enum Publisher {
    Docker,
    Podman,
    /// By a rule of the admin's own, beside a chain that drops what goes through: its rules.
    Admin(&'static str),
}

/// A server with a container behind it.
struct Host {
    world: World,
    container: Namespace,
    alice: Knocker,
    _service: Open,
}

impl Host {
    fn new(firewall: Firewall, publisher: Publisher, services: &str) -> Self {
        let world = World::new(firewall);
        let container = Namespace::new("i");
        let [server, inner] = [world.server.name(), container.name()];
        let link =
            ["link", "add", "in0", "netns", server, "type", "veth", "peer", "name", "in0", "netns", inner];
        run("ip", &link);
        for (side, address) in [(&world.server, "172.30.0.1/24"), (&container, "172.30.0.2/24")] {
            side.run("ip", &["addr", "add", address, "dev", "in0"]);
            side.run("ip", &["link", "set", "in0", "up"]);
        }
        container.run("ip", &["route", "add", "default", "via", "172.30.0.1"]);
        world.client.run("ip", &["route", "add", "172.30.0.0/24", "via", SERVER]);
        world.server.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"]);
        publish(&world.server, publisher);
        let service = serve_tcp(&container, INNER);
        fs::write(world.place("etc").join("services.toml"), services).expect("the services can be written");
        let alice = world.add("alice", &["--ports", "web", "--for", "2s"]);
        Self { world, container, alice, _service: service }
    }

    /// Leaves the place to the start: `init` wrote the one that it found before the port was published.
    fn without_place(self) -> Self {
        let server = self.world.place("etc").join("portunus.toml");
        let text = fs::read_to_string(&server).expect("init made it");
        let kept: String = text
            .lines()
            .filter(|line| !line.starts_with("place ="))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(&server, kept).expect("it can be written");
        self
    }

    fn doctor(&self) -> String {
        let out = self.world.try_portunus(&["doctor"]);
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn session(&self) -> TcpStream {
        let stream = self.world.client.inside(|| TcpStream::connect(DOOR)).expect("the door is open");
        stream.set_read_timeout(Some(SOON)).expect("a socket can have a time limit");
        stream
    }
}

fn publish(server: &Namespace, publisher: Publisher) {
    match publisher {
        Publisher::Docker => {
            let rules: [&[&str]; 6] = [
                &["-t", "nat", "-N", "DOCKER"],
                &["-t", "nat", "-A", "PREROUTING", "-m", "addrtype", "--dst-type", "LOCAL", "-j", "DOCKER"],
                &[
                    "-t", "nat", "-A", "DOCKER", "!", "-i", "in0", "-p", "tcp", "--dport", "8080", "-j", "DNAT",
                    "--to-destination", INNER,
                ],
                &["-N", "DOCKER"],
                &["-A", "FORWARD", "-o", "in0", "-j", "DOCKER"],
                &["-A", "DOCKER", "-d", "172.30.0.2/32", "!", "-i", "in0", "-o", "in0", "-p", "tcp", "--dport", "80", "-j", "ACCEPT"],
            ];
            rules.iter().for_each(|rule| drop(server.run("iptables", rule)));
        }
        Publisher::Podman => server.nft(
            r#"table inet netavark {
  chain NETAVARK-HOSTPORT-DNAT { tcp dport 8080 jump nv_dnat; }
  chain nv_dnat { meta nfproto ipv4 tcp dport 8080 dnat ip to 172.30.0.2:80; }
  chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump NETAVARK-HOSTPORT-DNAT; }
  chain FORWARD { type filter hook forward priority filter; policy accept; ip daddr 172.30.0.0/24 accept; }
}
"#,
        ),
        Publisher::Admin(forward) => server.nft(&format!(
            "table ip nat {{
  chain pre {{ type nat hook prerouting priority dstnat; policy accept; tcp dport {{ 8080, 8081, 8730-8739 }} dnat to {INNER}; }}
}}
table inet gate {{
  chain forward {{ type filter hook forward priority filter; policy drop; {forward}; }}
}}
"
        )),
    }
}

fn lives(mut stream: &TcpStream) -> bool {
    let mut bytes = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut bytes).is_ok() && bytes == *b"ping"
}

#[test]
fn what_goes_past_the_input_chains_is_named_with_its_mend() {
    for (publisher, table, who) in [
        (Publisher::Docker, "table ip nat, chain DOCKER", "docker is here"),
        (Publisher::Podman, "table inet netavark, chain nv_dnat", "podman is here"),
    ] {
        let host = Host::new(Firewall::None, publisher, NOT_GUARDED);
        let named = |said: &str| {
            assert!(
                said.contains("8080/tcp over IPv4 is sent on to a container or another host by"),
                "{said}"
            );
            assert!(
                said.contains(table) && said.contains("`forward = true`") && said.contains(who),
                "{said}"
            );
        };
        named(&host.doctor());
        let daemon = host.world.serve();
        assert!(
            connects(&host.world.client, DOOR, SOON),
            "{publisher:?}: it does not go past the input chain"
        );
        let said = host.doctor();
        named(&said);
        assert!(said.lines().any(|line| line.starts_with("wrong") && line.contains("8080/tcp")), "{said}");
        daemon.until_logged("this port is sent on");
    }
}

#[test]
fn with_forward_only_who_has_a_grant_gets_through() {
    for (firewall, publisher) in [
        (Firewall::None, Publisher::Docker),
        (Firewall::None, Publisher::Podman),
        (Firewall::PolicyDrop, Publisher::Podman),
    ] {
        let what = format!("{firewall:?}, {publisher:?}");
        let host = Host::new(firewall, publisher, GUARDED);
        let before = host.session();
        let daemon = host.world.serve();
        let Host { world, alice, container, .. } = &host;
        assert!(closed(&world.client, DOOR), "{what}: {}", world.server.ruleset());
        assert!(lives(&before), "{what}: a session from before was cut");
        // What this host only routes has the same port, and is none of our business.
        let _elsewhere = serve_tcp(&world.client, "10.90.0.2:8080");
        assert!(connects(container, "10.90.0.2:8080", SOON), "{what}: a container's own way out is dropped");
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted", "{what}");
        let session = host.session();
        assert!(lives(&session), "{what}");
        let said = host.doctor();
        // Of one that drops by where a packet goes nobody can tell.
        let wrong = |line: &&str| line.starts_with("wrong") && !line.contains("may be dropped");
        assert_eq!(said.lines().find(wrong), None, "{what}: {said}");
        assert!(
            said.contains("may be dropped") || said.contains("closed for strangers: 22/tcp, 8080/tcp"),
            "{what}: {said}"
        );
        std::thread::sleep(Duration::from_millis(2300));
        assert!(closed(&world.client, DOOR), "{what}: the grant is over");
        assert!(lives(&session), "{what}: the end of a grant cut a session");
        world.portunus(&["revoke", "alice", "--kill"]);
        assert!(!lives(&session), "{what}: revoke --kill left it");
        assert!(daemon.stop().success());
        assert!(closed(&world.client, DOOR), "{what}: the drops outlive the daemon");
        world.portunus(&["teardown"]);
        assert!(connects(&world.client, DOOR, SOON), "{what}");
    }
}

#[test]
fn in_a_forward_chain_that_drops_who_has_a_grant_gets_through_and_nobody_else() {
    const BOTH: &str =
        "ssh = [\"22/tcp\"]\nweb = { ports = [\"8080/tcp\", \"8730-8739/tcp\"], forward = true }\n";
    const OF_A_RANGE: &str = "10.90.0.1:8735";
    for (firewall, forward) in [
        (Firewall::None, "ct state established,related accept"),
        (Firewall::PolicyDrop, "ct state established,related accept; counter reject"),
        (Firewall::None, ""),
    ] {
        let what = format!("{firewall:?}, {forward:?}");
        let host = Host::new(firewall, Publisher::Admin(forward), BOTH).without_place();
        let Host { world, alice, .. } = &host;
        world.client.run("ip", &["addr", "add", "10.90.0.66/8", "dev", "door0"]);
        let before = world.server.run("nft", &["-s", "-a", "list", "table", "inet", "gate"]);
        let daemon = world.serve();
        let doors = [DOOR, OF_A_RANGE];
        assert!(doors.iter().all(|door| closed(&world.client, door)), "{what}");
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted", "{what}");
        let session = host.session();
        assert!(lives(&session), "{what}: {}", world.server.ruleset());
        assert!(connects(&world.client, OF_A_RANGE, SOON), "{what}: {}", world.server.ruleset());
        let route = ["10.90.0.1/32", "dev", "door0", "src", "10.90.0.66"];
        world.client.run("ip", &[&["route", "add"][..], &route].concat());
        assert!(doors.iter().all(|door| closed(&world.client, door)), "{what}: a stranger gets through");
        world.client.run("ip", &[&["route", "del"][..], &route].concat());
        let said = host.doctor();
        assert!(!said.lines().any(|line| line.starts_with("wrong")), "{what}: {said}");
        std::thread::sleep(Duration::from_millis(2300));
        assert!(doors.iter().all(|door| closed(&world.client, door)), "{what}: the grant is over");
        assert!(lives(&session), "{what}: the end of a grant cut a session");
        world.portunus(&["revoke", "alice", "--kill"]);
        assert!(!lives(&session), "{what}: revoke --kill left it");
        assert!(daemon.stop().success());
        world.portunus(&["teardown"]);
        assert_eq!(world.server.run("nft", &["-s", "-a", "list", "table", "inet", "gate"]), before, "{what}");
    }
}

#[test]
fn a_port_that_is_not_said_to_go_on_is_named_where_a_forward_chain_drops_it() {
    let services =
        "ssh = [\"22/tcp\"]\nweb = { ports = [\"8080/tcp\"], forward = true }\nold = [\"8081/tcp\"]\n";
    let host = Host::new(Firewall::None, Publisher::Admin("ct state established,related accept"), services)
        .without_place();
    let Host { world, .. } = &host;
    let bob = world.add("bob", &["--ports", "web,old", "--for", "30s"]);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| bob.knock(&world.client, SERVER)), "granted");
    assert!(connects(&world.client, DOOR, SOON), "{}", world.server.ruleset());
    assert!(closed(&world.client, "10.90.0.1:8081"), "the admin's drop of what nobody named was overruled");
    let said = host.doctor();
    let wrong: Vec<&str> = said.lines().filter(|line| line.starts_with("wrong")).collect();
    let [line] = wrong.as_slice() else { panic!("{said}") };
    for words in
        ["8081/tcp over IPv4", "table inet gate, chain forward", "write `forward = true` for its service"]
    {
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn where_iptables_drops_it_is_not_called_guarded() {
    let host = Host::new(Firewall::Iptables, Publisher::Docker, NOT_GUARDED);
    let etc = host.world.place("etc");
    fs::write(etc.join("services.toml"), GUARDED).expect("the services can be written");
    let refused = |command: &str, code: i32, words: &str| {
        let out = host.world.try_portunus(&[command]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "{command}: {said}");
        assert!(said.contains(words), "{command}: {said}");
    };
    // Where the configuration names the place it is a mistake in it.
    let line = "services.toml:2:31: \"web\" has forward = true, and iptables drops the ports here";
    refused("check", 1, line);
    refused("serve", 78, line);
    // Where the place is found at the start only the start can know.
    let server = etc.join("portunus.toml");
    let text = fs::read_to_string(&server).expect("init made it");
    assert!(text.contains("place = \"iptables\"\n"), "{text}");
    fs::write(&server, text.replace("place = \"iptables\"\n", "")).expect("it can be written");
    refused("check", 0, "");
    refused("serve", 78, "take `forward = true` out of services.toml");
}

#[test]
fn a_trial_calls_no_port_dropped_that_goes_past_our_drops_and_no_way_in_by_it_a_proof() {
    for publisher in [Publisher::Docker, Publisher::Podman] {
        let host = Host::new(Firewall::None, publisher, NOT_GUARDED);
        let Host { world, alice, .. } = &host;
        let mut trial = Try::begin(world, "60s");
        let said = trial.said();
        assert!(said.contains("on trial       22/tcp dropped for"), "{said}");
        let past = said.lines().find(|line| line.starts_with("not dropped")).expect(&said);
        assert!(
            past.contains("8080/tcp over IPv4 is sent on") && past.contains("`forward = true`"),
            "{past}"
        );
        alice.knock(&world.client, SERVER);
        assert!(connects(&world.client, DOOR, SOON), "{publisher:?}");
        std::thread::sleep(Duration::from_millis(1000));
        portunus_interop::signal(trial.pid(), rustix::process::Signal::INT);
        assert_eq!(trial.end().code(), Some(1), "{publisher:?}: {}", trial.all_said());
    }
}

#[test]
fn a_trial_of_ports_that_are_sent_on_is_proven_where_they_are_guarded() {
    let host = Host::new(Firewall::None, Publisher::Docker, GUARDED);
    let Host { world, alice, .. } = &host;
    let mut trial = Try::begin(world, "60s");
    assert!(trial.said().contains("22/tcp, 8080/tcp dropped for"), "{}", trial.said());
    assert!(closed(&world.client, DOOR), "{}", world.server.ruleset());
    alice.knock(&world.client, SERVER);
    assert!(open_within(&world.client, DOOR, SOON).is_some(), "{}", trial.all_said());
    assert!(trial.end().success(), "{}", trial.all_said());
}

/// A rule of iptables in the forward chain sees the port behind the translation.
#[test]
fn the_mend_of_a_forward_chain_that_drops_names_the_port_behind_the_translation() {
    let host = Host::new(Firewall::None, Publisher::Podman, GUARDED);
    host.world.server.run("iptables", &["-P", "FORWARD", "DROP"]);
    let said = host.doctor();
    let mend = "iptables -I FORWARD -p tcp --dport 80 -j ACCEPT";
    assert!(said.contains(mend) && !said.contains("--dport 8080"), "{said}");
    host.world.server.run("sh", &["-c", mend]);
    let said = host.doctor();
    assert!(!said.contains("FORWARD"), "{said}");
}
