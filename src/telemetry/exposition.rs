//! Writes the series under their names. `docs/metrics.md` describes each; a test compares the two.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::process;
use super::series::{CountBy, GroupSeries, Series};
use crate::cluster::{RequestKind, Traffic};

/// What is read at each scrape.
#[derive(Debug)]
pub(super) struct Exposition {
    series: Arc<Mutex<Series>>,
    traffic: Traffic,
}

impl Exposition {
    pub fn new(series: Arc<Mutex<Series>>, traffic: Traffic) -> Exposition {
        Exposition { series, traffic }
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        {
            let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
            page.groups(&series)?;
            page.state(&series)?;
        }
        page.traffic(&self.traffic)?;
        page.process()
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn groups(&mut self, series: &Series) -> fmt::Result {
        let help = "Runs that are over, by how they ended";
        self.count_by("quayctl_runs", help, "verdict", series, |group| &group.runs)?;
        let help = "Runs that are under way";
        self.group_gauge("quayctl_runs_running", help, None, series, |group| Some(group.runs_running))?;
        let help = "Runs that were due while one of the group was going, and were left out";
        self.group_counter("quayctl_runs_skipped", help, None, series, |group| group.runs_skipped)?;
        let help = "Nodes in runs that are over, by verdict; a node counts once for each run";
        self.count_by("quayctl_nodes", help, "verdict", series, |group| &group.nodes)?;
        let help = "Images on nodes in runs that are over, by state";
        self.count_by("quayctl_images", help, "state", series, |group| &group.images)?;
        let help = "Failed nodes in runs that are over, by reason code";
        self.count_by("quayctl_failures", help, "reason", series, |group| &group.failures)?;
        let help = "Seconds that pulls took, as the kubelets say";
        let unit = Unit::Seconds;
        let mut family =
            self.0.encode_descriptor("quayctl_pull", help, Some(&unit), MetricType::Histogram)?;
        for (name, group) in &series.groups {
            group.pull_seconds.encode(family.encode_family(&[("group", name.as_str())])?)?;
        }
        let help = "Bytes of the images that were pulled, as the kubelets say";
        self.group_counter("quayctl_pull", help, Some(Unit::Bytes), series, |group| group.pull_bytes)?;
        let help = "Nodes that were brought up to date between two runs";
        self.group_counter("quayctl_arrivals", help, None, series, |group| group.arrivals)?;
        let (help, unit) = ("When the group's next run is due", Some(Unit::Seconds));
        self.group_gauge("quayctl_next_run_timestamp", help, unit.clone(), series, |group| {
            at(group.next_run)
        })?;
        let help = "When the group's last run in this process ended";
        self.group_gauge("quayctl_last_run_timestamp", help, unit, series, |group| at(group.last_run))
    }

    fn state(&mut self, series: &Series) -> fmt::Result {
        self.gauge("quayctl_queue_depth", "Nodes that wait for their turn", None, series.queue_depth)?;
        self.gauge("quayctl_jobs_running", "Jobs that are live", None, series.jobs_running)?;
        let help = "Changes of the config's files, by whether they were taken over";
        let mut family =
            self.0.encode_descriptor("quayctl_config_reloads", help, None, MetricType::Counter)?;
        for (result, count) in &series.reloads {
            counter(family.encode_family(&[("result", *result)])?, *count)?;
        }
        let help = "1 where the config in force is what the files say, 0 where they are refused";
        let ok = u32::from(series.last_reload_ok);
        self.gauge("quayctl_config_last_reload_successful", help, None, ok)?;
        if let Some(seconds) = at(series.last_reload_ok_at) {
            let name = "quayctl_config_last_reload_success_timestamp";
            self.gauge(name, "When the files were last taken over", Some(Unit::Seconds), seconds)?;
        }
        let help = "1 where this process does the work, 0 where it stands by";
        self.gauge("quayctl_leader", help, None, u32::from(series.leader))?;
        let help = "The version that runs";
        let mut info = self.0.encode_descriptor("quayctl_build", help, None, MetricType::Info)?;
        info.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }

    fn traffic(&mut self, traffic: &Traffic) -> fmt::Result {
        let help = "Requests to the API server, by verb, resource and status code, or none for no answer";
        let mut family = self.0.encode_descriptor("quayctl_api_requests", help, None, MetricType::Counter)?;
        for (RequestKind { verb, resource, code }, count) in traffic.requests() {
            let code = code.map_or("none".to_owned(), |code| code.to_string());
            let labels = [("verb", verb), ("resource", resource), ("code", code.as_str())];
            counter(family.encode_family(&labels)?, count)?;
        }
        let help = "Calls that were repeated because the failure was one that passes";
        self.counter("quayctl_api_retries", help, None, traffic.retries())?;
        let help = "Answers by which the API server asked to slow down";
        self.counter("quayctl_api_throttled", help, None, traffic.throttled())?;
        let help = "Watches that had to list anew";
        self.counter("quayctl_watch_restarts", help, None, traffic.watch_restarts())
    }

    /// What cannot be read is left out.
    fn process(&mut self) -> fmt::Result {
        let process = process::read();
        if let Some(bytes) = process.resident_bytes {
            let help = "Resident memory";
            self.gauge("process_resident_memory", help, Some(Unit::Bytes), bytes)?;
        }
        if let Some(seconds) = process.cpu_seconds {
            self.counter("process_cpu", "User and system CPU time", Some(Unit::Seconds), seconds)?;
        }
        if let Some(count) = process.open_fds {
            self.gauge("process_open_fds", "Open file descriptors", None, count)?;
        }
        if let Some(count) = process.max_fds {
            self.gauge("process_max_fds", "File descriptors that may be open", None, count)?;
        }
        if let Some(seconds) = process.start_time_seconds {
            let help = "When the process began";
            self.gauge("process_start_time", help, Some(Unit::Seconds), seconds)?;
        }
        Ok(())
    }
}

/// One kind of metric each.
impl Page<'_> {
    fn count_by(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        series: &Series,
        counts: fn(&GroupSeries) -> &CountBy,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (group, series) in &series.groups {
            for (value, count) in counts(series) {
                counter(family.encode_family(&[("group", group.as_str()), (label, *value)])?, *count)?;
            }
        }
        Ok(())
    }

    fn group_counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        series: &Series,
        count: fn(&GroupSeries) -> u64,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (group, series) in &series.groups {
            counter(family.encode_family(&[("group", group.as_str())])?, count(series))?;
        }
        Ok(())
    }

    /// Without a value there is no series.
    fn group_gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        series: &Series,
        value: fn(&GroupSeries) -> Option<V>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (group, series) in &series.groups {
            if let Some(value) = value(series) {
                family.encode_family(&[("group", group.as_str())])?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        counter(self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?, value)
    }
}

fn counter(mut encoder: MetricEncoder<'_>, value: impl EncodeCounterValue) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn at(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_second)
}
