use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;

/// A build with a handful of properties.
#[derive(Default)]
struct Context {
    properties: HashMap<String, Value>,
    answers: Vec<(Request, Answer)>,
}

impl RenderContext for Context {
    fn property(&self, name: &str) -> Option<&Value> {
        self.properties.get(name)
    }

    fn source_stamp(&self, codebase: &str, attribute: &str) -> Option<Value> {
        match (codebase, attribute) {
            ("cb", "branch") => Some(Value::Null),
            ("cb" | "", "revision") => Some("abc".into()),
            _ => None,
        }
    }

    fn worker_info(&self, key: &str) -> Option<Value> {
        (key == "system").then(|| "posix".into())
    }

    fn build_url(&self) -> Option<String> {
        Some("http://localhost/#/builders/1/builds/2".into())
    }

    fn answer(&self, request: &Request) -> Option<Answer> {
        self.answers.iter().find(|(asked, _)| asked == request).map(|(_, answer)| answer.clone())
    }
}

fn context() -> Context {
    let properties = json!({
        "a": "A", "e": "", "z": 0, "n": null, "l": ["x", "y"], "f": false, "bn": "b", "d": {"k": [1.0, true]}
    });
    let Value::Object(properties) = properties else { unreachable!() };
    Context { properties: properties.into_iter().collect(), answers: Vec::new() }
}

fn renderable(form: Value) -> Renderable {
    Renderable::try_from(form).unwrap()
}

fn interpolate(format: &str) -> Result<Value, RenderError> {
    render(&renderable(json!({"$r": "interpolate", "fmt": format})), &context())
}

#[test]
fn interpolate_gives_what_buildbot_gave() {
    let measured = [
        ("%(prop:miss)s", ""),
        ("%(prop:e:-d)s", ""),
        ("%(prop:n:-d)s", ""),
        ("%(prop:z:~d)s", "d"),
        ("%(prop:e:+y)s", "y"),
        ("%(prop:miss:+y)s", ""),
        ("%(prop:e:?|t|f)s", "t"),
        ("%(prop:e:#?|t|f)s", "f"),
        ("%(prop:a:?:T%(prop:bn)s:F)s", "Tb"),
        ("%(prop:miss:-%(prop:bn)s)s", "b"),
        ("%(prop:a:?|t|f|g)s", "t"),
        ("%(prop:miss:?|t|f|g)s", "f|g"),
        ("%(prop:l)s", "['x', 'y']"),
        ("%(prop:f)s", "False"),
        ("%(prop:a)10s", "         A"),
        ("%(prop:a)-3s|", "A  |"),
        ("%(src:cb:branch:-x)s", ""),
        ("%(src:zz:revision:-x)s", "x"),
        ("%(src::revision)s", "abc"),
        ("%(prop:d)s", "{'k': [1.0, True]}"),
        ("%(prop:a)r 100%%", "'A' 100%"),
        ("%(worker:system)s %(worker:host:-?)s", "posix ?"),
    ];
    for (format, expected) in measured {
        assert_eq!(interpolate(format), Ok(expected.into()), "{format}");
    }
}

