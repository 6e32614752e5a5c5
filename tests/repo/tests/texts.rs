//! The texts: links lead somewhere, every page of the book is listed, and the words that people type exist.
#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [root(), root().join("docs"), root().join("docs/adr")] {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    found
}

/// The targets of `[text](target)` in a page.
fn links(text: &str) -> Vec<&str> {
    let ends = text.split("](").skip(1);
    ends.filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap_or(""))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in links(&text).into_iter().filter(|t| !t.is_empty() && !t.contains("://")) {
            let path = page.parent().unwrap().join(target);
            assert!(path.exists(), "{} links to {target}, which is not there", page.display());
        }
    }
}

#[test]
fn every_page_of_the_book_is_listed() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    for page in pages().iter().filter(|p| p.starts_with(&docs) && !p.ends_with("SUMMARY.md")) {
        let name = page.strip_prefix(&docs).unwrap().display().to_string();
        assert!(summary.contains(&format!("({name})")), "docs/SUMMARY.md does not list {name}");
    }
}

/// Every `name_in_backquotes` of the two pages that looks like a test's name is one.
#[test]
fn every_claim_of_the_security_pages_has_its_test() {
    let code = all_sources();
    for page in ["SECURITY.md", "docs/security-model.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        let is_name = |word: &str| {
            word.contains('_')
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        for name in quoted.filter(|word| is_name(word)) {
            let here = code.contains(&format!("fn {name}(")) || code.contains(&format!("\"{name}\""));
            assert!(here, "{page} names the test {name}, and there is none");
        }
    }
}

fn all_sources() -> String {
    let mut folders = vec![root().join("crates"), root().join("tests"), root().join("fuzz")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                text.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    text
}
