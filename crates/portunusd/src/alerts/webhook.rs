//! A page that is told by POST, in JSON.

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::Arc;

use portunus_config::alerts;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::SendBody;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::PATIENCE;
use super::failed::{Failed, Handed, cut};
use super::lookup::only_here;
use super::text::Batch;

/// The page, and how it is spoken to.
pub(super) struct Hook {
    agent: ureq::Agent,
    page: alerts::Webhook,
}

impl Hook {
    pub(super) fn new(page: &alerts::Webhook) -> Result<Self, String> {
        let all = authorities(page.authority.as_deref());
        let roots = all.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>();
        if roots.is_empty() && page.authority.is_some() {
            return Err(NO_AUTHORITY.to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .proxy(None)
            .user_agent("portunus")
            .tls_config(tls)
            .build();
        let here = page.url.expose().starts_with("http://");
        let names = Names { here, all: DefaultResolver::default() };
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), names);
        Ok(Self { agent, page: page.clone() })
    }

    /// Any answer below 300 is a yes. Once all of it is on its way, only an answer says that the page does not have it.
    pub(super) fn send(&self, batch: &Batch<'_>) -> Result<(), Failed> {
        let mut request = self.agent.post(self.page.url.expose()).header("Content-Type", "application/json");
        if let Some(token) = &self.page.token {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        let text = batch.json().to_string();
        let handed_over = Cell::new(false);
        let mut body = Body { left: text.as_bytes(), handed_over: &handed_over };
        let request = request.header("Content-Length", text.len());
        match request.send(SendBody::from_reader(&mut body)) {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("the page answers {}", answer.status()).into()),
            Err(error) => {
                let why = cut(&error.to_string().replace(self.page.url.expose(), &self.page.shown));
                let silent = matches!(error, ureq::Error::Timeout(_) | ureq::Error::Io(_));
                Err(if silent && handed_over.get() {
                    Failed::Unanswered(Handed::Message, why)
                } else {
                    why.into()
                })
            }
        }
    }
}

/// What is sent; it says when all of it is on its way.
struct Body<'b> {
    left: &'b [u8],
    handed_over: &'b Cell<bool>,
}

impl Read for Body<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.left.read(room)?;
        self.handed_over.set(self.left.is_empty());
        Ok(read)
    }
}

/// The addresses of a page's name; what goes there in the clear goes to this machine only.
#[derive(Debug)]
struct Names<All = DefaultResolver> {
    here: bool,
    all: All,
}

impl<All: Resolver> Resolver for Names<All> {
    fn resolve(
        &self,
        page: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.all.resolve(page, config, timeout)?;
        if !self.here {
            return Ok(found);
        }
        let here = only_here(page.host().unwrap_or_default(), found.to_vec());
        let mut kept = self.empty();
        for address in here.map_err(|why| ureq::Error::Io(io::Error::other(why)))? {
            kept.push(address);
        }
        Ok(kept)
    }
}

/// What is wrong with a `ca_file` that holds no certificate after all.
pub(super) const NO_AUTHORITY: &str = "there is no certificate in ca_file that can be read";

/// The authority that is named, else those that this machine believes. With none of them nobody is believed; one that
/// cannot be read is left out, since a machine has many.
pub(super) fn authorities(named: Option<&str>) -> Vec<Vec<u8>> {
    let found: Vec<CertificateDer<'static>> = match named {
        Some(pem) => CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().collect(),
        None => rustls_native_certs::load_native_certs().certs,
    };
    let readable = |der: &CertificateDer<'static>| RootCertStore::empty().add(der.clone()).is_ok();
    found.into_iter().filter(readable).map(|der| der.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener};
    use std::time::Duration;

    use super::super::Alert;
    use super::*;

    /// A hosts file that has put another machine beside this one.
    #[derive(Debug)]
    struct Hosts(Vec<SocketAddr>);

    impl Resolver for Hosts {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let mut all = self.empty();
            self.0.iter().for_each(|address| all.push(*address));
            Ok(all)
        }
    }

    #[test]
    fn what_goes_in_the_clear_goes_to_this_machine_only() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let away = SocketAddr::new([192, 0, 2, 1].into(), here.port());
        let url = format!("http://localhost:{}/", here.port());
        let page = alerts::parse_webhook(&url).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut room = [0; 4096];
                let _ = stream.read(&mut room);
                let _ = stream.write_all(b"HTTP/1.1 204 x\r\nConnection: close\r\n\r\n");
            }
        });
        let told = |addresses: Vec<SocketAddr>| {
            let names = Names { here: true, all: Hosts(addresses) };
            let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build();
            let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), names);
            let alerts = [Alert::test()];
            let batch = Batch { host: "gate", alerts: &alerts, lost: 0, more: 0 };
            Hook { agent, page: page.clone() }.send(&batch).map_err(|failed| failed.to_string())
        };
        assert_eq!(told(vec![away, here]), Ok(()));
        let why = told(vec![away]).unwrap_err();
        assert!(why.contains("localhost is another machine"), "{why}");
    }
    /// A page that takes all of it, or not even that, and does what it likes then.
    fn told_to(answer: &'static [u8], silent: Duration) -> Result<(), Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut head, mut room) = (Vec::new(), [0; 4096]);
                // Its own length says when it is whole.
                while !head.ends_with(b"}") {
                    let read = stream.read(&mut room).unwrap_or_default();
                    head.extend_from_slice(&room[..read]);
                }
                let text = String::from_utf8(head).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(head.to_lowercase().contains(&format!("content-length: {}", body.len())), "{text}");
                std::thread::sleep(silent);
                let _ = stream.write_all(answer);
            }
        });
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_millis(500))).build();
        let names = Names { here: true, all: DefaultResolver::default() };
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), names);
        let alerts = [Alert::test()];
        let batch = Batch { host: "gate", alerts: &alerts, lost: 0, more: 0 };
        Hook { agent, page: alerts::parse_webhook(&url).unwrap() }.send(&batch)
    }

    #[test]
    fn a_page_that_has_it_all_and_does_not_answer_may_have_taken_it() {
        let at_once = Duration::ZERO;
        assert_eq!(told_to(b"HTTP/1.1 204 x\r\n\r\n", at_once), Ok(()));
        let answers = told_to(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", at_once);
        assert!(matches!(answers, Err(Failed::NotTold(_))), "{answers:?}");
        let late = told_to(b"", Duration::from_secs(2));
        assert!(matches!(late, Err(Failed::Unanswered(Handed::Message, _))), "{late:?}");
        let gone = told_to(b"", at_once);
        assert!(matches!(gone, Err(Failed::Unanswered(Handed::Message, _))), "{gone:?}");
        // Nobody is there at all.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let page = alerts::parse_webhook(&format!("http://127.0.0.1:{port}/")).unwrap();
        let alerts = [Alert::test()];
        let batch = Batch { host: "gate", alerts: &alerts, lost: 0, more: 0 };
        let nobody = Hook::new(&page).unwrap().send(&batch);
        assert!(matches!(nobody, Err(Failed::NotTold(_))), "{nobody:?}");
    }
}
