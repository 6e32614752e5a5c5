//! fwknopd.conf, its overrides and the command line: one value a variable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::era::{self, Old};
use super::lines::{Body, Spot, lines, without_colon, word};
use super::variable::{Kind, Variable};
use super::{CommandLine, open};
use crate::source::Findings;
use crate::{Diagnostic, FileError, Files, Secrecy};

/// A value and where somebody wrote it.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) text: String,
    pub(super) spot: Spot,
}

/// What fwknopd.conf and all that goes before it say.
#[derive(Debug)]
pub(super) struct Conf {
    pub(super) path: PathBuf,
    /// By [`Variable::index`].
    settings: Vec<Option<Setting>>,
    /// Those that are derived from others, by index too.
    derived: Vec<Option<String>>,
    /// The files that were read, or would be.
    pub(super) sources: Vec<PathBuf>,
}

/// Reads it all and checks each value by itself.
pub(super) fn read(files: &dyn Files, wish: &CommandLine, findings: &mut Findings) -> Conf {
    let main = main_file(files, &wish.config);
    let mut conf = Conf {
        path: main.clone(),
        settings: Variable::ALL.iter().map(|_| None).collect(),
        derived: Variable::ALL.iter().map(|_| None).collect(),
        sources: Vec::new(),
    };
    if main != wish.config {
        let what = format!("{} is read, the name of fwknop 1.9", main.display());
        let mend = format!("rename it to {} when you change it next", wish.config.display());
        findings.remark(|| Diagnostic::of_file(&main, what, mend));
        // Once the newer one comes it is seen.
        conf.sources.push(wish.config.clone());
    }
    let older = main.with_file_name("fwknop.conf");
    if main.file_name().is_some_and(|name| name == "fwknopd.conf")
        && is_there(files, &main)
        && is_there(files, &older)
    {
        let what = format!("{} is read, and {} beside it is not", main.display(), older.display());
        let mend = "move what is still meant into the one that is read, and take the other away";
        findings.remark(|| Diagnostic::of_file(&main, what, mend));
    }
    if let Some(text) = conf.text_of(files, &main, findings) {
        // Twice, as the original does it: a variable can be used before the line that sets it.
        conf.take(&main, &text, &mut Findings::default());
        conf.take(&main, &text, findings);
    }
    for path in conf.overrides(wish) {
        if let Some(text) = conf.text_of(files, &path, findings) {
            conf.take(&path, &text, findings);
        }
    }
    let spot = Spot { file: Arc::from(Path::new("command line")), line: 0, column: 0 };
    for (variable, text) in &wish.set {
        conf.set(*variable, text.clone(), spot.clone());
    }
    conf.derive(wish);
    conf.check(findings);
    conf
}

/// fwknopd.conf; where there is none, fwknop.conf beside it, as 1.9 called it.
fn main_file(files: &dyn Files, path: &Path) -> PathBuf {
    let older = path.with_file_name("fwknop.conf");
    let newer = path.file_name().is_some_and(|name| name == "fwknopd.conf");
    if newer && !is_there(files, path) && is_there(files, &older) { older } else { path.to_owned() }
}

fn is_there(files: &dyn Files, path: &Path) -> bool {
    !matches!(files.read_bytes(path, Secrecy::Public), Err(FileError::Missing))
}

impl Conf {
    /// Its value, the default where nobody says one.
    pub(super) fn text(&self, variable: Variable) -> Option<&str> {
        let set = self.setting(variable).map(|setting| setting.text.as_str());
        let derived = || self.derived.get(variable.index()).and_then(Option::as_deref);
        set.or_else(derived).or(variable.default())
    }

    /// What somebody wrote.
    pub(super) fn setting(&self, variable: Variable) -> Option<&Setting> {
        self.settings.get(variable.index()).and_then(Option::as_ref)
    }

    /// Where it stands; the file itself where it does not.
    pub(super) fn spot(&self, variable: Variable) -> Spot {
        let whole = || Spot { file: Arc::from(self.path.as_path()), line: 0, column: 0 };
        self.setting(variable).map_or_else(whole, |setting| setting.spot.clone())
    }

    pub(super) fn flag(&self, variable: Variable) -> bool {
        self.text(variable).is_some_and(yes)
    }

    /// A number that was checked; 0 where there is none.
    pub(super) fn number(&self, variable: Variable) -> u64 {
        self.text(variable).and_then(|text| leading_number(text).0).unwrap_or(0)
    }

    pub(super) fn path(&self, variable: Variable) -> PathBuf {
        PathBuf::from(self.text(variable).unwrap_or_default())
    }

