//! Whether what gpg says of a packet is a knock. Nothing is believed but what stands in its report.

use portunus_crypto::digest;
use portunus_model::{ClaimKey, ClientKey};
use zeroize::Zeroizing;

use super::keys::{GpgKeys, ends_with};
use super::status::{Quality, Signature, Status, Validity};
use crate::fwknop::field::FieldError;
use crate::fwknop::plain::Asked;
use crate::fwknop::{OpenError, Packet};
use crate::knock::{Ask, Knock};

/// What gpg wrote: the text, and its report on `--status-fd`. Wiped when dropped, and without `Debug` of the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Spoken {
    /// What came out.
    pub text: Zeroizing<Vec<u8>>,
    /// What it says of that.
    pub report: Vec<u8>,
}

impl std::fmt::Debug for Spoken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spoken(not shown)")
    }
}

/// What came of asking gpg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It ran to its end.
    Spoken(Spoken),
    /// It did not.
    Failed(Failure),
}

/// Why gpg has said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It could not be run.
    NotRun,
    /// It took too long.
    TooSlow,
    /// Nobody asks it, or too many do.
    Busy,
    /// It had more to say than any knock has.
    TooMuch,
    /// It was ended by a signal, before it had said all.
    Killed,
}

/// Why a packet is no knock of these keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum GpgError {
    /// It is not even a message for gpg.
    Open(#[from] OpenError),
    /// gpg could not be run.
    NotRun,
    /// gpg took too long.
    TooSlow,
    /// Nobody asks gpg.
    Busy,
    /// More comes out than any knock has.
    TooMuch,
    /// gpg was ended by a signal.
    Killed,
    /// It is for another key.
    NoSecretKey,
    /// The secret key's passphrase is not there.
    NoPassphrase,
    /// It cannot be decrypted.
    NotDecrypted,
    /// Another key of the keyring opened it.
    OtherKey,
    /// It has no signature.
    Unsigned,
    /// It has more than one.
    SeveralSignatures,
    /// The signature does not fit.
    BadSignature,
    /// The signer's key is not in the keyring.
    UnknownSigner,
    /// The signature or its key is past its time.
    Expired,
    /// The signer's key was revoked.
    Revoked,
    /// Nobody vouches for the signer's key.
    NotValid,
    /// Somebody else signed it.
    OtherSigner,
    /// What comes out is no knock of ours.
    Field(#[from] FieldError),
}

/// An answer, read once for all the keys that it may be for.
pub struct Heard {
    said: Result<(Status, Result<Asked, FieldError>), GpgError>,
    claim: ClaimKey,
}

impl Heard {
    /// Reads it.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        let (said, text) = match answer {
            Answer::Spoken(Spoken { text, report }) => {
                (Ok((Status::read(report), Asked::read(text))), text.as_slice())
            }
            Answer::Failed(Failure::NotRun) => (Err(GpgError::NotRun), [].as_slice()),
            Answer::Failed(Failure::TooSlow) => (Err(GpgError::TooSlow), [].as_slice()),
            Answer::Failed(Failure::Busy) => (Err(GpgError::Busy), [].as_slice()),
            Answer::Failed(Failure::TooMuch) => (Err(GpgError::TooMuch), [].as_slice()),
            Answer::Failed(Failure::Killed) => (Err(GpgError::Killed), [].as_slice()),
        };
        Self { said, claim: claim(text) }
    }
}

/// How much it tells that we are to blame: nothing more is known of the packet then.
const OURS: u8 = 5;

