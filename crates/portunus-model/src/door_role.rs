//! What the doors of the native dialect are for (docs/protocol/native.md, "Doors").

use serde::{Deserialize, Serialize};

/// What a door is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DoorRole {
    /// Where clients knock.
    Current,
    /// Where they are to knock from now on: answers say so.
    Next,
    /// The same, and no answer says so: clients get it by a word from the administrator alone, after a theft or a revocation.
    Apart,
    /// Nobody knocks there: it takes in who was invited.
    Invitations,
    /// One more that stands beside.
    Another,
}

impl DoorRole {
    /// The file of its key, in the folder of keys; [`DoorRole::Another`] has a name of its own.
    #[must_use]
    pub const fn file_name(self) -> Option<&'static str> {
        match self {
            Self::Current => Some("native.key"),
            Self::Next => Some("native-next.key"),
            Self::Apart => Some("native-apart.key"),
            Self::Invitations => Some("native-invite.key"),
            Self::Another => None,
        }
    }

    /// What the door is for whose key lies in the file of this name.
    #[must_use]
    pub fn of_file(name: &str) -> Self {
        let named = [Self::Current, Self::Next, Self::Apart, Self::Invitations];
        named.into_iter().find(|role| role.file_name() == Some(name)).unwrap_or(Self::Another)
    }

    /// Whether everybody is to knock there in the place of the current one.
    #[must_use]
    pub const fn is_new(self) -> bool {
        match self {
            Self::Next | Self::Apart => true,
            Self::Current | Self::Invitations | Self::Another => false,
        }
    }
}
