//! What our own files mean, and what each mistake in them says. Long because it is a table: a row a mistake.

use super::*;
use crate::files::tests::Memory;
use crate::{AuditSize, KeysOf, MetricsListen, OnExit, Overlay, Secrecy};
use portunus_crypto::{ed25519::SigningKey, text};
use portunus_model::{Family, PortSpec, Seat, Unix};
use proptest::prelude::*;

mod doors;

const DIR: &str = "/etc/portunus";

fn key(n: u8) -> [u8; 32] {
    *SigningKey::new(&Secret::from_bytes([n; 32])).unwrap().public()
}

fn init() -> Init {
    Init {
        host: "home.example.org".into(),
        port: 54154,
        firewall: FirewallKind::Auto,
        place: None,
        interfaces: Vec::new(),
        dialects: Vec::new(),
    }
}

fn new(name: &str, n: u8) -> NewClient {
    NewClient::new(ClientName::new(name).unwrap(), key(n))
}

fn client_text(client: &NewClient) -> String {
    write::client(client)
}

/// A folder as `init` makes it, with two clients.
fn folder() -> Memory {
    let mut bob = new("bob", 2);
    bob.services = vec!["web".into(), "2222/tcp".into()];
    bob.expires = Some(Unix::from_secs(1_798_761_599));
    bob.lasting = Some(Duration::from_secs(90));
    bob.any_target = true;
    bob.health_port = false;
    Memory::default()
        .with("/etc/portunus/portunus.toml", server_text(&init()))
        .with("/etc/portunus/services.toml", "ssh = [\"22/tcp\"]\nweb = [\"80/tcp\", \"443\"]\n")
        .with("/etc/portunus/keys/openme.key", key_text(&Secret::from_bytes([3; 32])).as_str())
        .with("/etc/portunus/clients/alice.toml", client_text(&new("alice", 1)))
        .with("/etc/portunus/clients/bob.toml", client_text(&bob))
}

fn loaded(files: &Memory) -> Result<Settings, Vec<String>> {
    load(files, Path::new(DIR)).map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn ports(words: &[&str]) -> Vec<PortSpec> {
    let mut all: Vec<_> = words.iter().flat_map(|word| PortSpec::parse(word).unwrap()).collect();
    all.sort();
    all
}

#[test]
fn what_init_and_add_write_means_what_it_says() {
    let settings = loaded(&folder()).unwrap();
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert_eq!(
        (settings.host.as_deref(), settings.profile_name.as_str()),
        (Some("home.example.org"), "home")
    );
    assert_eq!((settings.listen, settings.listen_named), (crate::everywhere(54154), false));
    assert_eq!((settings.health_port, settings.on_exit), (Some(54154), OnExit::Keep));
    assert!(settings.secrets.openme == Some(Secret::from_bytes([3; 32])));
    let [alice, bob] = &settings.rules.clients[..] else { panic!("two clients") };
    assert_eq!(&*alice.ports, ports(&["22/tcp", "54154/tcp"]));
    assert_eq!((alice.lasting.as_secs(), alice.any_target, alice.expires), (30, false, None));
    assert_eq!(&*bob.ports, ports(&["80/tcp", "443", "2222/tcp"]));
    assert_eq!((bob.lasting.as_secs(), bob.any_target), (90, true));
    assert_eq!(bob.expires, Some(Unix::from_secs(1_798_761_599)));
    let doors = ports(&["22/tcp", "80/tcp", "443", "2222/tcp", "54154/tcp"]);
    assert_eq!((&settings.limits.doors, settings.limits.longest.as_secs()), (&doors, 90));
    assert_eq!((settings.stance.protected, settings.stance.protect), (doors, true));
    assert_eq!((settings.stance.place, settings.stance.knock_port), (None, Some(54154)));
    assert_eq!(settings.sources.len(), 5);
}

#[test]
fn the_last_client_that_goes_opens_no_door() {
    let mut files = folder();
    files.0.remove(Path::new("/etc/portunus/clients/alice.toml"));
    files.0.remove(Path::new("/etc/portunus/clients/bob.toml"));
    let settings = loaded(&files).unwrap();
    assert_eq!(settings.stance.protected, ports(&["22/tcp", "80/tcp", "443", "54154/tcp"]));
    assert!(settings.limits.doors.is_empty());
}

#[test]
fn every_key_of_the_template_is_one_that_is_read() {
    let uncommented: String = server_text(&init())
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.split(" = ").next().is_some_and(|key| !key.contains(' ') && rest.contains(" = ")) =>
            {
                rest
            }
            Some(_) | None => line,
        })
        .filter(|line| !line.starts_with("listen"))
        .map(|line| format!("{line}\n"))
        .collect();
    // A section that is one by itself, two ways for one mail and one page, and the passwords that it names.
    let uncommented = uncommented.replace("# [alerts]", "[alerts]").replace("\nsendmail", "\n# sendmail");
    let uncommented = uncommented.replace("\nurl_file", "\n# url_file");
    let files = folder()
        .with("/etc/portunus/portunus.toml", uncommented)
        .with("/etc/portunus/keys/smtp.password", "sesame\n")
        .with("/etc/portunus/keys/hook.token", "sesame\n");
    let settings = loaded(&files).unwrap();
    let alerts = settings.alerts.unwrap();
    assert!(alerts.mail.is_some() && alerts.webhook.is_some() && alerts.command.is_some());
    assert_eq!(settings.nflog, Some(5));
    assert_eq!(settings.stance.place, Some(Place::Own));
    assert_eq!(settings.admins, [1000]);
    assert_eq!(settings.limits.most_open, 65536);
    let files = folder().with("/etc/portunus/services.toml", services_text());
    assert_eq!(services(&files, Path::new(DIR)).unwrap(), [("ssh".into(), ports(&["22/tcp"]))]);
}