impl GpgError {
    /// Whether we are to blame, and not who sent it.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        self.tells() == OURS
    }

    /// Of what two keyrings say of a packet, what tells more; of two that tell as much, the first.
    #[must_use]
    pub const fn or(self, later: Self) -> Self {
        if later.tells() > self.tells() { later } else { self }
    }

    /// That a keyring could not be asked tells most; then what is wrong with a packet that it opens; then what keeps it from
    /// that. That a packet is for no key in it tells nothing, where there is another.
    const fn tells(self) -> u8 {
        match self {
            Self::Open(_) => 0,
            Self::NoSecretKey => 1,
            Self::NotDecrypted => 2,
            Self::NoPassphrase => 3,
            Self::TooMuch
            | Self::OtherKey
            | Self::Unsigned
            | Self::SeveralSignatures
            | Self::BadSignature
            | Self::UnknownSigner
            | Self::Expired
            | Self::Revoked
            | Self::NotValid
            | Self::OtherSigner
            | Self::Field(_) => 4,
            Self::NotRun | Self::TooSlow | Self::Busy | Self::Killed => OURS,
        }
    }

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open(_) => "its HMAC does not fit, or it is no message for gpg",
            Self::NotRun => "gpg could not be run: see the lines of who runs it",
            Self::TooSlow => "gpg did not answer in time",
            Self::Busy => "too many packets wait for gpg",
            Self::TooMuch => "what was encrypted, or what gpg says of it, is longer than any knock",
            Self::Killed => "gpg was ended before it had answered: see the lines of who runs it",
            Self::NoSecretKey => "it is encrypted for a key that is not in the keyring",
            Self::NoPassphrase => {
                "the secret key needs a passphrase, which was not given or is wrong (GPG_DECRYPT_PW)"
            }
            Self::NotDecrypted => {
                "it cannot be decrypted: cut off, changed, or for a key that cannot be used"
            }
            Self::OtherKey => "it is encrypted for another key of the keyring than GPG_DECRYPT_ID",
            Self::Unsigned => "it is not signed",
            Self::SeveralSignatures => "it has more than one signature",
            Self::BadSignature => "its signature does not fit what it says",
            Self::UnknownSigner => "it is signed by a key that is not in the keyring, or that cannot be used",
            Self::Expired => "its signature, or the key that made it, is past its time",
            Self::Revoked => "the key that signed it was revoked",
            Self::NotValid => {
                "nobody vouches for the key that signed it: sign that with the server's key (gpg --lsign-key)"
            }
            Self::OtherSigner => "it is signed by a key that is not in GPG_FINGERPRINT_ID or GPG_REMOTE_ID",
            Self::Field(_) => "what was encrypted is no knock",
        }
    }
}

impl GpgKeys {
    /// What gpg's answer makes of this packet.
    ///
    /// # Errors
    /// [`GpgError`] says why it is no knock.
    pub fn judge(&self, packet: &Packet<'_>, heard: &Heard) -> Result<Knock, GpgError> {
        // The same answer may be for several sets of keys: each looks at its own HMAC.
        self.may_be_for(packet)?;
        let (status, asked) = heard.said.as_ref().map_err(|error| *error)?;
        self.decrypted(status)?;
        if self.signers.required {
            self.signed(&status.signatures)?;
        }
        let asked = asked.clone()?;
        let (stamp, target) = (asked.stamp(), asked.wish.message.address());
        let key = ClientKey::Fwknop(self.id());
        let knock = Knock::proven(key, stamp, target, heard.claim, Ask::Fwknop(Box::new(asked)));
        Ok(knock.with_text(packet.sha256()))
    }

    fn decrypted(&self, status: &Status) -> Result<(), GpgError> {
        if !status.decrypted {
            return Err(match status {
                Status { no_passphrase: true, .. } => GpgError::NoPassphrase,
                Status { no_secret_key: true, .. } => GpgError::NoSecretKey,
                Status { .. } => GpgError::NotDecrypted,
            });
        }
        let Some(wanted) = &self.decrypts else { return Ok(()) };
        let by = status.by.iter().flatten().any(|print| ends_with(print, wanted));
        by.then_some(()).ok_or(GpgError::OtherKey)
    }

