//! Which files are read, in what order, and what of each counts.

use super::*;

#[test]
fn the_files_as_debian_ships_them_need_their_keys() {
    let access =
        "SOURCE              ANY\nKEY_BASE64          __CHANGEME__\nHMAC_KEY_BASE64     __CHANGEME__\n";
    let Err(said) = load_with(&files("# nothing\n", access), &wish()) else { panic!("no keys") };
    assert_eq!(
        said,
        [
            "a.conf:2:21: KEY_BASE64 value is not properly set in stanza source 'ANY' in access file: 'a.conf': put the \
             key that the client has in its place: fwknop --key-gen makes one",
            "a.conf:3:21: HMAC_KEY_BASE64 value is not properly set in stanza source 'ANY' in access file: 'a.conf': put \
             the key that the client has in its place: fwknop --key-gen makes one",
        ]
    );
}

#[test]
fn the_program_itself() {
    let daemon = |conf: &str| *loaded(conf, STANZA).fwknop.unwrap();
    let plain = daemon("");
    assert_eq!(plain.receive, Receive::Sniffed);
    assert_eq!(
        (plain.capture.interfaces, plain.capture.filter),
        (vec!["eth0".to_owned()], "udp port 62201".into())
    );
    assert!(plain.capture.ends_when_down && !plain.capture.promiscuous && !plain.capture.outgoing);
    assert_eq!(plain.pid_file, Path::new("/run/fwknop/fwknopd.pid"));
    assert_eq!(plain.digest_file, Path::new("/run/fwknop/digest.cache"));
    assert_eq!((plain.tcp, plain.http, plain.rules_check_threshold), (None, None, 20));
    let other = daemon(
        "PCAP_INTF lo, eth1;\nENABLE_TCP_SERVER Y\nTCPSERV_PORT 8080\nENABLE_SPA_OVER_HTTP Y\nENABLE_X_FORWARDED_FOR Y\n\
         TRUSTED_PROXIES 10.0.0.0/8, ::1\nFWKNOP_RUN_DIR /tmp/\nFWKNOP_PID_FILE $FWKNOP_RUN_DIR/x.pid\n\
         SYSLOG_FACILITY log_local3\nLOCALE NONE\nVERBOSE 2\n",
    );
    assert_eq!(other.capture.interfaces, ["lo", "eth1"]);
    assert_eq!((other.tcp, other.verbose, other.locale), (Some(8080), 2, None));
    let proxies = ["10.0.0.0/8", "::1"].map(|text| Net::parse(text).unwrap()).to_vec();
    assert_eq!(other.http, Some(Http { any_agent: false, proxies }));
    assert_eq!(
        (other.pid_file.as_path(), other.digest_file.as_path()),
        (Path::new("/tmp//x.pid"), Path::new("/tmp/digest.cache"))
    );
    assert_eq!(other.syslog_facility, "LOG_LOCAL3");
    let udp = loaded("ENABLE_UDP_SERVER Y\nUDPSERV_PORT 1234\n", STANZA);
    assert_eq!(udp.fwknop.unwrap().receive, Receive::Udp(1234));
    assert_eq!(udp.listen, crate::everywhere(1234));
    for (name, server) in [("UDPSERV_PORT", "ENABLE_UDP_SERVER"), ("TCPSERV_PORT", "ENABLE_TCP_SERVER")] {
        // The original takes it as long as the server is off, so it is no reason not to start.
        let warned = loaded(&format!("{name} 70000\n"), STANZA).warnings;
        let said = format!("{name} 70000 is no port, and without {server} Y not used");
        assert!(warned.iter().any(|one| (one.line, one.column) == (1, 14) && one.what == said), "{warned:?}");
    }
    let file = loaded("PCAP_FILE /x.pcap\nENABLE_UDP_SERVER Y\n", STANZA);
    assert_eq!(file.fwknop.as_ref().unwrap().receive, Receive::File("/x.pcap".into()));
    assert_eq!(client(&file, 1).1.window, None, "a capture is as old as it is");
    let aged = loaded("PCAP_FILE /x.pcap\nENABLE_SPA_PACKET_AGING Y\n", STANZA);
    assert!(client(&aged, 1).1.window.is_some());
}

