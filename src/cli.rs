//! Flags and subcommands, with the environment names that stand for them. No logic but what a call
//! without a command means.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

const AFTER_HELP: &str = "\
Exit codes:
  0  every planned node has every image
  1  some planned node has not
  2  usage, config or template wrong
  3  cluster unreachable or access denied
  4  `plan --detailed-exitcode`: there is work to do";

/// Put container images on the nodes of a Kubernetes cluster before anyone needs them
///
/// Reads one TOML file, creates one Job for each node and image group, waits, and says what every
/// node got. Without a command it does `run`, or prints this on a terminal.
#[derive(Debug, Parser)]
#[command(name = "quayctl-controller", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// Flags of the 2017 controller that were given, and have no effect.
    #[arg(skip)]
    pub outdated: Vec<String>,
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all groups once: plan, apply, wait, report (the default)
    Run(RunArgs),
    /// Run as a controller: run groups at their schedules, follow the config and the nodes, serve
    /// metrics and health
    Serve(ServeArgs),
    /// Print the Jobs of a run as a stream of YAML, without creating any
    Render(RenderArgs),
    /// Check the config and its templates; exit 2 where something is wrong
    Check(CheckArgs),
    /// Print the JSON Schema of the config file
    Schema,
    /// Print shell completions
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the man page, or that of a command
    Man {
        /// As `run`
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
    /// Say which node gets which Job, which is skipped and why, and how long it may take
    Plan(PlanArgs),
}

/// Which part of the config is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// Only this group; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub group: Vec<String>,
    /// Only this node; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Create nothing: `client` prints the plan, `server` also lets the API server check every Job
    #[arg(long, value_enum, value_name = "WHERE", conflicts_with_all = ["report", "replace", "cleanup"])]
    pub dry_run: Option<DryRun>,
    /// Exit with 1 also where a node is skipped or a selector matches nothing
    #[arg(long)]
    pub strict: bool,
    /// End live Jobs of earlier runs that have other content, instead of waiting for them
    #[arg(long)]
    pub replace: bool,
    /// Delete the run's finished Jobs once the report is made, instead of leaving them to their TTL
    #[arg(long)]
    pub cleanup: bool,
    /// What to print on stdout when the run is over
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Also write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Work only while holding a Lease, so that of several replicas one works at a time
    #[arg(long)]
    pub leader_elect: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    Client,
    Server,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Plan from what `kubectl get nodes -o yaml` printed instead of asking a cluster; - is stdin
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
    /// What to print on stdout
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Exit with 4 where there is work to do
    #[arg(long)]
    pub detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Also say how many of these nodes each group selects: what `kubectl get nodes -o yaml` printed
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
    /// Take warnings for errors, and warn about every tag that may change
    #[arg(long)]
    pub strict: bool,
    /// Print the effective config with the origin of each value
    #[arg(long, conflicts_with = "output")]
    pub explain: bool,
    /// Also ask the cluster: permissions, namespaces, pull secrets, and whether it takes the Jobs and
    /// their pods
    #[arg(long)]
    pub cluster: bool,
    /// Problems for people on stderr, or for editors and CI on stdout
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Plan from what `kubectl get nodes -o yaml` printed instead of asking a cluster; - is stdin
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// The config file [default: ./quayctl.toml, then /etc/quayctl/quayctl.toml]
    #[arg(short, long, global = true, value_name = "FILE", env = "QUAYCTL_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// The kubeconfig to use; in a pod its own service account is the default
    // An empty one is none, as for kubectl: clap's own parser of paths refuses it.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::AnyPath,
        value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Where the Jobs live; beats the file's `namespace`
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Tells two installations in one namespace apart; beats the file's `instance`
    #[arg(long, global = true, value_name = "NAME", env = "QUAYCTL_INSTANCE", hide_env_values = true)]
    pub instance: Option<String>,
    /// Names the run; a repeated one adopts what is there [default: fresh, `render` for render]
    #[arg(long, global = true, value_name = "ID", env = "QUAYCTL_RUN_ID", hide_env_values = true)]
    pub run_id: Option<String>,
    /// When to use colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,
    /// Increase log verbosity (-vv: trace)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Which log lines to write, as `info` or `quayctl_controller=debug,kube=warn`
    #[arg(long, global = true, value_name = "FILTER", env = "QUAYCTL_LOG", hide_env_values = true)]
    pub log: Option<String>,
    /// How log lines look
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "QUAYCTL_LOG_FORMAT",
        hide_env_values = true,
        default_value_t = LogFormat::Text
    )]
    pub log_format: LogFormat,
    #[arg(skip)]
    pub terminal: Terminal,
}

