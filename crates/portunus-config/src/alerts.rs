//! Whom the daemon tells of grants and refusals, and by which way.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use email_address::EmailAddress;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::ValueError;

/// What is told, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    /// What comes within this time is told at once; nobody is told more often.
    pub every: Duration,
    /// Whether grants are told.
    pub grants: bool,
    /// Whether refusals of proven clients are.
    pub refusals: bool,
    /// How many may wait for a way that does not work.
    pub keep: u64,
    /// By mail.
    pub mail: Option<Mail>,
    /// To a page.
    pub webhook: Option<Webhook>,
    /// To a program: its words.
    pub command: Option<Vec<String>>,
}

/// How many alerts wait at most, where nobody says otherwise.
pub const KEPT: u64 = 1000;

impl Default for Alerts {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            grants: true,
            refusals: true,
            keep: KEPT,
            mail: None,
            webhook: None,
            command: None,
        }
    }
}

/// Mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// To whom.
    pub to: Vec<String>,
    /// From whom; `None`: portunus at this host.
    pub from: Option<String>,
    /// By whom it is carried.
    pub carrier: Carrier,
}

/// Who carries mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// A mail server.
    Smtp(Smtp),
    /// The program of this host, called as sendmail is.
    Sendmail(PathBuf),
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is sealed.
    pub tls: Tls,
    /// Who we are there, and the password.
    pub login: Option<(String, Password)>,
    /// An authority of its own, in PEM.
    pub authority: Option<String>,
}

/// How a connection to a mail server is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From its first byte (smtps://).
    Whole,
    /// By STARTTLS, without which nothing is sent (smtp://).
    Started,
    /// Not at all: it stays on this host.
    Local,
}

/// A page that is told by POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where it is. Some pages have a secret in it, instead of a token.
    pub url: Password,
    /// The same as people may see it.
    pub shown: String,
    /// What it knows us by (Authorization: Bearer).
    pub token: Option<Password>,
    /// An authority of its own, in PEM.
    pub authority: Option<String>,
}

/// Whether a text in PEM names an authority, and nothing in it is damaged.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn check_authority(pem: &str) -> Result<(), ValueError> {
    let mend = "name a file with the authority's certificate: -----BEGIN CERTIFICATE----- …";
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(all) if all.is_empty() => Err(ValueError::new("there is no certificate in it", mend)),
        Ok(_) => Ok(()),
        Err(_) => Err(ValueError::new("what is in it is no certificate in PEM", mend)),
    }
}

/// A password or a token. Not shown, and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The first line of a file.
    ///
    /// # Errors
    /// It is empty, or has letters that a header cannot carry.
    pub fn of_file(text: &str) -> Result<Self, ValueError> {
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() || line.chars().any(char::is_control) {
            let mend = "write it alone into the first line";
            return Err(ValueError::new("there is no password in it", mend));
        }
        Ok(Self(Zeroizing::new(line.to_owned())))
    }

    /// The password itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(not shown)")
    }
}

/// An address of mail: one `@`, letters that a header can carry.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn parse_mail_address(text: &str) -> Result<String, ValueError> {
    let plain = |part: &str| {
        let letter = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
        !part.is_empty() && part.chars().all(letter) && !part.starts_with('-')
    };
    match text.split_once('@') {
        Some((user, host)) if plain(user) && plain(host) && EmailAddress::is_valid(text) => {
            Ok(text.to_owned())
        }
        _ => {
            Err(ValueError::new(format!("{text:?} is no address of mail"), "write one like root@example.org"))
        }
    }
}

/// `smtps://HOST[:PORT]`, or `smtp://HOST[:PORT]`.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn parse_smtp(text: &str) -> Result<Smtp, ValueError> {
    let mend = "write smtps://mail.example.org, smtp://mail.example.org:587, or smtp://localhost";
    let wrong = |what: String| Err(ValueError::new(what, mend));
    let (whole, rest) = match text.split_once("://") {
        Some(("smtps", rest)) => (true, rest),
        Some(("smtp", rest)) => (false, rest),
        _ => return wrong(format!("{text:?} is no mail server")),
    };
    let Some((host, port)) = host_and_port(rest) else { return wrong(format!("{text:?} is no mail server")) };
    let local = is_local(&host);
    let tls = match (whole, local) {
        (true, _) => Tls::Whole,
        (false, true) => Tls::Local,
        (false, false) => Tls::Started,
    };
    let usual = match tls {
        Tls::Whole => 465,
        Tls::Started => 587,
        Tls::Local => 25,
    };
    Ok(Smtp { host, port: port.unwrap_or(usual), tls, login: None, authority: None })
}

/// `https://…`; `http://` to this host only.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn parse_webhook(text: &str) -> Result<Webhook, ValueError> {
    let mend = "write https://host/path; http:// only to localhost";
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let host = host_and_port(rest.split(['/', '?', '#']).next().unwrap_or_default());
    let page = Password::of_file(text);
    let page = page.map(|url| Webhook { url, shown: text.to_owned(), token: None, authority: None });
    match (scheme, host) {
        ("https", Some(_)) if plain => page,
        ("http", Some((host, _))) if plain && is_local(&host) => page,
        ("http", Some(_)) => {
            Err(ValueError::new(format!("{text:?} would tell everybody on the way who comes and goes"), mend))
        }
        _ => Err(ValueError::new(format!("{text:?} is no page"), mend)),
    }
}

