//! Image references: the grammar of distribution/reference, normalised as containerd does.
//!
//! ```text
//! reference := name [ ":" tag ] [ "@" digest ]
//! name      := [ domain "/" ] component { "/" component }
//! component := [a-z0-9]+ { ( "." | "_" | "__" | "-"+ ) [a-z0-9]+ }
//! tag       := [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}
//! ```

use std::fmt;

/// A parsed reference. Prints as written; [`ImageRef::normalised`] is what references are compared
/// by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRef {
    written: String,
    /// `docker.io` where none was written.
    pub registry: String,
    /// With `library/` where `docker.io` needs it.
    pub repository: String,
    /// `latest` when neither tag nor digest was written, "" when there is only a digest.
    pub tag: String,
    /// `sha256:…`, "" when absent.
    pub digest: String,
    has_tag: bool,
}

/// Docker Hub, which a short name means, and its old name.
const DEFAULT_REGISTRY: &str = "docker.io";
const OLD_DEFAULT_REGISTRY: &str = "index.docker.io";
/// distribution/reference's `RepositoryNameTotalLengthMax`.
const REPOSITORY_MAX: usize = 255;
const TAG_MAX: usize = 128;

impl ImageRef {
    /// Parses a reference; the error says what is wrong and never repeats a password.
    pub fn parse(text: &str) -> Result<ImageRef, String> {
        if text.is_empty() {
            return Err("the reference is empty".to_owned());
        }
        if ImageRef::may_hold_credentials(text) {
            return Err(
                "invalid digest behind `@`, and credentials do not belong into a reference".to_owned()
            );
        }
        if text.contains("://") {
            return Err("a reference has no scheme".to_owned());
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err("64 hex digits alone are an image's id, not its name".to_owned());
        }
        let (registry, path) = split_registry(rest);
        let (path, tag) = match path.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (path, None),
        };
        let mut repository = path.to_owned();
        if registry == DEFAULT_REGISTRY && !path.contains('/') {
            repository.insert_str(0, "library/");
        }
        if !has_underscore(&registry) {
            check_registry(&registry)?;
        } else if registry.len() + 1 + repository.len() > REPOSITORY_MAX {
            return Err(too_long());
        }
        check_repository(&repository)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        if let Some(digest) = digest {
            check_digest(digest)?;
        }
        let default_tag = if digest.is_some() { "" } else { "latest" };
        Ok(ImageRef {
            written: text.to_owned(),
            registry,
            repository,
            tag: tag.unwrap_or(default_tag).to_owned(),
            digest: digest.unwrap_or_default().to_owned(),
            has_tag: tag.is_some(),
        })
    }

    /// Whether a `@` is followed by something else than a digest, so that what stands before it may be
    /// a password. Such a text must not be shown.
    pub fn may_hold_credentials(text: &str) -> bool {
        let is_digest =
            |rest: &str| rest.starts_with("sha") && rest.contains(':') && !rest.contains(['/', '@']);
        text.split_once('@').is_some_and(|(_, rest)| !is_digest(rest))
    }

    /// The full form: `docker.io/library/nginx:latest`.
    pub fn normalised(&self) -> String {
        let ImageRef { registry, repository, tag, digest, .. } = self;
        let tag = if tag.is_empty() { String::new() } else { format!(":{tag}") };
        let digest = if digest.is_empty() { String::new() } else { format!("@{digest}") };
        format!("{registry}/{repository}{tag}{digest}")
    }

    /// What makes it the same image as another: with a digest, the tag beside it is decoration.
    pub fn identity(&self) -> String {
        let ImageRef { registry, repository, tag, digest, .. } = self;
        match digest.as_str() {
            "" => format!("{registry}/{repository}:{tag}"),
            digest => format!("{registry}/{repository}@{digest}"),
        }
    }

    /// Whether `name`, one of the names that a node gives an image, is just this image's. Never a part of
    /// it: `quay.io/team/app:1` is not `quay.io/team/app:12`.
    pub fn is_called(&self, name: &str) -> bool {
        ImageRef::parse(name).is_ok_and(|named| named.identity() == self.identity())
    }

    /// Whether neither tag nor digest was written, so that `latest` is only assumed.
    pub fn lacks_tag(&self) -> bool {
        !self.has_tag && self.digest.is_empty()
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// `splitDockerDomain`: what stands before the first slash is a registry if it could not be a
/// component of Docker Hub's names.
fn split_registry(name: &str) -> (String, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first =>
        {
            let registry = if first == OLD_DEFAULT_REGISTRY { DEFAULT_REGISTRY } else { first };
            (registry.to_owned(), rest)
        }
        _ => (DEFAULT_REGISTRY.to_owned(), name),
    }
}

