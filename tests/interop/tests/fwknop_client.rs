//! The face `fwknop` beside Debian's own client: the same words on the command line come to the same exit code and to the
//! words that people's scripts look for (as regular expressions), and the packets say the same.
//!
//! A row holds for both programs, so that no row asks for what the original does not say. Where they differ on purpose, the
//! row says so with its reason.
#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use portunus_interop::{Namespace, Original, binary};
use regex::Regex;

const RC: &str = "[default]\n[gate]\nSPA_SERVER 127.0.0.1\nACCESS tcp/22\nALLOW_IP 1.2.3.4\n\
                  KEY_BASE64 dGVzdHRlc3Q=\nHMAC_KEY hmachmac\nHMAC_DIGEST_TYPE SHA1\n[stanza_1]\nKEY abc\n[stanza_2]\nKEY def\n";

/// One call.
struct Row {
    /// After the program's name; a word in quotes has blanks.
    line: &'static str,
    /// What both say.
    words: &'static [&'static str],
    /// The exit code of both.
    code: i32,
    /// Ours, where it is another on purpose.
    ours: Option<(i32, &'static str)>,
    /// The rc file that is there before; else [`RC`].
    rc: Option<&'static str>,
    /// What the rc file then says in both.
    saved: &'static [&'static str],
}

const fn row(line: &'static str, code: i32, words: &'static [&'static str]) -> Row {
    Row { line, words, code, ours: None, rc: None, saved: &[] }
}

impl Row {
    const fn rc(self, rc: &'static str) -> Self {
        Self { rc: Some(rc), ..self }
    }

    const fn saved(self, saved: &'static [&'static str]) -> Self {
        Self { saved, ..self }
    }

    const fn but_ours(self, code: i32, why: &'static str) -> Self {
        Self { ours: Some((code, why)), ..self }
    }
}

