//! How values look: times, durations, results, addresses. Templates call these as filters and functions.

use jiff::Timestamp;
use minijinja::{Environment, Value};
use muster_core::Results;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What stays as it is in one part of an address.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) fn register(environment: &mut Environment<'static>) {
    environment.add_filter("ago", |at: i64| ago(at, muster_data::now().0));
    environment.add_filter("duration", duration);
    environment.add_filter("iso", |at: i64| formatted(at, "%Y-%m-%dT%H:%M:%SZ"));
    environment.add_filter("exact", |at: i64| formatted(at, "%Y-%m-%d %H:%M:%S UTC"));
    environment.add_filter("result", result_name);
    environment.add_filter("glyph", |name: &str| glyph(name));
    environment.add_filter("segment", |text: &str| Value::from_safe_string(segment(text)));
    environment.add_filter("plural", |count: i64, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    });
    environment.add_filter("short_revision", |revision: &str| short_revision(revision));
    environment.add_filter("short_reason", |reason: &str| short_reason(reason));
    environment.add_filter("author_name", |author: &str| author_name(author).to_owned());
    environment
        .add_function("builder_path", |id: i64, name: &str| Value::from_safe_string(builder_path(id, name)));
    environment.add_function("progress", |elapsed: i64, usual: i64| progress(elapsed, usual));
    environment.add_function("remaining", |elapsed: i64, usual: i64| remaining(elapsed, usual));
}

/// "3 min ago". The script writes the same texts.
fn ago(at: i64, now: i64) -> String {
    const MONTH: i64 = 30 * DAY;
    match now - at {
        ahead if ahead < -MINUTE => format!("in {}", roughly(-ahead)),
        little if little < 5 => "just now".to_owned(),
        seconds if seconds <= MONTH => format!("{} ago", roughly(seconds)),
        _ => formatted(at, "%Y-%m-%d"),
    }
}

fn roughly(seconds: i64) -> String {
    match seconds {
        ..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} d", seconds / DAY),
    }
}

/// "1 h 02 min", "3 min 05 s", "12 s".
fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        ..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min {:02} s", seconds / MINUTE, seconds % MINUTE),
        HOUR..DAY => format!("{} h {:02} min", seconds / HOUR, seconds % HOUR / MINUTE),
        _ => format!("{} d {:02} h", seconds / DAY, seconds % DAY / HOUR),
    }
}

fn formatted(at: i64, format: &str) -> String {
    match Timestamp::from_second(at) {
        Ok(time) => time.strftime(format).to_string(),
        Err(_) => format!("second {at}"),
    }
}

fn result_name(code: Value) -> &'static str {
    code.as_i64().and_then(Results::from_code).map_or("running", Results::name)
}

/// A shape for each result, so that colour is never alone.
fn glyph(name: &str) -> &'static str {
    match name {
        "success" => "✓",
        "warnings" => "!",
        "failure" => "✕",
        "skipped" => "–",
        "exception" => "E",
        "retry" => "R",
        "cancelled" => "C",
        "running" => "▸",
        _ => "·",
    }
}

pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A builder's address: by its name, where that can be read back from an address.
pub(super) fn builder_path(id: i64, name: &str) -> String {
    let numeric = name.bytes().all(|byte| byte.is_ascii_digit());
    // Proxies disagree about an encoded slash, and nobody may ask for `.` or `..`.
    match numeric || name.contains('/') || name.starts_with('.') {
        true => format!("builders/{id}"),
        false => format!("builders/{}", segment(name)),
    }
}

fn short_revision(revision: &str) -> String {
    let is_hash = revision.len() >= 32 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    revision.chars().take(if is_hash { 10 } else { 24 }).collect()
}

/// Most builds are started by schedulers, and all say so in the same long sentence: their name is enough.
fn short_reason(reason: &str) -> String {
    let name = reason.strip_prefix("The ").and_then(|rest| rest.strip_suffix("' triggered this build"));
    match name.and_then(|rest| rest.split_once(" scheduler named '")) {
        Some((_, name)) => format!("scheduler {name}"),
        None => reason.to_owned(),
    }
}

/// The name in `Name <mail@example.org>`.
fn author_name(author: &str) -> &str {
    let name = author.split('<').next().unwrap_or(author).trim();
    if name.is_empty() { author } else { name }
}

/// How much of a build is done, in thousandths. Beyond four fifths of the usual time it only creeps, so that it neither
/// ends too early nor ever goes back. The script continues the same curve.
fn progress(elapsed: i64, usual: i64) -> i64 {
    const STEADY: f64 = 0.8;
    let share = elapsed.max(0) as f64 / usual.max(1) as f64;
    let done = match share < STEADY {
        true => share,
        false => 1.0 - (1.0 - STEADY) * (-(share - STEADY) / (1.0 - STEADY)).exp(),
    };
    (done * 1000.0) as i64
}

fn remaining(elapsed: i64, usual: i64) -> String {
    match usual - elapsed {
        left @ 1.. => format!("about {} left", roughly(left)),
        over => format!("{} over its usual time", roughly(-over)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_think() {
        let now = 1_800_000_000;
        let told = [2, 40, 200, 7300, 100_000].map(|past| ago(now - past, now));
        assert_eq!(told, ["just now", "40 s ago", "3 min ago", "2 h ago", "1 d ago"]);
        assert_eq!(ago(now - 5_184_000, now), "2026-11-16");
        assert_eq!([5, 185, 3725, 90_000].map(duration), ["5 s", "3 min 05 s", "1 h 02 min", "1 d 01 h"]);
    }

    #[test]
    fn progress_grows_and_never_arrives() {
        let points: Vec<i64> = (0..400).map(|elapsed| progress(elapsed, 100)).collect();
        assert!(points.is_sorted() && points[50] == 500);
        assert!(points[399] <= 1000);
        assert_eq!(remaining(40, 100), "about 1 min left");
        assert_eq!(remaining(130, 100), "30 s over its usual time");
    }

    #[test]
    fn the_sentence_of_schedulers_becomes_their_name() {
        assert_eq!(short_reason("The Nightly scheduler named 'all' triggered this build"), "scheduler all");
        assert_eq!(short_reason("The sun shines"), "The sun shines");
    }

    #[test]
    fn a_builder_is_addressed_by_its_name_where_that_is_safe() {
        assert_eq!(builder_path(7, "build fail"), "builders/build%20fail");
        assert_eq!(builder_path(7, "a/b"), "builders/7");
        assert_eq!(builder_path(7, "12"), "builders/7");
        assert_eq!(builder_path(7, ".."), "builders/7");
    }
}
