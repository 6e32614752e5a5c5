//! What a stanza of access.conf means.

use super::*;

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
fn a_later_line_counts_and_keys_come_in_two_spellings() {
    let id = |lines: &str| loaded("", &format!("SOURCE ANY\n{lines}")).secrets.fwknop[0].id();
    let key = |key: &[u8]| Keys::new(key, Mode::Cbc, None).unwrap().id();
    assert_eq!(id("KEY abcd\nKEY ab\n"), key(b"ab"));
    assert_eq!(id("KEY abcd\nKEY_BASE64 YWI=\n"), key(b"ab"));
    assert_eq!(id("KEY_BASE64 YWI=\nKEY abcd\n"), key(b"abcd"));
    assert_eq!(id("KEY a#b c # d\t;e\n"), key(b"a#b c # d"));
    assert_eq!(id("KEY_BASE64 YWI=YWI=\n"), key(b"ab"));
}
