//! Other programs: run, and their output as text.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The binary under test: `PORTUNUS_BIN`, or else what cargo builds now for the profile of this test.
pub fn binary() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(find_binary).clone()
}

fn find_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PORTUNUS_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "PORTUNUS_BIN={}: no such file: `make build` makes it", path.display());
        return path;
    }
    // A test's program lies in target/PROFILE/deps (a benchmark's in target/PROFILE).
    let own = std::env::current_exe().expect("a test knows its own program");
    let profile = own.ancestors().find(|p| p.ends_with("release") || p.ends_with("debug"));
    let profile = profile.expect("a test's program lies below target/PROFILE");
    let start = Instant::now();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--locked", "-p", "portunus"]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let done = cargo.status().expect("cargo runs");
    assert!(done.success(), "cargo could not build the binary under test");
    // The first test that asks for it waits for this, minutes where all is to be built: let nobody look for them elsewhere.
    if start.elapsed() > Duration::from_secs(2) {
        eprintln!(
            "the binary under test was built for {} s, as a part of this test",
            start.elapsed().as_secs()
        );
    }
    profile.join("portunus")
}

/// Runs a program; its standard output. Panics with its words when it fails.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = try_run(program, args);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {}: {}: {said}", args.join(" "), out.status);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs a program, whatever it comes to.
pub fn try_run(program: &str, args: &[&str]) -> Output {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output();
    out.unwrap_or_else(|e| panic!("{program} does not run: {e}: `make test` installs what these tests need"))
}

/// Runs a program with `input` on its standard input; its standard output.
pub fn run_with_input(program: &str, args: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{program} does not run: {e}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input.as_bytes()).expect("the program reads its input");
    drop(stdin);
    let out = child.wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {}: {}: {said}", args.join(" "), out.status);
    String::from_utf8_lossy(&out.stdout).into_owned()
}
