//! The old x_tables (iptables-legacy), which nf_tables' netlink does not know: read from the text of
//! `iptables-legacy-save`, into the same expressions, so that one walk does for both.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::expr::{CmpOp, Data, Expr, MetaKey, PayloadBase, Register, RuleVerdict};
use super::xt::{Multiport, Xt, XtTarget};
use super::{Base, Chain, Held, Hook, Rule, Ruleset, Table, TableFamily};

/// The register that each condition uses for itself.
const REG: Register = Register(1);

impl Ruleset {
    /// Adds the tables in the output of `iptables-legacy-save` (family `Ip`) or `ip6tables-legacy-save` (`Ip6`).
    pub fn add_legacy(&mut self, family: TableFamily, saved: &str) {
        let mut table: Option<Table> = None;
        for line in saved.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = Some(empty(family, name));
            } else if line == "COMMIT" {
                self.tables.extend(table.take());
            } else if let Some(table) = table.as_mut() {
                match line.strip_prefix(':') {
                    Some(declared) => table.chains.extend(chain(&table.name, declared)),
                    None => append(table, line),
                }
            }
        }
    }
}

fn empty(family: TableFamily, name: &str) -> Table {
    Table {
        family,
        name: name.to_owned(),
        held: Held::Legacy,
        dormant: false,
        owner: None,
        comment: None,
        chains: Vec::new(),
        sets: Vec::new(),
    }
}

/// `INPUT DROP [0:0]`; a chain without a policy has "-".
fn chain(table: &str, declared: &str) -> Option<Chain> {
    let mut words = declared.split(' ');
    let (name, policy) = (words.next()?, words.next()?);
    let hook = match name {
        "PREROUTING" => Some(Hook::Prerouting),
        "INPUT" => Some(Hook::Input),
        "FORWARD" => Some(Hook::Forward),
        "OUTPUT" => Some(Hook::Output),
        "POSTROUTING" => Some(Hook::Postrouting),
        _ => None,
    };
    // enum nf_ip_hook_priorities
    let priority = match table {
        "raw" => -300,
        "mangle" => -150,
        "nat" => -100,
        "security" => 50,
        _ => 0,
    };
    let base = hook.filter(|_| policy != "-").map(|hook| Base {
        kind: if table == "nat" { "nat" } else { "filter" }.to_owned(),
        hook,
        priority,
        drops: policy == "DROP",
        devices: Vec::new(),
    });
    Some(Chain { name: name.to_owned(), handle: 0, base, comment: None, rules: Vec::new() })
}

fn append(table: &mut Table, line: &str) {
    let words = split(line);
    let [add, name, rest @ ..] = words.as_slice() else { return };
    if add != "-A" {
        return;
    }
    let Parsed { exprs, comment } = parse(table.family, rest);
    let rule = Rule { handle: 0, comment, exprs, written: Some(line.to_owned()) };
    if let Some(chain) = table.chains.iter_mut().find(|c| c.name == *name) {
        chain.rules.push(rule);
    }
}

/// Words as iptables-save quotes them.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                word.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            _ => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[derive(Default)]
struct Parsed {
    exprs: Vec<Expr>,
    comment: Option<String>,
}

fn parse(family: TableFamily, words: &[String]) -> Parsed {
    let mut parsed = Parsed::default();
    let mut words = words.iter().map(String::as_str).peekable();
    let mut not = false;
    let mut module = "";
    while let Some(word) = words.next() {
        if word == "!" {
            not = true;
            continue;
        }
        let mut argument = || words.next_if(|w| !w.starts_with('-') && *w != "!").unwrap_or("");
        match word {
            "-m" => module = argument(),
            "--comment" => parsed.comment = Some(argument().to_owned()),
            "-j" => parsed.exprs.extend(target(argument())),
            "-g" => parsed.exprs.push(verdict(RuleVerdict::Goto(argument().to_owned()))),
            "--to-ports" | "--to-destination" => readdress(&mut parsed.exprs, argument()),
            // What refines a target or a module that is judged as a whole.
            "--limit" | "--limit-burst" => {
                let _ = argument();
                parsed.exprs.push(Expr::Xt(Xt::Mostly(module.to_owned())));
            }
            "--reject-with" | "--log-prefix" | "--log-level" | "--tcp-flags" | "--to-source" => {
                let _ = argument();
                if word == "--tcp-flags" {
                    let _ = argument();
                    parsed.exprs.push(Expr::Xt(Xt::Other("tcp flags".to_owned())));
                }
            }
            _ => parsed.exprs.extend(condition(family, word, argument(), not, module)),
        }
        not = false;
    }
    parsed
}

