//! The book: what is open, kept in three places that must agree. The ledger decides, the journal survives a kill, the
//! firewall does it. Written in that order: to the journal before the kernel, so that no element of ours is unknown.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::time::Duration;

use portunus_ctl::frame::{Killed, Said};
use portunus_fw::{Change, Element, Firewall, FirewallError, Ledger, Row, Standing, Structure, Term};
use portunus_model::{
    Cause, ClientName, Closing, Grounds, HolderNames, Limits, Mono, Opened, Opening, PortSpec, Way,
};
use portunus_store::audit::Fact;
use portunus_store::{Entry, Journal, Key, Row as JournalRow, Segment};

use super::facts;
use super::kill::MOST_KILLS;
use super::limits;
use super::naps::{Ahead, Naps};
use super::past::Past;

/// The book.
pub(super) struct Book<S = File> {
    limits: Limits,
    pub(super) ledger: Ledger,
    pub(super) past: Past,
    journal: Journal<S>,
    pub(super) firewall: Box<dyn Firewall>,
    /// What was installed last, to put it back in the middle of a batch.
    structure: Option<Structure>,
    naps: Naps,
    /// The kernel would not take what must be, so it may have something else than is written here.
    owing: bool,
    /// Whether the kernel has refused an end since then: a door that should be shut may be open.
    refused: bool,
    /// For the log.
    pub(super) names: HolderNames,
    /// What was done since somebody took it out, for the audit log.
    pub(super) facts: Vec<Fact>,
}

/// How the batch found the firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// As we had left it.
    Whole,
    /// Changed by somebody, and put back: nothing is missing now.
    PutBack,
    /// Changed by somebody, and not put back.
    Broken,
}

/// An opening of a batch until the kernel has answered.
struct Asked {
    ticket: u64,
    client: ClientName,
    lasting: Duration,
    /// Each element, and the row that was there before.
    rows: Vec<(Element, Option<Term>)>,
    /// What ended for it.
    outdone: Vec<Row>,
}

/// One batch on its way to the kernel.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    /// In order: the last word on an element counts.
    changes: Vec<Change>,
    asked: Vec<Asked>,
    answers: Vec<Said>,
    /// Whose established flows end when all else is done.
    kills: Vec<(u64, ClientName)>,
    /// Who waits for the end of this.
    settles: Vec<u64>,
}

impl<S: Segment> Book<S> {
    /// Takes up what the journal says is open, as far as the limits still allow it.
    pub(super) fn take_up(
        (now, ahead): (Mono, Ahead),
        limits: Limits,
        journal: Journal<S>,
        rows: Vec<JournalRow>,
        firewall: Box<dyn Firewall>,
    ) -> Self {
        let mut ledger = Ledger::new();
        let latest = now.after(limits.longest);
        let mut over = Vec::new();
        for row in rows {
            let JournalRow { client, element, until, grounds } = row;
            let known = limits::has_room_for(&limits, &element) && until <= latest;
            let alone = ledger.rivals(&element).is_empty();
            if known && alone && ledger.len() < usize::try_from(limits.most_open).unwrap_or(usize::MAX) {
                ledger.restore(&Row { client, element, until, grounds });
            } else {
                over.push(Entry::Close(key(&client, element)));
            }
        }
        let mut book = Self {
            limits,
            ledger,
            past: Past::default(),
            journal,
            firewall,
            structure: None,
            naps: Naps::new(ahead),
            owing: false,
            refused: false,
            names: HolderNames::default(),
            facts: Vec::new(),
        };
        // Or limits that are widened again would let them in once more.
        book.write_down(&over);
        book
    }

    /// For the audit log: what the journal had open.
    pub(super) fn note_restored(&mut self) {
        let rows: Vec<Row> = self.ledger.rows().collect();
        self.facts.extend(facts::restored(&self.names, &rows));
    }

    /// What is open, for the front after a start: the doors that one knock has opened, or prolonged last, together.
    pub(super) fn restored(&self) -> Vec<Said> {
        type One = (ClientName, IpAddr, Option<IpAddr>, Way, Mono, Grounds);
        let mut grants: BTreeMap<One, Vec<PortSpec>> = BTreeMap::new();
        for Row { client, element, until, grounds } in self.ledger.rows() {
            let Element { address, port, destination, way } = element;
            grants.entry((client, address, destination, way, until, grounds)).or_default().extend(port);
        }
        // An opening of so many ports has passed to us in one message.
        let said = |((client, address, destination, way, until, grounds), ports): (One, Vec<_>)| {
            Said::Restored { client, address, ports: ports.into(), destination, way, until, grounds }
        };
        grants.into_iter().map(said).collect()
    }

