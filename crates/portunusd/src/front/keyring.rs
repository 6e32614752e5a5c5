//! The keys that the keeper has sent, worked in.

use std::io;

use portunus_crypto::Secret;
use portunus_dialect::fwknop::gpg;
use portunus_dialect::{fwknop, native, openme};
use portunus_gate::{Invitation, Keyring};
use portunus_model::KeyId;

use crate::message::{self, Keys};

/// Of every dialect.
pub(super) fn read(keys: &Keys) -> io::Result<Keyring> {
    let openme = keys.openme.map(|bytes| openme::ServerKey::new(&Secret::from_bytes(bytes)));
    let sets = keys.fwknop.iter().map(|raw| {
        let word = |word: &str| io::Error::other(format!("a set of keys says {word:?}"));
        let mode = fwknop::Mode::named(&raw.mode).ok_or_else(|| word(&raw.mode))?;
        let hmac = match &raw.hmac {
            Some((hash, key)) => {
                let hash = fwknop::HashType::named(hash).ok_or_else(|| word(hash))?;
                Some((hash, key.as_slice()))
            }
            None => None,
        };
        fwknop::Keys::new(&raw.encryption, mode, hmac).map_err(io::Error::other)
    });
    let fwknop = sets.collect::<io::Result<_>>()?;
    let gpg = keys.gpg.iter().map(gpg_keys).collect::<io::Result<_>>()?;
    let door = |(role, bytes): &(_, _)| {
        Ok((*role, native::Door::new(&Secret::from_bytes(*bytes)).map_err(io::Error::other)?))
    };
    let native = keys.native.iter().map(door).collect::<io::Result<_>>()?;
    let codes = keys.codes.iter().map(|(key, secret)| (*key, Secret::from_bytes(*secret))).collect();
    let openme = openme.transpose().map_err(io::Error::other)?;
    let invited = keys.invited.iter().map(|one| Invitation {
        name: one.name.clone(),
        secret: Secret::from_bytes(*one.secret),
        until: one.until,
        taken: one.taken,
    });
    Ok(Keyring { openme, fwknop, gpg, native, codes, invitations: invited.collect() })
}

fn gpg_keys(raw: &message::GpgKeys) -> io::Result<gpg::GpgKeys> {
    let hmac = match &raw.hmac {
        Some((word, key)) => {
            let hash = fwknop::HashType::named(word);
            let hash = hash.ok_or_else(|| io::Error::other(format!("a set of keys says {word:?}")))?;
            Some((hash, key.as_slice()))
        }
        None => None,
    };
    let signers = gpg::Signers {
        required: raw.signed,
        any_validity: raw.any_validity,
        ids: raw.ids.clone(),
        fingerprints: raw.fingerprints.clone(),
    };
    let (id, ring) = (KeyId(raw.id), gpg::RingId(raw.ring));
    gpg::GpgKeys::new(id, ring, signers, raw.decrypts.clone(), hmac).map_err(io::Error::other)
}
