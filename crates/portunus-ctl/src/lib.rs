//! Messages: between the front and the grantor, and between the daemon and its tools.
//!
//! [`frame`] is what the front and the grantor say to each other (fixed size), [`control`] the JSON lines of the
//! control socket and a client for them, [`figures`] how much of everything there is, [`order`] what the front and the
//! commands process say to each other. Not here: who may ask for what, and what is done about it.

pub mod control;
pub mod figures;
pub mod frame;
pub mod names;
pub mod oracle;
pub mod order;
