//! Pull secrets, and who may use what they have pulled (KEP-2535, on by default since Kubernetes 1.35).
//!
//! Two of the kubelets have the default policy, NeverVerifyPreloadedImages, and the second node's has
//! AlwaysVerify. They differ only in images that no kubelet has pulled.

use crate::scenario::Scenario;
use crate::site::{NEW, REAL};
use crate::support::ended;

const DEADLINE: &str = "deadline = \"90s\"";
const WITH_SECRET: &str = "deadline = \"90s\"\npull_secrets = [\"robot\"]";

fn private(name: &str, auth: &str) -> Scenario {
    Scenario::with_face(name, &["--auth", auth, "--user", "robot", "--password", "right"])
}

impl Scenario {
    /// Makes a pull secret for the face.
    #[track_caller]
    fn secret(&self, name: &str, password: &str) {
        let (server, password) =
            (format!("--docker-server={}", self.face.host), format!("--docker-password={password}"));
        let args = ["create", "secret", "docker-registry", name, "-n", &self.namespace];
        let args = [&args[..], &[&server, "--docker-username=robot", &password]].concat();
        ended(&mut self.site.bed.kubectl(&args)).expect_code(0);
    }

    /// A workload with these secrets does not get the image: what the kubelet says of it.
    #[track_caller]
    fn refused(&self, node: &str, image: &str, name: &str, secrets: &[&str]) -> String {
        self.site.start_workload(&self.namespace, node, image, name, secrets);
        let pod = ["get", "pod", name, "-n", &self.namespace];
        self.site.eventually("the kubelet refuses it", || {
            let pod = self.site.bed.get(&pod);
            let state = &pod["status"]["containerStatuses"][0]["state"];
            assert!(state["running"].is_null(), "it runs: {pod}");
            let waiting = &state["waiting"];
            let is_pull = waiting["reason"].as_str().is_some_and(|reason| reason.contains("ImagePull"));
            if is_pull {
                return waiting["message"].as_str().map(str::to_owned);
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
            None
        })
    }
}

/// The registry is stopped: whoever starts does so with what is there.
#[test]
fn with_the_secret_and_afterwards_only_who_has_its_credentials() {
    let scenario = private("secret-basic", "basic");
    scenario.secret("robot", "right");
    scenario.secret("same-credentials", "right");
    scenario.secret("other-credentials", "other");
    let image = scenario.push("secret-basic/app:1", &[]);
    let report = scenario.run(REAL, &[&image], WITH_SECRET);
    scenario.all_held(&report, REAL);
    scenario.face.stop();
    for secret in ["robot", "same-credentials"] {
        for name in REAL {
            let workload = format!("{secret}-{name}");
            scenario.site.start_workload(&scenario.namespace, name, &image, &workload, &[secret]);
        }
        for name in REAL {
            let said = scenario.site.running_workload(&scenario.namespace, &format!("{secret}-{name}"));
            assert!(said.contains("already present on machine"), "{name}, {secret}: {said}");
        }
    }
    for name in NEW {
        for secrets in [&[][..], &["other-credentials"]] {
            let workload = format!("refused-{}-{name}", secrets.len());
            let said = scenario.refused(name, &image, &workload, secrets);
            assert!(said.contains("connection refused"), "{name}, {secrets:?}: {said}");
        }
    }
}

#[test]
fn with_the_secret_for_a_token() {
    let scenario = private("secret-token", "token");
    scenario.secret("robot", "right");
    let image = scenario.push("secret-token/app:1", &["--size", "100kB"]);
    let report = scenario.run(REAL, &[&image], WITH_SECRET);
    scenario.all_held(&report, REAL);
}

#[test]
fn without_a_secret() {
    for auth in ["basic", "token"] {
        let mut scenario = private(&format!("denied-{auth}"), auth);
        let image = scenario.push("denied/app:1", &[]);
        let report = scenario.run(REAL, &[&image], DEADLINE);
        scenario.all_failed(&report, REAL, "unauthorized", "");
        scenario.record(Some("unauthorized"), true);
    }
}

#[test]
fn with_a_wrong_secret() {
    for auth in ["basic", "token"] {
        let mut scenario = private(&format!("wrong-{auth}"), auth);
        scenario.secret("robot", "wrong");
        let image = scenario.push("wrong/app:1", &[]);
        let report = scenario.run(REAL, &[&image], WITH_SECRET);
        scenario.all_failed(&report, REAL, "unauthorized", "401 Unauthorized");
        scenario.record(Some("unauthorized"), true);
    }
}

#[test]
fn with_a_secret_that_is_not_there() {
    let mut scenario = private("absent-secret", "basic");
    let image = scenario.push("absent/app:1", &[]);
    let report = scenario.run(REAL, &[&image], WITH_SECRET);
    scenario.all_failed(&report, REAL, "pull-secret-missing", "cannot retrieve the pull secrets robot");
    scenario.record(Some("unauthorized"), true);
}

/// What neither kubelet has pulled: the default trusts it, AlwaysVerify asks for credentials that open
/// the registry. A pull of ours is no such image, under either policy.
#[test]
fn an_image_that_came_with_the_node() {
    let scenario = private("preloaded", "basic");
    let image = scenario.push("preloaded/app:1", &[]);
    for name in NEW {
        let args = ["images", "pull", "--plain-http", "--user", "robot:right", &image];
        ended(&mut scenario.site.containerd(name, &args)).expect_code(0);
    }
    let report = scenario.run(&NEW[..1], &[&image], DEADLINE);
    assert_eq!(report["groups"][0]["nodes"][0]["images"][0]["state"], "present", "{report}");
    let report = scenario.run(&NEW[1..], &[&image], DEADLINE);
    let verifying = &report["groups"][0]["nodes"][0];
    assert_eq!(
        (&verifying["verdict"], &verifying["reason"]),
        (&"failed".into(), &"unauthorized".into()),
        "{verifying}"
    );
}
