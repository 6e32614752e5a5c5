//! The session state file of openme's tools: which grants are open, and who was last seen when.

use std::net::IpAddr;

use portunus_model::{ClientName, PortSpec, Unix};

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

/// Writes the file.
#[must_use]
pub fn render(state: &State) -> String {
    let _ = state;
    String::new()
}

/// Reads the file.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<State, String> {
    let _ = text;
    Err(String::new())
}
