//! One log: a window of its lines, searches, and the way to every line.

use std::sync::LazyLock;

use axum::{
    extract::{Path, State},
    response::Response,
};
use minijinja::{Value, context, value::Serde};
use muster_core::LogKind;
use muster_data::views::{Found, LogPage, MAX_WINDOW, Part, Search, TextLine};
use regex::Regex;

use super::{
    ansi,
    request::{self, PageError, PageRequest, PageResult},
};
use crate::forms::Fields;
use crate::state::AppState;

/// Lines that a page shows unless the address asks for another number.
const WINDOW: i64 = 500;
/// Lines shown above one that is asked for.
const ABOVE: i64 = 20;
/// Longest text that is searched for, in bytes; the rest is cut off.
const MAX_NEEDLE: usize = 200;
/// What the first error of a log usually has in its line.
static ERROR: LazyLock<Regex> = LazyLock::new(|| {
    let pattern =
        r"(?i)(\b(error|fatal|failed|failure|panicked|assertionerror)\b[:\[(]|^traceback \(|^FAIL\b)";
    Regex::new(pattern).expect("the pattern is a constant that the tests compile")
});
/// Lines at the end of a failed log in which the first error is looked for.
const ERROR_WINDOW: i64 = 1_000;

pub(super) async fn page(
    State(state): State<AppState>,
    page: PageRequest,
    Path((builder, number, step, slug)): Path<(String, String, String, String)>,
) -> Response {
    let answer = async {
        let builder = request::builder(&state, &builder).await?;
        let (number, step) = (request::number(&number)?, request::number(&step)?);
        let missing = format!("Step {step} of {} #{number} has no log {slug}.", builder.name);
        let log = state.data.log_page(builder, number, step, &slug).await?;
        show(&state, &page, log.ok_or(PageError::NotFound(missing))?).await
    };
    page.finish(answer.await)
}

async fn show(state: &AppState, page: &PageRequest, log: LogPage) -> PageResult {
    let kind = log.log_kind();
    let found = search(state, &page.query, &log, kind).await?;
    let count = page.query.number("count").unwrap_or(WINDOW).clamp(1, MAX_WINDOW);
    let wanted = wanted_line(&page.query).or(first_match(found.as_ref()));
    let at_end = wanted.is_none() && page.query.get("from").is_none() && page.query.get("to").is_none();
    let part = part(&page.query, &log, wanted, count);
    let lines = state.data.log_window(log.id, kind, part).await?;
    let from = lines.first().map_or(part.from, |line| line.number).max(1);
    let last = lines.last().map_or(from - 1, |line| line.number);
    // A log that grows may have more lines than its row told when it was read.
    let total = log.num_lines.max(last);
    let range = Range { from, last, total };
    if page.query.get("fragment") == Some("lines") {
        return page.page(
            "log_lines.html",
            context! { lines => ansi::lines(&lines), range => range.context(count), wanted, log_id => log.id.0 },
        );
    }
    let first_error = if kind == LogKind::Stdio { first_error(state, &log).await? } else { None };
    let context = context! {
        nav => "builders", wanted, at_end, first_error,
        hide => page.query.text("hide").unwrap_or_default(),
        query => page.query.text("q").unwrap_or_default(),
        found => Serde(found),
        lines => ansi::lines(&lines),
        range => range.context(count),
        log_id => log.id.0,
        log => Serde(log),
    };
    page.page("log.html", context)
}

/// The lines that are shown, of all.
struct Range {
    from: i64,
    last: i64,
    total: i64,
}

impl Range {
    fn context(&self, count: i64) -> Value {
        let previous = (self.from > 1).then(|| (self.from - count).max(1));
        let previous_count = previous.map(|previous| self.from - previous);
        let next = (self.last < self.total).then_some(self.last + 1);
        context! { from => self.from, last => self.last, total => self.total, previous, previous_count, next }
    }
}

/// What is shown: around a line that is asked for, or the end, where a log that runs or failed says most.
fn part(query: &Fields, log: &LogPage, wanted: Option<i64>, count: i64) -> Part {
    match (query.number("to"), query.number("from"), wanted) {
        // What leads back to this page, and must not leave a gap before it.
        (Some(to), ..) => Part::up_to(to.min(log.num_lines), count),
        (None, Some(from), _) => Part::from(from, count),
        (None, None, Some(line)) => Part::from((line - ABOVE).max(1), count),
        (None, None, None) => Part::up_to(log.num_lines, count),
    }
}

/// `?line=10`, the line of a link that works without script.
fn wanted_line(query: &Fields) -> Option<i64> {
    query.number("line")
}

fn first_match(found: Option<&Found>) -> Option<i64> {
    found?.matches.first().map(|line| line.number)
}

async fn search(
    state: &AppState,
    query: &Fields,
    log: &LogPage,
    kind: LogKind,
) -> Result<Option<Found>, PageError> {
    let Some(text) = query.text("q") else { return Ok(None) };
    let end = (0..=text.len().min(MAX_NEEDLE)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let search = Search { needle: text[..end].to_owned(), from: query.number("after").unwrap_or(1) };
    Ok(Some(state.data.log_search(log.id, kind, search).await?))
}

/// The first line near the end of a failed step's log that looks like an error.
async fn first_error(state: &AppState, log: &LogPage) -> Result<Option<i64>, PageError> {
    use muster_core::Results::{Exception, Failure};
    if !matches!(log.step_results, Some(Failure | Exception)) {
        return Ok(None);
    }
    let end = Part::up_to(log.num_lines, ERROR_WINDOW);
    let lines = state.data.log_window(log.id, LogKind::Stdio, end).await?;
    let is_error = |line: &&TextLine| line.stream != 'h' && ERROR.is_match(&line.text);
    Ok(lines.iter().find(is_error).map(|line| line.number))
}
