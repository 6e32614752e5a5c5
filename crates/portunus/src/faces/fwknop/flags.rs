//! Every flag of the face, a row each: how it is typed, what it says, and how it is explained.

use portunus_config::fwknoprc::Variable;

use Call as C;
use Says as S;
use Variable as V;

/// What a flag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// Its value is this variable's.
    Value(Variable),
    /// This, of that variable.
    Fixed(Variable, &'static str),
    /// Its value is the offset, set back.
    Back,
    /// Its value is the HMAC's hash, and there is to be an HMAC.
    Hmac,
    /// Its value is this variable's, and GnuPG is wanted.
    Gpg(Variable),
    /// Yes to this variable, and GnuPG is wanted.
    GpgYes(Variable),
    /// The more often, the more.
    Verbose,
    /// Something for this call alone.
    Call(Call),
    /// How it is used.
    Help,
    /// What it is.
    Version,
}

/// What no variable says: it is for one call alone. Each is explained by its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    ServerCmd,
    NamedConfig,
    HttpProxy,
    IcmpType,
    IcmpCode,
    Stdin,
    Fd,
    KeyGen,
    KeyGenFile,
    KeyLen,
    HmacKeyLen,
    RcFile,
    NoRcFile,
    NoHomeDir,
    SaveRcStanza,
    ForceStanza,
    StanzaList,
    LastCmd,
    ShowLast,
    SaveArgsFile,
    SavePacket,
    SavePacketAppend,
    Test,
    FaultInjectionTag,
}

/// Under which title a flag stands in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// What, and for whom.
    Wish,
    /// Whereto, and how.
    Way,
    /// Our own address.
    Own,
    /// Behind the server.
    Nat,
    /// Keys.
    Keys,
    /// GnuPG.
    Gpg,
    /// Files that remember.
    Files,
    /// The rest.
    Other,
}

impl Group {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Wish => "What to open, and for whom",
            Self::Way => "How the packet travels",
            Self::Own => "This machine's address",
            Self::Nat => "Behind the server",
            Self::Keys => "Keys and how they are used",
            Self::Gpg => "GnuPG",
            Self::Files => "What is remembered",
            Self::Other => "Other",
        }
    }
}

/// One row of the table.
pub(super) struct Row {
    pub(super) says: Says,
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) aliases: &'static [&'static str],
    pub(super) value: Option<&'static str>,
    pub(super) group: Group,
    pub(super) help: &'static str,
}

impl Row {
    const fn of(says: Says, long: &'static str, group: Group, help: &'static str) -> Self {
        Self { says, long, short: None, aliases: &[], value: None, group, help }
    }

    const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    const fn value(self, value: &'static str) -> Self {
        Self { value: Some(value), ..self }
    }

    const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// The flag in messages.
    pub(super) fn name(&self) -> String {
        format!("--{}", self.long)
    }

    /// The flag as somebody types it.
    pub(super) fn typed(&self) -> String {
        self.short.map_or_else(|| format!("--{}", self.long), |short| format!("-{short}"))
    }
}

const W: Group = Group::Wish;
const Y: Group = Group::Way;
const O: Group = Group::Own;
const N: Group = Group::Nat;
const K: Group = Group::Keys;
const G: Group = Group::Gpg;
const R: Group = Group::Files;
const X: Group = Group::Other;

