//! Noise `IKpsk0+psk1` with ChaCha20-Poly1305 and BLAKE2s (Noise Protocol Framework, revision 34), in the one order that
//! this dialect needs:
//!
//! ```text
//! <- s
//! ...
//! -> psk, e, es, s, ss, psk
//! <- e, ee, se
//! ```
//!
//! One thing differs from plain Noise: `e` travels as its Elligator 2 representative, and the bytes that travelled, not
//! the point, are hashed and mixed in. Several strings stand for one point; whoever hashed the point would take the
//! same knock again in each of its other spellings. So every function here takes both, the wire's bytes and the point.

use portunus_crypto::x25519::{LowOrder, PrivateKey};
use portunus_crypto::{LibraryRefused, Secret, aead, blake2s};
use zeroize::Zeroizing;

use super::packet::SEALED_CLIENT;

const NAME: &[u8] = b"Noise_IKpsk0+psk1_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"portunus/1";

/// Why a message is not one of this handshake's, or cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoiseError {
    #[error("a key in it is of low order")]
    LowOrder,
    #[error("it is not sealed with these keys")]
    Forged,
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

impl From<LowOrder> for NoiseError {
    fn from(LowOrder: LowOrder) -> Self {
        Self::LowOrder
    }
}

impl From<aead::Forged> for NoiseError {
    fn from(aead::Forged: aead::Forged) -> Self {
        Self::Forged
    }
}

/// The framework's `SymmetricState`, from the first pre-shared key on: before it nothing is sealed.
pub(super) struct Symmetric {
    chaining: Secret<32>,
    hash: [u8; 32],
    key: Secret<32>,
    sealed: u64,
}

impl Symmetric {
    /// Up to and including the first `psk`: the same for every knock at this door on this day.
    pub(super) fn start(server: &[u8; 32], psk0: &Secret<32>) -> Self {
        let name = blake2s::hash(&[NAME]);
        let hash = blake2s::hash(&[&name, PROLOGUE]);
        let hash = blake2s::hash(&[&hash, server]);
        let (chaining, key) = (Secret::from_bytes(name), Secret::from_bytes([0; 32]));
        let mut state = Self { chaining, hash, key, sealed: 0 };
        state.mix_psk(psk0);
        state
    }

    pub(super) fn duplicate(&self) -> Self {
        let Self { chaining, hash, key, sealed } = self;
        Self { chaining: chaining.duplicate(), hash: *hash, key: key.duplicate(), sealed: *sealed }
    }

    /// The token `e` of a handshake with pre-shared keys: what travelled is hashed, and makes a key.
    fn mix_ephemeral(&mut self, wire: &[u8; 32]) {
        self.mix_hash(wire);
        self.mix_key(wire);
    }

    fn mix_hash(&mut self, bytes: &[u8]) {
        self.hash = blake2s::hash(&[&self.hash, bytes]);
    }

    fn mix_key(&mut self, input: &[u8; 32]) {
        let [chaining, key] = blake2s::noise_hkdf(&self.chaining, input);
        (self.chaining, self.key, self.sealed) = (chaining, key, 0);
    }

    fn mix_psk(&mut self, psk: &Secret<32>) {
        let [chaining, hashed, key] = blake2s::noise_hkdf(&self.chaining, psk.expose());
        self.mix_hash(hashed.expose());
        (self.chaining, self.key, self.sealed) = (chaining, key, 0);
    }

    fn seal(&mut self, text: &mut Vec<u8>, from: usize) -> Result<(), NoiseError> {
        let nonce = self.nonce();
        let plain = text.get_mut(from..).unwrap_or_default();
        let tag = aead::seal(&self.key, &nonce, &self.hash, plain)?;
        text.extend_from_slice(&tag);
        self.mix_hash(text.get(from..).unwrap_or_default());
        Ok(())
    }

    fn open(&mut self, sealed: &[u8], plain: &mut [u8]) -> Result<(), NoiseError> {
        let nonce = self.nonce();
        aead::open(&self.key, &nonce, &self.hash, sealed, plain)?;
        self.mix_hash(sealed);
        Ok(())
    }

    /// Four zero bytes, and the count, little endian (section 12.3).
    fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce.iter_mut().skip(4).zip(self.sealed.to_le_bytes()).for_each(|(to, from)| *to = from);
        self.sealed += 1;
        nonce
    }
}

/// An ephemeral key, and how it travels.
pub(super) struct Ephemeral<'a> {
    pub(super) key: &'a PrivateKey,
    pub(super) wire: &'a [u8; 32],
}

/// What a client knows.
pub(super) struct Initiator<'a> {
    pub(super) client: &'a PrivateKey,
    pub(super) server: &'a [u8; 32],
    pub(super) psk1: &'a Secret<32>,
}

/// The first message, behind which `payload` is sealed.
pub(super) fn write_first(
    mut state: Symmetric,
    keys: &Initiator<'_>,
    ephemeral: &Ephemeral<'_>,
    payload: &[u8],
) -> Result<(Vec<u8>, Symmetric), NoiseError> {
    state.mix_ephemeral(ephemeral.wire);
    state.mix_key(ephemeral.key.agree(keys.server)?.expose());
    let mut message = Vec::with_capacity(ephemeral.wire.len() + SEALED_CLIENT + payload.len() + aead::TAG);
    message.extend_from_slice(ephemeral.wire);
    let from = message.len();
    message.extend_from_slice(keys.client.public());
    state.seal(&mut message, from)?;
    state.mix_key(keys.client.agree(keys.server)?.expose());
    state.mix_psk(keys.psk1);
    let from = message.len();
    message.extend_from_slice(payload);
    state.seal(&mut message, from)?;
    Ok((message, state))
}

