//! Arrows only run down: the layers of ARCHITECTURE.md against what `cargo metadata` says.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test's helper fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The layer of each crate, bottom first. Inside layers 5 and 6 nobody knows a neighbour.
const LAYERS: &[(u8, &[&str])] = &[
    (0, &["portunus-model"]),
    (1, &["portunus-crypto"]),
    (2, &["portunus-dialect"]),
    (3, &["portunus-gate", "portunus-config"]),
    (4, &["portunus-sys"]),
    (5, &["portunus-rx", "portunus-fw", "portunus-store", "portunus-ctl"]),
    (6, &["portunusd", "portunus-client"]),
    (7, &["portunus"]),
];

/// The crates that do no IO, and so may not even name a crate that does.
const PURE_TOP: u8 = 3;
const IO_CRATES: &[&str] = &["libc", "rustix", "nix", "socket2", "mio", "tokio", "tracing-journald", "clap"];

/// What the client side must not need, so that it can be built for other systems.
const NOT_ON_CLIENTS: &[&str] = &["portunus-sys", "portunus-fw", "portunusd"];

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(_, crates)| crates.contains(&name)).map(|(layer, _)| *layer)
}

/// Crate name -> the names it depends on in a build (tests may know more).
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    let all: Value = serde_json::from_slice(&out.stdout).unwrap();
    let of = |package: &Value| {
        let wanted = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"] != "dev");
        wanted.map(|d| d["name"].as_str().unwrap().to_owned()).collect()
    };
    let packages = all["packages"].as_array().unwrap();
    packages.iter().map(|p| (p["name"].as_str().unwrap().to_owned(), of(p))).collect()
}

#[test]
fn arrows_only_run_down() {
    for (name, needs) in dependencies() {
        let Some(own) = layer(&name) else { continue };
        for need in needs {
            let Some(other) = layer(&need) else { continue };
            assert!(
                other < own,
                "{name} (layer {own}) depends on {need} (layer {other}): arrows only run down"
            );
        }
    }
}

#[test]
fn every_crate_has_a_layer() {
    for (name, _) in dependencies() {
        let test_or_bench = ["portunus-sim", "portunus-interop", "portunus-repo", "portunus-bench"];
        assert!(
            layer(&name).is_some() || test_or_bench.contains(&name.as_str()),
            "{name} stands in no layer: give it one here and in ARCHITECTURE.md"
        );
    }
}

#[test]
fn the_core_names_no_crate_that_does_io() {
    for (name, needs) in dependencies() {
        if layer(&name).is_none_or(|own| own > PURE_TOP) {
            continue;
        }
        for need in needs {
            assert!(!IO_CRATES.contains(&need.as_str()), "{name} is pure and depends on {need}");
        }
    }
}

#[test]
fn the_client_needs_nothing_of_linux() {
    let all = dependencies();
    let mut todo = vec!["portunus-client".to_owned()];
    while let Some(name) = todo.pop() {
        assert!(!NOT_ON_CLIENTS.contains(&name.as_str()), "portunus-client needs {name}");
        todo.extend(all.get(&name).into_iter().flatten().filter(|n| layer(n).is_some()).cloned());
    }
}
