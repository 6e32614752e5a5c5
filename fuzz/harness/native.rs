//! What no input may break in the native dialect. Shared by the fuzz targets and by the test that replays the corpora
//! (crates/portunus-dialect/tests/corpus.rs).

use std::sync::LazyLock;

use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{FixedEntropy, Secret, blake2s, siphash};
use portunus_dialect::native::{
    Answer, Chain, ClientKeys, Day, Door, DoorDay, Packet, Payload, Pending, seal,
};
use portunus_model::Unix;

struct Scene {
    door: Door,
    today: DoorDay,
    admission: Secret<16>,
    client: PrivateKey,
    shared: Secret<32>,
    link: Chain,
    packet: Vec<u8>,
    pending: Pending,
}

/// Keys that only this file knows, and the one packet of theirs that is in the corpus.
static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let secret = |n| Secret::from_bytes([n; 32]);
    let (door, client) = (Door::new(&secret(1)).unwrap(), PrivateKey::new(&secret(2)).unwrap());
    let stamp = Unix::from_secs(1_795_694_400);
    let day = Day::of(stamp).unwrap();
    let (chain, link) = (Chain::new(day, secret(3)), Chain::new(day, secret(4)));
    let keys = ClientKeys { server: *door.public(), client: &client, door: &chain, link: &link };
    let random: Vec<_> = (0..=255).cycle().take(4096).map(|n: u8| n.wrapping_mul(37) ^ 5).collect();
    let (packet, pending) = seal(&keys, &Payload::knock(stamp), &mut FixedEntropy::new(&random)).unwrap();
    let today = door.day(&chain, day).unwrap();
    let admission = blake2s::keyed(chain.value(), b"portunus/1 admission");
    let admission = Secret::from_bytes(admission.expose()[..16].try_into().unwrap());
    let shared = door.shared_with(client.public()).unwrap();
    Scene { door, today, admission, client, shared, link, packet, pending }
});

/// Any bytes, tagged as somebody inside could: only the one packet that the client sealed opens. Nor is anything but the
/// server's own answer read as one.
pub(crate) fn open(data: &[u8]) {
    let scene = &*SCENE;
    assert!(scene.pending.open(&scene.client, data).is_err());
    let Some((_, tagged)) = data.split_first_chunk::<8>() else { return };
    let tagged = [&siphash::hash(&scene.admission, tagged).to_le_bytes()[..], tagged].concat();
    let Some(packet) = Packet::new_checked(&tagged) else { return };
    assert!(scene.today.admits(&packet));
    let identified = scene.door.identify(&scene.today, &packet);
    let opened = identified.and_then(|identified| identified.open(&scene.shared, scene.link.value()));
    assert_eq!(opened.is_ok(), tagged == scene.packet);
}

/// The packet of the corpus.
pub(crate) fn packet() -> Vec<u8> {
    SCENE.packet.clone()
}

/// Any text behind the seal, of a knock and of an answer: what is read is what is written, and read again the same.
pub(crate) fn said(data: &[u8]) {
    if let Ok(payload) = Payload::read(data)
        && let Ok(written) = payload.write()
    {
        assert!(Payload::read(&written) == Ok(payload));
    }
    if let Ok(answer) = Answer::read(data) {
        assert!(Answer::read(&answer.write()) == Ok(answer));
    }
}
