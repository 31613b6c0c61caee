//! What `check` says of the fields that a template of the user's renders is what the API server says of them.

use quayctl_controller::config_source::load::{LoadError, Sources, load};
use quayctl_controller::render::Renderer;

use crate::support::bed::{Bed, shared};
use crate::support::ended;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Taken,
    Refused,
    /// The API server would take it: why we do not.
    RefusedByUs(&'static str),
    /// And we leave that to it.
    RefusedThere,
}
use Verdict::{Refused, RefusedByUs, RefusedThere, Taken};

/// Where a case stands in the Job.
#[derive(Clone, Copy, Debug)]
enum At {
    Job,
    JobMetadata,
    PodMetadata,
    Pod,
    Volumes,
    Container,
}
use At::{Container, Job, JobMetadata, Pod, PodMetadata, Volumes};

const SENSE: &str = "nobody can mean it";
const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

const CASES: [(At, &str, Verdict); 102] = [
    (
        Container,
        "resources: { requests: { cpu: 1m, memory: 1Mi }, limits: { cpu: 1, memory: 0.5Gi } }",
        Taken,
    ),
    (Container, "resources: { requests: { cpu: \"2 m\" } }", Refused),
    (Container, "resources: { requests: { cpu: -1m } }", Refused),
    (Container, "resources: { requests: { cpu: -1 } }", Refused),
    (Container, "resources: { limits: { memory: 16MB } }", Refused),
    (Container, "resources: { limits: { memory: \"\" } }", Refused),
    (Container, "resources: { limits: { memory: m } }", RefusedByUs(SENSE)),
    (Container, "resources: { limits: { memory: 1e3 } }", Taken),
    (Container, "resources: { requests: { cpu: 2 }, limits: { cpu: 1500m } }", Refused),
    (Container, "resources: { requests: { cpu: 1.5 }, limits: { cpu: 1500m } }", Taken),
    (Container, "resources: { requests: { cpu: 2 }, limits: { memory: 1Mi } }", Taken),
    (
        Container,
        "resources: { requests: { ephemeral-storage: 2Gi }, limits: { ephemeral-storage: 1Gi } }",
        Refused,
    ),
    (Container, "resources: { requests: { ephemeral_storage: 2Gi } }", Refused),
    (Container, "resources: { limits: { gpu: 1 } }", Refused),
    (Container, "resources: { limits: { example.com/gpu: 1 } }", Taken),
    (Container, "resources: { limits: { example.com/gpu: 1x } }", Refused),
    (Container, "resources: { requests: {}, limits: }", Taken),
    (Container, "imagePullPolicy: Sometimes", Refused),
    (Container, "imagePullPolicy: ifNotPresent", Refused),
    (Container, "imagePullPolicy: Never", Taken),
    (Container, "terminationMessagePolicy: Log", Refused),
    (Container, "env: [{ name: A_b-c.d, value: x }]", Taken),
    (Container, "env: [{ name: \"A B\", value: x }]", Taken),
    (Container, "env: [{ name: \"A=B\", value: x }]", Refused),
    (Container, "env: [{ name: \"\", value: x }]", Refused),
    (Container, "env: [{ name: é, value: x }]", Refused),
    (Container, "env: [{ name: A, value: x }, { name: A, value: z }]", Taken),
    (Container, "ports: [{ containerPort: 80 }, { containerPort: 65535, protocol: UDP }]", Taken),
    (Container, "ports: [{ containerPort: 0 }]", Refused),
    (Container, "ports: [{ containerPort: 65536 }]", Refused),
    (Container, "ports: [{ containerPort: 80, hostPort: 0 }]", Taken),
    (Container, "ports: [{ containerPort: 80, hostPort: -1 }]", Refused),
    (Container, "ports: [{ containerPort: 80, protocol: tcp }]", Refused),
    (Container, "volumeMounts: [{ name: v, mountPath: /a }, { name: v, mountPath: b }]", Taken),
    (Container, "volumeMounts: [{ name: v, mountPath: \"\" }]", Refused),
    (Container, "volumeMounts: [{ name: v, mountPath: /a }, { name: v, mountPath: /a }]", Refused),
    (Container, "volumeMounts: [{ name: w, mountPath: /a }]", Refused),
    (Container, "volumeMounts: [{ name: \"\", mountPath: /a }]", Refused),
    (Container, "securityContext: { runAsUser: 0, runAsGroup: 2147483647 }", Taken),
    (Container, "securityContext: { runAsUser: -1 }", Refused),
    (Container, "securityContext: { runAsUser: 2147483648 }", Refused),
    (Container, "securityContext: { runAsGroup: -5 }", Refused),
    (Pod, "securityContext: { runAsUser: -1 }", Refused),
    (Pod, "securityContext: { fsGroup: -1 }", Refused),
    (Pod, "securityContext: { supplementalGroups: [1, -1] }", Refused),
    (Pod, "securityContext: { fsGroup: 0, supplementalGroups: [1] }", Taken),
    (Pod, "initContainers: [{ name: i, image: b }]", Taken),
    (Pod, "initContainers: [{ name: I, image: b }]", Refused),
    (Pod, "initContainers: [{ name: a.b, image: b }]", Refused),
    (Pod, "initContainers: [{ name: i }]", Refused),
    (Pod, "initContainers: [{ name: i, image: \"\" }]", Refused),
    (Pod, "initContainers: [{ name: i, image: b }, { name: i, image: b }]", Refused),
    (Pod, "initContainers: [{ name: i, image: b, env: [{ name: a=b, value: c }] }]", Refused),
    (Pod, "initContainers: [{ name: i, image: b, volumeMounts: [{ name: none, mountPath: /a }] }]", Refused),
    // Across both lists: left to the API server.
    (Pod, "initContainers: [{ name: a, image: b }]", RefusedThere),
    (Pod, "hostname: node_1", Refused),
    (Pod, "hostname: node-1", Taken),
    (Pod, "subdomain: a.b", Refused),
    (Pod, "priorityClassName: Low_1", Refused),
    (Pod, "priorityClassName: low.example.com", Taken),
    (Pod, "runtimeClassName: gVisor", Refused),
    (Pod, "runtimeClassName: gvisor", Taken),
    (Pod, "terminationGracePeriodSeconds: -1", Taken),
    (Pod, "terminationGracePeriodSeconds: 0", Taken),
    (Pod, "dnsPolicy: clusterfirst", Refused),
    (Pod, "dnsPolicy: Default", Taken),
    (Pod, "preemptionPolicy: Always", Refused),
    (Pod, "nodeSelector: { disk: ssd }", Taken),
    (Pod, "nodeSelector: { disk: \"s s d\" }", Refused),
    (Pod, "nodeSelector: { \"a b\": ssd }", Refused),
    (Pod, "tolerations: [{ key: a, operator: Exists }, { operator: Exists, effect: NoSchedule }]", Taken),
    (Pod, "tolerations: [{ key: \"a b\", operator: Exists }]", Refused),
    (Pod, "tolerations: [{ key: a, operator: Is }]", Refused),
    (Pod, "tolerations: [{ key: a, operator: Exists, effect: No }]", Refused),
    (Volumes, "{ name: w, emptyDir: { sizeLimit: 1Gi } }", Taken),
    (Volumes, "{ name: w, emptyDir: { sizeLimit: 1GB } }", Refused),
    (Volumes, "{ name: w, emptyDir: { sizeLimit: -1Gi } }", Refused),
    (Volumes, "{ name: w, emptyDir: { sizeLimit: 0 } }", Taken),
    (Volumes, "{ name: w, emptyDir: }", Taken),
    (Volumes, "{ name: w }", Taken),
    (Volumes, "{ name: w, emptyDir: {}, hostPath: { path: /a } }", Refused),
    (Volumes, "{ name: w, image: { reference: b } }", Taken),
    (Volumes, "{ name: W, emptyDir: {} }", Refused),
    (Volumes, "{ name: v, emptyDir: {} }", Refused),
    (JobMetadata, "labels: { team: a, example.com/x_Y.z: \"\" }", Taken),
    (JobMetadata, "labels: { team: \"a b\" }", Refused),
    (JobMetadata, "labels: { team: -a }", Refused),
    (JobMetadata, "labels: { \"a b\": c }", Refused),
    (JobMetadata, "labels: { a/b/c: c }", Refused),
    (JobMetadata, "labels: { Example.com/a: c }", Refused),
    (JobMetadata, "annotations: { Example.com/A: any text at all }", Taken),
    (JobMetadata, "annotations: { \"a b\": c }", Refused),
    (PodMetadata, "labels: { team: a }", Taken),
    (PodMetadata, "labels: { team: \"a b\" }", Refused),
    (PodMetadata, "labels: { \"a b\": c }", Refused),
    (PodMetadata, "labels: { job-name: c }", Refused),
    (PodMetadata, "labels: { batch.kubernetes.io/controller-uid: c }", Refused),
    (PodMetadata, "annotations: { \"a b\": c }", Refused),
    (PodMetadata, "annotations: { \"\": c }", Refused),
    (Job, "", Taken),
    (Pod, "schedulerName: my-scheduler", Taken),
    (Pod, "activeDeadlineSeconds: 0", RefusedThere),
];

