//! Rendering: renderables to values.

use serde_json::{Map, Value};

use super::interpolate::{Body, Choice, Interpolation, Lookup, Part, Selector, Template};
use super::percent::{self, Piece};
use super::pystr::{is_true, py_str};
use super::value::{Callable, Renderable, encode_bytes};
use super::{Answer, RenderContext, RenderError, Request, operators};

/// How deep renderables may be nested, counting renderers that return renderables. Beyond it rendering fails, so that
/// a renderer that returns itself ends.
pub const MAX_DEPTH: usize = 64;

/// Renders one renderable.
///
/// # Errors
/// [`RenderError::Pending`] with everything that must be answered first; [`RenderError::Failed`] when it can't be
/// rendered at all.
pub fn render(renderable: &Renderable, context: &dyn RenderContext) -> Result<Value, RenderError> {
    let mut values = render_all(std::slice::from_ref(renderable), context)?;
    Ok(values.pop().unwrap_or_default())
}

/// Renders several at once, so that all their pending requests come together.
///
/// # Errors
/// As [`render`].
pub fn render_all(
    renderables: &[Renderable],
    context: &dyn RenderContext,
) -> Result<Vec<Value>, RenderError> {
    let mut renderer = Renderer { context, pending: Vec::new() };
    let values = renderer.each(renderables, 0).map_err(RenderError::Failed)?;
    if renderer.pending.is_empty() {
        return Ok(values);
    }
    Err(RenderError::Pending(renderer.pending))
}

/// While something is pending, nulls stand in for what is missing; the result is thrown away then.
struct Renderer<'a> {
    context: &'a dyn RenderContext,
    pending: Vec<Request>,
}

type Rendered = Result<Value, String>;

