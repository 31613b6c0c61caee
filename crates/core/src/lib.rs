//! What quayctl-controller decides, without a client, a clock, files or a runtime: facts go in, the time
//! included, and values come out.
//!
//! That this crate names neither kube nor tokio nor a file is its manifest's to keep. `docs/architecture.md`
//! has the map of its modules.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may look at the clock and at files"))]

pub mod cluster_error;
pub mod config;
pub mod decode;
pub mod elector;
pub mod now;
pub mod outcome;
pub mod outside_text;
pub mod plan;
pub mod render;
pub mod report;
pub mod runner;
pub mod scheduler;
pub mod serve;
pub mod watch_event;
pub mod words;
