//! One binary, several faces.
fn main() {}
