//! Any text at all, and what an edit makes of it.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn no_text_breaks_a_reader(text in "[ a-c:{}\\[\\],#\"'=.1-3\n\r\t-]{0,80}") {
        for file in ["portunus.toml", "services.toml", "clients.toml", "clients/alice.toml", "keys/openme.key", "keys/native.key"] {
            let files = folder().with(&format!("{DIR}/{file}"), text.clone());
            let _ = loaded(&files);
            let _ = remove_client(&files, Path::new(DIR), &ClientName::new("a").unwrap());
            let _ = add_client(&files, Path::new(DIR), &new("zoe", 1));
        }
    }

    #[test]
    fn a_table_added_is_a_table_that_can_go(names in prop::collection::hash_set("[a-zA-Zö0-9_@+'(),-]{1,10}", 1..6), n in any::<prop::sample::Index>()) {
        let names: Vec<_> = names.into_iter().collect();
        let path = Path::new("/c.toml");
        let mut text = "# top\n".to_owned();
        for (i, name) in names.iter().enumerate() {
            text = crate::toml_edit::add(&text, path, name, &format!("# of {i}\npublic_key = \"{i}\" # x\n")).unwrap();
        }
        let pick = n.index(names.len());
        let mut rest = "# top\n".to_owned();
        for (i, name) in names.iter().enumerate().filter(|(i, _)| *i != pick) {
            rest = crate::toml_edit::add(&rest, path, name, &format!("# of {i}\npublic_key = \"{i}\" # x\n")).unwrap();
        }
        prop_assert_eq!(crate::toml_edit::remove(&text, path, &names[pick]).unwrap(), rest);
    }
}
