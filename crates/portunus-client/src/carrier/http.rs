//! A packet as the path of a web page, straight to the server or through a proxy.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A proxy: `host`, `host:port`, `[address]:port`, with or without `http://` before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address.
    pub host: String,
    /// Its port, when it was named; else it is the one that the server would have.
    pub port: Option<u16>,
}

/// A text that names no proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// There is no host in it.
    #[error("proxy host is missing: {0:?}: write a host, or host:port")]
    Host(String),
    /// The port is none.
    #[error("proxy port value is invalid: {0:?}: use 1 to 65535 behind the colon")]
    Port(String),
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None if rest.parse::<Ipv6Addr>().is_ok() => (rest, None),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty() {
            return Err(ProxyError::Host(text.to_owned()));
        }
        let number = |port: &str| port.parse().ok().filter(|&port: &u16| port != 0);
        let port =
            port.map(|port| number(port).ok_or_else(|| ProxyError::Port(text.to_owned()))).transpose()?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// What a request says beside the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The server's name or address.
    pub server: &'a str,
    /// Who asks.
    pub agent: &'a str,
    /// Through whom.
    pub proxy: Option<&'a Proxy>,
}

/// The request that carries `wire`.
#[must_use]
pub fn over_http(wire: &str, request: Request<'_>) -> String {
    let path: String = wire
        .chars()
        .map(|letter| match letter {
            '+' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    let server = bracketed(request.server);
    let (before, host) = match request.proxy {
        Some(proxy) => (format!("http://{server}"), bracketed(&proxy.host)),
        None => (String::new(), server),
    };
    format!(
        "GET {before}/{path} HTTP/1.0\r\nUser-Agent: {}\r\nAccept: */*\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        request.agent
    )
}

fn bracketed(host: &str) -> String {
    let six = matches!(host.parse(), Ok(IpAddr::V6(_)));
    if six { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_becomes_a_path() {
        let request = Request { server: "gate.example", agent: "Fwknop/2.6.11", proxy: None };
        let text = over_http("a+b/c", request);
        assert!(text.starts_with("GET /a-b_c HTTP/1.0\r\nUser-Agent: Fwknop/2.6.11\r\n"), "{text}");
        assert!(text.contains("\r\nHost: gate.example\r\n") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_proxy_is_asked_for_the_whole_address() {
        let proxy = "http://proxy.example:3128/".parse().unwrap();
        let text = over_http("ab", Request { server: "2001:db8::1", agent: "x", proxy: Some(&proxy) });
        assert!(text.starts_with("GET http://[2001:db8::1]/ab HTTP/1.0\r\n"), "{text}");
        assert!(text.contains("\r\nHost: proxy.example\r\n"));
    }

    #[test]
    fn a_proxy_may_be_written_in_many_ways() {
        let of = |text: &str| text.parse::<Proxy>().map(|proxy| (proxy.host, proxy.port));
        assert_eq!(of("p"), Ok(("p".into(), None)));
        assert_eq!(of("p:8080"), Ok(("p".into(), Some(8080))));
        assert_eq!(of("[::1]:81"), Ok(("::1".into(), Some(81))));
        assert_eq!(of("::1"), Ok(("::1".into(), None)));
        for wrong in ["p:99999", "p:0", "p:", "p:x"] {
            assert_eq!(of(wrong), Err(ProxyError::Port(wrong.into())));
        }
        assert_eq!(of("http://"), Err(ProxyError::Host("http://".into())));
    }
}
