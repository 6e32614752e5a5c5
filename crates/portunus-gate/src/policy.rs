//! Whether a claimed knock may open anything, and what. Pure, and the only place where a [`Warrant`] is made.

use std::ops::Deref;
use std::time::Duration;

use portunus_dialect::fwknop::Asked;
use portunus_dialect::native::{self, Kind};
use portunus_model::{
    Client, ClientName, Detail, Now, Opening, Order, PortSpec, Reason, Rules, Way, openable,
};

use crate::chain::{self, Taken};
use crate::names::Names;
use crate::stanza::{self, Judged};

/// The right to have one [`Opening`] opened. It can be read, and be taken apart for the way to the grantor; it cannot be
/// made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warrant {
    opening: Opening,
    /// For whom, as the rules call it.
    name: ClientName,
}

impl Warrant {
    pub(crate) const fn name(&self) -> &ClientName {
        &self.name
    }

    /// What is to be opened, for a message to the grantor.
    #[must_use]
    pub fn into_opening(self) -> Opening {
        self.opening
    }
}

impl Deref for Warrant {
    type Target = Opening;

    fn deref(&self) -> &Opening {
        &self.opening
    }
}

/// The right to have one [`Order`] run. It cannot be made either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mandate {
    order: Order,
}

impl Mandate {
    /// What is to be run, for a message to who runs it.
    #[must_use]
    pub fn into_order(self) -> Order {
        self.order
    }
}

impl Deref for Mandate {
    type Target = Order;

    fn deref(&self) -> &Order {
        &self.order
    }
}

/// What policy says to a knock.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It may open this.
    Grant(Warrant),
    /// It may have this run.
    Run(Mandate),
    /// This name is to be looked up first.
    Name(String),
    /// What is open for it is to be closed.
    Close,
    /// Its one-time code is to be looked at first; then the question is asked again.
    Code,
    /// It may not.
    Refuse(Reason, Option<Detail>),
}

/// Decides by the client's rules as they are now (they may have changed since the knock came in). A grant ends with its
/// client at the latest.
pub(crate) fn decide(knock: &Taken, client: &Client, now: Now) -> Decision {
    decide_for(knock, client, (client.ports.clone(), Way::Here), client.lasting, now)
}

/// What is known of a native knock besides itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Its client closed after it was made.
    pub(crate) closed: bool,
    /// Its one-time code was right, and nobody else's attempt.
    pub(crate) passed: bool,
}

/// Decides on a native knock, which may ask for less than all.
pub(crate) fn decide_native(
    knock: &Taken,
    asked: &native::Asked,
    client: &Client,
    rules: &Rules,
    known: Known,
    now: Now,
) -> Decision {
    if now.wall.distance(knock.stamp()) > rules.window {
        return Decision::Refuse(Reason::Stale, Some(chain::clock_offset(knock.stamp(), now)));
    }
    if known.closed {
        return refuse("it was made before its client closed");
    }
    match asked.kind {
        Kind::Close => return Decision::Close,
        Kind::Enrol => return refuse("its client is enrolled already"),
        Kind::Knock | Kind::NewLink => (),
    }
    if client.native.second_factor && !known.passed {
        return Decision::Code;
    }
    if client.native.must_bind && knock.target().is_none() {
        return refuse("it must name the address that it opens for");
    }
    let Some(ports) = ports_of(&asked.services, client, rules) else {
        return refuse("there is no such service, or not for this client");
    };
    let lasting = match asked.seconds {
        0 => client.lasting,
        seconds => Duration::from_secs(seconds.into()).min(client.lasting),
    };
    if asked.source_port == 0 {
        return decide_for(knock, client, (ports, Way::Here), lasting, now);
    }
    // Never wider than what was asked for: a range has no place for a source port, and stays shut.
    let singles: Box<[PortSpec]> = ports.iter().copied().filter(|port| port.is_single()).collect();
    if singles.is_empty() {
        return refuse("a door for one source port is for single ports: name a service of such");
    }
    decide_for(knock, client, (singles, Way::From(asked.source_port)), lasting, now)
}

/// The ports of these services, and what opens with every one; without a service all that the client may open. `None`: one of
/// them is not for it.
fn ports_of(services: &[Box<str>], client: &Client, rules: &Rules) -> Option<Box<[PortSpec]>> {
    if services.is_empty() {
        return Some(client.ports.clone());
    }
    let mut ports: Vec<PortSpec> = Vec::new();
    for name in services {
        let service = rules.services.iter().find(|service| service.name == *name)?;
        ports.extend(&service.ports);
    }
    let allowed = |spec: &PortSpec| client.ports.contains(spec);
    if ports.is_empty() || !ports.iter().all(allowed) {
        return None;
    }
    ports.extend(rules.always.iter().filter(|spec| allowed(spec)));
    ports.sort_unstable();
    ports.dedup();
    Some(ports.into())
}

fn decide_for(
    knock: &Taken,
    client: &Client,
    (ports, way): (Box<[PortSpec]>, Way),
    lasting: Duration,
    now: Now,
) -> Decision {
    let left = client.expires.map_or(Duration::MAX, |expires| expires.since(now.wall));
    if left.is_zero() {
        return Decision::Refuse(Reason::Expired, None);
    }
    let source = knock.source();
    let Ok(address) = openable(knock.target().unwrap_or(source), source) else {
        return refuse("no door is opened for such an address");
    };
    if address != source && !client.any_target {
        return refuse("it may open for its own address only");
    }
    if ports.is_empty() {
        return refuse("it has no ports");
    }
    Decision::Grant(Warrant {
        name: client.name.clone(),
        opening: Opening {
            client: client.holder(),
            address,
            ports,
            lasting: lasting.min(left),
            destination: None,
            way,
            grounds: knock.grounds(client),
        },
    })
}

