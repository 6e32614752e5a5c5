//! Whether the clock on the wall is to be believed: the kernel says that a time service keeps it right, and since we last
//! looked it has gone as far as the clock that nobody can set (docs/protocol/native.md, "Erasing").

use std::time::Duration;

use portunus_model::{Mono, Now};
use portunus_sys::clock;

/// How often we look.
const LOOKS: Duration = Duration::from_secs(60);
/// How much a time service may move it between two looks.
const SLEW: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Vouching {
    last: Option<Now>,
}

impl Vouching {
    pub(super) fn is_due(&self, now: Mono) -> bool {
        self.last.is_none_or(|last| now.since(last.mono) >= LOOKS)
    }

    /// Looks. The first look is never enough.
    pub(super) fn look(&mut self, now: Now) -> bool {
        let steady = self.last.is_some_and(|last| is_steady(last, now));
        self.last = Some(now);
        steady && clock::synchronized() == Some(true)
    }
}

fn is_steady(last: Now, now: Now) -> bool {
    let expected = last.wall.after(now.mono.since(last.mono));
    expected.distance(now.wall) <= SLEW
}

#[cfg(test)]
mod tests {
    use portunus_model::Unix;

    use super::*;

    #[test]
    fn a_clock_that_was_set_meanwhile_is_not_believed() {
        let at = |mono: u64, wall: i64| Now {
            mono: Mono::from_nanos(mono * 1_000_000_000),
            wall: Unix::from_secs(wall),
        };
        assert!(is_steady(at(10, 1000), at(70, 1060)));
        assert!(is_steady(at(10, 1000), at(70, 1061)));
        for wall in [1063, 1057, 1060 + 20 * 86_400, 1060 - 20 * 86_400] {
            assert!(!is_steady(at(10, 1000), at(70, wall)), "{wall}");
        }
        let mut vouching = Vouching::default();
        assert!(vouching.is_due(at(10, 0).mono) && !vouching.look(at(10, 1000)));
        assert!(!vouching.is_due(at(69, 0).mono) && vouching.is_due(at(70, 0).mono));
    }
}
