//! What a failed pull's words mean.
//!
//! Text decides only where Kubernetes gives nothing else: for nearly every failed pull it has the one
//! reason `ErrImagePull` and a message that a runtime or a registry wrote. Such a message is read by its
//! structure: who speaks, then from the last clause back. HTTP statuses beat words. Only what the
//! resolver said is permanent: whoever fetches or unpacks has been told by the registry that the image
//! is there.

use super::Reason;

mod clauses;
mod table;

/// A failed pull, judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullError {
    pub reason: Reason,
    /// Trying again cannot help, once the same is said a second time.
    pub is_permanent: bool,
    /// The kubelet's own limit of pulls a second: it says nothing about the image.
    pub is_throttled: bool,
}

/// A layer of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    /// Asks the registry for the manifest of a reference.
    Resolver,
    /// Asks whether there is a registry at all.
    Ping,
    /// Asks for a token.
    Token,
    /// Reads what the manifest names, or signatures.
    Fetcher,
    /// Puts layers on the node's disk.
    Unpacker,
    /// The runtime's socket, or the kubelet itself: no registry was asked.
    Runtime,
    /// Weighs signatures.
    Policy,
}

/// What a clause says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Means(Reason),
    /// A code of the registry's API; what follows is the registry's own text.
    Code(Reason),
    /// The node's trouble, whatever stands before it.
    Node,
}

/// Judges the `reason` and `message` of a container that waits for its image. Takes time in proportion
/// to the message, of which it reads the beginning and the end.
pub fn classify(reason: &str, message: &str) -> PullError {
    if reason == "InvalidImageName" {
        return PullError::new(Reason::InvalidReference, true);
    }
    let chain = Chain::new(message);
    let found = chain.judge();
    match (reason, found.reason) {
        ("ImageInspectError", Reason::InvalidReference) => found,
        // The runtime looked for the image on the node.
        ("ImageInspectError" | "ErrImageNeverPull", _) => PullError::new(Reason::PullFailed, false),
        ("RegistryUnavailable", Reason::PullFailed) => PullError::new(Reason::RegistryUnreachable, false),
        ("SignatureValidationFailed", Reason::PullFailed) if chain.says_nothing_more() => {
            PullError::new(Reason::Signature, true)
        }
        _ => found,
    }
}

impl PullError {
    fn new(reason: Reason, from_resolver: bool) -> PullError {
        PullError { reason, is_permanent: from_resolver && reason.is_permanent(), is_throttled: false }
    }
}

/// A message's clauses, what each says by itself, and who speaks in them.
struct Chain {
    clauses: Vec<String>,
    says: Vec<Option<Says>>,
    speakers: Vec<Speaker>,
}

impl Chain {
    fn new(message: &str) -> Chain {
        let clauses = clauses::clauses(message);
        let says = clauses.iter().map(|clause| lookup(table::MEANINGS, clause)).collect();
        let speakers = clauses.iter().filter_map(|clause| lookup(table::SPEAKERS, clause)).collect();
        Chain { clauses, says, speakers }
    }

    fn is(&self, speaker: Speaker) -> bool {
        self.speakers.contains(&speaker)
    }

    fn judge(&self) -> PullError {
        if self.is(Speaker::Runtime) {
            let is_throttled = self.clauses.last().is_some_and(|clause| clause == table::THROTTLED);
            return PullError { is_throttled, ..PullError::new(Reason::PullFailed, false) };
        }
        let reason = self.by_status().or_else(|| self.by_disk()).or_else(|| self.by_unpacker());
        match reason.or_else(|| self.by_code()).or_else(|| self.by_cause()) {
            Some(reason) => PullError::new(reason, !self.is(Speaker::Fetcher) && !self.is_passing(reason)),
            None if self.is(Speaker::Policy) => PullError::new(Reason::Signature, true),
            None => PullError::new(Reason::PullFailed, false),
        }
    }

    fn by_disk(&self) -> Option<Reason> {
        const FULL: [&str; 3] =
            ["no space left on device", "disk quota exceeded", "not enough space on the disk"];
        let is_full = |clause: &String| FULL.iter().any(|words| clause.ends_with(words));
        self.clauses.iter().any(is_full).then_some(Reason::DiskFull)
    }

    /// Whatever goes wrong while layers are put on the disk is the node's, but for what the manifest says.
    fn by_unpacker(&self) -> Option<Reason> {
        let starts = |words: &str| self.clauses.iter().any(|clause| clause.starts_with(words));
        // What is read over the network meanwhile fails as a fetch does.
        if !self.is(Speaker::Unpacker) || starts("happened during read") {
            return None;
        }
        Some(match (starts("no match for platform"), starts("unexpected media type")) {
            (true, _) => Reason::NoMatchingPlatform,
            (false, true) => Reason::RegistryError,
            (false, false) => Reason::PullFailed,
        })
    }

    /// An HTTP status, and what it means from whoever was asked.
    fn by_status(&self) -> Option<Reason> {
        // What follows a status is the registry's own text, and may quote another.
        let (at, status) = (0..self.clauses.len()).find_map(|at| Some((at, self.status(at)?)))?;
        let refused = match self.clauses[at..].iter().any(|clause| speaks_of_quota(clause)) {
            true => Reason::RateLimited,
            false => Reason::Unauthorized,
        };
        let is_manifest = !self.is(Speaker::Fetcher) && !self.is(Speaker::Token) && !self.is(Speaker::Ping);
        Some(match status {
            429 | 402 => Reason::RateLimited,
            401 | 403 | 451 => refused,
            400 if self.is(Speaker::Token) => refused,
            404 | 410 if is_manifest => Reason::ImageNotFound,
            406 | 415 if is_manifest => Reason::UnsupportedManifest,
            407 | 408 | 425 => Reason::RegistryUnreachable,
            _ => Reason::RegistryError,
        })
    }

