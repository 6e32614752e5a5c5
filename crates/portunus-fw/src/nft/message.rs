//! Messages to nf_tables: the framing of a transaction, and the encoding of what the plan holds. The attributes are
//! written by netlink-bindings (docs/adr/0002); the numbers here are those of linux/netfilter/nf_tables.h.

use netlink_bindings::nftables::{
    Nfgenmsg, OpBatchBeginDo, OpDelchainDo, OpDelruleDo, OpDelsetDo, OpDeltableDo, OpNewchainDo, OpNewruleDo,
    OpNewsetDo, OpNewsetelemDo, OpNewtableDo, VerdictCode,
};
use netlink_bindings::utils::push_header;
use portunus_model::Family;

use super::expressions::{push_condition, push_verdict};
use super::keys::{Field, Role, Value};
use super::plan::Hooked;
use super::rule::{If, RulePlan, Span};
use super::sets::{SetPlan, Version};
use crate::ruleset::Hook;

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// `NFT_MSG_*`.
const NEW_TABLE: u16 = SUBSYSTEM;
const DEL_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const DEL_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const DEL_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const DEL_SET: u16 = SUBSYSTEM | 11;
pub(super) const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
const GET_ELEMENTS: u16 = SUBSYSTEM | 13;
const DEL_ELEMENTS: u16 = SUBSYSTEM | 14;
const GET_GENERATION: u16 = SUBSYSTEM | 16;

/// `NLM_F_*` (linux/netlink.h).
pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const DUMP: u16 = 0x300;
const ECHO: u16 = 0x8;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// `NF_INET_PRE_ROUTING`, `NF_INET_LOCAL_IN`, `NF_INET_FORWARD`, `NF_INET_POST_ROUTING`.
const HOOK_PREROUTING: u32 = 0;
const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;
const HOOK_POSTROUTING: u32 = 4;

/// `NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`.
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;

/// Ten before `filter` (0), so that our drops stand before anybody's accepts are asked.
const PRIORITY: i32 = -10;

/// `NFT_SET_MAP`, `NFT_SET_TIMEOUT`.
const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;

/// What our objects are known by in every listing, and what our chain is called in a table of the admin's.
pub(crate) const OURS: &str = "portunus";

/// What our chains are called there that chains of theirs jump to from the way through, and from the way out.
pub(super) const FORWARD_CHAIN: &str = "portunus_forward";
pub(super) const OUTPUT_CHAIN: &str = "portunus_output";

/// Every chain of ours in a table of the admin's.
pub(crate) const THERE: [&str; 3] = [OURS, FORWARD_CHAIN, OUTPUT_CHAIN];

/// The chain of ours that a chain of theirs with this hook jumps to.
pub(crate) const fn chain_for(hook: Option<Hook>) -> &'static str {
    match hook {
        Some(Hook::Forward) => FORWARD_CHAIN,
        Some(Hook::Output) => OUTPUT_CHAIN,
        Some(
            Hook::Input
            | Hook::Ingress
            | Hook::Prerouting
            | Hook::Postrouting
            | Hook::Egress
            | Hook::Other(_),
        )
        | None => OURS,
    }
}

/// nft's `BYTEORDER_HOST_ENDIAN`, `BYTEORDER_BIG_ENDIAN`.
const HOST_ORDER: u32 = 1;
const NETWORK_ORDER: u32 = 2;

/// The kernel puts a number in the place of `%d`.
pub(super) const ANONYMOUS: &[u8] = b"__set%d";

/// Elements a message: an attribute's length has 16 bits.
pub(super) const MOST_ELEMENTS: usize = 500;

/// Bytes of a usual transaction.
const USUAL: usize = 16_384;

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

/// A table as messages name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TableName {
    pub(super) family: Family,
    pub(super) name: String,
}

impl TableName {
    fn header(&self) -> Nfgenmsg {
        Nfgenmsg { nfgen_family: self.nfproto(), ..Nfgenmsg::new() }
    }

