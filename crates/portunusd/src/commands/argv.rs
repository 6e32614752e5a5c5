//! From a command's text to the words that are executed: no shell in between. Pure.

use std::fmt::Write as _;

use portunus_model::CycleFacts;

/// The most words of a command, the program with them.
const MOST_WORDS: usize = 30;

/// Why a text is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgvError {
    #[error("it has no words")]
    Empty,
    #[error("it has more than {MOST_WORDS} words")]
    Many,
    #[error("a quote is not closed")]
    Quote,
}

/// Splits at blanks. Quotes of either kind keep blanks together and are taken away; inside double ones `\"` and `\\` stand
/// for what follows the backslash.
pub(super) fn split(text: &str) -> Result<Vec<String>, ArgvError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') if letters.peek().is_some_and(|next| matches!(next, '"' | '\\')) => {
                word.get_or_insert_default().extend(letters.next());
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                // An empty pair of quotes is an empty word.
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match (quote, words.len()) {
        (Some(_), _) => Err(ArgvError::Quote),
        (None, 0) => Err(ArgvError::Empty),
        (None, 1..=MOST_WORDS) => Ok(words),
        (None, _) => Err(ArgvError::Many),
    }
}

/// Puts the facts in the places of the variables, the longest name that fits; of any other `$` only the `$` is left out.
/// The values are numbers and addresses, so no word becomes two by it.
pub(super) fn substitute(text: &str, facts: &CycleFacts) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut parts = text.split('$');
    out.extend(parts.next());
    for part in parts {
        let known = NAMES.into_iter().find_map(|(name, fact)| Some((part.strip_prefix(name)?, fact)));
        match known {
            Some((rest, fact)) => {
                put(&mut out, fact, facts);
                out.push_str(rest);
            }
            None => out.push_str(part),
        }
    }
    out
}

#[derive(Debug, Clone, Copy)]
enum Fact {
    Address,
    Source,
    Destination,
    Port,
    Proto,
    Ends,
    ClientTimeout,
}

/// No name here begins with an earlier one.
const NAMES: [(&str, Fact); 8] = [
    ("CLIENT_TIMEOUT", Fact::ClientTimeout),
    ("PKT_SRC", Fact::Source),
    ("TIMEOUT", Fact::Ends),
    ("PROTO", Fact::Proto),
    ("PORT", Fact::Port),
    ("SRC", Fact::Address),
    ("DST", Fact::Destination),
    ("IP", Fact::Address),
];

fn put(out: &mut String, fact: Fact, facts: &CycleFacts) {
    // Writing to a String cannot fail.
    let _ = match fact {
        Fact::Address => write!(out, "{}", facts.address),
        Fact::Source => write!(out, "{}", facts.source),
        Fact::Destination => match facts.destination {
            Some(address) => write!(out, "{address}"),
            // As the original says of a packet that came by its UDP server.
            None => write!(out, "0.0.0.0"),
        },
        Fact::Port => write!(out, "{}", facts.port),
        Fact::Proto => write!(out, "{}", facts.proto),
        Fact::Ends => write!(out, "{}", facts.ends.as_secs()),
        // Of a client that asks for no time the original tells the stanza's.
        Fact::ClientTimeout if facts.client_timeout == 0 => write!(out, "{}", facts.lasting.as_secs()),
        Fact::ClientTimeout => write!(out, "{}", facts.client_timeout),
    };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portunus_model::Unix;

    use super::*;

    fn facts() -> CycleFacts {
        CycleFacts {
            address: "10.77.0.2".parse().unwrap(),
            source: "10.77.0.3".parse().unwrap(),
            destination: Some("10.77.0.1".parse().unwrap()),
            proto: 6,
            port: 22,
            ends: Unix::from_secs(1_795_645_310),
            client_timeout: 2,
            lasting: Duration::from_secs(2),
        }
    }

    /// The text and what Debian's fwknopd made of it.
    #[test]
    fn variables_are_what_the_original_makes_of_them() {
        let text =
            "x $PORTX $IPX $PKT_SRCY $TIMEOUT1 $CLIENT_TIMEOUTZ $ip a$IP$PORT/$PROTO $SRC$ $1 $DST. ${IP}:$$";
        let theirs =
            "x 22X 10.77.0.2X 10.77.0.3Y 17956453101 2Z ip a10.77.0.222/6 10.77.0.2 1 10.77.0.1. {IP}:";
        assert_eq!(substitute(text, &facts()), theirs);
        let nowhere = CycleFacts { destination: None, ..facts() };
        assert_eq!(substitute("$DST", &nowhere), "0.0.0.0");
        let unasked = CycleFacts { client_timeout: 0, lasting: Duration::from_secs(7), ..facts() };
        assert_eq!(substitute("$CLIENT_TIMEOUT", &unasked), "7");
    }

    fn words(text: &str) -> Vec<String> {
        split(text).unwrap()
    }

    #[test]
    fn words_are_split_at_blanks_and_quotes_keep_them_together() {
        assert_eq!(words("/bin/echo  a\tb "), ["/bin/echo", "a", "b"]);
        assert_eq!(words(r#"sh -c 'a "b" c' x"d  e"y"#), ["sh", "-c", r#"a "b" c"#, "xd  ey"]);
        assert_eq!(words(r#"e "" '' "it's" "a\"b\\c\d" g\"#), ["e", "", "", "it's", r#"a"b\c\d"#, r"g\"]);
        assert_eq!(words("e $HOME `id` a;b >x"), ["e", "$HOME", "`id`", "a;b", ">x"]);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert_eq!(split(" "), Err(ArgvError::Empty));
        assert_eq!(split("echo 'a"), Err(ArgvError::Quote));
        let many = |count: usize| split(&"x ".repeat(count)).map(|words| words.len());
        assert_eq!((many(MOST_WORDS), many(MOST_WORDS + 1)), (Ok(MOST_WORDS), Err(ArgvError::Many)));
    }
}
