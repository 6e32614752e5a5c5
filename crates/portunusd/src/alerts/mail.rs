//! Mail: by a mail server, or by the program of this host that takes it.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message};
use portunus_config::alerts::{self, Carrier, Password, Tls};
use portunus_sys::clock;

use super::command::RUNNING;
use super::text::Batch;
use super::{PATIENCE, session, webhook};

/// How long all wait for one of them whom the server takes no mail for just now; it may be new to it (greylisting).
const WAITED_FOR: Duration = Duration::from_secs(600);

/// Who sends it, ready.
pub(super) struct Mailer {
    to: Vec<Address>,
    from: Address,
    carrier: Ready,
}

enum Ready {
    Smtp(Server),
    Sendmail(PathBuf),
}

impl Mailer {
    pub(super) fn new(mail: &alerts::Mail, host: &str) -> Result<Self, String> {
        let address = |text: &String| text.parse().map_err(|error| format!("{text}: {error}"));
        Ok(Self {
            to: mail.to.iter().map(address).collect::<Result<_, _>>()?,
            from: mail.from.as_ref().map_or_else(|| Ok(own_address(host)), address)?,
            carrier: match &mail.carrier {
                Carrier::Smtp(smtp) => Ready::Smtp(Server::new(smtp, host)?),
                Carrier::Sendmail(program) => Ready::Sendmail(program.clone()),
            },
        })
    }

    /// Who does not get it, and why, where the others do.
    pub(super) fn send(&mut self, batch: &Batch<'_>) -> Result<Option<String>, String> {
        let message = self.message(batch)?;
        match &mut self.carrier {
            Ready::Smtp(server) => server.send(&self.from, &self.to, &message),
            Ready::Sendmail(program) => by_program(program, &self.from, &self.to, &message).map(|()| None),
        }
    }

    /// No other message has it: it is sent by one thread of this process, at this moment.
    fn name_of_message(&self) -> String {
        let now = clock::wall().as_nanos();
        format!("<{now:x}.{:x}@{}>", std::process::id(), self.from.domain())
    }

    /// For how long all still wait for one of them.
    pub(super) fn waits_at_most(&self) -> Option<Duration> {
        match &self.carrier {
            Ready::Smtp(server) => server.waits_at_most(),
            Ready::Sendmail(_) => None,
        }
    }

    fn message(&self, batch: &Batch<'_>) -> Result<Vec<u8>, String> {
        let mut message = Message::builder()
            .from(Mailbox::new(None, self.from.clone()))
            .subject(batch.subject())
            .message_id(Some(self.name_of_message()))
            // No program answers it (RFC 3834).
            .raw_header(auto_submitted())
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(Mailbox::new(None, to.clone()));
        }
        let message = message.body(batch.body()).map_err(|error| error.to_string())?;
        Ok(message.formatted())
    }
}

fn by_program(program: &Path, from: &Address, to: &[Address], message: &[u8]) -> Result<(), String> {
    let mut command = Command::new(program);
    // A dot alone is no end; who sends and to whom stands here, and not in the text.
    command.args(["-i", "-f", from.as_ref(), "--"]).args(to.iter().map(ToString::to_string));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    RUNNING.finish(command, PATIENCE, message)
}

/// From whom it comes where nobody says: a host whose name is none for mail is not named. Nor is one by its address, which
/// lettre cannot read in brackets, and many a server not without.
fn own_address(host: &str) -> Address {
    let named = host.contains('.') && host.parse::<IpAddr>().is_err();
    let address = named.then(|| Address::new("portunus", host).ok()).flatten();
    address.unwrap_or_else(|| Address::new_dangerous("portunus", "localhost"))
}

