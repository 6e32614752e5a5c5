use super::*;
use portunus_crypto::{ed25519::SigningKey, text};
use proptest::prelude::*;

mod native_dialect;

fn profile(name: &str, post_knock: Option<&str>) -> Profile {
    let seed = Secret::from_bytes([7; 32]);
    let public = *SigningKey::new(&seed).unwrap().public();
    Profile {
        name: name.to_owned(),
        host: "home.example.org".to_owned(),
        port: 4321,
        health: true,
        health_port: None,
        keys: Keys::Openme { server: [9; 32], seed, public },
        post_knock: post_knock.map(str::to_owned),
        opens: Vec::new(),
    }
}

fn same(a: &Profile, b: &Profile) {
    let (
        Keys::Openme { server: sa, seed: ka, public: pa },
        Keys::Openme { server: sb, seed: kb, public: pb },
    ) = (&a.keys, &b.keys)
    else {
        panic!("not openme's keys");
    };
    assert_eq!((&a.name, &a.host, a.port, &a.post_knock), (&b.name, &b.host, b.port, &b.post_knock));
    assert_eq!((&a.opens, a.health, a.health_port, sa, pa), (&b.opens, b.health, b.health_port, sb, pb));
    assert!(ka == kb);
}

fn file(name: &str) -> &Path {
    Path::new(name)
}

#[test]
fn every_spelling_is_read_as_it_was_written() {
    let mut one = profile("home", Some("ssh \"me\" # no comment\n\t\\ö"));
    same(&openme::parse(&openme::render(&[&one], Show::All).unwrap(), file("c.yaml")).unwrap()[0], &one);
    let two = profile("work", None);
    same(&qr::parse(&qr::render(&two), file("qr")).unwrap(), &two);
    one.opens = PortSpec::parse("22").unwrap();
    one.health_port = Some(99);
    same(&native::parse(&native::render(&one, Show::All), file("x.toml")).unwrap(), &one);
    (one.health, one.health_port) = (false, None);
    same(&native::parse(&native::render(&one, Show::All), file("x.toml")).unwrap(), &one);
}

#[test]
fn the_shape_is_the_one_that_openme_documents() {
    assert_eq!(
        openme::render(&[&profile("default", None)], Show::Redacted).unwrap().as_str(),
        "profiles:\n    default:\n        server_host: \"home.example.org\"\n        server_udp_port: 4321\n        \
         server_pubkey: \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"\n        private_key: \"(not shown)\"\n        \
         public_key: \"6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\"\n"
    );
    let payload = qr::render(&profile("home", None));
    let json: serde_json::Value = serde_json::from_str(&payload).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["client_privkey", "client_pubkey", "host", "profile", "server_pubkey", "udp_port"]);
}

#[test]
fn no_private_key_is_shown_where_it_should_not_be() {
    let one = profile("home", None);
    let Keys::Openme { seed, public, .. } = &one.keys else { panic!("not openme's keys") };
    let secrets = [seed.to_base64(), crate::keys::pair_text(seed, public)];
    for text in [
        native::render(&one, Show::Redacted).to_string(),
        openme::render(&[&one], Show::Redacted).unwrap().to_string(),
        format!("{one:?}"),
    ] {
        assert!(secrets.iter().all(|secret| !text.contains(&secret[..20])), "{text}");
    }
}

#[test]
fn a_profile_without_a_name_gets_one() {
    let text = native::render(&profile("x", None), Show::All).replace("name = \"x\"\n", "");
    assert_eq!(native::parse(&text, file("/p/office.toml")).unwrap().name, "office");
    assert_eq!(native::parse(&text, file("-")).unwrap().name, "home");
}

