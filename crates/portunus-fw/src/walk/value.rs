//! Bytes of which we may not know everything, and comparing them: yes, no, perhaps.

use std::cmp::Ordering;

use crate::ruleset::CmpOp;

/// One byte of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Byte {
    /// This one.
    Known(u8),
    /// Part of an address that no rule names: equal to no constant, in no set.
    Outside,
    /// Part of an interface that is not the loopback; what the loopback has here.
    NotLoopback(u8),
    /// Anything.
    Unknown,
}

/// Yes, no, perhaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tri {
    Yes,
    No,
    Maybe,
}

impl Tri {
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }

    pub(super) fn turned_if(self, turned: bool) -> Self {
        if turned { self.negated() } else { self }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            (Self::Maybe, _) | (_, Self::Maybe) => Self::Maybe,
        }
    }
}

impl From<bool> for Tri {
    fn from(it: bool) -> Self {
        if it { Self::Yes } else { Self::No }
    }
}

/// Known bytes.
pub(super) fn known(bytes: &[u8]) -> Vec<Byte> {
    bytes.iter().map(|&b| Byte::Known(b)).collect()
}

/// Whether `bytes` are `constant`, as long as the shorter of the two.
pub(super) fn equal(bytes: &[Byte], constant: &[u8]) -> Tri {
    let pairs = || bytes.iter().zip(constant);
    // "lo", with its final zero, or the loopback's index: three bytes or four. Fewer are a pattern like `l*`.
    let loopback = pairs().all(|(b, &c)| *b == Byte::NotLoopback(c));
    if loopback && constant.len() >= 3 {
        return Tri::No;
    }
    if pairs().any(|(b, &c)| matches!(b, Byte::Known(k) if *k != c) || *b == Byte::Outside) {
        return Tri::No;
    }
    if pairs().all(|(b, _)| matches!(b, Byte::Known(_))) { Tri::Yes } else { Tri::Maybe }
}

/// How `bytes` compare with `constant`.
pub(super) fn compare(op: CmpOp, bytes: &[Byte], constant: &[u8]) -> Tri {
    let order = || order(bytes, constant);
    match op {
        CmpOp::Eq => equal(bytes, constant),
        CmpOp::Ne => equal(bytes, constant).negated(),
        CmpOp::Lt => order().map_or(Tri::Maybe, |o| Tri::from(o.is_lt())),
        CmpOp::Le => order().map_or(Tri::Maybe, |o| Tri::from(o.is_le())),
        CmpOp::Gt => order().map_or(Tri::Maybe, |o| Tri::from(o.is_gt())),
        CmpOp::Ge => order().map_or(Tri::Maybe, |o| Tri::from(o.is_ge())),
    }
}

/// Whether `bytes` lie in `from..=to`.
pub(super) fn within(bytes: &[Byte], from: &[u8], to: &[u8]) -> Tri {
    let everything = from.iter().all(|&b| b == 0) && to.iter().all(|&b| b == 0xff);
    if everything {
        return Tri::Yes;
    }
    match (order(bytes, from), order(bytes, to)) {
        (Some(low), Some(high)) => Tri::from(low.is_ge() && high.is_le()),
        _ if bytes.contains(&Byte::Outside) => Tri::No,
        _ => Tri::Maybe,
    }
}

/// As the kernel compares: byte by byte (memcmp). `None` when an unknown byte decides.
pub(super) fn order(bytes: &[Byte], constant: &[u8]) -> Option<Ordering> {
    for (byte, c) in bytes.iter().zip(constant) {
        match byte {
            Byte::Known(k) if k == c => {}
            Byte::Known(k) => return Some(k.cmp(c)),
            Byte::Outside | Byte::NotLoopback(_) | Byte::Unknown => return None,
        }
    }
    Some(Ordering::Equal)
}

/// `(byte & mask) ^ xor`.
pub(super) fn masked(byte: Byte, mask: u8, xor: u8) -> Byte {
    match byte {
        _ if mask == 0 => Byte::Known(xor),
        Byte::Known(b) => Byte::Known((b & mask) ^ xor),
        Byte::Outside => Byte::Outside,
        Byte::NotLoopback(b) if mask == 0xff && xor == 0 => Byte::NotLoopback(b),
        Byte::NotLoopback(_) | Byte::Unknown => Byte::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nobody_names_is_in_nothing_but_everything() {
        let outside = [Byte::Outside; 4];
        assert_eq!(equal(&outside, &[10, 0, 0, 1]), Tri::No);
        assert_eq!(within(&outside, &[10, 0, 0, 0], &[10, 255, 255, 255]), Tri::No);
        assert_eq!(within(&outside, &[0; 4], &[255; 4]), Tri::Yes);
        assert_eq!(masked(Byte::Outside, 0, 0), Byte::Known(0));
    }

    #[test]
    fn an_interface_from_outside_is_not_the_loopback_and_may_be_any_other() {
        let name: Vec<Byte> = b"lo\0\0".iter().map(|&b| Byte::NotLoopback(b)).collect();
        assert_eq!(equal(&name, b"lo\0\0"), Tri::No);
        assert_eq!(compare(CmpOp::Ne, &name, b"lo\0"), Tri::Yes);
        assert_eq!(equal(&name, b"eth0"), Tri::Maybe);
    }

    #[test]
    fn the_first_byte_that_differs_decides() {
        assert_eq!(compare(CmpOp::Lt, &[Byte::Known(1), Byte::Unknown], &[2, 0]), Tri::Yes);
        assert_eq!(compare(CmpOp::Lt, &[Byte::Known(2), Byte::Unknown], &[2, 0]), Tri::Maybe);
    }
}
