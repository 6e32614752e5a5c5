//! A mail server. What lettre makes of its parts ends the mail when one recipient is refused; so they are put together here.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::iter;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use portunus_config::alerts::{self, Password, Tls};
use portunus_crypto::text;

use super::failed::{Failed, Handed, a_few, cut, late};
use super::lookup::Lookup;
use super::session::{self, Session};
use super::{PATIENCE, webhook};

/// How long all wait for one of them whom the server takes no mail for just now; it may be new to it (greylisting).
const WAITED_FOR: Duration = Duration::from_secs(600);
/// How long it is known that they did. To who comes again so late a server may be as new as ever.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// A mail server, and what is known of it.
pub(super) struct Server {
    host: String,
    port: u16,
    lookup: Lookup,
    seal: Seal,
    hello: ClientId,
    /// lettre's own copies of it are not wiped, so they live as short as a session.
    login: Option<(String, Password)>,
    /// Since when the server takes no mail for somebody just now.
    not_now: HashMap<Address, Instant>,
    pub(super) waited_for: Duration,
    pub(super) remembered: Duration,
    /// How long a session may take until the mail is handed over.
    pub(super) longest: Duration,
    /// And from then on.
    pub(super) verdict: Duration,
}

enum Seal {
    Whole(TlsParameters),
    Started(TlsParameters),
    Local,
}

impl Server {
    pub(super) fn new(smtp: &alerts::Smtp, host: &str) -> Result<Self, String> {
        let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        let named = plain && !host.is_empty();
        Ok(Self {
            host: smtp.host.clone(),
            port: smtp.port,
            lookup: Lookup::new(&smtp.host, smtp.port, smtp.tls == Tls::Local),
            seal: match smtp.tls {
                Tls::Whole => Seal::Whole(parameters(smtp)?),
                Tls::Started => Seal::Started(parameters(smtp)?),
                Tls::Local => Seal::Local,
            },
            hello: match host.parse() {
                Ok(IpAddr::V4(address)) => ClientId::Ipv4(address),
                Ok(IpAddr::V6(address)) => ClientId::Ipv6(address),
                Err(_) if named => ClientId::Domain(host.to_owned()),
                Err(_) => ClientId::default(),
            },
            login: smtp.login.clone(),
            not_now: HashMap::new(),
            waited_for: WAITED_FOR,
            remembered: REMEMBERED,
            longest: session::LONGEST,
            verdict: session::VERDICT,
        })
    }

    /// Who does not get it, and why, where the others do.
    pub(super) fn send(
        &mut self,
        from: &Address,
        to: &[Address],
        message: &[u8],
    ) -> Result<Option<String>, Failed> {
        session::within(self.longest, self.port, |session| {
            let mut connection = self.connect(session)?;
            let sent = self.hand_over((session, &mut connection), from, to, message);
            // Nobody waits long for a farewell.
            let _ = connection.set_timeout(Some(PATIENCE));
            if sent.is_ok() {
                let _ = connection.quit();
            } else {
                connection.abort();
            }
            sent
        })
    }

    /// A moment longer, so that the wait is over then.
    pub(super) fn waits_at_most(&self) -> Option<Duration> {
        let left = |since: &Instant| self.waited_for.checked_sub(since.elapsed());
        self.not_now.values().filter_map(left).min().map(|left| left + Duration::from_millis(100))
    }

    fn connect(&mut self, session: &Session) -> Result<SmtpConnection, String> {
        let server = self.lookup.addresses(PATIENCE)?;
        let each = session.left() / u32::try_from(server.len().max(1)).unwrap_or(1);
        let patience = PATIENCE.min(each).max(Duration::from_millis(1));
        let whole = if let Seal::Whole(tls) = &self.seal { Some(tls) } else { None };
        let mut connection =
            SmtpConnection::connect(server.as_slice(), Some(patience), &self.hello, whole, None)
                .map_err(|error| cut(&words(&error)))?;
        connection.set_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        if let Seal::Started(tls) = &self.seal {
            if !connection.can_starttls() {
                return Err(format!(
                    "the mail server does not offer STARTTLS, and nothing goes without TLS: write smtps://{}",
                    self.host
                ));
            }
            connection.starttls(tls, &self.hello).map_err(|error| cut(&words(&error)))?;
        }
        if let Some((user, password)) = &self.login {
            let login = Credentials::new(user.clone(), password.expose().to_owned());
            connection.auth(DEFAULT_MECHANISMS, &login).map_err(|error| refusal(&error))?;
        }
        Ok(connection)
    }

