//! Files as fwknop 1.9 has them.

use super::*;

/// As 1.9 had them: colons, semicolons, seven fields, its own ways to come by packets.
#[test]
fn files_of_1_9_mean_what_they_meant() {
    let access = "### of 1.9\nSOURCE: ANY;\nOPEN_PORTS: tcp/22, udp/53;\nDATA_COLLECT_MODE: PCAP;\nKEY: tutorialkey;\n\
                  REQUIRE_USERNAME: mbr;\nREQUIRE_SOURCE_ADDRESS: Y;\nFW_ACCESS_TIMEOUT: 30;\n";
    let two = format!("{access}PERMIT_CLIENT_TIMEOUT: N;\n{access}PERMIT_CLIENT_TIMEOUT: N;\n");
    let conf =
        "EMAIL_ADDRESSES root@localhost;\nIPT_INPUT_ACCESS ACCEPT, src, filter, INPUT, 1, FWKNOP_INPUT, 1;\n";
    let settings = loaded(conf, &two);
    let (one, stanza) = client(&settings, 2);
    assert_eq!(stanza.open_ports, Some(ports(&["22/tcp", "53/udp"])));
    assert_eq!((stanza.username.as_deref(), one.lasting), (Some("mbr"), Duration::from_secs(30)));
    let said: Vec<String> = settings.warnings.iter().map(ToString::to_string).collect();
    let once = "a.conf:9:1: Ignoring unknown access parameter: 'PERMIT_CLIENT_TIMEOUT' in a.conf: take it out: \
                MAX_FW_TIMEOUT says how long clients may ask for";
    assert_eq!(said.iter().filter(|said| said.contains("PERMIT")).collect::<Vec<_>>(), [once], "{said:?}");
    let Some(Place::Fwknop(chains)) = &settings.stance.place else { panic!("fwknop's chains") };
    assert_eq!((chains.input.from.as_str(), chains.input.chain.as_str()), ("INPUT", "FWKNOP_INPUT"));
    let mail = settings.alerts.unwrap().mail.unwrap();
    assert_eq!(
        (mail.to, mail.carrier),
        (vec!["root@localhost".into()], Carrier::Sendmail("/usr/sbin/sendmail".into()))
    );
    assert!(loaded(&format!("{conf}ALERTING_METHODS noemail;\n"), STANZA).alerts.is_none());
    assert_eq!(
        self::said("EMAIL_ADDRESSES root@localhost, foo;\n", STANZA),
        ["\"foo\" is no address of mail"]
    );
    let from = |conf: &str| loaded(conf, STANZA).fwknop.unwrap().receive;
    assert_eq!(from("AUTH_MODE PCAP;\n"), Receive::Sniffed);
    assert_eq!(from("AUTH_MODE FILE_PCAP;\n"), Receive::Followed("/var/log/sniff.pcap".into()));
    assert_eq!(from("AUTH_MODE ulogd;\nPCAP_PKT_FILE /x;\n"), Receive::Followed("/x".into()));
    assert_eq!(from("NFLOG_GROUP 5\n"), Receive::Nflog(5));
    assert_eq!(loaded("NFLOG_GROUP 5\n", STANZA).nflog, Some(5));
    let followed = loaded("AUTH_MODE FILE_PCAP\nPCAP_FILE /x\n", STANZA);
    assert!(client(&followed, 1).1.window.is_some(), "what comes now is as old as it says");
}

/// However a line of 1.9 is written, it says the same.
#[test]
fn every_way_to_write_a_line_of_1_9_means_the_same() {
    let lines = [
        ("SOURCE", "10.0.0.0/8, 192.0.2.7"),
        ("OPEN_PORTS", "tcp/22, udp/53"),
        ("KEY", "tutorial key: no #1"),
        ("ENCRYPTION_MODE", "CBC"),
        ("REQUIRE_SOURCE_ADDRESS", "Y"),
        ("FW_ACCESS_TIMEOUT", "30"),
        ("SOURCE", "::1"),
        ("OPEN_PORTS", "tcp/80"),
        ("KEY", "another"),
        ("ENCRYPTION_MODE", "CBC"),
        ("REQUIRE_SOURCE_ADDRESS", "Y"),
    ];
    let written = |way: Way<'_>| {
        let text: String = lines.iter().map(|(name, value)| way(name, value)).collect();
        let settings = loaded("", &text);
        assert!(settings.warnings.is_empty(), "{text}: {:?}", settings.warnings);
        format!("{:?}", settings.rules)
    };
    let plain = written(&|name, value| format!("{name} {value}\n"));
    let ways: [Way<'_>; 8] = [
        &|name, value| format!("{name}: {value};\n"),
        &|name, value| format!("{name}: {value}\n"),
        &|name, value| format!("{name}:{value};\n"),
        &|name, value| format!("{name} : {value} ;\n"),
        &|name, value| format!("\t{name}:\t\t{value};;\t\n\n"),
        &|name, value| format!("{name}: {value};\r\n"),
        &|name, value| format!("{name}:   {value};   ### what: it; is\n"),
        &|name, value| format!("### {name}: other;\n;\n{name}: {value};#\n"),
    ];
    for (way, number) in ways.iter().zip(0..) {
        assert_eq!(written(way), plain, "way {number}");
    }
}

