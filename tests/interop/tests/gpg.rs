//! fwknop with GnuPG: Debian's programs and ours in every pairing, with keyrings that the test makes with the host's gpg; and
//! every packet that must open nothing.

use std::process::Output;
use std::time::Duration;

use portunus_interop::fwknop::{Fwknopd, PAIRS, Whose, fwknop, grants, within};
use portunus_interop::gpg::{Exchanged, RSA};
use portunus_interop::{Firewall, World};

const RULE: &str = "INPUT -s 10.90.0.2/32 -p tcp --dport 22 -j ACCEPT";
const HMAC: &str = "HMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";
const WITH_HMAC: [&str; 3] = ["--key-hmac", "an HMAC key", "--use-hmac"];
const SSH: [&str; 4] = ["-A", "tcp/22", "-a", "10.90.0.2"];

/// Knocks with these keys and words.
fn knock(world: &World, whose: Whose, keys: &Exchanged, words: &[&str]) -> Output {
    let own = keys.words();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    fwknop(world, whose, &[&own, words].concat())
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout)
}

fn opens(world: &World, daemon: &Fwknopd, what: &str) {
    let there = within(Duration::from_secs(5), || grants(world) == [RULE]);
    assert!(there, "{what}: {:#?}\n{}", grants(world), daemon.log());
}

#[test]
fn rsa_keys_open_in_every_pairing_with_an_hmac_and_without() {
    let folder = World::bare(Firewall::None);
    let keys = Exchanged::new(folder.folder(), RSA);
    for (client, server) in PAIRS.into_iter().filter(|(client, _)| *client == Whose::Theirs) {
        for hmac in [false, true] {
            let world = World::bare(Firewall::Iptables);
            let stanza = format!("SOURCE ANY\n{}{}", keys.lines(""), if hmac { HMAC } else { "" });
            let daemon = Fwknopd::start(&world, server, "", &stanza, &[]);
            let more: &[&str] = if hmac { &WITH_HMAC } else { &[] };
            let words = [&SSH[..], &["--gpg-no-signing-pw"], more].concat();
            let out = knock(&world, client, &keys, &words);
            assert!(out.status.success(), "{client:?}: {}", said(&out));
            opens(&world, &daemon, &format!("{client:?} client, {server:?} server, HMAC {hmac}"));
        }
    }
}