    /// Makes the kernel agree with the book, whatever stands there.
    pub(super) fn install(&mut self, now: Mono, structure: &Structure) -> Result<(), FirewallError> {
        // An error does not say that nothing was done.
        self.owing = true;
        self.firewall.install(structure, &self.ledger.wanted(now))?;
        if !self.firewall.kernel_closes() {
            tracing::error!(
                "this kernel has no xt_time: a daemon that is killed leaves open doors open until it starts again; \
                 load the module xt_time, or use nftables"
            );
        }
        self.structure = Some(structure.clone());
        (self.owing, self.refused) = (false, false);
        Ok(())
    }

    /// Whether the kernel may have something else than is written here, until the next [`Self::install`].
    pub(super) const fn owes(&self) -> bool {
        self.owing || self.refused
    }

    /// What the kernel has just done took so long that its timers, which count from then, are late: whatever is open now is
    /// closed by us when it is due. With `again` the kernel is to be told all ends anew.
    pub(super) fn was_late(&mut self, now: Mono, again: bool) {
        let latest = self.ledger.rows().map(|row| row.until).max();
        self.naps.doubt(latest.unwrap_or(now));
        self.owing |= again;
    }

    /// New limits: what no client may have any more ends. Back to the old ones when the kernel does not take it.
    pub(super) fn change_limits(
        &mut self,
        now: Mono,
        limits: Limits,
        structure: &Structure,
    ) -> Result<(), FirewallError> {
        let gone = self.ledger.retain(|row| limits::has_room_for(&limits, &row.element));
        if let Err(error) = self.install(now, structure) {
            gone.iter().for_each(|row| self.ledger.restore(row));
            return Err(error);
        }
        let entries: Vec<Entry> =
            gone.iter().map(|row| Entry::Close(key(&row.client, row.element))).collect();
        self.write_down(&entries);
        self.past.note(&gone);
        self.facts.extend(facts::closed(&self.names, &gone, Cause::Reload));
        self.limits = limits;
        Ok(())
    }

    /// Carries out what the front says, in its order, as one transaction; the answers. When somebody has flushed our
    /// rules a moment ago and `may_mend`, they are put back and the batch is carried out again: no knock fails by it.
    pub(super) fn carry_out(&mut self, now: Mono, said: Vec<Said>, may_mend: bool) -> (Vec<Said>, Found) {
        let mut batch = Batch::default();
        for one in said {
            match one {
                Said::Open(ticket, opening) => self.open(now, &mut batch, ticket, &opening),
                Said::Close(closing) => self.close(now, &mut batch, &closing),
                Said::Kill(ticket, _) if batch.kills.len() >= MOST_KILLS => {
                    batch.answers.push(Said::Killed(ticket, Killed::Failed));
                }
                Said::Kill(ticket, client) => {
                    self.close(
                        now,
                        &mut batch,
                        &Closing { client: Some(client.clone()), address: None, cause: Cause::Kill },
                    );
                    batch.kills.push((ticket, client));
                }
                Said::Settle(ticket) => batch.settles.push(ticket),
                // Only we say these: from the front they mean nothing.
                Said::Opened(..)
                | Said::Restored { .. }
                | Said::RestoredAll
                | Said::Kept { .. }
                | Said::Settled(..)
                | Said::Killed(..) => {
                    tracing::warn!("the front said something that only the grantor says");
                }
            }
        }
        self.commit(now, batch, may_mend)
    }

    fn open(&mut self, now: Mono, batch: &mut Batch, ticket: u64, opening: &Opening) {
        if let Err(beyond) = limits::check(&self.limits, opening) {
            tracing::warn!(
                client = self.names.shown(&opening.client),
                address = %opening.address,
                why = %beyond,
                "the front asked for more than the configuration allows"
            );
            self.facts.push(Fact::BeyondLimits {
                client: self.names.shown(&opening.client).to_owned(),
                address: opening.address,
                why: beyond.to_string(),
            });
            batch.answers.push(Said::Opened(ticket, Opened::Refused));
            return;
        }
        let elements = Element::all_of(opening);
        if !self.has_room(&opening.client, &elements) {
            batch.answers.push(Said::Opened(ticket, Opened::Full));
            return;
        }
        let term = Term { until: now.after(opening.lasting), grounds: opening.grounds };
        let outdone = self.outdo(now, batch, opening, &elements);
        let mut rows = Vec::with_capacity(elements.len());
        for element in elements {
            let opened = self.ledger.open(now, &opening.client, element, term);
            batch.changes.push(opened.change);
            // A renewal never shortens, so what is written down is what the ledger says.
            batch.entries.push(Entry::Open(journal_row(&opening.client, element, opened.term)));
            rows.push((element, opened.before));
        }
        let (client, lasting) = (opening.client.clone(), opening.lasting);
        batch.asked.push(Asked { ticket, client, lasting, rows, outdone });
    }

