//! The variables of fwknopd.conf: names, defaults and ranges, in the order in which `fwknopd -D` lists them.

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// Yes when it begins with `y` or `Y`, else no.
    Flag,
    /// A whole number in a range.
    Number(u64, u64),
    /// Six fields of a firewall chain.
    Chain,
}

macro_rules! variables {
    ($($(#[$doc:meta])* $variant:ident $name:literal $kind:expr, $default:expr;)*) => {
        /// A variable of fwknopd.conf, by which a command line can set it too.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Variable {
            $($(#[$doc])* $variant,)*
        }

        impl Variable {
            /// All of them, in the order of `fwknopd -D`; ours come last.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in the file.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(super) const fn kind(self) -> Kind {
                use Kind::{Chain, Flag, Number, Text};
                match self { $(Self::$variant => $kind,)* }
            }

            /// What holds where nobody says anything. What depends on other variables is `Conf`'s business.
            pub(super) const fn default(self) -> Option<&'static str> {
                match self { $(Self::$variant => $default,)* }
            }
        }
    };
}

/// The largest number of most ranges, 2^23.
const MOST: u64 = 8_388_608;
/// The largest port that the original takes. No such port exists: we look again where one is used.
const PORTS: u64 = 131_071;

variables! {
    /// The file itself; naming it inside has no effect.
    ConfigFile "CONFIG_FILE" Text, None;
    /// Files that go before it.
    OverrideConfig "OVERRIDE_CONFIG" Text, None;
    /// The interface to sniff on; ours: several, with commas.
    PcapIntf "PCAP_INTF" Text, Some("eth0");
    /// A capture to read instead.
    PcapFile "PCAP_FILE" Text, None;
    /// Also packets that are for other hosts.
    EnablePcapPromisc "ENABLE_PCAP_PROMISC" Flag, Some("N");
    /// Which packets to look at.
    PcapFilter "PCAP_FILTER" Text, Some("udp port 62201");
    /// Packets a round.
    PcapDispatchCount "PCAP_DISPATCH_COUNT" Number(1, MOST), Some("100");
    /// Microseconds between rounds.
    PcapLoopSleep "PCAP_LOOP_SLEEP" Number(1, MOST), Some("100000");
    /// Also packets that leave.
    EnablePcapAnyDirection "ENABLE_PCAP_ANY_DIRECTION" Flag, None;
    /// Whether an interface that goes down ends the program.
    ExitAtIntfDown "EXIT_AT_INTF_DOWN" Flag, Some("Y");
    /// How much of a packet to look at.
    MaxSniffBytes "MAX_SNIFF_BYTES" Number(1, 32_768), Some("1500");
    /// Whether a packet's time is looked at.
    EnableSpaPacketAging "ENABLE_SPA_PACKET_AGING" Flag, Some("Y");
    /// How far it may be off, in seconds.
    MaxSpaPacketAge "MAX_SPA_PACKET_AGE" Number(1, 100_000), Some("120");
    /// Whether packets are remembered against replay.
    EnableDigestPersistence "ENABLE_DIGEST_PERSISTENCE" Flag, Some("Y");
    /// Every so many rounds, foreign rules that are past are removed too.
    RulesCheckThreshold "RULES_CHECK_THRESHOLD" Number(0, PORTS), Some("20");
    /// A time limit for commands.
    CmdExecTimeout "CMD_EXEC_TIMEOUT" Text, None;
    /// Whether packets may come as HTTP requests.
    EnableSpaOverHttp "ENABLE_SPA_OVER_HTTP" Flag, Some("N");
    /// A TCP listener.
    EnableTcpServer "ENABLE_TCP_SERVER" Flag, Some("N");
    /// Its port.
    TcpservPort "TCPSERV_PORT" Number(1, PORTS), Some("62201");
    /// A UDP socket instead of sniffing.
    EnableUdpServer "ENABLE_UDP_SERVER" Flag, Some("N");
    /// Its port.
    UdpservPort "UDPSERV_PORT" Number(1, PORTS), Some("62201");
    /// How long it waits at once, in microseconds.
    UdpservSelectTimeout "UDPSERV_SELECT_TIMEOUT" Number(1, MOST), Some("500000");
    /// The language of messages.
    Locale "LOCALE" Text, None;
    /// The name in the system's log.
    SyslogIdentity "SYSLOG_IDENTITY" Text, Some("fwknopd");
    /// The facility there.
    SyslogFacility "SYSLOG_FACILITY" Text, Some("LOG_DAEMON");
    /// Whether the client's address is what a proxy says.
    EnableXForwardedFor "ENABLE_X_FORWARDED_FOR" Flag, Some("N");
    /// Whether a rule names the packet's destination.
    EnableDestinationRule "ENABLE_DESTINATION_RULE" Flag, Some("N");
    /// Whether a rule goes before the others.
    EnableRulePrepend "ENABLE_RULE_PREPEND" Flag, Some("N");
    /// Whether clients may name an inner host by its DNS name.
    EnableNatDns "ENABLE_NAT_DNS" Flag, Some("Y");
    /// Whether clients may ask for translation to an inner host.
    EnableIptForwarding "ENABLE_IPT_FORWARDING" Flag, Some("N");
    /// The same to this host.
    EnableIptLocalNat "ENABLE_IPT_LOCAL_NAT" Flag, Some("N");
    /// Whether the source is translated too.
    EnableIptSnat "ENABLE_IPT_SNAT" Flag, Some("N");
    /// To which address.
    SnatTranslateIp "SNAT_TRANSLATE_IP" Text, None;
    /// Whether the way out is opened too.
    EnableIptOutput "ENABLE_IPT_OUTPUT" Flag, Some("N");
    /// Whether chains are removed at the start.
    FlushIptAtInit "FLUSH_IPT_AT_INIT" Flag, Some("Y");
    /// The same at the end.
    FlushIptAtExit "FLUSH_IPT_AT_EXIT" Flag, Some("Y");
    /// The chain for what comes in.
    IptInputAccess "IPT_INPUT_ACCESS" Chain, Some("ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1");
    /// The chain for what goes out.
    IptOutputAccess "IPT_OUTPUT_ACCESS" Chain, Some("ACCEPT, filter, OUTPUT, 1, FWKNOP_OUTPUT, 1");
    /// The chain for what goes through.
    IptForwardAccess "IPT_FORWARD_ACCESS" Chain, Some("ACCEPT, filter, FORWARD, 1, FWKNOP_FORWARD, 1");
    /// The chain where destinations are translated.
    IptDnatAccess "IPT_DNAT_ACCESS" Chain, Some("DNAT, nat, PREROUTING, 1, FWKNOP_PREROUTING, 1");
    /// The chain where sources are translated.
    IptSnatAccess "IPT_SNAT_ACCESS" Chain, Some("SNAT, nat, POSTROUTING, 1, FWKNOP_POSTROUTING, 1");
    /// The chain where sources are translated to an interface's address.
    IptMasqueradeAccess "IPT_MASQUERADE_ACCESS" Chain, Some("MASQUERADE, nat, POSTROUTING, 1, FWKNOP_MASQUERADE, 1");
    /// Whether comments in rules are tried at the start.
    EnableIptCommentCheck "ENABLE_IPT_COMMENT_CHECK" Flag, Some("Y");
    /// Where state is kept.
    FwknopRunDir "FWKNOP_RUN_DIR" Text, Some("/run/fwknop");
    /// Where configuration is.
    FwknopConfDir "FWKNOP_CONF_DIR" Text, Some("/etc/fwknop");
    /// The file of stanzas.
    AccessFile "ACCESS_FILE" Text, None;
    /// A folder of such files, instead.
    AccessFolder "ACCESS_FOLDER" Text, None;
    /// Where the process says its number.
    FwknopPidFile "FWKNOP_PID_FILE" Text, None;
    /// Where packets are remembered.
    DigestFile "DIGEST_FILE" Text, None;
    /// Where GnuPG keeps keys.
    GpgHomeDir "GPG_HOME_DIR" Text, Some("/root/.gnupg");
    /// GnuPG.
    GpgExe "GPG_EXE" Text, Some("/usr/bin/gpg");
    /// sudo.
    SudoExe "SUDO_EXE" Text, Some("/usr/bin/sudo");
    /// iptables.
    FirewallExe "FIREWALL_EXE" Text, Some("/usr/sbin/iptables");
    /// How much is said.
    Verbose "VERBOSE" Text, None;
    /// For tests of the original's own.
    FaultInjectionTag "FAULT_INJECTION_TAG" Text, None;
    /// Whether any HTTP client is heard (2.6.11).
    AllowAnyUserAgent "ALLOW_ANY_USER_AGENT" Flag, None;
    /// Ours: `iptables` or `nft`.
    Firewall "FIREWALL" Text, None;
    /// Ours: the proxies whose X-Forwarded-For counts.
    TrustedProxies "TRUSTED_PROXIES" Text, None;
    /// Ours: the group to which a rule logs packets.
    NflogGroup "NFLOG_GROUP" Text, None;
    /// Of 1.9: who gets mail.
    EmailAddresses "EMAIL_ADDRESSES" Text, None;
    /// Of 1.9: `noemail` for none.
    AlertingMethods "ALERTING_METHODS" Text, None;
    /// Of 1.9: how packets are come by.
    AuthMode "AUTH_MODE" Text, None;
    /// Of 1.9: the capture that grows, where they come out of one.
    PcapPktFile "PCAP_PKT_FILE" Text, None;
}

impl Variable {
    /// How many of them stand in `fwknopd -D`, whether or not somebody sets them.
    pub(super) const LISTED: usize = 55;

    /// The one of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        // The older spellings.
        let name = match name {
            "ACCESS_CONF" => "ACCESS_FILE",
            "GPG_DEFAULT_HOME_DIR" => "GPG_HOME_DIR",
            name => name,
        };
        Self::ALL.iter().copied().find(|variable| variable.name() == name)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}
