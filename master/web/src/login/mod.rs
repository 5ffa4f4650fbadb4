//! `/auth/login` and `/auth/logout` (`docs/compat/www-api.md` D.2). Programs log in by HTTP Basic, people by a form or at a
//! provider. Wrong passwords are slowed as those of workers are.

mod avatar;
mod check;
mod identify;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use muster_config::snapshot::{AuthConfig, LogInMethod, OauthConfig, Snapshot};
use muster_core::render::{Renderable, is_true};
use muster_net::Turn;
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::{
    AppState,
    access_log::Peer,
    auth::{
        Door, UserInfo, oauth, password,
        session::{cookies, ending_cookies},
    },
    forms::Fields,
    pages::PageRequest,
    site::{OF_ANOTHER_SITE, Secure, is_same_site},
};
use identify::is_secure;

pub use check::unusable;
pub(crate) use identify::identify;

/// How long a function of the configuration may take to check one.
const FUNCTION_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a name and of a password; longer ones are nobody's.
const MAX_WORD: usize = 1_024;
/// Bytes of a file of passwords; of a longer one nobody comes in.
const MAX_FILE: u64 = 16 << 20;
/// The cookie that ties what a provider sends back to the browser that was sent there, and for how many seconds.
const NONCE: &str = "muster_login";
const NONCE_SECONDS: u32 = 900;

pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/auth/login", get(login).post(submit))
        .route("/auth/logout", get(logout).post(logout))
        .route("/avatar", get(avatar::avatar))
}

/// One request at the door.
struct Knock {
    page: PageRequest,
    config: Arc<Snapshot>,
    secure: bool,
    peer: String,
}

impl Knock {
    fn new(state: &AppState, page: PageRequest, peer: Option<Extension<Peer>>, secure: bool) -> Knock {
        let config = state.config();
        let secure = is_secure(&config, secure);
        let peer = peer.map_or_else(
            || "-".to_owned(),
            |Extension(Peer(peer))| match peer.parse() {
                Ok(address) => std::net::SocketAddr::new(address, 0).to_string(),
                Err(_) => peer.to_string(),
            },
        );
        Knock { page, config, secure, peer }
    }

    fn auth(&self) -> Option<&AuthConfig> {
        self.config.www.auth.as_ref().filter(|auth| auth.method != LogInMethod::Nobody)
    }

    /// Where people go on: to a page of Buildbot's interface, or to one of ours. Never to another site.
    fn onward(&self, fields: &Fields) -> String {
        let until_line_end = |text: &str| text.split(['\r', '\n']).next().unwrap_or_default().to_owned();
        match (fields.get("redirect"), fields.get("back")) {
            (None, Some(back)) => format!("{}{}", self.page.root(), within(&until_line_end(back))),
            (redirect, _) => {
                format!("{}#{}", self.config.buildbot_url, until_line_end(redirect.unwrap_or("/")))
            }
        }
    }

    /// Lets somebody in.
    async fn welcome(&self, state: &AppState, info: UserInfo, to: String) -> Response {
        let name = info.get("username").cloned().unwrap_or_default();
        let seconds = self.config.www.cookie_expiration_time;
        let Some(cookie) = state.sessions.cookie(&state.data, info, seconds, self.secure).await else {
            return self
                .page
                .plain_error(StatusCode::SERVICE_UNAVAILABLE, "The database is away; try again later.");
        };
        tracing::info!(user = %name, peer = self.peer, "somebody logged in");
        let mut response = found(&to);
        response.headers_mut().append(header::SET_COOKIE, cookie);
        response
    }
}

/// A path within this site: nothing that a browser could take for a host or a scheme.
fn within(path: &str) -> String {
    let path = path.trim_start_matches(['/', '\\', ' ', '\t']);
    let bad = |character: char| character == '\\' || character.is_control();
    let first = path.split(['/', '?', '#']).next().unwrap_or_default();
    if path.contains(bad) || first.contains(':') { String::new() } else { path.to_owned() }
}

