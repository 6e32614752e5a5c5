//! What gpg reports on its `--status-fd` (GnuPG's doc/DETAILS), as far as it counts for a knock.

use super::keys::is_fingerprint;

/// Before each line.
const START: &str = "[GNUPG:] ";

/// How sure gpg is that a key is whose it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Validity {
    /// It does not say, or does not know.
    #[default]
    Unknown,
    /// Somebody says that it is not.
    Never,
    /// Somebody who is trusted a little vouches for it.
    Marginal,
    /// Somebody who is trusted vouches for it.
    Full,
    /// It is the user's own.
    Ultimate,
}

/// What is wrong with a signature, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// It is good, and so is the key.
    Good,
    /// It is good, and its own time is past.
    Expired,
    /// It is good, and the key's time is past.
    KeyExpired,
    /// It is good, and the key was revoked.
    KeyRevoked,
    /// It does not fit the text.
    Bad,
    /// Nobody can tell: the key is not in the keyring, or cannot be used.
    NotKnown,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// What is wrong with it.
    pub quality: Option<Quality>,
    /// The fingerprint of the key that made it, and of its owner's first key; of a verified one only.
    pub fingerprints: Option<[String; 2]>,
    /// How sure it is whose key that is.
    pub validity: Validity,
    /// Whether either was told: a line that says it again is not believed, whatever the first one said.
    told: [bool; 2],
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// What was encrypted was decrypted as a whole, and its integrity is proven: nothing stands beside it.
    pub decrypted: bool,
    /// The fingerprints of the key that did it, and of its owner's first key.
    pub by: Option<[String; 2]>,
    /// The signatures within, in order.
    pub signatures: Vec<Signature>,
    /// No secret key of the keyring's is among the recipients.
    pub no_secret_key: bool,
    /// The secret key has a passphrase, which was not there or is wrong.
    pub no_passphrase: bool,
    /// It breaks off, or is no message.
    pub broken: bool,
}

/// Where in the report we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Before,
    Begun,
    Text,
    Okay,
    Ended,
    /// Something came twice, or at a wrong place.
    Wrong,
}

