//! A profile put to work: knock, and see whether the door opened. Both faces' words stand elsewhere.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portunus_client::native::NativeSealer;
use portunus_client::{ClientError, Closed, Families, Heard, Request, Seal, Sealer, Sent, Whom};
use portunus_config::profile::Profile;
use portunus_model::{PortSpec, Proto};

use crate::keeping::Keeper;
use crate::say::Failure;

/// The time that a near server needs to open; a connection begun before that would wait for the kernel's own retry.
const HEAD_START: Duration = Duration::from_millis(3);
/// The first look at a door after a knock; each further one waits twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(30);
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// A door that is open answers within this time, so that one that does not may be called closed.
const LOOK_BEFORE: Duration = Duration::from_secs(1);

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::new(error, "", "")
    }
}

impl From<Closed> for Failure {
    fn from(error: Closed) -> Self {
        Self::new(error, "", "")
    }
}

/// A profile, ready to knock.
pub(crate) struct Knocker {
    /// The profile.
    pub(crate) profile: Profile,
    /// Which families to use.
    pub(crate) families: Families,
    /// Makes the bytes.
    pub(crate) sealer: Sealer,
    keeper: Option<Keeper>,
    /// A door was closed before the knock.
    was_closed: bool,
}

/// What came of a round of knocks.
pub(crate) struct Knocked {
    /// Every knock that went out.
    pub(crate) sent: Vec<Sent>,
    /// What the server said, where it may.
    pub(crate) heard: Option<Heard>,
}

impl Knocker {
    /// Makes a profile ready, to ask for `request`; `keeper` has the file that its keys move on in.
    ///
    /// # Errors
    /// Its keys are refused, or cannot say what is asked for.
    pub(crate) fn new(
        profile: Profile,
        families: Families,
        request: Request,
        keeper: Option<Keeper>,
    ) -> Result<Self, Failure> {
        let sealer = Sealer::new(&profile.keys, request)?;
        Ok(Self { profile, families, sealer, keeper, was_closed: false })
    }

    /// The server's addresses, asked for anew: a laptop moves, and names change.
    ///
    /// # Errors
    /// The name has none.
    pub(crate) fn addresses(&self, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        Ok(portunus_client::resolve(&self.profile.host, port, self.families)?)
    }

    /// Knocks at every address, and waits for an answer where one may come. With a link that nobody has confirmed yet, and
    /// nobody answers, it knocks with the one before it too.
    ///
    /// # Errors
    /// No knock went out.
    pub(crate) fn knock(&mut self, whom: Whom) -> Result<Knocked, Failure> {
        let to = self.addresses(self.profile.port)?;
        self.prepare();
        self.sealer.begin();
        let (mut sent, heard) = portunus_client::knock_and_hear(&to, whom, &mut self.sealer)?;
        // Nobody says whether the new link opened it, so the old one is used as well: whoever made us believe in the new one
        // locks nobody out.
        let unheard = |native: &NativeSealer| native.falls_back() && !native.listens();
        let again = self.sealer.native().is_some_and(unheard);
        let more = again.then(|| portunus_client::knock_all(&to, whom, &mut self.sealer));
        self.keep();
        sent.extend(more.transpose()?.into_iter().flatten());
        Ok(Knocked { sent, heard })
    }

    /// Puts on the disk what has to be there before a knock: whoever only looks changes nothing.
    pub(crate) fn prepare(&mut self) {
        if let (Some(keeper), Some(sealer)) = (&mut self.keeper, self.sealer.native_mut()) {
            keeper.prepare(sealer);
        }
    }

    /// Writes down how the keys moved on.
    pub(crate) fn keep(&mut self) {
        if let (Some(keeper), Some(sealer)) = (&mut self.keeper, self.sealer.native_mut()) {
            keeper.keep(sealer);
        }
    }

