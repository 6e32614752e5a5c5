//! What the keeper and the alerts process say to each other.

use std::path::PathBuf;
use std::time::Duration;

use portunus_config::alerts::{Alerts, Carrier, Mail, Password, Smtp, Tls, Webhook};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Keeper to the alerts process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToAlerts {
    /// With: the snapshot, and the file of what waits. What this server is called, and how to name that file.
    Setup { host: String, spool: String },
    /// What happened, and how much there was no room to say. Answered by [`FromAlerts`].
    Some { alerts: Vec<crate::alerts::Alert>, lost: u64 },
}

/// The alerts process to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FromAlerts {
    /// How many messages it has taken since it began: what they said lies on the disk, or is counted there.
    pub(crate) taken: u64,
}

/// What the alerts process runs by: [`Alerts`], as it crosses.
#[derive(Serialize, Deserialize)]
pub(crate) struct AlertsSnapshot {
    every: Duration,
    keep: u64,
    mail: Option<MailSnapshot>,
    webhook: Option<WebhookSnapshot>,
    command: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct MailSnapshot {
    to: Vec<String>,
    from: Option<String>,
    sendmail: Option<PathBuf>,
    smtp: Option<SmtpSnapshot>,
}

#[derive(Serialize, Deserialize)]
struct WebhookSnapshot {
    url: Zeroizing<String>,
    shown: String,
    token: Option<Zeroizing<String>>,
    authority: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SmtpSnapshot {
    host: String,
    port: u16,
    /// The place in [`TLS`].
    tls: u8,
    login: Option<(String, Zeroizing<String>)>,
    authority: Option<String>,
}

const TLS: [Tls; 3] = [Tls::Whole, Tls::Started, Tls::Local];

impl AlertsSnapshot {
    pub(crate) fn of(alerts: &Alerts) -> Self {
        let secret = |password: &Password| Zeroizing::new(password.expose().to_owned());
        let mail = alerts.mail.as_ref().map(|mail| {
            let (sendmail, smtp) = match &mail.carrier {
                Carrier::Sendmail(program) => (Some(program.clone()), None),
                Carrier::Smtp(smtp) => {
                    let tls =
                        TLS.iter().position(|tls| *tls == smtp.tls).and_then(|at| u8::try_from(at).ok());
                    let login = smtp.login.as_ref().map(|(user, password)| (user.clone(), secret(password)));
                    let tls = tls.unwrap_or_default();
                    (
                        None,
                        Some(SmtpSnapshot {
                            host: smtp.host.clone(),
                            port: smtp.port,
                            tls,
                            login,
                            authority: smtp.authority.clone(),
                        }),
                    )
                }
            };
            MailSnapshot { to: mail.to.clone(), from: mail.from.clone(), sendmail, smtp }
        });
        let webhook = alerts.webhook.as_ref();
        Self {
            every: alerts.every,
            keep: alerts.keep,
            mail,
            webhook: webhook.map(|hook| WebhookSnapshot {
                url: secret(&hook.url),
                shown: hook.shown.clone(),
                token: hook.token.as_ref().map(secret),
                authority: hook.authority.clone(),
            }),
            command: alerts.command.clone(),
        }
    }

    /// What it was made of; what is to be told was chosen before.
    pub(crate) fn alerts(&self) -> Alerts {
        let secret = |text: &Zeroizing<String>| Password::of_file(text).ok();
        let mail = self.mail.as_ref().and_then(|mail| {
            let carrier = match (&mail.sendmail, &mail.smtp) {
                (Some(program), _) => Carrier::Sendmail(program.clone()),
                (None, Some(smtp)) => {
                    let login = smtp.login.as_ref();
                    Carrier::Smtp(Smtp {
                        host: smtp.host.clone(),
                        port: smtp.port,
                        tls: TLS.get(usize::from(smtp.tls)).copied()?,
                        login: login.and_then(|(user, password)| Some((user.clone(), secret(password)?))),
                        authority: smtp.authority.clone(),
                    })
                }
                (None, None) => return None,
            };
            Some(Mail { to: mail.to.clone(), from: mail.from.clone(), carrier })
        });
        let webhook = self.webhook.as_ref().and_then(|hook| {
            Some(Webhook {
                url: secret(&hook.url)?,
                shown: hook.shown.clone(),
                token: hook.token.as_ref().and_then(secret),
                authority: hook.authority.clone(),
            })
        });
        Alerts {
            every: self.every,
            keep: self.keep,
            mail,
            webhook,
            command: self.command.clone(),
            ..Alerts::default()
        }
    }
}
