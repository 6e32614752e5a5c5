//! A stanza written anew; every other line of the file stays as it is.

use zeroize::Zeroizing;

use super::Variable;
use super::read::{head, says_nothing, words};

/// What a new file says.
pub const TEMPLATE: &str = "\
# The file of the fwknop client. Portunus has written it because there was none.
#
# A name in brackets begins a stanza. The stanza `default` is read first, always; then the one that is named by
# `fwknop -n NAME`; then the command line: who comes later has the last word. A line is a variable and its value.
# Lines that begin with # are for you only. Keys stand in here, so keep the mode 0600.
#
# `fwknop -n NAME --save-rc-stanza ...` writes a stanza, `fwknop --stanza-list` lists them, fwknop(1) explains all.

[default]
#DIGEST_TYPE         sha256
#FW_TIMEOUT          30
#SPA_SERVER_PORT     62201
#SPA_SERVER_PROTO    udp
#ALLOW_IP            source
#SPOOF_USER          alice
#TIME_OFFSET         0
#NO_SAVE_ARGS        N

# Two examples: ssh for whom this machine is seen as from outside, and a web server behind the gateway for one minute.
#
#[home]
#SPA_SERVER          home.example.org
#ACCESS              tcp/22
#ALLOW_IP            resolve
#KEY_BASE64          (fwknop --key-gen makes both keys)
#HMAC_KEY_BASE64
#
#[inner]
#SPA_SERVER          home.example.org
#ACCESS              tcp/8088
#ALLOW_IP            198.51.100.7
#NAT_ACCESS          192.168.1.55:80
#FW_TIMEOUT          60
";

/// How a stanza that is there already is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Save {
    /// Keep its critical variables, unless they are among the new ones.
    KeepCritical,
    /// Keep nothing of it.
    Force,
}

/// `text` with the stanza `name` holding `entries`, at its place or, when it is new, at the end. Remarks stay.
#[must_use]
pub fn save(text: &str, name: &str, entries: &[(Variable, &str)], how: Save) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 1024));
    let (mut inside, mut written) = (false, false);
    for line in text.split_inclusive('\n') {
        if let Some(head) = head(line) {
            inside = head == name;
            out.push_str(line);
            if inside && !written {
                end_line(&mut out);
                write(&mut out, entries);
                written = true;
            }
        } else if !inside || says_nothing(line) || kept(line, entries, how) {
            out.push_str(line);
        }
    }
    if !written {
        end_line(&mut out);
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("[{name}]\n"));
        write(&mut out, entries);
    }
    out
}

fn kept(line: &str, entries: &[(Variable, &str)], how: Save) -> bool {
    let (word, _) = words(line);
    how == Save::KeepCritical
        && Variable::named(word).is_some_and(|variable| {
            variable.critical() && !entries.iter().any(|(new, _)| new.rivals(variable))
        })
}

fn write(out: &mut String, entries: &[(Variable, &str)]) {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by_key(|(variable, _)| *variable);
    for (variable, value) in sorted {
        out.push_str(&format!("{:<27} {value}\n", variable.name()));
    }
}

fn end_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{DEFAULT, names, stanza};
    use super::*;

    const OLD: &str = "# mine\n[default]\nVERBOSE 1\n\n[a]\n# keep\nKEY old\nACCESS tcp/22\n[b]\nKEY bbb";

    #[test]
    fn a_new_file_has_one_stanza_and_it_is_empty() {
        assert_eq!(stanza(TEMPLATE, Path::new("rc"), DEFAULT), Ok(Some(vec![])));
        assert_eq!(names(TEMPLATE).count(), 0);
        for line in TEMPLATE.lines().filter_map(|line| line.strip_prefix('#')) {
            let (word, value) = words(line);
            if value.is_some()
                && word.len() > 2
                && word.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c == '6' || c == '4')
            {
                assert!(Variable::named(word).is_some(), "{line}");
            }
        }
    }

    #[test]
    fn a_stanza_is_replaced_but_for_its_keys() {
        let new = save(OLD, "a", &[(Variable::FwTimeout, "60")], Save::KeepCritical);
        let want = "# mine\n[default]\nVERBOSE 1\n\n[a]\nFW_TIMEOUT                  60\n# keep\nKEY old\n[b]\nKEY bbb";
        assert_eq!(*new, want);
    }

    #[test]
    fn a_new_key_takes_the_old_ones_place_however_it_is_spelt() {
        let new = save(OLD, "a", &[(Variable::KeyBase64, "bmV3")], Save::KeepCritical);
        assert!(!new.contains("KEY old") && new.contains("KEY_BASE64                  bmV3\n"), "{}", *new);
        assert!(new.contains("[b]\nKEY bbb"));
    }

    #[test]
    fn force_keeps_nothing_but_remarks() {
        let new = save(OLD, "a", &[(Variable::Access, "tcp/23")], Save::Force);
        assert!(new.contains("[a]\nACCESS                      tcp/23\n# keep\n[b]\n"), "{}", *new);
    }

    #[test]
    fn a_new_stanza_comes_last() {
        let new =
            save(OLD, "c", &[(Variable::Access, "tcp/23"), (Variable::SpaServer, "h")], Save::KeepCritical);
        let tail = "KEY bbb\n\n[c]\nACCESS                      tcp/23\nSPA_SERVER                  h\n";
        assert!(new.ends_with(tail), "{}", *new);
        assert_eq!(*save("", "c", &[], Save::Force), "[c]\n");
    }
}
