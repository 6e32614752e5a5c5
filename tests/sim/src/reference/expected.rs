//! Which words are right for a datagram.

use std::net::IpAddr;
use std::time::Duration;

use portunus_model::{Claimed, Detail, Event, Now, Opened, Reason, Rules};

use super::{About, Case, Cause, Shape, client_of, decide, is_stale, shape};
use crate::stanzas;

/// What nobody's text is: where no stanza is for packets from there, nobody has even looked at it.
fn stranger(source: IpAddr, rules: &Rules) -> Vec<Reason> {
    if rules.clients.iter().all(|client| client.stanza.is_none()) {
        return vec![Reason::Noise];
    }
    vec![if stanzas::any_is_for(rules, source) { Reason::Unauthentic } else { Reason::UnknownClient }]
}

/// Which words are right for a datagram, given what the gate was told.
pub(super) fn expected(case: &Case, event: &Event, rules: &Rules, now: Now, about: About) -> Vec<Reason> {
    let About { cause, full, .. } = about;
    let packet = &case.packet;
    let client = client_of(packet, rules);
    if packet.is_of_gpg()
        && let Cause::Input | Cause::Gpg | Cause::Timeout = cause
        && !matches!(event.reason, Reason::StoreUnavailable | Reason::FirewallFailed)
    {
        return expected_of_gpg(case, rules, now, about);
    }
    match cause {
        Cause::Input => {
            let mut expected = match shape(packet) {
                Shape::Noise => return vec![Reason::Noise],
                Shape::Unauthentic => vec![Reason::Unauthentic],
                Shape::Nobodys => vec![Reason::UnknownClient],
                Shape::NoKeys => stranger(case.source, rules),
                Shape::By(_) if client.is_none() => stranger(case.source, rules),
                Shape::Of(_) if client.is_none() => vec![Reason::UnknownClient],
                Shape::Of(_) | Shape::By(_) if is_stale(packet, rules, now) => {
                    let ahead = (packet.stamp.as_nanos() - now.wall.as_nanos()) / 1_000_000;
                    if event.reason == Reason::Stale {
                        assert_eq!(event.detail, Some(Detail::ClockOffset(ahead as i64)));
                    }
                    vec![Reason::Stale]
                }
                Shape::Of(_) | Shape::By(_) => vec![],
            };
            // By the lane of known sources it is proven before anybody asks whether a stanza is for packets from there.
            if matches!(shape(packet), Shape::By(keys) if !stanzas::one_is_for(rules, &keys, case.source)) {
                expected.extend(stranger(case.source, rules));
            }
            expected.extend(full.then_some(Reason::Busy));
            expected
        }
        // Another packet than the one that was answered for may be next, and is one of GnuPG's. One that its own clients'
        // keyrings do not open goes on among the unknown, and may find no room there but another's.
        Cause::Gpg => full.then_some(Reason::Busy).into_iter().collect(),
        Cause::Claimed { packet: id, answer, gone, takers } => {
            assert_eq!(packet.id, id, "a verdict on another packet");
            match (client.filter(|_| !gone), answer) {
                (None, _) => vec![Reason::UnknownClient],
                (Some(_), Claimed::Fresh) => {
                    decide(packet, case.source, rules, now, takers).err().into_iter().collect()
                }
                (Some(_), Claimed::Replayed) => vec![Reason::Replayed],
                (Some(_), Claimed::BelowHorizon | Claimed::TooFarAhead) => vec![Reason::Stale],
                (Some(_), Claimed::Unavailable) => vec![Reason::StoreUnavailable],
            }
        }
        Cause::Opened { packet: id, answer, revoked, was_open } => {
            assert_eq!(packet.id, id, "a verdict on another packet");
            match answer {
                Opened::Open if revoked => vec![Reason::Closed],
                Opened::Open if was_open => vec![Reason::Extended],
                Opened::Open => vec![Reason::Granted],
                Opened::Refused | Opened::Full | Opened::Failed => vec![Reason::FirewallFailed],
            }
        }
        Cause::Timeout => vec![Reason::StoreUnavailable, Reason::FirewallFailed],
        Cause::Order => vec![],
    }
}

/// The same for a packet of GnuPG's that is not yet proven, or too old.
fn expected_of_gpg(case: &Case, rules: &Rules, now: Now, about: About) -> Vec<Reason> {
    let packet = &case.packet;
    let mut expected = match shape(packet) {
        Shape::Noise => return vec![Reason::Noise],
        Shape::By(_) if client_of(packet, rules).is_some() => {
            if is_stale(packet, rules, now) {
                vec![Reason::Stale]
            } else {
                vec![]
            }
        }
        Shape::By(_) | Shape::NoKeys | Shape::Unauthentic | Shape::Nobodys | Shape::Of(_) => {
            stranger(case.source, rules)
        }
    };
    let strained = about.strained.is_some_and(|at| at >= case.at);
    // Whoever has waited for so long has given up, where it waited too.
    let old = now.mono.since(case.at) > GPG_PATIENCE;
    expected.extend((about.full || strained || old).then_some(Reason::Busy));
    // It was asked about by other rules than those of now.
    if case.reloaded {
        expected.extend([Reason::Unauthentic, Reason::UnknownClient, Reason::Noise, Reason::Stale]);
    }
    expected
}

/// The longest that a packet may have been there before gpg is asked about it.
const GPG_PATIENCE: Duration = Duration::from_secs(10);
