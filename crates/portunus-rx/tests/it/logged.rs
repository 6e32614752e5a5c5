//! Packets that a rule of the firewall's logs to a group.

use std::net::UdpSocket;
use std::time::Duration;

use portunus_model::{Mono, Via};
use portunus_rx::{Nflog, open_nflog};
use portunus_sys::netlink::NetlinkSocket;
use portunus_sys::poll;
use rustix::thread::CapabilitySet;

use crate::world::{apart, run, wanted};

const RULE: &str = "add table inet tap; add chain inet tap in { type filter hook prerouting priority raw; }; \
                    add rule inet tap in udp dport 62201 log group 5";

#[test]
fn what_a_rule_logs_is_heard_without_a_right_and_nothing_can_be_asked() {
    apart();
    run("nft", &[RULE]);
    let socket = open_nflog(5).unwrap();
    let own = socket.try_clone().unwrap();
    let mut nflog = Nflog::new(socket, wanted());
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets).unwrap();

    assert!(open_nflog(6).is_err());
    // NFT_MSG_NEWTABLE and its kin, by the socket that was opened with the right to it: the kernel asks who sends.
    let stranger = NetlinkSocket::from(own);
    let ask = [&20_u32.to_ne_bytes()[..], &0x0a00_u16.to_ne_bytes(), &5_u16.to_ne_bytes(), &[0; 12]].concat();
    stranger.send(&ask).unwrap();
    let mut answer = [0; 256];
    let length = stranger.receive(&mut answer).unwrap().unwrap();
    let code = answer[..length].get(16..20).map(|code| i32::from_ne_bytes(code.try_into().unwrap()));
    assert_eq!(code, Some(-1), "EPERM");

    let send = |to: &str, letter: u8| {
        let any = if to.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
        UdpSocket::bind(any).unwrap().send_to(&[letter; 50], to).unwrap();
    };
    for (to, letter) in [("127.0.0.1:62201", b'a'), ("127.0.0.1:5", b'b'), ("127.0.0.1:62201", b'c')] {
        send(to, letter);
    }
    send("[::1]:62201", b'd');
    let mut heard = Vec::new();
    while poll::readable(nflog.descriptor(), Duration::from_millis(300)).unwrap() {
        nflog.receive(Mono::default(), |datagram| heard.push(datagram)).unwrap();
    }
    let letters: Vec<u8> = heard.iter().map(|one| one.bytes[0]).collect();
    assert_eq!(letters, *b"acd");
    assert!(heard.iter().all(|one| one.via == Via::Sniffed && one.source.ip().is_loopback()));
    assert_eq!(heard[2].destination, "::1".parse().ok());
    assert_eq!(nflog.dropped(), 0);
}

#[test]
fn what_the_kernel_had_no_room_for_is_counted() {
    const SENT: u64 = 40_000;
    apart();
    run("nft", &[RULE]);
    let mut nflog = Nflog::new(open_nflog(5).unwrap(), wanted());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = || socket.send_to(&[b'a'; 50], "127.0.0.1:62201").unwrap();
    // The first and the last have room, so that their numbers tell of those between.
    send();
    let mut heard = 0;
    let mut read = |nflog: &mut Nflog| {
        while poll::readable(nflog.descriptor(), Duration::from_millis(300)).unwrap() {
            nflog.receive(Mono::default(), |_| heard += 1).unwrap();
        }
        heard
    };
    read(&mut nflog);
    for _ in 1..SENT - 1 {
        send();
    }
    assert!(read(&mut nflog) < SENT - 1, "nothing overflowed");
    send();
    let heard = read(&mut nflog);
    assert_eq!(heard + nflog.dropped(), SENT);
}
