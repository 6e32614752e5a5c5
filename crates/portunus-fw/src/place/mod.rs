//! Where we can stand in the rules that are there, and which rule would still keep a proven client out.
//!
//! An accept in one table cannot overrule a drop in another, so the answer depends on who drops the ports today
//! ([`find`]). Pure: a [`Ruleset`] in, a [`Finding`] out; nothing is changed.

mod mend;
mod neighbours;
pub(crate) mod taken;

use std::fmt;

use portunus_model::{ChainRow, Place, PortSpec, Proto, Seat};

use crate::ruleset::{Chain, Held, Hook, Rule, Ruleset, Table, TableFamily};
use crate::walk::{self, Interface, IpVersion, Ours, Probe, Site, Source, Verdict};

pub use neighbours::{Keeper, Neighbour};
pub use taken::Taken;

/// Beyond so many interfaces a packet "by any of them" is thought of.
const MOST_INTERFACES: usize = 16;

/// Where a chain of the admin's can have a seat.
const SEATED: [Hook; 3] = [Hook::Input, Hook::Forward, Hook::Output];

/// Ports of a range that are all tried; of a wider one the ends and the middle.
const NARROW: u16 = 16;

/// What is asked of the rules.
#[derive(Debug, Clone, Default)]
pub struct Wish<'a> {
    /// The doors: closed for strangers, open for who has a grant.
    pub doors: &'a [PortSpec],
    /// Whether any port may be opened besides.
    pub any_port: bool,
    /// Whether something may be let through, to another host.
    pub through: bool,
    /// The UDP port that everybody must be able to knock on.
    pub knock_port: Option<u16>,
    /// The interfaces that matter; empty: all.
    pub interfaces: &'a [Interface],
    /// The place that somebody has decided on; `None`: find one.
    pub place: Option<&'a Place>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where to stand: as wished, or the best there is.
    pub place: Place,
    /// Each door as it is today, without us.
    pub doors: Vec<Door>,
    /// What would still keep a granted packet, or a knock, out when we stand there.
    pub blocked: Vec<Blocked>,
    /// Why we cannot stand in a wished place at all.
    pub refused: Vec<SeatError>,
    /// Who else has rules here.
    pub neighbours: Vec<Neighbour>,
}

/// A door as it is today for a stranger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The port.
    pub port: PortSpec,
    /// Over IPv4 or IPv6.
    pub version: IpVersion,
    /// The most open of what becomes of a packet by any of the interfaces.
    pub today: Verdict,
}

/// What must get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A knock, to this UDP port.
    Knock(u16),
    /// A packet of who has a grant.
    Door(PortSpec),
    /// The same, to a port that is no door by name.
    AnyPort(Proto),
    /// A packet of who has a grant, to another host.
    Through(Proto),
    /// A later packet of a connection, whose grant may be over.
    Live(PortSpec),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Knock(port) => write!(f, "a knock to {port}/udp"),
            Self::Door(port) => write!(f, "a granted packet to {port}"),
            Self::AnyPort(proto) => write!(f, "a granted {} packet", proto.as_str()),
            Self::Live(port) => write!(f, "a live connection to {port}"),
            Self::Through(proto) => write!(f, "a granted {} packet to another host", proto.as_str()),
        }
    }
}

/// Something that would still be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// What.
    pub wanted: Wanted,
    /// Over IPv4 or IPv6.
    pub version: IpVersion,
    /// By which table, chain and rule.
    pub by: Site,
    /// Whether it surely is, or it depends on what we cannot know.
    pub certain: bool,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let may = if self.certain { "is" } else { "may be" };
        write!(f, "{} over {} {may} dropped by {}: {}", self.wanted, self.version, self.by, self.mend)
    }
}

