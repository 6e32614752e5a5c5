//! Whether our rules still stand: looked at when somebody changes the ruleset, put back, moved where the new rules have a
//! better place, and told of.

use std::io;
use std::time::Duration;

use portunus_fw::{FirewallError, Structure};
use portunus_model::{Mono, Place};
use portunus_store::audit::Fact;
use portunus_sys::clock;

use super::duty::Duty;
use super::{Grantor, stand};
use crate::message::GrantorSnapshot;

/// How often we look whether others' rules still let in who has a grant.
const RECONSIDER_EVERY: Duration = Duration::from_secs(1);
/// So many times in such a while it is said that our rules were put back.
const PUT_BACK_SAID: u32 = 5;
const PUT_BACK_WHILE: Duration = Duration::from_secs(10);
/// Reading all rules takes at most one part in so many of our time: with large sets in them it takes long.
const READING: u32 = 20;

impl Grantor {
    /// Looks whether somebody has touched what is ours.
    pub(super) fn look(&mut self) {
        self.duty.look(clock::now());
        self.tell_rules();
        self.others_changed |= self.duty.book.firewall.others_changed();
    }

    /// Puts our rules back with every grant that is due.
    pub(super) fn put_back(&mut self, now: Mono) {
        if !self.duty.must_put_back(now) {
            return;
        }
        let owed = self.duty.book.owes();
        let outcome = self.install_again();
        match &outcome {
            Ok(()) if owed => tracing::warn!("what the firewall had refused is done: it has what it should"),
            Ok(()) => self.say_put_back(now),
            Err(why) => {
                if !self.not_put_back {
                    tracing::error!(
                        why,
                        "our rules are not as they should be: tried again every few seconds"
                    );
                    self.duty.book.facts.push(Fact::NotPutBack { why: why.clone() });
                }
            }
        }
        self.tell_absent();
        self.not_put_back = outcome.is_err();
        self.duty.tried(clock::mono(), outcome.is_ok());
    }

    /// Says once of a chain of the administrator's that it is gone. Our own drops stand all the same.
    pub(super) fn tell_absent(&mut self) {
        let absent = self.duty.book.firewall.absent().map(str::to_owned);
        if absent == self.absent {
            return;
        }
        if let Some(chain) = &absent {
            let why = format!(
                "chain {chain} of `place` is not there: load its rules again; meanwhile we stand in our own table alone"
            );
            tracing::error!(why, "not all of ours could be put back; the ports stay shut");
            self.duty.book.facts.push(Fact::NotPutBack { why });
        } else {
            tracing::warn!("the chains of `place` are there again, and ours are in them");
        }
        self.absent = absent;
    }

    fn install_again(&mut self) -> Result<(), String> {
        let GrantorSnapshot { limits, wish } = &self.snapshot;
        let structure = stand::structure(limits, wish, self.place.clone());
        let Err(error) = install(&mut self.duty, &structure) else { return Ok(()) };
        // What is wrong in a table of theirs (a name that we need, say) must not open what ours keeps shut.
        if matches!(self.place, Place::Attach(_)) {
            let own = stand::structure(limits, wish, Place::Own);
            let held = install(&mut self.duty, &own).is_ok();
            return Err(format!("{error}{}", if held { "; our own table stands meanwhile" } else { "" }));
        }
        Err(error.to_string())
    }

    /// Others' rules have changed. Where nobody has pinned the place, there may be a better one now; and what keeps out who
    /// has a grant is said, once.
    pub(super) fn reconsider(&mut self, now: Mono) -> io::Result<()> {
        if !self.others_changed || now < self.next_reconsidering || self.place.is_of_iptables() {
            return Ok(());
        }
        self.others_changed = false;
        let GrantorSnapshot { limits, wish } = &self.snapshot;
        let found = self.ground.find_again(limits, wish);
        let read = clock::mono();
        self.next_reconsidering = read.after(RECONSIDER_EVERY.max(read.since(now) * READING));
        if let Ok(place @ Place::Attach(_)) = &found
            && *place != self.place
        {
            let structure = stand::structure(limits, wish, place.clone());
            let moved = install(&mut self.duty, &structure);
            // Where that fails, where we were is put back.
            self.duty.tried(clock::mono(), moved.is_ok());
            if moved.is_ok() {
                self.place = place.clone();
                self.say_in_force()?;
                let place = stand::words(place);
                tracing::warn!(place, "the rules of others have changed, and have a place for us now");
            }
            self.tell_absent();
        }
        let in_the_way = found.err();
        if let Some(why) = in_the_way.as_ref().filter(|why| self.in_the_way.as_ref() != Some(*why)) {
            tracing::error!(why, "the rules of others have changed, and keep out who has a grant");
        }
        self.in_the_way = in_the_way;
        Ok(())
    }

    pub(super) fn say_put_back(&mut self, began: Mono) {
        let took = clock::mono().since(began).as_micros();
        self.duty.book.facts.push(Fact::PutBack {
            place: stand::words(&self.place),
            took_us: u64::try_from(took).unwrap_or(u64::MAX),
        });
        // A tool that keeps reloading is answered each time, and told of now and then.
        let (since, said) = self.put_back_said;
        self.put_back_said =
            if began.since(since) >= PUT_BACK_WHILE { (began, 1) } else { (since, said + 1) };
        if self.put_back_said.1 > PUT_BACK_SAID {
            self.put_back_unsaid += 1;
            return;
        }
        tracing::warn!(
            took_us = clock::mono().since(began).as_micros(),
            place = stand::words(&self.place),
            unsaid = std::mem::take(&mut self.put_back_unsaid),
            "somebody changed our rules: put back, with every grant that is due"
        );
    }
}

/// Makes the kernel agree with the book, and sees to ends that it was told late.
pub(super) fn install(duty: &mut Duty, structure: &Structure) -> Result<(), FirewallError> {
    let began = clock::now();
    let done = duty.install(began, structure);
    duty.took(began.mono, clock::mono());
    done
}
