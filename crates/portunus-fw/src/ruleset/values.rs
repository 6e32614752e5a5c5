//! Bytes of a comparison or a set, in the words of what they are compared with.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::expr::CmpOp;

/// What bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    IfIndex,
    Port,
    Ipv4,
    Ipv6,
    Mac,
    L4Proto,
    NfProto,
    EtherType,
    PktType,
    CtState,
    CtStatus,
    TcpFlags,
    IcmpType,
    Icmp6Type,
    Mark,
    AddrType,
    Present,
    Number,
}

impl Kind {
    /// How many bytes such a value has.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::Name | Self::Ipv6 => 16,
            Self::Port | Self::EtherType => 2,
            Self::Mac => 6,
            Self::L4Proto
            | Self::NfProto
            | Self::PktType
            | Self::TcpFlags
            | Self::IcmpType
            | Self::Icmp6Type
            | Self::Present => 1,
            Self::IfIndex | Self::Ipv4 | Self::CtState | Self::CtStatus | Self::Mark | Self::AddrType => 4,
            Self::Number => 4,
        }
    }

    /// How much room it takes in a concatenation: whole words.
    pub(super) const fn room(self, len: usize) -> usize {
        let len = if len == 0 { self.size() } else { len };
        len.next_multiple_of(4)
    }

    /// What a constant of this length is, most likely.
    pub(super) const fn guess(len: usize) -> Self {
        match len {
            2 => Self::Port,
            4 => Self::Ipv4,
            16 => Self::Ipv6,
            _ => Self::Number,
        }
    }
}

/// What a register holds, in words.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) words: String,
    pub(super) kind: Kind,
    /// Bytes, where they are not those of its kind.
    pub(super) len: usize,
    /// A mask that was laid over it.
    pub(super) mask: Option<Vec<u8>>,
    /// A constant, to be said in the words of what it is put into.
    pub(super) constant: Option<Vec<u8>>,
}

impl Loaded {
    pub(super) fn new(words: &str, kind: Kind) -> Self {
        Self { words: words.to_owned(), kind, len: 0, mask: None, constant: None }
    }

    pub(super) fn unknown() -> Self {
        Self::new("[?]", Kind::Number)
    }

    /// "`tcp dport != 22`", "`ip saddr 10.0.0.0/8`", "`ct state established,related`".
    pub(super) fn compared(&self, op: CmpOp, bytes: &[u8]) -> String {
        let words = &self.words;
        let zero = bytes.iter().all(|&b| b == 0);
        if let Some(mask) = &self.mask {
            // Flags are asked for as "any of these is set".
            let flags = matches!(self.kind, Kind::CtState | Kind::CtStatus);
            return match (op, prefix(mask)) {
                (CmpOp::Ne, _) if flags && zero => format!("{words} {}", value(self.kind, mask)),
                (CmpOp::Eq, _) if flags && zero => format!("{words} ! {}", value(self.kind, mask)),
                (_, _) if self.kind == Kind::TcpFlags => {
                    format!("{words} {}{} / {}", sign(op), value(self.kind, bytes), value(self.kind, mask))
                }
                (_, Some(len)) if matches!(self.kind, Kind::Ipv4 | Kind::Ipv6) => {
                    format!("{words} {}{}/{len}", sign(op), value(self.kind, bytes))
                }
                _ => {
                    let equal = if op == CmpOp::Eq { "== " } else { sign(op) };
                    format!("{words} & {} {equal}{}", value(self.kind, mask), value(self.kind, bytes))
                }
            };
        }
        // An address cut at a whole byte is a prefix (the kernel is asked for fewer bytes).
        if matches!(self.kind, Kind::Ipv4 | Kind::Ipv6) && bytes.len() < self.kind.size() {
            return format!("{words} {}{}/{}", sign(op), value(self.kind, bytes), bytes.len() * 8);
        }
        if self.kind == Kind::Name && !bytes.contains(&0) && bytes.len() < 16 {
            return format!("{words} {}\"{}*\"", sign(op), String::from_utf8_lossy(bytes));
        }
        format!("{words} {}{}", sign(op), value(self.kind, bytes))
    }
}

const fn sign(op: CmpOp) -> &'static str {
    match op {
        CmpOp::Eq => "",
        CmpOp::Ne => "!= ",
        CmpOp::Lt => "< ",
        CmpOp::Le => "<= ",
        CmpOp::Gt => "> ",
        CmpOp::Ge => ">= ",
    }
}

