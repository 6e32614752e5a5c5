//! What somebody on the wire can count. Of packets made here, and of those that the built programs send
//! (tests/interop/tests/native_noise.rs).

use std::ops::RangeInclusive;

use portunus_crypto::elligator::distinguisher::{has_first_sign, is_of_prime_order};

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing that is not noise.
    Noise,
    /// A bit is set too often, or too seldom.
    Bit { offset: usize, bit: usize, share: f64 },
    /// Some values of a byte are too frequent.
    Byte { offset: usize, chi_square: f64 },
    /// Some lengths are too frequent.
    Lengths { chi_square: f64 },
    /// The spare bits are.
    SpareBits,
    /// One of the two preimages is taken too often.
    Sign,
    /// The share of points in the prime-order subgroup is not one in eight.
    PrimeOrder,
}

/// Monobit for each bit and chi-square for each byte that all of them have, and the spread of their lengths.
pub(crate) fn look(packets: &[Vec<u8>], lengths: RangeInclusive<usize>) -> Verdict {
    let common = packets.iter().map(Vec::len).min().unwrap();
    let many = packets.len() as f64;
    for offset in 0..common {
        let mut counts = [0_u32; 256];
        packets.iter().for_each(|packet| counts[usize::from(packet[offset])] += 1);
        for bit in 0..8 {
            let set: u32 = (0..256).filter(|byte| byte >> bit & 1 == 1).map(|byte| counts[byte]).sum();
            let distance = (f64::from(set) - many / 2.0) / (many / 4.0).sqrt();
            // 99.9 % for 2,048 bits together.
            if distance.abs() > 5.03 {
                return Verdict::Bit { offset, bit, share: f64::from(set) / many };
            }
        }
        // With fewer than five expected of each, chi-square says nothing.
        let chi_square = chi_square(&counts, many);
        if many / 256.0 >= 5.0 && !(166.0..=369.0).contains(&chi_square) {
            return Verdict::Byte { offset, chi_square };
        }
    }
    let classes = lengths.end() - lengths.start() + 1;
    let mut counts = vec![0_u32; classes];
    packets.iter().for_each(|packet| counts[packet.len() - lengths.start()] += 1);
    let chi_square = chi_square(&counts, many);
    if chi_square > quantile(classes as f64 - 1.0) {
        return Verdict::Lengths { chi_square };
    }
    Verdict::Noise
}

/// What can be computed of Elligator's strings.
pub(crate) fn look_at_representatives(all: &[[u8; 32]]) -> Verdict {
    let many = all.len() as f64;
    let is_off = |expected: f64, count: usize| {
        let deviation = (many * expected * (1.0 - expected)).sqrt();
        // 99.9 % of one statistic.
        (count as f64 - many * expected).abs() > 3.29 * deviation
    };
    let count = |of: fn(&[u8; 32]) -> bool| all.iter().filter(|one| of(one)).count();
    if is_off(0.5, count(|one| one[31] & 0x40 != 0)) || is_off(0.5, count(|one| one[31] & 0x80 != 0)) {
        return Verdict::SpareBits;
    }
    if is_off(0.5, count(has_first_sign)) {
        return Verdict::Sign;
    }
    if is_off(0.125, count(is_of_prime_order)) {
        return Verdict::PrimeOrder;
    }
    Verdict::Noise
}

fn chi_square(counts: &[u32], many: f64) -> f64 {
    let expected = many / counts.len() as f64;
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

/// The 99.9 % quantile of chi-square, by Wilson and Hilferty.
fn quantile(degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees.max(1.0));
    degrees * (1.0 - spread + 3.09 * spread.sqrt()).powi(3)
}
