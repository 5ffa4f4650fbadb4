//! Text of logs.

use muster_core::{Log, LogKind};
use muster_store::query;
use serde_json::{Value, json};

use super::{Args, Error, ResultSpec, Scope};
use crate::Data;

/// Chunks that are held at a time; each is 64 kB and more when unpacked.
const CHUNKS_AT_A_TIME: i64 = 4;
/// Bytes with which a part is long enough, whatever is left of the chunks: some hold one very long line.
const PART: usize = 256 << 10;

/// Lines of a log as `logchunks` shows them; `None` when the log isn't there or nothing was asked for.
pub(super) async fn contents(
    data: &Data,
    args: &Args,
    spec: &ResultSpec,
) -> Result<Option<(Value, LogContents)>, Error> {
    let log = data.db().read("rest_log", |tx| async move { Scope::new(&tx, args).log().await }).await?;
    let Some(log) = log else { return Ok(None) };
    let first = spec.offset.unwrap_or(0);
    let count = spec.limit.unwrap_or(i64::MAX);
    if first < 0 || count < 1 {
        return Ok(None);
    }
    let item = json!({"logid": log.id.0, "firstline": first, "content": ""});
    let lines = Lines::new(log, first, first.saturating_add(count - 1));
    Ok(Some((item, LogContents { data: data.clone(), lines })))
}

/// Lines of a log with the letters of their streams, part by part.
pub struct LogContents {
    data: Data,
    lines: Lines,
}

impl LogContents {
    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// The database's.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        self.lines.next(&self.data).await
    }
}

impl Data {
    /// Lines `first` to `first + count - 1` of a log, each with its newline (and, in a log of kind stdio, the letter
    /// of its stream in front). Fewer where the log ends.
    pub async fn log_lines(&self, log: &Log, first: i64, count: i64) -> Result<String, Error> {
        let mut lines = Lines::new(log.clone(), first, first.saturating_add(count).saturating_sub(1));
        let mut content = String::new();
        while let Some(part) = lines.next(self).await? {
            content += &part;
        }
        Ok(content)
    }
}

/// Lines that are read a few chunks at a time, each time in a transaction of its own.
struct Lines {
    log: Log,
    next: i64,
    last: i64,
}

impl Lines {
    fn new(log: Log, first: i64, last: i64) -> Lines {
        Lines { log, next: first, last }
    }

    async fn next(&mut self, data: &Data) -> Result<Option<String>, Error> {
        if self.next > self.last {
            return Ok(None);
        }
        let (log, next) = (self.log.id, self.next);
        let read = |tx| async move { query::log_content::chunks(&tx, log, next, CHUNKS_AT_A_TIME).await };
        let chunks = data.db().read("log_lines", read).await?;
        let mut content = String::new();
        for chunk in chunks {
            // The tidy-up may have regrouped the chunks since the last part.
            content += &chunk.lines(self.next, self.last)?;
            self.next = self.next.max(chunk.last_line + 1);
            if content.len() >= PART {
                break;
            }
        }
        Ok((!content.is_empty()).then_some(content))
    }
}

/// The text of a log for people: without letters of streams, with three lines on top that say where it is from.
pub struct LogText {
    /// How a browser is told to call the file.
    pub file_name: String,
    /// `text/plain` or `text/html`.
    pub media_type: &'static str,
    top: String,
    lines: Lines,
    data: Data,
}

impl LogText {
    pub(super) async fn open(data: &Data, args: &Args) -> Result<Option<LogText>, Error> {
        let opened = data.db().read("rest_log_text", |tx| async move {
            let Some(log) = Scope::new(&tx, args).log().await? else { return Ok(None) };
            let Some(step) = query::steps::by_id(&tx, log.step).await? else { return Ok(None) };
            let Some(build) = query::builds::by_id(&tx, step.build).await? else { return Ok(None) };
            let Some(builder) = query::builders::by_id(&tx, build.builder).await? else { return Ok(None) };
            let worker = match build.worker {
                Some(worker) => query::workers::by_id(&tx, worker).await?,
                None => None,
            };
            let worker = worker.map_or_else(String::new, |worker| worker.name);
            Ok::<_, Error>(Some((log, step, build, builder, worker)))
        });
        let Some((log, step, build, builder, worker)) = opened.await? else { return Ok(None) };
        let top = match log.kind {
            LogKind::Stdio => {
                format!("Builder: {}\nBuild number: {}\nWorker name: {worker}\n", builder.name, build.number)
            }
            _ => String::new(),
        };
        Ok(Some(LogText {
            file_name: format!("{}_build_{}_step_{}_log_{}", builder.name, build.number, step.name, log.slug),
            media_type: if log.kind == LogKind::Html { "text/html" } else { "text/plain" },
            top,
            lines: Lines::new(log, 0, i64::MAX - 1),
            data: data.clone(),
        }))
    }

    /// The next part; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        if !self.top.is_empty() {
            return Ok(Some(std::mem::take(&mut self.top)));
        }
        let part = self.lines.next(&self.data).await?;
        let stdio = self.lines.log.kind == LogKind::Stdio;
        Ok(part.map(|part| if stdio { without_letters(&part) } else { part }))
    }
}

fn without_letters(lines: &str) -> String {
    let mut text = String::with_capacity(lines.len());
    for line in lines.split_inclusive('\n') {
        let mut characters = line.chars();
        // An empty line has no letter, only its newline.
        if !line.starts_with('\n') {
            characters.next();
        }
        text += characters.as_str();
    }
    text
}