/// One condition; what we do not know becomes "perhaps".
fn condition(family: TableFamily, word: &str, argument: &str, not: bool, module: &str) -> Vec<Expr> {
    let known = match word {
        "-p" => protocol(argument).map(|number| meta(MetaKey::L4Proto, &[number], not)),
        "-i" => Some(interface(MetaKey::IifName, argument, not)),
        "-o" => Some(interface(MetaKey::OifName, argument, not)),
        "-s" => address(family, argument, true, not),
        "-d" => address(family, argument, false, not),
        "--dport" => range(argument).map(|range| port(2, range, not)),
        "--sport" => range(argument).map(|range| port(0, range, not)),
        "--dports" | "--sports" | "--ports" => multiport(word, argument, not),
        "--ctstate" | "--state" => Some(vec![state(argument, not)]),
        "--dst-type" if argument == "LOCAL" => {
            Some(vec![Expr::Xt(Xt::AddrType { source: 0, destination: 1 << 2, flags: u32::from(not) << 1 })])
        }
        _ => None,
    };
    known.unwrap_or_else(|| {
        let name = if module.is_empty() { word } else { module };
        vec![Expr::Xt(Xt::Other(name.to_owned()))]
    })
}

fn protocol(word: &str) -> Option<u8> {
    match word {
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmp" => Some(1),
        "ipv6-icmp" | "icmpv6" => Some(58),
        other => other.parse().ok(),
    }
}

fn meta(key: MetaKey, value: &[u8], not: bool) -> Vec<Expr> {
    vec![Expr::Meta { key, dreg: REG }, cmp(value.to_vec(), not)]
}

/// `eth0`, or `eth+` for all that begin so.
fn interface(key: MetaKey, name: &str, not: bool) -> Vec<Expr> {
    match name.strip_suffix('+') {
        Some(beginning) => meta(key, beginning.as_bytes(), not),
        None => meta(key, &[name.as_bytes(), &[0]].concat(), not),
    }
}

fn address(family: TableFamily, text: &str, source: bool, not: bool) -> Option<Vec<Expr>> {
    let (address, mask) = text.split_once('/').unwrap_or((text, ""));
    let (bytes, offset) = match (family, source) {
        (TableFamily::Ip, true) => (address.parse::<Ipv4Addr>().ok()?.octets().to_vec(), 12),
        (TableFamily::Ip, false) => (address.parse::<Ipv4Addr>().ok()?.octets().to_vec(), 16),
        (_, true) => (address.parse::<Ipv6Addr>().ok()?.octets().to_vec(), 8),
        (_, false) => (address.parse::<Ipv6Addr>().ok()?.octets().to_vec(), 24),
    };
    let len = u32::try_from(bytes.len()).ok()?;
    let ones = if mask.is_empty() { len * 8 } else { mask.parse().ok()? };
    let mask: Vec<u8> = (0..len).map(|i| ones_byte(ones.saturating_sub(i * 8).min(8))).collect();
    Some(vec![
        Expr::Payload { base: PayloadBase::Network, offset, len, dreg: REG },
        Expr::Bitwise { sreg: REG, dreg: REG, len, mask, xor: vec![0; bytes.len()] },
        cmp(bytes, not),
    ])
}

fn ones_byte(ones: u32) -> u8 {
    u8::MAX.checked_shl(8 - ones).unwrap_or(0)
}

fn cmp(value: Vec<u8>, not: bool) -> Expr {
    Expr::Cmp { op: if not { CmpOp::Ne } else { CmpOp::Eq }, sreg: REG, value }
}

/// `22` or `1000:2000`.
fn range(text: &str) -> Option<(u16, u16)> {
    match text.split_once(':') {
        None => text.parse().ok().map(|port| (port, port)),
        Some((first, last)) => Some((first.parse().unwrap_or(0), last.parse().unwrap_or(u16::MAX))),
    }
}

