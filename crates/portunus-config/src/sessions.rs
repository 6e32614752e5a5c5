//! The session state file of openme's tools: which grants are open, and who was last seen when.

use std::collections::BTreeMap;
use std::net::IpAddr;

use portunus_model::{ClientName, PortSpec, Proto, Unix};
use serde::{Deserialize, Serialize};

use crate::{ValueError, parse_date, render_date};

/// One open grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub client: ClientName,
    /// For which address.
    pub address: IpAddr,
    /// Which ports.
    pub ports: Vec<PortSpec>,
    /// Since when.
    pub opened: Unix,
    /// Until when.
    pub expires: Unix,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// When it was written.
    pub updated: Unix,
    /// The open grants.
    pub sessions: Vec<Session>,
    /// When each client last knocked.
    pub last_seen: Vec<(ClientName, Unix)>,
}

/// The file as JSON has it. Go writes `null` for an empty list or map.
#[derive(Serialize, Deserialize)]
struct Raw {
    updated_at: String,
    active_sessions: Option<Vec<RawSession>>,
    last_seen: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
struct RawSession {
    client_name: String,
    ip: IpAddr,
    ports: Option<Vec<RawPort>>,
    opened_at: String,
    expires_at: String,
}

#[derive(Serialize, Deserialize)]
struct RawPort {
    port: u16,
    proto: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_port: Option<u16>,
}

/// Writes the file.
#[must_use]
pub fn render(state: &State) -> String {
    let raw = Raw {
        updated_at: render_date(state.updated),
        active_sessions: Some(state.sessions.iter().map(raw_session).collect()),
        last_seen: Some(
            state.last_seen.iter().map(|(name, at)| (name.to_string(), render_date(*at))).collect(),
        ),
    };
    // Texts, numbers and string keys only: there is nothing that JSON could refuse.
    let mut text = serde_json::to_string(&raw).unwrap_or_default();
    text.push('\n');
    text
}

fn raw_session(session: &Session) -> RawSession {
    let port = |spec: &PortSpec| RawPort {
        port: spec.first(),
        proto: spec.proto().as_str().to_owned(),
        end_port: (!spec.is_single()).then(|| spec.last()),
    };
    RawSession {
        client_name: session.client.to_string(),
        ip: session.address,
        ports: Some(session.ports.iter().map(port).collect()),
        opened_at: render_date(session.opened),
        expires_at: render_date(session.expires),
    }
}

/// Reads the file.
///
/// # Errors
/// [`ValueError`] says what is wrong with it and the mend.
pub fn parse(text: &str) -> Result<State, ValueError> {
    let wrong = |what: String| {
        ValueError::new(format!("this is no session file: {what}"), "let the daemon write it anew")
    };
    let raw: Raw = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let name = |text: &str| ClientName::new(text).map_err(|error| wrong(error.to_string()));
    let sessions = raw.active_sessions.unwrap_or_default().into_iter().map(|session| {
        let mut ports = Vec::new();
        for port in session.ports.unwrap_or_default() {
            ports.extend(specs(&port).ok_or_else(|| wrong(format!("{}/{}", port.port, port.proto)))?);
        }
        Ok(Session {
            client: name(&session.client_name)?,
            address: session.ip,
            ports,
            opened: parse_date(&session.opened_at)?,
            expires: parse_date(&session.expires_at)?,
        })
    });
    let last_seen = raw.last_seen.unwrap_or_default();
    Ok(State {
        updated: parse_date(&raw.updated_at)?,
        sessions: sessions.collect::<Result<_, ValueError>>()?,
        last_seen: last_seen
            .iter()
            .map(|(client, at)| Ok((name(client)?, parse_date(at)?)))
            .collect::<Result<_, ValueError>>()?,
    })
}

fn specs(port: &RawPort) -> Option<Vec<PortSpec>> {
    let last = port.end_port.filter(|&last| last != 0).unwrap_or(port.port);
    let protos: &[Proto] = match &*port.proto {
        "tcp" => &[Proto::Tcp],
        "udp" => &[Proto::Udp],
        "" => &[Proto::Tcp, Proto::Udp],
        _ => return None,
    };
    protos.iter().map(|&proto| PortSpec::range(proto, port.port, last).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_openmes_tools_read() {
        let at = Unix::from_secs(1_798_761_599);
        let state = State {
            updated: at,
            sessions: vec![Session {
                client: ClientName::new("alice").unwrap(),
                address: "2001:db8::9".parse().unwrap(),
                ports: vec![
                    PortSpec::range(Proto::Tcp, 22, 22).unwrap(),
                    PortSpec::range(Proto::Udp, 80, 90).unwrap(),
                ],
                opened: at,
                expires: Unix::from_secs(1_798_761_629),
            }],
            last_seen: vec![(ClientName::new("alice").unwrap(), at)],
        };
        let text = render(&state);
        assert_eq!(
            text,
            "{\"updated_at\":\"2026-12-31T23:59:59Z\",\"active_sessions\":[{\"client_name\":\"alice\",\
             \"ip\":\"2001:db8::9\",\"ports\":[{\"port\":22,\"proto\":\"tcp\"},{\"port\":80,\"proto\":\"udp\",\
             \"end_port\":90}],\"opened_at\":\"2026-12-31T23:59:59Z\",\"expires_at\":\"2027-01-01T00:00:29Z\"}],\
             \"last_seen\":{\"alice\":\"2026-12-31T23:59:59Z\"}}\n"
        );
        assert_eq!(parse(&text), Ok(state));
    }

    #[test]
    fn reads_what_go_writes_for_nothing() {
        let text =
            r#"{"updated_at":"2026-12-31T23:59:59.123456789+01:00","active_sessions":null,"last_seen":null}"#;
        let state = parse(text).unwrap();
        assert!(state.sessions.is_empty() && state.last_seen.is_empty());
        assert!(parse("{").unwrap_err().to_string().ends_with(": let the daemon write it anew"));
    }
}
