//! When a group is due: five fields with exactly the meaning that a Kubernetes CronJob gives them.
//!
//! A CronJob is read by robfig/cron v3 (`ParseStandard`). The `cron` crate evaluates, but speaks
//! another dialect (seconds first, Sunday is 1, day of month *and* day of week), so fields are read
//! here and handed over as plain lists of numbers. It is asked about local time without a zone, and
//! each of its answers is mapped to the instants that it has in the group's zone: none in the gap of
//! a clock change, two in the hour that is repeated.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

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
    /// Due when any of them is: day of month and day of week are alternatives where both are given.
    Fields(Vec<cron::Schedule>),
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

/// Longer than any clock change: a local time later than another by more than this is later in every
/// zone. The longest repeated stretch in the tz database since 1970 is three hours.
const LONGEST_FOLD: SignedDuration = SignedDuration::from_hours(4);

/// A field's values, and whether it restricts anything: `*` and `?` do not, `*/2` does.
struct Values {
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
            Some(interval) => Kind::Every(every(interval.trim()).map_err(|message| fail(&message))?),
            None if text.starts_with('@') => {
                let known = MACROS.iter().find(|(name, _)| *name == text);
                let (_, fields) = known.ok_or_else(|| {
                    fail("unknown shorthand; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @every 1h")
                })?;
                Kind::Fields(schedules(&read_fields(fields)?))
            }
            None => Kind::Fields(schedules(&read_fields(text)?)),
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
            Kind::Fields(schedules) => {
                schedules.iter().filter_map(|schedule| next_of(schedule, now, zone)).min()
            }
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

fn next_of(schedule: &cron::Schedule, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let local = zone.to_datetime(now);
    let from = local.checked_sub(LONGEST_FOLD).ok()?;
    let mut best: Option<(Timestamp, civil::DateTime)> = None;
    for hit in schedule.after(&as_utc(from)?) {
        let hit = of_utc(&hit)?;
        // Local times do not come in the order of their instants where the clock is put back, so
        // what comes a little later in the list may be due earlier.
        if best.is_some_and(|(_, at)| hit.duration_since(at) > LONGEST_FOLD) {
            break;
        }
        let due = instants(hit, zone).into_iter().flatten().filter(|instant| *instant > now).min();
        if let Some(due) = due
            && best.is_none_or(|(known, _)| due < known)
        {
            best = Some((due, hit));
        }
    }
    best.map(|(due, _)| due)
}

/// When the clocks of `zone` show `local`: never, once or twice.
fn instants(local: civil::DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
    let at = |offset: jiff::tz::Offset| offset.to_timestamp(local).ok();
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => [at(offset), None],
        AmbiguousOffset::Gap { .. } => [None, None],
        AmbiguousOffset::Fold { before, after } => [at(before), at(after)],
    }
}

/// The `cron` crate wants a zone; UTC has no clock changes, so it stands for none.
fn as_utc(local: civil::DateTime) -> Option<chrono::DateTime<chrono::Utc>> {
    let seconds = jiff::tz::Offset::UTC.to_timestamp(local).ok()?.as_second();
    chrono::DateTime::from_timestamp(seconds, 0)
}

fn of_utc(hit: &chrono::DateTime<chrono::Utc>) -> Option<civil::DateTime> {
    Timestamp::from_second(hit.timestamp()).ok().map(|at| jiff::tz::Offset::UTC.to_datetime(at))
}

fn every(text: &str) -> Result<Duration, String> {
    let seconds =
        super::duration::parse_seconds(text).map_err(|error| format!("`@every {text}`: {error}"))?;
    match seconds {
        0 => Err("`@every` needs at least a second".to_owned()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

fn read_fields(text: &str) -> Result<[Values; 5], ScheduleError> {
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
    Ok([next()?, next()?, next()?, next()?, next()?])
}

/// Words between white space, each with its byte offset.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace().map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// Schedules of the `cron` crate, any of which makes it due.
fn schedules(fields: &[Values; 5]) -> Vec<cron::Schedule> {
    let [minute, hour, day, month, weekday] = fields;
    let any = Values { values: BTreeSet::new(), is_any: true };
    let days = match (day.is_any, weekday.is_any) {
        (false, false) => vec![(day, &any), (&any, weekday)],
        _ => vec![(day, weekday)],
    };
    let text = |(day, weekday): (&Values, &Values)| {
        format!(
            "0 {} {} {} {} {}",
            minute.list(0),
            hour.list(0),
            day.list(0),
            month.list(0),
            // Sunday is 0 for Kubernetes and 1 for the crate.
            weekday.list(1)
        )
    };
    // Plain numbers within their bounds are all that is handed over.
    days.into_iter().filter_map(|days| cron::Schedule::from_str(&text(days)).ok()).collect()
}

impl Values {
    fn list(&self, shift: u8) -> String {
        match self.is_any {
            true => "*".to_owned(),
            false => {
                self.values.iter().map(|value| (value + shift).to_string()).collect::<Vec<_>>().join(",")
            }
        }
    }
}

impl Field {
    fn read(&self, word: &str, at: usize) -> Result<Values, ScheduleError> {
        let mut values = BTreeSet::new();
        let mut is_any = false;
        let mut offset = at;
        for part in word.split(',') {
            let span = offset..offset + part.len();
            let (range, any) = self.range(part).map_err(|message| ScheduleError { message, span })?;
            values.extend(range);
            is_any |= any;
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
        let any = matches!(range, "*" | "?");
        let (first, last) = match range.split_once('-') {
            _ if any => (*least, *most),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            // With a step, one number means "from there on".
            None if step.is_some() => (self.value(range)?, *most),
            None => (self.value(range)?, self.value(range)?),
        };
        let step = match step {
            None => 1,
            Some(step) => match step.parse::<usize>() {
                Ok(step) if step > 0 && step.to_string() == step_digits(part) => step,
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
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse::<u8>().ok() } else { None };
        match number.filter(|number| (least..=most).contains(&number)) {
            Some(number) => Ok(number),
            None if *name == "day of week" && text == "7" => {
                Err("`7` is no day of week: Sunday is 0, as in a CronJob".to_owned())
            }
            None => Err(format!("`{text}` is no {name}: use {least} to {most}")),
        }
    }
}

fn step_digits(part: &str) -> &str {
    let step = part.split_once('/').map_or("", |(_, step)| step);
    let trimmed = step.trim_start_matches('0');
    if step.bytes().all(|byte| byte.is_ascii_digit()) { trimmed } else { "" }
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
            ("0 3 L * *", "L", "`L` is no day of month"),
            ("TZ=UTC 0 3 * * *", "TZ=UTC 0 3 * * *", "`time_zone`"),
            ("@reboot", "@reboot", "unknown shorthand"),
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
