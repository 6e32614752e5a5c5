//! What each primitive costs on this machine.

fn main() {}
