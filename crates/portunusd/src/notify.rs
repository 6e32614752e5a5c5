//! What a supervisor wants to hear (sd_notify(3)): one datagram to the socket that it named.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable in which that is said: names that begin so are everybody's own.
pub const ON_TRIAL: &str = "X_PORTUNUS_TRIAL";

/// The way to the supervisor; silent when there is none.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: Option<UnixDatagram>,
}

impl Supervisor {
    /// Finds the socket in the environment and connects to it.
    pub(crate) fn find() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| connect(&name));
        Self { socket }
    }

    /// Every port is guarded and every knock is heard.
    pub(crate) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// The configuration is being read again; [`Self::ready`] ends it.
    pub(crate) fn reloading(&self) {
        // systemd wants to know when, by the clock it uses itself (Type=notify-reload).
        let micros = portunus_sys::clock::kernel_timers().as_micros();
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
    }

    /// We are ending.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1\n");
    }

    /// While the drops are on trial: what the command that waits for it is to show. Other supervisors know no such word.
    pub(crate) fn on_trial(&self, what: &str) {
        self.say(&format!("{ON_TRIAL}={what}\n"));
    }

    fn say(&self, text: &str) {
        if let Some(socket) = &self.socket {
            // A supervisor that does not listen is its own trouble.
            let _ = socket.send(text.as_bytes());
        }
    }
}

fn connect(name: &OsStr) -> Option<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}
