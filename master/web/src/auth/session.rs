//! Sessions: Buildbot's signed tokens in a cookie, with the secret that all masters of a database share
//! (`docs/compat/www-api.md` D.1). A session of a Buildbot master is valid here, and the other way round.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use muster_data::Data;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// What is known of a visitor, as Buildbot names it: `username`, `email`, `full_name`, `groups`, …
pub(crate) type UserInfo = Map<String, Value>;

/// The cookie's names without and with TLS.
const NAMES: [&str; 2] = ["TWISTED_SESSION", "TWISTED_SECURE_SESSION"];
/// Bytes of a token that is looked at; browsers keep no longer cookie.
const MAX_TOKEN: usize = 4_096;
/// Bytes of a token that is made; of somebody with too many groups the last ones are left out.
const MAX_OWN: usize = 3_800;
/// How long a session lasts where the configuration doesn't say.
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The secret of this database's sessions, asked for once. Clones have the same.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<OnceCell<String>>);

/// A valid session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    pub(crate) info: UserInfo,
    /// Seconds since 1970 at which it ends.
    pub(crate) ends: i64,
}

impl Sessions {
    /// The session that a request carries, if it is valid.
    pub(crate) async fn of(&self, data: &Data, headers: &HeaderMap) -> Option<Session> {
        let tokens: Vec<&str> = NAMES.iter().rev().flat_map(|name| cookies(headers, name)).collect();
        if tokens.is_empty() {
            return None;
        }
        let secret = self.secret(data).await?;
        tokens.into_iter().find_map(|token| read(token, secret, muster_data::now().0))
    }

    /// The cookie of a new session.
    pub(crate) async fn cookie(
        &self,
        data: &Data,
        info: UserInfo,
        seconds: Option<f64>,
        secure: bool,
    ) -> Option<HeaderValue> {
        let secret = self.secret(data).await?;
        let lasts = seconds.unwrap_or(WEEK.as_secs_f64()) as i64;
        let ends = muster_data::now().0.saturating_add(lasts);
        HeaderValue::from_str(&set_cookie(&fitting(info, ends, secret), secure)).ok()
    }

    async fn secret(&self, data: &Data) -> Option<&str> {
        let ask = || async { data.session_secret(&Uuid::new_v4().simple().to_string()).await };
        match self.0.get_or_try_init(ask).await {
            Ok(secret) => Some(secret),
            Err(error) => {
                tracing::warn!(%error, "the secret of sessions can't be read, so nobody counts as logged in");
                None
            }
        }
    }
}

/// The values of all cookies of this name.
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(move |pair| pair.trim().split_once('='))
        .filter_map(move |(known, value)| (known == name).then_some(value.trim_matches('"')))
}

fn set_cookie(token: &str, secure: bool) -> String {
    let name = NAMES[usize::from(secure)];
    let flags = if secure { "; Secure" } else { "" };
    format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{flags}")
}

/// Ends the session in the browser; both names, since the site may have been reached either way.
pub(crate) fn ending_cookies(secure: bool) -> Vec<HeaderValue> {
    let names = if secure { &NAMES[..] } else { &NAMES[..1] };
    let values = names.iter().map(|name| {
        let flags = if *name == NAMES[1] { "; Secure" } else { "" };
        format!("{name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{flags}")
    });
    values.filter_map(|value| HeaderValue::from_str(&value).ok()).collect()
}

fn signature(signed: &str, secret: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(signed.as_bytes());
    mac
}

fn sign(info: &UserInfo, ends: i64, secret: &str) -> String {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = URL_SAFE_NO_PAD.encode(json!({"user_info": info, "exp": ends}).to_string());
    let signed = format!("{head}.{claims}");
    let mac = URL_SAFE_NO_PAD.encode(signature(&signed, secret).finalize().into_bytes());
    format!("{signed}.{mac}")
}

fn fitting(mut info: UserInfo, ends: i64, secret: &str) -> String {
    let mut token = sign(&info, ends, secret);
    let mut left_out = 0;
    while token.len() > MAX_OWN {
        match info.get_mut("groups").and_then(Value::as_array_mut) {
            Some(groups) if !groups.is_empty() => {
                let keep = groups.len() * 9 / 10;
                left_out += groups.len() - keep;
                groups.truncate(keep);
            }
            _ => break,
        }
        token = sign(&info, ends, secret);
    }
    if left_out > 0 {
        let name = info.get("username").and_then(Value::as_str).unwrap_or_default();
        tracing::warn!(user = name, "a session holds no more groups; the last {left_out} are left out");
    }
    token
}

