//! How the front begins: from what the keeper has handed it, up to when every protected port is guarded.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;

use portunus_crypto::{Entropy, SystemEntropy};
use portunus_ctl::frame;
use portunus_gate::{Gate, Tuning};
use portunus_model::{Mono, Now};
use portunus_store::{BootId, DigestCache, FileStore};
use portunus_sys::channel::Channel;
use portunus_sys::clock;
use portunus_sys::poll::{Interest, Poll};

use super::chains::Kept;
use super::control::Desk;
use super::helpers::Helpers;
use super::intake::Intake;
use super::outward::Outward;
use super::played::Played;
use super::vouching::Vouching;
use super::{CLAIMS, CONTROL, Front, GRANTOR, KEEPER, keyring};
use crate::message::{self, Came, FromFront, FrontSnapshot, ToFront};

impl Front {
    pub(super) fn set_up(keeper: Channel, mut came: Came<ToFront>, boot: BootId) -> io::Result<Self> {
        let ToFront::Setup { store: place, brought } = &came.value else {
            return Err(io::Error::other("the keeper began with something else than the setup"));
        };
        let (place, brought) = (place.clone(), brought.clone());
        let snapshot: FrontSnapshot = came.beside()?;
        let grantor = Channel::from_descriptor(came.descriptor()?)?;
        let store = [File::from(came.descriptor()?), File::from(came.descriptor()?)];
        let listener = UnixListener::from(came.descriptor()?);
        let channel = |came: &mut Came<ToFront>, has: bool| {
            has.then(|| Channel::from_descriptor(came.descriptor()?)).transpose()
        };
        let commands = channel(&mut came, brought.commands)?;
        let resolver = channel(&mut came, brought.resolver)?;
        let oracle = channel(&mut came, brought.oracle)?;
        let digests = brought.digests.then(|| came.descriptor()).transpose()?.map(File::from);
        let capture = brought.capture.then(|| came.descriptor()).transpose()?.map(File::from);

        let now = clock::now();
        let store = FileStore::open(store, CLAIMS, boot, now).map_err(|e| crate::bad_files(&place, &e))?;
        say_damage(&store, now, &place);
        let FrontSnapshot { rules, keys, interfaces, about, listening, chains: left } = snapshot;
        let digests = digests.map(read_digests).transpose()?;
        let played = capture.map(|file| Played::of(file, &listening)).transpose()?;
        let intake = Intake::of(&mut came, &brought, &listening, interfaces)?;
        let chains = brought.chains.then(|| came.descriptor()).transpose()?.map(File::from);
        let mut desk = Desk::new(listener);
        desk.learn(&rules, listening.dry);
        let helpers = Helpers::new([commands, resolver, oracle]);
        let tuning = Tuning { seed: seed()?, lists_fields: listening.lists_fields, ..Tuning::default() };
        let mut gate = Gate::new(rules, keyring::read(&keys)?, tuning);
        let mut outward = Outward::new(grantor, store, helpers, digests, listening.port);
        if let Some(file) = chains {
            outward.chains.open(file, &mut gate)?;
        }
        let taken_up = outward.chains.take_up(&left, &mut gate);
        Kept::say_missing(&gate);
        let front = Self {
            poll: Poll::new()?,
            gate,
            outward,
            desk,
            intake,
            listening,
            played,
            finished: false,
            health: Vec::new(),
            about,
            unsettled: None,
            taken_up,
            vouching: Vouching::default(),
            restored: Vec::new(),
            buffer: vec![0; frame::LONGEST_MESSAGE],
            last_slice: now.mono,
            last_told: Mono::default(),
            end: false,
            keeper,
        };
        message::send(&front.keeper, &FromFront::Ready { taken_up }, &[])?;
        Ok(front)
    }

    /// Nothing is received before every protected port is guarded.
    pub(super) fn wait_for_serve(&mut self) -> io::Result<()> {
        loop {
            let Some(came) = message::receive::<ToFront>(&self.keeper)? else {
                self.end = true;
                return Ok(());
            };
            let serve = matches!(came.value, ToFront::Serve { .. });
            self.on_keeper_said(came)?;
            if serve || self.end {
                break;
            }
        }
        self.poll.add(&self.keeper, KEEPER, Interest::Read)?;
        self.poll.add(self.outward.grantor(), GRANTOR, Interest::Read)?;
        self.poll.add(self.desk.listener(), CONTROL, Interest::Read)?;
        self.watch_helpers()?;
        self.intake.watch(&self.poll)
    }
}

/// What rot costs, and for how long.
fn say_damage(store: &FileStore, now: Now, place: &str) {
    let Some(horizon) = store.horizon().filter(|_| store.was_damaged()) else { return };
    let until = clock::rfc3339(horizon);
    let seconds = horizon.distance(now.wall).as_secs();
    tracing::error!(
        files = place,
        %until,
        seconds,
        "the replay store was damaged and is mended: which packets were used before is not known any more, so every \
         packet stamped up to then is refused; is the disk failing?"
    );
}

fn read_digests(file: File) -> io::Result<DigestCache> {
    let (cache, read) = DigestCache::open(file)?;
    if read.wrong_lines > 0 {
        tracing::warn!(lines = read.wrong_lines, "digest.cache has lines that are none");
    }
    if read.forgotten > 0 {
        tracing::warn!(
            lines = read.forgotten,
            "digest.cache has more lines than are remembered: its oldest packets are refused by their age only"
        );
    }
    Ok(cache)
}

fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_ne_bytes(bytes))
}
