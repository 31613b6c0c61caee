//! The whole way from template text to manifest. What one step alone decides is pinned here too:
//! a template is the shortest way to say what goes in.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{
    Group, ImageRef, PullPolicy, TaintEffect, Template, TemplateName, Toleration, TolerationOperator,
};
use crate::plan::{Node, RunId, RunIdentity, fixtures};

mod limits;

/// A Job of the user's template `mine`, as small as lint takes it.
const SMALL: &str = r#"
apiVersion: batch/v1
kind: Job
spec:
  template:
    spec:
      containers:
        - { name: a, image: "{{images.[0].reference}}" }
"#;

fn group(images: &[&str], template: TemplateName) -> Group {
    Group {
        images: images.iter().map(|image| ImageRef::parse(image).unwrap()).collect(),
        template,
        carrier_image: Some(ImageRef::parse("registry.example.com/quayctl:1").unwrap()),
        ..fixtures::group("logging")
    }
}

fn mine(images: &[&str]) -> Group {
    group(images, TemplateName::User("mine".into()))
}

fn job(group: Group, template: TemplateChoice) -> PlannedJob {
    PlannedJob {
        group: Arc::new(group),
        node: Arc::new(Node {
            name: "node-1.example.com".into(),
            labels: [("zone".into(), "no".into())].into(),
            ready: true,
            os: "linux".into(),
            arch: "amd64".into(),
            ..Node::default()
        }),
        template,
        name: "logging-node-1-example-com-0123456789".into(),
        namespace: "image-pulls".into(),
        content: "c0ffee".into(),
        identity: Arc::new(RunIdentity {
            instance: "default".into(),
            run_id: RunId::parse("r1").unwrap(),
            namespace: "image-pulls".into(),
        }),
    }
}

fn templates(texts: &[(&str, &str)]) -> Templates {
    let template = |text: &str| Template { text: text.into(), file: None };
    Templates {
        user: texts.iter().map(|(name, text)| ((*name).into(), template(text))).collect(),
        ..Templates::default()
    }
}

fn renderer(texts: &[(&str, &str)]) -> Renderer {
    Renderer::new(&templates(texts)).unwrap()
}

fn user_job(group: Group) -> PlannedJob {
    job(group, TemplateChoice::User("mine".into()))
}

/// Renders the text as template `mine` for one image.
fn render_mine(text: &str) -> Result<Manifest, RenderError> {
    renderer(&[("mine", text)]).render(&user_job(mine(&["nginx"])))
}

/// What is wrong with `mine` as a text, or else with what it renders.
fn complaint(text: &str) -> String {
    match Renderer::new(&templates(&[("mine", text)])) {
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Ok(renderer) => match renderer.render(&user_job(mine(&["nginx"]))) {
            Err(error) => error.to_string(),
            Ok(manifest) => panic!("rendered {}", manifest.body),
        },
    }
}

/// `SMALL` with more fields of the pod spec.
fn with_pod(fields: &str) -> String {
    format!("{SMALL}{fields}")
}

fn all_values() -> BTreeMap<String, Value> {
    let values = json!({
        "cpu": "2m", "memory": "1Mi", "cpu_limit": 1, "memory_limit": "32Mi",
        "ephemeral_storage": "2Mi", "priority_class": "low", "runtime_class": "kata",
        "run_as_user": 1000, "pod_labels": {"a": "no"}, "pod_annotations": {"b": "x\"\n- y: #"},
    });
    serde_json::from_value(values).unwrap()
}

