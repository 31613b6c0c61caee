//! One pass over all groups.
#![expect(
    clippy::disallowed_methods,
    reason = "a driver looks at the clock for the report and for progress, and writes the report's files"
)]

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout_at};

use super::plan::{check_namespaces, completed_earlier, foreseen, only_selector, plan_over, print};
use super::signals::Signals;
use super::templates::{TemplateInputs, manifest};
use super::{
    CommandError, FAILURE, SUCCESS, connect_options, load_config, refuse_manifests, renderer, run_id,
    stream_to_stdout, write_aside, write_stdout,
};
use crate::cli::{DryRun, GlobalArgs, Output, RunArgs};
use crate::cluster::{Cluster, ClusterError, Mode, Wanted, Watches};
use crate::config_source::load::LoadedConfig;
use crate::driver;
use crate::plan::{JobIndex, Plan, PlannedJob, RunId, TemplateChoice};
use crate::progress::Progress;
use crate::render::Renderer;
use crate::report::{PlanReport, Refusal, RunFacts, RunReport, skipped_in_words};
use crate::runner::{ApplyError, JobStep, RunEnd, RunInputs};
use crate::telemetry::use_color;
use crate::watch_event::JobKey;
use crate::words::counted;

/// Kubernetes shows the text of this file as the container's termination message.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// How long events that are still on their way may take once the report is written.
const EVENTS_GRACE: Duration = Duration::from_secs(2);
/// Requests at once where order does not matter: what priority and fairness queues well of a client.
const CALLS_IN_FLIGHT: usize = 16;

pub async fn run(global: &GlobalArgs, args: &RunArgs) -> Result<u8, CommandError> {
    let (started, started_at) = (tokio::time::Instant::now(), Timestamp::now());
    let loaded = load_config(global, &args.selection)?;
    let renderer = renderer(&loaded, global)?;
    let run_id = run_id(global, || RunId::fresh(started_at, std::process::id()))?;
    let report_file = open_report(args)?;

    let signals = Signals::listen()
        .map_err(|source| CommandError::Start { what: "install signal handlers", source })?;
    let ready = tokio::select! {
        ready = prepare(global, args, &loaded, &renderer, run_id, started) => ready?,
        () = signals.stop.cancelled() => return Err(CommandError::Stopped(signals.exit_code().unwrap_or(FAILURE))),
    };
    let Ready { cluster, plan, watches } = ready;
    announce(&cluster, &plan);
    let deadline = started + Duration::from_secs(plan.run_deadline_seconds);
    let watches = match (args.dry_run, watches) {
        (Some(DryRun::Client), _) => {
            let asking = async {
                let namespaces = check_namespaces(&cluster, &plan, &renderer).await;
                Ok((namespaces, completed_earlier(&cluster, &plan).await?))
            };
            let (namespaces, present) = within(deadline, &signals, &cluster, asking).await?;
            let printed = print_aside(foreseen(&plan, &present), args.output, &signals).await;
            return namespaces.and(printed).map(|()| SUCCESS);
        }
        (_, Some(watches)) => watches,
        (_, None) => {
            let asking = dry_run(&cluster, &plan, &renderer);
            let report = within(deadline, &signals, &cluster, asking).await?;
            let code = if report.counts().failed > 0 { FAILURE } else { SUCCESS };
            return print_aside(report, args.output, &signals).await.map(|()| code);
        }
    };

    let progress = RefCell::new(Progress::new(plan.jobs().count(), global, Instant::now()));
    let inputs = RunInputs {
        plan,
        concurrency: loaded.config.concurrency.get(),
        deadline: deadline.into_std(),
        deadline_is_computed: loaded.config.run_deadline_seconds.is_none(),
        replace: args.replace,
        render: Arc::new(|job| manifest(&renderer, job)),
    };
    let on_step = |step: JobStep<'_>| progress.borrow_mut().step(&step, Instant::now());
    let end = shown(&progress, driver::run(&cluster, watches, inputs, signals.stop.clone(), on_step)).await;
    progress.borrow().finish();
    let RunEnd { plan, results, created, finished, error } = end;
    if let (Some(error), 0) = (&error, created) {
        return Err(error.clone().into());
    }
    let facts = RunFacts {
        run_id: plan.identity.run_id.as_str().to_owned(),
        instance: loaded.config.instance.clone(),
        config_hash: loaded.config.hash.clone(),
        started_at,
        finished_at: Timestamp::now(),
        throttled: cluster.throttled(),
        strict: args.strict,
    };
    let ended_by = signals.exit_code().or(error.as_ref().map(|_| super::NO_CLUSTER));
    let report = Arc::new(RunReport::new(&plan, &results, facts, ended_by));
    let delivered = deliver(report.clone(), args, global, report_file, &signals).await;
    if args.cleanup && ended_by.is_none() && delivered.is_ok() {
        // The report is made: what is left behind goes by its TTL.
        if let Err(error) = within(deadline, &signals, &cluster, clean_up(&cluster, finished)).await {
            tracing::warn!("the clean-up was not completed: {error}");
        }
    }
    cluster.flush_events(EVENTS_GRACE).await;
    let ended = match error {
        Some(error) => Err(error.into()),
        None => Ok(report.exit_code),
    };
    match (delivered, ended) {
        (Ok(()), ended) => ended,
        (Err(stopped @ CommandError::Stopped(_)), _) => Err(stopped),
        // What the run has to say for itself is worse than a report that could not be written.
        (Err(undelivered), ended) if report.exit_code > FAILURE => {
            tracing::error!("{undelivered}");
            ended
        }
        (Err(undelivered), _) => Err(undelivered),
    }
}

