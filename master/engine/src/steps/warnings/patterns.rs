//! The arguments that say what is a warning.

use muster_core::{pattern::Pattern, render::Renderable};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::observer::{Extraction, Patterns};
use crate::{
    effects::{StepContext, StepEnd},
    steps::arguments::{Argument, Misfit, Rendered},
};

/// What counts as a warning, unless the step says otherwise.
pub(super) const WARNING: &str = "(?i).*warning[: ].*";
/// How GNU make tells that it enters and leaves a directory.
pub(super) const ENTER: &str = "make.*: Entering directory [\u{2019}\"`'](.*)[\u{2019}'`\"]";
pub(super) const LEAVE: &str = "make.*: Leaving directory";

/// What is a warning, and what of it is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PatternArguments {
    warning_pattern: Rendered<Option<PatternText>>,
    directory_enter_pattern: Rendered<Option<PatternText>>,
    directory_leave_pattern: Rendered<Option<PatternText>>,
    pub(super) warning_extractor: Option<Extraction>,
}

/// A pattern that can be used.
struct PatternText(String);

impl Argument for PatternText {
    fn read(value: Value) -> Result<PatternText, Misfit> {
        let text = String::read(value)?;
        Pattern::search(&text).map_err(Misfit::because)?;
        Ok(PatternText(text))
    }
}

impl PatternArguments {
    /// The step's patterns; none when it looks for no warnings.
    pub(super) async fn read(&self, context: &mut StepContext<'_>) -> Result<Option<Patterns>, StepEnd> {
        let warning = &self.warning_pattern;
        let Some(PatternText(text)) = warning.get_or(context, text(WARNING)).await? else { return Ok(None) };
        let compiled = Pattern::at_start(&text);
        Ok(Some(Patterns {
            warning: compiled.map_err(|error| warning.unfit(context, &Misfit::because(error)))?,
            enter: compiled_from(&self.directory_enter_pattern, context, ENTER).await?,
            leave: compiled_from(&self.directory_leave_pattern, context, LEAVE).await?,
            extraction: self.warning_extractor.unwrap_or(Extraction::WholeLine),
        }))
    }
}

fn text(pattern: &str) -> Option<PatternText> {
    Some(PatternText(pattern.to_owned()))
}

async fn compiled_from(
    argument: &Rendered<Option<PatternText>>,
    context: &mut StepContext<'_>,
    default: &str,
) -> Result<Option<Pattern>, StepEnd> {
    let Some(PatternText(text)) = argument.get_or(context, text(default)).await? else { return Ok(None) };
    let compiled = Pattern::search(&text);
    compiled.map(Some).map_err(|error| argument.unfit(context, &Misfit::because(error)))
}

impl<'de> Deserialize<'de> for Extraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Extraction, D::Error> {
        match Renderable::deserialize(deserializer)? {
            Renderable::Callable { .. } => Ok(Extraction::Function),
            Renderable::Literal(Value::String(name)) if name == "warnExtractFromRegexpGroups" => {
                Ok(Extraction::Groups)
            }
            Renderable::Literal(Value::String(name)) if name == "warnExtractWholeLine" => {
                Ok(Extraction::WholeLine)
            }
            Renderable::Literal(other) => Err(de::Error::custom(Misfit::not("a function", &other))),
            _ => Err(de::Error::custom(Misfit::must_be("a function"))),
        }
    }
}