#[test]
fn wrong_formats_are_refused_with_buildbots_words() {
    let errors = [
        ("%(prop:a:*x)s", "invalid Interpolate default type '*'"),
        ("%(prop:a:#x)s", "invalid Interpolate default type '#'"),
        ("%(src:a)s", "Must specify both codebase and attribute for src Interpolation 'a'"),
        ("%(src:a b:c)s", "Codebase must be alphanumeric for src Interpolation 'a b:c'"),
        ("%(src:a:b c)s", "Attribute must be alphanumeric for src Interpolation 'a:b c'"),
        ("%(prop:a b)s", "Property name must be alphanumeric for prop Interpolation 'a b'"),
        ("%(kw:a b)s", "Keyword must be alphanumeric for kw Interpolation 'a b'"),
        ("%(foo:a)s", "invalid Interpolate selector 'foo'"),
        ("%(foo)s", "invalid Interpolate substitution without selector 'foo'"),
        ("%(prop:a:?|a)s", "invalid Interpolate ternary expression 'a' with delimiter '|'"),
        ("%(prop:a:-%(foo:a)s)s", "invalid Interpolate selector 'foo'"),
        ("%(prop:z)d", "invalid format \"%(prop:z)d\": %d format: a real number is required, not str"),
        ("%", "invalid format \"%\": incomplete format"),
        ("%(kw:a", "invalid format \"%(kw:a\": incomplete format key"),
    ];
    for (format, expected) in errors {
        let error = Interpolation::new(format.into(), vec![], vec![]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let mixed = Interpolation::new("%s".into(), vec!["a".into()], vec![("b".into(), "c".into())]);
    assert_eq!(mixed, Err(InterpolationError::MixedArguments));
}

#[test]
fn positional_arguments_are_rendered_and_formatted() {
    let form = json!({"$r": "interpolate", "fmt": "%s-%03d-%.1f-%x", "args": [
        {"$r": "property", "name": "a"}, 7, 2.25, 255]});
    assert_eq!(render(&renderable(form), &context()), Ok("A-007-2.2-ff".into()));
    let short = json!({"$r": "interpolate", "fmt": "%s %s", "args": ["x"]});
    assert_eq!(
        render(&renderable(short), &context()),
        Err(RenderError::Failed("not enough arguments for format string".into()))
    );
}

#[test]
fn keywords_are_seen_by_nested_formats_too() {
    let form = json!({"$r": "interpolate", "fmt": "%(prop:miss:-%(kw:x)s)s", "kwargs": {
        "x": {"$r": "property", "name": "bn"}}});
    assert_eq!(render(&renderable(form), &context()), Ok("b".into()));
}

#[test]
fn a_property_falls_back_when_missing_or_falsy() {
    let property = |name: &str, when_false: bool| {
        render(
            &renderable(
                json!({"$r": "property", "name": name, "default": "D", "default_when_false": when_false}),
            ),
            &context(),
        )
        .unwrap()
    };
    assert_eq!(property("z", true), json!("D"));
    assert_eq!(property("z", false), json!(0));
    assert_eq!(property("miss", false), json!("D"));
    assert_eq!(property("a", true), json!("A"));
}

#[test]
fn renderables_are_found_inside_lists_and_dictionaries() {
    let form = json!({"env": {"A": {"$r": "property", "name": "a"}}, "list": [1, [2]]});
    assert_eq!(render(&renderable(form), &context()), Ok(json!({"env": {"A": "A"}, "list": [1, [2]]})));
    let keys = json!({"$r": "dict", "items": [["$r", 1], [{"$r": "property", "name": "a"}, 2]]});
    assert_eq!(render(&renderable(keys), &context()), Ok(json!({"$r": 1, "A": 2})));
}

#[test]
fn all_pending_requests_come_together_and_answers_are_rendered_again() {
    let source = json!({"file": "master.cfg", "line": 3, "digest": "00"});
    let form = json!([
        {"$r": "secret", "name": "s"},
        {"$r": "callable", "handle": "h", "source": source, "args": [{"$r": "property", "name": "a"}]},
        {"$r": "interpolate", "fmt": "%(secret:s)s"}
    ]);
    let mut context = context();
    let Err(RenderError::Pending(requests)) = render(&renderable(form.clone()), &context) else {
        panic!("nothing pending");
    };
    assert_eq!(requests.len(), 2);
    assert!(matches!(&requests[1], Request::Renderer { args, .. } if args == &[json!("A")]));
    context.answers = vec![
        (requests[0].clone(), Answer::Value("top".into())),
        (requests[1].clone(), Answer::Value(renderable(json!({"$r": "property", "name": "bn"})))),
    ];
    assert_eq!(render(&renderable(form.clone()), &context), Ok(json!(["top", "b", "top"])));
    context.answers[0].1 = Answer::Failed("secret key s is not found in any provider".into());
    assert_eq!(
        render(&renderable(form), &context),
        Err(RenderError::Failed("secret key s is not found in any provider".into()))
    );
}

#[test]
fn a_renderer_that_returns_itself_ends() {
    let form = json!({"$r": "callable", "handle": "h", "source": {"file": "", "line": 0, "digest": ""}});
    let callable = renderable(form);
    let mut context = context();
    let Err(RenderError::Pending(requests)) = render(&callable, &context) else { panic!() };
    context.answers = vec![(requests[0].clone(), Answer::Value(callable.clone()))];
    assert!(matches!(render(&callable, &context), Err(RenderError::Failed(_))));
}

#[test]
fn operators_follow_python() {
    let op = |op: &str, left: Value, right: Value| {
        render(&renderable(json!({"$r": "op", "op": op, "left": left, "right": right})), &context())
    };
    assert_eq!(op("==", json!({"$r": "property", "name": "a"}), json!("A")), Ok(json!(true)));
    assert_eq!(op("==", json!(1), json!(1.0)), Ok(json!(true)));
    assert_eq!(op("//", json!(-7), json!(2)), Ok(json!(-4)));
    assert_eq!(op("%", json!(-7), json!(2)), Ok(json!(1)));
    assert_eq!(op("%", json!("n=%d"), json!(2)), Ok(json!("n=2")));
    assert_eq!(op("/", json!(1), json!(2)), Ok(json!(0.5)));
    assert_eq!(op("+", json!([1]), json!([2])), Ok(json!([1, 2])));
    assert_eq!(op("in", json!("x"), json!({"$r": "property", "name": "l"})), Ok(json!(true)));
    assert_eq!(
        op("<", json!("a"), json!(1)),
        Err(RenderError::Failed("'<' not supported between instances of 'str' and 'int'".into()))
    );
}

#[test]
fn the_old_form_needs_its_properties() {
    let with = |format: &str, args: Value| {
        render(
            &renderable(json!({"$r": "with_properties", "fmt": format, "args": args, "kwargs": {}})),
            &context(),
        )
    };
    assert_eq!(with("%s.%s", json!(["a", "n"])), Ok("A.".into()));
    assert_eq!(with("%(miss:-d)s%(e:~t)s%(a:+y)s", json!([])), Ok("dty".into()));
    assert_eq!(with("%(miss)s", json!([])), Err(RenderError::Failed("KeyError: 'miss'".into())));
}

#[test]
fn the_json_form_survives_a_round_trip() {
    let source = json!({"file": "f", "line": 1, "digest": "d"});
    let forms = [
        json!({"plain": [1, null, "x"]}),
        json!([{"$r": "property", "name": "a", "default_when_false": true, "default": null}]),
        json!({"$r": "interpolate", "fmt": "%(kw:x)s", "args": [], "kwargs": {"x": 1}}),
        json!({"$r": "callable", "handle": "h", "source": source, "args": [], "kwargs": {}}),
        json!({"$r": "transform", "function": {"handle": "h", "source": source}, "args": [1], "kwargs": {}}),
        json!({"$r": "flatten", "items": [[1], 2]}),
        json!({"$r": "bytes", "b64": "/w=="}),
        json!({"$r": "op", "op": "in", "left": 1, "right": [1]}),
    ];
    for form in forms {
        assert_eq!(Value::from(renderable(form.clone())), form);
    }
    assert!(Renderable::try_from(json!({"$r": "nonsense"})).is_err());
}

#[test]
fn values_are_written_as_python_writes_them() {
    assert_eq!(py_repr(&json!("it's")), "\"it's\"");
    assert_eq!(py_repr(&json!("a'b\"c\n\u{1}")), r#"'a\'b"c\n\x01'"#);
    assert_eq!(py_str(&json!(1e16)), "1e+16");
    assert_eq!(py_str(&json!(0.00001)), "1e-05");
    assert_eq!(py_str(&json!(3.0)), "3.0");
    assert_eq!(py_str(&json!([null, true])), "[None, True]");
    assert_eq!(py_str(&json!({"$r": "bytes", "b64": "Yf8="})), r"b'a\xff'");
}
