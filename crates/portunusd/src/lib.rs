//! The daemon as a library: keeper, front and grantor (ARCHITECTURE.md, "Processes").
//!
//! Here is the shell: it reads clocks and sockets, feeds the gate and carries out its actions. Not here: any decision
//! about a packet. Called by the faces: [`serve`] for the daemon, [`part_main`] for the processes that it starts.

pub mod alerts;
mod commands;
mod errand;
mod front;
mod grantor;
mod journal;
mod keeper;
pub mod keyrings;
mod log;
mod message;
mod metrics;
mod notify;
mod oracle;
mod plan;
mod resolver;
pub mod trial;
mod witness;
mod words;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use portunus_config::Diagnostic;
use portunus_config::fwknop::Daemon;
use portunus_store::StoreError;
use portunus_sys::confine::Landlock;
use portunus_sys::users::Ids;

pub use notify::ON_TRIAL;
pub use plan::{Fwknopd, Loader, LogLevel, Plan, StillThere};
use words::Words;

/// Runs the daemon in the foreground until SIGTERM, SIGINT or an error.
///
/// Exit codes: 0 ended as asked, 1 failed while running or for now (a port in use, a full disk: try again), 78 could
/// not start and will not until somebody mends it (configuration, rights, a rule in the way);
/// the words and the mend go to standard error.
#[must_use]
pub fn serve(plan: &Plan) -> ExitCode {
    keeper::serve(plan)
}

/// What of fwknopd's configuration only the daemon can tell: whether its filter can be compiled.
///
/// # Errors
/// The mistake, with the mend.
pub fn check(daemon: &Daemon) -> Result<(), Diagnostic> {
    keeper::check(daemon)
}

/// The hidden first word by which the binary is started again as a part: `PROGRAM --part front …`.
pub const PART_FLAG: &str = "--part";

type Part = fn(Option<Ids>) -> io::Result<()>;

const PARTS: [(&str, Part); 8] = [
    ("front", front::run),
    ("grantor", grantor::run),
    ("errand", errand::run),
    ("commands", commands::run),
    ("resolver", resolver::run),
    ("gpg", oracle::run),
    ("metrics", metrics::run),
    ("alerts", alerts::run),
];

/// Runs a part. `main` calls this before it looks at anything else, with the words after [`PART_FLAG`].
#[must_use]
pub fn part_main(words: &[OsString]) -> ExitCode {
    let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let (name, level, speech, ids) = match words.as_slice() {
        [name, level, speech] => (*name, *level, *speech, None),
        [name, level, speech, ids] => (*name, *level, *speech, ids_of(ids)),
        _ => ("", "", "", None),
    };
    let level = LogLevel::parse(level).unwrap_or_default();
    let Some((name, run)) = PARTS.into_iter().find(|(part, _)| *part == name) else {
        eprintln!("portunus: {PART_FLAG} is for the daemon's own use: run `portunus serve`");
        return ExitCode::from(2);
    };
    // A word of the keeper's own: in whose words, and whether each line says its priority.
    let (speech, marked) = speech.strip_suffix('+').map_or((speech, false), |speech| (speech, true));
    log::start(level, name, Words::parse(speech).unwrap_or_default(), marked);
    match run(ids) {
        Ok(()) => ExitCode::SUCCESS,
        // Only whoever we speak with is gone, and who goes says why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            tracing::debug!(%error, "this part ends");
            log::flush();
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!(%error, "this part ends");
            log::flush();
            let lasting = error.kind() == io::ErrorKind::InvalidData;
            if lasting { ExitCode::from(keeper::EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

fn ids_of(text: &str) -> Option<Ids> {
    let (uid, gid) = text.split_once(':')?;
    Some(Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

/// A store that cannot be opened, with its place. What is wrong with the files themselves stays wrong.
fn bad_files(place: &str, error: &StoreError) -> io::Error {
    let kind = match error {
        StoreError::WrongFile { .. } | StoreError::Damaged { .. } => io::ErrorKind::InvalidData,
        StoreError::Io { .. } => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("{place}: {error}"))
}

/// The store of chains cannot be taken up, with the mend.
fn bad_chains(error: &io::Error) -> io::Error {
    let mend = "restore the file, or move it away and add the native clients anew";
    io::Error::new(error.kind(), format!("`chains` in the state folder: {error}: {mend}"))
}

/// For the log.
fn sandbox_words(landlock: Landlock) -> &'static str {
    match landlock {
        Landlock::Full => "full",
        Landlock::Partial => "partial: the kernel is older",
        Landlock::Missing => "missing: the kernel has none",
    }
}