    /// Whether what would be new of these may be open too.
    fn has_room(&self, client: &ClientName, elements: &[Element]) -> bool {
        let most = usize::try_from(self.limits.most_open).unwrap_or(usize::MAX);
        let room = most.saturating_sub(self.ledger.len());
        let is_new = |element: &&Element| self.ledger.row(client, **element).is_none();
        elements.len() <= room || elements.iter().filter(is_new).count() <= room
    }

    /// Ends every translation that cannot stand beside the new ones: the kernel turns a packet one way only, and who
    /// asked last is meant. What ended.
    fn outdo(&mut self, now: Mono, batch: &mut Batch, opening: &Opening, elements: &[Element]) -> Vec<Row> {
        if opening.way == Way::Here {
            return Vec::new();
        }
        let outdone: Vec<Row> = elements.iter().flat_map(|element| self.ledger.rivals(element)).collect();
        for row in &outdone {
            tracing::info!(
                client = self.names.shown(&row.client),
                grant = %row.element,
                by = self.names.shown(&opening.client),
                "a later grant turns the same packets elsewhere: this one ends"
            );
        }
        let changes = self.ledger.strike_all(now, &outdone);
        self.past.note(&outdone);
        self.facts.extend(facts::closed(&self.names, &outdone, Cause::Outdone));
        batch.changes.extend(changes);
        batch.entries.extend(outdone.iter().map(|row| Entry::Close(key(&row.client, row.element))));
        outdone
    }

    fn close(&mut self, now: Mono, batch: &mut Batch, closing: &Closing) {
        let (ended, changes) = self.ledger.close(now, closing.client.as_ref(), closing.address);
        batch.changes.extend(changes);
        self.past.note(&ended);
        self.facts.extend(facts::closed(&self.names, &ended, closing.cause));
        batch.entries.extend(ended.iter().map(|row| Entry::Close(key(&row.client, row.element))));
    }

    fn commit(&mut self, now: Mono, mut batch: Batch, may_mend: bool) -> (Vec<Said>, Found) {
        let written = self.write_down(&batch.entries);
        if !written && !batch.asked.is_empty() {
            // What the journal does not know must not be in the kernel: only what closes goes on.
            let asked = std::mem::take(&mut batch.asked);
            let failed = self.undo(now, &mut batch, asked);
            batch.answers.extend(failed);
        }
        let changes = last_words(std::mem::take(&mut batch.changes));
        let (mut refused, mut found) = (self.tell_kernel(&changes), Found::Whole);
        if !refused.is_empty() && matches!(self.firewall.standing(), Ok(Standing::Broken)) {
            found = Found::Broken;
            if may_mend && self.install_again(now) {
                found = Found::PutBack;
                refused = self.tell_kernel(&changes);
            }
        }
        let is_asked = |element: &Element| {
            batch.asked.iter().any(|asked| asked.rows.iter().any(|(one, _)| one == element))
        };
        // What is asked for is taken back below; an end that was refused must come all the same.
        self.refused |= !refused.keys().all(is_asked);
        let mut failed = Vec::new();
        for asked in std::mem::take(&mut batch.asked) {
            let worst = asked.rows.iter().find_map(|(element, _)| refused.get(element));
            match worst {
                None => {
                    self.facts.extend(facts::opened(
                        self.names.shown(&asked.client),
                        asked.lasting,
                        &asked.rows,
                    ));
                    batch.answers.push(Said::Opened(asked.ticket, Opened::Open));
                }
                Some(FirewallError::Full) => {
                    batch.answers.push(Said::Opened(asked.ticket, Opened::Full));
                    failed.push(asked);
                }
                Some(_) => {
                    batch.answers.push(Said::Opened(asked.ticket, Opened::Failed));
                    failed.push(asked);
                }
            }
        }
        if !failed.is_empty() {
            let mut back = Batch::default();
            let _ = self.undo(now, &mut back, failed);
            self.write_down(&back.entries);
            self.refused |= !self.tell_kernel(&last_words(back.changes)).is_empty();
        }
        for (ticket, client) in std::mem::take(&mut batch.kills) {
            let answers = self.kill(ticket, &client);
            batch.answers.extend(answers);
        }
        let settled = std::mem::take(&mut batch.settles).into_iter();
        batch.answers.extend(settled.map(|ticket| Said::Settled(ticket, written && !self.refused)));
        self.compact_if_crowded();
        (batch.answers, found)
    }

