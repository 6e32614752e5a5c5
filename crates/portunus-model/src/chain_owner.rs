//! Whose a chain of the native dialect is, or what else is kept for a public key.

/// Whose a chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChainOwner {
    /// A door's, by its public key.
    Door([u8; 32]),
    /// The link of a client, by its public key.
    Link([u8; 32]),
    /// The link that a client has announced, and not yet used.
    Announced([u8; 32]),
    /// No chain: until when a client's knocks are refused that has closed. The value begins with Unix milliseconds.
    Closed([u8; 32]),
    /// No chain: a client, by its public key, that has knocked at a door where everybody is to knock from now on. The value is
    /// that door's public key.
    Moved([u8; 32]),
}
