//! From bytes to a claim: who is tried, in which order, and how old a knock may be.

use portunus_dialect::fwknop::gpg::RingId;
use portunus_dialect::openme::Unsealed;
use portunus_dialect::{Candidate, Knock, fwknop, openme};
use portunus_model::{Client, Dialect, Now, Reason};

use super::{Gate, Trial, Walk};
use crate::Action;
use crate::chain::{Origin, Proven};
use crate::lane::Job;
use crate::native::PATIENCE;
use crate::pending::{Claiming, Waiting};
use crate::stanza;

/// So many sets of fwknop's keys are tried for one unit of work (one public-key operation).
const TRIES: u32 = 64;

impl Gate {
    /// A known source's packet is tried with the clients known from there. Gives the units that it took.
    pub(super) fn try_known(&mut self, now: Now, mut job: Job) -> u32 {
        let origin = job.origin();
        if let Some(admitted) = self.admit_native(now, &job) {
            return self.try_native(now, &job, admitted);
        }
        let (tried, units) = match self.prefilter.admit(&job.datagram.bytes) {
            Some(Candidate::Openme(packet)) => self.try_known_openme(origin, &packet),
            Some(Candidate::Fwknop(packet)) => self.try_known_fwknop(now, &job, &packet),
            // A reload took the dialect away while it waited.
            None => {
                self.verdict(now, origin, None, None, Reason::Noise);
                return 1;
            }
        };
        match tried {
            Tried::Proven(proven) => {
                self.proven(now, *proven);
                return units;
            }
            Tried::Nobodys => {
                self.waste.charge(units);
                self.verdict(now, origin, Some(Dialect::Openme), None, Reason::Unauthentic);
                return units;
            }
            Tried::Unsealed(unsealed) => job.unsealed = Some(unsealed),
            Tried::Asked => return units,
            Tried::Unknown => (),
        }
        self.waste.charge(units);
        self.enqueue_unknown(now, job);
        units
    }

    fn try_known_openme(&mut self, origin: Origin, packet: &openme::Packet<'_>) -> (Tried, u32) {
        let Some(unsealed) = self.unseal(packet) else { return (Tried::Nobodys, 1) };
        let mut units = 1;
        for &client in self.sources.clients(origin.address()) {
            units += 1;
            self.effort.verified += 1;
            if let Some(knock) = self.clients.verify(client, &unsealed) {
                return (Tried::Proven(Box::new(Proven::by(client, knock, origin))), units);
            }
        }
        (Tried::Unsealed(unsealed), units)
    }

    fn try_known_fwknop(&mut self, now: Now, job: &Job, packet: &fwknop::Packet<'_>) -> (Tried, u32) {
        let (origin, mut rings) = (job.origin(), Vec::new());
        let clients = self.sources.clients(origin.address()).iter();
        let sets = clients.filter_map(|&client| self.keysets.of(self.clients.get(client)?));
        for set in sets {
            self.effort.tried += 1;
            if let Some(knock) = self.keysets.open(set, packet) {
                return (self.by_sets(&[set], knock, origin), 1);
            }
            rings.extend(self.keysets.ring(set, packet).filter(|ring| !rings.contains(ring)));
        }
        if rings.is_empty() {
            return (Tried::Unknown, 1);
        }
        self.wait_for_gpg(now, Job { known: true, ..with_rings(job, rings) });
        (Tried::Asked, 1)
    }

    pub(super) fn by_sets(&self, sets: &[u32], knock: Knock, origin: Origin) -> Tried {
        let mut firsts = sets.iter().filter_map(|&set| self.keysets.stanzas(set).first().copied());
        match firsts.next() {
            Some(first) => Tried::Proven(Box::new(Proven::by(first, knock, origin).with(firsts.collect()))),
            None => Tried::Unknown,
        }
    }

    pub(super) fn enqueue_unknown(&mut self, now: Now, job: Job) {
        let thrown = self.unknown.push(job);
        self.busy(now, thrown);
    }

    pub(super) fn busy(&mut self, now: Now, thrown: Option<Job>) {
        if let Some(job) = thrown {
            let native = self.admit_native(now, &job).map(|_| Dialect::Native);
            let shape = || self.prefilter.admit(&job.datagram.bytes).map(|candidate| candidate.dialect());
            let dialect = native.or_else(shape);
            self.verdict(now, job.origin(), dialect, None, Reason::Busy);
        }
    }