fn auto_submitted() -> lettre::message::header::HeaderValue {
    use lettre::message::header::{HeaderName, HeaderValue};
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

/// A mail server. What lettre makes of its parts ends the mail when one recipient is refused; so they are put together here.
struct Server {
    host: String,
    port: u16,
    seal: Seal,
    hello: ClientId,
    /// lettre's own copies of it are not wiped, so they live as short as a session.
    login: Option<(String, Password)>,
    /// Since when the server takes no mail for somebody just now.
    not_now: HashMap<Address, Instant>,
    waited_for: Duration,
    /// How long a session may take.
    longest: Duration,
}

/// How many addresses of a server are tried: each may take its time.
const MOST_ADDRESSES: usize = 3;

enum Seal {
    Whole(TlsParameters),
    Started(TlsParameters),
    Local,
}

impl Server {
    fn new(smtp: &alerts::Smtp, host: &str) -> Result<Self, String> {
        let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        let named = plain && !host.is_empty();
        Ok(Self {
            host: smtp.host.clone(),
            port: smtp.port,
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
            longest: session::LONGEST,
        })
    }

    fn send(&mut self, from: &Address, to: &[Address], message: &[u8]) -> Result<Option<String>, String> {
        session::within(self.longest, self.port, || {
            let mut connection = self.connect()?;
            let sent = self.hand_over(&mut connection, from, to, message);
            if sent.is_ok() {
                let _ = connection.quit();
            } else {
                connection.abort();
            }
            sent
        })
    }

    /// A moment longer, so that the wait is over then.
    fn waits_at_most(&self) -> Option<Duration> {
        let left = |since: &Instant| self.waited_for.checked_sub(since.elapsed());
        self.not_now.values().filter_map(left).min().map(|left| left + Duration::from_millis(100))
    }

    fn connect(&self) -> Result<SmtpConnection, String> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found = found.map_err(|error| format!("{}: {error}", self.host))?;
        let server: Vec<SocketAddr> = found.take(MOST_ADDRESSES).collect();
        let whole = if let Seal::Whole(tls) = &self.seal { Some(tls) } else { None };
        let mut connection =
            SmtpConnection::connect(server.as_slice(), Some(PATIENCE), &self.hello, whole, None)
                .map_err(words)?;
        if let Seal::Started(tls) = &self.seal {
            if !connection.can_starttls() {
                return Err(format!(
                    "the mail server does not offer STARTTLS, and nothing goes without TLS: write smtps://{}",
                    self.host
                ));
            }
            connection.starttls(tls, &self.hello).map_err(words)?;
        }
        if let Some((user, password)) = &self.login {
            let login = Credentials::new(user.clone(), password.expose().to_owned());
            // Not in the server's words: they may repeat what it was told.
            connection.auth(DEFAULT_MECHANISMS, &login).map_err(|error| match error.status() {
                Some(code) => format!("the mail server refuses the login ({code})"),
                None => words(error),
            })?;
        }
        Ok(connection)
    }

    /// Whoever the server has nothing for does not keep the others from it; who is refused for the moment only does for a
    /// while.
    fn hand_over(
        &mut self,
        connection: &mut SmtpConnection,
        from: &Address,
        to: &[Address],
        message: &[u8],
    ) -> Result<Option<String>, String> {
        connection.command(Mail::new(Some(from.clone()), Vec::new())).map_err(words)?;
        let (mut refused, mut not_yet) = (Vec::new(), false);
        for one in to {
            match connection.command(Rcpt::new(one.clone(), Vec::new())) {
                Ok(_) => drop(self.not_now.remove(one)),
                Err(error) if error.is_permanent() => refused.push(format!("{one}: {}", words(error))),
                Err(error) if error.is_transient() => {
                    let since = self.not_now.entry(one.clone()).or_insert_with(Instant::now);
                    not_yet |= since.elapsed() < self.waited_for;
                    refused.push(format!("{one}: {}", words(error)));
                }
                Err(error) => return Err(words(error)),
            }
        }
        let why = Some(refused.join("; ")).filter(|why| !why.is_empty());
        if not_yet || refused.len() == to.len() {
            return Err(why.unwrap_or_else(|| "there is nobody to send it to".to_owned()));
        }
        connection.command(Data).map_err(words)?;
        connection.message(message).map_err(words)?;
        Ok(why)
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
        builder = builder.add_root_certificate(Certificate::from_der(der).map_err(words)?);
    }
    builder.build_rustls().map_err(words)
}

