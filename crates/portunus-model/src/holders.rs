//! What people are told of whom the ledger knows by another name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ClientName, Rules};

/// The names of holders that are not their clients' own: stanzas of access.conf, which are known by their keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HolderNames(BTreeMap<ClientName, ClientName>);

impl HolderNames {
    /// As these rules have them. Of stanzas with the same keys the first one's counts.
    #[must_use]
    pub fn of(rules: &Rules) -> Self {
        let mut names = BTreeMap::new();
        for client in &rules.clients {
            let holder = client.holder();
            if holder != client.name {
                names.entry(holder).or_insert_with(|| client.name.clone());
            }
        }
        Self(names)
    }

    /// For a line of the log.
    #[must_use]
    pub fn shown<'a>(&'a self, holder: &'a ClientName) -> &'a str {
        match self.0.get(holder) {
            Some(name) => name.as_str(),
            None if holder.is_of_keys() => "former stanza",
            None => holder.as_str(),
        }
    }
}
