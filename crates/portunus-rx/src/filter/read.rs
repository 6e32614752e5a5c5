//! From words to a tree, by the grammar of pcap-filter(7): `not` binds most, `and` and `or` bind alike and from the left,
//! and a value without a keyword takes the one before (`port 1 or 2`).

use std::net::IpAddr;

use portunus_model::Net;

use super::expr::{End, Expr, Test};
use super::words::{Word, words};
use super::{Fault, FilterError};
use crate::frame::{IPV4, IPV6};

const LONGEST: usize = 1500;
const MOST_TESTS: usize = 48;
const DEEPEST: usize = 32;

type Read<T> = Result<T, FilterError>;

pub(super) fn read(text: &str) -> Read<Expr> {
    let words = words(text);
    let mut reader = Reader { words: &words, last: None, tests: 0 };
    if text.len() > LONGEST {
        return Err(reader.peek().wrong(Fault::TooLong));
    }
    if reader.peek().text.is_empty() {
        return Ok(Expr::Is(Test::Any));
    }
    let expr = reader.expr(0)?;
    match reader.peek().text {
        "" => Ok(expr),
        ")" => Err(reader.peek().wrong(Fault::Parenthesis)),
        _ => Err(reader.peek().wrong(reader.foreign().unwrap_or(Fault::NoLink))),
    }
}

struct Reader<'a> {
    words: &'a [Word<'a>],
    /// What the last value was a value of.
    last: Option<What>,
    tests: usize,
}

