//! Reads the config and everything it names, and hands it to `config::assemble`.
//!
//! The only reader of the environment. Files are opened through `snapshot`, so that all that one load
//! reads is of one version.
#![expect(clippy::disallowed_methods, reason = "this is the one room that reads files and the environment")]

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path as FsPath, PathBuf};

use thiserror::Error;

use super::input;
use super::snapshot::ConfigSnapshot;
use crate::config::assemble::{CheckedConfig, InvalidConfig, assemble};
pub use crate::config::assemble::{Overrides, PartialConfig, Sources};
use crate::config::problem::{self, Origin, Problem, Severity};
use crate::config::provenance::Provenance;
use crate::config::{Code, Config, environment};
use crate::outside_text::one_line;
use crate::words::counted;

/// Looked for in this order where nobody names a file.
const DEFAULT_PATHS: [&str; 2] = ["quayctl.toml", "/etc/quayctl/quayctl.toml"];
/// A ConfigMap holds no more, so neither does a file that goes into one.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// The output of `kubectl get nodes -o yaml` for 5,000 nodes of 50 images each is some 150 MB.
const INPUT_BYTES_MAX: u64 = 1 << 30;
/// The kubelet swaps a mount's version once a minute at most.
const TRIES_MAX: usize = 5;

/// A config that is ready to be used, and what was noticed on the way.
#[derive(Debug)]
pub struct LoadedConfig {
    pub config: Config,
    pub provenance: Provenance,
    pub warnings: Vec<Problem>,
    /// Whether we run in a pod: the kubelet sets `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`
    /// there, and client-go asks for both.
    pub in_cluster: bool,
    /// SHA-256 over names and bytes of all files that were read or missing: equal for equal files.
    pub fingerprint: String,
}

#[derive(Debug, Error)]
pub enum LoadError {
    #[error(
        "no config file: neither ./quayctl.toml nor /etc/quayctl/quayctl.toml is there; write one, or \
         name it with --config or QUAYCTL_CONFIG"
    )]
    NoFile,
    #[error("cannot read the config {path}: {cause}", path = path.display())]
    Unreadable { path: PathBuf, cause: String },
    #[error("{count} in {source}", count = counted_errors(problems), source = source_of(path))]
    Invalid {
        /// Empty where there is no file, and the environment says all.
        path: PathBuf,
        /// Warnings too.
        problems: Vec<Problem>,
        /// `None` where the file is no TOML.
        partial: Option<Box<PartialConfig>>,
    },
}

impl LoadError {
    /// For a terminal: every problem with its place, then how many there were.
    pub fn shown(&self, color: bool) -> String {
        let problems = match self {
            LoadError::Invalid { problems, .. } => problem::render(problems, color),
            LoadError::NoFile | LoadError::Unreadable { .. } => String::new(),
        };
        format!("{problems}error: {}", one_line(&self.to_string()))
    }

    /// What can still be looked at.
    pub fn partial(&self) -> Option<&PartialConfig> {
        match self {
            LoadError::Invalid { partial, .. } => partial.as_deref(),
            LoadError::NoFile | LoadError::Unreadable { .. } => None,
        }
    }

    /// The same as [`LoadError::shown`] for a machine; what has no place is one problem.
    pub fn problems(self) -> Vec<Problem> {
        let message = self.to_string();
        match self {
            LoadError::Invalid { problems, .. } => problems,
            LoadError::NoFile => {
                let origin = Origin::File(DEFAULT_PATHS[0].into());
                vec![Problem::new(Severity::Error, Code::NoConfig, origin, message)]
            }
            LoadError::Unreadable { path, .. } => {
                vec![Problem::new(Severity::Error, Code::Unreadable, Origin::File(path), message)]
            }
        }
    }
}

/// The process's variables that are text.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The names of the process's variables whose value is not UTF-8.
pub fn unreadable_variables() -> Vec<String> {
    std::env::vars_os()
        .filter_map(|(name, value)| value.into_string().is_err().then(|| name.into_string().ok())?)
        .collect()
}

/// Names the variables that are read and are not UTF-8, a line each: clap, which reads those that stand for
/// flags, says only that there are some.
pub fn complaint_about_variables() -> String {
    let problems = environment::unreadable(&unreadable_variables());
    problems.iter().map(|problem| format!("error: {problem}\n")).collect()
}

