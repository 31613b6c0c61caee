//! Kubernetes' resource quantities: `100m`, `0.5`, `16Mi`, `1e3`.
//!
//! Reads what apimachinery's `resource.ParseQuantity` reads, and means the same by it. Two things that it
//! takes are refused: a unit without a number, which it reads as nothing, and more than an `int64` holds,
//! which it cuts or which no scheduler can count.

/// Digits of 2^63 - 1, which is as much as the API counts.
const DIGITS_MAX: i64 = 19;
/// What a binary unit leaves of a fraction is never finer than this, so no rounding is off by a nano-unit.
const FINEST: i64 = -15;
const NANOS: u128 = 1_000_000_000;

/// An amount in billionths, which is the API's own resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    nanos: u128,
}

impl Quantity {
    /// What `text` means, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Quantity, String> {
        // As the API's decoder does.
        let text = text.trim_matches(' ');
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, unit) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err("it has no number".to_owned());
        }
        if fraction.contains('.') {
            return Err("it has two points".to_owned());
        }
        let nanos = scaled(whole, fraction, Scale::of(unit)?).ok_or("it is more than the API can count")?;
        match is_negative && nanos > 0 {
            true => Err("it is negative".to_owned()),
            false => Ok(Quantity { nanos }),
        }
    }

    /// In whole thousandths, as the API server takes the resources of a container.
    pub fn rounded_up(self) -> Quantity {
        Quantity { nanos: self.nanos.next_multiple_of(NANOS / 1000) }
    }

    pub fn of_bytes(bytes: u64) -> Quantity {
        Quantity { nanos: u128::from(bytes) * NANOS }
    }

    /// Whether it is a count of whole things.
    pub fn is_whole(self) -> bool {
        self.nanos.is_multiple_of(NANOS)
    }
}

/// What a unit multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    TenToThe(i64),
    TwoToThe(u32),
}

impl Scale {
    fn of(unit: &str) -> Result<Scale, String> {
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        if let Some((_, scale)) = known {
            return Ok(*scale);
        }
        if let Some(exponent) = unit.strip_prefix(['e', 'E']).filter(|exponent| !exponent.is_empty()) {
            let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                let exponent = exponent.parse().ok().filter(|exponent: &i64| exponent.abs() <= 1000);
                return exponent.map(Scale::TenToThe).ok_or("its exponent is too large".to_owned());
            }
        }
        if unit.contains(char::is_whitespace) {
            return Err("there is a space in it".to_owned());
        }
        // `mb`, `MB`, `mib` and `GiB` are how people write bytes elsewhere.
        let letters = unit.to_ascii_lowercase();
        let stem = letters.trim_end_matches('b').trim_end_matches('i');
        Err(match stem.len() == 1 && "kmgtpe".contains(stem) {
            true => format!("there is no unit `{unit}`; did you mean `{}i`?", stem.to_ascii_uppercase()),
            false => format!("there is no unit `{unit}`"),
        })
    }
}

const UNITS: [(&str, Scale); 16] = [
    ("", Scale::TenToThe(0)),
    ("n", Scale::TenToThe(-9)),
    ("u", Scale::TenToThe(-6)),
    ("m", Scale::TenToThe(-3)),
    ("k", Scale::TenToThe(3)),
    ("M", Scale::TenToThe(6)),
    ("G", Scale::TenToThe(9)),
    ("T", Scale::TenToThe(12)),
    ("P", Scale::TenToThe(15)),
    ("E", Scale::TenToThe(18)),
    ("Ki", Scale::TwoToThe(10)),
    ("Mi", Scale::TwoToThe(20)),
    ("Gi", Scale::TwoToThe(30)),
    ("Ti", Scale::TwoToThe(40)),
    ("Pi", Scale::TwoToThe(50)),
    ("Ei", Scale::TwoToThe(60)),
];

