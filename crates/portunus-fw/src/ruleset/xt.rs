//! The matches and targets of x_tables that iptables-nft puts into nf_tables rules, as far as they stand in
//! rulesets that people have. Structures: linux/netfilter/xt_*.h, in host order.

/// A match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Xt {
    /// `comment`: matches everything.
    Comment(String),
    /// `conntrack --ctstate` and nothing else: whether it matches a new, and an untracked connection.
    State {
        /// Matches `NEW`.
        new: bool,
        /// Matches `UNTRACKED`.
        untracked: bool,
        /// As it was written.
        words: String,
    },
    /// `multiport`.
    Multiport(Multiport),
    /// `addrtype`: bits `1 << RTN_…`; 0 where it is not asked.
    AddrType {
        /// Types that the source may have.
        source: u16,
        /// Types that the destination may have.
        destination: u16,
        /// Bit 0 turns the source's around, bit 1 the destination's.
        flags: u32,
    },
    /// A match that any first packet of a connection fulfils: `limit`.
    Mostly(String),
    /// Another one, by name.
    Other(String),
}

/// `multiport`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multiport {
    /// Asks for the source port.
    pub source: bool,
    /// Asks for the destination port.
    pub destination: bool,
    /// The ports, both ends in it.
    pub ranges: Vec<(u16, u16)>,
    /// Turned around.
    pub inverted: bool,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum XtTarget {
    /// `REJECT`.
    Reject,
    /// `DNAT`, with the new port.
    Destination(Option<u16>),
    /// `REDIRECT`, with the new port.
    Redirect(Option<u16>),
    /// One that decides nothing about a packet to this host, by name: LOG, MARK, MASQUERADE, ….
    Note(String),
    /// Another one, by name.
    Other(String),
}

impl Xt {
    pub(super) fn decode(name: &str, revision: u32, info: &[u8]) -> Self {
        let known = match name {
            "comment" => Some(Self::Comment(super::attr::text(info))),
            "conntrack" => conntrack(revision, info),
            "multiport" if revision == 1 => multiport(info).map(Self::Multiport),
            "addrtype" if revision == 1 => addrtype(info),
            "limit" => Some(Self::Mostly(name.to_owned())),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl XtTarget {
    pub(super) fn decode(name: &str, revision: u32, info: &[u8]) -> Self {
        match name {
            "REJECT" => Self::Reject,
            "DNAT" => Self::Destination(nat_port(revision >= 2, info)),
            "REDIRECT" => Self::Redirect(nat_port(info.len() >= 40, info)),
            "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "CONNSECMARK" | "SECMARK" | "TCPMSS" | "MASQUERADE"
            | "SNAT" | "CLASSIFY" | "DSCP" | "TOS" | "TTL" | "HL" | "CHECKSUM" | "AUDIT" | "SET"
            | "TRACE" => Self::Note(name.to_owned()),
            _ => Self::Other(name.to_owned()),
        }
    }
}

/// `struct xt_conntrack_mtinfo1..3`; they agree up to the state mask, which grew from 8 to 16 bits.
fn conntrack(revision: u32, info: &[u8]) -> Option<Xt> {
    const STATE: u16 = 1 << 0;
    const ALIAS: u16 = 1 << 13;
    let (flags, inverted) = (u16_at(info, 146)?, u16_at(info, 148)?);
    if flags & STATE == 0 || flags & !(STATE | ALIAS) != 0 {
        return None;
    }
    let mask = match revision {
        1 => u16::from(*info.get(150)?),
        2 | 3 => u16_at(info, 150)?,
        _ => return None,
    };
    let turned = inverted & STATE != 0;
    let names = [
        (1, "INVALID"),
        (8, "NEW"),
        (4, "RELATED"),
        (2, "ESTABLISHED"),
        (256, "UNTRACKED"),
        (64, "SNAT"),
        (128, "DNAT"),
    ];
    let listed: Vec<&str> = names.iter().filter(|(bit, _)| mask & bit != 0).map(|&(_, name)| name).collect();
    Some(Xt::State {
        new: (mask & 8 != 0) != turned,
        untracked: (mask & 256 != 0) != turned,
        words: format!("{}--ctstate {}", if turned { "! " } else { "" }, listed.join(",")),
    })
}

/// `struct xt_multiport_v1`: flags, count, fifteen ports, fifteen "a range begins here", invert.
fn multiport(info: &[u8]) -> Option<Multiport> {
    let (kind, count) = (*info.first()?, usize::from(*info.get(1)?));
    let mut ranges = Vec::new();
    let mut i = 0;
    while i < count.min(15) {
        let first = u16_at(info, 2 + 2 * i)?;
        let begins_range = *info.get(32 + i)? != 0;
        i += usize::from(begins_range);
        ranges.push((first, u16_at(info, 2 + 2 * i)?));
        i += 1;
    }
    Some(Multiport { source: kind != 1, destination: kind != 0, ranges, inverted: *info.get(47)? != 0 })
}

fn addrtype(info: &[u8]) -> Option<Xt> {
    let flags = u32::from_ne_bytes(info.get(4..8)?.try_into().ok()?);
    Some(Xt::AddrType { source: u16_at(info, 0)?, destination: u16_at(info, 2)?, flags })
}

/// The new port of `struct nf_nat_range2` (both families) or `nf_nat_ipv4_multi_range_compat`.
fn nat_port(both_families: bool, info: &[u8]) -> Option<u16> {
    const PROTO_SPECIFIED: u32 = 1 << 1;
    let (flags_at, port_at) = if both_families { (0, 36) } else { (4, 16) };
    let flags = u32::from_ne_bytes(info.get(flags_at..flags_at + 4)?.try_into().ok()?);
    let port = u16::from_be_bytes(info.get(port_at..port_at + 2)?.try_into().ok()?);
    (flags & PROTO_SPECIFIED != 0).then_some(port)
}

fn u16_at(info: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(info.get(at..at + 2)?.try_into().ok()?))
}
