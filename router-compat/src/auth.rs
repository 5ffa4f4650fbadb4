//! Proofs of identity: tickets and WAMP-CRA, for both sides.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;

use crate::message::Dict;

/// Most iterations of PBKDF2 that a client computes. A router that asks for more is refused: the work would stall it.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// Longest derived key, in bytes; 32 is usual. A longer one is refused.
pub const MAX_KEY_BYTES: usize = 128;

/// A ticket, password or key; debug output hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// The secret itself, for the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the same, in a time that does not tell how much of it is.
    pub fn is(&self, given: &str) -> bool {
        // Both are hashed under the same key, and the hashes are compared in constant time.
        let tag = mac(self.0.as_bytes(), given.as_bytes()).finalize().into_bytes();
        mac(self.0.as_bytes(), self.0.as_bytes()).verify(&tag).is_ok()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How a client proves who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Not at all.
    Anonymous,
    /// By a shared text that is sent as it is; only over TLS or on one machine.
    Ticket {
        /// Who.
        authid: String,
        /// The text.
        ticket: Secret,
    },
    /// By WAMP-CRA: the secret signs a challenge and never travels.
    WampCra {
        /// Who.
        authid: String,
        /// The secret, before salting.
        secret: Secret,
    },
}

impl Credentials {
    /// The name of the method on the wire.
    pub fn method(&self) -> &'static str {
        match self {
            Credentials::Anonymous => "anonymous",
            Credentials::Ticket { .. } => "ticket",
            Credentials::WampCra { .. } => "wampcra",
        }
    }

    /// Who it is.
    pub fn authid(&self) -> Option<&str> {
        match self {
            Credentials::Anonymous => None,
            Credentials::Ticket { authid, .. } | Credentials::WampCra { authid, .. } => Some(authid),
        }
    }

    /// The signature that answers a CHALLENGE.
    ///
    /// # Errors
    /// When the router asks for another method, or its challenge is incomplete or unreasonable.
    pub fn answer(&self, method: &str, extra: &Dict) -> Result<String, ChallengeError> {
        if method != self.method() {
            return Err(ChallengeError::OtherMethod(method.to_owned()));
        }
        match self {
            Credentials::Anonymous => Err(ChallengeError::OtherMethod(method.to_owned())),
            Credentials::Ticket { ticket, .. } => Ok(ticket.expose().to_owned()),
            Credentials::WampCra { secret, .. } => {
                let challenge = extra
                    .get("challenge")
                    .and_then(|text| text.as_str())
                    .ok_or(ChallengeError::Incomplete)?;
                match Salting::from_extra(extra)? {
                    None => Ok(sign(secret, challenge)),
                    Some(salting) => Ok(sign(&salting.derive(secret), challenge)),
                }
            }
        }
    }
}

/// Why a challenge can't be answered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChallengeError {
    /// Another method than the one that was offered.
    #[error("the router asks for the authentication method '{0}', which was not offered")]
    OtherMethod(String),
    /// A field is missing or of another type.
    #[error("the router's challenge is incomplete")]
    Incomplete,
    /// More work than anybody needs.
    #[error("the router's challenge asks for more than {MAX_ITERATIONS} iterations or {MAX_KEY_BYTES} bytes")]
    Unreasonable,
}

/// How a key is made from a password (PBKDF2 with HMAC-SHA256), so that the router need not know the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Salting {
    /// Any text, another one for each identity.
    pub salt: String,
    /// How often the hash is repeated.
    #[serde(default = "Salting::usual_iterations")]
    pub iterations: u32,
    /// Length of the key in bytes.
    #[serde(default = "Salting::usual_keylen")]
    pub keylen: usize,
}

impl Salting {
    fn usual_iterations() -> u32 {
        1000
    }

    fn usual_keylen() -> usize {
        32
    }

    fn from_extra(extra: &Dict) -> Result<Option<Salting>, ChallengeError> {
        let Some(salt) = extra.get("salt") else { return Ok(None) };
        let salt = salt.as_str().ok_or(ChallengeError::Incomplete)?.to_owned();
        let number = |name, usual: u64| match extra.get(name) {
            None => Ok(usual),
            Some(number) => number.as_u64().ok_or(ChallengeError::Incomplete),
        };
        let iterations = number("iterations", Salting::usual_iterations().into())?;
        let keylen = number("keylen", 32)?;
        if !(1..=u64::from(MAX_ITERATIONS)).contains(&iterations)
            || !(1..=MAX_KEY_BYTES as u64).contains(&keylen)
        {
            return Err(ChallengeError::Unreasonable);
        }
        Ok(Some(Salting { salt, iterations: iterations as u32, keylen: keylen as usize }))
    }

