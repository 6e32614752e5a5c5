//! Careful files: opening with owner and mode checks, atomic replacement that keeps owner and mode, locks.
//!
//! Here is how bytes get from and to a disk. Not here: what they mean.
//! Called by the keeper (configuration, keys, state) and by the command line (add, revoke, init).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid};

use crate::users;

/// The name of the daemon's own user and group.
pub const SERVICE: &str = "portunus";

/// The longest file that is read: far above 10,000 clients in one file.
pub const LONGEST_FILE: u64 = 64 << 20;

/// Whether a file holds something that others must not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Anybody may read it.
    Public,
    /// It holds a private key: refused when somebody else can read it or owns it.
    Secret,
    /// The same in the daemon's state: what root's commands leave there is given to whom its folder belongs, and what the daemon
    /// writes there is its user's; so root takes it from that one, too.
    State,
}

/// Why a file was not read, written or locked. The text names the place and the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("{}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// The system says no.
    #[error("{}: permission denied: run this as root, or as the user who owns it", .0.display())]
    Denied(PathBuf),
    /// The same, said to the daemon's own user.
    #[error("{}: permission denied for the user {SERVICE}: chgrp {SERVICE} {} && chmod g+rX {}", .0.display(), .0.display(), .0.display())]
    NotShared(PathBuf),
    /// A folder, a socket, a device.
    #[error("{}: it is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// A secret that others can read or change.
    #[error("{}: it holds a secret and its mode is {mode:04o}, so others can reach it: chmod 600 {}", .path.display(), .path.display())]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A secret that belongs to somebody else.
    #[error("{}: it holds a secret and belongs to uid {owner}: chown it to root or to uid {us}", .path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Longer than [`LONGEST_FILE`].
    #[error("{}: it has more than 64 MiB, so it is not one of ours", .0.display())]
    TooLong(PathBuf),
    /// Not UTF-8.
    #[error("{}: it is not UTF-8 text (byte {at})", .path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
        /// The first byte that is wrong.
        at: usize,
    },
    /// Somebody else holds the lock.
    #[error("{}: somebody else holds the lock", .0.display())]
    Locked(PathBuf),
    /// Something else stands in a folder's place.
    #[error("{}: it is not a folder: move it away", .0.display())]
    NotAFolder(PathBuf),
    /// A link where none may be: it was put there by somebody else.
    #[error("{}: it is a symbolic link, which is never followed here: put a regular file in its place", .0.display())]
    Link(PathBuf),
    /// It exists, and it must not.
    #[error("{}: it exists already", .0.display())]
    Exists(PathBuf),
    /// Anything else that the system says.
    #[error("{}: {what}", .path.display())]
    Other {
        /// Which file.
        path: PathBuf,
        /// In the system's words.
        what: String,
    },
}

impl FileError {
    fn of(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::Missing(path),
            Some(libc::EACCES | libc::EPERM) => Self::Denied(path),
            Some(libc::EEXIST) => Self::Exists(path),
            Some(libc::EISDIR) => Self::NotAFile(path),
            Some(libc::ENOTDIR) => {
                Self::NotAFolder(path.parent().map_or_else(|| path.clone(), Path::to_owned))
            }
            Some(libc::ELOOP) => Self::Link(path),
            _ => Self::Other { path, what: error.to_string() },
        }
    }
}

/// The same, of what the daemon's own user reads and root's commands write.
fn of_reading(path: &Path, error: &io::Error) -> FileError {
    match error.raw_os_error() {
        Some(libc::EACCES) if we_are_the_service() => FileError::NotShared(path.to_owned()),
        _ => FileError::of(path, error),
    }
}

/// How long an open file is now.
///
/// # Errors
/// As the system says.
pub fn length(file: &File) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or_default())
}

/// Reads a text file whole.
///
/// # Errors
/// [`FileError`]; for a [`Secrecy::Secret`] one also when others can read it or own it.
pub fn read(path: &Path, secrecy: Secrecy) -> Result<String, FileError> {
    let bytes = read_bytes(path, secrecy)?;
    String::from_utf8(bytes)
        .map_err(|e| FileError::NotText { path: path.to_owned(), at: e.utf8_error().valid_up_to() })
}

