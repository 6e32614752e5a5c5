//! Who can change where a path leads.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// As many symbolic links as the kernel follows in one path.
const MOST_LINKS: usize = 40;
/// In a folder with this bit nobody renames or removes what is another's.
const STICKY: u32 = 0o1000;

/// The first folder or link on the way to `path`, or that itself, by which somebody other than root can have it lead elsewhere:
/// it is another's, or others can write in it. `None`: it leads where root says, now and later.
///
/// # Errors
/// A part of it is not there, or cannot be looked at.
pub fn by_others(path: &Path) -> io::Result<Option<PathBuf>> {
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    let path = std::path::absolute(path)?;
    let mut left: Vec<OsString> = names(&path);
    left.push(OsString::from("/"));
    while let Some(name) = left.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(name);
        let meta = std::fs::symlink_metadata(&next)?;
        if meta.uid() != 0 {
            return Ok(Some(next));
        }
        if meta.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let to = std::fs::read_link(&next)?;
            if to.is_absolute() {
                at = PathBuf::from("/");
            }
            left.extend(names(&to));
            continue;
        }
        // What stands in a folder with the bit is looked at next, and must be root's: so it is nobody else's to replace.
        let kept = meta.mode() & STICKY != 0 && !left.is_empty();
        if meta.mode() & 0o022 != 0 && !kept {
            return Ok(Some(next));
        }
        at = next;
    }
    Ok(None)
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    let mut names: Vec<OsString> = path.components().filter_map(name).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    /// A folder of root's, gone at the end. `None`: we are not root, and nothing is root's but what we cannot change.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Option<Self> {
            let place = std::env::temp_dir().join(format!("portunus-lead-{name}-{}", std::process::id()));
            fs::create_dir_all(place.join("a/home")).unwrap();
            let place = Self(place);
            chown(&place.0, Some(0), Some(0)).ok()?;
            for path in [&place.0, &place.0.join("a"), &place.0.join("a/home")] {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
            }
            Some(place)
        }

        fn mode(&self, of: &str, mode: u32) -> PathBuf {
            let path = self.0.join(of);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_path_of_roots_leads_where_root_says() {
        let Some(place) = Place::new("roots") else { return };
        let home = place.0.join("a/home");
        assert_eq!(by_others(&home).unwrap(), None);
        assert_eq!(by_others(&place.0.join("a/../a/./home/")).unwrap(), None);
        symlink("a/../a/home", place.0.join("link")).unwrap();
        symlink(place.0.join("link"), place.0.join("far")).unwrap();
        assert_eq!(by_others(&place.0.join("far")).unwrap(), None);
        assert_eq!(by_others(&place.0.join("none")).map_err(|e| e.kind()), Err(io::ErrorKind::NotFound));
        symlink("round", place.0.join("round")).unwrap();
        let round = by_others(&place.0.join("round")).map_err(|e| e.raw_os_error());
        assert_eq!(round, Err(Some(libc::ELOOP)));
    }

    #[test]
    fn whoever_can_write_on_the_way_can_have_it_lead_elsewhere() {
        let Some(place) = Place::new("written") else { return };
        let home = place.0.join("a/home");
        for mode in [0o720, 0o702, 0o777] {
            let a = place.mode("a", mode);
            assert_eq!(by_others(&home).unwrap(), Some(a), "{mode:o}");
        }
        place.mode("a", 0o1777);
        assert_eq!(by_others(&home).unwrap(), None, "nobody renames what is root's there");
        assert_eq!(by_others(&place.0.join("a")).unwrap(), Some(place.0.join("a")), "and all write in it");
    }

    #[test]
    fn whose_folder_or_link_it_is_can_have_it_lead_elsewhere() {
        let Some(place) = Place::new("anothers") else { return };
        let (a, home) = (place.0.join("a"), place.0.join("a/home"));
        symlink(&home, place.0.join("link")).unwrap();
        std::os::unix::fs::lchown(place.0.join("link"), Some(65_534), None).unwrap();
        assert_eq!(by_others(&place.0.join("link")).unwrap(), Some(place.0.join("link")));
        assert_eq!(by_others(&home).unwrap(), None);
        chown(&home, Some(65_534), None).unwrap();
        assert_eq!(by_others(&home).unwrap(), Some(home.clone()));
        chown(&home, Some(0), None).unwrap();
        chown(&a, Some(65_534), None).unwrap();
        assert_eq!(by_others(&home).unwrap(), Some(a.clone()));
        place.mode("a", 0o1777);
        assert_eq!(by_others(&home).unwrap(), Some(a), "its owner renames what stands in it");
    }
}
