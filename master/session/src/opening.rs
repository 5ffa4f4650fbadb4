//! The master's side of an opening, without I/O: hello, challenge, claim.

use crate::auth::{Nonce, Password, Proof, Side};
use crate::wire::{
    self, Claim, FromMaster, FromWorker, Hello, MAX_DIAL, MAX_NAME, Refusal, RefusalCode, versions,
};

/// Longest boot id; a UUID has 36 characters.
const MAX_BOOT_ID: usize = 64;

/// A worker that was challenged and has not answered yet.
pub(crate) struct Challenged {
    hello: Hello,
    version: u32,
    nonce: Nonce,
    password: Option<Password>,
}

/// A worker that proved its password.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) hello: Hello,
    pub(crate) claim: Claim,
    /// For [`Welcome`](crate::wire::Welcome).
    pub(crate) proof: Proof,
}

/// A refusal, with what only the master's log may say.
#[derive(Clone, Debug)]
pub(crate) struct Turned {
    pub(crate) refusal: Refusal,
    pub(crate) for_log: String,
}

impl Challenged {
    /// Reads the first frame. Returns what waits for the second one.
    pub(crate) fn by_hello(
        bytes: &[u8],
        nonce: Nonce,
        passwords: &dyn Fn(&str) -> Option<Password>,
    ) -> Result<Challenged, Turned> {
        let FromWorker::Hello(hello) = decode(bytes)? else {
            return Err(malformed("the first frame must be a hello"));
        };
        if hello.worker.is_empty() || hello.worker.chars().count() > MAX_NAME {
            return Err(malformed(&format!("a worker's name has 1 to {MAX_NAME} characters")));
        }
        if hello.boot_id.0.is_empty() || hello.boot_id.0.len() > MAX_BOOT_ID {
            return Err(malformed(&format!("a boot id has 1 to {MAX_BOOT_ID} bytes")));
        }
        if hello.dial_no > MAX_DIAL {
            return Err(malformed(&format!("a dial's number is at most {MAX_DIAL}")));
        }
        let Some(version) = versions().iter().copied().find(|version| hello.versions.contains(version))
        else {
            let reason = format!(
                "this master speaks versions {:?} of the session protocol, the worker {:?}: \
                 upgrade the older of both",
                versions(),
                hello.versions
            );
            return Err(turned(RefusalCode::Version, reason));
        };
        let password = passwords(&hello.worker);
        Ok(Challenged { hello, version, nonce, password })
    }

    /// Its name, if there is a worker of that name.
    pub(crate) fn known_name(&self) -> Option<&str> {
        self.password.is_some().then_some(self.hello.worker.as_str())
    }

    /// What the worker is sent. It looks the same for a name nobody knows.
    pub(crate) fn challenge(&self) -> FromMaster {
        FromMaster::Challenge { version: self.version, nonce: self.nonce }
    }

    /// Reads the second frame.
    pub(crate) fn by_claim(self, bytes: &[u8]) -> Result<Admitted, Turned> {
        let FromWorker::Claim(claim) = decode(bytes)? else {
            return Err(malformed("the second frame must be a claim"));
        };
        let Challenged { hello, version, nonce, password } = self;
        let Some(password) = password else {
            return Err(not_let_in(&hello, "this name is not configured"));
        };
        let transcript = hello.transcript(version, nonce);
        if !password.verifies(&claim.proof, Side::Worker, &transcript) {
            return Err(not_let_in(&hello, "the password is wrong"));
        }
        let proof = password.proof(Side::Master, &transcript);
        Ok(Admitted { hello, claim, proof })
    }
}

fn decode(bytes: &[u8]) -> Result<FromWorker, Turned> {
    wire::decode(bytes).map_err(|error| malformed(&error.to_string()))
}

fn malformed(problem: &str) -> Turned {
    turned(RefusalCode::Malformed, format!("this is the session port of a Muster master: {problem}"))
}

fn turned(code: RefusalCode, reason: String) -> Turned {
    Turned { refusal: Refusal::new(code, reason.clone()), for_log: reason }
}

fn not_let_in(hello: &Hello, really: &str) -> Turned {
    let reason = format!(
        "worker {:?} is not configured on this master, or its password is wrong: compare with c['workers']",
        hello.worker
    );
    Turned {
        for_log: format!("worker {:?}: {really}", hello.worker),
        ..turned(RefusalCode::Credentials, reason)
    }
}
