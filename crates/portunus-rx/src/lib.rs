//! Receivers: each turns a source of packets into datagrams.
//!
//! [`Receiver`] is what the front's loop waits for and reads: UDP sockets, packet sockets (sniffing), TCP sockets with HTTP,
//! packets that a rule logs, a capture that grows. [`Capture`] reads a whole file in their place. What a stranger sent is only cut free here: [`Frame::payload`] strips headers,
//! [`HttpRules::knock`] reads a request, [`Wanted`] says what can be a knock at all.
//!
//! In a loop: each of [`Receiver::descriptors`] is added to the poll with its number; when one is ready,
//! [`Receiver::receive`] is called with it; the wait ends at [`Receiver::poll_timeout`], and then
//! [`Receiver::handle_timeout`] is called. Sniffing has one thing more to do: see [`Packet`].
//!
//! Not here: what a datagram means, and any unsafe call (portunus-sys). The keeper opens ([`Sniffing::open`], and
//! portunus-sys for UDP and TCP), the front receives and needs no right for it.

mod echo;
mod file;
mod filter;
mod followed;
mod frame;
mod http;
mod link;
mod nflog;
mod packet;
mod receiver;
mod tail;
mod tcp;
mod udp;
mod wanted;

pub use echo::Echoes;
pub use file::{Capture, CaptureError, Caught};
pub use filter::{Fault, Filter, FilterError};
pub use followed::Followed;
pub use frame::{Carrier, Frame, Payload};
pub use http::{HttpKnock, HttpRules, NotHttp};
pub use link::Link;
pub use nflog::{Nflog, open_nflog};
pub use packet::{OpenError, Packet, Sniffing, WhenGone};
pub use portunus_sys::packet::Ear;
pub use receiver::{ReceiveError, Received, Receiver};
pub use tcp::{Bounds, Tcp};
pub use udp::Udp;
pub use wanted::Wanted;
