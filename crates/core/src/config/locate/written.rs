//! A TOML string as it is written, read character by character, so that a place in its value is a place in
//! the file. Pure.
//!
//! The `toml` crate decodes strings and keeps only where they begin and end. Its own decoding is what the
//! tests compare this one with.

use std::ops::Range;

/// A string with its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Written<'t> {
    text: &'t str,
    is_basic: bool,
    quotes: usize,
}

impl<'t> Written<'t> {
    /// `None` for what is no string.
    pub fn new(text: &'t str) -> Option<Written<'t>> {
        let (quote, is_basic) = match text.chars().next()? {
            '"' => ("\"\"\"", true),
            '\'' => ("'''", false),
            _ => return None,
        };
        // `""` is an empty string of one line, `""""""` one of many.
        let quotes = if text.starts_with(quote) && text.len() >= 6 { 3 } else { 1 };
        (text.len() >= 2 * quotes).then_some(Written { text, is_basic, quotes })
    }

    /// Byte offsets into the value as byte offsets into the text.
    pub fn span(&self, within: &Range<usize>) -> Range<usize> {
        let end_of_text = self.text.len() - self.quotes;
        let (mut start, mut end) = (None, None);
        // Of the value, so far, and where in the text its last character ended.
        let (mut length, mut last_end) = (0, self.opening());
        for (written, c) in self.chars() {
            if length >= within.start {
                start.get_or_insert(written.start);
            }
            if length >= within.end {
                end.get_or_insert(last_end);
                break;
            }
            length += c.len_utf8();
            last_end = written.end;
        }
        let start = start.unwrap_or(end_of_text);
        // A place between two characters is where the second begins.
        start..end.unwrap_or(if within.end > length { end_of_text } else { last_end }).max(start)
    }

    /// Each character of the value, with where it is written.
    fn chars(&self) -> impl Iterator<Item = (Range<usize>, char)> + '_ {
        let end = self.text.len() - self.quotes;
        let mut at = self.opening();
        std::iter::from_fn(move || {
            loop {
                let rest = self.text.get(at..end)?;
                let first = rest.chars().next()?;
                let start = at;
                if first != '\\' || !self.is_basic {
                    at += first.len_utf8();
                    return Some((start..at, first));
                }
                match escaped(rest) {
                    Escape::Char(c, length) => {
                        at += length;
                        return Some((start..at, c));
                    }
                    Escape::Nothing(length) => at += length,
                }
            }
        })
    }

    /// Behind the quotes, and behind the line break that TOML drops after three of them.
    fn opening(&self) -> usize {
        let inside = &self.text[self.quotes..];
        let dropped = match self.quotes {
            3 if inside.starts_with("\r\n") => 2,
            3 if inside.starts_with('\n') => 1,
            _ => 0,
        };
        self.quotes + dropped
    }
}

enum Escape {
    /// And how many bytes it takes.
    Char(char, usize),
    /// A backslash at a line's end, with all white space behind it.
    Nothing(usize),
}