/// `run` to its end, with its progress shown also while nothing happens.
async fn shown(progress: &RefCell<Progress>, run: impl Future<Output = RunEnd>) -> RunEnd {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(run);
    loop {
        tokio::select! {
            end = &mut run => return end,
            _ = ticks.tick() => progress.borrow_mut().tick(Instant::now()),
        }
    }
}

/// All that a run needs before its first Job.
struct Ready {
    cluster: Cluster,
    plan: Plan,
    /// `None` in a dry run, in which nothing happens that could be watched.
    watches: Option<Watches>,
}

/// Everything up to the first Job; nothing has been created when this fails.
async fn prepare(
    global: &GlobalArgs,
    args: &RunArgs,
    loaded: &LoadedConfig,
    renderer: &Renderer,
    run_id: RunId,
    started: tokio::time::Instant,
) -> Result<Ready, CommandError> {
    let cluster = Cluster::connect(&connect_options(global, loaded)).await?;
    let server = cluster.server.clone();
    let rest = async {
        let nodes = cluster.list_nodes(only_selector(loaded, &args.selection).as_deref()).await?;
        let plan = plan_over(loaded, &args.selection, nodes, run_id, cluster.default_namespace.clone())?;
        check_templates(global, loaded, renderer, &plan)?;
        let watches = match args.dry_run {
            None => {
                let own = plan.jobs().map(|job| (job.namespace.clone(), job.name.clone()));
                let wanted = Wanted::Jobs(own.collect::<HashSet<JobKey>>());
                Some(cluster.watch(&plan.namespaces(), &loaded.config.instance, wanted).await?)
            }
            Some(_) => None,
        };
        Ok(Ready { cluster, plan, watches })
    };
    // The computed deadline is not known before the nodes are; each call has its own limit as well.
    let Some(seconds) = loaded.config.run_deadline_seconds else { return rest.await };
    let deadline = started + Duration::from_secs(seconds.into());
    timeout_at(deadline, rest).await.unwrap_or_else(|_| {
        let cause = format!("the run's deadline of {seconds} s passed before the first Job");
        Err(ClusterError::Unreachable { server, cause }.into())
    })
}

