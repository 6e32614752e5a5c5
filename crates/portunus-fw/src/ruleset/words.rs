//! A rule in nft's words, near enough that its owner knows it: `tcp dport 22 ct state new drop`.
//!
//! What we have no words for stands in brackets by its kernel name; nothing is left out silently but counters.

use super::expr::{CmpOp, CtKey, Data, Expr, Fib, MetaKey, Nat, PayloadBase, Register, RuleVerdict};
use super::values::{Kind, Loaded, interval, value};
use super::xt::{Xt, XtTarget};
use super::{Rule, Set, SetElement, Table};

/// Elements of a set that are named; the rest is "…".
const MOST_ELEMENTS: usize = 16;

impl Rule {
    /// The rule in nft's words; the table is where its sets are.
    #[must_use]
    pub fn words(&self, table: &Table) -> String {
        if let Some(written) = &self.written {
            return written.clone();
        }
        let mut writer =
            Writer { table, loaded: Vec::new(), implied: Vec::new(), proto: "th", words: Vec::new() };
        for expr in &self.exprs {
            writer.expr(expr);
        }
        writer.settle();
        writer.words.join(" ")
    }
}

impl Expr {
    /// What this one expression is, without those before it.
    pub(crate) fn words_alone(&self, table: &Table) -> String {
        if let Self::Xt(Xt::Other(name)) = self {
            return format!("xt match {name}");
        }
        if let Self::XtTarget(XtTarget::Other(name)) = self {
            return format!("xt target {name}");
        }
        if let Self::Unknown(name) = self {
            return format!("expression {name}");
        }
        if let Self::Lookup { set, .. } = self
            && table.set(set).is_some_and(|s| !s.anonymous)
        {
            return format!("set @{set}");
        }
        "what the packet carries".to_owned()
    }
}

struct Writer<'a> {
    table: &'a Table,
    /// What the registers hold, the latest last.
    loaded: Vec<(usize, Loaded)>,
    /// Conditions that a following header field implies (`meta l4proto tcp` before `tcp dport`), with that header.
    implied: Vec<(String, PayloadBase)>,
    /// The transport protocol, as far as this rule has asked for it.
    proto: &'static str,
    words: Vec<String>,
}

