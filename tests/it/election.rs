//! One of several controllers leads, whatever becomes of the others, the API server or the Lease.
//!
//! Through the library: the claim is about moments, and those are the election's own to tell.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quayctl_controller::cluster::{Cluster, ConnectOptions, Leadership};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::bed::{Bed, program, shared};
use crate::support::ended;

/// The lease's duration, and two looks at it.
const TAKEN_OVER: Duration = Duration::from_secs(15 + 5 + 2);
/// A leader that cannot renew gives up after that.
const GIVEN_UP: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::from_secs(4);

async fn connect(bed: &Bed) -> Cluster {
    let options = ConnectOptions { kubeconfig: Some(bed.kubeconfig()), ..ConnectOptions::default() };
    Cluster::connect(&options).await.expect("it answers")
}

async fn stand(bed: &Bed, namespace: &str, who: &str) -> Leadership {
    connect(bed).await.elect_leader(namespace, "default", who).await.expect("it stands")
}

#[track_caller]
fn lease(bed: &Bed, namespace: &str) -> Value {
    bed.get(&["get", "lease", "quayctl-controller-default", "-n", namespace])
}

#[track_caller]
fn patch_lease(bed: &Bed, namespace: &str, spec: &Value) {
    let patch = json!({ "spec": spec }).to_string();
    let args =
        ["patch", "lease", "quayctl-controller-default", "-n", namespace, "--type=merge", "-p", &patch];
    ended(&mut bed.kubectl(&args)).expect_code(0);
}

