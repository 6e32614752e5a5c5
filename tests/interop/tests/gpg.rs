//! fwknop with GnuPG: Debian's programs and ours in every pairing, with keyrings that the test makes with the host's gpg; and
//! every packet that must open nothing.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test's helper fails by panicking")]

use std::fs;
use std::os::unix::fs::chown;
use std::time::Duration;

use portunus_interop::fwknop::{Fwknopd, PAIRS, Whose, fwknop, grants, within};
use portunus_interop::gpg::{CURVES, Exchanged, HMAC, Keyring, RSA, SSH, UDP, WITH_HMAC};
use portunus_interop::gpg::{knock, opens, refused, said, send, udp_server};
use portunus_interop::{Firewall, World};
use rustix::process::{Signal, kill_process};

#[test]
fn rsa_keys_open_in_every_pairing_with_an_hmac_and_without() {
    let folder = World::bare(Firewall::None);
    let keys = Exchanged::new(folder.folder(), RSA);
    for (client, server) in PAIRS {
        for hmac in [false, true] {
            let world = World::bare(Firewall::Iptables);
            let stanza = format!("SOURCE ANY\n{}{}", keys.lines(""), if hmac { HMAC } else { "" });
            let daemon = Fwknopd::start(&world, server, "", &stanza, &[]);
            let more: &[&str] = if hmac { &WITH_HMAC } else { &[] };
            let out = knock(&world, client, &keys, &[&SSH[..], more].concat());
            opens(&world, &daemon, &out, &format!("{client:?} client, {server:?} server, HMAC {hmac}"));
        }
    }
}

/// Older and larger keys, with Debian's program at one end.
#[test]
fn dsa_with_elgamal_and_rsa_3072_open_with_debians_at_either_end() {
    let folder = World::bare(Firewall::None);
    for (n, kinds, client, server) in [
        ("d", ("dsa2048", "elg2048"), Whose::Ours, Whose::Theirs),
        ("r", ("rsa3072", "rsa3072"), Whose::Theirs, Whose::Ours),
    ] {
        let keys = Exchanged::new(&folder.folder().join(n), kinds);
        let world = World::bare(Firewall::Iptables);
        let daemon =
            Fwknopd::start(&world, server, "", &format!("SOURCE ANY\n{}{HMAC}", keys.lines("")), &[]);
        let out = knock(&world, client, &keys, &[&SSH[..], &WITH_HMAC].concat());
        opens(&world, &daemon, &out, &format!("{kinds:?}: {client:?} client, {server:?} server"));
    }
}

/// The original breaks on both: its packets are cut at 1500 characters, and it puts the letters of an RSA message before one
/// for an elliptic curve. The names of the signers' keys are short ones here, as in files of 2008.
#[test]
fn curves_and_large_keys_open_where_both_ends_are_ours() {
    // Two large keys are all that makes a packet too long, and each takes seconds to make.
    let large = [("ed25519", "rsa4096"), ("rsa4096", "cv25519")];
    for (kinds, hmac) in [([CURVES; 2], false), ([CURVES; 2], true), (large, true)] {
        let world = World::bare(Firewall::Iptables);
        let keys = Exchanged::of_kinds(world.folder(), kinds, ["", ""]);
        let id = &keys.signer[keys.signer.len() - 8..];
        let lines = keys
            .lines("")
            .replace(&format!("GPG_FINGERPRINT_ID {}", keys.signer), &format!("GPG_REMOTE_ID {id}"));
        assert!(lines.contains("GPG_REMOTE_ID"));
        let daemon = udp_server(&world, &format!("SOURCE ANY\n{lines}{}", if hmac { HMAC } else { "" }));
        let more: &[&str] = if hmac { &WITH_HMAC } else { &[] };
        let out = knock(&world, Whose::Ours, &keys, &[&SSH[..], more].concat());
        assert!(said(&out).contains("only a server that is Portunus"), "{}", said(&out));
        opens(&world, &daemon, &out, &format!("{kinds:?}, HMAC {hmac}"));
    }
}

