//! Flags and subcommands, with the environment names that stand for them. No logic.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER_HELP: &str = "\
Exit codes:
  0  every planned node has every image
  1  some planned node has not
  2  usage, config or template wrong
  3  cluster unreachable or access denied";

/// Put container images on the nodes of a Kubernetes cluster before anyone needs them
///
/// Reads one TOML file, creates one Job for each node and image group, waits, and says what every
/// node got. Without a command it does `run`.
#[derive(Debug, Parser)]
#[command(name = "quayctl-controller", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// One pass over all groups: plan, apply, wait, report (the default)
    Run(RunArgs),
    /// Print the Jobs of a run as a stream of YAML, without creating any
    Render(RenderArgs),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// What to print on stdout when the run is over
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Also write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RenderArgs {
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
    #[arg(long, global = true, value_name = "FILE")]
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
    /// Say more; twice says everything
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
    /// Parses `args` (the program's name first). Where they name no command, `run` is meant.
    pub fn parse_args(args: Vec<std::ffi::OsString>) -> Result<Cli, clap::Error> {
        let error = match Cli::try_parse_from(&args) {
            Ok(cli) => return Ok(cli),
            Err(error) => error,
        };
        use clap::error::ErrorKind;
        let has_no_command = matches!(
            error.kind(),
            ErrorKind::MissingSubcommand
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                | ErrorKind::UnknownArgument
        ) && !args.iter().skip(1).any(|arg| is_command(arg));
        if !has_no_command {
            return Err(error);
        }
        let mut with_run = args;
        with_run.insert(with_run.len().min(1), "run".into());
        Cli::try_parse_from(with_run)
    }
}

fn is_command(arg: &std::ffi::OsStr) -> bool {
    use clap::CommandFactory;
    arg == "help" || Cli::command().get_subcommands().any(|command| arg == command.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        let program = std::iter::once("quayctl-controller");
        Cli::parse_args(program.chain(args.iter().copied()).map(Into::into).collect())
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
