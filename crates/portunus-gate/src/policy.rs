//! Whether a claimed knock may open anything, and what. Pure, and the only place where a [`Warrant`] is made.

use std::ops::Deref;
use std::time::Duration;

use portunus_model::{Client, Detail, Now, Opening, Reason, Way, openable};

use crate::chain::Taken;

/// The right to have one [`Opening`] opened. It can be read, and be taken apart for the way to the grantor; it cannot be
/// made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warrant {
    opening: Opening,
}

impl Warrant {
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

/// What policy says to a knock.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It may open this.
    Grant(Warrant),
    /// It may not.
    Refuse(Reason, Option<Detail>),
}

/// Decides by the client's rules as they are now (they may have changed since the knock came in). A grant ends with its
/// client at the latest.
pub(crate) fn decide(knock: &Taken, client: &Client, now: Now) -> Decision {
    let left = client.expires.map_or(Duration::MAX, |expires| expires.since(now.wall));
    if left.is_zero() {
        return Decision::Refuse(Reason::Expired, None);
    }
    let source = knock.source().ip().to_canonical();
    let Ok(address) = openable(knock.target().unwrap_or(source), source) else {
        return refuse("no door is opened for such an address");
    };
    if address != source && !client.any_target {
        return refuse("it may open for its own address only");
    }
    if client.ports.is_empty() {
        return refuse("it has no ports");
    }
    Decision::Grant(Warrant {
        opening: Opening {
            client: client.name.clone(),
            address,
            ports: client.ports.clone(),
            lasting: client.lasting.min(left),
            destination: None,
            way: Way::Here,
        },
    })
}

fn refuse(why: &'static str) -> Decision {
    Decision::Refuse(Reason::NotAllowed, Some(Detail::Said(why)))
}

#[cfg(test)]
mod tests {
    use portunus_model::{ClientKey, ClientName, PortSpec, Unix};

    use super::*;

    fn client() -> Client {
        Client {
            name: ClientName::new("alice").unwrap(),
            key: ClientKey::Openme([1; 32]),
            ports: PortSpec::parse("22/tcp").unwrap().into(),
            expires: None,
            lasting: Duration::from_secs(30),
            any_target: false,
            stanza: None,
        }
    }

    fn decision(client: &Client, source: &str, target: Option<&str>) -> Decision {
        let target = target.map(|target| target.parse().unwrap());
        let knock = Taken::for_test(source.parse().unwrap(), target);
        decide(&knock, client, Now { wall: Unix::from_secs(1000), ..Now::default() })
    }

    fn address(decision: Decision) -> Result<String, Reason> {
        match decision {
            Decision::Grant(warrant) => Ok(warrant.address.to_string()),
            Decision::Refuse(reason, _) => Err(reason),
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
                Decision::Refuse(reason, _) => panic!("{reason:?}"),
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
