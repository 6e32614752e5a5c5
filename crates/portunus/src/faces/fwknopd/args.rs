//! The table of flags of the `fwknopd` face (shared/spec: fwknop-config, "Server options"), read as getopt_long(3) reads
//! them: long flags may be shortened, the last of several wins, and words that are no flags are ignored.

use std::path::PathBuf;

use clap::{ArgAction, Parser};
use portunus_config::fwknop::{CommandLine, Variable};

const EXAMPLES: &str = "\
Examples:
  fwknopd                              serve in the background, as /etc/fwknop says
  fwknopd -f -i eth1 -v                in the foreground, on another interface
  fwknopd -S && fwknopd -R             read the files again; open grants stay open
  fwknopd --fw-list                    what is open now
  fwknopd -D --exit-parse-config       what the files mean, and nothing else

Files: /etc/fwknop/fwknopd.conf, /etc/fwknop/access.conf";

/// Single Packet Authorization: fwknop's server, its flags, files and words
#[derive(Parser, Debug)]
#[command(name = "fwknopd", disable_version_flag = true, max_term_width = 100, after_help = EXAMPLES)]
#[command(infer_long_args = true, args_override_self = true)]
pub(crate) struct Cli {
    /// Another access.conf
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) access_file: Option<PathBuf>,
    /// A folder: every *.conf in it is read as an access.conf
    #[arg(long, value_name = "DIR", allow_hyphen_values = true)]
    pub(crate) access_folder: Option<PathBuf>,
    /// Another fwknopd.conf
    #[arg(
        short,
        long,
        value_name = "FILE",
        allow_hyphen_values = true,
        default_value = "/etc/fwknop/fwknopd.conf"
    )]
    pub(crate) config_file: PathBuf,
    /// Files, with commas in between, that go before fwknopd.conf
    #[arg(short = 'O', long, value_name = "FILES", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) override_config: Vec<PathBuf>,
    /// Stay in the foreground; lines go to standard error
    #[arg(short, long)]
    pub(crate) foreground: bool,
    /// In the foreground, write to the system's log too
    #[arg(long)]
    pub(crate) syslog_enable: bool,
    /// The interface to listen on; several with commas
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) interface: Option<String>,
    /// Which packets to look at, as tcpdump writes it
    #[arg(short = 'P', long, value_name = "FILTER", allow_hyphen_values = true)]
    pub(crate) pcap_filter: Option<String>,
    /// Read packets from a capture, and end
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) pcap_file: Option<PathBuf>,
    /// Look at packets that leave, too
    #[arg(long)]
    pub(crate) pcap_any_direction: bool,
    /// Receive on a UDP socket instead of listening on an interface
    #[arg(short = 'U', long)]
    pub(crate) udp_server: bool,
    /// End after so many packets that could be knocks
    #[arg(short = 'C', long, value_name = "COUNT", allow_hyphen_values = true)]
    pub(crate) packet_limit: Option<String>,
    /// Another digest.cache
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) digest_file: Option<PathBuf>,
    /// Put digest.cache aside (NAME-old) and begin a new one
    #[arg(long)]
    pub(crate) rotate_digest_cache: bool,
    /// Another file for the process's number
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) pid_file: Option<PathBuf>,
    /// Another folder for what a running server keeps
    #[arg(short, long, value_name = "DIR", allow_hyphen_values = true)]
    pub(crate) run_dir: Option<PathBuf>,
    /// The locale, or NONE
    #[arg(short, long, value_name = "LOCALE", allow_hyphen_values = true)]
    pub(crate) locale: Option<String>,
    /// Another home folder of GnuPG
    #[arg(long, value_name = "DIR", allow_hyphen_values = true)]
    pub(crate) gpg_home_dir: Option<PathBuf>,
    /// Another gpg
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) gpg_exe: Option<PathBuf>,
    /// Another sudo
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) sudo_exe: Option<PathBuf>,
    /// Say more; several times: even more
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// End the running server
    #[arg(short = 'K', long)]
    pub(crate) kill: bool,
    /// Have the running server read its files again; open grants stay open
    #[arg(short = 'R', long)]
    pub(crate) restart: bool,
    /// Say whether a server runs
    #[arg(short = 'S', long)]
    pub(crate) status: bool,
    /// Print what the files mean
    #[arg(short = 'D', long)]
    pub(crate) dump_config: bool,
    /// Read the files, and end
    #[arg(long)]
    pub(crate) exit_parse_config: bool,
    /// Read digest.cache, say which lines are none, and end
    #[arg(long)]
    pub(crate) exit_parse_digest_cache: bool,
    /// List fwknop's own rules
    #[arg(long)]
    pub(crate) fw_list: bool,
    /// List every rule
    #[arg(long)]
    pub(crate) fw_list_all: bool,
    /// Remove fwknop's own rules
    #[arg(long)]
    pub(crate) fw_flush: bool,
    /// Judge packets and change no firewall
    #[arg(short, long)]
    pub(crate) test: bool,
    /// Make both keys, and print them
    #[arg(short, long)]
    pub(crate) key_gen: bool,
    /// Make both keys, and write them to a file
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) key_gen_file: Option<PathBuf>,
    /// How many bytes the encryption key gets
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) key_len: Option<String>,
    /// How many bytes the HMAC key gets
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) hmac_key_len: Option<String>,
    /// For which HMAC the key is
    #[arg(long, value_name = "HASH", allow_hyphen_values = true)]
    pub(crate) hmac_digest_type: Option<String>,
    /// Print the version
    #[arg(short = 'V', long)]
    pub(crate) version: bool,
    /// List the original's error numbers
    #[arg(long)]
    pub(crate) dump_serv_err_codes: bool,
    // Accepted, and of no effect: whether iptables knows -C is not asked here.
    #[arg(long, hide = true)]
    no_ipt_check_support: bool,
    #[arg(long, hide = true)]
    no_firewd_check_support: bool,
    // Refused, each with the mend.
    #[arg(short = 'n', long, hide = true)]
    pub(crate) nfq_capture: bool,
    #[arg(short = 'A', long, hide = true)]
    pub(crate) afl_fuzzing: bool,
    #[arg(long, value_name = "FILE", hide = true, allow_hyphen_values = true)]
    pub(crate) afl_pkt_file: Option<PathBuf>,
    #[arg(long, value_name = "TAG", hide = true, allow_hyphen_values = true)]
    pub(crate) fault_injection_tag: Option<String>,
    /// From one of us to another: in this folder, tell who waits when you serve
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) in_background: Option<PathBuf>,
    #[arg(hide = true)]
    ignored: Vec<String>,
}

