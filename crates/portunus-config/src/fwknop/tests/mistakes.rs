//! Each mistake and each oddity, with its words. Long because it is a table: a row a mistake.

use super::*;

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
fn several_variables_on_a_line_are_spoken_of_beside_mistakes() {
    let unread = "a ';' ends the value, and what stands behind it is not read";
    let told = said("", "SOURCE: ANY; OPEN_PORTS: tcp/22; KEY: abc;\n");
    assert_eq!(told, [unread, "No keys found for access stanza source: 'ANY'"]);
    assert_eq!(said("", "SOURCE ANY\nKEY:: abc;\n")[0], "Invalid access file entry in a.conf at line 2.");
}
