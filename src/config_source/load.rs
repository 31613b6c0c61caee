//! Reads the config and everything it names, layers the sources, and hands them to `validate`.
//!
//! The only reader of the environment. Files are opened through `folder`, so that all that one load
//! reads is of one version. figment does the layering, over our own TOML provider: its own searches
//! parent folders, takes a missing file for an empty one, and knows no places. None of its errors leaves
//! this room.
#![expect(clippy::disallowed_methods, reason = "this is the one room that reads files and the environment")]

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::Arc;

use figment::Figment;
use figment::value::{Dict, Value};
use thiserror::Error;

use super::input;
use super::snapshot::ConfigSnapshot;
use crate::config::characters;
use crate::config::code::Code;
use crate::config::environment::{self, Layer};
use crate::config::file::{Finding, Findings, Path, Target};
use crate::config::layers::{self, Overridden};
use crate::config::locate::{Places, first_of_two};
use crate::config::problem::{self, Origin, Problem, Severity, SourceText};
use crate::config::provenance::Provenance;
use crate::config::redact::{redacted, without_credentials};
use crate::config::template::includes;
use crate::config::template_tables::{DefinedTemplate, TemplateSource, defined_templates, templates_in};
use crate::config::validate;
use crate::config::{Config, Group, Template, Templates};
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

/// What was asked for beside the file.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config` or `QUAYCTL_CONFIG`.
    pub path: Option<PathBuf>,
    pub flags: Overrides,
    pub environment: BTreeMap<String, String>,
    /// Names of variables whose value is not UTF-8.
    pub unreadable: Vec<String>,
}

/// Flags that beat a key of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub namespace: Option<String>,
    pub instance: Option<String>,
}

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

/// What can still be looked at where a config is wrong, so that everything is told in one go.
#[derive(Debug)]
pub struct PartialConfig {
    /// Those that can be rendered all the same.
    pub groups: Vec<Group>,
    pub templates: Templates,
    pub provenance: Provenance,
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
    let mut findings = Findings::default();
    let (tree, places) = match Places::parse(&text) {
        Ok((tree, places)) => (tree, Arc::new(places)),
        Err(error) => {
            let source = Arc::new(SourceText::new(path.clone(), without_credentials(&text)));
            let mut problems = vec![syntax_problem(&source, &error)];
            problems.extend(unreadable);
            problems.extend(environment::above(&sources.environment).1);
            return Err(LoadError::Invalid { path, problems, partial: None });
        }
    };
    let (mut above, mut warnings) = environment::above(&sources.environment);
    let mut below = environment::below(&sources.environment);
    // A layer replaces what is no table or no list, and then nobody would hear of that mistake.
    let fits = |key: &str, is: fn(&Value) -> bool| tree.get(key).is_none_or(is);
    let defaults_fit = fits("defaults", |value| matches!(value, Value::Dict(..)));
    let groups_fit = fits("groups", |value| matches!(value, Value::Array(..)));
    above.retain(|layer| defaults_fit || !layer.tree.contains_key("defaults"));
    below.retain(|layer| defaults_fit || !layer.tree.contains_key("defaults"));
    let quay_images = quay_images.filter(|_| groups_fit);
    let layers: Vec<Layer> = below
        .into_iter()
        .chain([Layer::file(path.clone(), tree)])
        .chain(above)
        .chain(flags(&sources.flags))
        .collect();
    let layered = |layers: &[Layer]| {
        // Beside the file's groups, not instead of them.
        quay_images.iter().cloned().fold(layers::layered(layers), Figment::admerge)
    };
    let figment = layered(&layers);
    let tree = layers::merged(&figment);