/// Why we do not stand in a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeatError {
    /// There is no such chain.
    #[error("there is no chain {chain} in table {family} {table}: load the rules first, or change `place`", chain = .0.chain, family = .0.family.as_str(), table = .0.table)]
    Missing(Seat),
    /// It is no filter chain that packets to us, through us or from us come by.
    #[error("chain {chain} of table {family} {table} is not a filter chain of the input, forward or output hook: name one that is in `place`", chain = .0.chain, family = .0.family.as_str(), table = .0.table)]
    NotInput(Seat),
    /// Somebody's tools manage it, and would lose or widen our rule.
    #[error("table {family} {table} is managed by {keeper}, which would lose our rule or save it as something else: use place = \"{instead}\"", family = .seat.family.as_str(), table = .seat.table, instead = .keeper.instead())]
    Kept {
        /// The seat.
        seat: Seat,
        /// Whose it is.
        keeper: Keeper,
    },
    /// Somebody else has a name that we need.
    #[error(transparent)]
    Taken(#[from] Taken),
}

impl Finding {
    /// Doors whose packets are sent on to a container or another host: no drop of ours on the way to this host can
    /// guard them.
    pub fn unguarded(&self) -> impl Iterator<Item = (&Door, &Site)> {
        self.doors.iter().filter_map(|door| match &door.today {
            Verdict::Forwarded(site) => Some((door, site)),
            Verdict::Passes | Verdict::Dropped(_) | Verdict::Maybe { .. } => None,
        })
    }
}

/// Finds where to stand, or checks the place that was wished for.
#[must_use]
pub fn find(ruleset: &Ruleset, wish: &Wish<'_>) -> Finding {
    let drops = drops(ruleset, wish);
    let place = wish.place.cloned().unwrap_or_else(|| best(ruleset, &drops));
    let mut refused: Vec<SeatError> = match &place {
        Place::Attach(seats) => seats.iter().filter_map(|seat| check_seat(ruleset, seat).err()).collect(),
        Place::Own | Place::Iptables | Place::Fwknop(_) => Vec::new(),
    };
    refused.extend(taken::at(ruleset, &place).into_iter().map(SeatError::Taken));
    let blocked = drops
        .into_iter()
        .filter(|drop| !stands_before(ruleset, &place, &drop.by))
        .map(|drop| Blocked { mend: mend::sentence(ruleset, &drop), ..drop })
        .collect();
    Finding {
        doors: doors(ruleset, wish, Ours::Skipped),
        blocked,
        refused,
        neighbours: neighbours::all(ruleset),
        place,
    }
}

/// Checks the rules as they stand, ours among them: what still keeps a granted packet or a knock out.
#[must_use]
pub fn still_blocked(ruleset: &Ruleset, wish: &Wish<'_>) -> Vec<Blocked> {
    let mut found = Vec::new();
    for (wanted, mut probe) in probes(wish) {
        if !matches!(wanted, Wanted::Knock(_)) {
            probe.source = Source::Granted;
        }
        collect(ruleset, wanted, &probe, Ours::Counted, &mut found);
    }
    found.into_iter().map(|drop| Blocked { mend: mend::sentence(ruleset, &drop), ..drop }).collect()
}

/// What would end live connections to the doors: a grant's end is not to do that. `place`: where we are to stand, when
/// rules of ours that stand now do not count.
#[must_use]
pub fn cut_short(ruleset: &Ruleset, wish: &Wish<'_>, place: Option<&Place>) -> Vec<Blocked> {
    let ours = if place.is_some() { Ours::Skipped } else { Ours::Counted };
    let mut found: Vec<Blocked> = Vec::new();
    for (wanted, probe) in probes(wish) {
        let Wanted::Door(port) = wanted else { continue };
        let Verdict::Dropped(by) = walk::walk_live(ruleset, &probe, ours) else { continue };
        let before = place.is_some_and(|place| stands_before(ruleset, place, &by));
        let known = found.iter().any(|b| b.wanted == Wanted::Live(port) && b.version == probe.version);
        if !before && !known {
            let (wanted, version) = (Wanted::Live(port), probe.version);
            found.push(Blocked { wanted, version, by, certain: true, mend: String::new() });
        }
    }
    found.into_iter().map(|drop| Blocked { mend: mend::sentence(ruleset, &drop), ..drop }).collect()
}

/// Who else has rules here.
#[must_use]
pub fn neighbours(ruleset: &Ruleset) -> Vec<Neighbour> {
    neighbours::all(ruleset)
}