/// Decides by the stanzas that have the knock's keys, in the order of the files: the first that does not refuse wins. A
/// stanza that is not for packets from there to there is passed over; where none is, nobody knows the packet.
pub(crate) fn decide_by_stanzas<'c>(
    knock: &Taken,
    asked: &Asked,
    stanzas: impl Iterator<Item = &'c Client>,
    names: &Names,
    now: Now,
) -> (Option<ClientName>, Decision) {
    let mut refusals = Vec::new();
    let mut last = None;
    for client in stanzas {
        let Some(stanza) = client.stanza.as_deref() else { continue };
        if !stanza::is_for(stanza, knock.source(), knock.destination()) {
            continue;
        }
        last = Some(client.name.clone());
        let decision = match stanza::judge(knock, &asked.wish, client, stanza, names, now) {
            Judged::Open(opening) => Decision::Grant(Warrant { opening, name: client.name.clone() }),
            Judged::Run(order) => Decision::Run(Mandate { order }),
            Judged::Name(name) => Decision::Name(name),
            Judged::Refuse(refusal) => {
                refusals.push((stanza.number, refusal));
                continue;
            }
        };
        return (last, decision);
    }
    let decision = match refusals.last() {
        None => refuse("no stanza is for packets from there"),
        Some((_, refusal)) => Decision::Refuse(refusal.reason(), Some(Detail::Refusals(refusals.into()))),
    };
    (last, decision)
}

fn refuse(why: &'static str) -> Decision {
    Decision::Refuse(Reason::NotAllowed, Some(Detail::Said(why)))
}

#[cfg(test)]
mod tests {
    use portunus_dialect::fwknop::{Message, Wish};
    use portunus_model::{ClientKey, ClientName, PortSpec, Proto, Unix};

    use super::*;

    fn client() -> Client {
        let (name, ports) = (ClientName::new("alice").unwrap(), PortSpec::parse("22/tcp").unwrap());
        Client::new(name, ClientKey::Openme([1; 32]), ports.into(), Duration::from_secs(30))
    }

    fn decision(client: &Client, source: &str, target: Option<&str>) -> Decision {
        let target = target.map(|target| target.parse().unwrap());
        let ports = vec![(Proto::Tcp, 22)];
        let wish = Wish::new("alice", Message::Access { address: target, ports });
        let knock = Taken::for_test(source.parse().unwrap(), wish, Unix::from_secs(1000));
        decide(&knock, client, Now { wall: Unix::from_secs(1000), ..Now::default() })
    }

    fn address(decision: Decision) -> Result<String, Reason> {
        match decision {
            Decision::Grant(warrant) => Ok(warrant.address.to_string()),
            Decision::Refuse(reason, _) => Err(reason),
            Decision::Run(_) | Decision::Name(_) | Decision::Close | Decision::Code => {
                unreachable!("openme asks for neither")
            }
        }
    }

    #[test]
    fn the_source_unless_another_is_allowed() {
        let (from, mut alice) = ("192.0.2.7:1000", client());
        assert_eq!(address(decision(&alice, from, None)), Ok("192.0.2.7".into()));
        assert_eq!(address(decision(&alice, from, Some("192.0.2.7"))), Ok("192.0.2.7".into()));
        assert_eq!(address(decision(&alice, from, Some("192.0.2.8"))), Err(Reason::NotAllowed));
        alice.any_target = true;
        assert_eq!(address(decision(&alice, from, Some("192.0.2.8"))), Ok("192.0.2.8".into()));
        assert_eq!(address(decision(&alice, from, Some("224.0.0.1"))), Err(Reason::NotAllowed));
        assert_eq!(address(decision(&alice, "127.0.0.1:1", None)), Err(Reason::NotAllowed));
        assert_eq!(address(decision(&alice, "[::ffff:192.0.2.7]:9", None)), Ok("192.0.2.7".into()));
    }

    #[test]
    fn from_the_moment_of_its_expiry_it_is_refused() {
        let mut alice = client();
        alice.expires = Some(Unix::from_secs(1000));
        assert_eq!(address(decision(&alice, "192.0.2.7:1", None)), Err(Reason::Expired));
        alice.expires = Some(Unix::from_secs(1001));
        assert!(address(decision(&alice, "192.0.2.7:1", None)).is_ok());
    }

    #[test]
    fn a_grant_does_not_outlast_its_client() {
        let lasting = |expires: i64| {
            let alice = Client { expires: Some(Unix::from_secs(expires)), ..client() };
            match decision(&alice, "192.0.2.7:1", None) {
                Decision::Grant(warrant) => warrant.lasting.as_secs(),
                other @ (Decision::Refuse(..)
                | Decision::Run(_)
                | Decision::Name(_)
                | Decision::Close
                | Decision::Code) => {
                    panic!("{other:?}")
                }
            }
        };
        assert_eq!((lasting(1001), lasting(1029), lasting(1030), lasting(i64::MAX)), (1, 29, 30, 30));
    }

    #[test]
    fn without_ports_there_is_nothing_to_open() {
        let mut alice = client();
        alice.ports = Box::default();
        assert_eq!(address(decision(&alice, "192.0.2.7:1", None)), Err(Reason::NotAllowed));
    }
}
