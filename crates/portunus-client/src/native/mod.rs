//! A profile's native keys, put to work: which of them a knock is sealed with, what it says, and what its answer proves.

mod enrol;
mod keeping;

use std::net::{IpAddr, SocketAddr};

use portunus_config::profile::{KnownDoor, NativeKeys, Renewal};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Entropy, LibraryRefused};
use portunus_dialect::native::{
    self, Answer, Chain, ClientKeys, Day, Kind, NewDoor, Payload, Pending, SealError, Status,
};
use portunus_model::Unix;

pub use enrol::Enroller;
pub use keeping::{Arrived, Outcome, Says, Told, after, announcing};

use crate::whom::global;
use crate::{Heard, Request, Way};

/// Answers that are waited for at once: three tries at eight addresses. What is older is given up.
const MOST_PENDING: usize = 24;

/// Seals knocks with native keys.
pub struct NativeSealer {
    keys: NativeKeys,
    client: PrivateKey,
    request: Request,
    /// How often each address was knocked at since [`Self::begin`].
    tries: Vec<(SocketAddr, u32)>,
    pending: Vec<Awaited>,
    outcome: Option<Outcome>,
}

/// An answer that is waited for, and what it would prove.
struct Awaited {
    pending: Pending,
    day: Day,
    /// The door that the knock went to, by its public key.
    door: [u8; 32],
    /// What is learned of the new link when the server did what this knock asked for.
    proves: Arrived,
}

/// What one knock is about: its door, its link, its kind, and the link that it announces.
struct Plan<'a> {
    server: [u8; 32],
    door: &'a Chain,
    link: &'a Chain,
    kind: Kind,
    announced: Option<&'a Chain>,
}

impl NativeSealer {
    pub(crate) fn new(keys: &NativeKeys, request: Request) -> Result<Self, LibraryRefused> {
        let client = PrivateKey::new(&keys.secret)?;
        let keys = keys.duplicate();
        Ok(Self { keys, client, request, tries: Vec::new(), pending: Vec::new(), outcome: None })
    }

    /// A new round: its knocks are first tries again, and nothing is waited for from before.
    pub fn begin(&mut self) {
        self.tries.clear();
        self.pending.clear();
    }

    /// Whether the server answers.
    #[must_use]
    pub const fn listens(&self) -> bool {
        self.keys.answers
    }

    /// Whether a door is asked for that is open to one source port only.
    #[must_use]
    pub const fn one_flow(&self) -> bool {
        self.keys.source_port
    }

    /// Whether an open door would say more of the link than is known, for there is no answer to say it: then it is worth a look
    /// whether it is closed before.
    #[must_use]
    pub const fn wonders(&self) -> bool {
        !self.keys.answers && matches!(self.keys.renewal, Renewal::Announced(_))
    }

    /// Whether a further knock of this round goes another way than the first: one that a door did not open to is worth one more.
    #[must_use]
    pub const fn falls_back(&self) -> bool {
        matches!(self.keys.renewal, Renewal::Replaced(_)) || self.keys.old_door.is_some()
    }

    /// Its keys.
    #[must_use]
    pub const fn keys(&self) -> &NativeKeys {
        &self.keys
    }

    /// Goes on with these keys, which are written down.
    pub fn go_on(&mut self, keys: NativeKeys) {
        self.keys = keys;
    }

    /// What is to be written down of the knocks so far; nothing where none was made.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// A door opened that was closed before the knock.
    pub fn door_opened(&mut self) {
        if let (Some(outcome), Renewal::Announced(next)) = (&mut self.outcome, &self.keys.renewal)
            && !matches!(outcome.arrived, Arrived::Surely(_))
        {
            outcome.arrived = Arrived::Seemingly(Chain::new(next.day(), next.value().duplicate()));
        }
    }

    pub(crate) fn seal(
        &mut self,
        way: &Way,
        now: Unix,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let day = Day::of(now).ok_or(SealError::Clock)?;
        let again = self.count(way.to);
        let plan = plan(&self.keys, self.request.close, again, day);
        let payload = Payload {
            kind: plan.kind,
            wants_answer: self.keys.answers,
            target: way.target.or_else(|| own_address(way, self.keys.must_bind)),
            seconds: self.request.seconds,
            source_port: way.source_port.unwrap_or(0),
            services: self.request.services.clone(),
            code: self.request.code,
            link: plan.announced.map(|link| link.at(day)).transpose()?,
            ..Payload::knock(now)
        };
        let keys = ClientKeys { server: plan.server, client: &self.client, door: plan.door, link: plan.link };
        let (bytes, pending) = native::seal(&keys, &payload, entropy)?;
        if self.keys.answers {
            let (door, proves) = (plan.server, proves(&self.keys, &plan));
            self.pending.truncate(MOST_PENDING - 1);
            self.pending.insert(0, Awaited { pending, day, door, proves });
        }
        self.note(day);
        Ok(bytes)
    }

