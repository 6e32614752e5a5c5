//! A person's profiles: one file each, found by name.

use std::path::{Path, PathBuf};

use portunus_client::{Families, Request};
use portunus_config::Secrecy;
use portunus_config::profile::{Profile, Show, native};
use portunus_config::{FileError, Files};
use portunus_sys::files::{self, Lock};

use crate::edit::{self, PRIVATE};
use crate::files::RealFiles;
use crate::keeping::Keeper;
use crate::knocking::Knocker;
use crate::places;
use crate::say::{CONFIG, Failure, remark};

/// The folder of profiles.
pub(crate) struct Wallet {
    dir: PathBuf,
}

impl Wallet {
    /// This person's.
    ///
    /// # Errors
    /// Nobody says where it is.
    pub(crate) fn mine() -> Result<Self, Failure> {
        Ok(Self { dir: places::profiles()? })
    }

    /// Where the profile of that name is, or would be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.toml"))
    }

    /// The names, sorted.
    ///
    /// # Errors
    /// The folder cannot be read. One that is not there yet has none.
    pub(crate) fn names(&self) -> Result<Vec<String>, Failure> {
        let paths = match RealFiles.list(&self.dir) {
            Ok(paths) => paths,
            Err(FileError::Missing) => return Ok(Vec::new()),
            Err(error) => return Err(Failure::lines([error.at(&self.dir)], CONFIG)),
        };
        let name = |path: &PathBuf| {
            let toml = path.extension().is_some_and(|ending| ending == "toml");
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            stem.filter(|_| toml).map(str::to_owned)
        };
        Ok(paths.iter().filter_map(name).collect())
    }

    /// The profile of that name; without one, `default`, or the only one there is.
    ///
    /// # Errors
    /// There is none, or it is broken, or others can read it.
    pub(crate) fn open(&self, wanted: Option<&str>) -> Result<Profile, Failure> {
        let names = self.names()?;
        let name = match (wanted, names.as_slice()) {
            (Some(wanted), _) if names.iter().any(|name| name == wanted) => wanted,
            (Some(wanted), []) => return Err(self.none(&format!("no profile named {wanted}"))),
            (Some(wanted), _) => return Err(unknown(&format!("no profile named {wanted}"), &names)),
            (None, []) => return Err(self.none("no profile yet")),
            (None, [only]) => only,
            (None, _) if names.iter().any(|name| name == "default") => "default",
            (None, _) => return Err(unknown("which profile?", &names)),
        };
        self.load(name)
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is broken, or others can read it.
    pub(crate) fn load(&self, name: &str) -> Result<Profile, Failure> {
        let path = self.path(name);
        let text = RealFiles.read(&path, Secrecy::Secret);
        let text = zeroize::Zeroizing::new(text.map_err(|error| Failure::lines([error.at(&path)], CONFIG))?);
        let mut profile = native::parse(&text, &path).map_err(|found| Failure::lines(found, CONFIG))?;
        // The file's name is the name: whoever copies or renames the file means it so.
        name.clone_into(&mut profile.name);
        Ok(profile)
    }

    /// Makes a profile ready to knock; its file is kept. `face` is the word before a warning.
    ///
    /// # Errors
    /// Its keys are refused, or cannot say what is asked for.
    pub(crate) fn knocker(
        &self,
        face: &'static str,
        profile: Profile,
        families: Families,
        request: Request,
    ) -> Result<Knocker, Failure> {
        let keeper = Keeper::new(face, self.path(&profile.name));
        Knocker::new(profile, families, request, Some(keeper))
    }

    /// Writes one, 0600. With `force` one of that name is put aside, for it may hold the only link that its server knows, and
    /// `face` says where.
    ///
    /// # Errors
    /// One of that name is there and `force` is not given, or the file system refused.
    pub(crate) fn save(&self, face: &str, profile: &Profile, force: bool) -> Result<PathBuf, Failure> {
        files::make_folder(&self.dir, 0o700)?;
        let path = self.path(&profile.name);
        let _lock = lock(&path)?;
        let text = native::render(profile, Show::All);
        if force {
            edit::shut(&path)?;
            if let Some(aside) = edit::keep_aside(&path)? {
                remark(face, format_args!("the old profile is in {}", short(&aside)));
            }
        }
        edit::write_new(&path, &text, PRIVATE, false)?;
        Ok(path)
    }

    fn none(&self, what: &str) -> Failure {
        Failure::file(what, &self.dir, "take one from a server: portunus join < PROFILE.toml")
    }
}

/// Takes the lock of the folder that a profile is in. Knocks write their profiles anew, several at a time.
///
/// # Errors
/// The folder is not ours to write.
pub(crate) fn lock(profile: &Path) -> Result<Lock, Failure> {
    let dir = profile.parent().unwrap_or(Path::new("."));
    let lock = Lock::wait(&dir.join(".lock"))?;
    // Only who holds the lock makes drafts here: what lies about was left by one that was interrupted, and holds keys.
    files::sweep_drafts(dir);
    Ok(lock)
}

fn unknown(what: &str, names: &[String]) -> Failure {
    Failure::new(what, "", format_args!("name one of these: {}", names.join(", ")))
}

/// What a server is called when nobody names it: the first label of its host, or `fallback` where that is an address.
pub(crate) fn name_for(host: &str, fallback: &str) -> String {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return fallback.to_owned();
    }
    host.split('.').next().filter(|label| !label.is_empty()).unwrap_or(fallback).to_owned()
}

/// A path with the home folder shortened, for people.
pub(crate) fn short(path: &Path) -> String {
    let home = places::home().ok();
    let inside = home.as_ref().and_then(|home| path.strip_prefix(home).ok());
    inside.map_or_else(|| path.display().to_string(), |rest| format!("~/{}", rest.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_by_the_first_label_of_its_host() {
        assert_eq!(name_for("home.example.org", "default"), "home");
        assert_eq!(name_for("home", "default"), "home");
        assert_eq!(name_for("203.0.113.7", "default"), "default");
        assert_eq!(name_for("2001:db8::7", "default"), "default");
    }
}
