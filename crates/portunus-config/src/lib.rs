//! Text to rules, keys and settings, and back. Pure.
//!
//! Here: what people write (`portunus.toml`, `services.toml`, `clients/NAME.toml`; openme's two YAML files; profiles;
//! QR payloads; the session state file; fwknopd.conf and access.conf), read into one [`Settings`] with file, line and column for every mistake, and
//! edited so that nothing but the touched client changes. Not here: opening a file (that is [`Files`]), a clock, a
//! network name, a firewall. The daemon and the command line call it.

pub mod alerts;
mod client;
mod date;
mod diagnostic;
mod duration;
mod edit;
mod files;
pub mod fwknop;
pub mod fwknoprc;
mod keys;
mod lower;
pub mod native;
pub mod odd_bytes;
pub mod openme;
mod place;
mod ports;
pub mod profile;
mod quote;
mod reader;
pub mod sessions;
mod settings;
mod source;
mod toml_edit;
mod toml_tree;
mod tree;
mod value;
mod yaml_edit;
mod yaml_tree;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub use client::{Entry, KeysOf, NewClient, NewFwknop, OneTime};
pub use date::{parse_date, render_date};
pub use diagnostic::Diagnostic;
pub use duration::{parse_duration, render_duration};
pub use edit::{EditError, FileChange};
pub use files::{FileError, Files, Overlay, Secrecy};
pub use keys::fingerprint;
pub use lower::{parse_host, parse_interface};
pub use place::{parse_place, render_place};
pub use settings::{
    AuditSize, DoorKey, FirewallKind, KeyFile, MetricsListen, OnExit, Secrets, Settings, StanceWish,
};
pub use value::ValueError;

/// The UDP port that knocks go to, and the TCP port that answers `status`, unless a file says otherwise.
pub const DEFAULT_PORT: u16 = 54154;

/// Every address of both families.
fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))]
}
