//! Says whether a config is right, and prints what editors and shells want to know of it.
#![expect(clippy::disallowed_methods, reason = "the next fire times of a schedule are counted from now")]

use std::collections::BTreeMap;
use std::io;

use clap::CommandFactory;
use jiff::Timestamp;

use super::plan::nodes_of_file;
use super::templates::{
    TemplateCheck, TemplateInputs, manifest_problems, nodes_without_carrier, try_templates,
};
use super::{CommandError, SUCCESS, USAGE, given, load_result, write_stdout};
use crate::cli::{CheckArgs, Cli, GlobalArgs, Output};
use crate::config::problem::{self, Origin, Problem, Severity};
use crate::config::{Code, Config, Group, ImageRef, TemplateName, schedule};
use crate::config_source::load::LoadedConfig;
use crate::plan::{self, Node, Plan, RunId, RunIdentity};
use crate::telemetry::use_color;
use crate::words::counted;

/// How many of a schedule's next times are shown: enough to see its rhythm.
const FIRE_TIMES: usize = 3;

pub async fn check(global: &GlobalArgs, args: &CheckArgs) -> Result<u8, CommandError> {
    // What is wrong with the config is said first, whatever there is to say of the nodes.
    let nodes = args.nodes.as_deref().map(nodes_of_file);
    let known = nodes.as_ref().and_then(|nodes| nodes.as_ref().ok());
    let mut problems = Vec::from_iter(run_id_problem(global));
    let mut compiled = None;
    let loaded = match load_result(global) {
        Ok(mut loaded) => {
            let inputs = TemplateInputs::from(&loaded);
            let TemplateCheck { renderer, errors, warnings } = try_templates(inputs);
            let plan = known.map(|nodes| planned_over(&loaded.config, nodes));
            let doubts = doubts(inputs, plan.as_ref(), args.strict);
            // What `render` would refuse for one of these nodes; with invented ones nothing may be wrong.
            let of_nodes = match (&renderer, &plan) {
                (Some(renderer), Some(plan)) if errors.is_empty() => {
                    manifest_problems(inputs, renderer, plan)
                }
                _ => Vec::new(),
            };
            problems.append(&mut loaded.warnings);
            problems.extend([errors, of_nodes, warnings, doubts].concat());
            compiled = renderer;
            Some(loaded)
        }
        Err(error) => {
            let doubts =
                error.partial().map(|partial| doubts(TemplateInputs::from(partial), None, args.strict));
            problems.extend(doubts.unwrap_or_default());
            problems.extend(error.problems());
            None
        }
    };
    let wrong = problems.iter().any(|problem| args.strict || problem.severity == Severity::Error);
    let told = match args.output {
        Output::Json => write_stdout(&format!("{:#}\n", problem::to_json(&problems))),
        Output::Yaml => {
            write_stdout(&serde_saphyr::to_string(&problem::to_json(&problems)).unwrap_or_default())
        }
        Output::Table => tell(global, args, loaded.as_ref(), known, &problems),
    };
    match told {
        // That the config is wrong is the worse news.
        Err(error @ CommandError::Output { .. }) if wrong => super::write_stderr(&format!("{error}\n")),
        told => told?,
    }
    if let Some(Err(error)) = nodes {
        return Err(error);
    }
    match (wrong, &loaded, &compiled) {
        (false, Some(loaded), Some(renderer)) if args.cluster => {
            super::cluster_check::ask(global, loaded, renderer, args.strict).await
        }
        (false, _, _) => Ok(SUCCESS),
        (true, _, _) => Ok(USAGE),
    }
}

/// The config may be right and no run can be made from it.
fn run_id_problem(global: &GlobalArgs) -> Option<Problem> {
    let wrong = RunId::parse(&given(&global.run_id)?).err()?;
    let origin = Origin::Named("--run-id or QUAYCTL_RUN_ID".to_owned());
    Some(Problem::new(Severity::Error, Code::BadRunId, origin, wrong))
}

/// Problems are always told; what else there is to say, only where nobody asked for quiet.
fn tell(
    global: &GlobalArgs,
    args: &CheckArgs,
    loaded: Option<&LoadedConfig>,
    nodes: Option<&Vec<Node>>,
    problems: &[Problem],
) -> Result<(), CommandError> {
    let shown = problem::render(problems, use_color(global, &io::stderr()));
    tracing::debug!("{}", counted(problems.len(), "problem"));
    super::write_stderr(&shown);
    let say = |text: &str| {
        if !global.quiet {
            super::write_stderr(text)
        }
    };
    if let Some(loaded) = loaded {
        say(&fire_times(&loaded.config, Timestamp::now()));
        if let Some(nodes) = nodes {
            say(&selected(&loaded.config, nodes));
        }
        if args.explain {
            return write_stdout(&loaded.provenance.explain(&loaded.config));
        }
    }
    if global.quiet {
        return Ok(());
    }
    write_stdout(&summary(loaded, problems))
}

