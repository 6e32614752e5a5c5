//! What goes into `iptables-restore`, and what comes out of `iptables-save`. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use portunus_model::{PortSpec, Proto, Stance, Unix};

use super::{Door, Doors};

/// Our chain at the head of INPUT.
const INPUT: &str = "PORTUNUS_INPUT";
/// The open doors.
const OPEN: &str = "PORTUNUS_OPEN";
/// Who is cut off, also where a connection lives.
const CUT: &str = "PORTUNUS_CUT";
/// A chain that exists only within one transaction.
const TRIAL: &str = "PORTUNUS_TRIAL";
/// The jump, as iptables-save prints it: one text for adding, finding and deleting it.
const JUMP: &str = "INPUT -m comment --comment portunus -j PORTUNUS_INPUT";
/// All of them; the first reaches the others.
const CHAINS: [&str; 3] = [INPUT, CUT, OPEN];
/// What every rule of ours carries.
const MARK: &str = "-m comment --comment portunus";

/// What is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The jump is gone, or something stands before it.
    Jump,
    /// One of our chains is gone or empty.
    Chain(&'static str),
    /// A door is not there.
    Door(IpAddr, PortSpec),
    /// A door is there that nobody opened.
    Stray(IpAddr, PortSpec),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump => f.write_str("our jump is not the first rule of INPUT"),
            Self::Chain(name) => write!(f, "chain {name} is gone"),
            Self::Door(address, port) => write!(f, "the door {port} for {address} is not there"),
            Self::Stray(address, port) => write!(f, "the door {port} for {address} is there unasked"),
        }
    }
}

/// Everything of ours, whatever was there before; `saved` is what stands there now.
pub(super) fn install(stance: &Stance, saved: &str, doors: &Doors, timed: bool) -> String {
    let mut text = format!("*filter\n:{INPUT} - [0:0]\n:{CUT} - [0:0]\n:{OPEN} - [0:0]\n");
    structure(stance, &mut text);
    text += &rules(doors, timed);
    // Moved to the head, should somebody's rules have come before it.
    if !stands_first(saved) {
        let jumps = saved.lines().filter(|line| line.strip_prefix("-A ") == Some(JUMP)).count();
        text += &format!("-D {JUMP}\n").repeat(jumps);
        text += &format!("-I {JUMP}\n");
    }
    text + "COMMIT\n"
}

/// The chains of open doors and of who is cut off, written anew as a whole.
pub(super) fn doors_only(doors: &Doors, timed: bool) -> String {
    let rules = rules(doors, timed);
    format!("*filter\n:{CUT} - [0:0]\n:{OPEN} - [0:0]\n{rules}COMMIT\n")
}

/// Takes everything of ours away; `None` when there is nothing.
pub(super) fn teardown(saved: &str) -> Option<String> {
    let chains: Vec<&str> = CHAINS.into_iter().filter(|name| has_chain(saved, name)).collect();
    if chains.is_empty() {
        return None;
    }
    let jumps = saved.lines().filter(|line| line.strip_prefix("-A ") == Some(JUMP)).count();
    let mut text = "*filter\n".to_owned();
    text += &format!("-D {JUMP}\n").repeat(jumps);
    for verb in ["-F", "-X"] {
        for chain in &chains {
            text += &format!("{verb} {chain}\n");
        }
    }
    Some(text + "COMMIT\n")
}

/// Uses xt_time, and leaves nothing behind.
pub(super) fn time_trial() -> String {
    format!(
        "*filter\n:{TRIAL} - [0:0]\n-A {TRIAL} -m time --datestop 2038-01-01T00:00:00 -j RETURN\n-F {TRIAL}\n-X {TRIAL}\nCOMMIT\n"
    )
}

/// The same with a comment (xt_comment).
pub(super) fn comment_trial() -> String {
    format!(
        "*filter\n:{TRIAL} - [0:0]\n-A {TRIAL} -m comment --comment {TRIAL} -j RETURN\n-F {TRIAL}\n-X {TRIAL}\nCOMMIT\n"
    )
}

/// The same without xt_time.
pub(super) fn plain_trial() -> String {
    format!("*filter\n:{TRIAL} - [0:0]\n-A {TRIAL} -j RETURN\n-F {TRIAL}\n-X {TRIAL}\nCOMMIT\n")
}