#[test]
fn what_stands_behind_a_value_is_said_to_be_unread() {
    let said = |conf: &str, access: &str| {
        let unread = |one: &Diagnostic| one.what.contains("is not read");
        let all = loaded(conf, access).warnings;
        all.iter()
            .filter(|one| unread(one))
            .map(|one| format!("{}:{}:{}", one.file.display(), one.line, one.column))
            .collect::<Vec<_>>()
    };
    let one = "SOURCE: ANY;\nKEY: abc;def;\nOPEN_PORTS: tcp/22; REQUIRE_SOURCE_ADDRESS: Y;\n";
    assert_eq!(said("", one), ["a.conf:2:10", "a.conf:3:21"]);
    assert_eq!(said("VERBOSE 1; more\n", STANZA), ["f.conf:1:12"]);
    let shown = format!("{:?}", loaded("", one).warnings);
    assert!(!shown.contains("def"), "a part of a key is shown: {shown}");
}

#[test]
fn fwknop_conf_is_read_where_there_is_no_fwknopd_conf() {
    let mut wish = wish();
    wish.config = PathBuf::from("etc/fwknopd.conf");
    let old = Memory::default().with("etc/fwknop.conf", "VERBOSE 3;\n").with("a.conf", STANZA);
    let settings = load_with(&old, &wish).unwrap();
    assert_eq!(settings.fwknop.as_ref().unwrap().verbose, 3);
    assert_eq!(settings.sources, ["etc/fwknopd.conf", "etc/fwknop.conf", "a.conf"].map(PathBuf::from));
    assert!(settings.warnings[0].what.contains("the name of fwknop 1.9"), "{:?}", settings.warnings);
    let both = old.with("etc/fwknopd.conf", "VERBOSE 1\n");
    assert_eq!(load_with(&both, &wish).unwrap().fwknop.unwrap().verbose, 1, "the newer one counts");
}

/// What 1.9 held back and nothing holds back here is a mistake; what did nothing is said and passed over.
#[test]
fn what_1_9_held_back_is_not_opened_in_silence() {
    let back = |name: &str| format!("{name} of fwknop 1.9 held back what nothing holds back here");
    for line in ["BLACKLIST 192.0.2.0/24;", "REQUIRE_SOURCE_ADDRESS Y;"] {
        let name = line.split(' ').next().unwrap();
        assert_eq!(said(line, STANZA), [back(name)], "{line}");
    }
    for line in
        ["BLACKLIST NONE;", "REQUIRE_SOURCE_ADDRESS N;", "gpgCmd /x;", "KNOPMD_X 1;", "IPT_EXEC_TRIES 1;"]
    {
        assert_eq!(warned(line, STANZA).len(), 1, "{line}");
    }
    for line in
        ["RESTRICT_INTF: eth0;", "CMD_REGEX: ^ls$;", "REQUIRE_OS_REGEX: linux;", "DISABLE_FW_ACCESS: Y;"]
    {
        let name = line.split(':').next().unwrap();
        assert_eq!(said("", &format!("{STANZA}{line}\n")), [back(name)], "{line}");
    }
    let no = "PERMIT_CLIENT_PORTS says no, and without OPEN_PORTS clients choose any port today";
    assert_eq!(said("", &format!("{STANZA}PERMIT_CLIENT_PORTS: N;\n")), [no]);
    assert!(said("", &format!("{STANZA}PERMIT_CLIENT_PORTS: N;\nOPEN_PORTS: tcp/22;\n")).is_empty());
    for (mode, what) in [
        ("SYSLOG", "packets are not come by as AUTH_MODE SYSLOG says"),
        ("KNOCK", "packets are not come by as AUTH_MODE KNOCK says"),
        ("NFLOG", "packets are not come by as AUTH_MODE NFLOG says"),
        ("UDP", "packets are not come by as AUTH_MODE UDP says"),
        ("foo", "AUTH_MODE is 'foo'"),
    ] {
        assert_eq!(said(&format!("AUTH_MODE {mode};\n"), STANZA), [what]);
        let stanza = format!("{STANZA}DATA_COLLECT_MODE: {mode};\n");
        assert_eq!(said("", &stanza), [what.replace("AUTH_MODE", "DATA_COLLECT_MODE")]);
    }
    assert_eq!(said("NFLOG_GROUP 70000\n", STANZA), ["NFLOG_GROUP '70000' is no group"]);
}

#[test]
fn a_colon_in_the_main_file_is_passed_over_with_a_word() {
    let read = loaded("AUTH_MODE: FILE_PCAP;\nPCAP_PKT_FILE : /x;\n", STANZA);
    assert_eq!(read.fwknop.unwrap().receive, Receive::Followed("/x".into()));
    let colon = "a colon is of access.conf's lines: it is passed over";
    assert_eq!(warned("PCAP_INTF: eth0;\n", STANZA), [colon]);
    let back = "BLACKLIST of fwknop 1.9 held back what nothing holds back here";
    assert_eq!(said("BLACKLIST: 192.0.2.0/24;\n", STANZA), [back]);
    assert_eq!(said("AUTH_MODE: SYSLOG;\n", STANZA), ["packets are not come by as AUTH_MODE SYSLOG says"]);
}

