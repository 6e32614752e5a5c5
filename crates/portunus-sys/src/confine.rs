//! Confinement: what a part can still do after it has become a user with no rights. Three walls, each for itself:
//! no_new_privs and no capability (users.rs), landlock (no file, no port, no signal to others), seccomp (an allow-list).
//! What no part ever has a reason for (to run a program, to open a file) ends it at once: whoever tries has taken it over,
//! and the keeper says so.
//!
//! Called by the parts, before their first stranger's byte and before there is a second thread.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// Which part is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// Reads strangers' packets; makes no socket, opens nothing.
    Front,
    /// Speaks netlink; opens nothing else.
    Grantor,
    /// Asks the network for the addresses of names, as the system's library does: reads its files, writes none.
    Resolver,
    /// Runs gpg with keyrings in folders of its own ([`confine_to`]); speaks to no network.
    Oracle,
    /// Tells people over the network, by connections to these TCP ports; reads what the system's library reads.
    Alerts {
        /// A mail server's and a page's.
        ports: [Option<u16>; 2],
    },
    /// Serves figures at a socket that was handed to it; opens nothing.
    Exporter,
}

/// How far landlock could go on this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landlock {
    /// Everything that we ask for.
    Full,
    /// An older kernel does a part of it.
    Partial,
    /// The kernel has none.
    Missing,
}

/// Why a part could not be confined; it must end then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot confine the process: {0}")]
pub struct ConfineError(String);

/// Confines this process for good.
///
/// # Errors
/// [`ConfineError`] where the kernel has no seccomp filters; a kernel without landlock is no error.
pub fn confine(how: Confinement) -> Result<Landlock, ConfineError> {
    confine_to(how, &[], &[])
}

/// The same; the oracle may do everything in the folders `own`, and run `programs` besides those of the system.
///
/// # Errors
/// As [`confine`].
pub fn confine_to(how: Confinement, own: &[&Path], programs: &[&Path]) -> Result<Landlock, ConfineError> {
    let wrong = |what: &dyn std::fmt::Display| ConfineError(what.to_string());
    // rustix looks for the kernel's fast clock when it is first asked for the time, and may open a file for that.
    let _ = crate::clock::now();
    rustix::thread::set_no_new_privs(true).map_err(|e| wrong(&e))?;
    let landlock = landlock(how, own, programs).map_err(|e| wrong(&e))?;
    if how == Confinement::Oracle {
        let program = oracles().map_err(|e| wrong(&e))?;
        seccompiler::apply_filter(&program).map_err(|e| wrong(&e))?;
        let program = no_network().map_err(|e| wrong(&e))?;
        seccompiler::apply_filter(&program).map_err(|e| wrong(&e))?;
        return Ok(landlock);
    }
    // Of two filters the harder answer counts.
    for program in [deadly(how), old_threads(), program(how)] {
        let program = program.map_err(|e| wrong(&e))?;
        seccompiler::apply_filter(&program).map_err(|e| wrong(&e))?;
    }
    Ok(landlock)
}

/// The least wall: nothing that this process runs gains a right that it has not.
///
/// # Errors
/// [`ConfineError`] where the kernel knows no such thing.
pub fn gain_nothing() -> Result<(), ConfineError> {
    rustix::thread::set_no_new_privs(true).map_err(|error| ConfineError(error.to_string()))
}

/// No file below any path, no TCP port, no signal or abstract socket outside: what was handed to us stays usable. The
/// resolver reads what the system's library reads, and speaks to name servers.
fn landlock(how: Confinement, own: &[&Path], programs: &[&Path]) -> Result<Landlock, landlock::RulesetError> {
    let newest = ABI::V6;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?;
    let ports = match how {
        Confinement::Resolver => Some([None; 2]),
        Confinement::Alerts { ports } => Some(ports),
        Confinement::Front | Confinement::Grantor | Confinement::Exporter | Confinement::Oracle => None,
    };
    if let Some(ports) = ports {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        ruleset = ruleset
            .add_rules(path_beneath_rules(RESOLVERS_FILES, read))?
            .add_rule(NetPort::new(NAME_SERVICE, AccessNet::ConnectTcp))?;
        for port in ports.into_iter().flatten() {
            ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
        }
    }
    if how == Confinement::Oracle {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        ruleset = ruleset
            .add_rules(path_beneath_rules(SYSTEMS_PROGRAMS, read | AccessFs::Execute))?
            .add_rules(path_beneath_rules(programs, AccessFs::ReadFile | AccessFs::Execute))?
            .add_rules(path_beneath_rules(["/etc", "/proc"], read))?
            .add_rules(path_beneath_rules(DEVICES, AccessFs::ReadFile | AccessFs::WriteFile))?
            .add_rules(path_beneath_rules(own, AccessFs::from_all(newest)))?;
    }
    let status = ruleset.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::Missing,
    })
}

