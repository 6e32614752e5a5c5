//! What a knock costs: to make, to open, to verify.
fn main() {}
