//! Filters: what is refused and how, and random filters on random packets, judged three times: by their meaning (written
//! down once more here), by our machine, and by the kernel's.

use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;

use portunus_model::{Lengths, Net};
use portunus_rx::{Fault, Filter, Frame};
use portunus_sys::bpf::{self, Step};
use proptest::prelude::*;

use crate::craft::Packet;

fn refused(text: &str) -> (usize, String, Fault) {
    let error = Filter::parse(text).expect_err(text);
    (error.column, error.word, error.why)
}

#[test]
fn what_cannot_be_compiled_is_named_with_its_column() {
    for (text, column, word, fault) in [
        ("arp", 1, "arp", Fault::NotIp),
        ("udp port 62201 or arp", 19, "arp", Fault::NotIp),
        ("sctp port 5", 1, "sctp", Fault::NotCarried),
        ("ether host 02:00:00:00:00:01", 1, "ether", Fault::Link),
        ("udp[8] = 0x41", 4, "[", Fault::Comparison),
        ("udp port 5 and len > 60", 16, "len", Fault::Comparison),
        ("inbound and udp", 1, "inbound", Fault::Direction),
        ("udp and not broadcast", 13, "broadcast", Fault::Cast),
        ("ip multicast", 4, "multicast", Fault::Cast),
        ("knock port 5", 1, "knock", Fault::Unknown),
        ("62201", 1, "62201", Fault::Bare),
        ("udp 62201", 5, "62201", Fault::NoLink),
        ("udp port 62201 and", 19, "", Fault::NoTest),
        ("and udp", 1, "and", Fault::NoTest),
        ("()", 2, ")", Fault::NoTest),
        ("not", 4, "", Fault::NoTest),
        ("udp port 1 udp port 2", 12, "udp", Fault::NoLink),
        ("(udp port 62201", 1, "(", Fault::Parenthesis),
        ("udp port 62201)", 15, ")", Fault::Parenthesis),
        ("port (1 or 2", 6, "(", Fault::Parenthesis),
        ("udp host 192.0.2.1", 1, "udp", Fault::Qualifier),
        ("icmp port 5", 1, "icmp", Fault::Qualifier),
        ("src proto 17", 1, "src", Fault::Qualifier),
        ("udp port http", 10, "http", Fault::Port),
        ("udp port 65536", 10, "65536", Fault::Port),
        ("udp port +5", 10, "+", Fault::Port),
        ("udp port", 9, "", Fault::Port),
        ("portrange 9-5", 11, "9-5", Fault::PortRange),
        ("portrange 5", 11, "5", Fault::PortRange),
        ("host gate.example", 6, "gate.example", Fault::Host),
        ("src host 192.0.2.256", 10, "192.0.2.256", Fault::Host),
        ("net 192.0.2.0/33", 5, "192.0.2.0/33", Fault::Net),
        ("net ten", 5, "ten", Fault::Net),
        ("net 192.0.2.1/24", 5, "192.0.2.1/24", Fault::HostBits),
        ("ip proto 256", 10, "256", Fault::Proto),
        ("vlan 4096", 6, "4096", Fault::Tag),
    ] {
        assert_eq!(refused(text), (column, word.to_owned(), fault), "{text}");
    }
}

#[test]
fn a_refusal_is_one_sentence_with_the_mend() {
    assert_eq!(
        Filter::parse("udp port http").unwrap_err().to_string(),
        "column 10: \"http\": this is no port: write a number from 0 to 65535 (names of services are not looked up)"
    );
}

#[test]
fn too_much_is_refused_and_nothing_overflows() {
    let many = vec!["udp"; 49].join(" or ");
    assert_eq!(refused(&many).2, Fault::TooLong);
    assert!(Filter::parse(&vec!["udp"; 48].join(" or ")).is_ok());
    assert_eq!(refused(&format!("{}udp", "(".repeat(40))).2, Fault::TooLong);
    assert_eq!(refused(&format!("{}udp", "not ".repeat(40))).2, Fault::TooLong);
    assert_eq!(refused(&format!("port ({})", vec!["1"; 60].join(" or "))).2, Fault::TooLong);
    assert_eq!(refused(&" ".repeat(1501)).2, Fault::TooLong);
    // The largest program that there can be is one that the kernel takes.
    let address = "(src and dst host 2001:db8:1:2:3:4:5:6)";
    let largest = vec![address; 24].join(" or ");
    let program =
        Filter::parse(&largest).unwrap().program(&Lengths::of((0..16).map(|n| n * 9..=n * 9)), 1500);
    assert!(program.len() < 4096, "{}", program.len());
    bpf::attach(UnixDatagram::unbound().unwrap(), &program).unwrap();
}

