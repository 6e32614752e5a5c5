//! What is said of a start, in our words and in fwknopd's.

use portunus_config::Settings;
use portunus_config::fwknop::Receive;
use portunus_model::Now;
use portunus_sys::clock;

use super::Keeper;
use super::sniff::Sniffer;
use crate::words::Words;

impl Keeper<'_> {
    pub(super) fn say_warnings(&self) {
        for warning in &self.settings.warnings {
            match self.plan.words() {
                Words::Ours => tracing::warn!(at = %warning, "configuration"),
                Words::Fwknopd => tracing::warn!("{warning}"),
            }
        }
    }

    /// Whenever gpg begins to run as root.
    pub(super) fn say_roots_keyring(&self) {
        if let Some(home) = self.helpers.roots_keyring() {
            tracing::info!(
                keyring = %home.display(),
                "less confined: gpg runs as root, for the keyring is root's; it has no capability and no network"
            );
        }
    }

    pub(super) fn say_ready(&self, since: Now) {
        self.say_roots_keyring();
        if let Some(fwknopd) = &self.plan.fwknopd {
            tracing::info!("{}", self.loop_words());
            self.supervisor.ready("serving");
            (fwknopd.ready)();
            return;
        }
        let clients = self.settings.rules.clients.len();
        let place = self.about.place.as_str();
        let took = clock::mono().since(since.mono);
        tracing::info!(
            clients,
            place,
            listen = self.about.listen.join(","),
            took_ms = took.as_millis(),
            "serving"
        );
        let more = self.settings.runs_with_our_rights(self.errand.is_some());
        if !more.is_empty() {
            let what = more.join(" and ");
            tracing::info!(what, "less confined: this process keeps its rights, for they run with them");
        }
        self.supervisor.ready(&format!("serving {clients} clients, {place}"));
    }

    /// What the original says when it begins to wait for packets.
    fn loop_words(&self) -> String {
        let daemon = self.settings.fwknop.as_deref();
        match daemon.map(|daemon| (&daemon.receive, daemon.tcp)) {
            Some((Receive::Udp(port), _)) => format!("Kicking off UDP server to listen on port {port}."),
            Some((Receive::Sniffed | Receive::File(_) | Receive::Followed(_) | Receive::Nflog(_), _))
            | None => "Starting fwknopd main event loop.".to_owned(),
        }
    }
}

/// What fwknopd says of where packets come from.
pub(super) fn say_sources(settings: &Settings, sniffer: Option<&Sniffer>) {
    let Some(daemon) = settings.fwknop.as_deref() else { return };
    if let Some(port) = daemon.tcp {
        tracing::info!("Kicking off TCP server to listen on port {port}.");
    }
    let filter = &daemon.capture.filter;
    if let Some(sniffer) = sniffer {
        tracing::info!("Sniffing interface: {}", sniffer.names());
        tracing::info!("PCAP filter is: '{filter}'");
    }
    match &daemon.receive {
        Receive::File(path) => tracing::info!("Reading pcap file: {}", path.display()),
        Receive::Followed(path) => tracing::info!("Following pcap file: {}", path.display()),
        Receive::Nflog(group) => tracing::info!("Packets that are logged to group {group}"),
        Receive::Sniffed | Receive::Udp(_) => (),
    }
    if matches!(daemon.receive, Receive::File(_) | Receive::Followed(_)) {
        tracing::info!("PCAP filter is: '{filter}'");
    }
    if !daemon.keeps_digests {
        tracing::warn!(
            "ENABLE_DIGEST_PERSISTENCE is N: no digest.cache is read or kept; replays are refused all the same"
        );
    }
}
