//! Receivers: each turns a source of packets into datagrams.
