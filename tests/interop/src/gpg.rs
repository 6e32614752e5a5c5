//! Keyrings of GnuPG's, made by the test with the host's gpg in a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::fwknop::{Fwknopd, Whose, fwknop, grants, within};
use crate::{CLIENT, SERVER, World};

/// A keyring. Dropped, its agent is ended.
#[derive(Debug)]
pub struct Keyring {
    home: PathBuf,
}

/// What a key is made of: the algorithm that signs, and the one that encrypts.
pub const RSA: (&str, &str) = ("rsa2048", "rsa2048");
/// The same.
pub const CURVES: (&str, &str) = ("ed25519", "cv25519");

impl Keyring {
    /// An empty one, in a folder of this name below `folder`.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let home = folder.join(name);
        fs::create_dir_all(&home).expect("a folder can be made");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("its mode can be set");
        Self { home }
    }

    /// Its folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its folder as a word.
    #[must_use]
    pub fn word(&self) -> String {
        self.home.display().to_string()
    }

    /// Runs gpg on it with nothing to ask anybody; what it printed.
    ///
    /// # Panics
    /// When gpg refuses.
    pub fn gpg(&self, words: &[&str], input: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&self.home).args(["--batch", "--yes", "--no-tty", "--quiet"]);
        command.args(["--pinentry-mode", "loopback"]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("gpg runs: `make test` installs it");
        child.stdin.take().expect("it has one").write_all(input).expect("gpg reads");
        let out = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "gpg {}: {}: {said}", words.join(" "), out.status);
        out.stdout
    }

    /// Makes a key that signs and one below it that encrypts, for `life` (`never`, `1d`, `seconds=1`); its fingerprint.
    #[must_use]
    pub fn make(&self, name: &str, kinds: (&str, &str), passphrase: &str, life: &str) -> String {
        let (signs, encrypts) = kinds;
        let user = format!("{name} <{name}@example.org>");
        self.gpg(&["--passphrase", passphrase, "--quick-gen-key", &user, signs, "sign,cert", life], b"");
        let print = self.print(name);
        self.gpg(&["--passphrase", passphrase, "--quick-add-key", &print, encrypts, "encr", life], b"");
        print
    }

    /// The fingerprint of the key of this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn print(&self, name: &str) -> String {
        let listed = self.gpg(&["--with-colons", "--list-keys", &format!("{name}@example.org")], b"");
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let line = listed.lines().find(|line| line.starts_with("fpr:"));
        line.and_then(|line| line.split(':').nth(9)).expect("it has a fingerprint").to_owned()
    }

    /// Gives another keyring the public key.
    pub fn give(&self, print: &str, to: &Self) {
        let exported = self.gpg(&["--export", print], b"");
        to.gpg(&["--import"], &exported);
    }

    /// Vouches for a key with one's own.
    pub fn sign(&self, passphrase: &str, print: &str) {
        self.gpg(&["--passphrase", passphrase, "--quick-lsign-key", print], b"");
    }

    /// Ends its agent, which then has forgotten every passphrase.
    pub fn end_agent(&self) {
        let mut command = Command::new("gpgconf");
        command.arg("--homedir").arg(&self.home).args(["--kill", "gpg-agent"]);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.end_agent();
    }
}

/// A client's keyring and a server's, each with a key of its own, exchanged and signed: what the tutorial has people do.
#[derive(Debug)]
pub struct Exchanged {
    /// The server's.
    pub server: Keyring,
    /// The client's.
    pub client: Keyring,
    /// The fingerprint of the server's key.
    pub recipient: String,
    /// The fingerprint of the client's key.
    pub signer: String,
}

impl Exchanged {
    /// Makes them below `folder`, without passphrases.
    #[must_use]
    pub fn new(folder: &Path, kinds: (&str, &str)) -> Self {
        Self::with_passphrases(folder, kinds, ["", ""])
    }

    /// The same, with the server's passphrase and the client's.
    #[must_use]
    pub fn with_passphrases(folder: &Path, kinds: (&str, &str), passphrases: [&str; 2]) -> Self {
        Self::of_kinds(folder, [kinds; 2], passphrases)
    }