/// A line that says where packets come from, or that held something back, is not passed over because of its form.
#[test]
fn a_line_that_decides_is_refused_where_it_cannot_be_read() {
    for (line, name) in [
        ("AUTH_MODE=FILE_PCAP;", "AUTH_MODE"),
        ("AUTH_MODE= FILE_PCAP;", "AUTH_MODE"),
        ("AUTH_MODE;", "AUTH_MODE"),
        ("AUTH_MODE:;", "AUTH_MODE"),
        ("NFLOG_GROUP=5", "NFLOG_GROUP"),
        ("ENABLE_UDP_SERVER=Y", "ENABLE_UDP_SERVER"),
        ("ENABLE_UDP_SERVER= Y;", "ENABLE_UDP_SERVER"),
        ("PCAP_FILE=/x.pcap", "PCAP_FILE"),
        ("PCAP_PKT_FILE=/x.pcap;", "PCAP_PKT_FILE"),
        ("REQUIRE_SOURCE_ADDRESS=Y;", "REQUIRE_SOURCE_ADDRESS"),
        ("REQUIRE_SOURCE_ADDRESS= Y;", "REQUIRE_SOURCE_ADDRESS"),
        ("BLACKLIST=192.0.2.0/24;", "BLACKLIST"),
        ("BLACKLIST= 192.0.2.0/24;", "BLACKLIST"),
        ("BLACKLIST:: 192.0.2.0/24;", "BLACKLIST"),
    ] {
        assert_eq!(
            said(&format!("{line}\n"), STANZA),
            [format!("this line of {name} cannot be read")],
            "{line}"
        );
    }
    assert_eq!(warned("MAX_SNIFF_BYTES=5\n", STANZA), ["Invalid config file entry in f.conf at line 1."]);
}

#[test]
fn of_several_ways_to_come_by_packets_the_one_that_counts_is_named() {
    for (conf, what) in [
        (
            "AUTH_MODE FILE_PCAP\nNFLOG_GROUP 5\nENABLE_UDP_SERVER Y\n",
            "packets come as AUTH_MODE FILE_PCAP says, and not as NFLOG_GROUP 5 or ENABLE_UDP_SERVER Y says",
        ),
        (
            "NFLOG_GROUP 5\nAUTH_MODE PCAP\n",
            "packets come as NFLOG_GROUP 5 says, and not as AUTH_MODE PCAP says",
        ),
        (
            "ENABLE_UDP_SERVER Y\nNFLOG_GROUP 5\n",
            "packets come as NFLOG_GROUP 5 says, and not as ENABLE_UDP_SERVER Y says",
        ),
    ] {
        assert_eq!(warned(conf, STANZA), [what], "{conf}");
    }
    for conf in
        ["AUTH_MODE FILE_PCAP\nPCAP_FILE /x\n", "ENABLE_UDP_SERVER Y\nPCAP_INTF eth0\n", "AUTH_MODE PCAP\n"]
    {
        assert!(warned(conf, STANZA).is_empty(), "{conf}");
    }
    let mut wish = wish();
    wish.set.push((Variable::PcapIntf, "eth1".to_owned()));
    let by_flag = load(&files("NFLOG_GROUP 5\n", STANZA), &Here, &wish).unwrap().warnings;
    assert_eq!(by_flag[0].what, "packets come as NFLOG_GROUP 5 says, and not as PCAP_INTF eth1 says");
}

#[test]
fn a_short_key_of_1_9_is_warned_of_and_a_long_one_in_legacy_mode() {
    let short = "SOURCE: ANY;\nKEY: tutorialkey;\nREQUIRE_SOURCE_ADDRESS: Y;\n";
    let what = "a KEY of fewer than 16 letters in a stanza as fwknop 1.9 wrote it: clients of 1.9 and 2.0 fill it up with zeros, \
                and their packets are refused";
    assert_eq!(warned("", short), [what]);
    assert_eq!(warned("", &(short.replace(':', "") + "DATA_COLLECT_MODE PCAP\n")), [what]);
    for rest in ["ENCRYPTION_MODE: legacy;", "ENCRYPTION_MODE CBC", "HMAC_KEY: def;"] {
        assert!(warned("", &format!("{short}{rest}\n")).is_empty(), "{rest}");
    }
    assert!(warned("", &short.replace(':', "")).is_empty());
    assert!(warned("", &short.replace("tutorialkey", "0123456789abcdef")).is_empty());
    let long = format!("{}ENCRYPTION_MODE legacy\n", short.replace("tutorialkey", "0123456789abcdefg"));
    assert_eq!(warned("", &long), ["KEY has 17 letters, and legacy mode cuts it after the first 16"]);
}
