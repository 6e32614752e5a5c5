//! The whole verdict on a packet, as far as the dialect and the nouns go: what the gate does with queues and stores
//! between, here in one function, so that the vectors also say where the original's verdict is a mistake.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use portunus_crypto::{Secret, text};
use portunus_dialect::openme::{ServerKey, VerifyingKey};
use portunus_dialect::{Candidate, recognise};
use portunus_model::{ClaimKey, Unix, openable};

use crate::file::Vector;

pub(crate) fn judged(vector: &Vector) {
    let server = Server {
        key: ServerKey::new(&Secret::from_base64(vector.one("server-private")).unwrap()).unwrap(),
        client: text::decode(vector.one("client-public")).unwrap(),
        now: Unix::from_nanos(vector.one("now").parse().unwrap()),
        window: Duration::from_nanos(vector.one("window").parse().unwrap()),
        source: vector.one("source").parse().unwrap(),
    };
    let mut claimed = HashSet::new();
    let verdicts: Vec<_> =
        vector.packets().into_iter().map(|packet| server.verdict(&packet, &mut claimed)).collect();
    assert_eq!(verdicts, vector.each("expect"), "{}", vector.name());
    differences_are_named(vector, &verdicts);
}

/// Where the original said something else, the vector must say why we do not.
fn differences_are_named(vector: &Vector, verdicts: &[String]) {
    let same = |ours: &String, original: &str| match original.strip_prefix("open") {
        Some(_) => ours == original,
        None => !ours.starts_with("open"),
    };
    let differs =
        vector.each("original").into_iter().zip(verdicts).any(|(original, ours)| !same(ours, original));
    assert_eq!(differs, !vector.each("differs").is_empty(), "{}", vector.name());
}

struct Server {
    key: ServerKey,
    client: [u8; 32],
    now: Unix,
    window: Duration,
    source: IpAddr,
}

impl Server {
    fn verdict(&self, packet: &[u8], claimed: &mut HashSet<ClaimKey>) -> String {
        let Ok(client) = VerifyingKey::new(self.client) else { return "key-refused".into() };
        let Some(Candidate::Openme(packet)) = recognise(packet) else { return "noise".into() };
        let Ok(unsealed) = self.key.unseal(&packet) else { return "unauthentic".into() };
        let Some(knock) = unsealed.verify(&client) else { return "unknown-client".into() };
        if knock.stamp().distance(self.now) > self.window {
            return "stale".into();
        }
        if !claimed.insert(knock.claim(self.window).key) {
            return "replayed".into();
        }
        match openable(knock.target().unwrap_or(self.source), self.source) {
            Ok(address) => format!("open {address}"),
            Err(_) => "not-allowed".into(),
        }
    }
}