#[test]
fn and_and_or_bind_alike_from_the_left_and_a_bare_value_takes_the_last_keyword() {
    let packet = |port| Packet::udp("192.0.2.1", "192.0.2.2", (1, port), b"");
    let admits = |text: &str, packet: &Packet| {
        let bytes = packet.bytes();
        let frame = Frame { protocol: packet.protocol(), tag: packet.taken_off, bytes: &bytes };
        Filter::parse(text).unwrap().admits(frame)
    };
    // (dst port 1 or dst port 2) and tcp: as libpcap reads it, not as most languages would.
    assert!(!admits("dst port 1 or dst port 2 and tcp", &packet(1)));
    assert!(admits("dst port 1 or 2 and udp", &packet(2)));
    assert!(admits("udp dst port (1 or 2)", &packet(2)));
    assert!(admits("net 192.0.2 and not 10", &packet(2)));
    assert!(admits("192.0.2.1 and port 7 || 8", &packet(8)));
    assert!(admits("", &packet(2)));
}

/// A filter as its text, and its meaning.
#[derive(Clone, Debug)]
enum Meaning {
    V4,
    V6,
    Proto(u8),
    Port(Vec<u8>, bool, bool, bool, u16, u16),
    Net(bool, bool, bool, Net),
    Vlan(Option<u16>),
    Session(Option<u16>),
    Not(Box<Meaning>),
    And(Box<Meaning>, Box<Meaning>),
    Or(Box<Meaning>, Box<Meaning>),
}

fn ends(source: bool, destination: bool, both: bool) -> &'static str {
    match (source, destination, both) {
        (true, true, true) => "src and dst ",
        (true, true, false) => "src or dst ",
        (true, false, _) => "src ",
        (false, true, _) => "dst ",
        (false, false, _) => "",
    }
}

fn at(source: bool, destination: bool, both: bool, ask: impl Fn(bool) -> bool) -> bool {
    match (source, destination, both) {
        (true, true, true) => ask(true) && ask(false),
        (true, true, false) | (false, false, _) => ask(true) || ask(false),
        (true, false, _) => ask(true),
        (false, true, _) => ask(false),
    }
}

impl Meaning {
    fn text(&self) -> String {
        let number = |number: &Option<u16>| number.map_or(String::new(), |n| format!(" {n}"));
        match self {
            Self::V4 => "ip".to_owned(),
            Self::V6 => "ip6".to_owned(),
            Self::Proto(1) => "icmp".to_owned(),
            Self::Proto(58) => "icmp6".to_owned(),
            Self::Proto(n) => format!("proto {n}"),
            Self::Port(protos, s, d, b, low, high) => {
                let proto = match protos.as_slice() {
                    [17] => "udp ",
                    [6] => "tcp ",
                    _ => "",
                };
                let what =
                    if low == high { format!("port {low}") } else { format!("portrange {low}-{high}") };
                format!("{proto}{}{what}", ends(*s, *d, *b))
            }
            Self::Net(s, d, b, net) if net.to_string().contains('/') => {
                format!("{}net {net}", ends(*s, *d, *b))
            }
            Self::Net(s, d, b, net) => format!("{}host {net}", ends(*s, *d, *b)),
            Self::Vlan(n) => format!("vlan{}", number(n)),
            Self::Session(n) => format!("pppoes{}", number(n)),
            Self::Not(a) => format!("not ({})", a.text()),
            Self::And(a, b) => format!("({}) and ({})", a.text(), b.text()),
            Self::Or(a, b) => format!("({}) || ({})", a.text(), b.text()),
        }
    }

