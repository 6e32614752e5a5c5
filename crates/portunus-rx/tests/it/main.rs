//! The receivers against the kernel, libpcap's own program, and captures of other programs.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "a test may fail where it stands"
)]

mod corpus;
mod craft;
mod file;
mod filter;
mod libpcap;
mod logged;
mod original;
mod sniff;
mod tcp;
mod world;
