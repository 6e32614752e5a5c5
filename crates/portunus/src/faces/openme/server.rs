//! `init`, `add`, `list`, `revoke` and `serve`: openme's server file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portunus_config::profile::{Profile, Show, openme as profile_file};
use portunus_config::{Entry, Files, NewClient, Overlay, Settings, fingerprint, openme, render_date};
use portunus_model::{ClientName, PortSpec};
use portunus_sys::files::{self, Lock};
use zeroize::Zeroizing;

use super::NAME;
use super::args::{Add, Firewall, Init, LogLevel, Serve};
use crate::edit::{self, PRIVATE};
use crate::files::RealFiles;
use crate::identity::{self, Identity};
use crate::say::{self, CONFIG, Done, Failure, Table, USAGE, line, out};
use crate::{places, running};

/// The line above and below a printed profile.
const RULE: &str = "────────────────────────────────────────────────────────────";

/// `openme init`.
pub(super) fn init(config: &Path, wish: &Init) -> Done {
    if let Some(dir) = config.parent() {
        files::make_folder(dir, 0o755)?;
    }
    let _lock = edit::lock_file(config)?;
    let key = identity::x25519_key()?;
    let public = identity::x25519_public(&key)?;
    let text = openme::init_text(&openme::Init {
        host: &wish.server,
        port: wish.port,
        iptables: wish.firewall == Firewall::Iptables,
        interface: wish.interface.as_deref().unwrap_or_default(),
        private: &key,
        public: &public,
    });
    // The old key is the only way back for clients that have it: --force puts it aside.
    let aside = if wish.force { edit::keep_aside(config)? } else { None };
    let written = edit::write_new(config, &text, PRIVATE, false);
    if written.is_ok() {
        line(format_args!("Server config written to {}", config.display()));
    }
    if let Some(aside) = aside {
        line(format_args!("The old one is in {}", aside.display()));
    }
    written?;
    line("");
    line(format_args!("  Server:      {}", wish.server));
    line(format_args!("  UDP port:    {}", wish.port));
    line(format_args!("  Public key:  {}", portunus_crypto::text::encode(&public)));
    line("");
    line("Next steps:");
    line("  1. openme add NAME    adds a client and prints its profile");
    line("  2. openme serve       starts the server");
    Ok(())
}

/// `openme add`.
pub(super) fn add(config: &Path, add: Add) -> Done {
    let lock = lock(config)?;
    let text = read(config)?;
    let before = load(&RealFiles, config)?;
    known_groups(config, &add.ports)?;
    say::in_the_future("--expires", add.expires)?;
    let identity = Identity::generate()?;
    let public = identity.public;
    let mut client = NewClient::new(add.name.clone(), public);
    client.services = add.ports;
    client.expires = add.expires;
    client.any_target = true;
    let edited = openme::add_client(&text, config, &client)?;
    // What the daemon would say of it, before a byte is written.
    load(&Overlay::new(&RealFiles).with(config, edited.as_str()), config)?;
    let profile = profile(before, add.profile, identity)?;
    let picture = (add.qr || add.qr_out.is_some()).then(|| crate::picture::of(&profile)).transpose()?;
    if let (Some(picture), Some(path)) = (&picture, &add.qr_out) {
        picture.write(path)?;
    }
    files::replace(config, edited.as_bytes(), PRIVATE)?;
    drop(lock);
    running::take_up(NAME, &places::daemon().run_dir);
    say::shut_to_others(NAME);
    line(format_args!("Client \"{}\" added to server config.", add.name));
    line("");
    line(RULE);
    out(&*profile_file::render(&[&profile], Show::All)?);
    line(RULE);
    line("");
    line(format_args!("Key fingerprint: {}", fingerprint(&public)));
    if let Some(picture) = picture {
        line("");
        line("WARNING: the QR code holds the private key. Show it to nobody else.");
        if add.qr {
            out(&*picture.blocks());
        }
    }
    if let Some(path) = &add.qr_out {
        line(format_args!("QR code written to {}", path.display()));
    }
    Ok(())
}

/// The lock of a file that is there.
fn lock(config: &Path) -> Result<Lock, Failure> {
    // Without the file there is nothing to lock, and often no folder to hold the lock.
    read(config)?;
    edit::lock_file(config)
}

fn read(config: &Path) -> Result<Zeroizing<String>, Failure> {
    openme::server_text(&RealFiles, config).map_err(|found| Failure::lines(found, CONFIG))
}

fn load(files: &dyn Files, config: &Path) -> Result<Settings, Failure> {
    openme::load(files, config).map_err(|found| Failure::lines(found, CONFIG))
}

