//! The table of flags of the `fwknop` face: help, man page and completions are views of it.
//!
//! Words are read as getopt_long(3) reads them, which people's scripts rely on: long flags may be shortened, the next
//! word is a flag's value whatever it begins with, the last of several wins, and words that are no flags are ignored.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use zeroize::Zeroizing;

use super::flags::{FLAGS, Row, Says};

const EXAMPLES: &str = "\
Examples:
  fwknop --key-gen                                        make both keys, for the client and for the server
  fwknop -A tcp/22 -R -D gate.example.org -n gate --save-rc-stanza --key-gen
                                                          keep the wish and fresh keys in ~/.fwknoprc
  fwknop -n gate && ssh gate.example.org                  open ssh for this machine, then use it
  fwknop -A tcp/22,udp/53 -a 198.51.100.7 -D gate.example.org --get-key keys.txt
  fwknop -A tcp/8080 -N 192.168.1.55:80 -s -f 60 -D gate.example.org
                                                          a web server behind the gateway, for one minute
  fwknop -n gate -P icmp -Q 203.0.113.9                   as a ping from somebody else's address (root)
  fwknop -n gate --test -v                                make the packet, show its fields, send nothing

Most flags can also stand in ~/.fwknoprc; the documentation lists its variables (\"The fwknop client\").";

const ABOUT: &str = "Single Packet Authorization: asks a server to open a port, with one sealed packet";

/// One flag as it was typed.
pub(super) struct Given {
    /// Which.
    pub(super) row: &'static Row,
    /// Its value; of a flag without one, how often it was typed.
    pub(super) value: Zeroizing<String>,
}

/// What was typed.
pub(super) enum Typed {
    /// Flags, in the order in which they were typed.
    Given(Vec<Given>),
    /// `--help`.
    Help,
    /// `--version`.
    Version,
}

/// The table as clap has it.
pub(super) fn table() -> Command {
    let version = format!(
        "client {} (Portunus), compatible with fwknop {}, FKO protocol version {}",
        env!("CARGO_PKG_VERSION"),
        super::COMPATIBLE,
        portunus_dialect::fwknop::VERSION
    );
    let words = Arg::new("words").num_args(0..).hide(true).action(ArgAction::Append);
    Command::new(super::NAME)
        .version(version)
        .about(ABOUT)
        .after_help(EXAMPLES)
        .max_term_width(100)
        .infer_long_args(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(FLAGS.iter().map(arg))
        .arg(words)
}

/// Reads the words. `--help` and `--version` count only where the whole line has no mistake.
///
/// # Errors
/// What clap says of it.
pub(super) fn parse(words: Vec<OsString>) -> Result<Typed, clap::Error> {
    let matches = table().try_get_matches_from(words)?;
    let mut given: Vec<(usize, Given)> = Vec::new();
    for row in FLAGS.iter().filter(|row| matches.value_source(row.long) == Some(ValueSource::CommandLine)) {
        let id = row.long;
        let mut indices = matches.indices_of(id).into_iter().flatten();
        if row.value.is_some() {
            for (index, value) in indices.zip(values(&matches, id)) {
                given.push((index, Given { row, value: value.clone().into() }));
            }
        } else {
            let times = if row.says == Says::Verbose { matches.get_count(id) } else { 1 }.to_string();
            let last = indices.by_ref().max().unwrap_or_default();
            given.push((last, Given { row, value: times.into() }));
        }
    }
    let has = |says: Says| given.iter().any(|(_, given)| given.row.says == says);
    if has(Says::Help) {
        return Ok(Typed::Help);
    }
    if has(Says::Version) {
        return Ok(Typed::Version);
    }
    given.sort_by_key(|(index, _)| *index);
    Ok(Typed::Given(given.into_iter().map(|(_, given)| given).collect()))
}

fn values<'a>(matches: &'a ArgMatches, id: &str) -> impl Iterator<Item = &'a String> {
    matches.get_many::<String>(id).into_iter().flatten()
}

fn arg(row: &Row) -> Arg {
    let arg = Arg::new(row.long).long(row.long).help(row.help).help_heading(row.group.title());
    let arg = match row.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    let arg = arg.visible_aliases(row.aliases);
    match row.value {
        Some(value) => arg.value_name(value).action(ArgAction::Append).allow_hyphen_values(true).num_args(1),
        None if row.says == Says::Verbose => arg.action(ArgAction::Count),
        None => arg.action(ArgAction::SetTrue).overrides_with(row.long),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Typed, clap::Error> {
        parse(std::iter::once("fwknop").chain(line.split(' ')).map(OsString::from).collect())
    }

    fn of(line: &str) -> Vec<(&'static str, String)> {
        match typed(line) {
            Ok(Typed::Given(given)) => {
                given.into_iter().map(|given| (given.row.long, given.value.to_string())).collect()
            }
            Ok(Typed::Help | Typed::Version) => panic!("{line}: help"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn the_table_is_sound() {
        table().debug_assert();
        assert_eq!(FLAGS.len(), 69);
    }

    /// The words of getopt_long, one by one.
    #[test]
    fn words_are_read_as_getopt_reads_them() {
        let access = |value: &str| ("access", value.to_owned());
        for line in
            ["-A tcp/22", "-Atcp/22", "--access tcp/22", "--access=tcp/22", "--acc tcp/22", "--ac=tcp/22"]
        {
            assert_eq!(of(line), [access("tcp/22")], "{line}");
        }
        assert_eq!(of("-TvvA tcp/22")[2], access("tcp/22"));
        assert_eq!(of("-vTv -v")[1], ("verbose", "3".into()));
        assert_eq!(of("-p -1"), [("server-port", "-1".into())]);
        assert_eq!(of("-D --test"), [("destination", "--test".into())]);
        assert_eq!(of("word -T other"), [("test", "1".into())]);
        assert_eq!(of("-T -- -v --bogus"), [("test", "1".into())]);
        assert_eq!(of("-a 1.2.3.4 -s -a 5.6.7.8").last().unwrap(), &("allow-ip", "5.6.7.8".into()));
        assert_eq!(of("--spoof-s 1.2.3.4")[0].0, "spoof-source");
        assert_eq!(of("--spoof-src 1.2.3.4")[0].0, "spoof-source");
        for line in ["-R", "--resolve-ip-http", "--resolve-ip-https", "--resolve-ip"] {
            assert_eq!(of(line)[0].0, "resolve-ip-https", "{line}");
        }
    }

    #[test]
    fn what_is_typed_later_comes_later() {
        let flags: Vec<&str> = of("-P udp -H proxy -P tcp -s").into_iter().map(|(flag, _)| flag).collect();
        assert_eq!(flags, ["server-proto", "http-proxy", "server-proto", "source-ip"]);
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        for line in ["--bogus", "-Z", "-A", "--ver", "-V --bogus", "-h --bogus"] {
            assert!(typed(line).is_err(), "{line}");
        }
        assert!(matches!(typed("-V -h"), Ok(Typed::Help)));
        assert!(matches!(typed("-T -V"), Ok(Typed::Version)));
    }

    #[test]
    fn every_flag_has_words_of_its_own() {
        for (at, row) in FLAGS.iter().enumerate() {
            assert!(!row.help.is_empty() && !row.help.ends_with('.'), "{}", row.long);
            for other in FLAGS.iter().skip(at + 1) {
                assert_ne!(row.says, other.says, "{}", row.long);
            }
        }
    }
}
