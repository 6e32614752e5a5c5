//! Command lines of fwknop 1.9, where they can be told from today's: `-k SERVER`, `-w` with nothing behind it, and long flags
//! with capitals (`--Server-port`), of which today there are none, or with another name.
//!
//! Today `-k` makes keys and `-w` names a program. A line that means something today keeps that meaning; only what makes no
//! sense as such a line is read as it was.

use std::ffi::OsString;

use super::flags::{FLAGS, Row};

/// The words in today's spelling, and what is to be said of each that was another.
pub(super) fn in_todays_words(mut words: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut said = Vec::new();
    let flags = flags(&words);
    let has = |long: &str| flags.iter().any(|flag| flag.rows.iter().any(|row| row.long == long));
    // Who opens something, and names no server in today's way, wants no keys made.
    let opens = (has("access") || has("server-cmd")) && !has("destination") && !has("named-config");
    let makes_keys = ["key-gen-file", "key-len", "hmac-key-len", "save-rc-stanza"].into_iter().any(has);
    for flag in &flags {
        let next = words.get(flag.at + 1).map(|word| word.to_string_lossy().into_owned());
        let is_word = next.as_deref().is_some_and(|next| !next.is_empty() && !next.starts_with('-'));
        let Some(old) = words.get(flag.at).and_then(|word| word.to_str()).map(str::to_owned) else {
            continue;
        };
        if let Some(new) = by_todays_name(&old) {
            let (was, is) = (name(&old), name(&new));
            said.push(format!("{was} is how fwknop 1.9 wrote it: write {is} today"));
            replace(&mut words, flag.at, &new);
        }
        match (old.as_str(), next) {
            ("-k", Some(server)) if is_word && opens && !makes_keys => {
                said.push(format!(
                    "-k {server} is how fwknop 1.9 named the server: write -D {server} today, for -k makes keys"
                ));
                replace(&mut words, flag.at, "-D");
            }
            (old, _) if old.starts_with("-k=") && opens && !makes_keys => {
                let server = old.strip_prefix("-k=").unwrap_or(old);
                said.push(format!(
                    "{old} is how fwknop 1.9 named the server: write -D {server} today, for -k makes keys"
                ));
                replace(&mut words, flag.at, &format!("--destination={server}"));
            }
            ("-w", _) if !is_word => {
                said.push(
                    "-w is how fwknop 1.9 asked for this machine's own address: write -R today, for -w names a program"
                        .to_owned(),
                );
                replace(&mut words, flag.at, "-R");
            }
            _ => (),
        }
    }
    (words, said)
}

fn replace(words: &mut [OsString], at: usize, by: &str) {
    if let Some(word) = words.get_mut(at) {
        *word = by.into();
    }
}

/// Flags of 1.9 that have another name today.
const RENAMED: [(&str, &str); 4] = [
    ("whatismyip", "resolve-ip-https"),
    ("resolve-external-ip", "resolve-ip-https"),
    ("gpg-path", "gpg-exe"),
    ("test-mode", "test"),
];

/// What to do about a flag of 1.9 that is none today. A long one may have capitals; of a short one they are another's.
pub(super) fn mend_of(flag: &str) -> Option<&'static str> {
    let small = flag.to_ascii_lowercase();
    match if flag.starts_with("--") { small.as_str() } else { flag } {
        "-q" | "--quiet" => Some("leave it out: little is said anyway"),
        "--server-mode" => Some("leave it out: one packet is all that is sent"),
        "--last-host" => {
            Some("write -l for the last line, or keep a server's line with --save-rc-stanza and -n")
        }
        _ => None,
    }
}

fn renamed(name: &str) -> &str {
    RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new)
}

/// `None` where its name is today's. Its value stays what it is.
fn by_todays_name(long: &str) -> Option<String> {
    let old = name(long).strip_prefix("--")?;
    let small = old.to_ascii_lowercase();
    let new = renamed(&small);
    (new != old).then(|| format!("--{new}{}", long.get(2 + old.len()..).unwrap_or_default()))
}

fn name(long: &str) -> &str {
    long.split('=').next().unwrap_or(long)
}

/// A word that has flags in it.
struct Flagged {
    at: usize,
    rows: Vec<&'static Row>,
}

/// The words that getopt_long(3) would take for flags: what is a flag's value is passed over. A `-w` that would take a flag
/// for its value, or has none, takes nothing.
fn flags(words: &[OsString]) -> Vec<Flagged> {
    let mut flags = Vec::new();
    let mut at = 1;
    while let Some(word) = words.get(at) {
        let word = word.to_string_lossy();
        if word == "--" {
            break;
        }
        let rows = rows(&word);
        let bare = !word.contains('=') || !word.starts_with("--");
        // Of a cluster, the last one may have its value in the next word: `-vA tcp/22`, and not `-Atcp/22`.
        let open = rows.last().is_some_and(|row| {
            row.value.is_some() && (word.starts_with("--") || row.short == word.chars().last())
        });
        let next_is_flag = words.get(at + 1).is_none_or(|next| next.to_string_lossy().starts_with('-'));
        let takes_next = open && bare && !(word == "-w" && next_is_flag);
        if !rows.is_empty() {
            flags.push(Flagged { at, rows });
        }
        at += if takes_next { 2 } else { 1 };
    }
    flags
}