#[test]
fn init_writes_each_choice() {
    let seat = Seat { family: Family::Inet, table: "filter".into(), chain: "input".into() };
    for place in [
        Place::Own,
        Place::Iptables,
        Place::Attach(vec![seat.clone()]),
        Place::Attach(vec![seat, Seat { family: Family::Ip6, table: "a".into(), chain: "b".into() }]),
    ] {
        let init =
            Init { place: Some(place.clone()), interfaces: vec!["eth0".into(), "wg0".into()], ..init() };
        let settings = loaded(&folder().with("/etc/portunus/portunus.toml", server_text(&init))).unwrap();
        assert_eq!(settings.stance.place, Some(place));
        assert_eq!(settings.stance.interfaces, ["eth0", "wg0"]);
    }
}

#[test]
fn many_clients_may_stand_in_one_file() {
    let table =
        format!("[carol]\n{}[\"dave d\"]\n{}", client_text(&new("carol", 4)), client_text(&new("dave d", 5)));
    let files = folder().with("/etc/portunus/clients.toml", table);
    let names: Vec<_> =
        loaded(&files).unwrap().rules.clients.iter().map(|client| client.name.to_string()).collect();
    assert_eq!(names, ["alice", "bob", "carol", "dave d"]);
    let entries = clients(&files, Path::new(DIR)).unwrap();
    assert_eq!(entries[3].line, 4);
    assert_eq!(entries[1].services, ["web", "2222/tcp"]);
}

