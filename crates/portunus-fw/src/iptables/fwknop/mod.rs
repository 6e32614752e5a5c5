//! iptables and ip6tables in chains of fwknop's own names: people's monitoring, and their own rules around it, know them.
//!
//! A new door is appended; everything else writes the chains of a table anew as a whole, in one transaction: what ended
//! is left out, what goes on stands in its old place with its counters, and so does every rule that somebody else put
//! there. Rules whose comment `_exp_TIME` is over are swept, whoever wrote them, as the original does. Each of our own
//! carries its end for the *kernel* too (xt_time), so that it closes when nobody is left to close it. Not here: which
//! doors are due, and running programs with rights.

mod chain;
mod note;
mod rules;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use portunus_model::{ChainRow, Chains, Place, Unix};

use super::runner::{RunError, Runner, Table, Tool};
use super::text::comment_trial;
use super::{BOTH, has_time, version_of};
use crate::walk::IpVersion;
use crate::{Change, Element, Ended, Firewall, FirewallError, Standing, Structure, kill};
use chain::{Saved, Wanted};
use rules::{Rule, cuts_of, rules_of};

pub use note::Note;
pub use rules::Kind;

/// Doors and their ends, by the wall clock: x_tables knows no other.
type Doors = BTreeMap<Element, Unix>;

/// What is told at most between two askings.
const MOST_NOTES: usize = 65_536;

/// The back end.
pub struct Fwknop<R> {
    runner: R,
    wall: fn() -> Unix,
    structure: Structure,
    chains: Chains,
    open: Doors,
    /// Who is cut off, and until when.
    cuts: Doors,
    /// The tables that can be read, of IPv4 and of IPv6.
    tables: [BTreeSet<Table>; 2],
    /// Something of an earlier life was taken over, or there was none.
    begun: bool,
    kernel_closes: bool,
    notes: Vec<Note>,
}

impl<R: Runner> Fwknop<R> {
    /// A back end that has written nothing yet; `wall` reads the clock that the kernel compares a door's end with.
    pub fn new(runner: R, wall: fn() -> Unix, chains: Chains) -> Self {
        Self {
            runner,
            wall,
            structure: Structure::default(),
            chains,
            open: Doors::new(),
            cuts: Doors::new(),
            tables: [BTreeSet::new(), BTreeSet::new()],
            begun: false,
            kernel_closes: true,
            notes: Vec::new(),
        }
    }

