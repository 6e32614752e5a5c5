//! A server of the native dialect on loopback that does what a test says, and the profile of its one client.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use portunus_config::profile::{Keys, NativeKeys, Profile, Renewal, Show, native};
use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::native::{Answer, Chain, Day, Door, Packet, Payload, Reply, Status};
use portunus_model::Unix;

/// The chains' numbers: the door's, and the link's of a profile as it was printed.
const DOOR: u8 = 3;
pub(crate) const LINK: u8 = 4;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portunus");

pub(crate) fn now() -> Unix {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Unix::from_nanos(0).after(since)
}

pub(crate) fn today() -> Day {
    Day::of(now()).unwrap()
}

/// A chain as it was 40 days ago; later values come of it.
pub(crate) fn chain(n: u8) -> Chain {
    Chain::new(today().minus(40), Secret::from_bytes([n; 32]))
}

fn from(chain: &Chain, day: Day) -> Chain {
    Chain::new(day, chain.at(day).unwrap())
}

/// A knock as the server read it.
pub(crate) struct Seen {
    pub(crate) payload: Payload,
    pub(crate) bytes: Vec<u8>,
    /// Which of the server's links it is sealed with.
    pub(crate) link: usize,
}

/// What the test does with a knock: it may answer.
pub(crate) type Act = Box<dyn FnMut(&Seen) -> Option<(Status, Unix)> + Send>;

/// A client's home, and the server of its profile.
pub(crate) struct Scene {
    home: tempfile::TempDir,
    server: UdpSocket,
    health: TcpListener,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let health = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { home, server, health }
    }

    /// Puts the profile there as it was printed `ago` days ago, after `change`.
    pub(crate) fn profile(&self, ago: u32, change: impl FnOnce(&mut Profile, &mut NativeKeys)) -> PathBuf {
        let day = today().minus(ago);
        let secret = Secret::from_bytes([2; 32]);
        let mut keys = NativeKeys {
            server: *Door::new(&Secret::from_bytes([1; 32])).unwrap().public(),
            public: *PrivateKey::new(&secret).unwrap().public(),
            secret,
            door: from(&chain(DOOR), day),
            old_door: None,
            link: from(&chain(LINK), day),
            newest: day,
            renewal: Renewal::Done,
            answers: true,
            must_bind: false,
            second_factor: false,
            source_port: false,
        };
        let mut profile = Profile {
            name: "home".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: self.server.local_addr().unwrap().port(),
            health: true,
            health_port: Some(self.health.local_addr().unwrap().port()),
            keys: Keys::Native(Box::new(keys.duplicate())),
            post_knock: None,
            opens: Vec::new(),
        };
        change(&mut profile, &mut keys);
        profile.keys = Keys::Native(Box::new(keys));
        let path = self.path();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, native::render(&profile, Show::All).as_str()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.home.path().join(".config/portunus/profiles/home.toml")
    }

    /// The keys that are in the file.
    pub(crate) fn keys(&self) -> NativeKeys {
        let path = self.path();
        match native::parse(&fs::read_to_string(&path).unwrap(), &path).unwrap().keys {
            Keys::Native(keys) => *keys,
            Keys::Openme { .. } => unreachable!("it was written as native"),
        }
    }

    /// Serves whoever has one of `links`, until the test ends; gives what it saw.
    pub(crate) fn serve(&self, links: Vec<Chain>, mut act: Act) -> Receiver<Seen> {
        let socket = self.server.try_clone().unwrap();
        let (tell, told) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((length, peer)) = socket.recv_from(&mut bytes) {
                let Some((seen, reply)) = bytes.get(..length).and_then(|bytes| open(bytes, &links)) else {
                    continue;
                };
                let answer = act(&seen).map(|(status, time)| {
                    let seen = Some(peer.ip());
                    let answer = Answer { status, seconds: 30, seen, time, door: None };
                    reply.seal(&answer, &mut SystemEntropy).unwrap()
                });
                // Told before it is answered, so that whoever has the answer finds it here.
                let _ = tell.send(seen);
                if let Some(answer) = answer {
                    socket.send_to(&answer, peer).unwrap();
                }
            }
        });
        told
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command().args(words).output().unwrap()
    }

    pub(crate) fn command(&self) -> Command {
        self.command_of(PROGRAM)
    }

    /// Another program, in the client's home.
    pub(crate) fn command_of(&self, program: &str) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home.path()).env("PATH", path).current_dir(self.home.path());
        command
    }
}

fn open(bytes: &[u8], links: &[Chain]) -> Option<(Seen, Reply)> {
    let door = Door::new(&Secret::from_bytes([1; 32])).unwrap();
    let shared = door.shared_with(PrivateKey::new(&Secret::from_bytes([2; 32])).unwrap().public()).unwrap();
    let packet = Packet::new_checked(bytes)?;
    // A test may run over midnight.
    let day = [today(), today().minus(1)].into_iter().find_map(|day| {
        let keys = door.day(&chain(DOOR), day).unwrap();
        keys.admits(&packet).then_some(keys)
    })?;
    let identified = door.identify(&day, &packet).ok()?;
    let opened = links.iter().enumerate().find_map(|(link, chain)| {
        identified.open(&shared, &chain.at(day.day()).unwrap()).ok().map(|opened| (link, opened))
    });
    let (link, opened) = opened?;
    Some((Seen { payload: opened.payload, bytes: bytes.to_vec(), link }, opened.reply))
}

/// All that was seen by now.
pub(crate) fn all(told: &Receiver<Seen>) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Ok(one) = told.recv_timeout(Duration::from_millis(50)) {
        seen.push(one);
    }
    seen
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
