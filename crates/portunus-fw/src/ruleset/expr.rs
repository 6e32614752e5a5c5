//! One expression of a rule, decoded: what it loads, compares, changes or decides. What we do not know keeps its
//! name, so that the walk can say "perhaps" and a listing can say what it was.

use super::attr::{Attr, Attrs, attrs, text};
use super::xt::{Xt, XtTarget};

/// A register's number as the kernel gives it: 1..=4 are of 16 bytes, 8..=23 the same room in words of 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(pub u32);

impl Register {
    /// Where its bytes begin among the 64 bytes of data registers; `None` for the verdict and for nonsense.
    #[must_use]
    pub const fn offset(self) -> Option<usize> {
        match self.0 {
            1..=4 => Some((self.0 as usize - 1) * 16),
            8..=23 => Some((self.0 as usize - 8) * 4),
            _ => None,
        }
    }
}

/// A value, or a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Bytes.
    Value(Vec<u8>),
    /// What becomes of the packet.
    Verdict(RuleVerdict),
}

/// What a rule decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleVerdict {
    /// No further rule of this base chain sees it.
    Accept,
    /// Gone.
    Drop,
    /// Taken by something else (`fwd`).
    Stolen,
    /// To a program, which decides.
    Queue,
    /// On with the next rule.
    Continue,
    /// This rule does not match.
    Break,
    /// Into a chain, and back.
    Jump(String),
    /// Into a chain, and back to where *this* chain was called.
    Goto(String),
    /// Back; out of a base chain: its policy.
    Return,
    /// Another code.
    Other(i32),
}

/// How [`Expr::Cmp`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the six words of every comparison")]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// From which header [`Expr::Payload`] loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadBase {
    /// The frame's.
    Link,
    /// IP's.
    Network,
    /// TCP's or UDP's.
    Transport,
    /// Another.
    Other(u32),
}

/// What [`Expr::Meta`] loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaKey {
    /// The ethertype.
    Protocol,
    /// The packet's mark.
    Mark,
    /// The incoming interface's index.
    Iif,
    /// The outgoing interface's index.
    Oif,
    /// The incoming interface's name.
    IifName,
    /// The outgoing interface's name.
    OifName,
    /// `NFPROTO_*`: IPv4 or IPv6.
    NfProto,
    /// The transport protocol.
    L4Proto,
    /// To this host, or to many.
    PktType,
    /// Another key.
    Other(u32),
}

/// What [`Expr::Ct`] loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtKey {
    /// new, established, …
    State,
    /// original or reply.
    Direction,
    /// `snat`, `dnat`, …
    Status,
    /// The connection's mark.
    Mark,
    /// The port that its first packet came to, before anything was turned.
    FirstPort,
    /// Another key.
    Other(u32),
}

/// A change of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// To another destination: the registers of its address and port.
    Destination {
        /// The address.
        address: Option<Register>,
        /// The port.
        port: Option<Register>,
    },
    /// To this host: the register of the port.
    Redirect {
        /// The port.
        port: Option<Register>,
    },
    /// Of the source: a packet's way to this host does not depend on it.
    Source,
}

/// A question to the routing table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fib {
    /// Where the answer goes.
    pub dreg: Register,
    /// 1 interface, 2 its name, 3 type of address.
    pub result: u32,
    /// 1 source address, 2 destination address, 32 only whether there is one, …
    pub flags: u32,
}