/// `@` stands for a call that works: keys, whom, what and whereto.
const GOOD: &str = "-T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1 --key-rijndael testtest --key-hmac hmachmac";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("@", 0, &[r"FKO\sVersion", r"Random\sValue", r"test\smode\senabled", r"Digest\sType\:\s.*SHA256", r"HMAC\sType\:\s.*SHA256",
        r"HMAC.*SHA256", r"Encryption\sMode\:\s.*CBC", r"Client\sTimeout:\s0", r"Message Type: 1 \(Access msg\)", r"Final SPA Data: \S{200}"]),
    row("@ -v", 0, &[r"protocol:\sudp", r"destination\sport:\s62201", r"source port: <OS assigned>", r"IP/host: 127\.0\.0\.1",
        r"send_spa_packet: bytes sent: 0", r"Dump of the Decoded Data"]),
    row("-A tcp/22 -a 1.2.3.4 -D 127.0.0.1 --key-rijndael testtest --key-hmac hmachmac -v", 0, &[r"bytes sent: 204"]),
    // Whereto and how.
    row("@ -v -P tcp -p 65421 -S 65421", 0, &[r"protocol:\stcp", r"destination\sport:\s65421", r"source\sport:\s65421"]),
    row("@ -v -p 22 -S 22", 0, &[r"destination\sport:\s22", r"source\sport:\s22"]),
    row("@ -v -P http", 0, &[r"protocol:\shttp", r"GET /", "User-Agent: Fwknop/2.6.1"]),
    row("@ -v -P http -u FwknopTestSuite/2.6", 0, &["User-Agent: FwknopTestSuite/2.6"]),
    row("@ -v -H proxy:8080", 0, &[r"protocol:\shttp", r"GET http://127\.0\.0\.1/", "Host: proxy"]),
    row("@ -v -P tcpraw", 0, &[r"protocol:\stcpraw", r"source port: \d+"]),
    row("@ -v -P udpraw -Q 3.3.3.3", 0, &[r"protocol:\sudpraw"]),
    row("@ -v -P icmp", 0, &[r"protocol:\sicmp"]),
    row("@ -v -P icmp --icmp-type 8 --icmp-code 0", 0, &[r"protocol:\sicmp"]),
    row("@ -v -r", 0, &[r"destination port: \d{5}"]),
    row("@ -P foo", 1, &[r"Unrecognized\sproto"]),
    row("@ -p 70000", 1, &[r"Value\s.*out\sof\srange"]),
    row("@ -p -1", 1, &[r"Value\s.*out\sof\srange"]),
    row("@ -S 70000", 1, &[r"Value\s.*out\sof\srange"]),
    row("@ -p abc", 0, &[]).but_ours(1, "the original sends to port 0, which nobody wants"),
    row("@ -P icmp --icmp-type 256", 1, &[r"Invalid\sicmp"]),
    row("@ -P icmp --icmp-code -1", 1, &[r"Invalid\sicmp"]),
    row("@ -P icmp --icmp-type abc", 0, &[]).but_ours(1, "the original sends an echo reply"),
    row("@ -Q 3.3.3.3", 1, &[r"Must\sset.*udpraw"]),
    row("@ -Q invalid -P udpraw", 1, &[r"Invalid\sspoof"]),
    row("@ -v -H proxy:99999", 1, &[r"(?i)port.*invalid", r"packet\snot\ssent"]),
    row("-A tcp/22 -a 1.2.3.4 -D no-such-host.invalid --key-rijndael testtest", 1, &[r"packet\snot\ssent"]),
    row("-A tcp/22 -a 1.2.3.4 -D 127.0.0.1 --key-rijndael testtest -P tcp -p 1", 1, &[r"packet\snot\ssent"]),
    row("@ --server-resolve-ipv4", 0, &[]),
    row("-A tcp/22 -a 1.2.3.4 --key-rijndael testtest", 1, &[r"Must\suse.*destination"]),
    row("", 1, &[r"Must\suse.*destination"]),
    // What, and for whom.
    row("-D 127.0.0.1", 1, &[r"(?i)must\suse\sone\sof"]),
    row("-T -A tcp/22 -D 127.0.0.1", 1, &[r"(?i)Invalid\sallow\sIP"]),
    row("@ -a 999.1.1.1", 1, &[r"(?i)Invalid\sallow\sIP"]),
    row("@ -a ::1", 1, &[r"(?i)Invalid\sallow\sIP"]).but_ours(0, "servers that are Portunus open for IPv6"),
    row("@ -s", 0, &[r"Message.*0.0.0.0"]),
    row("-A tcp/22 -s -D 127.0.0.1 --key-rijndael testtest -v", 0, &[r"Message.*0.0.0.0", r"WARNING"]),
    row("@ -A tcp/22,udp/53", 0, &[r"1\.2\.3\.4,tcp/22,udp/53"]),
    row("@ -A foo", 1, &[r"(?i)Invalid\sSPA\saccess\smessage"]),
    row("@ -A tcp/0", 1, &[r"Invalid\sSPA\saccess"]),
    row("@ -A tcp/70000", 1, &[r"Invalid\sSPA\saccess"]),
    row("@ -A icmp/1", 1, &[r"Invalid\sSPA\saccess"]),
    row("@ -C 'cat /etc/hosts'", 0, &[r"Message Type: 0 \(Command msg\)", r"1\.2\.3\.4,cat /etc/hosts"]),
    row("@ -f 1234", 0, &[r"Client\sTimeout:\s1234", r"3 \(Client timeout access msg\)"]),
    row("@ -f 0", 0, &[r"Client\sTimeout:\s0"]),
    row("@ -f -1", 1, &[r"timeout\smust\sbe\swithin"]),
    row("@ -U someuser", 0, &[r"Username\:\ssomeuser"]),
    row("@ -U AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0, &[r"Username\:\sAAAA"]),
    row("@ -U a:b", 1, &[r"Args\scontain\sinvalid"]),
    // Behind the server.
    row("@ -N 192.168.10.1:12345", 0, &[r"Nat\sAccess\:\s192.168.10.1\,12345", r"2 \(NAT access msg\)"]),
    row("@ -N 192.168.10.1:12345 -f 60", 0, &[r"4 \(Client timeout NAT access msg\)"]),
    row("@ -N host.example", 0, &[r"Nat\sAccess\:\shost.example,22"]),
    row("@ --nat-local", 0, &[r"Nat\sAccess\:\s127.0.0.1\,22", r"5 \(Local NAT access msg\)"]),
    row("@ --nat-local -f 60", 0, &[r"6 \(Client timeout local NAT access msg\)"]),
    row("@ --nat-local --nat-port 22211", 0, &[r"Message.*22211", r"Nat\sAccess\:\s127.0.0.1\,22"]),
    row("@ --nat-local --nat-rand-port", 0, &[r"Randomly assigned port '\d+'", r"Message String: 1\.2\.3\.4,tcp/\d{5}"]),
    row("@ --nat-port 70000", 1, &[r"out\sof\srange"]),
    row("@ -N 1.2.3.4:0", 1, &[r"Invalid\sport"]),
    row("@ -N 1.2.3.4,22,33", 1, &[r"Invalid\sport"]),
    row("@ -N 'a b:22'", 1, &[r"Invalid\sNAT\sdestination"]),
    row("@ -A tcp/22,tcp/23 -N 1.2.3.4:22 --nat-port 33", 1, &[r"NAT\sfor\smultiple", r"(?i)not.*supported"]),
    row("@ -A foo --nat-rand-port", 1, &[r"Expecting.*A\sarg"]),
    // Keys, hashes, modes, times.
    row("@ -m md5", 0, &[r"Digest\sType\:\s.*MD5"]),
    row("@ -m sha1", 0, &[r"Digest\sType\:\s.*SHA1"]),
    row("@ -m sha384", 0, &[r"Digest\sType\:\s.*SHA384"]),
    row("@ -m sha512", 0, &[r"Digest\sType\:\s.*SHA512"]),
    row("@ -m sha3_256", 0, &[r"Digest\sType\:\s.*SHA3_256"]),
    row("@ --digest-type SHA3_512", 0, &[r"Digest\sType\:\s.*SHA3_512"]),
    row("@ -m bad", 1, &[r"(?i)Invalid\sdigest\stype"]),
    row("@ --hmac-digest-type md5", 0, &[r"HMAC\sType\:\s.*MD5"]),
    row("@ --hmac-digest-type sha1", 0, &[r"HMAC\sType\:\s.*SHA1"]),
    row("@ --hmac-digest-type sha384", 0, &[r"HMAC\sType\:\s.*SHA384"]),
    row("@ --hmac-digest-type sha512", 0, &[r"HMAC\sType\:\s.*SHA512"]),
    row("@ --hmac-digest-type bad", 1, &[r"(?i)Invalid\shmac\sdigest\stype"]),
    row("@ -M ecb", 0, &[r"Encryption\sMode\:\s.*ECB"]),
    row("@ -M CFB", 0, &[r"Encryption\sMode\:\s.*CFB"]),
    row("@ -M ofb", 0, &[r"Encryption\sMode\:\s.*OFB"]),
    row("@ -M ctr", 0, &[r"Encryption\sMode\:\s.*CTR"]),
    row("@ -M PCBC", 1, &[r"Invalid\sencryption\smode:\sPCBC"]),
    row("@ -M badmode", 1, &[r"Invalid\sencryption\smode:\sbadmode"]),
    row("@ -M legacy", 1, &[r"incompatible\swith\sHMAC"]),
    row("-T -A tcp/22 -a 1.2.3.4 --key-rijndael testtest -M legacy", 0, &[r"Encryption\sMode\:\s.*legacy", r"HMAC Type: 0 \(None\)"]),
    row("@ -M asymmetric", 1, &[r"Must\sspecify\sGPG\srecipient"]),
    row("@ -g", 1, &["Must specify --gpg-recipient-key"]),
    row("@ -g --gpg-recipient-key X --gpg-home-dir /no/such", 1, &[r"Unable\sto\sstat"]),
    row("@ --time-offset-plus 60", 0, &[]),
    row("@ --time-offset-minus 2d", 0, &[]),
    row("@ --time-offset-plus x", 1, &["Invalid time offset"]),
    row("@ --time-offset-minus 123456789999", 1, &["Invalid time offset"]),
    row("-T -A tcp/22 -a 1.2.3.4 --key-rijndael AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 1, &[r"Invalid\skey\slength"]),
    row("@ --key-hmac testtest", 1, &[r"(?i)should\snot\sbe\sidentical", r"encryption\spassphrase"]),
    row("-T -A tcp/22 -a 1.2.3.4 --key-base64-rijndael dGVzdHRlc3Q= --key-base64-hmac aG1hY2htYWM=", 0, &[r"HMAC Type: 3"]),
    row("-T -A tcp/22 -a 1.2.3.4 --key-base64-rijndael !!!", 1, &[r"look\slike\sbase64\-encoded"]),
    row("-T -A tcp/22 -a 1.2.3.4 --key-rijndael testtest --key-base64-hmac !!!", 1, &[r"look\slike\sbase64"]),
    row("-T -A tcp/22 -a 1.2.3.4 --key-rijndael testtest --key-base64-hmac AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 1, &[r"Invalid\sdecoded\skey\slength"]),
    row("-T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1 -G keys", 0, &[r"HMAC Type: 0"]),
    row("-T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1 -G keys --get-hmac-key hmackeys", 0, &[r"HMAC Type: 3"]),
    row("-T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1 --get-key no-such-file", 1, &[r"(?i)could\snot\sopen"]),
    row("-T -A tcp/22 -a 1.2.3.4 -D 10.9.9.9 -G keys", 1, &[r"(?i)Could\snot|Last\sfwknop"]),
    row("-T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1 --fd 77", 1, &[r"Bad\sfile\sdescriptor"]),
    row("-T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1 --stdin", 0, &[r"HMAC Type: 0"]),
    row("-T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1 --stdin --use-hmac", 1, &[]).but_ours(0, "the second line is the HMAC key"),
    row("-T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1 --fd 0", 0, &[r"HMAC Type: 0"]),
    row("-T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1", 1, &[]),
    row("@ --fd -1", 1, &[r"Value\s.*out\sof\srange"]),
    // Making keys.
    row("-k", 0, &[r"(?m)^KEY_BASE64\:?\s\S{10}", r"HMAC_KEY_BASE64\:?\s\S{10}"]),
    row("--key-gen --key-len 16 --hmac-key-len 20", 0, &[r"(?m)^KEY_BASE64: \S{24}$", r"(?m)^HMAC_KEY_BASE64: \S{28}$"]),
    row("-k --hmac-digest-type sha512", 0, &[r"HMAC_KEY_BASE64: \S{172}"]),
    row("-k --key-len 0", 1, &[r"Invalid\skey\slength"]),
    row("-k --hmac-key-len 129", 1, &[r"Invalid\shmac\skey\slength"]),
    row("-k --hmac-digest-type bad", 1, &[r"Invalid\shmac\sdigest\stype"]),
    row("-K made", 0, &[r"Wrote.*HMAC.*keys", r"Wrote.*\skeys"]),
    row("-K /no/such/folder/made", 1, &[r"to\screate"]),
    row("-k -n fresh --save-rc-stanza", 0, &[r"Wrote.*HMAC.*keys"]).saved(&["KEY_BASE64", "HMAC_KEY_BASE64"]),
    // The rc file.
    row("-T -n gate", 0, &[r"HMAC\sType\:\s.*SHA1", r"1\.2\.3\.4,tcp/22"]),
    row("-T -n gate -A udp/53 -v -v", 0, &[r"1\.2\.3\.4,udp/53", "Parsing section 'default'"]),
    row("-T -n nobody", 1, &[r"Named\sconfiguration.*not\sfound"]),
    row("--stanza-list", 0, &[r"(?i)The\sfollowing\sstanzas\sare\sconfigured", "stanza_1", "stanza_2"]),
    row("--no-rc-file --stanza-list", 1, &["Cannot list stanzas in"]),
    row("@ --no-rc-file --save-rc-stanza", 1, &["Cannot save an rc stanza in"]),
    row("@ --no-rc-file -n gate", 1, &["Cannot set stanza name"]),
    row("@ --no-rc-file", 0, &[]),
    row("@ --no-home-dir", 1, &[r"must\sset\s\-\-rc\-file\spath"]),
    row("@ --no-home-dir --rc-file rc", 1, &["args save file path with -E"]),
    row("@ --no-home-dir --rc-file rc -E args", 0, &[]),
    row("@ --rc-file fresh-rc", 0, &["Creating initial rc file"]),
    row("-T", 1, &[r"Parameter\serror"]).rc("[default]\nDIGEST_TYPE bad\n"),
    row("-T", 1, &[r"Parameter\serror"]).rc("[default]\nBOGUS 1\n"),
    row("-T", 1, &[r"Invalid\sentry"]).rc("[default]\nBOGUS\n"),
    row("-T", 1, &[r"Parameter\serror", r"look\slike\sbase64"]).rc("[default]\nKEY_BASE64 !!!\n"),
    row("-T", 1, &[r"Parameter\serror", r"(?i)must\sbe\sone\sof"]).rc("[default]\nHMAC_DIGEST_TYPE bad\n"),
    row("-T", 1, &[r"Parameter\serror"]).rc("[default]\nTIME_OFFSET invalid\n"),
    row("-T", 1, &[r"Parameter\serror"]).rc("[default]\nENCRYPTION_MODE invalid\n"),
    row("-T", 1, &[r"Parameter\serror"]).rc("[default]\nSPA_SERVER_PORT 70000\n"),
    row("-T", 1, &[r"Parameter\serror"]).rc("[default]\nFW_TIMEOUT 70000\n"),
    row("-T", 1, &[r"Parameter\serror"]).rc("[default]\nALLOW_IP 999.1.1.1\n"),
    row("-T", 1, &[r"Parameter\serror"]).rc("[default]\nVERBOSE 9\n"),
    row("@", 0, &[r"Username:\s*testuser"]).rc("[default]\nSPOOF_USER testuser\n"),
    row("@", 0, &[r"Encryption\sMode\:\s.*CTR", r"3 \(Client timeout"]).rc("[default]\nENCRYPTION_MODE CTR\nFW_TIMEOUT 30\n"),
    row("@ -n n -m sha1 --save-rc-stanza -v -v", 0, &[r"Updating\sparam.*SHA1"]).saved(&[r"DIGEST_TYPE.*SHA1", r"VERBOSE.*2", r"USE_HMAC.*Y|HMAC_KEY"]),
    row("-T -A tcp/22 -a 1.2.3.4 -n n --save-rc-stanza --key-rijndael testtest -m md5 -M legacy -v", 0, &[r"Encryption\sMode\:\s.*legacy"])
        .saved(&[r"DIGEST_TYPE.*MD5", r"ENCRYPTION_MODE.*legacy", r"VERBOSE.*(Y|\d)"]),
    row("@ -n n --save-rc-stanza --use-hmac --hmac-digest-type md5", 0, &[r"HMAC\sType\:\s.*MD5"])
        .saved(&[r"HMAC_DIGEST_TYPE.*MD5", r"USE_HMAC.*Y"]),
    row("@ -n n --save-rc-stanza -N 192.168.10.1:12345 -f 1234 -U someuser -P tcpraw -Q 3.3.3.3 -p 65421 -S 65421", 0, &[])
        .saved(&[r"NAT_ACCESS.*192.168.10.1\:12345", r"FW_TIMEOUT.*1234", r"SPOOF_USER.*someuser", r"SPA_SERVER_PROTO.*tcpraw",
                 r"SPOOF_SOURCE_IP.*3.3.3.3", r"SPA_SERVER_PORT.*65421", r"SPA_SOURCE_PORT.*65421"]),
    row("@ -n n --save-rc-stanza --nat-local --nat-port 22211 -r -u FwknopTestSuite/2.6 --use-wget-user-agent -w /usr/bin/wget", 0, &[])
        .saved(&["NAT_LOCAL.*Y", "NAT_PORT.*22211", "RAND_PORT.*Y", "HTTP_USER_AGENT.*FwknopTestSuite/2.6", "USE_WGET_USER_AGENT.*Y"]),
    row("@ -n n --save-rc-stanza --nat-local --nat-rand-port --time-offset-minus 60 -G keys -a 0.0.0.0 -f 0", 0, &[])
        .saved(&["NAT_RAND_PORT.*Y", r"TIME_OFFSET.*\-60", "KEY.*keys", "ALLOW_IP.*0.0.0.0", "FW_TIMEOUT.*0"]),
    row("@ -n n --save-rc-stanza --time-offset-plus 1d -M cbc --resolve-url www.cipherdyne.org/cgi-bin/myip --resolve-http-only", 0, &[])
        .saved(&["TIME_OFFSET.*86400", "ENCRYPTION_MODE.*CBC", r"RESOLVE_URL.*\swww.cipherdyne.org.*myip", "RESOLVE_HTTP_ONLY.*Y"]),
    row("@ -n gate --save-rc-stanza --force-stanza --key-rijndael newkey", 0, &[]).saved(&["KEY.*newkey", "stanza_1"]),
    // Our own address.
    row("-T -A tcp/22 -R -D 127.0.0.1 --key-rijndael testtest", 1, &["Could not resolve IP", "Could not resolve IP.*wget"]),
    row("-T -A tcp/22 -R -D 127.0.0.1 --key-rijndael testtest --resolve-url http://127.0.0.1:1/", 1,
        &[r"Warning.*IP resolution URL", "Could not resolve IP", "wget"]),
    row("-T -A tcp/22 -R -D 127.0.0.1 --key-rijndael testtest --resolve-http-only --resolve-url https://127.0.0.1:1/", 1, &[r"(?i)not.*supported"]),
    row("-T -A tcp/22 -R -D 127.0.0.1 --key-rijndael testtest -w ./ask -v --resolve-url https://x.example/", 0, &["Resolved", r"198\.51\.100\.7,tcp/22"]),
    row("-T -A tcp/22 -R -D 127.0.0.1 --key-rijndael testtest -w /no/such --resolve-url https://x.example/", 1, &["Could not resolve IP"]),
    // What is remembered.
    row("--show-last", 1, &[r"(?i)Could\snot\sopen"]),
    row("-l", 1, &[r"(?i)Could\snot\sopen"]),
    row("@ -E /no/such/folder/args", 1, &[r"Could\snot\sopen"]),
    row("-E args --show-last", 0, &[r"(?i)Could\snot|Last\sfwknop", r"-U again"]),
    row("-E args -l", 0, &[r"Username: again"]),
    row("@ -B packet", 0, &[]),
    row("@ -B packet -b", 0, &[]),
    row("@ -B /no/such/folder/packet", 0, &[]),
    // Words that are no flags.
    row("-h", 0, &[r"--allow-ip", r"--access"]),
    row("-V", 0, &[r"fwknop client", r"FKO protocol version 3\.0\.0"]),
    row("--bogus", 1, &["--bogus"]),
    row("-A", 1, &["requires? an argument|a value is required"]),
    row("--fault-injection-tag x @", 1, &["(?i)fault injection"]),
];

/// Flags by their long names and by beginnings of those.
const ABBREVIATED: &[&str] = &[
    "--tes --acc tcp/22 --allow-i 1.2.3.4 --dest 127.0.0.1 --key-rij testtest --key-h hmachmac",
    "-TvA tcp/22 -a1.2.3.4 -D127.0.0.1 --key-rijndael=testtest --use-h --key-hmac=hmachmac",
    "word @ other",
];

/// A folder and a namespace for both programs.
struct Stage {
    namespace: Namespace,
    folder: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let namespace = Namespace::new("client");
        let folder = std::env::temp_dir().join(namespace.name());
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        symlink(binary(), folder.join("fwknop")).expect("a link can be made");
        Self { namespace, folder }
    }

    fn ours(&self) -> PathBuf {
        self.folder.join("fwknop")
    }

    /// A home as it is before each call.
    fn home(&self, rc: &str) -> PathBuf {
        let home = self.folder.join("home");
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).expect("a folder can be made");
        for (name, text, mode) in [
            (".fwknoprc", rc, 0o600),
            ("rc", "[default]\n", 0o600),
            ("keys", "127.0.0.1: testtest\n", 0o600),
            ("hmackeys", "127.0.0.1: hmachmac\n", 0o600),
            ("args", "fwknop -T -A tcp/22 -a 1.2.3.4 -n gate -U again --no-save-args\n", 0o600),
            ("ask", "#!/bin/sh\necho 198.51.100.7\n", 0o700),
        ] {
            fs::write(home.join(name), text).expect("a file can be written");
            fs::set_permissions(home.join(name), fs::Permissions::from_mode(mode)).expect("it has an owner");
        }
        home
    }

    /// Runs one of the two in `home`, with two keys on standard input and no terminal to ask at.
    fn call(&self, program: &Path, home: &Path, words: &[String]) -> Output {
        let mut command = self.namespace.command("setsid");
        command.arg("-w").arg(program).args(words).current_dir(home).env_clear();
        command.env("HOME", home).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C.UTF-8");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("both programs run: `make need-fwknop` installs the original");
        if let Some(mut input) = child.stdin.take() {
            use std::io::Write;
            // Who reads no key has gone already.
            let _ = input.write_all(b"fromstdin\nhmacstdin\n");
        }
        child.wait_with_output().expect("a child can be waited for")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays: {error}", self.folder.display());
        }
    }
}

