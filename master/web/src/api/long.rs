//! Answers that are longer than what should be held at once: the same text, sent while it is read.

use axum::{
    body::{Body, Bytes},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream};
use muster_data::read::{Error, LogContents, Rows};
use serde_json::{Value, json};

use super::{
    json::{Layout, text},
    json_type,
};

/// Stands where the rest is filled in. No key and no number looks like it.
const HOLE: &str = "\u{1}hole";

/// What stands before the hole and behind it, without its quotes.
fn around(value: Value, layout: Layout) -> (String, String) {
    let whole = text(value, layout);
    let hole = text(json!(HOLE), Layout::Compact);
    let (before, behind) = whole.split_once(&hole).expect("the hole was put in");
    (before.to_owned(), behind.to_owned())
}

/// A list.
pub(super) fn list(plural: &str, total: usize, rows: Rows, layout: Layout) -> Response {
    let (before, behind) = around(json!({plural: [HOLE], "meta": {"total": total}}), layout);
    let parts = stream::unfold((rows, true), move |(mut rows, is_first)| async move {
        match rows.next().await {
            Ok(Some(items)) => Some((Ok(items_text(items, is_first, layout)), (rows, false))),
            Ok(None) => None,
            Err(error) => Some((Err(error), (rows, false))),
        }
    });
    sent(before, parts, behind, layout)
}

fn items_text(items: Vec<Value>, mut is_first: bool, layout: Layout) -> String {
    let separator = if layout == Layout::Indented { ", \n    " } else { "," };
    let mut all = String::new();
    for item in items {
        if !std::mem::take(&mut is_first) {
            all += separator;
        }
        let item = text(item, layout);
        // A text in JSON has no line ends of its own: these are of the layout.
        all += &if layout == Layout::Indented { item.replace('\n', "\n    ") } else { item };
    }
    all
}

/// A thing whose `content` is lines of a log.
pub(super) fn contents(plural: &str, mut item: Value, contents: LogContents, layout: Layout) -> Response {
    item["content"] = HOLE.into();
    let (before, behind) = around(json!({plural: [item], "meta": {}}), layout);
    let parts = stream::unfold(contents, |mut contents| async move {
        match contents.next().await {
            Ok(Some(part)) => Some((Ok(escaped(&part)), contents)),
            Ok(None) => None,
            Err(error) => Some((Err(error), contents)),
        }
    });
    sent(before + "\"", parts, format!("\"{behind}"), layout)
}

/// A text as it stands between the quotes.
fn escaped(part: &str) -> String {
    let quoted = text(json!(part), Layout::Compact);
    quoted[1..quoted.len() - 1].to_owned()
}

fn sent(
    before: String,
    parts: impl Stream<Item = Result<String, Error>> + Send + 'static,
    behind: String,
    layout: Layout,
) -> Response {
    let parts = parts.inspect(|part| {
        if let Err(error) = part {
            tracing::error!(%error, "an answer could not be sent to its end");
        }
    });
    let all = stream::iter([Ok(before)]).chain(parts).chain(stream::iter([Ok(behind)]));
    let body = Body::from_stream(all.map(|part| part.map(Bytes::from)).fuse());
    ([(CONTENT_TYPE, json_type(layout))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_same_text() {
        let items = [json!({"b": [1, {}], "a": "x\ny"}), json!({}), json!({"c": {"d": [2]}})];
        for layout in [Layout::Compact, Layout::Indented] {
            let whole = text(json!({"builds": items, "meta": {"total": 3}}), layout);
            let (before, behind) = around(json!({"builds": [HOLE], "meta": {"total": 3}}), layout);
            let first = items_text(items[..1].to_vec(), true, layout);
            assert_eq!(before + &first + &items_text(items[1..].to_vec(), false, layout) + &behind, whole);
        }
    }
}
