//! Users: finding the one to run as, and becoming it.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::MetadataExt;
use std::ptr;

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// A user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Looks a user up by name.
#[must_use]
pub fn by_name(name: &str) -> Option<Ids> {
    let name = CString::new(name).ok()?;
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut found = ptr::null_mut();
    let mut text = vec![0; 16 << 10];
    // SAFETY: every pointer is to memory of ours that outlives the call, and the length is the buffer's.
    let rc = unsafe {
        libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), text.as_mut_ptr(), text.len(), &raw mut found)
    };
    if rc != 0 || found.is_null() {
        return None;
    }
    // SAFETY: a non-null `found` says that `entry` was filled.
    let entry = unsafe { entry.assume_init() };
    Some(Ids { uid: entry.pw_uid, gid: entry.pw_gid })
}

/// The name of a user, if it has one.
#[must_use]
pub fn name_of(uid: u32) -> Option<String> {
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut found = ptr::null_mut();
    let mut text = vec![0; 16 << 10];
    // SAFETY: every pointer is to memory of ours that outlives the call, and the length is the buffer's.
    let rc =
        unsafe { libc::getpwuid_r(uid, entry.as_mut_ptr(), text.as_mut_ptr(), text.len(), &raw mut found) };
    if rc != 0 || found.is_null() {
        return None;
    }
    // SAFETY: a non-null `found` says that `entry` was filled, and its name points into `text`, which is alive.
    let name = unsafe { CStr::from_ptr(entry.assume_init_ref().pw_name) };
    Some(name.to_string_lossy().into_owned())
}

/// The group of a name.
#[must_use]
pub fn group_by_name(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let mut found = ptr::null_mut();
    let mut text = vec![0; 64 << 10];
    // SAFETY: every pointer is to memory of ours that outlives the call, and the length is the buffer's.
    let rc = unsafe {
        libc::getgrnam_r(name.as_ptr(), entry.as_mut_ptr(), text.as_mut_ptr(), text.len(), &raw mut found)
    };
    if rc != 0 || found.is_null() {
        return None;
    }
    // SAFETY: a non-null `found` says that `entry` was filled.
    Some(unsafe { entry.assume_init() }.gr_gid)
}

/// A number that no user has and no process runs as, from the range that systemd gives to dynamic users
/// (systemd, "Users, Groups, UIDs and GIDs on systemd Systems"): never `nobody`, whom others share.
#[must_use]
pub fn unused() -> Option<Ids> {
    let running: BTreeSet<u32> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|meta| meta.uid())
        .collect();
    (61_184..=65_519)
        .find(|uid| !running.contains(uid) && name_of(*uid).is_none())
        .map(|uid| Ids { uid, gid: uid })
}

/// Who we are.
#[must_use]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Who is at the other end of a connection to a unix socket, as the kernel saw it when it was made.
///
/// # Errors
/// As the system says.
pub fn peer_uid(connection: impl std::os::fd::AsFd) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(connection)?.uid.as_raw())
}

/// Which process is at the other end, as the kernel saw it when it began to listen or connected.
///
/// # Errors
/// As the system says.
pub fn peer_process(connection: impl std::os::fd::AsFd) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(connection)?.pid.as_raw_nonzero().get().unsigned_abs())
}

/// The rights that a process of ours keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// None at all.
    Nothing,
    /// `CAP_NET_ADMIN` only.
    NetAdmin,
}

impl Keep {
    fn set(self) -> CapabilitySet {
        match self {
            Self::Nothing => CapabilitySet::empty(),
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
        }
    }
}

/// Whether we have `CAP_NET_ADMIN` in force.
#[must_use]
pub fn have_net_admin() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// Becomes `ids` (when given) and keeps `keep` only, for good: no capability can be won back. Call it before there is
/// a second thread.
///
/// # Errors
/// When we may not; then the process must end.
pub fn become_user(ids: Option<Ids>, keep: Keep) -> io::Result<()> {
    rustix::thread::set_keep_capabilities(true)?;
    // The bounding set limits what an exec could gain. Without CAP_SETPCAP it stays, and no_new_privs does the same.
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if keep.set().contains(one) {
            continue;
        }
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) => drop(rustix::thread::remove_capability_from_bounding_set(one)),
            Ok(false) => (),
            Err(_) => break,
        }
    }
    if let Some(ids) = ids {
        let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    let _ = rustix::thread::clear_ambient_capability_set();
    let sets =
        CapabilitySets { effective: keep.set(), permitted: keep.set(), inheritable: CapabilitySet::empty() };
    match rustix::thread::set_capabilities(None, sets) {
        // A unit's own filter may forbid the call, and then we were started with no more than this (`leave_behind`).
        Err(rustix::io::Errno::PERM) if have_only(keep) => (),
        outcome => outcome?,
    }
    rustix::thread::set_keep_capabilities(false)?;
    Ok(())
}

fn have_only(keep: Keep) -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective == keep.set() && sets.permitted == keep.set())
}

/// What a program that is executed next keeps of the capabilities that a user other than root has in its ambient set:
/// these alone. It asks for no memory, so a child may call it between fork and exec.
pub(crate) fn leave_behind(keep: Keep) -> io::Result<()> {
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if keep.set().contains(one) {
            continue;
        }
        match rustix::thread::capability_is_in_ambient_set(one) {
            Ok(true) => rustix::thread::configure_capability_in_ambient_set(one, false)?,
            Ok(false) => (),
            Err(_) => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_unused_numbers_are_nobodys() {
        assert_eq!(by_name("root"), Some(Ids { uid: 0, gid: 0 }));
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(by_name("no such user"), None);
        assert_eq!(group_by_name("root"), Some(0));
        let free = unused().unwrap();
        assert!((61_184..=65_519).contains(&free.uid));
        assert_eq!(name_of(free.uid), None);
    }
}
