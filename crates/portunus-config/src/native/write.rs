//! Writing our own files: templates with every key explained, clients, and edits.

use std::path::Path;

use portunus_crypto::{text, totp};
use portunus_dialect::fwknop::gpg::{RawGpg, is_fingerprint, is_key_id};
use portunus_dialect::fwknop::{HashType, Mode};
use portunus_model::{ClientName, Dialect, Place};
use zeroize::Zeroizing;

use super::{Init, Paths};
use crate::quote::{quoted, toml_list};
use crate::{
    EditError, FileChange, FileError, Files, KeysOf, NewClient, NewFwknop, Secrecy, render_date,
    render_duration, render_place, toml_edit,
};

/// The text of `portunus.toml`.
pub(super) fn server(init: &Init) -> String {
    let place = match init.place.as_ref().map(|place| (place, render_place(place))) {
        None => "# place = \"own\"".to_owned(),
        Some((Place::Attach(_), words)) => format!("place = {}", toml_list(&words)),
        Some((Place::Own | Place::Iptables | Place::Fwknop(_), words)) => {
            format!("place = {}", quoted(&words.concat()))
        }
    };
    let words: Vec<&str> = init.dialects.iter().map(|dialect| dialect.as_str()).collect();
    let dialects = match words.as_slice() {
        [] | ["openme"] => "# dialects = [\"openme\"]".to_owned(),
        words => format!("dialects = {}", toml_list(words)),
    };
    TEMPLATE
        .replace("@DIALECTS@", &dialects)
        .replace("@HOST@", &quoted(&init.host))
        .replace("@PORT@", &init.port.to_string())
        .replace("@BACKEND@", &quoted(init.firewall.as_str()))
        .replace("@PLACE@", &place)
        .replace("@INTERFACES@", &toml_list(&init.interfaces))
}

const TEMPLATE: &str = r#"# Portunus: the server. Every key is here; those behind a # show what holds without them.
# After a change: `portunus check`. The running daemon takes the new file by itself.

# The name or address that clients reach this server by. It goes into their profiles.
host = @HOST@

# What those profiles are called; left out, the first label of host.
# profile = "home"

# Knocks come in on this UDP port, on every address of both families.
port = @PORT@

# Only on these addresses instead; then `port` may be left out.
# listen = ["192.0.2.1:54154", "[2001:db8::1]:54154"]

# Knocks are also taken from packets that a rule of yours logs to this group, as `log group 5` in nft or
# `-j NFLOG --nflog-group 5` in iptables does: for a port that nothing shall listen on.
# nflog = 5

# Whether a TCP port answers `portunus status`, opened by a knock like every other door; and which (left out: port).
# health = true
# health_port = 54154

# What the knocks may speak: native, openme, fwknop.
@DIALECTS@

# How far a client's clock may be off, either way; 1s to 10m.
# replay_window = "60s"

# What becomes of open grants when the daemon ends: "keep" lets each run out, "close" ends them at once.
# The drops stay in either case; only `portunus teardown` takes them away.
# on_exit = "keep"

# Users (numbers, as `id -u` shows) besides root who may change the running daemon, if they are in the group portunus.
# admins = [1000]

[firewall]
# "nft", "iptables", or "auto": nft, unless the tools of iptables hold the ruleset.
backend = @BACKEND@

# Where we stand in the ruleset: "own", a table of our own; or "attach:FAMILY/TABLE/CHAIN", in a chain of yours that
# drops (several as a list); or "iptables". Left out, it is found anew at each start.
@PLACE@

# Only packets that come in by these interfaces are looked at, accepted or dropped; empty: all.
interfaces = @INTERFACES@

# Drop every port of services.toml, every other port that a client may open, and the health port, for whoever has no
# grant. Say false only where rules of your own drop them.
# protect = true

# Accept the knock port in our rules. Say false only where rules of your own accept it.
# accept_knock_port = true

[defaults]
# For clients that do not say it themselves: what a knock opens (names of services.toml, or ports), and how long.
services = ["ssh"]
# grant = "30s"

