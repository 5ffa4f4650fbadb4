//! Commands whose output is searched for warnings and test results (`docs/compat/behaviour-5-steps.md` 5.3).

mod observer;
mod perl;
mod suppression;

use muster_config::snapshot::StepConfig;
use muster_core::{
    LogKind, Results,
    pattern::{Pattern, PatternError},
    render::Renderable,
};
use muster_session::{Command, command::UploadFile};
use serde_json::Value;

use self::{
    observer::{Extraction, Patterns, WarningObserver},
    suppression::Suppression,
};
use super::shell::{Collect, ShellArguments};
use crate::effects::{CommandRequest, LineObserver, StepContext, StepEnd, Transfer};

pub(super) use perl::perl_module_test;

/// What counts as a warning, unless the step says otherwise.
const WARNING: &str = "(?i).*warning[: ].*";
/// How GNU make tells that it enters and leaves a directory.
const ENTER: &str = "make.*: Entering directory [\u{2019}\"`'](.*)[\u{2019}'`\"]";
const LEAVE: &str = "make.*: Leaving directory";
/// Bytes in a block of the suppression file.
const BLOCK: u32 = 32 * 1024;

/// `WarningCountingShellCommand`, `Compile`, `Test`
pub(super) async fn warning_counting(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    let arguments = ShellArguments::read(context).await?;
    let command = ShellArguments::command(context).await?;
    let most = context.typed::<u64>("maxWarnCount", "a number or None").await?;
    let mut observer = match patterns(context).await? {
        Some(patterns) => Some(WarningObserver::new(patterns, suppressions(context).await?)),
        None => None,
    };
    let stdio = context.add_log("stdio", LogKind::Stdio)?;
    let watching = observer.as_mut().map(|observer| observer as &mut dyn LineObserver);
    let result = arguments.run(context, command, &stdio, Collect::default(), watching).await?;
    let results = arguments.results(&result);
    let count = observer.as_ref().map_or(0, WarningObserver::count);
    if let Some(observer) = observer.filter(|_| count > 0) {
        context.add_complete_log(&format!("warnings ({count})"), LogKind::Text, &observer.text())?;
    }
    count_in_build(context, count)?;
    Ok(match most {
        Some(most) if count > most => results.worst(Results::Failure),
        _ if count > 0 => results.worst(Results::Warnings),
        _ => results,
    })
}

/// The property sums up the warnings of all steps of the build.
fn count_in_build(context: &mut StepContext<'_>, count: u64) -> Result<(), StepEnd> {
    let before = context.properties().get("warnings-count").and_then(Value::as_u64).unwrap_or(0);
    context.set_property("warnings-count", (before + count).into(), "WarningCountingShellCommand")
}

/// The step's patterns; none when it looks for no warnings.
async fn patterns(context: &mut StepContext<'_>) -> Result<Option<Patterns>, StepEnd> {
    let Some(warning) = pattern(context, "warningPattern", WARNING).await? else { return Ok(None) };
    Ok(Some(Patterns {
        warning: usable(context, "warningPattern", Pattern::at_start(&warning))?,
        enter: compiled(context, "directoryEnterPattern", ENTER).await?,
        leave: compiled(context, "directoryLeavePattern", LEAVE).await?,
        extraction: extraction(context),
    }))
}

fn extraction(context: &StepContext<'_>) -> Extraction {
    let extractor = context.config().arg("warningExtractor");
    match extractor.literal_str() {
        Some("warnExtractFromRegexpGroups") => Extraction::Groups,
        _ if context.config().callable("warningExtractor").is_some() => Extraction::Function,
        _ => Extraction::WholeLine,
    }
}

async fn pattern(
    context: &mut StepContext<'_>,
    name: &str,
    default: &str,
) -> Result<Option<String>, StepEnd> {
    if !context.config().args.contains_key(name) {
        return Ok(Some(default.to_owned()));
    }
    context.text(name).await
}

async fn compiled(
    context: &mut StepContext<'_>,
    name: &str,
    default: &str,
) -> Result<Option<Pattern>, StepEnd> {
    match pattern(context, name, default).await? {
        Some(pattern) => usable(context, name, Pattern::search(&pattern)).map(Some),
        None => Ok(None),
    }
}

/// A pattern of an argument; the exception names both.
fn usable(
    context: &StepContext<'_>,
    name: &str,
    compiled: Result<Pattern, PatternError>,
) -> Result<Pattern, StepEnd> {
    compiled
        .map_err(|error| StepEnd::Exception(format!("{} argument {name}: {error}", context.config().kind)))
}

/// The patterns of a step that stand in the configuration as they are, and can't be used.
pub(crate) fn problems(step: &StepConfig) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["warningPattern", "directoryEnterPattern", "directoryLeavePattern"] {
        let written = step.args.get(name).and_then(Renderable::literal_str);
        if let Some(Err(error)) = written.map(Pattern::search) {
            found.push(format!("{} argument {name}: {error}", step.kind));
        }
    }
    let list = step.args.get("suppressionList").and_then(Renderable::literal).and_then(Value::as_array);
    let wrong = list.into_iter().flatten().filter_map(|item| Suppression::read(item).err());
    found.extend(wrong.map(|wrong| format!("{} argument suppressionList: {wrong}", step.kind)));
    found
}

/// The warnings that don't count: those of the list, then those of the worker's file.
async fn suppressions(context: &mut StepContext<'_>) -> Result<Vec<Suppression>, StepEnd> {
    let list = context.arg("suppressionList").await?;
    let mut all = match &list {
        Value::Null => Vec::new(),
        Value::Array(items) => items
            .iter()
            .map(|item| Suppression::read(item).map_err(|wanted| misfit(context, "suppressionList", &wanted)))
            .collect::<Result<Vec<_>, _>>()?,
        other => return Err(context.unfit("suppressionList", other, "a list")),
    };
    if let Some(file) = context.text("suppressionFile").await?.filter(|file| !file.is_empty()) {
        let text = file_of_worker(context, file).await?;
        for line in text.lines() {
            let line =
                Suppression::of_line(line).map_err(|wrong| misfit(context, "suppressionFile", &wrong))?;
            all.extend(line);
        }
    }
    if !all.is_empty() && matches!(extraction(context), Extraction::Function) {
        let reason = "a function as warningExtractor is not supported yet; use warnExtractWholeLine or \
                      warnExtractFromRegexpGroups";
        return Err(StepEnd::Exception(reason.to_owned()));
    }
    Ok(all)
}

fn misfit(context: &StepContext<'_>, name: &str, wrong: &str) -> StepEnd {
    StepEnd::Exception(format!("{} argument {name}: {wrong}", context.config().kind))
}

async fn file_of_worker(context: &mut StepContext<'_>, source: String) -> Result<String, StepEnd> {
    let workdir = context.workdir().await?;
    let upload = UploadFile { workdir, source, max_size: None, block_size: BLOCK, keep_stamp: false };
    let request = CommandRequest::new(Command::UploadFile(upload), None);
    let result = context.transfer_command(request, Transfer::Collect).await?;
    if result.interrupted {
        return Err(StepEnd::Cancelled);
    }
    match result.content {
        Some(content) if result.rc.is_none_or(|rc| rc == 0) => Ok(content),
        _ => Err(StepEnd::Failed),
    }
}
