//! Profile and wish to bytes, and the bytes to the gateway.
