//! The kernel's messages of a dump, put together into a [`Ruleset`]. Pure: bytes in, values out.

use super::attr::{Attrs, attrs};
use super::{Base, Chain, Held, Hook, Rule, Ruleset, Set, SetElement, Table, TableFamily, expr};

/// `enum nf_tables_msg_types`, those that a dump answers with.
pub(super) mod message {
    pub(in super::super) const NEW_TABLE: u8 = 0;
    pub(in super::super) const GET_TABLE: u8 = 1;
    pub(in super::super) const NEW_CHAIN: u8 = 3;
    pub(in super::super) const GET_CHAIN: u8 = 4;
    pub(in super::super) const NEW_RULE: u8 = 6;
    pub(in super::super) const GET_RULE: u8 = 7;
    pub(in super::super) const NEW_SET: u8 = 9;
    pub(in super::super) const GET_SET: u8 = 10;
    pub(in super::super) const NEW_ELEMENT: u8 = 12;
    pub(in super::super) const GET_ELEMENT: u8 = 13;
}

impl Ruleset {
    /// Takes one answer: the message's type within nf_tables, and its bytes after `struct nlmsghdr`. Answers about
    /// tables come before those about what is in them. What we cannot place is left out.
    pub(super) fn take(&mut self, kind: u8, body: &[u8]) {
        // struct nfgenmsg: family, version, resource id.
        let Some((&[family, ..], rest)) = body.split_first_chunk::<4>() else { return };
        let (family, a) = (TableFamily::from_number(family), attrs(rest));
        match kind {
            message::NEW_TABLE => self.tables.extend(table(family, &a)),
            message::NEW_CHAIN => {
                if let Some(at) = self.parent(family, &a) {
                    at.chains.extend(chain(family, &a));
                }
            }
            message::NEW_RULE => {
                let chain = a.text(2).unwrap_or_default();
                if let Some(at) = self.parent(family, &a)
                    && let Some(chain) = at.chains.iter_mut().find(|c| c.name == chain)
                {
                    chain.rules.push(rule(&a));
                }
            }
            message::NEW_SET => {
                if let Some(at) = self.parent(family, &a) {
                    at.sets.extend(set(&a));
                }
            }
            message::NEW_ELEMENT => {
                let set = a.text(2).unwrap_or_default();
                if let Some(at) = self.parent(family, &a)
                    && let Some(set) = at.sets.iter_mut().find(|s| s.name == set)
                {
                    let listed = a.nested(3).filter(|e| e.kind == 1);
                    set.elements.extend(listed.map(|e| element(&attrs(e.value))));
                }
            }
            _ => {}
        }
    }

    /// The table that a message's first attribute names: for chains, rules, sets and elements alike.
    fn parent(&mut self, family: TableFamily, a: &Attrs<'_>) -> Option<&mut Table> {
        let name = a.text(1)?;
        self.tables.iter_mut().find(|t| t.family == family && t.name == name)
    }
}

fn table(family: TableFamily, a: &Attrs<'_>) -> Option<Table> {
    let flags = a.be32(2).unwrap_or(0);
    Some(Table {
        family,
        name: a.text(1)?,
        held: Held::Nftables,
        dormant: flags & 1 != 0,
        owner: (flags & 2 != 0).then(|| a.be32(7).unwrap_or(0)),
        comment: a.get(6).and_then(comment),
        chains: Vec::new(),
        sets: Vec::new(),
    })
}

fn chain(family: TableFamily, a: &Attrs<'_>) -> Option<Chain> {
    let hook = a.nested(4);
    let base = hook.be32(1).map(|number| Base {
        kind: a.text(7).unwrap_or_default(),
        hook: Hook::from_number(family, number),
        priority: hook.be32(2).unwrap_or(0).cast_signed(),
        drops: a.be32(5) == Some(0),
        devices: devices(&hook),
    });
    Some(Chain {
        name: a.text(3)?,
        handle: a.be64(2).unwrap_or(0),
        base,
        comment: a.get(12).and_then(comment),
        rules: Vec::new(),
    })
}

/// One device, or a list of them.
fn devices(hook: &Attrs<'_>) -> Vec<String> {
    let listed: Vec<String> =
        hook.nested(4).filter(|d| d.kind == 1).map(|d| super::attr::text(d.value)).collect();
    if listed.is_empty() { hook.text(3).into_iter().collect() } else { listed }
}

fn rule(a: &Attrs<'_>) -> Rule {
    Rule {
        handle: a.be64(3).unwrap_or(0),
        comment: a.get(7).and_then(comment),
        exprs: expr::list(&a.nested(4)),
        written: None,
    }
}

fn set(a: &Attrs<'_>) -> Option<Set> {
    // enum nft_set_flags
    let flags = a.be32(3).unwrap_or(0);
    let concat = a.nested(9).nested(2);
    let fields = concat.filter(|f| f.kind == 1).filter_map(|f| attrs(f.value).be32(1));
    Some(Set {
        name: a.text(2)?,
        anonymous: flags & 0x1 != 0,
        interval: flags & 0x4 != 0,
        map: flags & 0x8 != 0,
        verdicts: a.be32(6) == Some(0xffff_ff00),
        key_type: a.be32(4).unwrap_or(0),
        key_len: a.be32(5).unwrap_or(0),
        fields: fields.map(|len| len.next_multiple_of(4)).collect(),
        // Nested user data: a set's comment is of another type than a rule's.
        comment: a.get(13).and_then(|data| user_text(data, 7)),
        elements: Vec::new(),
        unread: false,
    })
}

fn element(a: &Attrs<'_>) -> SetElement {
    let flags = a.be32(3).unwrap_or(0);
    SetElement {
        key: a.nested(1).get(1).unwrap_or(&[]).to_vec(),
        key_end: a.nested(10).get(1).map(<[u8]>::to_vec),
        interval_end: flags & 1 != 0,
        catch_all: flags & 2 != 0,
        data: a.get(2).and_then(|data| expr::data(&attrs(data))),
    }
}

/// The comment of a table, chain or rule in its user data: nft's own little attributes of one byte type, one byte length.
fn comment(data: &[u8]) -> Option<String> {
    user_text(data, 0)
}

fn user_text(mut data: &[u8], kind: u8) -> Option<String> {
    while let Some((&[this, len], rest)) = data.split_first_chunk::<2>() {
        let (value, rest) = rest.split_at_checked(usize::from(len))?;
        if this == kind {
            return Some(super::attr::text(value));
        }
        data = rest;
    }
    None
}
