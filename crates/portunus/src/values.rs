//! What flags take: each reader says in one sentence what is wrong with a value and how to write it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use portunus_client::Whom;
use portunus_model::{ClientName, Family, Seat, Unix};

/// Where our rules are wished to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlaceWish {
    /// A table of our own.
    Own,
    /// iptables.
    Iptables,
    /// One of the admin's chains.
    Attach(Seat),
}

impl PlaceWish {
    /// The word as it was typed.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Own => "own".to_owned(),
            Self::Iptables => "iptables".to_owned(),
            Self::Attach(Seat { family, table, chain }) => {
                format!("attach:{}/{table}/{chain}", family.as_str())
            }
        }
    }
}

/// How long drops are on trial.
pub(crate) fn trial(text: &str) -> Result<Duration, String> {
    let fits = |lasting: &Duration| (Duration::from_secs(2)..=Duration::from_secs(3600)).contains(lasting);
    span(text).ok().filter(fits).ok_or_else(|| "use a time from 2s to 1h, as in 5m".to_owned())
}

/// A port: 1 to 65535.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|&port| digits && port != 0);
    number.ok_or_else(|| "use a number from 1 to 65535".to_owned())
}

/// A host: a name or an address, with or without the brackets of a URL.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    if bare.is_empty() || bare.len() > 253 {
        return Err("a host has 1 to 253 characters".to_owned());
    }
    if let Some((_, port)) = bare.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        return Err("leave the port out: it has a place of its own".to_owned());
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | '%' | ':');
    match bare.chars().find(|&c| !fits(c)) {
        Some(c) => Err(format!("{c:?} does not belong in a host's name or address")),
        None if bare.starts_with('-') || bare.starts_with('.') => {
            Err("a host's name begins with a letter or a digit".to_owned())
        }
        None => Ok(bare.to_owned()),
    }
}

/// An interface's name, as Linux takes it.
pub(crate) fn interface(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if text.is_empty() || text.len() > 15 || matches!(text, "." | "..") || !text.chars().all(fits) {
        return Err("an interface's name has 1 to 15 characters, as `ip link` prints it".to_owned());
    }
    Ok(text.to_owned())
}

/// A client's name.
pub(crate) fn client(text: &str) -> Result<ClientName, String> {
    ClientName::new(text).map_err(|error| error.to_string())
}

/// A profile's name: it becomes a file's name as a client's does.
pub(crate) fn profile(text: &str) -> Result<String, String> {
    let name = ClientName::new(text).map_err(|error| error.to_string().replace("client's", "profile's"))?;
    // It stands behind --profile in ssh's configuration, and there it must not look like a flag.
    if text.starts_with('-') {
        return Err("a profile's name does not begin with '-'".to_owned());
    }
    Ok(name.to_string())
}

/// For whom a door is to open.
pub(crate) fn whom(text: &str) -> Result<Whom, String> {
    text.parse().map_err(|error: portunus_client::WhomError| error.to_string())
}

/// A span in Go's syntax, longer than nothing: `30s`, `1m30s`, `2h`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let mend = || "use a number and a unit, such as 30s, 1m30s or 2h".to_owned();
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(mend)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let number: u64 = number.parse().map_err(|_| mend())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(mend()),
        };
        let part = number.checked_mul(millis).map(Duration::from_millis).ok_or_else(mend)?;
        total = total.checked_add(part).ok_or_else(mend)?;
        rest = tail;
    }
    if total.is_zero() { Err(mend()) } else { Ok(total) }
}

/// A date, with a time and a zone, or a day (its first moment in UTC).
pub(crate) fn date(text: &str) -> Result<Unix, String> {
    let day = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let whole = if day { format!("{text}T00:00:00Z") } else { text.to_owned() };
    portunus_config::parse_date(&whole).map_err(|_| {
        "write a day such as 2027-01-31, or a time with its zone such as 2027-01-31T12:00:00Z".to_owned()
    })
}

/// A picture's file.
pub(crate) fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let known = path
        .extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| e.eq_ignore_ascii_case("png") || e.eq_ignore_ascii_case("svg"));
    if known { Ok(path) } else { Err("use a name that ends in .png or .svg".to_owned()) }
}

/// A place in the ruleset.
pub(crate) fn place(text: &str) -> Result<PlaceWish, String> {
    match text {
        "own" => return Ok(PlaceWish::Own),
        "iptables" => return Ok(PlaceWish::Iptables),
        _ => (),
    }
    let mend = "use own, iptables or attach:FAMILY/TABLE/CHAIN, such as attach:inet/filter/input";
    let seat = text.strip_prefix("attach:").ok_or(mend)?;
    let mut parts = seat.split('/');
    let (Some(family), Some(table), Some(chain), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(mend.to_owned());
    };
    let family = [Family::Inet, Family::Ip, Family::Ip6].into_iter().find(|known| known.as_str() == family);
    let family = family.ok_or("a chain of the family inet, ip or ip6 is needed")?;
    if table.is_empty() || chain.is_empty() {
        return Err(mend.to_owned());
    }
    Ok(PlaceWish::Attach(Seat { family, table: table.to_owned(), chain: chain.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_go_s() {
        assert_eq!(span("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(span("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "30", "s", "0s", "-1s", "1 s", "5x", "99999999999999999999h"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_trial_has_its_bounds_and_one_sentence_for_all_else() {
        assert_eq!(trial("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(trial("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["0s", "1s", "999999d", "-5s", "2h", "5", "soon", ""] {
            assert_eq!(trial(bad), Err("use a time from 2s to 1h, as in 5m".to_owned()), "{bad}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_without_a_port() {
        assert_eq!(host("[2001:db8::1]"), Ok("2001:db8::1".into()));
        assert_eq!(host("home.example.org"), Ok("home.example.org".into()));
        for bad in ["", "home:22", "a b", "-x", "a/b", "\n"] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn places_are_read() {
        assert_eq!(place("own"), Ok(PlaceWish::Own));
        let seat = Seat { family: Family::Inet, table: "filter".into(), chain: "input".into() };
        assert_eq!(place("attach:inet/filter/input"), Ok(PlaceWish::Attach(seat)));
        for bad in
            ["", "attach:", "attach:inet/filter", "attach:bridge/a/b", "attach:inet//x", "attach:a/b/c/d"]
        {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_and_interfaces_have_their_bounds() {
        assert_eq!(port("54154"), Ok(54154));
        assert!(port("0").is_err() && port("70000").is_err() && port("+1").is_err());
        assert!(
            interface("eth0").is_ok() && interface("a/b").is_err() && interface("sixteen-letters-x").is_err()
        );
    }
}
