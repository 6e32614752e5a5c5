//! `import fwknop`: stanzas into clients of our own. What would open more than before is left out, and said.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_config::fwknop::{self, CommandLine, Daemon, Receive};
use portunus_config::native::{self, Paths};
use portunus_config::{EditError, FileChange, Files, KeysOf, NewFwknop, Overlay, Settings};
use portunus_model::{Client, ClientKey, ClientName, PortSpec, Stanza};
use portunus_sys::files;

use super::NAME;
use crate::edit::{self, PRIVATE};
use crate::files::RealFiles;
use crate::here::Here;
use crate::identity;
use crate::places::Places;
use crate::say::{CONFIG, Done, FAILED, Failure, line, remark};

/// fwknop's port.
const PORT: u16 = 62201;
/// The longest grant of our own files, unless `longest_grant` says otherwise.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `portunus import fwknop`.
pub(super) fn run(places: &Places, from: &Path) -> Done {
    let bad = |found| Failure::lines(found, CONFIG);
    let theirs = fwknop::load(&RealFiles, &Here, &CommandLine::of_folder(&RealFiles, from)).map_err(bad)?;
    let dir = &places.config_dir;
    let paths = Paths::new(dir);
    files::make_folder(dir, 0o755)?;
    let _lock = edit::lock_folder(dir)?;
    let here = here_already(&paths)?;
    let mut new: Vec<(PathBuf, String, u32)> = Vec::new();
    if !paths.server().exists() {
        new.push((paths.server(), server_text(from, &theirs), 0o644));
        // So that new clients can be of our own.
        if !paths.openme_key().exists() {
            let key = identity::x25519_key()?;
            new.push((paths.openme_key(), native::key_text(&key).to_string(), PRIVATE));
        }
    }
    let mut after = Overlay::new(&RealFiles);
    for (path, text, _) in &new {
        after = after.with(path, text.as_str());
    }
    let mut count = 0_u32;
    let mut again = Vec::new();
    for (name, client) in named(&theirs, &after, dir)? {
        if let Some(name) = here.get(&client.key) {
            again.push((client, name));
            continue;
        }
        let Some(text) = carry(&theirs, client, name, &after, dir)? else { continue };
        let FileChange::Write { path, text } = text else { continue };
        after = after.with(&path, text.as_str());
        new.retain(|(old, ..)| *old != path);
        new.push((path, text.to_string(), PRIVATE));
        count += 1;
    }
    // Everything is checked with the daemon's own eyes before the first byte is written.
    native::load(&after as &dyn Files, dir).map_err(bad)?;
    tell_again(&again);
    if count == 0 && !again.is_empty() {
        let what = "the clients of these files are here already, with the same keys, and nothing was changed";
        let mend = "`portunus list` shows them; to take one over anew, `portunus revoke NAME` and then the same import";
        return Err(Failure::file(what, from, mend).code(FAILED));
    }
    if count == 0 {
        let mend = "see above, or keep fwknop's files: portunus fwknopd reads them as they are";
        return Err(Failure::file("no stanza could be carried over", from, mend).code(FAILED));
    }
    files::make_folder(&paths.keys_dir(), 0o700)?;
    files::make_folder(&paths.clients_dir(), 0o700)?;
    // The server's file comes last: until it is there, the same import can simply be done again.
    for (path, text, mode) in new.iter().rev() {
        files::replace(path, text.as_bytes(), *mode)?;
    }
    tell(from, dir, &theirs, count);
    Ok(())
}

/// Whose fwknop's keys are that are here: of an import before, mostly.
fn here_already(paths: &Paths) -> Result<HashMap<ClientKey, ClientName>, Failure> {
    if !paths.server().exists() {
        return Ok(HashMap::new());
    }
    let dir = paths.server().parent().unwrap_or(Path::new("")).to_owned();
    let ours = native::load(&RealFiles, &dir).map_err(|found| Failure::lines(found, CONFIG))?;
    let theirs = ours.rules.clients.into_iter().filter(|client| matches!(client.key, ClientKey::Fwknop(_)));
    Ok(theirs.map(|client| (client.key, client.name)).collect())
}

fn tell_again(again: &[(&Client, &ClientName)]) {
    for (client, name) in again {
        let number = client.stanza.as_ref().map_or(0, |stanza| stanza.number);
        remark(
            NAME,
            format_args!("stanza #{number} is here already: it is the client {name}, which stays as it is"),
        );
    }
}

/// Each stanza with its new name: the user that it requires, else its number.
fn named<'t>(
    theirs: &'t Settings,
    files: &dyn Files,
    dir: &Path,
) -> Result<Vec<(ClientName, &'t Client)>, Failure> {
    let there = native::clients(files, dir).map_err(|found| Failure::lines(found, CONFIG))?;
    let mut taken: BTreeSet<ClientName> = there.into_iter().map(|entry| entry.name).collect();
    let mut all = Vec::new();
    for client in &theirs.rules.clients {
        let user = client.stanza.as_ref().and_then(|stanza| stanza.username.as_deref());
        let user = user.and_then(|user| ClientName::new(user).ok()).filter(|user| !taken.contains(user));
        // A stanza with keys of both kinds is two clients that require one user.
        let name = user.unwrap_or_else(|| client.name.clone());
        taken.insert(name.clone());
        all.push((name, client));
    }
    Ok(all)
}

