//! `Interpolate`: the grammar inside the parentheses of `%(selector:argument:operator…)s`
//! (`docs/compat/behaviour-4-properties.md` 4.3).

use super::percent::{self, Piece, Spec};
use super::value::Renderable;

/// How deep one format may be nested in another.
const MAX_NESTING: usize = 32;

/// Why a format is wrong; the texts are Buildbot's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterpolationError {
    /// The text after the second colon starts with none of the operators.
    #[error("invalid Interpolate default type '{0}'")]
    DefaultType(char),
    /// `src` without an attribute.
    #[error("Must specify both codebase and attribute for src Interpolation '{0}'")]
    IncompleteSource(String),
    /// A name with characters that names don't have.
    #[error("{what} must be alphanumeric for {selector} Interpolation '{argument}'")]
    Name {
        /// `Property name`, `Keyword`, `Codebase` or `Attribute`.
        what: &'static str,
        /// The selector.
        selector: &'static str,
        /// What follows it.
        argument: String,
    },
    /// Not a selector.
    #[error("invalid Interpolate selector '{0}'")]
    Selector(String),
    /// No colon at all.
    #[error("invalid Interpolate substitution without selector '{0}'")]
    NoSelector(String),
    /// Only one part after `:?`.
    #[error("invalid Interpolate ternary expression '{expression}' with delimiter '{delimiter}'")]
    Ternary {
        /// What follows the delimiter.
        expression: String,
        /// The delimiter.
        delimiter: char,
    },
    /// Both kinds of arguments.
    #[error("Interpolate takes either positional or keyword substitutions, not both.")]
    MixedArguments,
    /// Not a `%`-format; the text is Python's.
    #[error("invalid format {format:?}: {reason}")]
    Format {
        /// The format.
        format: String,
        /// What Python says.
        reason: String,
    },
}

/// A format with its arguments, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Interpolation {
    format: String,
    args: Vec<Renderable>,
    kwargs: Vec<(String, Renderable)>,
    pub(super) body: Body,
}

/// The two ways to use a format.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    /// Filled by position.
    Positional(Vec<Piece>),
    /// Filled by selectors.
    Selected(Template),
}

/// A format whose fields are selectors.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(pub(super) Vec<Part>);

/// One part of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(String),
    Field { lookup: Lookup, spec: Spec },
}

/// What stands between the parentheses.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lookup {
    pub(super) selector: Selector,
    pub(super) choice: Choice,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Selector {
    Property(String),
    Source { codebase: String, attribute: String },
    Worker(String),
    Keyword(String),
    Secret(String),
}

/// What is shown, depending on the value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice {
    /// `:-`: the value if the key exists, else the default.
    IfExists(Template),
    /// `:~`: the value if it exists and is true, else the default.
    IfTrue(Template),
    /// `:+`: the text if the key exists, else nothing.
    Replace(Template),
    /// `:?` and `:#?`.
    Ternary { by_truth: bool, yes: Template, no: Template },
}