impl Renderer<'_> {
    fn each(&mut self, items: &[Renderable], depth: usize) -> Result<Vec<Value>, String> {
        items.iter().map(|item| self.value(item, depth)).collect()
    }

    fn keywords(
        &mut self,
        items: &[(String, Renderable)],
        depth: usize,
    ) -> Result<Map<String, Value>, String> {
        items.iter().map(|(key, item)| Ok((key.clone(), self.value(item, depth)?))).collect()
    }

    fn value(&mut self, renderable: &Renderable, depth: usize) -> Rendered {
        if depth > MAX_DEPTH {
            return Err(format!("renderables are nested deeper than {MAX_DEPTH}"));
        }
        let depth = depth + 1;
        match renderable {
            Renderable::Literal(value) => Ok(value.clone()),
            Renderable::List(items) => Ok(self.each(items, depth)?.into()),
            Renderable::Dict(items) => self.dict(items, depth),
            Renderable::Bytes(bytes) => Ok(match std::str::from_utf8(bytes) {
                Ok(text) => text.into(),
                Err(_) => encode_bytes(bytes),
            }),
            Renderable::Property { name, default, default_when_false } => match self.context.property(name) {
                Some(value) if is_true(value) || !default_when_false => Ok(value.clone()),
                _ => default.as_ref().map_or(Ok(Value::Null), |default| self.value(default, depth)),
            },
            Renderable::Interpolate(interpolation) => self.interpolate(interpolation, depth),
            Renderable::WithProperties { format, args, kwargs } => {
                self.with_properties(format, args, kwargs, depth)
            }
            Renderable::Secret(name) => self.ask(Request::Secret { name: name.clone() }, depth),
            Renderable::Callable { callable, args, kwargs } => {
                self.call(callable, args, kwargs, depth, |callable, args, kwargs| Request::Renderer {
                    callable,
                    args,
                    kwargs,
                })
            }
            Renderable::Transform { function, args, kwargs } => {
                self.call(function, args, kwargs, depth, |callable, args, kwargs| Request::Function {
                    callable,
                    args,
                    kwargs,
                })
            }
            Renderable::Flatten(items) => {
                let mut flat = Vec::new();
                flatten(self.value(items, depth)?, &mut flat);
                Ok(flat.into())
            }
            Renderable::UrlForBuild => {
                self.context.build_url().map(Value::from).ok_or_else(|| "there is no build to link to".into())
            }
            Renderable::Op { op, left, right } => {
                let before = self.pending.len();
                let (left, right) = (self.value(left, depth)?, self.value(right, depth)?);
                if self.pending.len() > before {
                    return Ok(Value::Null);
                }
                operators::apply(*op, &left, &right)
            }
        }
    }

    fn dict(&mut self, items: &[(Renderable, Renderable)], depth: usize) -> Rendered {
        let mut object = Map::new();
        for (key, item) in items {
            let key = self.value(key, depth)?;
            object.insert(py_str(&key), self.value(item, depth)?);
        }
        Ok(Value::Object(object))
    }

    /// Arguments first: the request names their values, so it can't be made while one of them is pending.
    fn call(
        &mut self,
        callable: &Callable,
        args: &[Renderable],
        kwargs: &[(String, Renderable)],
        depth: usize,
        request: fn(Callable, Vec<Value>, Map<String, Value>) -> Request,
    ) -> Rendered {
        let before = self.pending.len();
        let (args, kwargs) = (self.each(args, depth)?, self.keywords(kwargs, depth)?);
        if self.pending.len() > before {
            return Ok(Value::Null);
        }
        self.ask(request(callable.clone(), args, kwargs), depth)
    }

    fn ask(&mut self, request: Request, depth: usize) -> Rendered {
        match self.context.answer(&request) {
            Some(Answer::Value(value)) => self.value(&value, depth),
            Some(Answer::Failed(reason)) => Err(reason),
            None => {
                if !self.pending.contains(&request) {
                    self.pending.push(request);
                }
                Ok(Value::Null)
            }
        }
    }

    fn interpolate(&mut self, interpolation: &Interpolation, depth: usize) -> Rendered {
        match &interpolation.body {
            Body::Selected(template) => self.template(template, interpolation, depth).map(Value::String),
            Body::Positional(pieces) => {
                let before = self.pending.len();
                let args = self.each(interpolation.args(), depth)?;
                if self.pending.len() > before {
                    return Ok(Value::Null);
                }
                fill(pieces, &args)
            }
        }
    }

    fn template(
        &mut self,
        template: &Template,
        interpolation: &Interpolation,
        depth: usize,
    ) -> Result<String, String> {
        let mut out = String::new();
        for part in &template.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { lookup, spec } => {
                    let value = match self.lookup(lookup, interpolation, depth)? {
                        Value::Null => Value::String(String::new()),
                        other => other,
                    };
                    out.push_str(&spec.format(&value)?);
                }
            }
        }
        Ok(out)
    }

    fn lookup(&mut self, lookup: &Lookup, interpolation: &Interpolation, depth: usize) -> Rendered {
        let value = self.select(&lookup.selector, interpolation, depth)?;
        let truth = value.as_ref().is_some_and(is_true);
        let template = match (&lookup.choice, value) {
            (Choice::IfExists(_), Some(value)) => return Ok(value),
            (Choice::IfTrue(_), Some(value)) if truth => return Ok(value),
            (Choice::IfExists(default) | Choice::IfTrue(default), _) => default,
            (Choice::Replace(text), Some(_)) => text,
            (Choice::Replace(_), None) => return Ok(Value::Null),
            (Choice::Ternary { by_truth, yes, no }, value) => {
                let chosen = if *by_truth { truth } else { value.is_some() };
                if chosen { yes } else { no }
            }
        };
        self.template(template, interpolation, depth).map(Value::String)
    }

    /// The value of a key, `None` when there is no such key.
    fn select(
        &mut self,
        selector: &Selector,
        interpolation: &Interpolation,
        depth: usize,
    ) -> Result<Option<Value>, String> {
        match selector {
            Selector::Property(name) => Ok(self.context.property(name).cloned()),
            Selector::Source { codebase, attribute } => Ok(self.context.source_stamp(codebase, attribute)),
            Selector::Worker(key) => Ok(self.context.worker_info(key)),
            Selector::Secret(name) => self.ask(Request::Secret { name: name.clone() }, depth).map(Some),
            Selector::Keyword(name) => match interpolation.keyword(name) {
                Some(value) => self.value(value, depth).map(Some),
                None => Ok(None),
            },
        }
    }

    fn with_properties(
        &mut self,
        format: &str,
        args: &[String],
        kwargs: &[(String, Renderable)],
        depth: usize,
    ) -> Rendered {
        let mut args = args.iter();
        let mut out = String::new();
        for piece in percent::parse(format)? {
            match piece {
                Piece::Text(text) => out.push_str(&text),
                Piece::Field { key, spec } => {
                    let value = match key {
                        Some(key) => self.named(&key, kwargs, depth)?,
                        None => {
                            let name = args.next().ok_or("not enough arguments for format string")?;
                            self.existing(name)?
                        }
                    };
                    let value = if value.is_null() { Value::String(String::new()) } else { value };
                    out.push_str(&spec.format(&value)?);
                }
            }
        }
        Ok(Value::String(out))
    }

    fn existing(&self, name: &str) -> Rendered {
        self.context.property(name).cloned().ok_or_else(|| format!("KeyError: '{name}'"))
    }

    /// A key of the old form: a function, or a property with `:-`, `:~` or `:+` and a plain text.
    fn named(&mut self, key: &str, kwargs: &[(String, Renderable)], depth: usize) -> Rendered {
        if let Some((_, function)) = kwargs.iter().find(|(name, _)| name == key) {
            return self.value(function, depth);
        }
        for operator in [":-", ":~", ":+"] {
            let Some((name, text)) = key.split_once(operator) else {
                continue;
            };
            let value = match kwargs.iter().find(|(other, _)| other == name) {
                Some((_, function)) => Some(self.value(function, depth)?),
                None => self.context.property(name).cloned(),
            };
            return Ok(match (operator, value) {
                (":+", value) => if value.is_some() { text } else { "" }.into(),
                (":~", Some(value)) if is_true(&value) => value,
                (":-", Some(value)) => value,
                _ => text.into(),
            });
        }
        self.existing(key)
    }
}

fn flatten(value: Value, flat: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.into_iter().for_each(|item| flatten(item, flat)),
        other => flat.push(other),
    }
}

fn fill(pieces: &[Piece], args: &[Value]) -> Rendered {
    let mut args = args.iter();
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Field { key: Some(_), .. } => return Err("format requires a mapping".into()),
            Piece::Field { key: None, spec } => {
                let value = args.next().ok_or("not enough arguments for format string")?;
                out.push_str(&spec.format(value)?);
            }
        }
    }
    match args.next() {
        None => Ok(Value::String(out)),
        Some(_) => Err("not all arguments converted during string formatting".into()),
    }
}