#[test]
fn overrides_go_before_the_file_and_the_command_line_before_both() {
    let files = files("PCAP_INTF a\nMAX_SNIFF_BYTES 70\nVERBOSE 1\n", STANZA)
        .with("o1", "PCAP_INTF b\nVERBOSE 2\n")
        .with("o2", "PCAP_INTF c\nVERBOSE 3\n");
    let mut wish = wish();
    wish.overrides = vec!["o1".into(), "o2".into()];
    wish.set.push((Variable::Verbose, "4".into()));
    let settings = load_with(&files, &wish).unwrap();
    let daemon = settings.fwknop.unwrap();
    assert_eq!((daemon.capture.interfaces[0].as_str(), daemon.capture.longest, daemon.verbose), ("c", 70, 4));
    assert_eq!(settings.sources, ["f.conf", "o1", "o2", "a.conf"].map(PathBuf::from));
}

fn said_of(access: &str) -> Vec<String> {
    said("", access)
}

#[test]
fn files_include_each_other_up_to_three_deep() {
    let order = |files: &Memory| -> Vec<String> {
        let settings = load_with(files, &wish()).unwrap();
        let sources = settings.rules.clients.iter().map(|client| client.stanza.as_ref().unwrap().sources[0]);
        sources.map(|net| net.to_string()).collect()
    };
    let deep = files("", "%include l4\nSOURCE 6.6.6.6\nKEY a\n")
        .with("l1", "%include l2\n")
        .with("l2", "%include l3\n")
        .with("l3", "%include l4\nSOURCE 3.3.3.3\nKEY a\n")
        .with("l4", "%include l5\nSOURCE 4.4.4.4\nKEY a\n")
        .with("l5", "SOURCE 5.5.5.5\nKEY a\n");
    assert_eq!(order(&deep), ["5.5.5.5", "4.4.4.4", "6.6.6.6"]);
    let deeper = deep.with("a.conf", "%include l3\nSOURCE 6.6.6.6\nKEY a\n");
    let Err(said) = load_with(&deeper, &wish()) else { panic!("too deep") };
    assert_eq!(
        said,
        [
            "l4:1:1: Refusing to go deeper than 3 levels. Lost in Limbo: 'l4': include that file from one further up"
        ]
    );
    // The stanza goes on behind the include, and what was included follows it.
    let amid = files("", "SOURCE 1.1.1.1\nKEY x\n%include i\nOPEN_PORTS tcp/9\n")
        .with("i", "SOURCE 2.2.2.2\nKEY a\n");
    assert_eq!(order(&amid), ["1.1.1.1", "2.2.2.2"]);
    let settings = load_with(&amid, &wish()).unwrap();
    assert_eq!(client(&settings, 1).1.open_ports, Some(ports(&["9/tcp"])));
    assert_eq!(settings.sources, ["f.conf", "a.conf", "i"].map(PathBuf::from));
    assert_eq!(said_of("%include nope\n"), ["Access file: 'nope' was not found."]);
    assert_eq!(said_of("%include_folder nope\n"), ["Access folder: 'nope' could not be opened."]);
    let itself = files("", "%include a.conf\n");
    assert_eq!(load_with(&itself, &wish()).unwrap_err().len(), 1);
}