    fn signed(&self, signatures: &[Signature]) -> Result<(), GpgError> {
        let [signature] = signatures else {
            return Err(if signatures.is_empty() { GpgError::Unsigned } else { GpgError::SeveralSignatures });
        };
        match signature.quality {
            Some(Quality::Good) => {}
            Some(Quality::Expired | Quality::KeyExpired) if self.signers.any_validity => {}
            Some(Quality::Expired | Quality::KeyExpired) => return Err(GpgError::Expired),
            // Whatever is to be overlooked: what was revoked may be a thief's, and what does not fit is nobody's.
            Some(Quality::KeyRevoked) => return Err(GpgError::Revoked),
            Some(Quality::Bad) => return Err(GpgError::BadSignature),
            Some(Quality::NotKnown) | None => return Err(GpgError::UnknownSigner),
        }
        let [key, owner] = signature.fingerprints.as_ref().ok_or(GpgError::UnknownSigner)?;
        if !self.signers.any_validity && signature.validity < Validity::Full {
            return Err(GpgError::NotValid);
        }
        self.signers.have([key, owner]).then_some(()).ok_or(GpgError::OtherSigner)
    }
}

/// The one right to use what it says. Of the text and not of the packet: what is around an encrypted text can be written
/// in many ways, by anybody who has seen one of them.
fn claim(text: &[u8]) -> ClaimKey {
    Packet::claim_key_of(&digest::sha256(&[b"portunus fwknop gpg text", text]))
}

#[cfg(test)]
mod tests {
    use portunus_crypto::SystemEntropy;
    use portunus_crypto::hash::HashType;
    use portunus_model::{KeyId, Proto, Unix};

    use super::super::keys::{HmacKey, RingId, Signers};
    use super::super::message::wrap;
    use super::*;
    use crate::fwknop::{Message, Wish, encode};

    const KEY: &str = "1F3133294BA3F0304255353F14729E41FC66E495";
    const OPENER: &str = "EA9F0262B2B56FCC675E31983C61241E370432AC";

    fn signers() -> Signers {
        Signers { required: true, fingerprints: vec![KEY.into()], ..Signers::default() }
    }

    fn keys(signers: Signers, decrypts: Option<&str>, hmac: Option<&[u8]>) -> GpgKeys {
        let hmac = hmac.map(|key| (HashType::Sha256, key));
        GpgKeys::new(KeyId([1; 32]), RingId([2; 32]), signers, decrypts.map(str::to_owned), hmac).unwrap()
    }

    fn wire(data: u8, hmac: Option<&[u8]>) -> String {
        let mut message = vec![0x85, 1, 12, 3];
        message.extend((1..268).map(|n| n as u8));
        message.push(0xd2);
        message.extend([data; 250]);
        let hmac = hmac.map(|key| HmacKey::new(HashType::Sha256, key).unwrap());
        wrap(&message, hmac.as_ref()).unwrap().wire
    }

    fn text() -> Vec<u8> {
        let message = Message::Access { address: None, ports: vec![(Proto::Tcp, 22)] };
        let encoded = encode(Wish::new("alice", message), Unix::from_secs(1_800_000_000), &mut SystemEntropy);
        encoded.unwrap().text().into_bytes()
    }

    /// A report with this signature's lines.
    fn report(signature: &str) -> Vec<u8> {
        let lines = format!(
            "DECRYPTION_KEY {OPENER} E4C135D4037652BA401F5298DC545B2A7EA5FC9B u\nBEGIN_DECRYPTION\n\
             DECRYPTION_INFO 2 9 0\nPLAINTEXT 62 0 \n{signature}DECRYPTION_OKAY\nGOODMDC\nEND_DECRYPTION\n"
        );
        lines.lines().map(|line| format!("[GNUPG:] {line}\n")).collect::<String>().into_bytes()
    }

    fn signature(quality: &str, trust: &str) -> String {
        format!("NEWSIG\n{quality} 1 x\nVALIDSIG {KEY} a b c d e f g h {KEY}\n{trust} 0 pgp\n")
    }

