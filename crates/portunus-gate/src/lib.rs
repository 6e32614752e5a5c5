//! The state machine between a datagram and a grant. Pure.
