//! One stanza checked: who may knock, and what a knock may do.

use std::net::IpAddr;
use std::time::Duration;

use portunus_dialect::fwknop::RawKeys;
use portunus_model::{
    Client, ClientKey, ClientName, CommandRule, Cycle, KeyId, NatRule, NatSource, Net, NetError, PortSpec,
    Proto, Stanza, Sudo, Unix,
};

use super::Host;
use super::access::{Value, Written};
use super::conf::{Conf, leading_number};
use super::era::Acquired;
use super::field::Field;
use super::secret::{self, Gpg};
use super::variable::Variable;
use crate::source::Findings;

/// The longest time in a stanza, in seconds: 2^23.
const LONGEST: u64 = 8_388_608;
/// What a grant lasts where nobody says it.
const LASTING: u64 = 30;
/// The longest grant that a client may ask for, where nobody says it.
const MOST: u64 = 300;
/// A command has fewer bytes than this.
const COMMAND: usize = 256;

/// A stanza that means something.
pub(super) struct Checked {
    /// `None`: it has keys of GnuPG's only.
    pub(super) keys: Option<RawKeys>,
    pub(super) gpg: Option<Gpg>,
    pub(super) lasting: u64,
    pub(super) longest: u64,
    pub(super) expires: Option<i64>,
    /// CMD_CYCLE_TIMER, also where no cycle is.
    pub(super) timer: Option<u64>,
    pub(super) rules: Stanza,
}

impl Checked {
    /// The client that it is, once its keys have a name. `more`: behind its number, where it has keys of both kinds.
    pub(super) fn client(&self, key: KeyId, more: &str) -> Option<Client> {
        let name = ClientName::new(&format!("stanza-{}{more}", self.rules.number)).ok()?;
        let lasting = Duration::from_secs(self.lasting.min(self.longest));
        Some(Client {
            expires: self.expires.map(Unix::from_secs),
            any_target: true,
            stanza: Some(Box::new(self.rules.clone())),
            ..Client::new(name, ClientKey::Fwknop(key), Box::default(), lasting)
        })
    }
}

/// Checks one; what is wrong is said.
pub(super) fn check(written: &Written, conf: &Conf, host: &dyn Host, findings: &mut Findings) -> Checked {
    let mut check = Check { written, conf, host, findings };
    let sources = check.nets("SOURCE", &written.source, None);
    let destinations = match written.get(Field::Destination) {
        Some(value) => check.nets("DESTINATION", &value.text, Some(Field::Destination)),
        None => Vec::new(),
    };
    let (keys, gpg) = secret::read(written, conf, host, check.findings);
    let (lasting, longest) = check.times();
    let require_source = written.flag(Field::RequireSourceAddress);
    if !require_source {
        let what = format!(
            "Warning: REQUIRE_SOURCE_ADDRESS not enabled for access stanza source: '{}'",
            written.source
        );
        let mend = "say Y, and let clients name their address (-a or -R): else whoever relays a packet opens for himself";
        check.findings.remark(|| written.spot.diagnostic(what, mend));
    }
    check.era();
    let timer = check.timer();
    let rules = Stanza {
        number: written.number,
        numbered: true,
        sources,
        destinations,
        open_ports: check.ports(Field::OpenPorts),
        restrict_ports: check.ports(Field::RestrictPorts).unwrap_or_default(),
        username: written.text(Field::RequireUsername).map(str::to_owned),
        require_source,
        longest: Duration::from_secs(longest),
        window: window(conf),
        destination_rule: conf.flag(Variable::EnableDestinationRule),
        nat: check.nat(),
        command: check.command(),
        cycle: check.cycle(timer),
    };
    let expires = check.expires();
    Checked { keys, gpg, lasting, longest, expires, timer, rules }
}

/// How far a packet's time may be off.
pub(super) fn window(conf: &Conf) -> Option<Duration> {
    let age = Duration::from_secs(conf.number(Variable::MaxSpaPacketAge));
    conf.flag(Variable::EnableSpaPacketAging).then_some(age)
}

struct Check<'c> {
    written: &'c Written,
    conf: &'c Conf,
    host: &'c dyn Host,
    findings: &'c mut Findings,
}

