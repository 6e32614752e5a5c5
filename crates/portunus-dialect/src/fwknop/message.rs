//! MESSAGE and NAT: what is wanted, for whom, and whereto.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portunus_model::Proto;

use super::field::FieldError;

/// The longest MESSAGE, in bytes before base64.
pub const LONGEST_MESSAGE: usize = 255;
/// The longest host in NAT, in bytes.
pub const LONGEST_HOST: usize = 70;

/// MESSAGE: for which address, and what.
///
/// An IPv6 address is written as it is. That marks the knock: the original takes dotted quads only, and refuses it as
/// an invalid access message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Ports to open.
    Access {
        /// For which address; `None`: for where the packet comes from (`0.0.0.0` on the wire).
        address: Option<IpAddr>,
        /// At least one.
        ports: Vec<(Proto, u16)>,
    },
    /// A command to run.
    Command {
        /// For which address, as above.
        address: Option<IpAddr>,
        /// What the client wants run; anything but empty.
        text: String,
    },
}

impl Message {
    /// For which address.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Access { address, .. } | Self::Command { address, .. } => *address,
        }
    }

    pub(super) fn read_access(text: &str) -> Result<Self, FieldError> {
        let (address, ports) = split(text)?;
        Ok(Self::Access { address: read_address(address)?, ports: read_ports(ports)? })
    }

    pub(super) fn read_command(text: &str) -> Result<Self, FieldError> {
        let (address, text) = split(text)?;
        let address = read_address(address)?;
        Ok(Self::Command {
            address,
            text: Some(text).filter(|text| command_fits(text)).ok_or(FieldError::Command)?.to_owned(),
        })
    }

    /// Whether the text of it can be read back.
    pub(super) fn check(&self) -> Result<(), FieldError> {
        let text = self.to_string();
        let again = match self {
            Self::Access { .. } => Self::read_access(&text)?,
            Self::Command { .. } => Self::read_command(&text)?,
        };
        if again == *self { Ok(()) } else { Err(FieldError::Address) }
    }
}

impl fmt::Display for Message {
    /// As it stands in the packet, before base64.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))?;
        match self {
            Self::Access { ports, .. } => {
                ports.iter().try_for_each(|(proto, port)| write!(f, ",{}/{port}", proto.as_str()))
            }
            Self::Command { text, .. } => write!(f, ",{text}"),
        }
    }
}

/// NAT: where connections to the opened port are to be led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// An address or a name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the host is the server itself.
    pub local: bool,
}

impl Nat {
    pub(super) fn read(text: &str, local: bool) -> Result<Self, FieldError> {
        let (host, port) = text.split_once(',').ok_or(FieldError::Nat)?;
        let port = read_port(port).ok_or(FieldError::Nat)?;
        let nat = Self { host: host.to_owned(), port, local };
        nat.check()?;
        Ok(nat)
    }

    pub(super) fn check(&self) -> Result<(), FieldError> {
        if self.port != 0 && host_fits(&self.host) { Ok(()) } else { Err(FieldError::Nat) }
    }

    /// Whether its host is an IPv6 address. The original takes that for a name, so only a knock that is marked by an IPv6
    /// address of its own may have one.
    pub(super) fn is_ipv6(&self) -> bool {
        self.host.contains(':')
    }
}

impl fmt::Display for Nat {
    /// As it stands in the packet, before base64.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.host, self.port)
    }
}

/// Reads `proto/port[,proto/port...]`, as a packet has it and as a user writes it after `-A`.
///
/// # Errors
/// [`FieldError::Ports`].
pub fn read_ports(text: &str) -> Result<Vec<(Proto, u16)>, FieldError> {
    let one = |word: &str| {
        let (proto, port) = word.split_once('/')?;
        let proto = [Proto::Tcp, Proto::Udp].into_iter().find(|known| known.as_str() == proto)?;
        Some((proto, read_port(port)?))
    };
    text.split(',').map(|word| one(word).ok_or(FieldError::Ports)).collect()
}

fn split(text: &str) -> Result<(&str, &str), FieldError> {
    if text.len() > LONGEST_MESSAGE {
        return Err(FieldError::Message);
    }
    text.split_once(',').ok_or(FieldError::Message)
}

