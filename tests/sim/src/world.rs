//! Everything put together: the gate and the store as they are; clocks, network, disk and kernel simulated. The shell
//! here is what portunusd does, with chance in every gap.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portunus_dialect::fwknop::Packet as Text;
use portunus_gate::{Action, Door, Gate, Keyring, RestoredGrant, Session, Ticket, Tuning};
use portunus_model::{
    Accepted, Claim, ClientKey, ClientName, Closing, Datagram, Detail, Event, Mono, Now, Opening, PortSpec,
    Reason, Rules, Unix, Via,
};
use portunus_store::{BootId, FileStore, ReplayStore};

use crate::dice::Dice;
use crate::disk::Disk;
use crate::kernel::{Kernel, Message, Place};
use crate::oracle::{Mood, Oracle};
use crate::packets::{GPG_SETS, Maker, Packet, Workshop, fwknop_keys, gpg_id, gpg_keys, server_key};
use crate::reference::{About, Cause, PATIENCE, Reference};
use crate::schedule::{Asking, SETS};

pub(crate) const QUEUE: usize = 6;
/// How many wait for gpg, of known sources and of others.
const GPG_QUEUE: usize = 4;

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) now: Now,
    boot: u8,
    capacity: usize,
    pub(crate) disks: [Disk; 2],
    pub(crate) healthy: bool,
    pub(crate) store: FileStore<Disk>,
    pub(crate) gate: Gate,
    pub(crate) rules: Rules,
    pub(crate) kernel: Kernel,
    pub(crate) oracle: Oracle,
    /// Whether the lanes were full before the gate began to work on them.
    was_full: bool,
    pub(crate) workshop: Workshop,
    pub(crate) reference: Reference,
    /// On their way, with when they arrive and from where.
    network: Vec<(Mono, Packet, IpAddr)>,
    /// What somebody on the path has written down.
    pub(crate) recorded: Vec<Packet>,
    pub(crate) asking: Option<Asking>,
    claims: Vec<(Ticket, Claim)>,
    tickets: HashMap<Ticket, u64>,
    /// For whom each claim is: of stanzas with the same keys the first; of GnuPG's the first of each set that takes it.
    claimed_for: HashMap<Ticket, Vec<(ClientName, ClientKey)>>,
    asked: HashMap<Ticket, Opening>,
    revoked: HashSet<Ticket>,
    /// Claims whose client was taken from the rules while they waited.
    gone: HashSet<Ticket>,
    /// What was said to be granted, and not yet to be closed.
    told: HashSet<Place>,
    asked_at: HashMap<Ticket, Mono>,
    /// Whose answers came after their verdicts.
    late: HashSet<Place>,
    port: u16,
}

impl World {
    pub(crate) fn new(seed: u64, rules: Rules) -> Self {
        let mut dice = Dice::new(seed);
        let wall = Unix::from_secs(1_800_000_000);
        let now = Now { mono: Mono::from_nanos(dice.roll(1 << 45)), wall };
        let capacity = *dice.pick(&[4, 30, 1000]);
        let disks = [Disk::default(), Disk::default()];
        let store = FileStore::open(disks.clone(), capacity, BootId::from_bytes([0; 16]), now).unwrap();
        let gate = new_gate(&rules, dice.next());
        Self {
            dice,
            now,
            boot: 0,
            capacity,
            disks,
            healthy: true,
            store,
            gate,
            rules,
            kernel: Kernel::default(),
            oracle: Oracle::default(),
            was_full: false,
            workshop: Workshop::new(),
            reference: Reference::default(),
            network: Vec::new(),
            recorded: Vec::new(),
            asking: None,
            claims: Vec::new(),
            tickets: HashMap::new(),
            claimed_for: HashMap::new(),
            asked: HashMap::new(),
            revoked: HashSet::new(),
            gone: HashSet::new(),
            told: HashSet::new(),
            asked_at: HashMap::new(),
            late: HashSet::new(),
            port: 0,
        }
    }

