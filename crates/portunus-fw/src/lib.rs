//! Grants to firewall: ledger, nftables, iptables, and the walk of a ruleset.
//!
//! Here: who may reach what until when ([`Ledger`], pure), the back ends that make the kernel agree ([`Firewall`]),
//! and the reading of other people's rules ([`ruleset`], [`walk`], [`place`]). Not here: who may have a grant, and
//! any process or loop. Called by the grantor, and by `init`, `check`, `doctor` and `teardown`.

mod firewall;
mod kill;
mod ledger;
mod nft;
mod proof;
mod record;

pub mod iptables;
pub mod place;
pub mod ruleset;
pub mod walk;

pub use firewall::{Change, Firewall, FirewallError, Standing, Structure};
pub use kill::Ended;
pub use ledger::{Ledger, Opened, Row, Term};
pub use nft::Nft;
pub use portunus_model::Element;
pub use proof::{Came, Proof};
pub use record::Record;