#[test]
fn built_in_templates_render_clean_for_one_image_and_twenty() {
    let renderer = renderer(&[]);
    let many: Vec<String> = (0..20).map(|n| format!("quay.io/a/b{n}:1.0")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for images in [&many[..1], &many[..]] {
        for (choice, values) in [
            (TemplateChoice::ImageVolume, BTreeMap::new()),
            (TemplateChoice::ImageVolume, all_values()),
            (TemplateChoice::Helper, BTreeMap::new()),
            (TemplateChoice::Helper, all_values()),
        ] {
            let mut group = group(images, TemplateName::Auto);
            group.values = values;
            let manifest = renderer.render(&job(group, choice.clone())).unwrap();
            assert_eq!(manifest.warnings, Vec::<String>::new());
            assert_eq!(lint::lint(&manifest.body), [], "after the overlay");
            let containers: Vec<Vec<String>> =
                (0..images.len()).map(|n| vec![format!("image-{n}")]).collect();
            assert_eq!(manifest.image_containers, containers);
            match choice {
                TemplateChoice::Helper => assert_eq!(manifest.carrier_containers, ["install"]),
                _ => assert_eq!(manifest.carrier_containers, containers.concat()),
            }
        }
    }
}

#[test]
fn image_volume_manifest() {
    let mut group = group(&["quay.io/a/b:1"], TemplateName::ImageVolume);
    group.carrier_image = None;
    let manifest = renderer(&[]).render(&job(group, TemplateChoice::ImageVolume)).unwrap();
    insta::assert_snapshot!(manifest.to_yaml().unwrap(), @r#"
    ---
    # group logging, node node-1.example.com
    apiVersion: batch/v1
    kind: Job
    metadata:
      annotations:
        argocd.argoproj.io/compare-options: IgnoreExtraneous
        argocd.argoproj.io/ignore-healthcheck: "true"
        argocd.argoproj.io/sync-options: Prune=false
        quayctl-controller/content: c0ffee
        quayctl-controller/images: "[\"quay.io/a/b:1\"]"
        quayctl-controller/node: node-1.example.com
      labels:
        app.kubernetes.io/component: puller
        app.kubernetes.io/instance: default
        app.kubernetes.io/managed-by: quayctl-controller
        app.kubernetes.io/name: quayctl-puller
        quayctl-controller/group: logging
        quayctl-controller/run: r1
      name: logging-node-1-example-com-0123456789
      namespace: image-pulls
    spec:
      activeDeadlineSeconds: 300
      backoffLimit: 3
      completions: 1
      parallelism: 1
      podFailurePolicy:
        rules:
        - action: Ignore
          onPodConditions:
          - status: "True"
            type: DisruptionTarget
      template:
        metadata:
          annotations:
            cluster-autoscaler.kubernetes.io/safe-to-evict: "true"
            linkerd.io/inject: disabled
            quayctl-controller/content: c0ffee
            quayctl-controller/images: "[\"quay.io/a/b:1\"]"
            quayctl-controller/node: node-1.example.com
          labels:
            app.kubernetes.io/component: puller
            app.kubernetes.io/instance: default
            app.kubernetes.io/managed-by: quayctl-controller
            app.kubernetes.io/name: quayctl-puller
            quayctl-controller/group: logging
            quayctl-controller/run: r1
            sidecar.istio.io/inject: "false"
        spec:
          affinity:
            nodeAffinity:
              requiredDuringSchedulingIgnoredDuringExecution:
                nodeSelectorTerms:
                - matchFields:
                  - key: metadata.name
                    operator: In
                    values:
                    - node-1.example.com
          automountServiceAccountToken: false
          containers:
          - command:
            - /pause
            - -v
            image: registry.k8s.io/pause:3.10.1
            imagePullPolicy: IfNotPresent
            name: image-0
            resources:
              limits:
                cpu: 100m
                memory: 16Mi
              requests:
                cpu: 1m
                ephemeral-storage: 1Mi
                memory: 512Ki
            securityContext:
              allowPrivilegeEscalation: false
              capabilities:
                drop:
                - ALL
              readOnlyRootFilesystem: true
            volumeMounts:
            - mountPath: /image
              name: image-0
              readOnly: true
          enableServiceLinks: false
          restartPolicy: Never
          securityContext:
            runAsNonRoot: true
            seccompProfile:
              type: RuntimeDefault
          serviceAccountName: default
          terminationGracePeriodSeconds: 0
          volumes:
          - image:
              pullPolicy: IfNotPresent
              reference: quay.io/a/b:1
            name: image-0
      ttlSecondsAfterFinished: 3600
    "#);
}

#[test]
fn helper_manifest() {
    let mut group = group(&["quay.io/a/b:1"], TemplateName::Helper);
    group.pull_policy = PullPolicy::Always;
    group.pull_secrets = vec!["regcred".into()];
    let manifest = renderer(&[]).render(&job(group, TemplateChoice::Helper)).unwrap();
    insta::assert_snapshot!(manifest.to_yaml().unwrap(), @r#"
    ---
    # group logging, node node-1.example.com
    apiVersion: batch/v1
    kind: Job
    metadata:
      annotations:
        argocd.argoproj.io/compare-options: IgnoreExtraneous
        argocd.argoproj.io/ignore-healthcheck: "true"
        argocd.argoproj.io/sync-options: Prune=false
        quayctl-controller/content: c0ffee
        quayctl-controller/images: "[\"quay.io/a/b:1\"]"
        quayctl-controller/node: node-1.example.com
      labels:
        app.kubernetes.io/component: puller
        app.kubernetes.io/instance: default
        app.kubernetes.io/managed-by: quayctl-controller
        app.kubernetes.io/name: quayctl-puller
        quayctl-controller/group: logging
        quayctl-controller/run: r1
      name: logging-node-1-example-com-0123456789
      namespace: image-pulls
    spec:
      activeDeadlineSeconds: 300
      backoffLimit: 3
      completions: 1
      parallelism: 1
      podFailurePolicy:
        rules:
        - action: Ignore
          onPodConditions:
          - status: "True"
            type: DisruptionTarget
      template:
        metadata:
          annotations:
            cluster-autoscaler.kubernetes.io/safe-to-evict: "true"
            linkerd.io/inject: disabled
            quayctl-controller/content: c0ffee
            quayctl-controller/images: "[\"quay.io/a/b:1\"]"
            quayctl-controller/node: node-1.example.com
          labels:
            app.kubernetes.io/component: puller
            app.kubernetes.io/instance: default
            app.kubernetes.io/managed-by: quayctl-controller
            app.kubernetes.io/name: quayctl-puller
            quayctl-controller/group: logging
            quayctl-controller/run: r1
            sidecar.istio.io/inject: "false"
        spec:
          affinity:
            nodeAffinity:
              requiredDuringSchedulingIgnoredDuringExecution:
                nodeSelectorTerms:
                - matchFields:
                  - key: metadata.name
                    operator: In
                    values:
                    - node-1.example.com
          automountServiceAccountToken: false
          containers:
          - command:
            - /quayctl/pause
            - -v
            image: quay.io/a/b:1
            imagePullPolicy: Always
            name: image-0
            resources:
              limits:
                cpu: 100m
                memory: 16Mi
              requests:
                cpu: 1m
                ephemeral-storage: 1Mi
                memory: 512Ki
            securityContext:
              allowPrivilegeEscalation: false
              capabilities:
                drop:
                - ALL
              readOnlyRootFilesystem: true
            volumeMounts:
            - mountPath: /quayctl
              name: quayctl
              readOnly: true
            workingDir: /
          enableServiceLinks: false
          imagePullSecrets:
          - name: regcred
          initContainers:
          - command:
            - /pause
            - --install
            - /quayctl/pause
            image: registry.example.com/quayctl:1
            imagePullPolicy: IfNotPresent
            name: install
            resources:
              limits:
                cpu: 100m
                memory: 16Mi
              requests:
                cpu: 1m
                ephemeral-storage: 1Mi
                memory: 512Ki
            securityContext:
              allowPrivilegeEscalation: false
              capabilities:
                drop:
                - ALL
              readOnlyRootFilesystem: true
            volumeMounts:
            - mountPath: /quayctl
              name: quayctl
          restartPolicy: Never
          securityContext:
            runAsNonRoot: true
            runAsUser: 65532
            seccompProfile:
              type: RuntimeDefault
          serviceAccountName: default
          terminationGracePeriodSeconds: 0
          volumes:
          - emptyDir:
              sizeLimit: 8Mi
            name: quayctl
      ttlSecondsAfterFinished: 3600
    "#);
}

#[test]
fn helper_without_a_carrier_image_is_refused() {
    let mut group = group(&["nginx"], TemplateName::Helper);
    group.carrier_image = None;
    let error = renderer(&[]).render(&job(group, TemplateChoice::Helper)).unwrap_err();
    assert_eq!(error, RenderError::NoCarrierImage { group: "logging".into() });
}

#[test]
fn the_pin_replaces_a_required_affinity_and_keeps_a_preferred_one() {
    let text = with_pod(
        r#"
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms: [{ matchExpressions: [{ key: a, operator: Exists }] }]
          preferredDuringSchedulingIgnoredDuringExecution:
            [{ weight: 1, preference: { matchExpressions: [{ key: b, operator: Exists }] } }]
"#,
    );
    let manifest = render_mine(&text).unwrap();
    let affinity = &manifest.body["spec"]["template"]["spec"]["affinity"]["nodeAffinity"];
    assert_eq!(
        affinity["requiredDuringSchedulingIgnoredDuringExecution"],
        json!({"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["node-1.example.com"]},
        ]}]})
    );
    assert!(affinity["preferredDuringSchedulingIgnoredDuringExecution"].is_array());
    assert_eq!(
        manifest.warnings,
        [
            "template sets `spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`, which the controller owns; its value is replaced"
        ]
    );
}

