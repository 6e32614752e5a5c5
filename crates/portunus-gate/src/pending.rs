//! Questions that were asked and not yet answered: bounded, each with a deadline.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use portunus_dialect::fwknop::Packet;
use portunus_model::{ClaimKey, ClientName, Closing, Dialect, Mono, Opening};

use crate::Ticket;
use crate::chain::{Fresh, Origin, Taken};

/// A knock whose claim is with the store.
#[derive(Debug)]
pub(crate) struct Claiming {
    pub(crate) fresh: Fresh,
    pub(crate) origin: Origin,
    pub(crate) dialect: Dialect,
    /// By which name its client was invited, which is none yet.
    pub(crate) invited: Option<ClientName>,
}

/// A warrant that is with the grantor.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) opening: Opening,
    /// For whom, as the rules call it.
    pub(crate) name: ClientName,
    pub(crate) origin: Origin,
    pub(crate) dialect: Dialect,
    /// A `Close` for it was sent after it: it does not stay open, whatever the answer is.
    pub(crate) revoked: bool,
    /// Of the same client and address, and answered too late while this one waited: doors that are open though their
    /// knocks were refused. What becomes of them follows from this one's answer.
    pub(crate) strays: Vec<Stray>,
}

/// A door that was opened too late.
#[derive(Debug)]
pub(crate) struct Stray {
    pub(crate) opening: Opening,
    /// For whom, as the rules call it.
    pub(crate) name: ClientName,
}

impl Asked {
    pub(crate) fn is_of(&self, client: &ClientName, address: IpAddr) -> bool {
        self.opening.client == *client && self.opening.address == address
    }
}

#[derive(Debug)]
pub(crate) enum Waiting {
    Claim(Claiming),
    Open(Asked),
    /// Its verdict was given; an answer that comes all the same must not leave a door open.
    Abandoned(Asked),
    /// A claimed knock that waits for the address of the inner host that it names.
    Name(Claimant),
    /// An order that is with who runs it.
    Run(Ordered),
    /// A code that is with the store.
    Code(Coded),
    /// A client's own closing, until the kernel has closed.
    Close(Shutting),
    /// Somebody who was invited, until the rules have it.
    Enrol(Enrolling),
}

/// Somebody who was invited, and has come with a key.
#[derive(Debug)]
pub(crate) struct Enrolling {
    pub(crate) name: ClientName,
    pub(crate) public: [u8; 32],
    pub(crate) origin: Origin,
}

/// A client that closes what is open for it.
#[derive(Debug)]
pub(crate) struct Shutting {
    /// As the rules call it.
    pub(crate) name: ClientName,
    pub(crate) origin: Origin,
    pub(crate) dialect: Dialect,
}

/// A knock that is claimed, and not yet decided.
#[derive(Debug)]
pub(crate) struct Claimant {
    pub(crate) taken: Taken,
    /// Whose it is: the first of its stanzas.
    pub(crate) client: u32,
    /// Whether its one-time code was looked at, and is right.
    pub(crate) passed: bool,
}

/// A claimed knock whose one-time code is right, and with the store: nobody else may use it.
#[derive(Debug)]
pub(crate) struct Coded {
    pub(crate) claimant: Claimant,
    /// In which step the code was made, and for which attempt.
    pub(crate) step: u64,
    pub(crate) attempt: [u8; 8],
}

/// What was ordered.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) client: ClientName,
    pub(crate) address: Option<IpAddr>,
    pub(crate) lasting: Duration,
    pub(crate) origin: Origin,
    pub(crate) dialect: Dialect,
}

/// What its time is up for.
#[derive(Debug)]
pub(crate) enum Overdue {
    Claim(Claiming),
    Open { client: ClientName, origin: Origin, dialect: Dialect },
    Name(Claimant),
    Run(Ordered),
    Code(Coded),
    Close(Shutting),
    Enrol(Enrolling),
}

