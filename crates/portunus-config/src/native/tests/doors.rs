//! The native dialect: its doors' keys, its clients, and what its knocks can name.

use portunus_crypto::x25519::PrivateKey;
use portunus_model::{ClientKey, DoorRole, NativeRule, Service};

use super::*;
use crate::DoorKey;

const KEYS: &str = "/etc/portunus/keys";

fn pair(n: u8) -> (Secret<32>, [u8; 32]) {
    let secret = Secret::from_bytes([n; 32]);
    let public = *PrivateKey::new(&secret).unwrap().public();
    (secret, public)
}

fn speaking(files: Memory, words: &str) -> Memory {
    let text = server_text(&init()).replace("# dialects = [\"openme\"]", &format!("dialects = {words}"));
    files.with("/etc/portunus/portunus.toml", text)
}

fn door(files: Memory, name: &str, n: u8) -> Memory {
    files.with(&format!("{KEYS}/{name}"), key_text(&pair(n).0).as_str())
}

/// As `init` makes it, with two clients of openme's.
fn both() -> Memory {
    door(speaking(folder(), "[\"native\", \"openme\"]"), "native.key", 20)
}

fn carol(n: u8, rule: NativeRule) -> NewClient {
    let mut carol = NewClient::new(ClientName::new("carol").unwrap(), pair(n).1);
    carol.native = Some(rule);
    carol
}

fn said(files: &Memory) -> Vec<String> {
    loaded(files).map(|_| ()).unwrap_err()
}

fn said_of_carol(text: &str) -> String {
    let said = said(&both().with("/etc/portunus/clients/carol.toml", text));
    assert_eq!(said.len(), 1, "{said:?}");
    said[0].strip_prefix("/etc/portunus/clients/carol.toml:").unwrap_or(&said[0]).to_owned()
}

#[test]
fn what_init_and_add_write_for_the_native_dialect_means_what_it_says() {
    let dialects = vec![Dialect::Native, Dialect::Openme];
    let text = server_text(&Init { dialects, ..init() });
    let rule = NativeRule { answers: true, must_bind: true, second_factor: false };
    let mut new = carol(31, rule);
    new.services = vec!["web".into()];
    let files = both()
        .with("/etc/portunus/portunus.toml", text)
        .with("/etc/portunus/clients/carol.toml", client_text(&new))
        .with(
            "/etc/portunus/clients/dave.toml",
            client_text(&{
                let mut dave = carol(32, NativeRule::default());
                dave.name = ClientName::new("dave").unwrap();
                dave
            }),
        );
    let settings = loaded(&files).unwrap();
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert!(settings.secrets.openme.is_some());
    assert!(settings.secrets.native == [DoorKey { role: DoorRole::Current, secret: pair(20).0 }]);
    let [_, _, carol, dave] = &settings.rules.clients[..] else { panic!("four clients") };
    assert_eq!((carol.key, carol.native), (ClientKey::Native(pair(31).1), rule));
    assert_eq!(&*carol.ports, ports(&["80/tcp", "443", "54154/tcp"]));
    assert_eq!((dave.key, dave.native), (ClientKey::Native(pair(32).1), NativeRule::default()));
    let service = |name: &str, words: &[&str]| Service { name: name.into(), ports: ports(words).into() };
    assert_eq!(settings.rules.services, [service("ssh", &["22/tcp"]), service("web", &["80/tcp", "443"])]);
    assert_eq!(&*settings.rules.always, ports(&["54154/tcp"]));
    assert!(settings.sources.contains(&PathBuf::from(KEYS)), "a door that is added is seen");
    let entries = clients(&files, Path::new(DIR)).unwrap();
    assert_eq!((entries[2].native, entries[3].native), (rule, NativeRule::default()));
    let shown = format!("{settings:?}");
    assert!(!shown.contains(&*pair(20).0.to_base64()) && !shown.contains("20, 20, 20"), "{shown}");
}

#[test]
fn where_it_is_not_spoken_nothing_can_be_named() {
    let settings = loaded(&door(folder(), "native.key", 20)).unwrap();
    assert!(settings.secrets.native.is_empty());
    assert!(settings.rules.services.is_empty() && settings.rules.always.is_empty());
    let mut files = speaking(both(), "[\"native\"]");
    files.0.remove(Path::new("/etc/portunus/clients/alice.toml"));
    files.0.remove(Path::new("/etc/portunus/clients/bob.toml"));
    files.0.remove(Path::new("/etc/portunus/keys/openme.key"));
    let settings = loaded(&files).unwrap();
    assert!(settings.secrets.openme.is_none() && settings.secrets.native.len() == 1);
    let text = server_text(&init()).replace("# health = true", "health = false\ndialects = [\"native\"]");
    let settings = loaded(&files.with("/etc/portunus/portunus.toml", text)).unwrap();
    assert!(settings.rules.always.is_empty() && settings.rules.services.len() == 2);
}

