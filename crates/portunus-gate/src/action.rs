//! Every effect that the gate can ever ask for.

use std::net::{IpAddr, SocketAddr};

use portunus_crypto::Secret;
use portunus_dialect::fwknop::gpg::RingId;
use portunus_dialect::native::{Answer, Day, Reply};
use portunus_model::{Accepted, Claim, ClientName, Closing, Event, Via};

use crate::{ChainChange, Mandate, Warrant};

/// What the shell is to do. In the order given: a `Close` means the opens before it too.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the store; the answer goes to [`crate::Gate::handle_claimed`].
    Claim(Ticket, Claim),
    /// Write it down among the accepted packets, before anything that is asked for next.
    Accept(Accepted),
    /// Have it opened; the answer goes to [`crate::Gate::handle_opened`].
    Open(Ticket, Warrant),
    /// Have it run; the answer goes to [`crate::Gate::handle_ran`].
    Run(Ticket, Mandate),
    /// Look this name up; the answer goes to [`crate::Gate::handle_resolved`].
    Resolve(Ticket, String),
    /// Have gpg open it; the answer goes to [`crate::Gate::handle_gpg`].
    Gpg(Question),
    /// Keep and erase these durably, all or none, 512 at most; what became of it goes to [`crate::Gate::handle_chains`]. One
    /// batch at a time.
    Chains(Vec<ChainChange>),
    /// Take this client in, durably, and put it into the rules; what became of it goes to [`crate::Gate::handle_enrolled`].
    Enrol(Ticket, Box<Enrolment>),
    /// Answer a client that may have one.
    Answer(Box<Answering>),
    /// Have it closed now, before its time.
    Close(Closing),
    /// Say when the kernel has done all that was asked for before; the answer goes to [`crate::Gate::handle_settled`].
    Settle(Ticket),
    /// Say it. Strangers' events come once a datagram too: how many of them are written down is the shell's business.
    Tell(Event),
}

/// Who was invited, and has come with a key.
#[derive(PartialEq, Eq)]
pub struct Enrolment {
    /// By which name it was invited.
    pub name: ClientName,
    /// Its X25519 public key.
    pub public: [u8; 32],
    /// Its link begins on that day,
    pub day: Day,
    /// with this value.
    pub link: Secret<32>,
    /// From where it came.
    pub source: IpAddr,
}

impl std::fmt::Debug for Enrolment {
    /// Never the link.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrolment({}, {})", self.name, self.source)
    }
}

/// What became of an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolled {
    /// The rules have the client.
    Done,
    /// It is written down; the administrator has to confirm its key.
    Unconfirmed,
    /// Another key came first.
    Another,
    /// It could not be written down, or the rules do not take it.
    Failed,
}

/// What gpg is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// By which its answer is known.
    pub number: u64,
    /// With which keyring.
    pub ring: RingId,
    /// The OpenPGP message.
    pub message: Vec<u8>,
}

/// An answer, to be sealed with fresh randomness and sent from the socket that the knock came to.
#[derive(Debug)]
pub struct Answering {
    /// To whom.
    pub to: SocketAddr,
    /// From which address of ours, as far as the receiver could tell.
    pub from: Option<IpAddr>,
    /// By what its knock came.
    pub via: Via,
    /// What it is sealed with.
    pub reply: Reply,
    /// What it says.
    pub answer: Answer,
}

impl PartialEq for Answering {
    /// By what people can see of it: what seals it is random.
    fn eq(&self, other: &Self) -> bool {
        (self.to, self.from, self.via) == (other.to, other.from, other.via) && self.answer == other.answer
    }
}

impl Eq for Answering {}

/// Which question an answer belongs to. It may travel as a number, whose two highest bits are 0, for whoever has other
/// numbers besides; one that was never given out is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Turns are told apart by so many bits.
const TURNS: u64 = (1 << 30) - 1;

impl Ticket {
    pub(crate) const fn new(slot: u32, turn: u32) -> Self {
        Self((turn as u64 & TURNS) << 32 | slot as u64)
    }

    pub(crate) const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// As a number, for a message to another process.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// From a message's number.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }
}
