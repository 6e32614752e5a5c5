//! Grants to firewall: ledger, plan, nftables, iptables, and the walk of a ruleset.

pub mod place;
pub mod ruleset;
pub mod walk;