/// Reads a file whole, as bytes.
///
/// # Errors
/// As [`read`], but for the text.
pub fn read_bytes(path: &Path, secrecy: Secrecy) -> Result<Vec<u8>, FileError> {
    let of = |e: &io::Error| of_reading(path, e);
    // Without O_NONBLOCK a fifo in the file's place would hang us here.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|e| of(&e))?;
    // The checks are made on what was opened, not on the name: nobody can swap it in between.
    let meta = file.metadata().map_err(|e| of(&e))?;
    if !meta.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    match secrecy {
        Secrecy::Public => (),
        Secrecy::Secret => check_secret(path, &meta, None)?,
        Secrecy::State => check_secret(path, &meta, owner_of_folder(path))?,
    }
    if meta.len() > LONGEST_FILE {
        return Err(FileError::TooLong(path.to_owned()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0).saturating_add(1));
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(|e| of(&e))?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(FileError::TooLong(path.to_owned()));
    }
    Ok(bytes)
}

/// Whose user's the folder is that it is in, for root.
fn owner_of_folder(path: &Path) -> Option<u32> {
    let owner = || path.parent().and_then(|folder| fs::metadata(folder).ok()).map(|meta| meta.uid());
    (users::effective_uid() == 0).then(owner).flatten()
}

fn check_secret(path: &Path, meta: &fs::Metadata, trusted: Option<u32>) -> Result<(), FileError> {
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != 0 && meta.uid() != us && Some(meta.uid()) != trusted {
        return Err(FileError::Foreign { path: path.to_owned(), owner: meta.uid(), us });
    }
    let mode = meta.mode() & 0o7777;
    // A group may read (a unit's own group, `root:portunus 0640`) only where the file is root's; and where we are root,
    // only that group, since then it is not by the group that we may read.
    let services = us != 0 || Some(meta.gid()) == service_group();
    let group_reads = mode & 0o070 == 0o040 && meta.uid() == 0 && services;
    let reach = if group_reads { mode & 0o037 } else { mode & 0o077 };
    if reach != 0 {
        return Err(FileError::TooOpen { path: path.to_owned(), mode });
    }
    Ok(())
}

/// The group of the daemon's own user, where it was made: `root:portunus 0640` is a secret of the daemon's, too.
fn service_group() -> Option<u32> {
    static GROUP: std::sync::OnceLock<Option<u32>> = std::sync::OnceLock::new();
    *GROUP.get_or_init(|| users::group_by_name(SERVICE))
}

fn we_are_the_service() -> bool {
    let us = users::effective_uid();
    us != 0 && users::by_name(SERVICE).is_some_and(|ids| ids.uid == us)
}

/// Lets the daemon's own user, where it was made, read what is in a folder of root's, now or later.
///
/// # Errors
/// [`FileError::Denied`] when we may not.
pub fn share_with_service(folder: &Path) -> Result<(), FileError> {
    let ours = fs::metadata(folder).is_ok_and(|meta| meta.uid() == 0 && meta.gid() == 0);
    match service_group() {
        Some(group) if ours && users::effective_uid() == 0 => give(folder, None, Some(group)),
        Some(_) | None => Ok(()),
    }
}

/// As root: what is new in a folder belongs to whom the folder belongs, and the daemon's group reads what the folder
/// lets it reach; so that a unit without root's rights reads what root's commands write. The mode for it.
fn as_its_folder(new: &File, path: &Path, mode: u32) -> io::Result<u32> {
    if users::effective_uid() != 0 {
        return Ok(mode);
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::metadata(above)?;
    if folder.uid() == 0 && folder.gid() == 0 {
        return Ok(mode);
    }
    rustix::fs::fchown(new, Some(Uid::from_raw(folder.uid())), Some(Gid::from_raw(folder.gid())))?;
    let reached = folder.uid() == 0 && folder.mode() & 0o050 == 0o050;
    let shared = reached && Some(folder.gid()) == service_group();
    Ok(if shared { mode | (mode & 0o500) >> 3 } else { mode })
}

/// The entries of a folder, sorted by name; names that begin with a dot are left out (editors' and our own drafts).
///
/// # Errors
/// [`FileError`].
pub fn list(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let of = |e: &io::Error| match e.raw_os_error() {
        Some(libc::ENOTDIR) => FileError::NotAFolder(dir.to_owned()),
        _ => of_reading(dir, e),
    };
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| of(&e))? {
        names.push(entry.map_err(|e| of(&e))?.file_name());
    }
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// Replaces a file's content in one step: readers see the old or the new, also after a power cut. An existing file
/// keeps its owner and its mode; a new one gets `mode`. A symbolic link stays, and what it points at is replaced.
///
/// # Errors
/// [`FileError`]; the old content is then untouched.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = fs::metadata(&real).ok();
    let of = |e: &io::Error| FileError::of(path, e);
    let (mut draft, name) = draft_beside(&real).map_err(|e| of(&e))?;
    let mode = if old.is_some() { Ok(mode) } else { as_its_folder(&draft, &real, mode) };
    let written = mode
        .and_then(|mode| fill(&mut draft, bytes, old.as_ref(), mode))
        .and_then(|()| fs::rename(&name, &real));
    if let Err(e) = written {
        let _ = fs::remove_file(&name);
        return Err(of(&e));
    }
    sync_folder(&real);
    Ok(())
}

