use std::path::Path;

use portunus_client::{Request, Seal, Sealer, Way};
use portunus_config::profile::{Profile, Show};
use portunus_crypto::Secret;
use portunus_crypto::x25519::PrivateKey;
use portunus_dialect::native::{Chain, Day};

use super::*;

fn today() -> Day {
    Day::of(portunus_sys::clock::wall()).unwrap()
}

/// A profile's text as `add` printed it `ago` days ago, with a remark of its owner's.
fn text(ago: u32, renewal: Renewal) -> String {
    let day = today().minus(ago);
    let chain = |n| Chain::new(day, Secret::from_bytes([n; 32]));
    let secret = Secret::from_bytes([2; 32]);
    let keys = NativeKeys {
        server: *PrivateKey::new(&Secret::from_bytes([1; 32])).unwrap().public(),
        public: *PrivateKey::new(&secret).unwrap().public(),
        secret,
        door: chain(3),
        old_door: None,
        link: chain(4),
        newest: day,
        renewal,
        answers: false,
        must_bind: false,
        second_factor: false,
        source_port: false,
    };
    let profile = Profile {
        name: "home".into(),
        host: "127.0.0.1".into(),
        port: 9,
        health: false,
        health_port: None,
        keys: Keys::Native(Box::new(keys)),
        post_knock: None,
        opens: Vec::new(),
    };
    format!("# mine\n{}# end\n", native::render(&profile, Show::All).as_str())
}

fn put(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("home.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(PRIVATE)).unwrap();
    path
}

fn read(path: &Path) -> NativeKeys {
    let text = std::fs::read_to_string(path).unwrap();
    match native::parse(&text, path).unwrap().keys {
        Keys::Native(keys) => *keys,
        Keys::Openme { .. } => panic!("it was written as native"),
    }
}

fn ready(keys: NativeKeys) -> Sealer {
    Sealer::new(&Keys::Native(Box::new(keys)), Request::default()).unwrap()
}

/// A run: ready, one knock, kept.
fn run(path: &Path) -> (Keeper, NativeKeys) {
    let mut keeper = Keeper::new("test", path.to_owned());
    let mut sealer = ready(read(path));
    keeper.prepare(sealer.native_mut().unwrap());
    let to = "127.0.0.1:9".parse().unwrap();
    sealer.seal(&Way { to, from: [127, 0, 0, 1].into(), target: None, source_port: None }).unwrap();
    keeper.keep(sealer.native_mut().unwrap());
    let keys = sealer.native().unwrap().keys().duplicate();
    (keeper, keys)
}

#[test]
fn a_knock_moves_the_keys_on_and_leaves_all_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), &text(20, Renewal::Done).replace("port = 9", "port = 9 # echo"));
    let (keeper, _) = run(&path);
    let after = read(&path);
    assert!(!keeper.warned && after.door.day() == today().minus(20) && after.newest == today());
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.starts_with("# mine\n") && written.ends_with("# end\n") && written.contains("9 # echo"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
    // The second knock of a day has nothing to write.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    assert!(!run(&path).0.warned);
}

/// Today's value of the link that is announced.
fn announced(keys: &NativeKeys) -> Secret<32> {
    match &keys.renewal {
        Renewal::Announced(link) => link.at(today()).unwrap(),
        Renewal::Done | Renewal::Due | Renewal::Replaced(_) => panic!("nothing is announced"),
    }
}

#[test]
fn a_link_of_its_own_is_on_the_disk_before_it_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), &text(0, Renewal::Due));
    let (_, used) = run(&path);
    assert!(announced(&used) == announced(&read(&path)));
    // It stays the same one, whoever knocks next.
    let (_, again) = run(&path);
    assert!(announced(&again) == announced(&used));
}

#[test]
fn eight_that_knock_at_once_announce_the_same_link() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), &text(3, Renewal::Due));
    let used: Vec<_> = std::thread::scope(|scope| {
        let knocks: Vec<_> = (0..8).map(|_| scope.spawn(|| run(&path).1)).collect();
        knocks.into_iter().map(|knock| knock.join().unwrap()).collect()
    });
    let last = read(&path);
    assert!(used.iter().all(|keys| announced(keys) == announced(&last)) && last.newest == today());
}

#[test]
fn a_profile_that_cannot_be_written_knocks_under_its_old_link_and_warns() {
    let dir = tempfile::tempdir().unwrap();
    let before = text(3, Renewal::Due);
    let path = put(dir.path(), &before);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    let (keeper, used) = run(&path);
    assert!(keeper.warned && matches!(used.renewal, Renewal::Due));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn a_profile_with_all_that_it_may_have_fits_in_a_picture() {
    let chain = Chain::new(today(), Secret::from_bytes([5; 32]));
    let text =
        text(20, Renewal::Announced(chain)).replace("127.0.0.1", &format!("{}.example.org", "a".repeat(63)));
    let mut profile = native::parse(&text, Path::new("home.toml")).unwrap();
    profile.post_knock = Some("x".repeat(200));
    profile.opens =
        (1..=40).flat_map(|port| portunus_model::PortSpec::parse(&port.to_string()).unwrap()).collect();
    assert!(crate::picture::of(&profile).is_ok());
}

#[test]
fn another_client_s_profile_in_its_place_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), &text(3, Renewal::Due));
    let mut keeper = Keeper::new("test", path.clone());
    let mut keys = read(&path);
    keys.public = [8; 32];
    keeper.prepare(ready(keys).native_mut().unwrap());
    assert!(matches!(read(&path).renewal, Renewal::Due) && !keeper.warned);
}
