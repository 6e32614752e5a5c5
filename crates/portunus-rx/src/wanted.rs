//! From a payload that was seen to a datagram for the gate, or nothing.

use portunus_model::{Datagram, LONGEST, Lengths, Via};
use serde::{Deserialize, Serialize};

use crate::{Carrier, HttpRules, Payload};

/// Which payloads can be knocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The lengths of the dialects' packets.
    pub lengths: Lengths,
    /// How a knock may be carried by an HTTP request; `None`: not at all.
    pub http: Option<HttpRules>,
}

impl Wanted {
    /// Whatever any dialect could use, and any program's HTTP request: for a look at a capture.
    #[must_use]
    pub fn anything() -> Self {
        let http = HttpRules { any_agent: true, ..HttpRules::default() };
        Self { lengths: Lengths::of([1..=LONGEST]), http: Some(http) }
    }

    /// The datagram that a payload is, or that its request carries. `seen` is how it was seen.
    #[must_use]
    pub fn datagram(&self, payload: Payload<'_>, seen: Via) -> Option<Datagram> {
        let datagram = match (&self.http, payload.carrier) {
            (Some(http), Carrier::Tcp) if HttpRules::may_begin(payload.bytes) => {
                let knock = http.knock_in_segment(payload.bytes, payload.source.ip()).ok()?;
                Datagram::new(knock.bytes, payload.source, Via::Http).claiming(knock.claimed)
            }
            (_, Carrier::Udp | Carrier::Tcp | Carrier::Icmp) => {
                // Before it is copied: most of what a stranger sends has no length of ours.
                self.lengths.admit(payload.bytes.len()).then_some(())?;
                Datagram::new(payload.bytes, payload.source, seen)
            }
        };
        let admitted = self.lengths.admit(datagram.bytes.len());
        admitted.then(|| datagram.sent_to(Some(payload.destination.ip())).carried_by(payload.carried()))
    }
}
