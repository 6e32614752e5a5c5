//! Any bytes as the files that survive. Shared by the fuzz target and by the test that replays its corpus
//! (crates/portunus-store/tests/corpus.rs).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use portunus_model::{Claim, ClaimKey, Claimed, Mono, Now, Unix};
use portunus_store::handover::Handover;
use portunus_store::invitations::{self, Invitation, TakenBy};
use portunus_store::{BootId, FileStore, Journal, ReplayStore, Segment, StoreError};

const BOOT: BootId = BootId::from_bytes([7; 16]);

/// A file in memory. Clones are the same file.
#[derive(Clone, Default)]
struct File(Rc<RefCell<Vec<u8>>>);

impl Segment for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.borrow();
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut file = self.0.borrow_mut();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let length = file.len().max(end);
        file.resize(length, 0);
        file[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn empty(&self) -> io::Result<()> {
        self.0.borrow_mut().clear();
        Ok(())
    }

    fn make_durable(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Two files: the first byte says where the second begins. So that checksums keep nobody out, each block whose last byte
/// is 0xff gets the right one, as a record of the size that the second byte says.
fn files(data: &[u8]) -> Option<[File; 2]> {
    let (&[cut, size], rest) = data.split_first_chunk()?;
    let block = if size % 2 == 0 { 64 } else { 192 };
    let (one, two) = rest.split_at_checked(usize::from(cut) * 16)?;
    Some([one, two].map(|bytes| {
        let mut bytes = bytes.to_vec();
        for record in bytes.chunks_exact_mut(block) {
            if record[block - 1] == 0xff {
                let sum = record[..block - 8].iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| {
                    (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
                });
                record[block - 8..].copy_from_slice(&sum.to_be_bytes());
            }
        }
        File(Rc::new(RefCell::new(bytes)))
    }))
}

/// A store over any bytes opens, or says that they are something else; it is sound from then on, and takes nothing twice.
pub(crate) fn replay(data: &[u8]) {
    let Some(files) = files(data) else { return };
    let now = Now { mono: Mono::from_nanos(1), wall: Unix::from_secs(1_800_000_000) };
    let claim = |n: u8| Claim {
        key: ClaimKey([n; 16]),
        stamp: now.wall,
        keep_until: now.wall.after(Duration::from_secs(60)),
    };
    let mut taken = [false; 12];
    for opening in 0..3 {
        let mut store = match FileStore::open(files.clone(), 8, BOOT, now) {
            Ok(store) => store,
            Err(error) => {
                assert!(opening == 0 && matches!(error, StoreError::WrongFile { .. }), "{error}");
                return;
            }
        };
        assert!(opening == 0 || !store.was_damaged());
        for n in 0..12 {
            let answer = store.claim(now, &[claim(n)])[0];
            assert!(!(taken[usize::from(n)] && answer == Claimed::Fresh));
            taken[usize::from(n)] |= answer == Claimed::Fresh;
        }
    }
}

/// A journal over any bytes opens, or is begun anew; what it gives is given again.
pub(crate) fn journal(data: &[u8]) {
    let Some(files) = files(data) else { return };
    let now = Mono::from_nanos(1);
    match Journal::open(files.clone(), BOOT, now) {
        Ok((_, mut rows)) => {
            assert!(rows.iter().all(|row| row.until > now));
            let (_, mut again) = Journal::open(files, BOOT, now).unwrap();
            let by_key = |row: &portunus_store::Row| format!("{row:?}");
            rows.sort_by_key(by_key);
            again.sort_by_key(by_key);
            assert_eq!(rows, again);
        }
        Err(StoreError::Damaged { .. }) => {
            assert_eq!(Journal::begin_anew(files, BOOT).unwrap().1, []);
        }
        Err(error) => assert!(matches!(error, StoreError::WrongFile { .. }), "{error}"),
    }
}

/// Any text as the files that commands leave for the daemon, and those that it leaves for itself: what is read is written so
/// that it reads the same, and so that nothing is read of a line that is cut.
pub(crate) fn handed_over(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let whole = |written: &str, read: fn(&str) -> bool| {
        assert!(read(written));
        assert!(
            (0..written.len()).filter(|&end| written.is_char_boundary(end)).all(|end| !read(&written[..end]))
        );
    };
    if let Ok(handover) = Handover::parse(text) {
        assert!(Handover::parse(&handover.line()).as_ref() == Ok(&handover));
        whole(&handover.line(), |line| Handover::parse(line).is_ok());
    }
    if let Ok(invitation) = Invitation::parse(text) {
        assert!(Invitation::parse(&invitation.line()).as_ref() == Ok(&invitation));
        whole(&invitation.line(), |line| Invitation::parse(line).is_ok());
    }
    if let Ok(taken) = TakenBy::parse(text) {
        assert!(TakenBy::parse(&taken.line()).as_ref() == Ok(&taken));
        whole(&taken.line(), |line| TakenBy::parse(line).is_ok());
    }
    if let Ok(public) = invitations::confirmed(text) {
        assert_eq!(invitations::confirmed(&invitations::confirmation(&public)), Ok(public));
        whole(&invitations::confirmation(&public), |line| invitations::confirmed(line).is_ok());
    }
}