/// Whether all of ours stands: the jump first, the chains, exactly these doors.
pub(super) fn check(saved: &str, wanted: &Doors) -> Result<(), Broken> {
    for chain in CHAINS {
        if !has_chain(saved, chain) {
            return Err(Broken::Chain(chain));
        }
    }
    // Somebody may have flushed it without removing it.
    if !saved.lines().any(|line| line.starts_with(&format!("-A {INPUT} "))) {
        return Err(Broken::Chain(INPUT));
    }
    if !stands_first(saved) {
        return Err(Broken::Jump);
    }
    let key = |door: &Door| (door.address, door.port, door.destination, door.from, door.until.as_secs());
    let stand = doors(saved);
    for (there, wanted) in [(&stand.open, &wanted.open), (&stand.cut, &wanted.cut)] {
        let there: BTreeSet<_> = there.iter().map(key).collect();
        let wanted: BTreeSet<_> = wanted.iter().map(key).collect();
        if let Some(&(address, port, ..)) = wanted.difference(&there).next() {
            return Err(Broken::Door(address, port));
        }
        if let Some(&(address, port, ..)) = there.difference(&wanted).next() {
            return Err(Broken::Stray(address, port));
        }
    }
    Ok(())
}

/// The doors in what iptables-save printed.
pub(super) fn doors(saved: &str) -> Doors {
    let of = |chain: &str| {
        let ours = format!("-A {chain} ");
        saved.lines().filter_map(|line| door(line.strip_prefix(&ours)?)).collect()
    };
    Doors { open: of(OPEN), cut: of(CUT) }
}

/// Accepts that let live sessions and knocks in, then the doors, then the drops.
fn structure(stance: &Stance, text: &mut String) {
    let mut add = |rule: String| *text += &format!("-A {INPUT} {rule}\n");
    add(format!("-i lo {MARK} -j ACCEPT"));
    add(format!("{MARK} -j {CUT}"));
    add(format!("-m conntrack --ctstate RELATED,ESTABLISHED {MARK} -j ACCEPT"));
    // No interface named: any.
    let any = [String::new()];
    let named: Vec<String> = stance.interfaces.iter().map(|name| format!("-i {name} ")).collect();
    for interface in if named.is_empty() { &any[..] } else { &named } {
        if let Some(port) = stance.knock_port {
            add(format!("{interface}-p udp -m udp --dport {port} {MARK} -j ACCEPT"));
        }
        add(format!("{interface}{MARK} -j {OPEN}"));
        for &port in &stance.protected {
            add(format!("{interface}{} {MARK} -j DROP", port_match(port)));
        }
    }
}

fn rules(doors: &Doors, timed: bool) -> String {
    let cut = doors.cut.iter().map(|door| rule(CUT, door, "DROP", timed));
    cut.chain(doors.open.iter().map(|door| rule(OPEN, door, "ACCEPT", timed))).collect()
}

/// One open door, or one that is cut off.
fn rule(chain: &str, door: &Door, verdict: &str, timed: bool) -> String {
    let Door { address, port, destination, from, until } = door;
    let to = destination.map(|destination| format!(" -d {destination}")).unwrap_or_default();
    let time = if timed { time_match(*until) } else { String::new() };
    format!(
        "-A {chain} -s {address}{to} {} -m comment --comment \"portunus exp_{}\"{time} -j {verdict}\n",
        ports_match(*port, *from),
        until.as_secs()
    )
}

/// The kernel's own end of a rule.
pub(super) fn time_match(until: Unix) -> String {
    format!(" -m time --datestop {}", date(last_second(until)))
}

fn port_match(port: PortSpec) -> String {
    ports_match(port, None)
}

fn ports_match(port: PortSpec, from: Option<u16>) -> String {
    let proto = port.proto().as_str();
    let range =
        if port.is_single() { port.first().to_string() } else { format!("{}:{}", port.first(), port.last()) };
    let from = from.map(|from| format!("--sport {from} ")).unwrap_or_default();
    format!("-p {proto} -m {proto} {from}--dport {range}")
}

/// xt_time lets its last second pass whole: the one in which the end lies, but for an end on its very beginning.
fn last_second(until: Unix) -> i64 {
    let secs = until.as_secs();
    // Its dates are 32 bits wide, without a sign.
    (if until == Unix::from_secs(secs) { secs - 1 } else { secs }).clamp(0, i64::from(u32::MAX))
}

