//! `fwknopd`, ours: its life by file, name and signal, and what it runs for clients of Debian's program.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use portunus_interop::fwknop::{Fwknopd, Whose, fwknop, grants, within};
use portunus_interop::{Firewall, World, binary};
use rustix::process::{Pid, Signal, kill_process};

const KEYS: [&str; 5] = ["--key-rijndael", "an encryption key", "--key-hmac", "an HMAC key", "--use-hmac"];
const STANZA: &str = "SOURCE ANY\nKEY_BASE64 YW4gZW5jcnlwdGlvbiBrZXk=\nHMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";
const SSH: [&str; 4] = ["-A", "tcp/22", "-a", "10.90.0.2"];

fn private(path: &Path, text: &str) {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Files for a server that nobody has started yet.
struct Files {
    conf: PathBuf,
    access: PathBuf,
    pid: PathBuf,
}

impl Files {
    fn new(world: &World) -> Self {
        let run = world.folder().join("run");
        let [conf, access] = ["fwknopd.conf", "access.conf"].map(|name| world.folder().join(name));
        private(&conf, &format!("PCAP_INTF door0;\nFWKNOP_RUN_DIR {};\n", run.display()));
        private(&access, STANZA);
        Self { conf, access, pid: run.join("fwknopd.pid") }
    }

    /// Ours with these files and words.
    fn fwknopd(&self, world: &World, words: &[&str]) -> Output {
        let mut command = world.server.command(binary());
        command.arg("fwknopd").arg("-c").arg(&self.conf).arg("-a").arg(&self.access).args(words);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What it says, and its exit.
    fn says(&self, world: &World, words: &[&str]) -> (String, i32) {
        let out = self.fwknopd(world, words);
        let said = [out.stdout, out.stderr].concat();
        (String::from_utf8_lossy(&said).trim().to_owned(), out.status.code().unwrap())
    }
}

fn knock(world: &World, words: &[&str]) {
    let out = fwknop(world, Whose::Theirs, &[&KEYS, words].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn in_the_background_it_is_known_by_its_file_and_its_name() {
    let world = World::bare(Firewall::Iptables);
    let files = Files::new(&world);
    assert_eq!(files.says(&world, &["-S"]), ("No running fwknopd detected.".to_owned(), 1));
    let (said, code) = files.says(&world, &[]);
    assert_eq!(code, 0, "{said}");
    let number: i32 = fs::read_to_string(&files.pid).unwrap().trim().parse().unwrap();
    let name = fs::read_to_string(format!("/proc/{number}/comm")).unwrap();
    assert_eq!(name.trim(), "fwknopd");
    let running = format!("Detected fwknopd is running (pid={number}).");
    assert_eq!(files.says(&world, &["-S"]), (running, 0));
    let (said, code) = files.says(&world, &["-f"]);
    assert!(said.contains(&format!("already running: (PID={number})")) && code == 1, "{said}");

    knock(&world, &[&SSH[..], &["-f", "100"]].concat());
    assert!(within(Duration::from_secs(5), || grants(&world).len() == 1), "{:?}", grants(&world));
    let restarted = format!("Sent restart signal to fwknopd (pid={number})");
    assert_eq!(files.says(&world, &["-R"]), (restarted, 0));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(grants(&world).len(), 1, "a reload drops no grant");

    let killed = format!("Killed fwknopd (pid={number}) via SIGTERM");
    assert_eq!(files.says(&world, &["-K"]), (killed, 0));
    assert_eq!(grants(&world), [""; 0], "FLUSH_IPT_AT_EXIT");
    // The number is still in the file, and nobody is told to end by it.
    assert!(files.pid.exists());
    assert_eq!(files.says(&world, &["-K"]), ("No running fwknopd detected.".to_owned(), 1));
}

/// FLUSH_IPT_AT_EXIT takes the chains away and ends what was open: who stops it and starts it again throws everybody out.
#[test]
fn a_stop_ends_what_was_open() {
    let world = World::bare(Firewall::Iptables);
    let files = Files::new(&world);
    let (said, code) = files.says(&world, &[]);
    assert_eq!(code, 0, "{said}");
    knock(&world, &[&SSH[..], &["-f", "100"]].concat());
    assert!(within(Duration::from_secs(5), || grants(&world).len() == 1), "{:?}", grants(&world));
    assert_eq!(files.says(&world, &["-K"]).1, 0);
    assert_eq!(grants(&world), [""; 0]);
    assert!(!world.server.run("iptables-save", &[]).contains("FWKNOP"));
    let (said, code) = files.says(&world, &[]);
    assert_eq!((code, grants(&world)), (0, Vec::<String>::new()), "{said}");
    assert_eq!(files.says(&world, &["-K"]).1, 0);
}

#[test]
fn who_cannot_serve_in_the_background_says_so_before_it_goes() {
    let world = World::bare(Firewall::Iptables);
    let files = Files::new(&world);
    let (said, code) = files.says(&world, &["-i", "nosuch0"]);
    assert!(code != 0 && said.contains("pcap_open_live() error: nosuch0"), "{code}: {said}");
    let (said, code) = files.says(&world, &["-P", "udp prot 5"]);
    assert!(code != 0 && said.contains("Error compiling pcap filter"), "{code}: {said}");
}

#[test]
fn a_cycle_is_closed_though_the_server_was_killed() {
    let world = World::bare(Firewall::Iptables);
    let (opened, closed) = (world.folder().join("opened"), world.folder().join("closed"));
    let stanza = format!(
        "{STANZA}CMD_CYCLE_OPEN touch {}\nCMD_CYCLE_CLOSE touch {}\nCMD_CYCLE_TIMER 3\n",
        opened.display(),
        closed.display()
    );
    let daemon = Fwknopd::start(&world, Whose::Ours, "", &stanza, &[]);
    knock(&world, &SSH);
    assert!(within(Duration::from_secs(5), || opened.exists()), "{}", daemon.log());
    let all = daemon.processes();
    kill_process(daemon.pid(), Signal::KILL).unwrap();
    let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}/fd/0")).exists();
    assert!(within(Duration::from_secs(5), || all.iter().all(gone)), "its parts ended with it");
    drop(daemon);
    assert!(!closed.exists(), "nobody was there to run it");
    let daemon = Fwknopd::start(&world, Whose::Ours, "", STANZA, &[]);
    assert!(within(Duration::from_secs(6), || closed.exists()), "{}", daemon.log());
    assert!(daemon.says("Timer expired, running CMD_CYCLE_CLOSE command: touch "), "{}", daemon.log());
}

#[test]
fn a_hanging_command_is_killed_and_told() {
    let world = World::bare(Firewall::Iptables);
    let stanza = format!("{STANZA}ENABLE_CMD_EXEC Y\n");
    let daemon = Fwknopd::start(&world, Whose::Ours, "CMD_EXEC_TIMEOUT 1;\n", &stanza, &[]);
    let number = world.folder().join("number");
    let text = format!("sh -c 'echo $$ > {}; sleep 300'", number.display());
    knock(&world, &["-C", &text, "-a", "10.90.0.2"]);
    assert!(daemon.says("it ran for more than 1 seconds (CMD_EXEC_TIMEOUT)"), "{}", daemon.log());
    assert!(daemon.says("CMD_EXEC: command returned 0, pid_status: 137"), "{}", daemon.log());
    let number: i32 = fs::read_to_string(number).unwrap().trim().parse().unwrap();
    let there = Pid::from_raw(number).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
    assert!(!there, "it runs on");
    knock(&world, &["-C", "/bin/false", "-a", "10.90.0.2"]);
    assert!(daemon.says("CMD_EXEC: command returned 0, pid_status: 1\n"), "{}", daemon.log());
}

#[test]
fn a_command_runs_as_the_stanzas_user() {
    let world = World::bare(Firewall::Iptables);
    let stanza = format!("{STANZA}ENABLE_CMD_EXEC Y\nCMD_EXEC_USER nobody\n");
    let daemon = Fwknopd::start(&world, Whose::Ours, "", &stanza, &[]);
    let out = Path::new("/tmp").join(format!("portunus-fwknopd-{}", std::process::id()));
    let text = format!("sh -c 'id > {}'", out.display());
    knock(&world, &["-C", &text, "-a", "10.90.0.2"]);
    let done = daemon.says("CMD_EXEC: command returned 0, pid_status: 0");
    let id = fs::read_to_string(&out).unwrap_or_default();
    let _ = fs::remove_file(&out);
    assert!(done, "{}", daemon.log());
    assert!(id.starts_with("uid=65534(nobody) gid=65534(nogroup)") && !id.contains("(root)"), "{id}");
}

#[test]
fn a_dry_run_judges_and_changes_nothing() {
    let world = World::bare(Firewall::Iptables);
    let before = world.server.run("nft", &["list", "ruleset"]);
    let daemon = Fwknopd::start(&world, Whose::Ours, "", STANZA, &["-t", "-C", "1"]);
    knock(&world, &SSH);
    assert!(daemon.says("--test mode enabled, skipping firewall manipulation."), "{}", daemon.log());
    assert!(daemon.says("Incoming packet count limit of 1 reached"), "{}", daemon.log());
    assert_eq!(world.server.run("nft", &["list", "ruleset"]), before);
}

#[test]
fn an_accepted_packet_stands_in_digest_cache_whoever_kills_us() {
    let world = World::bare(Firewall::Iptables);
    let daemon = Fwknopd::start(&world, Whose::Ours, "", STANZA, &[]);
    let saved = world.folder().join("packet").display().to_string();
    knock(&world, &[&SSH[..], &["-B", &saved]].concat());
    assert!(within(Duration::from_secs(5), || grants(&world).len() == 1), "{}", daemon.log());
    // The door is open, so the line is there.
    kill_process(daemon.pid(), Signal::KILL).unwrap();
    drop(daemon);
    let cache = fs::read_to_string(world.folder().join("fwknop/run/digest.cache")).unwrap();
    let text = fs::read_to_string(saved).unwrap();
    let digest = portunus_crypto::digest::sha256(&[text.trim().as_bytes()]);
    let line = format!("\n{} 17 10.90.0.2 ", portunus_crypto::text::encode_bare(&digest));
    assert!(cache.contains(&line), "no {line:?} in {cache}");
    // Theirs finds it in its own file, without a word of ours.
    let daemon = Fwknopd::start(&world, Whose::Theirs, "", STANZA, &[]);
    world.client.inside(|| {
        let socket = std::net::UdpSocket::bind("10.90.0.2:0").unwrap();
        socket.send_to(text.trim().as_bytes(), "10.90.0.1:62201").unwrap();
    });
    assert!(daemon.says("Replay detected from source IP: 10.90.0.2"), "{}", daemon.log());
}

/// In the background its lines go to the system's log: a socket at /dev/log, in a view of /dev that only this server has.
#[test]
fn in_the_background_it_speaks_to_the_systems_log() {
    let world = World::bare(Firewall::Iptables);
    let files = Files::new(&world);
    let mut conf = File::options().append(true).open(&files.conf).unwrap();
    conf.write_all(b"SYSLOG_IDENTITY gatekeeper;\nSYSLOG_FACILITY LOG_LOCAL3;\n").unwrap();
    let log = world.folder().join("syslog");
    let script = "mkdir \"$1/dev\" && mount -t tmpfs none \"$1/dev\" && mkdir \"$1/dev/up\" \"$1/dev/work\" && \
        mount -t overlay none -o \"lowerdir=/dev,upperdir=$1/dev/up,workdir=$1/dev/work\" /dev && \
        { socat -u UNIX-RECV:/dev/log \"OPEN:$1/syslog,creat,append\" & } && \
        while [ ! -S /dev/log ]; do sleep 0.02; done && \
        \"$2\" fwknopd -c \"$3\" -a \"$4\" && echo $! >\"$1/socat\"";
    let folder = world.folder();
    let mut command = world.server.command("unshare");
    command
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(folder)
        .arg(binary())
        .arg(&files.conf)
        .arg(&files.access);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{status}");

    knock(&world, &SSH);
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let granted = within(Duration::from_secs(5), || said().contains("Added access rule"));
    files.says(&world, &["-K"]);
    let socat: i32 = fs::read_to_string(folder.join("socat")).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(socat).unwrap(), Signal::TERM).unwrap();
    let said = said();
    assert!(granted, "{said}");
    // local3 is 19 (RFC 3164), eight times that and 6 for info.
    let line =
        said.split("<158>").find(|line| line.contains("SPA Packet from IP: 10.90.0.2")).unwrap_or_default();
    assert!(line.contains(" gatekeeper[") && line.contains("(stanza #1)"), "{said}");
}

/// People's files are older than UTF-8: a remark and a passphrase in Latin-1 are bytes, to the original and to us.
#[test]
fn a_passphrase_in_latin_1_is_the_same_bytes_on_both_sides() {
    let world = World::bare(Firewall::Iptables);
    let files = Files::new(&world);
    fs::write(&files.access, b"# Schl\xfcssel\nSOURCE ANY\nKEY p\xe4ssw\xf6rter\nHMAC_KEY gr\xfc\xdfe\n")
        .unwrap();
    assert_eq!(files.says(&world, &[]).1, 0);
    let rc = world.folder().join("latin");
    let text =
        b"# f\xfcr zuhause\n[default]\n[home]\nKEY p\xe4ssw\xf6rter\nHMAC_KEY gr\xfc\xdfe\nUSE_HMAC Y\n";
    fs::write(&rc, text).unwrap();
    fs::set_permissions(&rc, fs::Permissions::from_mode(0o600)).unwrap();
    for (whose, port) in [(Whose::Theirs, "22"), (Whose::Ours, "80")] {
        let program = if whose == Whose::Ours { binary() } else { "/usr/bin/fwknop".into() };
        let mut command = world.client.command(program);
        if whose == Whose::Ours {
            command.arg("fwknop");
        }
        command.env("HOME", world.folder()).env("LOGNAME", "alice").arg("--rc-file").arg(&rc);
        let door = format!("tcp/{port}");
        command.args(["-n", "home", "--no-save-args", "-D", "10.90.0.1", "-a", "10.90.0.2", "-A", &door]);
        let out = command.stdin(Stdio::null()).output().unwrap();
        assert!(out.status.success(), "{whose:?} {}", String::from_utf8_lossy(&out.stderr));
        let open = || grants(&world).iter().any(|rule| rule.contains(&format!(" {port} ")));
        assert!(within(Duration::from_secs(5), open), "{whose:?}: {:?}", grants(&world));
    }
    assert_eq!(fs::read(&rc).unwrap(), text, "the file is as it was");
    files.says(&world, &["-K"]);
}