    /// What `bytes` say where they are the answer to one of these knocks; each is answered once.
    pub(crate) fn hear(&mut self, bytes: &[u8], now: Unix) -> Option<Heard> {
        let opened = self.pending.iter().enumerate().find_map(|(place, awaited)| {
            awaited.pending.open(&self.client, bytes).ok().map(|answer| (place, answer))
        });
        let (place, answer) = opened?;
        let awaited = self.pending.remove(place);
        let says = self.says(&answer, awaited.day);
        if let (Some(outcome), Status::Granted | Status::Closed) = (&mut self.outcome, answer.status) {
            // Both days are within the server's window of each other, or it would not have done it: a day further off is a
            // server's mistake, and no key goes for it.
            let near = |named: &Day| named.number().abs_diff(awaited.day.number()) <= 1;
            if let Some(named) = Day::of(answer.time).filter(near) {
                outcome.proven = Some(named);
                outcome.knocked = awaited.day;
            }
            match (&outcome.arrived, awaited.proves) {
                (_, Arrived::Unknown) | (Arrived::Surely(_), Arrived::Seemingly(_)) => (),
                (_, proven) => outcome.arrived = proven,
            }
            outcome.told = Some(Told { at: awaited.door, says });
        }
        Some(Heard::of(&answer, now))
    }

    /// What an answer to a knock of `day` says of doors. One that cannot be, or that begins on another day than the server's own,
    /// is a server's mistake, and nobody moves for it.
    fn says(&self, answer: &Answer, day: Day) -> Says {
        let can_be = |new: &NewDoor| {
            new.day.number().abs_diff(day.number()) <= 1 && self.client.agree(&new.server).is_ok()
        };
        match (answer.status == Status::Granted, &answer.door) {
            (true, None) => Says::Stay,
            (true, Some(new)) if can_be(new) => {
                let chain = Chain::new(new.day, new.value.duplicate());
                Says::Move(KnownDoor { server: new.server, chain })
            }
            (true, Some(_)) | (false, _) => Says::Nothing,
        }
    }

    /// A knock was made on `day`. What was proven of another day proves nothing of this one.
    fn note(&mut self, day: Day) {
        let outcome = self.outcome.get_or_insert(Outcome {
            knocked: day,
            proven: None,
            arrived: Arrived::Unknown,
            told: None,
        });
        if outcome.knocked != day {
            outcome.proven = None;
            outcome.knocked = outcome.knocked.max(day);
        }
    }

    /// How often `to` was knocked at before, counting this one in.
    fn count(&mut self, to: SocketAddr) -> u32 {
        if let Some((_, tries)) = self.tries.iter_mut().find(|(at, _)| *at == to) {
            *tries = tries.saturating_add(1);
            return *tries;
        }
        self.tries.push((to, 0));
        0
    }
}

/// A link that seems to have arrived is used first, and every other try falls back on the one before it, announcing it anew:
/// whoever made us believe that it arrived locks nobody out. So it is with a door that has not answered yet, which may be gone
/// again. Only who has a link for certain moves, so no try has to find out both.
fn plan(keys: &NativeKeys, close: bool, again: u32, day: Day) -> Plan<'_> {
    let (server, door) = match &keys.old_door {
        // The server may have been past midnight when it named the new one, and we are not.
        Some(old) if !again.is_multiple_of(2) || keys.door.day() > day => (old.server, &old.chain),
        Some(_) | None => (keys.server, &keys.door),
    };
    let (link, announced) = match &keys.renewal {
        Renewal::Done | Renewal::Due => (&keys.link, None),
        Renewal::Announced(next) => (&keys.link, Some(next)),
        Renewal::Replaced(_) if again.is_multiple_of(2) => (&keys.link, None),
        Renewal::Replaced(old) => (old, Some(&keys.link)),
    };
    match (close, announced) {
        (true, _) => Plan { server, door, link, kind: Kind::Close, announced: None },
        (false, Some(_)) => Plan { server, door, link, kind: Kind::NewLink, announced },
        (false, None) => Plan { server, door, link, kind: Kind::Knock, announced },
    }
}

/// What is learned of the new link once the server did what such a knock asks for. Of several that were announced it keeps the
/// first, and somebody may have a copy of the profile: that ours is the one shows only when it opens a knock.
fn proves(keys: &NativeKeys, plan: &Plan<'_>) -> Arrived {
    let copy = |link: &Chain| Chain::new(link.day(), link.value().duplicate());
    match (&keys.renewal, plan.announced) {
        (Renewal::Announced(_) | Renewal::Replaced(_), Some(announced)) => {
            Arrived::Seemingly(copy(announced))
        }
        // It was sealed with the new one.
        (Renewal::Replaced(_), None) if std::ptr::eq(plan.link, &raw const keys.link) => {
            Arrived::Surely(copy(plan.link))
        }
        (Renewal::Done | Renewal::Due | Renewal::Announced(_) | Renewal::Replaced(_), _) => Arrived::Unknown,
    }
}

/// The address of ours that a knock names, so that a copy of it from elsewhere opens nothing; `None` where it is translated
/// on the way, or may be.
fn own_address(way: &Way, must: bool) -> Option<IpAddr> {
    let unique_local = |address: IpAddr| matches!(address, IpAddr::V6(six) if six.is_unique_local());
    let kept = match way.from {
        IpAddr::V4(_) => global(way.from),
        // Nobody translates these but on the way from a network of one's own to the world.
        IpAddr::V6(_) => !unique_local(way.from) || unique_local(way.to.ip()),
    };
    (must || kept).then_some(way.from)
}

#[cfg(test)]
mod tests;