/// A dotted quad, or IPv6 in the one form that RFC 5952 recommends. `0.0.0.0` is the source, and has no second name.
fn read_address(text: &str) -> Result<Option<IpAddr>, FieldError> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Some(IpAddr::V4(address)).filter(|address| !address.is_unspecified()));
    }
    let address: Ipv6Addr = text.parse().map_err(|_| FieldError::Address)?;
    let plain =
        !address.is_unspecified() && address.to_ipv4_mapped().is_none() && address.to_string() == text;
    plain.then_some(Some(IpAddr::V6(address))).ok_or(FieldError::Address)
}

fn read_port(text: &str) -> Option<u16> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| text.parse().ok())??;
    (port != 0).then_some(port)
}

/// Anything that a shell's command can hold but what ends a text early or changes a terminal.
fn command_fits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'))
}

fn host_fits(host: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=LONGEST_HOST).contains(&host.len())
        && (host.bytes().all(letters)
            || host.parse::<Ipv6Addr>().is_ok_and(|address| address.to_string() == host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> Result<String, FieldError> {
        Message::read_access(text).map(|message| message.to_string())
    }

    #[test]
    fn messages_read_as_they_are_written() {
        for text in ["1.2.3.4,tcp/22", "0.0.0.0,udp/53,tcp/1,tcp/65535", "2001:db8::1,tcp/22"] {
            assert_eq!(access(text).as_deref(), Ok(text));
        }
        assert_eq!(Message::read_access("0.0.0.0,tcp/22").unwrap().address(), None);
        assert_eq!(access("1.2.3.4,tcp/00022").as_deref(), Ok("1.2.3.4,tcp/22"));
        assert_eq!(Message::read_command("1.2.3.4,a,b\n").unwrap().to_string(), "1.2.3.4,a,b\n");
    }

    #[test]
    fn an_address_has_one_form() {
        for address in [
            "01.2.3.4",
            "1.2.3",
            "1.2.3.256",
            " 1.2.3.4",
            "::",
            "::ffff:1.2.3.4",
            "2001:DB8::1",
            "2001:db8:0::1",
            "fe80::1%eth0",
            "[2001:db8::1]",
            "",
        ] {
            assert_eq!(access(&format!("{address},tcp/22")), Err(FieldError::Address), "{address}");
        }
    }

    #[test]
    fn ports_are_tcp_and_udp_and_have_numbers() {
        for ports in [
            "",
            "tcp",
            "tcp/",
            "tcp/0",
            "tcp/65536",
            "tcp/000022",
            "tcp/+22",
            "tcp/ 22",
            "TCP/22",
            "icmp/1",
            "none/0",
            "tcp/22,",
            ",tcp/22",
            "tcp/22-25",
        ] {
            assert_eq!(read_ports(ports), Err(FieldError::Ports), "{ports}");
        }
        assert_eq!(access("1.2.3.4"), Err(FieldError::Message));
        assert_eq!(access(&format!("1.2.3.4{}", ",tcp/22".repeat(36))), Err(FieldError::Message));
    }

    #[test]
    fn a_command_is_text() {
        for command in ["", "a\0b", "a\x1bb", "a\rb", "\u{9b}x"] {
            assert_eq!(
                Message::read_command(&format!("1.2.3.4,{command}")),
                Err(FieldError::Command),
                "{command:?}"
            );
        }
    }

    #[test]
    fn nat_is_a_host_and_a_port() {
        for text in ["10.0.0.1,22", "host.example,1", "ho_st-1,65535", "2001:db8::1,22"] {
            assert_eq!(Nat::read(text, false).unwrap().to_string(), text);
        }
        let long = format!("{},22", "a".repeat(71));
        for text in [
            "10.0.0.1",
            "10.0.0.1,",
            ",22",
            "10.0.0.1,0",
            "10.0.0.1,65536",
            "10.0.0.1,22,33",
            "ho st,22",
            "ho;st,22",
            "h\u{f6}st,22",
            "2001:DB8::1,22",
            "[2001:db8::1],22",
            &long,
        ] {
            assert_eq!(Nat::read(text, false), Err(FieldError::Nat), "{text}");
        }
    }
}