fn carry(
    theirs: &Settings,
    client: &Client,
    name: ClientName,
    files: &dyn Files,
    dir: &Path,
) -> Result<Option<FileChange>, Failure> {
    let Some(stanza) = client.stanza.as_deref() else { return Ok(None) };
    if let Some(why) = wider(stanza) {
        remark(NAME, format_args!("not carried over: stanza #{}: {why}", stanza.number));
        return Ok(None);
    }
    let keys = keys_of(theirs, client.key);
    let first = theirs.rules.clients.iter().find(|other| other.key == client.key);
    let Some(keys) = keys.filter(|_| first.is_some_and(|first| first.name == client.name)) else {
        let what = "it has the keys of a stanza before it, and each client has keys of its own";
        remark(NAME, format_args!("not carried over: stanza #{}: {what}", stanza.number));
        return Ok(None);
    };
    for lost in lost(stanza) {
        remark(NAME, format_args!("not carried over: stanza #{}: {lost}", stanza.number));
    }
    let mut new = NewFwknop::new(name, keys);
    new.client.services = open_ports(stanza).iter().map(ToString::to_string).collect();
    new.client.expires = client.expires;
    new.client.lasting = Some(client.lasting.min(LONGEST));
    new.client.any_target = true;
    new.client.health_port = false;
    new.any_port = stanza.open_ports.is_none();
    new.sources.clone_from(&stanza.sources);
    new.require_source = stanza.require_source;
    new.username.clone_from(&stanza.username);
    new.longest = Some(stanza.longest.min(LONGEST));
    match native::add_fwknop(files, dir, &new) {
        Err(EditError::Exists(name)) => {
            remark(
                NAME,
                format_args!("not carried over: stanza #{}: there is a client {name}", stanza.number),
            );
            Ok(None)
        }
        change => Ok(Some(change?)),
    }
}

/// The keys of either kind.
fn keys_of(theirs: &Settings, key: ClientKey) -> Option<KeysOf<'_>> {
    let secrets = &theirs.secrets;
    let symmetric = secrets.fwknop.iter().find(|keys| key == ClientKey::Fwknop(keys.id()));
    let gpg = || secrets.gpg.iter().find(|keys| key == ClientKey::Fwknop(keys.id()));
    symmetric.map(KeysOf::Symmetric).or_else(|| gpg().map(KeysOf::Gpg))
}

/// The ports that it may open: those that it names without those that it forbids.
fn open_ports(stanza: &Stanza) -> Vec<PortSpec> {
    let forbidden = |spec: &&PortSpec| !stanza.restrict_ports.contains(spec);
    stanza.open_ports.iter().flatten().filter(forbidden).copied().collect()
}

/// Why our own files would let it open more, or something else.
fn wider(stanza: &Stanza) -> Option<&'static str> {
    if stanza.cycle.is_some() {
        Some("CMD_CYCLE_OPEN runs a command, and opens nothing")
    } else if stanza.nat.unasked {
        Some("it leads to another host (FORCE_NAT, FORCE_SNAT, FORCE_MASQUERADE)")
    } else if !stanza.destinations.is_empty() {
        Some("DESTINATION narrows it to addresses of this host")
    } else if stanza.open_ports.is_none() && !stanza.restrict_ports.is_empty() {
        Some("RESTRICT_PORTS stands without OPEN_PORTS")
    } else if stanza.open_ports.is_some() && open_ports(stanza).is_empty() {
        Some("it opens no port")
    } else {
        None
    }
}

/// What it could do and cannot any more.
fn lost(stanza: &Stanza) -> impl Iterator<Item = &'static str> {
    let all = [
        (stanza.command.is_some(), "ENABLE_CMD_EXEC: no client runs commands"),
        (stanza.nat.forward || stanza.nat.local, "no client asks for NAT"),
        (stanza.window.is_none(), "ENABLE_SPA_PACKET_AGING N: a packet's time is always looked at"),
        (stanza.destination_rule, "ENABLE_DESTINATION_RULE: a grant is for every address of this host"),
        (stanza.longest > LONGEST, "MAX_FW_TIMEOUT: the longest grant is 24h"),
    ];
    all.into_iter().filter(|(lost, _)| *lost).map(|(_, why)| why)
}

fn server_text(from: &Path, theirs: &Settings) -> String {
    let port = theirs.fwknop.as_deref().map_or(PORT, knock_port);
    let nflog = theirs.nflog.map_or_else(String::new, |group| format!("nflog = {group}\n"));
    let window = portunus_config::render_duration(theirs.rules.window.min(Duration::from_secs(600)));
    format!(
        "# Taken over from {}.\n# The name that clients reach this server by: `portunus add` needs it.\n# host = \"home.example.org\"\n\
         port = {port}\n{nflog}health = false\ndialects = [\"openme\", \"fwknop\"]\nreplay_window = {window:?}\n\n\
         [firewall]\n# Your own rules keep out whoever has no grant, as with fwknopd. Say true, and ours do.\n\
         protect = false\n",
        from.display()
    )
}

