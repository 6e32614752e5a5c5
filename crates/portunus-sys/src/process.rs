//! Processes of ours: starting a part, and what each does to itself first.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

use crate::channel::Channel;
use crate::users::{self, Keep};

/// The signal by which the kernel ends a process that made a system call which its confinement forbids outright.
pub const FORBIDDEN_CALL: i32 = libc::SIGSYS;

/// Starts this very program again, with `channel` as standard input and nothing else of ours: no other descriptor
/// but standard error (`stderr`, or ours), no environment but the named variables. A fresh address space, so that a part
/// never sees what another had in memory. With `keep` it begins with these capabilities at most, where we are not root;
/// else with ours.
///
/// # Errors
/// When the system has no processes left.
pub fn start_again(
    title: &str,
    words: &[&OsStr],
    channel: Channel,
    stderr: Option<OwnedFd>,
    variables: &[&str],
    keep: Option<Keep>,
) -> io::Result<Child> {
    keep_descriptors_to_ourselves();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(title).args(words).env_clear();
    for name in variables {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if let Some(stderr) = stderr {
        command.stderr(Stdio::from(stderr));
    }
    if let Some(keep) = keep {
        // SAFETY: the closure makes system calls and nothing else: it takes no memory and no lock.
        unsafe { command.pre_exec(move || users::leave_behind(keep)) };
    }
    command.stdin(Stdio::from(OwnedFd::from(channel))).stdout(Stdio::null()).current_dir("/").spawn()
}

/// Gives a child these descriptors, each by its number there (100 to 109: nobody else's between fork and exec, when a
/// program has few).
///
/// # Errors
/// When the system has no descriptors left.
pub fn hand_on(command: &mut Command, descriptors: Vec<(OwnedFd, i32)>) -> io::Result<()> {
    // Above the numbers that they get, so that none is written over before it was copied.
    let high = |(fd, number): (OwnedFd, i32)| {
        rustix::io::fcntl_dupfd_cloexec(&fd, 110).map(|copy| (copy, number)).map_err(io::Error::from)
    };
    let descriptors = descriptors.into_iter().map(high).collect::<io::Result<Vec<_>>>()?;
    let give = move || {
        for (fd, number) in &descriptors {
            // SAFETY: takes two numbers and no pointer; the second is nobody's.
            if unsafe { libc::dup2(fd.as_raw_fd(), *number) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls and nothing else: it takes no memory and no lock.
    unsafe { command.pre_exec(give) };
    Ok(())
}

/// A pipe: the end to read and the end to write, both closed on exec. Neither end waits.
///
/// # Errors
/// When the system has no descriptors left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// What this host is called.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// What `ps` and `pgrep` call this process.
pub fn name_self(name: &str) {
    // A name that the kernel does not take changes nothing.
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// What we open is closed in children by itself. What we were started with (a shell's, another program's leaked ones)
/// is not: it might be anything, and a part that reads strangers' packets gets none of it.
fn keep_descriptors_to_ourselves() {
    // SAFETY: takes three numbers and no pointer; the flag closes nothing here.
    let rc = unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    if rc == 0 {
        return;
    }
    // Linux before 5.11.
    let most = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(4096).min(65_536);
    for number in 3..i32::try_from(most).unwrap_or(4096) {
        // SAFETY: takes numbers alone; a number that is no descriptor is an error that changes nothing.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// A duplicate of a descriptor that whoever started this program left open for it.
///
/// # Errors
/// It is not open.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: fcntl with F_DUPFD_CLOEXEC reads no memory of ours; it only looks the number up, and fails with EBADF
    // where nothing is open.
    let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made `fd` for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has the kernel kill this process when the one that started it ends. A change of user forgets it, so call it after.
///
/// # Errors
/// As the system says.
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Keeps this process's memory out of core files and from others of the same user (ptrace, /proc/PID/mem).
///
/// # Errors
/// As the system says.
pub fn hide_memory() -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // A limit that cannot be lowered does no harm beside the next line, which is the one that counts.
    let _ = rustix::process::setrlimit(Resource::Core, none);
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Lets neither this process nor any that it starts have more memory than this many bytes of addresses.
pub fn bound_memory(bytes: u64) {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    // A limit that cannot be set leaves what the system gives.
    let _ = rustix::process::setrlimit(Resource::As, limit);
}

/// Lets a child, and what it starts, have no more memory than this many bytes of addresses.
pub fn bound_child(command: &mut Command, bytes: u64) {
    let first = move || {
        bound_memory(bytes);
        Ok(())
    };
    // SAFETY: the closure makes a system call and nothing else: it takes no memory and no lock.
    unsafe { command.pre_exec(first) };
}

/// Lets this process have no more data in memory than so many bytes; what it asks for beyond that ends it. A child that was
/// made by [`as_child`] has again what the system gives.
pub fn bound_data(bytes: u64) {
    let maximum = rustix::process::getrlimit(Resource::Data).maximum;
    let current = Some(maximum.map_or(bytes, |most| most.min(bytes)));
    // A limit that cannot be set leaves what the system gives.
    let _ = rustix::process::setrlimit(Resource::Data, Rlimit { current, maximum });
}

/// Has the kernel kill a child when the thread that starts it ends; a program that gains a right by its file is let off that.
/// And gives it the memory that [`bound_data`] keeps from us.
pub fn as_child(command: &mut Command) {
    let first = || {
        let maximum = rustix::process::getrlimit(Resource::Data).maximum;
        // It can do with less, too.
        let _ = rustix::process::setrlimit(Resource::Data, Rlimit { current: maximum, maximum });
        die_with_parent()
    };
    // SAFETY: the closure makes system calls and nothing else: it takes no memory and no lock.
    unsafe { command.pre_exec(first) };
}

/// Raises the limit of open descriptors to what is allowed, at most `most`.
pub fn raise_descriptors(most: u64) {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let ceiling = limit.maximum.unwrap_or(most).min(most);
    if limit.current.is_some_and(|now| now < ceiling) {
        limit.current = Some(ceiling);
        let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    }
}

/// Gives memory that was freed back to the kernel: after a large configuration was read and handed on.
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The end of a child, as something to wait for.
#[derive(Debug)]
pub struct ChildEnd {
    pidfd: OwnedFd,
    group: rustix::process::Pid,
}

impl ChildEnd {
    /// Of this child, which was started as the first of a process group of its own and was not waited for yet.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn of(child: &Child) -> io::Result<Self> {
        let group = rustix::process::Pid::from_child(child);
        let pidfd = rustix::process::pidfd_open(group, rustix::process::PidfdFlags::empty())?;
        Ok(Self { pidfd, group })
    }

    /// Kills it, and what it has started as far as that stays in its group.
    pub fn kill_group(&self) {
        // By itself too: it may have gone into another group.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        // It was not waited for while this lives, so its number is nobody else's.
        let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Becomes the first of a session of its own: no terminal says anything to it any more.
///
/// # Errors
/// When it is the first of a process group already.
pub fn leave_session() -> io::Result<()> {
    Ok(rustix::process::setsid().map(drop)?)
}

/// From now on nothing that is printed goes anywhere.
pub fn silence() {
    // Without /dev/null it goes where it went.
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}