fn rows(word: &str) -> Vec<&'static Row> {
    if let Some(long) = word.strip_prefix("--") {
        let name = name(long).to_ascii_lowercase();
        let name = renamed(&name);
        let mut fit = FLAGS
            .iter()
            .filter(|row| std::iter::once(&row.long).chain(row.aliases).any(|long| long.starts_with(name)));
        let exact = FLAGS.iter().find(|row| row.long == name || row.aliases.contains(&name));
        return exact.or_else(|| fit.next().filter(|_| fit.next().is_none())).into_iter().collect();
    }
    let Some(cluster) = word.strip_prefix('-') else { return Vec::new() };
    let mut rows = Vec::new();
    for letter in cluster.chars() {
        let Some(row) = FLAGS.iter().find(|row| row.short == Some(letter)) else { break };
        rows.push(row);
        if row.value.is_some() {
            break;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (String, usize) {
        let words = std::iter::once("fwknop").chain(line.split(' ')).map(OsString::from).collect();
        let (words, said) = in_todays_words(words);
        let words: Vec<_> = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        (words.join(" "), said.len())
    }

    #[test]
    fn lines_of_1_9_become_todays() {
        for (old, new, said) in [
            ("-A tcp/22 -k gate", "-A tcp/22 -D gate", 1),
            ("-A tcp/22 -w -k gate", "-A tcp/22 -R -D gate", 2),
            (
                "-A tcp/22 --gpg-recip ABCD1234 --gpg-sign 1234ABCD -w -k gate",
                "-A tcp/22 --gpg-recip ABCD1234 --gpg-sign 1234ABCD -R -D gate",
                2,
            ),
            ("-k gate -A tcp/22 -w", "-D gate -A tcp/22 -R", 2),
            ("-k gate -C ls -s", "-D gate -C ls -s", 1),
            ("-A tcp/22 -s -k=gate", "-A tcp/22 -s --destination=gate", 1),
            ("-A tcp/22 -s -k=-k=gate", "-A tcp/22 -s --destination=-k=gate", 1),
            ("-A tcp/22 --whatismyip -k gate", "-A tcp/22 --resolve-ip-https -D gate", 2),
            ("-A tcp/22 --Resolve-external-IP -k gate", "-A tcp/22 --resolve-ip-https -D gate", 2),
            ("-A tcp/22 --gpg-path /x -D gate", "-A tcp/22 --gpg-exe /x -D gate", 1),
            ("-A tcp/22 --Test-mode -D gate", "-A tcp/22 --test -D gate", 1),
            ("--Access tcp/22 -w -k gate", "--access tcp/22 -R -D gate", 3),
            ("--Server-port 62201 -A tcp/22 -k gate", "--server-port 62201 -A tcp/22 -D gate", 2),
            ("-A tcp/22 --Destination=Gate -s", "-A tcp/22 --destination=Gate -s", 1),
        ] {
            assert_eq!(read(old), (new.to_owned(), said), "{old}");
        }
    }

    #[test]
    fn capitals_are_passed_over_in_long_flags_only() {
        assert!(
            mend_of("--Quiet").is_some() && mend_of("--server-mode").is_some() && mend_of("-q").is_some()
        );
        assert_eq!((mend_of("-Q"), mend_of("--quieter")), (None, None));
    }

    /// Whatever means something today is left as it is.
    #[test]
    fn lines_of_today_stay_what_they_are() {
        for line in [
            "-k",
            "-k word",
            "-k -K file",
            "-K file",
            "-A tcp/22 -k",
            "-A tcp/22 -R -D gate -k",
            "-A tcp/22 -D gate -k word",
            "-A tcp/22 -n gate -k word",
            "-A tcp/22 -R -n gate --save-rc-stanza -k x",
            "-A tcp/22 --key-len 16 -k x",
            "-A tcp/22 -D gate -R -w /usr/bin/wget",
            "-A tcp/22 -D gate -R -w wget",
            "-A tcp/22 -D gate -wwget",
            "-A -k gate",
            "-A -w",
            "-D -w",
            "-A tcp/22 -D gate -- -w",
            "-A tcp/22 -- -k gate",
            "--access=tcp/22 --dest gate -k word",
            "-vA tcp/22 -Dgate -k word",
            "-A tcp/22 -D gate --fd-set --NoSuch",
            "-A tcp/22 -D --Server-port",
            "-A tcp/22 -D gate -- --Server-port",
        ] {
            assert_eq!(read(line), (line.to_owned(), 0), "{line}");
        }
    }
}