/// One line.
fn summary(loaded: Option<&LoadedConfig>, problems: &[Problem]) -> String {
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let found = match (errors, warnings) {
        (0, 0) => "no problems".to_owned(),
        (errors, 0) => counted(errors, "error"),
        (0, warnings) => counted(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    match loaded {
        Some(loaded) => {
            let groups = &loaded.config.groups;
            let images = groups.iter().map(|group| group.images.len()).sum();
            format!("{}, {}: {found}\n", counted(groups.len(), "group"), counted(images, "image"))
        }
        None => format!("{found}\n"),
    }
}

/// What a run would do on these nodes.
fn planned_over(config: &Config, nodes: &[Node]) -> Plan {
    let identity = RunIdentity {
        instance: config.instance.clone(),
        run_id: RunId::render(),
        namespace: config.namespace_or("").to_owned(),
    };
    plan::plan(config, nodes.to_vec(), identity)
}

/// What is no mistake but may surprise. `plan` is over the nodes that are known, if any are.
fn doubts(inputs: TemplateInputs<'_>, plan: Option<&Plan>, strict: bool) -> Vec<Problem> {
    let TemplateInputs { groups, provenance, .. } = inputs;
    let indexes = provenance.group_indexes();
    let index = |group: &Group| indexes.get(group.name.as_str()).copied().unwrap_or_default();
    let mut found: Vec<(usize, &str, Code, String, &str)> = Vec::new();
    // One key that is missing in `[defaults]` is one doubt, however many groups go without.
    let lacks_carrier =
        |group: &&Group| group.template == TemplateName::Auto && group.carrier_image.is_none();
    let general = || {
        let message = "nodes that cannot mount image volumes need a carrier image, and there is none";
        match groups.iter().filter(lacks_carrier).count() {
            1 => message.to_owned(),
            count => format!("{message} for {}", counted(count, "group")),
        }
    };
    // Where the nodes are known, so is which of them need it, and that may be none.
    let message = plan.map_or_else(|| Some(general()), nodes_without_carrier);
    if let (Some(first), Some(message)) = (groups.iter().find(lacks_carrier), message) {
        let help = "set `carrier_image`, or QUAYCTL_CARRIER_IMAGE where it runs";
        found.push((index(first), "carrier_image", Code::NoCarrierImage, message, help));
    }
    for group in groups {
        if group.template == TemplateName::Quayctl {
            let message = "the template `quayctl` needs Docker nodes, Quay 2.4 to 3.3 and host access";
            let help = "`auto` pulls from any registry without";
            found.push((index(group), "template", Code::OutdatedTemplate, message.to_owned(), help));
        }
        let never =
            |zone| group.schedule.as_ref().is_some_and(|s| s.next_after(Timestamp::now(), &zone).is_none());
        if group.schedule.is_some() && schedule::time_zone(&group.time_zone).is_some_and(never) {
            let message = "the schedule is never due".to_owned();
            found.push((index(group), "schedule", Code::NeverDue, message, "no month has such a day"));
        }
    }
    let doubt = |(group, key, code, message, help): (usize, &str, Code, String, &str)| {
        let origin = provenance.group_key(group, key);
        let (key, help) = (Some(format!("groups[{group}].{key}")), Some(help.to_owned()));
        Problem { severity: Severity::Warning, code, origin, key, message, help }
    };
    let mut doubts: Vec<Problem> = found.into_iter().map(doubt).collect();
    if strict {
        doubts.extend(mutable_tags(inputs, &indexes));
    }
    doubts
}

fn mutable_tags(inputs: TemplateInputs<'_>, indexes: &BTreeMap<&str, usize>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for group in inputs.groups {
        let index = indexes.get(group.name.as_str()).copied().unwrap_or_default();
        // One without a tag has been warned about.
        let is_mutable = |image: &ImageRef| image.digest.is_empty() && !image.lacks_tag();
        for (image, reference) in group.images.iter().enumerate().filter(|(_, image)| is_mutable(image)) {
            problems.push(Problem {
                severity: Severity::Warning,
                code: Code::MutableTag,
                origin: inputs.provenance.image(index, image),
                key: Some(format!("groups[{index}].images[{image}]")),
                message: format!("the tag of \"{reference}\" may come to mean another image"),
                help: Some("pin it with a digest: `…@sha256:…`".to_owned()),
            });
        }
    }
    problems
}

fn fire_times(config: &Config, now: Timestamp) -> String {
    let mut text = String::new();
    for group in &config.groups {
        let (Some(schedule), Some(zone)) = (&group.schedule, schedule::time_zone(&group.time_zone)) else {
            continue;
        };
        let mut at = now;
        let times = std::iter::from_fn(|| {
            at = schedule.next_after(at, &zone)?;
            Some(at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string())
        });
        let times: Vec<String> = times.take(FIRE_TIMES).collect();
        text.push_str(&format!("{}: `{schedule}` is due at {}\n", group.name, times.join(", ")));
    }
    text
}

fn selected(config: &Config, nodes: &[Node]) -> String {
    let lines = config.groups.iter().map(|group| {
        let count = nodes.iter().filter(|node| group.node_selector.matches(&node.labels)).count();
        format!("{}: selects {count} of {}\n", group.name, counted(nodes.len(), "node"))
    });
    lines.collect()
}

pub fn schema() -> Result<u8, CommandError> {
    write_stdout(&crate::config::schema::text())?;
    Ok(SUCCESS)
}

pub fn completions(shell: clap_complete::Shell) -> Result<u8, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quayctl-controller", &mut script);
    write_stdout(&String::from_utf8_lossy(&script))?;
    Ok(SUCCESS)
}

/// The page of the whole program, or of one command.
pub fn man(command: Option<&str>) -> Result<u8, CommandError> {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives the commands their full names and the global options.
    program.build();
    let described = match command {
        None => &program,
        Some(name) => program.find_subcommand(name).ok_or_else(|| {
            let known: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
            CommandError::Usage(format!("there is no command {name:?}; there are {}", known.join(", ")))
        })?,
    };
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(described.clone()).render(&mut page);
    rendered.map_err(|source| CommandError::Output { what: "the man page".to_owned(), source })?;
    write_stdout(&String::from_utf8_lossy(&page))?;
    Ok(SUCCESS)
}
