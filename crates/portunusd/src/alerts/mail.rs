//! Mail: by a mail server, or by the program of this host that takes it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::{Mailbox, header::ContentType};
use lettre::{Address, Message};
use portunus_config::alerts::{self, Carrier};
use portunus_sys::clock;

use super::PATIENCE;
use super::alert::Alert;
use super::command::{RUNNING, program};
use super::failed::Failed;
use super::server::Server;
use super::text::Batch;

/// Who sends it, ready.
pub(super) struct Mailer {
    to: Vec<Address>,
    from: Address,
    pub(super) carrier: Ready,
    /// What was handed over and not answered.
    unanswered: Option<Unanswered>,
}

pub(super) enum Ready {
    Smtp(Box<Server>),
    Sendmail { program: PathBuf, patience: Duration },
}

/// What a mail told that was handed over and not answered, and its name: when it goes once more it has the same one, by which
/// who reads it may see that it is the same.
struct Unanswered {
    told: Vec<Alert>,
    lost: u64,
    name: String,
}

impl Mailer {
    pub(super) fn new(mail: &alerts::Mail, host: &str) -> Result<Self, String> {
        let address = |text: &String| text.parse().map_err(|error| format!("{text}: {error}"));
        Ok(Self {
            to: mail.to.iter().map(address).collect::<Result<_, _>>()?,
            from: mail.from.as_ref().map_or_else(|| Ok(own_address(host)), address)?,
            carrier: match &mail.carrier {
                Carrier::Smtp(smtp) => Ready::Smtp(Box::new(Server::new(smtp, host)?)),
                Carrier::Sendmail(program) => {
                    Ready::Sendmail { program: program.clone(), patience: PATIENCE }
                }
            },
            unanswered: None,
        })
    }

    /// Who does not get it, and why, where the others do.
    pub(super) fn send(&mut self, batch: &Batch<'_>) -> Result<Option<String>, Failed> {
        let known = self.unanswered.as_ref().filter(|known| known.is(batch));
        let name = known.map_or_else(|| self.name_of_message(), |known| known.name.clone());
        let message = self.message(batch, name.clone())?;
        let sent = match &mut self.carrier {
            Ready::Smtp(server) => server.send(&self.from, &self.to, &message),
            Ready::Sendmail { program, patience } => {
                by_program((program, *patience), &self.from, &self.to, &message).map(|()| None)
            }
        };
        match &sent {
            Ok(_) => self.unanswered = None,
            Err(Failed::Unanswered(..)) => {
                let (told, lost) = (batch.alerts.to_vec(), batch.lost);
                self.unanswered = Some(Unanswered { told, lost, name });
            }
            Err(Failed::NotTold(_)) => (),
        }
        sent
    }

    /// What was not answered does not go once more.
    pub(super) fn give_up(&mut self) {
        self.unanswered = None;
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
            Ready::Sendmail { .. } => None,
        }
    }

    fn message(&self, batch: &Batch<'_>, name: String) -> Result<Vec<u8>, String> {
        let mut message = Message::builder()
            .from(Mailbox::new(None, self.from.clone()))
            .subject(batch.subject())
            .message_id(Some(name))
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

impl Unanswered {
    /// Of a mail that tells only how many were lost, the number is all that tells it from another.
    fn is(&self, batch: &Batch<'_>) -> bool {
        self.told == batch.alerts && (!self.told.is_empty() || self.lost == batch.lost)
    }
}

fn by_program(
    (path, patience): (&Path, Duration),
    from: &Address,
    to: &[Address],
    message: &[u8],
) -> Result<(), Failed> {
    // A dot alone is no end; who sends and to whom stands here, and not in the text.
    let mut command = program(path);
    command.args(["-i", "-f", from.as_ref(), "--"]).args(to.iter().map(ToString::to_string));
    RUNNING.finish(command, patience, message).map_err(Failed::of_a_mail)
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

#[cfg(test)]
mod tests {
    use super::*;

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
