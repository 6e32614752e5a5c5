//! Messages: between the daemon's processes, and between the daemon and its tools.
//!
//! [`frame`] is what the front and the grantor say to each other (fixed size), [`snapshot`] what the keeper hands to
//! a part, [`control`] the JSON lines of the control socket and its client. Not here: who may ask for what, and what is done about it.

pub mod control;
