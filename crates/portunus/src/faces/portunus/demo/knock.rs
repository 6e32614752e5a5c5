//! One sealed packet, kept so that it can be sent twice, and the clock from its sending to the open door.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use portunus_crypto::SystemEntropy;
use portunus_crypto::ed25519::SigningKey;
use portunus_dialect::openme::{ClientKeys, Wish, seal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::stage::{CLIENT, DOOR, SERVER, Stage};

/// How long one try at the door may take. A SYN that meets a closed door is lost, and the kernel repeats it only after
/// a second, so each try is a new socket.
const ONE_TRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000 };

/// A knock of alice's.
pub(super) struct Packet {
    bytes: Vec<u8>,
    port: u16,
}

impl Packet {
    /// Seals one with the profile that `add` printed.
    pub(super) fn seal(stage: &Stage) -> Result<Self, String> {
        let profile = stage.profile()?;
        let portunus_config::profile::Keys::Openme { server, seed, .. } = profile.keys else {
            return Err("alice's profile is not of openme's dialect".to_owned());
        };
        let client = SigningKey::new(&seed).map_err(|error| error.to_string())?;
        let keys = ClientKeys { server, client };
        let bytes = seal(&keys, Wish::default(), portunus_sys::clock::wall(), &mut SystemEntropy);
        Ok(Self { bytes: bytes.map_err(|error| error.to_string())?.into(), port: profile.port })
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Whether `port` is where it goes to.
    pub(super) fn is_for(&self, port: &str) -> bool {
        port.parse() == Ok(self.port)
    }

    /// Sends it from the client.
    pub(super) fn send(&self, stage: &Stage) -> Result<(), String> {
        stage
            .client()
            .inside(|| self.socket().and_then(|socket| socket.send(&self.bytes)))?
            .map(|_| ())
            .map_err(at(SERVER))
    }

    /// Sends it and knocks on the door until it opens: how long that took from `sendto` on, and when the knock went out.
    pub(super) fn send_and_connect(
        &self,
        stage: &Stage,
        limit: Duration,
    ) -> Result<(Option<Duration>, Instant), String> {
        let door: SocketAddr = DOOR.parse().map_err(at(DOOR))?;
        let timed = || -> io::Result<(Option<Duration>, Instant)> {
            let socket = self.socket()?;
            let start = Instant::now();
            socket.send(&self.bytes)?;
            while start.elapsed() < limit {
                if try_door(door)? {
                    return Ok((Some(start.elapsed()), start));
                }
            }
            Ok((None, start))
        };
        stage.client().inside(timed)?.map_err(at(DOOR))
    }

    fn socket(&self) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((CLIENT, 0))?;
        socket.connect((SERVER, self.port))?;
        Ok(socket)
    }
}

fn try_door(door: SocketAddr) -> io::Result<bool> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &door) {
        Ok(()) => return Ok(true),
        Err(error) if error == rustix::io::Errno::INPROGRESS => (),
        Err(_) => return Ok(false),
    }
    let mut wanted = [PollFd::new(&socket, PollFlags::OUT)];
    let ready = poll(&mut wanted, Some(&ONE_TRY))? > 0;
    Ok(ready && sockopt::socket_error(&socket)?.is_ok())
}

/// Says where an error of the system came from.
fn at<E: std::fmt::Display>(place: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{place}: {error}")
}
