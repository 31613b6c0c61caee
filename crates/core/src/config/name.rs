//! The alphabets of Kubernetes' names, labels and annotations.

/// What a `Namespace`, a group and an instance are called (RFC 1123 label): at most 63 characters.
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && ends_are(text, is_lower) && text.bytes().all(|b| is_lower(b) || b == b'-')
}

/// What a Secret and a ServiceAccount are called (RFC 1123 subdomain): at most 253 characters.
pub fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| ends_are(part, is_lower) && part.bytes().all(|b| is_lower(b) || b == b'-');
    text.len() <= 253 && text.split('.').all(part)
}

/// What a label's key may be: an optional subdomain and a slash, then a name of at most 63
/// characters.
pub fn is_label_key(text: &str) -> bool {
    let (prefix_fits, name) = match text.split_once('/') {
        Some((prefix, name)) => (is_subdomain(prefix), name),
        None => (true, text),
    };
    prefix_fits && !name.is_empty() && is_label_value(name)
}

/// What a label's value may be: at most 63 letters, digits, `-`, `_` and `.`, or nothing.
pub fn is_label_value(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.is_empty()
        || (text.len() <= 63 && ends_are(text, |b| b.is_ascii_alphanumeric()) && text.bytes().all(inner))
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn ends_are(text: &str, fits: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| fits(*b)) && bytes.last().is_some_and(|b| fits(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabets() {
        for (text, label, subdomain, key, value) in [
            ("a", true, true, true, true),
            ("a-b.c", false, true, true, true),
            ("A", false, false, true, true),
            ("-a", false, false, false, false),
            ("a_", false, false, false, false),
            ("a_b", false, false, true, true),
            ("", false, false, false, true),
            ("k8s.io/role", false, false, true, false),
            ("K8s.io/role", false, false, false, false),
            ("/role", false, false, false, false),
            ("a/", false, false, false, false),
            ("é", false, false, false, false),
            (&"x".repeat(63), true, true, true, true),
            (&"x".repeat(64), false, true, false, false),
        ] {
            let found = (is_label(text), is_subdomain(text), is_label_key(text), is_label_value(text));
            assert_eq!(found, (label, subdomain, key, value), "{text}");
        }
    }
}