/// Passphrases at both ends; the server's stands in its access.conf, the client's comes by a descriptor or by its file.
#[test]
fn passphrases_open_both_keys() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::with_passphrases(world.folder(), RSA, ["server's own", "client's own"]);
    let forget = || [&keys.server, &keys.client].map(Keyring::end_agent);
    let _ = forget();
    let stanza = format!("SOURCE ANY\nFW_ACCESS_TIMEOUT 1\n{}", keys.lines("server's own"));
    let daemon = udp_server(&world, &stanza);
    let rc = world.folder().join("rc");
    let lines = format!(
        "[default]\n[home]\nGPG_RECIPIENT {}\nGPG_SIGNER {}\nGPG_HOMEDIR {}\nGPG_SIGNING_PW_BASE64 Y2xpZW50J3Mgb3du\nUSE_GPG Y\n",
        keys.recipient,
        keys.signer,
        keys.client.word()
    );
    fs::write(&rc, lines).unwrap_or_else(|e| panic!("{e}"));
    let rc = rc.display().to_string();
    let shell = "exec \"$0\" fwknop --no-save-args -D 10.90.0.1 -A tcp/22 -a 10.90.0.2 \"$@\"";
    let run = |script: &str, words: &[&str]| {
        let mut command = world.client.command("sh");
        command.args(["-c", &format!("{script}{shell}")]).arg(portunus_interop::binary()).args(words);
        command.env("HOME", world.folder()).output().unwrap_or_else(|e| panic!("{e}"))
    };
    let own = keys.words();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let by_descriptor =
        run("printf \"client's own\\n\" | ", &[&["--no-rc-file", "--stdin"], &own[..]].concat());
    opens(&world, &daemon, &by_descriptor, "by standard input");
    assert!(within(Duration::from_secs(8), || grants(&world).is_empty()), "{}", daemon.log());
    let _ = forget();
    let by_file = run("", &["--rc-file", &rc, "-n", "home"]);
    opens(&world, &daemon, &by_file, "by .fwknoprc");
    let _ = forget();
    let wrong = run("printf 'another\\n' | ", &[&["--no-rc-file", "--stdin"], &own[..]].concat());
    assert!(!wrong.status.success() && said(&wrong).contains("GPG: "), "{}", said(&wrong));
    let none = run("", &[&["--no-rc-file", "--gpg-no-signing-pw"], &own[..]].concat());
    assert!(!none.status.success() && said(&none).contains("GPG: "), "{}", said(&none));
}