/// What the environment says of whoever reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// `NO_COLOR` is set, and not empty.
    pub no_color: bool,
    /// `TERM=dumb`: neither colour nor a cursor that moves.
    pub is_dumb: bool,
}

/// Where the process was started, as far as that decides what its arguments mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    pub terminal: Terminal,
    /// A person may have typed the command just to see what it says.
    pub on_terminal: bool,
    pub in_pod: bool,
    /// The images of the 2017 interface are given.
    pub has_images: bool,
}

impl Surroundings {
    pub fn new(environment: &BTreeMap<String, String>, on_terminal: bool) -> Surroundings {
        let value = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        Surroundings {
            terminal: Terminal {
                no_color: value("NO_COLOR").is_some(),
                is_dumb: value("TERM").is_some_and(|term| term == "dumb"),
            },
            on_terminal,
            in_pod: value("KUBERNETES_SERVICE_HOST").is_some(),
            has_images: value("QUAY_IMAGES").is_some(),
        }
    }

    /// Whether a call without a command may start a run: on a person's terminal only where it says of what.
    fn may_run_unasked(&self, config: Option<&Path>) -> bool {
        let names_config = config.is_some_and(|path| !path.as_os_str().is_empty());
        !self.on_terminal || self.in_pod || self.has_images || names_config
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl Cli {
    /// Parses `args` (the program's name first). Where they name no command, `run` is meant; on a terminal
    /// they must say of what, or the help is the answer, as an error.
    pub fn parse_args(args: Vec<OsString>, surroundings: &Surroundings) -> Result<Cli, clap::Error> {
        let (outdated, args): (Vec<_>, Vec<_>) = args.into_iter().partition(|arg| is_outdated(arg));
        let mut cli = Cli::parse_current(args, surroundings)?;
        cli.outdated = outdated.iter().map(|flag| flag.to_string_lossy().into_owned()).collect();
        cli.global.terminal = surroundings.terminal;
        Ok(cli)
    }

    fn parse_current(args: Vec<OsString>, surroundings: &Surroundings) -> Result<Cli, clap::Error> {
        let error = match Cli::try_parse_from(&args) {
            Ok(cli) => return Ok(cli),
            Err(error) => error,
        };
        use clap::error::ErrorKind;
        let is_bare = matches!(
            error.kind(),
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        );
        let may_be_run = is_bare || error.kind() == ErrorKind::UnknownArgument;
        if !may_be_run || args.iter().skip(1).any(|arg| is_command(arg)) {
            return Err(error);
        }
        let program = args.first().cloned();
        let mut with_run = args;
        with_run.insert(with_run.len().min(1), "run".into());
        let cli = Cli::try_parse_from(with_run)?;
        // Flags of `run` itself are a wish to run.
        if is_bare && !surroundings.may_run_unasked(cli.global.config.as_deref()) {
            return Cli::try_parse_from(program);
        }
        Ok(cli)
    }
}

/// glog's flags, which the manifests of 2017 give: clap would read `-logtostderr` as `-l -o …`.
fn is_outdated(arg: &OsStr) -> bool {
    let Some(flag) = arg.to_str().and_then(|text| text.strip_prefix('-')) else { return false };
    let flag = flag.strip_prefix('-').unwrap_or(flag);
    let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
    match name {
        "logtostderr" | "alsologtostderr" => true,
        "v" => value.is_some_and(|level| !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit())),
        _ => false,
    }
}

fn is_command(arg: &OsStr) -> bool {
    use clap::CommandFactory;
    arg == "help" || Cli::command().get_subcommands().any(|command| arg == command.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        parse_in(args, &Surroundings::default())
    }

    fn parse_in(args: &[&str], surroundings: &Surroundings) -> Result<Cli, clap::Error> {
        let program = std::iter::once("quayctl-controller");
        Cli::parse_args(program.chain(args.iter().copied()).map(Into::into).collect(), surroundings)
    }

    fn surroundings(variables: &[(&str, &str)], on_terminal: bool) -> Surroundings {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Surroundings::new(&variables.collect(), on_terminal)
    }

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_run() {
        for args in [
            &[][..],
            &["-n", "pulls"],
            &["-o", "json"],
            &["--report", "out.json", "-n", "pulls"],
            &["-n", "pulls", "run", "-o", "json"],
        ] {
            let cli = parse(args).unwrap();
            assert!(matches!(cli.command, Command::Run(_)), "{args:?}");
        }
    }

    #[test]
    fn on_a_terminal_a_run_is_asked_for() {
        let runs = |args: &[&str], variables: &[(&str, &str)]| match parse_in(
            args,
            &surroundings(variables, true),
        ) {
            Ok(cli) => {
                assert!(matches!(cli.command, Command::Run(_)), "{args:?}");
                true
            }
            Err(error) => {
                let kind = clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
                assert!(error.kind() == kind && error.use_stderr(), "{args:?}: {error}");
                false
            }
        };
        for args in [&[][..], &["-n", "pulls"], &["-v"], &["-logtostderr", "-v=2"]] {
            assert!(!runs(args, &[("QUAY_IMAGES", ""), ("HOME", "/")]), "{args:?}");
            assert!(
                runs(args, &[("QUAY_IMAGES", "a")]) && runs(args, &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")])
            );
        }
        for args in [&["run"][..], &["--config", "x.toml"], &["-o", "json"], &["--group", "g", "-n", "pulls"]]
        {
            assert!(runs(args, &[]), "{args:?}");
        }
    }

    #[test]
    fn the_environment_says_what_a_terminal_takes() {
        let terminal = |variables: &[(&str, &str)]| surroundings(variables, true).terminal;
        assert_eq!(terminal(&[("NO_COLOR", ""), ("TERM", "xterm")]), Terminal::default());
        assert_eq!(terminal(&[("NO_COLOR", "0")]), Terminal { no_color: true, is_dumb: false });
        assert_eq!(terminal(&[("TERM", "dumb")]), Terminal { no_color: false, is_dumb: true });
    }

    #[test]
    fn the_flags_of_2017_are_taken_and_told() {
        let cli = parse(&["-logtostderr", "-v=2", "--v=10", "-alsologtostderr=true", "-n", "pulls"]).unwrap();
        assert_eq!(cli.outdated, ["-logtostderr", "-v=2", "--v=10", "-alsologtostderr=true"]);
        assert!(matches!(cli.command, Command::Run(_)) && cli.global.verbose == 0);
        let cli = parse(&["-v", "run", "-o", "json"]).unwrap();
        assert!(cli.outdated.is_empty() && cli.global.verbose == 1);
    }

    #[test]
    fn global_flags_stand_before_and_after_the_command() {
        for args in [&["-n", "pulls", "render"][..], &["render", "-n", "pulls"]] {
            let cli = parse(args).unwrap();
            assert!(matches!(cli.command, Command::Render(_)));
            assert_eq!(cli.global.namespace.as_deref(), Some("pulls"));
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for args in [&["renderr"][..], &["--nope"], &["run", "--nodes", "x"], &["-v", "-q"]] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }
}
