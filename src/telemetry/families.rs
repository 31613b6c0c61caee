//! Every metric under its name. `docs/metrics.md` describes each; a test compares the two.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::outcome::Reason;
use crate::report::{ImageStatus, RunVerdict, Tally};

/// Seconds of a pull: a small image on a near registry to many gigabytes over a thin line.
const PULL_SECONDS: [f64; 13] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];

type Label = (&'static str, String);
type ByGroup<M> = Family<[Label; 1], M>;

#[derive(Debug)]
pub(super) struct Families {
    pub runs: CountBy,
    pub runs_running: ByGroup<Gauge>,
    pub runs_skipped: ByGroup<Counter>,
    pub nodes: CountBy,
    pub images: CountBy,
    pub failures: CountBy,
    pub pull_seconds: Family<[Label; 1], Histogram, fn() -> Histogram>,
    pub pull_bytes: ByGroup<Counter>,
    pub new_nodes: ByGroup<Counter>,
    pub next_run: ByGroup<Gauge>,
    pub last_run: ByGroup<Gauge>,
    pub queue_depth: Gauge,
    pub jobs_running: Gauge,
    pub reloads: Family<[(&'static str, &'static str); 1], Counter>,
    pub last_reload_successful: Gauge,
    pub leader: Gauge,
}

impl Families {
    pub fn new(to: &mut Registry) -> Families {
        let pull_seconds: Family<_, _, fn() -> _> =
            Family::new_with_constructor(|| Histogram::new(PULL_SECONDS));
        let help = "Seconds that pulls took, as the kubelets say";
        to.register_with_unit("quayctl_pull", help, Unit::Seconds, pull_seconds.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("quayctl_build", "The version that runs", version);
        let mut count_by = |name: &str, help: &str, label, values: &[&'static str]| CountBy {
            label,
            values: values.to_vec(),
            family: add(to, name, help),
        };
        let help = "Runs that are over, by how they ended";
        let runs = count_by("quayctl_runs", help, "verdict", &RunVerdict::ALL.map(RunVerdict::code));
        let help = "Nodes in runs that are over, by verdict; a node counts once for each run";
        let nodes = count_by("quayctl_nodes", help, "verdict", &Tally::ALL.map(Tally::code));
        let help = "Images on nodes in runs that are over, by state";
        let images = count_by("quayctl_images", help, "state", &ImageStatus::ALL.map(ImageStatus::code));
        let help = "Failed nodes in runs that are over, by reason code";
        let failures = count_by("quayctl_failures", help, "reason", &Reason::ALL.map(Reason::code));
        let families = Families {
            runs,
            nodes,
            images,
            failures,
            runs_running: add(to, "quayctl_runs_running", "Runs that are under way"),
            runs_skipped: add(
                to,
                "quayctl_runs_skipped",
                "Runs that were due while one of the group was going, and were left out",
            ),
            pull_seconds,
            pull_bytes: add_with_unit(
                to,
                "quayctl_pull",
                Unit::Bytes,
                "Bytes of the images that were pulled, as the kubelets say",
            ),
            new_nodes: add(to, "quayctl_new_nodes", "Nodes that were brought up to date between two runs"),
            next_run: add_with_unit(
                to,
                "quayctl_next_run_timestamp",
                Unit::Seconds,
                "When the group's next run is due",
            ),
            last_run: add_with_unit(
                to,
                "quayctl_last_run_timestamp",
                Unit::Seconds,
                "When the group's last run in this process ended",
            ),
            queue_depth: add(to, "quayctl_queue_depth", "Nodes that wait for their turn"),
            jobs_running: add(to, "quayctl_jobs_running", "Jobs that are live"),
            reloads: add(
                to,
                "quayctl_config_reloads",
                "Changes of the config's files, by whether they were taken over",
            ),
            last_reload_successful: add(
                to,
                "quayctl_config_last_reload_successful",
                "1 where the config in force is what the files say, 0 where they are refused",
            ),
            leader: add(to, "quayctl_leader", "1 where this process does the work, 0 where it stands by"),
        };
        for result in ["failed", "succeeded"] {
            families.reloads.get_or_create(&[("result", result)]).inc_by(0);
        }
        families
    }

    /// Begins the series of a group at 0: `increase` does not see a series' first value. A reason has one
    /// only once something has failed for it.
    pub fn begin(&self, group: &str) {
        for counts in [&self.runs, &self.nodes, &self.images] {
            counts.values.iter().for_each(|value| counts.add(group, value, 0));
        }
        for count in [&self.runs_skipped, &self.pull_bytes, &self.new_nodes] {
            count.get_or_create(&of(group)).inc_by(0);
        }
        self.runs_running.get_or_create(&of(group)).set(0);
        drop(self.pull_seconds.get_or_create(&of(group)));
    }

    pub fn forget(&self, group: &str) {
        for counts in [&self.runs, &self.nodes, &self.images, &self.failures] {
            counts.values.iter().for_each(|value| _ = counts.family.remove(&counts.labels(group, value)));
        }
        for count in [&self.runs_skipped, &self.pull_bytes, &self.new_nodes] {
            count.remove(&of(group));
        }
        for gauge in [&self.runs_running, &self.next_run, &self.last_run] {
            gauge.remove(&of(group));
        }
        self.pull_seconds.remove(&of(group));
    }
}

/// Not before there has been a reload: no series stands for a time that there is not.
pub(super) fn last_reload_success(to: &mut Registry) -> Gauge {
    let name = "quayctl_config_last_reload_success_timestamp";
    add_with_unit(to, name, Unit::Seconds, "When the files were last taken over")
}

fn add<M: Metric + Clone + Default>(to: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    to.register(name, help, metric.clone());
    metric
}

fn add_with_unit<M: Metric + Clone + Default>(to: &mut Registry, name: &str, unit: Unit, help: &str) -> M {
    let metric = M::default();
    to.register_with_unit(name, help, unit, metric.clone());
    metric
}

/// The label of a group's series.
pub(super) fn of(group: &str) -> [Label; 1] {
    [("group", group.to_owned())]
}

/// Counts by group and one more label.
#[derive(Debug)]
pub(super) struct CountBy {
    label: &'static str,
    values: Vec<&'static str>,
    family: Family<[Label; 2], Counter>,
}

impl CountBy {
    pub fn add(&self, group: &str, value: &str, more: u64) {
        self.family.get_or_create(&self.labels(group, value)).inc_by(more);
    }

    fn labels(&self, group: &str, value: &str) -> [Label; 2] {
        [("group", group.to_owned()), (self.label, value.to_owned())]
    }
}
