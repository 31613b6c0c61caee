//! `serve` twice, hung, killed and left without an API server.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::bed::{self, Bed, Observer};
use crate::support::serving::{Mount, Serving};

/// What one is warned of that meets Jobs of another process.
const STRANGER: &str = "another process seems to work for the same instance";

fn mount(config: &str) -> Mount {
    Mount::new(&[("quayctl.toml", config)])
}

/// Node and run of each Job of a namespace; the second is how many Jobs there are.
fn pairs(bed: &Bed, namespace: &str) -> (BTreeSet<String>, usize) {
    let jobs = bed.jobs(namespace);
    let pair = |job: &serde_json::Value| {
        format!(
            "{} {}",
            job["metadata"]["annotations"]["quayctl-controller/node"],
            job["metadata"]["labels"]["quayctl-controller/run"]
        )
    };
    (jobs.iter().map(pair).collect(), jobs.len())
}

#[test]
fn of_two_replicas_one_leads_and_the_other_takes_over_when_it_is_killed() {
    let bed = bed::shared();
    let namespace = bed.namespace("replicas");
    let config = mount(
        "concurrency = 10\n[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/runs-1s:1\"]\nschedule = \"* * * * *\"\n",
    );
    let start = |pod: &str| {
        let environment = [("POD_NAME", pod), ("POD_NAMESPACE", namespace.as_str())];
        let flags = ["--leader-elect"];
        Serving::start_with(&bed.kubeconfig(), &namespace, &config.config(), &flags, &environment)
    };
    let mut observer = Observer::start(bed, &namespace);
    let first = start("replica-1");
    first.wait_until_leading();
    let second = start("replica-2");
    observer.wait_for(bed::is_over);
    assert_eq!(second.page("/readyz"), (200, "ok, standby".to_owned()));
    assert_eq!(second.metric("quayctl_leader"), Some(0.0));
    first.signal("KILL");
    first.end();
    second.wait_until_leading();
    second.wait_for_runs("g", 1, 50);
    assert_eq!(second.count(STRANGER), 0, "{}", second.log());
    let served = second.terminate();
    assert_eq!(served.code, Some(0));
    assert!(served.took < Duration::from_secs(5), "{:?}", served.took);
    let (pairs, jobs) = pairs(bed, &namespace);
    assert_eq!(pairs.len(), jobs, "one Job for each node and run");
    // It was let go, so the next one need not wait for it to expire.
    let third = start("replica-3");
    third.wait_until_leading();
    third.terminate();
}

#[test]
fn without_an_election_a_second_process_notices_and_no_job_is_doubled() {
    let bed = bed::shared();
    let namespace = bed.namespace("twice");
    let config = mount(
        "concurrency = 4\n[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/runs-1s:1\"]\nschedule = \"* * * * *\"\n\
         overlap = \"wait\"\n",
    );
    let one = Serving::start(bed, &namespace, &config.config(), &[]);
    let two = Serving::start(bed, &namespace, &config.config(), &[]);
    one.wait_for_runs("g", 2, 50);
    two.wait_for_runs("g", 1, 50);
    let noticed = one.count(STRANGER) + two.count(STRANGER);
    assert!(noticed >= 1, "{}\n---\n{}", one.log(), two.log());
    one.terminate();
    two.terminate();
    let (pairs, jobs) = pairs(bed, &namespace);
    assert_eq!(pairs.len(), jobs, "one Job for each node and run");
}

#[test]
fn an_api_server_that_restarts_under_it_is_waited_for() {
    let bed = Bed::start(&["--nodes", "20", "--on-component-end", "restart", "--restart-after", "3s"]);
    let namespace = bed.namespace("restarted");
    let config = mount(
        "concurrency = 2\n[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/runs-1s:1\"]\n\
         [[groups]]\nname = \"timed\"\nimages = [\"quay.io/team/b:1\"]\nschedule = \"@every 10s\"\n",
    );
    let mut observer = Observer::start(&bed, &namespace);
    let serving = Serving::start(&bed, &namespace, &config.config(), &[]);
    observer.wait_for(bed::is_over);
    bed.signal("kube-apiserver", "KILL");
    serving.wait_for_runs("g", 1, 20);
    serving.wait_for_runs("timed", 1, 20);
    assert_eq!(serving.page("/readyz").0, 200);
    assert_eq!(serving.terminate().code, Some(0));
    let (pairs, jobs) = pairs(&bed, &namespace);
    assert_eq!(pairs.len(), jobs);
}

#[test]
fn it_ends_within_five_seconds_also_when_the_api_server_hangs() {
    let bed = Bed::start(&["--nodes", "10"]);
    let namespace = bed.namespace("hung");
    let config = mount("concurrency = 3\n[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/runs-3s:1\"]\n");
    let mut observer = Observer::start(&bed, &namespace);
    let serving = Serving::start(&bed, &namespace, &config.config(), &["--leader-elect"]);
    observer.wait_for(|job| job["status"]["active"] == 1);
    bed.signal("kube-apiserver", "STOP");
    let served = serving.terminate();
    bed.signal("kube-apiserver", "CONT");
    assert_eq!(served.code, Some(0), "{}", served.log);
    assert!(served.took < Duration::from_secs(5), "{:?}", served.took);
    assert!(served.log.contains("of group \"g\" handed over to the next leader"), "{}", served.log);
    let serving = Serving::start(&bed, &namespace, &config.config(), &[]);
    serving.wait_for_runs("g", 1, 10);
    serving.terminate();
    let (pairs, jobs) = pairs(&bed, &namespace);
    assert_eq!((pairs.len(), jobs), (10, 10), "the next process went on with the same run");
}

#[test]
fn nothing_of_the_credentials_is_in_the_log_at_trace_level() {
    let bed = bed::shared();
    let namespace = bed.namespace("secrets");
    let kubeconfig = std::fs::read_to_string(bed.kubeconfig()).unwrap();
    let config: serde_json::Value = serde_saphyr::from_str(&kubeconfig).unwrap();
    let token = config["users"][0]["user"]["token"].as_str().expect("the bed's users have tokens").to_owned();
    let config = mount("[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/a:1\"]\n");
    let flags = ["--log", "trace", "--log-format", "json"];
    let serving = Serving::start(bed, &namespace, &config.config(), &flags);
    serving.wait_for_runs("g", 1, 50);
    let served = serving.terminate();
    assert!(served.log.contains("\"level\":\"TRACE\""), "it is said at that level");
    assert!(!served.log.contains(&token));
    for line in served.log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
