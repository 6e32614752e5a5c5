//! Everything put together: the gate and the store as they are; clocks, network, disk and kernel simulated. The shell
//! here is what portunusd does, with chance in every gap.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portunus_gate::{Action, Gate, Keyring, Session, Ticket, Tuning};
use portunus_model::{
    Claim, ClientName, Closing, Datagram, Detail, Event, Mono, Now, Opening, Reason, Rules, Unix, Via,
};
use portunus_store::{BootId, FileStore, ReplayStore};

use crate::dice::Dice;
use crate::disk::Disk;
use crate::kernel::{Kernel, Message};
use crate::packets::{Packet, Workshop, server_key};
use crate::reference::{Cause, PATIENCE, Reference};

pub(crate) const QUEUE: usize = 6;

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
    pub(crate) workshop: Workshop,
    pub(crate) reference: Reference,
    /// On their way, with when they arrive and from where.
    network: Vec<(Mono, Packet, IpAddr)>,
    /// What somebody on the path has written down.
    pub(crate) recorded: Vec<Packet>,
    claims: Vec<(Ticket, Claim)>,
    tickets: HashMap<Ticket, u64>,
    asked: HashMap<Ticket, Opening>,
    revoked: HashSet<Ticket>,
    /// Claims whose client was taken from the rules while they waited.
    gone: HashSet<Ticket>,
    /// What was said to be granted, and not yet to be closed.
    told: HashSet<(ClientName, IpAddr)>,
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
            workshop: Workshop::new(),
            reference: Reference::default(),
            network: Vec::new(),
            recorded: Vec::new(),
            claims: Vec::new(),
            tickets: HashMap::new(),
            asked: HashMap::new(),
            revoked: HashSet::new(),
            gone: HashSet::new(),
            told: HashSet::new(),
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
            self.gate.handle_opened(self.now, ticket, answer);
            self.carry_out(Cause::Opened { packet, answer, revoked, was_open });
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

    fn is_open(&self, opening: &Opening) -> bool {
        let same = |client: &ClientName, address| *client == opening.client && address == opening.address;
        self.gate.sessions(self.now).any(|session| same(session.client, session.address))
    }

    fn deliver(&mut self, packet: Packet, source: IpAddr) {
        self.port += 1;
        let datagram = Datagram::new(packet.bytes.clone(), SocketAddr::new(source, self.port), Via::Udp);
        self.recorded.push(packet.clone());
        self.reference.delivered(self.port, packet, source);
        self.gate.handle_datagram(self.now, datagram);
        self.carry_out(Cause::Input);
    }

    pub(crate) fn work(&mut self, units: u32) {
        self.gate.work(self.now, units);
        self.carry_out(Cause::Input);
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
            self.carry_out(Cause::Claimed { packet, answer, gone });
        }
    }

    /// Carries out what the gate wants, and holds it against the reference.
    fn carry_out(&mut self, cause: Cause) {
        while let Some(action) = self.gate.poll_action() {
            match action {
                Action::Claim(ticket, claim) => {
                    let id = self.reference.claim(&claim, &self.rules, self.now, cause);
                    self.tickets.insert(ticket, id);
                    self.claims.push((ticket, claim));
                }
                Action::Open(ticket, warrant) => {
                    let opening = warrant.into_opening();
                    let id = self.reference.open(&opening, &self.rules, self.now, cause);
                    self.tickets.insert(ticket, id);
                    self.asked.insert(ticket, opening.clone());
                    self.kernel.send(self.now.mono, Message::Open(ticket, opening), &mut self.dice);
                }
                Action::Close(closing) => {
                    let meant = |opening: &Opening| is_meant(&closing, opening);
                    self.revoked.extend(
                        self.asked.iter().filter(|(_, asked)| meant(asked)).map(|(&ticket, _)| ticket),
                    );
                    self.kernel.send(self.now.mono, Message::Close(closing), &mut self.dice);
                }
                Action::Accept(_) | Action::Run(..) | Action::Resolve(..) => {
                    panic!("openme asks for none of them")
                }
                Action::Tell(event) if event.source.is_some() => {
                    if event.reason == Reason::Granted {
                        assert!(self.told.insert(pair(&event)), "granted twice: {event:?}");
                    }
                    let full = self.gate.waiting() >= QUEUE;
                    self.reference.verdict(&event, &self.rules, self.now, cause, full);
                }
                Action::Tell(event) => {
                    assert_eq!(event.reason, Reason::Closed);
                    assert!(self.told.remove(&pair(&event)), "the end of what never began: {event:?}");
                    *self.reference.reasons.entry(event.reason).or_default() += 1;
                }
            }
        }
    }

    pub(crate) fn reload(&mut self, rules: Rules) {
        self.rules = rules;
        let without_client = |ticket: &Ticket| !self.reference.has_client(self.tickets[ticket], &self.rules);
        self.gone.extend(self.claims.iter().map(|&(ticket, _)| ticket).filter(without_client));
        self.gate.handle_rules(self.now, self.rules.clone(), keyring());
        self.carry_out(Cause::Order);
        let latest = |left| self.now.wall.after(left).before(PATIENCE);
        let allowed = |session: &Session<'_>| {
            let mut named = self.rules.clients.iter().filter(|known| known.name == *session.client);
            named.any(|known| {
                known.expires.is_none_or(|expires| latest(session.left) <= expires)
                    && session.door.ports.iter().all(|port| known.ports.contains(port))
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
        self.asked.clear();
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
        self.told = restored.iter().map(|grant| (grant.client.clone(), grant.address)).collect();
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
        self.reference.all_done();
        self.doors_are_known();
        self.pass(Duration::from_secs(3600));
        self.doors_are_known();
        assert!(self.kernel.doors.is_empty());
        assert_eq!((self.gate.sessions(self.now).count(), self.gate.poll_timeout()), (0, None));
    }

    /// Every open door is a session, and the books never run out before the kernel's timer.
    fn doors_are_known(&self) {
        let known: HashMap<(ClientName, IpAddr), Mono> =
            self.gate.sessions(self.now).map(|s| ((s.client.clone(), s.address), s.until)).collect();
        assert!(
            known.keys().all(|pair| self.told.contains(pair)),
            "a session that was never said to be granted"
        );
        for (pair, door) in &self.kernel.doors {
            assert!(
                known.get(pair).is_some_and(|&until| until >= door.until),
                "nobody knows the door {pair:?}"
            );
        }
    }
}

/// Whose grant, and where, an event is about.
fn pair(event: &Event) -> (ClientName, IpAddr) {
    match (&event.client, &event.detail) {
        (Some(client), Some(Detail::Grant { address, .. })) => (client.clone(), *address),
        (client, detail) => panic!("a grant of {client:?} with {detail:?}"),
    }
}

fn is_meant(closing: &Closing, opening: &Opening) -> bool {
    closing.client.as_ref().is_none_or(|only| *only == opening.client)
        && closing.address.is_none_or(|only| only == opening.address)
}

fn keyring() -> Keyring {
    Keyring { openme: Some(server_key()), ..Keyring::default() }
}

fn new_gate(rules: &Rules, seed: u64) -> Gate {
    let tuning = Tuning {
        queue: QUEUE,
        known_sources: 3,
        pending: 200,
        patience: PATIENCE,
        seed,
        waste_a_second: 20,
        ..Tuning::default()
    };
    Gate::new(rules.clone(), keyring(), tuning)
}
