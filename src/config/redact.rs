//! Keeps passwords that stand in a config out of what is shown of it.

use super::file::{Finding, Findings, Target};
use super::locate::Places;

/// `text` with stars in place of values that hold a secret, byte for byte, so that places stay.
pub fn redacted(mut text: String, findings: &Findings) -> String {
    let hidden: Vec<&Finding> =
        findings.0.iter().filter(|finding| finding.target == Target::Hidden).collect();
    if hidden.is_empty() {
        return text;
    }
    let spans: Vec<_> = match Places::new(&text) {
        Some(places) => {
            hidden.iter().filter_map(|finding| places.span(&finding.path, &finding.target)).collect()
        }
        None => Vec::new(),
    };
    for span in spans {
        // The quotes stay, so that it is still TOML and places can be found in it.
        let (first, last) = (span.start + 1, span.end.saturating_sub(1));
        if first < last {
            text.replace_range(first..last, &"*".repeat(last - first));
        }
    }
    text
}

/// A text that is no TOML, with stars in place of what stands before a `@` that begins no digest: where
/// the mistake is on such a line, the line is shown.
pub fn without_credentials(text: &str) -> String {
    let mut shown: Vec<char> = text.chars().collect();
    for at in 0..shown.len() {
        let rest: String = shown[at..].iter().take(4).collect();
        if !rest.starts_with('@') || rest == "@sha" {
            continue;
        }
        let before = shown[..at].iter_mut().rev();
        for c in before.take_while(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | ',' | '[' | '=')) {
            // As many bytes as before, so that places stay.
            if c.is_ascii() {
                *c = '*';
            }
        }
    }
    shown.into_iter().collect()
}