impl Writer<'_> {
    fn say(&mut self, words: impl Into<String>) {
        self.settle();
        self.words.push(words.into());
    }

    /// Nothing followed that implies it: it was meant.
    fn settle(&mut self) {
        self.words.extend(self.implied.drain(..).map(|(words, _)| words));
    }

    fn load(&mut self, reg: Register, loaded: Loaded) {
        let Some(at) = reg.offset() else { return };
        self.loaded.retain(|(other, _)| *other != at);
        self.loaded.push((at, loaded));
    }

    fn held(&self, reg: Register) -> Loaded {
        let found = reg.offset().and_then(|at| self.loaded.iter().find(|(other, _)| *other == at));
        found.map_or_else(Loaded::unknown, |(_, loaded)| loaded.clone())
    }

    /// One arm an expression: in one place it is seen that none is missing.
    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Meta { key, dreg } => self.load(*dreg, meta(*key)),
            Expr::Ct { key, dreg } => self.load(*dreg, connection(*key)),
            Expr::Fib(fib) => self.load(fib.dreg, fib_words(*fib)),
            Expr::Load { name, dreg } => self.load(*dreg, Loaded::new(name, Kind::Number)),
            Expr::Payload { base, offset, len, dreg } => {
                let loaded = self.payload(*base, *offset, *len);
                self.load(*dreg, loaded);
            }
            Expr::Bitwise { sreg, dreg, mask, .. } => {
                let loaded = Loaded { mask: Some(mask.clone()), ..self.held(*sreg) };
                self.load(*dreg, loaded);
            }
            Expr::ByteOrder { sreg, dreg, .. } => {
                let loaded = self.held(*sreg);
                self.load(*dreg, loaded);
            }
            Expr::Cmp { op, sreg, value } => self.cmp(*op, *sreg, value),
            Expr::Range { inside, sreg, from, to } => {
                let held = self.held(*sreg);
                let not = if *inside { "" } else { "!= " };
                self.say(format!("{} {not}{}", held.words, interval(held.kind, from, to)));
            }
            Expr::Lookup { set, sreg, dreg, inverted } => self.lookup(set, *sreg, dreg.is_some(), *inverted),
            Expr::Immediate { dreg: 0, data: Data::Verdict(verdict) } => self.say(verdict_words(verdict)),
            Expr::Immediate { dreg, data: Data::Value(bytes) } => {
                let words = value(Kind::guess(bytes.len()), bytes);
                let constant = Some(bytes.clone());
                self.load(Register(*dreg), Loaded { constant, ..Loaded::new(&words, Kind::Number) });
            }
            Expr::Immediate { data: Data::Verdict(_), .. } | Expr::Counter => {}
            Expr::MetaSet { key, sreg } => self.set(&meta(*key), *sreg),
            Expr::CtSet { key, sreg } => self.set(&connection(*key), *sreg),
            Expr::Reject { kind: 1, .. } => self.say("reject with tcp reset"),
            Expr::Reject { .. } => self.say("reject"),
            Expr::Nat(nat) => self.nat(*nat),
            Expr::Notrack => self.say("notrack"),
            Expr::Limit { over, rate, unit, bytes, .. } => {
                self.say(format!(
                    "limit rate {}{rate}{}/{}",
                    over_word(*over),
                    if *bytes { " bytes" } else { "" },
                    unit_word(*unit)
                ));
            }
            Expr::ConnLimit { over, count } => self.say(format!("ct count {}{count}", over_word(*over))),
            Expr::Dynset { set, sreg, exprs, .. } => self.dynset(set, *sreg, exprs),
            Expr::Log { prefix: None } => self.say("log"),
            Expr::Log { prefix: Some(prefix) } => self.say(format!("log prefix {prefix:?}")),
            Expr::Note(name) | Expr::Unknown(name) => self.say(format!("[{name}]")),
            Expr::Xt(xt) => self.say(xt_words(xt)),
            Expr::XtTarget(target) => self.say(xt_target_words(target)),
        }
    }

    fn cmp(&mut self, op: CmpOp, sreg: Register, bytes: &[u8]) {
        let held = self.held(sreg);
        let said = value(held.kind, bytes);
        if op == CmpOp::Eq && matches!(held.kind, Kind::L4Proto | Kind::NfProto) && held.mask.is_none() {
            if held.kind == Kind::L4Proto {
                self.proto = proto_word(bytes);
            }
            if held.words.starts_with("meta ") {
                let of =
                    if held.kind == Kind::L4Proto { PayloadBase::Transport } else { PayloadBase::Network };
                self.implied.push((format!("{} {said}", held.words), of));
                return;
            }
        }
        // An interval comes as its two ends.
        if op == CmpOp::Le
            && self.words.last().is_some_and(|last| last.starts_with(&format!("{} >= ", held.words)))
        {
            let from = self.words.pop().unwrap_or_default().replacen(">= ", "", 1);
            return self.say(format!("{from}-{said}"));
        }
        self.say(held.compared(op, bytes));
    }

    fn payload(&mut self, base: PayloadBase, offset: u32, len: u32) -> Loaded {
        self.implied.retain(|(_, of)| *of != base);
        if self.proto == "icmpv6" && base == PayloadBase::Transport {
            self.implied.clear();
        }
        field(base, self.proto, offset, len)
    }

    fn set(&mut self, what: &Loaded, sreg: Register) {
        let held = self.held(sreg);
        let to = held.constant.map_or(held.words, |bytes| value(what.kind, &bytes));
        self.say(format!("{} set {to}", what.words));
    }

    fn dynset(&mut self, set: &str, sreg: Register, exprs: &[Expr]) {
        let key = self.key(sreg, self.table.set(set));
        let key: Vec<&str> = key.iter().map(|part| part.words.as_str()).collect();
        self.settle();
        let mut inner = Writer {
            table: self.table,
            loaded: Vec::new(),
            implied: Vec::new(),
            proto: "th",
            words: Vec::new(),
        };
        inner.words.push(key.join(" . "));
        exprs.iter().for_each(|expr| inner.expr(expr));
        self.say(format!("add @{set} {{ {} }}", inner.words.join(" ")));
    }

    /// The fields of a concatenated key stand in registers behind each other.
    fn key(&self, sreg: Register, set: Option<&Set>) -> Vec<Loaded> {
        let (Some(mut at), Some(set)) = (sreg.offset(), set) else { return vec![self.held(sreg)] };
        let end = at + set.key_len as usize;
        let mut parts = Vec::new();
        while at < end {
            let Some((_, loaded)) = self.loaded.iter().find(|(other, _)| *other == at) else { break };
            parts.push(loaded.clone());
            at += loaded.kind.room(loaded.len);
        }
        parts
    }

    fn lookup(&mut self, name: &str, sreg: Register, mapped: bool, inverted: bool) {
        let set = self.table.set(name);
        let parts = self.key(sreg, set);
        let words: Vec<&str> = parts.iter().map(|p| p.words.as_str()).collect();
        let what = match set.filter(|s| s.anonymous) {
            Some(set) => format!("{{ {} }}", members(set, &parts)),
            None => format!("@{name}"),
        };
        let not = if inverted { "!= " } else { "" };
        let map = match (mapped, set.is_some_and(|s| s.verdicts)) {
            (true, true) => "vmap ",
            (true, false) => "map ",
            (false, _) => "",
        };
        self.say(format!("{} {not}{map}{what}", words.join(" . ")));
    }

    fn nat(&mut self, nat: Nat) {
        let at = |reg: Option<Register>| reg.map(|r| self.held(r).words).unwrap_or_default();
        let said = match nat {
            Nat::Source => "snat".to_owned(),
            Nat::Redirect { port: None } => "redirect".to_owned(),
            Nat::Redirect { port } => format!("redirect to :{}", at(port)),
            Nat::Destination { address, port: None } => format!("dnat to {}", at(address)),
            Nat::Destination { address, port } => format!("dnat to {}:{}", at(address), at(port)),
        };
        self.say(said);
    }
}