    /// One X25519: whether it is sealed for us.
    fn unseal(&mut self, packet: &openme::Packet<'_>) -> Option<Box<Unsealed>> {
        self.effort.unsealed += 1;
        self.server.as_ref()?.unseal(packet).ok().map(Box::new)
    }

    pub(super) fn work_on_unknown(&mut self, now: Now, mut units: u32) {
        let mut order = Vec::new();
        while units > 0 {
            let mut walk = match self.walk.take() {
                Some(walk) => walk,
                None => match self.unknown.pop() {
                    Some(job) => match self.begin_walk(now, job, &mut units, std::mem::take(&mut order)) {
                        Some(walk) => walk,
                        None => continue,
                    },
                    None => return,
                },
            };
            if !self.walk_on(now, &mut walk, &mut units) {
                self.walk = Some(walk);
            } else if let Trial::Openme { order: used, .. } = walk.trial {
                order = used;
            }
        }
    }

    fn begin_walk(&mut self, now: Now, mut job: Job, units: &mut u32, mut order: Vec<u32>) -> Option<Walk> {
        let origin = job.origin();
        let unsealed = match (job.unsealed.take(), self.prefilter.admit(&job.datagram.bytes)) {
            (_, None) => {
                self.verdict(now, origin, None, None, Reason::Noise);
                return None;
            }
            (_, Some(Candidate::Fwknop(_))) => {
                return Some(Walk { job, trial: Trial::Fwknop { next: 0, met: false, rings: Vec::new() } });
            }
            (Some(unsealed), Some(Candidate::Openme(_))) => unsealed,
            (None, Some(Candidate::Openme(packet))) => {
                *units = units.saturating_sub(1);
                let unsealed = self.unseal(&packet);
                if unsealed.is_none() {
                    self.verdict(now, origin, Some(Dialect::Openme), None, Reason::Unauthentic);
                }
                unsealed?
            }
        };
        // Fixed at the beginning: who is seen meanwhile moves to the front, and nobody may be passed over.
        self.clients.by_recency(&mut order);
        Some(Walk { job, trial: Trial::Openme { unsealed, order, next: 0 } })
    }

    /// Tries while there are units. True: the packet has found whose it is, or is nobody's.
    fn walk_on(&mut self, now: Now, walk: &mut Walk, units: &mut u32) -> bool {
        match &mut walk.trial {
            Trial::Openme { unsealed, order, next } => {
                let origin = walk.job.origin();
                self.walk_on_openme(now, origin, unsealed, order, next, units)
            }
            Trial::Fwknop { next, met, rings } => {
                self.walk_on_fwknop(now, &walk.job, (next, met, rings), units)
            }
        }
    }

    fn walk_on_openme(
        &mut self,
        now: Now,
        origin: Origin,
        unsealed: &Unsealed,
        order: &[u32],
        next: &mut usize,
        units: &mut u32,
    ) -> bool {
        loop {
            let Some(&client) = order.get(*next) else {
                self.verdict(now, origin, Some(Dialect::Openme), None, Reason::UnknownClient);
                return true;
            };
            if *units == 0 {
                return false;
            }
            *units -= 1;
            *next += 1;
            self.effort.verified += 1;
            if let Some(knock) = self.clients.verify(client, unsealed) {
                self.proven(now, Proven::by(client, knock, origin));
                return true;
            }
        }
    }

    fn walk_on_fwknop(
        &mut self,
        now: Now,
        job: &Job,
        (next, met, rings): (&mut u32, &mut bool, &mut Vec<RingId>),
        units: &mut u32,
    ) -> bool {
        let origin = job.origin();
        let Some(Candidate::Fwknop(packet)) = self.prefilter.admit(&job.datagram.bytes) else {
            self.verdict(now, origin, None, None, Reason::Noise);
            return true;
        };
        let mut tries = 0_u32;
        loop {
            if self.keysets.stanzas(*next).is_empty() {
                *units = units.saturating_sub(tries.div_ceil(TRIES).max(1));
                if !rings.is_empty() {
                    self.wait_for_gpg(now, with_rings(job, std::mem::take(rings)));
                    return true;
                }
                if let Some(why) = job.refused {
                    self.gpg_failed(now, job, why);
                    return true;
                }
                let reason = if *met { Reason::Unauthentic } else { Reason::UnknownClient };
                self.verdict(now, origin, Some(Dialect::Fwknop), None, reason);
                return true;
            }
            if tries / TRIES >= *units {
                *units = 0;
                return false;
            }
            let set = *next;
            *next += 1;
            if !self.is_for(set, origin) {
                continue;
            }
            *met = true;
            tries += 1;
            self.effort.tried += 1;
            if let Some(knock) = self.keysets.open(set, &packet)
                && let Tried::Proven(proven) = self.by_sets(&[set], knock, origin)
            {
                *units = units.saturating_sub(tries.div_ceil(TRIES));
                self.proven(now, *proven);
                return true;
            }
            let ring = self.keysets.ring(set, &packet);
            rings.extend(ring.filter(|ring| !rings.contains(ring) && !job.asked.contains(ring)));
        }
    }