/// Billionths, rounded up as the API does; `None` where they are too many.
fn scaled(whole: &str, fraction: &str, scale: Scale) -> Option<u128> {
    let digits = format!("{whole}{}", fraction.trim_end_matches('0'));
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let (ten, two) = match scale {
        Scale::TenToThe(exponent) => (exponent, 0),
        Scale::TwoToThe(exponent) => (0, exponent),
    };
    // The value is `digits` times ten to the `exponent` times two to the `two`.
    let mut exponent = ten - i64::try_from(fraction.trim_end_matches('0').len()).ok()?;
    let length = i64::try_from(digits.len()).ok()?;
    if length + exponent > DIGITS_MAX {
        return None;
    }
    // Digits that are finer than anything that is counted only round up.
    let finest = if two == 0 { -9 } else { FINEST };
    let cut = (finest - exponent).clamp(0, length);
    let kept = &digits[..usize::try_from(length - cut).ok()?];
    let mantissa: u128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    exponent += cut;
    let is_cut = digits[kept.len()..].bytes().any(|digit| digit != b'0');
    let mantissa = mantissa.checked_add(u128::from(is_cut))?;
    if exponent < finest {
        // All digits were too fine.
        exponent = finest;
    }
    let nanos = mantissa.checked_mul(1u128 << two)?;
    let power = |exponent: i64| 10u128.checked_pow(u32::try_from(exponent).ok()?);
    let nanos = match exponent + 9 {
        up if up >= 0 => nanos.checked_mul(power(up)?)?,
        down => nanos.div_ceil(power(-down)?),
    };
    (nanos <= u128::from(i64::MAX.unsigned_abs()) * NANOS).then_some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nanos(text: &str) -> u128 {
        Quantity::parse(text).unwrap_or_else(|wrong| panic!("{text:?}: {wrong}")).nanos
    }

    #[test]
    fn means_what_apimachinery_means() {
        for (text, expected) in [
            ("0", 0),
            ("00", 0),
            ("-0", 0),
            ("1", NANOS),
            ("+1", NANOS),
            (" 1 ", NANOS),
            ("1.", NANOS),
            (".5", NANOS / 2),
            ("0.100", NANOS / 10),
            ("1m", NANOS / 1000),
            ("1u", 1000),
            ("1n", 1),
            ("0.1n", 1),
            ("1e-20", 1),
            ("1.0000000001", NANOS + 1),
            ("1k", 1000 * NANOS),
            ("1Ki", 1024 * NANOS),
            ("1.5Gi", 1536 * 1024 * 1024 * NANOS),
            ("0.0000000001Ki", 103),
            ("1e3", 1000 * NANOS),
            ("1E3", 1000 * NANOS),
            ("1E+3", 1000 * NANOS),
            ("1E-3", NANOS / 1000),
            ("1E", 1_000_000_000_000_000_000 * NANOS),
            ("7Ei", 7 * (1 << 60) * NANOS),
            ("9223372036854775807", (u128::MAX >> 65) * NANOS),
            ("0000000000000000000000000000000000000000000000000000001", NANOS),
            ("0.00000000000000000000000000000000000000000000000000000", 0),
        ] {
            assert_eq!(nanos(text), expected, "{text:?}");
        }
        assert_eq!(nanos("12Mi"), Quantity::of_bytes(12 << 20).nanos);
        assert!(Quantity::parse("1500m").unwrap() > Quantity::parse("1.4").unwrap());
        assert_eq!(Quantity::parse("0.5m").unwrap().rounded_up().nanos, nanos("1m"));
        assert_eq!(Quantity::parse("2m").unwrap().rounded_up().nanos, nanos("2m"));
        assert!(!Quantity::parse("512m").unwrap().is_whole() && Quantity::parse("512M").unwrap().is_whole());
    }

    #[test]
    fn refuses_what_the_api_server_refuses_and_what_nobody_can_mean() {
        for (text, words) in [
            ("", "no number"),
            (" ", "no number"),
            ("m", "no number"),
            (".", "no number"),
            ("-", "no number"),
            ("2 m", "a space"),
            ("-1", "negative"),
            ("-1n", "negative"),
            ("--1", "no number"),
            ("1.5.0", "two points"),
            ("1mm", "no unit `mm`"),
            ("16mi", "did you mean `Mi`"),
            ("16MB", "did you mean `Mi`"),
            ("16GiB", "did you mean `Gi`"),
            ("1K", "did you mean `Ki`"),
            ("1B", "no unit `B`"),
            ("1\n", "a space"),
            ("1e", "no unit `e`"),
            ("1e3.5", "no unit"),
            ("1e+", "no unit"),
            ("1ee3", "no unit"),
            ("0x10", "no unit"),
            ("1,5", "no unit"),
            ("１", "no number"),
            ("8Ei", "more than"),
            ("1e100", "more than"),
            ("1e99999999999999999999", "exponent"),
            ("9223372036854775808", "more than"),
            ("inf", "no number"),
            ("NaN", "no number"),
        ] {
            let wrong = Quantity::parse(text).expect_err(text);
            assert!(wrong.contains(words), "{text:?}: {wrong}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*", number in "[-+]?[0-9.]{0,60}(e-?[0-9]{0,4}|[numkKMGTPEi]{0,2})") {
            let _ = (Quantity::parse(&text), Quantity::parse(&number));
        }

        #[test]
        fn follows_the_order_of_numbers(a in 0..1_000_000_000u64, b in 0..1_000_000_000u64) {
            let milli = |number: u64| Quantity::parse(&format!("{number}m")).unwrap();
            let whole = |number: u64| Quantity::parse(&format!("{}.{:03}", number / 1000, number % 1000)).unwrap();
            prop_assert_eq!(milli(a).cmp(&whole(b)), a.cmp(&b));
            prop_assert_eq!(milli(a), whole(a));
        }
    }
}
