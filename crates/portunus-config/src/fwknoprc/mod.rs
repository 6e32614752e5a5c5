//! fwknop's client file, `~/.fwknoprc`: `[stanza]` after `[stanza]`, each with lines of a variable and its value.
//!
//! Here is which variables there are, how the lines are read and how a stanza is written without touching the rest of
//! the file. Not here: what a value means, which is the same as on the command line, so the face reads it.

mod read;
mod variable;
mod write;

pub use read::{DEFAULT, Entry, names, stanza};
pub use variable::Variable;
pub use write::{Save, TEMPLATE, save};