/// What a value is a value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct What {
    proto: Option<Proto>,
    ends: Ends,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proto {
    /// By its Ethernet type.
    Family(u16),
    Udp,
    Tcp,
    Icmp,
    Icmp6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Source,
    Destination,
    Either,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Word<'a> {
        // The last word stays: it is the end.
        self.words.first().copied().unwrap_or(Word { text: "", column: 1 })
    }

    fn take(&mut self) -> Word<'a> {
        let word = self.peek();
        if let [_, rest @ ..] = self.words
            && !rest.is_empty()
        {
            self.words = rest;
        }
        word
    }

    fn takes(&mut self, texts: &[&str]) -> bool {
        let found = texts.contains(&self.peek().text);
        if found {
            self.take();
        }
        found
    }

    fn expr(&mut self, depth: usize) -> Read<Expr> {
        let mut left = self.term(depth)?;
        loop {
            if self.takes(&["and", "&&"]) {
                left = left.and(self.term(depth)?);
            } else if self.takes(&["or", "||"]) {
                left = left.or(self.term(depth)?);
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self, depth: usize) -> Read<Expr> {
        if depth >= DEEPEST {
            return Err(self.peek().wrong(Fault::TooLong));
        }
        if self.takes(&["not", "!"]) {
            return Ok(Expr::Not(Box::new(self.term(depth + 1)?)));
        }
        let open = self.peek();
        if !self.takes(&["("]) {
            return self.test();
        }
        let expr = self.expr(depth + 1)?;
        if self.takes(&[")"]) {
            return Ok(expr);
        }
        let next = self.peek();
        Err(if next.text.is_empty() {
            open.wrong(Fault::Parenthesis)
        } else {
            next.wrong(self.foreign().unwrap_or(Fault::NoLink))
        })
    }

    fn test(&mut self) -> Read<Expr> {
        self.tests += 1;
        let first = self.peek();
        if self.tests > MOST_TESTS {
            return Err(first.wrong(Fault::TooLong));
        }
        if first.text == "vlan" || first.text == "pppoes" {
            return self.tag();
        }
        let proto = self.proto();
        let ends = self.ends()?;
        let kind = self.kind();
        match (proto, ends, kind) {
            (Some(proto), None, None) => {
                self.last = None;
                Ok(proto.expr())
            }
            (None, None, None) => {
                if let Some(fault) = self.foreign() {
                    return Err(first.wrong(fault));
                }
                let address = || (first.text.parse::<IpAddr>().is_ok()).then_some(What::HOST);
                let what = self.last.or_else(address).ok_or_else(|| first.wrong(Fault::Bare))?;
                self.value(what)
            }
            (proto, ends, kind) => {
                let what =
                    What { proto, ends: ends.unwrap_or(Ends::Either), kind: kind.unwrap_or(Kind::Host) };
                if !what.fits(ends.is_some()) {
                    return Err(first.wrong(Fault::Qualifier));
                }
                self.last = Some(what);
                self.values(what)
            }
        }
    }

    fn tag(&mut self) -> Read<Expr> {
        self.last = None;
        let (test, most): (fn(Option<u16>) -> Test, u16) =
            if self.take().text == "vlan" { (Test::Vlan, 4095) } else { (Test::Session, u16::MAX) };
        let next = self.peek();
        if !next.text.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(Expr::Is(test(None)));
        }
        self.take();
        let number = next.text.parse().ok().filter(|number| *number <= most);
        Ok(Expr::Is(test(Some(number.ok_or_else(|| next.wrong(Fault::Tag))?))))
    }

    fn proto(&mut self) -> Option<Proto> {
        let proto = match self.peek().text {
            "ip" => Proto::Family(IPV4),
            "ip6" => Proto::Family(IPV6),
            "udp" => Proto::Udp,
            "tcp" => Proto::Tcp,
            "icmp" => Proto::Icmp,
            "icmp6" => Proto::Icmp6,
            _ => return None,
        };
        self.take();
        Some(proto)
    }

    fn ends(&mut self) -> Read<Option<Ends>> {
        let Some(first) = self.end() else { return Ok(None) };
        let one = if first == End::Source { Ends::Source } else { Ends::Destination };
        // `src or dst` is one qualifier; in `src host A or dst host B` the `or` comes later.
        let joined = match self.peek().text {
            "or" | "||" => Ends::Either,
            "and" | "&&" => Ends::Both,
            _ => return Ok(Some(one)),
        };
        self.take();
        let next = self.peek();
        match self.end() {
            Some(second) if second != first => Ok(Some(joined)),
            Some(_) | None => Err(next.wrong(self.foreign().unwrap_or(Fault::NoTest))),
        }
    }

    fn end(&mut self) -> Option<End> {
        let end = match self.peek().text {
            "src" => End::Source,
            "dst" => End::Destination,
            _ => return None,
        };
        self.take();
        Some(end)
    }

    fn kind(&mut self) -> Option<Kind> {
        let kind = match self.peek().text {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            "portrange" => Kind::PortRange,
            "proto" => Kind::Proto,
            _ => return None,
        };
        self.take();
        Some(kind)
    }

    /// A value, or several in parentheses: `port (1 or 2)`.
    fn values(&mut self, what: What) -> Read<Expr> {
        let open = self.peek();
        if !self.takes(&["("]) {
            return self.value(what);
        }
        let mut all = self.value(what)?;
        while !self.takes(&[")"]) {
            self.tests += 1;
            let next = self.peek();
            if next.text.is_empty() || self.tests > MOST_TESTS {
                let fault = if next.text.is_empty() { Fault::Parenthesis } else { Fault::TooLong };
                return Err(open.wrong(fault));
            }
            if self.takes(&["or", "||"]) {
                all = all.or(self.value(what)?);
            } else if self.takes(&["and", "&&"]) {
                all = all.and(self.value(what)?);
            } else {
                return Err(next.wrong(Fault::NoLink));
            }
        }
        Ok(all)
    }

    fn value(&mut self, what: What) -> Read<Expr> {
        let word = self.take();
        let wrong = |fault| word.wrong(fault);
        let test: Box<dyn Fn(End) -> Test> = match what.kind {
            Kind::Host => {
                let address: IpAddr = word.text.parse().map_err(|_| wrong(Fault::Host))?;
                Box::new(move |end| Test::Net(end, Net::host(address)))
            }
            Kind::Net => {
                let net = self.net(word)?;
                Box::new(move |end| Test::Net(end, net))
            }
            Kind::Port => {
                let port = number(word.text).ok_or_else(|| wrong(Fault::Port))?;
                Box::new(move |end| Test::Port(end, port, port))
            }
            Kind::PortRange => {
                let range =
                    word.text.split_once('-').and_then(|(low, high)| Some((number(low)?, number(high)?)));
                let (low, high) =
                    range.filter(|(low, high)| low <= high).ok_or_else(|| wrong(Fault::PortRange))?;
                Box::new(move |end| Test::Port(end, low, high))
            }
            Kind::Proto => {
                let proto = protocol(word.text).ok_or_else(|| wrong(Fault::Proto))?;
                Box::new(move |_| Test::Proto(proto))
            }
        };
        let at = |end| Expr::Is(test(end));
        let expr = match what.ends {
            Ends::Either if what.kind == Kind::Proto => at(End::Source),
            Ends::Source => at(End::Source),
            Ends::Destination => at(End::Destination),
            Ends::Either => at(End::Source).or(at(End::Destination)),
            Ends::Both => at(End::Source).and(at(End::Destination)),
        };
        Ok(match what.proto {
            Some(proto) => proto.expr().and(expr),
            None => expr,
        })
    }

    /// `10.0.0.0/8`, `10.0.0.0 mask 255.0.0.0`, or only the octets that count: `10`, `192.168`.
    fn net(&mut self, word: Word<'a>) -> Read<Net> {
        let wrong = |fault| word.wrong(fault);
        let mut text = word.text.to_owned();
        if self.takes(&["mask"]) {
            let mask = self.take();
            text = format!("{text}/{}", mask.text);
        } else if !text.contains(['/', ':']) {
            let octets = text.split('.').count();
            if octets > 4 || !text.split('.').all(|octet| octet.parse::<u8>().is_ok()) {
                return Err(wrong(Fault::Net));
            }
            text = format!("{text}{}/{}", ".0".repeat(4 - octets), octets * 8);
        }
        let net = Net::parse(&text).map_err(|_| wrong(Fault::Net))?;
        let named: Option<IpAddr> = text.split_once('/').map_or(text.as_str(), |(a, _)| a).parse().ok();
        // A mistyped mask would let in more than was meant, and silently.
        if named == Some(net.address()) { Ok(net) } else { Err(wrong(Fault::HostBits)) }
    }

    /// What is the matter with the next word, when it is one of libpcap's that means nothing here, or none at all.
    fn foreign(&self) -> Option<Fault> {
        Some(match self.peek().text {
            "arp" | "rarp" | "atalk" | "aarp" | "decnet" | "iso" | "stp" | "ipx" | "netbeui" | "lat"
            | "moprc" | "mopdl" | "sca" | "mpls" | "pppoed" | "llc" | "esis" | "isis" | "clnp" => {
                Fault::NotIp
            }
            "sctp" | "igmp" | "igrp" | "pim" | "vrrp" | "carp" | "ah" | "esp" | "geneve" | "vxlan" => {
                Fault::NotCarried
            }
            "ether" | "fddi" | "tr" | "wlan" | "link" | "ppp" | "slip" | "type" | "subtype" | "gateway"
            | "ra" | "ta" | "addr1" | "addr2" | "addr3" | "addr4" => Fault::Link,
            "len" | "less" | "greater" | "[" | "]" | "<" | ">" | "=" | "&" | "|" | "+" | "*"
            | "protochain" => Fault::Comparison,
            "inbound" | "outbound" | "dir" | "ifname" | "on" | "ifindex" => Fault::Direction,
            "broadcast" | "multicast" => Fault::Cast,
            "" | ")" | "and" | "or" | "&&" | "||" => Fault::NoTest,
            word if word.starts_with(|c: char| c.is_ascii_alphabetic())
                && word.parse::<IpAddr>().is_err() =>
            {
                let ours = ["ip", "ip6", "udp", "tcp", "icmp", "icmp6", "vlan", "pppoes", "src", "dst"];
                let kinds = ["host", "net", "port", "portrange", "proto", "not"];
                if ours.contains(&word) || kinds.contains(&word) {
                    return None;
                }
                Fault::Unknown
            }
            _ => return None,
        })
    }
}

