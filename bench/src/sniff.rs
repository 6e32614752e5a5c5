//! What sniffing costs: a packet that the filter drops in the kernel, and one that it keeps.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portunus_interop::{Firewall, SERVER, World};
use portunus_model::{Lengths, Mono};
use portunus_rx::{Ear, Filter, Packet, Sniffing, Wanted, WhenGone};
use portunus_sys::poll;

/// Packets of one round, and rounds, of which the quickest counts: the machine does other things too.
const PACKETS: u32 = 200_000;
const ROUNDS: u32 = 5;
/// Nothing is bound there, and the firewall drops it.
const PORT: u16 = 62201;
const LENGTH: usize = 204;

pub(crate) fn sniffing() {
    let world = World::bare(Firewall::PolicyDrop);
    let nobody = quickest(|| flood(&world));
    let with = |filter: &str, lengths: Lengths| {
        let sniffing = sniffing_of(filter, lengths);
        let ear = opened(&world, &sniffing);
        let took = quickest(|| flood(&world));
        drop(ear);
        format!("{} ns", took.saturating_sub(nobody).as_nanos())
    };
    let any = || Lengths::of([36..=1500]);
    let port = with("udp port 53", any());
    let length = with("udp port 62201", Lengths::of([165..=165]));
    let net = with("udp port 62201 and (src net 192.0.2.0/24 or src net 2001:db8::/32)", any());
    crate::row(
        "sniffing: a packet that the filter drops, by port, by length, by source",
        &format!(
            "{port}, {length}, {net} (sent and dropped by the firewall alone: {} ns)",
            nobody.as_nanos()
        ),
        "",
    );
    kept(&world);
}

fn kept(world: &World) {
    let sniffing = sniffing_of("udp port 62201", Lengths::of([36..=1500]));
    let ear = opened(world, &sniffing);
    let wanted = Wanted { lengths: sniffing.lengths.clone(), http: None };
    let over = AtomicBool::new(false);
    let (heard, spent, lost, took) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut packet = Packet::new(vec![Some(ear)], sniffing.snap, wanted, sniffing.may_echo());
            let (before, mut heard) = (own_cpu(), 0_u32);
            loop {
                let mut some = false;
                for (_, socket) in packet.descriptors() {
                    some = poll::readable(socket, Duration::from_millis(50)).unwrap_or(false);
                }
                if !some && over.load(Ordering::Relaxed) {
                    break (heard, own_cpu() - before, packet.dropped());
                }
                let _ = packet.receive(0, Mono::default(), |_| heard += 1);
            }
        });
        let took = flood(world);
        over.store(true, Ordering::Relaxed);
        let (heard, spent, lost) = reader.join().expect("the reader ends");
        (heard, spent, lost, took)
    });
    crate::row(
        "sniffing: a packet that is kept, as fast as a core sends",
        &format!(
            "{} ns in the front, up to the datagram; {} a second of the sender's CPU, {lost} of {PACKETS} lost",
            spent.as_nanos() / u128::from(heard.max(1)),
            Duration::from_secs(1).as_nanos() / took.as_nanos().max(1),
        ),
        "",
    );
}

fn sniffing_of(filter: &str, lengths: Lengths) -> Sniffing {
    let ear = Ear { interface: Some("door0".to_owned()), promiscuous: false, both_directions: false };
    let filter = Filter::parse(filter).expect("it is a filter");
    Sniffing { ears: vec![ear], filter, lengths, snap: 1500, when_gone: WhenGone::End }
}

fn opened(world: &World, sniffing: &Sniffing) -> OwnedFd {
    let ear = sniffing.ears.first().expect("it has an ear");
    world.server.inside(|| sniffing.open(ear)).expect("root can sniff")
}

fn quickest(round: impl Fn() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

/// What one packet cost on all of its way: the kernel carries it through to the server in the sender's own time.
fn flood(world: &World) -> Duration {
    world.client.inside(|| {
        let socket = UdpSocket::bind("10.90.0.2:0").expect("a socket can be bound");
        socket.connect((SERVER, PORT)).expect("the server has a route");
        let before = own_cpu();
        for _ in 0..PACKETS {
            let _ = socket.send(&[b'k'; LENGTH]);
        }
        (own_cpu() - before) / PACKETS
    })
}

/// The CPU time of this thread.
fn own_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