    /// Puts a packet on its way.
    pub(crate) fn send(&mut self, packet: Packet, source: IpAddr, delay: Duration) {
        self.reference.made(&packet);
        self.network.push((self.now.mono.after(delay), packet, source));
    }

    /// Lets time pass: everything that is due happens, in the order of its time.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now.mono.after(span);
        loop {
            let due = self
                .network
                .iter()
                .map(|&(at, ..)| at)
                .chain(self.kernel.next())
                .chain(self.oracle.next())
                .chain(self.gate.poll_timeout());
            let next = due.min().filter(|&next| next < end).unwrap_or(end).max(self.now.mono);
            self.now.wall = self.now.wall.after(next.since(self.now.mono));
            self.now.mono = next;
            self.happen();
            if next >= end {
                return;
            }
        }
    }

    /// Everything that is due at this moment.
    fn happen(&mut self) {
        for (ticket, answer) in self.kernel.run(self.now.mono, &mut self.dice) {
            let was_open = self.asked.get(&ticket).is_some_and(|opening| self.is_open(opening));
            let packet = self.tickets.get(&ticket).copied().unwrap_or_default();
            let revoked = self.revoked.contains(&ticket);
            if self.asked_at.get(&ticket).is_some_and(|at| self.now.mono >= at.after(PATIENCE)) {
                self.late.extend(self.asked.get(&ticket).map(Place::of));
            }
            self.gate.handle_opened(self.now, ticket, answer);
            self.carry_out(Cause::Opened { packet, answer, revoked, was_open });
            self.take_late();
        }
        for (number, answer) in self.oracle.due(self.now.mono) {
            self.gate.handle_gpg(self.now, number, &answer);
            self.carry_out(Cause::Gpg);
        }
        self.gate.handle_timeout(self.now);
        self.carry_out(Cause::Timeout);
        let now = self.now.mono;
        let (arrived, travelling) =
            std::mem::take(&mut self.network).into_iter().partition(|&(at, ..)| at <= now);
        self.network = travelling;
        for (_, packet, source) in arrived {
            self.deliver(packet, source);
        }
        // Mostly the store is asked at once, now and then it is slow.
        if !self.dice.one_in(20) {
            self.ask_the_store();
        }
    }

    /// A door whose answer came after its verdict stays a session, where another one of its client's is open: nobody says
    /// that it was granted.
    fn take_late(&mut self) {
        let open = self.gate.sessions(self.now).map(|session| place_of(&session));
        let silent: Vec<Place> = open.filter(|place| self.late.contains(place)).collect();
        self.told.extend(silent);
    }

    fn is_open(&self, opening: &Opening) -> bool {
        let place = Place::of(opening);
        self.gate.sessions(self.now).any(|session| place_of(&session) == place)
    }

    fn deliver(&mut self, packet: Packet, source: IpAddr) {
        self.port += 1;
        let datagram = Datagram::new(packet.bytes.clone(), SocketAddr::new(source, self.port), Via::Udp);
        self.recorded.push(packet.clone());
        self.reference.delivered(self.port, packet, source, self.now.mono);
        self.gate.handle_datagram(self.now, datagram);
        self.carry_out(Cause::Input);
    }

    pub(crate) fn work(&mut self, units: u32) {
        // Whoever finds no room in the middle of it found none because of who waited before.
        let before = (self.gate.waiting(), self.gate.effort());
        self.was_full = before.0 >= QUEUE;
        self.gate.work(self.now, units);
        let has_gone_on = (self.gate.waiting(), self.gate.effort()) != before;
        assert!(units == 0 || before.0 == 0 || has_gone_on, "whoever waits here waits for gpg");
        self.carry_out(Cause::Input);
        self.was_full = false;
        // What waits for gpg keeps nobody else: the others are with the store or the grantor, or have their verdicts.
        if self.gate.waiting() == 0 {
            let others = self.reference.waiting_but_for_gpg();
            assert!(others <= self.gate.questions(), "a knock waits behind gpg");
        }
    }

    /// gpg is otherwise from now on; dead, it has lost what it was asked.
    pub(crate) fn set_mood(&mut self, mood: Mood) {
        self.oracle.mood = mood;
        self.oracle.strain(self.now.mono);
        if mood == Mood::Dead {
            self.oracle.die();
        }
    }

    /// The sets of keys whose first stanza is still there since the claim, one bit each.
    fn takers(&self, ticket: Ticket) -> u8 {
        let owners = self.claimed_for.get(&ticket).into_iter().flatten();
        let sets = owners
            .filter_map(|(_, key)| (0..GPG_SETS.len()).find(|set| *key == ClientKey::Fwknop(gpg_id(*set))));
        sets.fold(0, |mask, set| mask | 1 << set)
    }

    pub(crate) fn ask_the_store(&mut self) {
        let asked = std::mem::take(&mut self.claims);
        let claims: Vec<Claim> = asked.iter().map(|&(_, claim)| claim).collect();
        let answers = self.store.claim(self.now, &claims);
        assert_eq!(answers.len(), claims.len());
        for ((ticket, claim), answer) in asked.into_iter().zip(answers) {
            self.reference.answered(&claim, answer, self.healthy);
            let packet = self.tickets[&ticket];
            self.gate.handle_claimed(self.now, ticket, answer);
            let gone = self.gone.contains(&ticket);
            let takers = self.takers(ticket);
            self.carry_out(Cause::Claimed { packet, answer, gone, takers });
        }
    }

    /// Carries out what the gate wants, and holds it against the reference.
    fn carry_out(&mut self, cause: Cause) {
        if self.oracle.mood != Mood::Well || self.gate.with_gpg() >= GPG_QUEUE {
            self.oracle.strain(self.now.mono);
        }
        while let Some(action) = self.gate.poll_action() {
            match action {
                Action::Claim(ticket, claim) => {
                    let id = self.reference.claim(&claim, &self.rules, self.now, cause);
                    self.tickets.insert(ticket, id);
                    self.claimed_for.insert(ticket, self.reference.owners(id, &self.rules));
                    self.claims.push((ticket, claim));
                }
                Action::Open(ticket, warrant) => {
                    let opening = warrant.into_opening();
                    let id = self.reference.open(&opening, &self.rules, self.now, cause);
                    self.tickets.insert(ticket, id);
                    self.asked.insert(ticket, opening.clone());
                    self.asked_at.insert(ticket, self.now.mono);
                    self.kernel.send(self.now.mono, Message::Open(ticket, opening), &mut self.dice);
                }
                Action::Close(closing) => {
                    let meant = |opening: &Opening| is_meant(&closing, opening);
                    self.revoked.extend(
                        self.asked.iter().filter(|(_, asked)| meant(asked)).map(|(&ticket, _)| ticket),
                    );
                    self.kernel.send(self.now.mono, Message::Close(closing), &mut self.dice);
                }
                Action::Accept(accepted) => self.accepted(&accepted, cause),
                Action::Gpg(question) => {
                    let Self { oracle, workshop, dice, now, .. } = self;
                    oracle.ask(now.mono, &question, &workshop.sealed, dice);
                }
                Action::Run(..)
                | Action::Resolve(..)
                | Action::Chains(_)
                | Action::Settle(_)
                | Action::Enrol(..)
                | Action::Answer(_) => {
                    panic!("nothing here asks for that")
                }
                Action::Tell(event) if event.source.is_some() => {
                    if event.reason == Reason::Granted {
                        assert!(self.told.insert(place_in(&event)), "granted twice: {event:?}");
                    }
                    let full = self.was_full || self.gate.waiting() >= QUEUE;
                    let about = About { cause, full, strained: self.oracle.strained };
                    self.reference.verdict(&event, &self.rules, self.now, about);
                }
                Action::Tell(event) => {
                    assert_eq!(event.reason, Reason::Closed);
                    assert!(self.told.remove(&place_in(&event)), "the end of what never began: {event:?}");
                    *self.reference.reasons.entry(event.reason).or_default() += 1;
                }
            }
        }
    }

    /// It is written down what was claimed just now, and nothing else.
    fn accepted(&self, accepted: &Accepted, cause: Cause) {
        let Cause::Claimed { packet, .. } = cause else { panic!("{accepted:?} out of {cause:?}") };
        let packet = self.reference.packet(packet);
        // Of GnuPG's the claim is of what it says, and the line for the text around it.
        if !matches!(packet.maker, Maker::Signer(..)) {
            assert_eq!(packet.claim, Some(Text::claim_key_of(&accepted.digest)));
        }
    }

    pub(crate) fn reload(&mut self, rules: Rules) {
        self.rules = rules;
        let is_in = |(name, key): &(ClientName, ClientKey)| {
            self.rules.clients.iter().any(|client| client.name == *name && client.key == *key)
        };
        let without_client =
            |ticket: &Ticket| !self.claimed_for.get(ticket).is_some_and(|all| all.iter().any(is_in));
        self.gone.extend(self.claims.iter().map(|&(ticket, _)| ticket).filter(without_client));
        self.claimed_for.values_mut().for_each(|owners| owners.retain(is_in));
        self.reference.reloaded();
        self.gate.handle_rules(self.now, self.rules.clone(), keyring(&self.rules));
        self.carry_out(Cause::Order);
        let latest = |left| self.now.wall.after(left).before(PATIENCE);
        let allowed = |session: &Session<'_>| {
            let mut named = self.rules.clients.iter().filter(|known| known.name == *session.client);
            named.any(|known| {
                known.expires.is_none_or(|expires| latest(session.left) <= expires)
                    && match &known.stanza {
                        Some(stanza) => session.door.ports.iter().all(|port| {
                            let has = |port| {
                                move |one: &PortSpec| one.contains(PortSpec::proto(port), port.first())
                            };
                            stanza.open_ports.as_deref().is_none_or(|specs| specs.iter().any(has(*port)))
                                && !stanza.restrict_ports.iter().any(has(*port))
                        }),
                        None => session.door.ports.iter().all(|port| known.ports.contains(port)),
                    }
            })
        };
        assert!(self.gate.sessions(self.now).all(|session| allowed(&session)));
    }

    pub(crate) fn close(&mut self, closing: &Closing) {
        let meant = |client: &ClientName, address| {
            closing.client.as_ref().is_none_or(|only| only == client)
                && closing.address.is_none_or(|only| only == address)
        };
        let open =
            self.gate.sessions(self.now).filter(|session| meant(session.client, session.address)).count();
        // A grant whose time is up and whose end was not yet said may be counted too.
        assert!(self.gate.handle_closing(self.now, closing) as usize >= open);
        self.carry_out(Cause::Order);
        assert!(!self.gate.sessions(self.now).any(|session| meant(session.client, session.address)));
    }

    /// The daemon is killed and started again; with `power_cut` the whole machine is.
    pub(crate) fn kill(&mut self, power_cut: bool) {
        self.reference.killed();
        self.claims.clear();
        self.tickets.clear();
        self.claimed_for.clear();
        self.oracle.die();
        self.oracle.strain(self.now.mono);
        self.asked.clear();
        self.asked_at.clear();
        self.late.clear();
        self.revoked.clear();
        self.gone.clear();
        let mut restored = Vec::new();
        if power_cut {
            self.boot += 1;
            self.now.mono = Mono::from_nanos(self.dice.roll(1 << 34));
            self.network.clear();
            self.kernel.reboot();
            self.disks.iter().for_each(|disk| disk.lose_power(|_| self.dice.one_in(2)));
        } else {
            restored = self.kernel.daemon_killed(self.now.mono, &mut self.dice);
        }
        self.heal();
        let boot = BootId::from_bytes([self.boot; 16]);
        self.store = FileStore::open(self.disks.clone(), self.capacity, boot, self.now).unwrap();
        assert!(!self.store.was_damaged(), "nothing that was acknowledged is lost");
        self.gate = new_gate(&self.rules, self.dice.next());
        let place = |grant: &RestoredGrant| Place::new(&grant.client, grant.address, &grant.door);
        self.told = restored.iter().map(place).collect();
        self.gate.handle_restored(self.now, restored);
        self.carry_out(Cause::Order);
    }

    pub(crate) fn break_the_disk(&mut self) {
        self.healthy = false;
        for disk in &self.disks {
            disk.fail_after(Some(self.dice.roll(4) as usize));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.healthy = true;
        self.disks.iter().for_each(|disk| disk.fail_after(None));
    }

    /// Lets everything come to its end and looks at what is left: no datagram without a verdict, no door that nobody
    /// knows of, and after the longest grant nothing at all.
    pub(crate) fn come_to_rest(&mut self) {
        self.heal();
        self.set_mood(Mood::Well);
        self.kernel.slowness = Duration::ZERO;
        self.kernel.failing = 0;
        for _ in 0..20 {
            self.pass(PATIENCE);
            while self.gate.work(self.now, 3) {
                self.carry_out(Cause::Input);
            }
            self.carry_out(Cause::Input);
            self.ask_the_store();
        }
        self.pass(PATIENCE);
        assert_eq!(self.gate.with_gpg(), 0);
        self.reference.all_done();
        self.doors_are_known();
        self.pass(Duration::from_secs(3600));
        self.doors_are_known();
        assert!(self.kernel.doors.is_empty());
        assert_eq!((self.gate.sessions(self.now).count(), self.gate.poll_timeout()), (0, None));
    }

    /// Every open door is a session, and the books never run out before the kernel's timer.
    fn doors_are_known(&self) {
        let known: HashMap<Place, Mono> =
            self.gate.sessions(self.now).map(|session| (place_of(&session), session.until)).collect();
        assert!(
            known.keys().all(|place| self.told.contains(place)),
            "a session that was never said to be granted"
        );
        for (place, door) in &self.kernel.doors {
            assert!(
                known.get(place).is_some_and(|&until| until >= door.until),
                "nobody knows the door {place:?}"
            );
        }
    }
}