    /// Whoever the server has nothing for does not keep the others from it; who is refused for the moment only does for a
    /// while.
    fn hand_over(
        &mut self,
        (session, connection): (&Session, &mut SmtpConnection),
        from: &Address,
        to: &[Address],
        message: &[u8],
    ) -> Result<Option<String>, Failed> {
        connection.command(Mail::new(Some(from.clone()), Vec::new())).map_err(|error| self.said(&error))?;
        self.not_now.retain(|_, since| since.elapsed() < self.remembered);
        let (mut refused, mut not_yet) = (Vec::new(), false);
        for one in to {
            match connection.command(Rcpt::new(one.clone(), Vec::new())) {
                Ok(_) => drop(self.not_now.remove(one)),
                Err(error) if error.is_permanent() => refused.push(format!("{one}: {}", self.said(&error))),
                Err(error) if error.is_transient() => {
                    let since = self.not_now.entry(one.clone()).or_insert_with(Instant::now);
                    not_yet |= since.elapsed() < self.waited_for;
                    refused.push(format!("{one}: {}", self.said(&error)));
                }
                Err(error) => return Err(self.said(&error).into()),
            }
        }
        let why = Some(a_few(&refused)).filter(|why| !why.is_empty());
        if not_yet || refused.len() == to.len() {
            return Err(why.unwrap_or_else(|| "there is nobody to send it to".to_owned()).into());
        }
        connection.command(Data).map_err(|error| self.said(&error))?;
        self.hand_over_text((session, connection), message).map(|()| why)
    }

    /// Once its end is on its way, only a code says that the server does not have it.
    fn hand_over_text(
        &self,
        (session, connection): (&Session, &mut SmtpConnection),
        message: &[u8],
    ) -> Result<(), Failed> {
        connection.set_timeout(Some(self.verdict)).map_err(|error| error.to_string())?;
        let handed_over = Cell::new(false);
        // Asked for when all of the text before it was written.
        let end = iter::once_with(|| {
            session.wait_for_verdict(self.verdict);
            handed_over.set(true);
            &[][..]
        });
        match connection.message_iter(iter::once(message).chain(end)) {
            Ok(_) => Ok(()),
            Err(error) if error.status().is_some() || !handed_over.get() => Err(self.said(&error).into()),
            Err(error) if is_late(&error) => Err(Failed::Unanswered(Handed::Mail, late(self.verdict))),
            Err(error) => Err(Failed::Unanswered(Handed::Mail, self.said(&error))),
        }
    }

    /// What the server says, unless it repeats what it was told to log us in.
    fn said(&self, error: &Error) -> String {
        let words = words(error);
        let repeats = |(user, password): &(String, Password)| {
            let password = password.expose();
            let plain = text::encode(format!("\0{user}\0{password}").as_bytes());
            [password, &text::encode(password.as_bytes()), &plain]
                .into_iter()
                .any(|told| words.contains(told))
        };
        match error.status() {
            Some(code) if self.login.as_ref().is_some_and(repeats) => {
                format!("the mail server answers {code}, and repeats the login")
            }
            None if self.login.as_ref().is_some_and(repeats) => {
                "the mail server repeats the login".to_owned()
            }
            Some(_) | None => cut(&words),
        }
    }
}

/// Not in the server's words, whether they have a code or are none of SMTP's: they may repeat what it was told.
fn refusal(error: &Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server refuses the login ({code})"),
        None if error.is_response() => {
            "the mail server's answer to the login is none: it has no code".to_owned()
        }
        None => cut(&words(error)),
    }
}

/// Whom to believe: the authority that is named, else those of this machine.
fn parameters(smtp: &alerts::Smtp) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(smtp.host.clone()).certificate_store(CertificateStore::None);
    let all = webhook::authorities(smtp.authority.as_deref());
    if all.is_empty() && smtp.authority.is_some() {
        return Err(webhook::NO_AUTHORITY.to_owned());
    }
    for der in all {
        builder = builder.add_root_certificate(Certificate::from_der(der).map_err(|error| words(&error))?);
    }
    builder.build_rustls().map_err(|error| words(&error))
}

/// With what lies below it.
fn words(error: &Error) -> String {
    if is_late(error) {
        return late(PATIENCE);
    }
    let mut words = error.to_string();
    for error in below(error) {
        let more = error.to_string();
        if !words.contains(&more) {
            words.push_str(&format!(": {more}"));
        }
    }
    words
}

fn is_late(error: &Error) -> bool {
    let late = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    below(error).any(|error| error.downcast_ref::<io::Error>().is_some_and(late))
}

fn below(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    iter::successors(std::error::Error::source(error), |error| error.source())
}

#[cfg(test)]
mod tests;