/// `2027-01-31T23:59:59`, in UTC, as `--datestop` takes it.
fn date(secs: i64) -> String {
    let (days, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Days since 1970 to a date of the Gregorian calendar, by eras of 400 years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + carry, month, day)
}

/// Reads back what [`rule`] wrote, as the tools print it.
fn door(rule: &str) -> Option<Door> {
    let mut words = rule.split(' ');
    let (mut address, mut destination, mut proto, mut ports, mut until) = (None, None, None, None, None);
    let mut from = None;
    while let Some(word) = words.next() {
        match word {
            "-s" => address = words.next()?.split('/').next()?.parse::<IpAddr>().ok(),
            "-d" => destination = words.next()?.split('/').next()?.parse::<IpAddr>().ok(),
            "-p" => {
                proto = match words.next()? {
                    "tcp" => Some(Proto::Tcp),
                    "udp" => Some(Proto::Udp),
                    _ => None,
                };
            }
            "--dport" => ports = words.next(),
            // A range of them is none of ours: then the rule is none.
            "--sport" => from = Some(words.next()?.parse::<u16>().ok()?),
            _ => {
                let secs = word.strip_prefix("exp_").map(|secs| secs.trim_end_matches('"'));
                until = until.or(secs.and_then(|secs| secs.parse().ok()).map(Unix::from_secs));
            }
        }
    }
    let ports = ports?;
    let (first, last) = ports.split_once(':').unwrap_or((ports, ports));
    let port = PortSpec::range(proto?, first.parse().ok()?, last.parse().ok()?).ok()?;
    Some(Door { address: address?, port, destination, from, until: until? })
}

fn has_chain(saved: &str, name: &str) -> bool {
    saved.lines().any(|line| line.strip_prefix(':').is_some_and(|rest| rest.split(' ').next() == Some(name)))
}

/// Whether our jump is INPUT's first rule.
fn stands_first(saved: &str) -> bool {
    saved.lines().find_map(|line| line.strip_prefix("-A ").filter(|rule| rule.starts_with("INPUT ")))
        == Some(JUMP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(until: Unix) -> Door {
        let port = PortSpec::single(Proto::Tcp, 22).unwrap();
        Door { address: "198.51.100.9".parse().unwrap(), port, destination: None, from: None, until }
    }

    fn open(door: Door) -> Doors {
        Doors { open: vec![door], ..Doors::default() }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01T00:00:00");
        assert_eq!(date(951_782_399), "2000-02-28T23:59:59");
        assert_eq!(date(1_795_225_556), "2026-11-21T01:45:56");
        assert_eq!(date(i64::from(u32::MAX)), "2106-02-07T06:28:15");
    }

    #[test]
    fn the_kernel_never_closes_early_and_less_than_a_second_late() {
        assert_eq!(last_second(Unix::from_nanos(10_400_000_000)), 10);
        assert_eq!(last_second(Unix::from_secs(10)), 9);
    }

    #[test]
    fn reads_what_it_wrote() {
        let door = ssh(Unix::from_secs(1_795_225_556));
        let text = doors_only(&open(door), true);
        assert_eq!(doors(&text), open(door));
        let cut = Doors { cut: vec![door], ..Doors::default() };
        assert_eq!(doors(&doors_only(&cut, true)), cut);
        assert!(text.contains("--datestop 2026-11-21T01:45:55"), "{text}");
        assert!(!doors_only(&open(door), false).contains("-m time"));
        let narrow = Door { destination: Some("198.51.100.1".parse().unwrap()), ..door };
        assert_eq!(doors(&doors_only(&open(narrow), true)), open(narrow));
        let flow = Door { from: Some(40_001), ..door };
        assert_eq!(doors(&doors_only(&open(flow), true)), open(flow));
        assert!(doors_only(&open(flow), true).contains("-p tcp -m tcp --sport 40001 --dport 22 "));
    }

    #[test]
    fn a_jump_that_is_not_first_is_moved() {
        let stance = Stance::default();
        let first = format!(":INPUT DROP [0:0]\n-A {JUMP}\n-A INPUT -i lo -j ACCEPT\n");
        assert!(!install(&stance, &first, &Doors::default(), true).contains("-I INPUT"));
        let second = format!(":INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\n-A {JUMP}\n");
        let text = install(&stance, &second, &Doors::default(), true);
        assert!(text.contains(&format!("-D {JUMP}\n-I {JUMP}\n")), "{text}");
    }
}
