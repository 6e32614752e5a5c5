//! Profiles of the native dialect.

use portunus_crypto::x25519::PrivateKey;
use portunus_dialect::native::{Chain, Day};

use super::*;
use crate::EditError;

const DAY: u32 = 20_783;

fn chain(n: u8) -> Chain {
    Chain::new(Day::from_number(DAY), Secret::from_bytes([n; 32]))
}

fn keys(renewal: Renewal) -> NativeKeys {
    let secret = Secret::from_bytes([7; 32]);
    let public = *PrivateKey::new(&secret).unwrap().public();
    NativeKeys {
        server: [9; 32],
        secret,
        public,
        door: chain(3),
        old_door: None,
        link: chain(4),
        newest: Day::from_number(DAY),
        renewal,
        answers: false,
        must_bind: false,
        second_factor: false,
        source_port: false,
    }
}

fn native_profile(keys: NativeKeys) -> Profile {
    Profile { keys: Keys::Native(Box::new(keys)), ..profile("home", None) }
}

fn file_text(renewal: Renewal) -> String {
    native::render(&native_profile(keys(renewal)), Show::All).to_string()
}

fn read(text: &str) -> Result<NativeKeys, Vec<String>> {
    let read = native::parse(text, file("p.toml"));
    match read.map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())?.keys {
        Keys::Native(keys) => Ok(*keys),
        Keys::Openme { .. } => panic!("it was written as native"),
    }
}

fn same_chain(a: &Chain, b: &Chain) -> bool {
    a.day() == b.day() && a.value() == b.value()
}

fn same_renewal(a: &Renewal, b: &Renewal) -> bool {
    match (a, b) {
        (Renewal::Done, Renewal::Done) | (Renewal::Due, Renewal::Due) => true,
        (Renewal::Announced(a), Renewal::Announced(b)) | (Renewal::Replaced(a), Renewal::Replaced(b)) => {
            same_chain(a, b)
        }
        (Renewal::Done | Renewal::Due | Renewal::Announced(_) | Renewal::Replaced(_), _) => false,
    }
}

fn same_keys(a: &NativeKeys, b: &NativeKeys) {
    assert_eq!((a.server, a.public, a.newest), (b.server, b.public, b.newest));
    let flags = |keys: &NativeKeys| (keys.answers, keys.must_bind, keys.second_factor, keys.source_port);
    assert_eq!(flags(a), flags(b));
    assert!(a.secret == b.secret && same_chain(&a.door, &b.door) && same_chain(&a.link, &b.link));
    assert!(same_renewal(&a.renewal, &b.renewal));
    match (&a.old_door, &b.old_door) {
        (None, None) => (),
        (Some(a), Some(b)) => assert!(a.server == b.server && same_chain(&a.chain, &b.chain)),
        (Some(_), None) | (None, Some(_)) => panic!("an old door is lost or made up"),
    }
}

/// Keys that have moved to a new door, whose chain begins `later`.
fn moved(later: u32) -> NativeKeys {
    let old_door = Some(KnownDoor { server: [9; 32], chain: chain(3) });
    let door = Chain::new(Day::from_number(DAY + later), Secret::from_bytes([8; 32]));
    NativeKeys { server: [17; 32], door, old_door, newest: Day::from_number(DAY + 20), ..keys(Renewal::Done) }
}

fn renewals() -> [Renewal; 4] {
    [Renewal::Done, Renewal::Due, Renewal::Announced(chain(5)), Renewal::Replaced(chain(6))]
}

#[test]
fn a_native_profile_is_read_as_it_was_written_in_a_file_and_in_a_picture() {
    for renewal in renewals() {
        for bits in 0..16_u8 {
            let mut one = keys(renewal.duplicate());
            one.newest = one.newest.plus(u32::from(bits) * 10);
            let on = |bit: u8| bits & (1 << bit) != 0;
            (one.answers, one.must_bind, one.second_factor, one.source_port) = (on(0), on(1), on(2), on(3));
            let profile = native_profile(one.duplicate());
            same_keys(&read(&native::render(&profile, Show::All)).unwrap(), &one);
            let Keys::Native(seen) = qr::parse(&qr::render(&profile), file("qr")).unwrap().keys else {
                panic!("it was written as native");
            };
            same_keys(&seen, &one);
        }
    }
}