#[test]
fn doors_come_in_the_order_of_their_names_behind_the_current_one() {
    let files = door(door(both(), "native-b.key", 22), "native-a.key", 21);
    let settings = loaded(&door(files, "native-.key", 9)).unwrap();
    let wanted = [(DoorRole::Current, 20), (DoorRole::Another, 21), (DoorRole::Another, 22)];
    let wanted = wanted.map(|(role, n)| DoorKey { role, secret: pair(n).0 });
    assert!(settings.secrets.native == wanted);
    // By their names they are known.
    let files = door(door(door(both(), "native-next.key", 21), "native-invite.key", 22), "native-z.key", 23);
    let settings = loaded(&files).unwrap();
    let roles: Vec<DoorRole> = settings.secrets.native.iter().map(|door| door.role).collect();
    assert_eq!(roles, [DoorRole::Current, DoorRole::Invitations, DoorRole::Next, DoorRole::Another]);
    assert!(settings.secrets.door_for_new() == Some(&pair(21).0));
    assert!(settings.secrets.door(DoorRole::Apart).is_none());
}

#[test]
fn what_is_wrong_with_a_door_is_said() {
    let mut none = both();
    none.0.remove(Path::new("/etc/portunus/keys/native.key"));
    assert_eq!(
        said(&none),
        [
            "/etc/portunus/keys/native.key: the server's private key is not there: make it with `portunus init \
          --force`, with the --host, --port and --dialects it had (every key and client stays, and the old file is kept as \
          portunus.toml.old), or copy it from the old server"
        ]
    );
    let cut = both().with(&format!("{KEYS}/native-next.key"), "AAAA\n");
    assert_eq!(
        said(&cut),
        [
            "/etc/portunus/keys/native-next.key:1:1: the key has 3 bytes, not 32: copy the whole private key: 44 \
          characters, the last one is ="
        ]
    );
    let same = "another of the server's keys is the same: take one of the two files away, and make a key of its own for \
                what shall have one";
    assert_eq!(said(&door(both(), "native-next.key", 20)), [format!("{KEYS}/native-next.key: {same}")]);
    assert_eq!(said(&door(both(), "native.key", 3)), [format!("{KEYS}/native.key: {same}")]);
    let five = (1..5).fold(both(), |files, n| door(files, &format!("native-{n}.key"), 20 + n));
    assert_eq!(
        said(&five),
        [format!(
            "{KEYS}/native-4.key: there are 5 doors, and 4 can stand at once: take away the keys of doors that nobody \
             uses any more"
        )]
    );
}

#[test]
fn what_is_wrong_with_a_native_client_is_said() {
    let written = |key: &[u8]| format!("dialect = \"native\"\npublic_key = \"{}\"\n", text::encode(key));
    let good = written(&pair(31).1);
    let with = |more: &str| said_of_carol(&format!("{good}{more}\n"));
    assert_eq!(
        with("answers = 1"),
        "3:11: answers is a number, not true or false: write true or false, without quotes"
    );
    assert_eq!(with("bind = \"always\""), "3:8: bind is \"always\": use one of: auto, must");
    assert_eq!(with("bnd = \"must\""), "3:1: unknown key \"bnd\": did you mean \"bind\"?");
    assert!(with("key_base64 = \"AA==\"").starts_with("3:1: unknown key \"key_base64\""));
    assert_eq!(
        said_of_carol("dialect = \"native\"\n"),
        "1:1: client \"carol\" has no public_key: add it with `portunus add`, or take the client out"
    );
    assert_eq!(
        said_of_carol(&written(&[1; 31])),
        "2:14: public_key has 31 bytes, not 32: copy the whole public key: 44 characters, the last one is ="
    );
    let mut high = [0xff; 32];
    high[31] = 0x7f;
    assert_eq!(
        said_of_carol(&written(&high)),
        "2:14: public_key is not an X25519 public key in its one spelling: make new keys for this client with `add`"
    );
    assert_eq!(
        said_of_carol(&written(&[0; 32])),
        "2:14: public_key is an X25519 public key of low order, with which anybody shares the secret: make new keys for \
         this client with `add`"
    );
    assert_eq!(
        said_of_carol(&written(&pair(20).1)),
        "2:14: the key of \"carol\" is the server's own: put the client's own public key here, as `add` prints it"
    );
    assert_eq!(
        said_of_carol(&written(&pair(3).1)),
        "2:14: the key of \"carol\" is the server's own: put the client's own public key here, as `add` prints it"
    );
    let twice = both()
        .with("/etc/portunus/clients/carol.toml", good.clone())
        .with("/etc/portunus/clients/dave.toml", good.clone());
    assert_eq!(
        said(&twice),
        [
            "/etc/portunus/clients/dave.toml:2:14: the key of \"dave\" is also that of \"carol\": give each client a key \
          of its own, with `add`"
        ]
    );
}