    /// `NFPROTO_INET`, `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    pub(super) const fn nfproto(&self) -> u8 {
        match self.family {
            Family::Inet => 1,
            Family::Ip => Version::V4.nfproto(),
            Family::Ip6 => Version::V6.nfproto(),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

/// One transaction in the making: all of it, or none.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
    set_ids: u32,
    last: usize,
}

/// A transaction, ready to be sent.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) bytes: Vec<u8>,
    /// The sequence number of its last message, which alone is acknowledged.
    pub(super) last: u32,
}

impl Batch {
    /// Begins one. With a generation the kernel refuses it (`ERESTART`) when somebody changed the rules since.
    pub(super) fn begin(sequence: u32, generation: Option<u32>) -> Self {
        let mut batch = Self { bytes: Vec::with_capacity(USUAL), sequence, set_ids: 0, last: 0 };
        batch.message(BATCH_BEGIN, 0, |bytes| {
            let attributes = OpBatchBeginDo::encode_request(bytes, &batch_header());
            if let Some(generation) = generation {
                drop(attributes.push_genid(generation));
            }
        });
        batch
    }

    /// The sequence number of the next message.
    pub(super) const fn next(&self) -> u32 {
        self.sequence
    }

    /// Only the last message asks to be acknowledged: an error of any other is told anyway.
    pub(super) fn end(mut self) -> Transaction {
        let last = self.sequence.wrapping_sub(1);
        let flags = self.last + 6..self.last + 8;
        if let Some([a, b]) = self.bytes.get_mut(flags) {
            [*a, *b] = (u16::from_ne_bytes([*a, *b]) | ACK).to_ne_bytes();
        }
        self.message(BATCH_END, 0, |bytes| bytes.extend(batch_header().as_slice()));
        Transaction { bytes: self.bytes, last }
    }

    pub(super) fn new_table(&mut self, table: &TableName) {
        self.message(NEW_TABLE, CREATE, |bytes| {
            let comment = comment(0);
            OpNewtableDo::encode_request(bytes, &table.header())
                .push_name_bytes(table.bytes())
                .push_userdata(&comment);
        });
    }

    pub(super) fn delete_table(&mut self, table: &TableName) {
        self.message(DEL_TABLE, 0, |bytes| {
            OpDeltableDo::encode_request(bytes, &table.header()).push_name_bytes(table.bytes());
        });
    }

    /// A base chain, policy accept.
    pub(super) fn new_base_chain(&mut self, table: &TableName, chain: &str, hooked: Hooked) {
        let (hook, priority, kind) = match hooked {
            Hooked::Input => (HOOK_INPUT, PRIORITY, c"filter"),
            Hooked::Forward => (HOOK_FORWARD, PRIORITY, c"filter"),
            Hooked::Prerouting => (HOOK_PREROUTING, DSTNAT + PRIORITY, c"nat"),
            Hooked::Postrouting => (HOOK_POSTROUTING, SRCNAT + PRIORITY, c"nat"),
        };
        self.message(NEW_CHAIN, CREATE, |bytes| {
            OpNewchainDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_name_bytes(chain.as_bytes())
                .nested_hook()
                .push_num(hook)
                .push_priority(priority)
                .end_nested()
                .push_policy(VerdictCode::Accept as u32)
                .push_type(kind);
            push_chain_comment(bytes);
        });
    }

    /// A chain that is jumped to.
    pub(super) fn new_chain(&mut self, table: &TableName, chain: &str) {
        self.message(NEW_CHAIN, CREATE, |bytes| {
            OpNewchainDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_name_bytes(chain.as_bytes());
            push_chain_comment(bytes);
        });
    }

    pub(super) fn delete_chain(&mut self, table: &TableName, chain: &str) {
        self.message(DEL_CHAIN, 0, |bytes| {
            OpDelchainDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_name_bytes(chain.as_bytes());
        });
    }

