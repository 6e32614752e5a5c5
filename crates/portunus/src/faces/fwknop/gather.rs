//! The layers, one over the other: the stanza `default`, the stanza of `-n`, the command line.

use portunus_config::fwknoprc::{Entry, Variable};
use zeroize::Zeroizing;

use super::line::{Assignment, Line};
use super::rc::{self, RcFile};
use super::settings::{Allow, KeyWish, Settings};
use crate::say::{Failure, line};

/// What is wanted, all in all.
///
/// # Errors
/// A value is none, or there is no such stanza.
pub(super) fn gather(given: &Line, file: Option<&RcFile>, verbose: u8) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    if let Some(file) = file {
        for name in rc::read_for(&given.task) {
            if verbose > 1 {
                line(format_args!("process_rc_section() : Parsing section '{name}' ..."));
            }
            match rc::stanza(file, name)? {
                Some(entries) => stanza(&mut settings, file, &entries)?,
                None if Some(name) == given.task.stanza.as_deref() => return Err(rc::not_found(name)),
                None => {}
            }
        }
    }
    command_line(&mut settings, given)?;
    Ok(settings)
}

/// The command line alone.
///
/// # Errors
/// A value is none.
pub(super) fn command_line(settings: &mut Settings, given: &Line) -> Result<(), Failure> {
    let variables: Vec<Variable> = given.assignments.iter().map(|assignment| assignment.variable).collect();
    make_room(settings, &variables);
    // Who typed a place for the keys does not want those of the file.
    if given.task.key_fd.is_some() && !given.has(Variable::Key) && !given.has(Variable::KeyBase64) {
        settings.key.forget();
    }
    if given.has(Variable::ResolveIpHttps) && !given.has(Variable::AllowIp) {
        settings.allow = Some(Allow::Resolve);
    }
    for assignment in &given.assignments {
        let Assignment { variable, value, flag } = assignment;
        settings
            .set(*variable, value, what_for(*variable))
            .map_err(|(what, mend)| Failure::new(what, flag, mend))?;
    }
    Ok(())
}

/// How messages call a key of the command line.
const fn what_for(variable: Variable) -> &'static str {
    if matches!(variable, Variable::KeyBase64) { "Base64 encoded Rijndael" } else { "Base64 encoded HMAC" }
}

fn stanza(settings: &mut Settings, file: &RcFile, entries: &[Entry]) -> Result<(), Failure> {
    let variables: Vec<Variable> = entries.iter().map(|entry| entry.variable).collect();
    make_room(settings, &variables);
    for entry in entries {
        let name = entry.variable.name();
        settings.set(entry.variable, &entry.value, name).map_err(|(what, mend)| {
            let value = if entry.variable.secret() { "(not shown)" } else { entry.value.as_str() };
            let place = file.path.display();
            let error = format!("Parameter error in {place}, line {}: var={name}, val={value}", entry.line);
            Failure::new(error, what, mend)
        })?;
    }
    Ok(())
}

/// A layer that names a key, in whatever way, leaves nothing of the keys below.
fn make_room(settings: &mut Settings, variables: &[Variable]) {
    use Variable as V;
    let mut forget = |any: [Variable; 3], key: fn(&mut Settings) -> &mut KeyWish| {
        if variables.iter().any(|variable| any.contains(variable)) {
            key(settings).forget();
        }
    };
    forget([V::Key, V::KeyBase64, V::KeyFile], |settings| &mut settings.key);
    forget([V::HmacKey, V::HmacKeyBase64, V::HmacKeyFile], |settings| &mut settings.hmac);
    forget([V::GpgSigningPw, V::GpgSigningPwBase64, V::GpgNoSigningPw], |settings| {
        &mut settings.gpg.passphrase
    });
}

/// A value as the file has it: words in the letters that people know there, times in seconds.
pub(super) fn saved_text(assignment: &Assignment) -> Zeroizing<String> {
    use Variable as V;
    let (variable, value) = (assignment.variable, &assignment.value);
    if variable == V::TimeOffset {
        let mut settings = Settings::default();
        let read = settings.set(variable, value, "");
        return if read.is_ok() { settings.offset.to_string().into() } else { value.clone() };
    }
    let capitals = matches!(variable, V::DigestType | V::HmacDigestType | V::EncryptionMode);
    if capitals && !value.eq_ignore_ascii_case("legacy") {
        return value.to_ascii_uppercase().into();
    }
    if capitals || variable == V::SpaServerProto { value.to_ascii_lowercase().into() } else { value.clone() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::args::{Typed, parse};
    use super::*;

    const FILE: &str = "[default]\nKEY low\nALLOW_IP 198.51.100.7\nVERBOSE Y\n[home]\nKEY_BASE64 aGlnaA==\n\
                        ACCESS tcp/22\n[bad]\nKEY_BASE64 sesame!\n";

    fn with(text: &str) -> Result<Settings, String> {
        let words = std::iter::once("fwknop").chain(text.split_whitespace()).map(Into::into).collect();
        let Typed::Given(given) = parse(words).unwrap() else { panic!("{text}: help") };
        let line = Line::of(&given).map_err(|failure| failure.to_string())?;
        let file = RcFile { path: PathBuf::from("rc"), text: FILE.to_owned().into() };
        gather(&line, Some(&file), 0).map_err(|failure| failure.to_string())
    }

    fn key(text: &str) -> Vec<u8> {
        with(text).unwrap_or_else(|why| panic!("{why}")).key.named().unwrap().to_vec()
    }

    #[test]
    fn who_comes_later_has_the_last_word() {
        assert_eq!(key(""), b"low");
        assert_eq!(key("-n home"), b"high");
        assert_eq!(key("-n home --key-rijndael top"), b"top");
        let settings = with("-n home -A udp/53").unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((settings.access.as_deref(), settings.verbose), (Some("udp/53"), 1));
    }

    #[test]
    fn a_place_for_keys_on_the_line_beats_the_files_keys() {
        let settings = with("-n home -G keys").unwrap_or_else(|why| panic!("{why}"));
        assert!(settings.key.named().is_none() && settings.key.file.is_some());
        assert!(with("--stdin").unwrap_or_else(|why| panic!("{why}")).key.named().is_none());
    }

    #[test]
    fn whom_to_open_for_is_the_lines_choice() {
        let allow = |text| with(text).unwrap_or_else(|why| panic!("{why}")).allow;
        assert_eq!(allow(""), Some(Allow::Address([198, 51, 100, 7].into())));
        assert_eq!(allow("-R"), Some(Allow::Resolve));
        assert_eq!(allow("-s"), Some(Allow::Source));
        // An address beats asking for one, in whatever order.
        assert_eq!(allow("-a 1.2.3.4 -R"), Some(Allow::Address([1, 2, 3, 4].into())));
        assert_eq!(allow("-R -a 1.2.3.4"), Some(Allow::Address([1, 2, 3, 4].into())));
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_without_the_key() {
        let error = with("-n bad").map(|_| ()).unwrap_err();
        assert!(
            error.starts_with("Parameter error in rc, line 9: var=KEY_BASE64, val=(not shown)"),
            "{error}"
        );
        assert!(error.contains("look like base64-encoded") && !error.contains("sesame"), "{error}");
        assert!(with("-n nobody").map(|_| ()).unwrap_err().contains("[nobody] was not found"));
    }
}
