//! One network namespace, with a name of its own, gone when dropped.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tool::{run, try_run};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, with lo up. `role` is for people who look at `ip netns`.
    #[must_use]
    pub fn new(role: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make network namespaces, which needs root: `make test` asks sudo"
        );
        let name = format!("ptest{}-{}-{role}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        let made = Self { name };
        made.run("ip", &["link", "set", "lo", "up"]);
        made
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a program in it; its standard output.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.name, program], args].concat())
    }

    /// Feeds nft's language to the kernel of this namespace.
    pub fn nft(&self, rules: &str) {
        crate::tool::run_with_input("ip", &["netns", "exec", &self.name, "nft", "-f", "-"], rules);
    }

    /// The whole ruleset, as nft lists it.
    #[must_use]
    pub fn ruleset(&self) -> String {
        self.run("nft", &["list", "ruleset"])
    }

    /// Does `work` on a thread that lives in it.
    pub fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let door = File::open(format!("/run/netns/{}", self.name)).expect("a namespace's file can be opened");
        let enter = || {
            let moved = move_into_link_name_space(door.as_fd(), Some(LinkNameSpaceType::Network));
            moved.expect("root can enter a namespace");
            work()
        };
        std::thread::scope(|scope| match scope.spawn(enter).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let out = try_run("ip", &["netns", "del", &self.name]);
        if !out.status.success() {
            eprintln!("{} stays: {}", self.name, String::from_utf8_lossy(&out.stderr));
        }
    }
}
