//! This machine's address as others see it: asked of a web page, or of a DNS server that answers with whom it sees.
//!
//! Here is asking and finding the address in the answer. Not here: which place to ask, which the face knows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use portunus_crypto::{Entropy, SystemEntropy};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE};
use ureq::config::IpFamily;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::error::plain;
use crate::{Families, resolve};

/// Who does not answer for so long is not there.
const PATIENCE: Duration = Duration::from_secs(10);
const DNS_PATIENCE: Duration = Duration::from_secs(2);
const DNS_TRIES: u32 = 3;
/// No page that says an address is longer.
const LONGEST: u64 = 64 * 1024;
const DNS_PORT: u16 = 53;

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A page, by TLS.
    Https(String),
    /// A page, in the clear: whoever is on the way can answer.
    Http(String),
    /// A name, asked of one DNS server, in the clear too.
    Dns {
        /// The server: a name or an address.
        server: String,
        /// Its port.
        port: u16,
        /// The name whose address is the asker's.
        name: String,
    },
}

/// Why the address is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnError {
    /// Nobody can be asked by that text.
    #[error("{0:?} is no place to ask: write https://HOST/PAGE or dns://SERVER/NAME")]
    Place(String),
    /// No answer came.
    #[error("{0}")]
    Silent(String),
    /// The answer has no address.
    #[error("the answer has no address in it")]
    NoAddress,
}

impl Place {
    /// The place that `text` names; one without a scheme is a page in the clear, as wget takes it.
    ///
    /// # Errors
    /// [`OwnError::Place`].
    pub fn parse(text: &str) -> Result<Self, OwnError> {
        let wrong = || OwnError::Place(text.to_owned());
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err(wrong()) } else { Ok(Self::Http(format!("http://{text}"))) };
        };
        match scheme {
            "https" if !rest.is_empty() => Ok(Self::Https(text.to_owned())),
            "http" if !rest.is_empty() => Ok(Self::Http(text.to_owned())),
            "dns" => {
                let (server, name) = rest.split_once('/').ok_or_else(wrong)?;
                let (server, port) = dns_server(server).ok_or_else(wrong)?;
                Ok(Self::Dns {
                    server,
                    port,
                    name: Some(name).filter(|n| !n.is_empty()).ok_or_else(wrong)?.to_owned(),
                })
            }
            _ => Err(wrong()),
        }
    }

    /// Whether nobody on the way can change the answer.
    #[must_use]
    pub const fn is_authentic(&self) -> bool {
        matches!(self, Self::Https(_))
    }
}

/// Asks `place` for our address of `families`. `agent` is who asks a page.
///
/// # Errors
/// [`OwnError`] says why it is not known.
pub fn own_address(place: &Place, agent: &str, families: Families) -> Result<IpAddr, OwnError> {
    match place {
        Place::Https(url) | Place::Http(url) => by_page(url, place.is_authentic(), agent, families),
        Place::Dns { server, port, name } => by_dns(server, *port, name, families),
    }
}

/// The first address in a text.
#[must_use]
pub fn find_address(text: &str) -> Option<IpAddr> {
    let part = |c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':'));
    text.split(part).map(|word| word.trim_end_matches(['.', ':'])).find_map(|word| word.parse().ok())
}

fn by_page(url: &str, tls: bool, agent: &str, families: Families) -> Result<IpAddr, OwnError> {
    let config = ureq::Agent::config_builder()
        .https_only(tls)
        .timeout_global(Some(PATIENCE))
        .user_agent(agent)
        .ip_family(match families {
            Families::All => IpFamily::Any,
            Families::V4 => IpFamily::Ipv4Only,
            Families::V6 => IpFamily::Ipv6Only,
        })
        .tls_config(trust())
        .build();
    let silent = |error: ureq::Error| OwnError::Silent(error.to_string());
    let mut answer = ureq::Agent::new_with_config(config).get(url).call().map_err(silent)?;
    let text = answer.body_mut().with_config().limit(LONGEST).read_to_string().map_err(silent)?;
    find_address(&text).filter(|&address| fits(address, families)).ok_or(OwnError::NoAddress)
}

/// Whom to believe: the authorities that this machine believes. With none of them nobody is believed.
fn trust() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    let roots = found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect::<Vec<_>>();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(provider)
        .build()
}

fn by_dns(server: &str, port: u16, name: &str, families: Families) -> Result<IpAddr, OwnError> {
    let silent = |error: &dyn std::fmt::Display| OwnError::Silent(error.to_string());
    let to = *resolve(server, port, families)
        .map_err(|error| silent(&error))?
        .first()
        .ok_or(OwnError::NoAddress)?;
    let id = question_id()?;
    let kind = if to.is_ipv6() { TYPE::AAAA } else { TYPE::A };
    let mut question = Packet::new_query(id);
    question.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).map_err(|error| silent(&error))?;
    question.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    let question = question.build_bytes_vec().map_err(|error| silent(&error))?;
    let answer = ask(to, &question).map_err(|error| OwnError::Silent(plain(&error)))?;
    read_answer(&answer, id)
}

