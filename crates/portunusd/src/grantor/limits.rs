//! What the grantor allows, whatever the front says: a front that was taken over can open nothing that the configuration
//! does not allow to some client. Pure.

use portunus_model::{Limits, NotOpenable, Opening, PortSpec, openable};

/// Why an opening is not even tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Beyond {
    #[error("{0} is no door of the configuration")]
    Port(PortSpec),
    #[error("a port is named twice")]
    Twice,
    #[error("it would last longer than any client may")]
    Long,
    #[error("it would last no time")]
    Short,
    #[error("nobody opens for this address: {0}")]
    Address(#[from] NotOpenable),
    #[error("the address is not in its canonical form")]
    Form,
}

/// Checks one opening against our own copy of the limits. How many are open is the book's business.
pub(super) fn check(limits: &Limits, opening: &Opening) -> Result<(), Beyond> {
    // The front knows where the knock came from, we do not: a link-local address passes here as its own source.
    if openable(opening.address, opening.address)? != opening.address {
        return Err(Beyond::Form);
    }
    if opening.lasting.is_zero() {
        return Err(Beyond::Short);
    }
    if opening.lasting > limits.longest {
        return Err(Beyond::Long);
    }
    // `doors` is sorted; a hostile front must not make us walk it for each port.
    if let Some(port) = opening.ports.iter().find(|port| limits.doors.binary_search(port).is_err()) {
        return Err(Beyond::Port(*port));
    }
    let mut ports = opening.ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    if ports.len() != opening.ports.len() {
        return Err(Beyond::Twice);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portunus_model::{ClientName, Way};

    use super::*;

    fn limits() -> Limits {
        let mut doors = PortSpec::parse("22/tcp").unwrap();
        doors.extend(PortSpec::parse("8000-8010/udp").unwrap());
        doors.sort();
        Limits { doors, longest: Duration::from_secs(60), most_open: 10, ..Limits::default() }
    }

    fn opening(address: &str, ports: &[&str], secs: u64) -> Opening {
        Opening {
            client: ClientName::new("mallory").unwrap(),
            address: address.parse().unwrap(),
            ports: ports.iter().flat_map(|text| PortSpec::parse(text).unwrap()).collect(),
            lasting: Duration::from_secs(secs),
            destination: None,
            way: Way::Here,
        }
    }

    #[test]
    fn what_some_client_may_have_passes() {
        let all = &["22/tcp", "8000-8010/udp"];
        assert_eq!(check(&limits(), &opening("192.0.2.7", all, 60)), Ok(()));
        assert_eq!(check(&limits(), &opening("2001:db8::7", &["22/tcp"], 1)), Ok(()));
    }

    #[test]
    fn a_hostile_front_gets_nothing_else() {
        let beyond = |address, ports: &[&str], secs| check(&limits(), &opening(address, ports, secs));
        let port = |text: &str| Err(Beyond::Port(PortSpec::parse(text).unwrap()[0]));
        assert_eq!(beyond("192.0.2.7", &["23/tcp"], 1), port("23/tcp"));
        assert_eq!(beyond("192.0.2.7", &["22/udp"], 1), port("22/udp"));
        // A part of a range, or a range around a door, is no door.
        assert_eq!(beyond("192.0.2.7", &["8000/udp"], 1), port("8000/udp"));
        assert_eq!(beyond("192.0.2.7", &["21-22/tcp"], 1), port("21-22/tcp"));
        assert_eq!(beyond("192.0.2.7", &["22/tcp", "22/tcp"], 1), Err(Beyond::Twice));
        assert_eq!(beyond("192.0.2.7", &["22/tcp"], 61), Err(Beyond::Long));
        assert_eq!(beyond("192.0.2.7", &["22/tcp"], 0), Err(Beyond::Short));
        assert_eq!(beyond("224.0.0.1", &["22/tcp"], 1), Err(Beyond::Address(NotOpenable::Multicast)));
        assert_eq!(beyond("ff02::1", &["22/tcp"], 1), Err(Beyond::Address(NotOpenable::Multicast)));
        assert_eq!(beyond("127.0.0.1", &["22/tcp"], 1), Err(Beyond::Address(NotOpenable::Loopback)));
        assert_eq!(beyond("0.0.0.0", &["22/tcp"], 1), Err(Beyond::Address(NotOpenable::Unspecified)));
        assert_eq!(beyond("255.255.255.255", &["22/tcp"], 1), Err(Beyond::Address(NotOpenable::Broadcast)));
        assert_eq!(beyond("::ffff:192.0.2.7", &["22/tcp"], 1), Err(Beyond::Form));
    }
}
