//! When a group is due: five fields with exactly the meaning that a Kubernetes CronJob gives them.
//!
//! A CronJob is read by robfig/cron v3 (`ParseStandard`), so its grammar is kept here, odd corners
//! included, and its way of finding the next time: `tests/it/oracles.rs` compares both with the
//! original. In the gap of a clock change nothing is due, and in the hour that is repeated all is due
//! twice. Where a clock is changed at midnight or by half an hour, its search misses some times of
//! that day, or finds one a day late: then a CronJob does the same.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use cron::TimeUnitSpec;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan, civil};

/// A parsed schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    written: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// `@every`: from whatever moment it is asked about.
    Every(Duration),
    Fields(Box<Fields>),
}

/// What is wrong with a schedule, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    pub message: String,
    /// Byte offsets into the schedule's text.
    pub span: Range<usize>,
}

/// One of the five fields.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// For `least`, `least + 1`, …
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of month", least: 1, most: 31, names: &[] },
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field {
        name: "day of week",
        least: 0,
        most: 6,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const MACROS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// How far back a last time is looked for: 29 February is at most eight years ago.
const LONGEST_BACK: SignedDuration = SignedDuration::from_hours(24 * 366 * 9);

/// The search goes no further, so 30 February is never.
const YEARS_AHEAD: i16 = 5;

/// What each field holds. The `cron` crate keeps the sets; it speaks another dialect (Sunday is 1, and
/// both days must match), so the fields are read here and handed over as plain lists of numbers.
#[derive(Clone, Debug, PartialEq)]
struct Fields {
    sets: cron::Schedule,
    any_day: bool,
    any_weekday: bool,
    /// In the order of [`FIELDS`]: a field of nothing but commas never matches, and the crate has no
    /// set of nothing.
    empty: [bool; 5],
}

/// A field's values, and whether it restricts anything: `*` and `?` do not, `*/2` does.
struct Values {
    /// Empty for a field of nothing but commas, which never matches.
    values: BTreeSet<u8>,
    is_any: bool,
}

impl Schedule {
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        let fail = |message: &str| ScheduleError { message: message.to_owned(), span: 0..text.len() };
        if text.trim().is_empty() {
            return Err(fail("the schedule is empty"));
        }
        if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
            return Err(fail("a zone does not belong into the schedule: use the key `time_zone`"));
        }
        let kind = match text.strip_prefix("@every ") {
            Some(interval) => Kind::Every(every(interval).map_err(|message| fail(&message))?),
            None if text.starts_with('@') => {
                let known = MACROS.iter().find(|(name, _)| *name == text);
                let (_, fields) = known.ok_or_else(|| {
                    fail(&format!(
                        "unknown shorthand `{text}`; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @every 1h"
                    ))
                })?;
                Kind::Fields(Box::new(read_fields(fields)?))
            }
            None => Kind::Fields(Box::new(read_fields(text)?)),
        };
        Ok(Schedule { written: text.to_owned(), kind })
    }

    /// The first moment after `now` at which it is due in `zone`; `None` for one that never is.
    pub fn next_after(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.kind {
            Kind::Every(interval) => {
                // robfig/cron lets the fraction of the second go.
                let whole = Timestamp::from_second(now.as_second()).ok()?;
                whole.checked_add(SignedDuration::try_from(*interval).ok()?).ok()
            }
            Kind::Fields(fields) => Walk::after(now, zone)?.first_of(fields),
        }
    }
}

impl Schedule {
    /// The last moment up to `now` at which it was due in `zone`; `None` where that is years ago, and
    /// for `@every`, which knows no times of its own.
    pub fn last_at(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if let Kind::Every(_) = self.kind {
            return None;
        }
        // There is no way to search back, so windows grow until something is in them.
        let mut window = SignedDuration::from_mins(2);
        while window <= LONGEST_BACK {
            let from = now.checked_sub(window).ok()?;
            let mut last = None;
            let mut next = self.next_after(from, zone);
            while let Some(time) = next.filter(|time| *time <= now) {
                last = Some(time);
                next = self.next_after(time, zone).filter(|later| *later > time);
            }
            if last.is_some() {
                return last;
            }
            window *= 8;
        }
        None
    }

