//! Ports and named services, and the words that clients name them by.

use portunus_model::{PortError, PortSpec};

use crate::reader::nearest;
use crate::{Diagnostic, ValueError};

/// Reads `PORT[-END][/PROTO]`.
pub(crate) fn parse_spec(text: &str) -> Result<Vec<PortSpec>, ValueError> {
    PortSpec::parse(text).map_err(|error| match error {
        PortError::Number(port) => {
            ValueError::new(format!("{port:?} is not a port"), "use a number from 1 to 65535, as in 22/tcp")
        }
        PortError::Proto(word) => ValueError::new(
            format!("unknown protocol {word:?}"),
            "use tcp or udp, as in 22/tcp, or leave it out for both",
        ),
        PortError::Backwards(first, last) => ValueError::new(
            format!("the range {first}-{last} runs backwards"),
            format!("write {last}-{first}"),
        ),
        PortError::Wide(first, last) => {
            ValueError::new(format!("the range {first}-{last} has more than 1000 ports"), "split it")
        }
    })
}

/// Named services (openme calls them groups), in the file's order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Services {
    /// What a file calls one of them: `service` or `group`.
    pub(crate) noun: &'static str,
    pub(crate) named: Vec<(String, Vec<PortSpec>)>,
    /// The ports of those that may be sent on to a container or another host, and are guarded there too.
    pub(crate) sent_on: Vec<PortSpec>,
    /// Each place where that is said, as a mistake: it is one where iptables does the dropping.
    pub(crate) sent_on_by_iptables: Vec<Diagnostic>,
    /// The file has a mistake, which was told, so nobody knows what its names mean: none of them is unknown.
    pub(crate) unread: bool,
}

impl Services {
    pub(crate) fn get(&self, name: &str) -> Option<&[PortSpec]> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, ports)| ports.as_slice())
    }

    /// The ports that `word` means: a name, else ports. Pushes them to `out`.
    pub(crate) fn resolve(&self, word: &str, out: &mut Vec<PortSpec>) -> Result<(), ValueError> {
        if let Some(ports) = self.get(word) {
            out.extend_from_slice(ports);
            return Ok(());
        }
        if word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
            out.extend(parse_spec(word)?);
            return Ok(());
        }
        if self.unread {
            return Ok(());
        }
        let names = || self.named.iter().map(|(name, _)| name.as_str());
        let mend = match (nearest(word, names()), self.named.is_empty()) {
            (Some(near), _) => format!("did you mean {near:?}?"),
            (None, true) => {
                format!("there is no {} yet: define it, or write ports such as 22/tcp", self.noun)
            }
            (None, false) => {
                format!(
                    "known: {}; or write ports such as 22/tcp",
                    names().take(8).collect::<Vec<_>>().join(", ")
                )
            }
        };
        Err(ValueError::new(format!("unknown {} {word:?}", self.noun), mend))
    }
}

/// Sorted, each once.
pub(crate) fn tidy(mut ports: Vec<PortSpec>) -> Vec<PortSpec> {
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_word() {
        let ssh = vec![("ssh".to_owned(), PortSpec::parse("22/tcp").unwrap())];
        let services = Services { noun: "group", named: ssh, ..Services::default() };
        let said = |word: &str| services.resolve(word, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(said("shs"), "unknown group \"shs\": known: ssh; or write ports such as 22/tcp");
        assert_eq!(said("sshh"), "unknown group \"sshh\": did you mean \"ssh\"?");
        assert_eq!(said("0/tcp"), "\"0\" is not a port: use a number from 1 to 65535, as in 22/tcp");
        assert_eq!(said("70000"), "\"70000\" is not a port: use a number from 1 to 65535, as in 22/tcp");
        assert_eq!(
            said("22/icmp"),
            "unknown protocol \"icmp\": use tcp or udp, as in 22/tcp, or leave it out for both"
        );
        assert_eq!(said("30-20"), "the range 30-20 runs backwards: write 20-30");
        assert_eq!(said("1-2000/udp"), "the range 1-2000 has more than 1000 ports: split it");
        assert_eq!(said("-5"), "\"\" is not a port: use a number from 1 to 65535, as in 22/tcp");
        let none = Services { noun: "service", ..Services::default() };
        assert_eq!(
            none.resolve("web", &mut Vec::new()).unwrap_err().to_string(),
            "unknown service \"web\": there is no service yet: define it, or write ports such as 22/tcp"
        );
    }
}
