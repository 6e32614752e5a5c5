//! A part that somebody has taken over, as far as that can be: the very process that runs, in its walls, is made to do the
//! system calls of an intruder (by ptrace), and its channel to the grantor is used to ask for what nobody may have.
//!
//! The registers are x86_64's; what stands in the way of the calls is the same list elsewhere.
#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::ffi::c_long;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use portunus_ctl::frame::{Said, Writer};
use portunus_interop::fwknop::within;
use portunus_interop::{CLIENT, Daemon, Firewall, Knocker, Part, SERVER, World, closed, connects, serve_tcp};
use portunus_model::{ClientName, Grounds, Opening, PortSpec, Way};
use rustix::net::{SendFlags, send, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

const DOOR: &str = "10.90.0.1:22";
const OTHER: &str = "10.90.0.1:2222";
const SOON: Duration = Duration::from_secs(1);

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// What the kernel answered: a number below zero is an error.
    Answered(i64),
    /// It ended the process.
    Killed,
}

const REFUSED: Outcome = Outcome::Answered(-(libc::EPERM as i64));

/// An argument of a call.
#[derive(Debug, Clone, Copy)]
enum Word<'a> {
    Number(i64),
    /// The address of these bytes, in the process.
    Bytes(&'a [u8]),
}
use Word::{Bytes, Number};

/// Has process `pid` make this call, then go on where it was.
fn make_call(pid: u32, call: c_long, words: &[Word<'_>]) -> Outcome {
    let pid = Pid::from_raw(pid.try_into().unwrap());
    ptrace::attach(pid).unwrap();
    assert!(matches!(waitpid(pid, None).unwrap(), WaitStatus::Stopped(..)));
    let before = ptrace::getregs(pid).unwrap();
    // It waits in a system call: the instruction before is the one that makes them.
    let instruction = before.rip - 2;
    let code = ptrace::read(pid, instruction as ptrace::AddressType).unwrap();
    assert_eq!(code & 0xffff, 0x050f, "it is not in a system call");
    let mut free = before.rsp - 8192;
    let mut arguments = [0u64; 5];
    for (at, word) in words.iter().enumerate() {
        arguments[at] = match word {
            Number(number) => number.cast_unsigned(),
            Bytes(bytes) => {
                let start = free;
                for piece in bytes.chunks(8) {
                    let mut eight = [0; 8];
                    eight[..piece.len()].copy_from_slice(piece);
                    ptrace::write(pid, free as ptrace::AddressType, c_long::from_ne_bytes(eight)).unwrap();
                    free += 8;
                }
                start
            }
        };
    }
    let [rdi, rsi, rdx, r10, r8] = arguments;
    let (rax, none) = (call.cast_unsigned(), u64::MAX);
    ptrace::setregs(
        pid,
        user_regs_struct { rip: instruction, rax, orig_rax: none, rdi, rsi, rdx, r10, r8, ..before },
    )
    .unwrap();
    ptrace::step(pid, None).unwrap();
    let then = waitpid(pid, None).unwrap();
    if let WaitStatus::Signaled(_, Signal::SIGSYS, _) = then {
        return Outcome::Killed;
    }
    assert!(matches!(then, WaitStatus::Stopped(..)), "{then:?}");
    let answer = ptrace::getregs(pid).unwrap().rax.cast_signed();
    ptrace::setregs(pid, before).unwrap();
    ptrace::detach(pid, None).unwrap();
    Outcome::Answered(answer)
}

/// A server with alice's grant of a minute in it.
fn with_a_grant() -> (World, Knocker, Daemon) {
    let world = World::new(Firewall::PolicyDrop);
    let alice = world.add("alice", &["--ports", "ssh", "--for", "1m"]);
    let daemon = world.serve();
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "granted");
    (world, alice, daemon)
}

/// What the kernel lets in by our sets, without the time that is left.
fn open(world: &World) -> Vec<String> {
    let listed = world.server.run("nft", &["list", "ruleset"]);
    let mut open: Vec<String> = listed
        .split(['{', ',', '}'])
        .filter(|element| element.contains(" expires "))
        .filter_map(|element| element.split(" timeout ").next())
        .map(|element| element.trim().to_owned())
        .collect();
    open.sort();
    open
}

/// What an intruder would do, the number of its call, and its words.
type Attempt<'a> = (&'a str, c_long, &'a [Word<'a>]);

const READ_SECRETS: Attempt<'_> = (
    "read /etc/shadow",
    libc::SYS_openat,
    &[Number(libc::AT_FDCWD as i64), Bytes(b"/etc/shadow\0"), Number(0)],
);
const RUN_A_SHELL: Attempt<'_> =
    ("run a shell", libc::SYS_execve, &[Bytes(b"/bin/sh\0"), Number(0), Number(0)]);
const CONNECT_OUT: Attempt<'_> = (
    "connect",
    libc::SYS_connect,
    // AF_INET, port 80, 10.90.0.2.
    &[Number(3), Bytes(&[2, 0, 0, 80, 10, 90, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]), Number(16)],
);
const A_SOCKET: Attempt<'_> = (
    "make a socket",
    libc::SYS_socket,
    &[Number(libc::AF_INET as i64), Number(libc::SOCK_STREAM as i64), Number(0)],
);
const A_PROCESS: Attempt<'_> = ("fork", libc::SYS_clone, &[Number(libc::SIGCHLD as i64), Number(0)]);
const END_OTHERS: Attempt<'_> =
    ("end every process", libc::SYS_kill, &[Number(-1), Number(libc::SIGTERM as i64)]);
