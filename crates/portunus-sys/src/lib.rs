//! The only unsafe code: sockets, netlink descriptors, clocks, confinement, careful files.
//!
//! Here is what the kernel offers, as safe functions. Not here: any decision. Called by every crate that does IO.

mod batch;
pub mod bpf;
pub mod channel;
pub mod clock;
pub mod confine;
pub mod files;
pub mod lead;
pub mod links;
pub mod memfd;
pub mod memory;
pub mod netlink;
pub mod packet;
pub mod pidfile;
pub mod poll;
pub mod process;
pub mod raw;
pub mod signals;
pub mod syslog;
pub mod tcp;
pub mod udp;
pub mod users;
pub mod watch;
