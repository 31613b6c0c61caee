//! `deploy/` and `deploy/serve` as they are shipped, applied with kustomize to a cluster of their own: our image
//! from our registry, its pods on real nodes, with no rights but those of the manifests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::site::{Site, own};
use crate::support::{ended, root};

/// The placeholder that whoever installs us replaces.
const PLACEHOLDER: &str = "    newTag: ";

/// An installation of one of the kustomizations below `deploy/`.
pub struct Installed {
    pub site: Site,
    namespace: &'static str,
    /// Which of them.
    path: &'static str,
    copy: tempfile::TempDir,
}

impl Installed {
    /// A cluster of one real node with `deploy/` in it.
    pub fn cron_job(config: impl FnOnce(&Site) -> String) -> Installed {
        let site = own(&["--real-nodes", "1"]);
        let config = config(&site);
        Installed::apply(site, "deploy", "image-pulls", &config)
    }

    /// Applies a copy of the manifests with our image's reference and a config of its own.
    pub fn apply(site: Site, path: &'static str, namespace: &'static str, config: &str) -> Installed {
        let copy = tempfile::tempdir().expect("a temporary folder");
        for folder in ["deploy", "config"] {
            let mut copying = std::process::Command::new("cp");
            ended(copying.arg("-R").arg(root().join(folder)).arg(copy.path())).expect_code(0);
        }
        let file = copy.path().join(path).join("kustomization.yaml");
        let text = std::fs::read_to_string(&file).expect("a kustomization");
        let (name, tag) = site.bed.carrier.rsplit_once(':').expect("a reference with a tag");
        let before = text.lines().find(|line| line.starts_with(PLACEHOLDER)).expect("the placeholder's tag");
        let after = text.replace(before, &format!("    newName: {name}\n{PLACEHOLDER}{tag}"));
        std::fs::write(&file, after).expect("it is written");
        let installed = Installed { site, namespace, path, copy };
        installed.configure(config);
        installed
    }

    /// The config's file in the copy of the checkout.
    fn config_file(&self) -> PathBuf {
        self.copy.path().join("config/quayctl.toml")
    }

