//! What is told, in words and as JSON.

use std::fmt::Write as _;

use portunus_sys::clock;
use serde_json::{Value, json};

use super::alert::{Alert, What};

/// What one message tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    /// What this server is called.
    pub(super) host: &'a str,
    pub(super) alerts: &'a [Alert],
    /// How many are lost since the last message.
    pub(super) lost: u64,
    /// How many follow in the next message.
    pub(super) more: u64,
}

impl Batch<'_> {
    /// One line. There is nothing in it that a header could not carry.
    pub(super) fn subject(&self) -> String {
        let what = match self.alerts {
            [] => format!("{} lost", several(self.lost, "alert")),
            [one] => one.short(),
            all => {
                let (granted, refused) =
                    all.iter().map(Alert::counts).fold((0, 0), |(granted, refused), one| {
                        (one.0.saturating_add(granted), one.1.saturating_add(refused))
                    });
                match (granted, refused) {
                    (0, 0) => several(all.len() as u64, "alert"),
                    (granted, refused) => counted(granted, refused, ""),
                }
            }
        };
        one_line(&format!("[{}] {what}", self.host))
    }

    pub(super) fn body(&self) -> String {
        let mut out = format!("portunus at {}\n\n", one_line(self.host));
        for alert in self.alerts {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", one_line(&alert.line()));
        }
        if self.more > 0 {
            let _ = writeln!(out, "\n{} more follow in the next message.", self.more);
        }
        if self.lost > 0 {
            let _ = writeln!(
                out,
                "\n{} lost, or may be: there was no room for more, the disk has not kept them, or nobody said that a message was taken. `portunus audit` has them.",
                if self.lost == 1 { "1 alert was".to_owned() } else { format!("{} alerts were", self.lost) }
            );
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let alerts: Vec<Value> = self.alerts.iter().map(Alert::json).collect();
        json!({ "host": self.host, "alerts": alerts, "lost": self.lost, "more": self.more })
    }
}

impl Alert {
    /// How many grants and refusals it tells of.
    fn counts(&self) -> (u64, u64) {
        match self.what {
            What::Granted { .. } => (1, 0),
            What::Test => (0, 0),
            What::Refused { .. } => (0, 1),
            What::More { grants, refusals, .. } => (grants, refusals),
        }
    }

    fn short(&self) -> String {
        match &self.what {
            What::Granted { address, extended: false, .. } => {
                format!("{} let in from {address}", self.client)
            }
            What::Granted { address, extended: true, .. } => {
                format!("{} stays in from {address}", self.client)
            }
            What::Refused { reason, .. } => format!("{} refused: {}", self.client, reason.as_str()),
            What::Test => "a test: alerts come through".to_owned(),
            What::More { grants, refusals, .. } => {
                format!("{}: {}", self.client, counted(*grants, *refusals, "more "))
            }
        }
    }

    fn line(&self) -> String {
        let at = clock::rfc3339(self.at);
        match &self.what {
            What::Granted { address, ports, lasting_s, extended } => {
                let word = if *extended { "extended" } else { "granted" };
                format!("{at} {word} {}: {ports} for {address}, {lasting_s} s", self.client)
            }
            What::Refused { reason, source, unsaid } => {
                let whence = source.map_or_else(String::new, |source| format!(", from {source}"));
                let more = if *unsaid > 0 { format!(", and {unsaid} more like it") } else { String::new() };
                format!("{at} refused {}: {}{whence}{more}", self.client, reason.as_str())
            }
            What::Test => format!("{at} a test: nothing happened"),
            What::More { grants, refusals, address } => {
                let last = address.map_or_else(String::new, |address| format!(", the last for {address}"));
                format!("{at} more of {}: {}{last}", self.client, counted(*grants, *refusals, "more "))
            }
        }
    }

