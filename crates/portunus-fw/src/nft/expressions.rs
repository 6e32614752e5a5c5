//! Conditions and verdicts of a rule, as nf_tables' expressions.

use netlink_bindings::nftables::{
    CmpOps, CtKeys, MetaKeys, PayloadBase, PushExprListAttrs, Registers, VerdictCode,
};
use netlink_bindings::traits::Pusher;
use netlink_bindings::utils::push_header;

use super::keys::{Field, Keys, Role, Value};
use super::message::ANONYMOUS;
use super::rule::{If, Span, Then};
use super::sets::Version;

/// The first of the sixteen 32-bit registers: a key is loaded from here on.
const KEY: u32 = Registers::Reg3200 as u32;

/// `anonymous`: the number of the set that this rule's ports stand in.
pub(super) fn push_condition<P: Pusher>(
    list: PushExprListAttrs<P>,
    condition: &If,
    anonymous: Option<u32>,
) -> PushExprListAttrs<P> {
    match condition {
        If::ComesByNoneOf(set) => lookup(meta(list, MetaKeys::Iifname), set.as_bytes(), None, true),
        // Loopback is interface 1 in every network namespace (LOOPBACK_IFINDEX).
        If::FromLoopback => compare(meta(list, MetaKeys::Iif), CmpOps::Eq, &1_u32.to_ne_bytes()),
        // NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED)
        If::OfLiveFlow => connection_has(list, CtKeys::State, 6),
        If::Is(version) => compare(meta(list, MetaKeys::Nfproto), CmpOps::Eq, &[version.nfproto()]),
        If::Proto(proto) => compare(meta(list, MetaKeys::L4Proto), CmpOps::Eq, &[proto.number()]),
        If::ToPorts(spans) => within(load_port(list, KEY), spans, anonymous),
        If::FirstPorts(spans) => within(load_first_port(list, KEY), spans, anonymous),
        // IPS_DST_NAT (linux/netfilter/nf_conntrack_common.h)
        If::Turned => connection_has(list, CtKeys::Status, 1 << 5),
        If::InSet(keys, set) => lookup(load_key(list, *keys, false), set.as_bytes(), None, false),
        If::AnswersSet(keys, set) => {
            let list = match keys.span() {
                Some((first, last)) => {
                    let list = payload(list, PayloadBase::TransportHeader, 0, 2, KEY);
                    let list = compare(list, CmpOps::Gte, &first.to_be_bytes());
                    compare(list, CmpOps::Lte, &last.to_be_bytes())
                }
                None => list,
            };
            lookup(load_key(list, *keys, true), set.as_bytes(), None, false)
        }
    }
}

/// Any of these bits.
fn connection_has<P: Pusher>(list: PushExprListAttrs<P>, key: CtKeys, bits: u32) -> PushExprListAttrs<P> {
    let list = list
        .nested_elem()
        .nested_data_ct()
        .push_dreg(KEY)
        .push_key(key as u32)
        .end_nested()
        .end_nested()
        .nested_elem()
        .nested_data_bitwise()
        .push_sreg(KEY)
        .push_dreg(KEY)
        .push_len(4)
        .nested_mask()
        .push_value(&bits.to_ne_bytes())
        .end_nested()
        .nested_xor()
        .push_value(&[0; 4])
        .end_nested()
        .end_nested()
        .end_nested();
    compare(list, CmpOps::Neq, &[0; 4])
}

/// Whether the port that was loaded lies in one of these.
fn within<P: Pusher>(
    list: PushExprListAttrs<P>,
    spans: &[Span],
    anonymous: Option<u32>,
) -> PushExprListAttrs<P> {
    match spans {
        [(first, last)] if first == last => compare(list, CmpOps::Eq, &first.to_be_bytes()),
        [(first, last)] => {
            let list = compare(list, CmpOps::Gte, &first.to_be_bytes());
            compare(list, CmpOps::Lte, &last.to_be_bytes())
        }
        _ => lookup(list, ANONYMOUS, anonymous, false),
    }
}

