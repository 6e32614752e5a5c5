//! `portunus explain-config fwknop`: what becomes of each line of a user's own files.

use std::path::{Path, PathBuf};

use super::conf::{Conf, yes};
use super::daemon::Receive;
use super::era::{self, Old};
use super::field::Field;
use super::lines::{Body, lines, without_colon};
use super::variable::Variable;
use super::{CommandLine, Host, access, chains, conf, daemon, lower, open, stanza};
use crate::source::Findings;
use crate::{Diagnostic, Files, FirewallKind};

/// One line of a file, or a variable that no file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The file and the line; `None`: a default.
    pub place: Option<(PathBuf, u32)>,
    /// The variable.
    pub name: String,
    /// Its value; that of a key is not shown.
    pub value: String,
    /// What becomes of it.
    pub effect: Effect,
}

/// What becomes of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It means what it means to fwknopd; what is odd about it is said all the same.
    Same(Option<String>),
    /// It is accepted and does nothing here, and why.
    Nothing(String),
    /// It is refused: what is wrong, and the mend.
    Refused(String),
}

impl Effect {
    /// The word of tables.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Same(_) => "same",
            Self::Nothing(_) => "no effect",
            Self::Refused(_) => "refused",
        }
    }

    /// Why, or what is odd; empty where there is nothing to say.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Same(why) => why.as_deref().unwrap_or_default(),
            Self::Nothing(why) | Self::Refused(why) => why,
        }
    }
}

/// A user's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Theirs {
    /// A folder with fwknopd.conf and what it names, as /etc/fwknop.
    Folder(PathBuf),
    /// One file of either kind: which, its lines tell.
    File(PathBuf),
}

/// Explains every line of these files and of those that they include, and after them the defaults.
///
/// # Errors
/// Files that cannot be read.
pub fn explain(files: &dyn Files, host: &dyn Host, theirs: &Theirs) -> Result<Vec<Row>, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let (wish, with) = wish(files, theirs, &mut findings)?;
    let conf = conf::read(files, &wish, &mut findings);
    let rows = chains::read(&conf, &mut findings);
    let daemon = daemon::read(&conf, &mut findings);
    let receive = daemon.receive.clone();
    let mut stanzas = Vec::new();
    let mut access_files = Vec::new();
    if with != With::ConfAlone {
        let file = conf.path(Variable::AccessFile);
        let folder = conf.setting(Variable::AccessFolder).map(|setting| PathBuf::from(&setting.text));
        let place = folder.as_deref().map_or(access::Place::File(&file), access::Place::Folder);
        let (written, sources) = access::read(files, place, &mut findings);
        access_files = sources;
        stanzas = written
            .into_iter()
            .map(|written| {
                let checked = stanza::check(&written, &conf, host, &mut findings);
                (written, checked)
            })
            .collect();
    }
    let settings = lower::settings(&conf, daemon, &rows, stanzas, &mut findings);
    let told = Told::of(findings)?;
    let about = About { conf: &conf, receive, nft: settings.stance.firewall == FirewallKind::Nft };
    let mut out = Vec::new();
    if with != With::AccessAlone {
        for path in &conf.sources {
            about.file(files, path, &told, About::variable, &mut out);
        }
    }
    for path in &access_files {
        about.file(files, path, &told, About::field, &mut out);
    }
    if with != With::AccessAlone {
        out.extend(about.defaults());
    }
    Ok(out)
}

/// Which of both files there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    Both,
    ConfAlone,
    /// The other is read where it is beside it, and not explained.
    AccessAlone,
}

fn wish(
    files: &dyn Files,
    theirs: &Theirs,
    findings: &mut Findings,
) -> Result<(CommandLine, With), Vec<Diagnostic>> {
    let beside = |path: &Path, name: &str| path.parent().unwrap_or(Path::new("")).join(name);
    let named = |config: PathBuf, access: PathBuf| CommandLine {
        config,
        set: vec![(Variable::AccessFile, access.display().to_string())],
        ..CommandLine::default()
    };
    match theirs {
        Theirs::Folder(dir) => Ok((CommandLine::of_folder(files, dir), With::Both)),
        Theirs::File(path) => {
            let text = open(files, path, findings).map_err(|error| vec![error.at(path)])?;
            let stanza = |line: super::lines::Line<'_>| match line.body {
                Body::Entry { name, .. } => without_colon(name) == "SOURCE" || name.starts_with("%include"),
                Body::Broken(_) | Body::Long => false,
            };
            if !lines(&text).any(stanza) {
                return Ok((CommandLine { config: path.clone(), ..CommandLine::default() }, With::ConfAlone));
            }
            let config = beside(path, "fwknopd.conf");
            Ok((named(config, path.clone()), With::AccessAlone))
        }
    }
}

