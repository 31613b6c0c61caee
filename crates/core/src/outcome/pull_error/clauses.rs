//! A message, cut into the clauses that each layer has put before the next one's.
//!
//! Go wraps errors as `outer: inner`, so the last clause is the cause and those before it say who
//! speaks. Names, paths and quoted text are the user's or the registry's own choice and tell nothing:
//! they become placeholders before any word is looked for.

use crate::outcome::facts::clip;

/// In place of a quoted text.
const QUOTED: &str = "<quoted>";
/// In place of an image, a host, an address or a version: whatever holds a dot, a slash or a colon.
const NAME: &str = "<name>";
const PATH: &str = "<path>";
const DIGEST: &str = "<digest>";
const URL: &str = "<url>";

/// Words with a slash or a dot that the runtimes' own sentences hold.
const OWN_WORDS: &[&str] = &["i/o", "and/or", "client.timeout", "username/password"];

/// Lower-case clauses of `message`, from the outermost to the cause.
pub fn clauses(message: &str) -> Vec<String> {
    let message = clip(message).to_ascii_lowercase();
    let message = primary_error(&message);
    let mut clauses = Vec::new();
    for line in without_quotes(&message).lines() {
        let words: Vec<String> = line.split_whitespace().map(without_names).collect();
        let line = words.join(" ");
        let parts = line.split(": ").map(|part| part.trim_end_matches(':')).map(description);
        clauses.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
    }
    clauses
}

/// What was said of the image itself, where a runtime has tried several things and reports them all.
fn primary_error(message: &str) -> String {
    // CRI-O: "pull image err: …; artifact err: …" (internal/storage/image.go).
    let message = message.split("; artifact err: ").next().unwrap_or(message);
    // containers/image: "(Mirrors also failed: [mirror: …]): registry: …" (docker/docker_image_src.go).
    match (message.find("(mirrors also failed: ["), message.rfind("]): ")) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &message[..start], &message[end + 4..]),
        _ => message.to_owned(),
    }
}

/// `text` with each quoted part as a placeholder. A quote that is never closed stands for itself.
fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut last) = (text, ' ');
    // One failed search for an end is enough: no later one can succeed.
    let (mut double, mut escaped, mut single) = (true, true, true);
    while let Some(at) = rest.find(['"', '\'', '\\']) {
        let before = &rest[..at];
        out.push_str(before);
        last = before.chars().next_back().unwrap_or(last);
        let tail = &rest[at..];
        let (opening, end) = if tail.starts_with("\\\"") {
            (2, escaped.then(|| tail[2..].find("\\\"").map(|end| 2 + end + 2)).flatten())
        } else if tail.starts_with('"') {
            (1, double.then(|| closing_quote(&tail[1..]).map(|end| 1 + end + 1)).flatten())
        } else if tail.starts_with('\'') && !last.is_alphanumeric() {
            (1, single.then(|| closing_apostrophe(&tail[1..]).map(|end| 1 + end + 1)).flatten())
        } else {
            out.push_str(&tail[..1]);
            (last, rest) = (' ', &tail[1..]);
            continue;
        };
        match end {
            Some(end) => {
                out.push_str(QUOTED);
                (last, rest) = ('>', &tail[end..]);
            }
            None => {
                match (opening, tail.as_bytes()[0]) {
                    (2, _) => escaped = false,
                    (_, b'"') => double = false,
                    _ => single = false,
                }
                out.push(' ');
                (last, rest) = (' ', &tail[opening..]);
            }
        }
    }
    out.push_str(rest);
    out
}

/// Where the next quote is that no backslash hides.
fn closing_quote(text: &str) -> Option<usize> {
    let mut hidden = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !hidden;
        hidden = byte == b'\\' && !hidden;
        closes
    })
}

/// Where the next apostrophe is that ends a word: the one in `couldn't` does not.
fn closing_apostrophe(text: &str) -> Option<usize> {
    text.match_indices('\'').map(|(at, _)| at).find(|at| {
        let after = text[at + 1..].chars().next();
        !after.is_some_and(char::is_alphanumeric)
    })
}

/// A word, or a placeholder between the word's own brackets and marks where it is a name.
fn without_names(word: &str) -> String {
    if word.contains(QUOTED) {
        return word.to_owned();
    }
    let core = word.trim_start_matches(['(', '[', '{', '<', '`']);
    let (before, core) = word.split_at(word.len() - core.len());
    let inner = core.trim_end_matches([')', ']', '}', '>', '`', ',', ';', ':', '.']);
    let after = &core[inner.len()..];
    let placeholder = if OWN_WORDS.contains(&inner) || !inner.contains(['.', '/', ':', '@']) {
        return word.to_owned();
    } else if inner.contains("://") {
        URL
    } else if inner.starts_with('/') {
        PATH
    } else if inner.starts_with("sha256:") || inner.starts_with("sha512:") {
        DIGEST
    } else {
        NAME
    };
    format!("{before}{placeholder}{after}")
}

/// gRPC wraps as `rpc error: code = X desc = …`. The code is the runtime's guess at its own error.
fn description(clause: &str) -> &str {
    match clause.strip_prefix("code = ").and_then(|rest| rest.split_once("desc = ")) {
        Some((_, description)) => description,
        None => clause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_quotes_leave_only_the_structure() {
        for (message, expected) in [
            (
                "rpc error: code = NotFound desc = failed to pull and unpack image \"h/denied:403\": failed to resolve reference \"h/denied:403\": h/denied:403: not found",
                vec![
                    "rpc error",
                    "failed to pull and unpack image <quoted>",
                    "failed to resolve reference <quoted>",
                    "<name>",
                    "not found",
                ],
            ),
            (
                "failed to do request: Head \"https://h/v2/\": dial tcp: lookup not-found.example.com on 10.0.0.10:53: i/o timeout",
                vec![
                    "failed to do request",
                    "head <quoted>",
                    "dial tcp",
                    "lookup <name> on <name>",
                    "i/o timeout",
                ],
            ),
            (
                "open /var/lib/forbidden/unauthorized: permission denied",
                vec!["open <path>", "permission denied"],
            ),
            (
                "couldn't read 'forbidden': x \"never closed: denied",
                vec!["couldn't read <quoted>", "x never closed", "denied"],
            ),
            ("desc = \"transport: dial \\\"unix\\\"\", \\\"x509\\\" y", vec!["desc = <quoted>, <quoted> y"]),
            ("h: 403 Forbidden\ndenied: a\n\n", vec!["h", "403 forbidden", "denied", "a"]),
            ("StatusCode: 404, \"<html>: x\"", vec!["statuscode", "404, <quoted>"]),
            (
                "docker://h/a:1: (Mirrors also failed: [m/a:1: reading manifest 1 in m/a: manifest unknown]): h/a:1: EOF",
                vec!["<url>", "<name>", "eof"],
            ),
            ("a; artifact err: manifest unknown", vec!["a"]),
        ] {
            assert_eq!(clauses(message), expected, "{message}");
        }
    }
}