/// Bytes as what they are.
pub(super) fn value(kind: Kind, bytes: &[u8]) -> String {
    match kind {
        Kind::Name => format!("\"{}\"", super::attr::text(bytes)),
        Kind::Port => big(bytes).to_string(),
        Kind::Ipv4 => Ipv4Addr::from(padded::<4>(bytes)).to_string(),
        Kind::Ipv6 => Ipv6Addr::from(padded::<16>(bytes)).to_string(),
        Kind::Mac => bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"),
        Kind::L4Proto => {
            word(big(bytes), &[(1, "icmp"), (6, "tcp"), (17, "udp"), (58, "ipv6-icmp"), (132, "sctp")])
        }
        Kind::NfProto => word(big(bytes), &[(2, "ipv4"), (10, "ipv6")]),
        Kind::EtherType => word(big(bytes), &[(0x0800, "ip"), (0x86dd, "ip6"), (0x0806, "arp")]),
        Kind::PktType => word(big(bytes), &[(0, "host"), (1, "broadcast"), (2, "multicast"), (3, "other")]),
        Kind::CtState => flags(
            host(bytes),
            &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")],
        ),
        Kind::CtStatus => flags(
            host(bytes),
            &[
                (1, "expected"),
                (2, "seen-reply"),
                (4, "assured"),
                (8, "confirmed"),
                (16, "snat"),
                (32, "dnat"),
                (512, "dying"),
            ],
        ),
        Kind::TcpFlags => {
            flags(big(bytes), &[(1, "fin"), (2, "syn"), (4, "rst"), (8, "psh"), (16, "ack"), (32, "urg")])
        }
        Kind::IcmpType => word(
            big(bytes),
            &[(0, "echo-reply"), (3, "destination-unreachable"), (8, "echo-request"), (11, "time-exceeded")],
        ),
        Kind::Icmp6Type => word(
            big(bytes),
            &[
                (1, "destination-unreachable"),
                (2, "packet-too-big"),
                (3, "time-exceeded"),
                (128, "echo-request"),
                (129, "echo-reply"),
                (133, "nd-router-solicit"),
                (134, "nd-router-advert"),
                (135, "nd-neighbor-solicit"),
                (136, "nd-neighbor-advert"),
            ],
        ),
        Kind::Mark => format!("{:#010x}", host(bytes)),
        // The loopback is the first interface of every namespace; others we know by number only.
        Kind::IfIndex => word(host(bytes), &[(1, "\"lo\"")]),
        Kind::AddrType => word(
            host(bytes),
            &[(1, "unicast"), (2, "local"), (3, "broadcast"), (4, "anycast"), (5, "multicast")],
        ),
        Kind::Present => word(big(bytes), &[(0, "missing"), (1, "exists")]),
        Kind::Number if bytes.len() <= 8 => big(bytes).to_string(),
        Kind::Number => bytes.iter().fold("0x".to_owned(), |hex, b| format!("{hex}{b:02x}")),
    }
}

/// An interval, as one value or a prefix where it is one.
pub(super) fn interval(kind: Kind, from: &[u8], to: &[u8]) -> String {
    if from == to {
        return value(kind, from);
    }
    let differ: Vec<u8> = from.iter().zip(to).map(|(a, b)| !(a ^ b)).collect();
    let low_is_zero = from.iter().zip(&differ).all(|(a, mask)| a & !mask == 0);
    let high_is_ones = to.iter().zip(&differ).all(|(b, mask)| b | mask == 0xff);
    match prefix(&differ) {
        Some(len) if matches!(kind, Kind::Ipv4 | Kind::Ipv6) && low_is_zero && high_is_ones => {
            format!("{}/{len}", value(kind, from))
        }
        _ => format!("{}-{}", value(kind, from), value(kind, to)),
    }
}

/// The length of a mask that is ones, then zeros.
fn prefix(mask: &[u8]) -> Option<u32> {
    let ones: u32 = mask.iter().map(|b| b.count_ones()).sum();
    let mut leading = 0;
    for byte in mask {
        leading += byte.leading_ones();
        if *byte != 0xff {
            break;
        }
    }
    (ones == leading).then_some(ones)
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

fn big(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |n, &b| n << 8 | u64::from(b))
}

fn host(bytes: &[u8]) -> u64 {
    if cfg!(target_endian = "big") {
        return big(bytes);
    }
    bytes.iter().take(8).rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

fn word(number: u64, words: &[(u64, &str)]) -> String {
    words
        .iter()
        .find(|(n, _)| *n == number)
        .map_or_else(|| number.to_string(), |(_, word)| (*word).to_owned())
}

fn flags(number: u64, words: &[(u64, &str)]) -> String {
    let set: Vec<&str> = words.iter().filter(|(bit, _)| number & bit != 0).map(|&(_, word)| word).collect();
    if set.is_empty() { number.to_string() } else { set.join(",") }
}
