//! A door by itself: what somebody is handed who has a profile of the server already, and whom no answer tells of the new door.

use std::path::Path;

use portunus_dialect::native::{Chain, Day};
use zeroize::Zeroizing;

use super::native_keys::{public_line, shown};
use super::{KnownDoor, Show};
use crate::lower::parse_host;
use crate::quote::quoted;
use crate::reader::{Fields, Unknown};
use crate::source::{Findings, Source};
use crate::{Diagnostic, keys, toml_tree};

/// What stands on it.
const KEYS: [&str; 6] = ["host", "port", "server_pubkey", "day", "door_chain", "fresh"];

/// A door, and the server that it is of.
pub struct DoorPaper {
    /// The server's host name or address.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
    /// The door.
    pub door: KnownDoor,
    /// Whether the client is to draw a link that nobody has seen: the one that it has may be known to a thief.
    pub fresh: bool,
}

/// Whether `text` is a door by itself, rather than a profile, which has a private key.
#[must_use]
pub fn is_one(text: &str) -> bool {
    let has = |key: &str| {
        let said = |line: &str| {
            line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        text.lines().any(said)
    };
    has("door_chain") && has("server_pubkey") && !has("private_key")
}

/// Reads one.
///
/// # Errors
/// Every mistake that was found.
pub fn parse(text: &str, file: &Path) -> Result<DoorPaper, Vec<Diagnostic>> {
    let source = Source::new(file, text);
    let mut findings = Findings::default();
    let root = toml_tree::parse(&source, &mut findings);
    let fields = root.as_ref().and_then(|root| Fields::of(&source, root, "the file", &mut findings));
    let paper = fields.and_then(|fields| read(fields, &mut findings));
    findings.verdict()?;
    let mend = "get it again from the server's `portunus rotate --print`";
    paper.ok_or_else(|| vec![Diagnostic::of_file(file, "this is no door", mend)])
}

fn read(p: Fields<'_, '_>, findings: &mut Findings) -> Option<DoorPaper> {
    p.know(&KEYS, Unknown::Refused, findings);
    let host = p.read("host", findings, parse_host);
    let port = p.port("port", findings);
    let server = p.read("server_pubkey", findings, |text| keys::server_public("server_pubkey", text));
    let day = p.number("day", 0, u64::from(u32::MAX), findings).and_then(|day| u32::try_from(day).ok());
    let chain = p.read("door_chain", findings, |text| keys::secret("door_chain", text));
    let fresh = p.flag("fresh", findings).unwrap_or(false);
    let chain = Chain::new(Day::from_number(day?), chain?);
    Some(DoorPaper { host: host?, port: port?, door: KnownDoor { server: server?, chain }, fresh })
}

/// Writes one, with what people are to know of it.
#[must_use]
pub fn render(paper: &DoorPaper) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(1024));
    out.push_str(
        "# A new door of a Portunus server, for whoever has a profile of it already: portunus join FILE puts it in there.\n\
         # It opens nothing by itself, but tells knocks from noise: keep it 0600, and do not send it in the clear.\n",
    );
    out.push_str(&lines(paper));
    out
}

/// The same without the remark for people, as it fits into a picture.
#[must_use]
pub fn lines(paper: &DoorPaper) -> Zeroizing<String> {
    let DoorPaper { host, port, door, fresh } = paper;
    let mut out = Zeroizing::new(String::with_capacity(512));
    out.push_str(&format!("host = {}\nport = {port}\n", quoted(host)));
    out.push_str(&public_line("server_pubkey", &door.server));
    out.push_str(&format!("day = {}\ndoor_chain = ", door.chain.day().number()));
    out.push_str(&shown(door.chain.value(), Show::All));
    out.push_str(if *fresh { "\nfresh = true\n" } else { "\n" });
    out
}