fn found(to: &str) -> Response {
    // What no header can carry leads to the first page.
    let to = HeaderValue::from_str(to).unwrap_or_else(|_| HeaderValue::from_static("./"));
    let fresh = HeaderValue::from_static("no-store");
    (StatusCode::FOUND, [(header::LOCATION, to), (header::CACHE_CONTROL, fresh)]).into_response()
}

async fn login(
    State(state): State<AppState>,
    page: PageRequest,
    peer: Option<Extension<Peer>>,
    secure: Option<Extension<Secure>>,
    headers: HeaderMap,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let knock = Knock::new(&state, page, peer, secure.is_some());
    let Some(auth) = knock.auth() else {
        return knock
            .page
            .plain_error(StatusCode::NOT_IMPLEMENTED, "Nobody logs in here: c['www']['auth'] is not set.");
    };
    let fields = Fields::from(query);
    match &auth.method {
        LogInMethod::Nobody | LogInMethod::RemoteUser { .. } => {
            let why = "URL is not supported for authentication: the proxy in front of this server says who you are.";
            knock.page.plain_error(StatusCode::FORBIDDEN, why)
        }
        LogInMethod::Oauth(oauth) => match fields.text("code").is_some() || fields.text("error").is_some() {
            true => come_back(&state, &knock, oauth, &fields, &headers).await,
            false => send_away(&state, &knock, oauth, &fields).await,
        },
        _ => match basic(&headers) {
            Some((name, word)) => match is_right(&state, &knock, auth, &name, &word).await {
                Ok(Some(info)) => knock.welcome(&state, info, knock.onward(&fields)).await,
                Ok(None) => challenge(),
                Err(refusal) => refusal.response(&knock),
            },
            None if wants_html(&headers) => knock.page.login_form(StatusCode::OK, &fields, None),
            None => challenge(),
        },
    }
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn challenge() -> Response {
    let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"buildbot\", charset=\"UTF-8\"")];
    (StatusCode::UNAUTHORIZED, ask, "Unauthorized\n").into_response()
}

fn basic(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = given.split_once(' ')?;
    let text = STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = text.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8_lossy(&text[..colon]).into_owned(), text[colon + 1..].to_vec()))
}

async fn submit(
    State(state): State<AppState>,
    page: PageRequest,
    peer: Option<Extension<Peer>>,
    secure: Option<Extension<Secure>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let knock = Knock::new(&state, page, peer, secure.is_some());
    if !is_same_site(&headers, &knock.config) {
        return knock.page.plain_error(StatusCode::FORBIDDEN, OF_ANOTHER_SITE);
    }
    let fields = Fields::parse(&body);
    let passwords = |auth: &&AuthConfig| {
        matches!(
            auth.method,
            LogInMethod::Passwords { .. } | LogInMethod::Htpasswd { .. } | LogInMethod::Function { .. }
        )
    };
    let Some(auth) = knock.auth().filter(passwords) else {
        return knock.page.plain_error(StatusCode::NOT_IMPLEMENTED, "Nobody logs in by a password here.");
    };
    let (name, word) =
        (fields.get("username").unwrap_or_default(), fields.get("password").unwrap_or_default());
    match is_right(&state, &knock, auth, name, word.as_bytes()).await {
        Ok(Some(info)) => knock.welcome(&state, info, knock.onward(&fields)).await,
        Ok(None) => {
            let problem = "The name or the password is wrong.";
            knock.page.login_form(StatusCode::UNAUTHORIZED, &fields, Some(problem))
        }
        Err(refusal) => refusal.response(&knock),
    }
}

/// Why a password was not looked at.
enum NotChecked {
    Crowd,
    Failed,
}

