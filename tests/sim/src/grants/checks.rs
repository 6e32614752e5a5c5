//! What holds in the system, whatever happens.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use portunus_fw::Row;
use portunus_model::{ClientName, Element, Mono};
use portunus_store::Journal;

use super::duty::LONGEST_PAUSE;
use super::front::{self, CLIENTS};
use super::fuse::Victim;
use super::kernel::Fault;
use super::system::{BOOT, System};
use crate::disk::Disk;

/// How late a living grantor may be, where the kernel's clock has fallen behind ours.
const LATE: Duration = Duration::from_secs(1);
/// How long something may be amiss that a living grantor can mend: its longest pause, and until it has looked twice, since
/// somebody may be at it again meanwhile.
const AMISS: Duration = LONGEST_PAUSE.saturating_add(Duration::from_secs(4));

impl System {
    pub(super) fn is_settled(&self) -> bool {
        self.duty.as_ref().is_some_and(|duty| !duty.book.owes())
            && self.kernel.is_whole()
            && !self.kernel.was_moved()
    }

    pub(super) fn settle(&mut self) {
        if self.is_settled()
            && !self.disk_failed
            && let Some(duty) = &self.duty
        {
            let rows: Vec<Row> = duty.book.ledger.rows().collect();
            self.doors = self.doors.max(rows.len() as u64);
            self.truth.settle(&rows);
        }
    }

    pub(super) fn check(&mut self) {
        let (now, settled) = (self.now().mono, self.is_settled());
        let can_mend = self.duty.is_some() && self.kernel.fault() == Fault::None && !settled;
        self.amiss = can_mend.then(|| self.amiss.unwrap_or(now).max(self.kernel.stalled().min(now)));
        assert!(self.amiss.is_none_or(|since| now.since(since) <= AMISS), "not mended for {AMISS:?}");
        let open = self.kernel.open();
        for element in &open {
            let latest = self.truth.latest(element);
            let late = latest.map_or(Duration::MAX, |latest| now.since(latest));
            let (behind, _) = self.kernel.drift(element);
            let bound = if settled && self.kernel.fault() == Fault::None { behind.min(LATE) } else { behind };
            assert!(
                late <= bound,
                "{element} is open {late:?} past its time ({latest:?}), and {bound:?} is the most"
            );
        }
        for (client, element) in self.truth.open(now) {
            let (_, ahead) = self.kernel.drift(element);
            // What a firewall that fails leaves undone is said, and mended when it works again.
            let owes = self.duty.as_ref().map_or(self.died_owing, |duty| duty.book.owes());
            let excused = owes || !self.kernel.is_whole() || !ahead.is_zero();
            assert!(excused || open.contains(element), "{client}'s door {element} closed early");
        }
    }

    /// The sessions, the ledger, the journal and the kernel tell the same.
    pub(super) fn sessions_are_right(&mut self) {
        let Some((duty, front)) = self.duty.as_ref().zip(self.front.as_ref()) else { return };
        let now = self.now();
        let rows = |rows: &mut dyn Iterator<Item = Row>| -> BTreeMap<(ClientName, Element), Mono> {
            rows.map(|row| ((row.client, row.element), row.until)).collect()
        };
        let booked = rows(&mut duty.book.ledger.rows());
        let copies = self.disks.each_ref().map(|disk| Disk::holding(disk.bytes()));
        let (_, written) = Journal::open(copies, BOOT, now.mono).unwrap();
        let written = written.into_iter().map(|row| Row {
            client: row.client,
            element: row.element,
            until: row.until,
            grounds: row.grounds,
        });
        let written = rows(&mut written.into_iter());
        assert!(written == booked || self.disk_broken, "the journal has {written:?}, the book {booked:?}");
        let mut shown: BTreeMap<(ClientName, Element), Mono> = BTreeMap::new();
        for session in front.sessions(now) {
            for element in front::elements(&session) {
                let until = shown.entry((session.client.clone(), element)).or_default();
                *until = session.until.max(*until);
            }
        }
        assert_eq!(
            shown.keys().collect::<Vec<_>>(),
            booked.keys().collect::<Vec<_>>(),
            "the sessions and the book"
        );
        for (key, until) in &shown {
            // One grant whose ports end at different times is shown with the last.
            let last =
                booked.iter().filter(|((client, one), _)| *client == key.0 && one.address == key.1.address);
            let last =
                if key.0.as_str().starts_with("client") { last.map(|(_, until)| *until).max() } else { None };
            assert_eq!(*until, last.unwrap_or(booked[key]), "{key:?}");
        }
        let mut elements: Vec<Element> = booked.into_keys().map(|(_, element)| element).collect();
        elements.sort_unstable();
        elements.dedup();
        assert_eq!(self.kernel.open(), elements, "the kernel and the book");
    }

    /// Everything comes to its end: nothing is open, and nobody thinks that anything is.
    pub(super) fn come_to_rest(&mut self) {
        self.heal_disk();
        self.kernel.set_fault(Fault::None);
        self.revive();
        self.pass(AMISS);
        self.sessions_cover_the_kernel();
        self.kill(Victim::Keeper);
        self.revive();
        self.pass(Duration::from_mins(2));
        assert_eq!(self.kernel.open(), []);
        let front = self.front.as_ref().unwrap();
        assert_eq!(front.sessions(self.now()).count(), 0);
        assert!(self.duty.as_ref().unwrap().book.ledger.is_empty());
        // Who was not let go opens as ever, and now nobody dies.
        self.fuse.set(0, Victim::Keeper);
        let without = self.site.without;
        for number in (0..CLIENTS).filter(|number| without != Some(*number)) {
            self.knock(number, &[22], None, "192.0.2.9".parse().unwrap());
        }
        assert!(!self.kernel.open().is_empty());
    }

    fn sessions_cover_the_kernel(&self) {
        let front = self.front.as_ref().unwrap();
        let shown: HashSet<Element> =
            front.sessions(self.now()).flat_map(|session| front::elements(&session)).collect();
        let is_due =
            |element: &&Element| self.truth.latest(element).is_some_and(|latest| latest > self.now().mono);
        let open = self.kernel.open();
        let hidden = open.iter().filter(is_due).find(|element| !shown.contains(element));
        assert_eq!(hidden, None, "a door that is no session");
    }
}
