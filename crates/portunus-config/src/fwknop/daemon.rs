//! What fwknopd.conf says of the program itself: where packets come from, and where state is kept.

use std::path::PathBuf;

use portunus_model::Net;

use super::conf::Conf;
use super::era::Acquired;
use super::lines::Spot;
use super::variable::Variable;
use crate::parse_interface;
use crate::source::Findings;

/// fwknopd as its files and its command line want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Where packets come from.
    pub receive: Receive,
    /// How interfaces and captures are read.
    pub capture: Capture,
    /// Where PCAP_FILTER stands.
    pub filter_at: Spot,
    /// Where FIREWALL stands, when it says nft.
    pub nft_at: Option<Spot>,
    /// The port of a TCP listener (ENABLE_TCP_SERVER).
    pub tcp: Option<u16>,
    /// Packets in HTTP requests (ENABLE_SPA_OVER_HTTP).
    pub http: Option<Http>,
    /// FWKNOP_RUN_DIR.
    pub run_dir: PathBuf,
    /// FWKNOP_PID_FILE.
    pub pid_file: PathBuf,
    /// DIGEST_FILE.
    pub digest_file: PathBuf,
    /// Whether that file is kept (ENABLE_DIGEST_PERSISTENCE).
    pub keeps_digests: bool,
    /// How long a command may run, in seconds (CMD_EXEC_TIMEOUT).
    pub command_timeout: Option<u32>,
    /// SYSLOG_IDENTITY.
    pub syslog_identity: String,
    /// SYSLOG_FACILITY, such as `LOG_DAEMON`.
    pub syslog_facility: String,
    /// LOCALE.
    pub locale: Option<String>,
    /// Every so many rounds of the original, foreign `_exp_` rules that are past are removed too; 0: never
    /// (RULES_CHECK_THRESHOLD).
    pub rules_check_threshold: u32,
    /// VERBOSE, and one more for each -v.
    pub verbose: u32,
    /// GPG_HOME_DIR.
    pub gpg_home: PathBuf,
    /// GPG_EXE.
    pub gpg_program: PathBuf,
}

/// Where packets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receive {
    /// Seen on the interfaces of [`Capture`].
    Sniffed,
    /// A UDP socket (ENABLE_UDP_SERVER).
    Udp(u16),
    /// A capture file (PCAP_FILE).
    File(PathBuf),
    /// Logged by a rule of the firewall's to this group (ours, NFLOG_GROUP).
    Nflog(u16),
    /// A capture file that grows, from where it ends now (AUTH_MODE of 1.9).
    Followed(PathBuf),
}

/// How interfaces and captures are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// PCAP_INTF; ours: several, with commas in between.
    pub interfaces: Vec<String>,
    /// PCAP_FILTER.
    pub filter: String,
    /// Also what is for other hosts (ENABLE_PCAP_PROMISC).
    pub promiscuous: bool,
    /// Also what leaves (ENABLE_PCAP_ANY_DIRECTION).
    pub outgoing: bool,
    /// Whether an interface that goes down ends the program (EXIT_AT_INTF_DOWN).
    pub ends_when_down: bool,
    /// How many bytes of a packet are looked at (MAX_SNIFF_BYTES).
    pub longest: u32,
}

/// How HTTP requests are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Whether any client is heard, not only `User-Agent: Fwknop` (ALLOW_ANY_USER_AGENT).
    pub any_agent: bool,
    /// The proxies whose X-Forwarded-For counts (ENABLE_X_FORWARDED_FOR with ours, TRUSTED_PROXIES); empty: nobody's.
    pub proxies: Vec<Net>,
}

/// Takes it out of the variables, each checked.
pub(super) fn read(conf: &Conf, findings: &mut Findings) -> Daemon {
    let receive = receive(conf, findings);
    warn_of_other_ways(conf, &receive, findings);
    warn_of_unused_ports(conf, findings);
    let text = |variable| conf.text(variable).unwrap_or_default().to_owned();
    let small = |variable| u32::try_from(conf.number(variable)).unwrap_or(u32::MAX);
    Daemon {
        capture: capture(conf, &receive, findings),
        receive,
        filter_at: conf.spot(Variable::PcapFilter),
        nft_at: (conf.text(Variable::Firewall) == Some("nft")).then(|| conf.spot(Variable::Firewall)),
        tcp: conf
            .flag(Variable::EnableTcpServer)
            .then(|| port(conf, Variable::TcpservPort, findings))
            .flatten(),
        http: http(conf, findings),
        run_dir: conf.path(Variable::FwknopRunDir),
        pid_file: conf.path(Variable::FwknopPidFile),
        digest_file: conf.path(Variable::DigestFile),
        keeps_digests: conf.flag(Variable::EnableDigestPersistence),
        command_timeout: Some(small(Variable::CmdExecTimeout)).filter(|&seconds| seconds > 0),
        syslog_identity: text(Variable::SyslogIdentity),
        syslog_facility: facility(conf, findings),
        locale: conf.text(Variable::Locale).filter(|&locale| locale != "NONE").map(str::to_owned),
        rules_check_threshold: small(Variable::RulesCheckThreshold),
        verbose: small(Variable::Verbose),
        gpg_home: conf.path(Variable::GpgHomeDir),
        gpg_program: conf.path(Variable::GpgExe),
    }
}

