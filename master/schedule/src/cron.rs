//! Calendar rules of the Nightly scheduler: five fields, local time, Buildbot's days of the week
//! (`docs/compat/behaviour-3-changes-schedulers.md` 3.5). Pure: the zone and the moment are arguments.

use jiff::{
    SignedDuration, Timestamp, Zoned,
    civil::{Date, DateTime, Time, Weekday},
    tz::TimeZone,
};
use muster_config::snapshot::{CronField, CronFields};

/// How many days ahead a next time is looked for; a rule without one never fires.
///
/// The rarest date is the 29th of February, which stays away for eight years around 2100; 40 years also cover it on a
/// given day of the week in a month that has it.
const HORIZON_DAYS: u32 = 40 * 366;

/// Why a field can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}={written:?}: {reason}")]
pub struct CronError {
    field: &'static str,
    written: String,
    reason: String,
}

/// A rule of the calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronRule {
    minutes: Set,
    hours: Set,
    days_of_month: Set,
    last_day_of_month: bool,
    months: Set,
    /// 0 is Sunday.
    days_of_week: Set,
    /// Instead of days of the week: certain ones of each month.
    days_in_month: Vec<DayInMonth>,
    /// The weekday that is nearest to this day of the month.
    nearest_weekday: Option<i8>,
}

/// `mon#2`, `L5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DayInMonth {
    /// 0 is Sunday.
    weekday: i8,
    /// From 1; `None` is the last one.
    number: Option<i8>,
}

/// Numbers below 64, and whether the field was written as `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    bits: u64,
    any: bool,
}

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits & (1 << number) != 0)
    }

    fn numbers(self) -> impl DoubleEndedIterator<Item = i8> {
        (0..64_i8).filter(move |number| self.has(*number))
    }
}

