//! The command line, sorted: what a variable of the rc file could say as well, and what is for this call alone.

use std::path::PathBuf;

use portunus_config::fwknoprc::Variable;
use zeroize::Zeroizing;

use super::args::Given;
use super::flags::{Call, Row, Says};
use super::values::{self, Refused};
use crate::say::Failure;

/// A variable, its value, and the flag that said so.
pub(super) struct Assignment {
    pub(super) variable: Variable,
    pub(super) value: Zeroizing<String>,
    /// As it is typed.
    pub(super) flag: String,
}

/// What is for this call alone.
#[derive(Default)]
pub(super) struct Task {
    pub(super) stanza: Option<String>,
    pub(super) server_cmd: Option<String>,
    pub(super) proxy: Option<String>,
    pub(super) icmp_type: Option<u8>,
    pub(super) icmp_code: Option<u8>,
    pub(super) key_fd: Option<i32>,
    pub(super) key_gen: bool,
    pub(super) key_gen_file: Option<PathBuf>,
    pub(super) key_len: Option<usize>,
    pub(super) hmac_key_len: Option<usize>,
    pub(super) rc_file: Option<PathBuf>,
    pub(super) no_rc_file: bool,
    pub(super) no_home_dir: bool,
    pub(super) save_rc_stanza: bool,
    pub(super) force_stanza: bool,
    pub(super) stanza_list: bool,
    pub(super) last_cmd: bool,
    pub(super) show_last: bool,
    pub(super) args_file: Option<PathBuf>,
    pub(super) save_packet: Option<PathBuf>,
    pub(super) append_packet: bool,
    pub(super) test: bool,
    pub(super) fault_injection: bool,
}

/// A command line.
#[derive(Default)]
pub(super) struct Line {
    pub(super) task: Task,
    /// In the order in which they were typed.
    pub(super) assignments: Vec<Assignment>,
    pub(super) remembered: Remembered,
}

/// A command line without the keys that stood in it.
#[derive(Default)]
pub(super) struct Remembered {
    pub(super) words: Vec<String>,
    /// Whether a key was left out.
    pub(super) without_keys: bool,
}

impl Line {
    /// Sorts what was typed.
    ///
    /// # Errors
    /// A value that is none.
    pub(super) fn of(given: &[Given]) -> Result<Self, Failure> {
        let mut line = Self::default();
        for given in given {
            let (row, value) = (given.row, given.value.as_str());
            line.remembered.add(row, value);
            line.take(row, value).map_err(|(what, mend)| Failure::new(what, row.name(), mend))?;
        }
        // A proxy speaks HTTP only, whatever -P says.
        if line.task.proxy.is_some() {
            line.say(Variable::SpaServerProto, "http", "--http-proxy".to_owned());
        }
        Ok(line)
    }

    /// Whether the line says something of this variable.
    pub(super) fn has(&self, variable: Variable) -> bool {
        self.assignments.iter().any(|assignment| assignment.variable == variable)
    }

    fn say(&mut self, variable: Variable, value: &str, flag: String) {
        self.assignments.push(Assignment { variable, value: Zeroizing::new(value.to_owned()), flag });
    }

    fn take(&mut self, row: &Row, value: &str) -> Result<(), Refused> {
        match row.says {
            Says::Value(variable) => self.say(variable, value, row.name()),
            Says::Fixed(variable, fixed) => self.say(variable, fixed, row.name()),
            Says::Back => self.say(Variable::TimeOffset, &format!("-{value}"), row.name()),
            Says::Hmac => {
                self.say(Variable::HmacDigestType, value, row.name());
                self.say(Variable::UseHmac, "Y", row.name());
            }
            Says::Gpg(variable) => {
                self.say(variable, value, row.name());
                self.say(Variable::UseGpg, "Y", row.name());
            }
            Says::GpgYes(variable) => {
                self.say(variable, "Y", row.name());
                self.say(Variable::UseGpg, "Y", row.name());
            }
            Says::Verbose => {
                let level = match value {
                    "1" => "Y",
                    "2" | "3" => value,
                    _ => "4",
                };
                self.say(Variable::Verbose, level, row.name());
            }
            Says::Call(call) => self.task.take(call, value)?,
            Says::Help | Says::Version => {}
        }
        Ok(())
    }
}

/// The longest key that the original's flags name; what a key may be is less.
const LONGEST_NAMED: usize = 128;

