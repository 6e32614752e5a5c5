//! How many openings a schedule had, and of which sort.

use portunus_model::{Client, Opening, Way};

use crate::packets::Packet;

/// How many openings there were, and of which sort.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    pub(crate) openme: u64,
    pub(crate) fwknop: u64,
    /// Sealed by GnuPG.
    pub(crate) gpg: u64,
    /// Of those by a stanza with other keys than the first that takes the signature.
    pub(crate) shared: u64,
    /// By a stanza whose keys an earlier one has too.
    pub(crate) later: u64,
    /// To another host.
    pub(crate) turned: u64,
    /// For as long as the client said.
    pub(crate) timed: u64,
}

impl Openings {
    pub(crate) fn count(&mut self, opening: &Opening, packet: &Packet, first: Option<&Client>) {
        let fwknop = u64::from(packet.wish.is_some());
        self.gpg += u64::from(packet.is_of_gpg());
        self.shared +=
            u64::from(packet.is_of_gpg() && first.is_some_and(|first| first.holder() != opening.client));
        self.fwknop += fwknop;
        self.openme += 1 - fwknop;
        self.later += u64::from(first.is_some_and(|first| first.name != opening.client));
        self.turned += u64::from(opening.way != Way::Here);
        self.timed +=
            u64::from(packet.wish.as_ref().is_some_and(|wish| wish.timeout.is_some_and(|secs| secs > 0)));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.openme += other.openme;
        self.fwknop += other.fwknop;
        self.gpg += other.gpg;
        self.shared += other.shared;
        self.later += other.later;
        self.turned += other.turned;
        self.timed += other.timed;
    }

    pub(crate) fn fewest(&self) -> u64 {
        let Self { openme, fwknop, gpg, shared, later, turned, timed } = self;
        *openme.min(fwknop).min(gpg).min(shared).min(later).min(turned).min(timed)
    }
}
