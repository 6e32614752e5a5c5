//! Receivers: each turns a source of packets into datagrams.
//!
//! Here is [`Udp`]. Not here: what a datagram means, and how a socket is opened (portunus-sys). Called by the front.

mod udp;

pub use udp::Udp;
