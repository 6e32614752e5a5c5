//! `portunus explain` of a packet of Debian's client, by the configuration that `portunus import fwknop` makes.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use portunus_interop::fwknop::{Whose, fwknop};
use portunus_interop::{Firewall, World, binary};

const KEYS: [&str; 5] = ["--key-rijndael", "an encryption key", "--key-hmac", "an HMAC key", "--use-hmac"];
const STANZA: &str = "SOURCE ANY\nKEY_BASE64 YW4gZW5jcnlwdGlvbiBrZXk=\nHMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";

fn ours(world: &World, words: &[&str]) -> Output {
    let mut command = world.server.command(binary());
    command.args(words).arg("--config-dir").arg(world.folder().join("made"));
    command.output().unwrap()
}

#[test]
fn a_packet_is_told_whose_it_is_and_what_it_would_open() {
    let world = World::bare(Firewall::None);
    let (folder, hex) = (world.folder().join("old"), world.folder().join("packet.hex"));
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in [("fwknopd.conf", ""), ("access.conf", STANZA)] {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let done = ours(&world, &["import", "fwknop", folder.to_str().unwrap()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let saved = world.folder().join("packet");
    let place = saved.to_str().unwrap();
    let knock = ["-A", "tcp/22", "-a", "10.90.0.2", "--test", "-B", place];
    assert!(fwknop(&world, Whose::Theirs, &[&KEYS[..], &knock].concat()).status.success());
    let packet = fs::read_to_string(&saved).unwrap();
    let explain = |bytes: &str| {
        let digits = bytes.bytes().fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").unwrap();
            digits
        });
        fs::write(&hex, digits).unwrap();
        let done = ours(&world, &["explain", hex.to_str().unwrap(), "--source", "10.90.0.2"]);
        (String::from_utf8_lossy(&done.stdout).into_owned(), done.status.success())
    };
    let (said, good) = explain(packet.trim());
    assert!(good && said.contains("stanza-1's") && said.contains("granted: 22/tcp for 10.90.0.2"), "{said}");
    let (said, good) = explain(&packet.trim().replacen(&packet[..4], "AAAA", 1));
    assert!(!good && !said.contains("granted") && !said.contains("noise"), "{said}");
    let (said, good) = explain("nothing of the kind");
    assert!(!good && said.contains("fwknop has 36 letters") && said.contains("noise"), "{said}");
}
