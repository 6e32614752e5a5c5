//! What `init` and `add` write, and that it is read as it was meant.

use super::*;

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

#[test]
fn the_key_file_is_one_line() {
    assert_eq!(key_text(&Secret::from_bytes([0; 32])).as_str(), format!("{}\n", text::encode(&[0; 32])));
}
