//! `[alerts]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::alerts::{
    Alerts, Carrier, Mail, Password, Webhook, check_authority, parse_mail_address, parse_secret_webhook,
    parse_smtp, parse_webhook,
};
use crate::reader::{Fields, Unknown};
use crate::source::Findings;
use crate::{Diagnostic, Files, Secrecy, ValueError};

const KEYS: [&str; 15] = [
    "to",
    "from",
    "smtp",
    "user",
    "password_file",
    "ca_file",
    "sendmail",
    "webhook",
    "url_file",
    "token_file",
    "command",
    "every",
    "grants",
    "refusals",
    "keep",
];

/// Reads the section, and the files that it names; those come after `sources`.
pub(super) fn read(
    s: Fields<'_, '_>,
    files: &dyn Files,
    sources: &mut Vec<PathBuf>,
    findings: &mut Findings,
) -> Option<Alerts> {
    let pair = s.pair("alerts")?;
    let a = Fields::of(s.source, &pair.node, "alerts", findings)?;
    a.know(&KEYS, Unknown::Refused, findings);
    let mut reader = Reader { a, files, sources, findings };
    let file = reader.authority();
    reader.refuse_what_stands_alone(&[
        (
            "token_file",
            &["webhook", "url_file"],
            "token_file is for a page, and none is named",
            "write webhook too",
        ),
        (
            "ca_file",
            &["to", "webhook", "url_file"],
            "ca_file is for a mail server or a page, and none is named",
            "take it out",
        ),
    ]);
    reader.refuse_beside_sendmail();
    let authority = file.as_ref().map(|text| text.as_str());
    let usual = Alerts::default();
    let alerts = Alerts {
        mail: reader.mail(authority),
        webhook: reader.webhook(authority),
        command: reader.command(),
        every: a
            .duration("every", Duration::from_secs(1), Duration::from_secs(24 * 3600), reader.findings)
            .unwrap_or(usual.every),
        grants: a.flag("grants", reader.findings).unwrap_or(true),
        refusals: a.flag("refusals", reader.findings).unwrap_or(true),
        keep: a.number("keep", 10, 100_000, reader.findings).unwrap_or(usual.keep),
    };
    let named = ["to", "webhook", "url_file", "command"].into_iter().any(|key| a.pair(key).is_some());
    if !named {
        let mend = "write to = [\"root@example.org\"], webhook or command, or take the section out";
        findings.error(s.source, pair.at, "[alerts] tells nobody", mend);
    }
    if let (false, false, Some(pair)) = (alerts.grants, alerts.refusals, a.pair("refusals")) {
        let what = "neither grants nor refusals are told: that is nothing";
        findings.error(s.source, pair.at, what, "set one of them to true, or take the section out");
    }
    Some(alerts)
}

struct Reader<'r, 'a, 't> {
    a: Fields<'a, 't>,
    files: &'r dyn Files,
    sources: &'r mut Vec<PathBuf>,
    findings: &'r mut Findings,
}