/// What was said of each line.
struct Told {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Told {
    /// A file that is not there is no line's mistake; but fwknopd.conf need not be beside access.conf.
    fn of(mut findings: Findings) -> Result<Self, Vec<Diagnostic>> {
        let errors = findings.verdict().err().unwrap_or_default();
        let (lines, whole): (Vec<_>, Vec<_>) = errors.into_iter().partition(|one| one.line > 0);
        let whole: Vec<_> = whole.into_iter().filter(|one| !one.what.starts_with("Config file:")).collect();
        if whole.is_empty() {
            return Ok(Self { errors: lines, warnings: findings.warnings });
        }
        Err(whole)
    }

    fn at<'t>(all: &'t [Diagnostic], path: &Path, line: u32) -> Option<&'t Diagnostic> {
        all.iter().find(|one| one.line == line && one.file == path)
    }
}

/// What an effect depends on beside the line itself.
struct About<'c> {
    conf: &'c Conf,
    receive: Receive,
    nft: bool,
}

type Judge<'c> = fn(&About<'c>, &str, &str) -> (String, Effect);

impl<'c> About<'c> {
    fn file(&self, files: &dyn Files, path: &Path, told: &Told, judge: Judge<'c>, out: &mut Vec<Row>) {
        let Ok(text) = open(files, path, &mut Findings::default()) else { return };
        for line in lines(&text) {
            let (name, value) = match line.body {
                Body::Entry { name, value, .. } => (name, value),
                // What stands there may be a key without its variable.
                Body::Broken(_) | Body::Long => ("?", ""),
            };
            let (value, effect) = judge(self, name, value);
            let said = Diagnostic::sentence;
            let error = Told::at(&told.errors, path, line.number).map(said);
            let warning = Told::at(&told.warnings, path, line.number).map(said);
            let effect = match (error, effect, warning) {
                (Some(error), _, _) => Effect::Refused(error),
                (None, Effect::Same(None), warning) => Effect::Same(warning),
                (None, Effect::Nothing(why), Some(warning)) if why.is_empty() => Effect::Nothing(warning),
                (None, effect, _) => effect,
            };
            let place = Some((path.to_owned(), line.number));
            out.push(Row { place, name: name.to_owned(), value, effect });
        }
    }

    fn defaults(&self) -> Vec<Row> {
        let unwritten = Variable::ALL.iter().filter(|variable| self.conf.setting(**variable).is_none());
        let row = |variable: &Variable| {
            let value = self.conf.text(*variable)?;
            let (value, effect) = self.variable(variable.name(), value);
            Some(Row { place: None, name: variable.name().to_owned(), value, effect })
        };
        unwritten.filter_map(row).collect()
    }

    /// A line of fwknopd.conf.
    fn variable(&self, name: &str, value: &str) -> (String, Effect) {
        let effect = match Variable::of_name(name) {
            None => Effect::Nothing(match era::of_conf(name, value) {
                Some(Old::Nothing(why)) => format!("of fwknop 1.9: {why}"),
                Some(Old::Limit(_)) | None => of_another_build(name).to_owned(),
            }),
            Some(variable) => {
                let why = self.why_nothing(variable, value);
                why.map_or(Effect::Same(None), |why| Effect::Nothing(why.to_owned()))
            }
        };
        (value.to_owned(), effect)
    }

