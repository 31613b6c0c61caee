//! Reads kubeconfigs as client-go does: several files, the first to say a thing wins.
//!
//! Nothing is decided here about what the entries mean. Not kube's reader: that waits for ever on a pipe,
//! panics on UTF-16 of an odd length, takes an empty text for a value, and puts the lines around a mistake
//! into its error, which may be somebody's token. May read files and the environment, as kubectl finds its
//! kubeconfig there.
#![expect(clippy::disallowed_methods, reason = "KUBECONFIG and HOME say where the kubeconfig is")]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use entries::{Cluster, Context, User};
pub use entries::{Exec, InteractiveMode};
pub use select::check_file;

use crate::config_source::input;

mod entries;
mod select;

/// A kubeconfig of a thousand clusters with their certificates is some 10 MB.
const BYTES_MAX: u64 = 64 << 20;

/// What all files together say. A name is the first file's that has it, with everything in it.
#[derive(Debug, Default)]
pub struct Kubeconfig {
    clusters: BTreeMap<String, Named<Cluster>>,
    users: BTreeMap<String, Named<User>>,
    contexts: BTreeMap<String, Named<Context>>,
    current_context: String,
    /// Those that are there.
    files: Vec<PathBuf>,
}

/// An entry, and the file it is from: what it names is relative to that one.
#[derive(Clone, Debug)]
pub struct Named<T> {
    pub name: String,
    pub file: PathBuf,
    pub entry: T,
}

#[derive(Debug, Error)]
pub enum KubeconfigError {
    /// There is nothing to choose from, or not what was chosen.
    #[error("no cluster to work on: {0}; name one with --kubeconfig, and a context of it with --context")]
    NoCluster(String),
    #[error("cannot read the kubeconfig {}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("the kubeconfig {} is wrong: {what}", file.display())]
    Wrong { file: PathBuf, what: String },
}

/// The kubeconfig at `path`; without one, those that `KUBECONFIG` lists, else `~/.kube/config`.
pub fn read(path: Option<&Path>) -> Result<Kubeconfig, KubeconfigError> {
    if let Some(path) = path {
        let mut kubeconfig = Kubeconfig::default();
        kubeconfig.add(path)?;
        return Ok(kubeconfig);
    }
    let listed = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty());
    let paths: Vec<PathBuf> = match &listed {
        Some(list) => std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => {
            let Some(home) = std::env::home_dir() else {
                let why = "there is no home directory, and KUBECONFIG is not set".to_owned();
                return Err(KubeconfigError::NoCluster(why));
            };
            vec![home.join(".kube/config")]
        }
    };
    let mut kubeconfig = Kubeconfig::default();
    for path in &paths {
        match kubeconfig.add(path) {
            // The list names where one may be.
            Err(KubeconfigError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            added => added?,
        }
    }
    match (kubeconfig.files.is_empty(), paths.as_slice()) {
        (false, _) => Ok(kubeconfig),
        (true, []) => Err(KubeconfigError::NoCluster("KUBECONFIG names no file".to_owned())),
        (true, [one]) => Err(KubeconfigError::NoCluster(format!("there is no kubeconfig {}", one.display()))),
        (true, _) => {
            Err(KubeconfigError::NoCluster("none of the files that KUBECONFIG names is there".to_owned()))
        }
    }
}

impl Kubeconfig {
    fn add(&mut self, file: &Path) -> Result<(), KubeconfigError> {
        let bytes =
            bytes_of(file).map_err(|source| KubeconfigError::Unreadable { file: file.to_owned(), source })?;
        let wrong = |what| KubeconfigError::Wrong { file: file.to_owned(), what };
        let text = text_of(bytes).map_err(wrong)?;
        let entries::File { kind, api_version, current_context, clusters, users, contexts } =
            parse(&text).map_err(wrong)?;
        // As client-go's decoder: what is not said is what it expects.
        if !matches!(kind.as_str(), "" | "Config") || !matches!(api_version.as_str(), "" | "v1") {
            return Err(wrong("it is no `kind: Config` of `apiVersion: v1`".to_owned()));
        }
        let clusters = clusters.into_iter().map(|named| (named.name, named.cluster));
        add_to(&mut self.clusters, "clusters", file, clusters).map_err(wrong)?;
        let users = users.into_iter().map(|named| (named.name, named.user));
        add_to(&mut self.users, "users", file, users).map_err(wrong)?;
        let contexts = contexts.into_iter().map(|named| (named.name, named.context));
        add_to(&mut self.contexts, "contexts", file, contexts).map_err(wrong)?;
        if self.current_context.is_empty() {
            self.current_context = current_context;
        }
        self.files.push(file.to_owned());
        Ok(())
    }
}

/// Adds the entries of one file, in which no name may stand twice.
fn add_to<T>(
    all: &mut BTreeMap<String, Named<T>>,
    list: &str,
    file: &Path,
    entries: impl Iterator<Item = (String, T)>,
) -> Result<(), String> {
    let mut own = std::collections::BTreeSet::new();
    for (name, entry) in entries {
        if !own.insert(name.clone()) {
            return Err(format!("`{list}` has the name {name:?} twice"));
        }
        if let Entry::Vacant(place) = all.entry(name.clone()) {
            place.insert(Named { name, file: file.to_owned(), entry });
        }
    }
    Ok(())
}

fn bytes_of(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input::open(file)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > BYTES_MAX {
        true => Err(io::Error::other(format!("it is larger than {} MiB", BYTES_MAX >> 20))),
        false => Ok(bytes),
    }
}

/// UTF-8, or what a byte order mark says.
fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    let utf16 = |bytes: &[u8], of: fn([u8; 2]) -> u16| match bytes.len() % 2 {
        0 => {
            let units = bytes.chunks_exact(2).map(|pair| of([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<String, _>>().map_err(|_| "it contains invalid UTF-16")
        }
        _ => Err("it is UTF-16, and ends within a character"),
    };
    let text = match bytes.as_slice() {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => {
            String::from_utf8(rest.to_vec()).map_err(|_| "it contains invalid UTF-8")
        }
        _ => String::from_utf8(bytes).map_err(|_| "it contains invalid UTF-8"),
    };
    text.map_err(str::to_owned)
}

/// The first document, which is all that kubectl reads. Of a mistake only the place is told: a value in the
/// wrong place may be a token.
fn parse(text: &str) -> Result<entries::File, String> {
    // As Go's reader has it: of a key that stands twice the last one counts.
    let options = serde_saphyr::options! { duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| match error.location() {
            Some(place) => format!("line {}, column {}: invalid YAML", place.line(), place.column()),
            None => "invalid YAML".to_owned(),
        })?;
    match documents.into_iter().next() {
        None | Some(Value::Null) => Ok(entries::File::default()),
        Some(document) => serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            let words = error.inner().to_string();
            let expected =
                words.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
            match path.as_str() {
                "." => "it is no YAML mapping".to_owned(),
                path => format!("`{path}` has a value of another type than {expected}"),
            }
        }),
    }
}

#[cfg(test)]
mod tests;
