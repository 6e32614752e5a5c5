//! The text inside an fwknop packet, one oddity at a time, asked of Debian's fwknopd and of ours: both take it or both
//! refuse it, but where the table says why ours does not (docs/protocol-fwknop.md, "Where ours differs").

use portunus_crypto::text;
use portunus_dialect::fwknop::{HashType, Keys, Mode, Packet, envelope};
use portunus_interop::Original;

/// Ours refuses what the original takes.
const BLANKS: Option<&str> = Some("numbers are digits");
const OCTAL: Option<&str> = Some("to some programs a leading zero is octal");
const BASE64: Option<&str> = Some("two texts for one meaning");
const HOST: Option<&str> = Some("the host is to be resolved");
const CONTROL: Option<&str> = Some("neither a command line nor a log takes it");
/// Ours takes what the original refuses.
const IPV6: Option<&str> = Some("IPv6 where both ends are ours");
const LATE: Option<&str> = Some("the original ends in January 2038");

type Row = (String, Option<&'static str>);

/// Every text, and why the two differ where they do.
fn table() -> Vec<Row> {
    [messages(), commands(), nats(), users(), numbers(), counts()].concat()
}

fn messages() -> Vec<Row> {
    let long = format!("1.2.3.4{}", ",tcp/22".repeat(20));
    let rows = [
        ("1.2.3.4,tcp/22", None),
        ("1.2.3.4,udp/53,tcp/1,tcp/65535", None),
        ("0.0.0.0,tcp/22", None),
        ("255.255.255.255,tcp/22", None),
        ("1.2.3.4,tcp/22,tcp/22", None),
        ("1.2.3.4,tcp/022", None),
        ("1.2.3.4,tcp/00022", None),
        ("1.2.3.4,tcp/000022", None),
        ("1.2.3.4,tcp/22 ", None),
        ("1.2.3.4,tcp/ 22", None),
        ("1.2.3.4,tcp/+22", None),
        ("1.2.3.4,TCP/22", None),
        ("1.2.3.4,icmp/1", None),
        ("1.2.3.4,none/0", None),
        ("1.2.3.4,tcp/0", None),
        ("1.2.3.4,tcp/65536", None),
        ("1.2.3.4,tcp/22-25", None),
        ("1.2.3.4,tcp/22/3", None),
        ("1.2.3.4,tcp/22\n", None),
        ("1.2.3.4,tcp/22,", None),
        ("1.2.3.4,,tcp/22", None),
        ("1.2.3.4,", None),
        ("1.2.3.4", None),
        ("1.2.3,tcp/22", None),
        ("1.2.3.256,tcp/22", None),
        (" 1.2.3.4,tcp/22", None),
        ("1.2.3.4 ,tcp/22", None),
        ("::,tcp/22", None),
        ("::ffff:1.2.3.4,tcp/22", None),
        ("01.2.3.4,tcp/22", OCTAL),
        ("001.002.003.004,tcp/22", OCTAL),
        ("2001:db8::1,tcp/22", IPV6),
        (&long, Some("from 400 characters on the original takes it for a GnuPG packet")),
    ];
    rows.map(|(message, why)| (head("1", message), why)).to_vec()
}

fn commands() -> Vec<Row> {
    let rows = [
        ("1.2.3.4,x", None),
        ("1.2.3.4, ls", None),
        ("1.2.3.4,a,b", None),
        ("1.2.3.4,a\nb", None),
        ("1.2.3.4,\u{fc}", None),
        ("0.0.0.0,x", None),
        ("1.2.3.4,", None),
        ("/bin/ls", None),
        ("1.2.3,ls", None),
        ("1.2.3.4,a\0b", CONTROL),
        ("1.2.3.4,a\u{1b}b", CONTROL),
        ("2001:db8::1,ls", IPV6),
    ];
    let latin1 = format!("{START}:0:{}", text::encode_bare(b"1.2.3.4,\xfc"));
    rows.map(|(message, why)| (head("0", message), why)).into_iter().chain([(latin1, CONTROL)]).collect()
}

fn nats() -> Vec<Row> {
    let (longest, longer) = (format!("{},22", "a".repeat(70)), format!("{},22", "a".repeat(71)));
    let rows = [
        ("10.0.0.1,22", None),
        ("10.0.0.1,022", None),
        ("host.example,22", None),
        ("ho_st-1,65535", None),
        ("10.0.0.256,22", None),
        (&longest, None),
        (&longer, None),
        ("10.0.0.1,0", None),
        ("10.0.0.1,65536", None),
        ("10.0.0.1,22x", None),
        ("10.0.0.1", None),
        ("10.0.0.1,22,33", None),
        ("10.0.0.1, 22", None),
        ("10.0.0.1 ,22", None),
        ("10.0.0.1,tcp/22", None),
        ("ho st,22", None),
        ("ho'st,22", None),
        ("ho;st,22", HOST),
        ("ho$(x)st,22", HOST),
        (",22", HOST),
        ("[2001:db8::1],22", HOST),
        ("2001:db8::1,22", Some("the original takes it for a name; ours wants the knock marked by IPv6")),
    ];
    let with = |nat: &str| format!("{}:{}", head("2", "1.2.3.4,tcp/22"), text::encode_bare(nat.as_bytes()));
    rows.map(|(nat, why)| (with(nat), why)).to_vec()
}

fn users() -> Vec<Row> {
    let rows = [
        ("root".to_owned(), None),
        ("a".repeat(48), None),
        ("a".repeat(49), None),
        (String::new(), None),
        ("a b".to_owned(), None),
        ("a.b-c_d$".to_owned(), None),
        ("!#%&'(){}@^_`~".to_owned(), None),
        ("\u{fc}".to_owned(), None),
        ("\u{1}a".to_owned(), None),
    ];
    let forbidden = "\"/\\[]:;|=,+*?<>".chars().map(|c| (format!("a{c}b"), None));
    let fields =
        [("cm9vdA==", None), ("cm9vdB", None), ("cm9v_A", None), ("cm9v=dA", BASE64), ("cm9vd", BASE64)];
    let with = |field: &str| format!("{RANDOM}:{field}:1795217518:3.0.0:1:{MESSAGE}");
    let named = rows.into_iter().chain(forbidden);
    let named = named.map(|(user, why)| (with(&text::encode_bare(user.as_bytes())), why));
    named.chain(fields.map(|(field, why)| (with(field), why))).collect()
}

fn numbers() -> Vec<Row> {
    let stamps = [
        ("0", None),
        ("1795217518", None),
        ("099999999999", None),
        ("9999999999999", None),
        ("-1", None),
        ("", None),
        ("2147483648", LATE),
        ("+5", BLANKS),
        (" 5", BLANKS),
        ("5 ", BLANKS),
        ("1795217518x", BLANKS),
    ];
    let kinds = [
        ("01", None),
        ("001", None),
        ("7", None),
        ("", None),
        ("1 ", BLANKS),
        ("+1", BLANKS),
        ("1x", BLANKS),
    ];
    let versions =
        [("3", None), ("12345678", None), ("123456789", None), ("", None), (" ", None), ("\u{e9}", None)];
    let timeouts = ["0", "60", "00060", "000065536", "65536", "65537", "x", "", "6 ", "+6", "-5"];
    let stamps = stamps.map(|(stamp, why)| (format!("{RANDOM}:cm9vdA:{stamp}:3.0.0:1:{MESSAGE}"), why));
    let kinds = kinds.map(|(kind, why)| (format!("{START}:{kind}:{MESSAGE}"), why));
    let versions = versions.map(|(version, why)| (format!("{RANDOM}:cm9vdA:1:{version}:1:{MESSAGE}"), why));
    let timeouts = timeouts.map(|timeout| (format!("{START}:3:{MESSAGE}:{timeout}"), None));
    [stamps.to_vec(), kinds.to_vec(), versions.to_vec(), timeouts.to_vec()].concat()
}

/// How many fields each type has, and how many digits RAND.
fn counts() -> Vec<Row> {
    let rests = [
        "0:COMMAND",
        "0:COMMAND:YXV0aA",
        "0:COMMAND:YXV0aA:60",
        "1:ACCESS",
        "1:ACCESS:YXV0aA",
        "1:ACCESS:60",
        "1:ACCESS:",
        "1:ACCESS:a_b",
        "1:ACCESS:YXV0aA:60",
        "2:ACCESS",
        "2:ACCESS:NAT",
        "2:ACCESS:NAT:YXV0aA",
        "2:ACCESS:NAT:YXV0aA:60",
        "3:ACCESS",
        "3:ACCESS:60",
        "3:ACCESS:YXV0aA:60",
        "3:ACCESS:YXV0aA:60:60",
        "4:ACCESS:NAT",
        "4:ACCESS:NAT:60",
        "4:ACCESS:NAT:YXV0aA:60",
        "4:ACCESS:NAT:YXV0aA:60:1",
        "5:ACCESS",
        "5:ACCESS:NAT",
        "5:ACCESS:NAT:YXV0aA",
        "6:ACCESS:NAT",
        "6:ACCESS:NAT:60",
        "6:ACCESS:NAT:YXV0aA:60",
        "1",
    ];
    let full = |rest: &str| rest.replace("COMMAND", COMMAND).replace("ACCESS", MESSAGE).replace("NAT", NAT);
    let randoms = ["123456789012345", "12345678901234567", "123456789012345x", ""];
    let rests = rests.map(|rest| (format!("{START}:{}", full(rest)), None));
    let randoms = randoms.map(|random| (format!("{random}:cm9vdA:1795217518:3.0.0:1:{MESSAGE}"), None));
    rests.into_iter().chain(randoms).collect()
}

const RANDOM: &str = "1234567890123456";
const START: &str = "1234567890123456:cm9vdA:1795217518:3.0.0";
/// `1.2.3.4,tcp/22`, `1.2.3.4,ls` and `10.0.0.1,22`.
const MESSAGE: &str = "MS4yLjMuNCx0Y3AvMjI";
const COMMAND: &str = "MS4yLjMuNCxscw";
const NAT: &str = "MTAuMC4wLjEsMjI";

fn head(kind: &str, message: &str) -> String {
    format!("{START}:{kind}:{}", text::encode_bare(message.as_bytes()))
}

#[test]
fn both_take_the_same_texts() {
    let table = table();
    let hmac_key = [7; 32];
    let keys = Keys::new(&[5; 32], Mode::Cbc, Some((HashType::Sha256, &hmac_key))).expect("good keys");
    let stanza = format!(
        "SOURCE ANY\nKEY_BASE64 {}\nHMAC_KEY_BASE64 {}\nENABLE_CMD_EXEC Y\n",
        text::encode(&[5; 32]),
        text::encode(&hmac_key)
    );
    let salt = |n: usize| u64::try_from(n).expect("a short table").to_be_bytes();
    let wires =
        table.iter().enumerate().map(|(n, (text, _))| envelope(&keys, text, HashType::Sha256, salt(n)).wire);
    let wires: Vec<_> = wires.collect();

    let heard = Original::new().hears(&stanza, &wires);
    let mut wrong = Vec::new();
    for ((wire, heard), (text, why)) in wires.iter().zip(heard).zip(&table) {
        assert!(!heard.said.is_empty(), "fwknopd did not look at {text:?}");
        let packet = Packet::new_checked(wire.as_bytes()).expect("the shape of a packet");
        let ours = keys.open(&packet).map(|_| ());
        if (ours.is_ok() == heard.granted_by.is_some()) != why.is_none() {
            wrong.push(format!(
                "{text:?}, differs: {why:?}\n  ours: {ours:?}\n  theirs: {:?}",
                heard.said.lines().last()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}
