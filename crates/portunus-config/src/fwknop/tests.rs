//! What fwknop's files mean, and what each mistake in them says. The words are those that `fwknopd --exit-parse-config`
//! prints for the same input, and that scripts look for. Long because
//! it is a table: a row a mistake.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_dialect::fwknop::{HashType, Keys, Mode};
use portunus_model::{Client, ClientKey, NatSource, Net, Place, PortSpec, Stanza, Unix};

use super::*;
use crate::alerts::Carrier;
use crate::files::tests::Memory;
use crate::{FirewallKind, OnExit};

const STANZA: &str = "SOURCE ANY\nKEY abc\nHMAC_KEY def\nREQUIRE_SOURCE_ADDRESS Y\n";

/// A machine with the users root and nobody, in the zone of Greenwich.
struct Here;

impl Host for Here {
    fn is_user(&self, name: &str) -> bool {
        ["root", "nobody"].contains(&name)
    }
    fn is_group(&self, name: &str) -> bool {
        ["root", "nogroup"].contains(&name)
    }
    fn is_folder(&self, path: &Path) -> bool {
        path == Path::new("/root/.gnupg")
    }
    fn midnight(&self, year: i16, month: i8, day: i8) -> Option<i64> {
        let at = jiff::civil::date(year, month, day).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(at.timestamp().as_second())
    }
    fn date(&self, seconds: i64) -> Option<String> {
        let at = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
        Some(at.strftime("%a %b %e %H:%M:%S %Y").to_string())
    }
}

fn wish() -> CommandLine {
    let access = (Variable::AccessFile, "a.conf".to_owned());
    CommandLine { config: PathBuf::from("f.conf"), set: vec![access], ..CommandLine::default() }
}

fn files(conf: &str, access: &str) -> Memory {
    Memory::default().with("f.conf", conf).with("a.conf", access)
}