impl NotChecked {
    fn response(self, knock: &Knock) -> Response {
        match self {
            NotChecked::Crowd => knock.page.plain_error(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many try this name from this address at the same time; wait a few seconds.",
            ),
            NotChecked::Failed => knock.page.plain_error(
                StatusCode::SERVICE_UNAVAILABLE,
                "Passwords can't be checked just now; the master's log tells why.",
            ),
        }
    }
}

/// What is known of a user, if the password is right.
async fn is_right(
    state: &AppState,
    knock: &Knock,
    auth: &AuthConfig,
    name: &str,
    word: &[u8],
) -> Result<Option<UserInfo>, NotChecked> {
    let fits = !name.is_empty() && name.len() <= MAX_WORD && word.len() <= MAX_WORD;
    let kept = match &auth.method {
        LogInMethod::Passwords { users } => users.get(name).cloned(),
        LogInMethod::Htpasswd { file } => of_file(&knock.config, file, name).await?,
        LogInMethod::Function { .. } => Some(String::new()),
        _ => None,
    };
    let known = kept.is_some() && fits;
    let turn = state.door.guesses.turn(&knock.peer, known.then_some(name)).await;
    let turn: Turn = turn.map_err(|_| NotChecked::Crowd)?;
    let right = match &auth.method {
        LogInMethod::Function { check } if fits => {
            let Some(host) = &state.host else { return Err(NotChecked::Failed) };
            let args = vec![Value::from(STANDARD.encode(name)), Value::from(STANDARD.encode(word))];
            let asked = host.call(check, args, Map::new(), FUNCTION_LIMIT).await.map_err(|error| {
                tracing::error!(%error, "check_credentials of c['www']['auth'] failed");
                NotChecked::Failed
            })?;
            matches!(&asked, Renderable::Literal(value) if is_true(value))
        }
        _ => check(&state.door, kept.filter(|_| fits), word).await?,
    };
    if !right {
        tracing::warn!(name, peer = knock.peer, "a log-in was refused");
        turn.failed();
        return Ok(None);
    }
    turn.passed();
    let mut info = UserInfo::new();
    info.insert("username".to_owned(), name.into());
    if auth.email_is_username {
        info.insert("email".to_owned(), name.into());
    }
    Ok(Some(info))
}

/// Checks aside of the threads that answer. For a name that nobody has, a password is checked all the same, so that both take
/// as long.
async fn check(door: &Door, kept: Option<String>, word: &[u8]) -> Result<bool, NotChecked> {
    const NOBODYS: &str = "pbkdf2-sha256$20000$bm9ib2R5$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let place = door.checks.clone().acquire_owned().await.map_err(|_| NotChecked::Failed)?;
    let word = word.to_owned();
    let checked = tokio::task::spawn_blocking(move || {
        let _place = place;
        password::is(kept.as_deref().unwrap_or(NOBODYS), &word) && kept.is_some()
    });
    checked.await.map_err(|error| {
        tracing::error!(%error, "a password could not be checked");
        NotChecked::Failed
    })
}

/// The file is read at each log-in, so that it may change at any time.
async fn of_file(config: &Snapshot, file: &str, name: &str) -> Result<Option<String>, NotChecked> {
    let directory =
        std::path::Path::new(&config.config_file).parent().map(ToOwned::to_owned).unwrap_or_default();
    let (path, name) = (directory.join(file), name.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let length = std::fs::metadata(&path)?.len();
        if length > MAX_FILE {
            return Err(std::io::Error::other(format!("it is longer than {MAX_FILE} bytes")));
        }
        let bytes = std::fs::read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(password::of_user(&text, &name).map(str::to_owned))
    });
    match read.await {
        Ok(Ok(kept)) => Ok(kept),
        Ok(Err(error)) => {
            tracing::error!(%error, file, "the file of passwords of c['www']['auth'] can't be read");
            Err(NotChecked::Failed)
        }
        Err(error) => {
            tracing::error!(%error, "the file of passwords could not be read");
            Err(NotChecked::Failed)
        }
    }
}

