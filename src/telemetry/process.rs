//! What Linux says of this process, read from `/proc` at each scrape. Whatever cannot be read is `None`:
//! other systems have no such files, and a scrape must not fail for it.
#![expect(clippy::disallowed_methods, reason = "/proc is no configuration")]

use std::{fmt, fs};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// `times` and `stat` count in these, 100 a second on every architecture that we are built for, whatever
/// the kernel's own tick is (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        let Process { resident_bytes, cpu_seconds, open_fds, max_fds, start_time_seconds } = read();
        let mut write = |name: &str, unit: Option<Unit>, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(page.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
        };
        if let Some(bytes) = resident_bytes {
            let metric = ConstGauge::new(bytes);
            write("process_resident_memory", Some(Unit::Bytes), "Resident memory", &metric)?;
        }
        if let Some(seconds) = cpu_seconds {
            let metric = ConstCounter::new(seconds);
            write("process_cpu", Some(Unit::Seconds), "User and system CPU time", &metric)?;
        }
        if let Some(count) = open_fds {
            write("process_open_fds", None, "Open file descriptors", &ConstGauge::new(count))?;
        }
        if let Some(count) = max_fds {
            write("process_max_fds", None, "File descriptors that may be open", &ConstGauge::new(count))?;
        }
        if let Some(seconds) = start_time_seconds {
            let metric = ConstGauge::new(seconds);
            write("process_start_time", Some(Unit::Seconds), "When the process began", &metric)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Process {
    resident_bytes: Option<u64>,
    /// User and system.
    cpu_seconds: Option<f64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
    start_time_seconds: Option<f64>,
}

fn read() -> Process {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let stat = text("/proc/self/stat");
    Process {
        resident_bytes: resident_bytes(&text("/proc/self/status")),
        cpu_seconds: cpu_seconds(&stat),
        // The one by which the folder is read is among them.
        open_fds: fs::read_dir("/proc/self/fd").ok().map(|open| (open.count() as u64).saturating_sub(1)),
        max_fds: max_fds(&text("/proc/self/limits")),
        start_time_seconds: start_time_seconds(&stat, &text("/proc/stat")),
    }
}

/// `VmRSS:     5184 kB`. `statm` counts in pages, whose size differs between machines.
fn resident_bytes(status: &str) -> Option<u64> {
    let kibibytes = words_after(status, "VmRSS:")?.next()?;
    kibibytes.parse::<u64>().ok()?.checked_mul(1024)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) as f64 / TICKS_PER_SECOND)
}

fn max_fds(limits: &str) -> Option<u64> {
    words_after(limits, "Max open files")?.next()?.parse().ok()
}

fn start_time_seconds(stat: &str, system: &str) -> Option<f64> {
    let booted: u64 = words_after(system, "btime")?.next()?.parse().ok()?;
    Some(booted as f64 + field(stat, 22)? as f64 / TICKS_PER_SECOND)
}

/// A field of `stat` by its number in `man proc`. The second is the program's name in brackets, which may
/// hold spaces and brackets.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, from_third) = stat.rsplit_once(") ")?;
    from_third.split_whitespace().nth(number - 3)?.parse().ok()
}

fn words_after<'a>(text: &'a str, key: &str) -> Option<impl Iterator<Item = &'a str>> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b (c) S 1 7 7 0 -1 4194560 801 0 3 0 250 50 0 0 20 0 2 0 4200 9 1296";

    #[test]
    fn fields_are_counted_after_the_name() {
        assert_eq!(cpu_seconds(STAT), Some(3.0));
        assert_eq!(start_time_seconds(STAT, "cpu 1 2\nbtime 1000\nprocesses 5\n"), Some(1042.0));
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t    5184 kB\n"), Some(5184 * 1024));
        assert_eq!(max_fds("Max open files            1024                 524288    files \n"), Some(1024));
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        for text in ["", "7 (a", "7 (a) S", "btime x\nVmRSS:\nMax open files unlimited x"] {
            assert_eq!((cpu_seconds(text), start_time_seconds(STAT, text)), (None, None), "{text}");
            assert_eq!((resident_bytes(text), max_fds(text)), (None, None), "{text}");
        }
    }

    #[test]
    fn this_process_is_read() {
        let Process { resident_bytes, cpu_seconds, open_fds, max_fds, start_time_seconds } = read();
        assert!(resident_bytes.unwrap() > 1 << 20);
        assert!(cpu_seconds.is_some());
        assert!(open_fds.unwrap() >= 3 && open_fds < max_fds);
        let age = jiff::Timestamp::now().as_second() as f64 - start_time_seconds.unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
