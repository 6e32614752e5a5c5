//! The doors that stand.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use portunus_config::{Settings, native, render_date};
use portunus_model::{DoorRole, Unix};

use crate::identity;
use crate::places::Places;
use crate::say::Failure;

/// A door that stands.
pub(super) struct Standing {
    /// What it is for.
    pub(super) role: DoorRole,
    /// Its public key.
    pub(super) public: [u8; 32],
    /// The file of its key; of one whose name may be any, the folder.
    pub(super) path: PathBuf,
    /// Since when its key is there.
    pub(super) since: Option<Unix>,
}

/// All of them, the current one first.
pub(super) struct Doors(pub(super) Vec<Standing>);

impl Standing {
    /// Those of a server.
    pub(super) fn of(places: &Places, settings: &Settings) -> Result<Doors, Failure> {
        let paths = native::Paths::new(&places.config_dir);
        let doors = settings.secrets.native.iter().map(|door| {
            let public = identity::x25519_public(&door.secret)?;
            let file = paths.door_key(door.role);
            let since = file.as_ref().and_then(|file| std::fs::metadata(file).ok()?.modified().ok());
            let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
            Ok(Standing {
                role: door.role,
                public,
                path: file.unwrap_or_else(|| paths.keys_dir()),
                since: since.map(|since| Unix::from_secs(0).after(since)),
            })
        });
        doors.collect::<Result<_, Failure>>().map(Doors)
    }

    /// Why something is not done while it stands.
    pub(super) fn refusal(&self, what: &str, mend: impl Display) -> Failure {
        match self.since {
            Some(since) => {
                Failure::file(format_args!("{what}, since {}", render_date(since)), &self.path, mend)
            }
            None => Failure::file(what, &self.path, mend),
        }
    }
}

impl Doors {
    /// That of this role.
    pub(super) fn of_role(&self, role: DoorRole) -> Option<&Standing> {
        self.0.iter().find(|door| door.role == role)
    }

    /// The one to which all are moving.
    pub(super) fn new_door(&self) -> Option<&Standing> {
        self.0.iter().find(|door| door.role.is_new())
    }

    /// Whether one has this public key.
    pub(super) fn has(&self, public: &[u8; 32]) -> bool {
        self.0.iter().any(|door| door.public == *public)
    }
}