/// Each packet is for the server's key or seems to be, and each has a reason of its own not to open.
#[test]
fn what_is_not_sealed_for_us_by_whom_we_named_opens_nothing_and_says_why() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    let daemon = udp_server(&world, &format!("SOURCE ANY\n{}", keys.lines("")));
    let mallory = keys.client.make("mallory", CURVES, "", "never");
    let with = |recipient: &str, signer: Option<&str>| {
        let home = keys.client.word();
        let mut words = vec!["--gpg-recipient-key", recipient, "--gpg-home-dir", &home];
        words.extend(signer.into_iter().flat_map(|signer| ["--gpg-signer-key", signer]));
        fwknop(&world, Whose::Ours, &[&words, &SSH[..]].concat())
    };
    let out = with(&mallory, Some(&keys.signer));
    refused(&world, &daemon, &out, "encrypted for a key that is not in the keyring");
    refused(&world, &daemon, &with(&keys.recipient, None), "it is not signed");
    let out = with(&keys.recipient, Some(&mallory));
    refused(&world, &daemon, &out, "signed by a key that is not in the keyring");
    keys.client.give(&mallory, &keys.server);
    let out = with(&keys.recipient, Some(&mallory));
    refused(&world, &daemon, &out, "nobody vouches for the key that signed it");
    keys.server.sign("", &mallory);
    let out = with(&keys.recipient, Some(&mallory));
    refused(&world, &daemon, &out, "not in GPG_FINGERPRINT_ID or GPG_REMOTE_ID");

    let packet = world.folder().join("packet");
    let saved = packet.display().to_string();
    let out = knock(&world, Whose::Ours, &keys, &[&SSH[..], &["--test", "-B", &saved]].concat());
    assert!(out.status.success(), "{}", said(&out));
    let whole = fs::read_to_string(&packet).unwrap_or_else(|e| panic!("{e}"));
    let cut = whole.trim_end().get(..502).unwrap_or_else(|| panic!("it is longer: {whole}")).to_owned();
    send(&world, &cut);
    let out = knock(&world, Whose::Ours, &keys, &[&SSH[..], &["--test"]].concat());
    refused(&world, &daemon, &out, "it cannot be decrypted: cut off");
    // The packet itself opens, once.
    send(&world, whole.trim_end());
    opens(&world, &daemon, &out, "the whole packet");
    let replays = || daemon.log().matches("Replay detected").count();
    send(&world, whole.trim_end());
    assert!(within(Duration::from_secs(8), || replays() == 1), "{}", daemon.log());
    // Another packet around the same encrypted text: whoever has seen one can write it.
    send(&world, &written_otherwise(whole.trim_end()));
    assert!(within(Duration::from_secs(8), || replays() == 2), "{}", daemon.log());
}

/// The same message with the length of its data written in five bytes rather than two (RFC 4880, 4.2.2).
fn written_otherwise(packet: &str) -> String {
    let message = portunus_crypto::text::decode_loose(format!("hQ{packet}").as_bytes());
    let message = message.unwrap_or_else(|| panic!("no base64: {packet}"));
    let session = 3 + usize::from(message[1]) * 256 + usize::from(message[2]);
    let (keys, data) = message.split_at(session);
    assert!(data[0] == 0xd2 && (192..224).contains(&data[1]), "{data:02x?}");
    let length = (u32::from(data[1]) - 192) * 256 + u32::from(data[2]) + 192;
    let bytes = [keys, &[0xd2, 0xff], &length.to_be_bytes(), &data[3..]].concat();
    let text = portunus_crypto::text::encode_bare(&bytes);
    assert_ne!(text, format!("hQ{packet}"));
    text.strip_prefix("hQ").unwrap_or(&text).to_owned()
}

/// A packet that Debian's server took is in its digest.cache, and ours takes that over.
#[test]
fn what_the_original_has_taken_is_not_taken_again() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    let access = format!("SOURCE ANY\nFW_ACCESS_TIMEOUT 1\n{}", keys.lines(""));
    let packet = world.folder().join("packet").display().to_string();
    let daemon = Fwknopd::start(&world, Whose::Theirs, "", &access, &[]);
    let out = knock(&world, Whose::Theirs, &keys, &[&SSH[..], &["-B", &packet]].concat());
    opens(&world, &daemon, &out, "Debian's both");
    drop(daemon);
    assert_eq!(grants(&world), [""; 0]);
    let daemon = Fwknopd::start(&world, Whose::Ours, "", &access, &[]);
    let packet = fs::read_to_string(&packet).unwrap_or_else(|e| panic!("{e}"));
    send(&world, packet.trim_end());
    assert!(daemon.says("Replay detected"), "{}", daemon.log());
    let out = knock(&world, Whose::Theirs, &keys, &SSH);
    opens(&world, &daemon, &out, "the next one");
}

/// The process that runs gpg.
fn part(daemon: &Fwknopd) -> u32 {
    let part = daemon.processes().into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"gpg")
    });
    part.unwrap_or_else(|| panic!("there is no gpg process"))
}

