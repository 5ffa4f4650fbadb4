//! What a page knows about its request, and how it answers.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use minijinja::{Value, context};
use muster_config::snapshot::{LogInMethod, Snapshot};
use muster_core::policy::{Action, Target, User};
use muster_data::{Fault, views::BuilderLine};

use super::{render::Templates, theme};
use crate::forms::Fields;
use crate::{
    actions::{Orders, Refusal},
    auth::Visitor,
    site::{OF_ANOTHER_SITE, is_same_site},
    state::AppState,
    told,
};

/// One request for a page.
pub(crate) struct PageRequest {
    pub(super) query: Fields,
    pub(super) snapshot: Arc<Snapshot>,
    templates: Templates,
    /// The way from this page to the first one: `./`, `../`, …
    root: String,
    path: String,
    colours: Option<&'static str>,
    same_site: bool,
    visitor: Visitor,
}

/// An answer to a request for a page.
pub(super) type PageResult = Result<Response, PageError>;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum PageError {
    /// Nothing has this address; the text says what was looked for.
    NotFound(String),
    /// Not allowed; the text says why.
    Refused(String),
    /// What was asked for can't be stored.
    Unstorable(String),
    /// The database is away, or this master may do nothing just now.
    Away(String),
    /// Something failed; the log has it, too.
    Failed(String),
}

impl<E: std::error::Error + 'static> From<E> for PageError {
    fn from(error: E) -> PageError {
        if let Some(stored) = told::behind(&error) {
            tracing::error!(error = %stored, "a page could not be made");
            return match stored.fault() {
                Fault::Asked => PageError::Unstorable(stored.told()),
                Fault::Away => PageError::Away(stored.told()),
                Fault::Ours => PageError::Failed(stored.told()),
            };
        }
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        tracing::error!(error = %text, "a page could not be made");
        PageError::Failed(text)
    }
}

impl FromRequestParts<AppState> for PageRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<PageRequest, Infallible> {
        let snapshot = state.snapshot.borrow().clone();
        Ok(PageRequest {
            query: Fields::parse(parts.uri.query().unwrap_or_default()),
            templates: parts.extensions.get::<Templates>().cloned().unwrap_or_default(),
            root: root_of(parts.uri.path()),
            path: parts.uri.path().to_owned(),
            colours: chosen_colours(&parts.headers),
            same_site: is_same_site(&parts.headers, &snapshot),
            visitor: Visitor::from_request_parts(parts, state).await?,
            snapshot,
        })
    }
}

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> PageError {
        match refusal {
            Refusal::Denied(denied) => PageError::Refused(format!("You may not do this: {denied}.")),
            Refusal::Failed(error) => error.into(),
            Refusal::Force(error) => error.into(),
        }
    }
}

/// `./` for `/builders`, `../` for `/builders/x`, and so on.
fn root_of(path: &str) -> String {
    match path.matches('/').count() {
        0 | 1 => "./".to_owned(),
        slashes => "../".repeat(slashes - 1),
    }
}

fn chosen_colours(headers: &HeaderMap) -> Option<&'static str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let value = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("muster_theme="))?;
    ["light", "dark"].into_iter().find(|theme| *theme == value)
}

/// The title leads where the configuration says; Buildbot's own address, which is the default, is none of it.
fn title_link(snapshot: &Snapshot) -> Option<&str> {
    let url = snapshot.title_url.as_str();
    let lower = url.to_ascii_lowercase();
    let is_web = lower.starts_with("http://") || lower.starts_with("https://") || lower.starts_with('/');
    (is_web && url != "http://buildbot.net/").then_some(url)
}

/// Our page for `c['www']['default_page']`, which names one of Buildbot's.
fn default_page(snapshot: &Snapshot) -> Option<&'static str> {
    let name = snapshot.www.raw.get("default_page")?.as_str()?;
    LANDING_PAGES.iter().find(|(theirs, _)| *theirs == name.trim_matches(['#', '/'])).map(|(_, ours)| *ours)
}

/// Buildbot's pages, and which of ours is nearest. `static/routes.js` says the same of their addresses.
const LANDING_PAGES: [(&str, &str); 12] = [
    ("builders", "builders"),
    ("pendingbuildrequests", "pending"),
    ("pending", "pending"),
    ("buildrequests", "pending"),
    ("workers", "workers"),
    ("changes", "changes"),
    ("console", "changes"),
    ("projects", "builders"),
    ("waterfall", "builders"),
    ("grid", "builders"),
    ("about", "about"),
    ("masters", "about#masters"),
];

impl PageRequest {
    /// Answers with the template `name`; `?fragment=content` asks for what stands inside `<main>` only.
    pub(super) fn page(&self, name: &str, context: Value) -> PageResult {
        Ok(self.with_status(StatusCode::OK, name, context)?)
    }

    /// The same with another status.
    pub(super) fn with_status(
        &self,
        status: StatusCode,
        name: &str,
        context: Value,
    ) -> Result<Response, minijinja::Error> {
        let layout = match self.query.get("fragment") {
            Some(_) => "fragment.html",
            None => "layout.html",
        };
        let site = context! {
            title => self.snapshot.title.as_str(), title_url => self.snapshot.title_url.as_str(),
            login => self.login(), user => self.visitor.actor.user().map(User::shown), title_link => title_link(&self.snapshot), themed => theme::is_set(&self.snapshot),
            home => if default_page(&self.snapshot).is_some() { "?home" } else { "" },
        };
        let base = context! {
            layout, site, may => self.may_with_requests(), root => Value::from_safe_string(self.root.clone()), path => self.path.as_str(), theme => self.colours, now => muster_data::now().0,
        };
        let html = self.templates.render(&self.snapshot, name, context! { ..context, ..base })?;
        let fresh = [(header::CACHE_CONTROL, "no-store"), (header::VARY, "cookie")];
        Ok((status, fresh, Html(html)).into_response())
    }

