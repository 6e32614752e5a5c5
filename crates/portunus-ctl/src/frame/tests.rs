use std::time::Duration;

use portunus_model::{Cause, Mark, Nat, NatSource, Proto};
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> ClientName {
    ClientName::new(text).unwrap()
}

fn opening(ports: usize) -> Said {
    let ports =
        (1..=ports).map(|n| PortSpec::single(Proto::Tcp, u16::try_from(n).unwrap()).unwrap()).collect();
    let address = "2001:db8::7".parse().unwrap();
    Said::Open(
        7,
        Opening {
            client: name("alice"),
            address,
            ports,
            lasting: Duration::from_secs(30),
            destination: None,
            way: Way::Here,
            grounds: grounds(),
        },
    )
}

fn grounds() -> Grounds {
    let (source, destination) = ("192.0.2.7".parse().ok(), "2001:db8::1".parse().ok());
    Grounds { mark: Mark::from_bytes([7; 16]), source, destination }
}

fn nat() -> Nat {
    let host = "10.0.0.2".parse().unwrap();
    Nat { local: false, host, port: 8022, rewrite: true, source: NatSource::Kept }
}

fn through(destination: Option<&str>, way: Way, ports: usize) -> Said {
    let Said::Open(ticket, plain) = opening(ports) else { panic!("not an opening") };
    Said::Open(ticket, Opening { destination: destination.map(|to| to.parse().unwrap()), way, ..plain })
}

fn message(said: &[Said]) -> Vec<u8> {
    let mut writer = Writer::default();
    for one in said {
        assert!(writer.add(one));
    }
    writer.message().to_vec()
}

#[test]
fn what_is_said_comes_back() {
    let ports: Box<[_]> = PortSpec::parse("8000-8010").unwrap().into();
    let said = vec![
        opening(1),
        opening(16),
        opening(17),
        through(Some("198.51.100.1"), Way::Nat(nat()), 2),
        through(None, Way::All { to: Some(nat().host), source: NatSource::Masquerade }, 0),
        Said::Close(Closing { client: None, address: None, cause: Cause::End }),
        Said::Close(Closing {
            client: Some(name(&"a".repeat(64))),
            address: Some("192.0.2.1".parse().unwrap()),
            cause: Cause::Revoke,
        }),
        Said::Opened(u64::MAX, Opened::Full),
        Said::Restored {
            client: name("Jörg"),
            address: "192.0.2.7".parse().unwrap(),
            ports,
            destination: "198.51.100.1".parse().ok(),
            way: Way::Nat(nat()),
            until: Mono::from_nanos(9),
            grounds: grounds(),
        },
        Said::Restored {
            client: name("bob"),
            address: "192.0.2.7".parse().unwrap(),
            ports: Box::default(),
            destination: None,
            way: Way::All { to: None, source: NatSource::Kept },
            until: Mono::from_nanos(9),
            grounds: Grounds::default(),
        },
        Said::RestoredAll,
        Said::Kill(3, name("alice")),
        Said::Kept {
            ticket: 3,
            client: name("bob"),
            address: "2001:db8::7".parse().unwrap(),
            ports: PortSpec::parse("22").unwrap().into(),
        },
        Said::Killed(3, Killed::Done { sockets: 1, flows: u32::MAX }),
        Said::Killed(4, Killed::SocketsStay),
        Said::Killed(5, Killed::Failed),
        Said::Settle(6),
        Said::Settled(6, true),
        Said::Settled(u64::MAX, false),
    ];
    let bytes = message(&said);
    assert_eq!(bytes.len(), SIZE * 20);
    assert_eq!(read(&bytes), Ok(said));
}

#[test]
fn the_largest_opening_fills_one_message_and_no_more_fits() {
    let mut writer = Writer::default();
    assert!(writer.add(&opening(MOST_PORTS)));
    assert!(!writer.add(&Said::RestoredAll));
    assert_eq!(read(writer.message()).map(|said| said.len()), Ok(1));
    writer.clear();
    assert!(!writer.add(&opening(MOST_PORTS + 1)));
    assert!(writer.message().is_empty());
}

