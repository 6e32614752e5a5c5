//! Every rule, decoded from the kernel without nft, reads as nft itself lists it: the decoder's golden test, where the
//! other side writes the expectation. Needs root and nft.

mod bench;

use bench::{load, read, run, unshare};

/// What nft lists of each chain, rule by rule, without counters' figures.
fn listed() -> Vec<String> {
    let listing = run("nft", &["-s", "list", "ruleset"]);
    let mut rules = Vec::new();
    let mut in_chain = false;
    for line in listing.lines() {
        let line = line.trim();
        match line {
            _ if line.starts_with("chain ") => in_chain = true,
            "}" => in_chain = false,
            _ if in_chain && !line.starts_with("type ") && !line.is_empty() => rules.push(plain(line)),
            _ => {}
        }
    }
    rules
}

/// Nft's finer points that our words leave out: counters, how a reject is said, bursts.
fn plain(line: &str) -> String {
    let mut line = line.replace("counter ", "");
    for detail in [
        " with icmpx admin-prohibited",
        " with icmpx type admin-prohibited",
        " burst 100 packets",
        " burst 5 packets",
    ] {
        line = line.replace(detail, "");
    }
    line
}

fn reads_as_listed(rules: &str) {
    unshare();
    run("ip", &["link", "add", "outer0", "type", "veth", "peer", "name", "wire"]);
    load(rules);
    let ruleset = read();
    let ours: Vec<String> = ruleset
        .tables
        .iter()
        .flat_map(|table| {
            table.chains.iter().flat_map(move |c| c.rules.iter().map(move |r| plain(&r.words(table))))
        })
        .collect();
    assert_eq!(ours, listed());
}

macro_rules! golden {
    ($($name:ident: $file:literal,)*) => {$(
        #[test]
        fn $name() {
            reads_as_listed(include_str!(concat!("rulesets/", $file)));
        }
    )*};
}

golden! {
    workstation: "workstation.nft",
    policy_drop: "policy-drop.nft",
    final_reject: "final-reject.nft",
    vmaps: "vmaps.nft",
    two_tables: "two-tables.nft",
    redirect: "redirect.nft",
    limits_and_marks: "limits-and-marks.nft",
    ingress: "ingress.nft",
    goto_and_return: "goto-and-return.nft",
    notrack: "notrack.nft",
    firewalld: "firewalld.nft",
}
