//! The audit log's one writer. Each part is heard by its own channel, so none can speak in another's name; and the front,
//! which has read strangers' packets, may say only so much: it must not push out what the others said.

use std::path::Path;

use portunus_config::Settings;
use portunus_model::Mono;
use portunus_store::audit::{AuditLog, Bounds, By, Fact};
use portunus_sys::clock;

use super::alerts::Alerts;
use crate::message::Note;

/// What the front may say at once, and a minute.
const NOTES_AT_ONCE: u32 = 600;
const NOTES_A_MINUTE: u32 = 600;

/// The writer.
#[derive(Debug)]
pub(super) struct Audit {
    /// `None` in a dry run: nothing happens that would have to be known later.
    log: Option<AuditLog>,
    notes_left: u32,
    counted: Mono,
    /// Whether the disk takes nothing, and that was said.
    sick: bool,
    after_clean_end: bool,
    put_back: u64,
    /// Who tells people of it.
    pub(super) alerts: Alerts,
}

/// What is told of it in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) written: u64,
    pub(super) lost: u64,
    pub(super) sick: bool,
    pub(super) put_back: u64,
}

pub(super) fn bounds(settings: &Settings) -> Bounds {
    Bounds { size: settings.audit.megabytes << 20, files: settings.audit.files }
}

impl Audit {
    /// Opens it, and says in the log what is wrong with it.
    pub(super) fn open(state_dir: &Path, bounds: Bounds, dry: bool, alerts: Alerts) -> std::io::Result<Self> {
        let mut audit = Self {
            log: None,
            notes_left: NOTES_AT_ONCE,
            counted: clock::mono(),
            sick: false,
            after_clean_end: true,
            put_back: 0,
            alerts,
        };
        if dry {
            return Ok(audit);
        }
        let (log, found) = AuditLog::open(state_dir, bounds, clock::wall())?;
        if let Some(damage) = &found.damage {
            tracing::error!(
                damage,
                "the audit log is not what was written: `portunus audit verify` shows where it begins"
            );
        }
        audit.after_clean_end = found.clean_end;
        audit.log = Some(log);
        Ok(audit)
    }

    pub(super) fn after_clean_end(&self) -> bool {
        self.after_clean_end
    }

    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        if let Some(log) = &mut self.log {
            log.set_bounds(bounds);
        }
    }

    /// A fact of our own, or of a part that has read no stranger's byte.
    pub(super) fn add(&mut self, by: By, fact: Fact) {
        self.put_back += u64::from(matches!(fact, Fact::PutBack { .. }));
        self.alerts.saw(&fact);
        if let Some(log) = &mut self.log {
            log.add(clock::wall(), by, fact);
        }
    }

    pub(super) fn add_all(&mut self, by: By, facts: Vec<Fact>, lost: u64) {
        facts.into_iter().for_each(|fact| self.add(by, fact));
        if by == By::Grantor {
            self.alerts.missed(lost);
        }
        self.lose(by, lost);
    }

    /// What the front saw.
    pub(super) fn add_notes(&mut self, notes: Vec<Note>, lost: u64) {
        let now = clock::mono();
        let passed = u32::try_from(now.since(self.counted).as_millis()).unwrap_or(u32::MAX);
        let more = passed.saturating_mul(NOTES_A_MINUTE) / 60_000;
        if more > 0 {
            self.counted = now;
            self.notes_left = self.notes_left.saturating_add(more).min(NOTES_AT_ONCE);
        }
        let mut lost = lost;
        for note in notes {
            if let Some(left) = self.notes_left.checked_sub(1) {
                self.notes_left = left;
                self.add(By::Front, note.into());
            } else {
                lost = lost.saturating_add(1);
            }
        }
        self.lose(By::Front, lost);
    }

    fn lose(&mut self, of: By, entries: u64) {
        if let Some(log) = &mut self.log
            && entries > 0
        {
            log.lose(of, entries);
        }
    }

    /// Writes it down, durably. What the disk does not take is counted; the daemon goes on, since whoever comes to mend
    /// the disk may have to knock.
    pub(super) fn flush(&mut self) {
        let Some(log) = &mut self.log else { return };
        match (log.flush(clock::wall()), self.sick) {
            (Ok(true), true) => {
                self.sick = false;
                tracing::warn!("the audit log can be written again; it says how much is missing");
            }
            (Err(error), false) => {
                self.sick = true;
                tracing::error!(
                    %error,
                    "the audit log cannot be written: what happens now is only counted in it; is the disk full?"
                );
            }
            (Ok(_), _) | (Err(_), true) => (),
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let (written, lost) = self.log.as_ref().map_or((0, 0), AuditLog::counts);
        Tally { written, lost, sick: self.sick, put_back: self.put_back }
    }
}

#[cfg(test)]
mod tests {
    use portunus_store::audit;

    use super::*;
    use portunus_store::audit::Verb;

    #[test]
    fn a_front_that_talks_without_end_pushes_nothing_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Audit::open(dir.path(), Bounds::default(), false, Alerts::new(None)).unwrap();
        log.add(By::Grantor, Fact::NotPutBack { why: "of the grantor's own".into() });
        let note = Note::Asked { verb: Verb::Close, uid: 7, allowed: false, client: None, address: None };
        for _ in 0..1000 {
            log.add_notes(vec![note.clone(); 100], 0);
            log.flush();
        }
        log.add(By::Keeper, Fact::Stopped { grants_closed: false, asked: true });
        log.flush();
        assert!(audit::verify(dir.path(), None).is_ok());
        let (mut fronts, mut grantors, mut lost) = (0, 0, 0);
        audit::each(dir.path(), |shown| {
            fronts += u32::from(shown.value["by"] == "front");
            grantors += u32::from(shown.value["by"] == "grantor");
            lost += shown.value["entries"].as_u64().unwrap_or(0);
            true
        })
        .unwrap();
        assert_eq!(grantors, 1);
        assert!((NOTES_AT_ONCE..NOTES_AT_ONCE + 300).contains(&fronts), "{fronts}");
        assert_eq!(lost + u64::from(fronts), 100_000);
    }
}
