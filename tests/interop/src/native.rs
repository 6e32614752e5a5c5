//! Native knocks made here, byte by byte, and a server's files for them written by hand: what `init` and `add` write is a
//! matter of their own tests.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use portunus_crypto::x25519::PrivateKey;
use portunus_crypto::{Secret, SystemEntropy, text};
use portunus_dialect::native::{Answer, Chain, ClientKeys, Day, Payload, Pending, seal};
use portunus_model::Unix;

use crate::namespace::Namespace;
use crate::world::World;

/// The knock port of [`crate::World`].
const PORT: u16 = 54154;

/// A client of the native dialect, with all that it has.
pub struct NativeKnocker {
    /// The door's public key, its chain,
    pub server: [u8; 32],
    /// its chain,
    pub door: Chain,
    /// the client's key,
    pub key: PrivateKey,
    /// and its link.
    pub link: Chain,
}

fn fresh() -> Secret<32> {
    Secret::generate(&mut SystemEntropy).expect("there is randomness")
}

fn private() -> (Secret<32>, PrivateKey) {
    let secret = fresh();
    let key = PrivateKey::new(&secret).expect("a secret makes a key");
    (secret, key)
}

/// The wall clock.
///
/// # Panics
/// When it is before 1970.
#[must_use]
pub fn wall() -> Unix {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970");
    Unix::from_nanos(i128::try_from(now.as_nanos()).expect("it is before the end of time"))
}

/// Today, in UTC.
///
/// # Panics
/// As [`wall`].
#[must_use]
pub fn today() -> Day {
    Day::of(wall()).expect("there is a day")
}

/// Has the server of `world` speak the native dialect too: its public key and its door's chain.
pub fn speaks_native(world: &World) -> ([u8; 32], Chain) {
    let path = world.place("etc").join("portunus.toml");
    let file = fs::read_to_string(&path).expect("the server has a file");
    let lines = file.lines().filter(|line| !line.contains("dialects ="));
    let file: String = lines.map(|line| format!("{line}\n")).collect();
    let first = file.find("\n[").unwrap_or(file.len());
    let (top, rest) = file.split_at(first);
    write(&path, &format!("{top}\ndialects = [\"native\", \"openme\"]\n{rest}"));
    let (secret, key) = private();
    write(&world.place("etc").join("keys/native.key"), &format!("{}\n", *secret.to_base64()));
    let chain = Chain::new(today(), fresh());
    hand_over(world, "door", key.public(), &chain);
    (*key.public(), chain)
}

/// Adds a client with these lines in its file besides.
pub fn add(world: &World, (server, door): &([u8; 32], Chain), name: &str, lines: &str) -> NativeKnocker {
    let (_, key) = private();
    let link = Chain::new(today(), fresh());
    hand_over(world, "link", key.public(), &link);
    let public = text::encode(key.public());
    let file = format!("dialect = \"native\"\npublic_key = \"{public}\"\n{lines}");
    write(&world.place("etc").join(format!("clients/{name}.toml")), &file);
    let door = Chain::new(door.day(), door.value().duplicate());
    NativeKnocker { server: *server, door, key, link }
}

/// Leaves a chain for the daemon, as commands do.
pub fn hand_over(world: &World, kind: &str, public: &[u8; 32], chain: &Chain) {
    let folder = world.place("state").join("chains.new");
    fs::create_dir_all(&folder).expect("a folder can be made");
    let (day, value) = (chain.day().number(), chain.value().to_base64());
    let line = format!("{kind} {} {day} {}\n", text::encode(public), *value);
    let name: String = public.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    write(&folder.join(format!("{kind}-{name}")), &line);
}

fn write(path: &Path, text: &str) {
    // Whoever reads it meanwhile sees all of it or nothing.
    let draft = path.with_file_name(".draft");
    fs::write(&draft, text).expect("a file can be written");
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).expect("it can be closed to others");
    fs::rename(&draft, path).expect("it can be put in its place");
}

impl NativeKnocker {
    /// A knock that says `payload`, and what its answer is opened with.
    ///
    /// # Panics
    /// When it cannot be sealed.
    #[must_use]
    pub fn sealed(&self, payload: &Payload) -> (Vec<u8>, Pending) {
        let keys = ClientKeys { server: self.server, client: &self.key, door: &self.door, link: &self.link };
        seal(&keys, payload, &mut SystemEntropy).expect("a knock can be sealed")
    }

    /// A plain knock of this moment.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        self.sealed(&Payload::knock(wall())).0
    }

    /// Knocks at `host` from `side`.
    pub fn knock(&self, side: &Namespace, host: &str) {
        send(side, host, &self.packet());
    }

    /// Says `payload` at `host` from `side`, and what is answered within `patience`, with how many bytes; `None`: nothing.
    #[must_use]
    pub fn ask(
        &self,
        side: &Namespace,
        host: &str,
        payload: &Payload,
        patience: Duration,
    ) -> Option<(Answer, usize)> {
        let (bytes, pending) = self.sealed(payload);
        let answer = side.inside(|| {
            let socket = bound(host);
            socket.connect((host, PORT)).expect("there is a way to the server");
            socket.set_read_timeout(Some(patience)).expect("a socket can wait");
            socket.send(&bytes).expect("a knock can be sent");
            let mut answer = vec![0; 2048];
            let length = socket.recv(&mut answer).ok()?;
            answer.truncate(length);
            Some(answer)
        })?;
        Some((pending.open(&self.key, &answer).expect("it is the server's answer"), answer.len()))
    }
}

/// Sends these bytes to the server's knock port at `host`.
///
/// # Panics
/// When they cannot be sent.
pub fn send(side: &Namespace, host: &str, bytes: &[u8]) {
    let to: SocketAddr = (host.parse::<IpAddr>().expect("an address"), PORT).into();
    side.inside(|| {
        bound(host).send_to(bytes, to).expect("a datagram can be sent");
    });
}

fn bound(host: &str) -> UdpSocket {
    let any: IpAddr = if host.contains(':') { [0u16; 8].into() } else { [0, 0, 0, 0].into() };
    UdpSocket::bind((any, 0)).expect("a socket can be bound")
}
