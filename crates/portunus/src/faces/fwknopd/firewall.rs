//! `--fw-list`, `--fw-list-all` and `--fw-flush`: the rules, by iptables' own tools, whose listing people's monitors read.

use std::process::{Command, ExitCode, Stdio};

use portunus_config::Settings;
use portunus_ctl::control::Client;
use portunus_model::{ChainRow, Chains, Place};

use super::args::Cli;
use super::{NAME, serve};
use crate::ruleset;
use crate::say::{FAILED, Failure, line, out};

/// The table of ours, and what the names begin with of what is ours in another's.
const OURS: &str = "portunus";

pub(super) fn run(cli: &Cli, settings: &Settings) -> ExitCode {
    if cli.fw_flush {
        return flush(settings);
    }
    if cli.fw_list_all {
        line("Listing all iptables rules in applicable tables...\n");
        for (tool, table) in [("iptables", "filter"), ("iptables", "nat"), ("ip6tables", "filter")] {
            print(tool, &["-t", table, "-v", "-n", "-L", "--line-numbers"], false);
        }
        return ExitCode::SUCCESS;
    }
    match chains(settings) {
        Some(chains) => {
            line("Listing rules in fwknopd iptables chains...\n");
            for row in rows(chains) {
                let words = ["-t", &row.table, "-L", &row.chain, "--line-numbers", "-n"];
                print(&tool(chains, "iptables"), &words, false);
                print("ip6tables", &words, true);
            }
        }
        None => {
            let tables = ask("nft", &["list", "tables"]).unwrap_or_default();
            for [family, name] in tables.lines().filter_map(table) {
                let Some(text) = ask("nft", &["list", "table", family, name]) else { continue };
                let text = if name == OURS { text } else { attached(&text) };
                if !text.is_empty() {
                    out(text);
                    line("");
                }
            }
        }
    }
    ExitCode::SUCCESS
}

/// A line of nft's list of tables.
fn table(line: &str) -> Option<[&str; 2]> {
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["table", family, name] => Some([family, name]),
        _ => None,
    }
}

/// Of an administrator's table what is ours in it, as nft lists it; nothing where nothing is.
fn attached(text: &str) -> String {
    let mut lines = text.lines();
    let head = lines.next();
    let (mut kept, mut inside) = (String::new(), false);
    for line in lines {
        // The blocks of a table stand one tab in, and end so.
        if let Some(block) =
            line.strip_prefix('\t').filter(|rest| rest.ends_with('{') && !rest.starts_with('\t'))
        {
            let name = block.split_whitespace().nth(1).unwrap_or_default();
            inside = name == OURS || name.strip_prefix(OURS).is_some_and(|rest| rest.starts_with('_'));
        }
        if inside {
            kept.push_str(line);
            kept.push('\n');
            inside = line != "\t}";
        }
    }
    head.filter(|_| !kept.is_empty()).map(|head| format!("{head}\n{kept}}}\n")).unwrap_or_default()
}

fn chains(settings: &Settings) -> Option<&Chains> {
    match settings.stance.place.as_ref() {
        Some(Place::Fwknop(chains)) => Some(chains),
        Some(Place::Own | Place::Attach(_) | Place::Iptables) | None => None,
    }
}

fn rows(chains: &Chains) -> impl Iterator<Item = &ChainRow> {
    let others = [&chains.output, &chains.forward, &chains.dnat, &chains.snat, &chains.masquerade];
    std::iter::once(&chains.input).chain(others.into_iter().flatten())
}

fn tool(chains: &Chains, usual: &str) -> String {
    chains.program.clone().unwrap_or_else(|| usual.to_owned())
}

/// Prints what a tool lists; of a second family only where it has rules.
fn print(tool: &str, words: &[&str], only_rules: bool) {
    let Some(text) = ask(tool, words) else { return };
    // A head, and a row of titles.
    if !only_rules || text.lines().filter(|line| !line.trim().is_empty()).count() > 2 {
        out(text);
        line("");
    }
}

fn ask(tool: &str, words: &[&str]) -> Option<String> {
    let done = Command::new(tool).args(words).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A running server would put its rules back, so it is asked to close what is open; without one the chains go, or what stands for
/// them in nftables.
fn flush(settings: &Settings) -> ExitCode {
    line("Deleting any existing firewall rules...");
    let running =
        settings.fwknop.as_deref().and_then(|daemon| Client::connect(&serve::control_dir(daemon)).ok());
    if let Some(mut running) = running {
        return match running.close(None, None) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => Failure::new(error, "", "").tell(NAME),
        };
    }
    let Some(chains) = chains(settings) else {
        let done = ruleset::flush_for_fwknopd();
        return done.map_or_else(|failure| failure.code(FAILED).tell(NAME), |()| ExitCode::SUCCESS);
    };
    for row in rows(chains) {
        for tool in [tool(chains, "iptables"), "ip6tables".to_owned()] {
            let run = |words: &[&str]| ask(&tool, &[&["-t", row.table.as_str()], words].concat());
            while run(&["-D", &row.from, "-j", &row.chain]).is_some() {}
            let _ = run(&["-F", &row.chain]);
            let _ = run(&["-X", &row.chain]);
        }
    }
    ExitCode::SUCCESS
}
