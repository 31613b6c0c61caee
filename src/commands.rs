//! From a parsed command line to an exit code. The drivers below are tables of contents: they call
//! the modules in order, print what those return, and decide nothing themselves.

use std::collections::BTreeSet;
use std::io;

use thiserror::Error;

use crate::cli::{Cli, Command, GlobalArgs, Selection};
use crate::cluster::{ClusterError, ConnectOptions};
use crate::config::problem::{self, Severity};
use crate::config_source::load::{self, LoadError, LoadedConfig, Overrides, Sources};
use crate::outside_text::block;
use crate::plan::{Plan, RunId};
use crate::render::{RenderError, Renderer};
use crate::{telemetry, words};

mod check;
mod cluster_check;
mod output;
mod plan;
mod render;
mod run;
mod selection;
mod serve;
mod signals;
mod templates;

use output::{stream_to_stdout, write_aside, write_stderr, write_stdout};
use templates::{TemplateCheck, TemplateInputs};

/// Every planned node has every image.
pub const SUCCESS: u8 = 0;
/// Some planned node has not.
pub const FAILURE: u8 = 1;
/// Usage, config or template wrong.
pub const USAGE: u8 = 2;
/// Cluster unreachable or access denied.
pub const NO_CLUSTER: u8 = 3;
/// `plan --detailed-exitcode`: there is work to do.
pub const WORK_TO_DO: u8 = 4;

/// As many nodes are named in one message.
const NODES_MAX: usize = 10;

/// Why a command ended without doing its work.
#[derive(Debug, Error)]
pub enum CommandError {
    #[error("error: {}", block(.0))]
    Usage(String),
    /// As it is shown, every problem with its place.
    #[error("{0}")]
    Config(String),
    #[error("error: {}", block(&.0.to_string()))]
    Render(#[from] RenderError),
    #[error("error: {}", block(&.0.to_string()))]
    Cluster(#[from] ClusterError),
    /// Already reported; only the exit code is left to say.
    #[error("")]
    Stopped(u8),
    #[error("error: cannot write {what}: {source}")]
    Output { what: String, source: io::Error },
    #[error("error: failed to {what}: {source}")]
    Start { what: &'static str, source: io::Error },
}

impl CommandError {
    pub fn exit_code(&self) -> u8 {
        match self {
            CommandError::Usage(_) | CommandError::Config(_) | CommandError::Render(_) => USAGE,
            CommandError::Cluster(_) => NO_CLUSTER,
            CommandError::Stopped(code) => *code,
            CommandError::Output { .. } | CommandError::Start { .. } => FAILURE,
        }
    }
}

/// Does what `cli` asks for, and returns the exit code.
pub fn execute(cli: Cli) -> Result<u8, CommandError> {
    let Cli { outdated, global, command } = cli;
    let stays = matches!(command, Command::Serve(_));
    telemetry::init(&global, stays).map_err(CommandError::Usage)?;
    for flag in outdated {
        tracing::warn!("{flag} has no effect: logs go to stderr, -v and --log say how much; remove it");
    }
    // One thread: the work is waiting, and a run of 5,000 nodes costs a few seconds of CPU.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CommandError::Start { what: "start the runtime", source })?;
    match command {
        Command::Run(args) => runtime.block_on(run::run(&global, &args)),
        Command::Serve(args) => runtime.block_on(serve::serve(&global, &args)),
        Command::Render(args) => runtime.block_on(render::render(&global, &args)),
        Command::Check(args) => runtime.block_on(check::check(&global, &args)),
        Command::Schema => check::schema(),
        Command::Completions { shell } => check::completions(shell),
        Command::Man { command } => check::man(command.as_deref()),
        Command::Plan(args) => runtime.block_on(plan::plan(&global, &args)),
    }
}

/// Reads the config that the command line asks for.
fn load_result(global: &GlobalArgs) -> Result<LoadedConfig, LoadError> {
    with_template_problems(load::load(&sources(global)))
}

/// Of a wrong config all is told that can be, what its templates say included.
fn with_template_problems(mut loaded: Result<LoadedConfig, LoadError>) -> Result<LoadedConfig, LoadError> {
    if let Err(LoadError::Invalid { problems, partial: Some(partial), .. }) = &mut loaded {
        let TemplateCheck { renderer: _, errors, warnings } =
            templates::try_templates(TemplateInputs::from(&**partial));
        problems.extend(errors);
        problems.extend(warnings);
    }
    loaded
}

/// Where the config of this command line comes from.
fn sources(global: &GlobalArgs) -> Sources {
    Sources {
        path: global.config.clone().filter(|path| !path.as_os_str().is_empty()),
        flags: Overrides { namespace: given(&global.namespace), instance: given(&global.instance) },
        environment: load::environment(),
        unreadable: load::unreadable_variables(),
    }
}

/// The part of the config that is selected; its warnings are shown.
fn load_config(global: &GlobalArgs, selection: &Selection) -> Result<LoadedConfig, CommandError> {
    let shown = |mut error: LoadError| {
        if let LoadError::Invalid { problems, .. } = &mut error
            && global.quiet
        {
            problems.retain(|problem| problem.severity == Severity::Error);
        }
        CommandError::Config(error.shown(telemetry::use_color(global, &io::stderr())))
    };
    let mut loaded = load_result(global).map_err(shown)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    selection::narrow_groups(&mut loaded.config, selection)?;
    Ok(loaded)
}

/// Compiles and tries the templates, shows their warnings, and refuses those that are wrong.
fn renderer(loaded: &LoadedConfig, global: &GlobalArgs) -> Result<Renderer, CommandError> {
    let TemplateCheck { renderer, errors, warnings } = templates::try_templates(TemplateInputs::from(loaded));
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match renderer {
        Some(renderer) if errors.is_empty() => Ok(renderer),
        _ => Err(CommandError::Config(problem::render(&errors, telemetry::use_color(global, &io::stderr())))),
    }
}

/// Refuses a plan of which some manifest cannot be made, with all that is wrong with any of them.
fn refuse_manifests(
    global: &GlobalArgs,
    inputs: TemplateInputs<'_>,
    renderer: &Renderer,
    plan: &Plan,
) -> Result<(), CommandError> {
    let problems = templates::manifest_problems(inputs, renderer, plan);
    match problems.is_empty() {
        true => Ok(()),
        false => {
            Err(CommandError::Config(problem::render(&problems, telemetry::use_color(global, &io::stderr()))))
        }
    }
}

/// An empty flag or variable is one that is not set: so the downward API gives a label that is missing.
fn given(flag: &Option<String>) -> Option<String> {
    flag.clone().filter(|text| !text.is_empty())
}

/// The run id asked for, or what `otherwise` makes.
fn run_id(global: &GlobalArgs, otherwise: impl FnOnce() -> RunId) -> Result<RunId, CommandError> {
    match given(&global.run_id) {
        Some(text) => RunId::parse(&text).map_err(CommandError::Usage),
        None => Ok(otherwise()),
    }
}

fn connect_options(global: &GlobalArgs, loaded: &LoadedConfig) -> ConnectOptions {
    ConnectOptions {
        kubeconfig: global.kubeconfig.clone().filter(|path| !path.as_os_str().is_empty()),
        context: given(&global.context),
        in_cluster: loaded.in_cluster,
    }
}

/// As many names as a person reads, and how many there are besides.
fn some_of(names: &BTreeSet<String>) -> String {
    words::some_of(names.iter().map(String::as_str), NODES_MAX)
}