/// Removes a file, durably. One that is not there is removed already.
///
/// # Errors
/// [`FileError`].
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(FileError::of(path, &e)),
        Ok(()) => {
            sync_folder(path);
            Ok(())
        }
    }
}

/// Puts a file in another's place in one step, durably: after a power cut one of both is there, and whole.
///
/// # Errors
/// [`FileError`]; nothing is changed then.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(|e| FileError::of(from, &e))?;
    sync_folder(to);
    Ok(())
}

/// Creates a file that was not there before.
///
/// # Errors
/// [`FileError::Exists`] when it was; nothing is changed then.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let of = |e: &io::Error| FileError::of(path, e);
    let (mut draft, name) = draft_beside(path).map_err(|e| of(&e))?;
    // A hard link, unlike a rename, refuses to take the place of another file.
    let made = as_its_folder(&draft, path, mode)
        .and_then(|mode| fill(&mut draft, bytes, None, mode))
        .and_then(|()| fs::hard_link(&name, path));
    let _ = fs::remove_file(&name);
    made.map_err(|e| of(&e))?;
    sync_folder(path);
    Ok(())
}

/// Removes the drafts that [`replace`] and [`create`] left in a folder when they were interrupted. For who alone writes
/// there just now.
pub fn sweep_drafts(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let ours = name.starts_with(b".") && name.ends_with(b".draft");
        if ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn draft_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut last = io::Error::from_raw_os_error(libc::EEXIST);
    for _ in 0..16 {
        let nth = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let draft = path.with_file_name(format!(".{name}.{}.{nth}.draft", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft) {
            Ok(file) => return Ok((file, draft)),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

fn fill(draft: &mut File, bytes: &[u8], old: Option<&fs::Metadata>, mode: u32) -> io::Result<()> {
    draft.write_all(bytes)?;
    if let Some(old) = old {
        let (uid, gid) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
        // Somebody who may write a file that belongs to another may not give it back; then it stays theirs.
        match rustix::fs::fchown(draft.as_fd(), Some(uid), Some(gid)) {
            Ok(()) | Err(rustix::io::Errno::PERM) => (),
            Err(e) => return Err(e.into()),
        }
    }
    let mode = old.map_or(mode, |old| old.mode() & 0o7777);
    draft.set_permissions(fs::Permissions::from_mode(mode))?;
    draft.sync_all()
}

fn sync_folder(path: &Path) {
    // The content is safe either way; a folder that cannot be synced (some network file systems) only delays the name.
    if let Some(Ok(dir)) = path.parent().map(File::open) {
        let _ = dir.sync_all();
    }
}

/// Makes a folder (and those above it) when it is not there.
///
/// # Errors
/// [`FileError`].
pub fn make_folder(path: &Path, mode: u32) -> Result<(), FileError> {
    // The folder of a bare name is the one that we are in.
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.and_then(|()| {
        let folder = File::open(path)?;
        let shared = as_its_folder(&folder, path, mode)?;
        if shared == mode { Ok(()) } else { folder.set_permissions(fs::Permissions::from_mode(shared)) }
    })
    .map_err(|e| match e.raw_os_error() {
        Some(libc::EEXIST | libc::ENOTDIR) => FileError::NotAFolder(path.to_owned()),
        _ => FileError::of(path, &e),
    })
}

/// Gives a file or folder to a user and group.
///
/// # Errors
/// [`FileError::Denied`] when we may not.
pub fn give(path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<(), FileError> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    rustix::fs::chown(path, uid, gid).map_err(|e| FileError::of(path, &e.into()))
}

/// Takes everybody else's rights to an open file of secrets away. Whether there were any.
///
/// # Errors
/// As the system says.
pub fn close_to_others(file: &File) -> io::Result<bool> {
    let mode = file.metadata()?.permissions().mode();
    let open = mode & 0o077 != 0;
    if open {
        file.set_permissions(fs::Permissions::from_mode(mode & 0o700))?;
    }
    Ok(open)
}

/// Opens a state file for reading and writing and makes it (0600) when it is not there. Never follows a link: the
/// folder is ours, so a link in it was put there by somebody else.
///
/// # Errors
/// [`FileError`].
pub fn open_state(path: &Path) -> Result<File, FileError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let open = |more| rustix::fs::open(path, flags | more, Mode::RUSR | Mode::WUSR).map(File::from);
    let file = match open(OFlags::CREATE | OFlags::EXCL) {
        Ok(new) => as_its_folder(&new, path, 0o600).map(|_| new),
        // A dangling link is there and is not followed.
        Err(rustix::io::Errno::EXIST) => open(OFlags::empty()).map_err(io::Error::from),
        Err(e) => Err(e.into()),
    };
    let file = file.map_err(|e| FileError::of(path, &e))?;
    let meta = file.metadata().map_err(|e| FileError::of(path, &e))?;
    if !meta.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    Ok(file)
}

/// Opens a state file to look at it beside who writes it. Never follows a link, as [`open_state`].
///
/// # Errors
/// [`FileError`].
pub fn open_to_read(path: &Path) -> Result<File, FileError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let of = |e: &io::Error| FileError::of(path, e);
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| of(&e.into()))?);
    if !file.metadata().map_err(|e| of(&e))?.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    Ok(file)
}