/// An expression. Those that only note something (counter, log, …) are kept for the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the kernel's words, explained at their types")]
pub enum Expr {
    /// Loads something known of the packet besides its bytes.
    Meta { key: MetaKey, dreg: Register },
    /// Sets the mark, the priority, ….
    MetaSet { key: MetaKey, sreg: Register },
    /// Loads bytes of a header.
    Payload { base: PayloadBase, offset: u32, len: u32, dreg: Register },
    /// Compares.
    Cmp { op: CmpOp, sreg: Register, value: Vec<u8> },
    /// Compares with an interval, both ends in it.
    Range { inside: bool, sreg: Register, from: Vec<u8>, to: Vec<u8> },
    /// `(value & mask) ^ xor`.
    Bitwise { sreg: Register, dreg: Register, len: u32, mask: Vec<u8>, xor: Vec<u8> },
    /// Turns the bytes of each group of `size` around.
    ByteOrder { sreg: Register, dreg: Register, len: u32, size: u32 },
    /// Looks for a register's bytes in a set; with `dreg`, loads what they map to.
    Lookup { set: String, sreg: Register, dreg: Option<u32>, inverted: bool },
    /// Loads a constant; into register 0, a verdict.
    Immediate { dreg: u32, data: Data },
    /// Loads something of the connection.
    Ct { key: CtKey, dreg: Register },
    /// Sets something of the connection.
    CtSet { key: CtKey, sreg: Register },
    /// Puts an element into a set, perhaps with conditions of its own.
    Dynset { set: String, sreg: Register, inverted: bool, exprs: Vec<Expr> },
    /// `reject`: gone, and the sender is told.
    Reject { kind: u32, code: u8 },
    /// Changes addresses.
    Nat(Nat),
    /// `notrack`.
    Notrack,
    /// `limit`: matches while the rate is kept (`over`: once it is passed).
    Limit { over: bool, rate: u64, unit: u64, burst: u32, bytes: bool },
    /// `ct count`: matches up to a number of connections (`over`: beyond it).
    ConnLimit { over: bool, count: u32 },
    /// Asks the routing table.
    Fib(Fib),
    /// `counter`.
    Counter,
    /// `log`.
    Log { prefix: Option<String> },
    /// Something that changes nothing on the packet's way, by its kernel name.
    Note(String),
    /// Loads something that we cannot know, by its kernel name.
    Load { name: String, dreg: Register },
    /// A match of x_tables.
    Xt(Xt),
    /// A target of x_tables.
    XtTarget(XtTarget),
    /// Anything else, by its kernel name: it may match or not.
    Unknown(String),
}

/// The expressions in a rule's (or a dynset's) list, `NFTA_LIST_ELEM` each.
pub(super) fn list(list: &Attrs<'_>) -> Vec<Expr> {
    list.clone().filter(|a| a.kind == 1).map(|a| one(&attrs(a.value))).collect()
}

/// The expression in one `NFTA_EXPR_*` group.
pub(super) fn one(expr: &Attrs<'_>) -> Expr {
    let name = expr.text(1).unwrap_or_default();
    decode(&name, &expr.nested(2)).unwrap_or(Expr::Unknown(name))
}

