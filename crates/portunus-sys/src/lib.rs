//! The only unsafe code: sockets, netlink descriptors, clocks, confinement, careful files.
//!
//! Here is what the kernel offers, as safe functions. Not here: any decision. Called by every crate that does IO.

pub mod clock;
pub mod files;