impl Interpolation {
    /// Parses `format`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(
        format: String,
        args: Vec<Renderable>,
        kwargs: Vec<(String, Renderable)>,
    ) -> Result<Interpolation, InterpolationError> {
        let body = match (args.is_empty(), kwargs.is_empty()) {
            (false, false) => return Err(InterpolationError::MixedArguments),
            (false, true) => Body::Positional(pieces(&format)?),
            (true, _) => Body::Selected(Template::parse(&format, 0)?),
        };
        Ok(Interpolation { format, args, kwargs, body })
    }

    /// Format, positional arguments, keyword arguments.
    pub fn into_parts(self) -> (String, Vec<Renderable>, Vec<(String, Renderable)>) {
        (self.format, self.args, self.kwargs)
    }

    /// The positional arguments.
    pub fn args(&self) -> &[Renderable] {
        &self.args
    }

    /// The keyword argument `name`.
    pub fn keyword(&self, name: &str) -> Option<&Renderable> {
        self.kwargs.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

fn invalid(format: &str, reason: impl Into<String>) -> InterpolationError {
    InterpolationError::Format { format: format.to_owned(), reason: reason.into() }
}

fn pieces(format: &str) -> Result<Vec<Piece>, InterpolationError> {
    percent::parse(format).map_err(|reason| invalid(format, reason))
}

impl Template {
    fn parse(format: &str, depth: usize) -> Result<Template, InterpolationError> {
        if depth > MAX_NESTING {
            return Err(invalid(format, "nested too deeply"));
        }
        let mut parts = Vec::new();
        for piece in pieces(format)? {
            parts.push(match piece {
                Piece::Text(text) => Part::Text(text),
                Piece::Field { key: None, .. } => {
                    return Err(invalid(format, "a field without a selector needs positional arguments"));
                }
                Piece::Field { key: Some(key), spec } => {
                    spec.accepts_text().map_err(|reason| invalid(format, reason))?;
                    Part::Field { lookup: Lookup::parse(&key, depth)?, spec }
                }
            });
        }
        Ok(Template(parts))
    }
}

impl Lookup {
    fn parse(key: &str, depth: usize) -> Result<Lookup, InterpolationError> {
        let Some((selector, argument)) = key.split_once(':') else {
            return Err(InterpolationError::NoSelector(key.to_owned()));
        };
        let (name, choice) = match argument.split_once(':') {
            Some((name, choice)) => (name, Some(choice)),
            None => (argument, None),
        };
        let (selector, choice) = match selector {
            "prop" => {
                check_name(name, "Property name", "prop", argument)?;
                (Selector::Property(name.to_owned()), choice)
            }
            "kw" => {
                check_name(name, "Keyword", "kw", argument)?;
                (Selector::Keyword(name.to_owned()), choice)
            }
            "worker" => (Selector::Worker(name.to_owned()), choice),
            "secret" => (Selector::Secret(name.to_owned()), choice),
            "src" => parse_source(argument)?,
            other => return Err(InterpolationError::Selector(other.to_owned())),
        };
        Ok(Lookup { selector, choice: Choice::parse(choice, depth)? })
    }
}

fn parse_source(argument: &str) -> Result<(Selector, Option<&str>), InterpolationError> {
    let mut parts = argument.splitn(3, ':');
    let (Some(codebase), Some(attribute)) = (parts.next(), parts.next()) else {
        return Err(InterpolationError::IncompleteSource(argument.to_owned()));
    };
    check_name(codebase, "Codebase", "src", argument)?;
    check_name(attribute, "Attribute", "src", argument)?;
    let selector = Selector::Source { codebase: codebase.to_owned(), attribute: attribute.to_owned() };
    Ok((selector, parts.next()))
}

fn check_name(
    name: &str,
    what: &'static str,
    selector: &'static str,
    argument: &str,
) -> Result<(), InterpolationError> {
    let good = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
    good.then_some(()).ok_or_else(|| InterpolationError::Name {
        what,
        selector,
        argument: argument.to_owned(),
    })
}

impl Choice {
    fn parse(text: Option<&str>, depth: usize) -> Result<Choice, InterpolationError> {
        let Some(text) = text else {
            return Ok(Choice::IfExists(Template(Vec::new())));
        };
        let nested = |text: &str| Template::parse(text, depth + 1);
        let mut chars = text.chars();
        match chars.next() {
            Some('-') => Ok(Choice::IfExists(nested(chars.as_str())?)),
            Some('~') => Ok(Choice::IfTrue(nested(chars.as_str())?)),
            Some('+') => Ok(Choice::Replace(nested(chars.as_str())?)),
            Some('?') => Self::ternary(false, chars.as_str(), text, depth),
            Some('#') if chars.as_str().starts_with('?') => {
                Self::ternary(true, &chars.as_str()[1..], text, depth)
            }
            Some(other) => Err(InterpolationError::DefaultType(other)),
            None => Err(invalid(text, "an operator must follow the second colon")),
        }
    }

    fn ternary(by_truth: bool, text: &str, whole: &str, depth: usize) -> Result<Choice, InterpolationError> {
        let Some(delimiter) = text.chars().next() else {
            return Err(invalid(whole, "a delimiter must follow the question mark"));
        };
        let expression = &text[delimiter.len_utf8()..];
        let Some((yes, no)) = split_balanced(expression, delimiter) else {
            return Err(InterpolationError::Ternary { expression: expression.to_owned(), delimiter });
        };
        let (yes, no) = (Template::parse(yes, depth + 1)?, Template::parse(no, depth + 1)?);
        Ok(Choice::Ternary { by_truth, yes, no })
    }
}

/// Splits at the first `delimiter` outside all parentheses.
fn split_balanced(text: &str, delimiter: char) -> Option<(&str, &str)> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        if c == delimiter && open == 0 {
            return Some((&text[..at], &text[at + c.len_utf8()..]));
        }
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    None
}