/// One arm an expression: the numbers are those of linux/netfilter/nf_tables.h, `NFTA_<NAME>_*`.
fn decode(name: &str, a: &Attrs<'_>) -> Option<Expr> {
    Some(match name {
        "meta" => meta(a)?,
        "payload" => payload(a)?,
        "cmp" => Expr::Cmp { op: cmp_op(a.be32(2)?)?, sreg: reg(a, 1)?, value: value(a, 3)? },
        "range" => {
            Expr::Range { inside: a.be32(2)? == 0, sreg: reg(a, 1)?, from: value(a, 3)?, to: value(a, 4)? }
        }
        "bitwise" if a.be32(6).unwrap_or(0) == 0 => Expr::Bitwise {
            sreg: reg(a, 1)?,
            dreg: reg(a, 2)?,
            len: a.be32(3)?,
            mask: value(a, 4)?,
            xor: value(a, 5)?,
        },
        "bitwise" => Expr::Load { name: "bitwise".to_owned(), dreg: reg(a, 2)? },
        "byteorder" => {
            Expr::ByteOrder { sreg: reg(a, 1)?, dreg: reg(a, 2)?, len: a.be32(4)?, size: a.be32(5)? }
        }
        "lookup" => Expr::Lookup {
            set: a.text(1)?,
            sreg: reg(a, 2)?,
            dreg: a.be32(3),
            inverted: a.be32(5).unwrap_or(0) & 1 != 0,
        },
        "immediate" => Expr::Immediate { dreg: a.be32(1)?, data: data(&a.nested(2))? },
        "ct" => ct(a)?,
        "dynset" => dynset(a)?,
        "reject" => Expr::Reject { kind: a.be32(1)?, code: byte(a, 2).unwrap_or(0) },
        "nat" => nat(a)?,
        "redir" => Expr::Nat(Nat::Redirect { port: reg(a, 1) }),
        "masq" => Expr::Nat(Nat::Source),
        "notrack" => Expr::Notrack,
        "limit" => Expr::Limit {
            over: a.be32(5).unwrap_or(0) & 1 != 0,
            rate: a.be64(1)?,
            unit: a.be64(2)?,
            burst: a.be32(3).unwrap_or(0),
            bytes: a.be32(4).unwrap_or(0) == 1,
        },
        "connlimit" => Expr::ConnLimit { over: a.be32(2).unwrap_or(0) & 1 != 0, count: a.be32(1)? },
        "fib" => Expr::Fib(Fib { dreg: reg(a, 1)?, result: a.be32(2)?, flags: a.be32(3).unwrap_or(0) }),
        "counter" => Expr::Counter,
        "log" => Expr::Log { prefix: a.text(2).filter(|p| !p.is_empty()) },
        "last" | "dup" | "flow_offload" => Expr::Note(name.to_owned()),
        "objref" => objref(a),
        "fwd" => Expr::Immediate { dreg: 0, data: Data::Verdict(RuleVerdict::Stolen) },
        "queue" => Expr::Immediate { dreg: 0, data: Data::Verdict(RuleVerdict::Queue) },
        // Those that write an option or a field (a source register in attribute 8) decide nothing.
        "exthdr" if a.be32(7).is_some() => Expr::Note(name.to_owned()),
        "exthdr" | "rt" | "numgen" | "osf" | "xfrm" => Expr::Load { name: name.to_owned(), dreg: reg(a, 1)? },
        "socket" | "hash" | "tunnel" => Expr::Load { name: name.to_owned(), dreg: reg(a, 2)? },
        "match" => Expr::Xt(Xt::decode(&a.text(1)?, a.be32(2).unwrap_or(0), a.get(3).unwrap_or(&[]))),
        "target" => {
            Expr::XtTarget(XtTarget::decode(&a.text(1)?, a.be32(2).unwrap_or(0), a.get(3).unwrap_or(&[])))
        }
        _ => return None,
    })
}

fn meta(a: &Attrs<'_>) -> Option<Expr> {
    // enum nft_meta_keys of linux/netfilter/nf_tables.h
    let key = match a.be32(2)? {
        1 => MetaKey::Protocol,
        3 => MetaKey::Mark,
        4 => MetaKey::Iif,
        5 => MetaKey::Oif,
        6 => MetaKey::IifName,
        7 => MetaKey::OifName,
        15 => MetaKey::NfProto,
        16 => MetaKey::L4Proto,
        19 => MetaKey::PktType,
        other => MetaKey::Other(other),
    };
    match (reg(a, 1), reg(a, 3)) {
        (Some(dreg), _) => Some(Expr::Meta { key, dreg }),
        (None, Some(sreg)) => Some(Expr::MetaSet { key, sreg }),
        (None, None) => None,
    }
}

fn payload(a: &Attrs<'_>) -> Option<Expr> {
    // With a source register it writes into the packet (`tcp dport set …`): it may change what later rules see.
    let dreg = reg(a, 1)?;
    let base = match a.be32(2)? {
        0 => PayloadBase::Link,
        1 => PayloadBase::Network,
        2 => PayloadBase::Transport,
        other => PayloadBase::Other(other),
    };
    Some(Expr::Payload { base, offset: a.be32(3)?, len: a.be32(4)?, dreg })
}

