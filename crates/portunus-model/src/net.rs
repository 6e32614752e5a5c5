//! A set of addresses, as policy names them: an address, a prefix, or an address and a mask.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Every address that is like `address` where `mask` has a one. Always of one family; bits outside the mask are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Net {
    address: IpAddr,
    /// As wide as the family: 32 bits (the lower ones) or 128.
    mask: u128,
}

/// Why a text is not a [`Net`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// What stands before the slash, or alone, is no address.
    #[error("{0:?} is not an address: write one such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")]
    Address(String),
    /// What stands behind the slash is neither a length nor a mask of the address's family.
    #[error("{0:?} is not a mask: write a length such as 24, or a mask such as 255.255.255.0")]
    Mask(String),
}

impl Net {
    /// One address alone; a v4-mapped one is the IPv4 address that it is.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, mask: all(&address) }
    }

    /// Reads `ADDRESS`, `ADDRESS/LENGTH` or, for IPv4, `ADDRESS/MASK`.
    ///
    /// # Errors
    /// [`NetError`] says which part is wrong and the mend.
    pub fn parse(text: &str) -> Result<Self, NetError> {
        let (address, mask) = text.split_once('/').map_or((text, None), |(a, m)| (a, Some(m)));
        let address: IpAddr = address.parse().map_err(|_| NetError::Address(address.to_owned()))?;
        let whole = all(&address);
        let mask = match mask {
            None => whole,
            Some(text) => mask_of(text, &address).ok_or_else(|| NetError::Mask(text.to_owned()))?,
        };
        let address = match address {
            IpAddr::V4(a) => IpAddr::V4((a.to_bits() & mask as u32).into()),
            IpAddr::V6(a) => IpAddr::V6((a.to_bits() & mask).into()),
        };
        Ok(Self { address, mask })
    }

    /// The address, without the bits outside the mask.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The bits of [`Self::address`] that count: the lower 32 for IPv4, else 128.
    #[must_use]
    pub const fn mask(&self) -> u128 {
        self.mask
    }

    /// Whether `address` is one of them; a v4-mapped one is the IPv4 address that it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(a)) => a.to_bits() & self.mask as u32 == net.to_bits(),
            (IpAddr::V6(net), IpAddr::V6(a)) => a.to_bits() & self.mask == net.to_bits(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl std::fmt::Display for Net {
    /// `ADDRESS` for one alone, else `ADDRESS/LENGTH`, else `ADDRESS/MASK`: what [`Net::parse`] reads.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (length, gap) = match self.address {
            IpAddr::V4(_) => {
                let mask = self.mask as u32;
                (mask.leading_ones(), mask.count_ones() != mask.leading_ones())
            }
            IpAddr::V6(_) => (self.mask.leading_ones(), false),
        };
        match (self.mask == all(&self.address), gap) {
            (true, _) => write!(f, "{}", self.address),
            (false, false) => write!(f, "{}/{length}", self.address),
            (false, true) => {
                write!(f, "{}/{}", self.address, std::net::Ipv4Addr::from_bits(self.mask as u32))
            }
        }
    }
}

const fn all(address: &IpAddr) -> u128 {
    match address {
        IpAddr::V4(_) => u32::MAX as u128,
        IpAddr::V6(_) => u128::MAX,
    }
}

fn mask_of(text: &str, address: &IpAddr) -> Option<u128> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match address {
        IpAddr::V4(_) if digits => {
            let length: u32 = text.parse().ok().filter(|&length| length <= 32)?;
            Some(u128::from(u32::MAX.checked_shl(32 - length).unwrap_or(0)))
        }
        IpAddr::V4(_) => text.parse::<std::net::Ipv4Addr>().ok().map(|mask| u128::from(mask.to_bits())),
        IpAddr::V6(_) if digits => {
            let length: u32 = text.parse().ok().filter(|&length| length <= 128)?;
            Some(u128::MAX.checked_shl(128 - length).unwrap_or(0))
        }
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(net: &str, address: &str) -> bool {
        Net::parse(net).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn hosts_prefixes_and_masks() {
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.70"));
        assert!(has("192.0.2.7/24", "192.0.2.200") && !has("192.0.2.0/24", "192.0.3.1"));
        assert!(has("10.0.0.1/255.0.0.255", "10.9.9.1") && !has("10.0.0.1/255.0.0.255", "10.9.9.2"));
        assert!(has("0.0.0.0/0", "203.0.113.9") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("2001:db8::/32", "2001:db8:ffff::1") && !has("::/0", "192.0.2.1"));
        assert!(has("192.0.2.0/24", "::ffff:192.0.2.9"));
    }

    #[test]
    fn it_prints_what_it_reads() {
        for text in
            ["192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "10.0.0.1/255.0.0.255", "2001:db8::/32", "::/0", "::1"]
        {
            assert_eq!(Net::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Net::parse("any"), Err(NetError::Address("any".into())));
        assert_eq!(Net::parse("192.0.2.1/33"), Err(NetError::Mask("33".into())));
        assert_eq!(Net::parse("192.0.2.1/"), Err(NetError::Mask(String::new())));
        assert_eq!(Net::parse("::1/129"), Err(NetError::Mask("129".into())));
        assert_eq!(Net::parse("::1/ffff::"), Err(NetError::Mask("ffff::".into())));
    }
}