[limits]
# How many clients there may be, how many doors may be open at once, and the longest grant of any client.
# clients = 100000
# open_grants = 65536
# longest_grant = "24h"

[audit]
# How much of the audit log is kept: so many files of so many mebibytes. `portunus audit` shows it.
# megabytes = 10
# files = 10

# Figures for Prometheus, for scrapers of this host only: a loopback address, which every user of this host can read, or
# a socket for root and the daemon's group, "unix:/run/portunus/metrics.sock". Left out, there are none.
# [metrics]
# listen = "127.0.0.1:9154"

# Who is told of grants and of refusals of clients: by mail, to a page (POST, JSON), or by a program (JSON on its standard
# input). What comes within `every` is one message; what cannot be told is kept, `keep` of them at most.
# [alerts]
# to = ["root@example.org"]
# smtp = "smtps://mail.example.org"       # smtp:// begins TLS by STARTTLS; smtp://localhost needs none
# user = "gate"
# password_file = "/etc/portunus/keys/smtp.password"
# sendmail = "/usr/sbin/sendmail"         # in the place of smtp
# webhook = "https://hooks.example.org/gate"
# url_file = "/etc/portunus/keys/hook.url" # in the place of webhook, where the address is itself a secret
# token_file = "/etc/portunus/keys/hook.token"
# command = ["/usr/local/bin/tell"]
# every = "30s"
# grants = true
# refusals = true
# keep = 1000
"#;

/// The text of `services.toml`.
pub(super) const SERVICES: &str = r#"# Services: a name, and the ports that it stands for, PORT[-END][/PROTO]; without /tcp or /udp it is both.
# Every port here is closed for whoever has no grant (`protect` in portunus.toml), so name what is to be hidden only.
ssh = ["22/tcp"]
# web = ["80/tcp", "443/tcp", "443/udp"]
# backup = ["8730-8739/tcp"]
# Published by Docker or podman, or sent on to another host: with `forward` it is guarded on that way too (nftables).
# shop = { ports = ["8443/tcp"], forward = true }
"#;

/// The lines of one client.
pub(super) fn client(client: &NewClient) -> Zeroizing<String> {
    let dialect = if client.native.is_some() { Dialect::Native } else { Dialect::Openme };
    let key = match &client.key_file {
        Some(path) => format!("public_key_file = {}", quoted(&path.display().to_string())),
        None => format!("public_key = {}", quoted(&text::encode(&client.key))),
    };
    // The secret of one-time codes comes last, and what grows leaves no copy of it behind.
    let mut out = Zeroizing::new(String::new());
    out.push_str(&format!("dialect = {}\n{key}\n", quoted(dialect.as_str())));
    common(client, &mut out);
    let rule = client.native.unwrap_or_default();
    if rule.answers {
        out.push_str("answers = true\n");
    }
    if rule.must_bind {
        out.push_str("bind = \"must\"\n");
    }
    if let Some(code) = &client.code {
        let secret = Zeroizing::new(quoted(&totp::to_base32(code.secret())));
        let parts = ["totp = ", &*secret, "\n"];
        out.reserve_exact(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            out.push_str(part);
        }
    }
    out
}

fn common(client: &NewClient, out: &mut String) {
    if !client.services.is_empty() {
        out.push_str(&format!("services = {}\n", toml_list(&client.services)));
    }
    if let Some(expires) = client.expires {
        out.push_str(&format!("expires = {}\n", render_date(expires)));
    }
    if let Some(lasting) = client.lasting {
        out.push_str(&format!("grant = {}\n", quoted(&render_duration(lasting))));
    }
    if client.any_target {
        out.push_str("any_target = true\n");
    }
    if !client.health_port {
        out.push_str("health = false\n");
    }
}