/// A keyring of a user's who is not root: gpg runs as that user, and has nothing else.
#[test]
fn gpg_runs_as_the_keyrings_owner_without_a_right_or_a_network() {
    const OWNER: u32 = 61_190;
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    keys.server.end_agent();
    let owner = format!("{OWNER}:{OWNER}");
    portunus_interop::run("chown", &["-R", &owner, &keys.server.word()]);
    let daemon = udp_server(&world, &format!("SOURCE ANY\n{}", keys.lines("")));
    let out = knock(&world, Whose::Ours, &keys, &SSH);
    opens(&world, &daemon, &out, "as another user");
    let part = part(&daemon);
    let status = fs::read_to_string(format!("/proc/{part}/status")).unwrap_or_else(|e| panic!("{e}"));
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(value("Uid:"), [OWNER.to_string().as_str(); 4].join(" "));
    for capabilities in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:", "CapBnd:"] {
        assert_eq!(value(capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!((value("NoNewPrivs:"), value("Seccomp:")), ("1".to_owned(), "2".to_owned()));
    let limits = fs::read_to_string(format!("/proc/{part}/limits")).unwrap_or_else(|e| panic!("{e}"));
    let bound = limits.lines().find(|line| line.starts_with("Max address space"));
    assert!(
        bound.is_some_and(|line| line.contains("536870912")),
        "what it starts has no bound of memory: {limits}"
    );
    // It runs what it is told to; a program in gpg's place learns what that is worth.
    let probe = world.folder().join("probe");
    let told = keys.server.home().join("told");
    let open = world.folder().join("open");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--decrypt*) exec 2>{}; cat {} ; echo >{}/written; socat -u /dev/null UDP4-SENDTO:127.0.0.1:9;; esac\n",
        told.display(),
        open.display(),
        world.folder().display()
    );
    fs::write(&open, "anybody may read it").unwrap_or_else(|e| panic!("{e}"));
    portunus_interop::run("chmod", &["644", &open.display().to_string()]);
    fs::write(&probe, script).unwrap_or_else(|e| panic!("{e}"));
    portunus_interop::run("chmod", &["755", &probe.display().to_string()]);
    portunus_interop::run("chmod", &["777", &world.folder().display().to_string()]);
    drop(daemon);
    let access = format!("SOURCE ANY\nGPG_EXE {}\n{}", probe.display(), keys.lines(""));
    let daemon = Fwknopd::start(&world, Whose::Ours, UDP, &access, &[]);
    let out = knock(&world, Whose::Ours, &keys, &SSH);
    assert!(out.status.success(), "{}", said(&out));
    let heard = || fs::read_to_string(&told).unwrap_or_default();
    let denied = within(Duration::from_secs(8), || heard().matches("ermission denied").count() >= 3);
    assert!(denied, "{}\n{}", heard(), daemon.log());
    assert!(!world.folder().join("written").exists());
}

/// Other keyrings need another process, and get one without a restart.
#[test]
fn a_reload_takes_keyrings_and_gives_them_back() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    let symmetric = "SOURCE ANY\nKEY a key of its own\n";
    let daemon = udp_server(&world, symmetric);
    let access = world.folder().join("fwknop/access.conf");
    let mut reloads = 0;
    let mut reload = |text: &str| {
        fs::write(&access, text).unwrap_or_else(|e| panic!("{e}"));
        kill_process(daemon.pid(), Signal::HUP).unwrap_or_else(|e| panic!("{e}"));
        reloads += 1;
        let done = || daemon.log().lines().filter(|line| line.starts_with("reloaded")).count() >= reloads;
        assert!(within(Duration::from_secs(8), done), "{}", daemon.log());
    };
    reload(&format!("{symmetric}\nSOURCE ANY\nFW_ACCESS_TIMEOUT 1\n{}", keys.lines("")));
    let out = knock(&world, Whose::Ours, &keys, &SSH);
    opens(&world, &daemon, &out, "after the first reload");
    assert!(within(Duration::from_secs(8), || grants(&world).is_empty()), "{}", daemon.log());
    reload(symmetric);
    let out = knock(&world, Whose::Ours, &keys, &SSH);
    refused(&world, &daemon, &out, "Decryption failed or decrypted data is invalid");
    reload(&format!("SOURCE ANY\n{}", keys.lines("")));
    let out = knock(&world, Whose::Ours, &keys, &SSH);
    opens(&world, &daemon, &out, "after the third");
}

