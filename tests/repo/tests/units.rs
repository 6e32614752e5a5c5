//! The shipped units leave the daemon no more than it needs: `systemd-analyze` measures it, and each drop-in widens (or
//! narrows) what its first lines say.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// How exposed a unit is, from 0 to 10, with a drop-in below it.
fn exposure(unit: &str, dropin: Option<&str>) -> f64 {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let mut text = fs::read_to_string(root().join("packaging").join(unit)).expect("the unit is there");
    if let Some(dropin) = dropin {
        let more = fs::read_to_string(root().join("packaging/units").join(dropin));
        text += &more.expect("the drop-in is there");
    }
    let file = dir.path().join(unit);
    fs::write(&file, text).expect("a file can be written");
    let out = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&file)
        .output()
        .expect("systemd-analyze runs: `make need-systemd`");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let level = said.split("exposure level for ").nth(1).and_then(|rest| rest.split_whitespace().nth(1));
    level.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no level in {said}\n{out:?}"))
}

#[test]
fn the_units_are_as_narrow_as_they_say() {
    for (unit, dropin, most) in [
        ("portunus.service", None, 1.6),
        ("portunus.service", Some("portunus-low-ports.conf"), 1.8),
        ("portunus.service", Some("portunus-gpg.conf"), 2.0),
        ("fwknopd.service", Some("fwknopd-confined.conf"), 2.0),
    ] {
        let level = exposure(unit, dropin);
        assert!(level <= most, "{unit} {dropin:?}: {level}, and {most} is promised");
    }
    // What iptables needs shows: the measure sees.
    let wide = exposure("portunus.service", Some("portunus-iptables.conf"));
    assert!(wide > 2.0, "{wide}");
}
