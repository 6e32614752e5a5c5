//! What the grantor allows, whatever the front says: a front that was taken over can open nothing that the configuration
//! does not allow to some client. Pure.

use std::net::IpAddr;

use portunus_model::{Element, Limits, Nat, NatSource, NotOpenable, Opening, PortSpec, Way, openable};

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
    #[error("no port is named")]
    NoPort,
    #[error("no stanza narrows its grants to one of our addresses, or this is none")]
    Destination,
    #[error("it goes from one family of addresses to the other")]
    Family,
    #[error("where it ends, or what it shows as its source, is no host")]
    Host,
    #[error("no configuration allows or forces such a translation")]
    Way,
}

/// Checks one opening against our own copy of the limits. How many are open is the book's business.
pub(super) fn check(limits: &Limits, opening: &Opening) -> Result<(), Beyond> {
    // The front knows where the knock came from, we do not: a link-local address passes here as its own source.
    let home = limits.loopback && opening.address.is_loopback();
    if !home && openable(opening.address, opening.address)? != opening.address {
        return Err(Beyond::Form);
    }
    if opening.lasting.is_zero() {
        return Err(Beyond::Short);
    }
    if opening.lasting > limits.longest {
        return Err(Beyond::Long);
    }
    let everything = matches!(opening.way, Way::All { .. });
    if everything != opening.ports.is_empty() {
        return Err(if everything { Beyond::Way } else { Beyond::NoPort });
    }
    for port in &opening.ports {
        check_port(limits, *port, opening.way)?;
    }
    if names_twice(&opening.ports) {
        return Err(Beyond::Twice);
    }
    check_way(limits, opening)
}

fn names_twice(ports: &[PortSpec]) -> bool {
    if ports.len() < 2 {
        return false;
    }
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len() != ports.len()
}

/// Whether a door of an earlier life, or of an earlier configuration, may stay.
pub(super) fn has_room_for(limits: &Limits, element: &Element) -> bool {
    let Element { port, destination, way, .. } = *element;
    let fits = match port {
        Some(port) => check_port(limits, port, way).is_ok(),
        None => matches!(way, Way::All { .. }),
    };
    fits && narrows_well(limits, destination, port.as_slice())
        && element.is_of_one_family()
        && hosts_are_hosts(way)
        && limits.nat.admit(way)
}

/// Which ports a translation may begin at no limit says: what it opens is where it ends.
fn check_port(limits: &Limits, port: PortSpec, way: Way) -> Result<(), Beyond> {
    let known = match way {
        // `doors` is sorted; a hostile front must not make us walk it for each port.
        Way::Here => (limits.any_port && port.is_single()) || limits.doors.binary_search(&port).is_ok(),
        Way::From(from) => {
            let known = port.is_single() && limits.doors.binary_search(&port).is_ok();
            limits.source_ports && known && from != 0
        }
        Way::Nat(_) => port.is_single(),
        Way::All { .. } => false,
    };
    if known { Ok(()) } else { Err(Beyond::Port(port)) }
}

fn check_way(limits: &Limits, opening: &Opening) -> Result<(), Beyond> {
    let Opening { address, destination, way, .. } = *opening;
    if destination.is_some() && matches!(way, Way::From(_)) {
        return Err(Beyond::Destination);
    }
    if !narrows_well(limits, destination, &opening.ports) {
        return Err(Beyond::Destination);
    }
    let element = Element { address, port: None, destination, way };
    if !element.is_of_one_family() {
        return Err(Beyond::Family);
    }
    if !hosts_are_hosts(way) {
        return Err(Beyond::Host);
    }
    if limits.nat.admit(way) { Ok(()) } else { Err(Beyond::Way) }
}

fn narrows_well(limits: &Limits, destination: Option<IpAddr>, ports: &[PortSpec]) -> bool {
    let singles = || ports.iter().all(|port| port.is_single());
    destination.is_none_or(|to| limits.destinations && is_a_host(to) && singles())
}

/// Whether every address that it names is one of a host. Where a translation stays here it may be the loopback.
fn hosts_are_hosts(way: Way) -> bool {
    let is_source = |source| match source {
        NatSource::Fixed(address) => is_a_host(address),
        NatSource::Kept | NatSource::Masquerade => true,
    };
    match way {
        Way::Here | Way::From(_) => true,
        Way::Nat(Nat { local, host, source, .. }) => {
            let loopback = local && host.is_loopback() && host == host.to_canonical();
            (loopback || is_a_host(host)) && is_source(source)
        }
        Way::All { to, source } => to.is_none_or(is_a_host) && is_source(source),
    }
}