/// Which grant an event is about.
fn place_in(event: &Event) -> Place {
    match (&event.client, &event.detail) {
        (Some(client), Some(Detail::Grant { address, ports, destination, way, .. })) => {
            let door = Door { ports: ports.clone(), destination: *destination, way: *way };
            Place::new(client, *address, &door)
        }
        (client, detail) => panic!("a grant of {client:?} with {detail:?}"),
    }
}

fn place_of(session: &Session<'_>) -> Place {
    Place::new(session.client, session.address, session.door)
}

fn is_meant(closing: &Closing, opening: &Opening) -> bool {
    closing.client.as_ref().is_none_or(|only| *only == opening.client)
        && closing.address.is_none_or(|only| only == opening.address)
}

/// The server's keys: of fwknop's those that some stanza has.
fn keyring(rules: &Rules) -> Keyring {
    let has = |id| rules.clients.iter().any(|client| client.key == ClientKey::Fwknop(id));
    let sets = (0..SETS).map(fwknop_keys).filter(|keys| has(keys.id()));
    let gpg = (0..GPG_SETS.len()).filter(|set| has(gpg_id(*set))).map(gpg_keys);
    Keyring { openme: Some(server_key()), fwknop: sets.collect(), gpg: gpg.collect(), ..Keyring::default() }
}

fn new_gate(rules: &Rules, seed: u64) -> Gate {
    let tuning = Tuning {
        queue: QUEUE,
        known_sources: 3,
        pending: 200,
        patience: PATIENCE,
        seed,
        waste_a_second: 20,
        gpg_queue: GPG_QUEUE,
        ..Tuning::default()
    };
    Gate::new(rules.clone(), keyring(rules), tuning)
}
