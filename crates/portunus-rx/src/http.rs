//! A knock in the request line of HTTP: `GET /PACKET HTTP/1.1`, as fwknop's `-P http` sends it, directly or by a proxy.
//!
//! Pure, and bounded: one request head, read by httparse. Called by the TCP and the sniffing receivers, and by a fuzz
//! target. Nothing is ever answered.

use std::net::{IpAddr, SocketAddr};

use portunus_model::{LONGEST, Net};
use serde::{Deserialize, Serialize};

/// What a request has to be to carry a knock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HttpRules {
    /// Whether any program's request will do, not only those that say `User-Agent: Fwknop`.
    pub any_agent: bool,
    /// The proxies whose X-Forwarded-For is believed; nobody else's is read.
    pub proxies: Vec<Net>,
}

/// A knock out of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpKnock {
    /// The packet, its letters as they were before they were made fit for a URL.
    pub bytes: Vec<u8>,
    /// The client that trusted proxies name.
    pub claimed: Option<IpAddr>,
}

/// Why there is no knock in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHttp {
    /// They do not begin as a GET request does.
    #[error("it does not begin as a GET request does")]
    Other,
    /// The end of the head is not there yet.
    #[error("the head of the request is not complete")]
    Incomplete,
    /// No HTTP, or more headers than anybody has.
    #[error("it is no HTTP request")]
    Malformed,
    /// No packet behind the slash.
    #[error("its path is not a packet's text")]
    Path,
    /// Another program's request.
    #[error("its User-Agent is not Fwknop")]
    Agent,
    /// A trusted proxy names its client in a way that is no address.
    #[error("its X-Forwarded-For names no address")]
    Forwarded,
}

/// The most headers of a request.
const MOST_HEADERS: usize = 64;

impl HttpRules {
    /// Whether these bytes begin as a request that may carry a knock (or are the beginning of that beginning).
    #[must_use]
    pub fn may_begin(bytes: &[u8]) -> bool {
        const GET: &[u8] = b"GET ";
        let both = bytes.len().min(GET.len());
        bytes.get(..both) == GET.get(..both)
    }