impl Check<'_> {
    fn wrong(&mut self, field: Option<Field>, what: impl Into<String>, mend: impl Into<String>) {
        let spot = field.map_or(&self.written.spot, |field| self.written.spot(field));
        self.findings.tell(|| spot.diagnostic(what, mend));
    }

    fn odd(&mut self, field: Field, what: impl Into<String>, mend: impl Into<String>) {
        let spot = self.written.spot(field);
        self.findings.remark(|| spot.diagnostic(what, mend));
    }

    /// A list of addresses; empty: any.
    fn nets(&mut self, name: &str, list: &str, field: Option<Field>) -> Vec<Net> {
        let mut nets = Vec::new();
        let mut any = false;
        for word in list.split(',').map(str::trim) {
            if word.eq_ignore_ascii_case("ANY") {
                any = true;
                continue;
            }
            match Net::parse(word) {
                Ok(net) => nets.push(net),
                Err(error) => {
                    let why = net_words(&error);
                    let what = format!("Fatal invalid {name} in access stanza: {why}");
                    self.wrong(
                        field,
                        what,
                        "write ANY, or addresses such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
                    );
                }
            }
        }
        if any { Vec::new() } else { nets }
    }

    /// A list of ports; `None` where there is none.
    fn ports(&mut self, field: Field) -> Option<Vec<PortSpec>> {
        let list = self.written.text(field)?;
        let mut ports = Vec::new();
        for word in list.split(',').map(str::trim) {
            match port(word) {
                Port::Good(spec) => ports.push(spec),
                Port::Odd(spec) => {
                    let name = field.name();
                    let (what, mend) = match spec {
                        Some(spec) => {
                            let (proto, port) = (spec.proto().as_str(), spec.first());
                            ports.push(spec);
                            (
                                format!("{name}: '{word}' is read as {proto}/{port}"),
                                format!("write {proto}/{port}, and every other port by itself"),
                            )
                        }
                        None => (
                            format!("{name}: '{word}' is no port, so it is passed over"),
                            "write PROTO/PORT, as in tcp/22".to_owned(),
                        ),
                    };
                    self.odd(field, what, mend);
                }
                Port::Bad(why) => {
                    let what = format!("Fatal invalid {} in access stanza: {why}", field.name());
                    self.wrong(Some(field), what, "write PROTO/PORT, as in tcp/22, with commas in between");
                }
            }
        }
        Some(crate::ports::tidy(ports))
    }

    /// What fwknop 1.9 could say of a stanza, and 2 cannot.
    fn era(&mut self) {
        if let Some(word) = self.written.text(Field::DataCollectMode) {
            let (what, mend) = match Acquired::named(word) {
                Some(Acquired::Seen | Acquired::Followed) => (String::new(), ""),
                Some(Acquired::Gone(mend)) => {
                    (format!("packets are not come by as DATA_COLLECT_MODE {word} says"), mend)
                }
                None => (format!("DATA_COLLECT_MODE is '{word}'"), Acquired::WORDS),
            };
            if !mend.is_empty() {
                self.wrong(Some(Field::DataCollectMode), what, mend);
            }
        }
        if self.written.get(Field::PermitClientPorts).is_none() {
            return;
        }
        let chosen = self.written.flag(Field::PermitClientPorts);
        let listed = self.written.get(Field::OpenPorts).is_some();
        if !chosen && !listed {
            let what = "PERMIT_CLIENT_PORTS says no, and without OPEN_PORTS clients choose any port today";
            self.wrong(Some(Field::PermitClientPorts), what, "write OPEN_PORTS and the ports that are meant");
        } else if chosen && listed {
            let what = "PERMIT_CLIENT_PORTS does nothing beside OPEN_PORTS: only what is listed there opens";
            self.odd(Field::PermitClientPorts, what, "take OPEN_PORTS out, if clients shall choose");
        }
    }

    /// How long a grant lasts, and the longest that a client may ask for, in seconds.
    fn times(&mut self) -> (u64, u64) {
        let lasting = self.seconds(Field::FwAccessTimeout).unwrap_or(LASTING);
        let longest = self.seconds(Field::MaxFwTimeout).unwrap_or(MOST);
        if longest < lasting {
            let what = format!(
                "Warning: MAX_FW_TIMEOUT < FW_ACCESS_TIMEOUT, honoring MAX_FW_TIMEOUT for stanza source: '{}' (#{})",
                self.written.source, self.written.number
            );
            self.odd(Field::FwAccessTimeout, what, format!("write {longest} here, or raise MAX_FW_TIMEOUT"));
        }
        (lasting, longest)
    }

    /// A time in seconds; `None` where there is none, or 0: the default counts then.
    fn seconds(&mut self, field: Field) -> Option<u64> {
        let Value { text, .. } = self.written.get(field)?;
        let name = field.name();
        match leading_number(text) {
            (Some(number), rest) if number <= LONGEST => {
                if !rest.is_empty() {
                    self.odd(field, format!("{name} is read as {number}"), format!("write {number} alone"));
                }
                (number > 0).then_some(number)
            }
            _ => {
                let mend = format!("write a number of seconds from 0 to {LONGEST}");
                self.wrong(Some(field), format!("{name} value not in range."), mend);
                None
            }
        }
    }

    /// Until when it holds, as seconds since 1970.
    fn expires(&mut self) -> Option<i64> {
        let (field, value) = self.written.later(Field::AccessExpire, Field::AccessExpireEpoch)?;
        let text = value.text.as_str();
        if field == Field::AccessExpire {
            let date = date(text).and_then(|(year, month, day)| self.host.midnight(year, month, day));
            if date.is_none() {
                let what = format!(
                    "Fatal: invalid date value '{text}' (need MM/DD/YYYY) for access stanza expiration time"
                );
                self.wrong(Some(field), what, "write it like 12/31/2030");
            }
            return date;
        }
        // 0 is no time in the original: such a stanza would never end.
        let (number, rest) = leading_number(text);
        let epoch =
            number.filter(|&number| number > 0 && rest.is_empty()).and_then(|n| i64::try_from(n).ok());
        if epoch.is_none() {
            let what =
                format!("Fatal: invalid epoch seconds value '{text}' for access stanza expiration time");
            self.wrong(Some(field), what, "write seconds since 1970, as `date +%s` prints them");
        }
        epoch
    }

    fn command(&mut self) -> Option<CommandRule> {
        let users = [Field::CmdExecUser, Field::CmdSudoExecUser];
        let groups = [Field::CmdExecGroup, Field::CmdSudoExecGroup];
        for field in users {
            if self.written.text(field).is_some_and(|name| !self.host.is_user(name)) {
                let what =
                    format!("Unable to determine UID for {}: Not a user on this system.", field.name());
                self.wrong(Some(field), what, "make that user, or name another one");
            }
        }
        for field in groups {
            if self.written.text(field).is_some_and(|name| !self.host.is_group(name)) {
                let what =
                    format!("Unable to determine GID for {}: Not a group on this system.", field.name());
                self.wrong(Some(field), what, "make that group, or name another one");
            }
        }
        let named = |field| self.written.text(field).map(str::to_owned);
        let (user, group) = (named(Field::CmdExecUser), named(Field::CmdExecGroup));
        let sudo = self.written.flag(Field::EnableCmdSudoExec).then(|| Sudo {
            program: self.conf.text(Variable::SudoExe).unwrap_or_default().to_owned(),
            user: named(Field::CmdSudoExecUser),
            group: named(Field::CmdSudoExecGroup),
        });
        if let (Some(user), None) = (&user, &group) {
            let what = format!(
                "Setting gid to group associated with CMD_EXEC_USER '{user}' for setgid() execution in stanza \
                 source: '{}'",
                self.written.source
            );
            self.odd(Field::CmdExecUser, what, "name another one with CMD_EXEC_GROUP, if that is not meant");
        }
        let rule = CommandRule { user, group, sudo };
        self.written.flag(Field::EnableCmdExec).then_some(rule)
    }

    fn cycle(&mut self, timer: Option<u64>) -> Option<Cycle> {
        let source = &self.written.source;
        let (open, close) = (self.written.text(Field::CmdCycleOpen), self.written.text(Field::CmdCycleClose));
        let (open, close) = match (open, close) {
            (None, None) => return None,
            (Some(open), Some(close)) => (open, close),
            (Some(_), None) => {
                let what =
                    format!("Cannot set CMD_CYCLE_OPEN without also setting CMD_CYCLE_CLOSE: '{source}'");
                self.wrong(Some(Field::CmdCycleOpen), what, "name the command that undoes it, or write NONE");
                return None;
            }
            (None, Some(_)) => {
                let what =
                    format!("Cannot set CMD_CYCLE_CLOSE without also setting CMD_CYCLE_OPEN: '{source}'");
                self.wrong(Some(Field::CmdCycleClose), what, "name the command that it undoes");
                return None;
            }
        };
        for (field, command) in [(Field::CmdCycleOpen, open), (Field::CmdCycleClose, close)] {
            if command.len() >= COMMAND {
                let what = format!("{} command is too long: '{source}'", field.name());
                self.wrong(Some(field), what, "use at most 255 bytes: put it into a script");
            }
        }
        let close = (close != "NONE").then(|| close.to_owned());
        if close.is_some() && timer.is_none() && self.written.get(Field::CmdCycleTimer).is_none() {
            let what = format!("Must set the CMD_CYCLE_TIMER for command cycle functionality: '{source}'");
            self.wrong(Some(Field::CmdCycleClose), what, "say after how many seconds it is to run");
        }
        Some(Cycle { open: open.to_owned(), close, timer: Duration::from_secs(timer.unwrap_or(0)) })
    }

    fn timer(&mut self) -> Option<u64> {
        let text = self.written.text(Field::CmdCycleTimer)?;
        let (number, rest) = leading_number(text);
        let number = number.filter(|number| (1..=LONGEST).contains(number));
        match number {
            None => {
                let what = format!("CMD_CYCLE_TIMER value not in range [1,{LONGEST}].");
                self.wrong(Some(Field::CmdCycleTimer), what, "write a number of seconds");
            }
            Some(number) if !rest.is_empty() => {
                let what = format!("CMD_CYCLE_TIMER is read as {number}");
                self.odd(Field::CmdCycleTimer, what, format!("write {number} alone"));
            }
            Some(_) => {}
        }
        number
    }

    fn nat(&mut self) -> NatRule {
        let (forward, local) =
            (self.conf.flag(Variable::EnableIptForwarding), self.conf.flag(Variable::EnableIptLocalNat));
        for field in [Field::ForceNat, Field::ForceSnat] {
            if self.written.get(field).is_some() && !forward && !local {
                let what = format!(
                    "{} requires either ENABLE_IPT_FORWARDING or ENABLE_IPT_LOCAL_NAT in fwknopd.conf",
                    field.name()
                );
                self.wrong(Some(field), what, "say ENABLE_IPT_FORWARDING Y there");
            }
        }
        let all = self.written.flag(Field::ForwardAll);
        let force = self.force_nat(all);
        let snat = self.force_snat();
        let masquerade = self.written.flag(Field::ForceMasquerade);
        let forced_source = self.written.get(Field::ForceSnat).is_some() || masquerade;
        if forced_source && self.written.get(Field::ForceNat).is_none() && !all {
            let what = format!(
                "FORCE_SNAT/FORCE_MASQUERADE requires either FORCE_NAT or FORWARD_ALL: '{}'",
                self.written.source
            );
            let field = if masquerade { Field::ForceMasquerade } else { Field::ForceSnat };
            self.wrong(Some(field), what, "say FORWARD_ALL Y, or where to with FORCE_NAT ADDRESS PORT");
        }
        NatRule {
            forward,
            local,
            names: self.conf.flag(Variable::EnableNatDns),
            force,
            source: match snat {
                Some(address) => NatSource::Fixed(address),
                None if masquerade => NatSource::Masquerade,
                None => self.snat(),
            },
            keep_destination: self.written.flag(Field::DisableDnat),
            all,
            unasked: self.written.get(Field::ForceNat).is_some() || forced_source,
        }
    }

    /// What fwknopd.conf says of the source (ENABLE_IPT_SNAT). It is checked there.
    fn snat(&self) -> NatSource {
        if !self.conf.flag(Variable::EnableIptSnat) {
            return NatSource::Kept;
        }
        match self.conf.text(Variable::SnatTranslateIp).map(str::parse) {
            Some(Ok(address)) => NatSource::Fixed(address),
            Some(Err(_)) | None => NatSource::Masquerade,
        }
    }

    fn force_nat(&mut self, all: bool) -> Option<(IpAddr, u16)> {
        let text = self.written.text(Field::ForceNat)?;
        let mut words = text.split_ascii_whitespace();
        let (Some(address), Some(port), None) = (words.next(), words.next(), words.next()) else {
            let what = format!("Fatal: invalid FORCE_NAT arg '{text}', need <IP> <PORT>");
            self.wrong(Some(Field::ForceNat), what, "write it like 10.0.0.5 22");
            return None;
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            let what = if port.bytes().all(|byte| byte.is_ascii_digit()) {
                format!("Fatal: invalid FORCE_NAT IP '{address}'")
            } else {
                format!("Fatal: invalid FORCE_NAT arg '{text}', need <IP> <PORT>")
            };
            self.wrong(Some(Field::ForceNat), what, "write an address, no name: 10.0.0.5 22");
            return None;
        };
        // With FORWARD_ALL every port goes there, so this one says nothing; and 0.0.0.0 is no host to go to.
        let nowhere = address.is_unspecified();
        if nowhere && !all && !self.written.flag(Field::DisableDnat) {
            let what = format!("Fatal: invalid FORCE_NAT IP '{address}'");
            self.wrong(Some(Field::ForceNat), what, "write the inner host's address, or say DISABLE_DNAT Y");
            return None;
        }
        match port.parse::<u16>() {
            Ok(_) if nowhere && all => None,
            Ok(port) if port > 0 || all => Some((address.to_canonical(), port)),
            Ok(_) | Err(_) => {
                let what = format!("Fatal: invalid FORCE_NAT port '{port}'");
                self.wrong(Some(Field::ForceNat), what, "write a number from 1 to 65535");
                None
            }
        }
    }

    fn force_snat(&mut self) -> Option<IpAddr> {
        let text = self.written.text(Field::ForceSnat)?;
        let address = text.parse::<IpAddr>().ok();
        if address.is_none() {
            let what = format!("Fatal: invalid FORCE_SNAT IP '{text}'");
            self.wrong(Some(Field::ForceSnat), what, "write an address of this host");
        }
        address.map(|address| address.to_canonical())
    }
}