    /// Seconds between two times of `@every`; at least one.
    pub fn interval(&self) -> Option<i64> {
        match &self.kind {
            Kind::Every(interval) => Some(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX).max(1)),
            Kind::Fields(_) => None,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// A zone of the tz database by its exact name; `Local` and the empty name are none.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    let zone = TimeZone::get(name).ok()?;
    // jiff takes names in any case, Kubernetes does not.
    (zone.iana_name() == Some(name)).then_some(zone)
}

/// A moment on its way to one that matches: robfig/cron's `SpecSchedule.Next`, step by step.
///
/// Steps of a month or a day go by local time, steps of an hour or less by real time. `None` is a
/// moment out of the calendar's range.
struct Walk<'a> {
    zone: &'a TimeZone,
    /// Seconds since 1970.
    at: i64,
    /// What the zone's clocks show then.
    local: civil::DateTime,
    /// The first step also goes back to the start of its unit; from there on all is at a start.
    stepped: bool,
}

impl<'a> Walk<'a> {
    fn after(now: Timestamp, zone: &'a TimeZone) -> Option<Walk<'a>> {
        let mut walk = Walk { zone, at: 0, local: civil::DateTime::default(), stepped: false };
        walk.move_to(now.as_second() + 1)?;
        Some(walk)
    }

    fn first_of(mut self, fields: &Fields) -> Option<Timestamp> {
        let [no_minute, no_hour, _, no_month, _] = fields.empty;
        if no_minute || no_hour || no_month {
            return None;
        }
        let last_year = self.local.year() + YEARS_AHEAD;
        'wrapped: while self.local.year() <= last_year {
            while !includes(fields.sets.months(), self.local.month()) {
                self.next_month()?;
                if self.local.month() == 1 {
                    continue 'wrapped;
                }
            }
            while !fields.day_matches(self.local.date()) {
                self.next_day()?;
                if self.local.day() == 1 {
                    continue 'wrapped;
                }
            }
            while !includes(fields.sets.hours(), self.local.hour()) {
                self.next_hour()?;
                if self.local.hour() == 0 {
                    continue 'wrapped;
                }
            }
            while !includes(fields.sets.minutes(), self.local.minute()) {
                self.next_of(60)?;
                if self.local.minute() == 0 {
                    continue 'wrapped;
                }
            }
            while self.local.second() != 0 {
                self.next_of(1)?;
                if self.local.second() == 0 {
                    continue 'wrapped;
                }
            }
            return Timestamp::from_second(self.at).ok();
        }
        None
    }

    fn next_month(&mut self) -> Option<()> {
        let first = self.local.first_of_month();
        if !self.stepped {
            self.stepped = true;
            self.move_to_local(first.start_of_day())?;
        }
        let days = self.local.day() - 1;
        let next = self.local.first_of_month().checked_add(1.month()).ok()?;
        self.move_to_local(next.checked_add(days.days()).ok()?)
    }

    fn next_day(&mut self) -> Option<()> {
        if !self.stepped {
            self.stepped = true;
            self.move_to_local(self.local.start_of_day())?;
        }
        self.move_to_local(self.local.checked_add(1.day()).ok()?)?;
        // Where midnight is skipped, this lands beside it.
        match i64::from(self.local.hour()) {
            0 => Some(()),
            hour @ 13.. => self.move_to(self.at + (24 - hour) * 3600),
            hour => self.move_to(self.at - hour * 3600),
        }
    }

    fn next_hour(&mut self) -> Option<()> {
        if !self.stepped {
            self.stepped = true;
            let hour = self.local.time().with().minute(0).second(0).build().ok()?;
            self.move_to_local(self.local.date().to_datetime(hour))?;
        }
        self.move_to(self.at + 3600)
    }

    /// The next minute or second.
    fn next_of(&mut self, seconds: i64) -> Option<()> {
        if !self.stepped {
            self.stepped = true;
            self.move_to(self.at - self.at.rem_euclid(seconds))?;
        }
        self.move_to(self.at + seconds)
    }

    fn move_to(&mut self, second: i64) -> Option<()> {
        self.at = second;
        self.local = self.zone.to_datetime(Timestamp::from_second(second).ok()?);
        Some(())
    }