/// A Job that the API server takes as it is, with a case in it.
fn job(at: At, case: &str) -> String {
    let metadata = |here: bool| if here { format!("    {case}\n") } else { String::new() };
    let (of_job, of_pod) = (matches!(at, JobMetadata), matches!(at, PodMetadata));
    let pod = if matches!(at, Pod) { format!("      {case}\n") } else { String::new() };
    let volume = if matches!(at, Volumes) { format!(", {case}") } else { String::new() };
    let container = if matches!(at, Container) { format!(", {case}") } else { String::new() };
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n    name: fields\n{}spec:\n  template:\n    metadata:\n      \
         creationTimestamp:\n{}    spec:\n      restartPolicy: Never\n{pod}      volumes: [{{ name: v, emptyDir: {{}} \
         }}{volume}]\n      containers:\n        - {{ name: a, image: quay.io/team/a:1{container} }}\n",
        metadata(of_job),
        metadata(of_pod).replace("    ", "      "),
    )
}

/// What trying the template says.
fn by_us(text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quayctl.toml");
    let config = format!(
        "[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/a:1\"]\ntemplate = \"mine\"\n[templates.mine]\ninline = \
         '''\n{text}'''\n"
    );
    std::fs::write(&path, config).unwrap();
    let loaded = load(&Sources { path: Some(path), ..Sources::default() });
    let loaded = loaded.map_err(|error: LoadError| error.shown(false))?.config;
    let renderer = Renderer::new(&loaded.templates).unwrap();
    match renderer.probe(&loaded.groups[0]).errors.first() {
        None => Ok(()),
        Some(error) => Err(error.to_string()),
    }
}

