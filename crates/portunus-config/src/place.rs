//! The place in the firewall as files and `--place` write it: `own`, `iptables`, `attach:FAMILY/TABLE/CHAIN`.

use portunus_model::{Family, Place, Seat};

use crate::ValueError;

const FORM: &str = "use own, iptables or attach:FAMILY/TABLE/CHAIN, as in attach:inet/filter/input";

/// Reads a place. Several words are several seats; `own` and `iptables` stand alone.
///
/// # Errors
/// [`ValueError`] says what is wrong and the mend.
pub fn parse_place<S: AsRef<str>>(words: &[S]) -> Result<Place, ValueError> {
    match words {
        [] => return Err(ValueError::new("no place is named", FORM)),
        [only] if only.as_ref() == "own" => return Ok(Place::Own),
        [only] if only.as_ref() == "iptables" => return Ok(Place::Iptables),
        _ => {}
    }
    let mut seats = Vec::with_capacity(words.len());
    for word in words {
        let seat = parse_seat(word.as_ref())?;
        if seats.contains(&seat) {
            return Err(ValueError::new(format!("{:?} stands twice", word.as_ref()), "keep one of them"));
        }
        seats.push(seat);
    }
    Ok(Place::Attach(seats))
}

fn parse_seat(word: &str) -> Result<Seat, ValueError> {
    if word == "own" || word == "iptables" {
        return Err(ValueError::new(
            format!("{word:?} stands beside another place"),
            "keep it alone, or take it out",
        ));
    }
    let unknown = || ValueError::new(format!("{word:?} is not a place"), FORM);
    let path = word.strip_prefix("attach:").ok_or_else(unknown)?;
    let [family, table, chain] = path.split('/').collect::<Vec<_>>().try_into().map_err(|_| unknown())?;
    if [table, chain]
        .iter()
        .any(|name| name.is_empty() || name.len() > 255 || name.contains(char::is_whitespace))
    {
        return Err(unknown());
    }
    let family = match family {
        "inet" => Family::Inet,
        "ip" => Family::Ip,
        "ip6" => Family::Ip6,
        other => {
            return Err(ValueError::new(
                format!("{other:?} is not a family to attach in"),
                "use inet, ip or ip6",
            ));
        }
    };
    Ok(Seat { family, table: table.to_owned(), chain: chain.to_owned() })
}

/// The words that [`parse_place`] reads.
#[must_use]
pub fn render_place(place: &Place) -> Vec<String> {
    match place {
        Place::Own => vec!["own".to_owned()],
        Place::Iptables => vec!["iptables".to_owned()],
        // Only fwknopd.conf asks for it; no file of ours has a word for it.
        Place::Fwknop(_) => vec!["fwknop".to_owned()],
        Place::Attach(seats) => seats
            .iter()
            .map(|seat| format!("attach:{}/{}/{}", seat.family.as_str(), seat.table, seat.chain))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for words in [vec!["own"], vec!["iptables"], vec!["attach:inet/filter/input", "attach:ip6/f/in"]] {
            assert_eq!(render_place(&parse_place(&words).unwrap()), words);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let said = |words: &[&str]| parse_place(words).unwrap_err().to_string();
        assert_eq!(said(&["mine"]), format!("\"mine\" is not a place: {FORM}"));
        assert_eq!(said(&["attach:inet/filter"]), format!("\"attach:inet/filter\" is not a place: {FORM}"));
        assert_eq!(said(&["attach:arp/a/b"]), "\"arp\" is not a family to attach in: use inet, ip or ip6");
        assert_eq!(
            said(&["own", "iptables"]),
            "\"own\" stands beside another place: keep it alone, or take it out"
        );
        assert_eq!(
            said(&["attach:ip/a/b", "attach:ip/a/b"]),
            "\"attach:ip/a/b\" stands twice: keep one of them"
        );
    }
}
