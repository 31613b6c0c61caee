//! Characters that act, or hide, instead of being read.

use std::borrow::Cow;

/// `text` with each of them as Rust writes it: `\u{1b}`, `\n`. Line breaks and tabs stay where
/// `keeps_lines`; a carriage return never does, as it lets a line overwrite itself.
pub fn escaped(text: &str, keeps_lines: bool) -> Cow<'_, str> {
    let acts = |c: char| is_unprintable(c) && !(keeps_lines && matches!(c, '\n' | '\t'));
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match acts(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Whether a terminal, an editor or a browser may act on `c` or show nothing for it: C0 and C1 controls,
/// line and paragraph separators, and of Unicode's format characters those that turn the direction of
/// text (CVE-2021-42574), take no width, or carry text that is not seen.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}