/// The first rule of a base chain that can drop, or lead to a drop of, a new packet from outside: what is to be let
/// in must be let in before it. `None`: there is none, and the end of the chain is early enough.
#[must_use]
pub fn first_drop(table: &Table, chain: &Chain) -> Option<u64> {
    let anyone = |version, proto| Probe {
        version,
        proto,
        port: None,
        source: Source::Anyone,
        destination: None,
        interface: None,
        through: false,
    };
    let probes = [
        anyone(IpVersion::V4, Proto::Tcp),
        anyone(IpVersion::V4, Proto::Udp),
        anyone(IpVersion::V6, Proto::Tcp),
        anyone(IpVersion::V6, Proto::Udp),
    ];
    let foreign = |rule: &&Rule| !rule.comment.as_deref().is_some_and(walk::is_ours);
    let drops = |rule: &&Rule| probes.iter().any(|probe| walk::can_drop(table, chain, rule, probe));
    chain.rules.iter().filter(foreign).find(drops).map(|rule| rule.handle)
}

/// The table and the chain that a seat is in.
pub(crate) fn seated<'r>(ruleset: &'r Ruleset, seat: &Seat) -> Option<(&'r Table, &'r Chain)> {
    let is_it = |table: &&Table| table.family.seat() == Some(seat.family) && table.name == seat.table;
    let table = ruleset.tables.iter().find(is_it)?;
    Some((table, table.chain(&seat.chain)?))
}

/// Checks that we may stand in a chain.
///
/// # Errors
/// [`SeatError`] says why not.
pub fn check_seat(ruleset: &Ruleset, seat: &Seat) -> Result<(), SeatError> {
    let table = ruleset.tables.iter().find(|t| t.family.seat() == Some(seat.family) && t.name == seat.table);
    let Some(table) = table.filter(|t| t.held == Held::Nftables) else {
        return Err(SeatError::Missing(seat.clone()));
    };
    let Some(chain) = table.chain(&seat.chain) else { return Err(SeatError::Missing(seat.clone())) };
    if let Some(keeper) = neighbours::keeper(table) {
        return Err(SeatError::Kept { seat: seat.clone(), keeper });
    }
    match &chain.base {
        Some(base) if SEATED.contains(&base.hook) && base.kind == "filter" => Ok(()),
        Some(_) | None => Err(SeatError::NotInput(seat.clone())),
    }
}

/// Every drop that a granted packet or a knock would meet if we were not there.
fn drops(ruleset: &Ruleset, wish: &Wish<'_>) -> Vec<Blocked> {
    let mut found = Vec::new();
    for (wanted, probe) in probes(wish) {
        collect(ruleset, wanted, &probe, Ours::Skipped, &mut found);
    }
    found
}

fn collect(ruleset: &Ruleset, wanted: Wanted, probe: &Probe, ours: Ours, found: &mut Vec<Blocked>) {
    let version = probe.version;
    for (by, certain) in walk::droppers(ruleset, probe, ours) {
        let same = |b: &Blocked| b.wanted == wanted && b.version == version && b.by == by;
        match found.iter_mut().find(|b| same(b)) {
            Some(known) => known.certain |= certain,
            None => found.push(Blocked { wanted, version, by, certain, mend: String::new() }),
        }
    }
}

/// Where the drops are decides where we stand (docs: "Decided").
fn best(ruleset: &Ruleset, drops: &[Blocked]) -> Place {
    let mut seats: Vec<Seat> = drops.iter().filter_map(|drop| seat_before(ruleset, &drop.by)).collect();
    seats.sort();
    seats.dedup();
    if !seats.is_empty() {
        return Place::Attach(seats);
    }
    if drops.iter().any(|drop| is_iptables_input(ruleset, &drop.by)) { Place::Iptables } else { Place::Own }
}

fn seat_before(ruleset: &Ruleset, site: &Site) -> Option<Seat> {
    let family = site.family.seat().filter(|_| site.held == Held::Nftables)?;
    let seat = Seat { family, table: site.table.clone(), chain: site.base.clone() };
    check_seat(ruleset, &seat).ok().map(|()| seat)
}

