//! A real sshd behind the door, reached by a real ssh through `portunus proxy`, in both families.
#![expect(clippy::expect_used, reason = "a test's helper fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use portunus_interop::{Firewall, World, binary, closed, connects, run};

/// An sshd in the server's namespace, with keys of its own; ended when dropped.
struct Sshd(Child);

impl Sshd {
    fn start(world: &World) -> Self {
        let file = |name: &str| world.folder().join(name);
        for key in ["host_key", "user_key"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &text(&file(key))]);
        }
        fs::copy(file("user_key.pub"), file("authorized_keys")).expect("a file can be copied");
        fs::set_permissions(file("authorized_keys"), fs::Permissions::from_mode(0o600))
            .expect("its mode can be set");
        let config = format!(
            "ListenAddress 0.0.0.0\nListenAddress ::\nPort 22\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPidFile none\nPermitRootLogin yes\n",
            file("host_key").display(),
            file("authorized_keys").display()
        );
        fs::write(file("sshd_config"), config).expect("a file can be written");
        // sshd separates its rights into this folder and ends where it is missing.
        fs::create_dir_all("/run/sshd").expect("/run/sshd can be made");
        let mut command = world.server.command("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &text(&file("sshd_config"))]).stdin(Stdio::null());
        let log = fs::File::create(file("sshd.log")).expect("a file can be made");
        let child = command.stderr(log).spawn().expect("sshd runs: `make test` installs openssh-server");
        let sshd = Self(child);
        let start = Instant::now();
        while !connects(&world.server, "127.0.0.1:22", Duration::from_millis(100)) {
            assert!(start.elapsed() < Duration::from_secs(20), "sshd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        sshd
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(path: &std::path::Path) -> String {
    path.to_str().expect("a path of ours is text").to_owned()
}

fn ssh(world: &World, config: &str) -> Output {
    let path: PathBuf = world.folder().join("ssh_config");
    fs::write(&path, config).expect("a file can be written");
    let mut command = world.command_on(&world.client, &[]);
    // The same environment, another program.
    let environment: Vec<_> =
        command.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
    command = world.client.command("ssh");
    command.envs(environment).args(["-F", &text(&path), "home", "echo through the door"]);
    command.output().expect("ssh runs")
}

#[test]
fn ssh_reaches_a_real_sshd_through_the_proxy_in_both_families() {
    let world = World::bare(Firewall::PolicyDrop);
    world.name_server("gate.test");
    world.portunus(&["init", "--host", "gate.test"]);
    let profile = world.portunus(&["add", "alice", "--ports", "ssh", "--for", "5s"]);
    let _daemon = world.serve();
    let _sshd = Sshd::start(&world);
    fs::write(world.folder().join("alice.toml"), profile).expect("a file can be written");
    world.laptop(&["join", &text(&world.folder().join("alice.toml")), "--as", "home"]);
    for (family, door) in [("-4", "10.90.0.1:22"), ("-6", "[fd90::1]:22")] {
        assert!(closed(&world.client, door));
        let config = format!(
            "Host home\n  HostName gate.test\n  User root\n  IdentityFile {}\n  IdentitiesOnly yes\n  BatchMode yes\n  \
             StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  ProxyCommand {} proxy {family} --profile home %h %p\n",
            world.folder().join("user_key").display(),
            binary().display()
        );
        let out = ssh(&world, &config);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let log = fs::read_to_string(world.folder().join("sshd.log")).unwrap_or_default();
        assert!(out.status.success(), "{family}: {said}\n--- sshd\n{log}");
        assert_eq!(String::from_utf8_lossy(&out.stdout), "through the door\n", "{family}");
    }
}

#[test]
fn the_printed_host_block_is_enough_for_ssh() {
    let world = World::new(Firewall::PolicyDrop);
    let profile = world.portunus(&["add", "alice", "--ports", "ssh"]);
    let _daemon = world.serve();
    let _sshd = Sshd::start(&world);
    fs::write(world.folder().join("alice.toml"), profile).expect("a file can be written");
    world.laptop(&["join", &text(&world.folder().join("alice.toml")), "--as", "home"]);
    let block = world.laptop(&["ssh-config", "home"]);
    let more = format!(
        "Host *\n  User root\n  IdentityFile {}\n  BatchMode yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n",
        world.folder().join("user_key").display()
    );
    // The block says `portunus`, as a person has it on the PATH.
    let out = ssh(
        &world,
        &format!(
            "{}\n{more}",
            block.replace("ProxyCommand portunus", &format!("ProxyCommand {}", binary().display()))
        ),
    );
    assert!(out.status.success(), "{block}\n{}", String::from_utf8_lossy(&out.stderr));
}
