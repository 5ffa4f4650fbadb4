//! Calendar rules of the Nightly scheduler: five fields, local time, Buildbot's days of the week
//! (`docs/compat/behaviour-3-changes-schedulers.md` 3.5). Pure: the zone and the moment are arguments.

use jiff::{
    SignedDuration, Timestamp, Zoned,
    civil::{Date, DateTime, Time},
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
        let mut day_of_month = written(&fields.day_of_month);
        let last_day_of_month = take_last_day(&mut day_of_month);
        let days_of_month = if last_day_of_month && day_of_month.is_empty() {
            Set { bits: 0, any: false }
        } else {
            DAY_OF_MONTH.parse(&day_of_month)?
        };
        let mut days_of_week = DAY_OF_WEEK.parse(&monday_first(&fields.day_of_week))?;
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
            || (self.last_day_of_month && date.day() == date.last_of_month().day());
        let of_week = self.days_of_week.has(date.weekday().to_sunday_zero_offset());
        match (self.days_of_month.any, self.days_of_week.any) {
            (false, false) => of_month || of_week,
            _ => of_month && of_week,
        }
    }
}

impl Field {
    fn parse(&self, written: &str) -> Result<Set, CronError> {
        let mut set = Set { bits: 0, any: false };
        for item in written.split(',') {
            let (bits, any) = self.item(item.trim()).map_err(|reason| CronError {
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
            Some(step) => match step.parse::<u32>() {
                Ok(step) if step > 0 => step,
                _ => return Err(format!("the step {step:?} is not a number above 0")),
            },
            None => 1,
        };
        let (low, high, open) = match range {
            "*" | "?" => {
                (self.low, self.high.min(if self.name == DAY_OF_WEEK.name { 6 } else { self.high }), true)
            }
            _ => match range.split_once('-') {
                Some((low, high)) => (self.number(low)?, self.number(high)?, false),
                None => {
                    let number = self.number(range)?;
                    (number, if step.is_some() { self.high } else { number }, false)
                }
            },
        };
        Ok((self.bits(low, high, width), open && step.is_none()))
    }

    /// A range whose end is before its beginning goes on over the end of the field, as in `fri-mon`.
    fn bits(&self, low: u32, high: u32, step: u32) -> u64 {
        if low <= high {
            return (low..=high).step_by(step as usize).fold(0, |bits, number| bits | 1 << number);
        }
        let end = if self.name == DAY_OF_WEEK.name { 6 } else { self.high };
        (low..=end).chain(self.low..=high).step_by(step as usize).fold(0, |bits, number| bits | 1 << number)
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let text = text.trim();
        if let Some(index) = self.words.iter().position(|word| text.eq_ignore_ascii_case(word)) {
            return Ok(self.low + u32::try_from(index).expect("a field has at most twelve words"));
        }
        match text.parse::<u32>() {
            Ok(number) if (self.low..=self.high).contains(&number) => Ok(number),
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

/// Days of the week in cron's numbers. Buildbot counts Monday as 0, but only where an item is a number alone; ranges
/// and steps keep cron's meaning.
fn monday_first(field: &CronField) -> String {
    let shift = |item: &str| match item.trim().parse::<i64>() {
        Ok(number) => (number + 1).rem_euclid(7).to_string(),
        Err(_) => item.to_owned(),
    };
    written(field).split(',').map(shift).collect::<Vec<_>>().join(",")
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
