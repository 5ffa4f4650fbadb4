//! What a stock worker tells about a command, as updates of a session.

use muster_session::UpdateBody;
use muster_session::command::Stream;

use crate::value::Value;

/// Bytes of names in one list of files; a longer list comes in several parts.
const FILES_PART: usize = 256 * 1024;

/// Bytes of a reason, and of the failure that ends a command. Real ones are a screen long; a frame of a session is the limit.
const MAX_WORDS: usize = 64 * 1024;

/// One field of an update.
#[derive(Debug, PartialEq)]
pub(crate) enum Translated {
    /// Text that is not yet cut into lines.
    Text(Stream, String),
    /// Anything else.
    Body(UpdateBody),
}

/// The meaning of one field. Fields that no session has a word for, and values that make no sense, mean nothing.
pub(crate) fn translate(key: &str, value: &Value) -> Vec<Translated> {
    let one = match key {
        "stdout" => text(Stream::Stdout, value),
        "stderr" => text(Stream::Stderr, value),
        "header" => text(Stream::Header, value),
        "log" => log(value),
        "rc" => value.as_int().map(|rc| Translated::Body(UpdateBody::Rc(rc))),
        "elapsed" => value.as_float().map(|seconds| Translated::Body(UpdateBody::Elapsed(seconds))),
        "failure_reason" => {
            value.as_text().map(|reason| Translated::Body(UpdateBody::FailureReason(shortened(reason))))
        }
        "stat" => stat(value),
        "files" => return files(value),
        _ => None,
    };
    if one.is_none() && !matches!(value, Value::None) {
        tracing::debug!(key, "a stock worker's update means nothing here");
    }
    one.into_iter().collect()
}

/// The beginning of text that is too long.
pub(crate) fn shortened(mut text: String) -> String {
    let end = (0..=MAX_WORDS.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text
}

/// Plain text over PB; text, line offsets and times over msgpack.
fn text(stream: Stream, value: &Value) -> Option<Translated> {
    let text = match value.elements() {
        Some(parts) => parts.first()?.as_text()?,
        None => value.as_text()?,
    };
    Some(Translated::Text(stream, text))
}

fn log(value: &Value) -> Option<Translated> {
    let [name, content] = value.elements()? else { return None };
    text(Stream::Log(name.as_text()?), content)
}

fn stat(value: &Value) -> Option<Translated> {
    let numbers: Option<Vec<i64>> =
        value.elements()?.iter().map(|number| number.as_float().map(|_| whole(number))).collect();
    let stat = <[i64; 10]>::try_from(numbers?).ok()?;
    Some(Translated::Body(UpdateBody::Stat(stat)))
}

/// Inode numbers may be beyond an i64; Windows sends times as floats.
fn whole(number: &Value) -> i64 {
    number.as_int().unwrap_or_else(|| number.as_float().unwrap_or_default() as i64)
}

fn files(value: &Value) -> Vec<Translated> {
    let Some(names) = value.elements() else { return Vec::new() };
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    // No file has a longer name.
    for name in names.iter().filter_map(Value::as_text).filter(|name| name.len() <= FILES_PART) {
        bytes += name.len();
        if bytes > FILES_PART {
            parts.push(Vec::new());
            bytes = name.len();
        }
        parts.last_mut().expect("there is always a part").push(name);
    }
    parts.into_iter().map(|part| Translated::Body(UpdateBody::Files(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_text_mean_the_same() {
        let plain = translate("stdout", &"a\n".into());
        let lines =
            Value::List(vec!["a\n".into(), Value::List(vec![Value::Int(1)]), Value::List(Vec::new())]);
        assert_eq!(translate("stdout", &lines), plain);
        assert_eq!(plain, [Translated::Text(Stream::Stdout, "a\n".into())]);
        let log = Value::Tuple(vec!["web".into(), lines]);
        assert_eq!(translate("log", &log), [Translated::Text(Stream::Log("web".into()), "a\n".into())]);
    }

    #[test]
    fn nonsense_means_nothing() {
        for (key, value) in [
            ("rc", "x".into()),
            ("stat", Value::List(vec![Value::Int(1)])),
            ("log", "x".into()),
            ("new", Value::Int(1)),
        ] {
            assert!(translate(key, &value).is_empty(), "{key}");
        }
    }

    #[test]
    fn long_lists_come_in_parts() {
        let name = "n".repeat(1000);
        let names: Vec<Value> = (0..1000).map(|_| name.as_str().into()).collect();
        let parts = translate("files", &Value::List(names));
        let count = |part: &Translated| match part {
            Translated::Body(UpdateBody::Files(names)) => names.len(),
            other => panic!("{other:?}"),
        };
        assert!(parts.len() >= 4);
        assert_eq!(parts.iter().map(count).sum::<usize>(), 1000);
        assert_eq!(translate("files", &Value::List(Vec::new())).len(), 1);
    }
}
