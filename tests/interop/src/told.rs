//! Who is told of alerts: mail servers and pages that keep what they heard, and a server whose section names them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::fwknop::within;
use crate::{Firewall, Knocker, World};

/// How long one waits for a message.
pub const SOON: Duration = Duration::from_secs(20);
/// Longer than a batch takes.
pub const QUIET: Duration = Duration::from_secs(3);

/// A server of any kind that keeps what it was told, and takes it.
#[derive(Debug)]
pub struct Sink {
    heard: Arc<Mutex<Vec<String>>>,
}

/// What a server does with a connection; what it was told, once it has taken it.
pub type Talk = fn(&mut dyn Stream) -> std::io::Result<Option<String>>;

/// Any connection.
pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Sink {
    /// At an address of the server's side; under seal where there is a certificate.
    pub fn at(world: &World, address: &str, tls: Option<Arc<ServerConfig>>, talk: Talk) -> Self {
        let under = tls.map_or(Seal::None, Seal::Whole);
        Self::under(world, address, under, talk)
    }

    /// A mail server that begins TLS when it is asked to. What it heard before that is not kept, unless it was more than
    /// it ought to be.
    pub fn by_starttls(world: &World, address: &str, tls: Arc<ServerConfig>) -> Self {
        Self::under(world, address, Seal::Started(tls), mail_session)
    }

    fn under(world: &World, address: &str, seal: Seal, talk: Talk) -> Self {
        let listener = world.server.inside(|| TcpListener::bind(address)).expect("nobody else listens there");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let said = serve(stream, seal.clone(), talk);
                if let Ok(Some(said)) = said {
                    ears.lock().expect("nobody panics here").push(said);
                }
            }
        });
        Self { heard }
    }

    /// All that was told.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.heard.lock().expect("nobody panics here").clone()
    }

    /// Whether something with these words comes soon.
    #[must_use]
    pub fn hears(&self, words: &str) -> bool {
        within(SOON, || self.all().iter().any(|one| one.contains(words)))
    }
}

fn serve(mut stream: TcpStream, seal: Seal, talk: Talk) -> std::io::Result<Option<String>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let tls = match seal {
        Seal::None => return talk(&mut stream),
        Seal::Whole(tls) => tls,
        Seal::Started(tls) => {
            // The client waits for each answer, so nothing of TLS is taken in here.
            let mut lines = BufReader::new(stream.try_clone()?).lines();
            for (word, answer) in [("EHLO ", "250-sink\r\n250 STARTTLS\r\n"), ("STARTTLS", "220 go on\r\n")] {
                if word == "EHLO " {
                    stream.write_all(b"220 sink\r\n")?;
                }
                let line = lines.next().transpose()?.unwrap_or_default();
                if !line.starts_with(word) {
                    return Ok(Some(format!("in the clear: {line}")));
                }
                stream.write_all(answer.as_bytes())?;
            }
            tls
        }
    };
    let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    talk(&mut StreamOwned::new(connection, stream))
}

#[derive(Clone)]
enum Seal {
    None,
    Whole(Arc<ServerConfig>),
    Started(Arc<ServerConfig>),
}

/// SMTP, as much of it as a client needs (RFC 5321). What was said before DATA comes first. It has no user "nobody", and
/// says so; to a wrong password it answers with what it heard.
///
/// # Errors
/// As the system says.
pub fn smtp(stream: &mut dyn Stream) -> std::io::Result<Option<String>> {
    stream.write_all(b"220 sink\r\n")?;
    mail_session(stream)
}

fn mail_session(stream: &mut dyn Stream) -> std::io::Result<Option<String>> {
    let mut reader = BufReader::new(stream);
    let mut whole = None;
    let mut said = String::new();
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(whole);
        }
        said.push_str(&line);
        let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match word.as_str() {
            "EHLO" => b"250-sink\r\n250 AUTH PLAIN\r\n",
            "AUTH" if line.contains(WRONG) => {
                reader.get_mut().write_all(format!("535 what is {line}").as_bytes())?;
                continue;
            }
            "AUTH" => b"235 good\r\n",
            "RCPT" if line.contains("<nobody@") => b"550 no such user\r\n",
            "DATA" => {
                reader.get_mut().write_all(b"354 go on\r\n")?;
                while !said.ends_with("\r\n.\r\n") {
                    line.clear();
                    reader.read_line(&mut line)?;
                    said.push_str(&line);
                }
                whole = Some(said.clone());
                b"250 kept\r\n"
            }
            "QUIT" => {
                reader.get_mut().write_all(b"221 bye\r\n")?;
                return Ok(whole);
            }
            _ => b"250 good\r\n",
        };
        reader.get_mut().write_all(answer)?;
    }
}

/// AUTH PLAIN of "\0gate\0wrong sesame".
pub const WRONG: &str = "AGdhdGUAd3Jvbmcgc2VzYW1l";

/// One POST.
///
/// # Errors
/// As the system says.
pub fn http(stream: &mut dyn Stream) -> std::io::Result<Option<String>> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
        head.push_str(&line);
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
    Ok(Some(head + &String::from_utf8_lossy(&body)))
}

/// A file that nobody else can read.
pub fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
}

/// A server with a client, and this section of alerts.
#[must_use]
pub fn house(section: &str) -> (World, Knocker) {
    let world = World::new(Firewall::None);
    let alice = world.add("alice", &["--ports", "22/tcp"]);
    set(&world, section);
    (world, alice)
}

/// Another section of alerts.
pub fn set(world: &World, section: &str) {
    let file = world.place("etc").join("portunus.toml");
    let text = fs::read_to_string(&file).expect("init has made it");
    let head = text.split("\n[alerts]\n").next().unwrap_or_default();
    fs::write(&file, format!("{head}\n[alerts]\nevery = \"1s\"\n{section}")).expect("a file can be written");
    world.portunus(&["check"]);
}

/// An authority, and a certificate of its for this name.
#[must_use]
pub fn authority(name: &str) -> (String, Arc<ServerConfig>) {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("good names");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("good names");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().expect("a key"))
        .expect("they fit");
    (ca_pem, Arc::new(config))
}
