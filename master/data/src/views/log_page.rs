//! One log of a step: what it is and where it belongs.

use muster_core::{Log, LogId, LogKind, Results, Step};
use muster_store::{
    Result, Tx,
    query::{self, Select},
};
use serde::Serialize;

use super::{BuildRef, BuilderLine};
use crate::Data;

/// A log with where it belongs.
#[derive(Clone, Debug, Serialize)]
pub struct LogPage {
    /// Its id.
    pub id: LogId,
    /// Its name.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// Whether nothing will be added.
    pub complete: bool,
    /// Lines stored so far.
    pub num_lines: i64,
    /// `s`, `t`, `h` or `d`.
    pub kind: &'static str,
    /// The build.
    pub build: BuildRef,
    /// Its step's number.
    pub step_number: i64,
    /// Its step's name.
    pub step_name: String,
    /// Its step's result.
    pub step_results: Option<Results>,
    /// The other logs of the step: name and slug.
    pub siblings: Vec<(String, String)>,
}

impl LogPage {
    /// A log at its place.
    fn new(log: &Log, build: BuildRef, step: &Step, siblings: &[Log]) -> LogPage {
        LogPage {
            id: log.id,
            name: log.name.clone(),
            slug: log.slug.clone(),
            complete: log.complete,
            num_lines: log.num_lines,
            kind: log.kind.letter(),
            build,
            step_number: step.number,
            step_name: step.name.clone(),
            step_results: step.results,
            siblings: siblings.iter().map(|log| (log.name.clone(), log.slug.clone())).collect(),
        }
    }

    /// What its lines are.
    pub fn log_kind(&self) -> LogKind {
        LogKind::from_letter(self.kind).unwrap_or(LogKind::Text)
    }
}

impl Data {
    /// One log of a step, by the numbers of build and step and the log's slug.
    pub async fn log_page(
        &self,
        builder: BuilderLine,
        number: i64,
        step: i64,
        slug: &str,
    ) -> Result<Option<LogPage>> {
        self.db()
            .read("page_log_head", |tx| async move { log_page(&tx, builder, number, step, slug).await })
            .await
    }
}

async fn log_page(
    tx: &Tx,
    builder: BuilderLine,
    number: i64,
    step: i64,
    slug: &str,
) -> Result<Option<LogPage>> {
    let Some(build) = query::builds::by_number(tx, builder.id, number).await? else { return Ok(None) };
    let Some(step) = query::steps::by_number(tx, build.id, step).await? else { return Ok(None) };
    let logs = query::logs::list(tx, &query::logs::of_step(Select::all(), step.id)).await?;
    let Some(log) = logs.iter().find(|log| log.slug == slug) else { return Ok(None) };
    let build = BuildRef { id: build.id, builder: builder.id, builder_name: builder.name, number };
    Ok(Some(LogPage::new(log, build, &step, &logs)))
}