/// In which file, replaces what by what, and expects exactly this to be said.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("portunus.toml", "port = 54154", "prot = 1", "11:1: unknown key \"prot\": did you mean \"port\"?"),
    (
        "portunus.toml",
        "port = 54154",
        "colour = 1",
        "11:1: unknown key \"colour\": known here: host, profile, listen, port, nflog, health, health_port, dialects, replay_window, on_exit, admins, firewall, defaults, limits, audit, metrics, alerts",
    ),
    ("portunus.toml", "port = 54154", "port = 0", "11:8: port is 0: use a whole number from 1 to 65535"),
    (
        "portunus.toml",
        "port = 54154",
        "port = 70000",
        "11:8: port is 70000: use a whole number from 1 to 65535",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "port = \"54154\"",
        "11:8: port is a text: use a whole number from 1 to 65535, without quotes",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "port = true",
        "11:8: port is a true-or-false value: use a whole number from 1 to 65535",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "listen = [\"eth0:1\"]",
        "11:11: \"eth0:1\" is not an address to listen on: write ADDRESS:PORT, as in 192.0.2.1:54154 or [2001:db8::1]:54154",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "listen = [\"192.0.2.1:0\"]",
        "11:11: \"192.0.2.1:0\" has port 0: write ADDRESS:PORT, as in 192.0.2.1:54154 or [2001:db8::1]:54154",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "listen = [\"192.0.2.1:5\", \"[::1]:6\"]",
        "11:26: \"[::1]:6\" has another port than the address before it: use one port for all: profiles name only one",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "listen = [\"192.0.2.1:5\", \"192.0.2.1:5\"]",
        "11:26: \"192.0.2.1:5\" stands twice: keep one of them",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "port = 5\nlisten = [\"192.0.2.1:6\"]",
        "11:8: port and listen name two ports: take this out, or write 6",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "listen = \"192.0.2.1:6\"",
        "11:10: listen is a text, not a list: write a list, as in [\"192.0.2.1:54154\"]",
    ),
    ("portunus.toml", "port = 54154", "port = 1\nport = 2", "12:1: port stands twice: keep one of them"),
    (
        "portunus.toml",
        "port = 54154",
        "dialects = [\"nativ\"]",
        "11:13: unknown dialect \"nativ\": use native, openme or fwknop",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "replay_window = \"11m\"",
        "11:17: replay_window is 11m: use a time from 1s to 10m",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "replay_window = 60",
        "11:17: replay_window is a number, not a text: put it in quotes: \"60\"",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "replay_window = \"60\"",
        "11:17: \"60\" has no unit: write 60s for seconds, 60m for minutes or 60h for hours",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "on_exit = \"open\"",
        "11:11: on_exit is \"open\": use one of: keep, close",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "admins = [\"root\"]",
        "11:11: a user in admins is a text: use a whole number from 0 to 4294967294, without quotes",
    ),
    (
        "portunus.toml",
        "port = 54154",
        "health = \"yes\"",
        "11:10: health is a text, not true or false: write true or false, without quotes",
    ),
    (
        "portunus.toml",
        "host = \"home",
        "host = \"https://home",
        "5:8: \"https://home.example.org\" is not a host but an address of a page: write the name or the address alone, as in home.example.org",
    ),
    (
        "portunus.toml",
        "backend = \"auto\"",
        "backend = \"nftables\"",
        "39:11: backend is \"nftables\": use one of: auto, nft, iptables",
    ),
    (
        "portunus.toml",
        "backend = \"auto\"",
        "backend = \"nft\"\nplace = \"iptables\"",
        "40:9: this place is not one of the back end nft: change one of them, or take the place out: it is found at each start",
    ),
    (
        "portunus.toml",
        "backend = \"auto\"",
        "place = \"mine\"",
        "39:9: \"mine\" is not a place: use own, iptables or attach:FAMILY/TABLE/CHAIN, as in attach:inet/filter/input",
    ),
    (
        "portunus.toml",
        "interfaces = []",
        "interfaces = [\"eth 0\"]",
        "46:15: \"eth 0\" is not an interface's name: use one that `ip link` shows, such as eth0",
    ),
    (
        "portunus.toml",
        "interfaces = []",
        "interfaces = [\"a\", \"a\"]",
        "46:20: \"a\" stands twice: keep one of them",
    ),
    (
        "portunus.toml",
        "interfaces = []",
        "protcet = true",
        "46:1: unknown key \"protcet\": did you mean \"protect\"?",
    ),
    ("portunus.toml", "[defaults]", "[default]", "55:2: unknown key \"default\": did you mean \"defaults\"?"),
    (
        "portunus.toml",
        "services = [\"ssh\"]",
        "services = [\"shs\"]",
        "57:13: unknown service \"shs\": known: ssh, web; or write ports such as 22/tcp",
    ),
    (
        "portunus.toml",
        "# open_grants = 65536",
        "open_grants = 0",
        "63:15: open_grants is 0: use a whole number from 1 to 1000000",
    ),
    (
        "portunus.toml",
        "# grant = \"30s\"",
        "grant = \"48h\"",
        "58:9: grant is 48h: use a time from 1s to 24h",
    ),
    (
        "services.toml",
        "22/tcp",
        "22/tpc",
        "1:8: unknown protocol \"tpc\": use tcp or udp, as in 22/tcp, or leave it out for both",
    ),
    (
        "services.toml",
        "[\"22/tcp\"]",
        "22",
        "1:7: ssh is a number, not a list: write a list, as in [\"22/tcp\"]",
    ),
    ("services.toml", "[\"22/tcp\"]", "[22]", "1:8: ssh is a number, not a text: put it in quotes: \"22\""),
    (
        "services.toml",
        "web",
        "2web",
        "2:1: \"2web\" is no name for a service: begin it with a letter: what begins with a digit is a port",
    ),
    ("clients/bob.toml", "services", "servics", "3:1: unknown key \"servics\": did you mean \"services\"?"),
    (
        "clients/bob.toml",
        "\"web\"",
        "\"wbe\"",
        "3:13: unknown service \"wbe\": known: ssh, web; or write ports such as 22/tcp",
    ),
    (
        "clients/bob.toml",
        "\"openme\"",
        "\"nativ\"",
        "1:11: dialect is \"nativ\": use one of: native, openme, fwknop",
    ),
    (
        "clients/bob.toml",
        "2026-12-31T23:59:59Z",
        "2026-12-31",
        "4:11: \"2026-12-31\" has no time of day: write 2026-12-31T00:00:00Z",
    ),
    (
        "clients/bob.toml",
        "2026-12-31T23:59:59Z",
        "2026-12-31T23:59:59",
        "4:11: \"2026-12-31T23:59:59\" has no time zone: end it with Z for UTC, or with an offset such as +01:00",
    ),
    (
        "clients/bob.toml",
        "2026-12-31T23:59:59Z",
        "\"soon\"",
        "4:11: \"soon\" is not a date: write it like 2027-01-31T00:00:00Z",
    ),
    ("clients/bob.toml", "\"1m30s\"", "\"25h\"", "5:9: grant is 25h: use a time from 1s to 24h"),
    (
        "clients/bob.toml",
        "public_key",
        "# public_key",
        "1:1: client \"bob\" has no public_key: add it with `portunus add`, or take the client out",
    ),
    (
        "clients/bob.toml",
        "any_target = true",
        "any_target = 1",
        "6:14: any_target is a number, not true or false: write true or false, without quotes",
    ),
];

