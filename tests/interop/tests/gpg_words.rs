//! What is said where GnuPG is in it: of a stranger's odd packets, of a gpg that does not work, of stanzas that share a keyring,
//! and to the client's user.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test's helper fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use portunus_dialect::fwknop::gpg::wrap;
use portunus_interop::fwknop::{Fwknopd, Whose, fwknop, grants, within};
use portunus_interop::gpg::{Exchanged, HMAC, RSA, SSH, UDP, WITH_HMAC};
use portunus_interop::gpg::{knock, opens, refused, said, send, udp_server};
use portunus_interop::{CLIENT, Firewall, World};

/// A message for the server's key with this text, by its parts: the session key, and what is encrypted.
fn sealed(keys: &Exchanged, text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let words = ["--trust-model", "always", "-r", &keys.recipient, "-u", &keys.signer, "--sign", "--encrypt"];
    let mut message = keys.client.gpg(&words, text);
    let session = 3 + usize::from(message[1]) * 256 + usize::from(message[2]);
    let data = message.split_off(session);
    (message, data)
}

/// Anybody who has the server's public key can write these. None says anything of the keyring, which is in order.
#[test]
fn a_strangers_odd_packet_is_no_trouble_of_the_keyring() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    let daemon = udp_server(&world, &format!("SOURCE ANY\n{}", keys.lines("")));
    let (session, data) = sealed(&keys, b"x");
    let packet = |parts: [&[u8]; 2]| {
        let wrapped = wrap(&parts.concat(), None).unwrap_or_else(|e| panic!("{e}"));
        send(&world, &wrapped.wire);
    };
    let mut seen = 0;
    let mut told = |words: &str, parts: [&[u8]; 2]| {
        packet(parts);
        seen += 1;
        let is_told = || daemon.log().matches(words).count() >= seen;
        assert!(within(Duration::from_secs(8), is_told), "{words}:\n{}", daemon.log());
    };
    // Data with integrity of no version at all; a version that gpg does not know; a session key that is none.
    told("it cannot be decrypted", [&session, &[&[0xd2, 100], [0xaa; 100].as_slice()].concat()]);
    told("it cannot be decrypted", [&session, &[&[0xd2, 100, 2, 9, 2, 16], [7; 96].as_slice()].concat()]);
    let mut odd = session.clone();
    odd[13..].fill(0xff);
    told("it cannot be decrypted", [&odd, &data]);
    assert!(!daemon.log().contains("cannot use the keyring"), "{}", daemon.log());
    // Signed, for us, and longer than any knock.
    let (session, data) = sealed(&keys, &[b'x'; 2500]);
    packet([&session, &data]);
    assert!(daemon.says("longer than any knock"), "{}", daemon.log());
    let log = daemon.log();
    assert!(!log.contains("it is not signed") && !log.contains("gpg was stopped"), "{log}");
    let out = knock(&world, Whose::Ours, &keys, &SSH);
    opens(&world, &daemon, &out, "after them");
}

