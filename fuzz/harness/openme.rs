//! What no input may break in the openme dialect. Shared by the fuzz targets and by the test that replays the corpora
//! (crates/portunus-dialect/tests/corpus.rs).

use std::net::IpAddr;
use std::sync::LazyLock;

use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::{FixedEntropy, Secret};
use portunus_dialect::openme::{self, ClientKeys, LENGTH, ServerKey, VerifyingKey, Wish};
use portunus_dialect::{Candidate, Knock, recognise};
use portunus_model::Unix;

struct Scene {
    server: ServerKey,
    client: ClientKeys,
    public: VerifyingKey,
    packet: [u8; LENGTH],
}

/// Keys that only this file knows, and the one packet of theirs that is in the corpus.
static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let server = ServerKey::new(&Secret::from_bytes([0x51; 32])).unwrap();
    let client = SigningKey::new(&Secret::from_bytes([0xc1; 32])).unwrap();
    let public = VerifyingKey::new(*client.public()).unwrap();
    let client = ClientKeys { server: *server.public(), client };
    let packet = seal(&client, 1_700_000_000_000_000_000, None, &[7; 60]);
    Scene { server, client, public, packet }
});

/// Any bytes: only the one packet that the client signed is a knock.
pub(crate) fn open(data: &[u8]) {
    assert_eq!(prove(data).is_some(), *data == SCENE.packet);
}

/// The packet of the corpus.
pub(crate) fn packet() -> [u8; LENGTH] {
    SCENE.packet
}

/// A stamp, a target, randomness and then changes (where, by what): what is sealed opens to what was wished, and with
/// any byte changed it does not open.
pub(crate) fn round_trip(data: &[u8]) {
    let Some((stamp, rest)) = data.split_first_chunk::<8>() else { return };
    let Some((target, rest)) = rest.split_first_chunk::<16>() else { return };
    let Some((random, changes)) = rest.split_first_chunk::<60>() else { return };
    let (stamp, target) = (i64::from_be_bytes(*stamp), IpAddr::from(*target));
    let sealed = seal(&SCENE.client, stamp, Some(target), random);

    let mut changed = sealed;
    for change in changes.chunks_exact(2).take(8) {
        changed[usize::from(change[0]) % LENGTH] ^= change[1];
    }
    let knock = prove(&changed);
    assert_eq!(knock.is_some(), changed == sealed);
    let Some(knock) = knock else { return };
    assert_eq!(knock.stamp(), Unix::from_nanos(i128::from(stamp)));
    assert_eq!(knock.target(), Some(target.to_canonical()).filter(|target| !target.is_unspecified()));
}

fn prove(bytes: &[u8]) -> Option<Knock> {
    let Candidate::Openme(packet) = recognise(bytes)? else { return None };
    SCENE.server.unseal(&packet).ok()?.verify(&SCENE.public)
}

fn seal(keys: &ClientKeys, stamp: i64, target: Option<IpAddr>, random: &[u8; 60]) -> [u8; LENGTH] {
    let stamp = Unix::from_nanos(i128::from(stamp));
    openme::seal(keys, Wish { target }, stamp, &mut FixedEntropy::new(random)).unwrap()
}
