//! Elligator 2 on Curve25519 (Bernstein, Hamburg, Krasnova, Lange, CCS 2013): a public key that travels as 32 bytes of
//! noise. The map is a crate's (ADR 0014); here it is used so that nothing tells its bytes from random ones.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use zeroize::Zeroize;

use crate::x25519::PrivateKey;
use crate::{Entropy, EntropyFailed, LibraryRefused, Secret};

/// A draw succeeds in one of two cases, so the chance that so many all fail is 2^-128: the source is no random one.
const DRAWS: usize = 128;

/// A key pair for one use, whose public half can travel as noise.
pub struct Hidden {
    key: PrivateKey,
    representative: [u8; 32],
}

/// Why there is no such key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HiddenError {
    /// No randomness, or none that is random.
    #[error(transparent)]
    Entropy(#[from] EntropyFailed),
    /// No memory.
    #[error(transparent)]
    Library(#[from] LibraryRefused),
}

impl Hidden {
    /// Draws one. Each try takes 33 bytes from `entropy`: the private key, and a byte for what must not be constant.
    ///
    /// Uniform over all 2^256 strings, for three things are random that are easily forgotten, and each of which would
    /// tell the string from noise by one computation: the two spare bits; the sign of v (which of the two preimages is
    /// taken); and the part of low order, so that the point does not always lie in the prime-order subgroup. The peer's
    /// clamped scalar is a multiple of eight and takes that part away again, so the agreed secret is the usual one.
    ///
    /// # Errors
    /// [`HiddenError`] says why not.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, HiddenError> {
        for _ in 0..DRAWS {
            let secret = Secret::generate(entropy)?;
            let mut more = [0];
            entropy.fill(&mut more)?;
            let point = dirty_point(&secret, (more[0] >> 1) & 7);
            if let Some(representative) = elligator2::to_representative(&point, more[0] & 0b1100_0001) {
                return Ok(Self { key: PrivateKey::new(&secret)?, representative });
            }
        }
        Err(EntropyFailed.into())
    }

    /// The private half.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// What travels.
    #[must_use]
    pub fn representative(&self) -> &[u8; 32] {
        &self.representative
    }
}

/// The public key that a representative stands for. Every string stands for one, and several stand for the same: so
/// the string itself, not the point, is what a transcript must hash.
#[must_use]
pub fn decode(representative: &[u8; 32]) -> [u8; 32] {
    elligator2::from_representative(representative)
}

/// The public key of `secret` plus the `low`th point of low order.
fn dirty_point(secret: &Secret<32>, low: u8) -> [u8; 32] {
    let mut scalar = *secret.expose();
    let clean = EdwardsPoint::mul_base_clamped(scalar);
    scalar.zeroize();
    let torsion = EIGHT_TORSION.get(usize::from(low & 7)).copied().unwrap_or_default();
    (clean + torsion).to_montgomery().to_bytes()
}

/// What somebody can compute who wants to tell a representative from noise; and encodings that he can tell. For tests
/// that must see a fault.
#[cfg(any(test, feature = "fixed"))]
pub mod distinguisher {
    use curve25519_dalek::montgomery::MontgomeryPoint;

    use super::{EIGHT_TORSION, Entropy, Secret, decode, dirty_point};