    /// A rule at the end of a chain, or before the rule with handle `before`.
    pub(super) fn new_rule(&mut self, table: &TableName, chain: &str, rule: &RulePlan, before: Option<u64>) {
        let spans = rule.ifs.iter().find_map(|condition| match condition {
            If::ToPorts(spans) | If::FirstPorts(spans) if spans.len() > 1 => Some(spans),
            If::ToPorts(_)
            | If::FirstPorts(_)
            | If::Turned
            | If::ComesByNoneOf(_)
            | If::FromLoopback
            | If::OfLiveFlow
            | If::Is(_)
            | If::Proto(_)
            | If::InSet(..)
            | If::AnswersSet(..) => None,
        });
        let anonymous = spans.map(|spans| self.anonymous_set(table, spans));
        let order = if before.is_some() { 0 } else { APPEND };
        self.message(NEW_RULE, CREATE | order, |bytes| {
            let mut attributes = OpNewruleDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_chain_bytes(chain.as_bytes());
            if let Some(handle) = before {
                attributes = attributes.push_position(handle);
            }
            let mut list = attributes.nested_expressions();
            for condition in &rule.ifs {
                list = push_condition(list, condition, anonymous);
            }
            push_verdict(list, &rule.then).end_nested().push_userdata(&comment(0));
        });
    }

    /// One rule by its handle; every rule of the chain without.
    pub(super) fn delete_rules(&mut self, table: &TableName, chain: &str, handle: Option<u64>) {
        self.message(DEL_RULE, 0, |bytes| {
            let attributes = OpDelruleDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_chain_bytes(chain.as_bytes());
            if let Some(handle) = handle {
                drop(attributes.push_handle(handle));
            }
        });
    }

    pub(super) fn new_set(&mut self, table: &TableName, set: &SetPlan, size: u32) {
        let (key_type, key_len) = type_of(set.keys.fields(), set.keys.version());
        let value = Value::of(set.role, set.keys).map(|value| match value {
            Value::Host(version) => type_of(&[Field::Destination], Some(version)),
            Value::HostPort(version) => type_of(&[Field::Destination, Field::Port], Some(version)),
        });
        let timed = if set.role == Role::Interfaces { 0 } else { SET_TIMEOUT };
        let flags = if value.is_some() { timed | SET_MAP } else { timed };
        let userdata = match set.role {
            // nft lists names backwards, and so empty, when it is not told.
            Role::Interfaces => [byte_order(HOST_ORDER), comment(7)].concat(),
            Role::Open
            | Role::Local
            | Role::Through
            | Role::Turn
            | Role::Source
            | Role::Masquerade
            | Role::Cut
            | Role::Trial => comment(7),
        };
        self.set_ids += 1;
        let id = self.set_ids;
        self.message(NEW_SET, CREATE, |bytes| {
            let mut attributes = OpNewsetDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_name_bytes(set.name.as_bytes())
                .push_id(id.to_be())
                .push_flags(flags)
                .push_key_type(key_type)
                .push_key_len(key_len);
            if let Some((data_type, data_len)) = value {
                attributes = attributes.push_data_type(data_type).push_data_len(data_len);
            }
            attributes.nested_desc().push_size(size).end_nested().push_userdata(&userdata);
        });
    }