impl Task {
    fn take(&mut self, call: Call, value: &str) -> Result<(), Refused> {
        let path = || Some(PathBuf::from(value));
        match call {
            Call::NamedConfig => self.stanza = Some(value.to_owned()),
            Call::ServerCmd => self.server_cmd = Some(value.to_owned()),
            Call::HttpProxy => self.proxy = Some(value.to_owned()),
            Call::IcmpType => self.icmp_type = Some(values::icmp(value, "type", 255)?),
            Call::IcmpCode => self.icmp_code = Some(values::icmp(value, "code", 15)?),
            Call::Stdin => self.key_fd = Some(0),
            Call::Fd => self.key_fd = Some(values::descriptor(value)?),
            Call::KeyGen => self.key_gen = true,
            Call::KeyGenFile => (self.key_gen, self.key_gen_file) = (true, path()),
            Call::KeyLen => self.key_len = Some(values::key_length(value, "key", LONGEST_NAMED)?),
            Call::HmacKeyLen => {
                self.hmac_key_len = Some(values::key_length(value, "hmac key", LONGEST_NAMED)?);
            }
            Call::RcFile => self.rc_file = path(),
            Call::NoRcFile => self.no_rc_file = true,
            Call::NoHomeDir => self.no_home_dir = true,
            Call::SaveRcStanza => self.save_rc_stanza = true,
            Call::ForceStanza => self.force_stanza = true,
            Call::StanzaList => self.stanza_list = true,
            Call::LastCmd => self.last_cmd = true,
            Call::ShowLast => self.show_last = true,
            Call::SaveArgsFile => self.args_file = path(),
            Call::SavePacket => self.save_packet = path(),
            Call::SavePacketAppend => self.append_packet = true,
            Call::Test => self.test = true,
            Call::FaultInjectionTag => self.fault_injection = true,
        }
        Ok(())
    }
}

const USE_HMAC: &str = "--use-hmac";

impl Remembered {
    fn add(&mut self, row: &Row, value: &str) {
        let secret = matches!(row.says, Says::Value(variable) if variable.secret());
        if secret {
            self.without_keys = true;
            // So that the HMAC key is asked for as well.
            let hmac = matches!(row.says, Says::Value(Variable::HmacKey | Variable::HmacKeyBase64));
            if hmac && !self.words.iter().any(|word| word == USE_HMAC) {
                self.words.push(USE_HMAC.to_owned());
            }
        } else if row.value.is_some() {
            self.words.extend([row.typed(), value.to_owned()]);
        } else if row.says == Says::Verbose {
            self.words.push(format!("-{}", "v".repeat(value.parse().unwrap_or(1))));
        } else if row.typed() != USE_HMAC || !self.words.iter().any(|word| word == USE_HMAC) {
            self.words.push(row.typed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{Typed, parse};
    use super::*;

    fn read(text: &str) -> Result<Line, String> {
        let words = std::iter::once("fwknop").chain(text.split(' ')).map(Into::into).collect();
        let Typed::Given(given) = parse(words).unwrap() else { panic!("{text}: help") };
        Line::of(&given).map_err(|failure| failure.to_string())
    }

    fn says(text: &str) -> Vec<(&'static str, String)> {
        let line = read(text).unwrap_or_else(|failure| panic!("{failure}"));
        line.assignments.iter().map(|a| (a.variable.name(), a.value.to_string())).collect()
    }

    #[test]
    fn flags_say_what_variables_say() {
        assert_eq!(says("-s -R"), [("ALLOW_IP", "0.0.0.0".into()), ("RESOLVE_IP_HTTPS", "Y".into())]);
        assert_eq!(says("--time-offset-minus 5m"), [("TIME_OFFSET", "-5m".into())]);
        assert_eq!(says("-vv"), [("VERBOSE", "2".into())]);
        assert_eq!(says("-vvvvvvvvvvvv"), [("VERBOSE", "4".into())]);
        assert_eq!(says("--gpg-agent"), [("USE_GPG_AGENT", "Y".into()), ("USE_GPG", "Y".into())]);
        let proxied = says("-H proxy -P udp");
        assert_eq!(proxied.last(), Some(&("SPA_SERVER_PROTO", "http".into())));
    }

    #[test]
    fn no_key_is_remembered() {
        let remembered =
            read("-T --key-rijndael sesame --key-base64-hmac c2VzYW1l -A tcp/22 -vv").unwrap().remembered;
        assert!(remembered.without_keys);
        assert_eq!(remembered.words, ["-T", "--use-hmac", "-A", "tcp/22", "-vv"]);
        assert!(!read("-T -G keys").unwrap().remembered.without_keys);
    }

    #[test]
    fn values_of_this_call_alone_are_checked() {
        let refused = |text: &str| read(text).map(|_| ()).unwrap_err();
        assert_eq!(refused("--icmp-code -1"), "Invalid icmp code '-1': --icmp-code: it must be in [0-15]");
        assert!(refused("--key-len 0").starts_with("Invalid key length '0'"));
        assert!(refused("--hmac-key-len 129").starts_with("Invalid hmac key length '129'"));
        assert!(refused("--fd -1").starts_with("Value -1 out of range"));
    }
}