    /// Applies it again with another config.
    #[track_caller]
    pub fn configure(&self, config: &str) {
        std::fs::write(self.config_file(), config).expect("it is written");
        let folder = self.copy.path().join(self.path);
        ended(&mut self.site.bed.kubectl(&["apply", "-k", folder.to_str().expect("UTF-8")])).expect_code(0);
    }

    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        ended(&mut self.site.bed.kubectl(&[args, &["-n", self.namespace]].concat())).expect_code(0).stdout
    }

    #[track_caller]
    pub fn get(&self, args: &[&str]) -> Value {
        self.site.bed.get(&[&["get"], args, &["-n", self.namespace]].concat())
    }

    /// The Jobs that put images on nodes.
    #[track_caller]
    pub fn pulls(&self) -> Vec<Value> {
        self.site.bed.jobs(self.namespace)
    }

    /// Starts the CronJob's Job at once, and gives its uid.
    #[track_caller]
    fn begin(&self, name: &str) -> String {
        self.kubectl(&["create", "job", name, "--from=cronjob/quayctl-controller"]);
        self.get(&["job", name])["metadata"]["uid"].as_str().expect("a uid").to_owned()
    }

    /// The pods of the controller itself that a selector finds, the oldest first.
    #[track_caller]
    pub fn pods(&self, selector: &str) -> Vec<Value> {
        let mut pods = self.get(&["pods", "-l", selector])["items"].as_array().expect("a list").clone();
        pods.sort_by_key(|pod| pod["metadata"]["creationTimestamp"].as_str().map(str::to_owned));
        pods
    }

    /// Waits for the condition of a Job of ours, and gives it.
    #[track_caller]
    fn over(&self, name: &str, condition: &str) -> Value {
        let condition_of = format!("--for=condition={condition}");
        self.kubectl(&["wait", &format!("job/{name}"), &condition_of, "--timeout=180s"]);
        let job = self.get(&["job", name]);
        let conditions = job["status"]["conditions"].as_array().expect("conditions");
        conditions.iter().find(|c| c["type"] == condition).expect("it is there").clone()
    }

    /// What the API server let the installation's service account do, as `verb resource`.
    #[track_caller]
    pub fn requests(&self) -> BTreeSet<String> {
        let user = format!("system:serviceaccount:{}:quayctl-controller", self.namespace);
        let log = std::fs::read_to_string(self.site.bed.audit_log()).expect("an audit log");
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_ours = events.filter(|event| event["user"]["username"] == *user);
        let words = of_ours.map(|event| {
            let (verb, about) = (&event["verb"], &event["objectRef"]);
            let place = |what: &str| about[what].as_str().unwrap_or_default().to_owned();
            match (place("resource").as_str(), place("apiGroup").as_str()) {
                ("", _) => format!("{} {}", verb.as_str().unwrap_or_default(), event["requestURI"]),
                (resource, "") => format!("{} {resource}", verb.as_str().unwrap_or_default()),
                (resource, group) => format!("{} {resource}.{group}", verb.as_str().unwrap_or_default()),
            }
        });
        words.collect()
    }

    /// A file of the memory cgroup of the controller's container, while it runs.
    fn cgroup_file(pod: &Value, name: &str, unified: &str) -> Option<PathBuf> {
        let uid = pod["metadata"]["uid"].as_str()?;
        let status = pod["status"]["containerStatuses"].as_array()?.first()?;
        let id = status["containerID"].as_str()?.rsplit('/').next()?;
        let below = |hierarchy: &Path, file: &str| {
            let nodes = std::fs::read_dir(hierarchy).ok()?.flatten();
            let found =
                nodes.map(|node| node.path().join(format!("kubepods/burstable/pod{uid}/{id}/{file}")));
            found.into_iter().find(|path| path.exists())
        };
        below(Path::new("/sys/fs/cgroup/memory"), name)
            .or_else(|| below(Path::new("/sys/fs/cgroup"), unified))
    }

    /// The most memory that a running container of the controller's has had, in bytes.
    pub fn peak_bytes(pod: &Value) -> Option<u64> {
        let file = Installed::cgroup_file(pod, "memory.max_usage_in_bytes", "memory.peak")?;
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// Ends the process in a running container, as the kernel does where memory is short.
    fn kill(pod: &Value) -> Option<()> {
        let file = Installed::cgroup_file(pod, "cgroup.procs", "cgroup.procs")?;
        let process = std::fs::read_to_string(file).ok()?.lines().next()?.to_owned();
        ended(std::process::Command::new("kill").args(["-KILL", &process])).expect_code(0);
        Some(())
    }
}

/// The bounds of what a pod of ours takes.
pub const PEAK_BYTES_MAX: u64 = 16_000_000;

fn of_job(name: &str) -> String {
    format!("batch.kubernetes.io/job-name={name}")
}

fn ended_with(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]["terminated"]
}

fn one_group(images: &[String]) -> String {
    crate::site::group(images, "deadline = \"2m\"")
}