fn ct(a: &Attrs<'_>) -> Option<Expr> {
    let key = match a.be32(2)? {
        0 => CtKey::State,
        1 => CtKey::Direction,
        2 => CtKey::Status,
        3 => CtKey::Mark,
        // NFT_CT_PROTO_DST of IP_CT_DIR_ORIGINAL
        12 if a.get(3).is_some_and(|direction| direction == [0]) => CtKey::FirstPort,
        other => CtKey::Other(other),
    };
    match (reg(a, 1), reg(a, 4)) {
        (Some(dreg), _) => Some(Expr::Ct { key, dreg }),
        (None, Some(sreg)) => Some(Expr::CtSet { key, sreg }),
        (None, None) => None,
    }
}

fn dynset(a: &Attrs<'_>) -> Option<Expr> {
    let mut exprs: Vec<Expr> = a.get(7).map(|e| one(&attrs(e))).into_iter().collect();
    exprs.extend(list(&a.nested(10)));
    Some(Expr::Dynset { set: a.text(1)?, sreg: reg(a, 4)?, inverted: a.be32(9).unwrap_or(0) & 1 != 0, exprs })
}

fn nat(a: &Attrs<'_>) -> Option<Expr> {
    Some(Expr::Nat(match a.be32(1)? {
        1 => Nat::Destination { address: reg(a, 3), port: reg(a, 5) },
        _ => Nat::Source,
    }))
}

fn objref(a: &Attrs<'_>) -> Expr {
    // NFT_OBJECT_COUNTER, CT_HELPER, CT_TIMEOUT, SECMARK, CT_EXPECT decide nothing; quota, limit, connlimit do.
    match a.be32(1) {
        Some(1 | 3 | 7 | 8 | 9) => Expr::Note("objref".to_owned()),
        _ => Expr::Unknown("objref".to_owned()),
    }
}

fn cmp_op(number: u32) -> Option<CmpOp> {
    [CmpOp::Eq, CmpOp::Ne, CmpOp::Lt, CmpOp::Le, CmpOp::Gt, CmpOp::Ge].get(number as usize).copied()
}

fn reg(a: &Attrs<'_>, kind: u16) -> Option<Register> {
    a.be32(kind).map(Register)
}

fn byte(a: &Attrs<'_>, kind: u16) -> Option<u8> {
    a.get(kind)?.first().copied()
}

fn value(a: &Attrs<'_>, kind: u16) -> Option<Vec<u8>> {
    a.nested(kind).get(1).map(<[u8]>::to_vec)
}

/// `NFTA_DATA_*`: a value or a verdict.
pub(super) fn data(a: &Attrs<'_>) -> Option<Data> {
    a.clone().find_map(|attr| match attr {
        Attr { kind: 1, value } => Some(Data::Value(value.to_vec())),
        Attr { kind: 2, value } => verdict(&attrs(value)).map(Data::Verdict),
        _ => None,
    })
}

fn verdict(a: &Attrs<'_>) -> Option<RuleVerdict> {
    let chain = || a.get(2).map(text);
    Some(match a.be32(1)?.cast_signed() {
        0 => RuleVerdict::Drop,
        1 => RuleVerdict::Accept,
        2 => RuleVerdict::Stolen,
        // The queue's number stands in the upper half (NF_QUEUE_NR).
        code if code >= 0 && code & 0xffff == 3 => RuleVerdict::Queue,
        -1 => RuleVerdict::Continue,
        -2 => RuleVerdict::Break,
        -3 => RuleVerdict::Jump(chain()?),
        -4 => RuleVerdict::Goto(chain()?),
        -5 => RuleVerdict::Return,
        other => RuleVerdict::Other(other),
    })
}
