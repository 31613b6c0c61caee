//! Finds what looks like a credential. Shapes, not a parser: excerpts are cut anywhere, quoted several
//! times over, and in no format for long.
//!
//! Where a shape is certain (a key by its prefix, `password=`), it is taken whatever it holds. Where prose
//! looks alike (`failed to fetch oauth token: unexpected status`), the value must look random. Names,
//! image references, digests, uids and paths stay.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// Of no length that tells anything.
const MASK: &str = "***";

/// `text` with [`MASK`] in place of credentials.
pub fn redacted(text: &str) -> Cow<'_, str> {
    replaced(text, |_| MASK.to_owned())
}

/// `text` with a star for each byte of a credential; line breaks stay. As long as before, so that places
/// in it stay.
pub fn starred(text: &str) -> Cow<'_, str> {
    replaced(text, |secret| {
        let stars = |line: &str| "*".repeat(line.len());
        secret.split('\n').map(stars).collect::<Vec<_>>().join("\n")
    })
}

fn replaced(text: &str, instead: impl Fn(&str) -> String) -> Cow<'_, str> {
    let secrets = secrets(text);
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for secret in secrets {
        shown.push_str(&text[from..secret.start]);
        shown.push_str(&instead(&text[secret.clone()]));
        from = secret.end;
    }
    shown.push_str(&text[from..]);
    Cow::Owned(shown)
}

/// Where credentials stand, in order, none touching another.
fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    private_keys(text, &mut found);
    docker_configs(text, &mut found);
    url_userinfo(text, &mut found);
    encoded_userinfo(text, &mut found);
    bare_userinfo(text, &mut found);
    authorization(text, &mut found);
    pairs(text, &mut found);
    flags(text, &mut found);
    shapes(text, &mut found);
    found.retain(|secret| text[secret.clone()].chars().any(|c| !matches!(c, '*' | '\n')));
    found.sort_by_key(|secret| (secret.start, secret.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for secret in found {
        match merged.last_mut() {
            Some(last) if secret.start <= last.end => last.end = last.end.max(secret.end),
            _ => merged.push(secret),
        }
    }
    merged
}

macro_rules! pattern {
    ($name:ident, $pattern:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| {
            #[allow(clippy::expect_used, reason = "each pattern is a literal that a test compiles")]
            Regex::new($pattern).expect("a literal pattern")
        });
    };
}

pattern!(PRIVATE_KEY, "-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY");

/// From `BEGIN` to `END`, or as far as the excerpt goes.
fn private_keys(text: &str, found: &mut Vec<Range<usize>>) {
    let mut from = 0;
    while let Some(begin) = PRIVATE_KEY.find_at(text, from) {
        let end = text[begin.end()..].find("-----END").map_or(text.len(), |end| begin.end() + end + 8);
        let end = text[end..].find("-----").map_or(text.len(), |dashes| end + dashes + 5);
        found.push(begin.start()..end);
        from = end;
    }
}

pattern!(AUTHS, r#"(\\*)"auths\\*"\s*:\s*\{"#);

/// What `"auths"` of a dockerconfigjson holds: registries with passwords.
fn docker_configs(text: &str, found: &mut Vec<Range<usize>>) {
    let mut from = 0;
    while let Some(auths) = AUTHS.captures_at(text, from) {
        let (Some(whole), Some(level)) = (auths.get(0), auths.get(1)) else { return };
        let start = whole.end() - 1;
        let (mut depth, mut in_string, mut end, mut backslashes) = (0_usize, false, text.len(), 0);
        for (at, byte) in text[start..].bytes().enumerate() {
            match byte {
                b'"' if backslashes == level.len() => in_string = !in_string,
                b'{' if !in_string => depth += 1,
                b'}' if !in_string => depth = depth.saturating_sub(1),
                _ => {}
            }
            backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
            if depth == 0 {
                end = start + at + 1;
                break;
            }
        }
        if text[start..end].contains(':') {
            found.push(start..end);
        }
        from = end;
    }
}

/// Where the search for an end gives up that is not certain to be one of a credential: what is searched
/// again from each of many beginnings must stay linear.
fn near(text: &str, from: usize) -> &str {
    const BYTES_MAX: usize = 512;
    &text[..text.floor_char_boundary(from.saturating_add(BYTES_MAX))]
}

/// Whether a word is over with `c` in any notation.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '…')
}

