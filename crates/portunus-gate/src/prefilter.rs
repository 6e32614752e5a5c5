//! What can be known of a datagram without a key: whether any dialect in use has packets of its length.

use portunus_dialect::openme;

use crate::Keyring;

/// The lengths of the dialects in use. The same list is the socket's filter in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prefilter {
    openme: bool,
}

impl Prefilter {
    pub(crate) const fn of(keys: &Keyring) -> Self {
        Self { openme: keys.openme.is_some() }
    }

    pub(crate) const fn admits(self, length: usize) -> bool {
        self.openme && length == openme::LENGTH
    }
}