    /// The status in a clause such as `403 forbidden`, `invalid status code from registry 502 (bad
    /// gateway)` or `error parsing http 403 response body`. A number alone is none.
    fn status(&self, at: usize) -> Option<u16> {
        let clause = self.clauses[at].as_str();
        let announced = at.checked_sub(1).is_some_and(|before| self.clauses[before].contains("status"));
        let mut previous = "";
        let mut words = clause.split_whitespace().enumerate();
        words.find_map(|(position, word)| {
            let number = word.trim_end_matches([',', ')', ';']).trim_start_matches('(');
            let status = (number.len() == 3).then(|| number.parse().ok()).flatten();
            let status = status.filter(|status| (300..600).contains(status));
            let leads = position == 0 && (announced || names_status(&clause[word.len()..]));
            let inside = position > 0
                && (previous == "http" || (clause.contains("status") && !clause.contains("exit status")));
            previous = word;
            status.filter(|_| leads || inside)
        })
    }

    /// A code of the registry's API. The first one counts: what follows it is free text.
    fn by_code(&self) -> Option<Reason> {
        let (at, reason) = self.says.iter().enumerate().find_map(|(at, says)| match says {
            Some(Says::Code(reason)) => Some((at, *reason)),
            _ => None,
        })?;
        Some(match reason {
            Reason::Unauthorized if self.clauses[at..].iter().any(|clause| speaks_of_quota(clause)) => {
                Reason::RateLimited
            }
            Reason::ImageNotFound if self.is(Speaker::Fetcher) => Reason::RegistryError,
            reason => reason,
        })
    }

    /// The innermost clause that means something.
    fn by_cause(&self) -> Option<Reason> {
        let says = |at: usize| match self.says[at] {
            None if self.is_missing_reference(at) => Some(Says::Means(Reason::ImageNotFound)),
            says => says,
        };
        let reason = match (0..self.clauses.len()).rev().find_map(says)? {
            Says::Node => return Some(Reason::PullFailed),
            Says::Means(reason) | Says::Code(reason) => reason,
        };
        let starts = |words: &str| self.clauses.iter().any(|clause| clause.starts_with(words));
        Some(match reason {
            // A resolver of names fails in the network's words.
            Reason::RegistryUnreachable | Reason::RegistryError if starts("lookup ") => Reason::Dns,
            // Nothing was said to the registry yet.
            Reason::Tls if starts("proxyconnect tcp") => Reason::RegistryUnreachable,
            reason => reason,
        })
    }

    /// `REFERENCE: not found` is the resolver's; `content digest …: not found` is not.
    fn is_missing_reference(&self, at: usize) -> bool {
        let named = |before: usize| {
            let before = self.clauses[before].as_str();
            before == "<name>" || before.starts_with("failed to resolve")
        };
        self.clauses[at] == "not found" && at.checked_sub(1).is_some_and(named) && !self.is(Speaker::Fetcher)
    }

    fn is_passing(&self, reason: Reason) -> bool {
        reason == Reason::Tls
            && !self.clauses.iter().any(|clause| clause == "x509")
            && self.clauses.iter().any(|clause| table::PASSING_TLS.contains(&clause.as_str()))
    }

    fn says_nothing_more(&self) -> bool {
        self.says.iter().all(Option::is_none)
    }
}

/// The meaning of the first pattern that `clause` fits.
fn lookup<T: Copy>(rows: &[(&str, &[(&str, T)])], clause: &str) -> Option<T> {
    let mut patterns = rows.iter().flat_map(|(_, patterns)| patterns.iter());
    patterns.find(|(pattern, _)| fits(pattern, clause)).map(|(_, meaning)| *meaning)
}

/// Whether `clause` is what `pattern` says, with `*` for anything.
fn fits(pattern: &str, clause: &str) -> bool {
    // Most patterns end here, and 5,000 nodes may fail at once.
    if !pattern.starts_with('*') && pattern.as_bytes().first() != clause.as_bytes().first() {
        return false;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| clause.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    let mut open = false;
    while let Some(part) = parts.next() {
        open = true;
        if parts.peek().is_none() {
            return part.is_empty() || rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    open || rest.is_empty()
}

/// Whether a number is followed by the name that HTTP gives to a status.
fn names_status(text: &str) -> bool {
    const NAMES: &[&str] = &[
        "moved",
        "found",
        "temporary redirect",
        "permanent redirect",
        "bad request",
        "unauthorized",
        "payment required",
        "forbidden",
        "not found",
        "method not allowed",
        "not acceptable",
        "proxy authentication required",
        "request timeout",
        "conflict",
        "gone",
        "precondition failed",
        "unsupported media type",
        "range not satisfiable",
        "requested range not satisfiable",
        "too many requests",
        "unavailable for legal reasons",
        "internal server error",
        "not implemented",
        "bad gateway",
        "service unavailable",
        "gateway timeout",
        "gateway time-out",
        "service temporarily",
    ];
    let text = text.trim_start_matches([' ', '(', ',']);
    NAMES.iter().any(|name| text.starts_with(name))
}

fn speaks_of_quota(clause: &str) -> bool {
    clause == "toomanyrequests" || table::QUOTA_WORDS.iter().any(|words| clause.contains(words))
}

#[cfg(test)]
#[path = "pull_error/tests.rs"]
mod tests;
