//! fwknop's translations end to end: a client knocks, and its connection comes to a real host behind the gateway. The
//! original and ours in iptables, and ours in nftables, alone and beside a table that drops what goes through.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where it stopped"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use portunus_interop::fwknop::{Fwknopd, Whose, fwknop, within};
use portunus_interop::{CLIENT, Firewall, Namespace, SERVER, World};

const KEYS: [&str; 5] = ["--key-rijndael", "an encryption key", "--key-hmac", "an HMAC key", "--use-hmac"];
const STANZA: &str = "SOURCE ANY\nKEY_BASE64 YW4gZW5jcnlwdGlvbiBrZXk=\nHMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";
const INNER: &str = "10.91.0.2";
const GATE: &str = "10.91.0.1";

/// A table of the admin's that drops what comes in and what goes through, but for who is connected.
const DROPS: &str = "table inet filter {
    chain input { type filter hook input priority 0; policy drop;
        ct state established,related accept; iif lo accept; meta l4proto ipv6-icmp accept; }
    chain forward { type filter hook forward priority 0; policy drop;
        ct state established,related accept; iifname \"inner0\" accept; }
}";

/// Which firewall, and whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Original,
    Iptables,
    Nft,
    NftBesideDrops,
}

const ALL: [Gate; 4] = [Gate::Original, Gate::Iptables, Gate::Nft, Gate::NftBesideDrops];

/// The client, the gateway with a running server, and the host behind it.
struct Scene {
    world: World,
    inner: Namespace,
    daemon: Fwknopd,
}

impl Scene {
    fn set(gate: Gate, conf: &str, stanza: &str) -> Self {
        let iptables = matches!(gate, Gate::Original | Gate::Iptables);
        let world = World::bare(if iptables { Firewall::Iptables } else { Firewall::None });
        let inner = Namespace::new("i");
        let (server, host) = (&world.server, inner.name());
        let link = ["link", "add", "inner0", "type", "veth", "peer", "name", "wire", "netns", host];
        server.run("ip", &link);
        for (side, link, address) in [(server, "inner0", GATE), (&inner, "wire", INNER)] {
            side.run("ip", &["addr", "add", &format!("{address}/16"), "dev", link]);
            side.run("ip", &["link", "set", link, "up"]);
        }
        inner.run("ip", &["route", "add", "default", "via", GATE]);
        world.client.run("ip", &["route", "add", "10.91.0.0/16", "via", SERVER]);
        server.run("sysctl", &["-q", "-w", "net.ipv4.ip_forward=1"]);
        if iptables {
            server.run("iptables", &["-P", "FORWARD", "DROP"]);
            let live =
                ["-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"];
            server.run("iptables", &live);
        } else if gate == Gate::NftBesideDrops {
            server.nft(DROPS);
        }
        for (side, name, ports) in [(&inner, "inner", [22, 23]), (server, "gateway", [2222, 2223])] {
            side.inside(|| ports.into_iter().for_each(|port| answer(name, port)));
        }
        let firewall = if iptables { "" } else { "FIREWALL nft;\n" };
        let whose = if gate == Gate::Original { Whose::Theirs } else { Whose::Ours };
        let access = format!("{STANZA}{stanza}");
        let daemon = Fwknopd::start(&world, whose, &format!("{firewall}{conf}"), &access, &[]);
        Self { world, inner, daemon }
    }

    fn knock(&self, words: &[&str]) {
        let out = fwknop(&self.world, Whose::Theirs, &[&KEYS[..], &["-a", CLIENT], words].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// Who answers the client there, and whom it sees; `None`: nobody.
    fn asks(&self, to: &str, port: u16) -> Option<String> {
        self.session(to, port).map(|(_, said)| said)
    }

    fn session(&self, to: &str, port: u16) -> Option<(TcpStream, String)> {
        let to = SocketAddr::new(to.parse().unwrap(), port);
        self.world.client.inside(|| {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_millis(400)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let mut said = [0; 64];
            let length = stream.read(&mut said).ok()?;
            Some((stream, String::from_utf8_lossy(&said[..length]).into_owned()))
        })
    }

    /// Waits for an answer like this.
    fn answers(&self, to: &str, port: u16, wanted: &str) {
        let mut last = None;
        let there = within(Duration::from_secs(5), || {
            last = self.asks(to, port);
            last.as_deref() == Some(wanted)
        });
        assert!(there, "{last:?}, not {wanted}\n{}\n{}", self.daemon.log(), self.world.server.ruleset());
    }
}

/// Says "NAME PORT PEER", then gives each byte back.
fn answer(name: &'static str, port: u16) {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let peer = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
                let mut one = [0; 1];
                let mut goes_on = stream.write_all(format!("{name} {port} {peer}").as_bytes()).is_ok();
                while goes_on {
                    goes_on = matches!(stream.read(&mut one), Ok(1)) && stream.write_all(&one).is_ok();
                }
            });
        }
    });
}

