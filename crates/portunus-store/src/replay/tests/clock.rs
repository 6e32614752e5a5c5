//! The machine's clock steps by an hour and by ten days, forwards and back, with restarts and reboots: nothing in twice, and
//! whoever's clock is like the machine's gets in at once.

use super::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The machine: BOOTTIME runs on, the wall clock is `ahead` seconds ahead of the true time.
struct Machine {
    disks: [Disk; 2],
    store: FileStore<Disk>,
    /// True time since the beginning, BOOTTIME and by how much the wall clock is ahead, in seconds.
    time: i64,
    booted: i64,
    ahead: i64,
    sent: u32,
    recorded: Vec<Claim>,
}

impl Machine {
    fn new() -> Self {
        let disks = disks();
        let store = FileStore::open(disks.clone(), 10_000, BOOT, at(0)).unwrap();
        Self { disks, store, time: 0, booted: 0, ahead: 0, sent: 0, recorded: Vec::new() }
    }

    fn now(&self) -> Now {
        let mono = Mono::from_nanos((self.time - self.booted) as u64 * 1_000_000_000);
        Now { mono, wall: Unix::from_secs(WALL + self.time + self.ahead) }
    }

    /// What the gate does with a packet: age first.
    fn receive(&mut self, claim: Claim) -> Option<Claimed> {
        let now = self.now();
        (now.wall.distance(claim.stamp) <= WINDOW).then(|| self.store.claim(now, &[claim])[0])
    }

    /// Two knocks of a client whose clock is `ahead` seconds ahead of the true time, the second from half a minute ago.
    fn knock(&mut self, ahead: i64) -> [Option<Claimed>; 2] {
        [0, -30].map(|late| {
            self.sent += 1;
            let claim = claim(self.sent, self.time + ahead + late);
            let answer = self.receive(claim);
            self.recorded.extend(Some(claim).filter(|_| answer == Some(Claimed::Fresh)));
            answer
        })
    }

    fn replay_all(&mut self) {
        for claim in self.recorded.clone() {
            assert_ne!(
                self.receive(claim),
                Some(Claimed::Fresh),
                "at {} s, {} s ahead",
                self.time,
                self.ahead
            );
        }
    }

    fn restart(&mut self, reboot: bool) {
        let boot = if reboot { NEXT_BOOT } else { BOOT };
        self.booted = if reboot { self.time } else { self.booted };
        self.store = FileStore::open(self.disks.clone(), 10_000, boot, self.now()).unwrap();
        assert!(!self.store.was_damaged());
    }
}

#[test]
fn an_hour_or_ten_days_either_way_lets_nothing_in_twice_and_shuts_nobody_out() {
    for step in [HOUR, -HOUR, 10 * DAY, -10 * DAY] {
        for reboot in [None, Some(false), Some(true)] {
            let mut machine = Machine::new();
            let fresh = [Some(Claimed::Fresh); 2];
            // Wrong for a while, and right again; then once more.
            for ahead in [0, step, 0, step, 0] {
                machine.ahead = ahead;
                if let Some(reboot) = reboot {
                    machine.restart(reboot);
                }
                for pause in [1, 20, 3 * HOUR, 12 * HOUR, 5] {
                    machine.replay_all();
                    assert_eq!(machine.knock(ahead), fresh, "step {step}, reboot {reboot:?}");
                    machine.replay_all();
                    machine.time += pause;
                }
            }
            // Until the time of every packet has come and gone.
            for _ in 0..300 {
                machine.time += HOUR;
                machine.replay_all();
                assert_eq!(machine.knock(0), fresh);
            }
            for second in 0..=2 * 60 {
                machine.time += second % 2;
                machine.replay_all();
            }
            assert_eq!(machine.store.horizon(), None);
        }
    }
}

#[test]
fn every_packet_is_refused_while_its_time_comes_again() {
    for step in [HOUR, 10 * DAY] {
        let mut machine = Machine::new();
        machine.ahead = step;
        assert_eq!(machine.knock(step), [Some(Claimed::Fresh); 2]);
        machine.ahead = 0;
        machine.restart(true);
        // A step of the clock later that time is there, though BOOTTIME says that it was long ago.
        machine.time = step - 60;
        let mut tried = 0;
        while machine.time <= step + 60 {
            for claim in machine.recorded.clone() {
                let answer = machine.receive(claim);
                assert!(matches!(answer, Some(Claimed::Replayed) | None), "{answer:?}");
                tried += usize::from(answer.is_some());
            }
            machine.knock(0);
            machine.time += 5;
        }
        assert!(tried > 20, "its time came again: {tried}");
    }
}
