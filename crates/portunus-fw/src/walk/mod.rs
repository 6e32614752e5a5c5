//! Would these rules let a packet in? The ruleset as plain values and a packet's description in, a verdict out.
//!
//! The packet is the first one of a connection from outside to this host. What we cannot know of it (the second
//! field of its TCP header, what a kernel module thinks) is carried as unknown, and where it matters the verdict is
//! [`Verdict::Maybe`]. Pure: nothing here reads the kernel ([`crate::ruleset`] does) or changes it.

mod packet;
mod rule;
mod sets;
mod value;

use std::fmt;
use std::net::IpAddr;

use portunus_model::Proto;

use crate::ruleset::{Base, Chain, Held, Hook, Rule, RuleVerdict, Ruleset, Table, TableFamily};
use packet::Packet;

/// The comment on everything of ours in nftables.
const OUR_COMMENT: &str = "portunus";

/// What our chains in iptables are called, and those that we took over from fwknop; their names begin so.
const OUR_CHAINS: [&str; 2] = ["PORTUNUS_", "FWKNOP_"];

/// Rules evaluated for one packet at most: chains may branch without bound, our time may not.
const MOST_RULES: u32 = 1_000_000;

/// The two internets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Where a packet says it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Some address on the internet that no rule names.
    Outside,
    /// Like `Outside`, but with a grant of ours: it is in our sets.
    Granted,
    /// Any address at all, also one that a rule names.
    Anyone,
    /// This one.
    At(IpAddr),
}

/// An interface that packets come in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index, where it is known.
    pub index: Option<u32>,
}

/// The packet to think of: the first of a connection, or a lone datagram, to this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// IPv4 or IPv6.
    pub version: IpVersion,
    /// TCP or UDP.
    pub proto: Proto,
    /// To this port; `None`: to any.
    pub port: Option<u16>,
    /// From there.
    pub source: Source,
    /// To this address of the host; `None`: to any of them.
    pub destination: Option<IpAddr>,
    /// In by this interface; `None`: by any but the loopback.
    pub interface: Option<Interface>,
    /// Through this host to another one, and not to it: its addresses and ports are those after all translations.
    pub through: bool,
}

/// Whether rules of ours count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ours {
    /// As they stand.
    Counted,
    /// As if they were not there.
    Skipped,
}

/// What the rules do with the packet.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It reaches the host's programs.
    Passes,
    /// It does not.
    Dropped(Site),
    /// It depends on what we cannot know.
    Maybe {
        /// Who would drop it.
        dropped_by: Site,
        /// What it depends on.
        because: String,
    },
    /// It is, or may be, sent on to another host or a container: what guards the way *to* this host never sees it.
    Forwarded(Site),
}

impl Verdict {
    /// Where it is dropped, for certain or perhaps.
    #[must_use]
    pub fn dropped_by(&self) -> Option<&Site> {
        match self {
            Self::Passes | Self::Forwarded(_) => None,
            Self::Dropped(site) => Some(site),
            Self::Maybe { dropped_by, .. } => Some(dropped_by),
        }
    }
}

/// A place in the ruleset: a rule, or a base chain's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Through which interface of the kernel the table is held.
    pub held: Held,
    /// The table's family.
    pub family: TableFamily,
    /// The table.
    pub table: String,
    /// The chain that the rule stands in.
    pub chain: String,
    /// The base chain by which the packet came there.
    pub base: String,
    /// That base chain's hook.
    pub hook: Hook,
    /// The rule; `None`: the chain's policy.
    pub rule: Option<SiteRule>,
}

/// A rule, named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRule {
    /// Its handle; 0 in the old x_tables.
    pub handle: u64,
    /// In nft's words, or in those of the program that holds it.
    pub words: String,
}

impl Site {
    fn came_by(&self, table: &Table, chain: &Chain) -> bool {
        (self.family, self.held) == (table.family, table.held)
            && self.table == table.name
            && self.base == chain.name
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let legacy = if self.held == Held::Legacy { "iptables-legacy " } else { "" };
        write!(f, "{legacy}table {} {}, chain {}: ", self.family, self.table, self.chain)?;
        match &self.rule {
            None => f.write_str("policy drop"),
            Some(SiteRule { handle: 0, words }) => write!(f, "rule `{words}`"),
            Some(SiteRule { handle, words }) => write!(f, "rule `{words}` (handle {handle})"),
        }
    }
}