/// The capture that 1.9 follows where nobody names one.
const SNIFFED: &str = "/var/log/sniff.pcap";

/// A capture goes before what a rule logs, that before a UDP socket, and that before the interfaces.
fn receive(conf: &Conf, findings: &mut Findings) -> Receive {
    if let Some(word) = conf.text(Variable::AuthMode) {
        let spot = conf.spot(Variable::AuthMode);
        match Acquired::named(word) {
            Some(Acquired::Seen) => {}
            Some(Acquired::Followed) => {
                let named = conf.setting(Variable::PcapFile).or(conf.setting(Variable::PcapPktFile));
                return Receive::Followed(named.map_or(SNIFFED, |setting| &setting.text).into());
            }
            Some(Acquired::Gone(mend)) => {
                let what = format!("packets are not come by as AUTH_MODE {word} says");
                findings.tell(|| spot.diagnostic(what, mend));
            }
            None => findings.tell(|| spot.diagnostic(format!("AUTH_MODE is '{word}'"), Acquired::WORDS)),
        }
    }
    if let Some(path) = conf.setting(Variable::PcapFile) {
        return Receive::File(PathBuf::from(&path.text));
    }
    if let Some(setting) = conf.setting(Variable::NflogGroup) {
        let group = setting.text.parse().ok();
        if group.is_none() {
            let what = format!("NFLOG_GROUP '{}' is no group", setting.text);
            let mend = "write the number of `log group` in nft, or of --nflog-group: 0 to 65535";
            findings.tell(|| setting.spot.diagnostic(what, mend));
        }
        return Receive::Nflog(group.unwrap_or_default());
    }
    if conf.flag(Variable::EnableUdpServer)
        && let Some(port) = port(conf, Variable::UdpservPort, findings)
    {
        return Receive::Udp(port);
    }
    Receive::Sniffed
}

/// One way counts. Whoever has named several learns which.
fn warn_of_other_ways(conf: &Conf, receive: &Receive, findings: &mut Findings) {
    let (Some(way), others) = ways(conf, receive) else { return };
    if others.is_empty() {
        return;
    }
    let named = |variable: &Variable| match conf.text(*variable) {
        Some(value) => format!("{} {value}", variable.name()),
        None => variable.name().to_owned(),
    };
    let others: Vec<String> = others.iter().map(named).collect();
    let what = format!("packets come as {} says, and not as {} says", named(&way), others.join(" or "));
    let spot = conf.spot(way);
    findings.remark(|| spot.diagnostic(what, "one way counts: take out what is not meant"));
}

/// By which variable packets come, where one says it, and those that somebody wrote and that do not count beside it.
pub(super) fn ways(conf: &Conf, receive: &Receive) -> (Option<Variable>, Vec<Variable>) {
    let way = match receive {
        Receive::Followed(_) => Some(Variable::AuthMode),
        Receive::File(_) => Some(Variable::PcapFile),
        Receive::Nflog(_) => Some(Variable::NflogGroup),
        Receive::Udp(_) => Some(Variable::EnableUdpServer),
        Receive::Sniffed => None,
    };
    let Some(way) = way else { return (None, Vec::new()) };
    let set = |variable| conf.setting(variable).is_some();
    let by_flag = |variable| conf.setting(variable).is_some_and(|setting| setting.spot.line == 0);
    let named = [
        (Variable::AuthMode, set(Variable::AuthMode)),
        // A followed capture may have its name there.
        (Variable::PcapFile, set(Variable::PcapFile) && way != Variable::AuthMode),
        (Variable::NflogGroup, set(Variable::NflogGroup)),
        (Variable::EnableUdpServer, conf.flag(Variable::EnableUdpServer)),
        // In a file it is what everybody has; on the command line somebody means it.
        (Variable::PcapIntf, by_flag(Variable::PcapIntf)),
    ];
    let others = named.into_iter().filter(|(variable, named)| *named && *variable != way);
    (Some(way), others.map(|(variable, _)| variable).collect())
}

