//! The audit log: what was opened, closed, refused and changed, and who says so. JSON lines, each chained to the one before
//! it by a hash, in a file that is only appended to; beside it the anchor, which knows how many lines there are.
//!
//! Here are the format, the one who writes (the keeper, and nobody else) and the one who verifies (`portunus audit`). The
//! keeper is not confined, so unlike the rest of this crate these are paths: full files are renamed, the oldest is removed.
//!
//! A chain without a key shows every change to whoever has kept a later head of it elsewhere; the anchor shows what was cut
//! off at the end to whoever has not. Who is root can write both anew.

mod anchor;
mod fact;
mod line;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use fact::{By, Fact, Verb};
pub use read::{AuditError, Checked, Head, Shown, each, lines, verify};
pub use write::{AuditLog, Found};

/// The current file's name in the state folder; full ones are `audit.log.1`, the latest, and so on.
pub const FILE: &str = "audit.log";

/// The anchor's name.
pub const ANCHOR: &str = "audit.head";

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one file; a line may end a little behind it.
    pub size: u64,
    /// How many files, the current one included.
    pub files: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { size: 10 << 20, files: 10 }
    }
}

/// A hash of the chain.
type Chain = [u8; 32];

fn current(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn numbered(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{FILE}.{number}"))
}

/// The numbers of the full files that there are, the latest first.
fn numbers(dir: &Path) -> std::io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u32> =
            name.to_str().and_then(|name| name.strip_prefix(FILE)?.strip_prefix('.')?.parse().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}