/// What becomes of `probe` among these rules.
pub fn walk(ruleset: &Ruleset, probe: &Probe, ours: Ours) -> Verdict {
    walk_past(ruleset, Packet::new(probe), ours, &[])
}

/// What becomes of a later packet of a connection that began as `probe`, when its grant is over.
pub fn walk_live(ruleset: &Ruleset, probe: &Probe, ours: Ours) -> Verdict {
    let mut packet = Packet::new(probe);
    packet.live = true;
    walk_past(ruleset, packet, ours, &[])
}

/// The rule that sends `probe` on, or may, to another host or a container, where no chain on that way surely drops it: what
/// the chains on the way to this host do with it says nothing then.
#[must_use]
pub fn sent_on(ruleset: &Ruleset, probe: &Probe, ours: Ours) -> Option<Site> {
    let hooks = [Hook::Ingress, Hook::Prerouting];
    let mut walker = Walker { packet: Packet::new(probe), ours, budget: MOST_RULES, doubt: None };
    let mut perhaps = None;
    if walker.hooks(ruleset, &hooks, &[], &mut perhaps).is_some() {
        return None;
    }
    let site = walker.packet.sent_on.clone().or(walker.packet.may_be_sent_on.clone())?;
    walker.packet.sent_on = Some(site.clone());
    let dropped = walker.hooks(ruleset, &[Hook::Forward], &[], &mut perhaps);
    dropped.is_none().then_some(site)
}

/// The port that `probe` has on its way to another host, behind the translation that sends it there. `None`: that cannot be
/// told.
#[must_use]
pub fn port_sent_on(ruleset: &Ruleset, probe: &Probe, ours: Ours) -> Option<u16> {
    let mut walker = Walker { packet: Packet::new(probe), ours, budget: MOST_RULES, doubt: None };
    walker.hooks(ruleset, &[Hook::Ingress, Hook::Prerouting], &[], &mut None);
    walker.packet.port()
}

/// Every place that drops `probe`, in the order in which it would meet them, each with whether it surely does:
/// the second drop matters as soon as somebody mends the first.
#[must_use]
pub fn droppers(ruleset: &Ruleset, probe: &Probe, ours: Ours) -> Vec<(Site, bool)> {
    let mut found: Vec<(Site, bool)> = Vec::new();
    loop {
        let past: Vec<&Site> = found.iter().map(|(site, _)| site).collect();
        match walk_past(ruleset, Packet::new(probe), ours, &past) {
            Verdict::Passes | Verdict::Forwarded(_) => return found,
            Verdict::Dropped(site) => found.push((site, true)),
            Verdict::Maybe { dropped_by, .. } => found.push((dropped_by, false)),
        }
    }
}

/// As [`walk`], as if the base chains by which the packet came to these sites let it pass.
fn walk_past(ruleset: &Ruleset, packet: Packet<'_>, ours: Ours, past: &[&Site]) -> Verdict {
    let through = packet.goes_through();
    let mut walker = Walker { packet, ours, budget: MOST_RULES, doubt: None };
    let mut perhaps: Option<Site> = None;
    let hooks: &[Hook] =
        if through { &[Hook::Forward] } else { &[Hook::Ingress, Hook::Prerouting, Hook::Input] };
    match walker.hooks(ruleset, hooks, past, &mut perhaps) {
        Some(site) => Verdict::Dropped(site),
        None => walker.end(perhaps),
    }
}

/// Whether `rule`, met by `probe`, can drop it or lead it to where it is dropped.
pub(crate) fn can_drop(table: &Table, chain: &Chain, rule: &Rule, probe: &Probe) -> bool {
    let mut walker =
        Walker { packet: Packet::new(probe), ours: Ours::Skipped, budget: MOST_RULES, doubt: None };
    let base = chain.base.as_ref();
    walker.packet.hook = base.map_or(Hook::Input, |b| b.hook);
    let hook = walker.packet.hook;
    let mut fates = Fates::default();
    let at = Place { table, chain, base: &chain.name, hook };
    walker.one(&at, rule, true, 0, &mut fates);
    fates.drop.is_some()
}

/// `NF_IP_PRI_CONNTRACK`: chains before it see no connection state.
const CONNTRACK_PRIORITY: i32 = -200;