    /// A set of ports that lives and dies with the one rule that names it, as nft makes for `{ 22, 80-90 }`. The kernel
    /// names it; until then its number stands for it (in network order, which the library does not know).
    fn anonymous_set(&mut self, table: &TableName, spans: &[Span]) -> u32 {
        // NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_INTERVAL; inet_service
        let (flags, key_type) = (0x7, 13);
        self.set_ids += 1;
        let id = self.set_ids;
        self.message(NEW_SET, CREATE, |bytes| {
            OpNewsetDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_name_bytes(ANONYMOUS)
                .push_id(id.to_be())
                .push_flags(flags)
                .push_key_type(key_type)
                .push_key_len(2)
                .push_userdata(&byte_order(NETWORK_ORDER));
        });
        self.message(NEW_ELEMENTS, CREATE, |bytes| {
            let mut list = OpNewsetelemDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_set_bytes(ANONYMOUS)
                .push_set_id(id.to_be())
                .nested_elements();
            for &(first, last) in spans {
                list = list
                    .nested_elem()
                    .nested_key()
                    .push_value(&first.to_be_bytes())
                    .end_nested()
                    .end_nested();
                // NFT_SET_ELEM_INTERVAL_END: the first key after the interval. After the last port there is none.
                if let Some(after) = last.checked_add(1) {
                    let end = list.nested_elem().push_flags(&1_u32.to_be_bytes());
                    list = end.nested_key().push_value(&after.to_be_bytes()).end_nested().end_nested();
                }
            }
        });
        id
    }

    pub(super) fn delete_set(&mut self, table: &TableName, set: &str) {
        self.message(DEL_SET, 0, |bytes| {
            OpDelsetDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_name_bytes(set.as_bytes());
        });
    }

    /// Elements.
    pub(super) fn new_elements<'a>(
        &mut self,
        table: &TableName,
        set: &str,
        elements: impl Iterator<Item = One<'a>>,
    ) {
        self.message(NEW_ELEMENTS, CREATE, |bytes| push_elements(bytes, table, set, elements));
    }

    /// The same, and when the transaction is done, the kernel says of each element what it now has, as it says it to who
    /// listens to changes, and in this order. Where `named`, the end is said too, which moves that of an element that is
    /// there.
    pub(super) fn new_elements_read_back<'a>(
        &mut self,
        table: &TableName,
        set: &str,
        elements: impl Iterator<Item = One<'a>>,
    ) {
        self.message(NEW_ELEMENTS, CREATE | ECHO, |bytes| push_elements(bytes, table, set, elements));
    }

    /// An element as the kernel tells of it.
    #[cfg(test)]
    pub(super) fn says_new_element(&mut self, table: &TableName, set: &str, key: &[u8], left: u64) {
        self.message(NEW_ELEMENTS, 0, |bytes| {
            OpNewsetelemDo::encode_request(bytes, &table.header())
                .push_table_bytes(table.bytes())
                .push_set_bytes(set.as_bytes())
                .nested_elements()
                .nested_elem()
                .nested_key()
                .push_value(key)
                .end_nested()
                .push_expiration(left.to_be());
        });
    }

    pub(super) fn delete_elements<'a>(
        &mut self,
        table: &TableName,
        set: &str,
        keys: impl Iterator<Item = &'a [u8]>,
    ) {
        self.message(DEL_ELEMENTS, 0, |bytes| push_elements(bytes, table, set, keys.map(One::key)));
    }

    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        self.last = self.bytes.len();
        frame(&mut self.bytes, kind, REQUEST | flags, self.sequence, fill);
        self.sequence = self.sequence.wrapping_add(1);
    }
}

/// Asks for one element of a set.
pub(super) fn get_element(sequence: u32, table: &TableName, set: &str, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let fill = |bytes: &mut Vec<u8>| push_elements(bytes, table, set, std::iter::once(One::key(key)));
    frame(&mut bytes, GET_ELEMENTS, REQUEST | ACK, sequence, fill);
    bytes
}

/// Asks for every element of a set.
pub(super) fn dump_elements(sequence: u32, table: &TableName, set: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, GET_ELEMENTS, REQUEST | DUMP, sequence, |bytes| {
        OpNewsetelemDo::encode_request(bytes, &table.header())
            .push_table_bytes(table.bytes())
            .push_set_bytes(set.as_bytes());
    });
    bytes
}

/// Asks for the generation of the rules.
pub(super) fn get_generation(sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, GET_GENERATION, REQUEST, sequence, |bytes| bytes.extend(Nfgenmsg::new().as_slice()));
    bytes
}