    /// The same, of other kinds at each end.
    #[must_use]
    pub fn of_kinds(folder: &Path, kinds: [(&str, &str); 2], [servers, clients]: [&str; 2]) -> Self {
        let (server, client) = (Keyring::new(folder, "gs"), Keyring::new(folder, "gc"));
        let recipient = server.make("server", kinds[0], servers, "never");
        let signer = client.make("client", kinds[1], clients, "never");
        server.give(&recipient, &client);
        client.give(&signer, &server);
        server.sign(servers, &signer);
        client.sign(clients, &recipient);
        Self { server, client, recipient, signer }
    }

    /// The lines of a stanza for them; without a passphrase the key must have none.
    #[must_use]
    pub fn lines(&self, passphrase: &str) -> String {
        let opens = if passphrase.is_empty() {
            "GPG_ALLOW_NO_PW Y\n".to_owned()
        } else {
            format!("GPG_DECRYPT_PW {passphrase}\n")
        };
        format!(
            "GPG_HOME_DIR {}\nGPG_DECRYPT_ID {}\n{opens}GPG_FINGERPRINT_ID {}\n",
            self.server.word(),
            self.recipient,
            self.signer
        )
    }

    /// The words of a client for them.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let words = ["--gpg-recipient-key", &self.recipient, "--gpg-signer-key", &self.signer];
        let home = ["--gpg-home-dir".to_owned(), self.client.word()];
        words.map(str::to_owned).into_iter().chain(home).collect()
    }
}

/// What a good knock opens.
const RULE: &str = "INPUT -s 10.90.0.2/32 -p tcp --dport 22 -j ACCEPT";
/// A stanza's HMAC key.
pub const HMAC: &str = "HMAC_KEY_BASE64 YW4gSE1BQyBrZXk=\n";
/// A client's words for the same.
pub const WITH_HMAC: [&str; 3] = ["--key-hmac", "an HMAC key", "--use-hmac"];
/// What a knock asks for, with a signer who has no passphrase.
pub const SSH: [&str; 5] = ["-A", "tcp/22", "-a", CLIENT, "--gpg-no-signing-pw"];
/// A server that listens, rather than one that sniffs.
pub const UDP: &str = "ENABLE_UDP_SERVER Y;\nUDPSERV_PORT 62201;\n";

/// Knocks with these keys and words.
#[must_use]
pub fn knock(world: &World, whose: Whose, keys: &Exchanged, words: &[&str]) -> Output {
    let own = keys.words();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    fwknop(world, whose, &[&own, words].concat())
}

/// All that a program said.
#[must_use]
pub fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout)
}

/// It knocked well, and the port opens.
///
/// # Panics
/// When it did not, or the port stays closed.
pub fn opens(world: &World, daemon: &Fwknopd, out: &Output, what: &str) {
    assert!(out.status.success(), "{what}: {}", said(out));
    let there = within(Duration::from_secs(8), || grants(world) == [RULE]);
    assert!(there, "{what}: {:#?}\n{}", grants(world), daemon.log());
}

/// It knocked well, the server says this of it, and nothing opens.
///
/// # Panics
/// When it says something else, or a port opens.
pub fn refused(world: &World, daemon: &Fwknopd, out: &Output, words: &str) {
    assert!(out.status.success(), "{}", said(out));
    assert!(within(Duration::from_secs(8), || daemon.log().contains(words)), "{words}:\n{}", daemon.log());
    assert_eq!(grants(world), [""; 0], "refused, and yet a rule stands:\n{}", daemon.log());
}

/// A server of ours on a UDP port, behind a closed firewall.
#[must_use]
pub fn udp_server(world: &World, access: &str) -> Fwknopd {
    world.server.run("iptables", &["-A", "INPUT", "-p", "udp", "--dport", "62201", "-j", "ACCEPT"]);
    Fwknopd::start(world, Whose::Ours, UDP, access, &[])
}

/// Sends a datagram from the client to the knock port.
///
/// # Panics
/// When the system refuses.
pub fn send(world: &World, text: &str) {
    world.client.inside(|| {
        let socket = std::net::UdpSocket::bind((CLIENT, 0)).expect("a socket");
        socket.send_to(text.as_bytes(), (SERVER, 62201)).expect("it is sent");
    });
}