/// Waits until `election` leads.
async fn leads_within(election: &mut Leadership, limit: Duration) -> Duration {
    let begun = Instant::now();
    let led = timeout(limit, async { while !election.changed().await {} }).await;
    assert!(led.is_ok() && election.is_leader(), "no leader within {limit:?}");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_leads_and_its_release_lets_the_other_lead_at_once() {
    let bed = shared();
    let namespace = bed.namespace("election");
    let (leading, following) = (connect(bed).await, connect(bed).await);
    let mut first = leading.elect_leader(&namespace, "default", "first").await.unwrap();
    leads_within(&mut first, AT_ONCE).await;
    let mut second = following.elect_leader(&namespace, "default", "second").await.unwrap();
    let found = lease(bed, &namespace);
    assert!(found["spec"]["holderIdentity"].as_str().unwrap().starts_with("first_"), "{found}");
    assert_eq!(found["spec"]["leaseDurationSeconds"], 15);
    assert_eq!(found["metadata"]["labels"]["app.kubernetes.io/instance"], "default");

    let requests =
        |cluster: &Cluster| -> u64 { cluster.request_metrics().requests().iter().map(|(_, n)| n).sum() };
    let before = (requests(&leading), requests(&following));
    // Longer than a lease lasts that is not renewed.
    let changed = timeout(Duration::from_secs(17), async {
        tokio::select! { state = first.changed() => state, state = second.changed() => state }
    });
    assert!(changed.await.is_err() && first.is_leader() && !second.is_leader(), "the first one goes on");
    let cost = (requests(&leading) - before.0, requests(&following) - before.1);
    println!("in 17 s the leader has sent {} requests, the other {}", cost.0, cost.1);
    assert!(cost.0 <= 4 && cost.1 <= 9, "one for each renewal, one for each look: {cost:?}");

    let begun = Instant::now();
    first.release().await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    let took = leads_within(&mut second, AT_ONCE).await;
    println!("led {took:?} after the release");
    let found = lease(bed, &namespace);
    assert!(found["spec"]["holderIdentity"].as_str().unwrap().starts_with("second_"), "{found}");
    second.release().await;
    let spec = &lease(bed, &namespace)["spec"];
    assert!(spec["holderIdentity"].is_null() && spec["renewTime"].is_null(), "{spec}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_is_followed_when_its_lease_has_run_out() {
    let bed = shared();
    let namespace = bed.namespace("election");
    let mut first = stand(bed, &namespace, "first").await;
    leads_within(&mut first, AT_ONCE).await;
    let mut second = stand(bed, &namespace, "second").await;
    sleep(Duration::from_secs(7)).await;
    drop(first);
    let took = leads_within(&mut second, TAKEN_OVER).await;
    println!("led {took:?} after the death");
    assert!(took >= GIVEN_UP, "a leader that only cannot be heard has this long: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_lease_was_given_away_says_so_at_its_next_renewal() {
    let bed = shared();
    let namespace = bed.namespace("election");
    let mut ours = stand(bed, &namespace, "ours").await;
    leads_within(&mut ours, AT_ONCE).await;
    patch_lease(bed, &namespace, &json!({"holderIdentity": "thief"}));
    let led = timeout(Duration::from_secs(6), ours.changed()).await;
    assert_eq!(led, Ok(false));
    assert_eq!(lease(bed, &namespace)["spec"]["holderIdentity"], "thief", "and takes nothing back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_holders_clock_shows_decides_nothing() {
    tokio::join!(holder_with_a_clock_off_by(-1), holder_with_a_clock_off_by(1));
}

async fn holder_with_a_clock_off_by(hours: i64) {
    let bed = shared();
    let namespace = bed.namespace("election");
    let there = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "quayctl-controller-default", "namespace": namespace},
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), there.to_string()).unwrap();
    ended(&mut bed.kubectl(&["create", "-f", file.path().to_str().unwrap()])).expect_code(0);
    let renew = || {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        let renewed = json!({
            "holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": format!("{time:.6}"),
        });
        patch_lease(bed, &namespace, &renewed);
    };
    renew();
    let mut ours = stand(bed, &namespace, "ours").await;
    // Renewed in time, as one would who renews every 5 s.
    for _ in 0..4 {
        assert!(timeout(Duration::from_secs(5), ours.changed()).await.is_err(), "{hours} h");
        renew();
    }
    assert!(!ours.is_leader());
    let took = leads_within(&mut ours, TAKEN_OVER).await;
    println!("with a clock {hours} h off: led {took:?} after the last renewal");
    assert!(took >= Duration::from_secs(14), "{took:?}");
}

/// A kube-scheduler that stands for election on our Lease, by client-go. It would schedule pods that ask for it,
/// of which there are none.
struct ClientGo(Child);

impl ClientGo {
    fn start(bed: &Bed, namespace: &str) -> (ClientGo, tempfile::NamedTempFile) {
        let config = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
            "leaderElection": {
                "leaderElect": true, "resourceLock": "leases",
                "resourceNamespace": namespace, "resourceName": "quayctl-controller-default",
            },
            "clientConnection": {"kubeconfig": bed.kubeconfig()},
            "profiles": [{"schedulerName": "of-nobody"}],
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config.to_string()).unwrap();
        let mut command = Command::new(program("kube-scheduler"));
        command.arg("--config").arg(file.path()).arg("--secure-port=0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        (ClientGo(command.spawn().expect("it starts")), file)
    }
}

impl Drop for ClientGo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_go_and_we_take_turns_on_one_lease() {
    let bed = shared();
    let namespace = bed.namespace("election");
    let mut ours = stand(bed, &namespace, "ours").await;
    leads_within(&mut ours, AT_ONCE).await;
    let transitions = || lease(bed, &namespace)["spec"]["leaseTransitions"].as_i64().unwrap();
    let before = transitions();
    let (client_go, _config) = ClientGo::start(bed, &namespace);
    assert!(timeout(Duration::from_secs(17), ours.changed()).await.is_err(), "it waits");
    ours.release().await;
    let holder = || lease(bed, &namespace)["spec"]["holderIdentity"].as_str().map(str::to_owned);
    let taken = timeout(Duration::from_secs(15), async {
        while holder().is_none() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(taken.await.is_ok(), "client-go does not take what was released: {}", lease(bed, &namespace));
    assert!(!holder().unwrap().starts_with("ours_"));
    assert_eq!(transitions(), before + 1);

    let mut ours = stand(bed, &namespace, "ours").await;
    assert!(timeout(Duration::from_secs(17), ours.changed()).await.is_err(), "we wait");
    drop(client_go);
    let took = leads_within(&mut ours, TAKEN_OVER).await;
    println!("led {took:?} after client-go's death");
    assert!(took >= GIVEN_UP, "{took:?}");
    assert_eq!(transitions(), before + 2);
}

/// Looks every few milliseconds whether two lead, and counts.
struct Referee {
    over: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<()>,
}

impl Referee {
    fn over(elections: Arc<Vec<Leadership>>) -> Referee {
        let (over, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (done, found) = (over.clone(), most.clone());
        let thread = std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let leaders = elections.iter().filter(|election| election.is_leader()).count();
                found.fetch_max(leaders, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Referee { over, most, thread }
    }

    fn most_leaders(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.most.load(Ordering::Relaxed)
    }
}

async fn some_leader(elections: &[Leadership], limit: Duration) -> Duration {
    let begun = Instant::now();
    let waited = timeout(limit, async {
        while !elections.iter().any(Leadership::is_leader) {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "nobody leads within {limit:?}");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_never_lead_while_the_api_server_hangs_and_comes_back() {
    let bed = Bed::start(&["--nodes", "1"]);
    let namespace = bed.namespace("election");
    let mut elections = Vec::new();
    for who in ["a", "b", "c"] {
        elections.push(stand(&bed, &namespace, who).await);
    }
    let elections = Arc::new(elections);
    let referee = Referee::over(elections.clone());
    some_leader(&elections, AT_ONCE).await;
    // Shorter than a leader's patience, between that and the lease's end, about that end, beyond it.
    for seconds in [4, 12, 16, 21] {
        let begun = Instant::now();
        bed.signal("kube-apiserver", "STOP");
        if Duration::from_secs(seconds) > GIVEN_UP + Duration::from_secs(1) {
            sleep(GIVEN_UP + Duration::from_millis(200)).await;
            assert!(!elections.iter().any(Leadership::is_leader), "it cannot renew, so it leads no longer");
        }
        sleep(Duration::from_secs(seconds).saturating_sub(begun.elapsed())).await;
        bed.signal("kube-apiserver", "CONT");
        let took = some_leader(&elections, TAKEN_OVER).await;
        println!("hung for {seconds} s: somebody led {took:?} later");
    }
    let deleted = ["delete", "lease", "quayctl-controller-default", "-n", &namespace];
    ended(&mut bed.kubectl(&deleted)).expect_code(0);
    // By then the leader has tried to renew it.
    sleep(Duration::from_secs(6)).await;
    some_leader(&elections, TAKEN_OVER).await;
    assert_eq!(referee.most_leaders(), 1);
}
