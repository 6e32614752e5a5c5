//! Asking the kernel for everything: dumps over nfnetlink, taken again when somebody changed the rules meanwhile.

use std::io;

use portunus_sys::netlink::NetlinkSocket;

use super::decode::message;
use super::{Ruleset, Set, Table, TableFamily};

/// How often we begin anew when the rules change under our eyes.
const MOST_TRIES: u32 = 10;

/// As large as the kernel ever makes one part of a dump, twice.
const BUFFER: usize = 65_536;

/// Far from what else is asked through the same socket, should it be shared: late answers are told apart by it.
const FIRST_SEQUENCE: u32 = 0x5741_0000;

/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u8 = 10;

/// Why the kernel's rules could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The socket failed.
    #[error("reading the firewall rules: {}", io::Error::from(*.0))]
    Socket(io::ErrorKind),
    /// The kernel refused.
    #[error("reading the firewall rules: the kernel answered {}: is CAP_NET_ADMIN missing, or nf_tables?", io::Error::from_raw_os_error(*.0))]
    Refused(i32),
    /// They never stood still.
    #[error(
        "reading the firewall rules: they changed {MOST_TRIES} times while being read: look for a program that keeps reloading them"
    )]
    Restless,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Socket(error.kind())
    }
}

/// A netlink socket to nfnetlink, as far as a dump needs one.
pub trait Wire {
    /// Sends one message.
    ///
    /// # Errors
    /// What the socket says.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Receives one datagram; how many bytes of `buffer` it has.
    ///
    /// # Errors
    /// What the socket says; also when nothing comes.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Wire for NetlinkSocket {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        Self::send(self, message)
    }

    /// The kernel makes the first part of a dump while it takes the question, and each further one while the part
    /// before it is taken: where nothing is there, nothing will come.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::receive(self, buffer)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Ruleset {
    /// Reads everything through a socket that is opened for it.
    ///
    /// # Errors
    /// As [`Ruleset::read`]; also when there can be no such socket.
    pub fn read_here() -> Result<Self, ReadError> {
        Self::read(&mut NetlinkSocket::netfilter()?)
    }

    /// Reads every table, chain, rule and set of this network namespace.
    ///
    /// # Errors
    /// [`ReadError`], when the kernel does not answer, refuses, or the rules do not stand still.
    pub fn read(wire: &mut impl Wire) -> Result<Self, ReadError> {
        Self::read_sets(wire, Depth::Elements)
    }

    /// The same, but of named sets their names only: they may have a hundred thousand elements, which take a tenth of
    /// a second. Maps of verdicts are read whole.
    ///
    /// # Errors
    /// As [`Ruleset::read`].
    pub fn read_structure(wire: &mut impl Wire) -> Result<Self, ReadError> {
        Self::read_sets(wire, Depth::Structure)
    }

    fn read_sets(wire: &mut impl Wire, depth: Depth) -> Result<Self, ReadError> {
        let mut dump = Dump { wire, depth, sequence: FIRST_SEQUENCE, buffer: vec![0; BUFFER] };
        for _ in 0..MOST_TRIES {
            if let Some(ruleset) = dump.all()? {
                return Ok(ruleset);
            }
        }
        Err(ReadError::Restless)
    }
}

/// How much of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Elements,
    Structure,
}

struct Dump<'w, W> {
    wire: &'w mut W,
    depth: Depth,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One dump's end: `None` when the rules changed.
type Whole = Option<()>;

impl<W: Wire> Dump<'_, W> {
    /// Everything, or `None` when it changed meanwhile.
    fn all(&mut self) -> Result<Option<Ruleset>, ReadError> {
        let mut ruleset = Ruleset::default();
        let mut generation = None;
        for kind in [message::GET_TABLE, message::GET_CHAIN, message::GET_RULE, message::GET_SET] {
            if self.one(kind, 0, &[], &mut ruleset, &mut generation)?.is_none() {
                return Ok(None);
            }
        }
        if self.depth == Depth::Structure {
            let sets = ruleset.tables.iter_mut().flat_map(|table| &mut table.sets);
            sets.for_each(|set| set.unread = !set.anonymous && !set.verdicts);
        }
        for (family, table, set) in filled_sets(&ruleset) {
            let names = [attribute(1, &table), attribute(2, &set)].concat();
            if self.one(message::GET_ELEMENT, family, &names, &mut ruleset, &mut generation)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(ruleset))
    }

    fn one(
        &mut self,
        kind: u8,
        family: u8,
        names: &[u8],
        ruleset: &mut Ruleset,
        generation: &mut Option<u16>,
    ) -> Result<Whole, ReadError> {
        self.sequence += 1;
        self.wire.send(&request(kind, family, self.sequence, names))?;
        let mut whole = Some(());
        loop {
            let len = self.wire.receive(&mut self.buffer)?;
            let mut rest = self.buffer.get(..len).unwrap_or(&[]);
            while let Some((answer, after)) = Answer::split(rest) {
                rest = after;
                if answer.sequence != self.sequence {
                    continue;
                }
                if answer.interrupted {
                    whole = None;
                }
                match answer.kind {
                    Kind::Done => return Ok(whole),
                    // ENOENT: the set or table that we ask for has gone.
                    Kind::Error(2) => return Ok(None),
                    Kind::Error(0) => {}
                    Kind::Error(errno) => return Err(ReadError::Refused(errno)),
                    Kind::Nftables(kind) => {
                        // nfgenmsg's resource id is the low half of the ruleset's generation.
                        let now =
                            answer.body.get(2..4).and_then(|b| Some(u16::from_be_bytes(b.try_into().ok()?)));
                        if *generation.get_or_insert(now.unwrap_or(0)) != now.unwrap_or(0) {
                            whole = None;
                        }
                        ruleset.take(kind, answer.body);
                    }
                    Kind::Other => {}
                }
            }
        }
    }
}

