//! What is shipped beside the binary: the systemd unit, man pages, completions, the Debian package.
#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use portunus_interop::{binary, run, try_run};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder of this test's own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ptest{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path of ours is text").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_unit_is_hardened() {
    let folder = Folder::new("unit");
    let unit = fs::read_to_string(root().join("packaging/portunus.service")).expect("the unit is there");
    // The binary is not installed here; systemd looks whether the line's program exists.
    let unit = unit.replace("/usr/bin/portunus", binary().to_str().expect("a path of ours is text"));
    let unit = unit.lines().filter(|line| !line.starts_with("Documentation=")).collect::<Vec<_>>().join("\n");
    let file = folder.path("portunus.service");
    fs::write(&file, unit).expect("a file can be written");
    let verified = try_run("systemd-analyze", &["verify", &file]);
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(
        verified.status.success() && !said.contains("portunus.service:"),
        "systemd-analyze verify: {said}"
    );
    for line in [
        "Type=notify",
        "Before=network-pre.target shutdown.target",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "MemoryDenyWriteExecute=yes",
    ] {
        let unit = fs::read_to_string(root().join("packaging/portunus.service")).expect("the unit is there");
        assert!(unit.lines().any(|l| l == line), "the unit has no line {line}");
    }
}

#[test]
fn an_installation_has_everything_and_its_man_pages_read_well() {
    let folder = Folder::new("stage");
    let stage = root().join("packaging/scripts/stage");
    run(stage.to_str().expect("text"), &[binary().to_str().expect("text"), &folder.path("root"), "/usr"]);
    for file in [
        "bin/portunus",
        "bin/openme",
        "lib/systemd/system/portunus.service",
        "lib/sysusers.d/portunus.conf",
        "share/man/man1/portunus.1.gz",
        "share/man/man1/portunus-knock.1.gz",
        "share/man/man1/openme.1.gz",
        "share/bash-completion/completions/portunus",
        "share/bash-completion/completions/openme",
        "share/zsh/vendor-completions/_portunus",
        "share/fish/vendor_completions.d/portunus.fish",
    ] {
        let path = folder.path(&format!("root/usr/{file}"));
        assert!(Path::new(&path).exists(), "{file} is not installed");
    }
    let openme = try_run(&folder.path("root/usr/bin/openme"), &["--help"]);
    assert!(openme.status.success(), "the link named openme does not work");
    assert!(String::from_utf8_lossy(&openme.stdout).contains("openme"));
    let page = run("man", &["--warnings", "-l", &folder.path("root/usr/share/man/man1/portunus-knock.1.gz")]);
    assert!(page.contains("--continuous"), "{page}");
}

#[test]
fn the_debian_package_installs_what_it_should() {
    let script = root().join("packaging/scripts/deb");
    let debs = run(script.to_str().expect("text"), &[binary().to_str().expect("text")]);
    let deb = debs.lines().next().expect("the script says what it made");
    let listed = run("dpkg-deb", &["--contents", deb]);
    for file in [
        "./usr/bin/portunus",
        "./usr/bin/openme -> portunus",
        "./usr/lib/systemd/system/portunus.service",
        "man1/portunus.1.gz",
        "copyright",
    ] {
        assert!(listed.contains(file), "no {file} in\n{listed}");
    }
    assert!(!listed.contains("/etc/portunus"), "keys are made by init, never shipped");
    let control = run("dpkg-deb", &["--field", deb]);
    assert!(control.contains("Depends: libc6 (>= 2."), "{control}");
    assert!(
        !listed.contains("bin/fwknop"),
        "that name is another package's, as long as nobody asks for ours"
    );

    let other = debs.lines().find(|line| line.contains("portunus-fwknop-client_")).expect("a second package");
    let listed = run("dpkg-deb", &["--contents", other]);
    for file in ["./usr/bin/fwknop -> portunus", "man8/fwknop.8.gz", "completions/fwknop", "copyright"] {
        assert!(listed.contains(file), "no {file} in\n{listed}");
    }
    let control = run("dpkg-deb", &["--field", other]);
    for line in ["Depends: portunus (>= ", "Conflicts: fwknop-client", "Replaces: fwknop-client"] {
        assert!(control.contains(line), "{control}");
    }
}

#[test]
fn the_package_in_fwknop_servers_place_brings_its_name_and_its_unit() {
    let script = root().join("packaging/scripts/deb");
    let debs = run(script.to_str().expect("text"), &[binary().to_str().expect("text")]);
    let server = debs.lines().find(|line| line.contains("portunus-fwknop-server_")).expect("a third package");
    let listed = run("dpkg-deb", &["--contents", server]);
    for file in [
        "./usr/sbin/fwknopd -> ../bin/portunus",
        "man8/fwknopd.8.gz",
        "system/fwknop-server.service",
        "copyright",
    ] {
        assert!(listed.contains(file), "no {file} in\n{listed}");
    }
    assert!(!listed.contains("/etc/"), "the files in /etc/fwknop are the administrator's");
    let control = run("dpkg-deb", &["--field", server]);
    for line in ["Depends: portunus (>= ", "Conflicts: fwknop-server", "Replaces: fwknop-server"] {
        assert!(control.contains(line), "{control}");
    }
}

#[test]
fn make_install_takes_the_name_fwknop_only_where_nobody_has_it() {
    let folder = Folder::new("name");
    let install = root().join("packaging/scripts/install");
    let bin = folder.0.join("root/usr/bin");
    fs::create_dir_all(&bin).expect("a folder can be made");
    let install_again = || {
        let (program, place) = (binary(), folder.path("root"));
        run(install.to_str().expect("text"), &[program.to_str().expect("text"), &place, "/usr"]);
        fs::read_link(bin.join("fwknop")).ok()
    };
    assert_eq!(install_again(), Some(PathBuf::from("portunus")));
    assert_eq!(install_again(), Some(PathBuf::from("portunus")), "ours already");
    fs::remove_file(bin.join("fwknop")).expect("the link is there");
    fs::write(bin.join("fwknop"), "another's").expect("a file can be written");
    assert_eq!(install_again(), None);
    assert_eq!(fs::read_to_string(bin.join("fwknop")).expect("it stays"), "another's");
    let page = run("man", &["--warnings", "-l", &folder.path("root/usr/share/man/man8/fwknop.8.gz")]);
    assert!(page.contains("--save-rc-stanza"), "{page}");
}