fn redirect_uri(config: &Snapshot) -> String {
    format!("{}/auth/login", config.buildbot_url.trim_end_matches('/'))
}

async fn send_away(state: &AppState, knock: &Knock, config: &OauthConfig, fields: &Fields) -> Response {
    let nonce = Uuid::new_v4().simple().to_string();
    let kept = ["redirect", "back"].into_iter().filter_map(|name| Some((name, fields.get(name)?)));
    let carried = oauth::form(kept.chain([("nonce", nonce.as_str())]));
    let there = oauth::address(config, state.host.as_ref(), &redirect_uri(&knock.config), &carried).await;
    let mut response = match there {
        Ok(there) => found(&there),
        Err(error) => return failed(knock, &error),
    };
    set_nonce(&mut response, &nonce, NONCE_SECONDS, knock.secure);
    response
}

fn set_nonce(response: &mut Response, nonce: &str, seconds: u32, secure: bool) {
    let flag = if secure { "; Secure" } else { "" };
    let cookie = format!("{NONCE}={nonce}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{flag}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn failed(knock: &Knock, error: &str) -> Response {
    tracing::error!(error, peer = knock.peer, "a log-in at the provider failed");
    knock.page.plain_error(StatusCode::SERVICE_UNAVAILABLE, &format!("The log-in failed: {error}."))
}

async fn come_back(
    state: &AppState,
    knock: &Knock,
    config: &OauthConfig,
    fields: &Fields,
    headers: &HeaderMap,
) -> Response {
    let carried = Fields::parse(fields.get("state").unwrap_or_default());
    let nonce = carried.get("nonce").unwrap_or_default();
    let same = |kept: &str| bool::from(kept.as_bytes().ct_eq(nonce.as_bytes()));
    if nonce.is_empty() || !cookies(headers, NONCE).any(same) {
        let why = "This answer of the provider belongs to no log-in that this browser has begun here. Please log in again.";
        return knock.page.plain_error(StatusCode::FORBIDDEN, why);
    }
    if let Some(error) = fields.text("error") {
        let said = fields.text("error_description").unwrap_or(error);
        return knock.page.plain_error(StatusCode::FORBIDDEN, &format!("The provider says: {said}"));
    }
    let code = fields.get("code").unwrap_or_default();
    let auth = knock.auth();
    let mut response =
        match oauth::user_of(config, state.host.as_ref(), &redirect_uri(&knock.config), code).await {
            Ok(mut info) => {
                if auth.is_some_and(|auth| auth.email_is_username) {
                    let name = info.get("username").cloned().unwrap_or_else(|| json!(""));
                    info.insert("email".to_owned(), name);
                }
                knock.welcome(state, info, knock.onward(&carried)).await
            }
            Err(error) => failed(knock, &error),
        };
    set_nonce(&mut response, "", 0, knock.secure);
    response
}

async fn logout(
    State(state): State<AppState>,
    page: PageRequest,
    secure: Option<Extension<Secure>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let knock = Knock::new(&state, page, None, secure.is_some());
    if !is_same_site(&headers, &knock.config) {
        return knock.page.plain_error(StatusCode::FORBIDDEN, OF_ANOTHER_SITE);
    }
    let posted = Fields::parse(&body);
    let fields = if posted.is_empty() { Fields::from(query) } else { posted };
    let mut response = found(&knock.onward(&fields));
    for cookie in ending_cookies(knock.secure) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_site() {
        for (path, leads) in [
            ("builders/x", "builders/x"),
            ("/builders/a:b?x=1", "builders/a:b?x=1"),
            ("//evil.example", "evil.example"),
            ("/\\evil.example", "evil.example"),
            ("https://evil.example", ""),
            ("javascript:alert(1)", ""),
            ("a\\b", ""),
            ("\t//e", "e"),
            ("log?line=a:b", "log?line=a:b"),
            ("x\u{1}", ""),
        ] {
            assert_eq!(within(path), leads, "{path}");
        }
    }
}
