//! Long flags of fwknop 1.9's server, where they can be told from today's: with capitals, and by names that are others now.

use std::ffi::OsString;

/// The words in today's spelling, and what is to be said of each that was another. What stands behind `--` is left alone.
pub(super) fn in_todays_words(words: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let (mut new, mut said) = (Vec::with_capacity(words.len()), Vec::new());
    let mut over = false;
    for word in words {
        over |= word == "--";
        let today = word.to_str().filter(|_| !over).and_then(|word| Some((word.to_owned(), today(word)?)));
        let Some((old, today)) = today else {
            new.push(word);
            continue;
        };
        let name = old.split('=').next().unwrap_or(&old);
        let names: Vec<&str> = today.iter().map(|word| word.split('=').next().unwrap_or(word)).collect();
        said.push(format!("{name} is how fwknop 1.9 wrote it: write {} today", names.join(" ")));
        new.extend(today.into_iter().map(OsString::from));
    }
    (new, said)
}

/// `None` where the word is one of today's, or none of either.
fn today(word: &str) -> Option<Vec<String>> {
    let name = word.strip_prefix("--")?.split('=').next()?;
    let small = name.to_ascii_lowercase();
    let names: &[&str] = match small.as_str() {
        "intf" => &["interface"],
        "test-mode" => &["test"],
        // It stayed in the foreground and said much.
        "debug" => &["foreground", "verbose"],
        small if small != name => &[small],
        _ => return None,
    };
    let value = word.get(2 + name.len()..).unwrap_or_default();
    Some(names.iter().map(|name| format!("--{name}{value}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (String, usize) {
        let words = line.split(' ').map(OsString::from).collect();
        let (words, said) = in_todays_words(words);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        (words.join(" "), said.len())
    }

    #[test]
    fn long_flags_of_1_9_become_todays() {
        for (old, new) in [
            ("--Kill", "--kill"),
            ("--Restart", "--restart"),
            ("--Status", "--status"),
            ("--Test-mode", "--test"),
            ("--intf eth1", "--interface eth1"),
            ("--intf=Eth1", "--interface=Eth1"),
            ("--debug", "--foreground --verbose"),
        ] {
            assert_eq!(read(old), (new.to_owned(), 1), "{old}");
        }
        for line in ["-K", "--kill", "-c /etc/Fwknop.conf", "--pcap-file=/A", "-- --Kill", "--interface Eth1"]
        {
            assert_eq!(read(line), (line.to_owned(), 0), "{line}");
        }
    }
}