/// The sets whose elements decide something. Ours hold who has a grant, and no walk asks for their names; but for what the
/// drops of a trial hang on.
fn filled_sets(ruleset: &Ruleset) -> Vec<(u8, String, String)> {
    let wanted = |table: &Table, set: &Set| {
        let ours =
            crate::walk::is_our_table(table) || set.comment.as_deref().is_some_and(crate::walk::is_ours);
        set.anonymous || ((!ours || crate::nft::is_trial(&set.name)) && !set.unread)
    };
    let sets = ruleset.tables.iter().flat_map(|t| t.sets.iter().map(move |s| (t, s)));
    sets.filter(|(table, set)| wanted(table, set))
        .map(|(table, set)| (number(table.family), table.name.clone(), set.name.clone()))
        .collect()
}

const fn number(family: TableFamily) -> u8 {
    match family {
        TableFamily::Inet => 1,
        TableFamily::Ip => 2,
        TableFamily::Arp => 3,
        TableFamily::Netdev => 5,
        TableFamily::Bridge => 7,
        TableFamily::Ip6 => 10,
        TableFamily::Other(number) => number,
    }
}

/// `struct nlmsghdr`, `struct nfgenmsg`, attributes.
fn request(kind: u8, family: u8, sequence: u32, names: &[u8]) -> Vec<u8> {
    const REQUEST_DUMP: u16 = 0x0001 | 0x0300;
    let len = u32::try_from(20 + names.len()).unwrap_or(u32::MAX);
    let mut message = len.to_ne_bytes().to_vec();
    message.extend(u16::from_be_bytes([SUBSYSTEM, kind]).to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend([family, 0, 0, 0]);
    message.extend(names);
    message
}

/// A text as an attribute, with its final zero.
fn attribute(kind: u16, text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

enum Kind {
    Done,
    Error(i32),
    Nftables(u8),
    Other,
}

struct Answer<'a> {
    kind: Kind,
    interrupted: bool,
    sequence: u32,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The first message in `bytes`, and what follows it.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let u32_at = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let u16_at = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let len = usize::try_from(u32_at(0)?).ok()?;
        let body = bytes.get(16..len)?;
        // NLMSG_ERROR, NLMSG_DONE; the rest is subsystem and message.
        let kind = match u16_at(4)? {
            2 => Kind::Error(-i32::from_ne_bytes(body.get(..4)?.try_into().ok()?)),
            3 => Kind::Done,
            other if other.to_be_bytes().first() == Some(&SUBSYSTEM) => {
                Kind::Nftables(*other.to_be_bytes().get(1)?)
            }
            _ => Kind::Other,
        };
        // NLM_F_DUMP_INTR
        let interrupted = u16_at(6)? & 0x10 != 0;
        let rest = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((Self { kind, interrupted, sequence: u32_at(8)?, body }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every dump with nothing.
    struct Empty(u32);

    impl Wire for Empty {
        fn send(&mut self, message: &[u8]) -> io::Result<()> {
            self.0 = u32::from_ne_bytes(message[8..12].try_into().unwrap());
            Ok(())
        }

        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer[..20].copy_from_slice(&[20, 0, 0, 0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            buffer[8..12].copy_from_slice(&self.0.to_ne_bytes());
            Ok(20)
        }
    }

    #[test]
    fn no_rules_are_a_ruleset_too() {
        assert_eq!(Ruleset::read(&mut Empty(0)), Ok(Ruleset::default()));
    }

    #[test]
    fn asks_as_nft_does() {
        // nft list tables: GETTABLE, request|dump, family unspecified.
        assert_eq!(
            request(message::GET_TABLE, 0, 7, &[]),
            [20, 0, 0, 0, 1, 10, 1, 3, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(attribute(1, "abc"), [8, 0, 1, 0, b'a', b'b', b'c', 0]);
    }
}
