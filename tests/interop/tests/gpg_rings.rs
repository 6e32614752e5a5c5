//! Keyrings as `check` and `--exit-parse-config` look at them: as whom, how often, and for how long.
#![expect(clippy::panic, reason = "a test's helper fails by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use portunus_interop::gpg::{CURVES, Exchanged, HMAC, Keyring, UDP, said};
use portunus_interop::{Firewall, World};

/// A program in gpg's place, that anybody may run.
fn program(world: &World, name: &str, script: &str) -> PathBuf {
    let path = world.folder().join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap_or_else(|e| panic!("{e}"));
    mode(&path, 0o755);
    path
}

/// One that is gpg, and writes down as whom, with which path and with which words it was run.
fn counted(world: &World) -> (PathBuf, impl Fn() -> Vec<String>) {
    let runs = world.folder().join("runs");
    fs::write(&runs, "").unwrap_or_else(|e| panic!("{e}"));
    mode(&runs, 0o666);
    let shown = runs.display();
    let program =
        program(world, "counted", &format!("echo \"$(id -u) $PATH $*\" >> {shown}\nexec gpg \"$@\""));
    let lines = move || {
        let text = fs::read_to_string(&runs).unwrap_or_else(|e| panic!("{e}"));
        text.lines().map(str::to_owned).collect()
    };
    (program, lines)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap_or_else(|e| panic!("{e}"));
}

/// What is told of an access.conf, by somebody with a path of his own, and whether it is in order.
fn told(world: &World, access: &str) -> (bool, String) {
    let (conf, file) = (world.folder().join("f.conf"), world.folder().join("a.conf"));
    fs::write(&conf, UDP).unwrap_or_else(|e| panic!("{e}"));
    fs::write(&file, access).unwrap_or_else(|e| panic!("{e}"));
    [&conf, &file].into_iter().for_each(|path| mode(path, 0o600));
    let mut command = world.server.command(portunus_interop::binary().to_str().unwrap_or_default());
    command.args(["fwknopd", "--exit-parse-config", "-c"]).arg(&conf).arg("-a").arg(&file);
    let path = std::env::var("PATH").unwrap_or_default();
    let out = command.env("PATH", format!("{path}:/callers")).output().unwrap_or_else(|e| panic!("{e}"));
    (out.status.success(), said(&out))
}

/// A stanza with this keyring.
fn stanza(home: &str, program: &Path, signer: &str) -> String {
    let program = program.display();
    format!(
        "SOURCE ANY\nOPEN_PORTS tcp/22\nREQUIRE_SOURCE_ADDRESS Y\nGPG_EXE {program}\n{HMAC}GPG_HOME_DIR {home}\n\
         GPG_ALLOW_NO_PW Y\nGPG_FINGERPRINT_ID {signer}\n"
    )
}

/// Whoever can exchange a folder above a keyring of root's would have gpg run as root what his gpg.conf names.
#[test]
fn a_keyring_of_roots_that_another_could_exchange_is_refused_before_gpg_runs() {
    let world = World::bare(Firewall::Iptables);
    let above = world.folder().join("above");
    let keyring = Keyring::new(&above, "gs");
    let print = keyring.make("server", CURVES, "", "never");
    let (exe, runs) = counted(&world);
    let access = stanza(&keyring.word(), &exe, &print);
    assert_eq!(told(&world, &access), (true, "Configs parsed, exiting.\n".to_owned()));
    assert_eq!(runs().len(), 1);
    let refused = |what: &str| {
        let (parsed, said) = told(&world, &access);
        assert!(!parsed && said.contains("others than root can put another in its place"), "{what}: {said}");
        assert!(said.contains(&format!("chown root {}", above.display())), "{what}: {said}");
        assert_eq!(runs().len(), 1, "{what}");
    };
    mode(&above, 0o777);
    refused("others can write above it");
    mode(&above, 0o755);
    chown(&above, Some(65_534), None).unwrap_or_else(|e| panic!("{e}"));
    refused("the folder above is another's");
    let (conf, file) = (world.folder().join("f.conf"), world.folder().join("a.conf"));
    let words = ["fwknopd", "-f", "-c", &conf.display().to_string(), "-a", &file.display().to_string()];
    let mut command = world.server.command(portunus_interop::binary().to_str().unwrap_or_default());
    let out = command.args(words).output().unwrap_or_else(|e| panic!("{e}"));
    assert!(!out.status.success() && said(&out).contains("put another in its place"), "{}", said(&out));
    chown(&above, Some(0), None).unwrap_or_else(|e| panic!("{e}"));
    assert!(told(&world, &access).0);
}

