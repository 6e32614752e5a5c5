//! Edits of files as people may write them: every way to write a mapping, anchors, tags, comments anywhere, line ends.
//! An edit adds or cuts one run of bytes, or is refused; and an added client can be taken out again.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn one_of(all: &[&'static str]) -> impl Strategy<Value = &'static str> + use<> {
    prop::sample::select(all.to_vec())
}

/// `@` stands for the indentation of the names.
fn entry() -> impl Strategy<Value = (&'static str, &'static str, &'static str)> {
    let names = [
        "alice",
        "'alice'",
        "\"alice\"",
        "Jörg",
        "\"J\\u00f6rg\"",
        "bob b",
        "'it''s'",
        "\"a#b\"",
        "12",
        "'12'",
        "yes",
        "\"clients\"",
        "? ex",
        "&n anc",
    ];
    let values = [
        " {ed25519_pubkey: A}",
        " {ed25519_pubkey: A, allowed_ports: [ssh, 'a, b']} # c",
        "",
        " ~",
        " null # nothing",
        " # only a comment",
        " *b",
        " !!map {a: 1}",
        " &a\n@  ed25519_pubkey: A",
        "\n@  ed25519_pubkey: \"A#\" # k\n@  # inner\n@  allowed_ports:\n@    - ssh\n@    - \"x: y\"",
        "\n@  ed25519_pubkey: A\n\n@  allowed_ports:\n@  - ssh # s",
        "\n@  note: |\n@    # no comment\n@    text\n\n@    more",
        "\n@  note: >-\n@    folded: text\n@  x: 1",
        "\n@  <<: *b\n@  z: 'many\n@    lines'",
        " {\n@   a: 1, # c\n@   b: [1,\n@   2]\n@  }",
        "\n@    deep: 1\n@    deeper:\n@         x: 2",
    ];
    let between = ["", "\n", "# c0\n", "  # c2\n", "      # c6\n", "\n\n# after: x\n", "   \n"];
    (one_of(&names), one_of(&values), one_of(&between))
}

prop_compose! {
    fn section()(
        key in one_of(&["clients", "\"clients\"", "'clients'", "clients "]),
        tail in one_of(&["", " # people", " &all", " !!map", "   "]),
        indent in 1..5_usize,
        between in one_of(&["", "\n", "# c0\n", "      # c6\n"]),
        entries in prop::collection::vec(entry(), 1..5),
        form in 0..8_u8,
    ) -> String {
        let pad = " ".repeat(indent);
        let flow = |before: &str, after: &str| -> String {
            entries.iter().map(|(name, ..)| format!("{before}{name}: {{k: v}}{after}")).collect()
        };
        match form {
            0 => format!("{key}: {{}}\n"),
            1 => format!("{key}: ~ # nobody\n"),
            2 => format!("{key}: {{{}}}\n", flow("", ", ").trim_end_matches(", ")),
            3 => format!("{key}: {{\n{}{pad}}} # end\n", flow(&pad, ", # x\n")),
            _ => {
                let lines = entries.iter().map(|(name, value, noise)| {
                    format!("{pad}{name}:{}\n{noise}", value.replace('@', &pad))
                });
                format!("{key}:{tail}\n{between}{}", lines.collect::<String>())
            }
        }
    }
}

prop_compose! {
    fn file()(
        head in one_of(&["", "---\n", "# top\n", "\u{feff}# x\n", "%YAML 1.2\n---\n"]),
        before in one_of(&["base: &b\n  allowed_ports: [ssh]\n", "base: &b {q: 1}\nserver:\n    host: h # x\n\n"]),
        section in section(),
        after in one_of(&["", "more:\n  host: 'x'\n", "# end", "ports: {ssh: [22]}", "...\n", "\n\n\n"]),
        (crlf, cut) in any::<(bool, bool)>(),
    ) -> String {
        let mut text = format!("{head}{before}{section}{after}");
        if cut && text.ends_with('\n') {
            text.pop();
        }
        if crlf { text.replace('\n', "\r\n") } else { text }
    }
}

/// Whether `part` is what is left of `whole` without one run of its bytes.
fn is_cut(whole: &str, part: &str) -> bool {
    let head = whole.bytes().zip(part.bytes()).take_while(|(a, b)| a == b).count();
    let tail = whole.bytes().rev().zip(part.bytes().rev()).take_while(|(a, b)| a == b).count();
    head + tail >= part.len()
}

/// The same, when a word for nothing is taken out of `part` too.
fn is_cut_but_for_nothing(whole: &str, part: &str) -> bool {
    let without = |nothing: &'static str| {
        part.match_indices(nothing).map(move |(at, _)| {
            let mut less = part.to_owned();
            less.replace_range(at..at + nothing.len(), "");
            less
        })
    };
    is_cut(whole, part)
        || [" {}", " ~", " null"].into_iter().flat_map(without).any(|part| is_cut(whole, &part))
}

fn saying_nothing_left_out(text: &str) -> String {
    text.replace(" {}", "").replace(" ~", "").replace(" null", "").trim_end().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn an_add_adds_one_run_of_bytes(text in file(), name in one_of(&["zoe", "null", "12x", "Jörg 2", "no"])) {
        let (path, name) = (Path::new("/c.yaml"), ClientName::new(name).unwrap());
        let mut new = NewClient::new(name.clone(), [1; 32]);
        new.services = vec!["ssh".into()];
        if let Ok(after) = add_client(&text, path, &new) {
            prop_assert!(is_cut_but_for_nothing(&after, &text), "{text}\n---\n{}", &*after);
            prop_assert_eq!(after.matches('#').count(), text.matches('#').count());
            let crlf = if text.contains("\r\n") { after.matches('\n').count() } else { 0 };
            prop_assert_eq!(after.matches("\r\n").count(), crlf);
            if let Ok(back) = remove_client(&after, path, &name) {
                prop_assert_eq!(saying_nothing_left_out(&back), saying_nothing_left_out(&text));
            }
        }
    }

    #[test]
    fn a_removal_cuts_one_run_of_bytes(text in file()) {
        for name in ["alice", "Jörg", "bob b", "it's"] {
            if let Ok(after) = remove_client(&text, Path::new("/c.yaml"), &ClientName::new(name).unwrap()) {
                prop_assert!(is_cut_but_for_nothing(&text, &after), "{name}\n{text}\n---\n{}", &*after);
            }
        }
    }
}

/// Each of these was refused, or lost a comment.
#[test]
fn odd_ways_to_write_a_mapping_are_edited() {
    let path = Path::new("/c.yaml");
    let name = |text: &str| ClientName::new(text).unwrap();
    let remove = |text: &str, who: &str| remove_client(text, path, &name(who)).unwrap().to_string();
    assert_eq!(remove("clients: &all !!map # c\n  zoe: {k: v}\n", "zoe"), "clients: &all !!map {} # c\n");
    let flow = "clients: {\n  a: {k: v}, # x\n  b: {k: v}, # y\n}\n";
    assert_eq!(remove(flow, "b"), "clients: {\n  a: {k: v}, # x\n   # y\n}\n");
    let new = NewClient::new(name("zoe"), [1; 32]);
    for text in [
        "clients:\n   a: {k: v}\n   &n anc: {k: v}\n      # deeper\n",
        "\u{feff}clients:\n  # inner\nports: {}\n",
    ] {
        let after = add_client(text, path, &new).unwrap();
        assert!(after.find('#') < after.find("zoe"), "{}", &*after);
    }
}
