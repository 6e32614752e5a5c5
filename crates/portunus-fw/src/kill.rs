//! Ending what is established: the sockets of this host, and conntrack's memory of a flow.
//!
//! Called by the back ends after they have cut the peer off: a server that keeps sending would have the kernel adopt the
//! flow again at once if conntrack alone forgot it. A socket that is destroyed (`SOCK_DESTROY`) tells its peer with a
//! reset, and its program with an error. Not here: whose flows may be ended.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_bindings::conntrack::{IterableTupleAttrs, Nfgenmsg, OpGetDo, OpGetDump};
use netlink_bindings::inet_diag::{Msg, ReqV2};
use portunus_model::{PortSpec, Proto, Way};
use portunus_sys::netlink::NetlinkSocket;

use crate::nft::{ACK, Answer, DUMP, REQUEST, failed, frame, kernel, messages};
use crate::{Element, FirewallError};

/// `SOCK_DIAG_BY_FAMILY`, `SOCK_DESTROY` (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;

/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`.
const GET_FLOWS: u16 = 1 << 8 | 1;
const DELETE_FLOW: u16 = 1 << 8 | 2;

/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Somebody else's end came first.
const ENOENT: i32 = 2;

/// A kernel without `CONFIG_INET_DIAG_DESTROY`.
const EOPNOTSUPP: i32 = 95;

/// Every state of TCP in which a peer is there, by its number in net/tcp_states.h: not TIME_WAIT (6), CLOSE (7) and
/// LISTEN (10).
const WITH_PEER: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11 | 1 << 12;

/// A UDP socket that has a peer is `TCP_ESTABLISHED`.
const CONNECTED: u32 = 1 << 1;

/// What was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Sockets of this host.
    pub sockets: u32,
    /// Other flows that conntrack knew.
    pub flows: u32,
    /// The kernel cannot destroy sockets: their peers are cut off, and the sockets end by their own timeouts.
    pub sockets_stay: bool,
}

/// One flow as conntrack knows it, by the direction of its first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tuple {
    pub(crate) from: (IpAddr, u16),
    /// Before anything was turned.
    pub(crate) to: (IpAddr, u16),
    pub(crate) proto: u8,
    pub(crate) zone: Option<u16>,
}

/// Protocol, the peer, and the port here: a flow whose socket was ended is not counted twice.
type Pair = (u8, (IpAddr, u16), u16);

impl Tuple {
    fn pair(&self, elements: &[Element]) -> Pair {
        if is_flow_meant(elements, self.proto, self.from.0, self.to.1) {
            (self.proto, self.from, self.to.1)
        } else {
            (self.proto, self.to, self.from.1)
        }
    }
}

/// Ends every socket and flow between these addresses and their ports.
///
/// # Errors
/// What the kernel refused to list or to end; the rest is ended all the same.
pub(crate) fn end(elements: &[Element]) -> Result<Ended, FirewallError> {
    let mut ended = Ended::default();
    let mut gone = HashSet::new();
    let sockets = end_sockets(elements, &mut ended, &mut gone);
    let flows = end_flows(elements, &mut ended, &gone);
    sockets.and(flows).map(|()| ended)
}

fn end_sockets(
    elements: &[Element],
    ended: &mut Ended,
    gone: &mut HashSet<Pair>,
) -> Result<(), FirewallError> {
    let step = "ending sockets";
    let socket = NetlinkSocket::sock_diag().map_err(|error| failed(step, &error))?;
    let mut outcome = Ok(());
    for (proto, states) in [(Proto::Tcp, WITH_PEER), (Proto::Udp, CONNECTED)] {
        if !elements.iter().any(|element| element.proto() == Some(proto)) {
            continue;
        }
        // AF_INET, AF_INET6
        for family in [2, 10] {
            for one in sockets(&socket, family, proto, states)? {
                let hit = is_socket_meant(elements, proto.number(), peer(&one), one.sockid.sport());
                if !hit {
                    continue;
                }
                match destroy(&socket, proto, &one)? {
                    0 => {
                        ended.sockets = ended.sockets.saturating_add(1);
                        gone.insert((proto.number(), (peer(&one), one.sockid.dport()), one.sockid.sport()));
                    }
                    ENOENT => {}
                    EOPNOTSUPP => ended.sockets_stay = true,
                    errno => outcome = Err(kernel(step, errno)),
                }
            }
        }
    }
    outcome
}

/// Every socket of a family and protocol in these states.
fn sockets(socket: &NetlinkSocket, family: u8, proto: Proto, states: u32) -> Result<Vec<Msg>, FirewallError> {
    let request = ReqV2 { family, protocol: proto.number(), states, ..ReqV2::new() };
    let mut found = Vec::new();
    let bytes = message(BY_FAMILY, DUMP, |bytes| bytes.extend(request.as_slice()));
    let step = "listing sockets";
    let errno = ask(socket, step, &bytes, |answer| {
        found.extend(answer.body.get(..Msg::len()).and_then(Msg::new_from_slice));
    })?;
    match errno {
        // ENOENT: a kernel that lists no sockets of this protocol.
        0 | ENOENT => Ok(found),
        errno => Err(kernel(step, errno)),
    }
}

/// Destroys one socket, the very one that was listed: its cookie is in its identity. The kernel's error number.
fn destroy(socket: &NetlinkSocket, proto: Proto, one: &Msg) -> Result<i32, FirewallError> {
    let sockid = one.sockid.clone();
    let states = 1_u32.checked_shl(u32::from(one.state)).unwrap_or_default();
    let request = ReqV2 { family: one.family, protocol: proto.number(), states, sockid, ..ReqV2::new() };
    let bytes = message(DESTROY, ACK, |bytes| bytes.extend(request.as_slice()));
    ask(socket, "ending sockets", &bytes, |_| ())
}

fn end_flows(elements: &[Element], ended: &mut Ended, gone: &HashSet<Pair>) -> Result<(), FirewallError> {
    let step = "ending flows";
    let socket = NetlinkSocket::netfilter().map_err(|error| failed(step, &error))?;
    let mut meant = Vec::new();
    let known = each_flow(&socket, step, |tuple, _| {
        // A server that went on sending began the flow anew, as conntrack sees it.
        let is_meant = is_flow_meant(elements, tuple.proto, tuple.from.0, tuple.to.1)
            || is_flow_meant(elements, tuple.proto, tuple.to.0, tuple.from.1);
        meant.extend(is_meant.then_some(tuple));
    })?;
    if !known {
        return Ok(());
    }
    let mut outcome = Ok(());
    for tuple in &meant {
        match ask(&socket, step, &delete_flow(tuple), |_| ())? {
            0 if gone.contains(&tuple.pair(elements)) => {}
            0 => ended.flows = ended.flows.saturating_add(1),
            ENOENT => {}
            errno => outcome = Err(kernel(step, errno)),
        }
    }
    outcome
}

/// Hands over every flow that conntrack knows, with its status (`IPS_*`). `false`: conntrack is not there, and nothing is
/// known of any.
pub(crate) fn each_flow(
    socket: &NetlinkSocket,
    step: &'static str,
    mut each: impl FnMut(Tuple, u32),
) -> Result<bool, FirewallError> {
    let bytes = message(GET_FLOWS, DUMP, |bytes| bytes.extend(Nfgenmsg::new().as_slice()));
    let errno = ask(socket, step, &bytes, |answer| {
        let status = OpGetDump::decode_request(answer.body).1.get_status().unwrap_or_default();
        if let Some(tuple) = tuple(answer.body) {
            each(tuple, status);
        }
    })?;
    Ok(errno == 0)
}

/// A socket of ours: at the port itself, or where a translation ends here.
fn is_socket_meant(elements: &[Element], proto: u8, peer: IpAddr, here: u16) -> bool {
    elements.iter().filter(|element| element.address == peer).any(|element| {
        match (element.way, element.port) {
            (Way::Here | Way::From(_), Some(port)) => port.proto().number() == proto && holds(port, here),
            (Way::Nat(nat), Some(port)) => nat.local && port.proto().number() == proto && nat.port == here,
            (Way::Here | Way::From(_) | Way::Nat(_) | Way::All { .. }, _) => false,
        }
    })
}

/// A flow as conntrack knows it: by the port that it came to, or, when the inner host began it anew, by the port where
/// its translation ends.
fn is_flow_meant(elements: &[Element], proto: u8, peer: IpAddr, there: u16) -> bool {
    elements.iter().filter(|element| element.address == peer).any(|element| match element.port {
        Some(port) => {
            let turned = element.nat().is_some_and(|nat| nat.port == there);
            port.proto().number() == proto && (holds(port, there) || turned)
        }
        None => true,
    })
}

fn holds(port: PortSpec, number: u16) -> bool {
    (port.first()..=port.last()).contains(&number)
}

/// Asks, hands over each answer, and gives the error number that the kernel ends with (0: none).
fn ask(
    socket: &NetlinkSocket,
    step: &'static str,
    bytes: &[u8],
    mut each: impl FnMut(Answer<'_>),
) -> Result<i32, FirewallError> {
    let mut buffer = vec![0; 65_536];
    socket.send(bytes).map_err(|error| failed(step, &error))?;
    while let Some(length) = socket.receive(&mut buffer).map_err(|error| failed(step, &error))? {
        for answer in messages(buffer.get(..length).unwrap_or_default()) {
            match answer.kind {
                DONE => return Ok(0),
                ERROR => {
                    let errno = answer.body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                    return Ok(errno.saturating_neg());
                }
                _ => each(answer),
            }
        }
    }
    Ok(0)
}

fn message(kind: u16, flags: u16, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, kind, REQUEST | flags, 1, fill);
    bytes
}

/// Who is at the other end; canonical, also of a socket that serves both families.
fn peer(msg: &Msg) -> IpAddr {
    let bytes = &msg.sockid.dst;
    match (msg.family, bytes.first_chunk::<4>()) {
        (2, Some(v4)) => Ipv4Addr::from(*v4).into(),
        _ => IpAddr::from(Ipv6Addr::from(*bytes)).to_canonical(),
    }
}

fn tuple(body: &[u8]) -> Option<Tuple> {
    let (_, attributes) = OpGetDump::decode_request(body);
    let zone = attributes.get_zone().ok();
    let orig: IterableTupleAttrs<'_> = attributes.get_tuple_orig().ok()?;
    let (ip, proto) = (orig.get_tuple_ip().ok()?, orig.get_tuple_proto().ok()?);
    let v4 = ip.get_ip_v4_src().ok().zip(ip.get_ip_v4_dst().ok());
    let v6 = ip.get_ip_v6_src().ok().zip(ip.get_ip_v6_dst().ok());
    let v4 = v4.map(|(from, to)| (IpAddr::from(from), IpAddr::from(to)));
    let (from, to) = v4.or_else(|| v6.map(|(from, to)| (from.into(), to.into())))?;
    Some(Tuple {
        from: (from, proto.get_proto_src_port().ok()?),
        to: (to, proto.get_proto_dst_port().ok()?),
        proto: proto.get_proto_num().ok()?,
        zone,
    })
}

fn delete_flow(tuple: &Tuple) -> Vec<u8> {
    let family = if tuple.from.0.is_ipv4() { 2 } else { 10 };
    let header = Nfgenmsg { nfgen_family: family, ..Nfgenmsg::new() };
    message(DELETE_FLOW, ACK, |bytes| {
        let mut attributes = OpGetDo::encode_request(bytes, &header);
        if let Some(zone) = tuple.zone {
            attributes = attributes.push_zone(zone);
        }
        let ip = attributes.nested_tuple_orig().nested_tuple_ip();
        let ip = match (tuple.from.0, tuple.to.0) {
            (IpAddr::V6(from), IpAddr::V6(to)) => ip.push_ip_v6_src(from).push_ip_v6_dst(to),
            (IpAddr::V4(from), IpAddr::V4(to)) => ip.push_ip_v4_src(from).push_ip_v4_dst(to),
            // No flow goes from one family to the other.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => ip,
        };
        ip.end_nested()
            .nested_tuple_proto()
            .push_proto_num(tuple.proto)
            .push_proto_src_port(tuple.from.1)
            .push_proto_dst_port(tuple.to.1)
            .end_nested()
            .end_nested();
    })
}

#[cfg(test)]
mod tests {
    use portunus_model::{Nat, NatSource};

    use super::*;

    fn element(address: &str, port: &str) -> Element {
        Element::here(address.parse().unwrap(), PortSpec::parse(port).unwrap()[0])
    }

    #[test]
    fn only_the_very_address_protocol_and_ports_are_meant() {
        let elements = [element("192.0.2.1", "22/tcp"), element("2001:db8::1", "8000-8010/udp")];
        let meant = |proto, peer: &str, here| {
            let peer = peer.parse().unwrap();
            let is = is_flow_meant(&elements, proto, peer, here);
            assert_eq!(is, is_socket_meant(&elements, proto, peer, here));
            is
        };
        assert!(meant(6, "192.0.2.1", 22));
        assert!(meant(17, "2001:db8::1", 8010));
        assert!(!meant(6, "192.0.2.11", 22));
        assert!(!meant(17, "192.0.2.1", 22));
        assert!(!meant(6, "192.0.2.1", 8000));
        assert!(!meant(17, "2001:db8::1", 8011));
    }

    #[test]
    fn a_translated_flow_is_meant_at_both_ends_and_only_a_local_one_has_a_socket() {
        let peer = "192.0.2.1".parse().unwrap();
        let through = |local| {
            let host = "10.0.0.2".parse().unwrap();
            let way = Way::Nat(Nat { local, host, port: 8022, rewrite: true, source: NatSource::Kept });
            [Element { way, ..element("192.0.2.1", "22/tcp") }]
        };
        for port in [22, 8022] {
            assert!(is_flow_meant(&through(false), 6, peer, port));
            assert!(!is_socket_meant(&through(false), 6, peer, port));
        }
        assert!(
            is_socket_meant(&through(true), 6, peer, 8022) && !is_socket_meant(&through(true), 6, peer, 22)
        );
        let all = Way::All { to: None, source: NatSource::Kept };
        let all = [Element { port: None, way: all, ..element("192.0.2.1", "22/tcp") }];
        assert!(is_flow_meant(&all, 17, peer, 9) && !is_socket_meant(&all, 17, peer, 9));
    }

    #[test]
    fn a_flow_is_deleted_by_the_tuple_that_was_read() {
        for (from, to) in [("192.0.2.1", "198.51.100.1"), ("2001:db8::1", "2001:db8::2")] {
            let tuple = Tuple {
                from: (from.parse().unwrap(), 40_000),
                to: (to.parse().unwrap(), 22),
                proto: 6,
                zone: Some(7),
            };
            assert_eq!(super::tuple(&delete_flow(&tuple)[16..]), Some(tuple));
        }
    }

    #[test]
    fn a_peer_of_a_socket_for_both_families_is_the_ipv4_address_that_it_is() {
        let mut msg = Msg { family: 10, ..Msg::new() };
        msg.sockid.dst = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
        assert_eq!(peer(&msg), IpAddr::from([192, 0, 2, 1]));
        msg.family = 2;
        msg.sockid.dst = [0; 16];
        msg.sockid.dst[..4].copy_from_slice(&[192, 0, 2, 1]);
        assert_eq!(peer(&msg), IpAddr::from([192, 0, 2, 1]));
    }
}