#[test]
fn a_profile_that_has_moved_keeps_the_old_door_beside_and_each_chain_its_day() {
    let stays = file_text(Renewal::Done);
    for later in [0, 20] {
        let text = update(&stays, file("p.toml"), &moved(later)).unwrap();
        same_keys(&read(&text).unwrap(), &moved(later));
        assert_eq!(text.contains("\ndoor_day = 20803\n"), later > 0, "{}", *text);
        // Twice moved: the old one has a day of its own, too.
        let twice = NativeKeys {
            server: [9; 32],
            door: chain(3),
            old_door: Some(KnownDoor { server: [17; 32], chain: moved(later).door }),
            ..moved(later)
        };
        let text = update(&text, file("p.toml"), &twice).unwrap();
        same_keys(&read(&text).unwrap(), &twice);
        assert_eq!(text.contains("\nold_door_day = 20803\n"), later > 0, "{}", *text);
        // The new one has answered: nothing of it is left.
        let back = update(&text, file("p.toml"), &keys(Renewal::Done)).unwrap();
        assert_eq!(back.as_str(), stays);
    }
}

#[test]
fn a_door_by_itself_is_told_from_a_profile_and_read_as_it_was_written() {
    let known = KnownDoor { server: [17; 32], chain: chain(8) };
    let mut paper = door::DoorPaper { host: "home.example.org".into(), port: 4321, door: known, fresh: true };
    assert!(door::parse(&door::lines(&paper), file("d.toml")).unwrap().fresh);
    paper.fresh = false;
    for text in [door::render(&paper), door::lines(&paper)] {
        assert!(door::is_one(&text));
        let read = door::parse(&text, file("d.toml")).unwrap();
        assert_eq!((read.host.as_str(), read.port, read.door.server), ("home.example.org", 4321, [17; 32]));
        assert!(same_chain(&read.door.chain, &chain(8)) && !read.fresh);
        // It has no key of anybody's, and says what it is worth.
        assert!(!text.contains("private_key"));
    }
    assert!(!door::is_one(&file_text(Renewal::Done)) && !door::is_one("server_pubkey = \"x\"\n"));
    let text = door::render(&paper);
    let said = |from: &str, to: &str| {
        let found = door::parse(&text.replace(from, to), file("d.toml")).map(|_| ()).unwrap_err();
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert!(said("port = 4321", "port = 0").contains("d.toml:4:"), "{}", said("port = 4321", "port = 0"));
    assert!(said("door_chain = \"C", "door_chain = \"").contains("d.toml:7:"));
    assert!(said("host = ", "name = ").contains("name"));
    assert!(said("port = 4321\n", "").contains("this is no door"));
}

#[test]
fn half_an_old_door_is_a_mistake() {
    let good = native::render(&native_profile(moved(20)), Show::All);
    let without = |key: &str| {
        let lines = good.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n"));
        read(&lines.collect::<String>()).map(|_| ()).unwrap_err().join(" ")
    };
    assert!(without("old_server_pubkey").contains("old_door_chain stands without old_server_pubkey"));
    assert!(without("old_door_chain").contains("old_server_pubkey stands without old_door_chain"));
    let zero = good.replace("ERERERERERERERERERERERERERERERERERERERERERE=", &text::encode(&[0; 32]));
    assert!(read(&zero).map(|_| ()).unwrap_err().join(" ").contains("server_pubkey is of low order"));
}

#[test]
fn the_shape_of_a_native_profile_is_the_documented_one() {
    let mut one = keys(Renewal::Due);
    (one.answers, one.must_bind, one.newest) = (true, true, one.newest.plus(2));
    assert_eq!(
        native::render(&native_profile(one), Show::Redacted).as_str(),
        "# A Portunus profile. It holds a private key: keep it 0600, and do not send it in the clear.\n\
         name = \"home\"\nhost = \"home.example.org\"\nport = 4321\ndialect = \"native\"\n\
         server_pubkey = \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"\nprivate_key = \"(not shown)\"\n\
         day = 20783\nnewest_day = 20785\ndoor_chain = \"(not shown)\"\nlink_chain = \"(not shown)\"\nfresh = true\n\
         answers = true\nbind = \"must\"\n"
    );
}

#[test]
fn no_secret_of_a_native_profile_is_shown_where_it_should_not_be() {
    for renewal in renewals() {
        let profile = native_profile(keys(renewal));
        let all = native::render(&profile, Show::All);
        let texts = [native::render(&profile, Show::Redacted).to_string(), format!("{profile:?}")];
        for n in [7, 3, 4, 5, 6_u8] {
            let secret = Secret::from_bytes([n; 32]).to_base64();
            assert!(n > 4 || all.contains(&*secret));
            assert!(texts.iter().all(|text| !text.contains(&secret[..10])), "{n}: {texts:?}");
        }
    }
}

#[test]
fn each_mistake_in_a_native_profile_s_keys_has_its_sentence() {
    let good = file_text(Renewal::Announced(chain(5)));
    let all = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        read(&good.replacen(from, to, 1)).map(|_| ()).unwrap_err()
    };
    let said = |from: &str, to: &str| all(from, to).remove(0);
    for key in ["server_pubkey", "private_key", "day", "door_chain", "link_chain"] {
        let line = good.lines().find(|line| line.starts_with(key)).unwrap();
        assert_eq!(
            all(&format!("{line}\n"), ""),
            [format!(
                "p.toml:1:1: the profile has no {key}: get the profile again from the server's `portunus add`"
            )]
        );
    }
    for key in ["private_key", "door_chain", "link_chain", "next_link"] {
        let at = good.lines().position(|line| line.starts_with(key)).unwrap() + 1;
        let column = key.len() + 4;
        let line = good.lines().nth(at - 1).unwrap();
        assert_eq!(
            said(line, &format!("{key} = \"c2VjcmV0\"")),
            format!(
                "p.toml:{at}:{column}: {key} has 6 bytes, not 32: copy the whole of it: 44 characters, the last one is ="
            )
        );
    }
    assert_eq!(
        said("day = 20783", "day = -1"),
        "p.toml:8:7: day is -1: use a whole number from 0 to 4294967295"
    );
    for wrong in ["20782", "30784", "4294967296"] {
        assert_eq!(
            said("day = 20783", &format!("day = 20783\nnewest_day = {wrong}")),
            format!("p.toml:9:14: newest_day is {wrong}: use a whole number from 20783 to 30783")
        );
    }
    assert_eq!(
        said("port = 4321", "port = 4321\nbind = \"never\""),
        "p.toml:5:8: bind is \"never\": use one of: auto, must"
    );
    assert_eq!(
        said("port = 4321", "port = 4321\nfresh = true"),
        "p.toml:12:1: fresh and next_link do not stand in one profile: keep fresh"
    );
    assert_eq!(
        said(
            "server_pubkey = \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"",
            &format!("server_pubkey = {:?}", text::encode(&[0; 32]))
        ),
        "p.toml:7:15: server_pubkey is of low order: no server can have it: get the profile again from the server's \
         `portunus add`"
    );
    assert_eq!(
        all("dialect = \"native\"\n", "").remove(0),
        "p.toml:7:1: day is a key of the native dialect: write dialect = \"native\", or take it out"
    );
    assert_eq!(
        said("door_chain", "dor_chain"),
        "p.toml:9:1: unknown key \"dor_chain\": did you mean \"door_chain\"?"
    );
}

