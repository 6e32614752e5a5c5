//! Which packets are wanted: a filter in the words of pcap-filter(7), compiled to a program that the kernel runs for each
//! packet (and [`Filter::admits`] runs for those of a capture file).
//!
//! Compiled here and not by libpcap: that is C that parses as root. Where it differs from libpcap: every packet is looked
//! at behind its tags and its PPPoE header, and behind extension headers of IPv6, so that `udp port 62201` finds it there
//! too; what is not IP, is a fragment, or is neither UDP, TCP nor ICMP can be no knock and is never admitted.
//!
//! Not here: sockets. Called by the keeper and by the check of a configuration.

mod code;
mod emit;
mod expr;
mod machine;
mod read;
mod words;

use portunus_model::Lengths;
use portunus_sys::bpf::Step;

use crate::Frame;
use expr::{Expr, Test};

/// A filter that can be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    expr: Expr,
    /// What [`Self::admits`] runs.
    program: Vec<Step>,
}

impl Filter {
    /// Reads a filter; an empty one admits everything that may be a knock.
    ///
    /// # Errors
    /// [`FilterError`]: which word, at which column, and the mend.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let expr = read::read(text)?;
        Ok(Self { program: emit::emit(&expr, u32::MAX), expr })
    }

    /// The program for a packet socket that sees packets from behind their link header on (`SOCK_DGRAM`). It keeps, up to
    /// `snap` bytes of each, those that pass the filter and whose payload has one of `lengths`. A TCP segment may be
    /// longer, for it may be an HTTP request that a knock is a part of.
    #[must_use]
    pub fn program(&self, lengths: &Lengths, snap: u32) -> Vec<Step> {
        let length = Expr::Is(Test::Length(lengths.clone()));
        emit::emit(&Expr::And(Box::new(self.expr.clone()), Box::new(length)), snap.max(1))
    }

    /// Whether a packet passes, whatever the length of its payload.
    #[must_use]
    pub fn admits(&self, frame: Frame<'_>) -> bool {
        machine::run(&self.program, frame) != 0
    }
}

/// Why a text is no filter, or none that we can compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {word:?}: {why}")]
pub struct FilterError {
    /// Where, counted in letters from 1.
    pub column: usize,
    /// The word.
    pub word: String,
    /// What is the matter with it, and the mend.
    pub why: Fault,
}

/// What is the matter with a word of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A protocol that is not IP.
    #[error("only IP packets can be knocks: leave it out")]
    NotIp,
    /// A protocol that no knock comes by.
    #[error("no knock comes by this protocol: write udp, tcp, icmp or icmp6")]
    NotCarried,
    /// Something about the link.
    #[error("addresses and headers of the link are not looked at: write host, net or port")]
    Link,
    /// Bytes or lengths of the packet.
    #[error("bytes and lengths of a packet cannot be compared here: write host, net, port, udp, tcp or icmp")]
    Comparison,
    /// A direction.
    #[error("only arriving packets are seen (unless both directions are asked for): leave it out")]
    Direction,
    /// A kind of address.
    #[error("this cannot be asked of an address here: write net and a range, such as `net 224.0.0.0/4`")]
    Cast,
    /// A word of libpcap's that has no meaning here, or no word at all.
    #[error(
        "this is no word of a filter here: write host, net, port, portrange, udp, tcp, icmp, and, or, not"
    )]
    Unknown,
    /// A value with nothing that says what it is a value of.
    #[error("it is not said what this is: write host, net or port before it")]
    Bare,
    /// A test was expected.
    #[error("a test is missing here, such as `udp port 62201`")]
    NoTest,
    /// `and` or `or` was expected.
    #[error("`and` or `or` is missing before this")]
    NoLink,
    /// Too many or too few.
    #[error("the parentheses do not match: add or remove one")]
    Parenthesis,
    /// `udp host` and the like.
    #[error("this cannot stand behind that protocol: write `and` between the two")]
    Qualifier,
    /// No port.
    #[error("this is no port: write a number from 0 to 65535 (names of services are not looked up)")]
    Port,
    /// No range of ports.
    #[error("this is no range of ports: write two numbers from 0 to 65535 with `-` between, the lower first")]
    PortRange,
    /// No address.
    #[error("this is no address: write one such as 192.0.2.7 or 2001:db8::7 (names are not looked up)")]
    Host,
    /// No network.
    #[error("this is no network: write one such as 192.0.2.0/24 or 2001:db8::/32")]
    Net,
    /// Bits of the address outside the mask.
    #[error("bits of this address lie outside its mask: write its first address, or a longer mask")]
    HostBits,
    /// No protocol number.
    #[error("this is no protocol: write udp, tcp, icmp, icmp6 or a number from 0 to 255")]
    Proto,
    /// No VLAN or session.
    #[error("this is no such number: a VLAN is 0 to 4095, a PPPoE session 0 to 65535")]
    Tag,
    /// Too long or too deep.
    #[error("the filter is too long: use at most 48 tests, 32 levels of parentheses and 1500 letters")]
    TooLong,
}