/// Every flag.
#[rustfmt::skip]
pub(super) static FLAGS: [Row; 69] = [
    Row::of(S::Value(V::Access), "access", W, "What to open: tcp/22, or several with commas between them").short('A').value("PORTS"),
    Row::of(S::Value(V::AllowIp), "allow-ip", W, "Open for this address; an IPv6 one only where the server is Portunus too").short('a').value("ADDRESS"),
    Row::of(S::Fixed(V::AllowIp, "0.0.0.0"), "source-ip", W, "Open for whatever address the packet seems to come from").short('s'),
    Row::of(S::Fixed(V::ResolveIpHttps, "Y"), "resolve-ip-https", W, "Open for this machine's address as the page of --resolve-url sees it").short('R').aliases(&["resolve-ip-http"]),
    Row::of(S::Call(C::ServerCmd), "server-cmd", W, "Have the server run this command, where it allows that").short('C').value("COMMAND"),
    Row::of(S::Value(V::FwTimeout), "fw-timeout", W, "For how many seconds (the server has a limit)").short('f').value("SECONDS"),
    Row::of(S::Value(V::SpoofUser), "spoof-user", W, "Knock under this name rather than the login name").short('U').value("USER"),

    Row::of(S::Value(V::SpaServer), "destination", Y, "The server: a name or an address").short('D').value("HOST"),
    Row::of(S::Call(C::NamedConfig), "named-config", Y, "Take what is not typed from this stanza of ~/.fwknoprc").short('n').value("STANZA"),
    Row::of(S::Value(V::SpaServerPort), "server-port", Y, "The port that the packet goes to (62201)").short('p').value("PORT"),
    Row::of(S::Value(V::SpaServerProto), "server-proto", Y, "udp, tcp, http, or as root udpraw, tcpraw, icmp (udp)").short('P').value("WAY"),
    Row::of(S::Value(V::SpaSourcePort), "source-port", Y, "The port that the packet comes from").short('S').value("PORT"),
    Row::of(S::Fixed(V::RandPort, "Y"), "rand-port", Y, "Send it to a port drawn by lot, from 10000 on; the server must listen to all of them").short('r'),
    Row::of(S::Value(V::SpoofSourceIp), "spoof-source", Y, "The source address in the packet, with udpraw, tcpraw and icmp").short('Q').value("ADDRESS").aliases(&["spoof-src"]),
    Row::of(S::Call(C::HttpProxy), "http-proxy", Y, "Send it by HTTP through this proxy").short('H').value("HOST[:PORT]"),
    Row::of(S::Value(V::HttpUserAgent), "user-agent", Y, "Who we are, where HTTP is spoken").short('u').value("TEXT"),
    Row::of(S::Call(C::IcmpType), "icmp-type", Y, "The type of the ICMP message (8; 128 for IPv6)").value("NUMBER"),
    Row::of(S::Call(C::IcmpCode), "icmp-code", Y, "Its code (0)").value("NUMBER"),
    Row::of(S::Fixed(V::ServerResolveIpv4, "Y"), "server-resolve-ipv4", Y, "Use only IPv4 addresses of the server's name"),

    Row::of(S::Value(V::ResolveUrl), "resolve-url", O, "Ask here: https://HOST/PAGE, http://HOST/PAGE, or dns://SERVER/NAME").value("URL"),
    Row::of(S::Fixed(V::ResolveHttpOnly, "Y"), "resolve-http-only", O, "Ask without TLS: whoever is on the way can then answer for somebody else"),
    Row::of(S::Value(V::WgetCmd), "wget-cmd", O, "Ask by this program, called as wget is, rather than by ourselves").short('w').value("PROGRAM"),
    Row::of(S::Fixed(V::UseWgetUserAgent, "Y"), "use-wget-user-agent", O, "Let that program name itself"),

    Row::of(S::Value(V::NatAccess), "nat-access", N, "Lead the opened port to this host and port behind the server").short('N').value("HOST[:PORT]"),
    Row::of(S::Fixed(V::NatLocal, "Y"), "nat-local", N, "Lead it to a port of the server itself"),
    Row::of(S::Value(V::NatPort), "nat-port", N, "Open this port of the server for it").value("PORT"),
    Row::of(S::Fixed(V::NatRandPort, "Y"), "nat-rand-port", N, "Open a port drawn by lot for it"),

    Row::of(S::Value(V::KeyFile), "get-key", K, "Take the encryption key from this file: lines of `HOST: KEY`").short('G').value("FILE"),
    Row::of(S::Value(V::HmacKeyFile), "get-hmac-key", K, "Take the HMAC key from this file, of the same form").value("FILE"),
    Row::of(S::Call(C::Stdin), "stdin", K, "Read the encryption key from standard input, and then the HMAC key where one is wanted"),
    Row::of(S::Call(C::Fd), "fd", K, "The same from this file descriptor").value("NUMBER"),
    Row::of(S::Value(V::Key), "key-rijndael", K, "The encryption key itself: everybody on this machine can see it").value("KEY"),
    Row::of(S::Value(V::KeyBase64), "key-base64-rijndael", K, "The same in base64").value("BASE64"),
    Row::of(S::Value(V::HmacKey), "key-hmac", K, "The HMAC key itself: everybody on this machine can see it").value("KEY"),
    Row::of(S::Value(V::HmacKeyBase64), "key-base64-hmac", K, "The same in base64").value("BASE64"),
    Row::of(S::Fixed(V::UseHmac, "Y"), "use-hmac", K, "Seal the packet with an HMAC too; without it a server has more work with strangers"),
    Row::of(S::Hmac, "hmac-digest-type", K, "Which HMAC: md5, sha1, sha256, sha384, sha512, sha3_256, sha3_512 (sha256)").value("HASH"),
    Row::of(S::Value(V::DigestType), "digest-type", K, "Which digest is inside of the packet, of the same list (sha256)").short('m').value("HASH"),
    Row::of(S::Value(V::EncryptionMode), "encryption-mode", K, "How AES is chained: cbc, ecb, cfb, ofb, ctr, or legacy for servers before 2.5 (cbc)").short('M').value("MODE"),
    Row::of(S::Value(V::TimeOffset), "time-offset-plus", K, "Set the time in the packet forward: 30, 5m, 2h, 1d").value("TIME"),
    Row::of(S::Back, "time-offset-minus", K, "Set it back").value("TIME"),
    Row::of(S::Call(C::KeyGen), "key-gen", K, "Make an encryption key and an HMAC key, and print them").short('k'),
    Row::of(S::Call(C::KeyGenFile), "key-gen-file", K, "Write them to this file instead").short('K').value("FILE"),
    Row::of(S::Call(C::KeyLen), "key-len", K, "How many bytes the encryption key gets, 32 at most (32)").value("BYTES"),
    Row::of(S::Call(C::HmacKeyLen), "hmac-key-len", K, "How many bytes the HMAC key gets, 128 at most (as many as its hash works with)").value("BYTES"),

    Row::of(S::Fixed(V::UseGpg, "Y"), "gpg-encryption", G, "Encrypt with GnuPG, for servers that have your public key").short('g'),
    Row::of(S::Gpg(V::GpgRecipient), "gpg-recipient-key", G, "For this key").value("KEY"),
    Row::of(S::Gpg(V::GpgSigner), "gpg-signer-key", G, "Signed by this key").value("KEY"),
    Row::of(S::Gpg(V::GpgHomedir), "gpg-home-dir", G, "With the keys of this folder").value("DIR"),
    Row::of(S::Gpg(V::GpgExe), "gpg-exe", G, "By this program").value("FILE"),
    Row::of(S::GpgYes(V::UseGpgAgent), "gpg-agent", G, "Have gpg-agent ask for the passphrase"),
    Row::of(S::GpgYes(V::GpgNoSigningPw), "gpg-no-signing-pw", G, "The signing key has no passphrase"),

    Row::of(S::Call(C::RcFile), "rc-file", R, "Read this file rather than ~/.fwknoprc").value("FILE"),
    Row::of(S::Call(C::NoRcFile), "no-rc-file", R, "Read none"),
    Row::of(S::Call(C::NoHomeDir), "no-home-dir", R, "Do not look for the home folder"),
    Row::of(S::Call(C::SaveRcStanza), "save-rc-stanza", R, "Write what was typed into the stanza of -n, or else of the server's name"),
    Row::of(S::Call(C::ForceStanza), "force-stanza", R, "Replace all of that stanza, keys too, without asking"),
    Row::of(S::Call(C::StanzaList), "stanza-list", R, "List the stanzas"),
    Row::of(S::Call(C::LastCmd), "last-cmd", R, "Run the last command line again; keys that stood in it are asked for").short('l'),
    Row::of(S::Call(C::ShowLast), "show-last", R, "Show the last command line"),
    Row::of(S::Call(C::SaveArgsFile), "save-args-file", R, "Remember the command line in this file rather than in ~/.fwknop.run").short('E').value("FILE"),
    Row::of(S::Fixed(V::NoSaveArgs, "Y"), "no-save-args", R, "Do not remember this command line"),
    Row::of(S::Call(C::SavePacket), "save-packet", R, "Write the packet to this file too").short('B').value("FILE"),
    Row::of(S::Call(C::SavePacketAppend), "save-packet-append", R, "Append it there").short('b'),

    Row::of(S::Call(C::Test), "test", X, "Make the packet and show its fields, but do not send it").short('T'),
    Row::of(S::Verbose, "verbose", X, "Show the fields, and what becomes of the packet; twice: more").short('v'),
    Row::of(S::Call(C::FaultInjectionTag), "fault-injection-tag", X, "For tests of the original only: it is refused").value("TAG"),
    Row::of(S::Help, "help", X, "Print this").short('h'),
    Row::of(S::Version, "version", X, "Print the version").short('V'),
];