    /// The key, in base64, as the router keeps it.
    pub fn derive(&self, secret: &Secret) -> Secret {
        let mut key = Vec::with_capacity(self.keylen);
        for block in 1_u32.. {
            if key.len() >= self.keylen {
                break;
            }
            key.extend(pbkdf2_block(
                secret.expose().as_bytes(),
                self.salt.as_bytes(),
                self.iterations,
                block,
            ));
        }
        key.truncate(self.keylen);
        Secret(BASE64.encode(key))
    }
}

/// One block of PBKDF2 (RFC 8018, section 5.2).
fn pbkdf2_block(password: &[u8], salt: &[u8], iterations: u32, block: u32) -> [u8; 32] {
    let keyed = Hmac::<Sha256>::new_from_slice(password).expect("HMAC takes keys of any length");
    let mut first = keyed.clone();
    first.update(salt);
    first.update(&block.to_be_bytes());
    let mut last: [u8; 32] = first.finalize().into_bytes().into();
    let mut sum = last;
    for _ in 1..iterations {
        let mut next = keyed.clone();
        next.update(&last);
        last = next.finalize().into_bytes().into();
        sum.iter_mut().zip(last).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

/// The signature of a WAMP-CRA challenge: HMAC-SHA256 in base64.
pub fn sign(key: &Secret, challenge: &str) -> String {
    BASE64.encode(mac(key.expose().as_bytes(), challenge.as_bytes()).finalize().into_bytes())
}

/// Whether `signature` is that of `challenge` under `key`; takes the same time for every wrong one.
pub fn verify(key: &Secret, challenge: &str, signature: &str) -> bool {
    let Ok(signature) = BASE64.decode(signature) else { return false };
    mac(key.expose().as_bytes(), challenge.as_bytes()).verify_slice(&signature).is_ok()
}

fn mac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extra(value: serde_json::Value) -> Dict {
        value.as_object().unwrap().clone()
    }

    /// The second test vector that RFC 7914 (section 11) gives for PBKDF2 with HMAC-SHA-256.
    #[test]
    fn keys_are_derived_as_rfc_7914_says() {
        let salting = Salting { salt: "NaCl".to_owned(), iterations: 80000, keylen: 64 };
        let key = BASE64.decode(salting.derive(&Secret::new("Password")).expose()).unwrap();
        assert_eq!(key[..8], [0x4d, 0xdc, 0xd8, 0xf6, 0x0b, 0x98, 0xbe, 0x21]);
        assert_eq!(key[56..], [0x47, 0x8f, 0x62, 0xb3, 0x97, 0xf3, 0x3c, 0x8d]);
    }

    #[test]
    fn a_challenge_is_answered_and_verified() {
        let credentials = Credentials::WampCra { authid: "m1".to_owned(), secret: Secret::new("hunter2") };
        let plain = credentials.answer("wampcra", &extra(json!({"challenge": "{}"}))).unwrap();
        assert!(verify(&Secret::new("hunter2"), "{}", &plain));
        assert!(!verify(&Secret::new("hunter3"), "{}", &plain));
        assert!(!verify(&Secret::new("hunter2"), "{}", "no base64!"));

        let salted = extra(json!({"challenge": "{}", "salt": "s", "iterations": 10, "keylen": 32}));
        let key =
            Salting { salt: "s".to_owned(), iterations: 10, keylen: 32 }.derive(&Secret::new("hunter2"));
        assert!(verify(&key, "{}", &credentials.answer("wampcra", &salted).unwrap()));
    }

    #[test]
    fn unreasonable_challenges_are_refused() {
        let credentials = Credentials::WampCra { authid: "m1".to_owned(), secret: Secret::new("s") };
        let answer = |extra_value| credentials.answer("wampcra", &extra(extra_value));
        assert_eq!(answer(json!({})), Err(ChallengeError::Incomplete));
        assert_eq!(
            answer(json!({"challenge": "c", "salt": "s", "iterations": 1_000_000_000})),
            Err(ChallengeError::Unreasonable)
        );
        assert_eq!(answer(json!({"challenge": "c", "salt": 3})), Err(ChallengeError::Incomplete));
        assert!(matches!(credentials.answer("ticket", &Dict::new()), Err(ChallengeError::OtherMethod(_))));
    }

    #[test]
    fn secrets_are_compared_whole_and_never_shown() {
        let secret = Secret::new("abc");
        assert!(secret.is("abc") && !secret.is("ab") && !secret.is("abcd") && !secret.is(""));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
