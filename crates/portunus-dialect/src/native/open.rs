//! From a datagram to what a client said, in three steps, each with its own key: the day's tag, the door, the link.

use std::fmt;
use std::time::Duration;

use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Entropy, LibraryRefused, Secret, blake2s, elligator, siphash, totp};
use portunus_model::{Claim, ClaimKey, ClientKey, Unix};

use super::answer::{self, Answer, AnswerError};
use super::chain::{Chain, ChainError, Day};
use super::noise::{self, NoiseError, Symmetric};
use super::packet::Packet;
use super::payload::{Code, Kind, Malformed, Payload};
use crate::{Ask, Knock};

const ADMISSION: &[u8] = b"portunus/1 admission";
const PSK0: &[u8] = b"portunus/1 psk0";
const CLAIM: &[u8] = b"portunus/1 claim";
const CODE: &[u8] = b"portunus/1 code";

/// The static key of a door.
pub struct Door(PrivateKey);

/// What a door needs to know a knock of one day by; made once a day.
pub struct DoorDay {
    day: Day,
    admission: Secret<16>,
    start: Symmetric,
}

/// Why a datagram says nothing to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its ephemeral key, or the client's, is of low order.
    #[error("a key in it is of low order")]
    LowOrder,
    /// Not for this door, or not with this link.
    #[error("it is not sealed with these keys")]
    Forged,
    /// Sealed by who may, and nonsense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its timestamp is of another day than its keys.
    #[error("its timestamp is not of the day of its keys")]
    OtherDay,
    /// No memory.
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

impl From<NoiseError> for OpenError {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::LowOrder => Self::LowOrder,
            NoiseError::Forged => Self::Forged,
            NoiseError::Library(refused) => Self::Library(refused),
        }
    }
}

impl Door {
    /// The door with this X25519 secret.
    ///
    /// # Errors
    /// [`LibraryRefused`]: no memory.
    pub fn new(secret: &Secret<32>) -> Result<Self, LibraryRefused> {
        PrivateKey::new(secret).map(Self)
    }

    /// What clients know it by.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        self.0.public()
    }

    /// Its keys of one day.
    ///
    /// # Errors
    /// [`ChainError`]: the chain has none for that day.
    pub fn day(&self, chain: &Chain, day: Day) -> Result<DoorDay, ChainError> {
        Ok(DoorDay::new(day, &chain.at(day)?, self.public()))
    }

    /// The Diffie-Hellman of this door and a client: the same for all its knocks, so it is kept with the client.
    ///
    /// # Errors
    /// [`OpenError::LowOrder`]: that is no client's key.
    pub fn shared_with(&self, client: &[u8; 32]) -> Result<Secret<32>, OpenError> {
        self.0.agree(client).map_err(|_| OpenError::LowOrder)
    }

    /// Whose a knock would be: one Diffie-Hellman. Whoever knows the day's key can write any client's name here, so
    /// nothing may be counted against it.
    ///
    /// # Errors
    /// [`OpenError`] says why nobody's.
    pub fn identify<'a>(&self, today: &DoorDay, packet: &Packet<'a>) -> Result<Identified<'a>, OpenError> {
        let point = elligator::decode(packet.representative);
        self.identify_at(today, packet, point)
    }

    fn identify_at<'a>(
        &self,
        today: &DoorDay,
        packet: &Packet<'a>,
        point: [u8; 32],
    ) -> Result<Identified<'a>, OpenError> {
        let mut state = today.start.duplicate();
        let read = noise::read_client(&mut state, &self.0, (packet.representative, &point), packet.client);
        Ok(Identified { packet: *packet, client: read?, point, state, day: today.day })
    }
}

impl DoorDay {
    pub(super) fn new(day: Day, value: &Secret<32>, door: &[u8; 32]) -> Self {
        let admission = first_half(blake2s::keyed(value, ADMISSION).expose());
        let start = Symmetric::start(door, &blake2s::keyed(value, PSK0));
        Self { day, admission: Secret::from_bytes(admission), start }
    }

    /// The day that it is for.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.day
    }

    /// The admission tag fits: somebody made it who was given this door's key. One SipHash, and no allocation.
    #[must_use]
    pub fn admits(&self, packet: &Packet<'_>) -> bool {
        self.tag(packet.tagged) == packet.tag
    }

    pub(super) fn tag(&self, tagged: &[u8]) -> u64 {
        siphash::hash(&self.admission, tagged)
    }

    pub(super) fn start(&self) -> Symmetric {
        self.start.duplicate()
    }
}

/// A knock whose client's name is read, and not yet proven.
pub struct Identified<'a> {
    packet: Packet<'a>,
    client: [u8; 32],
    point: [u8; 32],
    state: Symmetric,
    day: Day,
}