/// With what lies below it.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn words(error: Error) -> String {
    let mut words = error.to_string();
    let mut below = std::error::Error::source(&error);
    while let Some(error) = below {
        let late = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        if error.downcast_ref::<io::Error>().is_some_and(late) {
            return format!("the mail server did not answer within {} s", PATIENCE.as_secs());
        }
        let more = error.to_string();
        if !words.contains(&more) {
            words.push_str(&format!(": {more}"));
        }
        below = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    use super::super::Alert;
    use super::*;

    /// A mail server that has no `nobody` and takes nothing for `later` yet; whom each mail went to.
    fn server() -> (u16, mpsc::Receiver<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to_us, mails) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mut write, read) = (stream.try_clone().unwrap(), BufReader::new(stream));
                let (mut to, mut text) = (Vec::new(), false);
                let _ = write.write_all(b"220 here\r\n");
                for line in read.lines().map_while(Result::ok) {
                    let answer = match line.as_str() {
                        "." if std::mem::take(&mut text) => {
                            let _ = to_us.send(std::mem::take(&mut to));
                            "250 kept"
                        }
                        _ if text => continue,
                        "DATA" => {
                            text = true;
                            "354 go on"
                        }
                        line if line.contains("<nobody@") => "550 no such user",
                        line if line.contains("<later@") => "450 come again",
                        line => {
                            to.extend(line.strip_prefix("RCPT TO:").map(str::to_owned));
                            "250 good"
                        }
                    };
                    let _ = write.write_all(format!("{answer}\r\n").as_bytes());
                }
            }
        });
        (port, mails)
    }

    fn mailer(port: u16, to: &[&str]) -> Mailer {
        let smtp = alerts::parse_smtp(&format!("smtp://127.0.0.1:{port}")).unwrap();
        let to = to.iter().map(ToString::to_string).collect();
        let mail = alerts::Mail { to, from: None, carrier: Carrier::Smtp(smtp) };
        Mailer::new(&mail, "gate.example.org").unwrap()
    }

    #[test]
    fn who_is_refused_keeps_nobody_else_from_it() {
        let (port, mails) = server();
        let alerts = [Alert::test()];
        let batch = Batch { host: "gate", alerts: &alerts, lost: 0, more: 0 };
        let mut some = mailer(port, &["a@example.org", "nobody@example.org", "b@example.org"]);
        let why = some.send(&batch).unwrap().unwrap();
        assert!(why.starts_with("nobody@example.org: ") && why.contains("no such user"), "{why}");
        assert!(!why.contains("b@"), "{why}");
        assert_eq!(mails.recv().unwrap(), ["<a@example.org>", "<b@example.org>"]);
        // Where nobody is left it waits.
        let why = mailer(port, &["nobody@example.org"]).send(&batch).unwrap_err();
        assert!(why.contains("no such user"), "{why}");
        // Who is to come again is waited for, and then no more.
        let mut some = mailer(port, &["a@example.org", "later@example.org"]);
        assert!(some.send(&batch).unwrap_err().contains("come again"));
        assert!(some.send(&batch).unwrap_err().starts_with("later@example.org"));
        assert!(mails.try_recv().is_err());
        // However long the pause has become, the next try is at the end of that.
        let left = some.waits_at_most().unwrap();
        assert!(left > Duration::from_secs(500) && left <= WAITED_FOR + Duration::from_secs(1), "{left:?}");
        let Ready::Smtp(server) = &mut some.carrier else { unreachable!() };
        server.waited_for = Duration::ZERO;
        assert_eq!(some.waits_at_most(), None);
        assert!(some.send(&batch).unwrap().unwrap().contains("come again"));
        assert_eq!(mails.recv().unwrap(), ["<a@example.org>"]);
    }

    /// A server that says what it likes for as long as it likes.
    fn sent_to(longest: Duration, talk: impl Fn(&mut std::net::TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| talk(&mut stream)));
        let alerts = [Alert::test()];
        let batch = Batch { host: "gate", alerts: &alerts, lost: 0, more: 0 };
        let mut mailer = mailer(port, &["a@example.org"]);
        let Ready::Smtp(server) = &mut mailer.carrier else { unreachable!() };
        server.longest = longest;
        mailer.send(&batch).unwrap_err()
    }

    #[test]
    fn a_server_that_says_a_byte_now_and_then_has_a_minute_and_no_more() {
        let start = Instant::now();
        let why = sent_to(Duration::from_secs(1), |stream| {
            while stream.write_all(b"2").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        assert_eq!(why, "the mail server did not answer within 1 s");
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    }

    #[test]
    fn a_line_without_an_end_does_not_become_our_memory() {
        let (start, sent) = (Instant::now(), std::sync::Arc::new(AtomicU64::new(0)));
        let count = sent.clone();
        let why = sent_to(Duration::from_secs(60), move |stream| {
            let _ = stream.write_all(b"220-");
            while count.load(Ordering::Relaxed) < 4 << 30 && stream.write_all(&[b'A'; 1 << 16]).is_ok() {
                count.fetch_add(1 << 16, Ordering::Relaxed);
            }
        });
        assert_eq!(why, "the mail server says more than 1024 KiB");
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        assert!(sent.load(Ordering::Relaxed) < 1 << 29, "{sent:?}");
    }

    #[test]
    fn a_host_whose_name_is_none_for_mail_is_not_named() {
        for (host, from) in [
            ("gate.example.org", "gate.example.org"),
            ("10.90.0.1", "localhost"),
            ("gate", "localhost"),
            ("_gate.example.org", "localhost"),
            ("2001:db8::1", "localhost"),
            ("a b.c", "localhost"),
            ("a..b", "localhost"),
            (".", "localhost"),
            ("x@y.z", "localhost"),
            ("", "localhost"),
        ] {
            assert_eq!(own_address(host).to_string(), format!("portunus@{from}"), "{host}");
        }
    }

    /// What the configuration lets pass is an address here.
    #[test]
    fn lettre_takes_every_address_that_the_configuration_takes() {
        let (locals, hosts) = (parts("ab.-_+!1"), parts("ab.-_1"));
        let long = ["a".repeat(63), "a".repeat(64), "a".repeat(65), format!("{}.b", "a".repeat(64))];
        let mut taken = 0;
        for text in locals.iter().chain(&long).map(|local| format!("{local}@mail.example.org")).chain(
            hosts.iter().chain(&long).flat_map(|host| [format!("root@{host}"), format!("root@{host}.org")]),
        ) {
            if alerts::parse_mail_address(&text).is_ok() {
                taken += 1;
                assert!(text.parse::<Address>().is_ok(), "{text}");
                assert!(text.parse::<Mailbox>().is_ok(), "{text}");
            }
        }
        assert!(taken > 200, "{taken}");
    }

    /// Every word of up to four of these letters.
    fn parts(letters: &str) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..4 {
            last = last.iter().flat_map(|word| letters.chars().map(move |c| format!("{word}{c}"))).collect();
            all.extend(last.clone());
        }
        all
    }
}
