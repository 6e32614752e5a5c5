//! What the answers to claimed knocks are sealed with, until their verdict falls. Bounded by what may be asked at once: each
//! claimed knock ends in one verdict.

use portunus_dialect::native::Reply;

/// By which a reply is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyTo(u32);

#[derive(Default)]
pub(crate) struct Replies {
    /// With whether its knock is claimed: before, nobody is answered.
    kept: Vec<Option<(Reply, bool)>>,
    free: Vec<u32>,
}

impl Replies {
    /// `None`: there are more than anybody can ask for.
    pub(crate) fn keep(&mut self, reply: Reply) -> Option<ReplyTo> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                let number = u32::try_from(self.kept.len()).ok()?;
                self.kept.push(None);
                number
            }
        };
        *self.kept.get_mut(number as usize)? = Some((reply, false));
        Some(ReplyTo(number))
    }

    /// Its knock is claimed.
    pub(crate) fn claim(&mut self, ReplyTo(number): ReplyTo) {
        if let Some(Some((_, claimed))) = self.kept.get_mut(number as usize) {
            *claimed = true;
        }
    }

    /// Its knock's verdict falls. `None`: it was never claimed.
    pub(crate) fn take(&mut self, ReplyTo(number): ReplyTo) -> Option<Reply> {
        let (reply, claimed) = self.kept.get_mut(number as usize)?.take()?;
        self.free.push(number);
        claimed.then_some(reply)
    }
}
