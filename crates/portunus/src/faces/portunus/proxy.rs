//! `proxy`: for ssh's ProxyCommand.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::net::SocketAddr;

use portunus_client::{Closed, Opened, Patience, Request, ToWhom, carry, knock_and_connect, resolve};
use portunus_config::profile::Profile;
use rustix::stdio;

use super::NAME;
use super::args::Proxy;
use crate::knocking::Knocker;
use crate::say::{Done, Failure, remark};
use crate::second_factor::{self, StandardInput};
use crate::wallet::Wallet;

/// `portunus proxy`.
pub(super) fn run(wish: &Proxy) -> Done {
    let wallet = Wallet::mine()?;
    let profile = choose(&wallet, wish)?;
    let code = second_factor::for_profile(&profile, false, StandardInput::AStream)?;
    let request = Request { code, ..Request::default() };
    let mut knocker = wallet.knocker(NAME, profile, wish.family.into(), request)?;
    knocker.prepare();
    let opened = open(&mut knocker, wish)?;
    knocker.keep();
    if opened.to_whom == ToWhom::AddressAfterAll {
        remark(
            NAME,
            "a door for this connection alone did not open: a router on the way changes its port, or the server opens none, so the door is open for this whole \
             address (source_port = false in the profile asks for that at once)",
        );
    }
    let linger = !io::stdin().is_terminal();
    carry(&opened.stream, Input, Output, linger).map(|_| ()).map_err(|error| {
        Failure::new(format_args!("the connection broke ({error})"), &wish.host, "connect again")
    })
}

/// The named profile, else the one of the host's name, else the one for that host.
fn choose(wallet: &Wallet, wish: &Proxy) -> Result<Profile, Failure> {
    if wish.profile.is_some() {
        return wallet.open(wish.profile.as_deref());
    }
    let names = wallet.names()?;
    if names.contains(&wish.host) {
        return wallet.load(&wish.host);
    }
    let mut broken = None;
    for name in &names {
        match wallet.load(name) {
            Ok(profile) if profile.host.eq_ignore_ascii_case(&wish.host) => return Ok(profile),
            Ok(_) => (),
            // Another host's broken profile is no reason to refuse this one's.
            Err(failure) => broken = broken.or(Some(failure)),
        }
    }
    Err(broken.unwrap_or_else(|| {
        Failure::new(
            "no profile for this host",
            &wish.host,
            "name one with --profile; portunus profiles lists them",
        )
    }))
}

/// Tries each address of the host in the resolver's order, each with a knock of its own family before it.
fn open(knocker: &mut Knocker, wish: &Proxy) -> Result<Opened, Failure> {
    let patience = Patience { each: wish.wait };
    let mut last: Option<Failure> = None;
    for to in resolve(&wish.host, wish.port, knocker.families)? {
        let tried = knock_place(knocker, wish, to).and_then(|at| {
            knock_and_connect(at, to, patience, &mut knocker.sealer).map_err(|closed: Closed| closed.into())
        });
        match tried {
            Ok(opened) => return Ok(opened),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last
        .unwrap_or_else(|| Failure::new("no address for this name", &wish.host, "check this machine's DNS")))
}

/// Where to knock so that `to` opens: the same address where the server is the host itself, else the server's address
/// of the same family, so that it sees us as the host will.
fn knock_place(knocker: &Knocker, wish: &Proxy, to: SocketAddr) -> Result<SocketAddr, Failure> {
    let port = knocker.profile.port;
    if knocker.profile.host.eq_ignore_ascii_case(&wish.host) {
        return Ok(SocketAddr::new(to.ip(), port).with_scope_of(to));
    }
    let servers = knocker.addresses(port)?;
    let same = servers.iter().find(|server| server.ip() == to.ip());
    let family = servers.iter().find(|server| server.is_ipv4() == to.is_ipv4());
    same.or(family).copied().ok_or_else(|| {
        let family = if to.is_ipv4() { 4 } else { 6 };
        Failure::new(
            format_args!("the server has no IPv{family} address to knock at, and the host has"),
            &knocker.profile.host,
            "give the server one, or choose the other family with -4 or -6",
        )
    })
}

/// Keeps the interface of a link-local address.
trait WithScope {
    fn with_scope_of(self, other: SocketAddr) -> Self;
}

impl WithScope for SocketAddr {
    fn with_scope_of(mut self, other: SocketAddr) -> Self {
        if let (SocketAddr::V6(own), SocketAddr::V6(other)) = (&mut self, other) {
            own.set_scope_id(other.scope_id());
        }
        self
    }
}

/// Standard input without the standard library's buffer: what ssh wrote goes out at once.
struct Input;

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(stdio::stdin(), bytes)?)
    }
}

/// Standard output without a buffer; when it is dropped the reader sees the end.
struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Putting another file in its place closes our end of the pipe; without one the reader learns it at our exit.
        if let Ok(null) = File::options().write(true).open("/dev/null") {
            let _ = stdio::dup2_stdout(&null);
        }
    }
}
