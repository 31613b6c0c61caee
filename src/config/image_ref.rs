//! Image references: the OCI distribution grammar, normalised as containerd does for comparison.

use std::fmt;

/// A parsed reference. Prints as written; [`ImageRef::normalised`] is what two references are
/// compared by.
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
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}
