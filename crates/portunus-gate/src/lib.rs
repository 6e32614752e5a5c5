//! The state machine between a datagram and a grant. Pure: values in, values out.
//!
//! Here: everything between "bytes arrived" and "please open this": who is tried first, what is proven, fresh, claimed
//! and allowed, which grants are open. Not here: any socket, file, clock, thread or random source. The shell lives in
//! `portunusd`: it calls a `handle_*` with the time, carries out what [`Gate::poll_action`] gives, and feeds the results
//! back; when its input is drained it calls [`Gate::work`].
//!
//! [`Action`] is the whole list of effects. `Action::Open` carries a [`Warrant`], which nobody outside can make, and which
//! is made in one place only, from a knock that was proven, fresh, claimed and allowed, each by the type before it:
//!
//! ```compile_fail,E0451
//! fn forged(opening: portunus_model::Opening) -> portunus_gate::Warrant {
//!     portunus_gate::Warrant { opening }
//! }
//! ```

mod action;
mod chain;
mod clients;
mod counters;
mod crowd;
mod gate;
mod grants;
mod keysets;
mod lane;
mod names;
mod native;
mod oracle;
mod pending;
mod policy;
mod prefilter;
mod sources;
mod stanza;

pub use action::{Action, Answering, Enrolled, Enrolment, Question, Ticket};
pub use counters::{Counters, Effort};
pub use gate::{Gate, Keyring, Tuning};
pub use grants::{Door, RestoredGrant, Session};
pub use native::{ChainChange, Invitation};
pub use policy::{Mandate, Warrant};