    /// AUTH_MODE, where it is a known one.
    pub(super) fn acquired(&self) -> Option<era::Acquired> {
        self.text(Variable::AuthMode).and_then(era::Acquired::named)
    }

    fn set(&mut self, variable: Variable, text: String, spot: Spot) {
        if let Some(slot) = self.settings.get_mut(variable.index()) {
            *slot = Some(Setting { text, spot });
        }
    }

    fn text_of(&mut self, files: &dyn Files, path: &Path, findings: &mut Findings) -> Option<String> {
        self.sources.push(path.to_owned());
        match open(files, path, findings) {
            Ok(text) => Some(text.to_string()),
            Err(FileError::Missing) => {
                let what = format!("Config file: '{}' was not found.", path.display());
                findings
                    .tell(|| Diagnostic::of_file(path, what, "make it, or name another one with -c or -O"));
                None
            }
            Err(error) => {
                findings.tell(|| error.at(path));
                None
            }
        }
    }

    /// The files that go before fwknopd.conf: those of the command line, else those that it names itself.
    fn overrides(&self, wish: &CommandLine) -> Vec<PathBuf> {
        if !wish.overrides.is_empty() {
            return wish.overrides.clone();
        }
        let named = self.setting(Variable::OverrideConfig).map(|setting| setting.text.split(','));
        named.into_iter().flatten().map(|path| PathBuf::from(path.trim())).collect()
    }

    fn take(&mut self, path: &Path, text: &str, findings: &mut Findings) {
        let file: Arc<Path> = Arc::from(path);
        let shown = path.display();
        for line in lines(text) {
            let at = |column| Spot { file: file.clone(), line: line.number, column };
            if let Body::Entry { unread_at: Some(unread), .. } = line.body {
                findings.hint(|| at(unread).unread());
            }
            let (name, value, spot) = match line.body {
                Body::Entry { name, value, name_at, value_at, .. } => {
                    match Variable::of_name(without_colon(name)) {
                        Some(variable) => {
                            if without_colon(name) != name {
                                let what = "a colon is of access.conf's lines: it is passed over";
                                findings.remark(|| {
                                    at(name_at)
                                        .diagnostic(what, format!("write {} and a blank", variable.name()))
                                });
                            }
                            (variable, value, at(value_at))
                        }
                        None => {
                            let name = without_colon(name);
                            if word(name) != name && decides(word(name)) {
                                findings.tell(|| at(name_at).unclear(word(name)));
                                continue;
                            }
                            let what =
                                format!("Ignoring unknown configuration parameter: '{name}' in {shown}");
                            match era::of_conf(name, value) {
                                Some(Old::Limit(mend)) => {
                                    let what = format!(
                                        "{name} of fwknop 1.9 held back what nothing holds back here"
                                    );
                                    findings.tell(|| at(name_at).diagnostic(what, mend));
                                }
                                Some(Old::Nothing(why)) => {
                                    findings.remark(|| {
                                        at(name_at).diagnostic(what, format!("take it out: {why}"))
                                    });
                                }
                                None => {
                                    let mend =
                                        unknown_mend(name, Variable::ALL.iter().map(|known| known.name()));
                                    findings.remark(|| at(name_at).diagnostic(what, mend));
                                }
                            }
                            continue;
                        }
                    }
                }
                Body::Broken(name) if decides(name) => {
                    findings.tell(|| at(1).unclear(name));
                    continue;
                }
                Body::Broken(_) => {
                    let what = format!("Invalid config file entry in {shown} at line {}.", line.number);
                    findings.remark(|| at(1).diagnostic(what, "write NAME, a blank and the value"));
                    continue;
                }
                Body::Long => {
                    let what = format!("Invalid config file entry in {shown} at line {}.", line.number);
                    findings.tell(|| at(1).diagnostic(what, "use at most 1023 bytes in a line"));
                    continue;
                }
            };
            match self.expanded(value) {
                Some(value) => self.set(name, value, spot),
                None => {
                    let what = format!("Invalid embedded variable in: '{value}'");
                    let mend = "use one that a line of this file sets, and what follows it only after a sign \
                                such as /; the line is passed over";
                    findings.remark(|| spot.diagnostic(what, mend));
                }
            }
        }
    }

