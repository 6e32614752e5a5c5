//! gpg, and the process that runs it, simulated: answers come at times drawn by lot, or it has no room, or it is dead. What it
//! answers is true: it opens what was sealed for its keyring, and nothing that was changed.

use portunus_dialect::fwknop::gpg::{Answer, Failure, Spoken};
use portunus_gate::Question;
use portunus_model::Mono;
use std::collections::HashMap;
use std::time::Duration;

use crate::dice::Dice;
use crate::packets::{SIGNERS, ring_hmac};

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    /// Answers within a second.
    #[default]
    Well,
    /// Answers when nobody waits any more, or just before.
    Slow,
    /// Has no room.
    Full,
    /// Answers nothing, and never will.
    Dead,
}

#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) mood: Mood,
    /// When it was in trouble last, or had as much to do as may wait.
    pub(crate) strained: Option<Mono>,
    asked: Vec<(Mono, u64, Answer)>,
    pub(crate) questions: u64,
}

impl Oracle {
    pub(crate) fn ask(
        &mut self,
        now: Mono,
        question: &Question,
        sealed: &HashMap<Vec<u8>, (String, usize, u8)>,
        dice: &mut Dice,
    ) {
        let Question { number, ring, message } = question;
        let ring = ring.0[0];
        let found = sealed.get(message);
        if ring_hmac(ring).is_some() {
            let is_for_it = found.is_some_and(|(_, _, theirs)| *theirs == ring);
            assert!(is_for_it, "a message without its HMAC came as far as gpg");
        }
        self.questions += 1;
        let truth = match found {
            Some((text, signer, theirs)) if *theirs == ring => good(text, SIGNERS[*signer]),
            Some(_) => report("NO_SECKEY 1\nBEGIN_DECRYPTION\nDECRYPTION_FAILED\nEND_DECRYPTION", ""),
            None => report("ENC_TO 1\nBEGIN_DECRYPTION\nDECRYPTION_FAILED\nEND_DECRYPTION", ""),
        };
        let millis = Duration::from_millis;
        let (after, answer) = match self.mood {
            Mood::Well => (millis(dice.roll(5) * dice.roll(200)), truth),
            Mood::Slow => (millis(4500 + dice.roll(1000)), truth),
            Mood::Full => (Duration::ZERO, Answer::Failed(Failure::Busy)),
            Mood::Dead => return,
        };
        self.asked.push((now.after(after), *number, answer));
    }

    /// When it answers next.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.asked.iter().map(|(at, ..)| *at).min()
    }

    /// The answers that are due.
    pub(crate) fn due(&mut self, now: Mono) -> Vec<(u64, Answer)> {
        let (due, later) = std::mem::take(&mut self.asked).into_iter().partition(|(at, ..)| *at <= now);
        self.asked = later;
        let due: Vec<(Mono, u64, Answer)> = due;
        due.into_iter().map(|(_, number, answer)| (number, answer)).collect()
    }

    /// All that it was busy with is lost.
    pub(crate) fn die(&mut self) {
        self.asked.clear();
    }

    pub(crate) fn strain(&mut self, now: Mono) {
        self.strained = Some(now);
    }
}

fn good(text: &str, signer: &str) -> Answer {
    let lines = format!(
        "BEGIN_DECRYPTION\nDECRYPTION_INFO 2 9 0\nPLAINTEXT 62 0 \nNEWSIG\nGOODSIG 1 x\n\
         VALIDSIG {signer} a b c d e f g h {signer}\nTRUST_FULLY 0 pgp\nDECRYPTION_OKAY\nGOODMDC\nEND_DECRYPTION"
    );
    report(&lines, text)
}

fn report(lines: &str, text: &str) -> Answer {
    let report = lines.lines().map(|line| format!("[GNUPG:] {line}\n")).collect::<String>();
    Answer::Spoken(Spoken { text: text.as_bytes().to_vec().into(), report: report.into_bytes() })
}
