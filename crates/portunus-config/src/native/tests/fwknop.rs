//! Clients of fwknop's in our own files.

use super::*;

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
    assert!(listed.iter().any(|entry| entry.any_port && entry.key == Some(client.key)));
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