/// Loads what [`super::keys::places`] writes, field by field; of an answer, what it answers to.
fn load_key<P: Pusher>(mut list: PushExprListAttrs<P>, keys: Keys, answer: bool) -> PushExprListAttrs<P> {
    let version = keys.version().unwrap_or(Version::V4);
    let mut register = KEY;
    for field in keys.fields() {
        let next = register + field_words(*field, version);
        list = match field {
            Field::Source => load_address(list, version, answer, register),
            Field::Destination => load_address(list, version, !answer, register),
            Field::Proto => meta_into(list, MetaKeys::L4Proto, register),
            Field::Port if answer => payload(list, PayloadBase::TransportHeader, 0, 2, register),
            Field::Port => load_port(list, register),
            // At the place of the destination's in an answer.
            Field::SourcePort if answer => load_port(list, register),
            Field::SourcePort => payload(list, PayloadBase::TransportHeader, 0, 2, register),
            Field::FirstPort => load_first_port(list, register),
            Field::Interface => meta_into(list, MetaKeys::Iifname, register),
        };
        register = next;
    }
    list
}

/// How many registers a field takes.
const fn field_words(field: Field, version: Version) -> u32 {
    match (field, version) {
        (Field::Source | Field::Destination, Version::V6) | (Field::Interface, _) => 4,
        (
            Field::Source
            | Field::Destination
            | Field::Proto
            | Field::Port
            | Field::SourcePort
            | Field::FirstPort,
            _,
        ) => 1,
    }
}

/// The source address, or the destination's, at its place in the header (RFC 791 section 3.1, RFC 8200 section 3).
fn load_address<P: Pusher>(
    list: PushExprListAttrs<P>,
    version: Version,
    destination: bool,
    register: u32,
) -> PushExprListAttrs<P> {
    let (offset, length) = match version {
        Version::V4 => (12, 4),
        Version::V6 => (8, 16),
    };
    let offset = if destination { offset + length } else { offset };
    payload(list, PayloadBase::NetworkHeader, offset, length, register)
}

/// `IP_CT_DIR_ORIGINAL` (linux/netfilter/nf_conntrack_tuple_common.h).
const ORIGINAL: u8 = 0;

/// `ct original proto-dst`.
fn load_first_port<P: Pusher>(list: PushExprListAttrs<P>, register: u32) -> PushExprListAttrs<P> {
    list.nested_elem()
        .nested_data_ct()
        .push_dreg(register)
        .push_key(CtKeys::ProtoDst as u32)
        .push_direction(ORIGINAL)
        .end_nested()
        .end_nested()
}

/// The destination port, at the same place for TCP and UDP (RFC 9293 section 3.1, RFC 768).
fn load_port<P: Pusher>(list: PushExprListAttrs<P>, register: u32) -> PushExprListAttrs<P> {
    payload(list, PayloadBase::TransportHeader, 2, 2, register)
}

fn payload<P: Pusher>(
    list: PushExprListAttrs<P>,
    base: PayloadBase,
    offset: u32,
    length: u32,
    register: u32,
) -> PushExprListAttrs<P> {
    list.nested_elem()
        .nested_data_payload()
        .push_dreg(register)
        .push_base(base as u32)
        .push_offset(offset)
        .push_len(length)
        .end_nested()
        .end_nested()
}

fn meta<P: Pusher>(list: PushExprListAttrs<P>, key: MetaKeys) -> PushExprListAttrs<P> {
    meta_into(list, key, KEY)
}

fn meta_into<P: Pusher>(list: PushExprListAttrs<P>, key: MetaKeys, register: u32) -> PushExprListAttrs<P> {
    list.nested_elem().nested_data_meta().push_dreg(register).push_key(key as u32).end_nested().end_nested()
}

fn compare<P: Pusher>(list: PushExprListAttrs<P>, op: CmpOps, value: &[u8]) -> PushExprListAttrs<P> {
    list.nested_elem()
        .nested_data_cmp()
        .push_sreg(KEY)
        .push_op(op as u32)
        .nested_data()
        .push_value(value)
        .end_nested()
        .end_nested()
        .end_nested()
}