/// A drop in the chain that our iptables back end stands at the head of.
fn is_iptables_input(ruleset: &Ruleset, site: &Site) -> bool {
    let table = ruleset
        .tables
        .iter()
        .find(|t| (t.family, t.held) == (site.family, site.held) && t.name == site.table);
    let kept = table.and_then(neighbours::keeper);
    kept == Some(Keeper::Iptables) && site.table == "filter" && site.base == "INPUT"
}

/// Whether our rules at `place` let a packet in before it comes to this drop.
fn stands_before(ruleset: &Ruleset, place: &Place, site: &Site) -> bool {
    match place {
        Place::Own => false,
        Place::Attach(seats) => seat_before(ruleset, site).is_some_and(|seat| seats.contains(&seat)),
        Place::Iptables => is_iptables_input(ruleset, site),
        // The administrator said where; whoever manages the table, that place is before their rules.
        Place::Fwknop(chains) => {
            let rows = [Some(&chains.input), chains.output.as_ref(), chains.forward.as_ref()];
            let is_there = |row: &ChainRow| (&site.table, &site.base) == (&row.table, &row.from);
            matches!(site.family, TableFamily::Ip | TableFamily::Ip6)
                && rows.into_iter().flatten().any(is_there)
        }
    }
}

fn doors(ruleset: &Ruleset, wish: &Wish<'_>, ours: Ours) -> Vec<Door> {
    let mut doors: Vec<Door> = Vec::new();
    for (wanted, probe) in probes(wish) {
        let Wanted::Door(port) = wanted else { continue };
        let today = walk::sent_on(ruleset, &probe, ours)
            .map_or_else(|| walk::walk(ruleset, &probe, ours), Verdict::Forwarded);
        match doors.iter_mut().find(|d| d.port == port && d.version == probe.version) {
            Some(door) if openness(&today) > openness(&door.today) => door.today = today,
            Some(_) => {}
            None => doors.push(Door { port, version: probe.version, today }),
        }
    }
    doors
}

const fn openness(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Dropped(_) => 0,
        Verdict::Maybe { .. } => 1,
        Verdict::Passes => 2,
        // Drops of ours end the other, not this.
        Verdict::Forwarded(_) => 3,
    }
}

/// The packets to think of.
fn probes(wish: &Wish<'_>) -> Vec<(Wanted, Probe)> {
    let knock = wish.knock_port.map(|port| (Wanted::Knock(port), Proto::Udp, vec![port]));
    let doors = wish.doors.iter().map(|&spec| (Wanted::Door(spec), spec.proto(), samples(spec)));
    let interfaces: Vec<Option<Interface>> = match wish.interfaces {
        [] => vec![None],
        many if many.len() > MOST_INTERFACES => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let mut packets: Vec<(Wanted, Proto, Option<u16>)> = Vec::new();
    for (wanted, proto, ports) in knock.into_iter().chain(doors) {
        packets.extend(ports.into_iter().map(|port| (wanted, proto, Some(port))));
    }
    for proto in [Proto::Tcp, Proto::Udp] {
        packets.extend(wish.any_port.then_some((Wanted::AnyPort(proto), proto, None)));
        packets.extend(wish.through.then_some((Wanted::Through(proto), proto, None)));
    }
    let mut probes = Vec::new();
    for (wanted, proto, port) in packets {
        for version in [IpVersion::V4, IpVersion::V6] {
            for interface in &interfaces {
                let (source, destination) = (Source::Outside, None);
                let (interface, through) = (interface.clone(), matches!(wanted, Wanted::Through(_)));
                probes
                    .push((wanted, Probe { version, proto, port, source, destination, interface, through }));
            }
        }
    }
    probes
}

fn samples(spec: PortSpec) -> Vec<u16> {
    let (first, last) = (spec.first(), spec.last());
    if last - first < NARROW {
        (first..=last).collect()
    } else {
        vec![first, first + (last - first) / 2, last]
    }
}
