//! What the process tells about itself: log lines to stderr (data goes to stdout and is not logged), and
//! for `serve` metrics and what probes ask.
#![expect(clippy::disallowed_methods, reason = "each line carries its time")]

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::cli::{Color, GlobalArgs, LogFormat};

mod connections;
mod endpoints;
mod families;
mod metrics;
mod outside;
mod process;
mod stderr;

pub use endpoints::{Health, serve_endpoints};
pub use metrics::{CONTENT_TYPE, Metrics};
pub use stderr::{Patient, Stderr, stderr};

use outside::Shown;

/// Sets up logging for the whole process; a second call changes nothing. `stays` is true of a process whose
/// log is read on another day.
pub fn init(args: &GlobalArgs, stays: bool) -> Result<(), String> {
    let filter = match &args.log {
        Some(filter) => EnvFilter::try_new(filter).map_err(|e| {
            format!("invalid log filter {filter:?}: {e}; use a level such as `debug`, or target=level")
        })?,
        None => EnvFilter::new(default_filter(args)),
    };
    let has_color = use_color(args, &io::stderr());
    // A line that cannot be written must not end what it tells of: by default that would be printed, which
    // panics where nothing can be.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| stderr::LogWriter)
        .log_internal_errors(false);
    // An error means that a subscriber is there already, in a test.
    let _ = match args.log_format {
        LogFormat::Json => builder.json().flatten_event(true).map_event_format(Shown::json).try_init(),
        LogFormat::Text => builder
            .with_ansi(has_color)
            .with_target(args.verbose > 0)
            .with_timer(ClockTime { is_dated: stays })
            .map_event_format(|format| Shown::text(format.with_ansi(has_color)))
            .try_init(),
    };
    Ok(())
}

/// Whether what goes to `stream` may carry colour.
pub fn use_color(args: &GlobalArgs, stream: &impl IsTerminal) -> bool {
    match args.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => stream.is_terminal() && !args.terminal.no_color && !args.terminal.is_dumb,
    }
}

fn default_filter(args: &GlobalArgs) -> &'static str {
    // kube logs each failed call that we then report in our own words, and at WARN the whole body of
    // an answer that it cannot parse, which can hold anything.
    match (args.quiet, args.verbose) {
        (true, _) => "error,kube_client=off,kube_runtime=off",
        (false, 0) => "warn,quayctl_controller=info,kube_client=off,kube_runtime=off",
        (false, 1) => "info,quayctl_controller=debug,kube_client=off,kube_runtime=error",
        (false, _) => "debug,quayctl_controller=trace,kube_client=info",
    }
}

/// In UTC, to the second. A run is read within its day, and 80 columns are few; a process that stays is
/// read whenever something is wrong.
struct ClockTime {
    is_dated: bool,
}

impl FormatTime for ClockTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let form = if self.is_dated { "%Y-%m-%dT%H:%M:%SZ" } else { "%H:%M:%SZ" };
        write!(w, "{}", jiff::Timestamp::now().strftime(form))
    }
}