/// Base chains at this hook in the order in which packets meet them.
fn chains_at(ruleset: &Ruleset, hook: Hook) -> Vec<(&Table, &Chain, &Base)> {
    let mut found: Vec<_> = ruleset
        .tables
        .iter()
        .filter(|table| !table.dormant)
        .flat_map(|table| table.chains.iter().map(move |chain| (table, chain)))
        .filter_map(|(table, chain)| Some((table, chain, chain.base.as_ref()?)))
        .filter(|(_, _, base)| base.hook == hook)
        .collect();
    found.sort_by_key(|(_, _, base)| base.priority);
    found
}

/// What may become of a packet in a chain; more than one can be true when we do not know.
#[derive(Debug, Default)]
struct Fates {
    accept: bool,
    drop: Option<Site>,
    /// Every packet that comes here is dropped there.
    drop_sure: bool,
    /// It comes back out of the chain.
    back: bool,
}

impl Fates {
    /// A rule that surely drops is named before one that may.
    fn blame(&mut self, sure: bool, site: impl FnOnce() -> Site) {
        if self.drop.is_none() || (sure && !self.drop_sure) {
            self.drop = Some(site());
            self.drop_sure = sure;
        }
    }

    /// What came of a chain that was jumped to.
    fn absorb(&mut self, inner: Self) -> bool {
        self.accept |= inner.accept;
        if let Some(site) = inner.drop {
            self.blame(inner.drop_sure, || site);
        }
        inner.back
    }
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'a Table,
    chain: &'a Chain,
    base: &'a str,
    hook: Hook,
}

impl Place<'_> {
    fn site(&self, rule: Option<&Rule>) -> Site {
        Site {
            held: self.table.held,
            family: self.table.family,
            table: self.table.name.clone(),
            chain: self.chain.name.clone(),
            base: self.base.to_owned(),
            hook: self.hook,
            rule: rule.map(|r| SiteRule { handle: r.handle, words: r.words(self.table) }),
        }
    }
}

struct Walker<'p> {
    packet: Packet<'p>,
    ours: Ours,
    budget: u32,
    /// The first thing that we did not know and that mattered.
    doubt: Option<String>,
}