/// The words of a line, as a shell would split it.
fn words(line: &str) -> Vec<String> {
    let line = line.replace('@', GOOD);
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Debian's program, asked in a home of the stage's: in a home without an rc file it begins with a line about making one.
fn original(stage: &Stage) -> PathBuf {
    let path = PathBuf::from("/usr/bin/fwknop");
    let version = std::process::Command::new(&path).arg("-V").env("HOME", stage.home(RC)).output();
    let version =
        version.unwrap_or_else(|e| panic!("{}: {e}: `make need-fwknop` installs it", path.display()));
    let said = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(said.starts_with("fwknop client 2."), "{} is not the original: {said}", path.display());
    path
}

fn said(out: &Output) -> String {
    let both = [out.stdout.as_slice(), out.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn check(who: &str, row: &Row, out: &Output, rc: &Path, code: i32, faults: &mut Vec<String>) {
    let text = said(out);
    let mut fault = |what: String| faults.push(format!("{who}: fwknop {}: {what}\n{text}", row.line));
    if out.status.code() != Some(code) {
        fault(format!("ended with {}, not {code}", out.status));
    }
    // What ours does otherwise it also says otherwise.
    let otherwise = who == "ours" && row.ours.is_some();
    for word in row.words.iter().filter(|_| !otherwise) {
        let pattern = Regex::new(word).expect("a pattern of this table");
        if !pattern.is_match(&text) {
            fault(format!("no /{word}/"));
        }
    }
    let saved = fs::read_to_string(rc).unwrap_or_default();
    for word in row.saved {
        let pattern = Regex::new(word).expect("a pattern of this table");
        if !saved.lines().filter(|line| !line.starts_with('#')).any(|line| pattern.is_match(line)) {
            fault(format!("no /{word}/ in the rc file:\n{saved}"));
        }
    }
}

#[test]
fn both_say_what_scripts_look_for_and_end_alike() {
    let stage = Stage::new();
    let original = original(&stage);
    let mut faults = Vec::new();
    for row in ROWS {
        let words = words(row.line);
        let theirs = (original.as_path(), "the original", row.code);
        let ours = stage.ours();
        let ours = (ours.as_path(), "ours", row.ours.map_or(row.code, |(code, _)| code));
        for (program, who, code) in [theirs, ours] {
            let home = stage.home(row.rc.unwrap_or(RC));
            let out = stage.call(program, &home, &words);
            check(who, row, &out, &home.join(".fwknoprc"), code, &mut faults);
        }
        if let Some((_, why)) = row.ours {
            assert!(!why.is_empty(), "a difference has its reason");
        }
    }
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), ROWS.len(), faults.join("\n----\n"));
}

#[test]
fn words_are_read_as_getopt_reads_them() {
    let stage = Stage::new();
    let original = original(&stage);
    for line in ABBREVIATED {
        for program in [original.as_path(), &stage.ours()] {
            let out = stage.call(program, &stage.home(RC), &words(line));
            let text = said(&out);
            assert!(out.status.success(), "{}: {line}: {text}", program.display());
            assert!(text.contains("Message String: 1.2.3.4,tcp/22"), "{}: {line}: {text}", program.display());
            assert!(text.contains("HMAC Type: 3 (SHA256)"), "{}: {line}: {text}", program.display());
        }
    }
}

/// The listing has the same lines in the same order; only what is drawn by lot or by the clock differs.
#[test]
fn the_listing_has_the_same_lines() {
    let stage = Stage::new();
    let original = original(&stage);
    let drawn = ["Random Value", "Timestamp", "Encoded Data", "SPA Data Digest", "HMAC", "Final SPA Data"];
    let lines = |program: &Path, line: &str| -> Vec<String> {
        let out = stage.call(program, &stage.home(RC), &words(line));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let same = |line: &str| match line.trim_start().split_once(": ") {
            Some((name, _)) if drawn.contains(&name) => format!("{name}: (drawn)"),
            Some(_) | None => line.to_owned(),
        };
        text.lines().map(same).collect()
    };
    for line in
        ["@", "@ -v", "@ -s -N 192.168.10.1:99 -f 60 -m sha512 -M ctr -U alice", "@ -C ls", "@ -P tcp -v"]
    {
        assert_eq!(lines(&stage.ours(), line), lines(&original, line), "fwknop {line}");
    }
}

#[test]
fn no_key_of_the_command_line_is_remembered() {
    let stage = Stage::new();
    let home = stage.home(RC);
    let secrets = "--key-rijndael sesame-a --key-hmac sesame-b -T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1";
    let out = stage.call(&stage.ours(), &home, &words(secrets));
    assert!(out.status.success(), "{}", said(&out));
    let run = home.join(".fwknop.run");
    let kept = fs::read_to_string(&run).expect("the line is remembered");
    assert!(kept.starts_with("fwknop --use-hmac -T -A tcp/22 -a 1.2.3.4 -D 127.0.0.1\n"), "{kept}");
    assert!(!kept.contains("sesame"), "{kept}");
    let mode = fs::metadata(&run).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // The keys come from elsewhere then, and the line is the same.
    let again = stage.call(&stage.ours(), &home, &words("-l"));
    assert!(said(&again).contains("keys stood on that line"), "{}", said(&again));
}

/// The original's server takes what our client makes, for each kind of wish.
#[test]
fn fwknopd_takes_our_packets() {
    let (stage, server) = (Stage::new(), Original::new());
    let access = "SOURCE ANY\nKEY testtest\nHMAC_KEY hmachmac\nENABLE_CMD_EXEC Y\nFW_ACCESS_TIMEOUT 30\n";
    for (line, wanted) in [
        ("@", ":1:"),
        ("@ -s -A tcp/22,udp/53", ":1:"),
        ("@ -f 60", ":3:"),
        ("@ -N 192.168.10.1:99", ":2:"),
        ("@ -N 192.168.10.1:99 -f 60 -m sha512", ":4:"),
        ("@ --nat-local --nat-port 40000", ":5:"),
        ("@ --nat-local -f 60 -m md5", ":6:"),
    ] {
        let home = stage.home(RC);
        let out = stage.call(&stage.ours(), &home, &words(&format!("{line} -B packet")));
        assert!(out.status.success(), "{line}: {}", said(&out));
        let packet = fs::read_to_string(home.join("packet")).expect("it was saved").trim_end().to_owned();
        let heard = server.hears(access, &[packet]).remove(0);
        assert_eq!(heard.granted_by, Some(1), "{line}: {}", heard.said);
        assert!(heard.encoded.as_ref().is_some_and(|text| text.contains(wanted)), "{line}: {heard:?}");
    }
    // An address of IPv6 is none to it, and it says so.
    let home = stage.home(RC);
    let out = stage.call(&stage.ours(), &home, &words("@ -a 2001:db8::7 -B packet"));
    assert!(out.status.success(), "{}", said(&out));
    let packet = fs::read_to_string(home.join("packet")).expect("it was saved").trim_end().to_owned();
    assert_eq!(server.hears(access, &[packet]).remove(0).granted_by, None);
}
