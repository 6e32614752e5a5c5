//! The nouns of Portunus, shared by every crate: time, datagrams, clients, ports, claims, grants, rules, verdicts.
//!
//! Here are values and their own invariants. Not here: any socket, file, clock, thread, random source or key.
//! Everybody calls it; it calls nobody (serde is used only so that a value can cross a process boundary).

mod address;
mod chain_owner;
mod claim;
mod client;
mod clock;
mod datagram;
mod door_role;
mod element;
mod event;
mod grant;
mod grounds;
mod holders;
mod lengths;
mod net;
mod order;
mod port;
mod refusal;
mod rules;
mod way;

pub use address::{NotOpenable, openable};
pub use chain_owner::ChainOwner;
pub use claim::{Claim, ClaimKey, Claimed};
pub use client::{ClientName, NameError};
pub use clock::{Mono, Now, Unix};
pub use datagram::{Carried, Datagram, LONGEST, Via};
pub use door_role::DoorRole;
pub use element::Element;
pub use event::{Accepted, Detail, Dialect, Event, Reason};
pub use grant::{Cause, Closing, Nat, NatSource, Opened, Opening, Way};
pub use grounds::{Grounds, Mark};
pub use holders::HolderNames;
pub use lengths::Lengths;
pub use net::{Net, NetError};
pub use order::{CycleFacts, Order, Ran, Work};
pub use port::{PortError, PortSpec, Proto};
pub use refusal::Refusal;
pub use rules::{
    ChainRow, Chains, Client, ClientKey, CommandRule, Cycle, Family, KeyId, Limits, NatLimits, NatRule,
    NativeRule, Place, Rules, Seat, Service, Stance, Stanza, Sudo,
};
