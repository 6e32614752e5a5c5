//! What a profile's QR code holds: for openme's apps JSON, as they know it; of a native profile its own lines.

use std::borrow::Cow;
use std::path::Path;

use portunus_crypto::{Secret, text};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Keys, Profile, Show, native};
use crate::lower::parse_host;
use crate::quote::quoted;
use crate::{Diagnostic, ValueError, keys};

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow, default)]
    profile: Cow<'a, str>,
    #[serde(borrow)]
    host: Cow<'a, str>,
    udp_port: u16,
    #[serde(borrow)]
    server_pubkey: Cow<'a, str>,
    #[serde(borrow)]
    client_privkey: Cow<'a, str>,
}

/// Reads a payload.
///
/// # Errors
/// The mistakes that were found.
pub fn parse(text: &str, file: &Path) -> Result<Profile, Vec<Diagnostic>> {
    // No line of a profile begins so.
    if !text.trim_start().starts_with(['{', '[']) {
        return native::parse(text, file);
    }
    let payload: Payload<'_> = serde_json::from_str(text).map_err(|error| vec![unreadable(&error, file)])?;
    profile(&payload).map_err(|fault| vec![Diagnostic::of_file(file, fault.what, fault.mend)])
}

fn unreadable(error: &serde_json::Error, file: &Path) -> Diagnostic {
    let cut = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    Diagnostic {
        file: file.to_owned(),
        line: cut(error.line()),
        column: cut(error.column()),
        what: format!("this is no profile's QR payload: {said}"),
        mend: "scan it again, or use the profile itself".to_owned(),
    }
}

fn profile(payload: &Payload<'_>) -> Result<Profile, ValueError> {
    let host = parse_host(&payload.host)?;
    if payload.udp_port == 0 {
        return Err(ValueError::new("udp_port is 0", "use a whole number from 1 to 65535"));
    }
    let server = keys::server_public("server_pubkey", &payload.server_pubkey)?;
    let (seed, public) = keys::client_private("client_privkey", &payload.client_privkey)?;
    let name = match &*payload.profile {
        "" => super::first_label(&host),
        name => name.to_owned(),
    };
    Ok(Profile {
        name,
        host,
        port: payload.udp_port,
        health: true,
        health_port: None,
        keys: Keys::Openme { server, seed, public },
        post_knock: None,
        opens: Vec::new(),
    })
}

/// Writes the payload. It holds the private key.
#[must_use]
pub fn render(profile: &Profile) -> Zeroizing<String> {
    match &profile.keys {
        Keys::Openme { server, seed, public } => openme(profile, (server, seed, public)),
        Keys::Native(_) => native::lines(profile, Show::All),
    }
}

fn openme(
    profile: &Profile,
    (server, seed, public): (&[u8; 32], &Secret<32>, &[u8; 32]),
) -> Zeroizing<String> {
    let private = keys::pair_text(seed, public);
    let mut out = Zeroizing::new(String::with_capacity(512));
    out.push_str(&format!("{{\"profile\":{},\"host\":{},", quoted(&profile.name), quoted(&profile.host)));
    out.push_str(&format!("\"udp_port\":{},\"server_pubkey\":\"{}\",", profile.port, text::encode(server)));
    out.push_str("\"client_privkey\":\"");
    out.push_str(&private);
    out.push_str(&format!("\",\"client_pubkey\":\"{}\"}}", text::encode(public)));
    out
}
