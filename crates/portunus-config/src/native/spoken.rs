//! Which dialects the server speaks: `dialects` in portunus.toml.

use portunus_model::Dialect;

use crate::quote::toml_list;
use crate::reader::Fields;
use crate::source::Findings;

/// The words of the file, in the order in which we write them.
const ALL: [Dialect; 3] = [Dialect::Native, Dialect::Openme, Dialect::Fwknop];

/// The dialects that are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spoken {
    named: Vec<Dialect>,
    /// A word is none: which one was meant, and whose clients it would leave out, nobody knows.
    unsure: bool,
}

impl Spoken {
    pub(super) fn read(s: Fields<'_, '_>, findings: &mut Findings) -> Self {
        if s.pair("dialects").is_none() {
            return Self { named: vec![Dialect::Openme], unsure: false };
        }
        let mut spoken = Self { named: Vec::new(), unsure: false };
        for (text, at) in s.texts("dialects", "[\"native\", \"openme\"]", findings) {
            match ALL.into_iter().find(|dialect| dialect.as_str() == text) {
                Some(dialect) => spoken.named.push(dialect),
                None => {
                    let what = format!("unknown dialect {text:?}");
                    findings.error(s.source, at, what, "use native, openme or fwknop");
                    spoken.unsure = true;
                }
            }
        }
        spoken
    }

    /// Whether it is named.
    pub(super) fn names(&self, dialect: Dialect) -> bool {
        self.named.contains(&dialect)
    }

    /// Whether its knocks may be heard.
    pub(super) fn hears(&self, dialect: Dialect) -> bool {
        self.unsure || self.names(dialect)
    }

    /// What to write so that `dialect` is spoken besides.
    pub(super) fn mend(&self, dialect: Dialect) -> String {
        let words = ALL.into_iter().filter(|one| *one == dialect || self.names(*one));
        let words: Vec<&str> = words.map(Dialect::as_str).collect();
        format!("write dialects = {} into portunus.toml", toml_list(&words))
    }
}