    /// Whether any stanza with these keys is for packets from there to there.
    pub(super) fn is_for(&self, set: u32, origin: Origin) -> bool {
        if self.keysets.is_anywhere(set) {
            return true;
        }
        let stanzas = self.keysets.stanzas(set).iter().filter_map(|&number| self.clients.get(number));
        let mut stanzas = stanzas.filter_map(|client| client.stanza.as_deref());
        stanzas.any(|stanza| stanza::is_for(stanza, origin.address(), origin.destination))
    }

    /// A proven packet that is of no use, such as a replay: waste, when it came by the known sources' lane.
    pub(super) fn charge(&mut self, origin: Origin) {
        if !self.sources.clients(origin.address()).is_empty() {
            self.waste.charge(2);
        }
    }

    /// Age first, then the claim.
    pub(super) fn proven(&mut self, now: Now, proven: Proven) {
        let (origin, dialect, client) = (proven.origin, proven.dialect(), proven.client);
        let window = self.window(&proven);
        let fresh = match proven.fresh(now, window) {
            Ok(fresh) => fresh,
            Err(outcome) => {
                self.charge(origin);
                return self.conclude(now, origin, Some(dialect), self.clients.name(client), outcome);
            }
        };
        if self.clients.is_over(client, now.mono) {
            self.charge(origin);
            let name = self.clients.name(client);
            return self.verdict(now, origin, Some(dialect), name, Reason::RateLimited);
        }
        let claim = fresh.claim();
        match self
            .pending
            .insert(now.mono, Waiting::Claim(Claiming { fresh, origin, dialect, invited: None }))
        {
            Some(ticket) => self.actions.push_back(Action::Claim(ticket, claim)),
            None => self.verdict(now, origin, Some(dialect), self.clients.name(client), Reason::Busy),
        }
    }

    /// How old a knock may be; of the stanzas whose it may be the most patient one counts here, and each again for itself when
    /// it is asked. `None`: any age.
    fn window(&self, proven: &Proven) -> Option<std::time::Duration> {
        if proven.dialect() == Dialect::Native {
            // Further off there is silence; nearer it is claimed first, so that its client may hear how far off it is.
            return Some(PATIENCE);
        }
        let all = self.clients.window();
        let stanzas = self.stanzas_of(proven.clients());
        let stanzas = stanzas.into_iter().filter_map(|client| client.stanza.as_deref());
        let windows = stanzas.map(|stanza| stanza.window);
        windows.max_by_key(|window| window.unwrap_or(std::time::Duration::MAX)).unwrap_or(Some(all))
    }

    /// All that have the keys of one of these clients of fwknop's, in the order of the files.
    pub(super) fn stanzas_of(&self, clients: impl Iterator<Item = u32>) -> Vec<&Client> {
        let sets = clients.filter_map(|number| self.keysets.of(self.clients.get(number)?));
        let mut numbers: Vec<u32> = sets.flat_map(|set| self.keysets.stanzas(set)).copied().collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| self.clients.get(number)).collect()
    }
}

/// The same datagram, to wait for gpg: the last of the keyrings is asked first, so the files' first is the last here.
fn with_rings(job: &Job, mut rings: Vec<RingId>) -> Job {
    rings.reverse();
    let asked = job.asked.clone();
    Job { rings, asked, refused: job.refused, ..Job::new(job.datagram.clone(), job.arrived) }
}

/// What came of trying the clients that are known from an address.
pub(super) enum Tried {
    Proven(Box<Proven>),
    /// gpg is asked, or will be.
    Asked,
    /// Not sealed for us.
    Nobodys,
    /// Sealed for us, and not theirs.
    Unsealed(Box<Unsealed>),
    /// Not theirs.
    Unknown,
}