/// A folder that belongs to somebody else by now: whoever ran gpg with it may not look into it any more, and as root would run what
/// it says.
#[test]
fn a_reload_has_gpg_run_as_whoever_owns_the_keyring_by_now() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), CURVES);
    let daemon = udp_server(&world, &format!("SOURCE ANY\nFW_ACCESS_TIMEOUT 1\n{}", keys.lines("")));
    let confined = || daemon.log().matches("less confined: gpg runs as root").count();
    assert_eq!(confined(), 1, "{}", daemon.log());
    for (turn, uid) in [61_190, 61_191, 0].into_iter().enumerate() {
        keys.server.end_agent();
        portunus_interop::run("chown", &["-R", &format!("{uid}:{uid}"), &keys.server.word()]);
        kill_process(daemon.pid(), Signal::HUP).unwrap_or_else(|e| panic!("{e}"));
        let done = || daemon.log().lines().filter(|line| line.starts_with("reloaded")).count() > turn;
        assert!(within(Duration::from_secs(8), done), "{}", daemon.log());
        let runs_as =
            fs::read_to_string(format!("/proc/{}/status", part(&daemon))).unwrap_or_else(|e| panic!("{e}"));
        assert!(runs_as.contains(&format!("\nUid:\t{uid}\t{uid}\t")), "not as {uid}: {runs_as}");
        let out = knock(&world, Whose::Ours, &keys, &SSH);
        opens(&world, &daemon, &out, &format!("as {uid}"));
        assert!(within(Duration::from_secs(8), || grants(&world).is_empty()), "{}", daemon.log());
    }
    assert_eq!(confined(), 2, "{}", daemon.log());
}

#[test]
fn signers_whose_time_is_over_or_who_were_revoked_are_refused() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    let early = keys.client.make("early", CURVES, "", "seconds=6");
    let gone = keys.client.make("gone", CURVES, "", "never");
    for print in [&early, &gone] {
        keys.client.give(print, &keys.server);
        keys.server.sign("", print);
    }
    let made = std::time::Instant::now();
    let ids = format!("{},{early},{gone}", keys.signer);
    let access = format!("SOURCE ANY\n{}", keys.lines("").replace(&keys.signer, &ids));
    let daemon = udp_server(&world, &access);
    let home = keys.client.word();
    let saved = |signer: &str| {
        let file = world.folder().join(signer).display().to_string();
        let words =
            ["--gpg-recipient-key", &keys.recipient, "--gpg-home-dir", &home, "--gpg-signer-key", signer];
        let out = fwknop(&world, Whose::Ours, &[&words, &SSH[..], &["--test", "-B", &file]].concat());
        assert!(out.status.success(), "{}", said(&out));
        fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}")).trim_end().to_owned()
    };
    // Signed in time, or before it was known: what counts is what the server knows when it comes.
    let (late, stolen) = (saved(&early), saved(&gone));
    let revocation = keys.client.home().join("openpgp-revocs.d").join(format!("{gone}.rev"));
    let revocation = fs::read_to_string(revocation).unwrap_or_else(|e| panic!("{e}"));
    keys.server.gpg(&["--import"], revocation.replace("\n:-----BEGIN", "\n-----BEGIN").as_bytes());
    let out = knock(&world, Whose::Ours, &keys, &[&SSH[..], &["--test"]].concat());
    send(&world, &stolen);
    refused(&world, &daemon, &out, "the key that signed it was revoked");
    std::thread::sleep(Duration::from_secs(7).saturating_sub(made.elapsed()));
    send(&world, &late);
    refused(&world, &daemon, &out, "is past its time");
    let out = knock(&world, Whose::Ours, &keys, &SSH);
    opens(&world, &daemon, &out, "her own key");
}

