//! Characters that look like others, or like nothing. Pure.
//!
//! An error that quotes a name with a Cyrillic `а` in it shows what everybody reads as the right name, so
//! such characters are named by their code point.

use crate::outside_text::is_unprintable;

/// How many are named: whoever pasted a whole word sees by these what happened.
const NAMED_MAX: usize = 3;

/// What in `text` a reader cannot see or takes for something else, in words; `None` for a text that is what
/// it looks like.
pub fn odd_in(text: &str) -> Option<String> {
    let mut named: Vec<char> = Vec::new();
    let mut notes = Vec::new();
    if text.starts_with([' ', '\t', '\n', '\r']) {
        notes.push("it begins with white space".to_owned());
    }
    if text.ends_with([' ', '\t', '\n', '\r']) {
        notes.push("it ends with white space".to_owned());
    }
    for c in text.chars() {
        let Some(kind) = kind(c).filter(|_| !named.contains(&c)) else { continue };
        if named.len() == NAMED_MAX {
            notes.push("and more".to_owned());
            break;
        }
        named.push(c);
        let code = format!("U+{:04X}", u32::from(c));
        notes.push(match is_unprintable(c) || c.is_whitespace() {
            true => format!("{kind}, {code}, is in it"),
            false => format!("`{c}` is {code}, {kind}"),
        });
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// `help` with such a note behind it.
pub fn with_note(help: Option<String>, note: Option<String>) -> Option<String> {
    match (help, note) {
        (Some(help), Some(note)) => Some(format!("{help} ({note})")),
        (help, note) => help.or(note),
    }
}

/// What `c` is, where that is not plain to see: alphabets with letters of the shape of Latin ones, and
/// signs of the shape of ASCII's.
fn kind(c: char) -> Option<&'static str> {
    Some(match c {
        _ if c.is_ascii() => return None,
        _ if is_unprintable(c) => "an invisible character",
        _ if c.is_whitespace() => "a space that is not ASCII's",
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => "Greek",
        '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{a640}'..='\u{a69f}' => "Cyrillic",
        '\u{530}'..='\u{58f}' => "Armenian",
        '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' => "Cherokee",
        '\u{a4d0}'..='\u{a4ff}' => "Lisu",
        '\u{1d400}'..='\u{1d7ff}' | '\u{2100}'..='\u{214f}' => "a mathematical letter",
        '\u{2160}'..='\u{2188}' => "a Roman numeral",
        '\u{ff01}'..='\u{ff5e}' => "full width",
        '\u{131}' | '\u{17f}' | '\u{1c0}' | '\u{250}'..='\u{2af}' => "no letter of ASCII",
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => "no ASCII dash",
        '\u{2018}'..='\u{201f}' | '\u{2032}'..='\u{2037}' | '\u{ab}' | '\u{bb}' | '\u{b4}' => {
            "no ASCII quote"
        }
        '\u{2044}' | '\u{2215}' | '\u{29f8}' => "no ASCII slash",
        '\u{2236}' | '\u{a789}' | '\u{2024}' | '\u{2026}' => "no ASCII punctuation",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_something_else_is_named() {
        for (text, note) in [
            ("name", None),
            ("größe 日本語 🐳 é", None),
            ("n\u{430}me", Some("`\u{430}` is U+0430, Cyrillic")),
            ("\u{3bf}\u{3bf}", Some("`\u{3bf}` is U+03BF, Greek")),
            (
                "\u{201c}x\u{201d}",
                Some("`\u{201c}` is U+201C, no ASCII quote; `\u{201d}` is U+201D, no ASCII quote"),
            ),
            ("a\u{200b}b", Some("an invisible character, U+200B, is in it")),
            ("a\u{85}b", Some("an invisible character, U+0085, is in it")),
            ("5m\u{a0}", Some("a space that is not ASCII's, U+00A0, is in it")),
            (" x\t", Some("it begins with white space; it ends with white space")),
            (
                "\u{430}\u{435}\u{43e}\u{440}\u{441}",
                Some(
                    "`\u{430}` is U+0430, Cyrillic; `\u{435}` is U+0435, Cyrillic; `\u{43e}` is U+043E, Cyrillic; and more",
                ),
            ),
        ] {
            assert_eq!(odd_in(text).as_deref(), note, "{text:?}");
        }
    }

    #[test]
    fn a_note_stands_behind_the_help_or_alone() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(with_note(text("a"), text("b")), text("a (b)"));
        assert_eq!(with_note(None, text("b")), text("b"));
        assert_eq!(with_note(text("a"), None), text("a"));
    }
}