fn port(offset: u32, (first, last): (u16, u16), not: bool) -> Vec<Expr> {
    let from = first.to_be_bytes().to_vec();
    vec![
        Expr::Payload { base: PayloadBase::Transport, offset, len: 2, dreg: REG },
        Expr::Range { inside: !not, sreg: REG, from, to: last.to_be_bytes().to_vec() },
    ]
}

fn multiport(word: &str, list: &str, inverted: bool) -> Option<Vec<Expr>> {
    let ranges = list.split(',').map(range).collect::<Option<Vec<_>>>()?;
    let (source, destination) = (word != "--dports", word != "--sports");
    Some(vec![Expr::Xt(Xt::Multiport(Multiport { source, destination, ranges, inverted }))])
}

fn state(list: &str, not: bool) -> Expr {
    let has = |word: &str| list.split(',').any(|w| w == word) != not;
    let words = format!("{}--ctstate {list}", if not { "! " } else { "" });
    Expr::Xt(Xt::State { new: has("NEW"), untracked: has("UNTRACKED"), words })
}

fn verdict(verdict: RuleVerdict) -> Expr {
    Expr::Immediate { dreg: 0, data: Data::Verdict(verdict) }
}

fn target(name: &str) -> Option<Expr> {
    Some(match name {
        "" => return None,
        "ACCEPT" => verdict(RuleVerdict::Accept),
        "DROP" => verdict(RuleVerdict::Drop),
        "RETURN" => verdict(RuleVerdict::Return),
        "NOTRACK" => Expr::Notrack,
        // Targets are all upper case, and so are some people's chains: the known ones first.
        _ => match XtTarget::decode(name, 0, &[]) {
            XtTarget::Other(chain) if !is_target(&chain) => verdict(RuleVerdict::Jump(chain)),
            known @ (XtTarget::Reject
            | XtTarget::Destination(_)
            | XtTarget::Redirect(_)
            | XtTarget::Note(_)
            | XtTarget::Other(_)) => Expr::XtTarget(known),
        },
    })
}

fn is_target(name: &str) -> bool {
    ["CT", "TPROXY", "NFQUEUE", "QUEUE", "SYNPROXY", "TARPIT", "NETMAP", "CLUSTERIP", "IDLETIMER"]
        .contains(&name)
}

/// `10.0.0.2:80` or `8080`, said after the target.
fn readdress(exprs: &mut [Expr], to: &str) {
    let port = to.rsplit(':').next().and_then(|p| p.split('-').next()).and_then(|p| p.parse().ok());
    if let Some(Expr::XtTarget(XtTarget::Redirect(at) | XtTarget::Destination(at))) = exprs.last_mut() {
        *at = port;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"# Generated by iptables-save v1.8.9
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:LOGGING - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -s 10.0.0.0/8 ! -d 192.0.2.1/32 -p tcp -m tcp --dport 22 -m comment --comment "for \"us\"" -j ACCEPT
-A INPUT -j LOGGING
COMMIT
"#;

    #[test]
    fn reads_what_save_writes() {
        let mut ruleset = Ruleset::default();
        ruleset.add_legacy(TableFamily::Ip, SAVED);
        let table = &ruleset.tables[0];
        assert_eq!((table.name.as_str(), table.held), ("filter", Held::Legacy));
        let input = table.chain("INPUT").unwrap();
        assert!(input.base.as_ref().unwrap().drops);
        assert!(table.chain("LOGGING").unwrap().base.is_none());
        assert_eq!(input.rules[1].comment.as_deref(), Some("for \"us\""));
        assert_eq!(input.rules[1].exprs.len(), 3 + 3 + 2 + 2 + 1);
        assert_eq!(input.rules[2].exprs, [verdict(RuleVerdict::Jump("LOGGING".into()))]);
    }

    #[test]
    fn masks_and_ranges() {
        assert_eq!((ones_byte(0), ones_byte(3), ones_byte(8)), (0, 0xe0, 0xff));
        assert_eq!(range("1000:"), Some((1000, 65535)));
        assert_eq!(range("http"), None);
    }
}