/// distribution/reference takes `my_registry.internal/app` for a name without a registry, because no
/// registry may have an underscore; containerd then asks that host all the same.
fn has_underscore(registry: &str) -> bool {
    registry.contains('_') && is_component(registry)
}

fn check_registry(registry: &str) -> Result<(), String> {
    let wrong = || Err(format!("invalid registry host `{registry}`"));
    let (host, port) = match registry.rsplit_once(':') {
        // The last colon of `[::1]` is inside of the brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return wrong();
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let fits = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return if fits { Ok(()) } else { wrong() };
    }
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let component = |part: &str| {
        let bytes = part.as_bytes();
        alphanumeric(bytes.first())
            && alphanumeric(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    if host.split('.').all(component) { Ok(()) } else { wrong() }
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.len() > REPOSITORY_MAX {
        return Err(too_long());
    }
    if repository.to_lowercase() != repository {
        return Err(format!("the repository's name `{repository}` must be lower case"));
    }
    match repository.split('/').find(|component| !is_component(component)) {
        None => Ok(()),
        Some("") => Err("the repository's name has an empty part".to_owned()),
        Some(component) => Err(format!("invalid part `{component}` of a repository's name")),
    }
}

fn too_long() -> String {
    format!("the repository's name is longer than {REPOSITORY_MAX} characters")
}

/// Letters and digits, with single separators between them: `.`, `_`, `__` or any number of dashes.
fn is_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators_fit = component
        .split(is_word)
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'));
    component.starts_with(is_word) && component.ends_with(is_word) && separators_fit
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fits = tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    match fits {
        true => Ok(()),
        false if tag.is_empty() => Err("the tag is empty".to_owned()),
        false => Err(format!("invalid tag `{tag}`")),
    }
}

fn check_digest(digest: &str) -> Result<(), String> {
    let length = match digest.split_once(':') {
        Some(("sha256", _)) => 64,
        Some(("sha384", _)) => 96,
        Some(("sha512", _)) => 128,
        _ => return Err(format!("invalid digest `{digest}`, as `sha256:…`")),
    };
    let hex = digest.split_once(':').map_or("", |(_, hex)| hex);
    match hex.len() == length && hex.bytes().all(is_lower_hex) {
        true => Ok(()),
        false => Err(format!("the digest needs {length} lower-case hex digits, found {}", hex.len())),
    }
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHA: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_node_has_an_image_under_its_full_name_and_under_no_part_of_it() {
        let digest = format!("quay.io/a/b@{SHA}");
        for (image, name, expected) in [
            ("nginx", "docker.io/library/nginx:latest", true),
            ("docker.io/library/nginx:1", "nginx:1", true),
            ("quay.io/a/b:1", "quay.io/a/b:1", true),
            ("quay.io/a/b:1", "quay.io/a/b:12", false),
            ("quay.io/a/b:1", "quay.io/x/quay.io/a/b:1", false),
            ("quay.io/a/b:1", "quay.io/a/b", false),
            ("quay.io/a/b:1", &digest, false),
            (&format!("quay.io/a/b:1@{SHA}"), &digest, true),
            (&digest, "quay.io/a/b:1", false),
            (&digest, &format!("quay.io/a/c@{SHA}"), false),
            ("quay.io/a/b:1", "<none>@<none>", false),
            ("quay.io/a/b:1", "", false),
        ] {
            assert_eq!(ImageRef::parse(image).unwrap().is_called(name), expected, "{image} {name}");
        }
    }

    #[test]
    fn normalises_as_containerd_does() {
        for (written, normalised) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.29", "docker.io/library/nginx:1.29".to_owned()),
            ("team/app", "docker.io/team/app:latest".to_owned()),
            ("docker.io/nginx", "docker.io/library/nginx:latest".to_owned()),
            ("index.docker.io/team/app:1", "docker.io/team/app:1".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/app:1", "localhost:5000/app:1".to_owned()),
            (
                "registry.example.com:5000/a/b/c-d__e.f:v1",
                "registry.example.com:5000/a/b/c-d__e.f:v1".to_owned(),
            ),
            ("[2001:db8::1]:5000/app:1", "[2001:db8::1]:5000/app:1".to_owned()),
            ("REGISTRY/app:1", "REGISTRY/app:1".to_owned()),
            (&format!("quay.io/a/b@{SHA}"), format!("quay.io/a/b@{SHA}")),
            (&format!("quay.io/a/b:1@{SHA}"), format!("quay.io/a/b:1@{SHA}")),
            (&format!("nginx@{SHA}"), format!("docker.io/library/nginx@{SHA}")),
        ] {
            let image = ImageRef::parse(written).unwrap_or_else(|e| panic!("{written}: {e}"));
            assert_eq!(image.normalised(), normalised);
            assert_eq!(image.to_string(), written);
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for (written, words) in [
            ("", "empty"),
            ("Nginx", "lower case"),
            ("quay.io/Team/app", "lower case"),
            ("nginx:", "the tag is empty"),
            ("nginx:a b", "invalid tag `a b`"),
            ("nginx@sha256:12", "needs 64"),
            ("nginx@md5:12", "invalid digest"),
            ("nginx@sha1:12", "invalid digest"),
            ("quay.io//app", "empty part"),
            ("quay.io/", "empty part"),
            ("-app", "invalid part"),
            ("a..b", "invalid part"),
            ("https://quay.io/a", "scheme"),
            ("host:port/a", "registry host"),
            (&"a".repeat(64), "image's id"),
            (&"b".repeat(300), "longer than 255"),
            ("a:b:c", "invalid tag"),
            (" nginx", "invalid part"),
        ] {
            let error = ImageRef::parse(written).unwrap_err();
            assert!(error.contains(words), "{written}: {error}");
        }
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        for text in [
            "user:s3cret@quay.io/team/app:1",
            "https://user:s3cret@quay.io/team/app:1",
            "user:s3/cret@quay.io/team/app:1",
            "user:s3@cret@quay.io/app",
            "user:s3cret@quay.io",
            "user:s3cret@host:5000",
            "user:s3cret@quay.io/app@sha256:12",
        ] {
            assert!(ImageRef::may_hold_credentials(text), "{text}");
            let error = ImageRef::parse(text).unwrap_err();
            assert!(error.contains("credentials") && !error.contains("s3"), "{error}");
        }
    }

    #[test]
    fn a_tag_beside_a_digest_is_decoration() {
        let with = ImageRef::parse(&format!("quay.io/a:1@{SHA}")).unwrap();
        let without = ImageRef::parse(&format!("quay.io/a@{SHA}")).unwrap();
        assert_eq!(with.identity(), without.identity());
        assert_ne!(with.normalised(), without.normalised());
        assert!(ImageRef::parse("quay.io/a").unwrap().lacks_tag() && !without.lacks_tag());
    }

    #[test]
    fn a_host_with_an_underscore_is_a_registry_without_a_port() {
        let image = ImageRef::parse("my_registry.internal/team/app").unwrap();
        assert_eq!((&*image.registry, &*image.repository), ("my_registry.internal", "team/app"));
        assert_eq!(image.normalised(), "my_registry.internal/team/app:latest");
        let long = |length| format!("a_b.c/{}", "x".repeat(length));
        assert!(ImageRef::parse(&long(249)).is_ok());
        for refused in ["my_registry.internal:5000/app", "a___b.c/app", "_a.b/app", &long(250)] {
            assert!(ImageRef::parse(refused).is_err(), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_its_full_form_means_the_same(text in "[a-zA-Z0-9./:@_\\[\\]-]{0,40}|\\PC*") {
            if let Ok(image) = ImageRef::parse(&text) {
                let again = ImageRef::parse(&image.normalised()).unwrap();
                prop_assert_eq!(again.normalised(), image.normalised());
            }
        }
    }
}
