//! The server's own pipeline run on one datagram, every step told, with a store that remembers nothing and a firewall
//! that opens nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use portunus_config::{DoorKey, Secrets, Settings};
use portunus_crypto::{Secret, totp};
use portunus_dialect::fwknop::gpg::{self, Answer, RawGpg};
use portunus_dialect::fwknop::{self, RawKeys};
use portunus_dialect::native::{self, Chain};
use portunus_dialect::{Candidate, openme, recognise};
use portunus_gate::{Action, Enrolled, Gate, Keyring, Question, Tuning};
use portunus_model::{
    ChainOwner, Claimed, ClientKey, Datagram, Detail, Dialect, Event, Now, Opened, Ran, Reason, Rules, Unix,
    Via,
};

use crate::capture::Caught;
use crate::chains;
use crate::say::{CONFIG, Failure};

/// The steps of one datagram.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Told {
    /// Each step's name and outcome, in order.
    pub(crate) steps: Vec<(&'static str, String)>,
    /// Whether it would be granted.
    pub(crate) granted: bool,
}

/// A server's rules and keys, with nothing behind them.
pub(crate) struct Pipeline {
    rules: Rules,
    /// Where that dialect is in use: as it was read, and ready.
    openme: Option<(Secret<32>, openme::ServerKey)>,
    fwknop: Vec<RawKeys>,
    gpg: Vec<RawGpg>,
    native: Native,
}

/// What the native dialect needs: the doors, the secrets of one-time codes, and the chains as they are now.
#[derive(Default)]
struct Native {
    doors: Vec<DoorKey>,
    codes: Vec<([u8; 32], Secret<{ totp::SECRET }>)>,
    chains: Vec<(ChainOwner, Chain)>,
}

impl Pipeline {
    /// Of a server's settings, with the chains that lie in `state_dir`.
    ///
    /// # Errors
    /// It has no key, or the chains cannot be read.
    pub(crate) fn new(settings: Settings, state_dir: &Path) -> Result<Self, Failure> {
        let Secrets { openme: key, fwknop, gpg, native: doors, codes } = settings.secrets;
        let openme = key.map(|key| server_key(&key).map(|ready| (key, ready))).transpose()?;
        if openme.is_none() && fwknop.is_empty() && gpg.is_empty() && doors.is_empty() {
            let mend = "write dialects = [\"openme\"] into it, or enrol a client with `portunus add`";
            return Err(Failure::new("the server has no key", "portunus.toml", mend).code(CONFIG));
        }
        let mut chains = Vec::new();
        if !doors.is_empty() {
            chains::each(state_dir, |owner, chain| chains.push((owner, chain())))?;
        }
        let native = Native { doors, codes, chains };
        Ok(Self { rules: settings.rules, openme, fwknop, gpg, native })
    }

    /// Runs one datagram through every step, as of `at` or now.
    pub(crate) fn explain(&mut self, caught: &Caught, source: Option<IpAddr>, at: Option<Unix>) -> Told {
        let mut told = Told::default();
        let wall = at.unwrap_or_else(portunus_sys::clock::wall);
        if self.is_native(caught, source, wall, &mut told) {
            return told;
        }
        match (recognise(&caught.bytes), &self.openme) {
            (Some(Candidate::Openme(packet)), Some((_, key))) => {
                told.step("shape", "openme v1".to_owned());
                self.proof(&packet, key, wall, &mut told);
            }
            (Some(Candidate::Fwknop(packet)), _) if packet.may_be_gpg() && !self.gpg.is_empty() => {
                told.step(
                    "shape",
                    "fwknop, sealed by GnuPG: only the server's own gpg can open it".to_owned(),
                );
            }
            (Some(Candidate::Fwknop(packet)), _) if self.speaks_fwknop() => {
                told.step("shape", "fwknop".to_owned());
                if let Some(why) = self.why_not(&packet) {
                    told.step("keys", why);
                }
            }
            (None, _) if !self.fwknop.is_empty() && fwknop::has_prefix(&caught.bytes) => {
                let what = "of an old fwknop 1.9, with \"Salted__\" in front: later clients leave that out, and a packet \
                            with it is refused, for it would be the same packet in a second form";
                told.step("shape", what.to_owned());
                told.step("verdict", "noise".to_owned());
                return told;
            }
            (Some(Candidate::Openme(_) | Candidate::Fwknop(_)) | None, _) => {
                told.step("shape", self.shapes());
                told.step("verdict", "noise".to_owned());
                return told;
            }
        }
        let event = self.verdict(caught, source, wall);
        told.granted =
            matches!(event.as_ref().map(|event| event.reason), Some(Reason::Granted | Reason::Extended));
        let client = event.as_ref().and_then(|event| event.client.as_ref());
        if let (true, Some(client)) = (told.steps.len() == 1, client) {
            told.step("keys", format!("{client}'s"));
        }
        told.step("verdict", event.map_or_else(|| "none".to_owned(), |event| in_words(&event)));
        told.closing(source);
        told
    }

