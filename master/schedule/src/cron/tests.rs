mod croniter;

use super::*;

fn n(number: i64) -> CronField {
    CronField::Number(number)
}

fn t(text: &str) -> CronField {
    CronField::Text(text.into())
}

fn l(numbers: &[i64]) -> CronField {
    CronField::List(numbers.to_vec())
}

fn fields([minute, hour, day_of_month, month, day_of_week]: [CronField; 5]) -> CronFields {
    CronFields { minute, hour, day_of_month, month, day_of_week }
}

fn rule(written: [CronField; 5]) -> CronRule {
    CronRule::new(&fields(written)).unwrap()
}

fn next(rule: &CronRule, after: &str, zone: &TimeZone) -> String {
    let after: DateTime = after.parse().unwrap();
    let after = zone.to_zoned(after).unwrap().timestamp();
    rule.next(after, zone).unwrap().to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// A zone with summer time, without any file of the system: one hour ahead of UTC in winter, two in summer.
fn central_europe() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

/// Each of the following times, over a change of the clocks.
fn several(rule: &CronRule, after: &str, count: usize) -> Vec<String> {
    let zone = central_europe();
    let mut at = zone.to_zoned(after.parse().unwrap()).unwrap().timestamp();
    let mut found = Vec::new();
    for _ in 0..count {
        at = rule.next(at, &zone).unwrap();
        found.push(at.to_zoned(zone.clone()).strftime("%m-%d %H:%M%:z").to_string());
    }
    found
}

/// What croniter, which Buildbot asks, answered in UTC for some fields from [`STARTS`] on.
fn answers_of_croniter() -> Vec<([CronField; 5], [&'static str; 3])> {
    vec![
        (
            [n(0), t("*"), t("*"), t("*"), t("*")],
            ["2026-02-01 00:00", "2026-02-28 13:00", "2028-02-29 01:00"],
        ),
        ([n(30), n(3), t("*"), t("*"), t("*")], ["2026-02-01 03:30", "2026-03-01 03:30", "2028-02-29 03:30"]),
        ([n(0), n(2), t("*"), t("*"), n(0)], ["2026-02-02 02:00", "2026-03-02 02:00", "2028-03-06 02:00"]),
        ([n(0), n(2), t("*"), t("*"), n(6)], ["2026-02-01 02:00", "2026-03-01 02:00", "2028-03-05 02:00"]),
        (
            [n(0), n(2), t("*"), t("*"), t("0,2")],
            ["2026-02-02 02:00", "2026-03-02 02:00", "2028-03-01 02:00"],
        ),
        (
            [n(0), n(2), t("*"), t("*"), t("1-5")],
            ["2026-02-02 02:00", "2026-03-02 02:00", "2028-02-29 02:00"],
        ),
        (
            [n(0), n(2), t("*"), t("*"), t("*/2")],
            ["2026-02-01 02:00", "2026-03-01 02:00", "2028-02-29 02:00"],
        ),
        (
            [n(0), n(2), t("*"), t("*"), t("5,sun")],
            ["2026-02-01 02:00", "2026-03-01 02:00", "2028-03-04 02:00"],
        ),
        (
            [n(0), n(2), t("*"), t("*"), l(&[5, 6])],
            ["2026-02-01 02:00", "2026-03-01 02:00", "2028-03-04 02:00"],
        ),
        (
            [t("*/15"), t("*"), t("*"), t("*"), t("*")],
            ["2026-02-01 00:00", "2026-02-28 12:15", "2028-02-29 00:15"],
        ),
        (
            [l(&[5, 35]), l(&[1, 13]), t("*"), t("*"), t("*")],
            ["2026-02-01 01:05", "2026-02-28 13:05", "2028-02-29 01:05"],
        ),
        ([n(0), n(0), n(1), t("*"), t("*")], ["2026-02-01 00:00", "2026-03-01 00:00", "2028-03-01 00:00"]),
        ([n(0), n(0), n(13), t("*"), n(4)], ["2026-02-06 00:00", "2026-03-06 00:00", "2028-03-03 00:00"]),
        ([n(0), n(0), n(29), n(2), t("*")], ["2028-02-29 00:00", "2028-02-29 00:00", "2032-02-29 00:00"]),
        ([n(0), n(0), n(31), t("*"), t("*")], ["2026-03-31 00:00", "2026-03-31 00:00", "2028-03-31 00:00"]),
        ([n(0), n(0), t("L"), t("*"), t("*")], ["2026-02-28 00:00", "2026-03-31 00:00", "2028-03-31 00:00"]),
        (
            [n(0), n(12), t("*"), t("jan,jul"), t("mon")],
            ["2026-07-06 12:00", "2026-07-06 12:00", "2028-07-03 12:00"],
        ),
        (
            [t("10-50/20"), t("8-10"), t("*/10"), t("*"), t("*")],
            ["2026-02-01 08:10", "2026-03-01 08:10", "2028-03-01 08:10"],
        ),
        ([n(59), n(23), n(31), n(12), t("*")], ["2026-12-31 23:59", "2026-12-31 23:59", "2028-12-31 23:59"]),
        (
            [t("*"), t("*"), t("*"), t("*"), t("*")],
            ["2026-02-01 00:00", "2026-02-28 12:01", "2028-02-29 00:01"],
        ),
        (
            [n(0), t("*/6"), t("*"), t("*"), t("fri-mon")],
            ["2026-02-01 00:00", "2026-02-28 18:00", "2028-03-03 00:00"],
        ),
        ([n(0), n(1), t("*/1"), t("*"), n(2)], ["2026-02-01 01:00", "2026-03-01 01:00", "2028-02-29 01:00"]),
        (
            [n(0), n(1), t("1-31"), t("*"), t("2")],
            ["2026-02-01 01:00", "2026-03-01 01:00", "2028-02-29 01:00"],
        ),
        (
            [t("5/20"), n(4), t("*"), t("*"), t("*")],
            ["2026-02-01 04:05", "2026-03-01 04:05", "2028-02-29 04:05"],
        ),
        (
            [n(0), n(0), t("*"), t("*"), t("sat,3")],
            ["2026-02-05 00:00", "2026-03-05 00:00", "2028-03-02 00:00"],
        ),
        (
            [n(0), n(0), t("15,L"), t("*"), t("*")],
            ["2026-02-15 00:00", "2026-03-15 00:00", "2028-03-15 00:00"],
        ),
    ]
}

const STARTS: [&str; 3] = ["2026-01-31T23:59:30", "2026-02-28T12:00:00", "2028-02-29T00:00:00"];

#[test]
fn next_times_are_buildbots() {
    for (written, expected) in answers_of_croniter() {
        let rule = rule(written.clone());
        let found = STARTS.map(|start| next(&rule, start, &TimeZone::UTC));
        assert_eq!(found, expected, "{written:?}");
    }
}

#[test]
fn every_form_of_croniter_has_its_times() {
    for (written, expected) in croniter::answers() {
        let rule = CronRule::new(&fields(written.clone())).unwrap_or_else(|error| panic!("{error}"));
        let found = STARTS.map(|start| next(&rule, start, &TimeZone::UTC));
        assert_eq!(found, expected, "{written:?}");
    }
}

#[test]
fn what_croniter_refuses_is_refused() {
    for written in croniter::refused() {
        assert!(CronRule::new(&fields(written.clone())).is_err(), "{written:?}");
    }
}

#[test]
fn a_certain_hour_comes_once_where_the_clocks_skip_or_repeat_it() {
    let daily = rule([n(30), n(2), t("*"), t("*"), t("*")]);
    // 2:30 does not exist on the 29th of March, and exists twice on the 25th of October.
    let spring = several(&daily, "2026-03-28T00:00:00", 3);
    assert_eq!(spring, ["03-28 02:30+01:00", "03-29 03:30+02:00", "03-30 02:30+02:00"]);
    let autumn = several(&daily, "2026-10-24T12:00:00", 2);
    assert_eq!(autumn, ["10-25 02:30+02:00", "10-26 02:30+01:00"]);
}

#[test]
fn every_hour_is_every_hour_of_real_time() {
    let hourly = rule([n(0), t("*"), t("*"), t("*"), t("*")]);
    let spring = several(&hourly, "2026-03-29T00:30:00", 3);
    assert_eq!(spring, ["03-29 01:00+01:00", "03-29 03:00+02:00", "03-29 04:00+02:00"]);
    let autumn = several(&hourly, "2026-10-25T01:30:00", 3);
    assert_eq!(autumn, ["10-25 02:00+02:00", "10-25 02:00+01:00", "10-25 03:00+01:00"]);
}

#[test]
fn a_rule_matches_the_minute_it_names() {
    let rule = rule([n(30), n(2), t("*"), t("*"), n(0)]);
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert!(rule.matches(at("2026-03-02T02:30:59Z"), &TimeZone::UTC));
    assert!(!rule.matches(at("2026-03-02T02:31:00Z"), &TimeZone::UTC));
    assert!(!rule.matches(at("2026-03-03T02:30:00Z"), &TimeZone::UTC));
}

#[test]
fn a_date_that_never_comes_gives_none() {
    let never = rule([n(0), n(0), n(30), n(2), t("*")]);
    assert_eq!(never.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC), None);
    let every_hour_of_never = rule([n(0), t("*"), n(30), n(2), t("*")]);
    assert_eq!(every_hour_of_never.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC), None);
}

#[test]
fn nonsense_names_its_field() {
    let bad = |written: [CronField; 5]| CronRule::new(&fields(written)).unwrap_err().to_string();
    assert_eq!(bad([n(60), t("*"), t("*"), t("*"), t("*")]), r#"minute="60": "60" is not between 0 and 59"#);
    assert_eq!(
        bad([n(0), t("*/0"), t("*"), t("*"), t("*")]),
        r#"hour="*/0": the step "0" is not a number above 0"#
    );
    assert_eq!(
        bad([n(0), t("*"), t("*"), t("*"), t("someday")]),
        r#"dayOfWeek="someday": "someday" is not between 0 and 7"#
    );
}