    fn holds(&self, p: &Packet) -> bool {
        match self {
            Self::V4 => !p.is_v6(),
            Self::V6 => p.is_v6(),
            Self::Proto(1) => p.proto == 1 && !p.is_v6(),
            Self::Proto(58) => p.proto == 58 && p.is_v6(),
            Self::Proto(n) => p.proto == *n,
            Self::Port(protos, s, d, b, low, high) => {
                protos.contains(&p.proto)
                    && at(*s, *d, *b, |source| {
                        (*low..=*high).contains(if source { &p.ports.0 } else { &p.ports.1 })
                    })
            }
            Self::Net(s, d, b, net) => {
                at(*s, *d, *b, |source| net.contains(if source { p.source } else { p.destination }))
            }
            Self::Vlan(n) => p
                .taken_off
                .iter()
                .chain(p.tags.iter().map(|(_, vlan)| vlan))
                .any(|v| n.is_none_or(|n| n == *v)),
            Self::Session(n) => p.session.is_some_and(|s| n.is_none_or(|n| n == s)),
            Self::Not(a) => !a.holds(p),
            Self::And(a, b) => a.holds(p) && b.holds(p),
            Self::Or(a, b) => a.holds(p) || b.holds(p),
        }
    }
}

fn addresses() -> [&'static str; 6] {
    ["192.0.2.1", "192.0.2.130", "10.0.0.1", "2001:db8::1", "2001:db8:0:1::1", "fe80::1"]
}

fn meaning() -> impl Strategy<Value = Meaning> {
    let nets = prop::sample::select(vec![
        "192.0.2.1",
        "192.0.2.0/25",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "2001:db8::1",
        "2001:db8::/63",
        "::/0",
        "fe80::/10",
    ]);
    let ports = prop::sample::select(vec![(62201, 62201), (53, 53), (0, 1023), (1, 65535), (5, 5)]);
    let protos = prop::sample::select(vec![vec![17], vec![6], vec![17, 6]]);
    let bools = (any::<bool>(), any::<bool>(), any::<bool>());
    let number = prop::option::of(prop::sample::select(vec![0_u16, 9, 10]));
    let leaf = prop_oneof![
        Just(Meaning::V4),
        Just(Meaning::V6),
        prop::sample::select(vec![1, 6, 17, 58]).prop_map(Meaning::Proto),
        (protos, bools, ports).prop_map(|(p, (s, d, b), (l, h))| Meaning::Port(p, s, d, b, l, h)),
        (bools, nets).prop_map(|((s, d, b), net)| Meaning::Net(s, d, b, Net::parse(net).unwrap())),
        number.clone().prop_map(Meaning::Vlan),
        number.prop_map(Meaning::Session),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| Meaning::Not(Box::new(a))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Meaning::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Meaning::Or(Box::new(a), Box::new(b))),
        ]
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let tag = prop::sample::select(vec![(0x8100_u16, 10_u16), (0x88a8, 9), (0x9100, 0), (0x8100, 4095)]);
    let pair = (0..2_usize, 0..3_usize, 0..3_usize);
    let port = || prop::sample::select(vec![62201_u16, 53, 5, 0, 65535]);
    let extension = prop::sample::select(vec![(0_u8, 0_u8), (60, 1), (43, 2), (60, 0)]);
    let fragment =
        prop::option::weighted(0.2, prop::sample::select(vec![(0_u16, false), (0, true), (3, false)]));
    let link = (
        prop::option::weighted(0.2, prop::sample::select(vec![10_u16, 9, 0])),
        prop::collection::vec(tag, 0..=3),
        prop::option::weighted(0.2, prop::sample::select(vec![0_u16, 9, 10])),
    );
    let net = (pair, prop::collection::vec(extension, 0..=5), fragment);
    let body = (prop::sample::select(vec![17_u8, 17, 6, 1, 58, 47]), port(), port(), 0..300_usize);
    (link, net, body).prop_map(|(link, net, body)| {
        let (family, from, to) = net.0;
        let pool = addresses().map(|text| text.parse::<IpAddr>().unwrap());
        Packet {
            taken_off: link.0,
            tags: link.1,
            session: link.2,
            source: pool[family * 3 + from],
            destination: pool[family * 3 + to],
            extensions: net.1,
            fragment: net.2,
            proto: body.0,
            ports: (body.1, body.2),
            payload: vec![b'k'; body.3],
        }
    })
}

/// Whether it may be a knock at all: see the filter's documentation.
fn possible(p: &Packet) -> bool {
    let walked = p.extensions.len() + usize::from(p.fragment.is_some());
    let fragment = p.fragment.is_some_and(|(offset, more)| offset > 0 || more);
    p.tags.len() <= 2 && !fragment && (!p.is_v6() || walked <= 4) && [1, 6, 17, 58].contains(&p.proto)
}

