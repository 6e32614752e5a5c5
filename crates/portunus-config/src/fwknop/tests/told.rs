//! What is told of the files: the dump, the explanation, and no secret.

use super::*;

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
    let theirs = include_str!("../testdata/dump.txt").replace("(null)", "<not set>");
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