#[test]
fn chains_are_written_anew_and_all_else_stays() {
    let text = "# my laptop's\nname = \"home\" # at home\nhost = \"h\"\nlink_chain = \"BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=\" # L\n\
                dialect = 'native'\nserver_pubkey = \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"\n\n# keys\n\
                private_key = \"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\"\nday=20783   # 2026-11-26\n\
                door_chain = \"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\"\nfresh = true\nopens = [\n  \"22/tcp\",\n]\n# end";
    for text in [text.to_owned(), text.replace('\n', "\r\n"), format!("{text}\n")] {
        let mut now = read(&text).unwrap();
        assert!(matches!(now.renewal, Renewal::Due));
        let untouched = |text: &str| {
            let moving = ["day", "newest_day", "door_chain", "link_chain", "fresh", "next_link", "old_link"];
            let rest = |line: &&str| !moving.iter().any(|key| line.starts_with(key));
            text.lines().filter(rest).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut written = text.clone();
        for (n, renewal) in renewals().into_iter().enumerate() {
            now.newest = now.newest.plus(20);
            now.door.advance(now.newest.minus(5)).unwrap();
            now.link.advance(now.newest.minus(5)).unwrap();
            let day = now.door.day();
            let value = |chain: &Chain| Chain::new(day, chain.value().duplicate());
            now.renewal = match &renewal {
                Renewal::Done => Renewal::Done,
                Renewal::Due => Renewal::Due,
                Renewal::Announced(chain) => Renewal::Announced(value(chain)),
                Renewal::Replaced(chain) => Renewal::Replaced(value(chain)),
            };
            written = update(&written, file("p.toml"), &now).unwrap().to_string();
            same_keys(&read(&written).unwrap(), &now);
            assert_eq!(untouched(&written), untouched(&text), "{n}");
            assert!(written.contains("# L") && written.contains("# 2026-11-26"), "{written}");
            assert_eq!(written.contains("\r\n"), text.contains("\r\n"));
        }
    }
}

#[test]
fn a_profile_written_in_another_way_is_left_to_people() {
    let good = file_text(Renewal::Done);
    let update = |text: &str| update(text, file("p.toml"), &keys(Renewal::Done));
    assert_eq!(update(&good).unwrap().as_str(), good);
    assert!(matches!(update("day = [\n"), Err(EditError::Broken(_))));
    assert!(matches!(update("day.x = 1\n"), Err(EditError::ByHand(_))));
}

#[test]
fn openme_s_file_takes_no_native_profile() {
    let one = native_profile(keys(Renewal::Done));
    let said = "home: openme's file has no place for a profile of the native dialect: use the `portunus` commands for \
                it: portunus join, portunus knock";
    assert_eq!(openme::render(&[&one], Show::All).unwrap_err().to_string(), said);
    assert!(matches!(openme::add("", file("c"), &one), Err(EditError::ByHand(_))));
}

proptest! {
    #[test]
    fn any_keys_survive_the_file(
        secrets in any::<[[u8; 32]; 4]>(), day in any::<u32>(), ahead in 0..=10_000_u32, kind in 0..4_usize, flags in any::<[bool; 4]>(),
    ) {
        let [secret, door, link, other] = secrets;
        let day = Day::from_number(day);
        let chain = |value| Chain::new(day, Secret::from_bytes(value));
        let mut one = keys(Renewal::Done);
        one.public = *PrivateKey::new(&Secret::from_bytes(secret)).unwrap().public();
        one.secret = Secret::from_bytes(secret);
        (one.door, one.link, one.newest) = (chain(door), chain(link), day.plus(ahead));
        one.renewal = match kind {
            0 => Renewal::Done,
            1 => Renewal::Due,
            2 => Renewal::Announced(chain(other)),
            _ => Renewal::Replaced(chain(other)),
        };
        [one.answers, one.must_bind, one.second_factor, one.source_port] = flags;
        let written = file_text(Renewal::Announced(self::chain(5)));
        same_keys(&read(&native::render(&native_profile(one.duplicate()), Show::All)).unwrap(), &one);
        let updated = update(&written, file("p.toml"), &one).unwrap();
        let moved = read(&updated).unwrap();
        prop_assert!(same_chain(&moved.door, &one.door) && same_renewal(&moved.renewal, &one.renewal));
        prop_assert!(same_chain(&moved.link, &one.link) && moved.newest == one.newest);
    }
}