const CODE: Attempt<'_> = (
    "make memory executable",
    libc::SYS_mmap,
    &[Number(0), Number(4096), Number((libc::PROT_EXEC | libc::PROT_WRITE) as i64), Number(0x22), Number(-1)],
);

fn a_taken_over_part(part: Part, attempts: &[(Attempt<'_>, Outcome)]) {
    let (world, alice, mut daemon) = with_a_grant();
    let _listeners = [serve_tcp(&world.server, DOOR), serve_tcp(&world.server, OTHER)];
    let before = open(&world);
    // ssh, and the health port, in our own table and in the administrator's.
    let [ssh, health] = ["10.90.0.2 . tcp . 22", "10.90.0.2 . tcp . 54154"];
    assert_eq!(before, [ssh, ssh, health, health]);
    for ((what, call, words), expected) in attempts {
        let outcome = make_call(daemon.part(part), *call, words);
        assert_eq!(outcome, *expected, "{part:?}: {what}");
        assert_eq!(open(&world), before, "{part:?}: {what}");
        if outcome == Outcome::Killed {
            daemon.wait();
            daemon.until_logged("SIGSYS");
            daemon = world.serve();
            assert_eq!(open(&world), before, "{part:?}: {what}, and a restart");
        }
    }
    assert!(connects(&world.client, DOOR, SOON), "{part:?}: her grant is cut short");
    assert!(closed(&world.client, OTHER), "{part:?}");
    assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "extended", "{part:?}: it goes on");
}

#[test]
fn a_taken_over_front_gets_nowhere() {
    let killed = [READ_SECRETS, RUN_A_SHELL, A_SOCKET, CONNECT_OUT].map(|attempt| (attempt, Outcome::Killed));
    let refused = [A_PROCESS, END_OTHERS, CODE].map(|attempt| (attempt, REFUSED));
    a_taken_over_part(Part::Front, &[&refused[..], &killed].concat());
}

#[test]
fn a_taken_over_grantor_has_netlink_and_nothing_else() {
    let killed = [READ_SECRETS, RUN_A_SHELL, CONNECT_OUT].map(|attempt| (attempt, Outcome::Killed));
    let refused = [A_PROCESS, END_OTHERS, CODE, A_SOCKET].map(|attempt| (attempt, REFUSED));
    a_taken_over_part(Part::Grantor, &[&refused[..], &killed].concat());
}

/// The front's channel to the grantor.
fn its_channel(daemon: &Daemon) -> OwnedFd {
    let pid = daemon.part(Part::Front);
    let front = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let front = pidfd_open(front, PidfdFlags::empty()).unwrap();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut numbers: Vec<i32> =
        entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    let mut channels: Vec<OwnedFd> = numbers
        .into_iter()
        .filter_map(|number| pidfd_getfd(&front, number, PidfdGetfdFlags::empty()).ok())
        .filter(|fd| sockopt::socket_type(fd).is_ok_and(|kind| kind == rustix::net::SocketType::SEQPACKET))
        .collect();
    // The first, which it began with, goes to the keeper.
    assert_eq!(channels.len(), 2, "{channels:?}");
    channels.pop().unwrap()
}

#[test]
fn the_grantor_opens_for_no_front_what_the_configuration_does_not_name() {
    let (world, alice, daemon) = with_a_grant();
    let _listeners = [serve_tcp(&world.server, DOOR), serve_tcp(&world.server, OTHER)];
    let before = open(&world);
    let channel = its_channel(&daemon);
    let asked = |address: &str, ports: &[&str], seconds| Opening {
        client: ClientName::new("alice").unwrap(),
        address: address.parse().unwrap(),
        ports: ports.iter().flat_map(|port| PortSpec::parse(port).unwrap()).collect(),
        lasting: Duration::from_secs(seconds),
        destination: None,
        way: Way::Here,
        grounds: Grounds::default(),
    };
    let mut said = 0;
    for (what, opening) in [
        ("a port that no client has", asked(CLIENT, &["2222/tcp"], 10)),
        ("one of hers and one that no client has", asked(CLIENT, &["22/tcp", "2222/tcp"], 10)),
        ("the first thousand ports", asked(CLIENT, &["1-1000/tcp"], 10)),
        ("a year", asked("10.90.0.9", &["22/tcp"], 31_536_000)),
        ("nobody's address", asked("0.0.0.0", &["22/tcp"], 10)),
        ("everybody's address", asked("224.0.0.1", &["22/tcp"], 10)),
    ] {
        let mut writer = Writer::default();
        assert!(writer.add(&Said::Open(7_000_000, opening)), "{what}");
        send(&channel, writer.message(), SendFlags::empty()).unwrap();
        said += 1;
        // It answers in order: an answer to hers comes after it has judged this one.
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "extended", "{what}");
        assert_eq!(open(&world), before, "{what}");
    }
    for nonsense in [&b"x"[..], &[0xff; 240], &[0; 240]] {
        send(&channel, nonsense, SendFlags::empty()).unwrap();
        assert_eq!(daemon.verdict(|| alice.knock(&world.client, SERVER)), "extended");
        assert_eq!(open(&world), before);
    }
    assert!(closed(&world.client, OTHER));
    let told = || daemon.log().matches("the front asked for more than the configuration allows").count();
    assert!(within(Duration::from_secs(5), || told() >= said), "{}", daemon.log());
    assert_eq!(told(), said, "{}", daemon.log());
}