fn meta(key: MetaKey) -> Loaded {
    match key {
        MetaKey::Protocol => Loaded::new("meta protocol", Kind::EtherType),
        MetaKey::Mark => Loaded::new("meta mark", Kind::Mark),
        MetaKey::Iif => Loaded::new("iif", Kind::IfIndex),
        MetaKey::Oif => Loaded::new("oif", Kind::IfIndex),
        MetaKey::IifName => Loaded::new("iifname", Kind::Name),
        MetaKey::OifName => Loaded::new("oifname", Kind::Name),
        MetaKey::NfProto => Loaded::new("meta nfproto", Kind::NfProto),
        MetaKey::L4Proto => Loaded::new("meta l4proto", Kind::L4Proto),
        MetaKey::PktType => Loaded::new("meta pkttype", Kind::PktType),
        MetaKey::Other(number) => Loaded::new(&format!("meta key {number}"), Kind::Number),
    }
}

fn connection(key: CtKey) -> Loaded {
    match key {
        CtKey::State => Loaded::new("ct state", Kind::CtState),
        CtKey::Direction => Loaded::new("ct direction", Kind::Number),
        CtKey::Status => Loaded::new("ct status", Kind::CtStatus),
        CtKey::Mark => Loaded::new("ct mark", Kind::Mark),
        CtKey::FirstPort => Loaded::new("ct original proto-dst", Kind::Port),
        CtKey::Other(number) => Loaded::new(&format!("ct key {number}"), Kind::Number),
    }
}