/// A program in gpg's place, that anybody may run.
fn program(world: &World, name: &str, script: &str) -> String {
    let path = world.folder().join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap_or_else(|e| panic!("{e}"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap_or_else(|e| panic!("{e}"));
    path.display().to_string()
}

#[test]
fn a_gpg_that_was_killed_says_nothing_of_the_keyring() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    let exe = program(&world, "killed", "case \"$*\" in *--decrypt*) kill -KILL $$;; esac\nexec gpg \"$@\"");
    let daemon = udp_server(&world, &format!("SOURCE ANY\nGPG_EXE {exe}\n{}", keys.lines("")));
    let out = knock(&world, Whose::Ours, &keys, &SSH);
    refused(&world, &daemon, &out, "gpg was ended before it had answered");
    assert!(daemon.says("ended by signal 9"), "{}", daemon.log());
    assert!(!daemon.log().contains("cannot use the keyring"), "{}", daemon.log());
}

/// Two people and two stanzas with one keyring: who signs is judged by each stanza that takes the signature, as by Debian's.
#[test]
fn stanzas_that_share_a_keyring_each_judge_whose_signature_they_take() {
    let folder = World::bare(Firewall::None);
    let keys = Exchanged::new(folder.folder(), RSA);
    let bob = keys.client.make("bob", RSA, "", "never");
    keys.client.give(&bob, &keys.server);
    keys.server.sign("", &bob);
    let first = keys.lines("");
    let second = first.replace(&keys.signer, &format!("{},{bob}", keys.signer));
    let access = format!(
        "SOURCE ANY\nOPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT 1\n{first}\nSOURCE ANY\nOPEN_PORTS tcp/80\nFW_ACCESS_TIMEOUT 1\n{second}"
    );
    let home = keys.client.word();
    for whose in [Whose::Theirs, Whose::Ours] {
        let world = World::bare(Firewall::Iptables);
        let daemon = Fwknopd::start(&world, whose, "", &access, &[]);
        for (signer, port, is_open) in
            [(&bob, 80, true), (&keys.signer, 80, true), (&keys.signer, 22, true), (&bob, 22, false)]
        {
            let asked = format!("tcp/{port}");
            let words = ["-A", &asked, "-a", CLIENT, "--gpg-no-signing-pw", "--gpg-home-dir", &home];
            let of = ["--gpg-recipient-key", &keys.recipient, "--gpg-signer-key", signer];
            let out = fwknop(&world, Whose::Ours, &[&words[..], &of].concat());
            assert!(out.status.success(), "{}", said(&out));
            let what = format!("{whose:?}: {signer} for {asked}\n{}", daemon.log());
            if is_open {
                let rule = format!("INPUT -s 10.90.0.2/32 -p tcp --dport {port} -j ACCEPT");
                assert!(within(Duration::from_secs(8), || grants(&world) == [rule.as_str()]), "{what}");
                assert!(within(Duration::from_secs(8), || grants(&world).is_empty()), "{what}");
            } else {
                assert!(daemon.says("was denied per access.conf"), "{what}");
                assert_eq!(grants(&world), [""; 0], "{what}");
            }
        }
    }
}

/// What can never open a packet is told by who looks at the configuration; the daemon starts all the same, as Debian's does.
#[test]
fn what_can_never_open_a_packet_is_told_before_anybody_knocks() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    let (conf, access) = (world.folder().join("f.conf"), world.folder().join("a.conf"));
    fs::write(&conf, UDP).unwrap_or_else(|e| panic!("{e}"));
    let good =
        format!("SOURCE ANY\nREQUIRE_SOURCE_ADDRESS Y\nGPG_EXE /usr/bin/gpg\n{HMAC}{}", keys.lines(""));
    let told = |from: &str, to: &str| {
        fs::write(&access, good.replace(from, to)).unwrap_or_else(|e| panic!("{e}"));
        portunus_interop::run("chmod", &["600", &conf.display().to_string(), &access.display().to_string()]);
        let mut command = world.server.command(portunus_interop::binary().to_str().unwrap_or_default());
        command.args(["fwknopd", "--exit-parse-config", "-c"]).arg(&conf).arg("-a").arg(&access);
        let out = command.output().unwrap_or_else(|e| panic!("{e}"));
        (out.status.success(), said(&out))
    };
    assert_eq!(told("", ""), (true, "Configs parsed, exiting.\n".to_owned()));
    let (by_name, words) = told(&keys.recipient, "server@example.org");
    assert!(by_name, "{words}");
    let no_program = world.folder().join("f.conf").display().to_string();
    let nobody = "A".repeat(40);
    for (from, to, words) in [
        ("/usr/bin/gpg", "/nonexistent/gpg", "gpg is not there, or cannot be executed"),
        ("/usr/bin/gpg", &no_program, "gpg is not there, or cannot be executed"),
        (&keys.signer, &nobody, "so nobody ever comes in by it"),
        (&keys.signer, "ABCD", "so nobody ever comes in by it"),
        (&keys.recipient, &nobody, "no secret key of the keyring is AAAA"),
        (&keys.recipient, &keys.signer, "no secret key of the keyring is"),
        (&keys.recipient, "client@example.org", "no secret key of the keyring is \"client@example.org\"'s"),
        (
            "GPG_ALLOW_NO_PW Y",
            "GPG_DECRYPT_PW __CHANGEME__",
            "the passphrase of the server's key in its place",
        ),
    ] {
        let (parsed, said) = told(from, to);
        assert!(!parsed && said.contains(words), "{to}: {words} in {said}");
    }
    let daemon = udp_server(&world, &good.replace(&keys.signer, &nobody));
    assert!(daemon.says("none of the keys that must sign a client's packets"), "{}", daemon.log());
    let out = knock(&world, Whose::Ours, &keys, &[&SSH[..], &WITH_HMAC].concat());
    refused(&world, &daemon, &out, "signed by a key that is not in GPG_FINGERPRINT_ID");
}

/// Each mistake of the client's user is told as what it is, and nothing is sent.
#[test]
fn the_clients_mistakes_are_told_as_what_they_are() {
    let world = World::bare(Firewall::None);
    let keys = Exchanged::with_passphrases(world.folder(), RSA, ["", "client's own"]);
    keys.client.end_agent();
    let told = |more: &[&str], words: &[&str]| {
        let out = fwknop(&world, Whose::Ours, &[&["-A", "tcp/22", "-s"], more].concat());
        let said = said(&out);
        assert!(!out.status.success(), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word} in {said}"));
    };
    let own = keys.words();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let with = |more: &[&'static str]| [own.clone(), more.to_vec()].concat();
    told(
        &with(&["--gpg-no-signing-pw"]),
        &["has a passphrase, and none was given", "leave --gpg-no-signing-pw out"],
    );
    told(&with(&["--gpg-no-signing-pw", "--gpg-exe", "/bin/true"]), &["/bin/true is no gpg", "--gpg-exe"]);
    told(&with(&["--gpg-no-signing-pw", "--gpg-exe", "/bin/echo"]), &["/bin/echo is no gpg"]);
    told(&with(&["--gpg-signer-key", ""]), &["an empty word names no key that signs: --gpg-signer-key"]);
    told(&with(&["--gpg-no-signing-pw", "--gpg-signer-key", "nobody"]), &["no secret key \"nobody\""]);
    told(
        &with(&["--gpg-no-signing-pw", "--gpg-recip", "nobody"]),
        &["nothing can be encrypted for \"nobody\""],
    );
    // Whoever leaves the signer out is told, and not only when asking for more words.
    let home = keys.client.word();
    let words = ["-T", "-A", "tcp/22", "-s", "--gpg-recip", &keys.recipient, "--gpg-home-dir", &home];
    let out = fwknop(&world, Whose::Ours, &words);
    assert!(out.status.success() && said(&out).contains("not signed"), "{}", said(&out));
}
