//! The native dialect: bytes that are noise, and secrets that are gone the day after (docs/protocol/native.md).
//!
//! A knock passes four tests, each dearer than the one before: its length; the admission tag, a SipHash; one Diffie-Hellman,
//! which opens the client's name; and the client's own link, which opens what it says. Nothing is a client's before the last.
//!
//! Here: the datagram's layout, the two Noise messages, the chains that forget, payload and answer.
//! Not here: which day's keys a server keeps, replays, budgets, policy.

mod answer;
mod chain;
mod noise;
mod open;
mod packet;
mod payload;
mod seal;

pub use answer::{Answer, AnswerError, NewDoor, Pending, SHORTEST_ANSWER, Status};
pub use chain::{Chain, ChainError, Day, MOST_STEPS};
pub use open::{Asked, Door, DoorDay, Identified, OpenError, Opened, Reply, code_claim};
pub use packet::{LONGEST, Packet, SHORTEST};
pub use payload::{Code, Kind, LONGEST_PAYLOAD, Malformed, Payload, TooLong};
pub use seal::{ClientKeys, SealError, seal};
