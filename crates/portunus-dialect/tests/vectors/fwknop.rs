//! Runs every vector of `vectors/fwknop`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use portunus_crypto::{FixedEntropy, text};
use portunus_dialect::fwknop::{
    self, Asked, FieldError, HashType, Keys, Message, Mode, Nat, OpenError, Packet, Wish,
};
use portunus_dialect::{Ask, Knock};
use portunus_model::{ClaimKey, ClientKey, Dialect, Unix};

use crate::file::{Vector, hex};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/fwknop");

#[test]
fn every_vector_comes_out_as_it_says() {
    let mut run = [0; 2];
    for vector in &Vector::all(Path::new(FOLDER)) {
        let (count, check): (_, fn(&Vector)) = match vector.one("kind") {
            "seal" => (0, sealed_byte_for_byte),
            "judge" => (1, judged),
            other => panic!("{}: unknown kind {other}", vector.name()),
        };
        run[count] += 1;
        check(vector);
    }
    let [seal, judge] = run;
    println!("{seal} sealed and opened, {judge} judged");
    assert!(seal >= 73 && judge >= 38, "vectors are missing: {run:?}");
}

/// With its random value and salt given, the packet is the original's, and it opens to what went in.
fn sealed_byte_for_byte(vector: &Vector) {
    let [packet] = vector.texts() else { panic!("{}: wants one packet", vector.name()) };
    let (keys, asked) = (keys(vector), asked(vector));
    let random: u64 = asked.random.parse().unwrap();
    let entropy = [&random.to_be_bytes()[..], &hex(vector.one("salt"))].concat();
    let sealed =
        fwknop::seal(&keys, asked.wish.clone(), asked.stamp(), &mut FixedEntropy::new(&entropy)).unwrap();
    assert_eq!(&sealed.wire, packet, "{}", vector.name());
    assert_eq!(sealed.asked, asked, "{}", vector.name());

    let knock = open(&keys, packet).unwrap();
    assert_eq!(knock.dialect(), Dialect::Fwknop);
    assert_eq!(knock.key(), ClientKey::Fwknop(keys.id()));
    assert_eq!(knock.stamp(), asked.stamp());
    assert_eq!(knock.target(), asked.wish.message.address());
    assert_eq!(claim(&knock), replay_digest(vector), "{}", vector.name());
    assert_eq!(*knock.ask(), Ask::Fwknop(Box::new(asked)), "{}", vector.name());
}

/// Every packet gets the verdict that the vector expects, and where the original's is another, it says why.
fn judged(vector: &Vector) {
    let keys = keys(vector);
    let mut claimed = HashSet::new();
    let mut verdict = |text: &String| match open(&keys, text) {
        Ok(knock) if claimed.insert(claim(&knock)) => "open".to_owned(),
        Ok(_) => "replayed".to_owned(),
        Err(why) => why,
    };
    let verdicts: Vec<_> = vector.texts().iter().map(&mut verdict).collect();
    assert_eq!(verdicts, vector.each("expect"), "{}", vector.name());
    let original = vector.each("original");
    assert_eq!(original.len(), verdicts.len(), "{}", vector.name());
    let differs =
        original.iter().zip(&verdicts).any(|(original, ours)| (*original == "accept") != (ours == "open"));
    assert_eq!(differs, vector.maybe("differs").is_some(), "{}", vector.name());
}

fn open(keys: &Keys, text: &str) -> Result<Knock, String> {
    let packet = Packet::new_checked(text.as_bytes()).ok_or("noise")?;
    keys.open(&packet).map_err(|why| word(why).to_owned())
}

fn word(why: OpenError) -> &'static str {
    match why {
        OpenError::Shape => "shape",
        OpenError::Hmac => "hmac",
        OpenError::NotCanonical => "not-canonical",
        OpenError::Decryption => "decryption",
        OpenError::Padding => "padding",
        OpenError::Field(field) => match field {
            FieldError::Text => "text",
            FieldError::Digest => "digest",
            FieldError::Fields => "fields",
            FieldError::Random => "random",
            FieldError::User => "user",
            FieldError::Stamp => "stamp",
            FieldError::Version => "version",
            FieldError::Kind => "type",
            FieldError::Message => "message",
            FieldError::Address => "address",
            FieldError::Ports => "ports",
            FieldError::Command => "command",
            FieldError::Nat => "nat",
            FieldError::ServerAuth => "server-auth",
            FieldError::Timeout => "timeout",
        },
    }
}

fn keys(vector: &Vector) -> Keys {
    let raw = |name| vector.maybe(name).map(|key| text::decode_loose(key.as_bytes()).unwrap());
    let hmac_type = vector.maybe("hmac-type").map(|word| HashType::named(word).unwrap());
    let hmac_key = raw("hmac-key");
    let hmac = hmac_type.zip(hmac_key.as_deref());
    Keys::new(&raw("key").unwrap(), Mode::named(vector.one("mode")).unwrap(), hmac).unwrap()
}

fn asked(vector: &Vector) -> Asked {
    let kind: u8 = vector.one("type").parse().unwrap();
    let local = matches!(kind, 5 | 6);
    let mut wish = Wish::new(vector.one("user"), message(kind, vector.one("message")));
    wish.version = vector.one("version").to_owned();
    wish.nat = vector.maybe("nat").map(|nat| {
        let (host, port) = nat.split_once(',').unwrap();
        Nat { host: host.to_owned(), port: port.parse().unwrap(), local }
    });
    wish.server_auth = vector.maybe("server-auth").map(|auth| auth.as_bytes().to_vec());
    wish.timeout = vector.maybe("timeout").map(|timeout| timeout.parse().unwrap());
    wish.digest = HashType::named(vector.one("digest")).unwrap();
    assert_eq!(wish.kind().number(), kind, "{}", vector.name());
    let stamp = Unix::from_nanos(vector.one("timestamp").parse().unwrap()).as_secs();
    Asked { random: vector.one("random").to_owned(), stamp: stamp.try_into().unwrap(), wish }
}

fn message(kind: u8, text: &str) -> Message {
    let (address, rest) = text.split_once(',').unwrap();
    let address =
        Some(address.parse::<IpAddr>().unwrap()).filter(|&address| address != Ipv4Addr::UNSPECIFIED);
    match kind {
        0 => Message::Command { address, text: rest.to_owned() },
        _ => Message::Access { address, ports: fwknop::read_ports(rest).unwrap() },
    }
}

fn claim(knock: &Knock) -> ClaimKey {
    knock.claim(Duration::ZERO).key
}

/// The claim by the line that the original wrote into its `digest.cache`.
fn replay_digest(vector: &Vector) -> ClaimKey {
    Packet::claim_key_of(&text::decode(vector.one("replay-digest")).unwrap())
}
