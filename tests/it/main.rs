//! All integration tests, as one binary: linking is what costs.
//!
//! * `cases`: golden folders below `tests/cases`, through the built binary.
//! * `cli`: exit codes, help, what goes where.
//! * `announce`: events on our own pod.
//! * `api`: exact wire behaviour, against a scripted API server.
//! * `adoption`, `limits`: a run's identity and bounds, on the real control plane.
//! * `check`: what `check` says, with and without a cluster, and what editors and shells get.
//! * `cluster`: claims about Kubernetes, against a real control plane (`tests/cluster`).
//! * `connecting`: kubectl and we are given the same.
//! * `deploy`: the rights that `deploy/` gives. `eligibility`: which nodes get a Job.
//! * `election`: one of several controllers leads. `gate`: a node's label and startup taint.
//! * `faults`: what a run does while parts of the cluster die, hang or vanish.
//! * `hostile_templates`: templates that ask for too much.
//! * `interface`: the old interface, plans and dry runs. `regressions`: the defects of 2017.
//! * `monitoring`: `/metrics`, the alerts and the dashboard.
//! * `plan`: what can be told without a cluster.
//! * `oracles`: what we read means what it means to those who read it elsewhere.
//! * `serve`: the process that stays. `reload`: its config is edited. `joining`: its nodes come and go.
//!   `replicas`: it runs twice, hangs, and dies.
//! * `two_runs`: two runs at the same time. `held_up`: queues, quotas and hands that touch our Jobs.
//! * `opinions`: queues, policies and webhooks that change or refuse what we create.
//! * `output`: streams that are full, closed, blocked or a terminal.
//! * `scripts`: what the Makefile calls. `shipped`: what the repository ships agrees with the code and
//!   with itself.
//! * `values`, `fields`: what `check` says of values and of a template's fields is what the API server says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::disallowed_types,
    reason = "a test that cannot go on panics, and tests touch the world"
)]

mod adoption;
mod announce;
mod api;
mod cases;
mod check;
mod cli;
mod cluster;
mod connecting;
mod deploy;
mod election;
mod eligibility;
mod faults;
mod fields;
mod gate;
mod held_up;
mod hostile_templates;
mod interface;
mod joining;
mod layers;
mod limits;
mod monitoring;
mod opinions;
mod oracles;
mod output;
mod outside;
mod plan;
mod regressions;
mod reload;
mod replicas;
mod scripts;
mod serve;
mod shipped;
#[allow(dead_code, reason = "shared with the tests on real nodes")]
mod support;
mod two_runs;
mod values;
