//! Repeats what failed for a reason that passes: a restarting API server, a dropped connection, a full
//! queue. Calls and watches follow the same rules.
//!
//! An API server that has just started refuses everybody (401, 403) until it has loaded its service
//! accounts and its RBAC. So one such answer says nothing, and is believed only once it has been
//! repeated for [`REFUSAL_TIMEOUT`].
#![expect(clippy::disallowed_methods, reason = "retries are timed by the clock")]

use std::io;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::runtime::watcher::{self, Event};
use tokio::time::{Instant, sleep, timeout};

use super::error::{api_status, describe, is_unanswered};
use super::refusal::is_access_refused;
use super::request_metrics::RequestMetrics;
use super::{CALL_TIMEOUT, Cluster};
use crate::runner::RETRY_TIMEOUT;

/// How long 401 and 403 are not believed. An API server under load has loaded its RBAC some 10 s after
/// its first answer.
pub const REFUSAL_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Whoever is refused for a moment only goes on soon after.
const LONGEST_PAUSE_WHEN_REFUSED: Duration = Duration::from_secs(2);
/// Of a watch that has been down for longer than [`RETRY_TIMEOUT`]: as kube and client-go have it.
const LONGEST_PAUSE_OF_WATCH: Duration = Duration::from_secs(30);
/// A watch that lasted for this long before it failed was one that worked.
const WORKING_WATCH: Duration = Duration::from_secs(10);
/// A last try after a long wait that the server asked for.
const LAST_TRY: Duration = Duration::from_secs(1);
/// By how much a pause is stretched at most, so that those who were turned away together do not come
/// back together. Never shortened: a server that asks for a second means it.
const JITTER: f64 = 0.2;

/// How long a call goes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Where the server asks to come back later, or fails.
    pub failing: Duration,
    /// Where there is no answer.
    pub unreachable: Duration,
    /// One try.
    pub call: Duration,
}

const OF_CALLS: Limits = Limits { failing: RETRY_TIMEOUT, unreachable: RETRY_TIMEOUT, call: CALL_TIMEOUT };

impl Cluster {
    /// Calls `call` until it gives an answer that will not change by asking again, or patience ends.
    /// `call` may have been carried out although it seemed to fail, so it must be safe to repeat.
    pub(super) async fn patiently<T, F>(&self, call: impl FnMut() -> F) -> Result<T, kube::Error>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        with_retries(&self.traffic, OF_CALLS, call).await
    }
}

/// Calls `call` within `limits`.
pub async fn with_retries<T, F>(
    traffic: &RequestMetrics,
    limits: Limits,
    mut call: impl FnMut() -> F,
) -> Result<T, kube::Error>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut retries = Retries::new(limits, Instant::now());
    let mut answered = None;
    loop {
        let limit = retries.call_limit(Instant::now());
        let error = match timeout(limit, call()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => no_answer(limit),
        };
        let now = Instant::now();
        let Some(pause) = retries.pause_after(&error, now, fastrand::f64()) else {
            return Err(believed(error, answered));
        };
        tracing::debug!(%error, ?pause, "call failed, trying again");
        traffic.retried();
        if let Some(status) = api_status(&error) {
            traffic.try_again_after(format!("{}: {}", status.code, describe(&error)), now.into_std());
            answered = Some(error);
        }
        sleep(pause).await;
    }
}

/// What is said of a call that failed for good. An answer is one: what it said is told, also where there was
/// none to the last try.
fn believed(error: kube::Error, answered: Option<kube::Error>) -> kube::Error {
    match answered {
        Some(answer) if is_unanswered(&error) => answer,
        _ => error,
    }
}

/// What is known of a call that fails, and when it is tried again. Pure: whoever asks brings `now`.
#[derive(Debug)]
struct Retries {
    limits: Limits,
    begun: Instant,
    /// Since when every answer was 401 or 403.
    refused_since: Option<Instant>,
    pause: Duration,
}

impl Retries {
    fn new(limits: Limits, now: Instant) -> Retries {
        Retries { limits, begun: now, refused_since: None, pause: FIRST_PAUSE }
    }

    fn call_limit(&self, now: Instant) -> Duration {
        let left = (self.begun + self.limits.failing).saturating_duration_since(now);
        // Whoever is refused has a time of its own.
        self.limits.call.min(left.max(LAST_TRY))
    }

    /// How long to wait before the next try; `None` where `error` is to be believed. `random` is in 0..1.
    fn pause_after(&mut self, error: &kube::Error, now: Instant, random: f64) -> Option<Duration> {
        if api_status(error).is_some_and(is_access_refused) {
            let since = *self.refused_since.get_or_insert(now);
            let left = (since + REFUSAL_TIMEOUT).saturating_duration_since(now);
            let pause = jittered(self.pause.min(LONGEST_PAUSE_WHEN_REFUSED), random);
            self.grow();
            return (!left.is_zero()).then(|| pause.min(left));
        }
        self.refused_since = None;
        let limit = if api_status(error).is_some() { self.limits.failing } else { self.limits.unreachable };
        let left = (self.begun + limit).saturating_duration_since(now);
        if !passes(error) || left <= LAST_TRY {
            return None;
        }
        let pause = jittered(asked_to_wait(error).unwrap_or(self.pause.min(LONGEST_PAUSE)), random);
        self.grow();
        Some(pause.min(left - LAST_TRY))
    }