impl Cli {
    /// The same for the reader of the files. Paths are made whole, so that they mean the same from any folder.
    pub(crate) fn command_line(&self) -> CommandLine {
        let mut set = Vec::new();
        let mut path = |variable, path: &Option<PathBuf>| {
            if let Some(path) = path {
                set.push((variable, whole(path).display().to_string()));
            }
        };
        path(Variable::AccessFile, &self.access_file);
        path(Variable::AccessFolder, &self.access_folder);
        path(Variable::PcapFile, &self.pcap_file);
        path(Variable::DigestFile, &self.digest_file);
        path(Variable::FwknopPidFile, &self.pid_file);
        path(Variable::GpgHomeDir, &self.gpg_home_dir);
        path(Variable::GpgExe, &self.gpg_exe);
        path(Variable::SudoExe, &self.sudo_exe);
        let mut text = |variable, text: Option<String>| set.extend(text.map(|text| (variable, text)));
        let yes = |wanted: bool| wanted.then(|| "Y".to_owned());
        // A folder that is not absolute is a mistake, as in the original.
        text(Variable::FwknopRunDir, self.run_dir.as_ref().map(|dir| dir.display().to_string()));
        text(Variable::PcapIntf, self.interface.clone());
        text(Variable::PcapFilter, self.pcap_filter.clone());
        text(Variable::Locale, self.locale.clone());
        text(Variable::EnableUdpServer, yes(self.udp_server));
        text(Variable::EnablePcapAnyDirection, yes(self.pcap_any_direction));
        text(Variable::Verbose, Some(self.verbose).filter(|more| *more > 0).map(|more| more.to_string()));
        CommandLine {
            config: whole(&self.config_file),
            overrides: self.override_config.iter().map(whole).collect(),
            set,
        }
    }
}

fn whole(path: &PathBuf) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.clone())
}