/// What a text that begins with a backslash begins with.
fn escaped(text: &str) -> Escape {
    // The parser has refused whatever is no code.
    let digits = |count: usize| {
        let code = text.get(2..2 + count).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let length = if code.is_some() { 2 + count } else { 2 };
        Escape::Char(code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER), length)
    };
    match text[1..].chars().next() {
        Some('x') => digits(2),
        Some('u') => digits(4),
        Some('U') => digits(8),
        Some(' ' | '\t' | '\r' | '\n') => {
            let behind = text[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            Escape::Nothing(text.len() - behind.len())
        }
        Some(other) => {
            let c = match other {
                'b' => '\u{8}',
                't' => '\t',
                'n' => '\n',
                'f' => '\u{c}',
                'r' => '\r',
                'e' => '\u{1b}',
                other => other,
            };
            Escape::Char(c, 1 + other.len_utf8())
        }
        None => Escape::Nothing(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One of the four forms with each character written in one of the ways that are open to it: the text,
    /// and where each character of the value stands in it.
    fn write(form: usize, choices: &[(char, u8)]) -> (String, Vec<(Range<usize>, char)>) {
        let quotes = ["\"", "'", "\"\"\"", "'''"][form];
        let (is_basic, is_long) = (form.is_multiple_of(2), form >= 2);
        let mut text = quotes.to_owned();
        let mut places = Vec::new();
        // Of those that this form can write.
        let is_written =
            |c: &&char| is_basic || (**c != '\'' && (matches!(c, '\n' | '\t') || !c.is_control()));
        let first = choices.iter().map(|(c, _)| c).find(is_written);
        if is_long && choices.len().is_multiple_of(2) {
            text.push_str(if choices.len().is_multiple_of(4) { "\n" } else { "\r\n" });
        } else if is_long && first.is_some_and(|c| matches!(c, '\n' | '\r')) {
            text.push('\n');
        }
        for (c, how) in choices {
            let must_escape = match c {
                '"' | '\\' => is_basic,
                '\n' => !is_long,
                '\t' => false,
                c => c.is_control(),
            };
            if !is_basic && (must_escape || *c == '\'') {
                continue;
            }
            if is_basic && is_long && how % 16 == 7 {
                text.push_str("\\ \t\n \r\n ");
            }
            let start = text.len();
            match (is_basic, how % 5) {
                (true, 1) => text.push_str(&format!("\\U{:08x}", u32::from(*c))),
                (true, 2) if u32::from(*c) < 0x10000 => text.push_str(&format!("\\u{:04X}", u32::from(*c))),
                (true, 3) if u32::from(*c) < 0x100 => text.push_str(&format!("\\x{:02x}", u32::from(*c))),
                (true, _) if must_escape => match c {
                    '"' | '\\' => text.extend(['\\', *c]),
                    '\n' => text.push_str("\\n"),
                    '\r' => text.push_str("\\r"),
                    '\u{8}' => text.push_str("\\b"),
                    '\u{c}' => text.push_str("\\f"),
                    '\u{1b}' => text.push_str("\\e"),
                    c => text.push_str(&format!("\\u{:04x}", u32::from(*c))),
                },
                // White space behind a backslash at a line's end would go with it.
                (true, _) if how % 16 == 7 && c.is_whitespace() => {
                    text.push_str(&format!("\\u{:04x}", u32::from(*c)))
                }
                _ => text.push(*c),
            }
            places.push((start..text.len(), *c));
        }
        text.push_str(quotes);
        (text, places)
    }

    fn character() -> impl Strategy<Value = char> {
        prop_oneof![
            3 => proptest::char::range(' ', '~'),
            2 => proptest::sample::select(vec!['\n', '\t', '\r', '"', '\'', '\\', '\u{8}', '\u{c}', '\u{1b}', ' ']),
            1 => any::<char>(),
        ]
    }

    proptest! {
        #[test]
        fn places_agree_with_what_toml_decodes(
            form in 0..4usize,
            choices in proptest::collection::vec((character(), any::<u8>()), 0..40),
        ) {
            let (text, places) = write(form, &choices);
            let document = format!("a = {text}");
            let parsed: toml::Table = toml::from_str(&document).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
            let decoded: String = places.iter().map(|(_, c)| *c).collect();
            prop_assert_eq!(parsed["a"].as_str(), Some(decoded.as_str()), "{}", text);

            let written = Written::new(&text).unwrap();
            prop_assert_eq!(written.chars().collect::<Vec<_>>(), places.clone());
            let mut length = 0;
            for (i, (place, c)) in places.iter().enumerate() {
                prop_assert_eq!(written.span(&(length..length + c.len_utf8())), place.clone());
                prop_assert_eq!(written.span(&(length..length)), place.start..place.start);
                let end = places[i..].iter().map(|(_, c)| c.len_utf8()).sum::<usize>();
                prop_assert_eq!(written.span(&(length..length + end)).end, places[places.len() - 1].0.end);
                length += c.len_utf8();
            }
        }

        #[test]
        fn never_panics(text in "[\"'\\\\a\n\r\u{e9}xuU0]{0,12}", start in 0..9usize, end in 0..9usize) {
            if let Some(written) = Written::new(&text) {
                let span = written.span(&(start..end.max(start)));
                prop_assert!(span.start <= span.end && span.end <= text.len());
            }
        }
    }

    #[test]
    fn every_line_break_after_the_first_counts() {
        for (text, expected) in [
            ("'''\nx'''", 4),
            ("'''\n\nx'''", 5),
            ("\"\"\"\n\n\nx\"\"\"", 6),
            ("'''\r\n\r\nx'''", 7),
            ("'''x'''", 3),
        ] {
            let written = Written::new(text).unwrap();
            let at = written.chars().position(|(_, c)| c == 'x').unwrap();
            let offset: usize = written.chars().take(at).map(|(_, c)| c.len_utf8()).sum();
            assert_eq!(written.span(&(offset..offset + 1)), expected..expected + 1, "{text:?}");
        }
    }
}
