//! What `fwknopd -D` prints: every variable, then every stanza. Scripts match its lines.

use std::fmt::Write as _;

use portunus_dialect::fwknop::HashType;

use super::Host;
use super::access::Written;
use super::conf::Conf;
use super::field::Field;
use super::secret;
use super::stanza::Checked;
use super::variable::Variable;

const NOT_SET: &str = "<not set>";
const NOT_SHOWN: &str = "<see the access.conf file>";

/// The whole text.
pub(super) fn dump(conf: &Conf, stanzas: &[(Written, Checked)], host: &dyn Host) -> String {
    let mut out = String::from("Current fwknopd config settings:\n");
    // Ours, and what came after 2.6.10, only where somebody says it: so the numbers are the original's.
    let listed =
        |variable: &Variable| variable.index() < Variable::LISTED || conf.setting(*variable).is_some();
    for (number, variable) in Variable::ALL.iter().copied().filter(listed).enumerate() {
        let value = conf.text(variable).unwrap_or(NOT_SET);
        line(&mut out, format_args!("{number:3}. {:<28} =  '{value}'", variable.name()));
    }
    line(&mut out, format_args!("\nCurrent fwknopd access settings:"));
    for (written, checked) in stanzas {
        stanza(&mut out, written, checked, host);
    }
    out.push('\n');
    out
}

fn stanza(out: &mut String, written: &Written, checked: &Checked, host: &dyn Host) {
    line(out, format_args!("SOURCE ({}):  {}", written.number, written.source));
    line(out, format_args!("{}", "=".repeat(62)));
    for row in ROWS {
        let value = value(*row, written, checked, host);
        line(out, format_args!("{:>27}:  {value}", row.name()));
    }
    out.push('\n');
}

/// One line of a stanza.
#[derive(Clone, Copy)]
enum Row {
    /// What somebody wrote.
    Text(Field),
    /// That there is one.
    Secret(Field),
    Flag(Field),
    /// Something that is worked out.
    Made(&'static str, fn(&Written, &Checked, &dyn Host) -> String),
}

impl Row {
    const fn name(self) -> &'static str {
        match self {
            Self::Text(field) | Self::Secret(field) | Self::Flag(field) => field.name(),
            Self::Made(name, _) => name,
        }
    }
}

const ROWS: &[Row] = &[
    Row::Text(Field::Destination),
    Row::Text(Field::OpenPorts),
    Row::Text(Field::RestrictPorts),
    Row::Made("KEY", |written, _, _| shown(written, Field::Key, Field::KeyBase64)),
    Row::Secret(Field::KeyBase64),
    Row::Made("KEY_LEN", |written, _, _| length(written, Field::Key, Field::KeyBase64)),
    Row::Made("HMAC_KEY", |written, _, _| shown(written, Field::HmacKey, Field::HmacKeyBase64)),
    Row::Secret(Field::HmacKeyBase64),
    Row::Made("HMAC_KEY_LEN", |written, _, _| length(written, Field::HmacKey, Field::HmacKeyBase64)),
    Row::Made("HMAC_DIGEST_TYPE", |written, _, _| hash(written).to_string()),
    Row::Made("FW_ACCESS_TIMEOUT", |_, checked, _| checked.lasting.to_string()),
    Row::Made("MAX_FW_TIMEOUT", |_, checked, _| checked.longest.to_string()),
    Row::Flag(Field::EnableCmdExec),
    Row::Flag(Field::EnableCmdSudoExec),
    Row::Text(Field::CmdSudoExecUser),
    Row::Text(Field::CmdSudoExecGroup),
    Row::Text(Field::CmdExecUser),
    Row::Text(Field::CmdExecGroup),
    Row::Text(Field::CmdCycleOpen),
    Row::Text(Field::CmdCycleClose),
    Row::Made("CMD_CYCLE_TIMER", |_, checked, _| checked.timer.unwrap_or(0).to_string()),
    Row::Text(Field::RequireUsername),
    Row::Flag(Field::RequireSourceAddress),
    Row::Made("FORCE_NAT (ip)", |_, checked, _| force(checked).0),
    Row::Made("FORCE_NAT (proto)", |_, _, _| NOT_SET.to_owned()),
    Row::Made("FORCE_NAT (port)", |_, checked, _| force(checked).1.to_string()),
    Row::Made("FORCE_SNAT (ip)", |written, _, _| text(written, Field::ForceSnat)),
    Row::Flag(Field::ForceMasquerade),
    Row::Flag(Field::DisableDnat),
    Row::Flag(Field::ForwardAll),
    Row::Made("ACCESS_EXPIRE", |_, checked, host| {
        checked.expires.and_then(|at| host.date(at)).unwrap_or_else(|| NOT_SET.to_owned())
    }),
    Row::Made("GPG_HOME_DIR", |written, checked, _| {
        let used = checked.gpg.as_ref().map(|gpg| gpg.home.display().to_string());
        used.unwrap_or_else(|| text(written, Field::GpgHomeDir))
    }),
    Row::Text(Field::GpgExe),
    Row::Text(Field::GpgDecryptId),
    Row::Made("GPG_DECRYPT_PW", |_, checked, _| {
        if checked.gpg.is_some() { NOT_SHOWN } else { NOT_SET }.to_owned()
    }),
    Row::Made("GPG_REQUIRE_SIG", |written, checked, _| {
        let used = checked.gpg.as_ref().map(|gpg| gpg.check_signature);
        word(used.unwrap_or_else(|| written.flag(Field::GpgRequireSig)))
    }),
    Row::Flag(Field::GpgIgnoreSigVerifyError),
    Row::Text(Field::GpgRemoteId),
    Row::Text(Field::GpgFingerprintId),
];

fn value(row: Row, written: &Written, checked: &Checked, host: &dyn Host) -> String {
    match row {
        Row::Text(field) => text(written, field),
        Row::Secret(field) => if written.get(field).is_some() { NOT_SHOWN } else { NOT_SET }.to_owned(),
        Row::Flag(field) => word(written.flag(field)),
        Row::Made(_, make) => make(written, checked, host),
    }
}

fn text(written: &Written, field: Field) -> String {
    written.text(field).unwrap_or(NOT_SET).to_owned()
}

fn word(yes: bool) -> String {
    if yes { "Yes" } else { "No" }.to_owned()
}

/// The key itself is worked out of either.
fn shown(written: &Written, plain: Field, base64: Field) -> String {
    if written.later(plain, base64).is_some() { NOT_SHOWN } else { NOT_SET }.to_owned()
}

/// How many bytes the key has that counts.
fn length(written: &Written, plain: Field, base64: Field) -> String {
    secret::key(written, plain, base64).ok().flatten().map_or(0, |key| key.len()).to_string()
}

/// The number of the HMAC's hash, from 1 on; 0 without an HMAC.
fn hash(written: &Written) -> usize {
    let named = written.text(Field::HmacDigestType).and_then(HashType::named);
    let has_key = written.later(Field::HmacKey, Field::HmacKeyBase64).is_some();
    let hash = named.or_else(|| has_key.then(HashType::default));
    hash.and_then(|hash| HashType::ALL.into_iter().position(|known| known == hash)).map_or(0, |at| at + 1)
}

/// The forced inner host; 0.0.0.0 where everything goes through to wherever it goes.
fn force(checked: &Checked) -> (String, u16) {
    let nat = &checked.rules.nat;
    match nat.force {
        Some((host, port)) => (host.to_string(), port),
        None if nat.unasked => ("0.0.0.0".to_owned(), 0),
        None => (NOT_SET.to_owned(), 0),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}
