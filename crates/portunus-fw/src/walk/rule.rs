//! One rule, expression by expression, as the kernel runs it: until one does not match or decides.

use super::packet::{Packet, SentOn};
use super::value::{Byte, Tri, compare, known, masked, within};
use super::{IpVersion, Walker, sets};
use crate::ruleset::{
    CtKey, Data, Expr, Fib, Hook, MetaKey, Multiport, Nat, Register, Rule, RuleVerdict, Set, Table, Xt,
    XtTarget,
};

/// What meeting a rule can come to.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// The packet may go on with the next rule.
    pub(super) may_fall: bool,
    /// What it may decide, each possible.
    pub(super) verdicts: Vec<RuleVerdict>,
    /// It changes the packet's destination.
    pub(super) sent_on: Option<SentOn>,
    /// What the answer depends on.
    pub(super) doubt: Option<String>,
}

/// The registers while a rule runs.
struct Registers([Byte; 64]);

impl Registers {
    fn get(&self, reg: Register, len: usize) -> Vec<Byte> {
        let at = reg.offset().unwrap_or(usize::MAX);
        (0..len)
            .map(|i| at.checked_add(i).and_then(|at| self.0.get(at)).copied().unwrap_or(Byte::Unknown))
            .collect()
    }

    fn put(&mut self, reg: Register, bytes: &[Byte]) {
        let Some(room) = reg.offset().and_then(|at| self.0.get_mut(at..)) else { return };
        // The kernel fills a word up with zeros (nft_reg_store8, nft_reg_store16, payload of odd length).
        let padded = bytes.len().next_multiple_of(4);
        let padding = std::iter::repeat_n(&Byte::Known(0), padded - bytes.len());
        for (to, from) in room.iter_mut().zip(bytes.iter().chain(padding)) {
            *to = *from;
        }
    }
}

/// What one expression comes to.
enum Step {
    /// On, surely or perhaps.
    Match(Tri),
    /// It decides one of these; `Tri` whether it matches at all.
    Decide(Tri, Vec<RuleVerdict>),
}

