//! The words stay: each file in `cmd/` is a session at a prompt, in an environment that has nothing of this machine's.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Secrets lie 0600 on a real machine, and a checkout knows no modes.
fn keep_private(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            keep_private(&path);
        } else if path.components().any(|part| part.as_os_str().to_string_lossy().ends_with(".in")) {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn sealed() -> trycmd::TestCases {
    keep_private(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd"));
    let cases = trycmd::TestCases::new();
    // Relative places lie in each session's own folder.
    for (name, value) in [
        ("HOME", "home"),
        ("XDG_CONFIG_HOME", ""),
        ("PORTUNUS_CONFIG_DIR", "etc"),
        ("PORTUNUS_STATE_DIR", "state"),
        ("PORTUNUS_RUN_DIR", "run"),
        ("PORTUNUS_LOG", "info"),
        ("NO_COLOR", "1"),
        ("LC_ALL", "C.UTF-8"),
    ] {
        cases.env(name, value);
    }
    cases
}

#[test]
fn portunus() {
    sealed()
        .register_bin("portunus", Path::new(env!("CARGO_BIN_EXE_portunus")))
        .case("tests/cmd/portunus/*.trycmd")
        .run();
}

#[test]
fn openme() {
    // The face is chosen by the name that the program is called by.
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("openme");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_portunus"), &link).unwrap();
    sealed().register_bin("openme", link.as_path()).case("tests/cmd/openme/*.trycmd").run();
}

#[test]
fn fwknopd() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("fwknopd");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_portunus"), &link).unwrap();
    sealed().register_bin("fwknopd", link.as_path()).case("tests/cmd/fwknopd/*.trycmd").run();
}

#[test]
fn fwknop() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("fwknop");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_portunus"), &link).unwrap();
    sealed()
        .env("LOGNAME", "alice")
        .register_bin("fwknop", link.as_path())
        .case("tests/cmd/fwknop/*.trycmd")
        .run();
}
