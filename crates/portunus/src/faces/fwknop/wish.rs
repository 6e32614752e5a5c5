//! From settings to what the packet says.

use std::net::IpAddr;

use portunus_crypto::{Entropy, EntropyFailed, SystemEntropy};
use portunus_dialect::fwknop::{FieldError, LONGEST_USER, Message, Nat, SealError, Wish, read_ports};
use portunus_model::Unix;

use super::line::Task;
use super::settings::Settings;
use super::values;
use crate::say::{Failure, line};

/// Ports that are drawn by lot lie from here on.
const FIRST_DRAWN: u16 = 10_000;
const LAST_DRAWN: u16 = 65_534;

/// What the packet is to say, for `address` (`None`: where it comes from).
///
/// # Errors
/// Something of it cannot be said.
pub(super) fn wish(settings: &Settings, task: &Task, address: Option<IpAddr>) -> Result<Wish, Failure> {
    let user = user(settings);
    if let Some(text) = task.server_cmd.as_ref().filter(|text| !text.is_empty()) {
        let mut wish = Wish::new(&user, Message::Command { address, text: text.clone() });
        wish.digest = settings.digest;
        return Ok(wish);
    }
    let access = settings.access.as_deref().unwrap_or_default();
    let drawn = match settings.nat_rand_port {
        true => Some(draw_port(&mut SystemEntropy).map_err(|error| Failure::new(error, "", "try again"))?),
        false => None,
    };
    let nat = nat(settings, access)?;
    let outer = drawn.or(settings.nat_port);
    let message = match outer {
        Some(port) => through(access, port)?,
        None => access.to_owned(),
    };
    let ports = read_ports(&message).map_err(|error| {
        let what = format!("Invalid SPA access message format: {access:?}: {error}");
        Failure::new(what, "--access", "write tcp/22, or several: tcp/22,udp/53")
    })?;
    let mut wish = Wish::new(&user, Message::Access { address, ports });
    if let (Some(port), Some(nat)) = (drawn, &nat) {
        line(format_args!(
            "[+] Randomly assigned port '{port}' on: '{}' will grant access to: '{nat}'",
            wish.message
        ));
    }
    let six = |address: IpAddr| address.is_ipv6();
    if nat.as_ref().is_some_and(|nat| nat.host.contains(':')) && !address.is_some_and(six) {
        let what = "an IPv6 host behind the server is only for knocks that name an IPv6 address";
        return Err(Failure::new(what, "--nat-access", "name yours with -a, or use -R with an IPv6 server"));
    }
    wish.nat = nat;
    wish.timeout = Some(settings.timeout).filter(|&timeout| timeout > 0);
    wish.digest = settings.digest;
    Ok(wish)
}

/// The words for what no packet can say.
pub(super) fn refused(error: SealError) -> Failure {
    let (what, mend) = match error {
        SealError::Field(FieldError::User) => (
            format!("Args contain invalid data: {error}"),
            "name another user with -U: letters, digits, dots and dashes",
        ),
        SealError::Field(field) => (format!("Args contain invalid data: {field}"), "ask for something else"),
        SealError::Clock => (error.to_string(), "set this machine's clock, or leave the time offset out"),
        SealError::TooLong(_) => (error.to_string(), ""),
        SealError::Entropy(_) => (error.to_string(), "try again"),
    };
    Failure::new(what, "", mend)
}

/// When the packet says that it was made.
///
/// # Errors
/// No packet can say it.
pub(super) fn stamp(now: Unix, offset: i64) -> Result<Unix, Failure> {
    let then = now.as_secs().checked_add(offset).filter(|&seconds| seconds >= 0);
    then.map(Unix::from_secs).ok_or_else(|| refused(SealError::Clock))
}

/// A port drawn by lot, each as likely as any other.
pub(super) fn draw_port(entropy: &mut dyn Entropy) -> Result<u16, EntropyFailed> {
    let range = LAST_DRAWN - FIRST_DRAWN + 1;
    loop {
        let mut bytes = [0; 2];
        entropy.fill(&mut bytes)?;
        let drawn = u16::from_be_bytes(bytes);
        if drawn < range {
            return Ok(FIRST_DRAWN + drawn);
        }
    }
}