/// `struct nlmsghdr` (linux/netlink.h): length, type, flags, sequence number, port (0: the kernel fills it in).
pub(crate) fn frame(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    let start = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    fill(bytes);
    let length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = bytes.get_mut(start..start + 4) {
        field.copy_from_slice(&length.to_ne_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn batch_header() -> Nfgenmsg {
    let mut header = Nfgenmsg::new();
    header.set_res_id(SUBSYSTEM >> 8);
    header
}

/// A comment as nft keeps it (libnftnl's user data: type, length with the final zero, text). The type is 0 for rules,
/// chains and tables, 7 for sets.
fn comment(kind: u8) -> Vec<u8> {
    let length = u8::try_from(OURS.len() + 1).unwrap_or_default();
    [&[kind, length], OURS.as_bytes(), &[0]].concat()
}

/// `NFTA_CHAIN_USERDATA`: the library has the number of another attribute, `NFTA_CHAIN_ID`.
fn push_chain_comment(bytes: &mut Vec<u8>) {
    const USERDATA: u16 = 12;
    let comment = comment(0);
    push_header(bytes, USERDATA, u16::try_from(comment.len()).unwrap_or_default());
    bytes.extend(comment);
}

/// How a listing is to read a set's keys (libnftnl's user data, type 0 of sets: nft's `enum byteorder`).
fn byte_order(order: u32) -> Vec<u8> {
    [&[0, 4], order.to_ne_bytes().as_slice()].concat()
}

/// nft's own numbers of types (src/datatype: ipv4_addr 7, ipv6_addr 8, inet_proto 12, inet_service 13, ifname 41), six
/// bits a field, which only listings read; and the bytes of all fields.
fn type_of(fields: &[Field], version: Option<Version>) -> (u32, u32) {
    let address = match version {
        Some(Version::V6) => (8, 16),
        Some(Version::V4) | None => (7, 4),
    };
    let alone = fields.len() == 1;
    let one = |field: &Field| match field {
        Field::Source | Field::Destination => address,
        // Among others each field has four bytes.
        Field::Proto => (12, if alone { 1 } else { 4 }),
        Field::Port | Field::SourcePort | Field::FirstPort => (13, 4),
        Field::Interface => (41, 16),
    };
    fields.iter().map(one).fold((0, 0), |(types, length), (kind, bytes)| (types << 6 | kind, length + bytes))
}

/// An element on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct One<'a> {
    pub(super) key: &'a [u8],
    /// What a map gives for it; empty in a set.
    pub(super) value: &'a [u8],
    /// Its timeout in milliseconds; `None`: for ever.
    pub(super) timeout: Option<u64>,
    /// Whether what is left of it is said too.
    pub(super) named: bool,
}

impl<'a> One<'a> {
    /// Only its key.
    pub(super) const fn key(key: &'a [u8]) -> Self {
        Self { key, value: &[], timeout: None, named: false }
    }
}

fn push_elements<'a>(
    bytes: &mut Vec<u8>,
    table: &TableName,
    set: &str,
    elements: impl Iterator<Item = One<'a>>,
) {
    let mut list = OpNewsetelemDo::encode_request(bytes, &table.header())
        .push_table_bytes(table.bytes())
        .push_set_bytes(set.as_bytes())
        .nested_elements();
    for One { key, value, timeout, named } in elements {
        let mut element = list.nested_elem().nested_key().push_value(key).end_nested();
        if !value.is_empty() {
            element = element.nested_data().push_value(value).end_nested();
        }
        if let Some(milliseconds) = timeout {
            // The kernel takes it in network order, netlink-bindings would write it in ours.
            element = element.push_timeout(milliseconds.to_be());
            if named {
                element = element.push_expiration(milliseconds.to_be());
            }
        }
        list = element.end_nested();
    }
}
