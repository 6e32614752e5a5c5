//! Who else has rules on this machine, told by what their programs make.

use std::fmt;

use crate::ruleset::{Expr, Held, Ruleset, Table, TableFamily};

/// Whose tools manage a table, so that nothing of ours may stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// firewalld.
    Firewalld,
    /// ufw, over iptables.
    Ufw,
    /// iptables-nft, iptables-legacy and what uses them.
    Iptables,
    /// Docker, or podman, over nftables.
    Docker,
    /// libvirt, over nftables.
    Libvirt,
    /// One process, which the kernel lets nobody else change it (`flags owner`).
    Owner(u32),
}

impl Keeper {
    /// The place to take instead.
    #[must_use]
    pub const fn instead(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Firewalld | Self::Ufw | Self::Docker | Self::Libvirt | Self::Owner(_) => "own",
        }
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Firewalld => f.write_str("firewalld"),
            Self::Ufw => f.write_str("ufw"),
            Self::Iptables => f.write_str("iptables"),
            Self::Docker => f.write_str("docker"),
            Self::Libvirt => f.write_str("libvirt"),
            Self::Owner(port) => write!(f, "the process with netlink port {port} (flags owner)"),
        }
    }
}

/// Somebody who has rules here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// firewalld: opens ports by zone, drops the rest.
    Firewalld,
    /// ufw.
    Ufw,
    /// Docker: published ports are forwarded to containers, past every input chain.
    Docker,
    /// podman: the same.
    Podman,
    /// libvirt: its networks are forwarded.
    Libvirt,
    /// Rules of iptables-nft.
    IptablesNft,
    /// Rules of iptables-legacy: nft does not list them.
    IptablesLegacy,
    /// A table that belongs to one process.
    Owned,
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firewalld => "firewalld is here: what it drops must be allowed with firewall-cmd; nothing of ours is put into its table",
            Self::Ufw => "ufw is here: what it drops must be allowed with `ufw allow`; nothing of ours is put into its chains",
            Self::Docker => "docker is here: the ports that it publishes are forwarded to containers, past the input chains: guard them with `forward = true`",
            Self::Podman => "podman is here: the ports that it publishes are forwarded to containers, past the input chains: guard them with `forward = true`",
            Self::Libvirt => "libvirt is here: its networks are forwarded, past the input chains",
            Self::IptablesNft => "rules of iptables-nft are here: `iptables-save` and `iptables-restore` rewrite their tables",
            Self::IptablesLegacy => "rules of iptables-legacy are here: `nft list ruleset` does not show them, and they count all the same",
            Self::Owned => "a table here belongs to one process (flags owner): only that process can change it",
        })
    }
}

/// Everybody, each once.
pub(super) fn all(ruleset: &Ruleset) -> Vec<Neighbour> {
    let mut found: Vec<Neighbour> = Vec::new();
    for neighbour in ruleset.tables.iter().flat_map(of_table) {
        if !found.contains(&neighbour) {
            found.push(neighbour);
        }
    }
    found
}

/// Whose tools manage this table; `None`: an admin's own nft rules.
pub(crate) fn keeper(table: &Table) -> Option<Keeper> {
    if let Some(port) = table.owner {
        // firewalld flags its table since 2.0; its own tool is the mend all the same.
        return Some(if is_firewalld(table) { Keeper::Firewalld } else { Keeper::Owner(port) });
    }
    if is_firewalld(table) {
        return Some(Keeper::Firewalld);
    }
    if has_chain(table, |name| name.starts_with("ufw-") || name.starts_with("ufw6-")) {
        return Some(Keeper::Ufw);
    }
    if is_iptables(table) {
        return Some(Keeper::Iptables);
    }
    if is_docker(table) || is_podman(table) {
        return Some(Keeper::Docker);
    }
    table.name.starts_with("libvirt").then_some(Keeper::Libvirt)
}

fn of_table(table: &Table) -> Vec<Neighbour> {
    let mut found = Vec::new();
    found.extend(is_firewalld(table).then_some(Neighbour::Firewalld));
    found.extend((keeper(table) == Some(Keeper::Ufw)).then_some(Neighbour::Ufw));
    found.extend(is_docker(table).then_some(Neighbour::Docker));
    found.extend(is_podman(table).then_some(Neighbour::Podman));
    let libvirt = table.name.starts_with("libvirt") || has_chain(table, |name| name.starts_with("LIBVIRT_"));
    found.extend(libvirt.then_some(Neighbour::Libvirt));
    let used = is_iptables(table)
        && table.chains.iter().any(|c| !c.rules.is_empty() || c.base.as_ref().is_some_and(|b| b.drops));
    found.extend(used.then_some(match table.held {
        Held::Nftables => Neighbour::IptablesNft,
        Held::Legacy => Neighbour::IptablesLegacy,
    }));
    found.extend((table.owner.is_some() && !is_firewalld(table)).then_some(Neighbour::Owned));
    found
}

fn is_firewalld(table: &Table) -> bool {
    table.name == "firewalld" || table.name.starts_with("firewalld_")
}

fn is_docker(table: &Table) -> bool {
    table.name.starts_with("docker-")
        || has_chain(table, |name| name == "DOCKER" || name.starts_with("DOCKER-"))
}

/// netavark's own table, or its chains in iptables' tables.
fn is_podman(table: &Table) -> bool {
    table.name == "netavark" || has_chain(table, |name| name.starts_with("NETAVARK"))
}

/// Expressions of x_tables, or the names that only its tools give.
fn is_iptables(table: &Table) -> bool {
    let of_tools = matches!(table.family, TableFamily::Ip | TableFamily::Ip6)
        && ["filter", "nat", "mangle", "raw", "security"].contains(&table.name.as_str())
        && table.chains.iter().any(|chain| {
            let hook = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
            chain.base.is_some() && hook.contains(&chain.name.as_str())
        });
    let xt = |expr: &Expr| matches!(expr, Expr::Xt(_) | Expr::XtTarget(_));
    table.held == Held::Legacy
        || of_tools
        || table.chains.iter().flat_map(|c| &c.rules).flat_map(|r| &r.exprs).any(xt)
}

fn has_chain(table: &Table, mut is: impl FnMut(&str) -> bool) -> bool {
    table.chains.iter().any(|chain| is(&chain.name))
}