/// The lines of one that knocks as fwknop's do.
pub(super) fn fwknop(new: &NewFwknop<'_>) -> Zeroizing<String> {
    let encoded = |bytes: &[u8]| Zeroizing::new(text::encode(bytes));
    let mut out = Zeroizing::new(String::with_capacity(1024));
    let mut say = |key: &str, value: &str| {
        for part in [key, " = ", value, "\n"] {
            out.push_str(part);
        }
    };
    say("dialect", "\"fwknop\"");
    let hmac = match new.keys {
        KeysOf::Symmetric(keys) => {
            say("key_base64", &Zeroizing::new(quoted(&encoded(keys.encryption()))));
            keys.hmac()
        }
        KeysOf::Gpg(keys) => {
            gpg(keys, &mut say);
            keys.hmac()
        }
    };
    if let Some((hash, key)) = hmac {
        say("hmac_key_base64", &Zeroizing::new(quoted(&encoded(key))));
        if hash != HashType::default() {
            say("hmac_type", &quoted(hash.as_str()));
        }
    }
    if let KeysOf::Symmetric(keys) = new.keys
        && keys.mode() != Mode::default()
    {
        say("mode", &quoted(keys.mode().as_str()));
    }
    if new.any_port {
        say("any_port", "true");
    }
    if !new.sources.is_empty() {
        let sources: Vec<String> = new.sources.iter().map(ToString::to_string).collect();
        say("sources", &toml_list(&sources));
    }
    if !new.require_source {
        say("require_source", "false");
    }
    if let Some(username) = &new.username {
        say("require_username", &quoted(username));
    }
    if let Some(longest) = new.longest {
        say("longest_grant", &quoted(&render_duration(longest)));
    }
    common(&new.client, &mut out);
    out
}

fn gpg(keys: &RawGpg, say: &mut impl FnMut(&str, &str)) {
    let (ring, signers) = (keys.ring(), keys.signers());
    say("gpg_home", &quoted(&ring.home().display().to_string()));
    say("gpg_program", &quoted(&ring.program().display().to_string()));
    if let Some(passphrase) = ring.passphrase() {
        let text = Zeroizing::new(String::from_utf8_lossy(passphrase).into_owned());
        say("gpg_passphrase", &Zeroizing::new(quoted(&text)));
    }
    if let Some(decrypts) = keys.decrypts() {
        say("gpg_decrypt_key", &quoted(decrypts));
    }
    for (word, list, fits) in [
        ("gpg_signers", &signers.fingerprints, is_fingerprint as fn(&str) -> bool),
        ("gpg_signer_ids", &signers.ids, is_key_id),
    ] {
        let known: Vec<String> = list.iter().filter(|print| fits(print)).cloned().collect();
        if !known.is_empty() {
            say(word, &toml_list(&known));
        }
    }
    if !signers.required {
        say("gpg_unsigned", "true");
    }
    if signers.any_validity {
        say("gpg_any_validity", "true");
    }
}

pub(super) fn add(
    files: &dyn Files,
    paths: &Paths,
    name: &ClientName,
    lines: &str,
) -> Result<FileChange, EditError> {
    let own = paths.client(name);
    if read(files, &own)?.is_some() {
        return Err(EditError::Exists(name.to_string()));
    }
    let many = paths.clients_file();
    let (path, text) = match read(files, &many)? {
        Some(text) => {
            let text = toml_edit::add(&text, &many, name.as_str(), lines)?;
            (many, text)
        }
        None => (own, lines.to_owned()),
    };
    Ok(FileChange::Write { path, text: text.into() })
}

pub(super) fn remove(files: &dyn Files, paths: &Paths, name: &ClientName) -> Result<FileChange, EditError> {
    let own = paths.client(name);
    if read(files, &own)?.is_some() {
        return Ok(FileChange::Delete { path: own });
    }
    let path = paths.clients_file();
    let text = read(files, &path)?.ok_or_else(|| EditError::Unknown(name.to_string()))?;
    let text = toml_edit::remove(&text, &path, name.as_str())?;
    Ok(FileChange::Write { path, text: text.into() })
}

fn read(files: &dyn Files, path: &Path) -> Result<Option<String>, EditError> {
    match files.read(path, Secrecy::Public) {
        Ok(text) => Ok(Some(text)),
        Err(FileError::Missing) => Ok(None),
        Err(error) => Err(EditError::Broken(vec![error.at(path)])),
    }
}
