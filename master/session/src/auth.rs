//! The challenge of an opening: both sides prove that they know the worker's password without saying it.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Random bytes that make each opening unlike any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(#[serde(with = "serde_bytes")] [u8; 32]);

impl Nonce {
    /// Fresh randomness from the operating system: two version 4 UUIDs, 244 random bits.
    pub fn fresh() -> Nonce {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        bytes[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        Nonce(bytes)
    }

    #[cfg(test)]
    pub(crate) fn fixed(byte: u8) -> Nonce {
        Nonce([byte; 32])
    }
}

/// HMAC-SHA256, keyed with the password, of all that an opening says about who talks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proof(#[serde(with = "serde_bytes")] [u8; 32]);

/// All that an opening says about who talks to whom: what a proof proves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transcript<'a> {
    /// The worker's name.
    pub(crate) worker: &'a str,
    /// The life of its process.
    pub(crate) boot_id: &'a str,
    /// The number of its dial.
    pub(crate) dial_no: u64,
    /// The protocol's version that both speak.
    pub(crate) version: u32,
    /// The worker's, then the master's.
    pub(crate) nonces: [Nonce; 2],
}

/// Whose proof it is; a worker's can't be sent back to it as a master's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Worker,
    Master,
}

/// A worker's password, kept out of debug output.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Wraps it.
    pub fn new(password: impl Into<String>) -> Password {
        Password(password.into())
    }

    pub(crate) fn proof(&self, side: Side, transcript: &Transcript<'_>) -> Proof {
        Proof(self.mac(side, transcript).finalize().into_bytes().into())
    }

    /// In constant time.
    pub(crate) fn verifies(&self, proof: &Proof, side: Side, transcript: &Transcript<'_>) -> bool {
        self.mac(side, transcript).verify_slice(&proof.0).is_ok()
    }

    fn mac(&self, side: Side, transcript: &Transcript<'_>) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        let side: &[u8] = match side {
            Side::Worker => b"muster session: worker",
            Side::Master => b"muster session: master",
        };
        for part in [side, transcript.worker.as_bytes(), transcript.boot_id.as_bytes()] {
            // The length in front keeps ("ab", "c") and ("a", "bc") apart.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.update(&transcript.dial_no.to_be_bytes());
        mac.update(&transcript.version.to_be_bytes());
        for nonce in transcript.nonces {
            mac.update(&nonce.0);
        }
        mac
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_side_one_password_and_one_opening() {
        let transcript = Transcript {
            worker: "w1",
            boot_id: "boot",
            dial_no: 7,
            version: 1,
            nonces: [Nonce::fixed(1), Nonce::fixed(2)],
        };
        let password = Password::new("secret");
        let proof = password.proof(Side::Worker, &transcript);
        let holds_for = |other: Transcript<'_>| password.verifies(&proof, Side::Worker, &other);
        assert!(holds_for(transcript));
        assert!(!password.verifies(&proof, Side::Master, &transcript));
        assert!(!holds_for(Transcript { nonces: [Nonce::fixed(1), Nonce::fixed(3)], ..transcript }));
        assert!(!holds_for(Transcript { dial_no: 8, ..transcript }));
        assert!(!Password::new("other").verifies(&proof, Side::Worker, &transcript));
    }

    #[test]
    fn nonces_differ_and_passwords_stay_out_of_logs() {
        assert_ne!(Nonce::fresh(), Nonce::fresh());
        assert!(!format!("{:?}", Password::new("secret")).contains("secret"));
    }
}
