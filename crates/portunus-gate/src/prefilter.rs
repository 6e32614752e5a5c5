//! What can be known of a datagram without a key: whether it has the shape of a packet of any dialect in use.

use portunus_dialect::{Candidate, recognise};

/// The dialects in use. Their lengths are the socket's filter in the kernel, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prefilter {
    pub(crate) openme: bool,
    pub(crate) fwknop: bool,
}

impl Prefilter {
    /// The packet that it may be; `None` is noise, or of a dialect that is not in use.
    pub(crate) fn admit<'a>(&self, bytes: &'a [u8]) -> Option<Candidate<'a>> {
        recognise(bytes).filter(|candidate| match candidate {
            Candidate::Openme(_) => self.openme,
            Candidate::Fwknop(_) => self.fwknop,
        })
    }
}
