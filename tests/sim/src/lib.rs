//! tests: sim