/// Where the system's library looks for its configuration, its modules (nsswitch.conf) and the sockets of local services;
/// what is not there is left out.
const RESOLVERS_FILES: [&str; 7] =
    ["/etc", "/usr/lib", "/lib", "/lib64", "/run/systemd", "/run/resolvconf", "/var/lib/sss"];
/// Where gpg, its agent and their libraries are.
const SYSTEMS_PROGRAMS: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];
/// What any program may read from and write to.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/urandom", "/dev/random"];
/// The port of name servers.
const NAME_SERVICE: u16 = 53;

/// What all parts need: their descriptors, memory, time, and an end.
const COMMON: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_fstat,
    libc::SYS_close,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_ctl,
    libc::SYS_ppoll,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getsockopt,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The older forms that only x86_64 has, which the C library still uses there.
#[cfg(target_arch = "x86_64")]
const COMMON_HERE: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const COMMON_HERE: &[libc::c_long] = &[];

/// The front's own: datagrams in batches, connections to the control socket, the health port and the TCP server (and to
/// which address these came), and the memory file by which it tells the keeper who is there.
const FRONT: &[libc::c_long] = &[
    libc::SYS_recvmmsg,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_memfd_create,
    libc::SYS_shutdown,
    // Whether the kernel vouches for its clock; to set it takes a capability.
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

/// The grantor's own: netlink sockets, its alarm, and the memory file by which the errand process gets its input.
const GRANTOR: &[libc::c_long] = &[
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_setsockopt,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_memfd_create,
];

/// The resolver's own: what the C library does for a name (files, modules, sockets), and threads, since it waits for each.
const RESOLVER: &[libc::c_long] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_fstatfs,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_sendmmsg,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_shutdown,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    // Answered by `old_threads`.
    libc::SYS_clone3,
];

/// The older forms of the same.
#[cfg(target_arch = "x86_64")]
const RESOLVER_HERE: &[libc::c_long] =
    &[libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink];
#[cfg(not(target_arch = "x86_64"))]
const RESOLVER_HERE: &[libc::c_long] = &[];

/// What no part has a reason for.
const DEADLY: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_perf_event_open,
    libc::SYS_mount,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_add_key,
];
/// What the front and the grantor have none for: they were handed all their files, and call nobody.
const DEADLY_OF_THE_HANDED: &[libc::c_long] =
    &[libc::SYS_openat, libc::SYS_openat2, libc::SYS_open_by_handle_at, libc::SYS_connect];
#[cfg(target_arch = "x86_64")]
const DEADLY_HERE: &[libc::c_long] = &[libc::SYS_open, libc::SYS_creat];
#[cfg(not(target_arch = "x86_64"))]
const DEADLY_HERE: &[libc::c_long] = &[];

/// Calls, each with the conditions of which one must hold; no condition: always.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Ends a part that does what it never does.
fn deadly(how: Confinement) -> Result<BpfProgram, seccompiler::BackendError> {
    let own: &[&[libc::c_long]] = match how {
        Confinement::Front | Confinement::Exporter => {
            &[DEADLY_OF_THE_HANDED, DEADLY_HERE, &[libc::SYS_socket]]
        }
        Confinement::Grantor => &[DEADLY_OF_THE_HANDED, DEADLY_HERE],
        Confinement::Resolver | Confinement::Oracle | Confinement::Alerts { .. } => &[],
    };
    let calls = DEADLY.iter().chain(own.iter().copied().flatten());
    let rules = calls.map(|call| (*call, Vec::new())).collect();
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, arch()?)?.try_into()
}