    /// Looks before a knock whether the door is closed, where that it opens would tell more of the keys.
    ///
    /// # Errors
    /// The name has no address.
    pub(crate) fn look_before(&mut self, port: u16) -> Result<(), Failure> {
        self.prepare();
        self.was_closed = self.sealer.wonders() && self.look(port, LOOK_BEFORE)?.is_err();
        Ok(())
    }

    /// The TCP port that a running server answers on once the door is open.
    pub(crate) fn health_port(&self) -> u16 {
        self.profile.health_port.unwrap_or(self.profile.port)
    }

    /// The first TCP port that the profile says a knock opens.
    pub(crate) fn door(&self) -> Option<u16> {
        let tcp = self.profile.opens.iter().find(|spec| spec.proto() == Proto::Tcp);
        tcp.map(|spec: &PortSpec| spec.first())
    }

    /// The port that tells whether the door is open: the health port, or where the server has none, a service's own.
    ///
    /// # Errors
    /// There is no such port, and nothing else tells.
    pub(crate) fn telling_port(&self) -> Result<u16, Failure> {
        let health = self.profile.health.then(|| self.health_port());
        health.or_else(|| self.door()).ok_or_else(|| {
            Failure::new(
                "the server has no health port (health = false), and the profile names no TCP port that tells",
                &self.profile.name,
                "see `portunus events` on the server, or name one: portunus status --port PORT",
            )
        })
    }

    /// Looks at the door once; the first address that answers tells.
    ///
    /// # Errors
    /// The name has no address.
    pub(crate) fn look(
        &self,
        port: u16,
        limit: Duration,
    ) -> Result<Result<(SocketAddr, Duration), Closed>, Failure> {
        let mut last = None;
        for to in self.addresses(port)? {
            match portunus_client::reachable(to, limit) {
                Ok(took) => return Ok(Ok((to, took))),
                Err(closed) => last = Some(closed),
            }
        }
        match last {
            Some(closed) => Ok(Err(closed)),
            None => {
                Err(Failure::new("no address for this name", &self.profile.host, "check this machine's DNS"))
            }
        }
    }

    /// Looks again and again until the door is open or the time is up.
    ///
    /// # Errors
    /// The name has no address.
    pub(crate) fn wait(
        &mut self,
        port: u16,
        patience: Duration,
    ) -> Result<Result<(SocketAddr, Duration), Closed>, Failure> {
        let start = Instant::now();
        let mut limit = FIRST_LOOK;
        std::thread::sleep(HEAD_START);
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let looked = self.look(port, limit.min(left.max(FIRST_LOOK)))?;
            let closed = match looked {
                Ok((to, _)) => {
                    self.opened();
                    return Ok(Ok((to, start.elapsed())));
                }
                Err(closed) => closed,
            };
            if start.elapsed() + FIRST_LOOK >= patience {
                return Ok(Err(closed));
            }
            std::thread::sleep(Duration::from_millis(10));
            limit = (limit * 2).min(LONGEST_LOOK);
        }
    }

    fn opened(&mut self) {
        if std::mem::take(&mut self.was_closed) {
            self.sealer.door_opened();
            self.keep();
        }
    }
}

/// Runs a profile's command after a knock, in a shell, as its owner wrote it.
///
/// # Errors
/// The shell did not start.
pub(crate) fn post_knock(command: &str) -> Result<std::process::ExitCode, Failure> {
    run(std::process::Command::new("/bin/sh").arg("-c").arg(command), "/bin/sh")
}

/// Runs a command and takes over its exit code.
///
/// # Errors
/// It did not start.
pub(crate) fn run(
    command: &mut std::process::Command,
    name: &str,
) -> Result<std::process::ExitCode, Failure> {
    use std::os::unix::process::ExitStatusExt;
    let status = command.status().map_err(|error| {
        Failure::new(format_args!("the command did not start ({error})"), name, "check its name")
    })?;
    // As shells tell it: 128 and the signal's number.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(std::process::ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)))
}

/// A span as people read it.
pub(crate) fn took(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        format!("{:.1} ms", span.as_secs_f64() * 1000.0)
    } else {
        format!("{:.1} s", span.as_secs_f64())
    }
}