/// The word that begins at `from`.
fn word(text: &str, from: usize) -> Range<usize> {
    let end = text[from..].find(ends_word).map_or(text.len(), |end| from + end);
    // The quote that ends it may itself be escaped.
    from..from + text[from..end].trim_end_matches('\\').len()
}

/// Whether this follows a `@` as a digest follows a repository's name.
fn is_digest(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix("sha") else { return false };
    let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    digits.len() < rest.len() && digits.starts_with(':')
}

pattern!(SCHEME, r"(?i)\b([a-z][a-z0-9+.-]{0,40}):(?://|\\/\\/)");

/// `user:password` in `scheme://user:password@host`, also where a careless hand left `/` or `@` in it.
fn url_userinfo(text: &str, found: &mut Vec<Range<usize>>) {
    let mut end = 0;
    for scheme in SCHEME.captures_iter(text) {
        let (Some(whole), Some(name)) = (scheme.get(0), scheme.get(1)) else { continue };
        let start = whole.end();
        if start >= end {
            end = word(text, start).end;
        }
        let url = &text[start..end.max(start)];
        let authority = &url[..url.find(['/', '?', '#', '\\']).unwrap_or(url.len())];
        let is_port = |port: &str| port.ends_with(']') || port.parse::<u16>().is_ok();
        let at = match authority.rfind('@') {
            // Of `ssh://git@host` everybody knows the user; in HTTP it may be a token.
            Some(at) if name.as_str().to_ascii_lowercase().starts_with("http") => Some(at),
            Some(at) => Some(at).filter(|at| authority[..*at].contains(':')),
            // A host has a number behind its colon, and no other host behind a `@` in its path.
            None => authority.rsplit_once(':').and_then(|(_, port)| {
                let url = near(url, authority.len());
                let at = last_at(url)?;
                let host = url[at + 1..].split(['/', '?', '#']).next().unwrap_or_default();
                Some(at).filter(|_| !is_port(port) || host.contains('.'))
            }),
        };
        found.extend(at.filter(|at| *at > 0).map(|at| start..start + at));
    }
}

/// The last `@` that begins no digest.
fn last_at(text: &str) -> Option<usize> {
    let mut end = text.len();
    loop {
        let at = text[..end].rfind('@')?;
        if !is_digest(&text[at + 1..]) {
            return Some(at);
        }
        end = at;
    }
}

pattern!(
    ENCODED_URL,
    r#"(?i)\b[a-z][a-z0-9+.-]{0,40}(?:%(?:25)*3a|:)(?:%(?:25)*2f){2}([^\s"'<>&…]*?)%(?:25)*40"#
);

/// The same in a URL that is itself percent-encoded.
fn encoded_userinfo(text: &str, found: &mut Vec<Range<usize>>) {
    let userinfo = ENCODED_URL.captures_iter(text).filter_map(|url| url.get(1));
    let userinfo = userinfo.filter(|userinfo| {
        let lower = userinfo.as_str().to_ascii_lowercase();
        !lower.is_empty() && !lower.contains("2f") && !lower.contains('/')
    });
    found.extend(userinfo.map(|userinfo| userinfo.range()));
}

/// `user:password` in `user:password@host` without a scheme, as in an image reference or a proxy's
/// address.
fn bare_userinfo(text: &str, found: &mut Vec<Range<usize>>) {
    let mut next = 0;
    for word in text.split(ends_word) {
        let start = next;
        next += word.len();
        next += text[next..].chars().next().map_or(0, char::len_utf8);
        let Some(at) = last_at(word).filter(|_| !word.contains("://") && !word.contains(":\\/")) else {
            continue;
        };
        let Some(colon) = word[..at].find(':') else { continue };
        // `User "oidc:jane@example.com" cannot list …`: who somebody is, not how they prove it.
        let is_user = text[..start].trim_end_matches(['"', '\\']).ends_with("ser ");
        if is_user || !word[at + 1..].starts_with(|c: char| c.is_alphanumeric() || c == '[') {
            continue;
        }
        let is_mark = |c: char| matches!(c, ',' | ';' | '=' | '(' | '[' | '{' | '|');
        let user = word[..colon].rfind(is_mark).map_or(0, |mark| mark + 1);
        if user < colon && colon + 1 < at {
            found.push(start + user..start + at);
        }
    }
}