/// What is wrong at the server's own end is said in its log, with the mend, and nothing opens.
#[test]
fn a_server_that_cannot_use_its_keyring_says_so_and_opens_nothing() {
    let folder = World::bare(Firewall::None);
    let keys = Exchanged::with_passphrases(folder.folder(), RSA, ["server's own", ""]);
    keys.server.end_agent();
    let whole = keys.lines("server's own");
    let empty = Keyring::new(folder.folder(), "ge");
    let exe = folder.folder().join("no-such-gpg").display().to_string();
    for (lines, words) in [
        (
            whole.replace("GPG_DECRYPT_PW server's own", "GPG_ALLOW_NO_PW Y"),
            "the server's secret key cannot be used",
        ),
        (whole.replace("server's own", "another's"), "the server's secret key cannot be used"),
        (whole.replace(&keys.server.word(), &empty.word()), "the keyring has no secret key"),
        (format!("{whole}GPG_EXE {exe}\n"), "gpg cannot be run"),
    ] {
        let world = World::bare(Firewall::Iptables);
        let daemon = udp_server(&world, &format!("SOURCE ANY\n{lines}"));
        let out = knock(&world, Whose::Ours, &keys, &SSH);
        refused(&world, &daemon, &out, words);
        keys.server.end_agent();
    }
    // Somebody else's folder: gpg runs as that user, who is no other than the keyring's owner.
    let world = World::bare(Firewall::Iptables);
    chown(keys.server.home(), Some(65_534), Some(65_534)).unwrap_or_else(|e| panic!("{e}"));
    let daemon = udp_server(&world, &format!("SOURCE ANY\n{whole}"));
    let out = knock(&world, Whose::Ours, &keys, &SSH);
    refused(&world, &daemon, &out, "Permission denied");
    chown(keys.server.home(), Some(0), Some(0)).unwrap_or_else(|e| panic!("{e}"));
}

/// Others could take the keys, or put a signer in.
#[test]
fn a_keyring_that_others_can_get_into_is_refused() {
    let world = World::new(Firewall::None);
    let keyring = Keyring::new(world.folder(), "gs");
    let print = keyring.make("server", CURVES, "", "never");
    let ours = world.place("etc").join("portunus.toml");
    let text = fs::read_to_string(&ours).unwrap_or_else(|e| panic!("{e}"));
    fs::write(&ours, text.replace("# dialects = [\"openme\"]", "dialects = [\"openme\", \"fwknop\"]"))
        .unwrap_or_else(|e| panic!("{e}"));
    let client = format!(
        "dialect = \"fwknop\"\ngpg_home = \"{}\"\ngpg_signers = [\"{print}\"]\nhmac_key = \"b\"\nany_port = true\n",
        keyring.word()
    );
    let file = world.place("etc").join("clients/alice.toml");
    fs::create_dir_all(file.parent().unwrap_or(&file)).unwrap_or_else(|e| panic!("{e}"));
    fs::write(&file, client).unwrap_or_else(|e| panic!("{e}"));
    portunus_interop::run("chmod", &["600", &file.display().to_string()]);
    let check = || world.try_portunus(&["check"]);
    assert!(check().status.success(), "{}", said(&check()));
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}"));
    fs::write(&file, text.replace(&print, &"A".repeat(40))).unwrap_or_else(|e| panic!("{e}"));
    assert!(
        !check().status.success() && said(&check()).contains("nobody ever comes in"),
        "{}",
        said(&check())
    );
    fs::write(&file, text).unwrap_or_else(|e| panic!("{e}"));
    portunus_interop::run("chmod", &["755", &keyring.word()]);
    assert!(!check().status.success() && said(&check()).contains("chmod -R go="), "{}", said(&check()));
    let Err((status, log)) = portunus_interop::Daemon::try_start(&world, &["serve"]) else {
        panic!("it serves")
    };
    assert!(!status.success() && log.contains("is open to others than its owner"), "{log}");
    fs::remove_dir_all(keyring.home()).unwrap_or_else(|e| panic!("{e}"));
    assert!(
        !check().status.success() && said(&check()).contains("cannot be looked at"),
        "{}",
        said(&check())
    );
}

