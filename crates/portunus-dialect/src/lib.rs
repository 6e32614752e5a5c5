//! Bytes and keys to a proven knock, a wish and keys to bytes. Pure.