impl Identified<'_> {
    /// The X25519 public key of whom it would be from.
    #[must_use]
    pub const fn client(&self) -> &[u8; 32] {
        &self.client
    }

    /// The day of its keys.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.day
    }

    /// What it says, when `shared` and `link` (that day's) are its client's. Several links may be tried.
    ///
    /// # Errors
    /// [`OpenError`] says why not.
    pub fn open(&self, shared: &Secret<32>, link: &Secret<32>) -> Result<Opened, OpenError> {
        let mut state = self.state.duplicate();
        let plain = noise::read_payload(&mut state, shared, link, self.packet.payload)?;
        let payload = Payload::read(&plain)?;
        if Day::of(payload.stamp) != Some(self.day) {
            return Err(OpenError::OtherDay);
        }
        let reply = Reply { state, client: self.client, point: self.point };
        Ok(Opened { payload, claim: claim(self.packet.representative), reply })
    }
}

/// A proven knock.
pub struct Opened {
    /// What it says.
    pub payload: Payload,
    /// The one right to use it.
    pub claim: ClaimKey,
    /// What an answer is sealed with.
    pub reply: Reply,
}

impl Opened {
    /// What is believed of it, and what its answer is sealed with.
    pub fn into_knock(self) -> (Knock, Reply) {
        let Self { payload, claim, reply } = self;
        let Payload { kind, wants_answer, stamp, target, seconds, source_port, services, code, link } =
            payload;
        let asked = Asked { kind, wants_answer, seconds, source_port, services, code, link };
        let key = ClientKey::Native(reply.client);
        (Knock::proven(key, stamp, target, claim, Ask::Native(Box::new(asked))), reply)
    }
}

/// What a proven knock asks for; when and for whom, the knock itself says.
#[derive(PartialEq, Eq)]
pub struct Asked {
    /// What it is for.
    pub kind: Kind,
    /// Whether an answer is awaited.
    pub wants_answer: bool,
    /// For how long; 0: as the server likes.
    pub seconds: u32,
    /// For connections from this port only; 0: from any.
    pub source_port: u16,
    /// For these services; none: for all that this client may have.
    pub services: Vec<Box<str>>,
    /// The second factor.
    pub code: Option<Code>,
    /// The link that begins here, where its kind announces one.
    pub link: Option<Secret<32>>,
}

impl fmt::Debug for Asked {
    /// Neither code nor link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut asked = f.debug_struct("Asked");
        asked.field("kind", &self.kind).field("seconds", &self.seconds).field("services", &self.services);
        asked.finish_non_exhaustive()
    }
}

/// What an answer to one knock is sealed with.
pub struct Reply {
    state: Symmetric,
    client: [u8; 32],
    point: [u8; 32],
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply(..)")
    }
}

impl Reply {
    /// The public key of whom it is for.
    #[must_use]
    pub const fn client(&self) -> &[u8; 32] {
        &self.client
    }

    /// The answer's bytes: fewer than any knock's, so that nobody gets more than he sent.
    ///
    /// # Errors
    /// [`AnswerError`] says why there is none.
    pub fn seal(self, answer: &Answer, entropy: &mut dyn Entropy) -> Result<Vec<u8>, AnswerError> {
        let Self { state, client, point } = self;
        answer::seal(state, (&client, &point), answer, entropy)
    }
}

/// The one right to use a client's one-time code of that step: as long as a code of its step may come.
#[must_use]
pub fn code_claim(client: &[u8; 32], step: u64) -> Claim {
    let key = ClaimKey(first_half(&blake2s::hash(&[CODE, client, &step.to_be_bytes()])));
    let stamp = Unix::from_secs(i64::try_from(step.saturating_mul(totp::STEP)).unwrap_or(i64::MAX));
    Claim { key, stamp, keep_until: stamp.after(Duration::from_secs(3 * totp::STEP)) }
}

/// Of the bytes that travelled: each knock draws its own, and a changed one opens nothing.
fn claim(representative: &[u8; 32]) -> ClaimKey {
    ClaimKey(first_half(&blake2s::hash(&[CLAIM, representative])))
}

fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|place| hash.get(place).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use portunus_crypto::elligator::Hidden;
    use portunus_crypto::elligator::distinguisher::other_spellings;
    use portunus_crypto::{SystemEntropy, aead};
    use portunus_model::Unix;

    use super::super::noise::{Ephemeral, Initiator};
    use super::super::packet::SHORTEST_TEXT;
    use super::*;

    /// What is hashed for `e`.
    #[derive(Clone, Copy, PartialEq)]
    enum Hashed {
        Wire,
        Point,
    }

    struct Ends {
        door: Door,
        client: PrivateKey,
        today: DoorDay,
        link: Secret<32>,
        stamp: Unix,
    }

    fn ends() -> Ends {
        let private = |n| PrivateKey::new(&Secret::from_bytes([n; 32])).unwrap();
        let stamp = Unix::from_secs(1_795_676_400);
        let chain = Chain::new(Day::of(stamp).unwrap(), Secret::from_bytes([3; 32]));
        let door = Door(private(1));
        let today = door.day(&chain, Day::of(stamp).unwrap()).unwrap();
        Ends { door, client: private(2), today, link: Secret::from_bytes([4; 32]), stamp }
    }

    /// A knock as it travels; with the point hashed as a careless composition would.
    fn knock(ends: &Ends, hashed: Hashed) -> Vec<u8> {
        let hidden = Hidden::generate(&mut SystemEntropy).unwrap();
        let mut text = Payload::knock(ends.stamp).write().unwrap();
        text.resize(SHORTEST_TEXT, 0);
        let keys = Initiator { client: &ends.client, server: ends.door.public(), psk1: &ends.link };
        let point = elligator::decode(hidden.representative());
        let mixed = if hashed == Hashed::Wire { hidden.representative() } else { &point };
        let ephemeral = Ephemeral { key: hidden.key(), wire: mixed };
        let (mut message, _) = noise::write_first(ends.today.start(), &keys, &ephemeral, &text).unwrap();
        message[..32].copy_from_slice(hidden.representative());
        tagged(ends, &message)
    }

    /// Tagged by somebody inside, who knows the day's key.
    fn tagged(ends: &Ends, message: &[u8]) -> Vec<u8> {
        [&ends.today.tag(message).to_le_bytes()[..], message].concat()
    }

    fn opens(ends: &Ends, datagram: &[u8], hashed: Hashed) -> bool {
        let packet = Packet::new_checked(datagram).unwrap();
        assert!(ends.today.admits(&packet));
        let shared = ends.door.shared_with(ends.client.public()).unwrap();
        let read = match hashed {
            Hashed::Wire => ends.door.identify(&ends.today, &packet),
            Hashed::Point => {
                let point = elligator::decode(packet.representative);
                let spelt = Packet { representative: &point, ..packet };
                let mut state = ends.today.start();
                let client = noise::read_client(&mut state, &ends.door.0, (&point, &point), spelt.client);
                return client.is_ok_and(|client| {
                    client == *ends.client.public()
                        && noise::read_payload(&mut state, &shared, &ends.link, packet.payload).is_ok()
                });
            }
        };
        read.is_ok_and(|read| read.client() == ends.client.public() && read.open(&shared, &ends.link).is_ok())
    }

    /// Seven other strings stand for the point of a knock. Where the bytes that travelled are hashed none of them opens;
    /// where the point is, each does, and each would be a new knock.
    #[test]
    fn a_knock_in_another_spelling_opens_nothing_where_the_bytes_are_hashed() {
        let ends = ends();
        for (hashed, expected) in [(Hashed::Wire, 0), (Hashed::Point, 7)] {
            let datagram = knock(&ends, hashed);
            assert!(opens(&ends, &datagram, hashed));
            let representative: [u8; 32] = datagram[8..40].try_into().unwrap();
            let others = other_spellings(&representative);
            let taken = others.iter().filter(|other| {
                let mut message = datagram[8..].to_vec();
                message[..32].copy_from_slice(*other);
                opens(&ends, &tagged(&ends, &message), hashed)
            });
            assert_eq!((others.len(), taken.count()), (7, expected));
        }
    }

    #[test]
    fn a_timestamp_of_another_day_than_its_keys_is_refused() {
        let mut ends = ends();
        ends.stamp = ends.today.day().start().before(Duration::from_millis(1));
        let datagram = knock(&ends, Hashed::Wire);
        let packet = Packet::new_checked(&datagram).unwrap();
        let shared = ends.door.shared_with(ends.client.public()).unwrap();
        let read = ends.door.identify(&ends.today, &packet).unwrap();
        assert_eq!(read.open(&shared, &ends.link).err(), Some(OpenError::OtherDay));
    }

    #[test]
    fn an_ephemeral_key_of_low_order_agrees_on_nothing() {
        let ends = ends();
        // r = 0 stands for u = 0.
        let message = [&[0; 32][..], &[7; 48 + SHORTEST_TEXT + aead::TAG]].concat();
        let datagram = tagged(&ends, &message);
        let read = ends.door.identify(&ends.today, &Packet::new_checked(&datagram).unwrap());
        assert_eq!(read.err(), Some(OpenError::LowOrder));
    }
}