    fn grow(&mut self) {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE_OF_WATCH);
    }
}

/// A watch that is back by then has not kept anybody waiting; and others of the same server, which break one
/// after the other, are down by then, so that it is said once.
const LASTING_OUTAGE: Duration = Duration::from_secs(2);

/// An error of a watch.
#[derive(Debug)]
pub struct WatchFailure {
    pub error: watcher::Error,
    /// It has gone on for [`LASTING_OUTAGE`].
    pub is_lasting: bool,
    /// 401 or 403, for so long that it is the truth.
    pub is_refused: bool,
}

/// The events of a watcher, which goes on for ever: where it fails the next try waits, as long as the
/// server asks for. A watch whose place in history is gone (410) begins anew: kube's watcher does so only
/// where the server says it within the watch, and else repeats the same question for ever.
pub fn with_watch_retries<K, S>(
    watcher: impl Fn() -> S + Send + 'static,
) -> impl Stream<Item = Result<Event<K>, WatchFailure>> + Send
where
    K: Send + 'static,
    S: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
{
    let stream = watcher().boxed();
    let state = (watcher, stream, Outage::new(Instant::now()), None);
    stream::unfold(state, |(watcher, mut stream, mut outage, pause)| async move {
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        let item = match stream.next().await? {
            Ok(event) => {
                // `Init` is said before anything is asked.
                if !matches!(event, Event::Init) {
                    outage = Outage::new(Instant::now());
                }
                return Some((Ok(event), (watcher, stream, outage, None)));
            }
            Err(error) => error,
        };
        if is_expired(&item) {
            stream = watcher().boxed();
        }
        let now = Instant::now();
        let (pause, is_refused) = outage.next(cause(&item), now, fastrand::f64());
        let is_lasting = now.saturating_duration_since(outage.begun) >= LASTING_OUTAGE;
        tracing::debug!(error = %item, ?pause, "a watch failed, trying again");
        let failure = WatchFailure { error: item, is_lasting, is_refused };
        Some((Err(failure), (watcher, stream, outage, Some(pause))))
    })
}

/// A watch that is down, and when it is tried again. Pure: whoever asks brings `now`.
#[derive(Debug)]
struct Outage {
    begun: Instant,
    refused_since: Option<Instant>,
    /// When the last try was to begin.
    tried: Instant,
    pause: Duration,
}

impl Outage {
    fn new(now: Instant) -> Outage {
        Outage { begun: now, refused_since: None, tried: now, pause: FIRST_PAUSE }
    }

    /// The pause before the next try, and whether a refusal is to be believed by now.
    fn next(&mut self, error: Option<&kube::Error>, now: Instant, random: f64) -> (Duration, bool) {
        if now.saturating_duration_since(self.tried) >= WORKING_WATCH {
            *self = Outage::new(now);
        }
        let refused = error.and_then(api_status).is_some_and(is_access_refused);
        self.refused_since = refused.then(|| self.refused_since.unwrap_or(now));
        let refused_for = self.refused_since.map(|since| now.saturating_duration_since(since));
        let is_believed = refused_for.is_some_and(|time| time >= REFUSAL_TIMEOUT);
        let most = match refused_for {
            Some(time) if time < REFUSAL_TIMEOUT => {
                LONGEST_PAUSE_WHEN_REFUSED.min(REFUSAL_TIMEOUT - time).max(FIRST_PAUSE)
            }
            None if now.saturating_duration_since(self.begun) < RETRY_TIMEOUT => LONGEST_PAUSE,
            _ => LONGEST_PAUSE_OF_WATCH,
        };
        let asked = error.and_then(asked_to_wait).map(|asked| asked.min(RETRY_TIMEOUT));
        let pause = jittered(asked.unwrap_or(self.pause.min(most)), random);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE_OF_WATCH);
        self.tried = now + pause;
        (pause, is_believed)
    }
}

fn is_expired(error: &watcher::Error) -> bool {
    cause(error).and_then(api_status).is_some_and(|status| status.code == 410)
}

fn cause(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(error),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => None,
    }
}

/// Whether the same call may succeed later: no answer at all, an overloaded or failing server, and
/// the quota controller's optimistic lock ("please apply your changes to the latest version").
fn passes(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            matches!(status.code, 429 | 500 | 502..=504) || status.reason == "Conflict"
        }
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// How long the server asks to wait: `retryAfterSeconds` of its Status, where `error_answers` has also put
/// what the header says.
fn asked_to_wait(error: &kube::Error) -> Option<Duration> {
    let seconds = api_status(error)?.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn jittered(pause: Duration, random: f64) -> Duration {
    pause.mul_f64(1.0 + JITTER * random)
}

/// What is said of a call that has taken longer than `limit`.
pub fn no_answer(limit: Duration) -> kube::Error {
    let text = format!("no answer within {} s", limit.as_secs());
    kube::Error::Service(Box::new(io::Error::new(io::ErrorKind::TimedOut, text)))
}

#[cfg(test)]
mod tests;