/// A link-local one is its own source here: which interface is meant the kernel's routes say.
fn is_a_host(address: IpAddr) -> bool {
    openable(address, address) == Ok(address)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portunus_model::{ClientName, NatLimits};

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
            grounds: portunus_model::Grounds::default(),
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
        let home = Limits { loopback: true, ..limits() };
        assert_eq!(check(&home, &opening("127.0.0.2", &["22/tcp"], 1)), Ok(()));
        assert_eq!(beyond("0.0.0.0", &["22/tcp"], 1), Err(Beyond::Address(NotOpenable::Unspecified)));
        assert_eq!(beyond("255.255.255.255", &["22/tcp"], 1), Err(Beyond::Address(NotOpenable::Broadcast)));
        assert_eq!(beyond("::ffff:192.0.2.7", &["22/tcp"], 1), Err(Beyond::Form));
    }

    fn nat(local: bool, host: &str, port: u16, source: NatSource) -> Way {
        Way::Nat(Nat { local, host: host.parse().unwrap(), port, rewrite: true, source })
    }

    fn by(limits: &Limits, way: Way, ports: &[&str]) -> Result<(), Beyond> {
        let asked = Opening { way, ..opening("192.0.2.7", ports, 1) };
        let checked = check(limits, &asked);
        // What is written down must be allowed by the same limits after a restart.
        let known = Element::all_of(&asked).iter().all(|element| has_room_for(limits, element));
        assert!(known || checked.is_err(), "{asked:?}");
        checked
    }

    #[test]
    fn any_port_is_any_single_one() {
        let any = Limits { any_port: true, ..limits() };
        assert_eq!(by(&any, Way::Here, &["1/tcp", "65535/udp"]), Ok(()));
        let range = PortSpec::parse("1-2/tcp").unwrap()[0];
        assert_eq!(by(&any, Way::Here, &["1-2/tcp"]), Err(Beyond::Port(range)));
        assert_eq!(by(&any, Way::Here, &[]), Err(Beyond::NoPort));
        assert_eq!(by(&any, nat(false, "10.0.0.2", 22, NatSource::Kept), &["22/tcp"]), Err(Beyond::Way));
    }

    #[test]
    fn a_hostile_front_translates_only_what_the_configuration_does() {
        let kept = NatSource::Kept;
        let with = |nat| Limits { nat, ..limits() };
        let forward = with(NatLimits { forward: true, ..NatLimits::default() });
        let local = with(NatLimits { local: true, ..NatLimits::default() });
        let host = "10.0.0.2".parse().unwrap();
        let forced = with(NatLimits { forced: vec![(host, 22)], ..NatLimits::default() });
        let port = &["2222/tcp"];
        let way = nat(false, "10.0.0.2", 22, kept);
        for (limits, allowed) in [(&limits(), false), (&forward, true), (&local, false), (&forced, true)] {
            assert_eq!(by(limits, way, port), if allowed { Ok(()) } else { Err(Beyond::Way) });
        }
        assert_eq!(by(&forced, nat(false, "10.0.0.2", 23, kept), port), Err(Beyond::Way));
        assert_eq!(by(&forced, nat(false, "10.0.0.3", 22, kept), port), Err(Beyond::Way));
        assert_eq!(by(&local, nat(true, "127.0.0.1", 22, kept), port), Ok(()));
        assert_eq!(by(&forward, nat(true, "198.51.100.1", 22, kept), port), Err(Beyond::Way));
        for host in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
            assert_eq!(by(&forward, nat(false, host, 22, kept), port), Err(Beyond::Host), "{host}");
        }
        for host in ["2001:db8::2", "::ffff:10.0.0.2"] {
            assert_eq!(by(&forward, nat(false, host, 22, kept), port), Err(Beyond::Family), "{host}");
        }
        let range = PortSpec::parse("1-2/tcp").unwrap()[0];
        assert_eq!(by(&forward, way, &["1-2/tcp"]), Err(Beyond::Port(range)));
    }

    #[test]
    fn sources_and_everything_are_as_the_configuration_has_them() {
        let fixed = NatSource::Fixed("198.51.100.1".parse().unwrap());
        let to = Some("10.0.0.2".parse().unwrap());
        let nat_limits =
            NatLimits { forward: true, all: vec![to], sources: vec![fixed], ..NatLimits::default() };
        let limits = Limits { nat: nat_limits, ..limits() };
        let shown = |source| by(&limits, nat(false, "10.0.0.2", 22, source), &["22/tcp"]);
        assert_eq!(shown(fixed), Ok(()));
        assert_eq!(shown(NatSource::Masquerade), Err(Beyond::Way));
        assert_eq!(shown(NatSource::Fixed("198.51.100.2".parse().unwrap())), Err(Beyond::Way));
        assert_eq!(by(&limits, Way::All { to, source: fixed }, &[]), Ok(()));
        assert_eq!(by(&limits, Way::All { to, source: fixed }, &["22/tcp"]), Err(Beyond::Way));
        assert_eq!(by(&limits, Way::All { to: None, source: fixed }, &[]), Err(Beyond::Way));
        let elsewhere = Some("10.0.0.3".parse().unwrap());
        assert_eq!(by(&limits, Way::All { to: elsewhere, source: fixed }, &[]), Err(Beyond::Way));
    }

    #[test]
    fn a_destination_is_a_host_and_only_where_a_stanza_narrows() {
        let narrow = Limits { destinations: true, ..limits() };
        let at = |limits: &Limits, to: &str, ports: &[&str]| {
            let plain = opening("192.0.2.7", ports, 1);
            check(limits, &Opening { destination: Some(to.parse().unwrap()), ..plain })
        };
        assert_eq!(at(&narrow, "198.51.100.1", &["22/tcp"]), Ok(()));
        assert_eq!(at(&limits(), "198.51.100.1", &["22/tcp"]), Err(Beyond::Destination));
        assert_eq!(at(&narrow, "198.51.100.1", &["8000-8010/udp"]), Err(Beyond::Destination));
        assert_eq!(at(&narrow, "224.0.0.1", &["22/tcp"]), Err(Beyond::Destination));
        assert_eq!(at(&narrow, "2001:db8::1", &["22/tcp"]), Err(Beyond::Family));
    }
}
