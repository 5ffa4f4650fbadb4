//! The arguments of `Git`.

use muster_core::{
    git::{Name, Refused, Words},
    render::py_str,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    auth::{CredentialArguments, Credentials},
    settings::{RemoteArguments, SettingArguments, Settings, allowed},
};
use crate::{
    effects::{StepContext, StepEnd, truth},
    steps::arguments::{Argument, Flag, Misfit, Rendered, Texts},
};

/// How the work directory is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// What git doesn't know stays.
    Incremental,
    /// What git doesn't know goes, but for what it ignores.
    Clean,
    /// What git doesn't know goes.
    Fresh,
    /// Everything goes, and is cloned again.
    Clobber,
    /// A copy of a directory that is kept incrementally.
    Copy,
}

/// `retry`: how often a clone is tried again, and after how many seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retry {
    pub(super) delay: f64,
    pub(super) times: u32,
}

impl Argument for Retry {
    fn read(value: Value) -> Result<Retry, Misfit> {
        if value.is_null() {
            return Ok(Retry::default());
        }
        let (delay, times) = serde_json::from_value(value.clone())
            .map_err(|_| Misfit::not("a pair (delay, repeats)", &value))?;
        Ok(Retry { delay, times })
    }
}

/// `shallow`: how many commits to fetch; true is one, and none is all.
struct Depth(Option<u64>);

impl Argument for Depth {
    fn read(value: Value) -> Result<Depth, Misfit> {
        match &value {
            Value::Null | Value::Bool(false) => Ok(Depth(None)),
            Value::Bool(true) => Ok(Depth(Some(1))),
            other => match (other.as_u64(), other.as_str().map(str::parse)) {
                (Some(depth), _) | (None, Some(Ok(depth))) => {
                    Ok(Depth(Some(depth).filter(|depth| *depth > 0)))
                }
                _ => Err(Misfit::not("a boolean or a number", &value)),
            },
        }
    }
}

/// The arguments of the step.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckoutArguments {
    #[serde(rename = "..settings")]
    settings: SettingArguments,
    #[serde(rename = "..remote")]
    remote: RemoteArguments,
    #[serde(rename = "..credentials")]
    credentials: CredentialArguments,
    branch: Rendered<Option<String>>,
    mode: Rendered<Option<String>>,
    method: Rendered<Option<String>>,
    codebase: Rendered<Option<String>>,
    always_use_latest: Rendered<Flag<false>>,
    reference: Rendered<Option<String>>,
    origin: Rendered<Option<String>>,
    submodules: Rendered<Flag<false>>,
    remote_submodules: Rendered<Flag<false>>,
    tags: Rendered<Flag<false>>,
    shallow: Rendered<Depth>,
    filters: Rendered<Texts>,
    progress: Rendered<Flag<true>>,
    retry: Rendered<Retry>,
    retry_fetch: Rendered<Flag<false>>,
    clobber_on_failure: Rendered<Flag<false>>,
    get_description: Rendered<Describe>,
}

/// The same for the running build.
pub(super) struct Checked {
    pub(super) repository: Name,
    pub(super) branch: Name,
    pub(super) mode: Mode,
    pub(super) codebase: String,
    pub(super) always_latest: bool,
    pub(super) reference: Option<Name>,
    pub(super) origin: Option<Name>,
    pub(super) submodules: bool,
    pub(super) remote_submodules: bool,
    pub(super) tags: bool,
    /// Commits to fetch; all without it.
    pub(super) depth: Option<u64>,
    pub(super) filters: Vec<Name>,
    pub(super) progress: bool,
    pub(super) retry: Retry,
    pub(super) retry_fetch: bool,
    pub(super) clobber_on_failure: bool,
    /// `git describe` with its options; `None` when it isn't wanted.
    pub(super) describe: Option<Words>,
}

impl CheckoutArguments {
    pub(super) async fn read(
        &self,
        context: &mut StepContext<'_>,
    ) -> Result<(Checked, Settings, Credentials), StepEnd> {
        let settings = self.settings.read(context).await?;
        let (given, repository) = self.remote.read(context, &settings).await?;
        let branch = self.branch.get(context).await?.unwrap_or_else(|| "HEAD".to_owned());
        let Texts(filters) = self.filters.get(context).await?;
        let filters: Result<Vec<Name>, Refused> =
            filters.iter().map(|filter| Name::new("filter", filter)).collect();
        let describe = match self.get_description.get(context).await? {
            Describe(Some(options)) => Some(allowed(context, describe_options(&options))?),
            Describe(None) => None,
        };
        let checked = Checked {
            repository,
            branch: allowed(context, Name::new("branch", &branch))?,
            mode: self.mode(context).await?,
            codebase: self.codebase.get(context).await?.unwrap_or_default(),
            always_latest: self.always_use_latest.get(context).await?.0,
            reference: name("reference", &self.reference, context).await?,
            origin: name("origin", &self.origin, context).await?,
            submodules: self.submodules.get(context).await?.0,
            remote_submodules: self.remote_submodules.get(context).await?.0,
            tags: self.tags.get(context).await?.0,
            depth: self.shallow.get(context).await?.0,
            filters: allowed(context, filters)?,
            progress: self.progress.get(context).await?.0,
            retry: self.retry.get(context).await?,
            retry_fetch: self.retry_fetch.get(context).await?.0,
            clobber_on_failure: self.clobber_on_failure.get(context).await?.0,
            describe,
        };
        Ok((checked, settings, self.credentials.read(context, &given).await?))
    }