fn known_groups(config: &Path, ports: &[String]) -> Done {
    let groups = openme::groups(&RealFiles, config).map_err(|found| Failure::lines(found, CONFIG))?;
    for word in ports {
        if groups.iter().any(|(name, _)| name == word) {
            continue;
        }
        let Err(error) = PortSpec::parse(word) else { continue };
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Failure::new(error, "", "").code(USAGE));
        }
        let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        let known =
            if names.is_empty() { String::new() } else { format!("one of {}, or ", names.join(", ")) };
        let mend = format!("use {known}a port such as 22/tcp");
        return Err(Failure::new(format_args!("no port group named {word:?}"), "--ports", mend).code(USAGE));
    }
    Ok(())
}

fn profile(settings: Settings, name: Option<String>, identity: Identity) -> Result<Profile, Failure> {
    let host = settings.host.ok_or_else(|| {
        Failure::new("the server's file has no host for the profile", "server", "write host: NAME into it")
            .code(CONFIG)
    })?;
    let key = settings.secrets.openme.as_ref().ok_or_else(|| {
        Failure::new("the server's file has no private key", "server", "run openme init").code(CONFIG)
    })?;
    Ok(Profile {
        name: name.unwrap_or(settings.profile_name),
        host,
        port: settings.listen.first().map_or(portunus_config::DEFAULT_PORT, std::net::SocketAddr::port),
        health: true,
        health_port: None,
        keys: identity.keys(identity::x25519_public(key)?),
        post_knock: None,
        opens: Vec::new(),
    })
}

/// `openme list`.
pub(super) fn list(config: &Path) -> Done {
    let entries = openme::clients(&RealFiles, config).map_err(|found| Failure::lines(found, CONFIG))?;
    if entries.is_empty() {
        line("No clients registered.");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "FINGERPRINT", "PORTS", "EXPIRES"]);
    for entry in &entries {
        let print = entry.key.as_ref().map(|key| fingerprint(key.as_bytes())).unwrap_or_default();
        table.row([entry.name.to_string(), print, ports(entry), expires(entry)]);
    }
    out(table);
    Ok(())
}

fn ports(entry: &Entry) -> String {
    if entry.services.is_empty() { "default".to_owned() } else { entry.services.join(",") }
}

fn expires(entry: &Entry) -> String {
    entry.expires.map_or_else(|| "never".to_owned(), render_date)
}

/// `openme revoke`.
pub(super) fn revoke(config: &Path, name: &str) -> Done {
    let unknown = || {
        Failure::new(
            format_args!("client {name:?} not found"),
            config.display(),
            "openme list shows the names",
        )
    };
    let name = ClientName::new(name).map_err(|_| unknown())?;
    let lock = lock(config)?;
    let edited = openme::remove_client(&read(config)?, config, &name);
    let edited = edited.map_err(|error| match error {
        portunus_config::EditError::Unknown(_) => unknown(),
        error @ (portunus_config::EditError::Exists(_)
        | portunus_config::EditError::Broken(_)
        | portunus_config::EditError::ByHand(_)) => error.into(),
    })?;
    files::replace(config, edited.as_bytes(), PRIVATE)?;
    drop(lock);
    running::let_go(NAME, &places::daemon().run_dir, &name)?;
    line(format_args!(
        "Client \"{name}\" revoked. Its next knock is refused, and a running server closes what it holds open."
    ));
    Ok(())
}

/// `openme serve`.
pub(super) fn serve(config: PathBuf, wish: Serve, log_level: LogLevel) -> ExitCode {
    let places = places::daemon();
    let interface = wish.interface;
    let load = move || {
        let mut settings = openme::load(&RealFiles, &config)?;
        if let Some(interface) = &interface {
            settings.stance.interfaces = vec![interface.clone()];
        }
        Ok(settings)
    };
    portunusd::serve(&portunusd::Plan {
        program: NAME,
        version: env!("CARGO_PKG_VERSION"),
        load: Box::new(load),
        // All are in one file: where it does not load, nothing is known of anybody.
        still_there: Box::new(|_| true),
        state_dir: places.state_dir,
        run_dir: places.run_dir,
        session_file: Some(wish.state_file),
        user: places::USER.to_owned(),
        log: match log_level {
            LogLevel::Debug => portunusd::LogLevel::Debug,
            LogLevel::Info => portunusd::LogLevel::Info,
            LogLevel::Warn => portunusd::LogLevel::Warn,
            LogLevel::Error => portunusd::LogLevel::Error,
        },
        fwknopd: None,
    })
}
