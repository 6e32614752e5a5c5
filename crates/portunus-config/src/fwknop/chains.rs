//! The chains of iptables, as fwknopd.conf has them.

use portunus_model::{ChainRow, Chains, NatSource, Stanza};

use super::conf::Conf;
use super::lines::Spot;
use super::variable::Variable;
use crate::source::Findings;

/// The highest place in a chain.
const HIGHEST: u32 = 65_535;

/// All six rows, those that nobody needs too: the original checks every one.
pub(super) struct Rows {
    rows: Vec<(Variable, Option<ChainRow>)>,
}

const ROWS: [Variable; 6] = [
    Variable::IptInputAccess,
    Variable::IptOutputAccess,
    Variable::IptForwardAccess,
    Variable::IptDnatAccess,
    Variable::IptSnatAccess,
    Variable::IptMasqueradeAccess,
];

pub(super) fn read(conf: &Conf, findings: &mut Findings) -> Rows {
    let one = |variable: Variable, findings: &mut Findings| {
        let text = conf.text(variable).unwrap_or_default();
        row(variable, text, &conf.spot(variable), findings)
    };
    Rows { rows: ROWS.into_iter().map(|variable| (variable, one(variable, findings))).collect() }
}

impl Rows {
    /// The chains that are made, given who may do what.
    pub(super) fn chains(&self, conf: &Conf, stanzas: &[&Stanza]) -> Option<Chains> {
        let get = |variable: Variable| {
            self.rows.iter().find(|(known, _)| *known == variable).and_then(|(_, row)| row.clone())
        };
        let when = |needed: bool, variable| if needed { get(variable) } else { None };
        let translated = conf.flag(Variable::EnableIptForwarding) || conf.flag(Variable::EnableIptLocalNat);
        let through = translated || stanzas.iter().any(|stanza| stanza.nat.unasked);
        let shown = through
            && (conf.flag(Variable::EnableIptSnat)
                || stanzas.iter().any(|stanza| stanza.nat.source != NatSource::Kept));
        Some(Chains {
            input: get(Variable::IptInputAccess)?,
            output: when(conf.flag(Variable::EnableIptOutput), Variable::IptOutputAccess),
            forward: when(through, Variable::IptForwardAccess),
            dnat: when(through, Variable::IptDnatAccess),
            snat: when(shown, Variable::IptSnatAccess),
            masquerade: when(shown, Variable::IptMasqueradeAccess),
            prepend: conf.flag(Variable::EnableRulePrepend),
            flush_at_start: conf.flag(Variable::FlushIptAtInit),
            flush_at_end: conf.flag(Variable::FlushIptAtExit),
            program: conf.setting(Variable::FirewallExe).map(|setting| setting.text.clone()),
        })
    }
}

fn row(variable: Variable, text: &str, spot: &Spot, findings: &mut Findings) -> Option<ChainRow> {
    let name = variable.name();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ' ' | '\t');
    let fields: Vec<&str> = text.split([',', ' ', '\t']).filter(|field| !field.is_empty()).collect();
    // 1.9 said in the second place which end is meant; each chain has one that it can mean.
    let fields = match fields.as_slice() {
        [target, "src" | "dst" | "both", rest @ ..] if rest.len() == 5 => [&[*target], rest].concat(),
        fields => fields.to_vec(),
    };
    let [target, table, from, jump, chain, position] = fields.as_slice() else {
        return unfit(name, spot, findings);
    };
    if !text.chars().all(allowed) {
        return unfit(name, spot, findings);
    }
    let place = |text: &str| text.parse().ok().filter(|place: &u32| *place <= HIGHEST);
    let (Some(jump), Some(_)) = (place(jump), place(position)) else {
        let which = if place(jump).is_none() { "jump" } else { "chain" };
        let what = format!("invalid {which} rule position in Line: {text}");
        findings.tell(|| spot.diagnostic(what, format!("write a number from 1 to {HIGHEST}")));
        return None;
    };
    Some(ChainRow {
        target: (*target).to_owned(),
        table: (*table).to_owned(),
        from: (*from).to_owned(),
        // 0 is the first place too.
        jump: jump.max(1),
        chain: (*chain).to_owned(),
    })
}

fn unfit(name: &str, spot: &Spot, findings: &mut Findings) -> Option<ChainRow> {
    let what = format!("Invalid {name} specification, see fwknopd.conf comments");
    let mend = "write TARGET, TABLE, FROM, PLACE, CHAIN, PLACE, with letters, digits and _ only";
    findings.tell(|| spot.diagnostic(what, mend));
    None
}
