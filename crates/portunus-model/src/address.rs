//! Which addresses a door may ever be opened for (shared/spec: openme "Server semantics", target).

use std::net::IpAddr;

/// Why no door is ever opened for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOpenable {
    /// `0.0.0.0` or `::`, or anything in 0.0.0.0/8: it names nobody.
    #[error("it is unspecified")]
    Unspecified,
    /// 127.0.0.0/8 or ::1: it never comes from the network.
    #[error("it is a loopback address")]
    Loopback,
    /// A group, not a host.
    #[error("it is a multicast address")]
    Multicast,
    /// 255.255.255.255, or the reserved 240.0.0.0/4 around it.
    #[error("it is a broadcast or reserved address")]
    Broadcast,
    /// `::a.b.c.d` (RFC 4291 section 2.5.5.1, deprecated).
    #[error("it is a v4-compatible address")]
    V4Compatible,
    /// fe80::/10 or 169.254.0.0/16, and the knock did not come from that very address.
    #[error("it is link-local and not where the knock came from")]
    LinkLocal,
}

/// Checks that a door may be opened for `target`, asked for by a knock from `source`; v4-mapped addresses are
/// taken for the IPv4 address that they are. Returns the address in its canonical form.
///
/// # Errors
/// [`NotOpenable`] says why nobody's policy can allow it.
pub fn openable(target: IpAddr, source: IpAddr) -> Result<IpAddr, NotOpenable> {
    let target = target.to_canonical();
    let link_local = match target {
        IpAddr::V4(a) if a.octets()[0] == 0 => return Err(NotOpenable::Unspecified),
        IpAddr::V4(a) if a.octets()[0] >= 240 => return Err(NotOpenable::Broadcast),
        IpAddr::V6(a) if a.is_unspecified() => return Err(NotOpenable::Unspecified),
        IpAddr::V6(a) if !a.is_loopback() && a.octets()[..12] == [0; 12] => {
            return Err(NotOpenable::V4Compatible);
        }
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    };
    if target.is_loopback() {
        return Err(NotOpenable::Loopback);
    }
    if target.is_multicast() {
        return Err(NotOpenable::Multicast);
    }
    if link_local && target != source.to_canonical() {
        return Err(NotOpenable::LinkLocal);
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(target: &str, source: &str) -> Result<IpAddr, NotOpenable> {
        openable(target.parse().unwrap(), source.parse().unwrap())
    }

    #[test]
    fn nobody_opens_these() {
        let from = "192.0.2.77";
        assert_eq!(verdict("0.0.0.0", from), Err(NotOpenable::Unspecified));
        assert_eq!(verdict("::", from), Err(NotOpenable::Unspecified));
        assert_eq!(verdict("127.9.9.9", from), Err(NotOpenable::Loopback));
        assert_eq!(verdict("::1", from), Err(NotOpenable::Loopback));
        assert_eq!(verdict("::ffff:127.0.0.1", from), Err(NotOpenable::Loopback));
        assert_eq!(verdict("224.0.0.1", from), Err(NotOpenable::Multicast));
        assert_eq!(verdict("ff02::1", from), Err(NotOpenable::Multicast));
        assert_eq!(verdict("255.255.255.255", from), Err(NotOpenable::Broadcast));
        assert_eq!(verdict("::192.0.2.1", from), Err(NotOpenable::V4Compatible));
        assert_eq!(verdict("fe80::1", from), Err(NotOpenable::LinkLocal));
        assert_eq!(verdict("169.254.1.1", from), Err(NotOpenable::LinkLocal));
    }

    #[test]
    fn hosts_are_opened_in_canonical_form() {
        assert_eq!(verdict("::ffff:198.51.100.9", "::1"), Ok("198.51.100.9".parse().unwrap()));
        assert_eq!(verdict("fe80::1", "fe80::1"), Ok("fe80::1".parse().unwrap()));
        assert!(verdict("2001:db8::1", "192.0.2.77").is_ok());
    }
}