fn load_with(files: &Memory, wish: &CommandLine) -> Result<Settings, Vec<String>> {
    load(files, &Here, wish).map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn loaded(conf: &str, access: &str) -> Settings {
    load_with(&files(conf, access), &wish()).unwrap()
}

/// The mistakes, without their places and mends.
fn said(conf: &str, access: &str) -> Vec<String> {
    match load(&files(conf, access), &Here, &wish()) {
        Ok(_) => Vec::new(),
        Err(all) => all.into_iter().map(|one| one.what).collect(),
    }
}

fn warned(conf: &str, access: &str) -> Vec<String> {
    loaded(conf, access).warnings.into_iter().map(|one| one.what).collect()
}

fn client(settings: &Settings, number: usize) -> (&Client, &Stanza) {
    let client = &settings.rules.clients[number - 1];
    (client, client.stanza.as_deref().unwrap())
}

fn ports(words: &[&str]) -> Vec<PortSpec> {
    let mut all: Vec<_> = words.iter().flat_map(|word| PortSpec::parse(word).unwrap()).collect();
    all.sort();
    all
}

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
fn a_stanza_with_little_in_it_means_what_it_means_to_fwknopd() {
    let settings = loaded("", STANZA);
    let (client, stanza) = client(&settings, 1);
    assert_eq!(client.name.as_str(), "stanza-1");
    assert_eq!((client.lasting, stanza.longest), (Duration::from_secs(30), Duration::from_secs(300)));
    assert_eq!(stanza.window, Some(Duration::from_secs(120)));
    assert!(client.ports.is_empty() && client.any_target && client.expires.is_none());
    let expected = Stanza {
        number: 1,
        numbered: true,
        require_source: true,
        longest: stanza.longest,
        window: stanza.window,
        nat: portunus_model::NatRule { names: true, ..Default::default() },
        ..Stanza::default()
    };
    assert_eq!(*stanza, expected);
    let [keys] = settings.secrets.fwknop.as_slice() else { panic!("one set of keys") };
    assert_eq!(client.key, ClientKey::Fwknop(keys.id()));
    let same = Keys::new(b"abc", Mode::Cbc, Some((HashType::Sha256, b"def"))).unwrap();
    assert_eq!(keys.id(), same.id());
    assert!(settings.limits.any_port && settings.limits.doors.is_empty());
    assert_eq!(settings.limits.longest, Duration::from_secs(300));
    assert_eq!((settings.on_exit, settings.stance.firewall), (OnExit::Close, FirewallKind::Iptables));
    assert!(settings.listen.is_empty() && settings.health_port.is_none() && !settings.stance.protect);
    assert_eq!(settings.sources, [PathBuf::from("f.conf"), PathBuf::from("a.conf")]);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let Some(Place::Fwknop(chains)) = settings.stance.place else { panic!("fwknop's chains") };
    assert_eq!((chains.input.chain.as_str(), chains.input.jump), ("FWKNOP_INPUT", 1));
    assert!(chains.output.is_none() && chains.forward.is_none() && chains.snat.is_none());
    assert!(chains.flush_at_start && chains.flush_at_end && !chains.prepend && chains.program.is_none());
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

#[test]
fn what_a_stanza_allows() {
    let settings = loaded(
        "ENABLE_DESTINATION_RULE Y\n",
        "SOURCE 192.0.2.1, 10.0.0.0/8,2001:db8::/32\nDESTINATION any\nKEY_BASE64 YWJj\nHMAC_KEY_BASE64 ZGVm\n\
         HMAC_DIGEST_TYPE SHA512\nENCRYPTION_MODE cfb\nOPEN_PORTS tcp/22, UDP/53\nRESTRICT_PORTS tcp/25\n\
         FW_ACCESS_TIMEOUT 77\nREQUIRE_USERNAME a b\nREQUIRE_SOURCE Y\nACCESS_EXPIRE 12/31/30\n\
         ENABLE_CMD_EXEC Y\nCMD_EXEC_USER nobody\nCMD_EXEC_GROUP nogroup\nENABLE_CMD_SUDO_EXEC Y\nCMD_SUDO_EXEC_USER root\n\
         SOURCE: ANY, 192.0.2.1;\nKEY: abc;\nHMAC_KEY: def;\nHMAC_DIGEST_TYPE: sha512;\nENCRYPTION_MODE: CFB;\n\
         CMD_CYCLE_OPEN /bin/open $IP\nCMD_CYCLE_CLOSE /bin/close\nCMD_CYCLE_TIMER 400\nACCESS_EXPIRE_EPOCH 1234\n",
    );
    let (one, stanza) = client(&settings, 1);
    assert_eq!(
        stanza.sources,
        ["192.0.2.1", "10.0.0.0/8", "2001:db8::/32"].map(|net| Net::parse(net).unwrap())
    );
    assert!(stanza.destinations.is_empty() && stanza.destination_rule && stanza.require_source);
    assert_eq!(stanza.open_ports, Some(ports(&["22/tcp", "53/udp"])));
    assert_eq!(stanza.restrict_ports, ports(&["25/tcp"]));
    assert_eq!(one.lasting, Duration::from_secs(77));
    assert_eq!(one.expires, Some(Unix::from_secs(1_924_905_600)));
    assert_eq!(stanza.username.as_deref(), Some("a b"));
    let command = stanza.command.as_ref().unwrap();
    assert_eq!((command.user.as_deref(), command.group.as_deref()), (Some("nobody"), Some("nogroup")));
    let sudo = command.sudo.as_ref().unwrap();
    assert_eq!(
        (sudo.program.as_str(), sudo.user.as_deref(), sudo.group.as_deref()),
        ("/usr/bin/sudo", Some("root"), None)
    );
    let (two, stanza) = client(&settings, 2);
    assert!(stanza.sources.is_empty() && stanza.command.is_none() && stanza.open_ports.is_none());
    let cycle = stanza.cycle.as_ref().unwrap();
    assert_eq!((cycle.open.as_str(), cycle.close.as_deref()), ("/bin/open $IP", Some("/bin/close")));
    assert_eq!(two.expires, Some(Unix::from_secs(1234)));
    assert_eq!(one.key, two.key);
    assert_eq!(settings.secrets.fwknop.len(), 1, "the same keys are kept once");
    // The cycle opens nothing, so its "any port" does not count.
    assert_eq!(
        (settings.limits.doors.clone(), settings.limits.any_port),
        (ports(&["22/tcp", "53/udp"]), false)
    );
    assert_eq!(settings.limits.longest, Duration::from_secs(400));
}

#[test]
fn translations_and_their_limits() {
    let on = "ENABLE_IPT_FORWARDING Y\n";
    let nat = |conf: &str, lines: &str| {
        let settings = loaded(&format!("{on}{conf}"), &format!("{STANZA}OPEN_PORTS tcp/1\n{lines}"));
        let rule = client(&settings, 1).1.nat.clone();
        let Some(Place::Fwknop(chains)) = settings.stance.place else { panic!("chains") };
        (rule, settings.limits, *chains)
    };
    let (rule, limits, chains) = nat("", "");
    assert!(rule.forward && !rule.local && !rule.unasked && limits.nat.forward && !limits.nat.local);
    assert!(chains.forward.is_some() && chains.dnat.is_some() && chains.snat.is_none());
    let (rule, limits, _) = nat("ENABLE_IPT_LOCAL_NAT Y\n", "FORCE_NAT 2001:db8::5 22\nDISABLE_DNAT Y\n");
    assert_eq!(rule.force, Some(("2001:db8::5".parse().unwrap(), 22)));
    assert!(rule.keep_destination && rule.unasked);
    assert_eq!((limits.nat.forced.len(), limits.nat.forward, limits.nat.local), (1, false, false));
    assert_eq!(limits.doors, ports(&["1/tcp"]));
    let both = "FORCE_NAT 10.0.0.5 22\nFORCE_MASQUERADE Y\nFORCE_SNAT 1.1.1.1\n";
    let (rule, limits, chains) = nat("", both);
    assert_eq!(
        rule.source,
        NatSource::Fixed("1.1.1.1".parse().unwrap()),
        "an address goes before MASQUERADE"
    );
    assert_eq!(limits.nat.sources, [rule.source]);
    assert!(chains.snat.is_some() && chains.masquerade.is_some());
    let (rule, ..) = nat("ENABLE_IPT_SNAT Y\n", "");
    assert_eq!(rule.source, NatSource::Masquerade);
    let (rule, ..) =
        nat("ENABLE_IPT_SNAT Y\nSNAT_TRANSLATE_IP 9.9.9.9\n", "FORCE_NAT 10.0.0.5 22\nFORCE_MASQUERADE Y\n");
    assert_eq!(rule.source, NatSource::Masquerade, "a stanza goes before the file");
    let (_, limits, _) = nat("", "FORWARD_ALL Y\n");
    assert!(limits.nat.all_forward && !limits.nat.forward && limits.nat.all.is_empty());
    assert_eq!(limits.doors, ports(&["1/tcp"]), "asked without translation, it opens a port");
    let (_, limits, _) = nat("", "FORWARD_ALL Y\nFORCE_NAT 10.0.0.5 0\n");
    assert_eq!(limits.nat.all, [Some("10.0.0.5".parse().unwrap())]);
    assert!(limits.doors.is_empty() && !limits.any_port);
    for anywhere in ["", "FORCE_NAT 0.0.0.0 0\n", "DISABLE_DNAT Y\n"] {
        let (rule, limits, _) = nat("", &format!("FORWARD_ALL Y\nFORCE_MASQUERADE Y\n{anywhere}"));
        assert!(rule.unasked && rule.source == NatSource::Masquerade);
        assert!(limits.nat.all.contains(&None) && limits.doors.is_empty(), "{anywhere}");
    }
    let (rule, limits, _) = nat("ENABLE_IPT_LOCAL_NAT Y\n", "FORWARD_ALL Y\nFORCE_NAT 10.0.0.5 22\n");
    assert!(rule.local && limits.nat.forced.len() == 1 && limits.doors == ports(&["1/tcp"]));
}

#[test]
fn nftables_for_who_wants_it() {
    let settings = loaded("FIREWALL nft\nFLUSH_IPT_AT_EXIT N\n", STANZA);
    assert_eq!((settings.stance.firewall, settings.stance.place), (FirewallKind::Nft, None));
    assert_eq!(settings.on_exit, OnExit::Keep);
    assert_eq!(said("FIREWALL pf\n", STANZA), ["FIREWALL is 'pf'"]);
}

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

/// A name and a value as a line.
type Way<'w> = &'w dyn Fn(&str, &str) -> String;

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

/// Lines of fwknopd.conf, and what they say.
const CONF: &[(&str, &str)] = &[
    ("PCAP_DISPATCH_COUNT 0", "var PCAP_DISPATCH_COUNT value '0' not in the range 1-8388608"),
    ("PCAP_DISPATCH_COUNT foo", "var PCAP_DISPATCH_COUNT value 'foo' not in the range 1-8388608"),
    ("PCAP_DISPATCH_COUNT 8388609", "var PCAP_DISPATCH_COUNT value '8388609' not in the range 1-8388608"),
    ("MAX_SPA_PACKET_AGE 0", "var MAX_SPA_PACKET_AGE value '0' not in the range 1-100000"),
    ("RULES_CHECK_THRESHOLD -1", "var RULES_CHECK_THRESHOLD value '-1' not in the range 0-131071"),
    ("MAX_SNIFF_BYTES 32769", "var MAX_SNIFF_BYTES value '32769' not in the range 1-32768"),
    ("TCPSERV_PORT 70000\nENABLE_TCP_SERVER Y", "TCPSERV_PORT 70000 is no port"),
    ("UDPSERV_PORT 70000\nENABLE_UDP_SERVER Y", "UDPSERV_PORT 70000 is no port"),
    ("SYSLOG_FACILITY LOG_FOO", "Invalid SYSLOG_FACILITY setting 'LOG_FOO'"),
    ("IPT_INPUT_ACCESS ACCEPT", "Invalid IPT_INPUT_ACCESS specification, see fwknopd.conf comments"),
    (
        "IPT_DNAT_ACCESS DNAT, nat, PREROUTING, 1, X/, 1",
        "Invalid IPT_DNAT_ACCESS specification, see fwknopd.conf comments",
    ),
    (
        "IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 99999, FWKNOP_INPUT, 1",
        "invalid jump rule position in Line: ACCEPT, filter, INPUT, 99999, FWKNOP_INPUT, 1",
    ),
    (
        "IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 99999",
        "invalid chain rule position in Line: ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 99999",
    ),
    ("FWKNOP_RUN_DIR rel/dir", "Path 'rel/dir' is not absolute."),
    ("VERBOSE -3", "VERBOSE value '-3' not in the range (>0)"),
    ("ENABLE_IPT_SNAT Y\nSNAT_TRANSLATE_IP foo", "Invalid IPv4 addr for SNAT_TRANSLATE_IP"),
    ("PCAP_INTF a/b", "\"a/b\" is not an interface's name"),
    ("ENABLE_SPA_OVER_HTTP Y\nTRUSTED_PROXIES x", "TRUSTED_PROXIES has \"x\""),
];

#[test]
fn each_mistake_in_fwknopd_conf_has_its_words() {
    for (lines, words) in CONF {
        assert_eq!(said(lines, STANZA), [*words], "{lines}");
    }
}

/// Lines of fwknopd.conf that are passed over, and what is said of them.
const CONF_ODD: &[(&str, &[&str])] = &[
    ("FOO 1;", &["Ignoring unknown configuration parameter: 'FOO' in f.conf"]),
    (" # foo", &["Ignoring unknown configuration parameter: '#' in f.conf"]),
    ("PCAP_FILTER: udp", &["a colon is of access.conf's lines: it is passed over"]),
    ("NOVALUE", &["Invalid config file entry in f.conf at line 1."]),
    ("PCAP_FILTER ;", &["Invalid config file entry in f.conf at line 1."]),
    ("FWKNOP_RUN_DIR $FOO/dir;", &["Invalid embedded variable in: '$FOO/dir'"]),
    ("SYSLOG_IDENTITY $SYSLOG_FACILITY$X", &["Invalid embedded variable in: '$SYSLOG_FACILITY$X'"]),
    ("PCAP_LOOP_SLEEP 12abc", &["PCAP_LOOP_SLEEP is read as 12"]),
    (
        "ENABLE_SPA_OVER_HTTP Y\nENABLE_X_FORWARDED_FOR Y",
        &["anybody can write X-Forwarded-For, so it is believed from no one yet"],
    ),
    // A variable may be used before the line that sets it.
    ("SYSLOG_IDENTITY $FWKNOP_RUN_DIR;\nFWKNOP_RUN_DIR /tmp;", &[]),
];

#[test]
fn each_oddity_in_fwknopd_conf_has_its_words() {
    for (lines, words) in CONF_ODD {
        assert_eq!(warned(lines, STANZA), *words, "{lines}");
    }
}

/// Lines behind a good stanza, and what they say.
const LINES: &[(&str, &str)] = &[
    ("DESTINATION foo", "Fatal invalid DESTINATION in access stanza: Fatal error parsing IP to int for: foo"),
    ("OPEN_PORTS 22", "Fatal invalid OPEN_PORTS in access stanza: Parse error on access port entry: 22"),
    ("OPEN_PORTS tcp/22,", "Fatal invalid OPEN_PORTS in access stanza: Parse error on access port entry: "),
    (
        "OPEN_PORTS foo/33",
        "Fatal invalid OPEN_PORTS in access stanza: Invalid protocol in access port entry: foo/33",
    ),
    (
        "RESTRICT_PORTS tcp/70000",
        "Fatal invalid RESTRICT_PORTS in access stanza: Invalid port 'tcp/70000' in access request, must be in [0,65535]",
    ),
    ("OPEN_PORTS", "Invalid access file entry in a.conf at line 5."),
    ("FW_ACCESS_TIMEOUT -1", "FW_ACCESS_TIMEOUT value not in range."),
    ("FW_ACCESS_TIMEOUT x", "FW_ACCESS_TIMEOUT value not in range."),
    ("MAX_FW_TIMEOUT 9999999", "MAX_FW_TIMEOUT value not in range."),
    (
        "HMAC_DIGEST_TYPE foo",
        "HMAC_DIGEST_TYPE argument 'foo' must be one of {md5,sha1,sha256,sha384,sha512,sha3_256,sha3_512}",
    ),
    ("ENCRYPTION_MODE PCBC", "Unrecognized ENCRYPTION_MODE 'PCBC', use {CBC,CTR,legacy,Asymmetric}"),
    ("CMD_EXEC_USER x", "Unable to determine UID for CMD_EXEC_USER: Not a user on this system."),
    ("CMD_EXEC_GROUP x", "Unable to determine GID for CMD_EXEC_GROUP: Not a group on this system."),
    ("CMD_SUDO_EXEC_USER x", "Unable to determine UID for CMD_SUDO_EXEC_USER: Not a user on this system."),
    ("CMD_SUDO_EXEC_GROUP x", "Unable to determine GID for CMD_SUDO_EXEC_GROUP: Not a group on this system."),
    ("CMD_CYCLE_OPEN x", "Cannot set CMD_CYCLE_OPEN without also setting CMD_CYCLE_CLOSE: 'ANY'"),
    ("CMD_CYCLE_CLOSE x", "Cannot set CMD_CYCLE_CLOSE without also setting CMD_CYCLE_OPEN: 'ANY'"),
    (
        "CMD_CYCLE_OPEN x\nCMD_CYCLE_CLOSE y",
        "Must set the CMD_CYCLE_TIMER for command cycle functionality: 'ANY'",
    ),
    (
        "CMD_CYCLE_OPEN x\nCMD_CYCLE_CLOSE y\nCMD_CYCLE_TIMER 0",
        "CMD_CYCLE_TIMER value not in range [1,8388608].",
    ),
    ("CMD_CYCLE_TIMER 8388609", "CMD_CYCLE_TIMER value not in range [1,8388608]."),
    (
        "FORCE_NAT 1.2.3.4 22",
        "FORCE_NAT requires either ENABLE_IPT_FORWARDING or ENABLE_IPT_LOCAL_NAT in fwknopd.conf",
    ),
    ("FORCE_MASQUERADE Y", "FORCE_SNAT/FORCE_MASQUERADE requires either FORCE_NAT or FORWARD_ALL: 'ANY'"),
    (
        "ACCESS_EXPIRE 13/45/2020",
        "Fatal: invalid date value '13/45/2020' (need MM/DD/YYYY) for access stanza expiration time",
    ),
    (
        "ACCESS_EXPIRE foo",
        "Fatal: invalid date value 'foo' (need MM/DD/YYYY) for access stanza expiration time",
    ),
    ("ACCESS_EXPIRE_EPOCH 0", "Fatal: invalid epoch seconds value '0' for access stanza expiration time"),
    (
        "ACCESS_EXPIRE_EPOCH 999999999999999999999",
        "Fatal: invalid epoch seconds value '999999999999999999999' for access stanza expiration time",
    ),
    ("KEY_BASE64 $$$", "KEY_BASE64 argument doesn't look like base64-encoded data."),
    (
        "HMAC_KEY abc",
        "The encryption passphrase and HMAC key should not be identical for access stanza source: 'ANY'",
    ),
    ("KEY __CHANGEME__", "KEY value is not properly set in stanza source 'ANY' in access file: 'a.conf'"),
    (
        "GPG_DECRYPT_PW __CHANGEME__",
        "GPG_DECRYPT_PW value is not properly set in stanza source 'ANY' in access file: 'a.conf'",
    ),
    (
        "GPG_ALLOW_NO_PW Y",
        "Warning: Must have either sig ID's or fingerprints to check via GPG_REMOTE_ID or GPG_FINGERPRINT_ID (stanza \
         source: 'ANY' #1)",
    ),
    ("GPG_HOME_DIR /nonexist", "GPG_HOME_DIR directory '/nonexist' stat()/existence problem"),
    ("SOURCE 1.1.1.1", "No keys found for access stanza source: '1.1.1.1'"),
];

const GNUPG: &str = "GPG_HOME_DIR /root/.gnupg\nGPG_EXE /usr/bin/gpg2\nGPG_DECRYPT_ID 0xABCD1234\nGPG_DECRYPT_PW pass word\n\
                     GPG_REMOTE_ID 7234ABCD, 0x12345678\n\
                     GPG_FINGERPRINT_ID 00CC95F05BC146B6AC4038C9E36F443C6A3FAD56\n";

#[test]
fn keys_of_gnupgs_make_a_client_of_their_own() {
    let stanza = "SOURCE ANY\nREQUIRE_SOURCE_ADDRESS Y\nOPEN_PORTS tcp/22\n";
    let settings = loaded("", &format!("{stanza}{GNUPG}"));
    assert_eq!(settings.warnings.len(), 0, "{:?}", settings.warnings);
    let [keys] = settings.secrets.gpg.as_slice() else { panic!("one set of keys") };
    let ring = keys.ring();
    assert_eq!((ring.home(), ring.program()), (Path::new("/root/.gnupg"), Path::new("/usr/bin/gpg2")));
    // The original reads a value up to its end.
    assert_eq!(ring.passphrase(), Some(b"pass word".as_slice()));
    assert_eq!((keys.decrypts(), keys.hmac()), (Some("ABCD1234"), None));
    let signers = keys.signers();
    assert!(signers.required && !signers.any_validity);
    assert_eq!(signers.ids, ["7234ABCD", "12345678"]);
    assert_eq!(signers.fingerprints, ["00CC95F05BC146B6AC4038C9E36F443C6A3FAD56"]);
    let names = |settings: &Settings| -> Vec<String> {
        settings.rules.clients.iter().map(|client| client.name.to_string()).collect()
    };
    assert_eq!(names(&settings), ["stanza-1"]);
    let both = loaded("", &format!("{stanza}KEY a\nHMAC_KEY b\n{GNUPG}\n{stanza}KEY c\n"));
    assert_eq!(names(&both), ["stanza-1", "stanza-1-gpg", "stanza-2"]);
    let [one, two, _] = both.rules.clients.as_slice() else { panic!("three") };
    assert!(one.stanza == two.stanza && one.key != two.key);
    assert_eq!(both.secrets.gpg[0].hmac().map(|(_, key)| key), Some(b"b".as_slice()));
}

#[test]
fn the_global_keyring_is_used_where_a_stanza_names_none() {
    let conf = "GPG_HOME_DIR /\nGPG_EXE /bin/gpg\n";
    let settings = loaded(conf, "SOURCE ANY\nGPG_ALLOW_NO_PW Y\nGPG_REMOTE_ID 7234ABCD\n");
    let ring = settings.secrets.gpg[0].ring();
    assert_eq!((ring.home(), ring.program()), (Path::new("/"), Path::new("/bin/gpg")));
    assert_eq!(ring.passphrase(), None);
    let unsigned = loaded(conf, "SOURCE ANY\nGPG_ALLOW_NO_PW Y\nGPG_DISABLE_SIG Y\n");
    assert!(!unsigned.secrets.gpg[0].signers().required);
}

#[test]
fn a_bad_key_is_one_mistake() {
    let access = |key: &str| format!("SOURCE ANY\n{key}\nHMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n");
    for key in ["KEY_BASE64 $$$", "KEY __CHANGEME__", "KEY_BASE64 __CHANGEME__"] {
        let said = said("", &access(key));
        assert_eq!(said.len(), 1, "{key}: {said:?}");
    }
    assert_eq!(said("", &access("OPEN_PORTS tcp/22")), ["No keys found for access stanza source: 'ANY'"]);
}

#[test]
fn each_mistake_in_access_conf_has_its_words() {
    for (lines, words) in LINES {
        assert_eq!(
            said("", &format!("{STANZA}{lines}\n")).first().map(String::as_str),
            Some(*words),
            "{lines}"
        );
    }
    let long = "a".repeat(256);
    for one in ["OPEN", "CLOSE"] {
        let other = if one == "OPEN" { "CLOSE" } else { "OPEN" };
        let lines = format!("{STANZA}CMD_CYCLE_{one} {long}\nCMD_CYCLE_{other} x\nCMD_CYCLE_TIMER 1\n");
        assert_eq!(said("", &lines), [format!("CMD_CYCLE_{one} command is too long: 'ANY'")]);
    }
    let nat = [
        ("FORCE_NAT 1.2.3.4", "Fatal: invalid FORCE_NAT arg '1.2.3.4', need <IP> <PORT>"),
        ("FORCE_NAT foo bar", "Fatal: invalid FORCE_NAT arg 'foo bar', need <IP> <PORT>"),
        ("FORCE_NAT 1.2.3 22", "Fatal: invalid FORCE_NAT IP '1.2.3'"),
        ("FORCE_NAT 1.2.3.4 70000", "Fatal: invalid FORCE_NAT port '70000'"),
        ("FORCE_NAT 1.2.3.4 0", "Fatal: invalid FORCE_NAT port '0'"),
        ("FORCE_NAT 0.0.0.0 22", "Fatal: invalid FORCE_NAT IP '0.0.0.0'"),
        ("FORCE_NAT 1.2.3.4 22\nFORCE_SNAT 1.2.3", "Fatal: invalid FORCE_SNAT IP '1.2.3'"),
    ];
    for (lines, words) in nat {
        assert_eq!(said("ENABLE_IPT_FORWARDING Y\n", &format!("{STANZA}{lines}\n")), [words], "{lines}");
    }
    let sources = [
        ("1.2.3.4/33", "Invalid IP mask str '33'."),
        ("1.2.3.4/", "Missing mask value."),
        ("1.2.3.4/255.255.0.", "Fatal error parsing IP mask to int for: 255.255.0."),
        ("1.2.3", "Fatal error parsing IP to int for: 1.2.3"),
    ];
    for (source, why) in sources {
        let access = format!("SOURCE {source}\nKEY a\nREQUIRE_SOURCE Y\n");
        assert_eq!(said("", &access), [format!("Fatal invalid SOURCE in access stanza: {why}")]);
    }
    for access in ["", "# nothing\n", "KEY abc\n"] {
        assert_eq!(said("", access), ["Could not find valid SOURCE stanza in access file: 'a.conf'"]);
    }
}

/// Lines behind a good stanza that are no mistake, and what is said of them.
const ODD: &[(&str, &[&str])] = &[
    ("FOO bar", &["Ignoring unknown access parameter: 'FOO' in a.conf"]),
    (
        "FW_ACCESS_TIMEOUT 500\nMAX_FW_TIMEOUT 100",
        &[
            "Warning: MAX_FW_TIMEOUT < FW_ACCESS_TIMEOUT, honoring MAX_FW_TIMEOUT for stanza source: 'ANY' (#1)",
        ],
    ),
    ("FW_ACCESS_TIMEOUT 10x", &["FW_ACCESS_TIMEOUT is read as 10"]),
    ("OPEN_PORTS tcp/22-25", &["OPEN_PORTS: 'tcp/22-25' is read as tcp/22"]),
    ("OPEN_PORTS tcp/0", &["OPEN_PORTS: 'tcp/0' is no port, so it is passed over"]),
    (
        "CMD_EXEC_USER nobody",
        &[
            "Setting gid to group associated with CMD_EXEC_USER 'nobody' for setgid() execution in stanza source: 'ANY'",
        ],
    ),
    (
        "KEY 0123456789012345678901234567890123",
        &["the encryption key has 34 bytes, so nothing ever comes in by this stanza"],
    ),
    ("ENCRYPTION_MODE Asymmetric", &["the stanza is for GnuPG and has symmetric keys only"]),
    (
        "GPG_DECRYPT_PW x\nGPG_REMOTE_ID 1234\nGPG_REQUIRE_SIG Y\nGPG_DISABLE_SIG Y",
        &[
            "Warning: GPG_REQUIRE_SIG and GPG_DISABLE_SIG are both set, will check sigs (stanza source: 'ANY' #1)",
            "GPG_REMOTE_ID '1234' is no key's, so nobody's signature fits it",
        ],
    ),
    (
        "REQUIRE_SOURCE_ADDRESS N",
        &["Warning: REQUIRE_SOURCE_ADDRESS not enabled for access stanza source: 'ANY'"],
    ),
];

#[test]
fn each_oddity_in_access_conf_has_its_words() {
    for (lines, words) in ODD {
        assert_eq!(warned("", &format!("{STANZA}{lines}\n")), *words, "{lines}");
    }
    assert_eq!(warned("", &format!("OPEN_PORTS tcp/1\n{STANZA}")).len(), 1, "it is in no stanza");
    let legacy =
        "SOURCE ANY\nKEY 0123456789012345678901234567890123\nENCRYPTION_MODE legacy\nREQUIRE_SOURCE Y\n";
    assert_eq!(warned("", legacy), ["KEY has 34 letters, and legacy mode cuts it after the first 16"]);
    let both = warned("", &format!("{STANZA}ENCRYPTION_MODE legacy\n"));
    assert_eq!(both, ["legacy mode is incompatible with HMAC, so nothing ever comes in by this stanza"]);
    let useless = loaded("", &format!("{STANZA}SOURCE ANY\nKEY {}\n", "k".repeat(33)));
    assert_eq!(useless.rules.clients.len(), 1, "nobody comes in by the second");
    let odd = loaded("", &format!("{STANZA}OPEN_PORTS tcp/0\n"));
    assert_eq!(client(&odd, 1).1.open_ports, Some(Vec::new()), "no port at all, never any port");
}

#[test]
fn a_later_line_counts_and_keys_come_in_two_spellings() {
    let id = |lines: &str| loaded("", &format!("SOURCE ANY\n{lines}")).secrets.fwknop[0].id();
    let key = |key: &[u8]| Keys::new(key, Mode::Cbc, None).unwrap().id();
    assert_eq!(id("KEY abcd\nKEY ab\n"), key(b"ab"));
    assert_eq!(id("KEY abcd\nKEY_BASE64 YWI=\n"), key(b"ab"));
    assert_eq!(id("KEY_BASE64 YWI=\nKEY abcd\n"), key(b"abcd"));
    assert_eq!(id("KEY a#b c # d\t;e\n"), key(b"a#b c # d"));
    assert_eq!(id("KEY_BASE64 YWI=YWI=\n"), key(b"ab"));
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

fn said_of(access: &str) -> Vec<String> {
    said("", access)
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

/// `fwknopd -D -c g.conf -a h.conf -O o.conf` of Debian's 2.6.10 printed testdata/dump.txt for these files.
#[test]
fn the_dump_is_the_originals() {
    let files = Memory::default()
        .with("g.conf", "PCAP_INTF lo;\nENABLE_IPT_FORWARDING Y;\nVERBOSE 1;\n")
        .with("o.conf", "PCAP_FILTER udp port 1;\n")
        .with(
            "h.conf",
            "SOURCE 192.0.2.0/24, 198.51.100.7\nDESTINATION 203.0.113.1\nKEY_BASE64 c2VjcmV0c2VjcmV0\nHMAC_KEY hmac\n\
             HMAC_DIGEST_TYPE sha512\nOPEN_PORTS tcp/22, udp/53\nRESTRICT_PORTS tcp/25\nFW_ACCESS_TIMEOUT 77\n\
             MAX_FW_TIMEOUT 600\nENABLE_CMD_EXEC Y\nCMD_EXEC_USER nobody\nCMD_EXEC_GROUP root\nREQUIRE_USERNAME alice\n\
             REQUIRE_SOURCE_ADDRESS Y\nFORCE_NAT 10.0.0.5 2222\nFORCE_SNAT 10.0.0.1\nDISABLE_DNAT Y\n\
             ACCESS_EXPIRE 12/01/2030\n\nSOURCE ANY\nKEY a\nCMD_CYCLE_OPEN /bin/open $IP\nCMD_CYCLE_CLOSE NONE\n\
             CMD_CYCLE_TIMER 5\nFORWARD_ALL Y\nFORCE_MASQUERADE Y\nGPG_DECRYPT_ID ABCD1234\nGPG_DECRYPT_PW pw\n\
             GPG_REMOTE_ID 12345678\nGPG_FINGERPRINT_ID 00CC95F05BC146B6AC4038C9E36F443C6A3FAD56\n\
             GPG_IGNORE_SIG_VERIFY_ERROR Y\n",
        );
    let mut wish = CommandLine { config: "g.conf".into(), ..CommandLine::default() };
    wish.overrides = vec!["o.conf".into()];
    wish.set = vec![(Variable::AccessFile, "h.conf".into())];
    let (text, warnings) = dump(&files, &Here, &wish).unwrap();
    // It prints a null pointer there.
    let theirs = include_str!("testdata/dump.txt").replace("(null)", "<not set>");
    assert_eq!(text, theirs);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    wish.set.push((Variable::Firewall, "nft".into()));
    let (text, _) = dump(&files, &Here, &wish).unwrap();
    assert!(text.contains(
        " 54. FAULT_INJECTION_TAG          =  '<not set>'\n 55. FIREWALL                     =  'nft'\n"
    ));
}

#[test]
fn every_line_is_explained() {
    let files = Memory::default()
        .with(
            "/f/fwknopd.conf",
            "PCAP_INTF lo\nPCAP_LOOP_SLEEP 5\nMAX_SNIFF_BYTES 0\nFIREWD_X 1\nFOO 1\nNOVALUE\n",
        )
        .with(
            "/f/access.conf",
            "SOURCE ANY\nKEY: secret\nGPG_DECRYPT_ID x\nOPEN_PORTS tcp/x\nFORCE_NAT x\nBAR 1\n",
        );
    let table = |theirs: &Theirs| -> Vec<(String, &'static str, String)> {
        let rows = explain(&files, &Here, theirs).unwrap();
        assert!(rows.iter().all(|row| !row.value.contains("secret")));
        let written = rows.into_iter().filter(|row| row.place.is_some());
        written.map(|row| (row.name.clone(), row.effect.as_str(), row.effect.why().to_owned())).collect()
    };
    let all = table(&Theirs::Folder("/f".into()));
    let words: Vec<_> = all.iter().map(|(name, word, _)| (name.as_str(), *word)).collect();
    assert_eq!(
        words,
        [
            ("PCAP_INTF", "same"),
            ("PCAP_LOOP_SLEEP", "no effect"),
            ("MAX_SNIFF_BYTES", "refused"),
            ("FIREWD_X", "no effect"),
            ("FOO", "no effect"),
            ("?", "no effect"),
            ("SOURCE", "same"),
            ("KEY:", "same"),
            ("GPG_DECRYPT_ID", "same"),
            ("OPEN_PORTS", "same"),
            ("FORCE_NAT", "refused"),
            ("BAR", "no effect"),
        ]
    );
    let why =
        |name: &str| all.iter().find(|(known, ..)| known == name).map(|(_, _, why)| why.as_str()).unwrap();
    assert!(why("FORCE_NAT").starts_with("FORCE_NAT requires either ENABLE_IPT_FORWARDING"));
    assert!(why("FOO").starts_with("Ignoring unknown configuration parameter: 'FOO'"));
    assert!(why("FIREWD_X").contains("firewalld"));
    assert!(why("OPEN_PORTS").contains("is no port") && why("SOURCE").contains("REQUIRE_SOURCE_ADDRESS"));
    assert!(all.iter().all(|(_, word, why)| *word == "same" || !why.is_empty()), "{all:?}");
    assert_eq!(table(&Theirs::File("/f/fwknopd.conf".into())), all[..6]);
    assert_eq!(table(&Theirs::File("/f/access.conf".into())), all[6..]);
    let rows = explain(&files, &Here, &Theirs::Folder("/f".into())).unwrap();
    assert!(rows.iter().any(|row| row.place.is_none() && row.name == "IPT_INPUT_ACCESS"));
    let gone = explain(&files, &Here, &Theirs::File("/nope".into())).unwrap_err();
    assert_eq!(gone[0].file, Path::new("/nope"));
    let alone = Memory::default().with("/a", "SOURCE ANY\nKEY a\n");
    assert_eq!(explain(&alone, &Here, &Theirs::File("/a".into())).unwrap().len(), 2);
}

#[test]
fn commands_to_a_running_one_need_no_stanza() {
    let files = Memory::default().with("f.conf", "FWKNOP_RUN_DIR /tmp\n");
    assert_eq!(daemon(&files, &wish()).unwrap().pid_file, Path::new("/tmp/fwknopd.pid"));
    assert_eq!(daemon(&Memory::default(), &wish()).unwrap_err().len(), 1);
}

#[test]
fn no_secret_is_ever_said() {
    let secrets = ["s3cretone", "s3crettwo", "aGlkZGVuaGlkZGVu", "hiddenhidden"];
    for access in [
        "SOURCE ANY\nKEY s3cretone\nHMAC_KEY s3cretone\n",
        "SOURCE ANY\nKEY_BASE64 s3cretone!\nHMAC_KEY_BASE64 s3crettwo!\n",
        "SOURCE ANY\nKEYs3cretone\n",
        "SOURCE ANY\nKEY_BASE64 aGlkZGVuaGlkZGVu\nHMAC_KEY_BASE64 aGlkZGVuaGlkZGVu\n",
    ] {
        let all = load(&files("", access), &Here, &wish()).unwrap_err();
        let text = format!("{all:?}");
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
    let fine = loaded("", "SOURCE ANY\nKEY s3cretone\nHMAC_KEY s3crettwo\n");
    assert!(!format!("{fine:?}").contains("s3cret"));
    let gnupg = loaded("", "SOURCE ANY\nGPG_DECRYPT_PW s3cretone\nGPG_REMOTE_ID 12\n");
    assert!(!format!("{gnupg:?}").contains("s3cret"));
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_a_reader(
        conf in "(ENABLE_IPT_FORWARDING Y\n)?([A-Z_]{1,9} [$;#a-z0-9 ,/.]{0,20}\n|[ \t;#$%A-Za-z0-9_/,.:\r\n]{0,80})*",
        access in "([ \t]?(SOURCE|KEY|KEY_BASE64|FORCE_NAT|OPEN_PORTS|ACCESS_EXPIRE|%include|CMD_CYCLE_TIMER|FORWARD_ALL):? ?[;#a-z0-9 ,/.=Y]{0,20}\r?\n|\\PC{0,20}\n){0,12}",
    ) {
        let _ = load(&files(&conf, &access), &Here, &wish());
    }
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

#[test]
fn several_variables_on_a_line_are_spoken_of_beside_mistakes() {
    let unread = "a ';' ends the value, and what stands behind it is not read";
    let told = said("", "SOURCE: ANY; OPEN_PORTS: tcp/22; KEY: abc;\n");
    assert_eq!(told, [unread, "No keys found for access stanza source: 'ANY'"]);
    assert_eq!(said("", "SOURCE ANY\nKEY:: abc;\n")[0], "Invalid access file entry in a.conf at line 2.");
}

#[test]
fn of_both_main_files_the_one_that_is_read_is_named() {
    let wish = CommandLine { config: PathBuf::from("d/fwknopd.conf"), ..wish() };
    let both = Memory::default().with("d/fwknopd.conf", "").with("d/fwknop.conf", "").with("a.conf", STANZA);
    let told = load(&both, &Here, &wish).unwrap().warnings;
    assert_eq!(told[0].what, "d/fwknopd.conf is read, and d/fwknop.conf beside it is not");
}
