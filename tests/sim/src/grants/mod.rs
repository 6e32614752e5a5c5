//! Grants across crashes: the daemon's own book, duty, ledger and journal (no copy of them), its gate for a front, on a
//! simulated kernel and disk, against what a grant promises.
//!
//! The kernel goes on when everybody is dead: its elements have timers, which stand still while the machine sleeps
//! (nftables: jiffies), or dates of the wall clock (x_tables' xt_time). It can be flushed, refuse a transaction, refuse a
//! part, or do it and say that it did not. Whatever a process does to the world is a step; a fuse kills the front, the
//! grantor, both or the keeper at any of them, a write to the journal torn in the middle.
//!
//! The promises, in `truth`: no door is open past its time, none closes early, and after each restart the sessions are
//! what the kernel has and the journal says. Past its time by how much, where clocks do what they should not, is said
//! there too. `schedule` kills at every step of short schedules, and at random in thousands of long ones.

#[path = "../../../../crates/portunusd/src/grantor/book.rs"]
#[expect(dead_code, reason = "the shell uses the rest of it")]
mod book;
#[path = "../../../../crates/portunusd/src/grantor/duty.rs"]
mod duty;
#[path = "../../../../crates/portunusd/src/grantor/facts.rs"]
mod facts;
#[path = "../../../../crates/portunusd/src/grantor/kill.rs"]
mod kill;
#[path = "../../../../crates/portunusd/src/grantor/limits.rs"]
mod limits;
#[path = "../../../../crates/portunusd/src/grantor/naps.rs"]
mod naps;
#[path = "../../../../crates/portunusd/src/grantor/past.rs"]
mod past;

mod checks;
mod front;
mod fuse;
mod kernel;
mod schedule;
mod system;
mod truth;