/// The original takes them, as its range goes beyond what there is; whoever turns the server on later is refused.
fn warn_of_unused_ports(conf: &Conf, findings: &mut Findings) {
    for (server, variable) in [
        (Variable::EnableUdpServer, Variable::UdpservPort),
        (Variable::EnableTcpServer, Variable::TcpservPort),
    ] {
        let number = conf.number(variable);
        if !conf.flag(server) && number > u64::from(u16::MAX) {
            let what =
                format!("{} {number} is no port, and without {} Y not used", variable.name(), server.name());
            let spot = conf.spot(variable);
            findings.remark(|| spot.diagnostic(what, "use a number from 1 to 65535, or take it out"));
        }
    }
}

/// A port that is used: the original's range goes beyond what there is.
fn port(conf: &Conf, variable: Variable, findings: &mut Findings) -> Option<u16> {
    let number = conf.number(variable);
    let port = u16::try_from(number).ok().filter(|&port| port > 0);
    if port.is_none() && number > 0 {
        let what = format!("{} {number} is no port", variable.name());
        let spot = conf.spot(variable);
        findings.tell(|| spot.diagnostic(what, "use a number from 1 to 65535"));
    }
    port
}

fn capture(conf: &Conf, receive: &Receive, findings: &mut Findings) -> Capture {
    let mut interfaces = Vec::new();
    for name in conf.text(Variable::PcapIntf).unwrap_or_default().split(',') {
        match parse_interface(name.trim()) {
            Ok(name) => interfaces.push(name),
            Err(fault) if *receive == Receive::Sniffed => {
                let spot = conf.spot(Variable::PcapIntf);
                findings.tell(|| spot.diagnostic(fault.what, fault.mend));
            }
            Err(_) => {}
        }
    }
    Capture {
        interfaces,
        filter: conf.text(Variable::PcapFilter).unwrap_or_default().to_owned(),
        promiscuous: conf.flag(Variable::EnablePcapPromisc),
        outgoing: conf.flag(Variable::EnablePcapAnyDirection),
        ends_when_down: conf.flag(Variable::ExitAtIntfDown),
        longest: u32::try_from(conf.number(Variable::MaxSniffBytes)).unwrap_or(u32::MAX),
    }
}

fn http(conf: &Conf, findings: &mut Findings) -> Option<Http> {
    if !conf.flag(Variable::EnableSpaOverHttp) {
        return None;
    }
    let mut proxies = Vec::new();
    let list = conf.text(Variable::TrustedProxies).unwrap_or_default();
    for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match Net::parse(word) {
            Ok(net) => proxies.push(net),
            Err(error) => {
                let spot = conf.spot(Variable::TrustedProxies);
                let what = format!("TRUSTED_PROXIES has {word:?}");
                findings.tell(|| spot.diagnostic(what, error.to_string()));
            }
        }
    }
    let forwarded = conf.flag(Variable::EnableXForwardedFor);
    if forwarded && list.is_empty() {
        let spot = conf.spot(Variable::EnableXForwardedFor);
        let what = "anybody can write X-Forwarded-For, so it is believed from no one yet";
        findings.remark(|| spot.diagnostic(what, "name the addresses of your proxies with TRUSTED_PROXIES"));
    }
    if !forwarded {
        proxies.clear();
    }
    Some(Http { any_agent: conf.flag(Variable::AllowAnyUserAgent), proxies })
}

/// LOG_DAEMON and LOG_LOCAL0 to 7, in capitals.
fn facility(conf: &Conf, findings: &mut Findings) -> String {
    let text = conf.text(Variable::SyslogFacility).unwrap_or_default();
    let word = text.to_ascii_uppercase();
    let local = word.strip_prefix("LOG_LOCAL").is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'7']));
    if word != "LOG_DAEMON" && !local {
        let what = format!("Invalid SYSLOG_FACILITY setting '{text}'");
        let spot = conf.spot(Variable::SyslogFacility);
        findings.tell(|| spot.diagnostic(what, "use LOG_DAEMON, or LOG_LOCAL0 to LOG_LOCAL7"));
    }
    word
}
