//! The daemon as processes.
fn main() {}
