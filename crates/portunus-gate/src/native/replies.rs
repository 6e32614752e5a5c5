//! What the answers to claimed knocks are sealed with, until their verdict falls. Bounded by what may be asked at once: each
//! claimed knock ends in one verdict.

use portunus_dialect::native::Reply;
use portunus_model::DoorRole;

/// By which a reply is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyTo(u32);

#[derive(Default)]
pub(crate) struct Replies {
    kept: Vec<Option<Kept>>,
    free: Vec<u32>,
}

struct Kept {
    reply: Reply,
    /// At which door its knock came.
    door: DoorRole,
    /// Whether that is claimed: before, nobody is answered.
    claimed: bool,
}

impl Replies {
    /// `None`: there are more than anybody can ask for.
    pub(crate) fn keep(&mut self, reply: Reply, door: DoorRole) -> Option<ReplyTo> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                let number = u32::try_from(self.kept.len()).ok()?;
                self.kept.push(None);
                number
            }
        };
        *self.kept.get_mut(number as usize)? = Some(Kept { reply, door, claimed: false });
        Some(ReplyTo(number))
    }

    /// Its knock is claimed.
    pub(crate) fn claim(&mut self, ReplyTo(number): ReplyTo) {
        if let Some(Some(kept)) = self.kept.get_mut(number as usize) {
            kept.claimed = true;
        }
    }

    /// Its knock's verdict falls. `None`: it was never claimed.
    pub(crate) fn take(&mut self, ReplyTo(number): ReplyTo) -> Option<(Reply, DoorRole)> {
        let Kept { reply, door, claimed } = self.kept.get_mut(number as usize)?.take()?;
        self.free.push(number);
        claimed.then_some((reply, door))
    }
}