/// Reads the first message as far as the client's name: one Diffie-Hellman.
pub(super) fn read_client(
    state: &mut Symmetric,
    server: &PrivateKey,
    (wire, point): (&[u8; 32], &[u8; 32]),
    sealed: &[u8; SEALED_CLIENT],
) -> Result<[u8; 32], NoiseError> {
    state.mix_ephemeral(wire);
    state.mix_key(server.agree(point)?.expose());
    let mut client = [0; 32];
    state.open(sealed, &mut client)?;
    Ok(client)
}

/// Reads the rest of it. `shared` is the Diffie-Hellman of both static keys, `ss`: the same for all of a client's knocks.
pub(super) fn read_payload(
    state: &mut Symmetric,
    shared: &Secret<32>,
    psk1: &Secret<32>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NoiseError> {
    state.mix_key(shared.expose());
    state.mix_psk(psk1);
    let mut plain = Zeroizing::new(vec![0; sealed.len().saturating_sub(aead::TAG)]);
    state.open(sealed, &mut plain)?;
    Ok(plain)
}

/// The second message, from the server: `e, ee, se`.
pub(super) fn write_second(
    mut state: Symmetric,
    (client, theirs): (&[u8; 32], &[u8; 32]),
    ephemeral: &Ephemeral<'_>,
    payload: &[u8],
) -> Result<Vec<u8>, NoiseError> {
    state.mix_ephemeral(ephemeral.wire);
    state.mix_key(ephemeral.key.agree(theirs)?.expose());
    state.mix_key(ephemeral.key.agree(client)?.expose());
    let mut message = Vec::with_capacity(ephemeral.wire.len() + payload.len() + aead::TAG);
    message.extend_from_slice(ephemeral.wire);
    let from = message.len();
    message.extend_from_slice(payload);
    state.seal(&mut message, from)?;
    Ok(message)
}

/// Reads it.
pub(super) fn read_second(
    mut state: Symmetric,
    (ephemeral, client): (&PrivateKey, &PrivateKey),
    (wire, point): (&[u8; 32], &[u8; 32]),
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NoiseError> {
    state.mix_ephemeral(wire);
    state.mix_key(ephemeral.agree(point)?.expose());
    state.mix_key(client.agree(point)?.expose());
    let mut plain = Zeroizing::new(vec![0; sealed.len().saturating_sub(aead::TAG)]);
    state.open(sealed, &mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use snow::Builder;

    use super::*;

    /// `snow` is the framework by somebody else. With `e` as it is, not as a representative, both messages must be its.
    fn against_snow(keys: [[u8; 32]; 6], first: &[u8], second: &[u8]) {
        let [server, client, initiators, responders, psk0, psk1] = keys;
        let private = |bytes| PrivateKey::new(&Secret::from_bytes(bytes)).unwrap();
        let (s, c, e, r) = (private(server), private(client), private(initiators), private(responders));
        let builder = || {
            let params = std::str::from_utf8(NAME).unwrap().parse().unwrap();
            Builder::new(params).prologue(PROLOGUE).unwrap().psk(0, &psk0).unwrap().psk(1, &psk1).unwrap()
        };
        let mut theirs = builder()
            .local_private_key(&client)
            .unwrap()
            .remote_public_key(s.public())
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&initiators)
            .build_initiator()
            .unwrap();
        let mut responder = builder()
            .local_private_key(&server)
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&responders)
            .build_responder()
            .unwrap();

        let (psk0, psk1) = (Secret::from_bytes(psk0), Secret::from_bytes(psk1));
        let keys = Initiator { client: &c, server: s.public(), psk1: &psk1 };
        let ephemeral = Ephemeral { key: &e, wire: e.public() };
        let (message, ours) =
            write_first(Symmetric::start(s.public(), &psk0), &keys, &ephemeral, first).unwrap();
        let mut buffer = [0; 1024];
        let length = theirs.write_message(first, &mut buffer).unwrap();
        assert_eq!(message, buffer[..length]);

        let mut state = Symmetric::start(s.public(), &psk0);
        let sealed = message[32..32 + SEALED_CLIENT].try_into().unwrap();
        let read = read_client(&mut state, &s, (e.public(), e.public()), sealed).unwrap();
        assert_eq!(read, *c.public());
        let shared = s.agree(&read).unwrap();
        assert_eq!(*read_payload(&mut state, &shared, &psk1, &message[32 + SEALED_CLIENT..]).unwrap(), first);
        let length = responder.read_message(&message, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], first);

        let ephemeral = Ephemeral { key: &r, wire: r.public() };
        let answer = write_second(state, (&read, e.public()), &ephemeral, second).unwrap();
        let length = responder.write_message(second, &mut buffer).unwrap();
        assert_eq!(answer, buffer[..length]);
        assert_eq!(*read_second(ours, (&e, &c), (r.public(), r.public()), &answer[32..]).unwrap(), second);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn both_messages_are_those_of_an_independent_implementation(
            keys: [[u8; 32]; 6],
            first in prop::collection::vec(any::<u8>(), 0..320),
            second in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            against_snow(keys, &first, &second);
        }
    }
}