fn lives(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").is_ok() && matches!(stream.read(&mut [0; 1]), Ok(1))
}

#[test]
fn a_knock_leads_to_the_inner_host_until_its_time() {
    for gate in ALL {
        let scene = Scene::set(gate, "ENABLE_IPT_FORWARDING Y;\n", "");
        assert_eq!(scene.asks(SERVER, 5000), None, "{gate:?}");
        scene.knock(&["-A", "tcp/5000", "-N", &format!("{INNER}:22"), "-f", "3"]);
        scene.answers(SERVER, 5000, &format!("inner 22 {CLIENT}"));
        let began = Instant::now();
        let (mut stream, _) = scene.session(SERVER, 5000).unwrap();
        if gate != Gate::Nft {
            assert_eq!(scene.asks(INNER, 23), None, "{gate:?}: another port of it");
        }
        let ended = within(Duration::from_secs(8), || scene.asks(SERVER, 5000).is_none());
        assert!(ended && began.elapsed() < Duration::from_secs(8), "{gate:?}");
        assert!(lives(&mut stream), "{gate:?}: a session outlives its grant");
        drop(scene.inner);
    }
}

#[test]
fn the_inner_host_sees_what_the_stanza_says() {
    let masquerade = "FORCE_NAT 10.91.0.2 23\nFORCE_MASQUERADE Y\n";
    let snat = "ENABLE_IPT_FORWARDING Y;\nENABLE_IPT_SNAT Y;\n";
    let fixed = format!("{snat}SNAT_TRANSLATE_IP {GATE};\n");
    for gate in ALL {
        let scene = Scene::set(gate, &fixed, "");
        scene.knock(&["-A", "tcp/5000", "-N", &format!("{INNER}:22")]);
        scene.answers(SERVER, 5000, &format!("inner 22 {GATE}"));
        drop(scene);
        // With the original FORCE_MASQUERADE needs ENABLE_IPT_SNAT too.
        let conf = if gate == Gate::Original { snat } else { "ENABLE_IPT_FORWARDING Y;\n" };
        let scene = Scene::set(gate, conf, masquerade);
        scene.knock(&["-A", "tcp/5000"]);
        scene.answers(SERVER, 5000, &format!("inner 23 {GATE}"));
    }
}

#[test]
fn a_local_translation_and_everything() {
    for gate in ALL {
        let scene = Scene::set(gate, "ENABLE_IPT_LOCAL_NAT Y;\n", "");
        scene.knock(&["-A", "tcp/5000", "-N", &format!("{SERVER}:2222"), "--nat-local"]);
        scene.answers(SERVER, 5000, &format!("gateway 2222 {CLIENT}"));
        drop(scene);
        let scene = Scene::set(gate, "ENABLE_IPT_FORWARDING Y;\n", "FORWARD_ALL Y\n");
        scene.knock(&["-A", "tcp/5000", "-N", &format!("{INNER}:22")]);
        scene.answers(SERVER, 22, &format!("inner 22 {CLIENT}"));
        scene.answers(SERVER, 23, &format!("inner 23 {CLIENT}"));
    }
}

#[test]
fn a_translation_survives_a_reload_and_a_restart() {
    for gate in [Gate::Iptables, Gate::Nft, Gate::NftBesideDrops] {
        let conf = "ENABLE_IPT_FORWARDING Y;\n";
        let mut scene = Scene::set(gate, conf, "");
        scene.knock(&["-A", "tcp/5000", "-N", &format!("{INNER}:22"), "-f", "100"]);
        scene.answers(SERVER, 5000, &format!("inner 22 {CLIENT}"));
        rustix::process::kill_process(scene.daemon.pid(), rustix::process::Signal::HUP).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        scene.answers(SERVER, 5000, &format!("inner 22 {CLIENT}"));
        rustix::process::kill_process(scene.daemon.pid(), rustix::process::Signal::KILL).unwrap();
        // Its parts end with it, and then nobody holds its lock.
        std::thread::sleep(Duration::from_millis(500));
        scene.answers(SERVER, 5000, &format!("inner 22 {CLIENT}"));
        let firewall = if gate == Gate::Iptables { "" } else { "FIREWALL nft;\n" };
        scene.daemon = Fwknopd::start(&scene.world, Whose::Ours, &format!("{firewall}{conf}"), STANZA, &[]);
        scene.answers(SERVER, 5000, &format!("inner 22 {CLIENT}"));
    }
}