/// What a token says, if it is signed with this secret and not over.
fn read(token: &str, secret: &str, now: i64) -> Option<Session> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let (signed, mac) = token.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    signature(signed, secret).verify_slice(&URL_SAFE_NO_PAD.decode(mac).ok()?).ok()?;
    let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    if json(head)?.get("alg")? != "HS256" {
        return None;
    }
    let mut claims = json(claims)?;
    let ends = claims.get("exp")?.as_f64()? as i64;
    let info = match claims.get_mut("user_info")?.take() {
        Value::Object(info) if ends > now => info,
        _ => return None,
    };
    Some(Session { info, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn info() -> UserInfo {
        json!({"username": "ann", "email": "ann@example.org"}).as_object().unwrap().clone()
    }

    fn token(head: Value, claims: Value, secret: &str) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(head), part(claims));
        let mac = URL_SAFE_NO_PAD.encode(signature(&signed, secret).finalize().into_bytes());
        format!("{signed}.{mac}")
    }

    #[test]
    fn a_session_comes_back_until_it_ends() {
        let token = sign(&info(), 100, SECRET);
        assert_eq!(read(&token, SECRET, 99), Some(Session { info: info(), ends: 100 }));
        assert_eq!(read(&token, SECRET, 100), None);
        assert_eq!(read(&token, "another installation's", 1), None);
    }

    /// Made by PyJWT 2.15, as Buildbot calls it.
    #[test]
    fn a_session_of_buildbot_is_one() {
        let recorded = include_str!("../../tests/buildbot-session.txt").trim();
        let session = read(recorded, SECRET, 1).unwrap();
        assert_eq!(session.info["username"], "ann");
        assert_eq!(sign(&session.info, session.ends, SECRET).split('.').count(), 3);
    }

    #[test]
    fn forged_tokens_are_none() {
        let good = || json!({"user_info": {"username": "ann"}, "exp": 100});
        let head = || json!({"alg": "HS256", "typ": "JWT"});
        assert!(read(&token(head(), good(), SECRET), SECRET, 1).is_some());
        let genuine = sign(&info(), 100, SECRET);
        let (signed, mac) = genuine.rsplit_once('.').unwrap();
        let (head_part, claims) = signed.split_once('.').unwrap();
        let other =
            URL_SAFE_NO_PAD.encode(json!({"user_info": {"username": "root"}, "exp": 100}).to_string());
        for forged in [
            token(json!({"alg": "none"}), good(), SECRET),
            token(json!({"alg": "HS512"}), good(), SECRET),
            token(json!([]), good(), SECRET),
            token(head(), json!({"user_info": {"username": "ann"}}), SECRET),
            token(head(), json!({"user_info": "ann", "exp": 100}), SECRET),
            token(head(), json!({"exp": 100}), SECRET),
            token(head(), good(), ""),
            format!("{head_part}.{other}.{mac}"),
            format!("{head_part}.{claims}."),
            format!("{head_part}.{claims}"),
            format!("{head_part}..{mac}"),
            format!("{genuine}={}", "x".repeat(MAX_TOKEN)),
            "a.b.c".to_owned(),
            String::new(),
        ] {
            assert_eq!(read(&forged, SECRET, 1), None, "{forged}");
        }
    }

    #[test]
    fn many_groups_still_make_a_cookie() {
        let groups: Vec<String> = (0..1000).map(|number| format!("organisation/team-{number}")).collect();
        let mut info = info();
        info.insert("groups".to_owned(), json!(groups));
        let token = fitting(info, 100, SECRET);
        assert!(token.len() <= MAX_OWN);
        assert_eq!(read(&token, SECRET, 1).unwrap().info["groups"][0], "organisation/team-0");
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; TWISTED_SESSION=x.y.z; b"));
        headers.append("cookie", HeaderValue::from_static("TWISTED_SESSION=\"q\""));
        assert_eq!(cookies(&headers, "TWISTED_SESSION").collect::<Vec<_>>(), ["x.y.z", "q"]);
        assert!(
            set_cookie("t", true)
                .starts_with("TWISTED_SECURE_SESSION=t; Path=/; HttpOnly; SameSite=Lax; Secure")
        );
    }
}