    fn answer(text: &[u8], report: Vec<u8>) -> Answer {
        Answer::Spoken(Spoken { text: Zeroizing::new(text.to_vec()), report })
    }

    fn judged(keys: &GpgKeys, wire: &str, answer: &Answer) -> Result<Knock, GpgError> {
        keys.judge(&Packet::new_checked(wire.as_bytes()).unwrap(), &Heard::of(answer))
    }

    fn refused(signers: Signers, lines: &str) -> Option<GpgError> {
        judged(&keys(signers, None, None), &wire(1, None), &answer(&text(), report(lines))).err()
    }

    #[test]
    fn a_good_signature_of_who_may_makes_a_knock() {
        let good = signature("GOODSIG", "TRUST_FULLY");
        assert_eq!(refused(signers(), &good), None);
        assert_eq!(refused(signers(), &signature("GOODSIG", "TRUST_ULTIMATE")), None);
        let by = |key| Signers { fingerprints: vec![key], ..signers() };
        assert_eq!(refused(by(KEY.to_lowercase()), &good), None);
        assert_eq!(refused(by("A".repeat(40)), &good), Some(GpgError::OtherSigner));
        let none = Signers { required: false, ..by("A".repeat(40)) };
        assert_eq!((refused(none.clone(), ""), refused(none, &good)), (None, None));
    }

    #[test]
    fn every_other_signature_is_refused_and_says_why() {
        let any = || Signers { any_validity: true, ..signers() };
        let good = signature("GOODSIG", "TRUST_FULLY");
        for (lines, strict, lenient) in [
            (String::new(), Some(GpgError::Unsigned), Some(GpgError::Unsigned)),
            (format!("{good}{good}"), Some(GpgError::SeveralSignatures), Some(GpgError::SeveralSignatures)),
            (signature("BADSIG", "TRUST_FULLY"), Some(GpgError::BadSignature), Some(GpgError::BadSignature)),
            (signature("REVKEYSIG", "TRUST_FULLY"), Some(GpgError::Revoked), Some(GpgError::Revoked)),
            (
                "NEWSIG\nERRSIG 1 1 8 00 1 9\n".into(),
                Some(GpgError::UnknownSigner),
                Some(GpgError::UnknownSigner),
            ),
            ("NEWSIG\nGOODSIG 1 x\n".into(), Some(GpgError::UnknownSigner), Some(GpgError::UnknownSigner)),
            (signature("EXPSIG", "TRUST_FULLY"), Some(GpgError::Expired), None),
            (signature("EXPKEYSIG", "TRUST_FULLY"), Some(GpgError::Expired), None),
            (signature("GOODSIG", "TRUST_UNDEFINED"), Some(GpgError::NotValid), None),
            (signature("GOODSIG", "TRUST_MARGINAL"), Some(GpgError::NotValid), None),
            (signature("GOODSIG", "TRUST_NEVER"), Some(GpgError::NotValid), None),
            (signature("GOODSIG", "NOTHING"), Some(GpgError::NotValid), None),
        ] {
            assert_eq!(refused(signers(), &lines), strict, "{lines}");
            assert_eq!(refused(any(), &lines), lenient, "{lines}");
        }
    }

    /// A good signature is worth nothing in a report that does not say that all of it was decrypted and is whole.
    #[test]
    fn what_was_not_decrypted_as_a_whole_is_no_knock_and_says_why() {
        let good = String::from_utf8(report(&signature("GOODSIG", "TRUST_FULLY"))).unwrap();
        let judge = |said: String| {
            judged(&keys(signers(), None, None), &wire(1, None), &answer(&text(), said.into_bytes())).err()
        };
        assert_eq!(judge(good.clone()), None);
        assert_eq!(judge(good.replace("[GNUPG:] GOODMDC\n", "")), Some(GpgError::NotDecrypted));
        assert_eq!(judge(good.replace("DECRYPTION_OKAY", "DECRYPTION_FAILED")), Some(GpgError::NotDecrypted));
        let failed = "[GNUPG:] BEGIN_DECRYPTION\n[GNUPG:] DECRYPTION_FAILED\n[GNUPG:] END_DECRYPTION\n";
        assert_eq!(judge(failed.to_owned()), Some(GpgError::NoSecretKey));
        let error = "[GNUPG:] ERROR pkdecrypt_failed 67108875\n";
        assert_eq!(judge(format!("{error}{failed}")), Some(GpgError::NoPassphrase));
    }

