//! Grants to firewall: ledger, plan, nftables, iptables, and the walk of a ruleset.
