//! Parses, dispatches, prints the last word once and returns the exit code.
#![expect(clippy::disallowed_methods, reason = "main reads the arguments, for all")]
#![expect(clippy::disallowed_macros, reason = "main has the last word on stderr")]

use std::process::ExitCode;

use quayctl_controller::cli::Cli;
use quayctl_controller::commands;

fn main() -> ExitCode {
    // Two crypto providers may be linked some day; which one to use must not depend on that. An
    // error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let cli = match Cli::parse_args(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and a closed pipe is none either.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { commands::USAGE } else { commands::SUCCESS });
        }
    };
    match commands::execute(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let words = error.to_string();
            if !words.is_empty() {
                eprintln!("{}", words.trim_end());
            }
            ExitCode::from(error.exit_code())
        }
    }
}
