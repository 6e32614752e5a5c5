//! Receivers: each turns a source of packets into datagrams.

mod filter;
mod frame;
mod http;
mod link;
mod udp;

pub use filter::{Fault, Filter, FilterError};
pub use frame::{Carrier, Frame, Payload};
pub use http::{HttpKnock, HttpRules, NotHttp};
pub use link::Link;
pub use udp::Udp;
