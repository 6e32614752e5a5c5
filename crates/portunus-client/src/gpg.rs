//! The host's gpg, run to encrypt a knock's text and to sign it. The passphrase goes in by its standard input, before the
//! text: it stands in no argument and in no variable.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};

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
    /// Whatever it is, it does not speak as gpg does.
    #[error("{program} is no gpg: it ended ({status}) without a word of GnuPG's")]
    NotGpg {
        /// Which.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The signer's key has a passphrase, and nobody gave it.
    #[error("the key {0} has a passphrase, and none was given")]
    NoPassphrase(String),
    /// It is another one.
    #[error("this is not the passphrase of the key {0}")]
    BadPassphrase(String),
    /// There is no such secret key, or it cannot sign.
    #[error("there is no secret key {key:?} to sign with ({why})")]
    Signer {
        /// Which.
        key: String,
        /// gpg's own words.
        why: String,
    },
    /// There is no such public key, or nothing can be encrypted for it.
    #[error("nothing can be encrypted for {key:?} ({why})")]
    Recipient {
        /// Which.
        key: String,
        /// gpg's own words.
        why: String,
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
        self.judge(child.wait_with_output().map_err(not_run)?)
    }

    /// Only what gpg says that it has done is done: a program that is none could hand back anything.
    fn judge(&self, out: Output) -> Result<Vec<u8>, GpgError> {
        let said = Said::of(&out);
        let signed = self.signer.is_none() || said.has("SIG_CREATED");
        if out.status.success() && said.has("END_ENCRYPTION") && signed && !out.stdout.is_empty() {
            return Ok(out.stdout);
        }
        if said.report.is_empty() && out.status.code().is_some() && !said.words.starts_with("gpg") {
            return Err(GpgError::NotGpg {
                program: self.program().display().to_string(),
                status: out.status,
            });
        }
        let (why, key) = (said.words, self.signer.as_ref().map(|signer| signer.key.clone()));
        if said.invalid_recipient {
            return Err(GpgError::Recipient { key: self.recipient.clone(), why });
        }
        Err(match (said.failure, key) {
            (_, Some(key)) if said.invalid_signer => GpgError::Signer { key, why },
            (Some(Failure::NoPassphrase), Some(key)) => GpgError::NoPassphrase(key),
            (Some(Failure::BadPassphrase), Some(key)) => GpgError::BadPassphrase(key),
            (Some(Failure::NoPassphrase | Failure::BadPassphrase) | None, _) => GpgError::Refused(why),
        })
    }

    fn program(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(|| PathBuf::from("gpg"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        if let Some(home) = &self.home {
            command.arg("--homedir").arg(home);
        }
        command.args(["--batch", "--no-tty", "--quiet", "--yes", "--status-fd", "2"]);
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

/// What it reported between its own words (GnuPG's doc/DETAILS).
struct Said {
    /// The keywords of its report.
    report: Vec<String>,
    invalid_recipient: bool,
    invalid_signer: bool,
    failure: Option<Failure>,
    /// Its own words, as one line of plain text; how it ended, where it had none.
    words: String,
}

/// Why it could not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    NoPassphrase,
    BadPassphrase,
}

impl Said {
    fn of(out: &Output) -> Self {
        let text = String::from_utf8_lossy(&out.stderr);
        let (mut report, mut words, mut failure) = (Vec::new(), Vec::new(), None);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some(line) = line.strip_prefix("[GNUPG:] ") else {
                words.push(line);
                continue;
            };
            let mut parts = line.split(' ');
            let keyword = parts.next().unwrap_or_default();
            if keyword == "FAILURE" {
                failure = parts.next_back().and_then(|code| code.parse().ok()).and_then(Failure::of);
            }
            report.push(keyword.to_owned());
        }
        let words = if words.is_empty() { out.status.to_string() } else { words.join("; ") };
        let has = |word: &str| report.iter().any(|one| one == word);
        let (invalid_recipient, invalid_signer) = (has("INV_RECP"), has("INV_SGNR"));
        let words = words.chars().filter(|c| !c.is_control()).collect();
        Self { report, invalid_recipient, invalid_signer, failure, words }
    }

    fn has(&self, keyword: &str) -> bool {
        self.report.iter().any(|one| one == keyword)
    }
}

impl Failure {
    /// Of libgpg-error's codes, whose lower 16 bits say what it is.
    fn of(code: u32) -> Option<Self> {
        const BAD_PASSPHRASE: u32 = 11;
        const NO_PINENTRY: u32 = 85;
        const CANCELED: u32 = 99;
        const NO_PASSPHRASE: u32 = 177;
        const FULLY_CANCELED: u32 = 198;
        match code & 0xffff {
            BAD_PASSPHRASE => Some(Self::BadPassphrase),
            NO_PINENTRY | CANCELED | NO_PASSPHRASE | FULLY_CANCELED => Some(Self::NoPassphrase),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn judged(signed: bool, code: i32, report: &str, text: &[u8]) -> Result<Vec<u8>, String> {
        let signer = signed.then(|| Signer { key: "alice".into(), opens: Opens::Nothing });
        let gpg =
            Gpg { program: Some("/bin/x".into()), recipient: "server".into(), signer, ..Gpg::default() };
        let report = report.split(';').map(|line| format!("{line}\n")).collect::<String>().into_bytes();
        let out = Output { status: ExitStatus::from_raw(code << 8), stdout: text.to_vec(), stderr: report };
        gpg.judge(out).map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_gpg_says_it_has_done_is_done() {
        let all = "[GNUPG:] BEGIN_SIGNING H10;[GNUPG:] SIG_CREATED S 1;[GNUPG:] END_ENCRYPTION";
        assert_eq!(judged(true, 0, all, b"message"), Ok(b"message".to_vec()));
        assert_eq!(judged(false, 0, "[GNUPG:] END_ENCRYPTION", b"message"), Ok(b"message".to_vec()));
        for (report, text) in [
            ("[GNUPG:] END_ENCRYPTION", b"message".as_slice()),
            ("[GNUPG:] SIG_CREATED S 1", b"message"),
            ("", b"message"),
            (all, b""),
        ] {
            assert!(judged(true, 0, report, text).is_err(), "{report}");
        }
        assert!(judged(true, 2, all, b"message").is_err());
    }

    #[test]
    fn what_it_did_not_do_has_a_reason() {
        let why = |report: &str| judged(true, 2, report, b"half").unwrap_err();
        assert!(
            judged(true, 0, "", b"").unwrap_err().starts_with("/bin/x is no gpg: it ended (exit status: 0)")
        );
        assert!(judged(true, 1, "usage", b"").unwrap_err().starts_with("/bin/x is no gpg"));
        let no = "gpg: signing failed: No pinentry;[GNUPG:] FAILURE sign-encrypt 67108949";
        assert_eq!(why(no), "the key alice has a passphrase, and none was given");
        assert_eq!(
            why("[GNUPG:] FAILURE sign-encrypt 67108875"),
            "this is not the passphrase of the key alice"
        );
        let signer = "gpg: skipped;[GNUPG:] INV_SGNR 9 alice;[GNUPG:] FAILURE sign-encrypt 17";
        assert_eq!(why(signer), "there is no secret key \"alice\" to sign with (gpg: skipped)");
        let recipient = "gpg: skipped;[GNUPG:] INV_RECP 1 server;[GNUPG:] FAILURE sign-encrypt 9";
        assert_eq!(why(recipient), "nothing can be encrypted for \"server\" (gpg: skipped)");
        assert_eq!(why("gpg: Fatal: x"), "gpg: Fatal: x");
    }
}
