//! Who was invited and may enrol: a secret each, until a time, for the first key that comes with it.

use portunus_crypto::Secret;
use portunus_dialect::native::{Identified, Opened};
use portunus_model::{ClientName, Mono, Unix};

/// So many are tried with a packet at their door.
const MOST: usize = 16;

/// Somebody who was invited.
#[derive(PartialEq, Eq)]
pub struct Invitation {
    /// What the client is called.
    pub name: ClientName,
    /// What proves that a packet is by who was invited.
    pub secret: Secret<32>,
    /// Until then.
    pub until: Unix,
    /// The public key that came first; no other is taken in.
    pub taken: Option<[u8; 32]>,
}

#[derive(Default)]
pub(crate) struct Invitations(Vec<Open>);

struct Open {
    invitation: Invitation,
    /// The seconds of [`Mono`] in which the key that came first was heard last, and any other one.
    heard: [u64; 2],
}

impl Invitations {
    /// After a reload.
    pub(crate) fn replace(&mut self, new: Vec<Invitation>) {
        let before = std::mem::take(&mut self.0);
        let heard = |new: &Invitation| {
            let same = |open: &&Open| open.invitation.secret == new.secret;
            before.iter().find(same).map_or([0; 2], |open| open.heard)
        };
        self.0 = new
            .into_iter()
            .take(MOST)
            .map(|invitation| Open { heard: heard(&invitation), invitation })
            .collect();
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose secret opens it.
    pub(crate) fn open(
        &self,
        identified: &Identified<'_>,
        shared: &Secret<32>,
    ) -> Option<(&ClientName, Opened)> {
        self.0.iter().find_map(|Open { invitation, .. }| {
            Some((&invitation.name, identified.open(shared, &invitation.secret).ok()?))
        })
    }

    pub(crate) fn get(&self, name: &ClientName) -> Option<&Invitation> {
        self.0.iter().map(|open| &open.invitation).find(|invitation| invitation.name == *name)
    }

    /// This key was first.
    pub(crate) fn take(&mut self, name: &ClientName, public: [u8; 32]) {
        if let Some(open) = self.get_mut(name) {
            open.invitation.taken.get_or_insert(public);
        }
    }

    /// Whether this key is heard: one packet a second for each invitation, and one of the key that came first, whatever others
    /// send who have the code. What is heard is claimed, told to the keeper and answered.
    pub(crate) fn hears(&mut self, name: &ClientName, public: &[u8; 32], now: Mono) -> bool {
        // From 1 on, so that the first second is not taken for one in which there was a packet.
        let second = now.as_nanos() / 1_000_000_000 + 1;
        let Some(open) = self.get_mut(name) else { return false };
        let [first, other] = &mut open.heard;
        let last = if open.invitation.taken.as_ref() == Some(public) { first } else { other };
        std::mem::replace(last, second) != second
    }

    fn get_mut(&mut self, name: &ClientName) -> Option<&mut Open> {
        self.0.iter_mut().find(|open| open.invitation.name == *name)
    }
}