/// A page whose address is a secret: the first line of a file, which no message shows.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn parse_secret_webhook(text: &str) -> Result<Webhook, ValueError> {
    let mend = "write https://host/path alone into the first line";
    let wrong = |_| ValueError::new("there is no page in it", mend);
    let url = Password::of_file(text).map_err(wrong)?;
    parse_webhook(url.expose()).map_err(wrong)?;
    let (scheme, rest) = url.expose().split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let shown = format!("{scheme}://{host}/…");
    Ok(Webhook { url, shown, token: None, authority: None })
}

/// The port of a page.
#[must_use]
pub fn webhook_port(url: &str) -> u16 {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let port =
        host_and_port(rest.split(['/', '?', '#']).next().unwrap_or_default()).and_then(|(_, port)| port);
    port.unwrap_or(if scheme == "http" { 80 } else { 443 })
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// A name or an address (a v6 one in brackets), and a port where there is one.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest)
        }
        None => {
            let (host, rest) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
            (!host.is_empty() && host.chars().all(name)).then_some((host, rest))?
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse().ok().filter(|&port: &u16| port > 0)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_servers_by_their_words() {
        let read = |text: &str| parse_smtp(text).map(|smtp| (smtp.host, smtp.port, smtp.tls)).ok();
        assert_eq!(read("smtps://mail.example.org"), Some(("mail.example.org".into(), 465, Tls::Whole)));
        assert_eq!(
            read("smtp://mail.example.org:2525"),
            Some(("mail.example.org".into(), 2525, Tls::Started))
        );
        assert_eq!(read("smtp://[2001:db8::1]:26"), Some(("2001:db8::1".into(), 26, Tls::Started)));
        assert_eq!(read("smtps://[2001:db8::1]"), Some(("2001:db8::1".into(), 465, Tls::Whole)));
        for local in ["smtp://localhost", "smtp://127.0.0.1", "smtp://[::1]"] {
            assert_eq!(read(local).map(|(_, port, tls)| (port, tls)), Some((25, Tls::Local)), "{local}");
        }
        for wrong in [
            "mail.example.org",
            "smtp://",
            "smtp://a b",
            "smtp://h:0",
            "smtp://h:x",
            "http://h",
            "smtp://h:",
            "smtp://[::1]:",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pages_are_told_under_seal() {
        assert!(parse_webhook("https://hooks.example.org/x?y").is_ok());
        assert!(parse_webhook("http://127.0.0.1:8080/x").is_ok());
        for wrong in ["http://hooks.example.org/x", "https://", "ftp://x", "https://h/a b", "https://h/\nx"] {
            assert!(parse_webhook(wrong).is_err(), "{wrong}");
        }
        let page = parse_secret_webhook("https://hooks.example.org:8443/s3same?x\n").unwrap();
        assert_eq!(page.shown, "https://hooks.example.org:8443/…");
        assert!(!format!("{page:?}").contains("s3same"), "{page:?}");
        for wrong in ["http://hooks.example.org/s3same", "s3same", "\nhttps://h/s3same", "https://h/s3 same"]
        {
            let fault = parse_secret_webhook(wrong).unwrap_err();
            assert!(!format!("{fault:?}").contains("s3"), "{fault:?}");
        }
        assert_eq!(webhook_port("https://h/x"), 443);
        assert_eq!(webhook_port("http://127.0.0.1:8080/x"), 8080);
    }

    #[test]
    fn addresses_of_mail_carry_nothing_else() {
        for good in ["root@localhost", "a.b+c@mail.example.org"] {
            assert!(parse_mail_address(good).is_ok(), "{good}");
        }
        let (label, user) = ("a".repeat(64), "u".repeat(65));
        let (label, user) = (format!("root@{label}.org"), format!("{user}@example.org"));
        let wrong =
            ["root", "@x", "a@", "a b@x", "a@x\r\nBcc: b@y", "a@x,b@y", "<a@x>", "a@b@c", "-x@y", "a@-y"];
        let also = ["a..b@x", "a.@x", ".a@x", "root@_x", "root@x-", "root@x.", "root@a..b", &label, &user];
        for wrong in wrong.into_iter().chain(also) {
            assert!(parse_mail_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_authority_is_a_certificate_at_least() {
        let one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(check_authority(one).is_ok() && check_authority(&format!("# ours\n{one}{one}")).is_ok());
        let key = one.replace("CERTIFICATE", "PRIVATE KEY");
        for wrong in
            ["", "nonsense", &key, &one[..50], &one.replace("AAAA", "A*A"), &format!("{one}{}", &one[..50])]
        {
            assert!(check_authority(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let password = Password::of_file("sesame\nmore").unwrap();
        assert_eq!(
            (password.expose(), format!("{password:?}")),
            ("sesame", "Password(not shown)".to_owned())
        );
        assert!(Password::of_file("\n").is_err() && Password::of_file("a\tb").is_err());
    }
}