pattern!(
    AUTHORIZATION,
    r#"(?i)authorization\\*["']?\s*[:=]\s*[\["'\\]*(?:(bearer|basic|negotiate|ntlm)\s+|(digest|hawk|aws4-hmac-sha256)\s+|[a-z]+\s+)?"#
);
pattern!(SCHEMES, r"\b(?:Bearer|BEARER|bearer|Basic|BASIC|basic)\s+");
/// What follows `basic` and `bearer` in prose and in a registry's challenge.
const NO_TOKENS: [&str; 14] = [
    "auth",
    "authentication",
    "authorization",
    "authorizer",
    "challenge",
    "credential",
    "error",
    "header",
    "method",
    "realm",
    "scheme",
    "scope",
    "service",
    "token",
];

/// The header, and its schemes where they stand alone.
fn authorization(text: &str, found: &mut Vec<Range<usize>>) {
    for header in AUTHORIZATION.captures_iter(text) {
        let Some(whole) = header.get(0) else { continue };
        let start = whole.end();
        let near = near(text, start);
        let token = trimmed(text, word(near, start));
        match (header.get(1), header.get(2)) {
            (Some(_), _) => found.push(trimmed(text, word(text, start))),
            (_, Some(_)) => {
                let line = near[start..].find(['\n', '\r', ']']).map_or(near.len(), |end| start + end);
                found.push(start..line);
            }
            _ if is_random(&text[token.clone()]) => found.push(token),
            _ => {}
        }
    }
    for scheme in SCHEMES.find_iter(text) {
        let range = trimmed(text, word(text, scheme.end()));
        let token = &text[range.clone()];
        let begins = token.split(['=', ':', '/', '-']).next().unwrap_or_default().to_ascii_lowercase();
        let is_word = NO_TOKENS.contains(&begins.trim_end_matches('s'));
        // `Bearer` is written so in headers only; "Basic Constraints" are of a certificate.
        let is_header = scheme.as_str().starts_with("Bearer") && token.len() >= 6;
        if !is_word && (is_header || is_random(token)) {
            found.push(range);
        }
    }
}

