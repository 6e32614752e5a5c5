//! A capture that is read in the place of the network.

use std::fs::File;
use std::io;

use portunus_model::Unix;
use portunus_rx::{Capture, CaptureError, Caught, Filter};

use super::{Front, SLICE, intake};
use crate::log;
use crate::message::{self, FromFront, Listening};

/// Packets of a capture that one round takes.
const PLAYED_AT_ONCE: usize = 32;

/// A capture that is read in the place of the network, and its time.
pub(super) struct Played {
    /// `None`: it is no capture.
    pub(super) capture: Option<Capture<'static>>,
    pub(super) at: Option<Unix>,
    pub(super) ended: bool,
    /// Why not all of it was read.
    pub(super) fault: Option<CaptureError>,
}

impl Front {
    /// A part of a capture, each packet at its own time. True when there is no more.
    pub(super) fn play(&mut self) -> io::Result<bool> {
        for _ in 0..PLAYED_AT_ONCE {
            let Some(played) = self.played.as_mut().filter(|played| !played.ended) else { return Ok(true) };
            match played.capture.as_mut().and_then(Iterator::next) {
                Some(Ok(Caught { datagram, at })) => {
                    played.at = at.or(played.at);
                    let now = self.now();
                    self.gate.handle_datagram(now, datagram);
                    self.carry_out(now)?;
                    while self.gate.work(now, SLICE) {}
                    self.carry_out(now)?;
                }
                Some(Err(error)) => played.end(Some(error)),
                None => {
                    let cut = played.capture.as_ref().is_some_and(Capture::is_cut);
                    played.end(cut.then_some(CaptureError::Cut));
                }
            }
        }
        Ok(false)
    }

    /// Once all of a capture, or as many packets as were asked for, has been judged and answered.
    pub(super) fn tell_finished(&mut self) -> io::Result<()> {
        let read = self.played.as_ref().is_some_and(|played| played.ended);
        let full = self.listening.packet_limit.is_some_and(|limit| self.desk.candidates >= limit);
        let idle = self.gate.waiting() == 0 && self.gate.with_gpg() == 0 && self.outward.is_idle();
        if self.finished || !idle || !(read || full) {
            return Ok(());
        }
        self.finished = true;
        log::flush();
        let whole = self.played.as_ref().is_none_or(|played| played.fault.is_none());
        message::send(&self.keeper, &FromFront::Finished { whole }, &[])
    }
}

impl Played {
    pub(super) fn of(file: File, listening: &Listening) -> io::Result<Self> {
        let filter = Filter::parse(&listening.capture_filter).map_err(io::Error::other)?;
        let mut played = Self { capture: None, at: None, ended: false, fault: None };
        match Capture::new(file, Some(filter), intake::wanted(listening)) {
            Ok(capture) => played.capture = Some(capture),
            Err(error) => played.end(Some(error)),
        }
        Ok(played)
    }

    fn end(&mut self, fault: Option<CaptureError>) {
        if let Some(kept) = self.capture.as_ref().and_then(Capture::keeps) {
            tracing::warn!("the capture keeps only the first {kept} bytes of a packet: tcpdump -s 0");
        }
        if let Some(error) = fault {
            tracing::error!(%error, "not all of the capture was read");
        }
        self.fault = fault;
        self.ended = true;
    }
}
