//! Each mistake, with its sentence. Long because it is a table: a row a mistake.

use super::*;

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