/// Runs the program in the kernel: on a pair of unix sockets, whose packets have no Ethernet type and no tag, so these
/// are written into the program as numbers.
fn kernel(program: &[Step], packet: &Packet) -> usize {
    let number = |step: &Step| match (step.code, step.k) {
        (bpf::LOAD_WORD, bpf::PROTOCOL) => Step::plain(bpf::LOAD_NUMBER, packet.protocol().into()),
        (bpf::LOAD_WORD, bpf::VLAN_TAG) => {
            Step::plain(bpf::LOAD_NUMBER, packet.taken_off.unwrap_or(0).into())
        }
        (bpf::LOAD_WORD, bpf::VLAN_PRESENT) => {
            Step::plain(bpf::LOAD_NUMBER, packet.taken_off.is_some().into())
        }
        _ => *step,
    };
    let program: Vec<Step> = program.iter().map(number).collect();
    let (from, to) = UnixDatagram::pair().unwrap();
    bpf::attach(&to, &program).unwrap();
    to.set_nonblocking(true).unwrap();
    // A packet that the filter drops is no error of the sender's here.
    let _ = from.send(&packet.bytes());
    to.recv(&mut [0; 4096]).unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn meaning_machine_and_kernel_agree(meaning in meaning(), packet in packet()) {
        let text = meaning.text();
        let filter = Filter::parse(&text).unwrap();
        let bytes = packet.bytes();
        let frame = Frame { protocol: packet.protocol(), tag: packet.taken_off, bytes: &bytes };
        let wanted = possible(&packet) && meaning.holds(&packet);
        prop_assert_eq!(filter.admits(frame), wanted, "{}", text);

        let lengths = Lengths::of([10..=60, 165..=165, 200..=250]);
        let long_enough = if packet.proto == 6 { packet.payload.len() >= 10 } else {
            lengths.admit(packet.payload.len())
        };
        let kept = if wanted && long_enough { bytes.len().min(1000) } else { 0 };
        prop_assert_eq!(kernel(&filter.program(&lengths, 1000), &packet), kept, "{}", text);
    }

    /// What the filter lets through can be read, but for what contradicts itself.
    #[test]
    fn what_passes_can_be_read(packet in packet()) {
        let bytes = packet.bytes();
        let frame = Frame { protocol: packet.protocol(), tag: packet.taken_off, bytes: &bytes };
        let family = if packet.proto == 1 { !packet.is_v6() } else { packet.proto != 58 || packet.is_v6() };
        // Hop-by-hop options stand first or nowhere (RFC 8200 section 4.1).
        let order = !packet.is_v6() || packet.extensions.iter().skip(1).all(|(kind, _)| *kind != 0);
        if Filter::parse("").unwrap().admits(frame) && family && order {
            let payload = frame.payload().unwrap();
            prop_assert_eq!(payload.bytes, &packet.payload[..]);
            prop_assert_eq!(payload.source.ip(), packet.source);
            prop_assert_eq!(payload.destination.ip(), packet.destination);
        }
    }

    #[test]
    fn any_bytes_are_judged_alike(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        protocol in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x8100, 0x8864]),
        meaning in meaning(),
    ) {
        let filter = Filter::parse(&meaning.text()).unwrap();
        let admitted = filter.admits(Frame { protocol, tag: None, bytes: &bytes });
        let lengths = Lengths::of([0..=1500]);
        let program: Vec<Step> = filter.program(&lengths, 1000).iter().map(|step| {
            match (step.code, step.k) {
                (bpf::LOAD_WORD, bpf::PROTOCOL) => Step::plain(bpf::LOAD_NUMBER, protocol.into()),
                (bpf::LOAD_WORD, bpf::VLAN_TAG | bpf::VLAN_PRESENT) => Step::plain(bpf::LOAD_NUMBER, 0),
                _ => *step,
            }
        }).collect();
        let (from, to) = UnixDatagram::pair().unwrap();
        bpf::attach(&to, &program).unwrap();
        to.set_nonblocking(true).unwrap();
        let _ = from.send(&bytes);
        // The length test may drop more, never less.
        if to.recv(&mut [0; 4096]).is_ok_and(|length| length > 0) {
            prop_assert!(admitted);
        }
    }
}
