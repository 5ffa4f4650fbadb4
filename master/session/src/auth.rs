//! The challenge of an opening: both sides prove that they know the worker's password without saying it.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::wire::Hello;

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

    pub(crate) fn proof(&self, side: Side, hello: &Hello, version: u32, nonce: &Nonce) -> Proof {
        Proof(self.mac(side, hello, version, nonce).finalize().into_bytes().into())
    }

    /// In constant time.
    pub(crate) fn verifies(
        &self,
        proof: &Proof,
        side: Side,
        hello: &Hello,
        version: u32,
        nonce: &Nonce,
    ) -> bool {
        self.mac(side, hello, version, nonce).verify_slice(&proof.0).is_ok()
    }

    fn mac(&self, side: Side, hello: &Hello, version: u32, nonce: &Nonce) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        let side: &[u8] = match side {
            Side::Worker => b"muster session: worker",
            Side::Master => b"muster session: master",
        };
        for part in [side, hello.worker.as_bytes(), hello.boot_id.0.as_bytes()] {
            // The length in front keeps ("ab", "c") and ("a", "bc") apart.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.update(&hello.dial_no.to_be_bytes());
        mac.update(&version.to_be_bytes());
        mac.update(&hello.nonce.0);
        mac.update(&nonce.0);
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
    use crate::wire::BootId;

    fn hello() -> Hello {
        Hello {
            versions: vec![1],
            worker: "w1".into(),
            boot_id: BootId("boot".into()),
            dial_no: 7,
            nonce: Nonce::fixed(1),
        }
    }

    #[test]
    fn a_proof_holds_for_one_side_one_password_and_one_opening() {
        let password = Password::new("secret");
        let nonce = Nonce::fixed(2);
        let proof = password.proof(Side::Worker, &hello(), 1, &nonce);
        assert!(password.verifies(&proof, Side::Worker, &hello(), 1, &nonce));
        assert!(!password.verifies(&proof, Side::Master, &hello(), 1, &nonce));
        assert!(!password.verifies(&proof, Side::Worker, &hello(), 1, &Nonce::fixed(3)));
        assert!(!password.verifies(&proof, Side::Worker, &Hello { dial_no: 8, ..hello() }, 1, &nonce));
        assert!(!Password::new("other").verifies(&proof, Side::Worker, &hello(), 1, &nonce));
    }

    #[test]
    fn nonces_differ_and_passwords_stay_out_of_logs() {
        assert_ne!(Nonce::fresh(), Nonce::fresh());
        assert!(!format!("{:?}", Password::new("secret")).contains("secret"));
    }
}
