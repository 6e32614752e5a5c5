//! A knock is noise: nobody without a key can tell it from as many random bytes. 20,000 of each kind, and tests that see
//! what is no noise: openme's and fwknop's packets, and Elligator with each of its randomisations left out.
//!
//! The randomness is drawn from a fixed seed, so that a test passes or fails for good. Bounds are those of 99.9 % for all
//! the statistics of one kind together.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a test may fail where it stands, and counts are small"
)]

mod statistics;

use portunus_crypto::ed25519::SigningKey;
use portunus_crypto::elligator::distinguisher::{self, Fault};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Entropy, EntropyFailed, Secret, blake2s};
use portunus_dialect::native::{
    Answer, Chain, ClientKeys, Day, Door, LONGEST, Packet, Payload, SHORTEST, SHORTEST_ANSWER, Status, seal,
};
use portunus_dialect::openme;
use portunus_model::Unix;
use statistics::{Verdict, look, look_at_representatives};

const MANY: usize = 20_000;
const NOON: i64 = 1_795_694_400;

/// BLAKE2s of a count: as good as random, and the same in each run.
struct Seeded(u64);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailed> {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            let block = blake2s::hash(&[b"noise", &self.0.to_le_bytes()]);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

struct Ends {
    door: Door,
    client: PrivateKey,
    chain: Chain,
    link: Chain,
}

impl Ends {
    fn new() -> Self {
        let secret = |n| Secret::from_bytes([n; 32]);
        let day = Day::of(Unix::from_secs(NOON)).unwrap();
        Self {
            door: Door::new(&secret(1)).unwrap(),
            client: PrivateKey::new(&secret(2)).unwrap(),
            chain: Chain::new(day, secret(3)),
            link: Chain::new(day, secret(4)),
        }
    }

    /// The same words each time, at the same time: all that differs is what must be noise.
    fn knock(&self, entropy: &mut dyn Entropy) -> Vec<u8> {
        let keys = ClientKeys {
            server: *self.door.public(),
            client: &self.client,
            door: &self.chain,
            link: &self.link,
        };
        seal(&keys, &Payload::knock(Unix::from_secs(NOON)), entropy).unwrap().0
    }
}

fn knocks() -> Vec<Vec<u8>> {
    let (ends, mut entropy) = (Ends::new(), Seeded(0));
    (0..MANY).map(|_| ends.knock(&mut entropy)).collect()
}

#[test]
fn knocks_are_noise() {
    let knocks = knocks();
    assert_eq!(look(&knocks, SHORTEST..=LONGEST), Verdict::Noise);
    let representatives = knocks.iter().map(|knock| knock[8..40].try_into().unwrap()).collect::<Vec<_>>();
    assert_eq!(look_at_representatives(&representatives), Verdict::Noise);
}

#[test]
fn answers_are_noise() {
    let (ends, mut entropy) = (Ends::new(), Seeded(1 << 32));
    let day = Day::of(Unix::from_secs(NOON)).unwrap();
    let keys = ends.door.day(&ends.chain, day).unwrap();
    let shared = ends.door.shared_with(ends.client.public()).unwrap();
    let knock = ends.knock(&mut entropy);
    let packet = Packet::new_checked(&knock).unwrap();
    let identified = ends.door.identify(&keys, &packet).unwrap();
    let mut answer = || {
        let answer = Answer {
            status: Status::Granted,
            seconds: 30,
            seen: Some([192, 0, 2, 7].into()),
            time: Unix::from_secs(NOON),
            door: None,
        };
        let opened = identified.open(&shared, ends.link.value()).unwrap();
        opened.reply.seal(&answer, &mut entropy).unwrap()
    };
    let answers: Vec<_> = (0..MANY).map(|_| answer()).collect();
    assert_eq!(look(&answers, SHORTEST_ANSWER..=SHORTEST), Verdict::Noise);
    let representatives = answers.iter().map(|answer| answer[..32].try_into().unwrap()).collect::<Vec<_>>();
    assert_eq!(look_at_representatives(&representatives), Verdict::Noise);
}

/// The tests see: no packet of the other dialects passes for noise.
#[test]
fn packets_of_the_others_are_told_from_noise() {
    let mut entropy = Seeded(2 << 32);
    let server = PrivateKey::new(&Secret::from_bytes([5; 32])).unwrap();
    let keys = openme::ClientKeys {
        server: *server.public(),
        client: SigningKey::new(&Secret::from_bytes([6; 32])).unwrap(),
    };
    let mut seal = || {
        let wish = openme::Wish::default();
        openme::seal(&keys, wish, Unix::from_secs(NOON), &mut entropy).unwrap()
    };
    let packets: Vec<_> = (0..MANY).map(|_| seal().to_vec()).collect();
    assert!(matches!(look(&packets, openme::LENGTH..=openme::LENGTH), Verdict::Bit { .. }));
    // Without its constant byte it still is known: by its raw curve point, whose top bit is never set.
    let bare: Vec<_> = packets.iter().map(|packet| packet[1..].to_vec()).collect();
    assert!(matches!(look(&bare, openme::LENGTH - 1..=openme::LENGTH - 1), Verdict::Bit { .. }));

    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/fwknop");
    let fwknop = packets_in(folder);
    assert!(fwknop.len() > 100 && matches!(look(&fwknop, 0..=1500), Verdict::Bit { .. }));
}

/// The packets of fwknop's vectors, as they travelled: whatever stands behind a blank line.
#[expect(clippy::disallowed_methods, reason = "a test reads its vectors itself")]
fn packets_in(folder: &str) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let packets = |text: String| {
        let parts = text.split("\n\n").skip(1);
        parts.map(|part| part.split_whitespace().collect::<String>().into_bytes()).collect::<Vec<_>>()
    };
    texts.flat_map(packets).filter(|packet| packet.len() >= 100).collect()
}