/// Who knocks: the name that was typed, or whoever is logged in. What is too long is cut, as the original does.
fn user(settings: &Settings) -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let login = || portunus_sys::users::name_of(portunus_sys::users::effective_uid());
    let name = settings.user.clone().or_else(|| variable("SPOOF_USER")).or_else(|| variable("LOGNAME"));
    let name = name.or_else(login).or_else(|| variable("USER")).unwrap_or_else(|| "NO_USER".to_owned());
    let end =
        name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|&end| end <= LONGEST_USER).last();
    name.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

/// Where the opened port leads.
fn nat(settings: &Settings, access: &str) -> Result<Option<Nat>, Failure> {
    let local = settings.nat_local;
    let text = match (&settings.nat_access, &settings.server) {
        (Some(text), _) => text,
        (None, Some(server)) if local => {
            return Ok(Some(Nat { host: server.clone(), port: port_of(access), local })).and_then(whole);
        }
        (None, None) if local => {
            let what = "--nat-local leads to the server itself, and none was named";
            return Err(Failure::new(what, "", "name it with -D, or the host with -N"));
        }
        (None, _) => return Ok(None),
    };
    let bad_port =
        || Failure::new("Invalid port value in -N arg", text, "write HOST:PORT, with a port from 1 to 65535");
    let (host, port) = host_and_port(text);
    let port = match port {
        Some(port) => values::port(port).ok().filter(|&port| port != 0).ok_or_else(bad_port)?,
        None => port_of(access),
    };
    Ok(Some(Nat { host: host.to_owned(), port, local })).and_then(whole)
}

/// Whether it can be said at all; an IPv6 host only beside an IPv6 address, so that no original server mistakes it.
fn whole(nat: Option<Nat>) -> Result<Option<Nat>, Failure> {
    let Some(nat) = nat else { return Ok(None) };
    // A port of 0 comes from an -A that is refused right after, in words of its own.
    let host = Nat { port: nat.port.max(1), ..nat.clone() };
    let ports = vec![(portunus_model::Proto::Tcp, 1)];
    let address = Some(IpAddr::from(std::net::Ipv6Addr::LOCALHOST));
    let mut probe = Wish::new("x", Message::Access { address, ports });
    probe.nat = Some(host);
    if probe.check().is_err() {
        let what = format!("Invalid NAT destination '{}' for -N arg", nat.host);
        return Err(Failure::new(what, "", "write an address or a name, and a port behind a colon"));
    }
    Ok(Some(nat))
}

