//! What no input may break in the fwknop dialect. Shared by the fuzz targets and by the test that replays the corpora
//! (crates/portunus-dialect/tests/corpus.rs).

use std::sync::LazyLock;

use portunus_crypto::FixedEntropy;
use portunus_dialect::fwknop::{
    self, Envelope, HashType, Keys, Message, Mode, OpenError, Packet, Wish, envelope,
};
use portunus_dialect::{Ask, Knock};
use portunus_model::{Proto, Unix};

const SALT: [u8; 8] = [0x5a; 8];

struct Scene {
    hmac: Keys,
    bare: Keys,
}

/// Keys that only this file knows.
static SCENE: LazyLock<Scene> = LazyLock::new(|| Scene {
    hmac: Keys::new(&[0x51; 32], Mode::Cbc, Some((HashType::Sha256, &[0xc1; 64]))).unwrap(),
    bare: Keys::new(&[0x51; 32], Mode::Cbc, None).unwrap(),
});

/// The one packet of each keys that is in the corpus.
static PACKETS: LazyLock<[String; 2]> = LazyLock::new(|| {
    let message = Message::Access { address: None, ports: vec![(Proto::Tcp, 22)] };
    [&SCENE.hmac, &SCENE.bare].map(|keys| seal(keys, &Wish::new("fuzz", message.clone()), 7, 1_795_217_501))
});

/// Any bytes: only the one packet that each keys made is a knock.
pub(crate) fn open(data: &[u8]) {
    for (keys, packet) in [&SCENE.hmac, &SCENE.bare].into_iter().zip(&*PACKETS) {
        assert_eq!(prove(keys, data).is_ok(), data == packet.as_bytes());
    }
}

/// The packets of the corpus.
pub(crate) fn packets() -> [&'static [u8]; 2] {
    [PACKETS[0].as_bytes(), PACKETS[1].as_bytes()]
}

/// Any text inside a packet that is authentic: it is refused, or ours writes a packet that says the same.
pub(crate) fn text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Envelope { wire, .. } = envelope(&SCENE.bare, &text, HashType::Sha1, SALT);
    let Ok(knock) = prove(&SCENE.bare, wire.as_bytes()) else { return };
    let Ask::Fwknop(asked) = knock.ask() else { unreachable!("it is fwknop's") };
    let again = seal(&SCENE.bare, &asked.wish, asked.random.parse().unwrap(), asked.stamp);
    let again = prove(&SCENE.bare, again.as_bytes()).unwrap();
    assert_eq!((again.ask(), again.stamp(), again.target()), (knock.ask(), knock.stamp(), knock.target()));
}

fn prove(keys: &Keys, bytes: &[u8]) -> Result<Knock, OpenError> {
    keys.open(&Packet::new_checked(bytes).ok_or(OpenError::Shape)?)
}

fn seal(keys: &Keys, wish: &Wish, random: u64, stamp: u64) -> String {
    let entropy = [random.to_be_bytes(), SALT].concat();
    let stamp = Unix::from_secs(i64::try_from(stamp).unwrap());
    fwknop::seal(keys, wish.clone(), stamp, &mut FixedEntropy::new(&entropy)).unwrap().wire
}