impl Walker<'_> {
    pub(super) fn rule(&mut self, table: &Table, rule: &Rule, sure: bool) -> Met {
        let mut met = Met::default();
        let mut registers = Registers([Byte::Unknown; 64]);
        for expr in &rule.exprs {
            let certain = sure && !met.may_fall;
            let (tri, verdicts) = match self.step(table, expr, &mut registers, certain, &mut met) {
                Step::Match(tri) => (tri, None),
                Step::Decide(tri, verdicts) => (tri, Some(verdicts)),
            };
            match tri {
                Tri::No => {
                    met.may_fall = true;
                    return met;
                }
                Tri::Maybe => {
                    met.may_fall = true;
                    met.doubt.get_or_insert_with(|| expr.words_alone(table));
                }
                Tri::Yes => {}
            }
            if let Some(verdicts) = verdicts {
                met.verdicts = verdicts;
                return met;
            }
        }
        met.may_fall = true;
        met
    }

    /// One arm an expression: in one place it is seen that none is missing.
    fn step(&mut self, table: &Table, expr: &Expr, regs: &mut Registers, sure: bool, met: &mut Met) -> Step {
        Step::Match(match expr {
            Expr::Meta { key, dreg } => {
                regs.put(*dreg, &self.meta(*key));
                Tri::Yes
            }
            Expr::MetaSet { key, sreg } => {
                if *key == MetaKey::Mark {
                    let to = regs.get(*sreg, 4);
                    self.packet.mark = merged(&to, sure);
                }
                Tri::Yes
            }
            Expr::Payload { base, offset, len, dreg } => {
                regs.put(*dreg, &self.packet.header(*base, *offset as usize, *len as usize));
                Tri::Yes
            }
            Expr::Cmp { op, sreg, value } => compare(*op, &regs.get(*sreg, value.len()), value),
            Expr::Range { inside, sreg, from, to } => {
                within(&regs.get(*sreg, from.len()), from, to).turned_if(!inside)
            }
            Expr::Bitwise { sreg, dreg, len, mask, xor } => {
                let bytes = regs.get(*sreg, *len as usize);
                let changed: Vec<Byte> =
                    bytes.iter().zip(mask.iter().zip(xor)).map(|(&b, (&m, &x))| masked(b, m, x)).collect();
                regs.put(*dreg, &changed);
                Tri::Yes
            }
            Expr::ByteOrder { sreg, dreg, len, size } => {
                regs.put(*dreg, &turned(regs.get(*sreg, *len as usize), *size as usize));
                Tri::Yes
            }
            Expr::Lookup { set, sreg, dreg, inverted } => {
                return self.lookup(table, set, *sreg, *dreg, *inverted, regs);
            }
            Expr::Immediate { dreg: 0, data: Data::Verdict(verdict) } => {
                return Step::Decide(Tri::Yes, vec![verdict.clone()]);
            }
            Expr::Immediate { dreg, data: Data::Value(value) } => {
                regs.put(Register(*dreg), &known(value));
                Tri::Yes
            }
            Expr::Immediate { data: Data::Verdict(_), .. } => Tri::Maybe,
            Expr::Ct { key, dreg } => {
                regs.put(*dreg, &self.connection(*key));
                Tri::Yes
            }
            Expr::Dynset { inverted, exprs, .. } => self.dynset(table, *inverted, exprs, regs, sure, met),
            Expr::Reject { .. } => return Step::Decide(Tri::Yes, vec![RuleVerdict::Drop]),
            Expr::Nat(nat) => return nat_step(*nat, regs, met),
            Expr::Notrack => {
                self.packet.untracked |= sure;
                Tri::Yes
            }
            // The first packet of a connection is below any rate or number in use.
            Expr::Limit { over, .. } | Expr::ConnLimit { over, .. } => Tri::from(!over),
            Expr::Fib(fib) => {
                regs.put(fib.dreg, &fib_answer(*fib));
                Tri::Yes
            }
            Expr::Counter | Expr::Log { .. } | Expr::Note(_) => Tri::Yes,
            Expr::CtSet { key, sreg } => {
                if *key == CtKey::Mark {
                    let to = regs.get(*sreg, 4);
                    self.packet.connection_mark = merged(&to, sure);
                }
                Tri::Yes
            }
            Expr::Load { dreg, .. } => {
                regs.put(*dreg, &[Byte::Unknown; 16]);
                Tri::Yes
            }
            Expr::Xt(xt) => self.xt(xt),
            Expr::XtTarget(target) => return xt_target(target, met),
            Expr::Unknown(_) => {
                *regs = Registers([Byte::Unknown; 64]);
                Tri::Maybe
            }
        })
    }

    fn meta(&self, key: MetaKey) -> Vec<Byte> {
        let v4 = self.packet.version() == IpVersion::V4;
        match key {
            MetaKey::Protocol => known(if v4 { &[0x08, 0x00] } else { &[0x86, 0xdd] }),
            MetaKey::NfProto => known(if v4 { &[2] } else { &[10] }),
            MetaKey::L4Proto => known(&[self.packet.proto().number()]),
            MetaKey::Mark => self.packet.mark.to_vec(),
            MetaKey::Iif => self.packet.interface_index(),
            MetaKey::IifName => self.packet.interface_name(),
            // On its way to this host it goes out of no interface.
            MetaKey::Oif if self.packet.hook != Hook::Forward => known(&[0; 4]),
            MetaKey::OifName if self.packet.hook != Hook::Forward => known(&[0; 16]),
            MetaKey::Oif => vec![Byte::Unknown; 4],
            MetaKey::OifName => vec![Byte::Unknown; 16],
            // PACKET_HOST
            MetaKey::PktType => known(&[0]),
            MetaKey::Other(_) => vec![Byte::Unknown; 16],
        }
    }

    fn connection(&self, key: CtKey) -> Vec<Byte> {
        match key {
            CtKey::State => known(&self.packet.state().to_ne_bytes()),
            CtKey::Direction => known(&[0]),
            // IPS_DST_NAT
            CtKey::Status => known(&u32::from(self.packet.sent_on.is_some()).wrapping_shl(5).to_ne_bytes()),
            CtKey::Mark => self.packet.connection_mark.to_vec(),
            CtKey::FirstPort => self.packet.first_port().to_vec(),
            CtKey::Other(_) => vec![Byte::Unknown; 16],
        }
    }

    fn lookup(
        &self,
        table: &Table,
        name: &str,
        sreg: Register,
        dreg: Option<u32>,
        inverted: bool,
        regs: &mut Registers,
    ) -> Step {
        let Some(set) = table.set(name) else { return Step::Match(Tri::Maybe) };
        if self.packet.granted() && is_ours(table, set) {
            let lets_in = crate::nft::grants(&set.name, self.packet.goes_through());
            return Step::Match(Tri::from(lets_in).turned_if(inverted));
        }
        let found = sets::find(set, &regs.get(sreg, set.key_len as usize));
        let Some(dreg) = dreg else { return Step::Match(found.is.turned_if(inverted)) };
        let data: Vec<&Data> = found.elements.iter().filter_map(|e| e.data.as_ref()).collect();
        if set.verdicts {
            let verdicts = data.iter().filter_map(|d| match d {
                Data::Verdict(verdict) => Some(verdict.clone()),
                Data::Value(_) => None,
            });
            return Step::Decide(found.is, verdicts.collect());
        }
        match data.as_slice() {
            [Data::Value(value)] => regs.put(Register(dreg), &known(value)),
            _ => regs.put(Register(dreg), &[Byte::Unknown; 16]),
        }
        Step::Match(found.is)
    }

    fn dynset(
        &mut self,
        table: &Table,
        inverted: bool,
        exprs: &[Expr],
        regs: &mut Registers,
        sure: bool,
        met: &mut Met,
    ) -> Tri {
        let mut all = Tri::Yes;
        for expr in exprs {
            match self.step(table, expr, regs, sure, met) {
                Step::Match(tri) | Step::Decide(tri, _) => all = all.and(tri),
            }
        }
        all.and(Tri::from(!inverted))
    }

    fn xt(&self, xt: &Xt) -> Tri {
        match xt {
            Xt::Comment(_) | Xt::Mostly(_) => Tri::Yes,
            Xt::State { new, untracked, .. } => match self.packet.state() {
                8 => Tri::from(*new),
                64 => Tri::from(*untracked),
                _ => Tri::Maybe,
            },
            Xt::Multiport(ports) => multiport(ports, self.packet.port()),
            Xt::AddrType { source, destination, flags } => {
                // From a host (RTN_UNICAST) to us (RTN_LOCAL).
                let source = (*source == 0) || (source & (1 << 1) != 0) != (flags & 1 != 0);
                let destination = (*destination == 0) || (destination & (1 << 2) != 0) != (flags & 2 != 0);
                Tri::from(source && destination)
            }
            Xt::Other(_) => Tri::Maybe,
        }
    }
}