    async fn mode(&self, context: &mut StepContext<'_>) -> Result<Mode, StepEnd> {
        let mode = self.mode.get(context).await?.unwrap_or_else(|| "incremental".to_owned());
        let method = self.method.get(context).await?;
        match (mode.as_str(), method.as_deref()) {
            ("incremental", _) => Ok(Mode::Incremental),
            ("full", None | Some("fresh")) => Ok(Mode::Fresh),
            ("full", Some("clean")) => Ok(Mode::Clean),
            ("full", Some("clobber")) => Ok(Mode::Clobber),
            ("full", Some("copy")) => Ok(Mode::Copy),
            ("full", Some(other)) => {
                let misfit = Misfit::not("clean, fresh, clobber or copy", &other.into());
                Err(self.method.unfit(context, &misfit))
            }
            (other, _) => Err(self.mode.unfit(context, &Misfit::not("incremental or full", &other.into()))),
        }
    }
}

/// An argument that is a name and may be left out.
async fn name(
    what: &'static str,
    argument: &Rendered<Option<String>>,
    context: &mut StepContext<'_>,
) -> Result<Option<Name>, StepEnd> {
    let name = argument.get(context).await?.map(|text| Name::new(what, &text)).transpose();
    allowed(context, name)
}

/// Options of `git describe` that are there or not.
const SWITCHES: [&str; 8] =
    ["--all", "--always", "--contains", "--debug", "--long", "--exact-match", "--tags", "--first-parent"];
/// Those that take a text after them.
const PATTERNS: [&str; 2] = ["--match", "--exclude"];
/// Those that take a number; 0 counts.
const NUMBERS: [&str; 2] = ["--abbrev", "--candidates"];

/// `getDescription`; `None` when it isn't wanted.
struct Describe(Option<Map<String, Value>>);

impl Argument for Describe {
    fn read(value: Value) -> Result<Describe, Misfit> {
        match value {
            Value::Null | Value::Bool(false) => Ok(Describe(None)),
            Value::Bool(true) => Ok(Describe(Some(Map::new()))),
            Value::Object(options) => Ok(Describe(Some(options))),
            other => Err(Misfit::not("a boolean or a dictionary", &other)),
        }
    }
}

fn describe_options(options: &Map<String, Value>) -> Result<Words, Refused> {
    let given = |option: &str| options.get(option.trim_start_matches('-'));
    let wanted = |option: &str| given(option).filter(|value| truth(value));
    let mut words = Words::new("describe");
    for option in SWITCHES {
        words = words.option_if(wanted(option).is_some(), option);
    }
    for option in PATTERNS {
        if let Some(value) = wanted(option) {
            words = words.named(option, &Name::new("pattern", &py_str(value))?);
        }
    }
    for option in NUMBERS {
        if let Some(value) = given(option).filter(|value| truth(value) || value.as_i64() == Some(0)) {
            words = words.assigned(option, &py_str(value));
        }
    }
    // With --dirty git describes the work tree, and takes no commit.
    Ok(match given("dirty") {
        Some(Value::Bool(true)) => words.option("--dirty"),
        Some(Value::String(mark)) if mark.is_empty() => words.option("--dirty"),
        Some(mark) if truth(mark) => words.assigned("--dirty", &py_str(mark)),
        _ => words.option("HEAD"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn descriptions_have_their_options() {
        let options =
            |value: Value| describe_options(value.as_object().unwrap()).unwrap().into_words().join(" ");
        assert_eq!(options(json!({})), "describe HEAD");
        assert_eq!(
            options(json!({"tags": true, "long": false, "match": "v*", "abbrev": 0, "dirty": true})),
            "describe --tags --match v* --abbrev=0 --dirty"
        );
        assert_eq!(
            options(json!({"dirty": "-x", "candidates": 3, "always": true})),
            "describe --always --candidates=3 --dirty=-x"
        );
        assert_eq!(options(json!({"dirty": ""})), "describe --dirty");
    }
}
