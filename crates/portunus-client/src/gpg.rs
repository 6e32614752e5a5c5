//! The host's gpg, run to encrypt a knock's text and to sign it. The passphrase goes in by its standard input, before the
//! text: it stands in no argument and in no variable.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

/// How it is run.
#[derive(Default)]
pub struct Gpg {
    /// The program; `None`: `gpg`, wherever it is found.
    pub program: Option<PathBuf>,
    /// The folder of the keyring; `None`: the user's own.
    pub home: Option<PathBuf>,
    /// For which key.
    pub recipient: String,
    /// By which key.
    pub signer: Option<Signer>,
}

/// Who signs.
pub struct Signer {
    /// Which key.
    pub key: String,
    /// What opens it.
    pub opens: Opens,
}

/// What opens a secret key.
pub enum Opens {
    /// Nothing is needed, or the agent knows it already.
    Nothing,
    /// The agent asks for it, by its own window or terminal.
    Agent,
    /// This.
    Passphrase(Zeroizing<Vec<u8>>),
}

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub enum GpgError {
    /// It could not be run.
    #[error("{program} cannot be run: {error}")]
    NotRun {
        /// Which.
        program: String,
        /// Why.
        error: std::io::Error,
    },
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

impl Gpg {
    /// Encrypts `text`, and signs it where somebody does.
    ///
    /// # Errors
    /// [`GpgError`] has gpg's own words.
    pub fn seal(&self, text: &[u8]) -> Result<Vec<u8>, GpgError> {
        let mut input = Zeroizing::new(Vec::with_capacity(4096));
        let mut command = self.command();
        if let Some(Signer { opens: Opens::Passphrase(passphrase), .. }) = &self.signer {
            input.extend_from_slice(passphrase);
            input.push(b'\n');
        }
        input.extend_from_slice(text);
        let program = || self.program().display().to_string();
        let not_run = |error| GpgError::NotRun { program: program(), error };
        let mut child = command.spawn().map_err(not_run)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends early says why itself.
            let _ = stdin.write_all(&input);
        }
        let out = child.wait_with_output().map_err(not_run)?;
        if out.status.success() && !out.stdout.is_empty() {
            return Ok(out.stdout);
        }
        let said = String::from_utf8_lossy(&out.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let why = if lines.is_empty() { out.status.to_string() } else { lines.join("; ") };
        Err(GpgError::Refused(why.chars().filter(|c| !c.is_control()).collect()))
    }

    fn program(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(|| PathBuf::from("gpg"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        if let Some(home) = &self.home {
            command.arg("--homedir").arg(home);
        }
        command.args(["--batch", "--no-tty", "--quiet", "--yes"]);
        // A recipient who is not in the keyring is a mistake, and nothing to ask the network about.
        command.args(["--disable-dirmngr", "--no-auto-key-retrieve", "--no-auto-key-locate"]);
        // Whatever gpg.conf says: one binary message for one named key.
        command.args(["--no-armor", "--no-encrypt-to", "--no-throw-keyids", "--trust-model", "always"]);
        command.arg("--recipient").arg(&self.recipient);
        if let Some(Signer { key, opens }) = &self.signer {
            command.arg("--local-user").arg(key);
            match opens {
                Opens::Nothing => drop(command.args(["--pinentry-mode", "error"])),
                Opens::Agent => {}
                Opens::Passphrase(_) => {
                    command.args(["--pinentry-mode", "loopback", "--passphrase-fd", "0"]);
                }
            }
            command.arg("--sign");
        }
        command.args(["--output", "-", "--encrypt"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