#[test]
fn messages_of_a_wrong_length_are_refused() {
    let good = message(&[opening(1)]);
    assert_eq!(read(&[]), Err(FrameError::Length(0)));
    assert_eq!(read(&good[..SIZE - 1]), Err(FrameError::Length(SIZE - 1)));
    assert_eq!(read(&vec![0; SIZE * (MOST + 1)]), Err(FrameError::Length(SIZE * (MOST + 1))));
}

#[test]
fn each_wrong_field_is_refused() {
    let wrong = |at: usize, byte: u8| {
        let mut bytes = message(&[opening(1)]);
        bytes[at] = byte;
        read(&bytes)
    };
    assert_eq!(wrong(field::KIND, 0), Err(FrameError::Kind(0)));
    assert_eq!(wrong(field::KIND, 11), Err(FrameError::Kind(11)));
    assert_eq!(wrong(field::MORE, 1), Err(FrameError::Filling));
    assert_eq!(wrong(field::NAME_LENGTH, 65), Err(FrameError::Name));
    assert_eq!(wrong(field::NAME_LENGTH, 0), Err(FrameError::Filling));
    assert_eq!(wrong(field::NAME.start, b'/'), Err(FrameError::Name));
    assert_eq!(wrong(field::FAMILY, 4), Err(FrameError::Address));
    assert_eq!(wrong(field::FAMILY, 0), Err(FrameError::Address));
    assert_eq!(wrong(field::PORT_COUNT, 17), Err(FrameError::Ports));
    assert_eq!(wrong(field::PORT_COUNT, 0), Err(FrameError::Filling));
    assert_eq!(wrong(field::PORTS.start, 1), Err(FrameError::Ports));
    assert_eq!(wrong(field::PORTS.start + 1, 0), Err(FrameError::Ports));
    assert_eq!(wrong(field::RESULT, 1), Err(FrameError::Filling));
    assert_eq!(wrong(field::WAY.end - 1, 1), Err(FrameError::Way));
    assert_eq!(wrong(field::GROUNDS.start + 16, 1), Err(FrameError::Grounds));
    assert_eq!(wrong(field::WAY.start, 7), Err(FrameError::Way));
}

#[test]
fn ports_and_everything_exclude_each_other() {
    let all = Way::All { to: None, source: NatSource::Kept };
    assert_eq!(read(&message(&[through(None, all, 1)])), Err(FrameError::Way));
    assert_eq!(read(&message(&[through(None, Way::Here, 0)])), Err(FrameError::Ports));
    assert_eq!(read(&message(&[through(None, Way::Nat(nat()), 0)])), Err(FrameError::Ports));
    let mut closing = message(&[Said::Close(Closing { client: None, address: None, cause: Cause::End })]);
    closing[field::WAY.start + 1] = 1;
    assert_eq!(read(&closing), Err(FrameError::Filling));
}

#[test]
fn a_row_that_breaks_off_or_changes_its_mind_is_refused() {
    let mut bytes = message(&[opening(17)]);
    assert_eq!(read(&bytes[..SIZE]), Err(FrameError::Filling));
    bytes[SIZE + field::ADDRESS.end - 1] ^= 1;
    assert_eq!(read(&bytes), Err(FrameError::Filling));
    for end in [field::WAY.end, field::GROUNDS.end] {
        let mut bytes = message(&[through(None, Way::Nat(nat()), 17)]);
        bytes[SIZE + end - 1] ^= 1;
        assert_eq!(read(&bytes), Err(FrameError::Filling));
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..SIZE * 3)) {
        let _ = read(&bytes);
    }

    #[test]
    fn what_is_read_is_written_the_same(at in 0..SIZE, byte in any::<u8>()) {
        let mut bytes = message(&[opening(2)]);
        bytes[at] = byte;
        if let Ok(said) = read(&bytes) {
            prop_assert_eq!(message(&said), bytes);
        }
    }
}
