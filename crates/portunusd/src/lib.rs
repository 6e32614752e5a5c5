//! The daemon: keeper, front and grantor.
