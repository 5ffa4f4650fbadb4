//! Which changes a scheduler looks at (`docs/compat/behaviour-3-changes-schedulers.md` 3.8).
//!
//! What needs no Python is decided here; what does comes out as questions, which are asked only when everything else
//! holds.

use muster_config::snapshot::{self, ChangeAttribute, ChangeTest};
use muster_core::{
    Change,
    pattern::{Pattern, PatternError},
    render::{Callable, py_str},
};
use serde_json::Value;

/// A filter whose patterns are ready to use.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangeFilter {
    tests: Vec<(ChangeAttribute, Test)>,
    questions: Vec<(ChangeAttribute, Callable)>,
    filter_fn: Option<Callable>,
}

#[derive(Clone, Debug)]
enum Test {
    OneOf(Vec<Option<String>>),
    NoneOf(Vec<Option<String>>),
    Matches(Vec<Pattern>),
    MatchesNone(Vec<Pattern>),
}

/// What only Python can answer about a change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Question<'a> {
    /// A function of one attribute.
    OfValue(&'a Callable, Value),
    /// The function of the whole change.
    OfChange(&'a Callable),
}

impl ChangeFilter {
    /// Prepares the patterns.
    pub(crate) fn new(config: &snapshot::ChangeFilter) -> Result<ChangeFilter, PatternError> {
        let mut filter = ChangeFilter { filter_fn: config.filter_fn.clone(), ..ChangeFilter::default() };
        for check in &config.checks {
            let test = match &check.test {
                ChangeTest::Eq(values) => Test::OneOf(values.clone()),
                ChangeTest::NotEq(values) => Test::NoneOf(values.clone()),
                ChangeTest::Re(patterns) => Test::Matches(compile(patterns)?),
                ChangeTest::NotRe(patterns) => Test::MatchesNone(compile(patterns)?),
                ChangeTest::Fn(callable) => {
                    filter.questions.push((check.attribute.clone(), callable.clone()));
                    continue;
                }
            };
            filter.tests.push((check.attribute.clone(), test));
        }
        Ok(filter)
    }

    /// Whether everything holds that needs no Python; an error where a pattern gives up.
    pub(crate) fn may_pass(&self, change: &Change) -> Result<bool, PatternError> {
        for (attribute, test) in &self.tests {
            if !test.holds(attribute_of(change, attribute).as_ref())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What must be answered with yes besides.
    pub(crate) fn questions(&self, change: &Change) -> Vec<Question<'_>> {
        let of_value = |(attribute, callable)| {
            Question::OfValue(callable, attribute_of(change, attribute).unwrap_or(Value::Null))
        };
        let of_values =
            self.questions.iter().map(|(attribute, callable)| (attribute, callable)).map(of_value);
        of_values.chain(self.filter_fn.iter().map(Question::OfChange)).collect()
    }
}

impl Test {
    fn holds(&self, value: Option<&Value>) -> Result<bool, PatternError> {
        let text = value.map(py_str);
        let listed = |values: &[Option<String>]| match value {
            Some(Value::String(_)) | None => values.contains(&text),
            // A number or a list is no text, whatever it looks like.
            Some(_) => false,
        };
        let matched = |patterns: &[Pattern]| {
            let Some(text) = &text else { return Ok(false) };
            for pattern in patterns {
                if pattern.matches(text)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        Ok(match self {
            Test::OneOf(values) => listed(values),
            Test::NoneOf(values) => !listed(values),
            Test::Matches(patterns) => matched(patterns)?,
            Test::MatchesNone(patterns) => !matched(patterns)?,
        })
    }
}

/// `None` where the change has no such value.
fn attribute_of(change: &Change, attribute: &ChangeAttribute) -> Option<Value> {
    match attribute {
        ChangeAttribute::Project => Some(change.project.clone().into()),
        ChangeAttribute::Repository => Some(change.repository.clone().into()),
        ChangeAttribute::Codebase => Some(change.codebase.clone().into()),
        ChangeAttribute::Branch => change.branch.clone().map(Value::from),
        ChangeAttribute::Category => change.category.clone().map(Value::from),
        ChangeAttribute::Property(name) => {
            Some(change.properties.get(name).cloned().unwrap_or_else(|| "".into()))
        }
    }
}

fn compile(patterns: &[String]) -> Result<Vec<Pattern>, PatternError> {
    patterns.iter().map(|pattern| Pattern::at_start(pattern)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::change;
    use muster_config::snapshot::ChangeFilterCheck;
    use muster_core::render::CallableSource;

    fn passes(attribute: ChangeAttribute, test: ChangeTest, edit: impl FnOnce(&mut Change)) -> bool {
        let config =
            snapshot::ChangeFilter { filter_fn: None, checks: vec![ChangeFilterCheck { attribute, test }] };
        let mut change = change(1);
        edit(&mut change);
        ChangeFilter::new(&config).unwrap().may_pass(&change).unwrap()
    }

    fn texts(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| Some((*value).to_owned())).collect()
    }

    fn on_branch(branch: Option<&str>) -> impl FnOnce(&mut Change) {
        let branch = branch.map(str::to_owned);
        move |change| change.branch = branch
    }

    #[test]
    fn equality_knows_the_branch_without_a_name() {
        use ChangeAttribute::Branch;
        let main_or_none = || ChangeTest::Eq(vec![Some("main".into()), None]);
        assert!(passes(Branch, main_or_none(), on_branch(Some("main"))));
        assert!(passes(Branch, main_or_none(), on_branch(None)));
        assert!(!passes(Branch, main_or_none(), on_branch(Some("dev"))));
        assert!(!passes(Branch, ChangeTest::NotEq(texts(&["dev"])), on_branch(Some("dev"))));
        assert!(passes(Branch, ChangeTest::NotEq(texts(&["dev"])), on_branch(None)));
    }

    #[test]
    fn patterns_match_at_the_start_and_never_match_nothing() {
        use ChangeAttribute::Branch;
        let re = |patterns: &[&str]| ChangeTest::Re(patterns.iter().map(|p| (*p).to_owned()).collect());
        let not_re =
            |patterns: &[&str]| ChangeTest::NotRe(patterns.iter().map(|p| (*p).to_owned()).collect());
        assert!(passes(Branch, re(&["rel"]), on_branch(Some("release/1"))));
        assert!(!passes(Branch, re(&["rel"]), on_branch(Some("a-release"))));
        assert!(passes(Branch, re(&["x|y", "a|rel"]), on_branch(Some("release"))));
        assert!(!passes(Branch, re(&[""]), on_branch(None)));
        assert!(passes(Branch, not_re(&[""]), on_branch(None)));
        assert!(!passes(Branch, not_re(&["rel"]), on_branch(Some("release"))));
    }

    #[test]
    fn an_absent_property_is_an_empty_text() {
        let property = || ChangeAttribute::Property("event".into());
        assert!(passes(property(), ChangeTest::Eq(texts(&[""])), |_| {}));
        assert!(passes(property(), ChangeTest::Eq(texts(&["push"])), |change| {
            change.properties.set("event", "push", "Change");
        }));
    }

    #[test]
    fn functions_become_questions() {
        let callable = |handle: &str| Callable { handle: handle.into(), source: CallableSource::default() };
        let check = ChangeFilterCheck {
            attribute: ChangeAttribute::Branch,
            test: ChangeTest::Fn(callable("branch")),
        };
        let config = snapshot::ChangeFilter { filter_fn: Some(callable("whole")), checks: vec![check] };
        let filter = ChangeFilter::new(&config).unwrap();
        let mut change = change(1);
        change.branch = None;
        assert!(filter.may_pass(&change).unwrap());
        assert_eq!(
            filter.questions(&change),
            [Question::OfValue(&callable("branch"), Value::Null), Question::OfChange(&callable("whole"))]
        );
    }

    #[test]
    fn look_around_is_pythons_and_what_is_no_pattern_is_named() {
        use ChangeAttribute::Branch;
        let re = || ChangeTest::Re(vec!["(?!wip/)".into()]);
        assert!(passes(Branch, re(), on_branch(Some("main"))));
        assert!(!passes(Branch, re(), on_branch(Some("wip/x"))));
        let check = ChangeFilterCheck { attribute: Branch, test: ChangeTest::Re(vec!["(wip".into()]) };
        let config = snapshot::ChangeFilter { filter_fn: None, checks: vec![check] };
        let error = ChangeFilter::new(&config).unwrap_err().to_string();
        assert!(error.contains("(wip"), "{error}");
    }
}
