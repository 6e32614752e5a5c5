//! Conditions and verdicts of a rule, as nf_tables' expressions.

use netlink_bindings::nftables::{
    CmpOps, CtKeys, MetaKeys, PayloadBase, PushExprListAttrs, Registers, VerdictCode,
};
use netlink_bindings::traits::Pusher;
use netlink_bindings::utils::push_header;

use super::message::ANONYMOUS;
use super::plan::{If, Keys, Then, Version};

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
        If::OfLiveFlow => {
            // NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED)
            let mask = 6_u32.to_ne_bytes();
            let list = list
                .nested_elem()
                .nested_data_ct()
                .push_dreg(KEY)
                .push_key(CtKeys::State as u32)
                .end_nested()
                .end_nested()
                .nested_elem()
                .nested_data_bitwise()
                .push_sreg(KEY)
                .push_dreg(KEY)
                .push_len(4)
                .nested_mask()
                .push_value(&mask)
                .end_nested()
                .nested_xor()
                .push_value(&[0; 4])
                .end_nested()
                .end_nested()
                .end_nested();
            compare(list, CmpOps::Neq, &[0; 4])
        }
        If::Is(version) => compare(meta(list, MetaKeys::Nfproto), CmpOps::Eq, &[version.nfproto()]),
        If::Proto(proto) => compare(meta(list, MetaKeys::L4Proto), CmpOps::Eq, &[proto.number()]),
        If::ToPorts(spans) => {
            let list = load_port(list, KEY);
            match spans.as_slice() {
                [(first, last)] if first == last => compare(list, CmpOps::Eq, &first.to_be_bytes()),
                [(first, last)] => {
                    let list = compare(list, CmpOps::Gte, &first.to_be_bytes());
                    compare(list, CmpOps::Lte, &last.to_be_bytes())
                }
                _ => lookup(list, ANONYMOUS, anonymous, false),
            }
        }
        If::InSet(keys, set) => lookup(load_key(list, *keys), set.as_bytes(), None, false),
    }
}

/// Loads what [`super::plan::key_of`] writes, field by field.
fn load_key<P: Pusher>(list: PushExprListAttrs<P>, keys: Keys) -> PushExprListAttrs<P> {
    match keys {
        Keys::Single(version) => {
            let (list, next) = load_source(list, version);
            load_port(meta_into(list, MetaKeys::L4Proto, next), next + 1)
        }
        Keys::Range(version, _) => {
            let (list, next) = load_source(list, version);
            meta_into(list, MetaKeys::L4Proto, next)
        }
        Keys::Interfaces => meta(list, MetaKeys::Iifname),
    }
}

/// The source address, at its place in the header (RFC 791 section 3.1, RFC 8200 section 3); and the next register.
fn load_source<P: Pusher>(list: PushExprListAttrs<P>, version: Version) -> (PushExprListAttrs<P>, u32) {
    let (offset, length) = match version {
        Version::V4 => (12, 4),
        Version::V6 => (8, 16),
    };
    (payload(list, PayloadBase::NetworkHeader, offset, length, KEY), KEY + length / 4)
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

/// `NFTA_LOOKUP_SREG` is 2, `NFTA_LOOKUP_SET_ID` 4 and `NFTA_LOOKUP_FLAGS` 5 (linux/netfilter/nf_tables.h); the kernel's
/// description, from which netlink-bindings is made, counts the register as 3, so these are written here.
fn lookup<P: Pusher>(
    list: PushExprListAttrs<P>,
    set: &[u8],
    id: Option<u32>,
    inverted: bool,
) -> PushExprListAttrs<P> {
    const SREG: u16 = 2;
    const SET_ID: u16 = 4;
    const FLAGS: u16 = 5;
    let mut attributes = list.nested_elem().nested_data_lookup().push_set_bytes(set);
    // Each attribute begins on a whole word.
    let bytes = attributes.as_vec_mut();
    push_header(bytes, SREG, 4);
    bytes.extend(KEY.to_be_bytes());
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
    let verdict = list
        .nested_elem()
        .nested_data_immediate()
        .push_dreg(Registers::RegVerdict as u32)
        .nested_data()
        .nested_verdict();
    let verdict = match then {
        Then::Accept => verdict.push_code(VerdictCode::Accept as u32),
        Then::Drop => verdict.push_code(VerdictCode::Drop as u32),
        Then::Return => verdict.push_code(VerdictCode::Return as u32),
        Then::Jump(chain) => verdict.push_code(VerdictCode::Jump as u32).push_chain_bytes(chain.as_bytes()),
    };
    verdict.end_nested().end_nested().end_nested().end_nested()
}
