//! tests: interop