    /// Whether IPv6 has its chains too, known after the first install.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        !self.tables_of(IpVersion::V6).is_empty()
    }

    /// Which tables the rows need, and can be read. A machine may go without ip6tables, or without its `nat`.
    fn look(&mut self) -> Result<(), FirewallError> {
        let chains = self.chains.clone();
        self.tables = [self.readable(IpVersion::V4, &chains)?, self.readable(IpVersion::V6, &chains)?];
        Ok(())
    }

    fn readable(&mut self, version: IpVersion, chains: &Chains) -> Result<BTreeSet<Table>, FirewallError> {
        let needed: BTreeSet<Table> = rows(chains).map(check_row).collect::<Result<_, _>>()?;
        let mut there = BTreeSet::new();
        for table in needed {
            match self.runner.run(Tool::SaveCounted(version, table), "") {
                Ok(_) => drop(there.insert(table)),
                Err(RunError::Missing(_) | RunError::Failed { .. }) if version == IpVersion::V6 => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Without the first chain there is no other.
        if !table_of(&chains.input).is_some_and(|input| there.contains(&input)) {
            there.clear();
        }
        Ok(there)
    }

    fn tables_of(&self, version: IpVersion) -> &BTreeSet<Table> {
        let [four, six] = &self.tables;
        match version {
            IpVersion::V4 => four,
            IpVersion::V6 => six,
        }
    }

    fn save(&mut self, version: IpVersion) -> Result<BTreeMap<Table, String>, RunError> {
        let tables = self.tables_of(version).clone();
        let save = |table| Ok((table, self.runner.run(Tool::SaveCounted(version, table), "")?));
        tables.into_iter().map(save).collect()
    }

    /// Every rule that is to stand in one family.
    fn wanted(&self, version: IpVersion, before: Option<&Doors>) -> Wanted {
        let mut wanted = Wanted::default();
        for (element, until) in of(&self.cuts, version) {
            for rule in cuts_of(&self.chains, element) {
                self.want(&mut wanted, &rule, *until);
            }
        }
        for (element, until) in of(&self.open, version) {
            for rule in rules_of(&self.chains, element).unwrap_or_default() {
                self.want(&mut wanted, &rule, *until);
            }
        }
        for (element, until) in before.into_iter().flat_map(|before| of(before, version)) {
            for rule in rules_of(&self.chains, element).unwrap_or_default() {
                wanted.add_before(&rule.row.chain, &rule.text(*until, self.kernel_closes), *until);
            }
        }
        wanted
    }

    fn want(&self, wanted: &mut Wanted, rule: &Rule<'_>, until: Unix) {
        if let Some(table) = table_of(rule.row) {
            wanted.add(table, &rule.row.chain, rule.text(until, self.kernel_closes), until);
        }
    }

    /// Writes the chains of one family anew, and reads them back.
    fn write_whole(&mut self, version: IpVersion, before: &Doors) -> Result<(), Stuck> {
        let saved = self.save(version)?;
        let read = read(&saved);
        if !self.begun {
            self.take_over_cuts(&read);
        }
        let mut wanted = self.wanted(version, Some(before));
        let view = text::View {
            chains: &self.chains,
            saved: &read,
            version,
            now: (self.wall)().as_secs(),
            fresh: !self.begun && self.chains.flush_at_start,
            cuts: self.cut_texts(version),
        };
        let (text, notes) = text::whole(&view, &mut wanted);
        self.runner.run(Tool::RestoreCounted(version), &text)?;
        self.note_all(notes);
        self.read_back(version)
    }

    /// Who was cut off in an earlier life stays so.
    fn take_over_cuts(&mut self, saved: &BTreeMap<Table, Saved<'_>>) {
        let now = (self.wall)().as_secs();
        let [input, forward] = [Some(&self.chains.input), self.chains.forward.as_ref()];
        for row in [input, forward].into_iter().flatten() {
            let Some(table) = table_of(row).and_then(|table| saved.get(&table)) else { continue };
            let cuts = table.of(&row.chain).filter_map(|line| Some((line.cut()?, line.end()?)));
            let due = cuts.filter(|(_, until)| *until > now);
            self.cuts.extend(due.map(|(element, until)| (element, Unix::from_secs(until))));
        }
    }

    fn cut_texts(&self, version: IpVersion) -> BTreeSet<(String, String)> {
        let mut texts = BTreeSet::new();
        for (element, until) in of(&self.cuts, version) {
            for rule in cuts_of(&self.chains, element) {
                texts.insert((rule.row.chain.clone(), rule.text(*until, self.kernel_closes)));
            }
        }
        texts
    }

    /// Adds the rules of new doors, and reads them back.
    fn append(&mut self, version: IpVersion, new: &[Element]) -> Result<(), Stuck> {
        let mut rules: BTreeMap<Table, Vec<(String, String)>> = BTreeMap::new();
        for element in new {
            let Some(until) = self.open.get(element) else { continue };
            for rule in rules_of(&self.chains, element).unwrap_or_default() {
                let Some(table) = table_of(rule.row) else { continue };
                let text = rule.text(*until, self.kernel_closes);
                rules.entry(table).or_default().push((rule.row.chain.clone(), text));
            }
        }
        self.runner.run(Tool::RestoreCounted(version), &text::appended(&rules, self.chains.prepend))?;
        for (table, rules) in &rules {
            let tool = Tool::SaveCounted(version, *table);
            let saved = self.runner.run(tool, "")?;
            let rows: Vec<&ChainRow> =
                rows(&self.chains).filter(|row| table_of(row) == Some(*table)).collect();
            if let Some(text) = text::not_there(&saved, &rows, rules) {
                return Err(missing(tool, &text));
            }
        }
        Ok(())
    }

    fn read_back(&mut self, version: IpVersion) -> Result<(), Stuck> {
        let saved = self.save(version)?;
        match self.check(version, &read(&saved)) {
            Ok(_) => Ok(()),
            Err(text) => Err(missing(Tool::SaveCounted(version, Table::Filter), &text)),
        }
    }

    /// Whether everything of ours stands; then whether there is something to sweep. `Err`: what is wrong.
    fn check(&self, version: IpVersion, saved: &BTreeMap<Table, Saved<'_>>) -> Result<bool, String> {
        let now = (self.wall)().as_secs();
        let mut wanted = self.wanted(version, None);
        let mut over = false;
        for row in rows(&self.chains) {
            let Some(table) = table_of(row).and_then(|table| saved.get(&table)) else { continue };
            if !table.has(&row.chain) || table.jumps(row) == 0 {
                return Err(format!("-A {} -j {}", row.from, row.chain));
            }
            for line in table.of(&row.chain) {
                if wanted.strike(line) {
                    continue;
                }
                let is_over = line.end().is_some_and(|end| end <= now);
                over |= is_over;
                if line.is_timed() && !is_over {
                    return Err(format!("nobody asked for `-A {} {}`", line.chain, line.rest));
                }
            }
        }
        match wanted.missing() {
            Some(text) if !wanted.is_met() => Err(text.to_owned()),
            Some(_) | None => Ok(over),
        }
    }

    /// Takes the changes that are allowed into the book, and says why not of the others.
    fn note(&mut self, changes: &[Change]) -> Vec<Option<FirewallError>> {
        let now = (self.wall)();
        let mut room = (self.structure.most_open as usize).saturating_sub(self.open.len());
        let mut refused = Vec::with_capacity(changes.len());
        for change in changes {
            refused.push(match *change {
                Change::Close(element) => {
                    room += usize::from(self.open.remove(&element).is_some());
                    None
                }
                Change::Open(element, lasting) => match self.has_place_for(&element) {
                    Err(error) => Some(error),
                    Ok(()) if room == 0 && !self.open.contains_key(&element) => Some(FirewallError::Full),
                    Ok(()) => {
                        let was = self.open.insert(element, now.after(lasting));
                        room -= usize::from(was.is_none());
                        None
                    }
                },
            });
        }
        refused
    }

    fn has_place_for(&self, element: &Element) -> Result<(), FirewallError> {
        self.structure.has_place_for(element)?;
        let tables = self.tables_of(version_of(element.address));
        let rules = rules_of(&self.chains, element);
        let stands = |rule: &Rule<'_>| table_of(rule.row).is_some_and(|table| tables.contains(&table));
        if rules.is_some_and(|rules| rules.iter().all(stands)) {
            Ok(())
        } else {
            Err(FirewallError::NoWay(*element))
        }
    }

    fn carry_out(
        &mut self,
        version: IpVersion,
        done: &[Change],
        before: &Doors,
        lifted: bool,
    ) -> Result<(), Stuck> {
        if done.is_empty() {
            return Ok(());
        }
        let is_new = |change: &Change| match change {
            Change::Open(element, _) => (!before.contains_key(element)).then_some(*element),
            Change::Close(_) => None,
        };
        let new: Option<Vec<Element>> = done.iter().map(is_new).collect();
        match new.filter(|_| !lifted).map(|new| self.append(version, &new)) {
            Some(Ok(())) => Ok(()),
            // A chain has gone, perhaps.
            Some(Err(Stuck::Refused(_))) | None => self.write_whole(version, before),
            Some(Err(hopeless @ Stuck::Hopeless(_))) => Err(hopeless),
        }
    }

    /// A family whose transaction failed is as it was.
    fn put_back(&mut self, version: IpVersion, before: &Doors, stuck: Stuck) -> FirewallError {
        self.open.retain(|element, _| version_of(element.address) != version);
        self.open.extend(of(before, version).map(|(element, until)| (*element, *until)));
        match stuck {
            Stuck::Refused(error) => {
                // What one table took before the other refused goes again; if not, `standing` sees it.
                let _ = self.write_whole(version, before);
                error
            }
            Stuck::Hopeless(error) => error,
        }
    }

    fn tell_added(&mut self, done: &[Change]) {
        let mut notes = Vec::new();
        for change in done {
            let Change::Open(element, _) = change else { continue };
            let Some(until) = self.open.get(element) else { continue };
            let rules = rules_of(&self.chains, element).unwrap_or_default();
            notes.extend(rules.iter().map(|rule| Note::added(rule, element, *until)));
        }
        self.note_all(notes);
    }

    fn note_all(&mut self, notes: Vec<Note>) {
        let room = MOST_NOTES.saturating_sub(self.notes.len());
        self.notes.extend(notes.into_iter().take(room));
    }

    fn forget_ended(&mut self) {
        let now = (self.wall)();
        self.open.retain(|_, until| *until > now);
        self.cuts.retain(|_, until| *until > now);
    }

    /// Removes the chains of these rows where they stand.
    fn remove(&mut self, gone: &Chains) -> Result<(), FirewallError> {
        for version in BOTH {
            let mut saved = BTreeMap::new();
            for table in self.readable(version, gone)? {
                saved.insert(table, self.runner.run(Tool::SaveCounted(version, table), "")?);
            }
            if let Some(text) = text::removed(gone, &read(&saved)) {
                self.runner.run(Tool::RestoreCounted(version), &text)?;
            }
        }
        Ok(())
    }
}

impl<R: Runner> Firewall for Fwknop<R> {
    /// One transaction a family and table: IPv4 first.
    fn install(&mut self, structure: &Structure, open: &[(Element, Duration)]) -> Result<(), FirewallError> {
        let Place::Fwknop(chains) = &structure.stance.place else {
            return Err(FirewallError::Unsupported("any other place in fwknop's chains"));
        };
        let now = (self.wall)();
        let old = std::mem::replace(&mut self.chains, (**chains).clone());
        self.structure = structure.clone();
        self.look()?;
        self.kernel_closes = has_time(&mut self.runner)?;
        if !self.begun {
            // Without comments no rule could say its end.
            self.runner.run(Tool::Restore(IpVersion::V4), &comment_trial())?;
        }
        if self.begun && text::names(&old) != text::names(&self.chains) {
            self.remove(&old)?;
        }
        let before = std::mem::take(&mut self.open);
        for (element, lasting) in open {
            if self.has_place_for(element).is_ok() {
                self.open.insert(*element, now.after(*lasting));
            }
        }
        self.cuts.retain(|_, until| *until > now);
        for version in BOTH {
            if !self.tables_of(version).is_empty() {
                self.write_whole(version, &before)?;
            }
        }
        if !self.begun {
            self.note_all(vec![Note::Comments]);
        }
        self.begun = true;
        Ok(())
    }

    fn change(&mut self, changes: &[Change]) -> Vec<Result<(), FirewallError>> {
        let before = self.open.clone();
        self.forget_ended();
        let refused = self.note(changes);
        let mut answers: Vec<Result<(), FirewallError>> =
            refused.into_iter().map(|refused| refused.map_or(Ok(()), Err)).collect();
        for version in BOTH {
            let of_it = |change: &Change| version_of(change.element().address) == version;
            let done: Vec<Change> = changes
                .iter()
                .zip(&answers)
                .filter(|(change, answer)| answer.is_ok() && of_it(change))
                .map(|(change, _)| *change)
                .collect();
            let opened = |cut: &Element| {
                done.iter().any(|change| matches!(change, Change::Open(element, _) if element.overlaps(cut)))
            };
            let cuts = self.cuts.len();
            self.cuts.retain(|cut, _| !opened(cut));
            let lifted = self.cuts.len() != cuts;
            match self.carry_out(version, &done, &before, lifted) {
                Ok(()) => self.tell_added(&done),
                Err(stuck) => {
                    let error = self.put_back(version, &before, stuck);
                    let failed = changes.iter().zip(&mut answers).filter(|(change, _)| of_it(change));
                    for (_, answer) in failed.filter(|(_, answer)| answer.is_ok()) {
                        *answer = Err(error.clone());
                    }
                }
            }
        }
        answers
    }

    fn end_flows(&mut self, elements: &[Element], lasting: Duration) -> Result<Ended, FirewallError> {
        let before = self.open.clone();
        self.forget_ended();
        let until = (self.wall)().after(lasting);
        self.cuts.extend(elements.iter().map(|element| (*element, until)));
        let mut cut = Ok(());
        for version in BOTH {
            if elements.iter().any(|element| version_of(element.address) == version) {
                cut = cut.and(self.write_whole(version, &before).map_err(FirewallError::from));
            }
        }
        let ended = kill::end(elements)?;
        cut.map(|()| ended)
    }

    fn open_now(&mut self) -> Result<Vec<(Element, Duration)>, FirewallError> {
        let mut open = Vec::new();
        for version in BOTH {
            let saved = self.save(version)?;
            let now = (self.wall)();
            let mut there = text::Stands::of(&read(&saved));
            for (element, until) in of(&self.open, version).filter(|(_, until)| **until > now) {
                let rules = rules_of(&self.chains, element).unwrap_or_default();
                if rules.iter().all(|rule| there.takes(rule, *until, self.kernel_closes)) {
                    open.push((*element, until.since(now)));
                }
            }
        }
        Ok(open)
    }

    /// Whether everything of ours stands. What is over by its comment is swept here, for nobody else comes by.
    fn standing(&mut self) -> Result<Standing, FirewallError> {
        let (before, now) = (self.open.clone(), (self.wall)());
        self.cuts.retain(|_, until| *until > now);
        for version in BOTH {
            let saved = self.save(version)?;
            match self.check(version, &read(&saved)) {
                Err(_) => return Ok(Standing::Broken),
                Ok(false) => {}
                Ok(true) => self.write_whole(version, &before)?,
            }
        }
        Ok(Standing::Whole)
    }

    /// x_tables tells nobody when it changes.
    fn watch(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn teardown(&mut self) -> Result<(), FirewallError> {
        self.open.clear();
        self.cuts.clear();
        self.look()?;
        let chains = self.chains.clone();
        self.begun = false;
        self.remove(&chains)
    }

    fn kernel_closes(&self) -> bool {
        self.kernel_closes
    }

    fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

/// The rows that there are, in the order in which fwknop makes their chains.
fn rows(chains: &Chains) -> impl Iterator<Item = &ChainRow> {
    let Chains { input, output, forward, dnat, snat, masquerade, .. } = chains;
    let others = [output, forward, dnat, snat, masquerade].into_iter().filter_map(Option::as_ref);
    [input].into_iter().chain(others)
}

fn table_of(row: &ChainRow) -> Option<Table> {
    Table::named(&row.table)
}

/// Words of a configuration go into a transaction's text: they must be words.
fn check_row(row: &ChainRow) -> Result<Table, FirewallError> {
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        !name.is_empty() && name.len() < 29 && !name.starts_with('-') && name.chars().all(plain)
    };
    let named = [&row.target, &row.from, &row.chain].into_iter().all(|name| is_name(name));
    let said = || format!("{} of table {} is no chain that rules can stand in", row.chain, row.table);
    table_of(row)
        .filter(|_| named)
        .ok_or_else(|| FirewallError::Tool { tool: Tool::Restore(IpVersion::V4).name(), said: said() })
}

fn read(saved: &BTreeMap<Table, String>) -> BTreeMap<Table, Saved<'_>> {
    saved.iter().map(|(table, text)| (*table, Saved::read(text))).collect()
}

fn of(doors: &Doors, version: IpVersion) -> impl Iterator<Item = (&Element, &Unix)> {
    doors.iter().filter(move |(element, _)| version_of(element.address) == version)
}

fn missing(tool: Tool, text: &str) -> Stuck {
    Stuck::Refused(FirewallError::Tool { tool: tool.name(), said: format!("not as it was written: {text}") })
}

/// Why a transaction was not carried out.
enum Stuck {
    /// The tool said no, or did something else: what stands may be only a part of it.
    Refused(FirewallError),
    /// It did not run to its end: to try once more would only take as long again.
    Hopeless(FirewallError),
}

impl From<RunError> for Stuck {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Failed { .. } => Self::Refused(error.into()),
            RunError::Missing(_) | RunError::TimedOut(_) | RunError::Broken { .. } => {
                Self::Hopeless(error.into())
            }
        }
    }
}

impl From<Stuck> for FirewallError {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Refused(error) | Stuck::Hopeless(error) => error,
        }
    }
}