#[test]
fn a_client_of_another_dialect_is_told_so() {
    let native = client_text(&carol(31, NativeRule::default()));
    let unspoken = folder().with("/etc/portunus/clients/carol.toml", native.clone());
    assert_eq!(
        said(&unspoken),
        [
            "/etc/portunus/clients/carol.toml:1:1: client \"carol\" knocks in the native dialect, and the server does not \
          speak that: write dialects = [\"native\", \"openme\"] into portunus.toml"
        ]
    );
    // A word that nobody understands leaves out nobody's clients, and needs nobody's key.
    let unsure = speaking(unspoken, "[\"openme\", \"nativ\"]");
    assert_eq!(said(&unsure).len(), 1, "{:?}", said(&unsure));
    let theirs = format!("{}answers = true\n", client_text(&new("carol", 40)));
    assert_eq!(
        said_of_carol(&theirs),
        "3:1: answers is for a client of the native dialect, and this one is openme's: take it out, or add the client \
         anew with `portunus add`"
    );
    assert_eq!(
        said_of_carol(
            &native.replace("\"native\"", "\"nativ\"").replace("public_key", "bind = \"must\"\npublic_key")
        ),
        "1:11: dialect is \"nativ\": use one of: native, openme, fwknop"
    );
}

/// One file for many: the same words, the same place.
#[test]
fn native_clients_stand_in_one_file_too() {
    let text = format!("[carol]\n{}bind = \"auto\"\n", client_text(&carol(31, NativeRule::default())));
    let files = both().with("/etc/portunus/clients.toml", text.clone());
    let settings = loaded(&files).unwrap();
    assert_eq!(settings.rules.clients[2].key, ClientKey::Native(pair(31).1));
    let wrong = both().with("/etc/portunus/clients.toml", text.replace("auto", "may"));
    assert_eq!(said(&wrong), ["/etc/portunus/clients.toml:4:8: bind is \"may\": use one of: auto, must"]);
}

#[test]
fn the_secret_of_one_time_codes_stands_with_its_client_and_is_shown_to_nobody() {
    let mut new = carol(31, NativeRule { second_factor: true, ..NativeRule::default() });
    new.code = Some(crate::OneTime::new(Secret::from_bytes([7; 20])));
    let text = client_text(&new);
    assert!(text.contains("totp = \"A4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYH\"\n"), "{text}");
    assert!(!format!("{new:?}").contains("A4DQ"));
    let files = both().with("/etc/portunus/clients/carol.toml", text);
    let settings = loaded(&files).unwrap();
    assert_eq!(settings.rules.clients[2].native, new.native.unwrap());
    assert!(settings.secrets.codes == [(pair(31).1, Secret::from_bytes([7; 20]))]);
    let shown = format!("{settings:?}");
    assert!(!shown.contains("A4DQ") && !shown.contains("7, 7, 7"), "{shown}");
    // One that cannot be read is a mistake, and no client without a second factor.
    let plain = client_text(&carol(31, NativeRule::default()));
    assert_eq!(
        said_of_carol(&format!("{plain}totp = \"A4DQ\"\n")),
        "3:8: totp is no secret of one-time codes: make it anew with `portunus add NAME --totp`: it is 32 letters A-Z and digits 2-7"
    );
    let openme = plain.replace("native", "openme");
    let files = both().with("/etc/portunus/clients/carol.toml", format!("{openme}totp = \"A4DQ\"\n"));
    assert!(said(&files).concat().contains("totp is for a client of the native dialect"));
}