    /// One of the three randomisations, left out.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fault {
        /// The two spare bits are zero.
        SpareBits,
        /// The sign of v is always the same.
        Sign,
        /// The point always lies in the prime-order subgroup.
        PrimeOrder,
    }

    /// A representative that was made with a fault.
    pub fn faulty(fault: Fault, entropy: &mut dyn Entropy) -> Option<[u8; 32]> {
        loop {
            let secret = Secret::generate(entropy).ok()?;
            let mut more = [0];
            entropy.fill(&mut more).ok()?;
            let (tweak, low) = match fault {
                Fault::SpareBits => (more[0] & 1, more[0] >> 1),
                Fault::Sign => (more[0] & 0xc0, more[0] >> 1),
                Fault::PrimeOrder => (more[0], 0),
            };
            if let Some(found) = elligator2::to_representative(&dirty_point(&secret, low), tweak) {
                return Some(found);
            }
        }
    }

    /// Whether its point lies in the prime-order subgroup: true for one of eight random strings.
    #[must_use]
    pub fn is_of_prime_order(representative: &[u8; 32]) -> bool {
        let point = MontgomeryPoint(decode(representative)).to_edwards(0);
        point.is_some_and(|point| point.is_torsion_free())
    }

    /// Whether it is the preimage of its point that belongs to the first sign of v: true for one of two random strings.
    #[must_use]
    pub fn has_first_sign(representative: &[u8; 32]) -> bool {
        let mut bare = *representative;
        bare[31] &= 0x3f;
        elligator2::to_representative(&decode(representative), 0) == Some(bare)
    }

    /// The seven other strings for the same point: whoever hashed the point, not the string, would take each for the
    /// same knock.
    #[must_use]
    pub fn other_spellings(representative: &[u8; 32]) -> Vec<[u8; 32]> {
        let point = decode(representative);
        let tweaks = (0..8).map(|n| (n & 1) | (n >> 1) << 6);
        let all = tweaks.filter_map(|tweak| elligator2::to_representative(&point, tweak));
        all.filter(|other| other != representative).collect()
    }

    /// Strings for the points that differ from its point in the part of low order only: what is agreed with them is
    /// the same.
    #[must_use]
    pub fn neighbours(representative: &[u8; 32]) -> Vec<[u8; 32]> {
        let point = MontgomeryPoint(decode(representative));
        let Some(edwards) = point.to_edwards(0) else { return Vec::new() };
        let others = EIGHT_TORSION.map(|low| (edwards + low).to_montgomery());
        let others = others.into_iter().filter(|other| *other != point);
        others.filter_map(|other| elligator2::to_representative(&other.0, 0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use curve25519_elligator2::edwards::EdwardsPoint as TheirPoint;
    use curve25519_elligator2::elligator2::{MapToPointVariant, Randomized};
    use proptest::prelude::*;

    use super::distinguisher::{
        Fault, faulty, has_first_sign, is_of_prime_order, neighbours, other_spellings,
    };
    use super::*;
    use crate::SystemEntropy;

    fn hex(text: &str) -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    fn theirs_of(representative: &[u8; 32]) -> Option<[u8; 32]> {
        Option::from(Randomized::from_representative(representative))
            .map(|point: TheirPoint| point.to_montgomery().0)
    }

    fn representatives(count: usize) -> Vec<[u8; 32]> {
        let one = |_| *Hidden::generate(&mut SystemEntropy).unwrap().representative();
        (0..count).map(one).collect()
    }

    /// Monocypher's vectors (elligator.org): representative, then u, both little endian.
    #[test]
    fn decodes_published_vectors() {
        for (representative, point) in [
            (
                "d3c41ec20dbe9fc33ccc14823d898066f433a892994ffbcc921e9f5ace519d02",
                "170a436471aaa00d817436197fde47fa3320aa040b48d1d2a9f155e15ce3975e",
            ),
            (
                "e03a05ebde6ca000cdc5c539bf48a1d08222483b87693046e00a411a8d93dd34",
                "b8e22e654ae391c44be4760a30d13950651d454c7ec71f0bdf7c5669bb22b564",
            ),
            (
                "664498366a736b04bc592cf18b8ac7bf94b7fcb985d4b77252844e2eeeb4811f",
                "64a92a41815b38eb01e4f6e9aee7e34fa2f8d221e9da0502af542c3c203d262a",
            ),
            (
                "949523d0fa2e180612d9a776c655d08e0b16d37dff8457218e3d31eba4531413",
                "1bc05bdc88c88eba38270af970abff204cfa8b07bd7fa78ea4ab5c04d1ab317c",
            ),
            (
                "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff3f",
                "9cdb525555555555555555555555555555555555555555555555555555555555",
            ),
            (
                "f7ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff3f",
                "9cdb525555555555555555555555555555555555555555555555555555555555",
            ),
        ] {
            let mut spelt = hex(representative);
            assert_eq!(decode(&spelt), hex(point), "{representative}");
            spelt[31] |= 0xc0;
            assert_eq!(decode(&spelt), hex(point), "{representative} with its spare bits set");
        }
    }

    /// RFC 9380 section J.4.2: the field element u, then the x of Q, both big endian.
    #[test]
    fn maps_as_the_rfc_says() {
        for (u, x) in [
            (
                "235fe40c443766ce7e18111c33862d66c3b33267efa50d50f9e8e5d252a40aaa",
                "3fbe66b9c9883d79e8407150e7c2a1c8680bee496c62fabe4619a72b3cabe90f",
            ),
            (
                "001e92a544463bda9bd04ddbe3d6eed248f82de32f522669efc5ddce95f46f5b",
                "227e0bb89de700385d19ec40e857db6e6a3e634b1c32962f370d26f84ff19683",
            ),
            (
                "1a68a1af9f663592291af987203393f707305c7bac9c8d63d6a729bdc553dc19",
                "3bcd651ee54d5f7b6013898aab251ee8ecc0688166fce6e9548d38472f6bd196",
            ),
        ] {
            let (mut u, mut x) = (hex(u), hex(x));
            u.reverse();
            x.reverse();
            assert_eq!(decode(&u), x);
        }
    }

    /// Monocypher's vectors of the inverse: a point without a preimage, and one with its two.
    #[test]
    fn encodes_published_vectors() {
        let none = hex("e6f66fdf6e230c603c5e6e59a254ea1476a13eb9511b9549846781e12e52230a");
        assert_eq!(elligator2::to_representative(&none, 0), None);
        let point = hex("46951964003c940878063ccfd0348af42150ca16d2646f2c5856e8338377d800");
        let first = hex("2820b6b241e0f68a6c4a7fee3d978228ef3ae45533cd410aa91a415331d8612d");
        let second = hex("3cfb87c46c0b4575ca8175e0ed1c0ae9dae79db78df86997c4847b9f20b27718");
        assert_eq!(elligator2::to_representative(&point, 0), Some(first));
        assert_eq!(elligator2::to_representative(&point, 1), Some(second));
    }

    proptest! {
        /// The Tor project's map is another's work: both say the same of any string, and it reads what we write.
        #[test]
        fn agrees_with_a_second_implementation(bytes: [u8; 32], scalar: [u8; 32], more: u8) {
            prop_assert_eq!(theirs_of(&bytes), Some(decode(&bytes)));
            let point = dirty_point(&Secret::from_bytes(scalar), more >> 1);
            let ours = elligator2::to_representative(&point, more & 0b1100_0001);
            if let Some(ours) = ours {
                prop_assert_eq!(decode(&ours), point);
                prop_assert_eq!(theirs_of(&ours), Some(point));
            }
            let dirty = TheirPoint::mul_base_clamped_dirty(scalar).to_montgomery().0;
            let theirs: Option<[u8; 32]> = Randomized::to_representative(&scalar, more).into();
            prop_assert_eq!(theirs, elligator2::to_representative(&dirty, more));
        }

        /// The part of low order changes no agreed secret.
        #[test]
        fn what_is_agreed_is_what_x25519_agrees(peer: [u8; 32]) {
            let peer = PrivateKey::new(&Secret::from_bytes(peer)).unwrap();
            let hidden = Hidden::generate(&mut SystemEntropy).unwrap();
            let ours = hidden.key().agree(peer.public()).unwrap();
            prop_assert!(peer.agree(&decode(hidden.representative())).unwrap() == ours);
            let others = other_spellings(hidden.representative());
            prop_assert_eq!(others.len(), 7);
            for spelling in others.into_iter().chain(neighbours(hidden.representative())) {
                prop_assert!(peer.agree(&decode(&spelling)).unwrap() == ours);
            }
        }
    }

    /// One in eight, one in two, and each spare bit in two; the bounds are those of 99.99 %.
    #[test]
    fn nothing_about_a_representative_is_constant() {
        let all = representatives(4000);
        let share = |of: fn(&[u8; 32]) -> bool| all.iter().filter(|one| of(one)).count();
        assert!((420..=582).contains(&share(is_of_prime_order)), "{}", share(is_of_prime_order));
        assert!((1877..=2123).contains(&share(has_first_sign)), "{}", share(has_first_sign));
        for spare in [0x40, 0x80] {
            let set = all.iter().filter(|one| one[31] & spare != 0).count();
            assert!((1877..=2123).contains(&set), "{set}");
        }
    }

    /// The test before this one can see: whatever is left out shows.
    #[test]
    fn each_fault_shows() {
        let share = |fault, of: fn(&[u8; 32]) -> bool| {
            (0..200).filter(|_| of(&faulty(fault, &mut SystemEntropy).unwrap())).count()
        };
        assert_eq!(share(Fault::PrimeOrder, is_of_prime_order), 200);
        assert_eq!(share(Fault::Sign, has_first_sign), 200);
        assert_eq!(share(Fault::SpareBits, |one| one[31] & 0xc0 != 0), 0);
    }

    #[test]
    fn a_source_that_repeats_itself_ends_the_drawing() {
        struct Stuck(u8, Cell<u32>);
        impl Entropy for Stuck {
            fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailed> {
                self.1.set(self.1.get() + 1);
                out.fill(if out.len() == 32 { self.0 } else { 0 });
                Ok(())
            }
        }
        let has_none = |n: &u8| {
            elligator2::to_representative(&dirty_point(&Secret::from_bytes([*n; 32]), 0), 0).is_none()
        };
        let mut stuck = Stuck((0..=255).find(has_none).unwrap(), Cell::new(0));
        let made = Hidden::generate(&mut stuck);
        assert_eq!(made.err(), Some(HiddenError::Entropy(EntropyFailed)));
        assert_eq!(stuck.1.get(), 256);
    }
}
