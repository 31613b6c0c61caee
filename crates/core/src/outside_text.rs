//! Text that somebody else wrote, on its way out: the API server's and the kubelet's words, an exec
//! plugin's output, excerpts of files, names of nodes. Pure.
//!
//! Every such text passes through here before it reaches a terminal, a log, a report or an object in the
//! cluster. Three things happen to it, in this order:
//!
//! 1. what looks like a credential is starred ([`redacted`]),
//! 2. characters that a terminal acts on, or that make a text look like another, are escaped
//!    ([`one_line`], [`block`]),
//! 3. where there is a limit, the middle is left out and both ends are kept: Go puts the cause last
//!    ([`one_line_within`]).
//!
//! All of it may be applied twice without a change. A text that has none of this is borrowed.

use std::borrow::Cow;

mod credentials;
mod escape;

pub use credentials::{redacted, starred};
pub use escape::{escaped, is_unprintable};

/// What stands for the part that was left out.
const ELLIPSIS: char = '…';
/// A text settles in two rounds, the second of which changes nothing; one that was made to resist is cut
/// off here.
const ROUNDS_MAX: usize = 8;

/// One line: credentials starred, line breaks and what else is not printable escaped.
pub fn one_line(text: &str) -> Cow<'_, str> {
    settled(text, |text| cow(redacted(text), |text| escaped(text, false)))
}

/// The same in at most `bytes_max` bytes. What does not fit is left out of the middle.
pub fn one_line_within(text: &str, bytes_max: usize) -> Cow<'_, str> {
    settled(text, |text| {
        let shown = cow(redacted(text), |text| escaped(text, false));
        cow(shown, |text| without_middle(text, bytes_max))
    })
}

/// The same with its line breaks and tabs: for what is shown on lines of its own.
pub fn block(text: &str) -> Cow<'_, str> {
    settled(text, |text| cow(redacted(text), |text| escaped(text, true)))
}

/// `text` in at most `bytes_max` bytes: a third of that from its start, the rest from its end.
pub fn without_middle(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let Some(kept) = bytes_max.checked_sub(ELLIPSIS.len_utf8()) else {
        return Cow::Borrowed(&text[..text.floor_char_boundary(bytes_max)]);
    };
    let head = text.floor_char_boundary(kept / 3);
    let tail = text.ceil_char_boundary(text.len() - (kept - kept / 3));
    Cow::Owned(format!("{}{ELLIPSIS}{}", &text[..head], &text[tail..]))
}

/// Applies `pass` until it changes nothing: an escape or a cut can bring together what looks like a
/// credential then.
fn settled<'t>(text: &'t str, pass: impl Fn(&str) -> Cow<'_, str>) -> Cow<'t, str> {
    let mut settled = Cow::Borrowed(text);
    for _ in 0..ROUNDS_MAX {
        match pass(&settled) {
            Cow::Borrowed(same) if same.len() == settled.len() => break,
            changed => settled = Cow::Owned(changed.into_owned()),
        }
    }
    settled
}

/// `step` on what an earlier step has made of a text.
fn cow<'t>(text: Cow<'t, str>, step: impl Fn(&str) -> Cow<'_, str>) -> Cow<'t, str> {
    match text {
        Cow::Borrowed(text) => step(text),
        Cow::Owned(text) => match step(&text) {
            Cow::Borrowed(same) if same.len() == text.len() => Cow::Owned(text),
            changed => Cow::Owned(changed.into_owned()),
        },
    }
}

#[cfg(test)]
mod tests;