    /// Where the first page leads to instead of home.
    pub(super) fn landing_page(&self) -> Option<&'static str> {
        default_page(&self.snapshot).filter(|_| self.query.is_empty())
    }

    /// The page that tells an error.
    pub(super) fn error(&self, error: PageError) -> Response {
        let (status, what, detail) = match error {
            PageError::NotFound(detail) => (StatusCode::NOT_FOUND, "Not found", detail),
            PageError::Refused(detail) => (StatusCode::FORBIDDEN, "Refused", detail),
            PageError::Unstorable(detail) => (StatusCode::BAD_REQUEST, "This can't be stored", detail),
            PageError::Away(detail) => (StatusCode::SERVICE_UNAVAILABLE, "Not now", detail),
            PageError::Failed(detail) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "This page could not be made", detail)
            }
        };
        let page = self.with_status(
            status,
            "error.html",
            context! { nav => "", what, detail => detail.as_str(), code => status.as_u16() },
        );
        page.unwrap_or_else(|broken| {
            tracing::error!(error = %broken, "the page for errors could not be made");
            (status, format!("{what}: {detail}\n")).into_response()
        })
    }

    /// Answers, with a page for an error, too.
    pub(super) fn finish(&self, result: PageResult) -> Response {
        result.unwrap_or_else(|error| self.error(error))
    }

    /// Lets a post pass that comes from one of our pages.
    pub(super) fn check_same_site(&self) -> Result<(), PageError> {
        match self.same_site {
            true => Ok(()),
            false => Err(PageError::Refused(OF_ANOTHER_SITE.to_owned())),
        }
    }

    /// How the visitor could log in: `None` not at all, or already in.
    fn login(&self) -> bool {
        let auth = self.snapshot.www.auth.as_ref();
        auth.is_some_and(|auth| !matches!(auth.method, LogInMethod::Nobody | LogInMethod::RemoteUser { .. }))
    }

    /// The way from this page to the first one.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The page with a form for name and password.
    pub(crate) fn login_form(&self, status: StatusCode, fields: &Fields, problem: Option<&str>) -> Response {
        let given = |name: &str| fields.text(name);
        let context = context! {
            nav => "", problem, redirect => given("redirect"), back => given("back"), username => given("username"),
        };
        self.finish(self.with_status(status, "login.html", context).map_err(PageError::from))
    }

    /// A page that only tells something.
    pub(crate) fn plain_error(&self, status: StatusCode, detail: &str) -> Response {
        let what = status.canonical_reason().unwrap_or("Error");
        let page = context! { nav => "", what, detail, code => status.as_u16() };
        self.finish(self.with_status(status, "error.html", page).map_err(PageError::from))
    }

    /// What the visitor may do with pending requests.
    fn may_with_requests(&self) -> Value {
        let anything = Target::default();
        context! {
            cancel => self.may(Action::CancelRequest, &anything), first => self.may(Action::SetPriority, &anything),
        }
    }

    /// Whether the visitor may do something, for the page to offer it.
    pub(super) fn may(&self, action: Action, target: &Target) -> bool {
        self.visitor.may(action, target).is_ok()
    }

    /// What the visitor orders.
    pub(super) fn orders<'a>(&'a self, state: &'a AppState) -> Orders<'a> {
        Orders { state, visitor: &self.visitor }
    }

    /// Why something was done: what the visitor says, else who did it.
    pub(super) fn reason(&self, said: Option<&str>, done: &str) -> String {
        match (said, self.visitor.actor.owner()) {
            (Some(said), _) => said.to_owned(),
            (None, Some(owner)) => format!("{done} on the page by {owner}"),
            (None, None) => format!("{done} on the page"),
        }
    }

    /// Leads the browser to another page, given from the first page (`builders/x`).
    pub(super) fn redirect(&self, to: &str) -> Response {
        (StatusCode::SEE_OTHER, [(header::LOCATION, format!("{}{to}", self.root))]).into_response()
    }
}

/// Lets nobody see pages whom a rule for everything keeps out, but for what a log-in needs.
pub(super) async fn may_look(
    State(_): State<AppState>,
    page: PageRequest,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let open = path == "/theme"
        || path == "/theme.css"
        || path.starts_with("/static/")
        || path.starts_with("/auth/");
    match page.visitor.may(Action::Get, &Target::default()) {
        Err(denied) if !open => page.error(PageError::Refused(format!("You may not see this: {denied}."))),
        _ => next.run(request).await,
    }
}

/// The builder that an address names.
pub(super) async fn builder(state: &AppState, key: &str) -> Result<BuilderLine, PageError> {
    let builder = state.data.find_builder(key).await?;
    builder.ok_or_else(|| PageError::NotFound(format!("There is no builder {key}.")))
}

/// A number in an address.
pub(super) fn number(text: &str) -> Result<i64, PageError> {
    text.parse().map_err(|_| PageError::NotFound(format!("“{text}” is not a number.")))
}

/// An address that nobody knows.
pub(super) async fn not_found(page: PageRequest, request: Request) -> Response {
    page.error(PageError::NotFound(format!("There is nothing at {}.", request.uri().path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_reached_from_every_depth() {
        assert_eq!(root_of("/"), "./");
        assert_eq!(root_of("/builders"), "./");
        assert_eq!(root_of("/builders/x"), "../");
        assert_eq!(root_of("/builders/x/builds/3"), "../../../");
    }
}