    /// Whether somebody who was given a door's key has made it; then all is told.
    fn is_native(&self, caught: &Caught, source: Option<IpAddr>, wall: Unix, told: &mut Told) -> bool {
        if self.native.doors.is_empty() || native::Packet::new_checked(&caught.bytes).is_none() {
            return false;
        }
        let event = self.verdict(caught, source, wall);
        let Some(event) = event.filter(|event| event.dialect == Some(Dialect::Native)) else { return false };
        told.step("shape", "native: its tag was made with the day's key of a door here".to_owned());
        told.step(
            "keys",
            match (&event.client, event.reason) {
                (Some(client), _) => format!("{client}'s"),
                (None, Reason::UnknownClient) => "of no client here".to_owned(),
                (None, _) => "none that are here open it: another link, or it was changed".to_owned(),
            },
        );
        told.granted = matches!(event.reason, Reason::Granted | Reason::Extended);
        told.step("verdict", in_words(&event));
        told.closing(source);
        true
    }

    /// Why no keys open it, as far as some keys came; nothing where some do.
    fn why_not(&self, packet: &fwknop::Packet<'_>) -> Option<String> {
        let opened = self.fwknop.iter().filter_map(|raw| raw.worked_in().ok()).map(|keys| keys.open(packet));
        let mut best = None;
        for result in opened {
            let Err(error) = result else { return None };
            if best.as_ref().is_none_or(|best| how_far(&error) > how_far(best)) {
                best = Some(error);
            }
        }
        let best = best?;
        let in_legacy = |raw: &RawKeys| raw.as_legacy().is_some_and(|keys| keys.open(packet).is_ok());
        if self.fwknop.iter().any(in_legacy) {
            return Some("made with a key that is here in legacy mode: ENCRYPTION_MODE legacy".to_owned());
        }
        let whose = if how_far(&best) > how_far(&fwknop::OpenError::Decryption) {
            "made with keys that are here, and refused"
        } else {
            "made with none that are here"
        };
        Some(format!("{whose}: {best}"))
    }

    fn speaks_fwknop(&self) -> bool {
        !(self.fwknop.is_empty() && self.gpg.is_empty())
    }