#[test]
fn each_mistake_has_its_sentence() {
    let mut wrong = Vec::new();
    for (file, from, to, sentence) in MISTAKES {
        let path = format!("{DIR}/{file}");
        let mut files = folder();
        let text = files.0[Path::new(&path)].clone();
        assert!(text.contains(from), "{from}");
        files = files.with(&path, text.replacen(from, to, 1));
        let mut said = loaded(&files).expect_err(to);
        // Where the defaults are gone, alice has none; that is another matter.
        said.truncate(1);
        if said != [format!("{path}:{sentence}")] {
            wrong.push(said);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_mistake_about_whole_files_has_its_sentence() {
    let said = |files: Memory| loaded(&files).unwrap_err();
    let mut files = folder();
    files.0.remove(Path::new("/etc/portunus/portunus.toml"));
    assert_eq!(
        said(files),
        ["/etc/portunus/portunus.toml: there is no such file: make it with `portunus init --host HOST`"]
    );
    let mut files = folder();
    files.0.remove(Path::new("/etc/portunus/keys/openme.key"));
    assert_eq!(
        said(files),
        [
            "/etc/portunus/keys/openme.key: the server's private key is not there: make it with `portunus init --host \
          HOST`, or copy it from the old server"
        ]
    );
    assert_eq!(
        said(folder().with("/etc/portunus/keys/openme.key", "AAAA\n")),
        [
            "/etc/portunus/keys/openme.key:1:1: the key has 3 bytes, not 32: copy the whole private key: 44 characters, \
          the last one is ="
        ]
    );
    assert_eq!(
        said(folder().with("/etc/portunus/clients/b:b.toml", client_text(&new("b", 9)))),
        [
            "/etc/portunus/clients/b:b.toml: the client's name \"b:b\" has the character ':': rename the file: use letters, \
          digits, '-', '_', '.', '@', '+' and inner blanks"
        ]
    );
    assert_eq!(
        said(folder().with("/etc/portunus/clients/carol.toml", client_text(&new("carol", 1)))),
        [
            "/etc/portunus/clients/carol.toml:2:14: the key of \"carol\" is also that of \"alice\": give each client a \
             key of its own, with `add`"
        ]
    );
    let three = folder()
        .with("/etc/portunus/clients/carol.toml", client_text(&new("carol", 1)))
        .with("/etc/portunus/clients/dave.toml", client_text(&new("dave", 1)));
    assert!(
        said(three)[1].contains("the key of \"dave\" is also that of \"alice\": "),
        "a third one with the key names the first"
    );
    assert_eq!(
        said(folder().with("/etc/portunus/clients.toml", format!("[alice]\n{}", client_text(&new("a", 7))))),
        ["/etc/portunus/clients.toml:1:2: there are two clients named \"alice\": rename one of them"]
    );
    let few = server_text(&init()).replace("# clients = 100000", "clients = 1");
    assert_eq!(
        said(folder().with("/etc/portunus/portunus.toml", few)),
        [
            "/etc/portunus/clients/bob.toml:1:1: there are more than 1 clients: take some out, or raise `clients` below \
          [limits]"
        ]
    );
}

#[test]
fn leftovers_are_passed_over_and_strangers_named() {
    let files = folder()
        .with("/etc/portunus/clients/.alice.toml.swp", "x")
        .with("/etc/portunus/clients/bob.toml~", "x")
        .with("/etc/portunus/clients/carol.tml", "x");
    let said: Vec<_> = loaded(&files).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "/etc/portunus/clients/carol.tml: this is no client's file: name a client's file NAME.toml, or move this one away"
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    struct Closed(Memory);
    impl Files for Closed {
        fn read(&self, path: &Path, secrecy: Secrecy) -> Result<String, crate::FileError> {
            if secrecy == Secrecy::Secret {
                Err(crate::FileError::TooOpen { mode: 0o644 })
            } else {
                self.0.read(path, secrecy)
            }
        }
        fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, crate::FileError> {
            let _ = dir;
            Err(crate::FileError::Denied)
        }
    }
    let said: Vec<_> =
        load(&Closed(folder()), Path::new(DIR)).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "/etc/portunus/keys/openme.key: it holds a secret and others can reach it (mode 0644): chmod 600 \
             /etc/portunus/keys/openme.key",
            "/etc/portunus/clients: we may not read it: run this as root, or as the owner of /etc/portunus/clients",
        ]
    );
}

#[test]
fn clients_come_and_go_as_files_or_tables() {
    let dir = Path::new(DIR);
    let files = folder();
    let carol = new("carol", 4);
    let FileChange::Write { path, text } = add_client(&files, dir, &carol).unwrap() else { panic!("a file") };
    assert_eq!(path, Path::new("/etc/portunus/clients/carol.toml"));
    let over = Overlay::new(&files).with(&path, text.as_str());
    assert_eq!(load(&over, dir).unwrap().rules.clients.len(), 3);
    assert_eq!(remove_client(&over, dir, &carol.name), Ok(FileChange::Delete { path }));
    assert_eq!(add_client(&files, dir, &new("bob", 9)), Err(EditError::Exists("bob".into())));
    assert_eq!(remove_client(&files, dir, &carol.name), Err(EditError::Unknown("carol".into())));

    let whole = "# ours\n";
    let files = files.with("/etc/portunus/clients.toml", whole);
    let FileChange::Write { path, text } = add_client(&files, dir, &carol).unwrap() else { panic!("a file") };
    assert_eq!(path, Path::new("/etc/portunus/clients.toml"));
    let files = files.with("/etc/portunus/clients.toml", text.as_str());
    assert_eq!(loaded(&files).unwrap().rules.clients.len(), 3);
    let back = remove_client(&files, dir, &carol.name).unwrap();
    assert_eq!(back, FileChange::Write { path, text: whole.to_owned().into() });
}

/// Two keys, in base64: 12 bytes each.
const CAROL: &str =
    "dialect = \"fwknop\"\nkey_base64 = \"c2VjcmV0c2VjcmV0\"\nhmac_key = \"another secret\"\n";

fn both(carol: &str) -> Memory {
    let server =
        server_text(&init()).replace("# dialects = [\"openme\"]", "dialects = [\"openme\", \"fwknop\"]");
    folder().with("/etc/portunus/portunus.toml", server).with("/etc/portunus/clients/carol.toml", carol)
}

#[test]
fn a_client_of_fwknops_stands_beside_the_others() {
    let carol = format!(
        "{CAROL}hmac_type = \"sha512\"\nservices = [\"web\"]\nsources = [\"192.0.2.0/24\"]\nrequire_username = \"c\"\n\
         require_source = false\ngrant = \"1m\"\nlongest_grant = \"1h\"\n"
    );
    let settings = loaded(&both(&carol)).unwrap();
    let [.., client] = settings.rules.clients.as_slice() else { panic!("clients") };
    let stanza = client.stanza.as_deref().unwrap();
    assert_eq!((client.name.as_str(), client.any_target, client.ports.len()), ("carol", false, 0));
    let mut wanted = ports(&["80/tcp", "443", "54154/tcp"]);
    wanted.sort();
    assert_eq!(stanza.open_ports.as_deref(), Some(wanted.as_slice()));
    assert_eq!((client.lasting.as_secs(), stanza.longest.as_secs()), (60, 3600));
    assert_eq!(stanza.window, Some(settings.rules.window));
    assert!(stanza.sources.len() == 1 && !stanza.require_source && stanza.username.as_deref() == Some("c"));
    let [keys] = settings.secrets.fwknop.as_slice() else { panic!("one set of keys") };
    assert_eq!(client.key, portunus_model::ClientKey::Fwknop(keys.id()));
    assert_eq!((settings.limits.longest.as_secs(), settings.limits.any_port), (3600, false));
    let any = loaded(&both(&format!("{CAROL}any_port = true\n"))).unwrap();
    assert!(
        any.limits.any_port
            && any.rules.clients.last().unwrap().stanza.as_ref().unwrap().open_ports.is_none()
    );
}

#[test]
fn a_client_of_fwknops_is_written_as_it_is_read() {
    use portunus_dialect::fwknop::{HashType, Mode, RawKeys};
    let keys = RawKeys::new(b"key", Mode::Ctr, Some((HashType::Md5, b"other"))).unwrap();
    let mut new = NewFwknop::new(ClientName::new("dora").unwrap(), KeysOf::Symmetric(&keys));
    new.client.lasting = Some(Duration::from_secs(9));
    new.client.any_target = true;
    new.any_port = true;
    new.sources = vec![portunus_model::Net::parse("10.0.0.0/8").unwrap()];
    new.require_source = false;
    new.username = Some("d".into());
    new.longest = Some(Duration::from_secs(99));
    let files = both(CAROL);
    let FileChange::Write { path, text } = add_fwknop(&files, Path::new(DIR), &new).unwrap() else {
        panic!("a file")
    };
    assert_eq!(path, Path::new("/etc/portunus/clients/dora.toml"));
    let files = files.with("/etc/portunus/clients/dora.toml", text.as_str());
    let settings = loaded(&files).unwrap();
    let client = settings.rules.clients.last().unwrap();
    let stanza = client.stanza.as_deref().unwrap();
    assert_eq!(client.key, portunus_model::ClientKey::Fwknop(keys.id()));
    assert!(client.any_target && stanza.open_ports.is_none() && !stanza.require_source);
    assert_eq!((client.lasting.as_secs(), stanza.longest.as_secs()), (9, 99));
    assert_eq!((stanza.sources.len(), stanza.username.as_deref()), (1, Some("d")));
    let listed = clients(&files, Path::new(DIR)).unwrap();
    assert!(listed.iter().any(|entry| entry.any_port && entry.key == client.key));
}

#[test]
fn a_client_with_keys_of_gnupgs_is_written_as_it_is_read() {
    use portunus_dialect::fwknop::HashType;
    use portunus_dialect::fwknop::gpg::{RawGpg, Ring, Signers};
    let print = "00CC95F05BC146B6AC4038C9E36F443C6A3FAD56";
    for (passphrase, signers, decrypts, hmac) in [
        (
            None,
            Signers { required: true, fingerprints: vec![print.into()], ..Signers::default() },
            None,
            None,
        ),
        (
            Some(b"a \"pass\"".as_slice()),
            Signers {
                required: true,
                any_validity: true,
                ids: vec!["7234ABCD".into()],
                ..Signers::default()
            },
            Some("6A3FAD56".to_owned()),
            Some((HashType::Sha512, b"other".as_slice())),
        ),
        (None, Signers::default(), None, None),
    ] {
        let ring = Ring::new(Path::new("/home/g"), Path::new("/bin/gpg"), passphrase);
        let keys = RawGpg::new(ring, signers, decrypts, hmac).unwrap();
        let new = NewFwknop::new(ClientName::new("gina").unwrap(), KeysOf::Gpg(&keys));
        let files = both(CAROL);
        let FileChange::Write { path, text } = add_fwknop(&files, Path::new(DIR), &new).unwrap() else {
            panic!("a file")
        };
        let files = files.with(&path.display().to_string(), text.as_str());
        let settings = loaded(&files).unwrap();
        let [read] = settings.secrets.gpg.as_slice() else { panic!("one set of keys") };
        assert!(read.id() == keys.id() && read.ring().passphrase() == passphrase, "{}", text.as_str());
        let client = settings.rules.clients.last().unwrap();
        assert_eq!(client.key, portunus_model::ClientKey::Fwknop(keys.id()));
    }
}

#[test]
fn each_mistake_of_a_client_with_keys_of_gnupgs_has_its_sentence() {
    let gpg = "dialect = \"fwknop\"\ngpg_home = \"/g\"\n";
    let signed = "gpg_signers = [\"00CC95F05BC146B6AC4038C9E36F443C6A3FAD56\"]\n";
    let said = |more: &str| {
        let said = loaded(&both(&format!("{gpg}{more}"))).map(|_| ()).unwrap_err();
        said[0].strip_prefix("/etc/portunus/clients/carol.toml:").unwrap_or(&said[0]).to_owned()
    };
    for (more, sentence) in [
        (
            String::new(),
            "1:1: client \"carol\" has no gpg_signers: name the fingerprints of the keys that may sign its packets, as `gpg --list-keys` prints them",
        ),
        (
            format!("{signed}key = \"x\"\n"),
            "4:1: client \"carol\" has a keyring of GnuPG's and what only symmetric keys have: make two clients of it: each packet is of one kind",
        ),
        (
            format!("{signed}gpg_program = \"gpg\"\n"),
            "4:1: gpg_program is \"gpg\", which is no path from / on: write the whole path",
        ),
        (
            format!("{signed}gpg_decrypt_key = \"alice\"\n"),
            "4:19: gpg_decrypt_key is no fingerprint: write it as `gpg --list-secret-keys` prints it, without blanks",
        ),
        (
            "gpg_signers = [\"alice\"]\n".to_owned(),
            "3:16: gpg_signers has \"alice\", which is no key's: write it as `gpg --list-keys` prints it, without blanks",
        ),
        (
            format!("{signed}gpg_unsigned = true\n"),
            "4:1: gpg_unsigned = true and the keys that must sign contradict each other: take one of them out",
        ),
    ] {
        assert_eq!(said(&more), sentence);
    }
    let warned = |more: &str| -> Vec<String> {
        let loaded = loaded(&both(&format!("{gpg}{more}"))).unwrap();
        loaded.warnings.iter().map(|one| one.what.clone()).collect()
    };
    assert!(
        warned("gpg_unsigned = true\n")
            .iter()
            .any(|what| what.contains("whoever has the server's public key"))
    );
    assert!(warned(signed).iter().any(|what| what.contains("gpg runs for whatever anybody sends")));
    assert!(warned(&format!("{signed}hmac_key = \"b\"\n")).is_empty());
    let alone =
        loaded(&both("dialect = \"fwknop\"\nkey = \"a\"\ngpg_signers = []\n")).map(|_| ()).unwrap_err();
    assert!(
        alone[0].contains("carol.toml:3:1: client \"carol\" has gpg_signers, and no gpg_home"),
        "{}",
        alone[0]
    );
}

#[test]
fn each_mistake_of_a_client_of_fwknops_has_its_sentence() {
    let said = |carol: &str| {
        let said = loaded(&both(carol)).map(|_| ()).unwrap_err();
        said[0].strip_prefix("/etc/portunus/clients/carol.toml:").unwrap_or(&said[0]).to_owned()
    };
    let with = |more: &str| said(&format!("{CAROL}{more}\n"));
    assert_eq!(
        said("dialect = \"fwknop\"\n"),
        "1:1: client \"carol\" has no key_base64: write key_base64 and hmac_key_base64, as `portunus add --dialect fwknop` \
         prints them"
    );
    let open = loaded(&both("dialect = \"fwknop\"\nkey = \"a\"\n")).unwrap();
    assert!(open.warnings.iter().any(|one| one.what.contains("has no hmac_key_base64")));
    assert_eq!(with("key = \"x\""), "2:1: key and key_base64 are two keys: take one of them out");
    assert!(with("public_key = \"x\"").starts_with("4:1: unknown key \"public_key\""));
    assert!(with("mode = \"pcbc\"").starts_with("4:8: mode is \"pcbc\": use one of: cbc, "));
    assert!(with("any_port = true\nservices = [\"web\"]").contains("contradict each other"));
    assert!(with("sources = [\"x\"]").starts_with("4:12: \"x\" is not an address: write one such as"));
    assert!(
        said("dialect = \"fwknop\"\nkey_base64 = \"$\"\nhmac_key = \"b\"\n")
            .contains("key_base64 is not base64")
    );
    assert_eq!(
        said("dialect = \"fwknop\"\nkey = \"a\"\nhmac_key = \"a\"\n"),
        "2:7: the encryption key and the HMAC key are the same: make two with --key-gen"
    );
    let off = folder().with("/etc/portunus/clients/carol.toml", CAROL);
    assert!(loaded(&off).map(|_| ()).unwrap_err()[0].contains("write dialects = [\"openme\", \"fwknop\"]"));
    for dialects in ["dialects = [\"fwknop\"]", "dialects = []"] {
        let deaf = server_text(&init()).replace("# dialects = [\"openme\"]", dialects);
        let said = loaded(&folder().with("/etc/portunus/portunus.toml", deaf)).map(|_| ()).unwrap_err();
        assert!(
            said[0].contains("\"alice\" knocks as openme's do, and the server does not speak that"),
            "{said:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_breaks_a_reader(text in "[ a-c:{}\\[\\],#\"'=.1-3\n\r\t-]{0,80}") {
        for file in ["portunus.toml", "services.toml", "clients.toml", "clients/alice.toml", "keys/openme.key", "keys/native.key"] {
            let files = folder().with(&format!("{DIR}/{file}"), text.clone());
            let _ = loaded(&files);
            let _ = remove_client(&files, Path::new(DIR), &ClientName::new("a").unwrap());
            let _ = add_client(&files, Path::new(DIR), &new("zoe", 1));
        }
    }

    #[test]
    fn a_table_added_is_a_table_that_can_go(names in prop::collection::hash_set("[a-zA-Zö0-9_@+'(),-]{1,10}", 1..6), n in any::<prop::sample::Index>()) {
        let names: Vec<_> = names.into_iter().collect();
        let path = Path::new("/c.toml");
        let mut text = "# top\n".to_owned();
        for (i, name) in names.iter().enumerate() {
            text = crate::toml_edit::add(&text, path, name, &format!("# of {i}\npublic_key = \"{i}\" # x\n")).unwrap();
        }
        let pick = n.index(names.len());
        let mut rest = "# top\n".to_owned();
        for (i, name) in names.iter().enumerate().filter(|(i, _)| *i != pick) {
            rest = crate::toml_edit::add(&rest, path, name, &format!("# of {i}\npublic_key = \"{i}\" # x\n")).unwrap();
        }
        prop_assert_eq!(crate::toml_edit::remove(&text, path, &names[pick]).unwrap(), rest);
    }
}

#[test]
fn the_key_file_is_one_line() {
    assert_eq!(key_text(&Secret::from_bytes([0; 32])).as_str(), format!("{}\n", text::encode(&[0; 32])));
}

fn with_sections(text: &str) -> Result<Settings, Vec<String>> {
    loaded(&folder().with("/etc/portunus/portunus.toml", format!("{}\n{text}", server_text(&init()))))
}

#[test]
fn metrics_are_for_this_host_only_and_each_mistake_has_its_sentence() {
    let listen = |text: &str| with_sections(&format!("[metrics]\nlisten = {text}\n"));
    let good = |text: &str| listen(text).unwrap().metrics.unwrap();
    assert_eq!(good("\"127.0.0.1:9154\""), MetricsListen::Tcp("127.0.0.1:9154".parse().unwrap()));
    assert_eq!(good("\"127.8.9.10:1\""), MetricsListen::Tcp("127.8.9.10:1".parse().unwrap()));
    assert_eq!(good("\"[::1]:9154\""), MetricsListen::Tcp("[::1]:9154".parse().unwrap()));
    assert_eq!(good("\"unix:/run/portunus/m.sock\""), MetricsListen::Unix("/run/portunus/m.sock".into()));
    assert_eq!(with_sections("").unwrap().metrics, None);
    let lines = server_text(&init()).lines().count() + 3;
    for (text, wanted) in [
        (
            "\"0.0.0.0:9154\"",
            "\"0.0.0.0:9154\" is no loopback address: use 127.0.0.1:PORT or a unix: socket, and let a scraper of this \
             host fetch them",
        ),
        ("\"192.0.2.1:9154\"", "\"192.0.2.1:9154\" is no loopback address"),
        ("\"[::]:9154\"", "\"[::]:9154\" is no loopback address"),
        ("\"[::ffff:192.0.2.1]:9154\"", "is no loopback address"),
        (
            "\"127.0.0.1:54154\"",
            "\"127.0.0.1:54154\" is on the health port, which the daemon answers itself: use another port, as in ",
        ),
        ("\"127.0.0.1:0\"", "\"127.0.0.1:0\" has port 0: write a loopback address and a port"),
        ("\"localhost:9154\"", "\"localhost:9154\" is nothing to listen on: write a loopback address"),
        ("\"unix:run/m.sock\"", "\"unix:run/m.sock\" is no whole path of a socket"),
        ("\"unix:/run/\"", "is no whole path of a socket"),
        ("9154", "listen is a number, not a text"),
    ] {
        let said = listen(text).map(|_| ()).unwrap_err();
        let at = format!("/etc/portunus/portunus.toml:{lines}:10: ");
        assert!(said.len() == 1 && said[0].starts_with(&at) && said[0].contains(wanted), "{said:?}");
    }
    let said = with_sections("[metrics]\n").map(|_| ()).unwrap_err();
    assert!(said[0].contains("[metrics] does not say where: write listen = \"127.0.0.1:9154\""), "{said:?}");
    let said = with_sections("[metrics]\nlisten = \"127.0.0.1:9154\"\nport = 1\n").map(|_| ()).unwrap_err();
    assert!(said[0].contains("unknown key \"port\""), "{said:?}");
}

#[test]
fn values_in_values_without_end_are_one_mistake() {
    for (text, at) in [
        (format!("ssh = {}", "[".repeat(3000)), "1:87"),
        (format!("ssh = {}", "{a=".repeat(300)), "1:247"),
        (format!("[{}b]\n", "a.".repeat(3000)), "1:1"),
    ] {
        assert_eq!(
            loaded(&folder().with("/etc/portunus/services.toml", text)).unwrap_err(),
            [format!(
                "/etc/portunus/services.toml:{at}: this is not TOML that we read: values stand in each other too \
                 deeply: look at the brackets and dots around here"
            )]
        );
    }
}

#[test]
fn a_socket_of_the_metrics_without_its_folder_is_told() {
    let warned = |path: &str| {
        let settings = with_sections(&format!("[metrics]\nlisten = \"unix:{path}\"\n")).unwrap();
        settings.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let lines = server_text(&init()).lines().count() + 3;
    let said = warned("/nonexistent/x.sock");
    let wanted = format!(
        "/etc/portunus/portunus.toml:{lines}:10: there is no folder /nonexistent, so there can be no socket in it: make it (`mkdir /nonexistent`)"
    );
    assert!(said.iter().any(|one| one.starts_with(&wanted)), "{said:?}");
    for made_or_there in ["/run/portunus/m.sock", "/etc/portunus/m.sock"] {
        let said = warned(made_or_there);
        assert!(!said.iter().any(|one| one.contains("no folder")), "{made_or_there}: {said:?}");
    }
}

#[test]
fn what_is_sent_on_is_not_for_iptables_to_guard() {
    let services = "ssh = [\"22/tcp\"]\nweb = { ports = [\"443/tcp\"], forward = true }\n";
    let with = |init: &Init, from: &str, to: &str| {
        let server = server_text(init).replace(from, to);
        let files = folder().with("/etc/portunus/portunus.toml", server);
        loaded(&files.with("/etc/portunus/services.toml", services)).map(|_| ())
    };
    let placed = Init { place: Some(Place::Iptables), ..init() };
    let driven = Init { firewall: FirewallKind::Iptables, ..init() };
    for by_iptables in [&placed, &driven] {
        let said = with(by_iptables, "", "").unwrap_err();
        let wanted = "/etc/portunus/services.toml:2:30: \"web\" has forward = true, and iptables drops the ports here: ";
        assert!(
            said.len() == 1 && said[0].starts_with(wanted) && said[0].contains("take this out"),
            "{said:?}"
        );
        assert_eq!(with(by_iptables, "# protect = true", "protect = false"), Ok(()));
    }
    for by_nftables in [&init(), &Init { place: Some(Place::Own), ..init() }] {
        assert_eq!(with(by_nftables, "", ""), Ok(()));
    }
}

#[test]
fn a_mistake_in_the_services_makes_no_service_unknown() {
    let said =
        loaded(&folder().with("/etc/portunus/services.toml", "ssh = [\"22/tcp\"\n")).map(|_| ()).unwrap_err();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("/etc/portunus/services.toml:"), "{said:?}");
}

#[test]
fn the_audit_logs_size_has_its_bounds() {
    let sized = |text: &str| {
        let server = server_text(&init()).replace("# megabytes = 10\n# files = 10\n", text);
        loaded(&folder().with("/etc/portunus/portunus.toml", server)).map(|settings| settings.audit)
    };
    assert_eq!(sized("").unwrap(), AuditSize { megabytes: 10, files: 10 });
    assert_eq!(sized("megabytes = 1\nfiles = 2\n").unwrap(), AuditSize { megabytes: 1, files: 2 });
    let said = sized("files = 1\n").unwrap_err();
    assert!(said[0].ends_with("files is 1: use a whole number from 2 to 1000"), "{said:?}");
    let said = sized("megabytes = 0\n").unwrap_err();
    assert!(said[0].ends_with("megabytes is 0: use a whole number from 1 to 1024"), "{said:?}");
}