#[test]
fn tolerations_and_pull_secrets_are_united() {
    let text = with_pod(
        r#"
      tolerations: [{ key: dedicated, operator: Exists }, { operator: Exists, effect: NoExecute }]
      imagePullSecrets: [{ name: regcred }]
"#,
    );
    let mut group = mine(&["nginx"]);
    let exists = |key: &str| Toleration {
        key: Some(key.into()),
        operator: TolerationOperator::Exists,
        value: None,
        effect: None,
        toleration_seconds: None,
    };
    let equal = Toleration {
        operator: TolerationOperator::Equal,
        value: Some("a".into()),
        effect: Some(TaintEffect::NoExecute),
        toleration_seconds: Some(60),
        ..exists("gpu")
    };
    group.tolerations = vec![exists("dedicated"), equal];
    group.pull_secrets = vec!["regcred".into(), "other".into()];
    let manifest = renderer(&[("mine", &text)]).render(&user_job(group)).unwrap();
    let pod = &manifest.body["spec"]["template"]["spec"];
    assert_eq!(
        pod["tolerations"],
        json!([
            {"key": "dedicated", "operator": "Exists"},
            {"operator": "Exists", "effect": "NoExecute"},
            {"key": "gpu", "operator": "Equal", "value": "a", "effect": "NoExecute", "tolerationSeconds": 60},
        ])
    );
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "regcred"}, {"name": "other"}]));
    assert_eq!(manifest.warnings, Vec::<String>::new());
}

#[test]
fn each_owned_field_of_a_template_is_named() {
    let text = r#"
apiVersion: batch/v1
kind: Job
metadata:
  name: mine
  generateName: mine-
  creationTimestamp: null
  ownerReferences: [{ apiVersion: v1, kind: Pod, name: a, uid: b }]
  labels: { app.kubernetes.io/instance: other, team: x }
spec:
  backoffLimit: 9
  completions: 1
  suspend: true
  manualSelector: false
  template:
    spec:
      nodeName: here
      restartPolicy: OnFailure
      containers: [{ name: a, image: nginx }]
status: {}
"#;
    let manifest = render_mine(text).unwrap();
    let fields: Vec<&str> =
        manifest.warnings.iter().map(|warning| warning.split('`').nth(1).unwrap()).collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "metadata.generateName",
            "metadata.ownerReferences",
            "metadata.labels.app.kubernetes.io/instance",
            "spec.suspend",
            "spec.backoffLimit",
            "spec.template.spec.nodeName",
            "spec.template.spec.restartPolicy",
        ]
    );
    assert_eq!(manifest.body["metadata"]["labels"]["team"], "x");
    assert_eq!(manifest.body["metadata"]["labels"]["app.kubernetes.io/instance"], "default");
    assert!(manifest.body["spec"].get("suspend").is_none());
}