/// The port that packets come to: of the UDP server, else the one that the filter names.
fn knock_port(daemon: &Daemon) -> u16 {
    if let Receive::Udp(port) = daemon.receive {
        return port;
    }
    let mut words = daemon.capture.filter.split_whitespace().skip_while(|word| *word != "port").skip(1);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(PORT)
}

/// What has to be done, or nobody's knock arrives any more.
fn the_way(daemon: &Daemon) -> Option<String> {
    let way = match &daemon.receive {
        Receive::Udp(_) | Receive::Nflog(_) => return None,
        Receive::Sniffed => "packets were seen on the interface".to_owned(),
        Receive::File(path) | Receive::Followed(path) => {
            format!("not carried over: packets came out of {}", path.display())
        }
    };
    let port = knock_port(daemon);
    Some(format!(
        "{way}: let udp/{port} through to the socket, or log it there with a rule (`log group 5`) and write nflog = 5"
    ))
}

/// Where packets come in after the import.
const fn received(daemon: &Daemon) -> &'static str {
    match daemon.receive {
        Receive::Nflog(_) => "from what the firewall's rules log (nflog)",
        Receive::Udp(_) | Receive::Sniffed | Receive::File(_) | Receive::Followed(_) => "on a UDP socket",
    }
}

fn tell(from: &Path, dir: &Path, theirs: &Settings, count: u32) {
    let s = if count == 1 { "" } else { "s" };
    line(format_args!("{count} client{s} taken over from {} into {}", from.display(), dir.display()));
    for warning in &theirs.warnings {
        remark(NAME, warning);
    }
    if let Some(way) = theirs.fwknop.as_deref().and_then(the_way) {
        remark(NAME, way);
    }
    let place = theirs.fwknop.as_deref().map_or("on a UDP socket", received);
    line(format_args!(
        "their keys are the same: their .fwknoprc goes on to work. packets are received {place}. next:"
    ));
    line("  portunus check, stop fwknopd, then: systemctl enable --now portunus");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(conf: &str) -> Settings {
        let files = Overlay::new(&RealFiles)
            .with(Path::new("f/fwknopd.conf"), conf)
            .with(Path::new("f/access.conf"), "SOURCE ANY\nKEY abc\nHMAC_KEY def\n");
        fwknop::load(&files, &Here, &CommandLine::of_folder(&files, Path::new("f"))).unwrap()
    }

    #[test]
    fn how_packets_come_is_carried_over_or_said() {
        let of = |conf: &str| {
            let theirs = loaded(conf);
            let way = theirs.fwknop.as_deref().and_then(the_way);
            (way, server_text(Path::new("f"), &theirs).contains("\nnflog = 7\n"))
        };
        let log = "through to the socket, or log it there with a rule (`log group 5`) and write nflog = 5";
        assert_eq!(of("NFLOG_GROUP 7\n"), (None, true));
        assert_eq!(of("ENABLE_UDP_SERVER Y\n"), (None, false));
        let file = format!("not carried over: packets came out of /x: let udp/62201 {log}");
        assert_eq!(of("AUTH_MODE ULOG_PCAP\nPCAP_PKT_FILE /x\n"), (Some(file), false));
        let seen = format!("packets were seen on the interface: let udp/62201 {log}");
        assert_eq!(of(""), (Some(seen), false));
        let place = |conf: &str| loaded(conf).fwknop.as_deref().map(received);
        assert_eq!(place("NFLOG_GROUP 7\n"), Some("from what the firewall's rules log (nflog)"));
        assert_eq!(place("ENABLE_UDP_SERVER Y\n"), Some("on a UDP socket"));
        assert_eq!(place(""), Some("on a UDP socket"));
    }

    #[test]
    fn what_would_open_more_is_left_out() {
        let ports = |text: &str| PortSpec::parse(text).unwrap();
        let open = Stanza { open_ports: Some(ports("22/tcp")), ..Stanza::default() };
        assert_eq!(wider(&open), None);
        assert_eq!(wider(&Stanza::default()), None);
        let less = Stanza { restrict_ports: ports("22/tcp"), ..open.clone() };
        assert!(wider(&less).is_some() && open_ports(&less).is_empty());
        let rest = Stanza { restrict_ports: ports("22/tcp"), ..Stanza::default() };
        assert!(wider(&rest).is_some());
        let to =
            Stanza { destinations: vec![portunus_model::Net::parse("192.0.2.1").unwrap()], ..open.clone() };
        assert!(wider(&to).is_some());
        let mut turned = open;
        turned.nat.unasked = true;
        assert!(wider(&turned).is_some());
    }
}
