//! What waits to be told: the ring on disk, and how much of it is one client's. A key in a loop, a stolen one maybe, must not
//! push the others' alerts out, nor its own first ones: what is beyond its share is counted, and the count is told.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::net::IpAddr;

use portunus_store::spool::{Spool, WAYS};
use portunus_sys::clock;

use super::alert::{Alert, What};

/// One client has this part of the ring.
const SHARE: u64 = 10;
/// And so many places at least.
const FEWEST: u64 = 20;

/// The ring, and whose it is.
pub(super) struct Ring {
    pub(super) spool: Spool<File>,
    most: usize,
    /// The numbers of each client's alerts that somebody has still to hear.
    held: HashMap<String, VecDeque<u64>>,
    /// What was beyond a share. As many as there are clients at most.
    unsaid: HashMap<String, Unsaid>,
}

#[derive(Default)]
struct Unsaid {
    grants: u64,
    refusals: u64,
    address: Option<IpAddr>,
}

impl Ring {
    pub(super) fn new(spool: Spool<File>, keep: u64) -> Self {
        let most = usize::try_from((keep / SHARE).max(FEWEST)).unwrap_or(usize::MAX);
        let mut held: HashMap<String, VecDeque<u64>> = HashMap::new();
        for (number, record) in spool.untold() {
            if let Ok(alert) = postcard::from_bytes::<Alert>(&record) {
                held.entry(alert.client).or_default().push_back(number);
            }
        }
        Self { spool, most, held, unsaid: HashMap::new() }
    }

    /// Keeps one, durably, or counts it.
    pub(super) fn keep(&mut self, alert: &Alert) -> io::Result<()> {
        let told = self.spool.slowest();
        let held = self.held.entry(alert.client.clone()).or_default();
        while held.front().is_some_and(|number| *number < told) {
            held.pop_front();
        }
        if held.len() < self.most {
            // What fails too is known until we end.
            return self.add(alert).or_else(|error| self.spool.lose(1).and(Err(error)));
        }
        self.unsaid.entry(alert.client.clone()).or_default().count(alert);
        // Whom nothing waits for would not hear of it before something else comes.
        if (0..WAYS).any(|way| self.spool.is_idle(way)) { self.settle() } else { Ok(()) }
    }

    /// What was only counted is told from now on: once in a message, so that it is no way around a share. What cannot be kept
    /// stays counted.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let mut kept = Ok(());
        for (client, unsaid) in std::mem::take(&mut self.unsaid) {
            let Unsaid { grants, refusals, address } = unsaid;
            let what = What::More { grants, refusals, address };
            if let Err(error) = self.add(&Alert { at: clock::wall(), client: client.clone(), what }) {
                self.unsaid.insert(client, unsaid);
                kept = Err(error);
            }
        }
        kept
    }

    /// The same at the end, after which nobody counts any more.
    pub(super) fn settle_for_good(&mut self) -> io::Result<()> {
        let kept = self.settle();
        let left = std::mem::take(&mut self.unsaid).into_values();
        let left = left.map(|unsaid| unsaid.grants.saturating_add(unsaid.refusals));
        self.spool.lose(left.fold(0, u64::saturating_add)).and(kept)
    }

    fn add(&mut self, alert: &Alert) -> io::Result<()> {
        let number = self.spool.next_number();
        self.spool.add(&alert.record())?;
        self.held.entry(alert.client.clone()).or_default().push_back(number);
        Ok(())
    }
}

impl Unsaid {
    fn count(&mut self, alert: &Alert) {
        match &alert.what {
            What::Granted { address, .. } => {
                self.grants = self.grants.saturating_add(1);
                self.address = Some(*address);
            }
            What::Refused { source, unsaid, .. } => {
                self.refusals = self.refusals.saturating_add(1).saturating_add(*unsaid);
                self.address = source.or(self.address);
            }
            What::More { grants, refusals, address } => {
                self.grants = self.grants.saturating_add(*grants);
                self.refusals = self.refusals.saturating_add(*refusals);
                self.address = address.or(self.address);
            }
            What::Test => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use portunus_model::Unix;

    use super::*;

    fn granted(client: &str) -> Alert {
        Alert::of_a_grant(client, true, Unix::from_secs(1))
    }

    fn open(folder: &tempfile::TempDir) -> Ring {
        let path = folder.path().join("spool");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let mut spool = Spool::open(file, 300).unwrap();
        spool.only([true, false, false]).unwrap();
        Ring::new(spool, 300)
    }

    fn waiting(ring: &Ring) -> Vec<Alert> {
        let waiting = ring.spool.waiting(0, usize::MAX);
        waiting.records.iter().map(|record| postcard::from_bytes(record).unwrap()).collect()
    }

    #[test]
    fn a_key_in_a_loop_pushes_nobody_out_and_what_is_beyond_its_share_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = open(&folder);
        ring.keep(&granted("alice")).unwrap();
        let first = Alert { at: Unix::from_secs(0), ..granted("bob") };
        ring.keep(&first).unwrap();
        (0..600).for_each(|_| ring.keep(&granted("bob")).unwrap());
        // Nor does one that begins anew in the middle of it.
        drop(ring);
        let mut ring = open(&folder);
        (0..550).for_each(|_| ring.keep(&granted("bob")).unwrap());
        ring.keep(&granted("carol")).unwrap();
        let all = waiting(&ring);
        assert_eq!(all.len(), 1 + 30 + 1);
        assert_eq!((&all[0], &all[1], &all[31]), (&granted("alice"), &first, &granted("carol")));
        assert_eq!(ring.spool.counts(0).1, 0, "nobody has lost any");
        let end = ring.spool.waiting(0, usize::MAX).end;
        ring.spool.told(0, end, 0).unwrap();
        ring.settle().unwrap();
        let address = Some([192, 0, 2, 1].into());
        let more = What::More { grants: 550, refusals: 0, address };
        assert_eq!(waiting(&ring).into_iter().map(|alert| alert.what).collect::<Vec<_>>(), [more]);
        // He has his share again.
        (0..40).for_each(|_| ring.keep(&granted("bob")).unwrap());
        assert_eq!(waiting(&ring).len(), 30);
    }

    #[test]
    fn a_count_that_the_disk_does_not_take_stays_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = open(&folder);
        (0..35).for_each(|_| ring.keep(&granted("bob")).unwrap());
        let good = std::mem::replace(&mut ring, {
            // The same ring by a descriptor that cannot be written to.
            let file = File::open(folder.path().join("spool")).unwrap();
            Ring::new(Spool::open(file, 300).unwrap(), 300)
        });
        ring.unsaid = good.unsaid;
        ring.settle().unwrap_err();
        assert_eq!(ring.unsaid.get("bob").map(|unsaid| unsaid.grants), Some(5));
        ring.settle_for_good().unwrap_err();
        assert_eq!((ring.unsaid.len(), ring.spool.counts(0).1), (0, 5));
    }

    /// One way is dead; the other hears of everybody all the same.
    #[test]
    fn a_way_that_waits_for_nothing_hears_of_what_is_beyond_a_share() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = open(&folder);
        ring.spool.only([true, true, false]).unwrap();
        (0..30).for_each(|_| ring.keep(&granted("bob")).unwrap());
        let end = ring.spool.waiting(1, usize::MAX).end;
        ring.spool.told(1, end, 0).unwrap();
        (0..50).for_each(|_| ring.keep(&granted("bob")).unwrap());
        assert_eq!(ring.spool.counts(1), (1, 0));
        assert_eq!(ring.spool.counts(0), (31, 0));
    }
}
