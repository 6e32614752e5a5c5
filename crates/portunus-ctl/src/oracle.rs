//! What the front and the process that runs gpg say to each other: a message and the keyring to open it with, and what came
//! of that.

/// The longest question, in bytes.
pub const LONGEST_QUESTION: usize = 4096;
/// The longest answer, in bytes.
pub const LONGEST_ANSWER: usize = 16 << 10;
/// The longest text that is passed on: no knock has more.
pub const LONGEST_TEXT: usize = 2048;
/// The longest report that is passed on.
pub const LONGEST_REPORT: usize = 12 << 10;

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'m> {
    /// By which its answer is known.
    pub number: u64,
    /// With which keyring.
    pub ring: [u8; 32],
    /// The OpenPGP message.
    pub message: &'m [u8],
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'m> {
    /// gpg ran to its end.
    Spoken {
        /// What came out.
        text: &'m [u8],
        /// What it reported.
        report: &'m [u8],
    },
    /// It could not be run.
    NotRun,
    /// It took too long.
    TooSlow,
    /// It said more than any knock has.
    TooMuch,
    /// It was ended by a signal.
    Killed,
    /// Too many are asked about already.
    Busy,
}

/// Why a message is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message between the front and who runs gpg is none")]
pub struct OracleError;

/// A question as a message; `None` where it is too long.
#[must_use]
pub fn write(question: &Question<'_>) -> Option<Vec<u8>> {
    let Question { number, ring, message } = question;
    let out = [number.to_le_bytes().as_slice(), ring, message].concat();
    (out.len() <= LONGEST_QUESTION).then_some(out)
}

/// Reads a question.
///
/// # Errors
/// It is none.
pub fn read(message: &[u8]) -> Result<Question<'_>, OracleError> {
    if message.len() > LONGEST_QUESTION {
        return Err(OracleError);
    }
    let (number, rest) = message.split_first_chunk().ok_or(OracleError)?;
    let (ring, message) = rest.split_first_chunk().ok_or(OracleError)?;
    Ok(Question { number: u64::from_le_bytes(*number), ring: *ring, message })
}

/// An answer as a message; what is too long to be a knock's is [`Answer::TooMuch`].
#[must_use]
pub fn write_answer(number: u64, answer: &Answer<'_>) -> Vec<u8> {
    let mut out = number.to_le_bytes().to_vec();
    match answer {
        Answer::Spoken { text, report } => match u16::try_from(text.len()) {
            Ok(length) if text.len() <= LONGEST_TEXT && report.len() <= LONGEST_REPORT => {
                out.push(0);
                out.extend(length.to_le_bytes());
                out.extend_from_slice(text);
                out.extend_from_slice(report);
            }
            Ok(_) | Err(_) => out.push(4),
        },
        Answer::NotRun => out.push(1),
        Answer::TooSlow => out.push(2),
        Answer::Busy => out.push(3),
        Answer::TooMuch => out.push(4),
        Answer::Killed => out.push(5),
    }
    out
}

/// Reads an answer.
///
/// # Errors
/// It is none.
pub fn read_answer(message: &[u8]) -> Result<(u64, Answer<'_>), OracleError> {
    let (number, rest) = message.split_first_chunk().ok_or(OracleError)?;
    let (kind, rest) = rest.split_first().ok_or(OracleError)?;
    let answer = match (kind, rest) {
        (0, rest) => {
            let (length, rest) = rest.split_first_chunk().ok_or(OracleError)?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (text, report) = rest.split_at_checked(length).ok_or(OracleError)?;
            if text.len() > LONGEST_TEXT || report.len() > LONGEST_REPORT {
                return Err(OracleError);
            }
            Answer::Spoken { text, report }
        }
        (1, []) => Answer::NotRun,
        (2, []) => Answer::TooSlow,
        (3, []) => Answer::Busy,
        (4, []) => Answer::TooMuch,
        (5, []) => Answer::Killed,
        _ => return Err(OracleError),
    };
    Ok((u64::from_le_bytes(*number), answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_answered_comes_back_and_nothing_else_does() {
        let question = Question { number: 7, ring: [9; 32], message: b"a message" };
        assert_eq!(read(&write(&question).unwrap()), Ok(question));
        assert_eq!(write(&Question { message: &[0; LONGEST_QUESTION], ..question }), None);
        assert_eq!((read(&[0; 39]), read(&[0; LONGEST_QUESTION + 1])), (Err(OracleError), Err(OracleError)));
        let spoken = Answer::Spoken { text: b"text", report: b"[GNUPG:] X\n" };
        for answer in [spoken, Answer::NotRun, Answer::TooSlow, Answer::Busy, Answer::TooMuch, Answer::Killed]
        {
            assert_eq!(read_answer(&write_answer(8, &answer)), Ok((8, answer)));
        }
        for long in [
            Answer::Spoken { text: &[0; LONGEST_TEXT + 1], report: b"" },
            Answer::Spoken { text: b"", report: &[0; LONGEST_REPORT + 1] },
        ] {
            assert_eq!(read_answer(&write_answer(8, &long)), Ok((8, Answer::TooMuch)));
        }
        assert!(
            write_answer(1, &Answer::Spoken { text: &[0; LONGEST_TEXT], report: &[0; LONGEST_REPORT] }).len()
                <= LONGEST_ANSWER
        );
        for wrong in
            [[0_u8; 8].as_slice(), &[0; 9], &[0, 0, 0, 0, 0, 0, 0, 0, 1, 1], &[0, 0, 0, 0, 0, 0, 0, 0, 6]]
        {
            assert_eq!(read_answer(wrong), Err(OracleError));
        }
    }
}
