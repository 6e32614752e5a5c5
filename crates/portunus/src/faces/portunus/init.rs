//! `init`: keys, configuration, and a look at the firewall. Changes no rule; `--try` does, on trial.

use std::path::Path;

use portunus_config::native::{self, Paths};
use portunus_config::{FirewallKind as Kind, Settings, parse_place, render_place};
use portunus_crypto::Secret;
use portunus_model::{Dialect, DoorRole, Place};
use portunus_sys::files::{self, Secrecy};
use zeroize::Zeroizing;

use super::args::{DialectName, FirewallKind, Init};
use super::{NAME, trial};
use crate::edit::{self, PRIVATE};
use crate::files::RealFiles;
use crate::places::{Places, no_server};
use crate::ruleset::{self, Look};
use crate::say::{CONFIG, Done, Failure, USAGE, line, remark};
use crate::{chains, identity, values};

/// `portunus init`.
pub(super) fn run(places: &Places, wish: &Init) -> Done {
    let there = Paths::new(&places.config_dir).server().exists();
    match (&wish.trial, &wish.host) {
        (Some(lasting), None) if there => trial::run(places, *lasting),
        (Some(_), None) => Err(no_server(&places.config_dir)),
        (trial, Some(host)) => {
            make(places, wish, host)?;
            trial.map_or(Ok(()), |lasting| trial::run(places, lasting))
        }
        // The flags ask for one of them.
        (None, None) => Err(no_server(&places.config_dir)),
    }
}

fn make(places: &Places, wish: &Init, host: &str) -> Done {
    let dir = &places.config_dir;
    let asked = place(wish)?;
    files::make_folder(dir, 0o755)?;
    files::share_with_service(dir)?;
    let lock = edit::lock_folder(dir)?;
    let paths = Paths::new(dir);
    // Looked for before anything is made, so that a second `init` by mistake leaves no trace.
    if paths.server().exists() && !wish.force {
        return Err(Failure::file("it exists already", &paths.server(), "use --force to write it anew"));
    }
    // What may fail comes before the old file is put aside.
    files::make_folder(&paths.keys_dir(), 0o700)?;
    if wish.dialects.contains(&DialectName::Native) {
        open_door(&paths, &places.state_dir)?;
    }
    write(&paths, wish, host, asked.clone())?;
    let settings = native::load(&RealFiles, dir).map_err(|found| Failure::lines(found, CONFIG))?;
    let look = ruleset::look(&settings);
    let place = asked.clone().or_else(|| look.as_ref().ok().and_then(|look| look.place.clone()));
    if asked.is_none() && place.is_some() {
        let text = native::server_text(&template(wish, host, place.clone()));
        files::replace(&paths.server(), text.as_bytes(), 0o644)?;
    }
    drop(lock);
    tell(dir, &settings, place.as_ref(), look)
}

fn place(wish: &Init) -> Result<Option<Place>, Failure> {
    let words: Vec<String> = wish.place.iter().map(values::PlaceWish::word).collect();
    if words.is_empty() {
        return Ok((wish.firewall == FirewallKind::Iptables).then_some(Place::Iptables));
    }
    parse_place(&words).map(Some).map_err(|error| Failure::new(error, "--place", "").code(USAGE))
}

fn template(wish: &Init, host: &str, place: Option<Place>) -> native::Init {
    native::Init {
        host: host.to_owned(),
        port: wish.port,
        firewall: match wish.firewall {
            FirewallKind::Auto => Kind::Auto,
            FirewallKind::Nft => Kind::Nft,
            FirewallKind::Iptables => Kind::Iptables,
        },
        place,
        interfaces: wish.interfaces.clone(),
        dialects: wish
            .dialects
            .iter()
            .map(|dialect| match dialect {
                DialectName::Native => Dialect::Native,
                DialectName::Openme => Dialect::Openme,
                DialectName::Fwknop => Dialect::Fwknop,
            })
            .collect(),
    }
}

/// What is there stays: a new server key would make every profile useless.
fn write(paths: &Paths, wish: &Init, host: &str, place: Option<Place>) -> Done {
    files::make_folder(&paths.clients_dir(), 0o700)?;
    if wish.dialects.contains(&DialectName::Openme) && !paths.openme_key().exists() {
        let key = identity::x25519_key()?;
        files::create(&paths.openme_key(), native::key_text(&key).as_bytes(), PRIVATE)?;
    }
    if !paths.services().exists() {
        files::create(&paths.services(), native::services_text().as_bytes(), 0o644)?;
    }
    let text = native::server_text(&template(wish, host, place));
    if let Some(aside) = edit::keep_aside(&paths.server())? {
        remark(NAME, format_args!("the old file is in {}", aside.display()));
    }
    Ok(files::replace(&paths.server(), text.as_bytes(), 0o644)?)
}

/// The native dialect's door: its key, and the first value of its chain, which the daemon takes up.
fn open_door(paths: &Paths, state_dir: &Path) -> Done {
    let path = paths.native_key();
    let there = path.exists();
    if !there {
        let key = identity::x25519_key()?;
        chains::give_door(state_dir, &key)?;
        return Ok(files::create(&path, native::key_text(&key).as_bytes(), PRIVATE)?);
    }
    let text = Zeroizing::new(files::read(&path, Secrecy::Secret)?);
    // What is no key the daemon's own check says, with its mend.
    let Ok(key) = Secret::from_base64(&text) else { return Ok(()) };
    if chains::door(state_dir, &identity::x25519_public(&key)?)?.is_none() {
        chains::give_door(state_dir, &key)?;
        remark(
            NAME,
            "the native door had a key and no chain: it has a new one, and profiles of before are useless",
        );
    }
    Ok(())
}

fn tell(dir: &Path, settings: &Settings, place: Option<&Place>, look: Result<Look, Failure>) -> Done {
    line(format_args!("configuration  {}", dir.display()));
    if let Some(key) = settings.secrets.door(DoorRole::Current) {
        let public = portunus_crypto::text::encode(&identity::x25519_public(key)?);
        line(format_args!("native key     {public}"));
    }
    if let Some(key) = &settings.secrets.openme {
        let public = portunus_crypto::text::encode(&identity::x25519_public(key)?);
        line(format_args!("openme key     {public}"));
    }
    for listen in &settings.listen {
        line(format_args!("knock port     {listen}/udp"));
    }
    settings.warnings.iter().for_each(|warning| remark(NAME, format_args!("warning: {warning}")));
    match look {
        Ok(look) => {
            look.lines.iter().for_each(|said| line(format_args!("firewall       {said}")));
            look.blocked.iter().for_each(|blocked| remark(NAME, blocked));
        }
        Err(failure) => line(format_args!("firewall       not looked at: {failure}")),
    }
    match place {
        Some(place) => line(format_args!("place          {}", render_place(place).join(", "))),
        None => line("place          found at each start"),
    }
    line("");
    line("nothing was changed in the firewall. next:");
    line("  portunus add NAME --ports ssh     prints NAME's profile");
    line("  portunus init --try 5m            drops the ports on trial, until NAME has knocked and come in");
    line("  systemctl enable --now portunus   starts the server");
    Ok(())
}
