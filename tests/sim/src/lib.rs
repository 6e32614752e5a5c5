//! The gate and the replay store in thousands of random schedules, against a reference model.
//!
//! A schedule is a few hundred steps drawn from one seed: knocks of openme's and fwknop's clients sent, delivered late, twice, out of order, with a byte
//! changed, recorded and sent again; strangers and noise; both clocks moving, the wall clock also backwards; a store
//! that fails, a grantor that refuses or answers too late; a gpg that is slow, has no room or dies; reloads, closings, kills and power cuts in the middle of it.
//! `reference` knows who made each packet and says what may come of it; every action of the gate is held against that,
//! and at the end every datagram has its one verdict, and nothing is open that nobody knows of.
//!
//! A schedule that fails prints its seed. `PORTUNUS_SIM_SEED=n` repeats that one; `PORTUNUS_SIM_SCHEDULES=n` runs more.

#[cfg(test)]
mod dice;
#[cfg(test)]
#[path = "../../../crates/portunus-store/src/disk.rs"]
#[expect(dead_code, reason = "the store's own tests use the rest of it")]
mod disk;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod kernel;
#[cfg(test)]
mod openings;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod packets;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod schedule;
#[cfg(test)]
mod stanzas;
#[cfg(test)]
mod world;

#[cfg(test)]
use portunus_store::Segment;
