//! Variables of fwknop 1.9, the Perl one, that fwknop 2 knows no more, and what to do about each.
//!
//! Most did something that goes without saying here. Some held something back: where they are left out, more is open than
//! the file says, so those are mistakes.

/// What is to be said of an old variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// It does nothing here, and why.
    Nothing(&'static str),
    /// It held back what nobody holds back here; the mend.
    Limit(&'static str),
}

/// One of fwknop.conf's; `None`: nobody knows it.
pub(super) fn of_conf(name: &str, value: &str) -> Option<Old> {
    use Old::{Limit, Nothing};
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    Some(match name {
        "BLACKLIST" if !value.eq_ignore_ascii_case("NONE") => {
            Limit("drop those addresses in the firewall, or name who may knock with SOURCE")
        }
        "BLACKLIST" => Nothing("nobody is on it"),
        "REQUIRE_SOURCE_ADDRESS" if super::conf::yes(value) => {
            Limit("write REQUIRE_SOURCE_ADDRESS Y into each stanza of access.conf")
        }
        "REQUIRE_SOURCE_ADDRESS" => Nothing("each stanza of access.conf says it for itself"),
        "HOSTNAME" => Nothing("the system says what this host is called"),
        "FIREWALL_TYPE" => Nothing("rules are iptables', or with FIREWALL nft nftables'"),
        "PCAP_CMD_TIMEOUT" | "ENABLE_COOKED_INTF" | "TCPDUMP_CMD" => {
            Nothing("packets are read without help: every kind of interface is understood")
        }
        "ENABLE_VOLUNTARY_EXITS" | "EXIT_INTERVAL" => Nothing("nothing grows that a restart would mend"),
        "DIGEST_TYPE" | "ENABLE_DIGEST_INCLUDE_SRC" => {
            Nothing("packets are remembered by SHA-256, whoever sent them")
        }
        "MAX_HOPS" | "P0F_FILE" => Nothing("hops are not counted: SOURCE says from where a packet may come"),
        "ENABLE_PROC_IP_FORWARD" | "PROC_IP_FORWARD_FILE" => {
            Nothing("say it with sysctl: net.ipv4.ip_forward = 1")
        }
        "SYSLOG_DAEMON" | "FW_DATA_FILE" | "FW_SEARCH_ALL" | "FW_MSG_SEARCH" | "FWKNOP_FIFO"
        | "FIREWALL_LOG" => Nothing("packets are not looked for in logs of the firewall's"),
        "SYSLOG_PRIORITY" => Nothing("each line has the priority that it deserves"),
        "ENABLE_EXTERNAL_CMDS"
        | "ENABLE_EXT_CMD_PREFIX"
        | "EXT_CMD_PREFIX"
        | "EXTERNAL_CMD_OPEN"
        | "EXTERNAL_CMD_CLOSE"
        | "EXTERNAL_CMD_ALARM" => {
            Nothing("CMD_CYCLE_OPEN and CMD_CYCLE_CLOSE of access.conf run commands today")
        }
        "GPG_KEY" => Nothing("GPG_DECRYPT_ID of access.conf names the key"),
        _ if begins(&["IPT_EXEC_", "IPT_CMD_", "KNOPTM_", "KNOPWATCHD_", "KNOP", "IPFW_CMD_"]) => {
            Nothing("grants end by themselves: no other program watches over them")
        }
        _ if begins(&["FWKNOP_"]) => Nothing("nothing is kept there"),
        _ if is_program(name) => Nothing("no such program is called"),
        _ => return None,
    })
}

/// 1.9 named programs in small letters, as in `gpgCmd`.
fn is_program(name: &str) -> bool {
    name.ends_with("Cmd") && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// One of access.conf's; `None`: nobody knows it.
pub(super) fn of_access(name: &str, value: &str) -> Option<Old> {
    use Old::{Limit, Nothing};
    let yes = super::conf::yes(value);
    Some(match name {
        "RESTRICT_INTF" => {
            Limit("name the interfaces with PCAP_INTF, or this host's address with DESTINATION")
        }
        "CMD_REGEX" => {
            Limit("commands are not searched for patterns: let CMD_CYCLE_OPEN run the one that is meant")
        }
        "REQUIRE_OS" | "REQUIRE_OS_REGEX" => {
            Limit("a packet does not say of which system its sender is: take it out")
        }
        "REQUIRE_AUTH_METHOD" => {
            Limit("a second password is not asked for: give the stanza HMAC_KEY_BASE64, and take it out")
        }
        "DISABLE_FW_ACCESS" if yes => Limit("take the stanza out: each one opens what it lists"),
        "DISABLE_FW_ACCESS" => Nothing("that is so anyway"),
        "SHADOW_FILE" => Nothing("it belongs to REQUIRE_AUTH_METHOD"),
        "PERMIT_CLIENT_TIMEOUT" => Nothing("MAX_FW_TIMEOUT says how long clients may ask for"),
        "ENABLE_FORWARD_ACCESS" | "INTERNAL_NET_ACCESS" => {
            Nothing("ENABLE_IPT_FORWARDING of the main file allows it, and FORCE_NAT says whereto")
        }
        "ENABLE_EXTERNAL_CMDS" | "EXTERNAL_CMD_OPEN" | "EXTERNAL_CMD_CLOSE" | "EXTERNAL_CMD_ALARM" => {
            Nothing("CMD_CYCLE_OPEN and CMD_CYCLE_CLOSE run commands today")
        }
        "GPG_PATH" => Nothing("GPG_EXE names the program today"),
        "GPG_NO_OPTIONS" | "GPG_USE_OPTIONS" | "GPG_NO_REQUIRE_PREFIX" | "GPG_PREFIX" | "GPG_AGENT_INFO" => {
            Nothing("a packet of GnuPG's is known by its form")
        }
        "KNOCK_LIMIT" | "KNOCK_INTERVAL" | "MIN_TIME_DIFF" | "MAX_TIME_DIFF" | "PORT_OFFSET"
        | "ENCRYPT_SEQUENCE" | "SHARED_SEQUENCE" => {
            Nothing("sequences of ports are not listened to: one packet says it all")
        }
        _ => return None,
    })
}

/// How fwknop 1.9 came by its packets (AUTH_MODE; DATA_COLLECT_MODE of a stanza).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acquired {
    /// Seen on an interface.
    Seen,
    /// Out of a file that grows.
    Followed,
    /// In a way that is not there any more; the mend.
    Gone(&'static str),
}

impl Acquired {
    /// By its word, the installer's words too.
    pub(super) fn named(word: &str) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_str() {
            "PCAP" => Self::Seen,
            "FILE_PCAP" | "ULOG_PCAP" | "ULOGD" => Self::Followed,
            "SYSLOG" | "SYSLOGD" | "SYSLOG-NG" | "SYSLOG_NG" => Self::Gone(
                "a line of a log does not hold a packet: say PCAP, or NFLOG_GROUP with a rule that logs to that group",
            ),
            "KNOCK" => Self::Gone(
                "sequences of ports can be replayed by whoever sees them: say PCAP, and let clients send one packet",
            ),
            "NFLOG" => Self::Gone("say NFLOG_GROUP and the group's number instead"),
            "SOCKET" | "UDP" | "TCP" => Self::Gone("say ENABLE_UDP_SERVER Y instead, or ENABLE_TCP_SERVER Y"),
            _ => return None,
        })
    }

    /// The words that are understood.
    pub(super) const WORDS: &'static str = "write PCAP, FILE_PCAP or ULOG_PCAP";
}