    /// The knock in the head of a request that came from `peer`.
    ///
    /// # Errors
    /// [`NotHttp`] says why there is none.
    pub fn knock(&self, head: &[u8], peer: IpAddr) -> Result<HttpKnock, NotHttp> {
        if !Self::may_begin(head) {
            return Err(NotHttp::Other);
        }
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Complete(_)) => (),
            Ok(httparse::Status::Partial) => return Err(NotHttp::Incomplete),
            Err(_) => return Err(NotHttp::Malformed),
        }
        let bytes = packet(request.path.unwrap_or_default()).ok_or(NotHttp::Path)?;
        let ours = |value: &[u8]| value.starts_with(b"Fwknop");
        if !self.any_agent && !values(request.headers, "user-agent").any(ours) {
            return Err(NotHttp::Agent);
        }
        let claimed = self.claimed(request.headers, peer)?;
        Ok(HttpKnock { bytes, claimed })
    }

    /// The same for one TCP segment that was seen on a link, where the rest of the head may be in the next: what the lines
    /// that are complete say is enough, but not to say on whose behalf a proxy asks.
    ///
    /// # Errors
    /// [`NotHttp`] says why there is none.
    pub fn knock_in_segment(&self, segment: &[u8], peer: IpAddr) -> Result<HttpKnock, NotHttp> {
        let whole = self.knock(segment, peer);
        if whole != Err(NotHttp::Incomplete) || self.trusts(peer) {
            return whole;
        }
        let end = segment.windows(2).rposition(|pair| pair == b"\r\n").ok_or(NotHttp::Incomplete)?;
        let lines = segment.get(..end).unwrap_or_default();
        self.knock(&[lines, b"\r\n\r\n"].concat(), peer)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(address))
    }

    /// Each proxy adds whom it was asked by at the end of the list. So the list is read from there, as long as trusted
    /// proxies wrote it; what stands before is whatever the client wrote.
    fn claimed(&self, headers: &[httparse::Header<'_>], peer: IpAddr) -> Result<Option<IpAddr>, NotHttp> {
        if !self.trusts(peer) {
            return Ok(None);
        }
        let lists: Vec<&[u8]> = values(headers, "x-forwarded-for").collect();
        let entries = lists.iter().rev().flat_map(|list| list.rsplit(|byte| *byte == b','));
        let mut claimed = None;
        for entry in entries {
            let address = address(entry).ok_or(NotHttp::Forwarded)?;
            claimed = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        Ok(claimed)
    }
}

fn values<'a>(headers: &'a [httparse::Header<'_>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// `ADDRESS`, `[ADDRESS]`, either with a port behind.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

/// `/PACKET`, or `http://HOST/PACKET` as it is said to a proxy. The letters `-` and `_` stand for `+` and `/`.
fn packet(path: &str) -> Option<Vec<u8>> {
    let absolute = path.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http://"));
    let text = match absolute {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => path.strip_prefix('/')?,
    };
    let letter = |byte: u8| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        byte if byte.is_ascii_alphanumeric() => Some(byte),
        _ => None,
    };
    let fits = (1..=LONGEST).contains(&text.len());
    fits.then(|| text.bytes().map(letter).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "198.51.100.9";

    fn rules(any_agent: bool, proxies: &[&str]) -> HttpRules {
        HttpRules { any_agent, proxies: proxies.iter().map(|net| Net::parse(net).unwrap()).collect() }
    }

    fn knock(rules: &HttpRules, head: &str) -> Result<(String, Option<String>), NotHttp> {
        let knock = rules.knock(head.as_bytes(), PEER.parse().unwrap())?;
        Ok((String::from_utf8(knock.bytes).unwrap(), knock.claimed.map(|a| a.to_string())))
    }

    #[test]
    fn direct_and_as_said_to_a_proxy() {
        let rules = rules(false, &[]);
        for head in [
            "GET /ab-_9 HTTP/1.0\r\nUser-Agent: Fwknop/2.6.10\r\nAccept: */*\r\nHost: x\r\n\r\n",
            "GET /ab-_9 HTTP/1.1\r\nHost: x\r\nuser-agent:Fwknop\r\n\r\n",
            "GET http://gate.example:62201/ab-_9 HTTP/1.1\r\nUser-Agent: Fwknop/2.6.10\r\n\r\n",
            "GET HTTP://[2001:db8::1]/ab-_9 HTTP/1.1\r\nUser-Agent: Fwknop/2.6.10\r\n\r\nbody",
        ] {
            assert_eq!(knock(&rules, head), Ok(("ab+/9".to_owned(), None)), "{head}");
        }
    }

    #[test]
    fn everything_else_is_named() {
        let strict = rules(false, &[]);
        let agent = "User-Agent: Fwknop/1\r\n\r\n";
        for (head, why) in [
            ("", NotHttp::Incomplete),
            ("GE", NotHttp::Incomplete),
            ("POST /ab HTTP/1.1\r\n\r\n", NotHttp::Other),
            ("GET /ab HTTP/1.1\r\nUser-Agent: Fwk", NotHttp::Incomplete),
            ("GET /ab HTTP/1.1\r\nUser-Agent: curl\r\n\r\n", NotHttp::Agent),
            ("GET /ab HTTP/1.1\r\n\r\n", NotHttp::Agent),
            ("GET /ab HTTP/7\r\n\r\n", NotHttp::Malformed),
            ("GET  /ab HTTP/1.1\r\n\r\n", NotHttp::Malformed),
        ] {
            assert_eq!(knock(&strict, head), Err(why), "{head}");
        }
        for path in ["/", "ab", "*", "/a+b", "/a/b", "/ab?x", "/a%2Bb", "/ab=", "http://gate", "ftp://x/ab"] {
            let head = format!("GET {path} HTTP/1.1\r\n{agent}");
            assert_eq!(knock(&strict, &head), Err(NotHttp::Path), "{path}");
        }
        let long = |letters| format!("GET /{} HTTP/1.1\r\n{agent}", "a".repeat(letters));
        assert!(knock(&strict, &long(LONGEST)).is_ok());
        assert_eq!(knock(&strict, &long(LONGEST + 1)), Err(NotHttp::Path));
        let many = format!("GET /ab HTTP/1.1\r\n{}{agent}", "a: b\r\n".repeat(64));
        assert_eq!(knock(&strict, &many), Err(NotHttp::Malformed));
        assert!(knock(&rules(true, &[]), "GET /ab HTTP/1.1\r\n\r\n").is_ok());
    }

    #[test]
    fn a_proxy_is_believed_only_where_it_is_trusted_and_only_what_it_wrote_itself() {
        let claimed = |rules: &HttpRules, forwarded: &str| {
            let lines: String = forwarded.split('|').map(|v| format!("X-Forwarded-For: {v}\r\n")).collect();
            knock(rules, &format!("GET /ab HTTP/1.1\r\n{lines}\r\n")).map(|(_, claimed)| claimed)
        };
        let trusting = rules(true, &["198.51.100.0/24", "2001:db8:f::/48"]);
        let said = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(claimed(&rules(true, &[]), "192.0.2.1"), Ok(None));
        assert_eq!(claimed(&rules(true, &["203.0.113.0/24"]), "192.0.2.1"), Ok(None));
        for (forwarded, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("10.6.6.6, 192.0.2.1", "192.0.2.1"),
            ("10.6.6.6|192.0.2.1", "192.0.2.1"),
            ("not an address, 192.0.2.1, 198.51.100.77", "192.0.2.1"),
            ("192.0.2.1|2001:db8:f::7", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:5000", "2001:db8::1"),
            ("192.0.2.1:5000", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("198.51.100.3, 198.51.100.4", "198.51.100.3"),
        ] {
            assert_eq!(claimed(&trusting, forwarded), said(address), "{forwarded}");
        }
        for nonsense in ["", "unknown", "192.0.2.1,", "192.0.2.1, _hidden"] {
            assert_eq!(claimed(&trusting, nonsense), Err(NotHttp::Forwarded), "{nonsense}");
        }
        // A trusted proxy that names nobody asks for itself.
        assert_eq!(knock(&trusting, "GET /ab HTTP/1.1\r\n\r\n"), Ok(("ab".to_owned(), None)));
    }

    #[test]
    fn a_segment_may_be_cut_behind_what_counts_but_not_from_a_proxy() {
        let peer = PEER.parse().unwrap();
        let head = "GET /ab HTTP/1.1\r\nUser-Agent: Fwknop/2\r\nX-Forwarded-For: 192.0.2.15\r\n\r\n";
        let strict = rules(false, &[]);
        let enough = head.find("X-").unwrap();
        for end in 0..head.len() {
            let read = strict.knock_in_segment(&head.as_bytes()[..end], peer);
            assert_eq!(read.is_ok(), end >= enough, "{end}");
        }
        let trusting = rules(false, &["198.51.100.0/24"]);
        for end in 0..head.len() {
            assert!(trusting.knock_in_segment(&head.as_bytes()[..end], peer).is_err(), "{end}");
        }
        assert!(trusting.knock_in_segment(head.as_bytes(), peer).is_ok());
    }
}