    /// The value with the variable in its place that it begins with; `None` where there is no such one.
    fn expanded(&self, value: &str) -> Option<String> {
        let Some(rest) = value.strip_prefix('$') else { return Some(value.to_owned()) };
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, rest) = rest.split_at_checked(end)?;
        let setting = self.setting(Variable::of_name(name)?)?;
        Some(format!("{}{rest}", setting.text))
    }

    /// The defaults that depend on other variables.
    fn derive(&mut self, wish: &CommandLine) {
        let overrides: Vec<String> = wish.overrides.iter().map(|path| path.display().to_string()).collect();
        let overrides =
            if overrides.is_empty() { self.path.display().to_string() } else { overrides.join(",") };
        let below = |dir: Option<&str>, name: &str| {
            let dir = dir.unwrap_or_default();
            let gap = if dir.ends_with('/') { "" } else { "/" };
            format!("{dir}{gap}{name}")
        };
        let run = self.text(Variable::FwknopRunDir);
        let derived = [
            (Variable::FwknopPidFile, below(run, "fwknopd.pid")),
            (Variable::DigestFile, below(run, "digest.cache")),
            (Variable::AccessFile, below(self.text(Variable::FwknopConfDir), "access.conf")),
            (Variable::ConfigFile, self.path.display().to_string()),
            (Variable::OverrideConfig, overrides),
        ];
        for (variable, text) in derived {
            if let Some(slot) = self.derived.get_mut(variable.index()) {
                *slot = Some(text);
            }
        }
        // Packets of a capture are as old as the capture.
        let grows = self.acquired() == Some(era::Acquired::Followed);
        if self.setting(Variable::PcapFile).is_some()
            && !grows
            && let Some(slot) = self.derived.get_mut(Variable::EnableSpaPacketAging.index())
        {
            *slot = Some("N".to_owned());
        }
    }

    fn check(&self, findings: &mut Findings) {
        for variable in Variable::ALL {
            let Some(Setting { text, spot }) = self.setting(*variable) else { continue };
            match variable.kind() {
                Kind::Number(least, most) => {
                    check_number(variable.name(), text, spot, (least, most), findings);
                }
                Kind::Text | Kind::Flag | Kind::Chain => {}
            }
        }
        self.check_verbose(findings);
        let run = self.text(Variable::FwknopRunDir).unwrap_or_default();
        if !run.starts_with('/') {
            let what = format!("Path '{run}' is not absolute.");
            let spot = self.spot(Variable::FwknopRunDir);
            findings.tell(|| spot.diagnostic(what, "begin FWKNOP_RUN_DIR with /"));
        }
    }

    fn check_verbose(&self, findings: &mut Findings) {
        let Some(Setting { text, spot }) = self.setting(Variable::Verbose) else { return };
        if text.starts_with('-') {
            let what = format!("VERBOSE value '{text}' not in the range (>0)");
            findings.tell(|| spot.diagnostic(what, "write 0 for little, 1 or more for much"));
        }
    }
}

/// Whether a line that begins with this name, and is not understood, must not be passed over: it says where packets come
/// from, or held something back.
fn decides(name: &str) -> bool {
    let receives =
        matches!(name, "AUTH_MODE" | "NFLOG_GROUP" | "ENABLE_UDP_SERVER" | "PCAP_FILE" | "PCAP_PKT_FILE");
    receives || matches!(era::of_conf(name, "Y"), Some(Old::Limit(_)))
}

fn check_number(name: &str, text: &str, spot: &Spot, (least, most): (u64, u64), findings: &mut Findings) {
    let (number, rest) = leading_number(text);
    let Some(number) = number.filter(|number| (least..=most).contains(number)) else {
        let what = format!("var {name} value '{text}' not in the range {least}-{most}");
        findings.tell(|| spot.diagnostic(what, format!("write a number from {least} to {most}")));
        return;
    };
    if !rest.is_empty() {
        findings.remark(|| {
            spot.diagnostic(format!("{name} is read as {number}"), format!("write {number} alone"))
        });
    }
}

/// Yes or no, as the original reads it.
pub(super) fn yes(text: &str) -> bool {
    text.starts_with(['y', 'Y'])
}

/// The number that a text begins with, and what follows; C's `strtol` for what is not negative.
pub(super) fn leading_number(text: &str) -> (Option<u64>, &str) {
    let bare = text.strip_prefix('+').unwrap_or(text);
    let end = bare.find(|c: char| !c.is_ascii_digit()).unwrap_or(bare.len());
    let (digits, rest) = bare.split_at_checked(end).unwrap_or((bare, ""));
    (digits.parse().ok(), rest)
}

/// What to do about a name that nobody knows.
pub(super) fn unknown_mend<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    crate::reader::nearest(name, known)
        .map_or_else(|| "take it out: nothing reads it".to_owned(), |near| format!("did you mean {near}?"))
}