#[test]
fn a_folder_of_stanzas_is_read_by_name() {
    let files = files("", "%include_folder d\n")
        .with("d/b.conf", "SOURCE 2.2.2.2\nKEY a\n")
        .with("d/a.conf", "SOURCE 1.1.1.1\nKEY a\n")
        .with("d/c.conf.bak", "nonsense\n");
    let numbers = |wish: &CommandLine| {
        let settings = load_with(&files, wish).unwrap();
        settings
            .rules
            .clients
            .iter()
            .map(|c| c.stanza.as_ref().unwrap().sources[0].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(&wish()), ["1.1.1.1", "2.2.2.2"]);
    let mut folder = wish();
    folder.set.push((Variable::AccessFolder, "d".into()));
    assert_eq!(numbers(&folder), ["1.1.1.1", "2.2.2.2"], "a folder goes before the file");
    folder.set.push((Variable::AccessFolder, "nope".into()));
    let said = load_with(&files, &folder).unwrap_err();
    assert!(
        said[0].starts_with("nope: Invalid access folder directory 'nope' could not lstat()"),
        "{said:?}"
    );
}

#[test]
fn keys_may_stand_in_a_file_of_their_own() {
    let with = |keys: &str| {
        files("", "SOURCE ANY\nREQUIRE_SOURCE Y\n%include_keys k\nSOURCE 1.1.1.1\nKEY x\nREQUIRE_SOURCE Y\n")
            .with("k", keys)
    };
    let good = load_with(&with("KEY abc\nHMAC_KEY def\nSOURCE ANY\nINVALID_STATEMENT x\n"), &wish()).unwrap();
    assert_eq!(good.rules.clients.len(), 2);
    let warned: Vec<_> = good.warnings.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(warned, ["Ignoring invalid entry: 'SOURCE'", "Ignoring invalid entry: 'INVALID_STATEMENT'"]);
    for (keys, why) in [
        ("KEY __CHANGEME__\n", "KEY value is not properly set"),
        ("KEY\n", "Invalid access file entry in k at line 1."),
    ] {
        let bad = load_with(&with(keys), &wish()).unwrap();
        assert_eq!(bad.rules.clients.len(), 1, "the stanza is skipped");
        assert_eq!(
            bad.warnings[0].to_string(),
            format!(
                "a.conf:3:15: Data error in included keyfile: 'k' ({why}), skipping stanza source: 'ANY': mend that file, \
                 or name another one"
            )
        );
    }
    let gone = files("", "SOURCE ANY\n%include_keys nope\n");
    assert_eq!(
        load(&gone, &Here, &wish()).unwrap_err()[0].what,
        "Could not find valid SOURCE stanza in access file: 'a.conf'"
    );
}

#[test]
fn files_that_others_can_read_are_warned_of_and_read() {
    struct Open(Memory);
    impl Files for Open {
        fn read(&self, path: &Path, secrecy: Secrecy) -> Result<String, FileError> {
            match secrecy {
                Secrecy::Secret if path == Path::new("f.conf") => Err(FileError::ForeignOwner { uid: 7 }),
                Secrecy::Secret => Err(FileError::TooOpen { mode: 0o644 }),
                Secrecy::Public => self.0.read(path, secrecy),
            }
        }
        fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
            self.0.list(dir)
        }
    }
    let settings = load(&Open(files("", STANZA)), &Here, &wish()).unwrap();
    let warned: Vec<_> = settings.warnings.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(
        warned,
        [
            "file: f.conf not owned by current effective user id",
            "file: a.conf permissions should only be user read/write (0600, -rw-------)"
        ]
    );
}

#[test]
fn files_that_are_not_there_are_named() {
    let said = |files: &Memory| load(files, &Here, &wish()).unwrap_err()[0].what.clone();
    assert_eq!(said(&Memory::default()), "Config file: 'f.conf' was not found.");
    assert_eq!(
        said(&Memory::default().with("f.conf", "")),
        "Invalid access.conf file path 'a.conf': unable to lstat() path: a.conf"
    );
    assert_eq!(said(&files("OVERRIDE_CONFIG o\n", STANZA)), "Config file: 'o' was not found.");
}

#[test]
fn commands_to_a_running_one_need_no_stanza() {
    let files = Memory::default().with("f.conf", "FWKNOP_RUN_DIR /tmp\n");
    assert_eq!(daemon(&files, &wish()).unwrap().pid_file, Path::new("/tmp/fwknopd.pid"));
    assert_eq!(daemon(&Memory::default(), &wish()).unwrap_err().len(), 1);
}

#[test]
fn of_both_main_files_the_one_that_is_read_is_named() {
    let wish = CommandLine { config: PathBuf::from("d/fwknopd.conf"), ..wish() };
    let both = Memory::default().with("d/fwknopd.conf", "").with("d/fwknop.conf", "").with("a.conf", STANZA);
    let told = load(&both, &Here, &wish).unwrap().warnings;
    assert_eq!(told[0].what, "d/fwknopd.conf is read, and d/fwknop.conf beside it is not");
}