impl Status {
    /// Reads it. What it does not know it passes over, as GnuPG asks for; what must come once and in order and does not
    /// leaves [`Status::decrypted`] false.
    #[must_use]
    pub fn read(report: &[u8]) -> Self {
        let mut status = Self::default();
        let (mut stage, mut whole, mut told) = (Stage::Before, false, false);
        for line in report.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let Some(line) = line.strip_prefix(START) else { continue };
            let mut words = line.split(' ');
            let keyword = words.next().unwrap_or_default();
            match keyword {
                "BEGIN_DECRYPTION" => stage = next(stage, Stage::Before, Stage::Begun),
                "PLAINTEXT" => stage = next(stage, Stage::Begun, Stage::Text),
                "DECRYPTION_OKAY" => stage = next(stage, Stage::Text, Stage::Okay),
                "END_DECRYPTION" => stage = next(stage, Stage::Okay, Stage::Ended),
                "DECRYPTION_FAILED" => stage = Stage::Wrong,
                "GOODMDC" => told = true,
                // What protects it: a digest, and since GnuPG 2.3 the cipher itself.
                "DECRYPTION_INFO" => {
                    let mut numbers = words.map(|word| word.parse().unwrap_or(0_u32));
                    let (mdc, _, aead) = (numbers.next(), numbers.next(), numbers.next());
                    whole = [mdc, aead].into_iter().flatten().any(|number| number > 0);
                }
                "DECRYPTION_KEY" => status.by = two(&mut words),
                "NO_SECKEY" => status.no_secret_key = true,
                "MISSING_PASSPHRASE" | "BAD_PASSPHRASE" => status.no_passphrase = true,
                "ERROR" | "FAILURE" => status.note_error(words),
                "NODATA" | "UNEXPECTED" | "BADMDC" | "BADARMOR" => status.broken = true,
                _ => {
                    if status.note_signature(keyword, words) && stage != Stage::Text {
                        stage = Stage::Wrong;
                    }
                }
            }
        }
        // A key that is there and does not do it has an error of its own.
        let begun = stage > Stage::Before && !status.no_passphrase;
        status.no_secret_key |= begun && status.by.is_none() && !whole;
        status.decrypted = stage == Stage::Ended && whole && told && !status.broken;
        status
    }

    /// gpg's own errors are numbers; those are libgpg-error's, whose lower 16 bits say what it is.
    fn note_error<'w>(&mut self, words: impl Iterator<Item = &'w str>) {
        const BAD_PASSPHRASE: u32 = 11;
        const NO_SECRET_KEY: u32 = 17;
        const NO_PINENTRY: u32 = 85;
        const CANCELED: u32 = 99;
        const NO_PASSPHRASE: u32 = 177;
        const FULLY_CANCELED: u32 = 198;
        for code in words.filter_map(|word| word.parse::<u32>().ok()) {
            match code & 0xffff {
                NO_SECRET_KEY => self.no_secret_key = true,
                BAD_PASSPHRASE | NO_PINENTRY | CANCELED | NO_PASSPHRASE | FULLY_CANCELED => {
                    self.no_passphrase = true;
                }
                _ => {}
            }
        }
    }

    /// Whether it was a line about a signature.
    fn note_signature<'w>(&mut self, keyword: &str, mut words: impl Iterator<Item = &'w str>) -> bool {
        if keyword == "NEWSIG" {
            self.signatures.push(Signature::default());
            return true;
        }
        let quality = match keyword {
            "GOODSIG" => Some(Quality::Good),
            "EXPSIG" => Some(Quality::Expired),
            "EXPKEYSIG" => Some(Quality::KeyExpired),
            "REVKEYSIG" => Some(Quality::KeyRevoked),
            "BADSIG" => Some(Quality::Bad),
            "ERRSIG" => Some(Quality::NotKnown),
            _ => None,
        };
        let validity = match keyword {
            "TRUST_UNDEFINED" => Some(Validity::Unknown),
            "TRUST_NEVER" => Some(Validity::Never),
            "TRUST_MARGINAL" => Some(Validity::Marginal),
            "TRUST_FULLY" => Some(Validity::Full),
            "TRUST_ULTIMATE" => Some(Validity::Ultimate),
            _ => None,
        };
        if quality.is_none() && validity.is_none() && keyword != "VALIDSIG" {
            return false;
        }
        // Whoever says it about no signature, or twice about one, is not believed.
        let Some(last) = self.signatures.last_mut() else {
            self.broken = true;
            return true;
        };
        if let Some(quality) = quality {
            self.broken |= last.quality.replace(quality).is_some();
        } else if let Some(validity) = validity {
            self.broken |= std::mem::replace(&mut last.told[0], true);
            last.validity = validity;
        } else {
            let all: Vec<&str> = words.by_ref().collect();
            self.broken |= std::mem::replace(&mut last.told[1], true);
            let (key, owner) = (all.first().copied(), all.get(9).or(all.first()).copied());
            let both = key.zip(owner).filter(|(key, owner)| is_fingerprint(key) && is_fingerprint(owner));
            last.fingerprints = both.map(|(key, owner)| [key.to_owned(), owner.to_owned()]);
        }
        true
    }
}

fn next(now: Stage, from: Stage, to: Stage) -> Stage {
    if now == from { to } else { Stage::Wrong }
}

