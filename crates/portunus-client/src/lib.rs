//! The client side: a wish becomes bytes, the bytes go to the server, and the door is tried.
//!
//! Here is the IO of a client: names, UDP, TCP, HTTP, its own address as others see it, the wall clock, the
//! user's gpg. Not here: profiles and their files
//! (portunus-config), the bytes themselves (portunus-dialect), words for people (the faces). Nothing here is for one
//! system only, and no function changes anything on this machine.

pub mod carrier;
mod carry;
mod dial;
mod door;
mod error;
pub mod gpg;
mod heard;
mod knock;
pub mod native;
pub mod own;
mod resolve;
mod sealer;
mod whom;

pub use carry::{Ended, carry};
pub use door::{Closed, Opened, Patience, ToWhom, knock_and_connect, reachable};
pub use error::ClientError;
pub use heard::Heard;
pub use knock::{Request, Seal, Sent, Way, knock_all, knock_and_hear, knock_one};
pub use resolve::{Families, resolve, source_towards};
pub use sealer::Sealer;
pub use whom::{Whom, WhomError};
