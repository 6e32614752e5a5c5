//! What the process tests are made of.

pub(crate) mod cases;
pub(crate) mod daemon;
pub(crate) mod escape;
pub(crate) mod figures;
pub(crate) mod knocker;
pub(crate) mod starts;
pub(crate) mod storage;
pub(crate) mod world;
