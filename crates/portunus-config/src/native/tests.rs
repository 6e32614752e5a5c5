//! What our own files mean, and what each mistake in them says.

use super::*;
use crate::files::tests::Memory;
use crate::{AuditSize, KeysOf, MetricsListen, OnExit, Overlay, Secrecy};
use portunus_crypto::{ed25519::SigningKey, text};
use portunus_model::{Family, PortSpec, Seat, Unix};

mod any_text;
mod doors;
mod files;
mod fwknop;
mod invited;
mod mistakes;
mod sections;
mod written;

const DIR: &str = "/etc/portunus";

fn key(n: u8) -> [u8; 32] {
    *SigningKey::new(&Secret::from_bytes([n; 32])).unwrap().public()
}

fn init() -> Init {
    Init {
        host: "home.example.org".into(),
        port: 54154,
        firewall: FirewallKind::Auto,
        place: None,
        interfaces: Vec::new(),
        dialects: Vec::new(),
    }
}

fn new(name: &str, n: u8) -> NewClient {
    NewClient::new(ClientName::new(name).unwrap(), key(n))
}

fn client_text(client: &NewClient) -> String {
    write::client(client).to_string()
}

/// A folder as `init` makes it, with two clients.
fn folder() -> Memory {
    let mut bob = new("bob", 2);
    bob.services = vec!["web".into(), "2222/tcp".into()];
    bob.expires = Some(Unix::from_secs(1_798_761_599));
    bob.lasting = Some(Duration::from_secs(90));
    bob.any_target = true;
    bob.health_port = false;
    Memory::default()
        .with("/etc/portunus/portunus.toml", server_text(&init()))
        .with("/etc/portunus/services.toml", "ssh = [\"22/tcp\"]\nweb = [\"80/tcp\", \"443\"]\n")
        .with("/etc/portunus/keys/openme.key", key_text(&Secret::from_bytes([3; 32])).as_str())
        .with("/etc/portunus/clients/alice.toml", client_text(&new("alice", 1)))
        .with("/etc/portunus/clients/bob.toml", client_text(&bob))
}

fn loaded(files: &Memory) -> Result<Settings, Vec<String>> {
    load(files, Path::new(DIR)).map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn ports(words: &[&str]) -> Vec<PortSpec> {
    let mut all: Vec<_> = words.iter().flat_map(|word| PortSpec::parse(word).unwrap()).collect();
    all.sort();
    all
}