    fn install_again(&mut self, now: Mono) -> bool {
        let Some(structure) = self.structure.take() else { return false };
        let outcome = self.install(now, &structure);
        self.structure = Some(structure);
        outcome.is_ok()
    }

    /// An opening that failed in part is taken back whole: the rows as they were, the latest first.
    fn undo(&mut self, now: Mono, batch: &mut Batch, failed: Vec<Asked>) -> Vec<Said> {
        let mut answers = Vec::new();
        for asked in failed.into_iter().rev() {
            self.facts.extend(facts::failed(self.names.shown(&asked.client), &asked.rows));
            for (element, before) in asked.rows.iter().rev() {
                self.ledger.undo(&asked.client, *element, *before);
                batch.changes.push(self.ledger.derived(now, *element));
                batch.entries.push(match before {
                    Some(term) => Entry::Open(journal_row(&asked.client, *element, *term)),
                    None => Entry::Close(key(&asked.client, *element)),
                });
            }
            for row in asked.outdone {
                self.ledger.restore(&row);
                batch.changes.push(self.ledger.derived(now, row.element));
                batch.entries.push(Entry::Open(written(row)));
            }
            answers.push(Said::Opened(asked.ticket, Opened::Failed));
        }
        answers
    }

    /// Has the kernel do it; what it refused. Each element stands in `changes` once at most.
    fn tell_kernel(&mut self, changes: &[Change]) -> BTreeMap<Element, FirewallError> {
        if changes.is_empty() {
            return BTreeMap::new();
        }
        let answers = self.firewall.change(changes);
        let mut refused = BTreeMap::new();
        for (change, answer) in changes.iter().zip(answers) {
            if let Err(error) = answer {
                let element = change.element();
                tracing::warn!(grant = %element, %error, "the firewall refused a change");
                refused.insert(element, error);
            }
        }
        refused
    }

    /// When [`Self::expire`] is worth calling.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.ledger.poll_timeout()
    }

    /// Ends what is due. Where the kernel has timers (`kernel_closes`) it did so already, unless the machine has slept.
    pub(super) fn expire(&mut self, now: Mono, ahead: Ahead, kernel_closes: bool) {
        let ledger = &self.ledger;
        let latest = || ledger.rows().map(|row| row.until).max().unwrap_or(now);
        self.naps.notice(now, ahead, latest);
        let (ended, changes) = self.ledger.expire(now);
        let late = ended.iter().any(|row| self.naps.kernel_is_late_with(row.until));
        self.past.note(&ended);
        self.facts.extend(facts::closed(&self.names, &ended, Cause::Expiry));
        if late || !kernel_closes {
            self.refused |= !self.tell_kernel(&changes).is_empty();
        }
        self.compact_if_crowded();
    }

    /// Takes every grant back.
    pub(super) fn close_all(&mut self, now: Mono) {
        let everything = Closing { client: None, address: None, cause: Cause::End };
        self.carry_out(now, vec![Said::Close(everything)], true);
    }

    fn write_down(&mut self, entries: &[Entry]) -> bool {
        if entries.is_empty() {
            return true;
        }
        let Err(error) = self.journal.append(entries) else { return true };
        tracing::error!(%error, "the grant journal cannot be written: nothing is opened until it can");
        // An end that is not written down would be undone by a restart: then better no row at all.
        if entries.iter().any(|entry| matches!(entry, Entry::Close(_)))
            && let Err(error) = self.journal.give_up()
        {
            tracing::error!(%error, "the grant journal cannot be cut off either: a restart will refuse it");
        }
        false
    }

    fn compact_if_crowded(&mut self) {
        if !self.journal.is_crowded() {
            return;
        }
        let rows: Vec<JournalRow> = self.ledger.rows().map(written).collect();
        if let Err(error) = self.journal.compact(&rows) {
            tracing::warn!(%error, "the grant journal was not compacted");
        }
    }
}

/// The last word on each element, by element.
fn last_words(mut changes: Vec<Change>) -> Vec<Change> {
    // Stable: the last of an element's stays the last of them.
    changes.sort_by_key(Change::element);
    changes.dedup_by(|later, kept| {
        let same = later.element() == kept.element();
        if same {
            *kept = *later;
        }
        same
    });
    changes
}

fn key(client: &ClientName, element: Element) -> Key {
    Key { client: client.clone(), element }
}

fn journal_row(client: &ClientName, element: Element, term: Term) -> JournalRow {
    JournalRow { client: client.clone(), element, until: term.until, grounds: term.grounds }
}

/// The row as the journal has it.
fn written(Row { client, element, until, grounds }: Row) -> JournalRow {
    JournalRow { client, element, until, grounds }
}
