//! The bytes that go to the kernel, with the line of nft's language that they mean: a change in them is seen here
//! first, whatever library writes them. (`tests/nft.rs` shows that the kernel reads them so.)

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where it stopped"
)]

use std::fmt::Write as _;

use portunus_model::{Family, PortSpec, Proto};

use super::keys::{Keys, Role};
use super::message::{Batch, OURS, One, TableName};
use super::plan::Hooked;
use super::rule::{If, RulePlan, Then};
use super::sets::{SetPlan, Version};

fn own() -> TableName {
    TableName { family: Family::Inet, name: OURS.to_owned() }
}

/// Everything between the begin and the end of the transaction, word by word; each message on a line.
fn words(fill: impl FnOnce(&mut Batch)) -> String {
    let mut batch = Batch::begin(1, None);
    fill(&mut batch);
    let bytes = batch.end().bytes;
    let mut rest = bytes.as_slice();
    let mut lines = Vec::new();
    while let Some(length) = rest.first_chunk::<4>().map(|length| u32::from_ne_bytes(*length) as usize) {
        let (message, after) = rest.split_at(length.next_multiple_of(4));
        let mut line = String::new();
        for word in message.chunks(4) {
            word.iter().for_each(|byte| write!(line, "{byte:02x}").unwrap());
            line.push(' ');
        }
        lines.push(line.trim_end().to_owned());
        rest = after;
    }
    lines[1..lines.len() - 1].join("\n")
}

fn golden(fill: impl FnOnce(&mut Batch), expected: &[&str]) {
    let expected: Vec<String> =
        expected.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(words(fill), expected.join("\n"));
}

#[test]
fn add_table() {
    // add table inet portunus { comment "portunus"; }
    golden(
        |batch| batch.new_table(&own()),
        &["33000000 000a0504 02000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0f000600 0009706f 7274756e 75730000"],
    );
}

#[test]
fn add_base_chain() {
    // add chain inet portunus input { type filter hook input priority filter - 10; policy accept; comment "portunus"; }
    golden(
        |batch| batch.new_base_chain(&own(), "input", Hooked::Input),
        &["67000000 030a0504 02000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0a000300 696e7075 74000000 14000480 08000100 00000001 \
         08000200 fffffff6 08000500 00000001 0b000700 66696c74 65720000 0f000c00 0009706f 7274756e \
         75730000"],
    );
}

#[test]
fn add_set() {
    // add set inet portunus open4 { type ipv4_addr . inet_proto . inet_service; size 100; flags timeout; comment "portunus"; }
    let set = SetPlan { name: "open4".into(), keys: Keys::Single(Version::V4), role: Role::Open };
    golden(
        |batch| batch.new_set(&own(), &set, 100),
        &["6b000000 090a0504 02000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0a000200 6f70656e 34000000 08000a00 00000001 08000300 \
         00000010 08000400 0000730d 08000500 0000000c 0c000980 08000100 00000064 0f000d00 0709706f \
         7274756e 75730000"],
    );
}

#[test]
fn add_and_delete_element() {
    // add element inet portunus open4 { 192.0.2.1 . tcp . 22 timeout 30s }
    // delete element inet portunus open4 { 192.0.2.1 . tcp . 22 }
    let key = [192, 0, 2, 1, 6, 0, 0, 0, 0, 22, 0, 0];
    golden(
        |batch| {
            batch.new_elements(
                &own(),
                "open4",
                std::iter::once(One { timeout: Some(30_000), ..One::key(&key) }),
            );
            batch.delete_elements(&own(), "open4", std::iter::once(key.as_slice()));
        },
        &[
            "58000000 0c0a0104 02000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0a000200 6f70656e 34000000 28000380 24000180 14000180 \
         10000100 c0000201 06000000 00160000 0c000400 00000000 00007530",
            "4c000000 0e0a0500 03000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0a000200 6f70656e 34000000 1c000380 18000180 14000180 \
         10000100 c0000201 06000000 00160000",
        ],
    );
}

#[test]
fn accept_a_grant() {
    // add rule inet portunus input ip saddr . meta l4proto . th dport @open4 accept comment "portunus"
    let ifs = vec![If::Is(Version::V4), If::InSet(Keys::Single(Version::V4), "open4".into())];
    golden(
        |batch| batch.new_rule(&own(), "input", &RulePlan { ifs, then: Then::Accept }, None),
        &["77010000 060a050c 02000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0a000200 696e7075 74000000 38010480 24000180 09000100 \
         6d657461 00000000 14000280 08000100 00000008 08000200 0000000f 2c000180 08000100 636d7000 \
         20000280 08000100 00000008 08000200 00000000 0c000380 05000100 02000000 34000180 0c000100 \
         7061796c 6f616400 24000280 08000100 00000008 08000200 00000001 08000300 0000000c 08000400 \
         00000004 24000180 09000100 6d657461 00000000 14000280 08000100 00000009 08000200 00000010 \
         34000180 0c000100 7061796c 6f616400 24000280 08000100 0000000a 08000200 00000002 08000300 \
         00000002 08000400 00000002 28000180 0b000100 6c6f6f6b 75700000 18000280 0a000100 6f70656e \
         34000000 08000200 00000008 30000180 0e000100 696d6d65 64696174 65000000 1c000280 08000100 \
         00000000 10000280 0c000280 08000100 00000001 0f000700 0009706f 7274756e 75730000"],
    );
}