fn fib_words(fib: Fib) -> Loaded {
    let of = [(1, "saddr"), (2, "daddr"), (4, "mark"), (8, "iif"), (16, "oif")];
    let of: Vec<&str> = of.iter().filter(|(bit, _)| fib.flags & bit != 0).map(|&(_, word)| word).collect();
    let (result, kind) = match fib.result {
        3 => ("type", Kind::AddrType),
        2 => ("oifname", Kind::Name),
        _ => ("oif", Kind::IfIndex),
    };
    let kind = if fib.flags & 32 != 0 { Kind::Present } else { kind };
    Loaded::new(&format!("fib {} {result}", of.join(" . ")), kind)
}

/// The word before a field of this transport protocol.
fn proto_word(number: &[u8]) -> &'static str {
    match number {
        [1] => "icmp",
        [6] => "tcp",
        [17] => "udp",
        [58] => "icmpv6",
        [132] => "sctp",
        _ => "th",
    }
}

/// A header's field by where it lies.
fn field(base: PayloadBase, proto: &str, offset: u32, len: u32) -> Loaded {
    // As nft writes them: in bits.
    let raw = |header| format!("@{header},{},{}", u64::from(offset) * 8, u64::from(len) * 8);
    let (words, kind) = match (base, offset, len) {
        (PayloadBase::Transport, 0, 2) => (format!("{proto} sport"), Kind::Port),
        (PayloadBase::Transport, 2, 2) => (format!("{proto} dport"), Kind::Port),
        (PayloadBase::Transport, 13, 1) if proto == "tcp" => ("tcp flags".to_owned(), Kind::TcpFlags),
        (PayloadBase::Transport, 0, 1) if proto == "icmp" => ("icmp type".to_owned(), Kind::IcmpType),
        (PayloadBase::Transport, 0, 1) if proto == "icmpv6" => ("icmpv6 type".to_owned(), Kind::Icmp6Type),
        (PayloadBase::Network, 12, 1..=4) => ("ip saddr".to_owned(), Kind::Ipv4),
        (PayloadBase::Network, 16, 1..=4) => ("ip daddr".to_owned(), Kind::Ipv4),
        (PayloadBase::Network, 9, 1) => ("ip protocol".to_owned(), Kind::L4Proto),
        (PayloadBase::Network, 6, 1) => ("ip6 nexthdr".to_owned(), Kind::L4Proto),
        (PayloadBase::Network, 8, 5..=16) => ("ip6 saddr".to_owned(), Kind::Ipv6),
        (PayloadBase::Network, 24, 1..=16) => ("ip6 daddr".to_owned(), Kind::Ipv6),
        (PayloadBase::Link, 6, 6) => ("ether saddr".to_owned(), Kind::Mac),
        (PayloadBase::Link, _, _) => (raw("ll"), Kind::Number),
        (PayloadBase::Network, _, _) => (raw("nh"), Kind::Number),
        (PayloadBase::Transport, _, _) => (raw("th"), Kind::Number),
        (PayloadBase::Other(_), _, _) => (raw("ih"), Kind::Number),
    };
    Loaded { len: len as usize, ..Loaded::new(&words, kind) }
}

