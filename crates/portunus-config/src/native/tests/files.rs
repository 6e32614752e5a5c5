//! Files that are no clients, and files that cannot be read.

use super::*;

#[test]
fn leftovers_are_passed_over_and_strangers_named() {
    let files = folder()
        .with("/etc/portunus/clients/.alice.toml.swp", "x")
        .with("/etc/portunus/clients/bob.toml~", "x")
        .with("/etc/portunus/clients/carol.tml", "x");
    let said: Vec<_> = loaded(&files).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "/etc/portunus/clients/carol.tml: this is no client's file: name a client's file NAME.toml, or move this one away"
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    struct Closed(Memory);
    impl Files for Closed {
        fn read(&self, path: &Path, secrecy: Secrecy) -> Result<String, crate::FileError> {
            if secrecy == Secrecy::Secret {
                Err(crate::FileError::TooOpen { mode: 0o644 })
            } else {
                self.0.read(path, secrecy)
            }
        }
        fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, crate::FileError> {
            let _ = dir;
            Err(crate::FileError::Denied)
        }
    }
    let said: Vec<_> =
        load(&Closed(folder()), Path::new(DIR)).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "/etc/portunus/keys/openme.key: it holds a secret and others can reach it (mode 0644): chmod 600 \
             /etc/portunus/keys/openme.key",
            "/etc/portunus/clients: we may not read it: run this as root, or as the owner of /etc/portunus/clients",
        ]
    );
}