#[test]
fn one_broken_profile_leaves_the_others_usable() {
    let text = format!(
        "{}    broken:\n        server_host: x\n",
        &*openme::render(&[&profile("home", None)], Show::All).unwrap()
    );
    assert!(openme::find(&text, file("c"), "home").unwrap().is_some());
    assert!(openme::find(&text, file("c"), "nobody").unwrap().is_none());
    assert_eq!(openme::names(&text, file("c")).unwrap(), ["home", "broken"]);
    let said: Vec<_> = openme::parse(&text, file("c")).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "c:8:5: profile \"broken\" has no server_pubkey: get the profile again from the server's `openme add`",
            "c:8:5: profile \"broken\" has no private_key: get the profile again from the server's `openme add`",
        ]
    );
}

#[test]
fn each_mistake_in_a_native_profile_has_its_sentence() {
    let good = native::render(&profile("home", None), Show::All);
    let said = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        native::parse(&good.replacen(from, to, 1), file("p.toml")).unwrap_err().remove(0).to_string()
    };
    assert_eq!(
        said("port = 4321", "port = 70000"),
        "p.toml:4:8: port is 70000: use a whole number from 1 to 65535"
    );
    assert_eq!(said("port =", "prot ="), "p.toml:4:1: unknown key \"prot\": did you mean \"port\"?");
    assert_eq!(
        said("home.example.org", "home.example.org:22"),
        "p.toml:3:8: the host \"home.example.org:22\" has a port: write the name or the address alone, as in \
         home.example.org"
    );
    assert_eq!(
        said("\"openme\"", "\"fwknop\""),
        "p.toml:5:11: dialect is \"fwknop\": use one of: openme, native"
    );
    assert_eq!(
        said("host = \"home.example.org\"\n", ""),
        "p.toml:1:1: the profile has no host: get the profile again from the server's `portunus add`"
    );
    assert_eq!(
        said("server_pubkey = \"C", "server_pubkey = \""),
        "p.toml:6:17: server_pubkey has 31 bytes, not 32: copy the whole public key: 44 characters, the last one is ="
    );
}

#[test]
fn each_mistake_in_a_payload_has_its_sentence() {
    let good = qr::render(&profile("home", None));
    let said = |from: &str, to: &str| {
        qr::parse(&good.replacen(from, to, 1), file("qr")).unwrap_err().remove(0).to_string()
    };
    assert!(said("{", "[").starts_with("qr:1:"));
    assert_eq!(said("4321", "0"), "qr: udp_port is 0: use a whole number from 1 to 65535");
    assert!(said("4321", "70000").starts_with("qr:1:60: this is no profile's QR payload: invalid value"));
    assert_eq!(
        said("\"CQkJ", "\"CQk"),
        "qr: server_pubkey has 31 bytes, not 32: copy the whole public key: 44 characters, the last one is ="
    );
}

#[test]
fn profiles_come_and_go_and_the_rest_stays() {
    let text = "# mine\nprofiles:\n  home:   # first\n    server_host: \"h\"\n    odd: [1, 2]\n# end\n";
    let added = openme::add(text, file("c"), &profile("work", None)).unwrap();
    assert!(
        added.contains("    odd: [1, 2]\n  work:\n    server_host: \"home.example.org\"\n"),
        "{}",
        &*added
    );
    assert_eq!(openme::remove(&added, file("c"), "work").unwrap().as_str(), text);
    let fresh = openme::add("", file("c"), &profile("work", None)).unwrap();
    same(&openme::parse(&fresh, file("c")).unwrap()[0], &profile("work", None));
}

proptest! {
    #[test]
    fn any_command_survives_every_spelling(command in any::<String>()) {
        let one = profile("home", Some(&command).filter(|c| !c.is_empty()).map(String::as_str));
        same(&openme::parse(&openme::render(&[&one], Show::All).unwrap(), file("c.yaml")).unwrap()[0], &one);
        same(&native::parse(&native::render(&one, Show::All), file("x.toml")).unwrap(), &one);
    }

    #[test]
    fn no_text_breaks_a_reader(text in "\\PC{0,200}") {
        let _ = native::parse(&text, file("f"));
        let _ = openme::parse(&text, file("f"));
        let _ = qr::parse(&text, file("f"));
        let _ = text::decode::<32>(&text);
    }
}