    fn why_nothing(&self, variable: Variable, value: &str) -> Option<&'static str> {
        use Variable as V;
        const NO_CHAINS: &str = "FIREWALL nft has no chains of iptables'";
        match variable {
            V::ConfigFile => Some("the command line names this file"),
            V::PcapDispatchCount => Some("packets are taken as they come, not in rounds"),
            V::PcapLoopSleep => Some("nobody sleeps between packets"),
            V::UdpservSelectTimeout => Some("grants end at their own time, not in rounds"),
            V::RulesCheckThreshold => Some("no rounds are counted: each grant ends at its own time"),
            V::EnableDigestPersistence if !yes(value) => {
                Some("no packet is ever taken twice: that cannot be turned off")
            }
            V::AuthMode | V::PcapFile | V::NflogGroup | V::EnableUdpServer
                if daemon::ways(self.conf, &self.receive).1.contains(&variable) =>
            {
                Some("packets come another way, which goes before it")
            }
            V::CmdExecTimeout => Some("fwknopd does not use it either"),
            V::Locale => Some("messages are in one language"),
            V::EnableIptCommentCheck => Some("each rule is read back when it is made"),
            V::FaultInjectionTag => Some("it is for tests of fwknop's own"),
            V::SnatTranslateIp if !self.conf.flag(V::EnableIptSnat) => Some("it needs ENABLE_IPT_SNAT Y"),
            V::TcpservPort if !self.conf.flag(V::EnableTcpServer) => Some("it needs ENABLE_TCP_SERVER Y"),
            V::UdpservPort if !self.conf.flag(V::EnableUdpServer) => Some("it needs ENABLE_UDP_SERVER Y"),
            V::AllowAnyUserAgent | V::EnableXForwardedFor | V::TrustedProxies
                if !self.conf.flag(V::EnableSpaOverHttp) =>
            {
                Some("it needs ENABLE_SPA_OVER_HTTP Y")
            }
            V::PcapIntf
            | V::EnablePcapPromisc
            | V::EnablePcapAnyDirection
            | V::ExitAtIntfDown
            | V::PcapFilter
            | V::MaxSniffBytes => match self.receive {
                Receive::Udp(_) => Some("packets come by a UDP socket"),
                Receive::Nflog(_) => Some("the rule that logs says which packets"),
                Receive::File(_) | Receive::Followed(_) if variable != V::PcapFilter => {
                    Some("packets come out of a capture")
                }
                Receive::File(_) | Receive::Followed(_) | Receive::Sniffed => None,
            },
            V::EnableRulePrepend
            | V::EnableIptOutput
            | V::FlushIptAtInit
            | V::IptInputAccess
            | V::IptOutputAccess
            | V::IptForwardAccess
            | V::IptDnatAccess
            | V::IptSnatAccess
            | V::IptMasqueradeAccess
            | V::FirewallExe => self.nft.then_some(NO_CHAINS),
            V::PcapPktFile if !matches!(self.receive, Receive::Followed(_)) => {
                Some("it needs AUTH_MODE FILE_PCAP")
            }
            V::OverrideConfig
            | V::EmailAddresses
            | V::AlertingMethods
            | V::NflogGroup
            | V::AuthMode
            | V::PcapPktFile
            | V::PcapFile
            | V::EnableSpaPacketAging
            | V::MaxSpaPacketAge
            | V::EnableDigestPersistence
            | V::EnableSpaOverHttp
            | V::EnableTcpServer
            | V::TcpservPort
            | V::EnableUdpServer
            | V::UdpservPort
            | V::SyslogIdentity
            | V::SyslogFacility
            | V::EnableXForwardedFor
            | V::EnableDestinationRule
            | V::EnableNatDns
            | V::EnableIptForwarding
            | V::EnableIptLocalNat
            | V::EnableIptSnat
            | V::SnatTranslateIp
            | V::FlushIptAtExit
            | V::FwknopRunDir
            | V::FwknopConfDir
            | V::AccessFile
            | V::AccessFolder
            | V::FwknopPidFile
            | V::DigestFile
            | V::SudoExe
            | V::GpgHomeDir
            | V::GpgExe
            | V::Verbose
            | V::AllowAnyUserAgent
            | V::Firewall
            | V::TrustedProxies => None,
        }
    }

    /// A line of access.conf.
    fn field(&self, name: &str, value: &str) -> (String, Effect) {
        let bare = without_colon(name);
        if bare == "SOURCE" || bare.starts_with("%include") {
            return (value.to_owned(), Effect::Same(None));
        }
        let Some(field) = Field::of_name(bare) else {
            let why = match era::of_access(bare, value) {
                Some(Old::Nothing(why)) => format!("of fwknop 1.9: {why}"),
                Some(Old::Limit(_)) | None => String::new(),
            };
            return (value.to_owned(), Effect::Nothing(why));
        };
        let shown = if field.is_secret() { "(not shown)" } else { value }.to_owned();
        (shown, Effect::Same(None))
    }
}

/// Why a variable that Debian's fwknopd does not know is there; empty: nobody knows it.
fn of_another_build(name: &str) -> &'static str {
    let of = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if of(&["FIREWD_", "ENABLE_FIREWD_", "FLUSH_FIREWD_"]) {
        "it is of fwknop's firewalld build: say the same with the IPT names, or FIREWALL nft"
    } else if of(&["NFQ_", "ENABLE_NFQ_"]) {
        "it is of fwknop's NFQUEUE build: packets are seen on the interface"
    } else if of(&["IPFW_", "FLUSH_IPFW_", "PF_"]) {
        "it is of fwknop on BSD"
    } else if name == "DIGEST_DB_FILE" {
        "it is of fwknop's dbm build: say DIGEST_FILE"
    } else {
        ""
    }
}
