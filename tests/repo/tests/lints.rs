//! The rules that a compiler cannot hold by itself: each crate takes the workspace's lints, `unsafe` stands in one
//! crate, and the pure crates deny clocks, files, sockets and processes by one and the same text.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

const PURE: &[&str] =
    &["portunus-model", "portunus-crypto", "portunus-dialect", "portunus-gate", "portunus-config"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn crates() -> Vec<PathBuf> {
    let folders = ["crates", "tests"].map(|f| fs::read_dir(root().join(f)).unwrap());
    let all = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    all.chain([root().join("bench")]).filter(|path| path.join("Cargo.toml").exists()).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn pure_crates_share_one_clippy_toml() {
    let template = read(&root().join("packaging/pure-clippy.toml"));
    for name in PURE {
        let own = root().join("crates").join(name).join("clippy.toml");
        assert!(
            read(&own) == template,
            "{} differs from packaging/pure-clippy.toml: a crate's own file replaces the root's, so all are written from one",
            own.display()
        );
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for path in crates() {
        let manifest = read(&path.join("Cargo.toml"));
        let inherits = manifest.contains("[lints]\nworkspace = true");
        let is_sys = path.ends_with("portunus-sys");
        assert!(inherits || is_sys, "{}: no `[lints] workspace = true`", path.display());
    }
}

#[test]
fn unsafe_stands_in_one_crate() {
    let mut files = Vec::new();
    crates().iter().filter(|path| !path.ends_with("portunus-sys")).for_each(|path| sources(path, &mut files));
    for file in files.iter().filter(|f| !f.ends_with("lints.rs")) {
        let text = read(file);
        let code = text.lines().map(|line| line.split("//").next().unwrap_or(""));
        assert!(!code.into_iter().any(says_unsafe), "{} says unsafe: only portunus-sys may", file.display());
    }
}

/// The keyword, and not the word in a sentence.
fn says_unsafe(line: &str) -> bool {
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"]
        .iter()
        .any(|form| line.contains(form))
}

#[test]
fn nothing_is_left_for_later() {
    let mut files = Vec::new();
    crates().iter().for_each(|path| sources(path, &mut files));
    let marks = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "#[ig".to_owned() + "nore",
        "#[al".to_owned() + "low(",
    ];
    // A test that only measures is run by whoever wants its figures.
    let measures = "#[ig".to_owned() + "nore = \"a measurement\"]";
    for file in files {
        let text = read(&file);
        for mark in &marks {
            let text = text.replace(&measures, "");
            assert!(!text.contains(mark.as_str()), "{} says {mark}", file.display());
        }
    }
}