/// A field's name in messages, its bounds and its words.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    words: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", low: 0, high: 59, words: &[] };
const HOUR: Field = Field { name: "hour", low: 0, high: 23, words: &[] };
const DAY_OF_MONTH: Field = Field { name: "dayOfMonth", low: 1, high: 31, words: &[] };
const MONTH: Field = Field {
    name: "month",
    low: 1,
    high: 12,
    words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// 7 is Sunday too.
const DAY_OF_WEEK: Field =
    Field { name: "dayOfWeek", low: 0, high: 7, words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl CronRule {
    /// Understands the fields as they were written.
    pub fn new(fields: &CronFields) -> Result<CronRule, CronError> {
        let mut day_of_month = written(&fields.day_of_month).trim().to_owned();
        let nearest_weekday = nearest_weekday(&day_of_month);
        let last_day_of_month = take_last_day(&mut day_of_month);
        let days_of_month = if nearest_weekday.is_some() || (last_day_of_month && day_of_month.is_empty()) {
            Set { bits: 0, any: false }
        } else {
            DAY_OF_MONTH.parse(&day_of_month)?
        };
        let day_of_week = monday_first(&fields.day_of_week)?;
        let days_in_month = days_in_month(&day_of_week)?;
        let mut days_of_week = match days_in_month.is_empty() {
            true => DAY_OF_WEEK.parse(&day_of_week)?,
            false => Set { bits: 0, any: false },
        };
        if days_of_week.has(7) {
            days_of_week.bits = (days_of_week.bits | 1) & !(1 << 7);
        }
        Ok(CronRule {
            minutes: MINUTE.parse(&written(&fields.minute))?,
            hours: HOUR.parse(&written(&fields.hour))?,
            days_of_month,
            last_day_of_month,
            months: MONTH.parse(&written(&fields.month))?,
            days_of_week,
            days_in_month,
            nearest_weekday,
        })
    }

    /// The first moment after `after` that the rule names; `None` when there is none within 40 years.
    ///
    /// A rule for every hour follows real time, so that it neither misses nor doubles an hour when the clocks change. A
    /// rule for certain hours fires once on its day: a time that the clocks skip comes an hour later, one that they
    /// repeat is taken at its first coming.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.hours.numbers().count() == 24 {
            self.next_in_any_hour(after, zone)
        } else {
            self.next_in_its_hours(after, zone)
        }
    }

    /// Whether the rule names the minute of `moment`.
    pub fn matches(&self, moment: Timestamp, zone: &TimeZone) -> bool {
        let local = moment.to_zoned(zone.clone()).datetime();
        self.has_day(local.date()) && self.hours.has(local.hour()) && self.minutes.has(local.minute())
    }

    fn next_in_any_hour(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut at = start_of_next_minute(after)?.to_zoned(zone.clone());
        let end = after.checked_add(SignedDuration::from_hours(i64::from(HORIZON_DAYS) * 24)).ok()?;
        while at.timestamp() <= end {
            if !self.has_day(at.date()) {
                at = at.tomorrow().ok()?.start_of_day().ok()?;
            } else if let Some(minute) = self.minutes.numbers().find(|minute| *minute >= at.minute()) {
                let wait = SignedDuration::from_mins(i64::from(minute - at.minute()));
                let candidate = at.checked_add(wait).ok()?;
                // A change of the clocks within this hour may have moved the minute away.
                if self.matches(candidate.timestamp(), zone) {
                    return Some(candidate.timestamp());
                }
                at = next_hour(&at)?;
            } else {
                at = next_hour(&at)?;
            }
        }
        None
    }

    fn next_in_its_hours(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut day = after.to_zoned(zone.clone()).date();
        for _ in 0..HORIZON_DAYS {
            if self.has_day(day)
                && let Some(found) =
                    self.times().filter_map(|time| moment(day.to_datetime(time), zone)).find(|at| *at > after)
            {
                return Some(found);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn times(&self) -> impl Iterator<Item = Time> {
        self.hours.numbers().flat_map(|hour| {
            self.minutes.numbers().filter_map(move |minute| Time::new(hour, minute, 0, 0).ok())
        })
    }

    /// Cron's rule: when both kinds of day are restricted, either of them is enough. Only `*` is no restriction; `1-31`
    /// is one.
    fn has_day(&self, date: Date) -> bool {
        if !self.months.has(date.month()) {
            return false;
        }
        let of_month = self.days_of_month.has(date.day())
            || (self.last_day_of_month && date.day() == date.last_of_month().day())
            || self.nearest_weekday.is_some_and(|day| nearest_to(date, day) == Some(date));
        let of_week = self.days_of_week.has(date.weekday().to_sunday_zero_offset())
            || self.days_in_month.iter().any(|day| day.is(date));
        // A day in the month is restriction enough beside all days of the month.
        let every_day = self.days_of_month.any
            || (!self.days_in_month.is_empty() && self.days_of_month.numbers().count() == 31);
        match (every_day, self.days_of_week.any) {
            (false, false) => of_month || of_week,
            _ => of_month && of_week,
        }
    }
}

impl DayInMonth {
    fn is(self, date: Date) -> bool {
        let last = date.last_of_month().day();
        date.weekday().to_sunday_zero_offset() == self.weekday
            && match self.number {
                Some(number) => (date.day() - 1) / 7 + 1 == number,
                None => date.day() + 7 > last,
            }
    }
}

impl Field {
    fn parse(&self, written: &str) -> Result<Set, CronError> {
        let mut set = Set { bits: 0, any: false };
        for item in written.trim().split(',') {
            let (bits, any) = self.item(item).map_err(|reason| CronError {
                field: self.name,
                written: written.to_owned(),
                reason,
            })?;
            set.bits |= bits;
            set.any |= any;
        }
        Ok(set)
    }

    /// `*`, `4`, `1-5`, `mon`, each with an optional `/step`.
    fn item(&self, item: &str) -> Result<(u64, bool), String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let width = match step {
            Some(step) => match plain_number(step) {
                Some(step) if step > 0 => step,
                _ => return Err(format!("the step {step:?} is not a number above 0")),
            },
            None => 1,
        };
        let is_day = self.name == DAY_OF_MONTH.name || self.name == DAY_OF_WEEK.name;
        let (low, high, open) = match range {
            "*" => (self.low, self.last(), true),
            "?" if is_day && step.is_none() => (self.low, self.last(), true),
            "?" => return Err("a question mark stands alone, and for days only".to_owned()),
            _ => match range.split_once('-') {
                // Croniter's meaning of `5-5`: once around.
                Some((low, high)) if self.number(low)? == self.end(high)? => (self.low, self.last(), false),
                Some((low, high)) => (self.number(low)?, self.end(high)?, false),
                None => {
                    let number = self.number(range)?;
                    // With a step it goes on to the end, and there Sunday is 0.
                    let begin = if step.is_some() && number > self.last() { self.low } else { number };
                    (begin, if step.is_some() { self.last() } else { number }, false)
                }
            },
        };
        Ok((self.bits(low, high, width), open && step.is_none()))
    }

    /// The last number of one time around: 7 is Sunday once more.
    fn last(&self) -> u32 {
        if self.name == DAY_OF_WEEK.name { 6 } else { self.high }
    }

    /// The end of a range; the last day of the month is 31 there.
    fn end(&self, text: &str) -> Result<u32, String> {
        let is_last = self.name == DAY_OF_MONTH.name && text.eq_ignore_ascii_case("l");
        if is_last { Ok(self.high) } else { self.number(text) }
    }

    /// A range whose end is before its beginning goes on over the end of the field, as in `fri-mon`.
    fn bits(&self, low: u32, high: u32, step: u32) -> u64 {
        if low <= high {
            return (low..=high).step_by(step as usize).fold(0, |bits, number| bits | 1 << number);
        }
        (low..=self.last())
            .chain(self.low..=high)
            .step_by(step as usize)
            .fold(0, |bits, number| bits | 1 << number)
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        if let Some(index) = self.words.iter().position(|word| text.eq_ignore_ascii_case(word)) {
            return Ok(self.low + u32::try_from(index).expect("a field has at most twelve words"));
        }
        match plain_number(text) {
            Some(number) if (self.low..=self.high).contains(&number) => Ok(number),
            _ => Err(format!("{text:?} is not between {} and {}", self.low, self.high)),
        }
    }
}

fn written(field: &CronField) -> String {
    match field {
        CronField::Number(number) => number.to_string(),
        CronField::Text(text) => text.clone(),
        CronField::List(numbers) => numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(","),
    }
}

/// Digits alone: a sign is none.
fn plain_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Days of the week in cron's numbers. Buildbot counts Monday as 0, but only where an item is a number alone; ranges
/// and steps keep cron's meaning. Numbers beyond a week wrap around in Buildbot; here they are the mistakes that they look
/// like, but for 7, which is Monday there.
fn monday_first(field: &CronField) -> Result<String, CronError> {
    let all = written(field);
    let shift = |item: &str| match item.trim().parse::<i64>() {
        Ok(number @ 0..=7) => Ok(((number + 1) % 7).to_string()),
        Ok(number) => Err(CronError {
            field: DAY_OF_WEEK.name,
            written: all.clone(),
            reason: format!("\"{number}\" is not between 0 (Monday) and 6 (Sunday)"),
        }),
        Err(_) => Ok(item.to_owned()),
    };
    let items: Result<Vec<String>, CronError> = all.trim().split(',').map(shift).collect();
    Ok(items?.join(","))
}

/// `mon#2`, `mon-wed#2`, `L5`; none where the field names no such days. Both kinds in one field have no meaning.
fn days_in_month(written: &str) -> Result<Vec<DayInMonth>, CronError> {
    let refuse = |reason: &str| CronError {
        field: DAY_OF_WEEK.name,
        written: written.to_owned(),
        reason: reason.to_owned(),
    };
    let (mut days, mut others) = (Vec::new(), false);
    for item in written.split(',') {
        let last = item.strip_prefix(['l', 'L']).filter(|day| plain_number(day).is_some());
        let (of_week, number) = match (last, item.split_once('#')) {
            (Some(day), _) => (day, None),
            (None, Some((days, number))) => {
                let number = plain_number(number).and_then(|number| i8::try_from(number).ok());
                let number = number.filter(|number| (1..=5).contains(number));
                (days, Some(number.ok_or_else(|| refuse("the number behind # is one from 1 to 5"))?))
            }
            (None, None) => {
                others = true;
                continue;
            }
        };
        let is_numbers = of_week.contains('-') && of_week.bytes().any(|byte| byte.is_ascii_digit());
        if of_week.contains(['*', '?', '/']) || is_numbers {
            return Err(refuse("before # stands one day, or a range of names such as mon-wed"));
        }
        let set = DAY_OF_WEEK.parse(of_week)?;
        days.extend(set.numbers().map(|weekday| DayInMonth { weekday: weekday % 7, number }));
    }
    if others && !days.is_empty() {
        return Err(refuse("days of the week and days in the month can't be combined"));
    }
    Ok(days)
}

/// The day before the `W` of a field such as `15W`.
fn nearest_weekday(written: &str) -> Option<i8> {
    let day = plain_number(written.strip_suffix(['w', 'W'])?)?;
    i8::try_from(day).ok().filter(|day| (1..=31).contains(day))
}

/// The weekday nearest to a day, in the month of `date`.
fn nearest_to(date: Date, day: i8) -> Option<Date> {
    let wanted = date.with().day(day.min(date.last_of_month().day())).build().ok()?;
    let (before, after) = (wanted.yesterday().ok()?, wanted.tomorrow().ok()?);
    match wanted.weekday() {
        Weekday::Saturday if before.month() == date.month() => Some(before),
        Weekday::Saturday => after.tomorrow().ok(),
        Weekday::Sunday if after.month() == date.month() => Some(after),
        Weekday::Sunday => before.yesterday().ok(),
        _ => Some(wanted),
    }
}

/// Takes the item `L` (the last day of the month) out of the field.
fn take_last_day(written: &mut String) -> bool {
    let items: Vec<&str> = written.split(',').filter(|item| !item.trim().eq_ignore_ascii_case("l")).collect();
    let without = items.join(",");
    let found = without.len() != written.len();
    *written = without;
    found
}

fn start_of_next_minute(after: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second((after.as_second().div_euclid(60) + 1) * 60).ok()
}

fn next_hour(at: &Zoned) -> Option<Zoned> {
    at.checked_add(SignedDuration::from_mins(60 - i64::from(at.minute()))).ok()
}

/// The moment of a local time; the later side of a gap, the earlier of a repetition.
fn moment(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_zoned(local).compatible().ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests;
