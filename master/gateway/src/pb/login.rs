//! The log-in with a challenge (`docs/compat/worker-protocol.md` 1.5).

use md5::{Digest, Md5};

use super::STRANGERS_LIMIT;
use crate::broker::{Broker, Call, Message, Target};
use crate::failure::Failure;
use crate::roster::{Account, is_same};
use crate::stock::Breach;
use crate::value::Value;

/// Bytes of a challenge.
pub(crate) const CHALLENGE: usize = 16;

/// Tries on one connection; a stock client makes one.
const MAX_TRIES: u32 = 3;

/// A connection that has not logged in yet.
pub(crate) struct Login {
    broker: Broker<()>,
    challenge: [u8; CHALLENGE],
    /// The object that takes the response, and who says to be there.
    challenged: Option<(u64, String)>,
    tries: u32,
}

/// Who has come in.
pub(crate) struct LoggedIn {
    pub(crate) name: String,
    pub(crate) account: Account,
    /// The object that a worker brings along.
    pub(crate) mind: Option<u64>,
    /// The call that is still to be answered, with the avatar.
    pub(crate) request: Option<u64>,
}

/// What came of some bytes.
pub(crate) enum Outcome {
    /// More have to come.
    Waiting,
    /// Wrong name or password; the client was told.
    Denied { name: String },
    /// In.
    In(LoggedIn),
}

impl Login {
    /// A new connection; `challenge` has to be random.
    pub(crate) fn new(challenge: [u8; CHALLENGE]) -> Login {
        Login { broker: Broker::new(STRANGERS_LIMIT), challenge, challenged: None, tries: 0 }
    }

    /// The broker, for what comes after the log-in.
    pub(crate) fn into_broker<T>(self, limit: usize) -> Broker<T> {
        self.broker.promote(limit)
    }

    pub(crate) fn output(&mut self) -> Option<Vec<u8>> {
        self.broker.output()
    }

    /// Takes bytes of the client; `account` looks up a name.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        account: &dyn Fn(&str) -> Option<Account>,
    ) -> Result<Outcome, Breach> {
        self.broker.push(bytes);
        while let Some(message) = self.broker.next_message()? {
            let Message::Call(call) = message else { continue };
            let challenged = self.challenged.as_ref().map(|(object, _)| *object);
            match (call.target, call.method.as_str()) {
                (Target::Root, "login") => self.challenge(&call)?,
                (Target::Root, "loginAnonymous") => {
                    self.broker.fail(call.request, &Failure::unauthorized())?;
                    return Ok(Outcome::Denied { name: "(anonymous)".into() });
                }
                (Target::Object(object), "respond") if Some(object) == challenged => {
                    return self.respond(&call, account);
                }
                (Target::Object(_), _) => self.broker.fail(call.request, &Failure::no_such_object())?,
                (Target::Root, method) => {
                    let failure = Failure::no_such_method(method);
                    self.broker.fail(call.request, &failure)?;
                }
            }
        }
        Ok(Outcome::Waiting)
    }

    fn challenge(&mut self, call: &Call) -> Result<(), Breach> {
        self.tries += 1;
        let name = call.args.first().and_then(Value::as_text);
        let (Some(name), true) = (name, self.tries <= MAX_TRIES) else {
            return Err(Breach::Malformed("a log-in without a name, or one too many".into()));
        };
        let object = self.broker.export();
        self.challenged = Some((object, name));
        let challenge = Value::Bytes(self.challenge.to_vec());
        self.broker.answer(call.request, &Value::Tuple(vec![challenge, Value::Ours(object)]))?;
        Ok(())
    }

    fn respond(&mut self, call: &Call, account: &dyn Fn(&str) -> Option<Account>) -> Result<Outcome, Breach> {
        let Some((_, name)) = self.challenged.take() else { return Ok(Outcome::Waiting) };
        let response = call.args.first().cloned().and_then(Value::into_bytes).unwrap_or_default();
        let proven = account(&name)
            .filter(|account| is_same(&response, &expected(account.password(), &self.challenge)));
        let Some(account) = proven else {
            self.broker.fail(call.request, &Failure::unauthorized())?;
            return Ok(Outcome::Denied { name });
        };
        let mind = match call.args.get(1) {
            Some(Value::Theirs(object)) => Some(*object),
            _ => None,
        };
        Ok(Outcome::In(LoggedIn { name, account, mind, request: call.request }))
    }
}

fn expected(password: &str, challenge: &[u8]) -> [u8; 16] {
    let mut hash = Md5::new();
    hash.update(Md5::digest(password.as_bytes()));
    hash.update(challenge);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_is_the_recorded_one() {
        let challenge = 0x8078_5fc2_164a_dc54_def8_2fd0_d2db_fb9a_u128.to_be_bytes();
        let response = 0x006d_6b5a_c59f_7313_89c6_c333_6dfa_5414_u128.to_be_bytes();
        assert_eq!(expected("pbpass", &challenge), response);
        assert!(is_same(&response, &expected("pbpass", &challenge)));
        assert!(!is_same(&response, &expected("other", &challenge)));
        assert!(!is_same(&[], &response));
    }
}
