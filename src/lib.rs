//! Puts container images on the nodes of a Kubernetes cluster before anyone needs them, with
//! nothing but Jobs.
//!
//! ```text
//! ConfigFile → Config → Plan → Manifest → AppliedJob → JobOutcome → RunReport
//!    load    validate  plan   render     apply         wait        report
//! ```
//!
//! Each arrow is one function named by its verb, and each consumes the previous type, so the order
//! cannot be got wrong. `docs/architecture.md` has the map of the modules and their invariants:
//!
//! * [`config`], [`plan`], [`render`], [`outcome`], [`report`] and [`elector`] are pure, in a crate of their own:
//!   no client, no clock, no files. Facts go in, values come out.
//! * [`config_source`] is where files and variables are read.
//! * [`outside_text`] is what every text that somebody else wrote passes through on its way out.
//! * [`cluster`] is the only module that names `kube::Client`.
//! * [`telemetry`] is what the process tells about itself: log lines, metrics, what probes ask.
//! * [`commands`] are tables of contents: they call the modules in order, print what those return
//!   and map errors to exit codes. Nothing imports them.

pub use quayctl_core::{
    cluster_error, config, decode, elector, now, outcome, outside_text, plan, render, report, runner,
    scheduler, serve, watch_event, words,
};

pub mod cli;
mod clock;
pub mod cluster;
pub mod commands;
pub mod config_source;
pub mod driver;
mod progress;
pub mod telemetry;