impl What {
    const HOST: Self = Self { proto: None, ends: Ends::Either, kind: Kind::Host };

    /// Whether the three can stand together.
    fn fits(self, with_end: bool) -> bool {
        let proto = match self.proto {
            None => true,
            Some(Proto::Family(_)) => matches!(self.kind, Kind::Host | Kind::Net | Kind::Proto),
            Some(Proto::Udp | Proto::Tcp) => matches!(self.kind, Kind::Port | Kind::PortRange),
            Some(Proto::Icmp | Proto::Icmp6) => false,
        };
        proto && !(with_end && self.kind == Kind::Proto)
    }
}

impl Proto {
    fn expr(self) -> Expr {
        let within = |family, number| Expr::Is(Test::Family(family)).and(Expr::Is(Test::Proto(number)));
        match self {
            Self::Family(family) => Expr::Is(Test::Family(family)),
            Self::Udp => Expr::Is(Test::Proto(17)),
            Self::Tcp => Expr::Is(Test::Proto(6)),
            Self::Icmp => within(IPV4, 1),
            Self::Icmp6 => within(IPV6, 58),
        }
    }
}

fn protocol(text: &str) -> Option<u8> {
    match text.strip_prefix('\\').unwrap_or(text) {
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmp6" => Some(58),
        number if number.bytes().all(|b| b.is_ascii_digit()) => number.parse().ok(),
        _ => None,
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}
