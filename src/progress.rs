//! Shows a person how far a run is: a bar on a terminal, a line now and then elsewhere.

use std::collections::HashSet;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use rustix::termios::{Winsize, tcgetwinsize};

use crate::cli::GlobalArgs;
use crate::outcome::Verdict;
use crate::plan::PlannedJob;
use crate::runner::JobStep;
use crate::telemetry::stderr;
use crate::words::{counted, plural};

/// In a log one line in this time is enough to see that something moves.
const LINE_EVERY: Duration = Duration::from_secs(15);
/// Faster than this nobody reads, and a slow terminal would lag behind.
const FRAMES_PER_SECOND: u8 = 10;

/// Counts the steps of one run.
#[derive(Debug)]
pub struct Progress {
    /// `None` where nobody sees a bar.
    bar: Option<ProgressBar>,
    total: usize,
    /// Names of namespaces and Jobs: a Job that is taken over may be started twice.
    live: HashSet<(String, String)>,
    done: usize,
    failed: usize,
    last_line: Instant,
    /// Something has changed since the last line.
    has_news: bool,
}

impl Progress {
    /// Shows a bar on a terminal that can draw one; `--quiet` shows nothing but lines that went wrong.
    pub fn new(total: usize, args: &GlobalArgs, now: Instant) -> Progress {
        let has_bar = io::stderr().is_terminal() && !args.quiet && !args.terminal.is_dumb;
        let bar = has_bar.then(|| {
            let target =
                ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), FRAMES_PER_SECOND);
            ProgressBar::with_draw_target(Some(total as u64), target)
        });
        let jobs = plural(total, "Job");
        let style =
            ProgressStyle::with_template(&format!("{{bar:24}} {{pos}}/{{len}} {jobs}  {{msg}}  {{elapsed}}"));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style.progress_chars("=> "));
        }
        stderr().set_bar(bar.clone());
        let mut progress = Progress {
            bar,
            total,
            live: HashSet::new(),
            done: 0,
            failed: 0,
            last_line: now,
            has_news: false,
        };
        progress.show(now);
        progress
    }

    pub fn step(&mut self, step: &JobStep<'_>, now: Instant) {
        match step {
            JobStep::Started(job) => {
                self.live.insert(key(job));
                tracing::debug!(node = job.node.name, group = job.group.name, job = job.name, "started");
            }
            JobStep::PutBack(job) => {
                self.live.remove(&key(job));
                tracing::debug!(node = job.node.name, group = job.group.name, "waits for its turn again");
            }
            JobStep::Finished(job, outcome) => {
                self.live.remove(&key(job));
                self.done += 1;
                let (node, group) = (&job.node.name, &job.group.name);
                match &outcome.verdict {
                    Verdict::Succeeded => tracing::debug!(node, group, "succeeded"),
                    Verdict::Failed(failure) => {
                        self.failed += usize::from(!failure.reason.is_unfinished());
                        tracing::debug!(node, group, reason = failure.reason.code(), "failed");
                    }
                }
            }
        }
        self.has_news = true;
        self.show(now);
    }

    /// Time passes without a step; to be called about once a second.
    pub fn tick(&mut self, now: Instant) {
        self.show(now);
    }

    /// Takes the bar off the terminal, so that the report stands alone.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        stderr().set_bar(None);
    }

    fn show(&mut self, now: Instant) {
        let (running, failed) = (self.live.len(), self.failed);
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.done as u64);
                bar.set_message(format!("{running} running, {failed} failed"));
                bar.tick();
            }
            None if self.has_news && now.duration_since(self.last_line) >= LINE_EVERY => {
                (self.last_line, self.has_news) = (now, false);
                let (done, total) = (self.done, counted(self.total, "Job"));
                tracing::info!("{done} of {total} done, {running} running, {failed} failed");
            }
            None => {}
        }
    }
}

fn key(job: &PlannedJob) -> (String, String) {
    (job.namespace.clone(), job.name.clone())
}

/// Of the terminal behind stderr; one that does not know it is taken for the usual.
fn size() -> Winsize {
    let usual = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0).unwrap_or(usual)
}

/// The terminal behind stderr. What is drawn waits in the queue of the log, so that neither tears the
/// other, and nobody waits for a terminal that is held.
#[derive(Debug, Default)]
struct Screen {
    frame: Mutex<String>,
}

impl Screen {
    fn put(&self, draw: impl FnOnce(&mut String) -> std::fmt::Result) -> io::Result<()> {
        let mut frame = self.frame.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        draw(&mut frame).map_err(io::Error::other)
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        size().ws_col
    }

    fn height(&self) -> u16 {
        size().ws_row
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.put(|frame| if n > 0 { write!(frame, "\x1b[{n}A") } else { Ok(()) })
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.put(|frame| if n > 0 { write!(frame, "\x1b[{n}B") } else { Ok(()) })
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.put(|frame| if n > 0 { write!(frame, "\x1b[{n}C") } else { Ok(()) })
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.put(|frame| if n > 0 { write!(frame, "\x1b[{n}D") } else { Ok(()) })
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.put(|frame| writeln!(frame, "{text}"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.put(|frame| frame.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write_str("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        self.put(|frame| {
            if !frame.is_empty() {
                stderr().draw(std::mem::take(frame).into_bytes());
            }
            Ok(())
        })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a time to begin with")]
mod tests {
    use super::*;
    use crate::outcome::{Ending, Evidence, Failure, JobOutcome, Reason};
    use crate::plan::fixtures::{config, group, ready_node};
    use crate::plan::{RunId, RunIdentity, plan};

    #[test]
    fn a_job_that_is_taken_over_is_one_and_one_that_had_no_time_has_not_failed() {
        let identity = RunIdentity {
            instance: "default".into(),
            run_id: RunId::parse("r").unwrap(),
            namespace: "ns".into(),
        };
        let nodes = ["a", "b", "c"].map(ready_node).to_vec();
        let plan = plan(&config(vec![group("g")]), nodes, identity);
        let jobs: Vec<&PlannedJob> = plan.jobs().collect();
        let now = Instant::now();
        let mut progress = Progress {
            bar: None,
            total: 3,
            live: HashSet::new(),
            done: 0,
            failed: 0,
            last_line: now,
            has_news: false,
        };
        for job in [jobs[0], jobs[0], jobs[1], jobs[2]] {
            progress.step(&JobStep::Started(job), now);
        }
        assert_eq!((progress.live.len(), progress.done, progress.failed), (3, 0, 0));
        let interrupted = Evidence::unseen(1).outcome(&Ending::Interrupted);
        let failure = Failure::new(Reason::Dns, "no such host");
        let failed = JobOutcome { verdict: Verdict::Failed(failure), images: Vec::new() };
        for (job, outcome) in jobs.iter().zip([&interrupted, &interrupted, &failed]) {
            progress.step(&JobStep::Finished(job, outcome), now);
        }
        assert_eq!((progress.live.len(), progress.done, progress.failed), (0, 3, 1));
    }
}
