//! One pass over all groups.
#![expect(
    clippy::disallowed_methods,
    reason = "a driver looks at the clock for the report and for progress, and writes the report's files"
)]

use std::io;
use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;

use super::signals::Signals;
use super::{CommandError, FAILURE, connect_options, load_config, renderer, run_id, write_stdout};
use crate::cli::{GlobalArgs, Output, RunArgs};
use crate::cluster::{Cluster, RunEnd, RunInputs, Watches};
use crate::config::Config;
use crate::config::load::Loaded;
use crate::outcome::{Failure, Reason};
use crate::plan::{Plan, PlannedJob, RunId, RunIdentity, TemplateChoice, plan};
use crate::progress::Progress;
use crate::render::{Manifest, RenderError, Renderer};
use crate::report::{RunFacts, RunReport};
use crate::telemetry::use_color;

/// Kubernetes shows the text of this file as the container's termination message.
const TERMINATION_LOG: &str = "/dev/termination-log";

pub async fn run(global: &GlobalArgs, args: &RunArgs) -> Result<u8, CommandError> {
    let started_at = Timestamp::now();
    let loaded = load_config(global)?;
    let renderer = renderer(&loaded.config)?;
    let run_id = run_id(global, || RunId::fresh(started_at, std::process::id()))?;

    let signals =
        Signals::listen().map_err(|source| CommandError::Output { what: "to signals".into(), source })?;
    let prepared = tokio::select! {
        prepared = prepare(global, &loaded, &renderer, run_id) => prepared?,
        () = signals.stop.cancelled() => return Err(CommandError::Stopped(signals.exit_code().unwrap_or(FAILURE))),
    };
    let Prepared { cluster, plan, watches } = prepared;
    announce(&cluster, &plan);

    let mut progress = Progress::new(plan.jobs().count(), global.quiet, Instant::now());
    let end = cluster
        .apply_and_wait(
            watches,
            RunInputs {
                plan: &plan,
                concurrency: loaded.config.concurrency.get(),
                render: &|job| manifest(&renderer, job),
                stop: signals.stop.clone(),
                on_step: &mut |step| progress.step(&step, Instant::now()),
            },
        )
        .await;
    progress.finish();

    let RunEnd { results, created, error } = end;
    if let (Some(error), 0) = (&error, created) {
        return Err(error.clone().into());
    }
    let facts = RunFacts {
        run_id: plan.identity.run_id.as_str().to_owned(),
        instance: loaded.config.instance.clone(),
        config_hash: loaded.config.hash.clone(),
        started_at,
        finished_at: Timestamp::now(),
    };
    let ended_by = signals.exit_code().or(error.as_ref().map(|_| super::NO_CLUSTER));
    let report = RunReport::new(&plan, &results, facts, ended_by);
    deliver(&report, args, global)?;
    match error {
        Some(error) => Err(error.into()),
        None => Ok(report.exit_code),
    }
}

struct Prepared {
    cluster: Cluster,
    plan: Plan,
    watches: Watches,
}

/// Everything up to the first Job; nothing has been created when this fails.
async fn prepare(
    global: &GlobalArgs,
    loaded: &Loaded,
    renderer: &Renderer,
    run_id: RunId,
) -> Result<Prepared, CommandError> {
    let config = &loaded.config;
    let cluster = Cluster::connect(&connect_options(global, loaded)).await?;
    let nodes = cluster.list_nodes(only_selector(config).as_deref()).await?;
    let namespace = config.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone());
    let plan = plan(config, nodes, RunIdentity { instance: config.instance.clone(), run_id, namespace });
    check_templates(renderer, &plan)?;
    let watches = cluster.watch(&plan.namespaces(), &config.instance).await?;
    Ok(Prepared { cluster, plan, watches })
}

/// The selector that all groups share, for the API server to apply; with several, one unfiltered
/// list is the cheaper question.
fn only_selector(config: &Config) -> Option<String> {
    let mut selectors = config.groups.iter().map(|group| group.node_selector.as_query());
    let first = selectors.next().filter(|selector| !selector.is_empty())?;
    selectors.all(|selector| selector == first).then_some(first)
}

fn announce(cluster: &Cluster, plan: &Plan) {
    let (jobs, groups) = (plan.jobs().count(), plan.groups.len());
    let skipped: usize = plan.groups.iter().map(|group| group.skipped.len()).sum();
    let run_id = plan.identity.run_id.as_str();
    tracing::info!(
        "run {run_id} on {} (Kubernetes {}): {jobs} Jobs in {groups} groups, {skipped} nodes skipped",
        cluster.server,
        cluster.version,
    );
    for group in plan.groups.iter().filter(|group| group.jobs.is_empty() && group.skipped.is_empty()) {
        tracing::warn!(
            "group {:?}: no node matches node_selector {:?}",
            group.group.name,
            group.group.node_selector.as_query()
        );
    }
}

/// Renders every Job of a user's template once, so that one that fails on some node's labels is
/// refused before anything is created. The built-in templates render whatever they are given.
fn check_templates(renderer: &Renderer, plan: &Plan) -> Result<(), RenderError> {
    let users = plan.jobs().filter(|job| matches!(job.template, TemplateChoice::User(_)));
    for job in users {
        renderer.render(job)?;
    }
    Ok(())
}

/// A manifest, or why this node cannot have one.
fn manifest(renderer: &Renderer, job: &PlannedJob) -> Result<Manifest, Failure> {
    renderer.render(job).map_err(|error| {
        let reason = match error {
            RenderError::NoCarrierImage { .. } => Reason::CarrierImageFailed,
            _ => Reason::ApiError,
        };
        Failure { reason, message: error.to_string() }
    })
}

fn deliver(report: &RunReport, args: &RunArgs, global: &GlobalArgs) -> Result<(), CommandError> {
    if let Some(path) = &args.report {
        std::fs::write(path, report.to_json()).map_err(|source| cannot_write(path, source))?;
    }
    let log = Path::new(TERMINATION_LOG);
    if log.exists() {
        // Only a courtesy to whoever describes the pod: the report has been made.
        if let Err(error) = std::fs::write(log, report.summary()) {
            tracing::warn!("cannot write {TERMINATION_LOG}: {error}");
        }
    }
    let text = match args.output {
        Output::Json => report.to_json(),
        Output::Yaml => report.to_yaml(),
        Output::Table => report.to_table(use_color(global.color, &io::stdout())),
    };
    write_stdout(&text)
}

fn cannot_write(path: &Path, source: io::Error) -> CommandError {
    CommandError::Output { what: format!("the report {}", path.display()), source }
}