/// Sets of ours hold whoever has a grant, or is cut off.
fn is_ours(table: &Table, set: &Set) -> bool {
    !set.anonymous && (super::is_our_table(table) || set.comment.as_deref().is_some_and(super::is_ours))
}

/// A mark that may have been set.
fn merged(to: &[Byte], sure: bool) -> [Byte; 4] {
    match to {
        &[a, b, c, d] if sure => [a, b, c, d],
        _ => [Byte::Unknown; 4],
    }
}

/// Network order to host order or back: the same on any machine that does it at all.
fn turned(mut bytes: Vec<Byte>, size: usize) -> Vec<Byte> {
    if cfg!(target_endian = "little") && size > 0 {
        bytes.chunks_mut(size).for_each(<[Byte]>::reverse);
    }
    bytes
}

fn nat_step(nat: Nat, regs: &Registers, met: &mut Met) -> Step {
    let port_in = |reg: Register| match regs.get(reg, 2).as_slice() {
        &[Byte::Known(a), Byte::Known(b)] => Some(u16::from_be_bytes([a, b])),
        _ => None,
    };
    met.sent_on = match nat {
        Nat::Source => None,
        Nat::Redirect { port } => Some(SentOn { elsewhere: false, port: port.map(port_in) }),
        Nat::Destination { address, port } => {
            Some(SentOn { elsewhere: address.is_some(), port: port.map(port_in) })
        }
    };
    Step::Decide(Tri::Yes, vec![RuleVerdict::Accept])
}

fn xt_target(target: &XtTarget, met: &mut Met) -> Step {
    match target {
        XtTarget::Reject => Step::Decide(Tri::Yes, vec![RuleVerdict::Drop]),
        XtTarget::Destination(port) => {
            met.sent_on = Some(SentOn { elsewhere: true, port: port.map(Some) });
            Step::Decide(Tri::Yes, vec![RuleVerdict::Accept])
        }
        XtTarget::Redirect(port) => {
            met.sent_on = Some(SentOn { elsewhere: false, port: port.map(Some) });
            Step::Decide(Tri::Yes, vec![RuleVerdict::Accept])
        }
        XtTarget::Note(_) => Step::Match(Tri::Yes),
        XtTarget::Other(_) => {
            Step::Decide(Tri::Maybe, vec![RuleVerdict::Accept, RuleVerdict::Drop, RuleVerdict::Continue])
        }
    }
}

/// What the routing table says of a packet that came from a host outside, by the way that leads back there, to us.
fn fib_answer(fib: Fib) -> Vec<Byte> {
    const SOURCE: u32 = 1;
    const PRESENT: u32 = 1 << 5;
    match fib.result {
        1 if fib.flags & PRESENT != 0 => known(&[1]),
        2 if fib.flags & PRESENT != 0 => known(&[1]),
        // An interface, and not none (0).
        1 => vec![Byte::NotLoopback(0); 4],
        3 if fib.flags & SOURCE != 0 => known(&1_u32.to_ne_bytes()),
        3 => known(&2_u32.to_ne_bytes()),
        _ => vec![Byte::Unknown; 16],
    }
}

fn multiport(ports: &Multiport, port: Option<u16>) -> Tri {
    let within = |port: u16| ports.ranges.iter().any(|&(first, last)| (first..=last).contains(&port));
    let source = ports.source && within(Packet::source_port());
    let destination = match (ports.destination, port) {
        (false, _) => Tri::No,
        (true, Some(port)) => Tri::from(within(port)),
        (true, None) => Tri::Maybe,
    };
    let any = if source { Tri::Yes } else { destination };
    any.turned_if(ports.inverted)
}