/// The network would learn of the knock, and whatever key came from there would be believed.
#[test]
fn a_recipient_who_is_not_in_the_keyring_is_asked_of_nobody() {
    let world = World::bare(Firewall::None);
    let keys = Exchanged::new(world.folder(), RSA);
    let home = keys.client.word();
    let words = ["--gpg-home-dir", &home, "--gpg-recip", "nobody@example.org"];
    let out = fwknop(&world, Whose::Ours, &[&words[..], &SSH].concat());
    assert!(!out.status.success(), "{}", said(&out));
    assert!(!said(&out).contains("WKD") && !said(&out).contains("keyserver"), "{}", said(&out));
    assert!(!keys.client.home().join("S.dirmngr").exists(), "a process that asks the network was started");
}

/// A bad HMAC never reaches gpg, and the same knock with a good one does.
#[test]
fn without_its_hmac_a_packet_is_nobodys() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    let exe = world.folder().join("counted");
    // Where gpg may write, and nowhere else.
    let count = keys.server.home().join("count");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--decrypt*) echo x >> {};; esac\nexec gpg \"$@\"\n",
        count.display()
    );
    fs::write(&exe, script).unwrap_or_else(|e| panic!("{e}"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&exe, mode).unwrap_or_else(|e| panic!("{e}"));
    fs::write(&count, "").unwrap_or_else(|e| panic!("{e}"));
    let access = format!("SOURCE ANY\nGPG_EXE {}\n{}{HMAC}", exe.display(), keys.lines(""));
    let daemon = udp_server(&world, &access);
    let asked = || fs::read_to_string(&count).unwrap_or_default().len();
    let bad =
        knock(&world, Whose::Ours, &keys, &[&SSH[..], &["--key-hmac", "another one", "--use-hmac"]].concat());
    refused(&world, &daemon, &bad, "Decryption failed");
    let none = knock(&world, Whose::Ours, &keys, &SSH);
    refused(&world, &daemon, &none, "Decryption failed");
    assert_eq!(asked(), 0, "{}", daemon.log());
    let good = knock(&world, Whose::Ours, &keys, &[&SSH[..], &WITH_HMAC].concat());
    opens(&world, &daemon, &good, "with its HMAC");
}

/// As the tutorial has it: two keys, exchanged and signed, a knock with `-s`; the port opens, and closes by itself.
#[test]
fn the_tutorials_walk() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), RSA);
    let short = |print: &str| print[print.len() - 8..].to_owned();
    let access = format!(
        "SOURCE: ANY;\nOPEN_PORTS: tcp/22;\nDATA_COLLECT_MODE: PCAP;\nGPG_HOME_DIR: {};\nGPG_DECRYPT_ID: {};\nGPG_ALLOW_NO_PW: Y;\n\
         GPG_REMOTE_ID: {};\nFW_ACCESS_TIMEOUT: 2;\n",
        keys.server.word(),
        short(&keys.recipient),
        short(&keys.signer)
    );
    let daemon = Fwknopd::start(&world, Whose::Ours, "", &access, &[]);
    let (recipient, signer) = (short(&keys.recipient), short(&keys.signer));
    let words =
        ["-A", "tcp/22", "--gpg-recip", &recipient, "--gpg-sign", &signer, "-s", "--gpg-no-signing-pw"];
    let home = keys.client.word();
    let out = fwknop(&world, Whose::Ours, &[&words[..], &["--gpg-home-dir", &home]].concat());
    opens(&world, &daemon, &out, "the tutorial");
    assert!(within(Duration::from_secs(8), || grants(&world).is_empty()), "{}", daemon.log());
}