    #[test]
    fn the_key_that_is_named_must_have_opened_it() {
        let good = answer(&text(), report(&signature("GOODSIG", "TRUST_FULLY")));
        let by = |id| judged(&keys(signers(), Some(id), None), &wire(1, None), &good).err();
        assert_eq!((by(&OPENER[32..]), by("7EA5FC9B"), by(OPENER)), (None, None, None));
        assert_eq!(by("00000000"), Some(GpgError::OtherKey));
    }

    #[test]
    fn a_bad_hmac_is_refused_before_anything_else_is_looked_at() {
        let good = answer(&text(), report(&signature("GOODSIG", "TRUST_FULLY")));
        let keys = keys(signers(), None, Some(b"hmac key"));
        let packet = wire(1, Some(b"hmac key"));
        assert!(judged(&keys, &packet, &good).is_ok());
        for bad in [wire(1, Some(b"other key")), wire(1, None)] {
            assert_eq!(judged(&keys, &bad, &good), Err(GpgError::Open(OpenError::Hmac)));
            let packet = Packet::new_checked(bad.as_bytes()).unwrap();
            assert_eq!(keys.message(&packet), Err(OpenError::Hmac));
        }
    }

    /// Whoever has seen a packet can write others around the same encrypted text: they are all one knock.
    #[test]
    fn the_claim_is_of_what_it_says_and_not_of_what_is_around_it() {
        let window = std::time::Duration::from_secs(120);
        let keys = keys(signers(), None, None);
        let good = answer(&text(), report(&signature("GOODSIG", "TRUST_FULLY")));
        let claim = |wire: &str, answer| judged(&keys, wire, answer).unwrap().claim(window);
        assert_eq!(claim(&wire(1, None), &good), claim(&wire(2, None), &good));
        let other = answer(&text(), report(&signature("GOODSIG", "TRUST_FULLY")));
        assert_ne!(claim(&wire(1, None), &good), claim(&wire(1, None), &other));
    }

    #[test]
    fn of_two_keyrings_the_one_that_tells_more_is_heard() {
        use GpgError::{Busy, NoSecretKey, OtherSigner, Unsigned};
        assert_eq!((NoSecretKey.or(OtherSigner), OtherSigner.or(NoSecretKey)), (OtherSigner, OtherSigner));
        assert_eq!((Busy.or(NoSecretKey), NoSecretKey.or(Busy)), (Busy, Busy));
        assert_eq!((Unsigned.or(OtherSigner), OtherSigner.or(Busy)), (Unsigned, Busy));
    }

    #[test]
    fn what_gpg_did_not_say_is_no_knock() {
        let keys = keys(signers(), None, None);
        for (failure, error) in [
            (Failure::NotRun, GpgError::NotRun),
            (Failure::TooSlow, GpgError::TooSlow),
            (Failure::Busy, GpgError::Busy),
            (Failure::TooMuch, GpgError::TooMuch),
            (Failure::Killed, GpgError::Killed),
        ] {
            assert_eq!(judged(&keys, &wire(1, None), &Answer::Failed(failure)), Err(error));
        }
        let wrong = answer(b"no knock", report(&signature("GOODSIG", "TRUST_FULLY")));
        assert_eq!(judged(&keys, &wire(1, None), &wrong), Err(GpgError::Field(FieldError::Text)));
        let packet = "8".repeat(200);
        assert_eq!(judged(&keys, &packet, &wrong), Err(GpgError::Open(OpenError::Shape)));
    }
}