/// The text of a file that a flag names; `-` is stdin.
pub fn read_input(path: &FsPath) -> Result<String, String> {
    match path == FsPath::new("-") {
        true => text_of(io::stdin().lock(), INPUT_BYTES_MAX),
        false => text_of(input::open(path).map_err(|e| e.to_string())?, INPUT_BYTES_MAX),
    }
}

/// Reads, layers and checks.
pub fn load(sources: &Sources) -> Result<LoadedConfig, LoadError> {
    load_state(sources).1
}

/// The same, with the fingerprint also of a state that is refused.
pub(super) fn load_state(sources: &Sources) -> (String, Result<LoadedConfig, LoadError>) {
    let mut tries = 1;
    loop {
        let mut snapshot = ConfigSnapshot::default();
        let loaded = load_once(sources, &mut snapshot);
        // A version of a mount that went while it was read is nobody's mistake.
        if tries == TRIES_MAX || !snapshot.changed_during_read() {
            return (snapshot.fingerprint(), loaded);
        }
        tries += 1;
    }
}

fn load_once(sources: &Sources, snapshot: &mut ConfigSnapshot) -> Result<LoadedConfig, LoadError> {
    let quay_images = environment::quay_images(&sources.environment);
    let unreadable = environment::unreadable(&sources.unreadable);
    let (path, text) = match read_config(sources.path.as_deref(), snapshot) {
        // The interface of 2017 knew no file.
        Err(LoadError::NoFile) if quay_images.is_some() => (PathBuf::new(), String::new()),
        // It may have been meant to say what there is to do.
        Err(LoadError::NoFile) if !unreadable.is_empty() => {
            return Err(LoadError::Invalid { path: PathBuf::new(), problems: unreadable, partial: None });
        }
        read => read?,
    };
    let mut read = |file: &FsPath| {
        let bytes = snapshot.sibling(file, CONFIG_BYTES_MAX)?;
        text_in(bytes, CONFIG_BYTES_MAX).map_err(io::Error::other)
    };
    match assemble(sources, &path, text, &mut read) {
        Ok(CheckedConfig { config, provenance, warnings }) => {
            let is_set = |name| sources.environment.get(name).is_some_and(|value| !value.is_empty());
            let in_cluster = is_set("KUBERNETES_SERVICE_HOST") && is_set("KUBERNETES_SERVICE_PORT");
            let fingerprint = snapshot.fingerprint();
            Ok(LoadedConfig { config, provenance, warnings, in_cluster, fingerprint })
        }
        Err(InvalidConfig { problems, partial }) => Err(LoadError::Invalid { path, problems, partial }),
    }
}

/// Where the config may be; the first that is there counts.
pub(super) fn candidates(named: Option<&FsPath>) -> Vec<&FsPath> {
    match named {
        Some(path) => vec![path],
        None => DEFAULT_PATHS.iter().map(FsPath::new).collect(),
    }
}

fn read_config(
    named: Option<&FsPath>,
    snapshot: &mut ConfigSnapshot,
) -> Result<(PathBuf, String), LoadError> {
    for path in candidates(named) {
        let unreadable = |cause| LoadError::Unreadable { path: path.to_owned(), cause };
        match snapshot.config(path, CONFIG_BYTES_MAX) {
            Ok(bytes) => {
                let text = text_in(bytes, CONFIG_BYTES_MAX).map_err(unreadable)?;
                // Editors of some systems begin a file with a byte order mark.
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
                return Ok((path.to_owned(), text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {}
            Err(error) => return Err(unreadable(error.to_string())),
        }
    }
    Err(LoadError::NoFile)
}

fn text_of(input: impl Read, bytes_max: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    input.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    text_in(bytes, bytes_max)
}

fn text_in(bytes: Vec<u8>, bytes_max: u64) -> Result<String, String> {
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it is larger than {} MiB", bytes_max >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} contains invalid UTF-8; save the file as UTF-8")
    })
}

fn source_of(path: &FsPath) -> String {
    match path.as_os_str().is_empty() {
        true => "the environment".to_owned(),
        false => format!("the config {}", path.display()),
    }
}

fn counted_errors(problems: &[Problem]) -> String {
    counted(problems.iter().filter(|problem| problem.severity == Severity::Error).count(), "problem")
}

/// Name, namespace and uid of the pod that we run in, where the downward API tells: `POD_NAME`,
/// `POD_NAMESPACE`, `POD_UID`.
pub fn own_pod(environment: &BTreeMap<String, String>) -> Option<(String, String, Option<String>)> {
    let value = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
    Some((value("POD_NAME")?, value("POD_NAMESPACE")?, value("POD_UID")))
}
