use super::*;
use portunus_crypto::Secret;
use portunus_crypto::ed25519::SigningKey;
use proptest::prelude::*;

fn path() -> &'static Path {
    Path::new("/c.yaml")
}

fn new(name: &str, n: u8) -> NewClient {
    let key = *SigningKey::new(&Secret::from_bytes([n; 32])).unwrap().public();
    NewClient::new(ClientName::new(name).unwrap(), key)
}

fn add(text: &str, name: &str) -> String {
    add_client(text, path(), &new(name, 1)).unwrap_or_else(|error| panic!("{error}\n{text}")).to_string()
}

fn remove(text: &str, name: &str) -> String {
    let name = ClientName::new(name).unwrap();
    remove_client(text, path(), &name).unwrap_or_else(|error| panic!("{error}\n{text}")).to_string()
}

const KEPT: &str = "\
# top
server:
  host: x   # odd   spacing
  unknown: [1,  2]

clients: # people
  # first
  alice:   # laptop
    ed25519_pubkey: \"A\"
    # nested, hers
    note: |
      many
      lines

    # old: allowed_ports: [all]
  # phone
  bob: {ed25519_pubkey: \"B\", allowed_ports: [ssh]}   # inline

  \"carol c\":
    allowed_ports:
    - ssh   # a list that is not indented
    - 443/tcp
    ed25519_pubkey: \"C\" # last
  # nobody else

ports: {ssh: [22/tcp]} # after
# the end
";

#[test]
fn only_the_removed_clients_own_lines_go() {
    let alice = "  alice:   # laptop\n    ed25519_pubkey: \"A\"\n    # nested, hers\n    note: |\n      many\n      lines\n\n    # old: allowed_ports: [all]\n";
    let bob = "  bob: {ed25519_pubkey: \"B\", allowed_ports: [ssh]}   # inline\n";
    let carol = "  \"carol c\":\n    allowed_ports:\n    - ssh   # a list that is not indented\n    - 443/tcp\n    ed25519_pubkey: \"C\" # last\n";
    for (name, lines) in [("alice", alice), ("bob", bob), ("carol c", carol)] {
        assert!(KEPT.contains(lines), "{name}");
        for eol in ["\n", "\r\n"] {
            assert_eq!(
                remove(&KEPT.replace('\n', eol), name),
                KEPT.replace(lines, "").replace('\n', eol),
                "{name}"
            );
        }
    }
    let none = remove(&remove(&remove(KEPT, "bob"), "alice"), "carol c");
    assert!(
        none.contains("clients: {} # people\n  # first\n  # phone\n\n  # nobody else\n\nports"),
        "{none}"
    );
}

#[test]
fn a_new_client_stands_behind_the_last_one_in_the_files_own_style() {
    let expected = format!(
        "    ed25519_pubkey: \"C\" # last\n  dave:\n    ed25519_pubkey: {}\n  # nobody else\n",
        quoted(&text::encode(&SigningKey::new(&Secret::from_bytes([1; 32])).unwrap().public()[..]))
    );
    assert_eq!(
        add(KEPT, "dave"),
        KEPT.replace("    ed25519_pubkey: \"C\" # last\n  # nobody else\n", &expected)
    );
}

#[test]
fn every_field_is_written() {
    let mut client = new("eve e", 1);
    client.services = vec!["ssh".into(), "8080-8090/tcp".into(), "yes".into()];
    client.expires = Some(portunus_model::Unix::from_secs(1_798_761_599));
    client.health_port = false;
    let key = text::encode(&SigningKey::new(&Secret::from_bytes([1; 32])).unwrap().public()[..]);
    let go = "server:\n    host: x\nclients: {}\n";
    let text = add_client(go, path(), &client).unwrap();
    assert_eq!(
        text.as_str(),
        format!(
            "server:\n    host: x\nclients:\n    \"eve e\":\n        ed25519_pubkey: \"{key}\"\n        allowed_ports:\n            \
             - ssh\n            - \"8080-8090/tcp\"\n            - \"yes\"\n        expires: \"2026-12-31T23:59:59Z\"\n        \
             disable_health_port: true\n"
        )
    );
    assert_eq!(remove(&text, "eve e"), go);
    let braces = "{\"server\": {\"host\": \"x\"}, \"clients\": {}}";
    let text = add_client(braces, path(), &client).unwrap();
    assert_eq!(
        text.as_str(),
        format!(
            "{{\"server\": {{\"host\": \"x\"}}, \"clients\": {{\"eve e\": {{\"ed25519_pubkey\": \"{key}\", \
             \"allowed_ports\": [\"ssh\", \"8080-8090/tcp\", \"yes\"], \"expires\": \"2026-12-31T23:59:59Z\", \
             \"disable_health_port\": true}}}}}}"
        )
    );
}

#[test]
fn eight_adds_leave_eight_clients() {
    for start in [
        "server: {host: x}\n",
        "server: {host: x}\nclients: {}\n",
        "clients:\nserver: {host: x}",
        "",
        "clients: {a: {}}",
    ] {
        let mut text = start.to_owned();
        for n in 0..8 {
            text = add(&text, &format!("c{n}"));
        }
        let source = Source::new(path(), &text);
        let root = read::root(&source, &mut Findings::default()).unwrap();
        let names: Vec<_> = root
            .as_map()
            .unwrap()
            .get("clients")
            .unwrap()
            .node
            .as_map()
            .unwrap()
            .entries
            .iter()
            .map(|p| p.key.to_string())
            .collect();
        let mut expected: Vec<_> = (0..8).map(|n| format!("c{n}")).collect();
        if start.contains("a:") {
            expected.insert(0, "a".into());
        }
        assert_eq!(names, expected, "{text}");
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let said = |text: &str, name: &str| add_client(text, path(), &new(name, 1)).unwrap_err().to_string();
    assert_eq!(
        said(KEPT, "alice"),
        "there is already one named \"alice\": choose another name, or revoke it first"
    );
    assert_eq!(
        said("clients: 5\n", "a"),
        "/c.yaml:1:10: clients is not a mapping of names: write each name below `clients:`, indented"
    );
    assert_eq!(
        said("clients:\n\ta: 1\n", "a"),
        "/c.yaml:2:2: a tab indents this line: use blanks: YAML takes no tabs there"
    );
    assert_eq!(
        said("- x\n", "a"),
        "/c.yaml:1:1: the file is no mapping of keys to values: write its keys, such as `server:`, at the start of lines"
    );
    assert_eq!(
        said("server: 1\n...\n", "a"),
        "/c.yaml: `clients` is written in a way that cannot be edited without touching something else: edit it by hand, \
         or write each name below `clients:` on lines of its own"
    );
    let gone = |text: &str| remove_client(text, path(), &ClientName::new("eve").unwrap()).unwrap_err();
    for text in [KEPT, "", "clients:\n", "server: 1\n", "clients: {}\n"] {
        assert_eq!(gone(text), EditError::Unknown("eve".into()));
    }
    let anchored = "clients:\n  eve: &e\n    x: 1\n  bob: *e\n";
    assert!(matches!(gone(anchored), EditError::ByHand(_)));
}

#[test]
fn clients_in_braces_come_and_go() {
    let text = "clients: {alice: {x: 1}, bob: {x: 2} , carol: {x: 3}} # all\n";
    assert_eq!(remove(text, "alice"), "clients: {bob: {x: 2} , carol: {x: 3}} # all\n");
    assert_eq!(remove(text, "bob"), "clients: {alice: {x: 1}, carol: {x: 3}} # all\n");
    assert_eq!(remove(text, "carol"), "clients: {alice: {x: 1}, bob: {x: 2}} # all\n");
    assert_eq!(remove(&add(text, "dave"), "dave"), text);
    let lines = "clients: {\n  alice: {x: 1}, # hers\n  bob: {x: 2} # his\n}\n";
    assert_eq!(remove(&add(lines, "dave"), "dave"), lines);
    assert!(remove(lines, "alice").contains("# hers\n") && remove(lines, "bob").contains("# his\n"));
    assert_eq!(remove(&remove(text, "alice"), "bob").replace("carol: {x: 3}", ""), "clients: {} # all\n");
}

/// A file of many shapes with `least` clients or more, and their names.
fn file(least: usize) -> impl Strategy<Value = (String, Vec<String>)> {
    let name = prop::sample::select(vec![
        "alice",
        "b",
        "carol c",
        "yes",
        "Jörg",
        "x@y.z",
        "12",
        "d-e_f",
        "A's (2), old",
    ]);
    let names = prop::collection::hash_set(name, least..6);
    let comment = prop::sample::select(vec!["", "# one\n", "\n", "      # deep\n\n", "\n  # two\n"]);
    let comments = prop::collection::vec(comment, 24);
    let tail =
        prop::sample::select(vec!["", "ports:\n  default:\n  - 22/tcp\n", "# end", "\n\nports: {a: [1]}"]);
    (names, comments, 1..5_usize, 1..5_usize, any::<bool>(), tail, any::<bool>()).prop_map(
        |(names, comments, key, step, list, tail, crlf)| {
            let mut names: Vec<_> = names.into_iter().map(str::to_owned).collect();
            names.sort();
            let mut comments = comments.into_iter();
            let mut text = format!(
                "# top\nserver:\n  host: h # c\n  odd: {{a: [1, 2]}}\nclients:{}",
                if names.is_empty() { " {}\n" } else { "\n" }
            );
            for name in &names {
                let (at, inner) = (" ".repeat(key), " ".repeat(key + step));
                text.push_str(comments.next().unwrap_or(""));
                text.push_str(&format!("{at}{}: # who\n", quoted(name)));
                text.push_str(&format!("{inner}ed25519_pubkey: k{name}\n"));
                if list {
                    text.push_str(&format!("{inner}allowed_ports:\n{inner}- ssh # l\n{inner}-  443\n"));
                }
                text.push_str(&format!("{inner}'odd key': \"v\" # w\n"));
            }
            text.push_str(comments.next().unwrap_or(""));
            text.push_str(tail);
            (if crlf { text.replace('\n', "\r\n") } else { text }, names)
        },
    )
}

/// Whether `part` is what is left of `whole` when one run of bytes is taken out.
fn is_cut(whole: &str, part: &str) -> bool {
    let (whole, part) = (whole.as_bytes(), part.as_bytes());
    let head = whole.iter().zip(part).take_while(|(a, b)| a == b).count();
    let tail = whole.iter().rev().zip(part.iter().rev()).take_while(|(a, b)| a == b).count();
    head + tail >= part.len()
}

proptest! {
    #[test]
    fn an_add_only_adds((text, _) in file(0), name in "[a-zA-Z0-9_@+-]{1,12}") {
        prop_assume!(text.find(&format!("\"{name}\"")).is_none());
        let after = add(&text, &name);
        if text.contains("clients: {}") {
            prop_assert!(is_cut(&after, &text.replacen(" {}", "", 1)), "{text}\n---\n{after}");
        } else {
            prop_assert!(is_cut(&after, &text), "{text}\n---\n{after}");
        }
        prop_assert_eq!(after.matches("\r\n").count() == after.matches('\n').count(), text.contains("\r\n"));
        let back = remove(&after, &name);
        prop_assert_eq!(back.trim_end_matches(['\r', '\n']), text.trim_end_matches(['\r', '\n']));
    }

    #[test]
    fn a_removal_only_cuts((text, names) in file(1), pick in any::<prop::sample::Index>()) {
        let name = &names[pick.index(names.len())];
        let after = remove(&text, name);
        if names.len() > 1 {
            prop_assert!(is_cut(&text, &after), "{text}\n---\n{after}");
        } else {
            prop_assert!(is_cut(&text, &after.replacen(" {}", "", 1)), "{text}\n---\n{after}");
        }
        let gone = format!("ed25519_pubkey: k{name}");
        for line in text.lines() {
            let hers = line.contains(&gone);
            prop_assert!(!hers || !after.lines().any(|l| l == line && l.trim() == gone));
        }
        for other in names.iter().filter(|other| *other != name) {
            let line = format!("{}: # who", quoted(other));
            prop_assert!(after.contains(&line));
        }
    }

    #[test]
    fn no_text_breaks_an_edit(text in "[ a-c:{}\\[\\],#\"'&*|>?!\n\r\t-]{0,60}") {
        let before = Source::new(path(), &text);
        let sound = read::root(&before, &mut Findings::default()).is_some();
        let outcome = add_client(&text, path(), &new("zoe", 1));
        prop_assert!(sound || outcome.is_err());
        let _ = remove_client(&text, path(), &ClientName::new("a").unwrap());
        let _ = remove_client(&format!("clients: {text}"), path(), &ClientName::new("a").unwrap());
        let _ = add_client(&format!("clients: {text}"), path(), &new("zoe", 1));
        let _ = load(&crate::files::tests::Memory::default().with("/c.yaml", text), path());
    }
}