#[test]
fn a_container_that_mounts_images_speaks_of_those_and_not_of_its_own() {
    let text = r#"
apiVersion: batch/v1
kind: Job
spec:
  template:
    spec:
      initContainers: [{ name: own, image: "b" }]
      containers:
        - { name: mounts, image: "b", volumeMounts: [{ name: v, mountPath: /v }] }
      volumes: [{ name: v, image: { reference: "a" } }]
"#;
    let manifest = renderer(&[("mine", text)]).render(&user_job(mine(&["a", "b", "c"]))).unwrap();
    assert_eq!(manifest.image_containers, [vec!["mounts"], vec!["own"], vec![]]);
}

#[test]
fn what_is_no_single_job_is_refused() {
    assert_eq!(
        complaint(&format!("{SMALL}---{SMALL}")),
        "template `mine` renders 2 documents; a template gives exactly one Job"
    );
    assert_eq!(
        complaint("# nothing\n"),
        "template `mine` renders 0 documents; a template gives exactly one Job"
    );
    assert_eq!(
        complaint("apiVersion: v1\nkind: Pod\n"),
        "template `mine` renders apiVersion \"v1\", kind \"Pod\"; it must be \"batch/v1\", \"Job\""
    );
    assert_eq!(
        complaint("[1]"),
        "template `mine` renders apiVersion none, kind none; it must be \"batch/v1\", \"Job\""
    );
    insta::assert_snapshot!(complaint("apiVersion: batch/v1\nkind: \"Job\nspec: [\n"), @r#"template `mine` renders no valid YAML, at its output's line 2, column 7 (`kind: "Job`): unclosed quote"#);
}

#[test]
fn unknown_and_wrongly_typed_fields_are_shown_with_their_paths() {
    let text = r#"
apiVersion: batch/v1
kind: Job
spec:
  backofLimit: 1
  template:
    spec:
      containers: [{ name: a, image: nginx, comand: [x] }]
"#;
    assert_eq!(
        complaint(text),
        "template `mine` renders a Job with wrong fields: `spec.backofLimit` is no field of a Job; `spec.template.spec.containers.0.comand` is no field of a Job"
    );
    let text = text.replace("nginx", "5").replace("backofLimit: 1", "backoffLimit: a");
    insta::assert_snapshot!(complaint(&text), @r#"template `mine` renders a Job with wrong fields: `spec.backoffLimit`: invalid type: string "a", expected i32; `spec.template.spec.containers.0.image`: invalid type: integer `5`, expected a string; `spec.template.spec.containers.0.comand` is no field of a Job"#);
}

#[test]
fn mistakes_in_a_template_have_a_place() {
    insta::assert_snapshot!(complaint("a: {{#if}\n"), @"template `mine`, line 1, column 9: invalid handlebars syntax: expected identifier, helper_parameter, block_param, or trailing_tilde_to_omit_whitespace");
    insta::assert_snapshot!(complaint("a: b\n  c: {{values.cpu}}\n"), @"template `mine`, line 2, column 6: `values.cpu` is not set; set it, or write {{default …}} or {{#if …}} around it");
    insta::assert_snapshot!(complaint("a: \"{{values}}\"\n"), @"template `mine`, line 1, column 5: `values` is a table, not a single value; print it with `toYaml`");
    insta::assert_snapshot!(complaint("a: {{q images}}\n"), @"template `mine`, line 1, column 4: `images` is a list, not a single value; print it with `toYaml`");
    insta::assert_snapshot!(complaint("a: {{lookup images 0}}\n"), @"template `mine`, line 1, column 4: the value is a table, not a single value; print it with `toYaml`");
    insta::assert_snapshot!(complaint("a: {{lookup values \"x\"}}\n"), @"template `mine`, line 1, column 4: the value is not set; set it, or write {{default …}} or {{#if …}} around it");
    insta::assert_snapshot!(complaint("{{#each images}}\n{{#if index}}{{toYml this}}{{/if}}{{/each}}"), @"template `mine`, line 2, column 14: there is no helper `toYml`; did you mean `toYaml`?");
    insta::assert_snapshot!(complaint("{{#each values.list}}{{/each}}"), @"template `mine`, line 1, column 1: `values.list` is not set");
    insta::assert_snapshot!(complaint("a:\n  {{> mien}}\n"), @"template `mine`, line 2, column 3: there is no partial `mien`");
    insta::assert_snapshot!(complaint("{{> mine}}\n"), @"template `mine`, line 1, column 1: `mine` includes itself: mine → mine");
    insta::assert_snapshot!(complaint("{{> (lookup values \"x\")}}\n"), @"template `mine`, line 1, column 1: a partial's name must be written out");
    insta::assert_snapshot!(complaint("{{#*inline \"x\"}}{{/inline}}"), @"template `mine`, line 1, column 1: inline partials and decorators are not supported; make it a [templates.NAME]");
    insta::assert_snapshot!(complaint(&"{{#if x}}".repeat(5000)), @"template `mine`, line 1, column 451: more than 50 blocks or parentheses stand inside one another; reduce the nesting");
    insta::assert_snapshot!(complaint(&format!("{{{{#if {}}}}}", "(not ".repeat(5000))), @"template `mine`, line 1, column 1: more than 50 blocks or parentheses stand inside one another; reduce the nesting");
}

#[test]
fn partials_that_reach_themselves_are_refused() {
    let texts = [("a", "{{> b}}"), ("b", "\n {{> c}}"), ("c", "{{> a}}")];
    let errors = Renderer::new(&templates(&texts)).unwrap_err();
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["template `a`, line 1, column 1: `a` includes itself: a → b → c → a"]);
}

#[test]
fn a_partial_without_a_final_line_break_keeps_its_lines_apart() {
    let text = SMALL.replace("spec:\n  template:", "{{> part}}\nspec:\n  {{> part2}}\n  template:");
    let renderer = renderer(&[
        ("mine", &text),
        ("part", "metadata:\n  annotations: {a: \"{{values.x}}\"}"),
        ("part2", "{{#if values.x}}\nttlSecondsAfterFinished: 3600\n{{/if}}"),
    ]);
    let mut group = mine(&["nginx"]);
    group.values.insert("x".into(), json!("b\nc"));
    let manifest = renderer.render(&user_job(group)).unwrap();
    assert_eq!(manifest.body["metadata"]["annotations"]["a"], "b\nc");
}

#[test]
fn defaults_stand_in_for_what_is_missing_null_or_empty() {
    let text = with_pod(
        r#"
      schedulerName: "{{default values.a.b (default values.c "x")}}{{default values.empty "y"}}{{default values.none 1}}{{default values.no "z"}}{{default (lookup node.labels "rack") "r"}}"
"#,
    );
    let mut group = mine(&["nginx"]);
    group.values =
        [("empty".into(), json!("")), ("none".into(), Value::Null), ("no".into(), json!(false))].into();
    let manifest = renderer(&[("mine", &text)]).render(&user_job(group)).unwrap();
    assert_eq!(manifest.body["spec"]["template"]["spec"]["schedulerName"], "xy1falser");
}

#[test]
fn scalars_are_read_as_yaml_1_2_reads_them() {
    let text = r#"
a: [yes, on, no, 012, 1_000, 0o14, 0x1f, 1e3, 1.0, 12:30, ~, true, 18446744073709551615, -9223372036854775808, 2026-11-22]
1: x
true: y
"#;
    let documents = parse::documents(text).unwrap();
    assert_eq!(
        documents,
        [json!({
            "a": ["yes", "on", "no", "012", "1_000", 12, 31, 1000.0, 1.0, "12:30", null, true,
                  18_446_744_073_709_551_615_u64, i64::MIN, "2026-11-22"],
            "1": "x",
            "true": "y",
        })]
    );
}

#[test]
fn strings_that_older_readers_misread_are_written_in_quotes() {
    let mut manifest = render_mine(SMALL).unwrap();
    let texts = ["yes", "on", "n", "012", "1e3", "1_000", "12:30", "~", "null", "0x1f", "2026-11-22"];
    manifest.body = json!(texts);
    let yaml = manifest.to_yaml().unwrap();
    for (line, text) in yaml.lines().skip(2).zip(texts) {
        assert!([format!("- \"{text}\""), format!("- '{text}'")].contains(&line.to_owned()), "{line}");
    }
}

#[test]
fn three_braces_are_warned_about_and_places_known() {
    let renderer = renderer(&[("mine", &with_pod("      schedulerName: {{{ values.name }}}\n"))]);
    let warnings: Vec<String> = renderer.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"), @"template `mine`, line 9, column 22: `{{{values.name}}}` prints without escaping; write `{{values.name}}` inside double quotes, or `{{q values.name}}`");
}

#[test]
fn equal_texts_are_read_once_and_get_their_own_node() {
    let renderer = renderer(&[]);
    let first = job(group(&["nginx"], TemplateName::Auto), TemplateChoice::ImageVolume);
    let mut second = first.clone();
    second.name = "other".into();
    let (a, b) = (renderer.render(&first).unwrap(), renderer.render(&second).unwrap());
    assert_eq!(a.body["metadata"]["name"], first.name);
    assert_eq!(b.body["metadata"]["name"], "other");
}

mod probes {
    use super::*;

    fn probe(pod: &str, values: Value) -> Probe {
        let mut group = mine(&["quay.io/a/b:1", "nginx"]);
        group.values = serde_json::from_value(values).unwrap();
        let text = with_pod(pod).replace(
            "        - { name: a, image: \"{{images.[0].reference}}\" }",
            "{{#each images}}\n        - name: image-{{index}}\n          image: \"{{reference}}\"\n{{/each}}",
        );
        renderer(&[("mine", &text)]).probe(&group)
    }

    fn errors(pod: &str, values: Value) -> Vec<String> {
        probe(pod, values).errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn quoted_variables_pass() {
        let pod = r#"
      schedulerName: "{{group}}-{{node.labels.zone}}{{#if (eq values.mode "fast")}}-fast{{/if}}"
      hostname: {{q values.mode}}
      nodeSelector:
        "{{values.mode}}": x
{{indent 8 (toYaml values.table)}}
      # {{node.name}}
      terminationGracePeriodSeconds: {{values.seconds}}
"#;
        let values = json!({"mode": "slow", "seconds": 5, "table": {"a": "b", "c": "d"}});
        assert_eq!(probe(pod, values), Probe::default());
    }

    #[test]
    fn a_variable_outside_quotes_is_refused_by_name_and_place() {
        let values = json!({"x": "b"});
        insta::assert_snapshot!(errors("      schedulerName: {{values.x}}\n", values.clone()).join("\n"), @"template `mine`, line 12, column 22: `values.x` can change the structure of the manifest; write it inside double quotes, or with `q`");
        insta::assert_snapshot!(errors("      schedulerName: '{{values.x}}'\n", values.clone()).join("\n"), @"template `mine`, line 12, column 23: `values.x` can change the structure of the manifest; write it inside double quotes, or with `q`");
        insta::assert_snapshot!(errors("      schedulerName: \"{{{values.x}}}\"\n", values.clone()).join("\n"), @"template `mine`, line 12, column 23: `values.x` can change the structure of the manifest; write it inside double quotes, or with `q`");
        insta::assert_snapshot!(errors("      nodeSelector: { {{group}}: \"{{{group}}}\" }\n", values).join("\n"), @"template `mine`, line 12, column 23: `group` can change the structure of the manifest; write it inside double quotes, or with `q`");
        insta::assert_snapshot!(errors("      schedulerName: a-{{node.labels.[x/zone]}}\n", json!({})).join("\n"), @"template `mine`, line 12, column 24: `node.labels.[x/zone]` can change the structure of the manifest; write it inside double quotes, or with `q`");
    }

    #[test]
    fn a_variable_in_a_block_scalar_is_warned_about() {
        let probe = probe("      schedulerName: |\n        {{values.x}}\n", json!({"x": "b"}));
        assert_eq!(probe.errors, []);
        insta::assert_snapshot!(probe.warnings.join("\n"), @"template `mine`: `values.x` stands outside double quotes, so a quote or backslash in it arrives with a backslash before it");
    }

    #[test]
    fn a_missing_value_is_found_before_any_node_is_seen() {
        insta::assert_snapshot!(errors("      schedulerName: \"{{values.x}}\"\n", json!({})).join("\n"), @"template `mine`, line 12, column 23: `values.x` is not set; set it, or write {{default …}} or {{#if …}} around it");
    }

    #[test]
    fn an_image_that_no_container_shows_is_warned_about() {
        let probe = renderer(&[("mine", SMALL)]).probe(&mine(&["a", "b"]));
        insta::assert_snapshot!(probe.warnings.join("\n"), @"no container of the pod shows the state of `b`, so it is reported as unknown; give one this `image`, or mount a volume with this `image.reference`");
    }

    /// What the groups of one template are said to be one after another is what each is by itself.
    #[test]
    fn nothing_is_missed_of_groups_that_look_alike() {
        let shown = "{{#each images}}\n        - name: image-{{index}}\n          image: \"{{reference}}\"\n{{/each}}";
        let user = |pod: &str| {
            let container = "        - { name: a, image: \"{{images.[0].reference}}\" }";
            (TemplateChoice::User("mine".into()), with_pod(pod).replace(container, shown))
        };
        let with_metadata = |metadata: &str| {
            let (choice, text) = user("");
            (choice, text.replace("kind: Job\n", &format!("kind: Job\nmetadata: {metadata}\n")))
        };
        let built_in = || (TemplateChoice::ImageVolume, String::new());
        let cases = [
            // Text where a number must be, too large a number, and what is there for one of them only.
            (
                built_in(),
                vec![
                    json!({"run_as_user": 1}),
                    json!({"run_as_user": "1"}),
                    json!({"run_as_user": "a"}),
                    json!({"run_as_user": true}),
                ],
            ),
            (
                built_in(),
                vec![
                    json!({"pod_labels": {"quayctl-controller/run": "render"}}),
                    json!({"pod_labels": {"quayctl-controller/run": "r2"}}),
                ],
            ),
            (
                built_in(),
                vec![
                    json!({"priority_class": "low"}),
                    json!({"priority_class": ""}),
                    json!({"priority_class": ["low"]}),
                ],
            ),
            (
                user("      priority: {{values.n}}\n"),
                vec![json!({"n": 1}), json!({"n": 9_999_999_999_i64}), json!({"n": 1.5}), json!({"m": 1})],
            ),
            // Keys, and fields that are ours.
            (
                user("      \"{{values.key}}\": x\n"),
                vec![json!({"key": "hostname"}), json!({"key": "hostnaem"}), json!({"key": "subdomain"})],
            ),
            (
                with_metadata("{ namespace: \"{{values.ns}}\" }"),
                vec![json!({"ns": "image-pulls"}), json!({"ns": "default"}), json!({"ns": "other"})],
            ),
            // Times have a form of their own.
            (
                with_metadata("{ creationTimestamp: \"{{values.at}}\" }"),
                vec![json!({"at": "2026-11-25T00:00:00Z"}), json!({"at": "today"})],
            ),
            // The course depends on what a text says.
            (
                user("{{#if (eq values.a \"x\")}}      wrong: 1\n{{/if}}"),
                vec![json!({"a": "y"}), json!({"a": "x"}), json!({"a": "z"})],
            ),
            (
                user("{{#if (gt (len values.a) 2)}}      wrong: 1\n{{/if}}"),
                vec![json!({"a": "y"}), json!({"a": "yyy"})],
            ),
            (
                user("{{#if values.a}}      wrong: 1\n{{/if}}"),
                vec![json!({"a": ""}), json!({"a": "x"}), json!({"a": 0})],
            ),
            (
                user("      hostname: {{q (lookup values values.a)}}\n"),
                vec![json!({"a": "b", "b": "x"}), json!({"a": "c", "b": "x"})],
            ),
            // Not safe, and read otherwise by others.
            (
                user("      hostname: {{values.a}}\n"),
                vec![json!({"a": "x"}), json!({"a": "yes"}), json!({"a": "5"})],
            ),
            (user("      hostname: off\n"), vec![json!({"a": "x"}), json!({"a": "y"})]),
        ];
        let mut found = 0;
        for ((choice, text), values) in cases {
            let renderer = renderer(&[("mine", &text)]);
            let mut prober = Prober::new(&renderer);
            for (round, values) in values.iter().cycle().take(2 * values.len()).enumerate() {
                let mut group = group(&["quay.io/a/b:1", "nginx"], TemplateName::ImageVolume);
                if let TemplateChoice::User(name) = &choice {
                    group.template = TemplateName::User(name.clone());
                }
                group.name = format!("g-{round}");
                group.values = serde_json::from_value(values.clone()).unwrap();
                let alone = renderer.probe(&group);
                assert_eq!(prober.probe(&group), alone, "{text}{values}");
                found += usize::from(alone != Probe::default());
            }
        }
        assert_eq!(found, 2 * 22);
    }

    #[test]
    fn an_image_that_only_one_group_hides_is_found() {
        let renderer =
            renderer(&[("mine", &with_pod("").replace("{{images.[0].reference}}", "{{values.a}}"))]);
        let mut prober = Prober::new(&renderer);
        for (image, is_shown) in [("nginx", true), ("redis", false), ("nginx", true)] {
            let mut group = mine(&["nginx"]);
            group.values = [("a".into(), json!(image))].into();
            assert_eq!(prober.probe(&group).warnings.is_empty(), is_shown);
        }
    }

    #[test]
    fn built_in_templates_are_tried_as_auto_may_choose_them() {
        let mut group = group(&["nginx"], TemplateName::Auto);
        assert_eq!(renderer(&[]).probe(&group), Probe::default());
        group.carrier_image = None;
        assert_eq!(renderer(&[]).probe(&group), Probe::default());
        group.template = TemplateName::Helper;
        let errors = renderer(&[]).probe(&group).errors;
        assert_eq!(errors, [RenderError::NoCarrierImage { group: "logging".into() }]);
    }
}

proptest! {
    #[test]
    fn any_text_survives_rendering_and_printing(text in any::<String>(), key in any::<String>()) {
        let template = r#"
apiVersion: batch/v1
kind: Job
metadata:
  annotations:
    a: "{{values.x}}"
    b: {{q values.x}}
    c: "<{{values.x}}>"
{{indent 4 (toYaml values.table)}}
spec:
  template:
    spec:
      containers:
        - { name: "{{values.x}}", image: {{q values.x}}, args: [{{q values.x}}, "{{values.x}}"] }
      tolerations:
{{indent 8 (toYaml values.list)}}
"#;
        let key = format!("key {key}");
        let mut group = mine(&["nginx"]);
        group.name = text.clone();
        group.values = [
            ("x".into(), json!(text)),
            ("table".into(), json!({key.clone(): text})),
            ("list".into(), json!([{"key": text, "value": key}])),
        ].into();
        // Most of them are no names, and nobody asks whether they are.
        let (job, renderer) = (user_job(group), renderer(&[("mine", template)]));
        let written = renderer.written(&job, "carrier", &Work::new()).unwrap();
        let manifest = Manifest::new(&job, written.job.clone(), "carrier".into());
        let annotations = &manifest.body["metadata"]["annotations"];
        let pod = &manifest.body["spec"]["template"]["spec"];
        prop_assert_eq!(&annotations["a"], &text);
        prop_assert_eq!(&annotations["b"], &text);
        prop_assert_eq!(&annotations["c"], &format!("<{text}>"));
        prop_assert_eq!(&annotations[&key], &text);
        let container = json!({"name": text, "image": text, "args": [text, text]});
        prop_assert_eq!(&pod["containers"][0], &container);
        prop_assert_eq!(&pod["tolerations"], &json!([{"key": text, "value": key}]));
        let printed = parse::documents(&manifest.to_yaml().unwrap()).unwrap();
        prop_assert_eq!(printed, vec![manifest.body]);
    }

    #[test]
    fn no_template_text_panics(text in "[{}#/>&~!() \n\"'a-f.|]{0,60}") {
        if let Ok(renderer) = Renderer::new(&templates(&[("mine", &text)])) {
            let group = mine(&["nginx"]);
            drop(renderer.render(&user_job(group.clone())));
            renderer.probe(&group);
        }
    }

    #[test]
    fn no_document_breaks_the_overlay(pieces in prop::collection::vec(
        prop::sample::select(vec!["spec:", "metadata:", "template:", "labels:", "affinity:", " null", " {}", " []", "\n  ", "\n    ", "\n"]), 0..12,
    )) {
        let text = format!("apiVersion: batch/v1\nkind: Job\n{}", pieces.concat());
        drop(render_mine(&text));
    }
}

#[test]
fn a_groups_own_labels_and_annotations_stand_on_the_job_of_any_template() {
    let text = SMALL.replacen(
        "spec:",
        "metadata:\n  labels: { team: template, other: kept }\n  annotations: { note: template }\nspec:",
        1,
    );
    let renderer = renderer(&[("mine", &text)]);
    for choice in [
        TemplateChoice::ImageVolume,
        TemplateChoice::Helper,
        TemplateChoice::Quayctl,
        TemplateChoice::User("mine".into()),
    ] {
        let mut group = mine(&["nginx"]);
        group.job_labels =
            [("kueue.x-k8s.io/queue-name".into(), "pulls".into()), ("team".into(), "a".into())].into();
        group.job_annotations = [("note".into(), "by the group".into())].into();
        let manifest = renderer.render(&job(group, choice.clone())).unwrap();
        let metadata = &manifest.body["metadata"];
        assert_eq!(metadata["labels"]["kueue.x-k8s.io/queue-name"], "pulls", "{choice:?}");
        assert_eq!(
            (&metadata["labels"]["team"], &metadata["annotations"]["note"]),
            (&json!("a"), &json!("by the group"))
        );
        assert_eq!(metadata["labels"]["quayctl-controller/run"], "r1");
        let pod = &manifest.body["spec"]["template"]["metadata"];
        assert!(pod["labels"].get("kueue.x-k8s.io/queue-name").is_none(), "{pod}");
        assert_eq!(manifest.warnings, [""; 0], "{choice:?}");
        if choice == TemplateChoice::User("mine".into()) {
            assert_eq!(metadata["labels"]["other"], "kept");
        }
    }
}

#[test]
fn a_templates_outcome_would_end_a_job_before_it_began_and_is_taken_away() {
    let text =
        SMALL.replacen("spec:", "metadata:\n  annotations: { quayctl-controller/outcome: \"{}\" }\nspec:", 1);
    let manifest = render_mine(&text).unwrap();
    assert!(manifest.body["metadata"]["annotations"].get("quayctl-controller/outcome").is_none());
    assert_eq!(
        manifest.warnings,
        [
            "template sets `metadata.annotations.quayctl-controller/outcome`, which the controller owns; it is removed"
        ]
    );
}

/// Argo CD's rule for a live object that is not in Git and bears its tracking label: what a sync with pruning
/// does with it, and whether it makes the Application OutOfSync or Degraded.
///
/// As in gitops-engine `pkg/cache/cluster.go` (`GetManagedLiveObjs`), `pkg/sync/sync_context.go`
/// (`pruneObject`), `pkg/sync/resource/annotations.go` (`HasAnnotationOption`), and argo-cd
/// `controller/state.go` (`CompareAppState`) and `controller/health.go` (`setApplicationHealth`).
struct ArgoCd {
    prunes: bool,
    out_of_sync: bool,
    counts_health: bool,
}

fn argo_cd(object: &Value, application: &str) -> ArgoCd {
    let metadata = &object["metadata"];
    let is_managed = metadata["labels"]["app.kubernetes.io/instance"] == application
        && metadata["ownerReferences"].as_array().is_none_or(Vec::is_empty);
    let has_option = |key: &str, option: &str| {
        let annotation = metadata["annotations"][key].as_str().unwrap_or_default();
        annotation.split(',').any(|item| item.trim() == option)
    };
    let is_ignored = metadata["annotations"]["argocd.argoproj.io/ignore-healthcheck"] == "true";
    ArgoCd {
        prunes: is_managed && !has_option("argocd.argoproj.io/sync-options", "Prune=false"),
        out_of_sync: is_managed && !has_option("argocd.argoproj.io/compare-options", "IgnoreExtraneous"),
        counts_health: is_managed && !is_ignored,
    }
}

#[test]
fn argo_cd_leaves_jobs_alone_whose_instance_is_called_like_an_application() {
    let renderer = renderer(&[("mine", SMALL)]);
    for choice in [TemplateChoice::ImageVolume, TemplateChoice::Helper, TemplateChoice::User("mine".into())] {
        let body = renderer.render(&job(mine(&["nginx"]), choice)).unwrap().body;
        let ArgoCd { prunes, out_of_sync, counts_health } = argo_cd(&body, "default");
        assert!(!prunes && !out_of_sync && !counts_health, "{body}");
        let mut without = body;
        without["metadata"]["annotations"] = json!({});
        let ArgoCd { prunes, out_of_sync, counts_health } = argo_cd(&without, "default");
        assert!(prunes && out_of_sync && counts_health, "the rule tells the two apart");
    }
}

#[test]
fn what_a_group_tells_argo_cd_beats_what_we_do() {
    let mut group = mine(&["nginx"]);
    group.job_annotations = [("argocd.argoproj.io/sync-options".into(), "Prune=true".into())].into();
    let body = renderer(&[("mine", SMALL)]).render(&user_job(group)).unwrap().body;
    assert_eq!(body["metadata"]["annotations"]["argocd.argoproj.io/sync-options"], "Prune=true");
    assert!(argo_cd(&body, "default").prunes);
}
