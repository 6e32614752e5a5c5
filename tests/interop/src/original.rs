//! Debian's own fwknop and fwknopd, run to make packets and to judge ours. They are studied by what they say, in a folder
//! and a namespace of their own; `make need-fwknop` installs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::namespace::Namespace;
use crate::tool::run;

/// The two programs, and where they live.
#[derive(Debug)]
pub struct Original {
    namespace: Namespace,
    folder: PathBuf,
}

/// What fwknopd came to with one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The stanza that took it, from 1 on, as far as the firewall.
    pub granted_by: Option<usize>,
    /// The text that came out of it, where one did.
    pub encoded: Option<String>,
    /// Every line about it.
    pub said: String,
}

impl Original {
    /// Makes their folder and their namespace.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a namespace")]
    pub fn new() -> Self {
        let namespace = Namespace::new("fwknop");
        let folder = std::env::temp_dir().join(namespace.name());
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        Self { namespace, folder }
    }

    /// The packet that `fwknop` makes of `args`. It is not sent.
    #[must_use]
    pub fn packet(&self, args: &[&str]) -> String {
        let (home, file) = (text(&self.folder), text(&self.folder.join("packet")));
        let home = format!("HOME={home}");
        let fixed =
            ["-u", "LOGNAME", &home, "fwknop", "--test", "--no-save-args", "-D", "127.0.0.1", "-B", &file];
        run("env", &[&fixed, args].concat());
        fs::read_to_string(file).expect("fwknop saves its packet").trim_end().to_owned()
    }

    /// What `fwknopd` says to `packets`, in this order, with this access.conf: in test mode, with everything allowed that
    /// a stanza can allow, whatever their age.
    #[must_use]
    pub fn hears(&self, access: &str, packets: &[String]) -> Vec<Heard> {
        let file = |name: &str| self.folder.join(name);
        let settings = "PCAP_INTF lo;\nENABLE_SPA_PACKET_AGING N;\nENABLE_IPT_FORWARDING Y;\nENABLE_IPT_LOCAL_NAT Y;\n\
                        ENABLE_NAT_DNS Y;\nENABLE_DIGEST_PERSISTENCE Y;\n";
        private(&file("fwknopd.conf"), settings);
        private(&file("access.conf"), access);
        fs::write(file("packets.pcap"), capture(packets)).expect("a file can be written");
        let _ = fs::remove_file(file("digest.cache"));

        let mut command = self.namespace.command("fwknopd");
        command.args(["--foreground", "--test", "--verbose", "--packet-limit", &packets.len().to_string()]);
        for (option, name) in [
            ("--config-file", "fwknopd.conf"),
            ("--access-file", "access.conf"),
            ("--pcap-file", "packets.pcap"),
            ("--digest-file", "digest.cache"),
            ("--pid-file", "fwknopd.pid"),
            ("--run-dir", ""),
        ] {
            command.arg(option).arg(file(name));
        }
        let out =
            command.stdin(Stdio::null()).output().expect("fwknopd runs: `make need-fwknop` installs it");
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("Packet count limit"), "fwknopd did not go through all packets:\n{said}");
        packets.iter().map(|packet| Heard::about(packet, &said)).collect()
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays: {error}", self.folder.display());
        }
    }
}

impl Heard {
    /// What stands between the first line that shows `packet` and the first that shows another. What fwknopd throws away
    /// before any stanza it does not show.
    fn about(packet: &str, said: &str) -> Self {
        let shown = format!("SPA Packet: '{packet}'");
        let lines = said.lines().skip_while(|line| *line != shown);
        let lines: Vec<_> =
            lines.take_while(|line| *line == shown || !line.starts_with("SPA Packet: '")).collect();
        let after = |line: &str, start: &str| line.trim_start().strip_prefix(start).map(str::to_owned);
        let granted = |line: &&&str| line.contains("--test mode enabled, skipping");
        let number = |line: &str| line.split("(stanza #").nth(1)?.split(')').next()?.parse().ok();
        Self {
            granted_by: lines.iter().find(granted).and_then(|line| number(line)),
            encoded: lines.iter().rev().find_map(|line| after(line, "Encoded Data: ")),
            said: lines.join("\n"),
        }
    }
}

fn private(path: &Path, content: &str) {
    fs::write(path, content).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A classic capture: each packet a UDP datagram from 127.0.0.1 to port 62201, in an Ethernet frame.
fn capture(packets: &[String]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let frame = frame(packet.as_bytes());
        let length = u32::try_from(frame.len()).expect("a frame is short");
        for word in [1_700_000_000, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = |more: usize| u16::try_from(payload.len() + more).expect("a packet is short").to_be_bytes();
    let [ip, udp] = [length(28), length(8)];
    let ethernet = [&[0; 12][..], &[8, 0]].concat();
    let ipv4 = [&[0x45, 0], &ip[..], &[0, 0, 0, 0, 64, 17, 0, 0], &[127, 0, 0, 1], &[127, 0, 0, 1]].concat();
    let ports = [40_000_u16.to_be_bytes(), 62_201_u16.to_be_bytes()].concat();
    [&ethernet, &ipv4, &ports, &udp[..], &[0, 0], payload].concat()
}
