//! For whom a door is to open.

use std::net::IpAddr;
use std::str::FromStr;

use portunus_model::openable;

use crate::ClientError;

/// For whom a door is to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whom {
    /// The address that the server sees as the datagram's source.
    #[default]
    Source,
    /// This machine's own address on the way to the server, which must be a global one.
    Public,
    /// This address.
    Address(IpAddr),
}

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: write one such as 198.51.100.7 or 2001:db8::7, or `source`, or `public`")]
pub struct WhomError(String);

impl FromStr for Whom {
    type Err = WhomError;

    fn from_str(text: &str) -> Result<Self, WhomError> {
        match text {
            "source" => Ok(Self::Source),
            "public" => Ok(Self::Public),
            address => address.parse().map(Self::Address).map_err(|_| WhomError(text.to_owned())),
        }
    }
}

impl Whom {
    /// The target that goes into a knock sent from `from`; `None` is "my source address".
    ///
    /// # Errors
    /// Nobody opens for the address, or a public one was asked for and `from` is none.
    pub fn target(self, from: IpAddr) -> Result<Option<IpAddr>, ClientError> {
        match self {
            Self::Source => Ok(None),
            Self::Public if global(from.to_canonical()) => Ok(Some(from.to_canonical())),
            Self::Public => Err(ClientError::NotPublic { address: from.to_canonical() }),
            Self::Address(address) => {
                openable(address, from).map(Some).map_err(|why| ClientError::NotOpenable { address, why })
            }
        }
    }
}

/// Whether an address is one that the world can reach (IANA special-purpose registries; the standard library's own
/// test is not stable yet).
pub(crate) fn global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let [first, second, ..] = a.octets();
            let shared = first == 100 && (64..128).contains(&second);
            !(first == 0
                || first >= 224
                || shared
                || a.is_private()
                || a.is_loopback()
                || a.is_link_local()
                || a.is_documentation())
        }
        IpAddr::V6(a) => {
            let [first, second, ..] = a.segments();
            (first & 0xe000) == 0x2000 && !(first == 0x2001 && second == 0xdb8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_addresses_are_read_and_anything_else_is_refused() {
        assert_eq!("source".parse(), Ok(Whom::Source));
        assert_eq!("public".parse(), Ok(Whom::Public));
        assert_eq!("198.51.100.7".parse(), Ok(Whom::Address([198, 51, 100, 7].into())));
        assert_eq!("300.1.1.1".parse::<Whom>(), Err(WhomError("300.1.1.1".into())));
        assert!("".parse::<Whom>().is_err());
    }

    #[test]
    fn only_a_global_address_is_public() {
        let target = |from: &str| Whom::Public.target(from.parse().unwrap());
        assert_eq!(target("8.8.8.8"), Ok(Some([8, 8, 8, 8].into())));
        assert_eq!(target("::ffff:8.8.8.8"), Ok(Some([8, 8, 8, 8].into())));
        for private in ["10.0.0.1", "192.168.1.2", "100.64.0.1", "127.0.0.1", "fe80::1", "fd00::1"] {
            assert!(matches!(target(private), Err(ClientError::NotPublic { .. })), "{private}");
        }
    }

    #[test]
    fn what_no_server_opens_is_said_before_anything_is_sent() {
        let target = |a: &str| Whom::Address(a.parse().unwrap()).target([10, 0, 0, 1].into());
        assert!(matches!(target("127.0.0.1"), Err(ClientError::NotOpenable { .. })));
        assert_eq!(target("10.0.0.9"), Ok(Some([10, 0, 0, 9].into())));
    }
}
