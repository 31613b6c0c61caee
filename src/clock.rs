//! The only place that reads both clocks at once.
#![expect(clippy::disallowed_methods, reason = "drivers bring the time to those who take it")]

use jiff::Timestamp;
use tokio::time::Instant;

use crate::now::Now;

/// As tokio's timers see it.
pub fn now() -> Now {
    Now { instant: Instant::now().into_std(), time: Timestamp::now() }
}