#[test]
fn drop_who_is_cut_off() {
    // add rule inet portunus input ip saddr . meta l4proto . th dport @cut4 drop comment "portunus"
    let ifs = vec![If::Is(Version::V4), If::InSet(Keys::Single(Version::V4), "cut4".into())];
    golden(
        |batch| batch.new_rule(&own(), "input", &RulePlan { ifs, then: Then::Drop }, None),
        &["77010000 060a050c 02000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0a000200 696e7075 74000000 38010480 24000180 09000100 \
         6d657461 00000000 14000280 08000100 00000008 08000200 0000000f 2c000180 08000100 636d7000 \
         20000280 08000100 00000008 08000200 00000000 0c000380 05000100 02000000 34000180 0c000100 \
         7061796c 6f616400 24000280 08000100 00000008 08000200 00000001 08000300 0000000c 08000400 \
         00000004 24000180 09000100 6d657461 00000000 14000280 08000100 00000009 08000200 00000010 \
         34000180 0c000100 7061796c 6f616400 24000280 08000100 0000000a 08000200 00000002 08000300 \
         00000002 08000400 00000002 28000180 0b000100 6c6f6f6b 75700000 18000280 09000100 63757434 \
         00000000 08000200 00000008 30000180 0e000100 696d6d65 64696174 65000000 1c000280 08000100 \
         00000000 10000280 0c000280 08000100 00000000 0f000700 0009706f 7274756e 75730000"],
    );
}

#[test]
fn drop_what_is_protected() {
    // add rule inet portunus input tcp dport { 22, 8000-8010 } drop comment "portunus"
    let ports = |text: &str| PortSpec::parse(text).unwrap()[0];
    let span = |port: PortSpec| (port.first(), port.last());
    let spans = vec![span(ports("22/tcp")), span(ports("8000-8010/tcp"))];
    let ifs = vec![If::Proto(Proto::Tcp), If::ToPorts(spans)];
    golden(
        |batch| batch.new_rule(&own(), "input", &RulePlan { ifs, then: Then::Drop }, None),
        &[
            "5a000000 090a0104 02000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0c000200 5f5f7365 74256400 08000a00 00000001 08000300 \
         00000007 08000400 0000000d 08000500 00000002 0a000d00 00040200 00000000",
            "8c000000 0c0a0104 03000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0c000200 5f5f7365 74256400 08000400 00000001 54000380 \
         10000180 0c000180 06000100 00160000 18000180 08000300 00000001 0c000180 06000100 00170000 \
         10000180 0c000180 06000100 1f400000 18000180 08000300 00000001 0c000180 06000100 1f4b0000",
            "27010000 060a050c 04000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0a000200 696e7075 74000000 e8000480 24000180 09000100 \
         6d657461 00000000 14000280 08000100 00000008 08000200 00000010 2c000180 08000100 636d7000 \
         20000280 08000100 00000008 08000200 00000000 0c000380 05000100 06000000 34000180 0c000100 \
         7061796c 6f616400 24000280 08000100 00000008 08000200 00000002 08000300 00000002 08000400 \
         00000002 30000180 0b000100 6c6f6f6b 75700000 20000280 0c000100 5f5f7365 74256400 08000200 \
         00000008 08000400 00000001 30000180 0e000100 696d6d65 64696174 65000000 1c000280 08000100 \
         00000000 10000280 0c000280 08000100 00000000 0f000700 0009706f 7274756e 75730000",
        ],
    );
}

#[test]
fn accept_live_flows() {
    // add rule inet portunus input ct state established,related accept comment "portunus"
    let rule = RulePlan { ifs: vec![If::OfLiveFlow], then: Then::Accept };
    golden(
        |batch| batch.new_rule(&own(), "input", &rule, None),
        &["03010000 060a050c 02000000 00000000 01000000 \
         0d000100 706f7274 756e7573 00000000 0a000200 696e7075 74000000 c4000480 20000180 07000100 \
         63740000 14000280 08000100 00000008 08000200 00000000 44000180 0c000100 62697477 69736500 \
         34000280 08000100 00000008 08000200 00000008 08000300 00000004 0c000480 08000100 06000000 \
         0c000580 08000100 00000000 2c000180 08000100 636d7000 20000280 08000100 00000008 08000200 \
         00000001 0c000380 08000100 00000000 30000180 0e000100 696d6d65 64696174 65000000 1c000280 \
         08000100 00000000 10000280 0c000280 08000100 00000001 0f000700 0009706f 7274756e 75730000"],
    );
}

#[test]
fn jump_before_a_drop() {
    // insert rule ip filter INPUT handle 7 jump portunus comment "portunus"
    let table = TableName { family: Family::Ip, name: "filter".into() };
    let rule = RulePlan { ifs: Vec::new(), then: Then::Jump(OURS.into()) };
    golden(
        |batch| batch.new_rule(&table, "INPUT", &rule, Some(7)),
        &["8b000000 060a0504 02000000 00000000 02000000 \
         0b000100 66696c74 65720000 0a000200 494e5055 54000000 0c000600 00000000 00000007 44000480 \
         40000180 0e000100 696d6d65 64696174 65000000 2c000280 08000100 00000000 20000280 1c000280 \
         08000100 fffffffd 0d000200 706f7274 756e7573 00000000 0f000700 0009706f 7274756e 75730000"],
    );
}