    let tables = defined_templates(&tree, &mut findings);
    let mut templates =
        read_templates(&tables, path.parent().unwrap_or(FsPath::new("")), snapshot, &mut findings);
    let defined = templates_in(&tree).filter(|name| !templates.user.contains_key(*name));
    templates.without_text.extend(defined.map(str::to_owned));
    // What a later source beats is wrong all the same, and would be found out when that is taken away.
    let beaten: Vec<(Figment, Dict, Findings)> = layers::overridden(&layers)
        .into_iter()
        .map(|Overridden { paths, layers }| {
            let figment = layered(&layers);
            let tree = layers::merged(&figment);
            let mut findings = Findings::default();
            let _ = validate::validate(&tree, templates.clone(), &tables, &mut findings);
            findings.0.retain(|finding| layers::is_within(&finding.path, &paths));
            (figment, tree, findings)
        })
        .collect();
    let config = validate::validate(&tree, templates, &tables, &mut findings);

    let all = findings.0.iter().chain(beaten.iter().flat_map(|(_, _, findings)| &findings.0));
    let text = redacted(text, &places, &Findings(all.cloned().collect()));
    let source = Arc::new(SourceText::new(path.clone(), text));
    let provenance = Provenance::new(figment, tree, source.clone(), places.clone());
    let mut problems = located(findings, &provenance);
    problems.extend(beaten.into_iter().flat_map(|(figment, tree, findings)| {
        located(findings, &Provenance::new(figment, tree, source.clone(), places.clone()))
    }));
    problems.extend(unreadable);
    let (errors, more): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|problem| problem.severity == Severity::Error);
    warnings.extend(more);
    let (groups, templates) = match config {
        Ok(config) if errors.is_empty() => {
            let is_set = |name| sources.environment.get(name).is_some_and(|value| !value.is_empty());
            let in_cluster = is_set("KUBERNETES_SERVICE_HOST") && is_set("KUBERNETES_SERVICE_PORT");
            let fingerprint = snapshot.fingerprint();
            return Ok(LoadedConfig { config, provenance, warnings, in_cluster, fingerprint });
        }
        Ok(Config { groups, templates, .. }) => (groups, templates),
        Err(partial) => partial,
    };
    let partial = Some(Box::new(PartialConfig { groups, templates, provenance }));
    Err(LoadError::Invalid { path, problems: [errors, warnings].concat(), partial })
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

/// What flags say.
fn flags(flags: &Overrides) -> impl Iterator<Item = Layer> {
    let Overrides { namespace, instance } = flags;
    let flag = |flag, key, value: &Option<String>| value.as_ref().map(|value| Layer::flag(flag, key, value));
    [
        flag("--namespace", "namespace", namespace),
        flag("--instance or QUAYCTL_INSTANCE", "instance", instance),
    ]
    .into_iter()
    .flatten()
}

/// The texts of `[templates]`, and of the files that they include.
fn read_templates(
    tables: &[DefinedTemplate],
    folder: &FsPath,
    snapshot: &mut ConfigSnapshot,
    findings: &mut Findings,
) -> Templates {
    let mut templates = Templates::default();
    for DefinedTemplate { name, source, .. } in tables {
        let template = match source {
            TemplateSource::Inline(text) => Some(Template { text: text.clone(), file: None }),
            TemplateSource::File(file, path) => read_template(folder, file, path, snapshot, findings),
        };
        templates.user.extend(template.map(|template| (name.clone(), template)));
    }
    let mut next: Vec<String> =
        templates.user.values().flat_map(|template| owned(includes(&template.text))).collect();
    while let Some(name) = next.pop() {
        if templates.text(&name).is_some() || !is_file_stem(&name) {
            continue;
        }
        // Compiling says where a partial that is nowhere was asked for.
        let file = format!("{name}.hbs");
        let read = match snapshot.sibling(FsPath::new(&file), CONFIG_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(|error| error.to_string()),
        };
        let file = folder.join(file);
        match read.and_then(|bytes| text_in(bytes, CONFIG_BYTES_MAX)) {
            Ok(text) => {
                next.extend(owned(includes(&text)));
                templates.partials.insert(name, Template { text, file: Some(file) });
            }
            Err(cause) if templates.without_text.insert(name) => {
                let message = format!("cannot read the partial {}: {cause}", file.display());
                findings.error(
                    Code::TemplateUnreadable,
                    (&Path::default().key("templates"), Target::Key),
                    message,
                    "",
                );
            }
            Err(_) => {}
        }
    }
    templates
}

