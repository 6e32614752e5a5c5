//! The 40 bytes inside the seal: timestamp, random nonce, target.

use std::net::{IpAddr, Ipv6Addr};

use portunus_model::Unix;

use super::packet::{join, take};

const STAMP: usize = 8;
const NONCE: usize = 16;
const TARGET: usize = 16;

pub(super) const LENGTH: usize = STAMP + NONCE + TARGET;

/// What a client says; believed only when its signature fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plain {
    /// Unix nanoseconds. The wire has an i64.
    pub(super) stamp: i64,
    /// Makes the packet unique under its client's key.
    pub(super) nonce: [u8; NONCE],
    /// For whom; `None`: the source.
    pub(super) target: Option<IpAddr>,
}

impl Plain {
    /// Every 40 bytes mean something: there is nothing to refuse here.
    pub(super) fn read(bytes: &[u8; LENGTH]) -> Self {
        let mut rest = bytes.iter().copied();
        let stamp = i64::from_be_bytes(take(&mut rest));
        let nonce = take(&mut rest);
        let target = Ipv6Addr::from(take(&mut rest)).to_canonical();
        // The original takes ::ffff:0.0.0.0 for the source too, and its clients may send it.
        let target = Some(target).filter(|target| !target.is_unspecified());
        Self { stamp, nonce, target }
    }

    pub(super) fn write(&self) -> [u8; LENGTH] {
        let target = match self.target.filter(|target| !target.is_unspecified()) {
            None => Ipv6Addr::UNSPECIFIED,
            Some(IpAddr::V4(target)) => target.to_ipv6_mapped(),
            Some(IpAddr::V6(target)) => target,
        };
        join(&[&self.stamp.to_be_bytes(), &self.nonce, &target.octets()])
    }

    pub(super) fn stamp(&self) -> Unix {
        Unix::from_nanos(i128::from(self.stamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_as(target: &str) -> Option<IpAddr> {
        let octets = target.parse::<Ipv6Addr>().unwrap().octets();
        Plain::read(&join(&[&[0; STAMP], &[0; NONCE], &octets])).target
    }

    #[test]
    fn every_field_is_where_the_protocol_says() {
        let bytes: [u8; LENGTH] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let plain = Plain::read(&bytes);
        assert_eq!(plain.stamp, 0x0001_0203_0405_0607);
        assert_eq!(plain.nonce[..], bytes[8..24]);
        assert_eq!(plain.target, Some("1819:1a1b:1c1d:1e1f:2021:2223:2425:2627".parse().unwrap()));
        assert_eq!(plain.write(), bytes);
    }

    #[test]
    fn targets_mean_what_they_mean_to_the_original() {
        assert_eq!(reads_as("::"), None);
        assert_eq!(reads_as("::ffff:0.0.0.0"), None);
        assert_eq!(reads_as("::ffff:192.0.2.1"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(reads_as("::192.0.2.1"), Some("::192.0.2.1".parse().unwrap()));
        assert_eq!(reads_as("::1"), Some("::1".parse().unwrap()));
    }
}
