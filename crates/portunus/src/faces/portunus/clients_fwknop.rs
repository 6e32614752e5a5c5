//! `add --dialect fwknop`: keys for a client of fwknop's, and what its .fwknoprc says.

use std::fmt::Write as _;

use portunus_config::{Files, KeysOf, NewFwknop, Settings, native};
use portunus_crypto::{Secret, SystemEntropy};
use portunus_dialect::fwknop::{HashType, Mode, RawKeys};
use portunus_model::{Client, PortSpec};
use zeroize::Zeroizing;

use super::args::Add;
use super::clients::{hand_over, laid, refused};
use crate::files::RealFiles;
use crate::picture::Picture;
use crate::places::Places;
use crate::say::Failure;

/// Draws keys, prints them and writes the client; `before` is the configuration without it. Gives the picture of the keys.
pub(super) fn add(places: &Places, before: &Settings, add: &Add) -> Result<Option<Picture>, Failure> {
    let host = before.host.as_deref().ok_or_else(|| {
        let what = "the server's file has no host for the client's file";
        Failure::new(what, "portunus.toml", "write host = \"NAME\" into it")
    })?;
    let unlucky = |error: &dyn std::fmt::Display| Failure::new(error, "", "try again");
    let mut entropy = SystemEntropy;
    let key = Secret::<32>::generate(&mut entropy).map_err(|error| unlucky(&error))?;
    let hmac = Secret::<64>::generate(&mut entropy).map_err(|error| unlucky(&error))?;
    let hashed = Some((HashType::Sha256, hmac.expose().as_slice()));
    let keys = RawKeys::new(key.expose(), Mode::Cbc, hashed).map_err(|error| unlucky(&error))?;
    let mut new = NewFwknop::new(add.name.clone(), KeysOf::Symmetric(&keys));
    new.client.services.clone_from(&add.ports);
    new.client.expires = add.expires;
    new.client.lasting = add.lasting;
    new.client.any_target = add.any_target;
    let dir = &places.config_dir;
    let change = native::add_fwknop(&RealFiles, dir, &new)?;
    // What the daemon would say of it, before a byte is written.
    let after = native::load(&laid(&change) as &dyn Files, dir).map_err(|found| refused(&found))?;
    let client = after.rules.clients.iter().find(|client| client.name == add.name);
    let port = before.listen.first().map_or(portunus_config::DEFAULT_PORT, std::net::SocketAddr::port);
    let (key, hmac) = (key.to_base64(), hmac.to_base64());
    let stanza = stanza(before, host, port, client, (&key, &hmac));
    let picture = (add.qr || add.qr_out.is_some())
        .then(|| Picture::new(&Zeroizing::new(format!("KEY_BASE64:{} HMAC_KEY_BASE64:{}", &*key, &*hmac))))
        .transpose()?;
    if let (Some(picture), Some(path)) = (&picture, &add.qr_out) {
        picture.write(path)?;
    }
    hand_over(&stanza, &change, add.qr_out.as_deref())?;
    Ok(picture)
}

/// The lines of .fwknoprc.
fn stanza(
    before: &Settings,
    host: &str,
    port: u16,
    client: Option<&Client>,
    (key, hmac): (&str, &str),
) -> Zeroizing<String> {
    let ports =
        client.and_then(|client| client.stanza.as_ref()).and_then(|stanza| stanza.open_ports.as_deref());
    let one = |spec: &PortSpec| format!("{}/{}", spec.proto().as_str(), spec.first());
    // A range cannot be asked for, and the health port is nothing that a user wants.
    let wanted = |spec: &&PortSpec| spec.is_single() && Some(spec.first()) != before.health_port;
    let access: Vec<String> = ports.unwrap_or_default().iter().filter(wanted).map(one).collect();
    let mut lines = Zeroizing::new(format!("[{}]\n", before.profile_name));
    lines.reserve(512);
    let mut say = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{name:<16} {value}");
    };
    say("SPA_SERVER", host);
    say("SPA_SERVER_PORT", &port.to_string());
    if !access.is_empty() {
        say("ACCESS", &access.join(","));
    }
    say("ALLOW_IP", "resolve");
    say("KEY_BASE64", key);
    say("USE_HMAC", "Y");
    say("HMAC_KEY_BASE64", hmac);
    lines
}