    /// What the bytes would have to look like.
    fn shapes(&self) -> String {
        let openme = format!("openme has {} bytes of which the first is 01", openme::LENGTH);
        let fwknop = format!("fwknop has {} letters of base64 and more", fwknop::SHORTEST);
        let native = format!(
            "native has {} to {} bytes and a tag of the day's key, and is noise to everybody else",
            native::SHORTEST,
            native::LONGEST
        );
        let shapes = [
            self.openme.is_some().then_some(openme),
            self.speaks_fwknop().then_some(fwknop),
            (!self.native.doors.is_empty()).then_some(native),
        ];
        format!("no dialect in use: {}", shapes.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }

    fn proof(&self, packet: &openme::Packet<'_>, key: &openme::ServerKey, wall: Unix, told: &mut Told) {
        let unsealed = match key.unseal(packet) {
            Ok(unsealed) => unsealed,
            Err(error) => return told.step("seal", error.to_string()),
        };
        told.step("seal", "made for this server's public key".to_owned());
        let proven = self.rules.clients.iter().find_map(|client| {
            let ClientKey::Openme(key) = client.key else { return None };
            let key = openme::VerifyingKey::already_checked(key).ok()?;
            unsealed.verify(&key).map(|knock| (client, knock))
        });
        let Some((client, knock)) = proven else {
            return told.step("signature", "of no client here".to_owned());
        };
        told.step("signature", format!("{}'s", client.name));
        let age = wall.distance(knock.stamp());
        let side = if knock.stamp() > wall { "ahead of" } else { "before" };
        let within = if age <= self.rules.window { "within" } else { "outside" };
        told.step(
            "age",
            format!("{} {side} this moment, {within} the window of {}", span(age), span(self.rules.window)),
        );
        told.step(
            "target",
            knock.target().map_or_else(|| "its own source".to_owned(), |target| target.to_string()),
        );
        let ports: Vec<String> = client.ports.iter().map(ToString::to_string).collect();
        told.step(
            "policy",
            format!("{} may open {} for {}", client.name, ports.join(", "), span(client.lasting)),
        );
    }

    /// What the gate itself says, with a fresh claim and an open door for an answer.
    fn verdict(&self, caught: &Caught, source: Option<IpAddr>, wall: Unix) -> Option<Event> {
        let now = Now { mono: portunus_sys::clock::mono(), wall };
        let keys = Keyring {
            openme: self.openme.as_ref().and_then(|(key, _)| server_key(key).ok()),
            fwknop: self.fwknop.iter().filter_map(|raw| raw.worked_in().ok()).collect(),
            gpg: self.gpg.iter().filter_map(|raw| raw.worked_in().ok()).collect(),
            native: self
                .native
                .doors
                .iter()
                .filter_map(|door| Some((door.role, native::Door::new(&door.secret).ok()?)))
                .collect(),
            // They are the daemon's, and of no client yet.
            invitations: Vec::new(),
            codes: self.native.codes.iter().map(|(key, code)| (*key, code.duplicate())).collect(),
        };
        let mut gate = Gate::new(self.rules.clone(), keys, Tuning::default());
        for (slot, (owner, chain)) in (0..).zip(&self.native.chains) {
            gate.handle_chain(*owner, slot, chain.day(), chain.value().duplicate());
        }
        let source = SocketAddr::new(source.unwrap_or(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))), 1);
        gate.handle_datagram(now, Datagram::new(caught.bytes.as_slice(), source, Via::Udp));
        loop {
            let more = gate.work(now, 1024);
            while let Some(action) = gate.poll_action() {
                match action {
                    Action::Claim(ticket, _) => gate.handle_claimed(now, ticket, Claimed::Fresh),
                    Action::Open(ticket, _) => gate.handle_opened(now, ticket, Opened::Open),
                    Action::Run(ticket, _) => gate.handle_ran(now, ticket, Ran::Begun),
                    Action::Resolve(ticket, name) => gate.handle_resolved(now, ticket, name, None),
                    // Whoever has the keyrings is another user.
                    Action::Gpg(Question { number, .. }) => {
                        gate.handle_gpg(now, number, &Answer::Failed(gpg::Failure::NotRun));
                    }
                    Action::Enrol(ticket, _) => gate.handle_enrolled(now, ticket, Enrolled::Done),
                    Action::Settle(ticket) => gate.handle_settled(now, ticket, true),
                    Action::Accept(_) | Action::Close(_) | Action::Chains(_) | Action::Answer(_) => (),
                    Action::Tell(event) => return Some(event),
                }
            }
            if !more {
                return None;
            }
        }
    }
}

impl Told {
    /// What holds for every verdict.
    fn closing(&mut self, source: Option<IpAddr>) {
        if source.is_none() {
            self.step("", "judged as if it came from 192.0.2.1: name its source with --source".to_owned());
        }
        self.step("", "whether it was used before is known to the running server alone".to_owned());
    }

    fn step(&mut self, name: &'static str, what: String) {
        self.steps.push((name, what));
    }
}

/// How much of a packet was right before it was refused.
fn how_far(error: &fwknop::OpenError) -> u8 {
    match error {
        fwknop::OpenError::Shape => 0,
        fwknop::OpenError::Hmac => 1,
        fwknop::OpenError::NotCanonical => 2,
        fwknop::OpenError::Decryption => 3,
        fwknop::OpenError::Padding => 4,
        fwknop::OpenError::Field(_) => 5,
    }
}

fn server_key(key: &Secret<32>) -> Result<openme::ServerKey, Failure> {
    openme::ServerKey::new(key).map_err(|error| Failure::new(error, "", ""))
}

fn in_words(event: &Event) -> String {
    let mut words = event.reason.as_str().to_owned();
    match &event.detail {
        Some(Detail::Grant { address, ports, lasting, .. }) => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            words.push_str(&format!(": {} for {address}, {}", ports.join(", "), span(*lasting)));
        }
        Some(Detail::Refusals(refusals)) => {
            words.push_str(&format!(": {}", Detail::refusals_in_words(refusals)));
        }
        Some(Detail::Said(said)) => words.push_str(&format!(": {said}")),
        Some(Detail::ClockOffset(_) | Detail::Ran { .. }) | None => (),
    }
    words
}

fn span(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        return format!("{} ms", span.as_millis());
    }
    portunus_config::render_duration(Duration::from_secs(span.as_secs()))
}