    fn json(&self) -> Value {
        let at = clock::rfc3339(self.at);
        match &self.what {
            What::Granted { address, ports, lasting_s, extended } => json!({
                "at": at, "event": if *extended { "extended" } else { "granted" }, "client": self.client,
                "address": address, "ports": ports, "lasting_s": lasting_s,
            }),
            What::Refused { reason, source, unsaid } => json!({
                "at": at, "event": "refused", "client": self.client, "reason": reason.as_str(),
                "source": source, "unsaid": unsaid,
            }),
            What::Test => json!({ "at": at, "event": "test" }),
            What::More { grants, refusals, address } => json!({
                "at": at, "event": "more", "client": self.client, "grants": grants, "refusals": refusals,
                "address": address,
            }),
        }
    }
}

fn counted(grants: u64, refusals: u64, more: &str) -> String {
    let (granted, refused) =
        (several(grants, &format!("{more}grant")), several(refusals, &format!("{more}refusal")));
    match (grants, refusals) {
        (_, 0) => granted,
        (0, _) => refused,
        _ => format!("{granted}, {refused}"),
    }
}

fn several(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Without anything that could begin a line, or a header, of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use portunus_model::{Reason, Unix};

    use super::*;

    fn granted(client: &str) -> Alert {
        Alert::of_a_grant(client, false, Unix::from_secs(1_795_646_063))
    }

    fn refused(client: &str) -> Alert {
        let what =
            What::Refused { reason: Reason::NotAllowed, source: Some([192, 0, 2, 9].into()), unsaid: 2 };
        Alert { what, ..granted(client) }
    }

    #[test]
    fn one_and_many_and_what_was_lost() {
        let alerts = [granted("alice"), refused("bob")];
        let one = Batch { host: "gate", alerts: &alerts[..1], lost: 0, more: 0 };
        assert_eq!(one.subject(), "[gate] alice let in from 192.0.2.1");
        let two = Batch { host: "gate", alerts: &alerts, lost: 3, more: 4 };
        assert_eq!(two.subject(), "[gate] 1 grant, 1 refusal");
        let body = two.body();
        for words in [
            "2026-11-25T22:34:23.000Z granted alice: 22/tcp for 192.0.2.1, 30 s\n",
            "refused bob: not-allowed, from 192.0.2.9, and 2 more like it\n",
            "4 more follow",
            "3 alerts were lost",
        ] {
            assert!(body.contains(words), "{words}: {body}");
        }
        assert_eq!(two.json()["alerts"][1]["reason"], "not-allowed");
        let what = What::More { grants: 1050, refusals: 1, address: Some([192, 0, 2, 7].into()) };
        let alerts = [granted("alice"), Alert { what, ..granted("bob") }];
        let three = Batch { host: "gate", alerts: &alerts, lost: 0, more: 0 };
        assert_eq!(three.subject(), "[gate] 1051 grants, 1 refusal");
        let words = "more of bob: 1050 more grants, 1 more refusal, the last for 192.0.2.7\n";
        assert!(three.body().contains(words), "{}", three.body());
        assert_eq!(Batch { host: "gate", alerts: &[], lost: 3, more: 0 }.subject(), "[gate] 3 alerts lost");
        let one = Batch { host: "gate", alerts: &[], lost: 1, more: 0 };
        assert_eq!(one.subject(), "[gate] 1 alert lost");
        assert!(one.body().contains("\n1 alert was lost, or may be: "), "{}", one.body());
        // A test is neither.
        let alerts = [Alert::test(), refused("bob"), Alert::test()];
        let subject = |alerts| Batch { host: "gate", alerts, lost: 0, more: 0 }.subject();
        assert_eq!(subject(&alerts), "[gate] 1 refusal");
        assert_eq!(subject(&[Alert::test(), Alert::test()]), "[gate] 2 alerts");
    }

    /// No name of ours has such letters; whatever comes, no header and no line begins in the middle of one.
    #[test]
    fn nobody_writes_a_header_or_a_line_of_his_own() {
        let alerts = [granted("eve\r\nBcc: all@example.org\r\n\r\n2026 granted root")];
        let batch = Batch { host: "a\nb", alerts: &alerts, lost: 0, more: 0 };
        assert!(!batch.subject().contains(['\r', '\n']));
        assert_eq!(batch.body().lines().count(), 3, "{}", batch.body());
    }
}