#[derive(Debug)]
pub(crate) struct Pending {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// In order: everybody waits equally long.
    due: VecDeque<(Mono, Ticket)>,
    abandoned: VecDeque<Ticket>,
    capacity: usize,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Slot {
    /// How often it was used: an answer to an earlier question is not taken for this one's.
    turn: u32,
    waiting: Option<Waiting>,
}

impl Pending {
    pub(crate) fn new(capacity: usize, patience: Duration) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            due: VecDeque::new(),
            abandoned: VecDeque::new(),
            capacity: capacity.clamp(1, u32::MAX as usize),
            patience,
        }
    }

    /// `None`: too many wait already.
    pub(crate) fn insert(&mut self, now: Mono, waiting: Waiting) -> Option<Ticket> {
        let number = self.free.pop().or_else(|| self.grow()).or_else(|| self.reuse())?;
        let slot = self.slots.get_mut(number as usize)?;
        slot.turn = slot.turn.wrapping_add(1);
        slot.waiting = Some(waiting);
        let ticket = Ticket::new(number, slot.turn);
        self.due.push_back((now.after(self.patience), ticket));
        Some(ticket)
    }

    fn grow(&mut self) -> Option<u32> {
        let number = u32::try_from(self.slots.len()).ok().filter(|_| self.slots.len() < self.capacity)?;
        self.slots.push(Slot::default());
        Some(number)
    }

    /// The grantor that owes the oldest of them an answer will hardly give it any more; the kernel closes by itself.
    fn reuse(&mut self) -> Option<u32> {
        loop {
            let ticket = self.abandoned.pop_front()?;
            if self.take(ticket).is_some() {
                return self.free.pop();
            }
        }
    }

    pub(crate) fn take_claim(&mut self, ticket: Ticket) -> Option<Claiming> {
        let taken = self.take_if(ticket, |waiting| matches!(waiting, Waiting::Claim(_)))?;
        if let Waiting::Claim(claiming) = taken { Some(claiming) } else { None }
    }

    /// A [`Waiting::Open`] or [`Waiting::Abandoned`].
    pub(crate) fn take_asked(&mut self, ticket: Ticket) -> Option<Waiting> {
        self.take_if(ticket, |waiting| matches!(waiting, Waiting::Open(_) | Waiting::Abandoned(_)))
    }

    pub(crate) fn take_name(&mut self, ticket: Ticket) -> Option<Claimant> {
        let taken = self.take_if(ticket, |waiting| matches!(waiting, Waiting::Name(_)))?;
        if let Waiting::Name(claimant) = taken { Some(claimant) } else { None }
    }

    pub(crate) fn take_order(&mut self, ticket: Ticket) -> Option<Ordered> {
        let taken = self.take_if(ticket, |waiting| matches!(waiting, Waiting::Run(_)))?;
        if let Waiting::Run(ordered) = taken { Some(ordered) } else { None }
    }

    pub(crate) fn take_code(&mut self, ticket: Ticket) -> Option<Coded> {
        let taken = self.take_if(ticket, |waiting| matches!(waiting, Waiting::Code(_)))?;
        if let Waiting::Code(coded) = taken { Some(coded) } else { None }
    }

    pub(crate) fn take_closing(&mut self, ticket: Ticket) -> Option<Shutting> {
        let taken = self.take_if(ticket, |waiting| matches!(waiting, Waiting::Close(_)))?;
        if let Waiting::Close(shutting) = taken { Some(shutting) } else { None }
    }

    pub(crate) fn take_enrolling(&mut self, ticket: Ticket) -> Option<Enrolling> {
        let taken = self.take_if(ticket, |waiting| matches!(waiting, Waiting::Enrol(_)))?;
        if let Waiting::Enrol(enrolling) = taken { Some(enrolling) } else { None }
    }

    fn take_if(&mut self, ticket: Ticket, is_it: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        if is_it(self.peek(ticket)?) { self.take(ticket) } else { None }
    }

    fn peek(&self, ticket: Ticket) -> Option<&Waiting> {
        let slot = self.slots.get(ticket.slot() as usize)?;
        slot.waiting.as_ref().filter(|_| Ticket::new(ticket.slot(), slot.turn) == ticket)
    }

    /// Where a knock came from that waits.
    pub(crate) fn origin_of(&self, ticket: Ticket) -> Option<Origin> {
        Some(match self.peek(ticket)? {
            Waiting::Open(asked) | Waiting::Abandoned(asked) => asked.origin,
            Waiting::Claim(claiming) => claiming.origin,
            Waiting::Name(claimant) => claimant.taken.origin(),
            Waiting::Run(ordered) => ordered.origin,
            Waiting::Code(coded) => coded.claimant.taken.origin(),
            Waiting::Close(shutting) => shutting.origin,
            Waiting::Enrol(enrolling) => enrolling.origin,
        })
    }

    /// The claim by which a packet's text is known that was used before us.
    pub(crate) fn text_of(&self, ticket: Ticket) -> Option<ClaimKey> {
        match self.peek(ticket)? {
            Waiting::Claim(claiming) => {
                claiming.fresh.text_sha256().map(|sha256| Packet::claim_key_of(&sha256))
            }
            Waiting::Open(_)
            | Waiting::Abandoned(_)
            | Waiting::Name(_)
            | Waiting::Run(_)
            | Waiting::Code(_)
            | Waiting::Close(_)
            | Waiting::Enrol(_) => None,
        }
    }

    /// Whose knock waits to be opened or run, as the rules call it.
    pub(crate) fn name_of(&self, ticket: Ticket) -> Option<&ClientName> {
        match self.peek(ticket)? {
            Waiting::Open(asked) | Waiting::Abandoned(asked) => Some(&asked.name),
            Waiting::Run(ordered) => Some(&ordered.client),
            Waiting::Close(shutting) => Some(&shutting.name),
            Waiting::Enrol(enrolling) => Some(&enrolling.name),
            Waiting::Claim(_) | Waiting::Name(_) | Waiting::Code(_) => None,
        }
    }

    fn take(&mut self, ticket: Ticket) -> Option<Waiting> {
        self.peek(ticket)?;
        let waiting = self.slots.get_mut(ticket.slot() as usize)?.waiting.take()?;
        self.free.push(ticket.slot());
        // Answers come nearly in order, so this keeps the queue as short as what really waits.
        while let Some(&(_, ticket)) = self.due.front() {
            if self.is_asking(ticket) {
                break;
            }
            self.due.pop_front();
        }
        Some(waiting)
    }

    fn is_asking(&self, ticket: Ticket) -> bool {
        match self.peek(ticket) {
            Some(
                Waiting::Claim(_)
                | Waiting::Open(_)
                | Waiting::Name(_)
                | Waiting::Run(_)
                | Waiting::Code(_)
                | Waiting::Close(_)
                | Waiting::Enrol(_),
            ) => true,
            Some(Waiting::Abandoned(_)) | None => false,
        }
    }

    /// How many questions are open, those included whose verdict was given.
    pub(crate) fn len(&self) -> usize {
        self.slots.len().saturating_sub(self.free.len())
    }

    /// When [`Pending::overdue`] is to be called.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.due.front().map(|&(deadline, _)| deadline)
    }

    /// The next whose time is up.
    pub(crate) fn overdue(&mut self, now: Mono) -> Option<Overdue> {
        while let Some(&(_, ticket)) = self.due.front().filter(|(deadline, _)| *deadline <= now) {
            self.due.pop_front();
            if let Some(claiming) = self.take_claim(ticket) {
                return Some(Overdue::Claim(claiming));
            }
            if let Some(claimant) = self.take_name(ticket) {
                return Some(Overdue::Name(claimant));
            }
            if let Some(ordered) = self.take_order(ticket) {
                return Some(Overdue::Run(ordered));
            }
            if let Some(coded) = self.take_code(ticket) {
                return Some(Overdue::Code(coded));
            }
            if let Some(shutting) = self.take_closing(ticket) {
                return Some(Overdue::Close(shutting));
            }
            if let Some(enrolling) = self.take_enrolling(ticket) {
                return Some(Overdue::Enrol(enrolling));
            }
            if let Some(overdue) = self.abandon(ticket) {
                return Some(overdue);
            }
        }
        None
    }

    fn abandon(&mut self, ticket: Ticket) -> Option<Overdue> {
        self.peek(ticket)?;
        let slot = self.slots.get_mut(ticket.slot() as usize)?;
        let (waiting, overdue) = match slot.waiting.take()? {
            Waiting::Open(asked) => {
                let (client, origin, dialect) = (asked.name.clone(), asked.origin, asked.dialect);
                (Waiting::Abandoned(asked), Some(Overdue::Open { client, origin, dialect }))
            }
            other @ (Waiting::Claim(_)
            | Waiting::Abandoned(_)
            | Waiting::Name(_)
            | Waiting::Run(_)
            | Waiting::Code(_)
            | Waiting::Close(_)
            | Waiting::Enrol(_)) => (other, None),
        };
        slot.waiting = Some(waiting);
        self.abandoned.push_back(ticket);
        // Those that were answered late are still in the list: a grantor that is always late must not make it grow.
        if self.abandoned.len() > 2 * self.slots.len() {
            let mut abandoned = std::mem::take(&mut self.abandoned);
            abandoned.retain(|&ticket| self.peek(ticket).is_some());
            self.abandoned = abandoned;
        }
        overdue
    }

    /// Everything that is with the grantor, its verdict given or not.
    pub(crate) fn asked(&mut self) -> impl Iterator<Item = &mut Asked> {
        self.slots.iter_mut().filter_map(|slot| match slot.waiting.as_mut()? {
            Waiting::Open(asked) | Waiting::Abandoned(asked) => Some(asked),
            Waiting::Claim(_)
            | Waiting::Name(_)
            | Waiting::Run(_)
            | Waiting::Code(_)
            | Waiting::Close(_)
            | Waiting::Enrol(_) => None,
        })
    }

    /// One for this client and address whose verdict is still to come.
    pub(crate) fn open_for(&mut self, client: &ClientName, address: IpAddr) -> Option<&mut Asked> {
        self.slots.iter_mut().find_map(|slot| match slot.waiting.as_mut()? {
            Waiting::Open(asked) => Some(asked).filter(|asked| asked.is_of(client, address)),
            Waiting::Claim(_)
            | Waiting::Abandoned(_)
            | Waiting::Name(_)
            | Waiting::Run(_)
            | Waiting::Code(_)
            | Waiting::Close(_)
            | Waiting::Enrol(_) => None,
        })
    }

    /// How many places its lists take up.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.due.len() + self.abandoned.len() + self.slots.len()
    }

    /// A `Close` goes out after them.
    pub(crate) fn revoke(&mut self, closing: &Closing) {
        for asked in
            self.asked().filter(|asked| is_meant(closing, &asked.opening.client, asked.opening.address))
        {
            asked.revoked = true;
        }
    }

    /// After a reload the clients have other numbers.
    pub(crate) fn renumber(&mut self, number: impl Fn(u32) -> u32) {
        for slot in &mut self.slots {
            match &mut slot.waiting {
                Some(Waiting::Claim(claiming)) => claiming.fresh.renumber(&number),
                Some(Waiting::Name(claimant)) => {
                    claimant.taken.renumber(&mut claimant.client, &number);
                }
                Some(Waiting::Code(coded)) => {
                    coded.claimant.taken.renumber(&mut coded.claimant.client, &number);
                }
                Some(
                    Waiting::Open(_)
                    | Waiting::Abandoned(_)
                    | Waiting::Run(_)
                    | Waiting::Close(_)
                    | Waiting::Enrol(_),
                )
                | None => (),
            }
        }
    }
}

/// Whether a closing means the grants of `client` at `address`.
pub(crate) fn is_meant(closing: &Closing, client: &ClientName, address: IpAddr) -> bool {
    closing.client.as_ref().is_none_or(|only| only == client)
        && closing.address.is_none_or(|only| only.to_canonical() == address)
}
