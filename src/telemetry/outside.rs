//! Passes every log line through [`outside_text`], so that nothing that is logged can go past it: neither
//! our own fields nor what a library logs under `-vv`.

use std::borrow::Cow;
use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::outside_text;

/// What a log collector takes in one piece: containerd and Docker split lines at 16 KiB.
const LINE_BYTES_MAX: usize = 16 << 10;

/// A format whose lines are looked at before they are written.
#[derive(Clone, Copy, Debug)]
pub struct Shown<F> {
    inner: F,
    line: fn(&str) -> Cow<'_, str>,
}

impl<F> Shown<F> {
    /// `inner` writes text, with ANSI colours or without.
    pub fn text(inner: F) -> Shown<F> {
        Shown { inner, line: text_line }
    }

    /// `inner` writes one JSON object a line.
    pub fn json(inner: F) -> Shown<F> {
        Shown { inner, line: json_line }
    }
}

impl<S, N, F> FormatEvent<S, N> for Shown<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&(self.line)(line.trim_end_matches('\n')))?;
        writer.write_char('\n')
    }
}

/// The colours are the formatter's own: it escapes what stands in a value.
fn text_line(line: &str) -> Cow<'_, str> {
    if !line.contains('\u{1b}') {
        return outside_text::one_line_within(line, LINE_BYTES_MAX);
    }
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(escape) = rest.find("\u{1b}[") {
        let (before, from) = rest.split_at(escape);
        shown.push_str(&outside_text::one_line_within(before, LINE_BYTES_MAX));
        let parameters = from[2..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest = match parameters.strip_prefix('m') {
            Some(after) => {
                shown.push_str(&from[..from.len() - after.len()]);
                after
            }
            None => {
                shown.push_str("\\u{1b}");
                &from[1..]
            }
        };
    }
    shown.push_str(&outside_text::one_line_within(rest, LINE_BYTES_MAX));
    Cow::Owned(shown)
}

/// Each text of the object, so that it stays an object.
fn json_line(line: &str) -> Cow<'_, str> {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(open) = rest.find('"') {
        let (before, from) = rest.split_at(open);
        shown.push_str(before);
        let mut is_escaped = false;
        let close = from.bytes().enumerate().skip(1).find(|(_, byte)| {
            let closes = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            closes
        });
        let Some((close, _)) = close else {
            rest = from;
            break;
        };
        let (written, after) = from.split_at(close + 1);
        match serde_json::from_str::<String>(written) {
            Ok(text) => match outside_text::one_line_within(&text, LINE_BYTES_MAX) {
                Cow::Borrowed(same) if same.len() == text.len() => shown.push_str(written),
                // A text can always be written as JSON.
                changed => shown.push_str(&serde_json::to_string(&changed).unwrap_or_default()),
            },
            Err(_) => shown.push_str(written),
        }
        rest = after;
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_what_a_value_brings_does_not() {
        let line = "\u{1b}[2m04:00:00Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m proxy http://a:s3cr3t@h \u{1b}[2J\u{202e}\u{9b}1m is down\nx";
        let shown = text_line(line);
        let expected = "\u{1b}[2m04:00:00Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m proxy http://***@h \\u{1b}[2J\\u{202e}\\u{9b}1m is down\\nx";
        assert_eq!(shown, expected);
    }

    #[test]
    fn json_stays_json() {
        let line = r#"{"level":"WARN","message":"{\"auths\":{\"h\":{\"auth\":\"s3cr3t\"}","n":1,"error":"a\u001b[2Jb\nc \\","password":"password=s3cr3t"}"#;
        let shown: serde_json::Value = serde_json::from_str(&json_line(line)).unwrap();
        assert_eq!(shown["message"], r#"{"auths":***"#);
        assert_eq!(shown["error"], "a\\u{1b}[2Jb\\nc \\");
        assert_eq!(shown["password"], "password=***");
        assert_eq!(shown["n"], 1);
        let harmless = r#"{"timestamp":"2026-11-25T04:00:00Z","message":"say \"yes\" twice"}"#;
        assert_eq!(json_line(harmless), harmless);
    }
}
