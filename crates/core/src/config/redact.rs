//! Keeps passwords that stand in a config out of what is shown of it, beyond what
//! [`outside_text`](crate::outside_text) knows by its looks.

use super::file::{Finding, Findings, Target};
use super::locate::Places;

/// `text` with stars in place of values that hold a secret, byte for byte, so that places stay.
pub fn redacted(text: String, places: &Places, findings: &Findings) -> String {
    let hidden: Vec<&Finding> =
        findings.0.iter().filter(|finding| finding.target == Target::Hidden).collect();
    let spans: Vec<_> =
        hidden.iter().filter_map(|finding| places.span(&text, &finding.path, &finding.target)).collect();
    if spans.is_empty() {
        return text;
    }
    let mut bytes = text.into_bytes();
    for span in spans {
        let Some(written) = bytes.get_mut(span) else { continue };
        // Where a variable has set the value, this is what stands around it in the file.
        let Some(quotes) = quotes(written) else { continue };
        // The quotes stay, so that it is still TOML and places can be found in it, and so do its lines.
        let inside = quotes..written.len() - quotes;
        written[inside].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
    }
    // Whole characters became stars.
    String::from_utf8(bytes).unwrap_or_default()
}

/// How many quotes a string begins and ends with; `None` for anything else.
fn quotes(written: &[u8]) -> Option<usize> {
    let quote = *written.first().filter(|byte| matches!(byte, b'"' | b'\''))?;
    match written {
        [a, b, c, .., x, y, z] if [a, b, c, x, y, z].into_iter().all(|byte| *byte == quote) => Some(3),
        [_, .., _] => Some(1),
        _ => None,
    }
}

/// A text that is no TOML, with stars in place of what stands before a `@` that begins no digest: where
/// the mistake is on such a line, the line is shown.
pub fn without_credentials(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '[' | '=');
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(is_end) {
        let mut ats = word.rmatch_indices('@').map(|(at, _)| at);
        let at = ats.find(|at| !word[*at + 1..].starts_with("sha")).unwrap_or(0);
        // As many bytes as before, so that places stay.
        shown.extend(word[..at].chars().map(|c| if c.is_ascii() && c != '@' { '*' } else { c }));
        shown.push_str(&word[at..]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::code::Code;
    use crate::config::file::Path;

    #[test]
    fn a_hidden_string_keeps_its_quotes_its_lines_and_its_length() {
        let text = "a = '''\ns3cret\ns3cret'''\nb = \"s3cret\"\n[c]\nd = 1\n".to_owned();
        let mut findings = Findings::default();
        let c = Path::default().key("c");
        // The last two are not written there.
        for path in [Path::default().key("a"), Path::default().key("b"), c.key("d"), c.key("e")] {
            findings.error(Code::BadValue, (&path, Target::Hidden), "m", "");
        }
        let expected = "a = '''\n******\n******'''\nb = \"******\"\n[c]\nd = 1\n";
        let (_, places) = Places::parse(&text).unwrap();
        assert_eq!(redacted(text, &places, &findings), expected);
    }

    #[test]
    fn what_is_no_toml_is_starred_in_one_pass() {
        let text = "x = [robot:s3cret@quay.io/a:1, nginx@sha256:12] é@h";
        let shown = without_credentials(text);
        assert_eq!(shown, "x = [************@quay.io/a:1, nginx@sha256:12] é@h");
        assert_eq!(shown.len(), text.len());
        // With the square of its length this takes minutes.
        assert_eq!(without_credentials(&"@".repeat(1 << 20)).len(), 1 << 20);
    }
}