/// One question, again when it was lost.
fn ask(to: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = if to.is_ipv6() { ([0; 16], 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(DNS_PATIENCE))?;
    let mut bytes = vec![0; 4096];
    let mut last = None;
    for _ in 0..DNS_TRIES {
        socket.send(question)?;
        match socket.recv(&mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::TimedOut.into()))
}

fn read_answer(bytes: &[u8], id: u16) -> Result<IpAddr, OwnError> {
    let silent = |error: &dyn std::fmt::Display| OwnError::Silent(error.to_string());
    let packet = Packet::parse(bytes).map_err(|error| silent(&error))?;
    if packet.id() != id {
        return Err(OwnError::Silent("the answer is to another question".to_owned()));
    }
    let address = packet.answers.iter().find_map(|record| {
        if let RData::A(a) = &record.rdata {
            return Some(IpAddr::from(a.address.to_be_bytes()));
        }
        if let RData::AAAA(aaaa) = &record.rdata {
            return Some(IpAddr::from(aaaa.address.to_be_bytes()));
        }
        let RData::TXT(text) = &record.rdata else { return None };
        String::try_from(text.clone()).ok().and_then(|text| find_address(&text))
    });
    address.ok_or(OwnError::NoAddress)
}

fn dns_server(text: &str) -> Option<(String, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((address.ip().to_string(), address.port()));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return Some((bare.to_owned(), DNS_PORT));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, DNS_PORT),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn question_id() -> Result<u16, OwnError> {
    let mut id = [0; 2];
    SystemEntropy.fill(&mut id).map_err(|error| OwnError::Silent(error.to_string()))?;
    Ok(u16::from_be_bytes(id))
}

fn fits(address: IpAddr, families: Families) -> bool {
    match families {
        Families::All => true,
        Families::V4 => address.is_ipv4(),
        Families::V6 => address.is_ipv6(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use simple_dns::ResourceRecord;
    use simple_dns::rdata::A;

    use super::*;

    #[test]
    fn an_address_is_found_in_any_page() {
        let found = |text| find_address(text).map(|address| address.to_string());
        assert_eq!(found("198.51.100.7\n").as_deref(), Some("198.51.100.7"));
        assert_eq!(found("<p>Your address: 2001:db8::7.</p>").as_deref(), Some("2001:db8::7"));
        assert_eq!(found("Current IP Address: 198.51.100.7</body>").as_deref(), Some("198.51.100.7"));
        assert_eq!(found("version 1.2.3, 300.1.1.1, 1.2.3.4.5"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn places_are_read() {
        assert_eq!(Place::parse("https://a/b"), Ok(Place::Https("https://a/b".into())));
        assert_eq!(Place::parse("a/b"), Ok(Place::Http("http://a/b".into())));
        let dns = |text| match Place::parse(text) {
            Ok(Place::Dns { server, port, name }) => Some((server, port, name)),
            Ok(_) | Err(_) => None,
        };
        assert_eq!(dns("dns://r.example/me.example"), Some(("r.example".into(), 53, "me.example".into())));
        assert_eq!(dns("dns://[::1]:5300/me"), Some(("::1".into(), 5300, "me".into())));
        assert_eq!(dns("dns://192.0.2.1/me"), Some(("192.0.2.1".into(), 53, "me".into())));
        for wrong in ["", "ftp://a/b", "dns://a", "dns:///me", "https://"] {
            assert_eq!(Place::parse(wrong), Err(OwnError::Place(wrong.into())), "{wrong}");
        }
        assert!(!Place::parse("http://a").unwrap().is_authentic());
    }

    /// Answers one request with `body`, and returns what was asked.
    fn serve(body: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ip", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap();
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        (url, server)
    }

    #[test]
    fn a_page_is_asked_in_our_name() {
        let (url, server) = serve("198.51.100.7\n");
        let got = own_address(&Place::parse(&url).unwrap(), "Fwknop/2", Families::V4);
        assert_eq!(got, Ok([198, 51, 100, 7].into()));
        let asked = server.join().unwrap().to_ascii_lowercase();
        assert!(asked.contains("user-agent: fwknop/2"), "{asked}");
    }

    #[test]
    fn a_page_without_an_address_of_the_family_is_an_error() {
        let (url, server) = serve("2001:db8::7");
        let got = own_address(&Place::parse(&url).unwrap(), "x", Families::V4);
        assert_eq!(got, Err(OwnError::NoAddress));
        server.join().unwrap();
    }

    #[test]
    fn a_dns_server_says_whom_it_sees() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let place = Place::parse(&format!("dns://{}/me.example", socket.local_addr().unwrap())).unwrap();
        let server = std::thread::spawn(move || {
            let mut bytes = [0; 512];
            let (length, from) = socket.recv_from(&mut bytes).unwrap();
            let asked = Packet::parse(&bytes[..length]).unwrap();
            let mut answer = Packet::new_reply(asked.id());
            let name = asked.questions[0].qname.clone();
            let record = RData::A(A { address: u32::from_be_bytes([198, 51, 100, 9]) });
            answer.answers.push(ResourceRecord::new(name, CLASS::IN, 0, record));
            socket.send_to(&answer.build_bytes_vec().unwrap(), from).unwrap();
        });
        assert_eq!(own_address(&place, "", Families::V4), Ok([198, 51, 100, 9].into()));
        server.join().unwrap();
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let bytes = Packet::new_reply(7).build_bytes_vec().unwrap();
        assert!(matches!(read_answer(&bytes, 8), Err(OwnError::Silent(_))));
        assert_eq!(read_answer(&bytes, 7), Err(OwnError::NoAddress));
    }
}