fn read_template(
    folder: &FsPath,
    file: &str,
    path: &Path,
    snapshot: &mut ConfigSnapshot,
    findings: &mut Findings,
) -> Option<Template> {
    // A ConfigMap's keys lie in one folder; what lies elsewhere would not be mounted with them.
    let inside =
        FsPath::new(file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside {
        let help = "put it beside the config and name it relative to that";
        findings.error(
            Code::TemplateOutside,
            path,
            format!("{file:?} is outside of the config's folder"),
            help,
        );
        return None;
    }
    let found = folder.join(file);
    let read = snapshot.sibling(FsPath::new(file), CONFIG_BYTES_MAX);
    // What is wrong with a file that is there is not where it lies.
    let is_missing = read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let help = if is_missing { "the path is relative to the config file" } else { "" };
    match read.map_err(|e| e.to_string()).and_then(|bytes| text_in(bytes, CONFIG_BYTES_MAX)) {
        Ok(text) => Some(Template { text, file: Some(found) }),
        Err(cause) => {
            let message = format!("cannot read the template {}: {cause}", found.display());
            findings.error(Code::TemplateUnreadable, path, message, help);
            None
        }
    }
}

/// Whether a partial's name can be a file's beside the config.
fn is_file_stem(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn owned<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

fn syntax_problem(source: &Arc<SourceText>, error: &toml::de::Error) -> Problem {
    // The parser's words for what would overflow its stack; of a dotted key it gives no place.
    let is_deep = ["recursion limit", "cannot recurse"].iter().any(|words| error.message().contains(words));
    let span = error.span().or_else(|| is_deep.then(|| longest_key(&source.text)));
    let origin = match span {
        Some(span) => Origin::place(source, span),
        None => Origin::File(source.file.clone()),
    };
    let written = error.span().and_then(|span| source.text.get(span)).unwrap_or_default();
    let message = match error.message() {
        _ if is_deep => "too many levels stand inside one another".to_owned(),
        "duplicate key" if !written.is_empty() => format!("duplicate key `{written}`"),
        message => message.to_owned(),
    };
    let help = match error.message() {
        _ if is_deep => Some("reduce the nesting".to_owned()),
        "duplicate key" => Some(advice_on_duplicate(source, error.span())),
        _ => None,
    };
    let line = error.span().map(|span| source.line_at(span.start)).unwrap_or_default();
    let help = characters::with_note(help, characters::odd_in(line.trim()));
    Problem { help, ..Problem::new(Severity::Error, Code::TomlSyntax, origin, message) }
}

fn advice_on_duplicate(source: &Arc<SourceText>, second: Option<Range<usize>>) -> String {
    let first = second.and_then(|second| first_of_two(&source.text, &second));
    let advice = "a key stands once in its table: remove one of them";
    match first.map(|first| Origin::place(source, first)) {
        Some(Origin::Place { line, column, .. }) => {
            format!("it stands at line {line}, column {column} already; {advice}")
        }
        _ => advice.to_owned(),
    }
}

/// Where the dotted key with the most parts begins.
fn longest_key(text: &str) -> Range<usize> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '=' | '[' | ']'));
    let longest = words.max_by_key(|word| word.matches('.').count()).unwrap_or_default();
    let start = text.find(longest).unwrap_or_default();
    start..start + 1
}

/// Findings with the places where their values were written.
fn located(findings: Findings, provenance: &Provenance) -> Vec<Problem> {
    let problem = |finding: Finding| {
        let origin = provenance.origin(&finding.path, &finding.target);
        let odd = match finding.severity {
            Severity::Error => {
                provenance.text_at(&finding.path, &finding.target).and_then(characters::odd_in)
            }
            Severity::Warning => None,
        };
        let Finding { severity, code, path: key, target: _, message, help } = finding;
        let help = characters::with_note(help, odd);
        let key = Some(key.to_string()).filter(|key| !key.is_empty());
        Problem { severity, code, origin, key, message, help }
    };
    findings.0.into_iter().map(problem).collect()
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