fn two<'w>(words: &mut impl Iterator<Item = &'w str>) -> Option<[String; 2]> {
    let key = words.next()?;
    Some([key.to_owned(), words.next().unwrap_or(key).to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "1F3133294BA3F0304255353F14729E41FC66E495";

    /// What GnuPG 2.2.40 reports of a good packet.
    fn good() -> Vec<String> {
        let lines = format!(
            "ENC_TO 3C61241E370432AC 1 0\nKEY_CONSIDERED E4C135D4037652BA401F5298DC545B2A7EA5FC9B 0\n\
             DECRYPTION_KEY EA9F0262B2B56FCC675E31983C61241E370432AC E4C135D4037652BA401F5298DC545B2A7EA5FC9B u\n\
             BEGIN_DECRYPTION\nDECRYPTION_INFO 2 9 0\nPLAINTEXT 62 1795667098 \nPLAINTEXT_LENGTH 67\nNEWSIG\n\
             KEY_CONSIDERED {KEY} 0\nSIG_ID 03KqgGLskUUL5cgT5PkCKRponv8 2026-11-26 1795667098\n\
             GOODSIG 14729E41FC66E495 client <c@x>\n\
             VALIDSIG {KEY} 2026-11-26 1795667098 0 4 0 1 10 00 {KEY}\nTRUST_FULLY 0 pgp\n\
             DECRYPTION_OKAY\nGOODMDC\nEND_DECRYPTION"
        );
        lines.lines().map(str::to_owned).collect()
    }

    fn read(lines: &[String]) -> Status {
        Status::read(lines.iter().map(|line| format!("{START}{line}\n")).collect::<String>().as_bytes())
    }

    #[test]
    fn a_good_report_says_who_opened_and_who_signed_it() {
        let status = read(&good());
        assert!(status.decrypted && !status.no_secret_key && !status.no_passphrase);
        assert_eq!(status.by.unwrap()[0], "EA9F0262B2B56FCC675E31983C61241E370432AC");
        let [signature] = status.signatures.as_slice() else { panic!("there is one") };
        assert_eq!((signature.quality, signature.validity), (Some(Quality::Good), Validity::Full));
        assert_eq!(signature.fingerprints, Some([KEY.to_owned(), KEY.to_owned()]));
    }

    #[test]
    fn each_line_that_says_that_it_is_whole_is_needed_once_and_in_its_place() {
        for needed in [
            "BEGIN_DECRYPTION",
            "DECRYPTION_INFO",
            "PLAINTEXT ",
            "DECRYPTION_OKAY",
            "GOODMDC",
            "END_DECRYPTION",
        ] {
            let at = good().iter().position(|line| line.starts_with(needed)).unwrap();
            let mut without = good();
            let line = without.remove(at);
            assert!(!read(&without).decrypted, "without {needed}");
            if !matches!(needed, "DECRYPTION_INFO" | "GOODMDC") {
                let place = if needed == "END_DECRYPTION" { 0 } else { without.len() };
                without.insert(place, line);
                assert!(!read(&without).decrypted, "{needed} elsewhere");
                let mut twice = good();
                twice.insert(at, twice[at].clone());
                assert!(!read(&twice).decrypted, "{needed} twice");
            }
        }
    }

    #[test]
    fn a_signature_outside_of_what_was_encrypted_counts_for_nothing() {
        let mut lines = good();
        let signature: Vec<_> = lines.drain(7..13).collect();
        assert!(read(&lines).decrypted, "without a signature it is whole");
        for at in [0, 3, 4, lines.len()] {
            let mut moved = lines.clone();
            moved.splice(at..at, signature.iter().cloned());
            assert!(!read(&moved).decrypted, "at {at}");
        }
    }

    #[test]
    fn a_line_that_counts_twice_or_stands_for_no_signature_is_not_believed() {
        for extra in [
            "GOODSIG 14729E41FC66E495 x",
            &format!("VALIDSIG {KEY} a b c d e f g h {KEY}"),
            "VALIDSIG no fingerprint",
            "TRUST_ULTIMATE 0 pgp",
        ] {
            let mut lines = good();
            lines.insert(13, extra.to_owned());
            assert!(!read(&lines).decrypted, "{extra}");
            lines.swap(11, 13);
            assert!(!read(&lines).decrypted, "{extra} first");
            lines = good();
            lines.insert(7, extra.to_owned());
            assert!(!read(&lines).decrypted, "{extra} before");
        }
    }

    #[test]
    fn what_was_not_decrypted_says_why() {
        let failed = ["BEGIN_DECRYPTION", "DECRYPTION_FAILED", "END_DECRYPTION"];
        let with =
            |line: Option<&str>| read(&line.into_iter().chain(failed).map(str::to_owned).collect::<Vec<_>>());
        let none = with(None);
        assert!(none.no_secret_key && !none.no_passphrase && !none.decrypted);
        for code in [67_108_875, 67_108_949] {
            let status = with(Some(&format!("ERROR pkdecrypt_failed {code}")));
            assert!(status.no_passphrase && !status.no_secret_key && !status.decrypted, "{code}");
        }
        assert!(!read(&[]).decrypted && !Status::read(&[0xff; 100]).decrypted);
    }
}
