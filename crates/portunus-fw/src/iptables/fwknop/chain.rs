//! What stands in the chains, as `iptables-save -c` prints it, and which lines of it are ours. Pure.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use portunus_model::{ChainRow, Element, Nat, NatSource, PortSpec, Proto, Unix, Way};

use super::super::runner::Table;

/// One line of a chain: `[3:180] -A FWKNOP_INPUT -s …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// `[3:180]`.
    counters: &'a str,
    pub(super) chain: &'a str,
    /// Everything behind the chain's name.
    pub(super) rest: &'a str,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (counters, rule) = match line.strip_prefix('[') {
            Some(_) => line.split_once(' ')?,
            None => ("[0:0]", line),
        };
        let rule = rule.strip_prefix("-A ")?;
        let (chain, rest) = rule.split_once(' ').unwrap_or((rule, ""));
        Some(Self { counters, chain, rest })
    }

    /// As it stood.
    pub(super) fn again(&self) -> String {
        format!("{} -A {} {}\n", self.counters, self.chain, self.rest)
    }

    /// In its place and with its counters, but with this end.
    pub(super) fn with(&self, text: &str) -> String {
        format!("{} -A {} {text}\n", self.counters, self.chain)
    }

    /// Until when its comment says that it stands: `_exp_1795644428`.
    pub(super) fn end(&self) -> Option<i64> {
        let after = self.rest.split("_exp_").nth(1)?;
        after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// Whether the kernel ends it too: of all who write such comments only we have it do so.
    pub(super) fn is_timed(&self) -> bool {
        self.rest.contains("--datestop ")
    }

    /// Whom a line of ours cuts off. Where it led to another host, that is all that is known of the translation.
    pub(super) fn cut(&self) -> Option<Element> {
        let value = |option: &str| self.rest.split(' ').skip_while(|word| *word != option).nth(1);
        let address = |option: &str| value(option)?.split('/').next()?.parse::<IpAddr>().ok();
        if !self.is_timed() || value("-j") != Some("DROP") {
            return None;
        }
        let from = address("-s")?;
        let proto = [Proto::Tcp, Proto::Udp].into_iter().find(|proto| value("-p") == Some(proto.as_str()));
        let Some(proto) = proto else {
            let way = Way::All { to: None, source: NatSource::Kept };
            return Some(Element { address: from, port: None, destination: None, way });
        };
        let ports = value("--dport")?;
        let (first, last) = ports.split_once(':').unwrap_or((ports, ports));
        let port = PortSpec::range(proto, first.parse().ok()?, last.parse().ok()?).ok()?;
        let here = Element::here(from, port);
        let Some(host) = address("-d") else { return Some(here) };
        let (local, source) = (false, NatSource::Kept);
        let way = Way::Nat(Nat { local, host, port: port.first(), rewrite: false, source });
        Some(Element { way, ..here })
    }

    /// The rule without its end: two lines of one shape are one rule at two times.
    pub(super) fn shape(&self) -> Shape {
        shape(self.chain, self.rest)
    }
}

/// What a rule is, whatever its end is and however a tool writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shape(String);

/// The shape of what stands behind `-A CHAIN `.
pub(super) fn shape(chain: &str, rest: &str) -> Shape {
    let mut words = rest.split(' ').map(|word| word.trim_matches('"'));
    let mut pairs = Vec::new();
    while let Some(option) = words.next() {
        let Some(value) = words.next() else {
            pairs.push((option, ""));
            break;
        };
        // A match is known by its options; the end is what may differ.
        if !["-m", "--comment", "--datestop"].contains(&option) {
            let value = value.strip_suffix("/32").or_else(|| value.strip_suffix("/128")).unwrap_or(value);
            pairs.push((option, value));
        }
    }
    pairs.sort_unstable();
    let mut text = chain.to_owned();
    for (option, value) in pairs {
        text.push(' ');
        text.push_str(option);
        text.push(' ');
        text.push_str(value);
    }
    Shape(text)
}

/// One table as it stands.
#[derive(Debug, Default)]
pub(super) struct Saved<'a> {
    chains: HashSet<&'a str>,
    pub(super) lines: Vec<Line<'a>>,
}

impl<'a> Saved<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        let mut saved = Self::default();
        for line in text.lines() {
            if let Some(chain) = line.strip_prefix(':') {
                saved.chains.extend(chain.split(' ').next());
            } else {
                saved.lines.extend(Line::read(line));
            }
        }
        saved
    }

    pub(super) fn has(&self, chain: &str) -> bool {
        self.chains.contains(chain)
    }

    pub(super) fn of(&self, chain: &str) -> impl Iterator<Item = &Line<'a>> {
        self.lines.iter().filter(move |line| line.chain == chain)
    }

    /// How often the row's jump stands, exactly as it is written.
    pub(super) fn jumps(&self, row: &ChainRow) -> usize {
        let jump = format!("-j {}", row.chain);
        self.of(&row.from).filter(|line| line.rest == jump).count()
    }

    /// Whether somebody else's rule leads to this chain.
    pub(super) fn is_used_elsewhere(&self, row: &ChainRow) -> bool {
        let jump = format!("-j {}", row.chain);
        let goto = format!("-g {}", row.chain);
        let leads = |line: &&Line<'_>| {
            (line.rest == jump && line.chain != row.from)
                || line.rest.ends_with(&format!(" {jump}"))
                || line.rest == goto
                || line.rest.ends_with(&format!(" {goto}"))
        };
        self.lines.iter().any(|line| leads(&line))
    }
}