pattern!(
    KEY,
    r#"(?ix)
    (?P<key> [a-z0-9_.-]*
      (?: pass(?:word|wd|phrase)? | pwd | secret | token | credentials? | api[-_]?key | access[-_]?key(?:[-_]?id)?
        | (?:secret|private|signing|encryption|storage|account)[-_]?key
        | key[-_]?data | certificate[-_]?data | certificate[-_]?authority[-_]?data
        | signature | sig | auth | dockerconfigjson | dockercfg | x-amz-credential | x-goog-credential ) )
    (?P<quote> \\* ["'] )?
    (?P<sep> [\x20\t]* (?: => | = | : ) [\x20\t]* | %3d )"#
);

/// A key that names a secret, and its value.
fn pairs(text: &str, found: &mut Vec<Range<usize>>) {
    let has_lines = text.contains('\n') || text.contains("\\n");
    let mut from = 0;
    while let Some(pair) = KEY.captures_at(text, from) {
        let (Some(whole), Some(key), Some(sep)) = (pair.get(0), pair.name("key"), pair.name("sep")) else {
            return;
        };
        from = whole.end();
        let name = key.as_str().to_ascii_lowercase();
        if is_other_word(&name) {
            continue;
        }
        let is_quoted = pair.name("quote").is_some();
        let place = Place::new(text, key.start(), has_lines);
        let is_colon = sep.as_str().trim() == ":";
        let is_certain = match place {
            _ if is_quoted => true,
            // `basic auth = …` and the like are said too.
            _ if name == "auth" => false,
            _ if !is_colon => true,
            Place::Line | Place::Escaped | Place::Flow => true,
            Place::Start => name.contains("pass") && !text[whole.end()..].contains(' '),
            Place::Prose => false,
        };
        let value = match (is_certain, is_colon && !is_quoted) {
            (false, _) => value_at(near(text, whole.end()), whole.end(), Extent::Word),
            (true, false)
                if sep.as_str().starts_with('%') || text[..key.start()].ends_with(['?', '&', ';']) =>
            {
                value_at(text, whole.end(), Extent::Query)
            }
            (true, true) if place == Place::Line => value_at(text, whole.end(), Extent::Line),
            (true, true) if place == Place::Escaped => value_at(text, whole.end(), Extent::EscapedLine),
            (true, _) => value_at(text, whole.end(), Extent::Word),
        };
        let shown = &text[value.clone()];
        match is_certain {
            true if is_no_secret(&name, shown) => continue,
            true => found.push(value),
            false if is_random(shown) => found.push(value_at(text, whole.end(), Extent::Word)),
            false => continue,
        }
        from = found.last().map_or(from, |value| from.max(value.end));
    }
}

/// `bypass`, `oauth`: words that only end like a key.
fn is_other_word(name: &str) -> bool {
    ["pass", "pwd", "sig", "auth"].iter().any(|short| {
        let rest = name.strip_suffix(short).unwrap_or_default();
        rest.ends_with(|c: char| c.is_alphanumeric())
    })
}

/// What stands before a key.
#[derive(PartialEq)]
enum Place {
    /// The beginning of a line, as YAML has it, with the gutter of an excerpt or without.
    Line,
    /// The same in a text whose line breaks are escaped.
    Escaped,
    /// The beginning of a text of one line: a YAML key, or a sentence.
    Start,
    /// In braces.
    Flow,
    Prose,
}

impl Place {
    fn new(text: &str, key: usize, has_lines: bool) -> Place {
        let is_gutter = |c: char| matches!(c, ' ' | '\t' | '|' | '-' | '>') || c.is_ascii_digit();
        let before = text[..key].trim_end_matches(is_gutter);
        if before.ends_with("\\n") {
            return Place::Escaped;
        }
        let gutter = &text[before.len()..key];
        match before.chars().next_back() {
            None if !has_lines && !gutter.contains('|') => Place::Start,
            None | Some('\n' | '\r') => Place::Line,
            _ if gutter.trim_end().ends_with('|') => Place::Line,
            Some('{' | '[') => Place::Flow,
            // Only near: a text may be nothing but commas.
            Some(',')
                if before[before.floor_char_boundary(before.len().saturating_sub(400))..].contains('{') =>
            {
                Place::Flow
            }
            _ => Place::Prose,
        }
    }
}

/// How far a value without quotes goes.
#[derive(Clone, Copy, PartialEq)]
enum Extent {
    Word,
    /// To the next parameter of a query.
    Query,
    /// A YAML scalar has spaces, and goes on to the end of its line.
    Line,
    EscapedLine,
}

/// The value that begins at `from`, without its quotes.
fn value_at(text: &str, from: usize, extent: Extent) -> Range<usize> {
    let rest = &text[from..];
    let opening = rest.trim_start_matches('\\');
    let level = rest.len() - opening.len();
    for quote in ['"', '\''] {
        if !opening.starts_with(quote) {
            continue;
        }
        let triple = quote.to_string().repeat(3);
        if let Some(inside) = opening.strip_prefix(triple.as_str()) {
            let start = text.len() - inside.len();
            return start..start + inside.find(triple.as_str()).unwrap_or(inside.len());
        }
        let start = from + level + 1;
        return start..closing_quote(text, start, quote, level);
    }
    if extent == Extent::Line && opening.starts_with(['|', '>']) {
        return from..block_end(text, from);
    }
    if opening.starts_with('[') && extent != Extent::Query {
        let line = rest.find('\n').unwrap_or(rest.len());
        return from..from + rest[..line].find(']').unwrap_or(line);
    }
    let mut end = match extent {
        Extent::Word | Extent::Query => word(text, from).end,
        Extent::Line => from + rest.find(['\n', '\r', '…']).unwrap_or(rest.len()),
        Extent::EscapedLine => from + rest.find(['\n', '\r', '…', '"']).unwrap_or(rest.len()),
    };
    // Escaped white space ends a value as white space does.
    let mut marks = vec!["\\n", "\\r", "\\t"];
    match extent {
        Extent::Word => {}
        Extent::Query => marks.extend(["&", ";", "%26"]),
        Extent::Line | Extent::EscapedLine => marks.push(" #"),
    }
    for mark in marks {
        end = text[from..end].find(mark).map_or(end, |at| from + at);
    }
    match extent {
        Extent::Word | Extent::Query => trimmed(text, from..end),
        Extent::Line | Extent::EscapedLine => {
            from..from + text[from..end].trim_end_matches([' ', '\\']).len()
        }
    }
}

/// Where a quoted text that begins at `from` ends; the quotes have `level` backslashes of their own.
fn closing_quote(text: &str, from: usize, quote: char, level: usize) -> usize {
    let mut backslashes = 0;
    for (at, c) in text[from..].char_indices() {
        let closes = if level == 0 { backslashes % 2 == 0 } else { backslashes == level };
        if c == quote && closes {
            return from + at - if level == 0 { 0 } else { level };
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        if c == '\n' {
            return from + at;
        }
    }
    text.len()
}

/// Where a YAML block scalar ends whose indicator stands at `from`: before the next line that is indented
/// no deeper than its key.
fn block_end(text: &str, from: usize) -> usize {
    let is_gutter = |c: char| matches!(c, ' ' | '|' | '-' | '>') || c.is_ascii_digit();
    let depth = |line: &str| line.len() - line.trim_start_matches(is_gutter).len();
    let line_start = text[..from].rfind('\n').map_or(0, |at| at + 1);
    let own = depth(&text[line_start..from]);
    let mut end = from;
    for (index, line) in text[from..].split_inclusive('\n').enumerate() {
        if index > 0 && !line.trim().is_empty() && depth(line) <= own {
            break;
        }
        end += line.len();
    }
    from + text[from..end].trim_end().len()
}

/// Without the punctuation that closes a sentence or a list.
fn trimmed(text: &str, word: Range<usize>) -> Range<usize> {
    let shown = text[word.clone()].trim_end_matches([',', ';', ')', ']', '}', '.', '\\']);
    word.start..word.start + shown.len()
}

/// What stands where a secret could, and is none.
fn is_no_secret(name: &str, value: &str) -> bool {
    let words = ["", "true", "false", "null", "nil", "none", "<nil>", "~", "|", ">", "{", "[", "{}", "[]"];
    let is_folder = name.ends_with("pwd") && value.starts_with('/');
    is_folder
        || words.contains(&value.trim())
        || value.starts_with("{{")
        || value.starts_with("${")
        || value.starts_with("$(")
}

/// Whether a word looks like made by a machine, and not like a name, a number, a digest, an address or a
/// path.
fn is_random(word: &str) -> bool {
    let bytes = word.as_bytes();
    let has = |is: fn(&u8) -> bool| bytes.iter().any(is);
    let is_mixed = bytes.windows(2).any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
    let is_name = word.contains('/') && !has(u8::is_ascii_uppercase);
    bytes.len() >= 6
        && has(u8::is_ascii_alphabetic)
        && (has(u8::is_ascii_digit) || is_mixed)
        && !is_name
        && !word.ends_with(':')
        && !is_digest(word)
        && !word.contains("://")
        && !word.contains(MASK)
}

pattern!(
    FLAG,
    r#"(?i)--[a-z-]*(?:password|passphrase|token|secret|api-?key|access-?key)(?P<quote>["'])?\s+(?P<open>["'])?"#
);

/// `--token abc`, as a command line is quoted in an error.
fn flags(text: &str, found: &mut Vec<Range<usize>>) {
    for flag in FLAG.captures_iter(text) {
        let Some(whole) = flag.get(0) else { continue };
        let range = word(text, whole.end());
        let value = &text[range.clone()];
        let is_argument =
            flag.name("quote").is_some() && flag.name("open").is_some() && !value.starts_with('-');
        if !value.is_empty() && (is_argument || is_random(value)) {
            found.push(range);
        }
    }
}

// Prefixes as their makers publish them for secret scanners, and JSON or PEM in base64.
pattern!(
    SHAPES,
    r"(?x)
      \b eyJ [A-Za-z0-9+/_-]{10,} (?: \. [A-Za-z0-9_-]* )* =*
    | \b ew (?: og | oJ | 0K | 0g ) [A-Za-z0-9+/]{16,} =*
    | \b LS0tLS1CRUdJTi [A-Za-z0-9+/]* =*
    | \b (?: AKIA | ASIA | ABIA | ACCA | AGPA | AIDA | AROA ) [A-Z0-9]{16} \b
    | \b gh [pousr] _ [A-Za-z0-9]{20,} | \b github_pat_ [A-Za-z0-9_]{20,}
    | \b gl (?: pat | dt | rt | cbt | ptt | ft | soat | agent | oas | imt | ffct ) - [A-Za-z0-9_.-]{16,}
    | \b xox [abeoprs] - [A-Za-z0-9-]{10,} | \b npm_ [A-Za-z0-9]{30,} | \b pypi- [A-Za-z0-9_-]{16,}
    | \b dckr_ (?: pat | oat ) _ [A-Za-z0-9_-]{16,} | \b hf_ [A-Za-z0-9]{30,} | \b dop_v1_ [a-f0-9]{40,}
    | \b AIza [A-Za-z0-9_-]{35} | \b ya29\. [A-Za-z0-9_-]{20,} | \b GOCSPX- [A-Za-z0-9_-]{20,}
    | \b hv [sbr] \. [A-Za-z0-9_-]{20,} | \b sk- [A-Za-z0-9_-]{20,} | \b [sr]k_ (?: live | test ) _ [A-Za-z0-9]{16,}
    | \b sha256~ [A-Za-z0-9_-]{20,} | \b AGE-SECRET-KEY-1 [A-Z0-9]{20,}"
);
pattern!(LONG, r"[A-Za-z0-9+/_-]{48,}={0,2}");
// A bootstrap token of kubeadm.
pattern!(BOOTSTRAP, r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b");

/// What is a credential by its own looks.
fn shapes(text: &str, found: &mut Vec<Range<usize>>) {
    found.extend(SHAPES.find_iter(text).map(|shape| shape.range()));
    found.extend(LONG.find_iter(text).filter(|long| is_encoded(long.as_str())).map(|long| long.range()));
    let is_token = |token: &str| {
        let secret = token.as_bytes().get(7..).unwrap_or_default();
        let is_hex = secret.iter().all(u8::is_ascii_hexdigit);
        // The name of an event ends in 16 hex digits, a host's in letters.
        !is_hex && secret.iter().filter(|byte| byte.is_ascii_digit()).count() >= 2
    };
    found.extend(
        BOOTSTRAP.find_iter(text).filter(|token| is_token(token.as_str())).map(|token| token.range()),
    );
}

/// Whether a long run of base64's characters is what that made: names are of one case, paths have slashes.
fn is_encoded(run: &str) -> bool {
    let count = |is: fn(&u8) -> bool| run.as_bytes().iter().filter(|byte| is(byte)).count();
    let (upper, lower, digits) =
        (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase), count(u8::is_ascii_digit));
    let separators = count(|byte| matches!(byte, b'/' | b'-' | b'_'));
    let has_all = upper >= 4 && lower >= 4 && digits >= 2;
    // A robot account's token of Quay.
    let is_token = lower == 0 && upper >= 8 && digits >= 4 && separators == 0;
    (has_all && separators * 12 <= run.len()) || is_token
}
