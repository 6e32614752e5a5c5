//! What stands beside the clients: metrics, services, the audit log.

use super::*;

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
