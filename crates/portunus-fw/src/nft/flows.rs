//! Connections that live already when our first drop comes. Where nothing used conntrack before, it knows none of
//! them: the next packet of an idle ssh session would be a stranger's. So each is made known first, from the list of
//! the sockets that the kernel has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_bindings::conntrack::{NfCtTcpFlagsMask, Nfgenmsg, OpGetDo};
use netlink_bindings::inet_diag::{Msg, ReqV2};
use portunus_sys::netlink::NetlinkSocket;

use super::message::{CREATE, DUMP, EXCLUSIVE, REQUEST, frame};
use super::talk::{failed, messages};
use crate::{FirewallError, Structure};

/// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;

/// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_NEW`.
const NEW_FLOW: u16 = 1 << 8;

/// `TCPF_ESTABLISHED`, `TCPF_FIN_WAIT1`, `TCPF_FIN_WAIT2`, `TCPF_CLOSE_WAIT`: bytes may still come.
const LIVING: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8;

/// `IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED` (linux/netfilter/nf_conntrack_common.h).
const KNOWN: u32 = 1 << 1 | 1 << 2 | 1 << 3;

/// `TCP_CONNTRACK_ESTABLISHED`.
const ESTABLISHED: u8 = 3;

/// `IP_CT_TCP_FLAG_BE_LIBERAL`: the window is not known to us, so it is not to be checked.
const LIBERAL: u8 = 0x08;

/// As long as conntrack itself keeps an established connection: five days, in seconds.
const KEPT: u32 = 432_000;

const TCP: u8 = 6;

/// One connection, from the peer's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flow {
    peer: (IpAddr, u16),
    here: (IpAddr, u16),
}

/// Makes every living TCP connection to a protected port or a door known to conntrack.
///
/// # Errors
/// When the sockets cannot be listed. A connection that conntrack knows already, or will not take, is passed over.
pub(crate) fn seed(structure: &Structure) -> Result<(), FirewallError> {
    let ports = || structure.stance.protected.iter().chain(&structure.doors);
    let living = living()?;
    let mut flows = living.iter().filter(|flow| {
        let port = flow.here.1;
        !flow.peer.0.is_loopback() && ports().any(|spec| (spec.first()..=spec.last()).contains(&port))
    });
    let Some(first) = flows.next() else { return Ok(()) };
    let step = "making live connections known";
    let socket = NetlinkSocket::netfilter().map_err(|error| failed(step, &error))?;
    for (sequence, flow) in (1..).zip([first].into_iter().chain(flows)) {
        socket.send(&new_flow(sequence, flow)).map_err(|error| failed(step, &error))?;
    }
    Ok(())
}

fn living() -> Result<Vec<Flow>, FirewallError> {
    const DONE: u16 = 3;
    let step = "listing live connections";
    let socket = NetlinkSocket::sock_diag().map_err(|error| failed(step, &error))?;
    let mut flows = Vec::new();
    let mut buffer = vec![0; 65_536];
    // AF_INET, AF_INET6
    for family in [2, 10] {
        let request = ReqV2 { family, protocol: TCP, states: LIVING, ..ReqV2::new() };
        let mut bytes = Vec::new();
        frame(&mut bytes, BY_FAMILY, REQUEST | DUMP, 1, |bytes| bytes.extend(request.as_slice()));
        socket.send(&bytes).map_err(|error| failed(step, &error))?;
        'dump: while let Some(length) = socket.receive(&mut buffer).map_err(|error| failed(step, &error))? {
            for message in messages(buffer.get(..length).unwrap_or_default()) {
                if message.kind == DONE {
                    break 'dump;
                }
                flows.extend(
                    message.body.get(..Msg::len()).and_then(Msg::new_from_slice).map(|msg| flow(&msg)),
                );
            }
        }
    }
    Ok(flows)
}

fn flow(msg: &Msg) -> Flow {
    let address = |bytes: &[u8; 16]| -> IpAddr {
        match (msg.family, bytes.first_chunk::<4>()) {
            (2, Some(v4)) => Ipv4Addr::from(*v4).into(),
            _ => IpAddr::from(Ipv6Addr::from(*bytes)).to_canonical(),
        }
    };
    let id = &msg.sockid;
    Flow { peer: (address(&id.dst), id.dport()), here: (address(&id.src), id.sport()) }
}

fn new_flow(sequence: u32, flow: &Flow) -> Vec<u8> {
    let family = if flow.peer.0.is_ipv4() { 2 } else { 10 };
    let header = Nfgenmsg { nfgen_family: family, ..Nfgenmsg::new() };
    let flags = NfCtTcpFlagsMask { flags: LIBERAL, mask: LIBERAL };
    let mut bytes = Vec::new();
    frame(&mut bytes, NEW_FLOW, REQUEST | CREATE | EXCLUSIVE, sequence, |bytes| {
        let mut attributes = OpGetDo::encode_request(bytes, &header);
        for (reply, (from, to)) in [(false, (flow.peer, flow.here)), (true, (flow.here, flow.peer))] {
            let tuple = if reply { attributes.nested_tuple_reply() } else { attributes.nested_tuple_orig() };
            let ip = tuple.nested_tuple_ip();
            let ip = match (from.0, to.0) {
                (IpAddr::V4(from), IpAddr::V4(to)) => ip.push_ip_v4_src(from).push_ip_v4_dst(to),
                (from, to) => ip.push_ip_v6_src(v6(from)).push_ip_v6_dst(v6(to)),
            };
            attributes = ip
                .end_nested()
                .nested_tuple_proto()
                .push_proto_num(TCP)
                .push_proto_src_port(from.1)
                .push_proto_dst_port(to.1)
                .end_nested()
                .end_nested();
        }
        attributes
            .push_status(KNOWN)
            .push_timeout(KEPT)
            .nested_protoinfo()
            .nested_protoinfo_tcp()
            .push_tcp_state(ESTABLISHED)
            .push_tcp_flags_original(flags.clone())
            .push_tcp_flags_reply(flags);
    });
    bytes
}

const fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
