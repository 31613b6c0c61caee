//! Parses, dispatches, prints the last word once and returns the exit code.
#![expect(clippy::disallowed_methods, reason = "main reads the arguments, for all")]

use std::io::{self, ErrorKind, IsTerminal};
use std::process::ExitCode;

use quayctl_controller::cli::{Cli, Surroundings};
use quayctl_controller::config_source::load;
use quayctl_controller::{commands, telemetry};

fn main() -> ExitCode {
    // Two crypto providers may be linked some day; which one to use must not depend on that. An
    // error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let on_terminal = io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
    let surroundings = Surroundings::new(&load::environment(), on_terminal);
    let code = match Cli::parse_args(std::env::args_os().collect(), &surroundings) {
        Ok(cli) => execute(cli),
        Err(error) => {
            if error.kind() == clap::error::ErrorKind::InvalidUtf8 {
                telemetry::stderr().say(&load::complaint_about_variables());
            }
            // Help and version are no errors, and a closed pipe is none either.
            match (error.use_stderr(), error.print()) {
                (true, _) => commands::USAGE,
                (false, Err(error)) if error.kind() != ErrorKind::BrokenPipe => commands::FAILURE,
                (false, _) => commands::SUCCESS,
            }
        }
    };
    telemetry::stderr().flush();
    ExitCode::from(code)
}

fn execute(cli: Cli) -> u8 {
    commands::execute(cli).unwrap_or_else(|error| {
        let words = error.to_string();
        if !words.is_empty() {
            telemetry::stderr().say(&format!("{}\n", words.trim_end()));
        }
        error.exit_code()
    })
}