impl Reader<'_, '_, '_> {
    fn mail(&mut self, authority: Option<&str>) -> Option<Mail> {
        let a = self.a;
        let mut to = Vec::new();
        for (text, at) in a.texts("to", "[\"root@example.org\"]", self.findings) {
            match parse_mail_address(text) {
                Ok(address) if to.contains(&address) => {
                    let what = format!("{address} stands here twice");
                    self.findings.error(a.source, at, what, "take one of them out");
                }
                Ok(address) => to.push(address),
                Err(fault) => self.findings.fault(a.source, at, fault),
            }
        }
        if let Some(pair) = a.pair("to").filter(|_| to.is_empty() && self.findings.clean()) {
            let mend = "write to = [\"root@example.org\"], or take it out";
            self.findings.error(a.source, pair.node.span, "to names nobody", mend);
        }
        let from = a.read("from", self.findings, parse_mail_address);
        let login = self.login();
        let carrier = match (a.pair("smtp"), a.pair("sendmail")) {
            (Some(_), Some(both)) => {
                let what = "smtp and sendmail name two ways for one mail";
                self.findings.error(a.source, both.at, what, "take one of them out");
                None
            }
            (None, Some(_)) => a.read("sendmail", self.findings, whole_path).map(Carrier::Sendmail),
            (Some(_), None) => a.read("smtp", self.findings, parse_smtp).map(Carrier::Smtp),
            (None, None) => parse_smtp("smtp://localhost").ok().map(Carrier::Smtp),
        };
        let carrier = match carrier? {
            Carrier::Smtp(mut smtp) => {
                smtp.login = login;
                smtp.authority = authority.map(str::to_owned);
                Carrier::Smtp(smtp)
            }
            sendmail @ Carrier::Sendmail(_) => sendmail,
        };
        if to.is_empty() {
            for key in ["from", "smtp", "sendmail", "user"] {
                if let Some(pair) = a.pair(key) {
                    let what = format!("{key} is for mail, and nobody gets any");
                    self.findings.error(a.source, pair.at, what, "write to = [\"root@example.org\"]");
                }
            }
            return None;
        }
        Some(Mail { to, from, carrier })
    }

    /// Each of these is for one of some keys, none of which is there.
    fn refuse_what_stands_alone(&mut self, all: &[(&str, &[&str], &str, &str)]) {
        for (key, whose, what, mend) in all {
            if let Some(pair) = self.a.pair(key)
                && whose.iter().all(|key| self.a.pair(key).is_none())
            {
                self.findings.error(self.a.source, pair.at, *what, *mend);
            }
        }
    }

    /// The host's own program asks for none of these.
    fn refuse_beside_sendmail(&mut self) {
        let page = self.a.pair("webhook").or(self.a.pair("url_file")).is_some();
        if self.a.pair("sendmail").is_none() {
            return;
        }
        for key in ["user", "password_file", "ca_file"] {
            if let Some(pair) = self.a.pair(key).filter(|_| key != "ca_file" || !page) {
                let what = format!("{key} is for a mail server, and sendmail needs none");
                self.findings.error(
                    self.a.source,
                    pair.at,
                    what,
                    "take it out, or write smtp in sendmail's place",
                );
            }
        }
    }

    fn login(&mut self) -> Option<(String, Password)> {
        let a = self.a;
        let user = a.read("user", self.findings, |text| {
            let plain = !text.is_empty() && text.chars().all(|c| !c.is_control());
            let wrong = || ValueError::new("user is no name", "write the name that the mail server knows");
            plain.then(|| text.to_owned()).ok_or_else(wrong)
        });
        match (user, a.pair("password_file")) {
            (Some(user), Some(_)) => Some((user, self.password("password_file")?)),
            (Some(_), None) => {
                let at = a.pair("user").map(|pair| pair.at).unwrap_or_default();
                let mend = "write password_file = \"/etc/portunus/keys/smtp.password\" (0600)";
                self.findings.error(a.source, at, "user needs a password", mend);
                None
            }
            (None, Some(pair)) => {
                if a.pair("user").is_none() {
                    self.findings.error(a.source, pair.at, "password_file needs a user", "write user too");
                }
                None
            }
            (None, None) => None,
        }
    }

    fn webhook(&mut self, authority: Option<&str>) -> Option<Webhook> {
        let a = self.a;
        let token = self.password("token_file");
        let page = match (a.pair("webhook"), a.pair("url_file")) {
            (Some(_), Some(both)) => {
                let what = "webhook and url_file name two pages";
                self.findings.error(a.source, both.at, what, "take one of them out");
                None
            }
            (None, Some(_)) => self.secret("url_file", parse_secret_webhook),
            (Some(_) | None, None) => a.read("webhook", self.findings, parse_webhook),
        }?;
        Some(Webhook { token, authority: authority.map(str::to_owned), ..page })
    }

    fn authority(&mut self) -> Option<Zeroizing<String>> {
        let text = self.file("ca_file", Secrecy::Public)?;
        let (_, at) = self.a.text("ca_file", self.findings)?;
        check_authority(&text).map_err(|fault| self.findings.fault(self.a.source, at, fault)).ok()?;
        Some(text)
    }

    fn command(&mut self) -> Option<Vec<String>> {
        let a = self.a;
        let pair = a.pair("command")?;
        let mut words = Vec::new();
        for (text, _) in a.texts("command", "[\"/usr/local/bin/tell\"]", self.findings) {
            words.push(text.to_owned());
        }
        let first = words.first().map(String::as_str).unwrap_or_default();
        if !first.starts_with('/') || words.iter().any(|word| word.contains('\0')) {
            let what = "the command does not begin with a whole path";
            self.findings.error(a.source, pair.node.span, what, "write command = [\"/usr/local/bin/tell\"]");
            return None;
        }
        Some(words)
    }

    fn password(&mut self, key: &str) -> Option<Password> {
        self.secret(key, Password::of_file)
    }

    fn secret<T>(&mut self, key: &str, parse: fn(&str) -> Result<T, ValueError>) -> Option<T> {
        let text = self.file(key, Secrecy::Secret)?;
        let (_, at) = self.a.text(key, self.findings)?;
        parse(&text).map_err(|fault| self.findings.fault(self.a.source, at, fault)).ok()
    }

    /// The text of a file that is named.
    fn file(&mut self, key: &str, secrecy: Secrecy) -> Option<Zeroizing<String>> {
        let path = self.a.read(key, self.findings, whole_path)?;
        self.sources.push(path.clone());
        match self.files.read(&path, secrecy) {
            Ok(text) => Some(Zeroizing::new(text)),
            Err(error) => {
                let Diagnostic { what, mend, .. } = error.at(&path);
                let (_, at) = self.a.text(key, self.findings)?;
                let what = format!("{}: {what}", path.display());
                self.findings.error(self.a.source, at, what, mend);
                None
            }
        }
    }
}

fn whole_path(text: &str) -> Result<PathBuf, ValueError> {
    let whole = Path::new(text).is_absolute() && !text.contains('\0');
    let wrong = || ValueError::new(format!("{text:?} is no whole path"), "begin it with /");
    whole.then(|| PathBuf::from(text)).ok_or_else(wrong)
}