#[test]
fn the_cron_jobs_pod_does_a_run_with_its_rights_and_one_that_is_killed_is_continued() {
    let (mut slow, mut image) = (None, String::new());
    let installed = Installed::cron_job(|site| {
        let face = site.registry.face("slow", &[]);
        site.registry.push("slow/app:1", &["--size", "20MB"]);
        face.throttle(1_000_000);
        image = face.image("slow/app:1");
        slow = Some(face);
        one_group(std::slice::from_ref(&image))
    });
    let site = &installed.site;
    let slow = slow.expect("it was made");

    let uid = installed.begin("first");
    let mut peak = None;
    site.eventually("the pull has begun", || (slow.active() > 0).then_some(()));
    let killed = site.eventually("its pod runs", || {
        let pod = installed.pods(&of_job("first")).pop()?;
        peak = Installed::peak_bytes(&pod);
        Installed::kill(&pod).map(|()| pod)
    });
    let second = site.eventually("another pod runs", || {
        let pod = installed
            .pods(&of_job("first"))
            .into_iter()
            .find(|pod| pod["metadata"]["uid"] != killed["metadata"]["uid"])?;
        let bytes = Installed::peak_bytes(&pod);
        peak = peak.max(bytes);
        (!ended_with(&pod).is_null()).then_some(pod)
    });
    installed.over("first", "Complete");

    let [pull] = &installed.pulls()[..] else { panic!("one Job: {:?}", installed.pulls()) };
    assert_eq!(pull["metadata"]["labels"]["quayctl-controller/run"], *uid, "the run is named by its Job");
    assert!(site.held("real-001").contains(&image), "{:?}", site.held("real-001"));
    let status = &installed.get(&["job", "first"])["status"];
    assert_eq!((status["failed"].as_u64(), status["succeeded"].as_u64()), (Some(1), Some(1)), "{status}");
    assert_eq!(ended_with(&second)["exitCode"], 0, "{second}");
    let message = ended_with(&second)["message"].as_str().expect("a termination message");
    let message: Value = serde_json::from_str(message).expect("it is one line of JSON");
    assert_eq!(message["runId"], *uid, "{message}");
    assert_eq!(message["counts"]["succeeded"], 1, "{message}");

    let granted = [
        "list nodes",
        "get nodes",
        "create jobs.batch",
        "get jobs.batch",
        "list jobs.batch",
        "watch jobs.batch",
        "patch jobs.batch",
        "list pods",
        "watch pods",
        "list events",
        "watch events",
        "create events.events.k8s.io",
        "get \"/version\"",
    ];
    let granted: BTreeSet<String> = granted.map(str::to_owned).into();
    let asked = installed.requests();
    assert!(asked.len() > 5 && asked.is_subset(&granted), "{asked:?}");
    let peak = peak.expect("its cgroup was read");
    eprintln!("the CronJob's pod had {peak} bytes of memory at most");
    assert!(peak <= PEAK_BYTES_MAX, "{peak}");
}

#[test]
fn the_exit_code_of_a_run_becomes_its_jobs_status() {
    let installed =
        Installed::cron_job(|site| one_group(&[site.registry.face("codes", &[]).image("codes/missing:1")]));
    let code = |name: &str| {
        let pods = installed.pods(&of_job(name));
        assert_eq!(pods.len(), 1, "it is not tried again: {pods:?}");
        ended_with(&pods[0])["exitCode"].as_i64()
    };

    installed.begin("failing");
    let failed = installed.over("failing", "Failed");
    assert_eq!((failed["reason"].as_str(), code("failing")), (Some("PodFailurePolicy"), Some(1)), "{failed}");
    let message = installed.pods(&of_job("failing"))[0]["status"]["containerStatuses"][0].to_string();
    assert!(message.contains("image-not-found"), "{message}");

    installed.configure("groups = 1\n");
    installed.begin("wrong");
    let failed = installed.over("wrong", "Failed");
    assert_eq!((failed["reason"].as_str(), code("wrong")), (Some("PodFailurePolicy"), Some(2)), "{failed}");

    // Without a right it is another thing: that may come back.
    let site = &installed.site;
    let present = site.registry.face("there", &[]);
    site.registry.push("there/app:1", &[]);
    installed.configure(&one_group(&[present.image("there/app:1")]));
    let rights = "clusterrolebinding/quayctl-controller";
    installed.kubectl(&["delete", rights]);
    let uid = installed.begin("refused");
    site.eventually("it ends with 3", || {
        let pods = installed.pods(&of_job("refused"));
        pods.iter().any(|pod| ended_with(pod)["exitCode"] == 3).then_some(())
    });
    installed.configure(&one_group(&[present.image("there/app:1")]));
    installed.over("refused", "Complete");
    let pulls = installed.pulls();
    let of_run = pulls.iter().filter(|job| job["metadata"]["labels"]["quayctl-controller/run"] == *uid);
    assert_eq!(of_run.count(), 1, "{pulls:?}");
}
