//! Durations in Go's form, as Kubernetes' own tools take them: `90s`, `5m`, `1h30m`, `1.5h`.

/// And nothing at all, as between a space and the number behind it.
const UNITS: [&str; 9] = ["", "h", "m", "s", "ms", "us", "µs", "μs", "ns"];

/// Whole seconds of `text`, or what is wrong with it.
///
/// Bare numbers are refused: nobody knows their unit. So are signs, and fractions of a second, which
/// no field of a Job can hold. Limits are the caller's.
pub fn parse_seconds(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Err("the duration is empty".to_owned());
    }
    if text.starts_with(['-', '+']) {
        return Err("a duration has no sign".to_owned());
    }
    let mut nanoseconds: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let scale = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            "" => return Err("a number without a unit".to_owned()),
            // The unit is not to blame for what stands around it.
            other if UNITS.contains(&other.trim()) => return Err("there is a space in it".to_owned()),
            other => return Err(format!("unknown unit `{}`", other.trim())),
        };
        let part = scaled(digits, scale).ok_or_else(|| format!("invalid number `{digits}`"))?;
        nanoseconds = nanoseconds.checked_add(part).ok_or("the duration is too long")?;
        rest = next;
    }
    if !nanoseconds.is_multiple_of(1_000_000_000) {
        return Err("a fraction of a second".to_owned());
    }
    u64::try_from(nanoseconds / 1_000_000_000).map_err(|_| "the duration is too long".to_owned())
}

/// `digits` (with at most one point) times `scale`, without rounding surprises of floats. Digits
/// beyond a nanosecond are cut, as Go does.
fn scaled(digits: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    // 18 digits are more than the 13 that an hour has nanoseconds.
    let fraction = &fraction[..fraction.len().min(18)];
    let ten_to_the = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = number(fraction)?.checked_mul(scale)? / ten_to_the;
    number(whole)?.checked_mul(scale)?.checked_add(part)
}

/// Seconds as Go prints them: `1h30m0s` without its zero parts.
pub fn go_duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    for (number, unit) in [(hours, "h"), (minutes, "m"), (rest, "s")] {
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_gos_form() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5400),
            ("1.5h", 5400),
            (".5m", 30),
            ("0s", 0),
            ("1000ms", 1),
            ("168h", 604_800),
        ] {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_or_a_job_would_not_take() {
        for (text, words) in [
            ("", "empty"),
            ("5", "without a unit"),
            ("5 mins", "unknown unit `mins`"),
            ("60s ", "a space"),
            (" 60s", "a space"),
            ("60 s", "a space"),
            ("1h 30m", "a space"),
            ("1h\n", "a space"),
            ("5m\u{a0}", "a space"),
            ("60s s", "unknown unit `s s`"),
            ("-5m", "no sign"),
            ("+5m", "no sign"),
            ("1d", "unknown unit `d`"),
            ("1.2.3s", "invalid number"),
            ("s", "invalid number"),
            ("500ms", "fraction"),
            ("1.5s", "fraction"),
            ("99999999999999999999999999999999999999999h", "invalid number"),
            ("5m5", "without a unit"),
        ] {
            let error = parse_seconds(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse_seconds(&text);
        }

        #[test]
        fn what_is_printed_reads_back(seconds in 0..10_000_000u64) {
            prop_assert_eq!(parse_seconds(&go_duration(seconds)), Ok(seconds));
        }
    }
}
