//! What the tests in `tests/` and the benchmark in `bench/` stand on: two namespaces and a cable, the built binary in
//! one of them, knocks and connections from the other.
//!
//! Here is no assertion about Portunus. Every helper fails by panicking with what it tried and what the system said:
//! where a machine cannot run these tests they fail and say why, they are never skipped.
#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails by panicking")]

mod crowd;
mod daemon;
mod door;
mod flood;
pub mod fwknop;
pub mod gpg;
mod knocker;
mod lag;
mod namespace;
pub mod native;
mod original;
pub mod told;
mod tool;
mod trial;
mod world;

pub use crowd::{Member, crowd, honoured, in_bursts, new_key, paced, settle};
pub use daemon::{Daemon, Part};
pub use door::{Open, closed, connects, open_for_their_time, open_within, probe, serve_tcp};
pub use flood::Flood;
pub use knocker::{Knocker, PACKET};
pub use lag::Lag;
pub use namespace::Namespace;
pub use original::{Heard, Original};
pub use tool::{binary, run, run_with_input, try_run};
pub use trial::{Try, VICTIMS, Victim, server_processes, signal};
pub use world::{CLIENT, CLIENT6, Firewall, SERVER, SERVER6, World};