fn lookup<P: Pusher>(
    list: PushExprListAttrs<P>,
    set: &[u8],
    id: Option<u32>,
    inverted: bool,
) -> PushExprListAttrs<P> {
    look(list, set, id, inverted, None)
}

/// The same in a map: what it gives comes to where the key was.
fn look_up_value<P: Pusher>(list: PushExprListAttrs<P>, map: &[u8]) -> PushExprListAttrs<P> {
    look(list, map, None, false, Some(KEY))
}

/// `NFTA_LOOKUP_SREG` is 2, `NFTA_LOOKUP_DREG` 3, `NFTA_LOOKUP_SET_ID` 4 and `NFTA_LOOKUP_FLAGS` 5
/// (linux/netfilter/nf_tables.h); the kernel's description, from which netlink-bindings is made, counts the register as 3,
/// so these are written here.
fn look<P: Pusher>(
    list: PushExprListAttrs<P>,
    set: &[u8],
    id: Option<u32>,
    inverted: bool,
    value: Option<u32>,
) -> PushExprListAttrs<P> {
    const SREG: u16 = 2;
    const DREG: u16 = 3;
    const SET_ID: u16 = 4;
    const FLAGS: u16 = 5;
    let mut attributes = list.nested_elem().nested_data_lookup().push_set_bytes(set);
    // Each attribute begins on a whole word.
    let bytes = attributes.as_vec_mut();
    push_header(bytes, SREG, 4);
    bytes.extend(KEY.to_be_bytes());
    if let Some(register) = value {
        push_header(bytes, DREG, 4);
        bytes.extend(register.to_be_bytes());
    }
    if let Some(id) = id {
        push_header(bytes, SET_ID, 4);
        bytes.extend(id.to_be_bytes());
    }
    if inverted {
        push_header(bytes, FLAGS, 4);
        bytes.extend(1_u32.to_be_bytes());
    }
    attributes.end_nested().end_nested()
}

pub(super) fn push_verdict<P: Pusher>(list: PushExprListAttrs<P>, then: &Then) -> PushExprListAttrs<P> {
    match then {
        Then::Accept => verdict(list, VerdictCode::Accept, None),
        Then::Drop => verdict(list, VerdictCode::Drop, None),
        Then::Return => verdict(list, VerdictCode::Return, None),
        Then::Jump(chain) => verdict(list, VerdictCode::Jump, Some(chain)),
        Then::Turn(keys, map) => {
            translate(look_up_value(load_key(list, *keys, false), map.as_bytes()), Role::Turn, *keys)
        }
        Then::Source(keys, map) => {
            translate(look_up_value(load_key(list, *keys, false), map.as_bytes()), Role::Source, *keys)
        }
        Then::Masquerade => list.nested_elem().push_name(c"masq").end_nested(),
    }
}

fn verdict<P: Pusher>(
    list: PushExprListAttrs<P>,
    code: VerdictCode,
    chain: Option<&str>,
) -> PushExprListAttrs<P> {
    let verdict = list
        .nested_elem()
        .nested_data_immediate()
        .push_dreg(Registers::RegVerdict as u32)
        .nested_data()
        .nested_verdict()
        .push_code(code as u32);
    let verdict = match chain {
        Some(chain) => verdict.push_chain_bytes(chain.as_bytes()),
        None => verdict,
    };
    verdict.end_nested().end_nested().end_nested().end_nested()
}

/// To what stands in the registers: an address, and behind it a port where the map gives one.
fn translate<P: Pusher>(list: PushExprListAttrs<P>, role: Role, keys: Keys) -> PushExprListAttrs<P> {
    // NFT_NAT_SNAT, NFT_NAT_DNAT
    let kind = u32::from(role == Role::Turn);
    let version = keys.version().unwrap_or(Version::V4);
    let nat = list
        .nested_elem()
        .nested_data_nat()
        .push_type(kind)
        .push_family(u32::from(version.nfproto()))
        .push_reg_addr_min(KEY);
    let nat = match Value::of(role, keys) {
        Some(Value::HostPort(version)) => {
            nat.push_reg_proto_min(KEY + field_words(Field::Destination, version))
        }
        Some(Value::Host(_)) | None => nat,
    };
    nat.end_nested().end_nested()
}