fn by_the_api_server(bed: &Bed, namespace: &str, text: &str) -> Result<(), String> {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), text).unwrap();
    let create = ["create", "--dry-run=server", "-n", namespace, "-f", file.path().to_str().unwrap()];
    let answer = ended(&mut bed.kubectl(&create));
    if answer.code == Some(0) { Ok(()) } else { Err(answer.stderr) }
}

#[test]
fn fields_that_check_takes_are_taken_and_those_it_refuses_are_refused() {
    let bed = shared();
    let namespace = bed.namespace("fields");
    let mut cases = CASES.to_vec();
    let long = format!("labels: {{ team: {LONG} }}");
    cases.push((PodMetadata, &long, Refused));
    let differences = cases.iter().filter_map(|(at, case, expected)| {
        let text = job(*at, case);
        let (ours, there) = (by_us(&text), by_the_api_server(bed, &namespace, &text));
        let fits = match expected {
            Taken => ours.is_ok() && there.is_ok(),
            Refused => ours.is_err() && there.is_err(),
            RefusedByUs(_) => ours.is_err() && there.is_ok(),
            RefusedThere => ours.is_ok() && there.is_err(),
        };
        (!fits).then(|| format!("{at:?} {case}\nexpected: {expected:?}\nwe: {ours:?}\nAPI server: {there:?}"))
    });
    let differences: Vec<String> = differences.collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