    /// As Go's `time.Date` does it, which decides where the clocks show `local` never or twice.
    fn move_to_local(&mut self, local: civil::DateTime) -> Option<()> {
        let offset =
            |second| Some(i64::from(self.zone.to_offset(Timestamp::from_second(second).ok()?).seconds()));
        let as_utc = Offset::UTC.to_timestamp(local).ok()?.as_second();
        let second = match offset(as_utc)? {
            0 => as_utc,
            guess => as_utc - offset(as_utc - guess)?,
        };
        self.move_to(second)
    }
}

impl Fields {
    fn new(values: [Values; 5]) -> Option<Fields> {
        let empty = values.each_ref().map(|field| field.values.is_empty());
        let [minute, hour, day, month, weekday] = &values;
        let weekday_list = weekday.list(1);
        let text =
            format!("0 {} {} {} {} {weekday_list}", minute.list(0), hour.list(0), day.list(0), month.list(0));
        let sets = cron::Schedule::from_str(&text).ok()?;
        Some(Fields { sets, any_day: day.is_any, any_weekday: weekday.is_any, empty })
    }

    /// Day of month and day of week are alternatives where both restrict.
    fn day_matches(&self, date: civil::Date) -> bool {
        let [_, _, no_day, _, no_weekday] = self.empty;
        let by_day = !no_day && includes(self.sets.days_of_month(), date.day());
        // Sunday is 0 for Kubernetes and 1 for the crate.
        let weekday = date.weekday().to_sunday_zero_offset() + 1;
        let by_weekday = !no_weekday && includes(self.sets.days_of_week(), weekday);
        if self.any_day || self.any_weekday { by_day && by_weekday } else { by_day || by_weekday }
    }
}

fn includes(set: &impl TimeUnitSpec, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set.includes(value))
}

impl Values {
    /// For the crate; `shift` is added to each value.
    fn list(&self, shift: u8) -> String {
        match self.values.is_empty() {
            true => "*".to_owned(),
            false => {
                self.values.iter().map(|value| (value + shift).to_string()).collect::<Vec<_>>().join(",")
            }
        }
    }
}