/// Another user's: as him, once for all stanzas, with our path, asking nobody, and nothing is made.
#[test]
fn a_keyring_is_asked_once_as_its_owner_and_left_as_it_was() {
    let world = World::bare(Firewall::Iptables);
    let keys = Exchanged::new(world.folder(), CURVES);
    let home = keys.server.home();
    keys.server.end_agent();
    let _ = fs::remove_file(home.join("trustdb.gpg"));
    let entries = || {
        let all = fs::read_dir(home).unwrap_or_else(|e| panic!("{e}")).flatten();
        let mut names: Vec<PathBuf> = all.map(|entry| entry.path()).collect();
        names.retain(|path| !path.display().to_string().contains("S.gpg-agent"));
        names.sort();
        names
    };
    portunus_interop::run("chown", &["-R", "65534:65534", &keys.server.word()]);
    let before = entries();
    let (exe, runs) = counted(&world);
    let stanzas =
        [stanza(&keys.server.word(), &exe, &keys.signer), stanza(&keys.server.word(), &exe, &keys.recipient)];
    assert_eq!(told(&world, &stanzas.concat()), (true, "Configs parsed, exiting.\n".to_owned()));
    let [run] = runs().try_into().unwrap_or_else(|runs| panic!("one run: {runs:?}"));
    assert!(run.starts_with("65534 /") && !run.contains("/callers"), "{run}");
    assert!(run.contains("--pinentry-mode error") && run.contains("--batch"), "{run}");
    assert_eq!(entries(), before);
    portunus_interop::run("chown", &["-R", "0:0", &keys.server.word()]);
}

/// Who only looks is not told to take the keyring from the daemon.
#[test]
fn a_user_who_looks_at_anothers_keyring_is_told_as_whom_to_look() {
    let world = World::bare(Firewall::Iptables);
    let keyring = Keyring::new(world.folder(), "gs");
    let print = keyring.make("server", CURVES, "", "never");
    portunus_interop::run("chown", &["-R", "61190:61190", &keyring.word()]);
    let access = stanza(&keyring.word(), Path::new("/usr/bin/gpg"), &print);
    assert!(told(&world, &access).0);
    mode(world.folder(), 0o755);
    let (conf, file) = (world.folder().join("f.conf"), world.folder().join("a.conf"));
    for path in [&conf, &file] {
        chown(path, Some(61_191), Some(61_191)).unwrap_or_else(|e| panic!("{e}"));
    }
    let mut command = world.server.command("setpriv");
    command.args(["--reuid", "61191", "--regid", "61191", "--clear-groups"]).arg(portunus_interop::binary());
    command.args(["fwknopd", "--exit-parse-config", "-c"]).arg(&conf).arg("-a").arg(&file);
    let said = said(&command.output().unwrap_or_else(|e| panic!("{e}")));
    assert!(said.contains("run it as root, or as uid 61190") && !said.contains("chown"), "{said}");
}

/// A folder without a key: nothing is made in it.
#[test]
fn a_folder_without_keys_gets_no_keyring_by_being_looked_at() {
    let world = World::bare(Firewall::Iptables);
    let keyring = Keyring::new(world.folder(), "none");
    let (parsed, said) = told(&world, &stanza(&keyring.word(), Path::new("/usr/bin/gpg"), &"A".repeat(40)));
    assert!(!parsed && said.contains("has no secret key"), "{said}");
    assert_eq!(fs::read_dir(keyring.home()).unwrap_or_else(|e| panic!("{e}")).count(), 0);
}

