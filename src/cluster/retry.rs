//! Repeats a call that failed for a reason that passes: a restarting API server, a dropped
//! connection, a full queue.
#![expect(clippy::disallowed_methods, reason = "patience is kept by the clock")]

use std::time::Duration;

use kube::core::Status;
use tokio::time::{Instant, sleep, timeout};

use super::error::api_status;
use super::{CALL_TIMEOUT, Cluster};

/// How long a call is repeated. An API server that is replaced is back within some 10 s, a control
/// plane that is upgraded within a minute or two.
pub const PATIENCE: Duration = Duration::from_secs(90);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Cluster {
    /// Calls `call` until it gives an answer that will not change by asking again, or patience ends.
    /// `call` may have been carried out although it seemed to fail, so it must be safe to repeat.
    pub(super) async fn patiently<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, kube::Error>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let limit = CALL_TIMEOUT.min(until.saturating_duration_since(Instant::now()));
            let error = match timeout(limit, call()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => no_answer(limit),
            };
            let wait = asked_to_wait(&error).unwrap_or(pause);
            if !passes(&error) || Instant::now() + wait >= until {
                return Err(error);
            }
            tracing::debug!(%error, ?wait, "call failed, trying again");
            self.traffic.retried();
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
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

/// `Retry-After`, which the API server repeats in its Status.
fn asked_to_wait(error: &kube::Error) -> Option<Duration> {
    let seconds = api_status(error)?.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(LONGEST_PAUSE))
}

fn no_answer(limit: Duration) -> kube::Error {
    let message = format!("no answer within {} s", limit.as_secs());
    kube::Error::Api(Status::failure(&message, "Timeout").with_code(504).boxed())
}
