//! The client's side: seals and sends knocks. Keys are made from small numbers, so both sides know them.

use std::ffi::OsString;
use std::net::{IpAddr, UdpSocket};
use std::process::ExitCode;

use portunus_crypto::{Secret, SystemEntropy, ed25519, x25519};
use portunus_dialect::openme::{self, ClientKeys, Wish};

/// The server's private key.
pub(crate) fn server_key() -> Secret<32> {
    Secret::from_bytes([42; 32])
}

/// Client number `n`'s seed.
pub(crate) fn seed(n: u32) -> Secret<32> {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    Secret::from_bytes(bytes)
}

/// Client number `n`'s public key as files have it.
pub(crate) fn public_key(n: u32) -> String {
    portunus_crypto::text::encode(ed25519::SigningKey::new(&seed(n)).unwrap().public())
}

/// A knock of client `n` for `target`.
pub(crate) fn packet(n: u32, target: IpAddr) -> Vec<u8> {
    let server = *x25519::PrivateKey::new(&server_key()).unwrap().public();
    let keys = ClientKeys { server, client: ed25519::SigningKey::new(&seed(n)).unwrap() };
    let wish = Wish { target: Some(target) };
    let stamp = portunus_sys::clock::wall();
    openme::seal(&keys, wish, stamp, &mut SystemEntropy).unwrap().to_vec()
}

/// `--knock ADDR:PORT TIMES HEX`: sends the bytes, from inside the namespace.
pub(crate) fn knock(words: &[OsString]) -> ExitCode {
    let text = |n: usize| words[n].to_str().unwrap().to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bytes: Vec<u8> = text(2)
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    println!("{}", portunus_sys::clock::mono().as_nanos());
    for _ in 0..text(1).parse::<u32>().unwrap() {
        socket.send_to(&bytes, text(0)).unwrap();
    }
    ExitCode::SUCCESS
}

/// `--flood FIRST CLIENTS TOTAL PER_SECOND`: `TOTAL` fresh knocks of clients from `FIRST` on by turns, each client always
/// from one address of its own (127.1.x.y) and for one target of its own. All are sealed before the first is sent.
pub(crate) fn flood(words: &[OsString]) -> ExitCode {
    let number = |n: usize| words[n].to_str().unwrap().parse::<u32>().unwrap();
    let (first, clients, total, per_second) = (number(0), number(1), number(2), number(3));
    let sockets: Vec<UdpSocket> = (0..clients)
        .map(|n| UdpSocket::bind(format!("127.1.{}.{}:0", n / 250, n % 250 + 1)).unwrap())
        .collect();
    let packets: Vec<(usize, Vec<u8>)> = (0..total)
        .map(|n| {
            let client = n % clients;
            let target = format!("198.18.{}.{}", client / 250, client % 250 + 1);
            (client as usize, packet(first + client, target.parse().unwrap()))
        })
        .collect();
    let began = std::time::Instant::now();
    for (n, (client, packet)) in packets.iter().enumerate() {
        let due = std::time::Duration::from_secs_f64(n as f64 / f64::from(per_second));
        while let Some(wait) = due.checked_sub(began.elapsed()) {
            std::thread::sleep(wait.min(std::time::Duration::from_millis(1)));
        }
        sockets[*client].send_to(packet, "127.0.0.1:54154").unwrap();
    }
    println!("sent {total} in {:?}", began.elapsed());
    ExitCode::SUCCESS
}
