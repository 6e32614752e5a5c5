//! A filter as a tree.

use portunus_model::{Lengths, Net};

/// A condition on a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    Is(Test),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
}

/// One question to a packet. What may be a knock at all is asked before (emit.rs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// Yes, always.
    Any,
    /// IP of this Ethernet type.
    Family(u16),
    /// IP that carries this protocol.
    Proto(u8),
    /// UDP or TCP with a port in this range, both ends included.
    Port(End, u16, u16),
    /// An address within.
    Net(End, Net),
    /// Any tag, or one of this VLAN.
    Vlan(Option<u16>),
    /// Any PPPoE session, or this one.
    Session(Option<u16>),
    /// A payload of one of these lengths; TCP: not shorter than the shortest.
    Length(Lengths),
}

/// Which end of a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

impl Expr {
    pub(super) fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self::Or(Box::new(self), Box::new(other))
    }

    /// Whether any question in the tree is one of these.
    pub(super) fn asks(&self, which: fn(&Test) -> bool) -> bool {
        match self {
            Self::Is(test) => which(test),
            Self::Not(inner) => inner.asks(which),
            Self::And(a, b) | Self::Or(a, b) => a.asks(which) || b.asks(which),
        }
    }
}
