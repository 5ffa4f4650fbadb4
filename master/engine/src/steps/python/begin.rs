//! What the host is told with a step.

use muster_core::render::Renderable;
use serde_json::{Map, Value, json};

use crate::effects::{StepContext, StepEnd, view};

/// Most steps that are shown to the next one; beyond that the oldest are left out of `executedSteps`, and the log says so.
const MAX_SHOWN: usize = 1000;

/// The `begin` of the step's conversation.
pub(super) async fn wanted(context: &mut StepContext<'_>) -> Result<Value, StepEnd> {
    let Some(Renderable::Callable { callable, .. }) = context.config().args.get("step").cloned() else {
        return Err(StepEnd::Exception("the step has no code".to_owned()));
    };
    let workdir = context.core.facts.plan.workdir.clone();
    let workdir = context.render(&workdir).await?;
    let env = context.builder_env().await?;
    let build = build(context)?;
    Ok(json!({
        "handle": callable.handle, "digest": callable.source.digest,
        "name": context.name(), "number": context.number, "stepid": null,
        "workdir": workdir, "env": env, "build": build,
    }))
}

fn build(context: &StepContext<'_>) -> Result<Value, StepEnd> {
    let core = &*context.core;
    let facts = &core.facts;
    let view = serde_json::to_value(view(&core.properties, facts))
        .map_err(|error| StepEnd::Exception(format!("the build can't be shown to the step: {error}")))?;
    let Value::Object(mut fields) = view else { return Ok(view) };
    if core.done.len() > MAX_SHOWN {
        let build = core.key.build;
        tracing::warn!(%build, "the build has more than {MAX_SHOWN} steps; its custom steps see the last of them");
    }
    let shown = &core.done[core.done.len().saturating_sub(MAX_SHOWN)..];
    let builder = facts.snapshot.builders.iter().find(|builder| builder.name == facts.plan.builder);
    let more = json!({
        "buildid": core.key.build.0, "results": core.results.code(), "steps": shown,
        "builddir": facts.plan.builddir, "builderid": facts.builder_id.0,
        "builder_tags": builder.map(|builder| &builder.tags),
    });
    if let Value::Object(more) = more {
        fields.extend::<Map<String, Value>>(more);
    }
    Ok(Value::Object(fields))
}