/// Takes the room on the disk for so many bytes of a file: what is written there later finds it, however full the disk is by
/// then. What is in it stays.
///
/// # Errors
/// As the system says: there is no room, or it cannot be taken in advance there.
pub fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
}

/// Opens a file for reading and appending and makes it (0600) when it is not there. A link is not followed: somebody else
/// may have put it there.
///
/// # Errors
/// [`FileError`].
pub fn open_log(path: &Path) -> Result<File, FileError> {
    let of = |e: &io::Error| FileError::of(path, e);
    let mut options = OpenOptions::new();
    options
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW);
    let file = options.open(path).map_err(|e| of(&e))?;
    let meta = file.metadata().map_err(|e| of(&e))?;
    if !meta.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    Ok(file)
}

/// An advisory lock on a file of its own; given back when it is dropped or the process ends. Who takes it at once writes its
/// process id there.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, waiting for whoever has it.
    ///
    /// # Errors
    /// [`FileError`] when the lock file cannot be made.
    pub fn wait(path: &Path) -> Result<Self, FileError> {
        Self::take(path, FlockOperation::LockExclusive)
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    /// [`FileError::Locked`] when somebody has.
    pub fn try_now(path: &Path) -> Result<Self, FileError> {
        let lock = Self::take(path, FlockOperation::NonBlockingLockExclusive)?;
        // Only for the words of whoever comes second: a full disk is no reason not to have the lock.
        let _ = lock.file.set_len(0).and_then(|()| writeln!(&lock.file, "{}", std::process::id()));
        Ok(lock)
    }

    /// The process that has it, as it says itself.
    #[must_use]
    pub fn holder(path: &Path) -> Option<u32> {
        let mut text = String::new();
        File::open(path).ok()?.take(16).read_to_string(&mut text).ok()?;
        text.trim_end().parse().ok()
    }

    fn take(path: &Path, how: FlockOperation) -> Result<Self, FileError> {
        let file = open_state(path)?;
        loop {
            match rustix::fs::flock(&file, how) {
                Ok(()) => return Ok(Self { file }),
                Err(rustix::io::Errno::INTR) => (),
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(FileError::Locked(path.to_owned())),
                Err(e) => return Err(FileError::of(path, &e.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_others_can_read_is_refused_and_the_mend_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, b"secret", 0o640).unwrap();
        let refused = read(&path, Secrecy::Secret).unwrap_err();
        assert_eq!(refused, FileError::TooOpen { path: path.clone(), mode: 0o640 });
        assert!(refused.to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path, Secrecy::Secret).as_deref(), Ok("secret"));
    }

    #[test]
    fn root_reads_what_it_left_in_the_daemons_folder_and_what_the_daemon_wrote_there() {
        let dir = tempfile::tempdir().unwrap();
        give(dir.path(), Some(54_321), Some(54_322)).unwrap();
        let path = dir.path().join("left");
        replace(&path, b"secret", 0o600).unwrap();
        assert_eq!(read(&path, Secrecy::State).as_deref(), Ok("secret"));
        assert!(matches!(read(&path, Secrecy::Secret), Err(FileError::Foreign { owner: 54_321, .. })));
        // Of nobody else.
        give(&path, Some(54_323), None).unwrap();
        assert!(matches!(read(&path, Secrecy::State), Err(FileError::Foreign { owner: 54_323, .. })));
        give(&path, Some(54_321), None).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path, Secrecy::State), Err(FileError::TooOpen { mode: 0o640, .. })));
    }

    #[test]
    fn replacing_keeps_mode_and_link_and_leaves_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("real");
        let link = dir.path().join("link");
        create(&path, b"old", 0o604).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"new", 0o600).unwrap();
        assert_eq!(read(&path, Secrecy::Public).as_deref(), Ok("new"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o604);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_an_interrupted_writer_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (draft, _) = draft_beside(&dir.path().join("openme.key")).unwrap();
        drop(draft);
        for name in [".lock", "x.draft", "home.toml"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join(".y.draft")).unwrap();
        sweep_drafts(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".lock", ".y.draft", "home.toml", "x.draft"]);
    }

    #[test]
    fn what_root_makes_in_somebodys_folder_is_theirs_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        give(dir.path(), Some(54_321), Some(54_322)).unwrap();
        let (file, folder, state) = (dir.path().join("f"), dir.path().join("d"), dir.path().join("s"));
        replace(&file, b"x", 0o600).unwrap();
        make_folder(&folder, 0o700).unwrap();
        drop(open_state(&state).unwrap());
        for (path, mode) in [(&file, 0o600), (&folder, 0o700), (&state, 0o600)] {
            let meta = fs::metadata(path).unwrap();
            let is = (meta.uid(), meta.gid(), meta.mode() & 0o7777);
            assert_eq!(is, (54_321, 54_322, mode), "{}", path.display());
        }
        // What was there stays whose it is.
        fs::write(dir.path().join("old"), "").unwrap();
        drop(open_state(&dir.path().join("old")).unwrap());
        assert_eq!(fs::metadata(dir.path().join("old")).unwrap().uid(), 0);
    }

    #[test]
    fn creating_never_takes_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        create(&path, b"1", 0o600).unwrap();
        assert_eq!(create(&path, b"2", 0o600), Err(FileError::Exists(path.clone())));
        assert_eq!(read(&path, Secrecy::Public).as_deref(), Ok("1"));
    }

    #[test]
    fn a_fifo_or_a_folder_in_a_files_place_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read(&fifo, Secrecy::Public), Err(FileError::NotAFile(fifo)));
        assert_eq!(read(dir.path(), Secrecy::Public), Err(FileError::NotAFile(dir.path().to_owned())));
    }

    #[test]
    fn a_file_in_a_folders_place_and_a_link_in_a_state_files_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("state"), dir.path().join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(make_folder(&file, 0o700), Err(FileError::NotAFolder(file.clone())));
        assert_eq!(open_state(&file.join("grants.a")).unwrap_err(), FileError::NotAFolder(file));
        assert_eq!(open_state(&link).unwrap_err(), FileError::Link(link));
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::try_now(&path).unwrap();
        assert_eq!(Lock::try_now(&path).unwrap_err(), FileError::Locked(path.clone()));
        drop(held);
        assert!(Lock::try_now(&path).is_ok());
    }
}
