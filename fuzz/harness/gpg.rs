//! What no input may break where GnuPG's packets are recognised and gpg's words judged. Shared by the fuzz target and by the
//! test that replays the corpus (crates/portunus-dialect/tests/corpus.rs).

use std::sync::LazyLock;

use portunus_crypto::FixedEntropy;
use portunus_dialect::fwknop::gpg::{Answer, GpgKeys, Heard, HmacKey, RingId, Signers, Spoken, Status, wrap};
use portunus_dialect::fwknop::{HashType, Message, Packet, Wish, encode};
use portunus_model::{KeyId, Proto, Unix};

/// Who may sign.
const SIGNER: &str = "1F3133294BA3F0304255353F14729E41FC66E495";
const HMAC: (HashType, &[u8]) = (HashType::Sha256, b"a fuzzer's HMAC key");

fn keys(hmac: bool) -> GpgKeys {
    let signers = Signers { required: true, fingerprints: vec![SIGNER.into()], ..Signers::default() };
    GpgKeys::new(KeyId([1; 32]), RingId([2; 32]), signers, None, hmac.then_some(HMAC)).unwrap()
}

struct Scene {
    keys: GpgKeys,
    with_hmac: GpgKeys,
    text: Vec<u8>,
    wire: String,
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let message = Message::Access { address: None, ports: vec![(Proto::Tcp, 22)] };
    let entropy = &mut FixedEntropy::new(&7_u64.to_be_bytes());
    let encoded = encode(Wish::new("fuzz", message), Unix::from_secs(1_795_217_501), entropy).unwrap();
    let mut sealed = vec![0x85, 1, 12, 3];
    sealed.extend([7; 267]);
    sealed.push(0xd2);
    sealed.extend([9; 200]);
    let text = encoded.text().into_bytes();
    Scene { keys: keys(false), with_hmac: keys(true), text, wire: wrap(&sealed, None).unwrap().wire }
});

/// Any bytes as a report of gpg's, and as a packet.
pub(crate) fn judge(data: &[u8]) {
    report(data);
    shape(data);
}

/// Only a report that says that all was whole, and signed by who may, makes a knock.
fn report(data: &[u8]) {
    let packet = Packet::new_checked(SCENE.wire.as_bytes()).unwrap();
    let answer = Answer::Spoken(Spoken { text: SCENE.text.clone().into(), report: data.to_vec() });
    let judged = SCENE.keys.judge(&packet, &Heard::of(&answer));
    if judged.is_err() {
        return;
    }
    let said = String::from_utf8_lossy(data);
    let lines: Vec<&str> = said.split('\n').filter_map(|line| line.strip_prefix("[GNUPG:] ")).collect();
    let has = |start: &str| lines.iter().filter(|line| line.split(' ').next() == Some(start)).count();
    for once in [
        "BEGIN_DECRYPTION",
        "PLAINTEXT",
        "DECRYPTION_OKAY",
        "END_DECRYPTION",
        "NEWSIG",
        "GOODSIG",
        "VALIDSIG",
    ] {
        assert_eq!(has(once), 1, "{once}");
    }
    assert_eq!(
        has("DECRYPTION_FAILED") + has("BADSIG") + has("REVKEYSIG") + has("EXPKEYSIG") + has("ERRSIG"),
        0
    );
    assert!(has("TRUST_FULLY") + has("TRUST_ULTIMATE") > 0 && has("GOODMDC") > 0);
    let valid = lines.iter().find(|line| line.split(' ').next() == Some("VALIDSIG")).unwrap();
    assert!(valid.to_ascii_uppercase().contains(SIGNER));
    assert!(Status::read(data).decrypted);
}

/// A packet that is one for gpg has the one text of its bytes; with an HMAC only who has the key makes one.
fn shape(data: &[u8]) {
    let Some(packet) = Packet::new_checked(data) else { return };
    assert!(SCENE.with_hmac.message(&packet).is_err(), "nobody guesses an HMAC");
    let Ok(message) = SCENE.keys.message(&packet) else { return };
    assert!(packet.may_be_gpg());
    assert_eq!(wrap(&message, None).unwrap().wire.as_bytes(), data);
    let hmac = HmacKey::new(HMAC.0, HMAC.1).unwrap();
    let Ok(wrapped) = wrap(&message, Some(&hmac)) else { return };
    let packet = Packet::new_checked(wrapped.wire.as_bytes()).unwrap();
    assert_eq!(SCENE.with_hmac.message(&packet), Ok(message));
}

/// A report that makes a knock, and the packet: for the corpus.
pub(crate) fn good() -> [Vec<u8>; 2] {
    let lines = format!(
        "ENC_TO 3C61241E370432AC 1 0\nDECRYPTION_KEY EA9F0262B2B56FCC675E31983C61241E370432AC E4C135D4037652BA401F5298DC545B2A7EA5FC9B u\n\
         BEGIN_DECRYPTION\nDECRYPTION_INFO 2 9 0\nPLAINTEXT 62 1795667098 \nPLAINTEXT_LENGTH 67\nNEWSIG\nGOODSIG 14729E41FC66E495 x\n\
         VALIDSIG {SIGNER} 2026-11-26 1795667098 0 4 0 1 10 00 {SIGNER}\nTRUST_FULLY 0 pgp\nDECRYPTION_OKAY\nGOODMDC\nEND_DECRYPTION"
    );
    let report: String = lines.lines().map(|line| format!("[GNUPG:] {line}\n")).collect();
    let packet = Packet::new_checked(SCENE.wire.as_bytes()).unwrap();
    let answer =
        Answer::Spoken(Spoken { text: SCENE.text.clone().into(), report: report.clone().into_bytes() });
    assert!(SCENE.keys.judge(&packet, &Heard::of(&answer)).is_ok(), "the good one is good");
    [report.into_bytes(), SCENE.wire.clone().into_bytes()]
}