fn announce(cluster: &Cluster, plan: &Plan) {
    let (jobs, groups) = (counted(plan.jobs().count(), "Job"), counted(plan.groups.len(), "group"));
    let skipped =
        skipped_in_words(plan.groups.iter().map(|group| group.skipped.iter().map(|s| s.node.name.as_str())));
    let run_id = plan.identity.run_id.as_str();
    tracing::info!(
        "run {run_id} on {} (Kubernetes {}): {jobs} in {groups}, {skipped}",
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
    for group in
        plan.groups.iter().filter(|group| group.jobs.iter().any(|j| j.template == TemplateChoice::Quayctl))
    {
        tracing::warn!(
            "group {:?}: template quayctl needs Docker nodes, Quay 2.4 to 3.3 and host access; `auto` pulls from any \
             registry without",
            group.group.name
        );
    }
}

/// Renders every Job of a user's template once, so that one that fails on some node's labels is
/// refused before anything is created. The built-in templates render whatever they are given.
fn check_templates(
    global: &GlobalArgs,
    loaded: &LoadedConfig,
    renderer: &Renderer,
    plan: &Plan,
) -> Result<(), CommandError> {
    let mut users = plan.jobs().filter(|job| matches!(job.template, TemplateChoice::User(_)));
    match users.all(|job| renderer.render(job).is_ok()) {
        true => Ok(()),
        false => refuse_manifests(global, TemplateInputs::from(loaded), renderer, plan),
    }
}

/// `work` until it is done, a signal comes, or the run's deadline passes.
async fn within<T>(
    deadline: tokio::time::Instant,
    signals: &Signals,
    cluster: &Cluster,
    work: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    tokio::select! {
        done = work => done,
        () = signals.stop.cancelled() => Err(CommandError::Stopped(signals.exit_code().unwrap_or(FAILURE))),
        () = sleep_until(deadline) => {
            let cause = "not done when the run's deadline passed".to_owned();
            Err(ClusterError::Unreachable { server: cluster.server.clone(), cause }.into())
        }
    }
}

/// Prints a plan while signals are heard.
async fn print_aside(report: PlanReport, output: Output, signals: &Signals) -> Result<(), CommandError> {
    write_aside(signals, move || print(&report, output)).await
}

/// Lets the API server check every Job without keeping any, and gives the plan with its refusals.
async fn dry_run(cluster: &Cluster, plan: &Plan, renderer: &Renderer) -> Result<PlanReport, CommandError> {
    let asked = stream::iter(plan.indexed_jobs())
        .map(|(index, job)| async move { (index, ask(cluster, renderer, job).await) })
        .buffer_unordered(CALLS_IN_FLIGHT);
    let answers: Vec<(JobIndex, Result<(), ApplyError>)> = asked.collect().await;
    let mut refusals: Vec<Refusal> = Vec::new();
    // What befalls all Jobs befalls the cluster; a namespace is its groups' affair.
    let mut error = None;
    let mut others = false;
    for (index, answer) in answers {
        match answer {
            Ok(()) => others = true,
            Err(ApplyError::Refused(failure) | ApplyError::Unanswered(failure)) => {
                others = true;
                refusals.push((index, failure));
            }
            Err(ApplyError::Cluster(found)) if found.namespace().is_none() => return Err(found.into()),
            Err(ApplyError::Cluster(found)) => {
                refusals.push((index, found.failure()));
                error = Some(found);
            }
        }
    }
    if let Some(error) = error.filter(|_| !others) {
        return Err(error.into());
    }
    Ok(PlanReport::new(plan, refusals, &completed_earlier(cluster, plan).await?))
}

async fn ask(cluster: &Cluster, renderer: &Renderer, job: &PlannedJob) -> Result<(), ApplyError> {
    let manifest = manifest(renderer, job).map_err(ApplyError::Refused)?;
    cluster.apply(&manifest, Mode::DryRun).await.map(|_| ())
}

/// Writes the report: first to where nobody has to read it at once, then to stdout.
async fn deliver(
    report: Arc<RunReport>,
    args: &RunArgs,
    global: &GlobalArgs,
    file: Option<(PathBuf, File)>,
    signals: &Signals,
) -> Result<(), CommandError> {
    let (output, color) = (args.output, use_color(global, &io::stdout()));
    write_aside(signals, move || {
        let filed = file.map_or(Ok(()), |(path, file)| {
            write_file(&report, file).map_err(|source| cannot_write(&path, source))
        });
        let log = Path::new(TERMINATION_LOG);
        if log.exists() {
            // Only a courtesy to whoever describes the pod: the report has been made.
            if let Err(error) = std::fs::write(log, report.summary()) {
                tracing::warn!("cannot write {TERMINATION_LOG}: {error}");
            }
        }
        let printed = match output {
            Output::Json => stream_to_stdout(|stdout| report.write_json(stdout)),
            Output::Yaml => write_stdout(&report.to_yaml()),
            Output::Table => write_stdout(&report.to_table(color)),
        };
        filed.and(printed)
    })
    .await
}

/// Opens the file of the report before anything is done that would have to be told of.
fn open_report(args: &RunArgs) -> Result<Option<(PathBuf, File)>, CommandError> {
    let open = |path: &'_ Path| File::options().create(true).write(true).truncate(false).open(path);
    let Some(path) = args.report.as_deref() else { return Ok(None) };
    match open(path) {
        Ok(file) => Ok(Some((path.to_owned(), file))),
        Err(error) => {
            Err(CommandError::Usage(format!("cannot write the report {}: {error}", path.display())))
        }
    }
}

fn write_file(report: &RunReport, file: File) -> io::Result<()> {
    // A pipe or a terminal has no length.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    let mut file = io::BufWriter::new(file);
    report.write_json(&mut file)?;
    file.flush()
}

fn cannot_write(path: &Path, source: io::Error) -> CommandError {
    CommandError::Output { what: format!("the report {}", path.display()), source }
}

/// Deletes what is over.
async fn clean_up(cluster: &Cluster, finished: Vec<JobKey>) -> Result<(), CommandError> {
    let deletes = stream::iter(finished)
        .map(|(namespace, name)| async move { cluster.delete(&namespace, &name).await })
        .buffer_unordered(CALLS_IN_FLIGHT);
    let ends: Vec<Result<(), ClusterError>> = deletes.collect().await;
    ends.into_iter().collect::<Result<(), ClusterError>>().map_err(CommandError::from)
}