fn program(how: Confinement) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = Rules::new();
    let own: &[&[libc::c_long]] = match how {
        Confinement::Front => &[FRONT],
        Confinement::Grantor => &[GRANTOR],
        Confinement::Resolver | Confinement::Alerts { .. } => &[RESOLVER, RESOLVER_HERE],
        Confinement::Exporter => &[&[libc::SYS_accept4]],
        // It has a filter of another kind: gpg is no program of ours.
        Confinement::Oracle => &[],
    };
    for call in COMMON.iter().chain(COMMON_HERE).chain(own.iter().copied().flatten()) {
        rules.insert(*call, Vec::new());
    }
    // Memory is for data: nothing new becomes code.
    let not_code = || {
        condition(2, SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.unsigned_abs())), 0).map(|c| vec![c])
    };
    // Nor a descriptor's: by that a packet socket could be made to send.
    let anonymous = u64::from(libc::MAP_ANONYMOUS.unsigned_abs());
    let mut memory = not_code()?;
    memory.push(condition(3, SeccompCmpOp::MaskedEq(anonymous), anonymous)?);
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(memory)?]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(not_code()?)?]);
    rules.insert(libc::SYS_fcntl, equal_to(1, &FCNTL)?);
    rules.insert(libc::SYS_ioctl, equal_to(1, &[libc::FIONBIO, libc::SIOCGIFNAME, libc::FIONREAD])?);
    // An abort (the end of a panic) signals its own process; nothing else may be signalled.
    let us = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, equal_to(0, &[us])?);
    match how {
        Confinement::Front | Confinement::Exporter | Confinement::Oracle => (),
        Confinement::Grantor => grantors(&mut rules)?,
        Confinement::Resolver => resolvers(&mut rules)?,
        Confinement::Alerts { .. } => {
            resolvers(&mut rules)?;
            // The room of its ring, and a ring in memory where the disk has none.
            rules.insert(libc::SYS_fallocate, Vec::new());
            rules.insert(libc::SYS_memfd_create, Vec::new());
        }
    }
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch()?)?;
    filter.try_into()
}

/// nf_tables and conntrack; and the list of sockets, to end those of a client that is thrown out.
fn grantors(rules: &mut Rules) -> Result<(), seccompiler::BackendError> {
    let netlink = |protocol: i32| {
        SeccompRule::new(vec![
            condition(0, SeccompCmpOp::Eq, u64::from(libc::AF_NETLINK.unsigned_abs()))?,
            condition(2, SeccompCmpOp::Eq, u64::from(protocol.unsigned_abs()))?,
        ])
    };
    let protocols = [netlink(libc::NETLINK_NETFILTER)?, netlink(libc::NETLINK_SOCK_DIAG)?];
    rules.insert(libc::SYS_socket, protocols.into());
    Ok(())
}

fn resolvers(rules: &mut Rules) -> Result<(), seccompiler::BackendError> {
    // The library's modules are code, and files.
    rules.insert(libc::SYS_mmap, Vec::new());
    rules.insert(libc::SYS_mprotect, Vec::new());
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, libc::AF_NETLINK];
    let families = families.map(|family| u64::from(family.unsigned_abs()));
    rules.insert(libc::SYS_socket, equal_to(0, &families)?);
    // A thread, not a process; and its name.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let thread = condition(0, SeccompCmpOp::MaskedEq(thread), thread)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![thread])?]);
    rules.insert(libc::SYS_prctl, equal_to(0, &[u64::from(libc::PR_SET_NAME.unsigned_abs())])?);
    Ok(())
}

/// What neither gpg nor its agent has a reason for; it counts for all that they start.
fn oracles() -> Result<BpfProgram, seccompiler::BackendError> {
    const THEIRS: [libc::c_long; 2] = [libc::SYS_execve, libc::SYS_execveat];
    let calls = DEADLY.iter().filter(|call| !THEIRS.contains(call));
    let rules = calls.map(|call| (*call, Vec::new())).collect();
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, arch()?)?.try_into()
}

/// No socket but to the agent: what a stranger sends must not have gpg call anybody.
fn no_network() -> Result<BpfProgram, seccompiler::BackendError> {
    let local = u64::from(libc::AF_UNIX.unsigned_abs());
    let other = SeccompRule::new(vec![condition(0, SeccompCmpOp::Ne, local)?])?;
    let rules = BTreeMap::from([(libc::SYS_socket, vec![other])]);
    let refuse = SeccompAction::Errno(libc::EACCES.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch()?)?.try_into()
}

/// A filter cannot look into clone3's arguments. Where that is not there the C library makes threads with clone.
fn old_threads() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, missing, arch()?)?.try_into()
}

const FCNTL: [u64; 8] = [
    libc::F_GETFL as u64,
    libc::F_SETFL as u64,
    libc::F_GETFD as u64,
    libc::F_SETFD as u64,
    libc::F_DUPFD_CLOEXEC as u64,
    libc::F_ADD_SEALS as u64,
    libc::F_GET_SEALS as u64,
    libc::F_DUPFD as u64,
];

fn equal_to(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    values
        .iter()
        .map(|value| SeccompRule::new(vec![condition(argument, SeccompCmpOp::Eq, *value)?]))
        .collect()
}

fn condition(
    argument: u8,
    compare: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)
}

fn arch() -> Result<TargetArch, seccompiler::BackendError> {
    std::env::consts::ARCH.try_into()
}
