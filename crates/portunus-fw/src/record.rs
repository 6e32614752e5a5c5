//! A firewall that only remembers: for dry runs and tests. Its time is moved by hand.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::{Change, Element, Ended, Firewall, FirewallError, Standing, Structure};

/// Remembers what stands; fails on demand.
#[derive(Debug, Default)]
pub struct Record {
    /// What was installed last.
    pub structure: Option<Structure>,
    /// What is open, and for how much longer.
    pub open: BTreeMap<Element, Duration>,
    /// Every change so far, in order.
    pub changes: Vec<Change>,
    /// Whose flows were ended, in order.
    pub ended: Vec<Element>,
    /// With this error every call fails.
    pub failing: Option<FirewallError>,
    /// Somebody else has flushed us.
    pub broken: bool,
}

impl Record {
    /// Lets time pass: what is due closes by itself, as in the kernel.
    pub fn pass(&mut self, span: Duration) {
        self.open = std::mem::take(&mut self.open)
            .into_iter()
            .filter_map(|(element, left)| {
                Some((element, left.checked_sub(span).filter(|left| !left.is_zero())?))
            })
            .collect();
    }

    fn one(&mut self, change: &Change) -> Result<(), FirewallError> {
        if let Some(error) = &self.failing {
            return Err(error.clone());
        }
        let structure = self.structure.as_ref().ok_or(FirewallError::NotThere)?;
        let element = change.element();
        structure.has_place_for(&element)?;
        match change {
            Change::Open(element, lasting) => {
                let full = self.open.len() >= usize::try_from(structure.most_open).unwrap_or(usize::MAX);
                if full && !self.open.contains_key(element) {
                    return Err(FirewallError::Full);
                }
                self.open.insert(*element, *lasting);
            }
            Change::Close(element) => {
                self.open.remove(element);
            }
        }
        self.changes.push(*change);
        Ok(())
    }
}

impl Firewall for Record {
    fn install(&mut self, structure: &Structure, open: &[(Element, Duration)]) -> Result<(), FirewallError> {
        if let Some(error) = &self.failing {
            return Err(error.clone());
        }
        self.structure = Some(structure.clone());
        self.open = open.iter().copied().collect();
        self.broken = false;
        Ok(())
    }

    fn change(&mut self, changes: &[Change]) -> Vec<Result<(), FirewallError>> {
        changes.iter().map(|change| self.one(change)).collect()
    }

    fn end_flows(&mut self, elements: &[Element], _: Duration) -> Result<Ended, FirewallError> {
        if let Some(error) = &self.failing {
            return Err(error.clone());
        }
        self.ended.extend(elements);
        Ok(Ended { sockets: u32::try_from(elements.len()).unwrap_or(u32::MAX), ..Ended::default() })
    }

    fn open_now(&mut self) -> Result<Vec<(Element, Duration)>, FirewallError> {
        Ok(self.open.iter().map(|(element, left)| (*element, *left)).collect())
    }

    fn standing(&mut self) -> Result<Standing, FirewallError> {
        Ok(if self.broken { Standing::Broken } else { Standing::Whole })
    }

    fn watch(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn teardown(&mut self) -> Result<(), FirewallError> {
        self.structure = None;
        self.open.clear();
        Ok(())
    }
}