impl Walker<'_> {
    /// By every base chain of these hooks; who surely drops the packet. `perhaps`: the first who may.
    fn hooks(
        &mut self,
        ruleset: &Ruleset,
        hooks: &[Hook],
        past: &[&Site],
        perhaps: &mut Option<Site>,
    ) -> Option<Site> {
        for &hook in hooks {
            // A packet whose destination was changed goes another way; the forward chains decide there.
            let hook =
                if hook == Hook::Input && self.packet.sent_on.is_some() { Hook::Forward } else { hook };
            for (table, chain, base) in chains_at(ruleset, hook) {
                // Only a connection's first packet comes by chains that translate.
                if self.packet.live && base.kind == "nat" {
                    continue;
                }
                let Some(sure) = self.packet.enters(table.family, base) else { continue };
                if self.is_skipped(table) || past.iter().any(|site| site.came_by(table, chain)) {
                    continue;
                }
                self.packet.hook = hook;
                self.packet.tracked = hook != Hook::Ingress && base.priority > CONNTRACK_PRIORITY;
                let fates = self.base(table, chain, base, sure);
                match (fates.drop, fates.accept) {
                    (Some(site), false) if sure => return Some(site),
                    (Some(site), _) => {
                        perhaps.get_or_insert(site);
                    }
                    (None, _) => {}
                }
            }
        }
        None
    }

    fn base(&mut self, table: &Table, chain: &Chain, base: &Base, sure: bool) -> Fates {
        let at = Place { table, chain, base: &chain.name, hook: base.hook };
        let mut fates = self.chain(&at, sure, 0);
        if fates.back && base.drops {
            fates.blame(sure, || at.site(None));
        } else if fates.back {
            fates.accept = true;
        }
        if !sure {
            self.doubt("the interface that it comes in by");
        }
        fates
    }

    fn chain(&mut self, at: &Place<'_>, sure: bool, depth: u8) -> Fates {
        let mut fates = Fates::default();
        for rule in &at.chain.rules {
            if !self.one(at, rule, sure, depth, &mut fates) {
                return fates;
            }
        }
        fates.back = true;
        fates
    }

    /// One rule; whether a packet may go on behind it.
    fn one(&mut self, at: &Place<'_>, rule: &Rule, sure: bool, depth: u8, fates: &mut Fates) -> bool {
        if self.ours == Ours::Skipped && rule.comment.as_deref().is_some_and(is_ours) {
            return true;
        }
        if self.budget == 0 {
            self.doubt("a ruleset too branched to walk");
            fates.accept = true;
            fates.blame(false, || at.site(Some(rule)));
            return true;
        }
        self.budget -= 1;
        let met = self.rule(at.table, rule, sure);
        if let Some(doubt) = met.doubt {
            self.doubt(&doubt);
        }
        if let Some(to) = met.sent_on {
            self.packet.send_on(to, at.site(Some(rule)), sure && !met.may_fall);
        }
        let mut falls = met.may_fall;
        for verdict in met.verdicts {
            falls |= self.follow(at, rule, &verdict, sure && !met.may_fall, depth, fates);
        }
        falls
    }

    /// What a verdict leads to; whether the packet may come back to behind this rule.
    fn follow(
        &mut self,
        at: &Place<'_>,
        rule: &Rule,
        verdict: &RuleVerdict,
        sure: bool,
        depth: u8,
        fates: &mut Fates,
    ) -> bool {
        match verdict {
            RuleVerdict::Accept => fates.accept = true,
            RuleVerdict::Drop | RuleVerdict::Stolen => fates.blame(sure, || at.site(Some(rule))),
            RuleVerdict::Continue | RuleVerdict::Break => return true,
            RuleVerdict::Return => fates.back = true,
            RuleVerdict::Jump(name) => {
                let inner = self.called(at, name, sure, depth);
                return fates.absorb(inner);
            }
            RuleVerdict::Goto(name) => {
                let inner = self.called(at, name, sure, depth);
                fates.back |= fates.absorb(inner);
            }
            RuleVerdict::Queue | RuleVerdict::Other(_) => {
                self.doubt("the program that a rule queues packets to");
                fates.accept = true;
                fates.blame(false, || at.site(Some(rule)));
            }
        }
        false
    }

    fn called(&mut self, at: &Place<'_>, name: &str, sure: bool, depth: u8) -> Fates {
        let back = Fates { back: true, ..Fates::default() };
        if OUR_CHAINS.iter().any(|ours| name.starts_with(ours)) {
            if self.ours == Ours::Skipped {
                return back;
            }
            if self.packet.granted() {
                return Fates { accept: true, ..Fates::default() };
            }
        }
        // The kernel allows 16 levels (NFT_JUMP_STACK_SIZE) and no loops.
        let Some(chain) = at.table.chain(name).filter(|_| depth < 16) else { return back };
        if self.ours == Ours::Skipped && is_our_chain(chain) {
            return back;
        }
        self.chain(&Place { chain, ..*at }, sure, depth + 1)
    }

    fn is_skipped(&self, table: &Table) -> bool {
        self.ours == Ours::Skipped && is_our_table(table)
    }

    fn doubt(&mut self, because: &str) {
        if self.doubt.is_none() {
            self.doubt = Some(because.to_owned());
        }
    }

    fn end(self, perhaps: Option<Site>) -> Verdict {
        // What may go past every chain on the way to this host is not guarded by any of them.
        match (perhaps, self.packet.sent_on.or(self.packet.may_be_sent_on)) {
            (Some(dropped_by), _) => {
                let because = self.doubt.unwrap_or_else(|| "what the packet carries".to_owned());
                Verdict::Maybe { dropped_by, because }
            }
            (None, Some(site)) => Verdict::Forwarded(site),
            (None, None) => Verdict::Passes,
        }
    }
}

/// Whether a comment marks something as ours.
pub(crate) fn is_ours(comment: &str) -> bool {
    comment == OUR_COMMENT || comment.strip_prefix(OUR_COMMENT).is_some_and(|rest| rest.starts_with(' '))
}

/// Whether this is the table of our own: by its comment too, as others may like the name.
pub(crate) fn is_our_table(table: &Table) -> bool {
    table.family == TableFamily::Inet
        && table.name == OUR_COMMENT
        && is_marked(table.comment.as_deref(), table.chains.iter().flat_map(|chain| &chain.rules))
}

/// Whether this is a chain of ours in a table of the admin's.
pub(crate) fn is_our_chain(chain: &Chain) -> bool {
    is_marked(chain.comment.as_deref(), chain.rules.iter())
}

/// By its comment; where a listing that was loaded again has lost it (an old nft writes none for tables and chains), by
/// those of all its rules.
fn is_marked<'r>(comment: Option<&str>, mut rules: impl Iterator<Item = &'r Rule>) -> bool {
    let ours = |rule: &Rule| rule.comment.as_deref().is_some_and(is_ours);
    comment.map_or_else(|| rules.next().is_some_and(ours) && rules.all(ours), is_ours)
}