fn every(text: &str) -> Result<Duration, String> {
    if text.trim() != text {
        return Err("`@every` and its duration have one space between them and none after".to_owned());
    }
    let seconds =
        super::duration::parse_seconds(text).map_err(|error| format!("`@every {text}`: {error}"))?;
    match seconds {
        0 => Err("`@every` needs at least a second".to_owned()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

fn read_fields(text: &str) -> Result<Fields, ScheduleError> {
    let words: Vec<(usize, &str)> = words(text).collect();
    if words.len() != FIELDS.len() {
        let found = words.len();
        let hint = if found == 6 { ": there is none for seconds" } else { "" };
        let message = format!("found {found} fields, expected five, as in a CronJob{hint}");
        return Err(ScheduleError { message, span: 0..text.len() });
    }
    let mut read = FIELDS.iter().zip(words).map(|(field, (at, word))| field.read(word, at));
    let mut next =
        || read.next().unwrap_or_else(|| Err(ScheduleError { message: String::new(), span: 0..0 }));
    let values = [next()?, next()?, next()?, next()?, next()?];
    // Lists of numbers within their bounds are all that the crate is given.
    let unreadable =
        || ScheduleError { message: "the schedule cannot be read".to_owned(), span: 0..text.len() };
    Fields::new(values).ok_or_else(unreadable)
}

/// Words between white space, each with its byte offset.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace().map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

impl Field {
    fn read(&self, word: &str, at: usize) -> Result<Values, ScheduleError> {
        let mut values = BTreeSet::new();
        let mut is_any = false;
        let mut offset = at;
        for part in word.split(',') {
            let span = offset..offset + part.len();
            // robfig/cron passes over what is empty.
            if !part.is_empty() {
                let (range, any) = self.range(part).map_err(|message| ScheduleError { message, span })?;
                values.extend(range);
                is_any |= any;
            }
            offset += part.len() + 1;
        }
        Ok(Values { values, is_any })
    }

    /// `*`, `5`, `5-9`, `*/2`, `5/2`, `5-9/2`; names for numbers. And whether it is a bare `*` or `?`.
    fn range(&self, part: &str) -> Result<(Vec<u8>, bool), String> {
        let Field { name, least, most, .. } = self;
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        // What follows `*-` is not looked at.
        let any = matches!(range.split('-').next(), Some("*" | "?"));
        let (first, last) = match range.split_once('-') {
            _ if any => (*least, *most),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            // With a step, one number means "from there on".
            None if step.is_some() => (self.value(range)?, *most),
            None => (self.value(range)?, self.value(range)?),
        };
        let step = match step {
            None => 1,
            Some(step) => match step.parse::<i64>().map(usize::try_from) {
                Ok(Ok(step)) if step > 0 => step,
                _ => return Err(format!("`{step}` is no step of a {name}: use a number above 0")),
            },
        };
        if first > last {
            return Err(format!("the range `{range}` of the {name} ends before it begins"));
        }
        Ok(((first..=last).step_by(step).collect(), any && step == 1))
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let Field { name, least, most, names } = self;
        let lower = text.to_lowercase();
        if let Some(index) = names.iter().position(|known| *known == lower) {
            return Ok(least + u8::try_from(index).unwrap_or_default());
        }
        // Go's numbers may have a plus sign and leading zeros, and so may Rust's.
        match text.parse::<u8>().ok().filter(|number| (least..=most).contains(&number)) {
            Some(number) => Ok(number),
            None if *name == "day of week" && text == "7" => {
                Err("`7` is no day of week: Sunday is 0, as in a CronJob".to_owned())
            }
            None => Err(format!("`{text}` is no {name}: use {least} to {most}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fires(schedule: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let (schedule, zone) = (Schedule::parse(schedule).unwrap(), time_zone(zone).unwrap());
        let mut at: Timestamp = from.parse().unwrap();
        std::iter::from_fn(|| {
            at = schedule.next_after(at, &zone)?;
            Some(at.to_string())
        })
        .take(count)
        .collect()
    }

    #[test]
    fn sunday_is_0_and_the_two_days_are_alternatives() {
        assert_eq!(fires("0 3 * * 1", "Etc/UTC", "2026-11-25T00:00:00Z", 1), ["2026-11-30T03:00:00Z"]);
        assert_eq!(
            fires("0 0 13 * FRI", "Etc/UTC", "2026-11-01T00:00:00Z", 4),
            ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"]
        );
        // `*/2` restricts, so Mondays count beside odd days.
        assert_eq!(fires("0 0 */2 * 1", "Etc/UTC", "2026-11-28T12:00:00Z", 3)[1], "2026-11-30T00:00:00Z");
    }

    #[test]
    fn a_gap_is_skipped_and_a_repeated_hour_fires_twice() {
        assert_eq!(
            fires("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 2),
            ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            fires("30 2 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", 3),
            ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // In the order of their instants, not of the clock.
        assert_eq!(
            fires("*/30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3),
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"]
        );
    }

    #[test]
    fn numbers_may_have_a_plus_sign_and_leading_zeros() {
        assert_eq!(fires("+5 003 * * *", "Etc/UTC", "2026-11-25T00:00:00Z", 1), ["2026-11-25T03:05:00Z"]);
        assert_eq!(fires("*/+020 3 * * *", "Etc/UTC", "2026-11-25T03:00:00Z", 1), ["2026-11-25T03:20:00Z"]);
    }

    #[test]
    fn empty_items_are_passed_over() {
        assert_eq!(fires("7,, 3 * * *", "Etc/UTC", "2026-11-25T00:00:00Z", 1), ["2026-11-25T03:07:00Z"]);
        for never in [", 3 * * *", "0 , * * *", "0 3 , * *", "0 3 * , *", "0 3 * * ,"] {
            assert_eq!(fires(never, "Etc/UTC", "2026-11-25T00:00:00Z", 1), [""; 0], "{never}");
        }
        // A day of month that never is, or a Monday.
        assert_eq!(fires("0 3 , * 1", "Etc/UTC", "2026-11-25T00:00:00Z", 1), ["2026-11-30T03:00:00Z"]);
    }

    #[test]
    fn what_follows_a_star_and_a_dash_is_not_looked_at() {
        assert_eq!(fires("*-x/30 3 * * *", "Etc/UTC", "2026-11-25T03:00:00Z", 1), ["2026-11-25T03:30:00Z"]);
        // It is a star for the two days as well: Mondays only.
        assert_eq!(fires("0 3 ?-5 * 1", "Etc/UTC", "2026-11-25T00:00:00Z", 1), ["2026-11-30T03:00:00Z"]);
    }

    #[test]
    fn a_change_by_half_an_hour_or_at_midnight_misleads_the_search_as_it_does_a_cronjobs() {
        // Steps of an hour over the half hour that is left out meet half hours only.
        let from = "2026-10-03T13:00:00Z";
        assert_eq!(fires("0 3 * * *", "Australia/Lord_Howe", from, 1), ["2026-10-04T16:00:00Z"]);
        assert_eq!(fires("30 3 * * *", "Australia/Lord_Howe", from, 1), ["2026-10-03T16:30:00Z"]);
        // The first day of summer time in Egypt has no midnight, which is where the search meets a
        // day; and it does not notice that it gets there by steps of an hour.
        assert_eq!(fires("0 5 * * 5", "Africa/Cairo", "2026-04-22T20:00:00Z", 1), ["2026-05-01T02:00:00Z"]);
        assert_eq!(fires("0 5 23 4 *", "Africa/Cairo", "2026-04-23T03:00:00Z", 1), ["2026-04-24T02:00:00Z"]);
    }

    #[test]
    fn every_counts_from_the_moment_it_is_asked_about() {
        assert_eq!(fires("@every 90m", "Etc/UTC", "2026-11-25T00:00:00.7Z", 1), ["2026-11-25T01:30:00Z"]);
        assert_eq!(fires("@weekly", "Etc/UTC", "2026-11-25T00:00:00Z", 1), ["2026-11-29T00:00:00Z"]);
        assert_eq!(fires("0 0 30 2 *", "Etc/UTC", "2026-11-25T00:00:00Z", 1), [""; 0], "never");
    }

    #[test]
    fn what_a_cronjob_would_not_take_is_refused_with_its_place() {
        for (text, part, words) in [
            ("0 3 * *", "0 3 * *", "found 4 fields"),
            ("0 0 3 * * *", "0 0 3 * * *", "none for seconds"),
            ("60 3 * * *", "60", "use 0 to 59"),
            ("0 3 * * 7", "7", "Sunday is 0"),
            ("0 3 * * mon-xyz", "mon-xyz", "`xyz` is no day of week"),
            ("0 3 1,2,32 * *", "32", "use 1 to 31"),
            ("0 5-3 * * *", "5-3", "ends before it begins"),
            ("*/0 * * * *", "*/0", "above 0"),
            ("*/9223372036854775808 * * * *", "*/9223372036854775808", "above 0"),
            ("*/-2 * * * *", "*/-2", "above 0"),
            ("1-2-3 * * * *", "1-2-3", "`2-3` is no minute"),
            ("@every 1h\t", "@every 1h\t", "none after"),
            ("0 3 L * *", "L", "`L` is no day of month"),
            ("TZ=UTC 0 3 * * *", "TZ=UTC 0 3 * * *", "`time_zone`"),
            ("@reboot", "@reboot", "unknown shorthand `@reboot`"),
            ("@every 0s", "@every 0s", "at least a second"),
            ("@every 5", "@every 5", "without a unit"),
            (" ", " ", "empty"),
        ] {
            let error = Schedule::parse(text).unwrap_err();
            assert_eq!(&text[error.span.clone()], part, "{text}");
            assert!(error.message.contains(words), "{text}: {}", error.message);
        }
    }

    #[test]
    fn zones_are_named_exactly() {
        for (name, known) in [
            ("Europe/Berlin", true),
            ("Etc/UTC", true),
            ("europe/berlin", false),
            ("Local", false),
            ("", false),
            ("Mars/Olympus", false),
        ] {
            assert_eq!(time_zone(name).is_some(), known, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[0-9*/,? @A-Za-z-]{0,30}|\\PC*") {
            if let Ok(schedule) = Schedule::parse(&text) {
                schedule.next_after(Timestamp::UNIX_EPOCH, &TimeZone::UTC);
            }
        }
    }
}