/// Each of the three things that are easily left out, and what shows it.
#[test]
fn elligator_with_a_randomisation_left_out_is_told_from_noise() {
    let mut entropy = Seeded(3 << 32);
    let mut made = |fault| {
        let all: Vec<_> = (0..2000).map(|_| distinguisher::faulty(fault, &mut entropy).unwrap()).collect();
        look_at_representatives(&all)
    };
    assert_eq!(made(Fault::SpareBits), Verdict::SpareBits);
    assert_eq!(made(Fault::Sign), Verdict::Sign);
    assert_eq!(made(Fault::PrimeOrder), Verdict::PrimeOrder);
}

/// All public keys known, and all secret ones but those of the two clients: still nothing in a knock says whose it is.
/// What can be computed of it is the tag's and the representative's; both are the same for everybody.
#[test]
fn who_has_every_public_key_cannot_link_two_knocks() {
    let (alice, mut entropy) = (Ends::new(), Seeded(4 << 32));
    let bob = Ends { client: PrivateKey::new(&Secret::from_bytes([9; 32])).unwrap(), ..Ends::new() };
    let sealed = |ends: &Ends, entropy: &mut Seeded| ends.knock(entropy)[40..88].to_vec();
    let hers: Vec<_> = (0..MANY / 4).map(|_| sealed(&alice, &mut entropy)).collect();
    let both: Vec<_> =
        (0..MANY / 4).map(|n| sealed(if n % 2 == 0 { &alice } else { &bob }, &mut entropy)).collect();
    // The exclusive or of two knocks of one client is as much noise as that of two clients'.
    let differences = |all: &[Vec<u8>]| -> Vec<Vec<u8>> {
        all.chunks_exact(2).map(|pair| pair[0].iter().zip(&pair[1]).map(|(a, b)| a ^ b).collect()).collect()
    };
    assert_eq!(look(&differences(&hers), 48..=48), Verdict::Noise);
    assert_eq!(look(&differences(&both), 48..=48), Verdict::Noise);
    // A sealed name that was the same each time, as an identifier would be, is seen at once.
    let same: Vec<_> = (0..2000).map(|_| hers[0].clone()).collect();
    assert!(matches!(look(&differences(&same), 48..=48), Verdict::Bit { .. }));
}