/// `host:port` or `host,port`, an IPv6 address in brackets or before a comma.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix([':', ',']));
    }
    if let Some((host, port)) = text.split_once(',') {
        return (host, Some(port));
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// The port of the first `proto/port`; 0 where there is none.
fn port_of(access: &str) -> u16 {
    let first = access.split(',').next().unwrap_or_default();
    first.split_once('/').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
}

/// `-A` with another port: the one that is opened, while its own is where that leads.
fn through(access: &str, port: u16) -> Result<String, Failure> {
    if access.contains(',') {
        let mend = "knock once for each";
        return Err(Failure::new("NAT for multiple ports/protocols not yet supported", access, mend));
    }
    let Some((proto, inner)) = access.split_once('/') else {
        return Err(Failure::new("Expecting <proto>/<port> for -A arg", access, "write tcp/22"));
    };
    if values::port(inner).ok().filter(|&inner| inner != 0).is_none() {
        let what = format!("Invalid port value '{inner}' for -A arg");
        return Err(Failure::new(what, "", "write tcp/22, with a port from 1 to 65535"));
    }
    Ok(format!("{proto}/{port}"))
}

#[cfg(test)]
mod tests {
    use portunus_model::Proto;

    use super::*;

    fn settings(change: fn(&mut Settings)) -> Settings {
        let mut settings =
            Settings { access: Some("tcp/22".into()), user: Some("alice".into()), ..Settings::default() };
        change(&mut settings);
        settings
    }

    fn made(change: fn(&mut Settings)) -> Result<Wish, String> {
        wish(&settings(change), &Task::default(), None).map_err(|failure| failure.to_string())
    }

    fn nat(change: fn(&mut Settings)) -> String {
        let wish = made(change).unwrap();
        format!("{} {} {}", wish.kind().number(), wish.message, wish.nat.unwrap())
    }

    #[test]
    fn a_timeout_and_a_nat_make_the_type() {
        assert_eq!(made(|_| ()).unwrap().kind().number(), 1);
        assert_eq!(made(|s| s.timeout = 60).unwrap().kind().number(), 3);
        assert_eq!(nat(|s| s.nat_access = Some("10.0.0.5:99".into())), "2 0.0.0.0,tcp/22 10.0.0.5,99");
        assert_eq!(nat(|s| s.nat_access = Some("inner.example".into())), "2 0.0.0.0,tcp/22 inner.example,22");
        let six = settings(|s| s.nat_access = Some("[2001:db8::5]:99".into()));
        let led = |address| wish(&six, &Task::default(), address).map(|wish| wish.nat.unwrap().to_string());
        assert_eq!(led("2001:db8::7".parse().ok()).unwrap_or_default(), "2001:db8::5,99");
        assert!(led(None).is_err());
        let port = |s: &mut Settings| (s.nat_access, s.nat_port) = (Some("10.0.0.5,99".into()), Some(40_000));
        assert_eq!(nat(port), "2 0.0.0.0,tcp/40000 10.0.0.5,99");
        let local = |s: &mut Settings| (s.nat_local, s.server) = (true, Some("gate".into()));
        assert_eq!(nat(local), "5 0.0.0.0,tcp/22 gate,22");
    }

    #[test]
    fn what_cannot_be_said_is_said_so() {
        let bad = |change| made(change).map(|_| ()).unwrap_err();
        for (access, words) in [
            ("foo", "Invalid SPA access message format"),
            ("tcp/0", "Invalid SPA access message format"),
            ("tcp/22,", "Invalid SPA access message format"),
        ] {
            let mut with = settings(|_| ());
            with.access = Some(access.into());
            let failure = wish(&with, &Task::default(), None).map(|_| ()).unwrap_err().to_string();
            assert!(failure.starts_with(words), "{failure}");
        }
        assert!(bad(|s| s.nat_local = true).contains("none was named"));
        assert!(bad(|s| s.nat_access = Some("a b:22".into())).starts_with("Invalid NAT destination 'a b'"));
        for text in ["10.0.0.5:0", "10.0.0.5:70000", "10.0.0.5,22,33", "10.0.0.5:x", "10.0.0.5:"] {
            let mut with = settings(|_| ());
            with.nat_access = Some(text.into());
            let failure = wish(&with, &Task::default(), None).map(|_| ()).unwrap_err().to_string();
            assert!(failure.starts_with("Invalid port value in -N arg"), "{failure}");
        }
        let many = |s: &mut Settings| (s.access, s.nat_port) = (Some("tcp/1,tcp/2".into()), Some(9));
        assert!(bad(many).starts_with("NAT for multiple"));
        let none = |s: &mut Settings| (s.access, s.nat_port) = (Some("foo".into()), Some(9));
        assert!(bad(none).starts_with("Expecting <proto>/<port> for -A arg"));
    }

    #[test]
    fn a_command_has_neither_nat_nor_time() {
        let task = Task { server_cmd: Some("ls -l".into()), ..Task::default() };
        let with = settings(|s| (s.timeout, s.nat_access) = (60, Some("10.0.0.5:99".into())));
        let wish = wish(&with, &task, Some([1, 2, 3, 4].into())).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((wish.kind().number(), wish.message.to_string().as_str()), (0, "1.2.3.4,ls -l"));
        assert_eq!(wish.check(), Ok(()));
    }

    #[test]
    fn a_long_name_is_cut_and_a_port_is_drawn_from_its_range() {
        assert_eq!(user(&settings(|s| s.user = Some("A".repeat(80)))), "A".repeat(LONGEST_USER));
        for _ in 0..100 {
            let port = draw_port(&mut SystemEntropy).unwrap();
            assert!((FIRST_DRAWN..=LAST_DRAWN).contains(&port));
        }
        assert_eq!(read_ports(&through("udp/53", 9).unwrap_or_default()), Ok(vec![(Proto::Udp, 9)]));
    }

    #[test]
    fn time_is_set_off_and_never_before_1970() {
        let now = Unix::from_secs(1000);
        assert_eq!(stamp(now, -60).unwrap_or(now).as_secs(), 940);
        assert!(stamp(now, -2000).is_err());
    }
}
