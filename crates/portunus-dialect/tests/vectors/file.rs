//! A vector file: `name: value` lines, then packets, each after a blank line: hex, or text as it goes over the wire.

use std::path::{Path, PathBuf};

pub(crate) struct Vector {
    path: PathBuf,
    head: Vec<(String, String)>,
    packets: Vec<String>,
}

impl Vector {
    /// Every `.vec` file of `folder`, in the order of their names.
    #[expect(clippy::disallowed_methods, reason = "a test reads its vectors itself")]
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "vec")).collect();
        files.sort();
        files.into_iter().map(|path| Self::read(&std::fs::read_to_string(&path).unwrap(), path)).collect()
    }

    fn read(text: &str, path: PathBuf) -> Self {
        let mut parts = text.split("\n\n");
        let line = |line: &str| {
            let (name, value) =
                line.split_once(": ").unwrap_or_else(|| panic!("{}: {line:?}", path.display()));
            (name.to_owned(), value.to_owned())
        };
        let head = parts.next().unwrap().lines().map(line).collect();
        let packets = parts.map(|part| part.split_whitespace().collect()).collect();
        Self { path, head, packets }
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Every value of the lines with this name.
    pub(crate) fn each(&self, name: &str) -> Vec<&str> {
        self.head.iter().filter(|line| line.0 == name).map(|line| line.1.as_str()).collect()
    }

    /// The one value of the line with this name.
    pub(crate) fn one(&self, name: &str) -> &str {
        let [value] = self.each(name)[..] else { panic!("{}: wants one line {name:?}", self.name()) };
        value
    }

    /// The value of the line with this name, where there is one.
    pub(crate) fn maybe(&self, name: &str) -> Option<&str> {
        (!self.each(name).is_empty()).then(|| self.one(name))
    }

    /// The one packet, which is hex.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let [packet] = &self.packets()[..] else { panic!("{}: wants one packet", self.name()) };
        packet.clone()
    }

    /// The packets, which are hex.
    pub(crate) fn packets(&self) -> Vec<Vec<u8>> {
        self.packets.iter().map(|packet| hex(packet)).collect()
    }

    /// The packets, which are text.
    pub(crate) fn texts(&self) -> &[String] {
        &self.packets
    }
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "hex comes in pairs");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