/// What the original says of an address.
fn net_words(error: &NetError) -> String {
    match error {
        NetError::Address(address) => format!("Fatal error parsing IP to int for: {address}"),
        NetError::Mask(mask) if mask.is_empty() => "Missing mask value.".to_owned(),
        NetError::Mask(mask) if mask.contains('.') => {
            format!("Fatal error parsing IP mask to int for: {mask}")
        }
        NetError::Mask(mask) => format!("Invalid IP mask str '{mask}'."),
    }
}

enum Port {
    Good(PortSpec),
    /// Not as it should be, and yet the original takes it: for this, or for nothing.
    Odd(Option<PortSpec>),
    Bad(String),
}

/// `PROTO/PORT`.
fn port(word: &str) -> Port {
    let Some((proto, port)) = word.split_once('/') else {
        return Port::Bad(format!("Parse error on access port entry: {word}"));
    };
    let proto = match proto.trim().to_ascii_lowercase().as_str() {
        "tcp" => Proto::Tcp,
        "udp" => Proto::Udp,
        _ => return Port::Bad(format!("Invalid protocol in access port entry: {word}")),
    };
    let (number, rest) = leading_number(port.trim());
    if number.is_none() && port.trim().starts_with(|c: char| c.is_ascii_digit()) || number > Some(65_535) {
        return Port::Bad(format!("Invalid port '{word}' in access request, must be in [0,65535]"));
    }
    let spec = number.and_then(|n| u16::try_from(n).ok()).and_then(|n| PortSpec::single(proto, n).ok());
    match spec {
        Some(spec) if rest.is_empty() => Port::Good(spec),
        spec => Port::Odd(spec),
    }
}

/// Year, month and day of `MM/DD/YYYY`, if there is such a day. Years below 100 are of this century.
fn date(text: &str) -> Option<(i16, i8, i8)> {
    let mut parts = text.split('/').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<i16>().ok()).flatten()
    });
    let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    let year = if year < 100 { year.checked_add(2000)? } else { year };
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    jiff::civil::Date::new(year, month, day).ok().map(|_| (year, month, day))
}