/// A gpg that does not end, and one that does not stop talking.
#[test]
fn who_looks_at_a_keyring_waits_for_no_gpg_for_ever() {
    let world = World::bare(Firewall::Iptables);
    let keyring = Keyring::new(world.folder(), "gs");
    let print = keyring.make("server", CURVES, "", "never");
    for (name, script, words) in [
        ("hangs", "exec sleep 600", "it did not end within 10 s"),
        ("talks", "exec yes pub:-:", "more keys than are looked at"),
        ("mutters", "exec yes muttering >&2", "it did not end within 10 s"),
    ] {
        let since = Instant::now();
        let (parsed, said) = told(&world, &stanza(&keyring.word(), &program(&world, name, script), &print));
        assert!(!parsed && said.contains(words) && said.len() < 2000, "{name}: {said}");
        // Each is asked once; a machine that is busy is given as long again.
        assert!(since.elapsed().as_secs() < 60, "{name}: {:?}", since.elapsed());
    }
    // The memory that it may have is bounded too: its shell tells how much.
    let bound = program(&world, "bound", "echo \"at most $(ulimit -v) KiB\" >&2\nexit 2");
    let (_, said) = told(&world, &stanza(&keyring.word(), &bound, &print));
    assert!(said.contains("at most 524288 KiB"), "{said}");
}

/// A program that reads what `check` says finds the place and the mend in it.
#[test]
fn what_is_wrong_with_a_keyring_is_told_to_programs_with_its_place_and_the_mend() {
    let world = World::new(Firewall::None);
    let keyring = Keyring::new(world.folder(), "gs");
    let print = keyring.make("server", CURVES, "", "never");
    let ours = world.place("etc").join("portunus.toml");
    let text = fs::read_to_string(&ours).unwrap_or_else(|e| panic!("{e}"));
    let text = text.replace("# dialects = [\"openme\"]", "dialects = [\"openme\", \"fwknop\"]");
    fs::write(&ours, text).unwrap_or_else(|e| panic!("{e}"));
    let clients = world.place("etc").join("clients");
    fs::create_dir_all(&clients).unwrap_or_else(|e| panic!("{e}"));
    let other = Keyring::new(world.folder(), "other");
    portunus_interop::run("chown", &["65534:65534", &other.word()]);
    for (name, home) in [("alice", keyring.word()), ("bob", other.word())] {
        let client = format!(
            "dialect = \"fwknop\"\ngpg_home = \"{home}\"\ngpg_signers = [\"{print}\"]\nhmac_key = \"{name}\"\nany_port = true\n"
        );
        let file = clients.join(format!("{name}.toml"));
        fs::write(&file, client).unwrap_or_else(|e| panic!("{e}"));
        mode(&file, 0o600);
    }
    let out = world.try_portunus(&["check", "--json"]);
    let words = said(&out);
    assert!(!out.status.success(), "{words}");
    assert!(
        words.contains("belong to two users") && words.contains("\"mend\": \"chown one of them\""),
        "{words}"
    );
    assert!(words.contains(&format!("\"file\": \"{}\"", other.word())), "{words}");
    portunus_interop::run("chown", &["0:0", &other.word()]);
}

/// With a slash behind it a folder is the same one.
#[test]
fn a_keyring_is_one_however_its_folder_is_spelled() {
    let world = World::bare(Firewall::Iptables);
    let keyring = Keyring::new(world.folder(), "gs");
    let print = keyring.make("server", CURVES, "", "never");
    let (exe, runs) = counted(&world);
    let spelled =
        ["", "/", "//.", "/./"].map(|end| stanza(&format!("{}{end}", keyring.word()), &exe, &print));
    assert!(told(&world, &spelled.concat()).0);
    assert_eq!(runs().len(), 1, "{:?}", runs());
}