fn members(set: &Set, parts: &[Loaded]) -> String {
    let mut elements: Vec<&SetElement> = set.elements.iter().collect();
    elements.sort_by(|a, b| {
        a.catch_all.cmp(&b.catch_all).then(a.key.cmp(&b.key)).then(b.interval_end.cmp(&a.interval_end))
    });
    let bounds = set.interval && !elements.iter().any(|e| e.key_end.is_some());
    let mut said = Vec::new();
    for (i, element) in elements.iter().enumerate().filter(|(_, e)| !e.interval_end) {
        let end = elements.get(i + 1).filter(|next| bounds && next.interval_end).map(|next| &next.key);
        let key = match (element.catch_all, bounds, parts) {
            (true, _, _) => "*".to_owned(),
            (false, true, [part, ..]) => {
                let to = end.map_or_else(|| vec![0xff; element.key.len()], |end| before(end));
                interval(part.kind, &element.key, &to)
            }
            (false, _, parts) => concatenated(element, parts),
        };
        said.push(match &element.data {
            None => key,
            Some(Data::Verdict(verdict)) => format!("{key} : {}", verdict_words(verdict)),
            Some(Data::Value(bytes)) => format!("{key} : {}", value(Kind::guess(bytes.len()), bytes)),
        });
    }
    let more = said.len() > MOST_ELEMENTS;
    said.truncate(MOST_ELEMENTS);
    if more {
        said.push("…".to_owned());
    }
    said.join(", ")
}

fn concatenated(element: &SetElement, parts: &[Loaded]) -> String {
    let mut at = 0;
    let fields = parts.iter().map(|part| {
        let len = if part.len == 0 { element.key.len().min(part.kind.size()) } else { part.len };
        let range = at..at + len;
        at += part.kind.room(len);
        let from = element.key.get(range.clone()).unwrap_or(&[]);
        let to = element.key_end.as_ref().and_then(|end| end.get(range)).unwrap_or(from);
        interval(part.kind, from, to)
    });
    fields.collect::<Vec<_>>().join(" . ")
}

/// The value right before this one.
fn before(bytes: &[u8]) -> Vec<u8> {
    let mut it = bytes.to_vec();
    for byte in it.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    it
}

fn verdict_words(verdict: &RuleVerdict) -> String {
    match verdict {
        RuleVerdict::Accept => "accept".to_owned(),
        RuleVerdict::Drop => "drop".to_owned(),
        RuleVerdict::Stolen => "fwd".to_owned(),
        RuleVerdict::Queue => "queue".to_owned(),
        RuleVerdict::Continue => "continue".to_owned(),
        RuleVerdict::Break => "break".to_owned(),
        RuleVerdict::Jump(chain) => format!("jump {chain}"),
        RuleVerdict::Goto(chain) => format!("goto {chain}"),
        RuleVerdict::Return => "return".to_owned(),
        RuleVerdict::Other(code) => format!("[verdict {code}]"),
    }
}

fn xt_words(xt: &Xt) -> String {
    match xt {
        Xt::Comment(text) => format!("-m comment --comment {text:?}"),
        Xt::State { words, .. } => format!("-m conntrack {words}"),
        Xt::Multiport(ports) => {
            let ranges =
                ports.ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}:{b}") });
            let which = match (ports.source, ports.destination) {
                (true, true) => "--ports",
                (true, false) => "--sports",
                (false, _) => "--dports",
            };
            let not = if ports.inverted { "! " } else { "" };
            format!("-m multiport {not}{which} {}", ranges.collect::<Vec<_>>().join(","))
        }
        Xt::AddrType { .. } => "-m addrtype".to_owned(),
        Xt::Mostly(name) | Xt::Other(name) => format!("-m {name}"),
    }
}

fn xt_target_words(target: &XtTarget) -> String {
    match target {
        XtTarget::Reject => "-j REJECT".to_owned(),
        XtTarget::Destination(_) => "-j DNAT".to_owned(),
        XtTarget::Redirect(_) => "-j REDIRECT".to_owned(),
        XtTarget::Note(name) | XtTarget::Other(name) => format!("-j {name}"),
    }
}

const fn over_word(over: bool) -> &'static str {
    if over { "over " } else { "" }
}

fn unit_word(unit: u64) -> &'static str {
    match unit {
        1 => "second",
        60 => "minute",
        3600 => "hour",
        86_400 => "day",
        _ => "week",
    }
}
