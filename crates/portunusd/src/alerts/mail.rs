//! Mail: by a mail server, or by the program of this host that takes it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, SmtpTransport, Transport};
use portunus_config::alerts::{self, Carrier};

use super::command::finish;
use super::text::Batch;
use super::{PATIENCE, webhook};

/// Who sends it, ready.
pub(super) struct Mailer {
    to: Vec<Mailbox>,
    from: Mailbox,
    carrier: Ready,
}

enum Ready {
    Smtp(SmtpTransport),
    Sendmail(PathBuf),
}

impl Mailer {
    pub(super) fn new(mail: &alerts::Mail, host: &str) -> Result<Self, String> {
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("{text}: {error}"));
        let own = if host.contains('.') { host } else { "localhost" };
        let from = mail.from.clone().unwrap_or_else(|| format!("portunus@{own}"));
        Ok(Self {
            to: mail.to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
            from: mailbox(&from)?,
            carrier: match &mail.carrier {
                Carrier::Smtp(smtp) => Ready::Smtp(transport(smtp, host)?),
                Carrier::Sendmail(program) => Ready::Sendmail(program.clone()),
            },
        })
    }

    pub(super) fn send(&self, batch: &Batch<'_>) -> Result<(), String> {
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(batch.subject())
            // No program answers it (RFC 3834).
            .raw_header(auto_submitted())
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message.body(batch.body()).map_err(|error| error.to_string())?;
        match &self.carrier {
            Ready::Smtp(smtp) => smtp.send(&message).map(drop).map_err(|error| words(&error)),
            Ready::Sendmail(program) => self.by_program(program, &message.formatted()),
        }
    }

    fn by_program(&self, program: &PathBuf, message: &[u8]) -> Result<(), String> {
        let to = self.to.iter().map(|to| to.email.to_string());
        let mut command = Command::new(program);
        // A dot alone is no end; who sends and to whom stands here, and not in the text.
        command.args(["-i", "-f", self.from.email.as_ref(), "--"]).args(to);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        finish(command, PATIENCE, |mut input| input.write_all(message))
    }
}

fn auto_submitted() -> lettre::message::header::HeaderValue {
    use lettre::message::header::{HeaderName, HeaderValue};
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

fn transport(smtp: &alerts::Smtp, host: &str) -> Result<SmtpTransport, String> {
    let words = |error: lettre::transport::smtp::Error| words(&error);
    let tls = match smtp.tls {
        alerts::Tls::Whole => Tls::Wrapper(parameters(smtp).map_err(words)?),
        alerts::Tls::Started => Tls::Required(parameters(smtp).map_err(words)?),
        alerts::Tls::Local => Tls::None,
    };
    let mut builder =
        SmtpTransport::builder_dangerous(&smtp.host).port(smtp.port).tls(tls).timeout(Some(PATIENCE));
    let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    builder = builder.hello_name(if plain && !host.is_empty() {
        ClientId::Domain(host.to_owned())
    } else {
        ClientId::default()
    });
    if let Some((user, password)) = &smtp.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(builder.build())
}

/// Whom to believe: the authority that is named, else those of this machine.
fn parameters(smtp: &alerts::Smtp) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let mut builder = TlsParameters::builder(smtp.host.clone()).certificate_store(CertificateStore::None);
    for der in webhook::authorities(smtp.authority.as_deref()) {
        builder = builder.add_root_certificate(Certificate::from_der(der)?);
    }
    builder.build_rustls()
}

/// With what lies below it.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let more = error.to_string();
        if !words.contains(&more) {
            words.push_str(&format!(": {more}"));
        }
        below = error.source();
    }
    words
}