/// What is to stand, and what may be taken for ours.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// How often each is to be there, with which ends, and how each is written.
    rules: HashMap<Shape, Vec<(i64, String)>>,
    /// In the order in which they are added: table, chain and shape.
    order: Vec<(Table, String, Shape)>,
    /// What stood of ours before a change, for kernels that cannot mark it.
    before: HashSet<(Shape, i64)>,
}

impl Wanted {
    pub(super) fn add(&mut self, table: Table, chain: &str, text: String, until: Unix) {
        let shape = shape(chain, &text);
        self.rules.entry(shape.clone()).or_default().push((until.as_secs(), text));
        self.order.push((table, chain.to_owned(), shape));
    }

    pub(super) fn add_before(&mut self, chain: &str, text: &str, until: Unix) {
        self.before.insert((shape(chain, text), until.as_secs()));
    }

    /// Takes the one of this shape whose end is nearest to this line's: it stands in its place then.
    pub(super) fn take(&mut self, line: &Line<'_>) -> Option<String> {
        let end = line.end()?;
        let left = self.rules.get_mut(&line.shape())?;
        let exact = left.iter().position(|(until, _)| *until == end);
        let place = exact.or_else(|| (!left.is_empty()).then_some(0))?;
        Some(left.swap_remove(place).1)
    }

    /// What is left to be added to a chain, in order.
    pub(super) fn rest(&mut self, table: Table, chain: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for (of, name, shape) in &self.order {
            if (*of, name.as_str()) == (table, chain)
                && let Some(left) = self.rules.get_mut(shape)
                && !left.is_empty()
            {
                texts.push(left.remove(0).1);
            }
        }
        texts
    }

    /// Whether a line was ours, and is not wanted any more.
    pub(super) fn was_ours(&self, line: &Line<'_>) -> bool {
        line.is_timed() || line.end().is_some_and(|end| self.before.contains(&(line.shape(), end)))
    }

    /// Strikes off a line that stands just as it is wanted; false: it is not.
    pub(super) fn strike(&mut self, line: &Line<'_>) -> bool {
        let Some(end) = line.end() else { return false };
        let Some(left) = self.rules.get_mut(&line.shape()) else { return false };
        let place = left.iter().position(|(until, _)| *until == end);
        place.map(|place| left.swap_remove(place)).is_some()
    }

    /// Whether all was struck off.
    pub(super) fn is_met(&self) -> bool {
        self.rules.values().all(Vec::is_empty)
    }

    /// The first that was not, for a message.
    pub(super) fn missing(&self) -> Option<&str> {
        self.rules.values().flatten().map(|(_, text)| text.as_str()).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_known_by_their_shape_whatever_their_end() {
        let text = "\
            *filter\n:INPUT DROP [5:300]\n:FWKNOP_INPUT - [0:0]\n\
            [3:180] -A INPUT -j FWKNOP_INPUT\n\
            [0:0] -A FWKNOP_INPUT -s 10.1.1.5/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1795644428 -j ACCEPT\n\
            [1:60] -A FWKNOP_INPUT -s 10.1.1.5/32 -p tcp -m tcp --dport 22 -m time --datestop 2026-11-25T22:07:07 -m comment --comment \"_exp_7\" -j ACCEPT\n\
            [0:0] -A FWKNOP_INPUT -s 10.1.1.5/32 -p tcp -m tcp --dport 23 -j ACCEPT\nCOMMIT\n";
        let saved = Saved::read(text);
        let lines: Vec<_> = saved.of("FWKNOP_INPUT").collect();
        assert_eq!(lines[0].shape(), lines[1].shape());
        assert_eq!(
            lines.iter().map(|line| line.end()).collect::<Vec<_>>(),
            [Some(1_795_644_428), Some(7), None]
        );
        assert_eq!(lines.iter().map(|line| line.is_timed()).collect::<Vec<_>>(), [false, true, false]);
        assert!(lines[1].again().starts_with("[1:60] -A FWKNOP_INPUT -s 10.1.1.5/32 "));
        assert!(saved.has("FWKNOP_INPUT") && !saved.has("FWKNOP_OUTPUT"));
        let row = super::super::rules::tests::chains().input;
        assert_eq!((saved.jumps(&row), saved.is_used_elsewhere(&row)), (1, false));
        let more = format!("{text}-A INPUT -i eth1 -j FWKNOP_INPUT\n");
        assert!(Saved::read(&more).is_used_elsewhere(&row));
    }
}
