//! One knock, or one to every address.

use std::net::{IpAddr, SocketAddr};

use crate::resolve::socket_towards;
use crate::{ClientError, Whom};

/// Makes the bytes of one knock; every call makes a fresh one, never the same bytes twice.
pub trait Seal {
    /// A knock that asks to open for `target`, or for its own source address.
    ///
    /// # Errors
    /// [`ClientError::NotSealed`] says why there are no bytes.
    fn seal(&mut self, target: Option<IpAddr>) -> Result<Vec<u8>, ClientError>;
}

/// A knock that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Where to.
    pub to: SocketAddr,
    /// From which address of ours: that is whom the server opens for, if nobody translates it on the way.
    pub from: IpAddr,
    /// How many bytes.
    pub bytes: usize,
}

/// Sends one knock to one address.
///
/// # Errors
/// No way there, nobody to open for, or the system did not take it.
pub fn knock_one(to: SocketAddr, whom: Whom, seal: &mut dyn Seal) -> Result<Sent, ClientError> {
    let socket = socket_towards(to)?;
    let from = socket.local_addr().map_err(|error| ClientError::no_route(to, &error))?.ip().to_canonical();
    let bytes = seal.seal(whom.target(from)?)?;
    let sent = socket.send(&bytes).map_err(|error| ClientError::not_sent(to, &error))?;
    Ok(Sent { to, from, bytes: sent })
}

/// Sends a fresh knock to each address: every family that the host has, so that the door is open for whichever one
/// the next program uses. An address that cannot be reached costs the others nothing.
///
/// # Errors
/// The first failure, when no knock at all went out.
pub fn knock_all(to: &[SocketAddr], whom: Whom, seal: &mut dyn Seal) -> Result<Vec<Sent>, ClientError> {
    let mut sent = Vec::new();
    let mut first = None;
    for &address in to {
        match knock_one(address, whom, seal) {
            Ok(one) => sent.push(one),
            Err(error) => first = first.or(Some(error)),
        }
    }
    match first {
        Some(error) if sent.is_empty() => Err(error),
        Some(_) | None => Ok(sent),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    struct Count(u8);

    impl Seal for Count {
        fn seal(&mut self, target: Option<IpAddr>) -> Result<Vec<u8>, ClientError> {
            self.0 += 1;
            Ok(format!("{} {target:?}", self.0).into_bytes())
        }
    }

    #[test]
    fn each_address_gets_a_knock_of_its_own() {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let two = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = [one.local_addr().unwrap(), two.local_addr().unwrap()];
        let sent = knock_all(&to, Whom::Source, &mut Count(0)).unwrap();
        assert_eq!(sent.len(), 2);
        let mut bytes = [0; 64];
        let length = one.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"1 None");
        let length = two.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"2 None");
    }

    #[test]
    fn nothing_is_sent_for_whom_nobody_opens() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let to = server.local_addr().unwrap();
        let refused = knock_all(&[to], Whom::Address([224, 0, 0, 1].into()), &mut Count(0));
        assert!(matches!(refused, Err(ClientError::NotOpenable { .. })));
        assert!(server.recv(&mut [0; 8]).is_err());
    }
}
