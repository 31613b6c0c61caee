//! Lets one of several controllers of an instance lead, by a Lease.
//!
//! `kube-lease-manager` takes the Lease and renews it. Two of its ways would let two lead at once: it
//! changes the Lease without a condition on what it has seen, and it compares another machine's clock
//! with its own. So it gets a client that mends both ([`fence`]), it is only let at a Lease that is
//! free, and a dead leader's Lease is freed here, once it has not changed for its duration by our own
//! clock ([`lease`]). What counts as leading is what the API server has answered, and how long ago.
//! Nothing here decides what a leader does, and no call is waited for longer than a few seconds.
#![expect(clippy::disallowed_methods, reason = "leadership runs out by the clock")]

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::time::Duration;

use kube_lease_manager::{LeaseCreateMode, LeaseManager, LeaseParams};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::lease::LeaseAccess;
use super::{Cluster, ClusterError};

mod fence;
mod lease;

/// The numbers of Kubernetes' own components (`LeaseDuration` 15 s, `RenewDeadline` 10 s,
/// `RetryPeriod` 2 s): others wait for the first, a leader gives up after the second.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long an answered renewal is good for, from when it was sent.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// Renewed this long before it ends, so every 5 s: with [`CALL_LIMIT`] there is time for a second try.
const RENEW_BEFORE: Duration = Duration::from_secs(10);
/// A Lease is a few hundred bytes.
const CALL_LIMIT: Duration = Duration::from_secs(2);
/// Between two looks at a Lease that another holds.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Who has not got a free Lease by then was beaten to it.
const CAMPAIGN_LIMIT: Duration = Duration::from_secs(5);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Our part in an election; whoever drops it without [`Election::release`] lets the Lease run out, as a
/// crash would.
#[derive(Debug)]
pub struct Election {
    /// Until when the Lease is surely ours.
    held: watch::Receiver<Option<Instant>>,
    /// What [`Election::changed`] has last returned; at first everybody follows.
    told: bool,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Cluster {
    /// Stands for election among the controllers of `instance` in `namespace`. `identity` says who we
    /// are to people, such as the pod's name; it need not be unique.
    pub async fn stand_for_election(
        &self,
        namespace: &str,
        instance: &str,
        identity: &str,
    ) -> Result<Election, ClusterError> {
        let lease = LeaseAccess::prepare(self, namespace, instance).await?;
        let (sender, held) = watch::channel(None);
        let stop = CancellationToken::new();
        let candidate = Candidate { lease, identity: identity.to_owned(), held: sender, stop: stop.clone() };
        Ok(Election { held, told: false, stop, task: tokio::spawn(candidate.stand()) })
    }
}

impl Election {
    /// Whether we lead at this moment: false from when the Lease could not be renewed in time, which is
    /// before another can take it.
    pub fn is_leader(&self) -> bool {
        self.held.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until we lead where we did not, or no longer where we did, and returns which. Cancel-safe.
    pub async fn changed(&mut self) -> bool {
        loop {
            let until = *self.held.borrow_and_update();
            let leads = until.is_some_and(|until| Instant::now() < until);
            if leads != self.told {
                self.told = leads;
                return leads;
            }
            tokio::select! {
                changed = self.held.changed() => if changed.is_err() {
                    // The task is gone, and with it the renewals.
                    expiry(until).await;
                },
                () = expiry(until), if leads => {}
            }
        }
    }

    /// Gives up the Lease, so that another leads at once instead of when it has run out.
    pub async fn release(mut self) {
        self.stop.cancel();
        if timeout(RELEASE_LIMIT, &mut self.task).await.is_err() {
            tracing::warn!("the lease could not be released in time; another leads when it has run out");
        }
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends with the time that the Lease is good for; never where there is none, or it has passed.
async fn expiry(until: Option<Instant>) {
    match until {
        Some(until) if Instant::now() < until => sleep_until(until).await,
        _ => std::future::pending().await,
    }
}

/// Who stands, in the background.
struct Candidate {
    lease: LeaseAccess,
    identity: String,
    held: watch::Sender<Option<Instant>>,
    stop: CancellationToken,
}

impl Candidate {
    async fn stand(self) {
        let mut former = None;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.lease.become_free(former.as_deref()) => {}
            }
            // A new one each time: a request of an earlier candidacy that is carried out late must not
            // pass for one of this.
            let name = format!("{:016x}", RandomState::new().hash_one(0));
            let identity = format!("{}_{name}", self.identity);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = self.hold(&identity, &name) => {}
            }
            self.held.send_replace(None);
            if let Err(error) = self.lease.resign(&identity).await {
                tracing::debug!(%error, "the lease could not be released");
            }
            if self.stop.is_cancelled() {
                return;
            }
            former = Some(identity);
        }
    }

    /// Takes the Lease and keeps it, until it is lost or another was faster.
    async fn hold(&self, identity: &str, name: &str) {
        let client = fence::client(&self.lease.client(), identity, self.held.clone());
        let params = LeaseParams::new(identity, LEASE_DURATION.as_secs(), RENEW_BEFORE.as_secs())
            // At most 128 characters, which a pod's name may exceed.
            .with_field_manager(format!("{}-{name}", super::apply::FIELD_MANAGER));
        let LeaseAccess { namespace, name, .. } = &self.lease;
        let mode = LeaseCreateMode::UseExistent;
        let manager = match LeaseManager::new(client, name, namespace, params, mode).await {
            Ok(manager) => manager,
            Err(error) => return tracing::debug!(%error, "the lease could not be read"),
        };
        let renew = async || match manager.changed().await {
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the lease could not be taken or renewed");
                sleep(PAUSE_AFTER_ERROR).await;
            }
        };
        let mut lost = pin!(lost(self.held.subscribe()));
        loop {
            tokio::select! {
                biased;
                () = &mut lost => return,
                () = renew() => {}
            }
        }
    }
}

/// Ends when the Lease is not ours any longer, or has not become ours in time.
async fn lost(mut held: watch::Receiver<Option<Instant>>) {
    let give_up = Instant::now() + CAMPAIGN_LIMIT;
    let mut was_held = false;
    loop {
        let until = *held.borrow_and_update();
        was_held |= until.is_some();
        let end = match until {
            Some(until) => until,
            None if was_held => return,
            None => give_up,
        };
        tokio::select! {
            biased;
            // The sender is in the same task.
            _ = held.changed() => {}
            () = sleep_until(end) => return,
        }
    }
}
