//! What `check` says, without a cluster and on a real control plane, and what editors and shells get.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use quayctl_controller::config_source::load::{Sources, load};
use serde_json::{Value, json};

use crate::support::bed::{Bed, shared};
use crate::support::{Ended, ended, quayctl, root};

/// Nothing to say about it: no tag that may change, no carrier that may be missing.
const FINE: &str = "[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]\ntemplate = \"image-volume\"\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn check(folder: &tempfile::TempDir, args: &[&str]) -> Ended {
    ended(quayctl().current_dir(folder).arg("check").args(args))
}

#[test]
fn one_line_goes_to_stdout_and_problems_to_stderr() {
    let fine = check(&folder(&[("quayctl.toml", FINE)]), &["--strict"]).expect_code(0);
    assert_eq!((fine.stdout.as_str(), fine.stderr.as_str()), ("1 group, 1 image: no problems\n", ""));

    let doubtful = folder(&[("quayctl.toml", "[[groups]]\nname = \"g\"\nimages = [\"a\", \"b:1\"]\n")]);
    let warned = check(&doubtful, &[]).expect_code(0);
    assert_eq!(warned.stdout, "1 group, 2 images: 2 warnings\n");
    assert_eq!(warned.stderr.matches("warning[").count(), 2, "{}", warned.stderr);
    // One more, for the tag that may be moved; and now warnings count.
    let strict = check(&doubtful, &["--strict"]).expect_code(2);
    assert_eq!(strict.stdout, "1 group, 2 images: 3 warnings\n");
    assert!(strict.stderr.contains("warning[mutable-tag]: the tag of \"b:1\""), "{}", strict.stderr);

    let wrong = check(&folder(&[("quayctl.toml", "namspace = \"a\"\ngroups = []\n")]), &[]).expect_code(2);
    assert_eq!(wrong.stdout, "2 errors\n");
    assert_eq!(wrong.stderr.matches("error[").count(), 2, "{}", wrong.stderr);
    let nowhere = check(&folder(&[]), &["--config", "nowhere.toml"]).expect_code(2);
    assert!(nowhere.stdout == "1 error\n" && nowhere.stderr.contains("nowhere.toml"), "{}", nowhere.stderr);
}

/// With invented nodes nothing is wrong; one of those that are there lacks the label.
#[test]
fn what_only_some_nodes_lack_is_said_with_node_group_and_place() {
    let config = "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\ntemplate = \"mine\"\ncarrier_image = \"c:1\"\n\n[templates.mine]\nfile = \"mine.hbs\"\n";
    let template = "apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n      hostname: {{q node.labels.rack}}\n      containers:\n        - { name: a, image: {{q images.[0].reference}} }\n";
    let folder = folder(&[("quayctl.toml", config), ("mine.hbs", template)]);
    let nodes = root().join("tests/cases/nodes.yaml");
    let nodes = nodes.to_str().unwrap();
    check(&folder, &[]).expect_code(0);
    let checked = check(&folder, &["--nodes", nodes]).expect_code(2);
    let rendered = ended(quayctl().current_dir(&folder).args(["render", "--nodes", nodes])).expect_code(2);
    for said in [&checked.stderr, &rendered.stderr] {
        assert!(
            said.contains(
                "error[template-error]: group \"g\", node \"node-001\": `node.labels.rack` is not set"
            ),
            "{said}"
        );
        assert!(said.contains("mine.hbs:6:17"), "{said}");
        assert_eq!(said.matches("error[").count(), 1, "{said}");
    }
    assert_eq!(rendered.stdout, "");
}

/// The whole of `check`, over templates of which each would keep handlebars busy for ages.
#[test]
fn no_template_keeps_check_busy() {
    let job = "apiVersion: batch/v1\nkind: Job\nspec: { template: { spec: { containers: [{ name: a, image: x }] } } }\n";
    let loops = |inner: &str| {
        format!("{job}{}{inner}{}\n", "{{#each @root.images}}".repeat(4), "{{/each}}".repeat(4))
    };
    let images: Vec<String> = (0..100).map(|n| format!("\"a{n}:1\"")).collect();
    for template in [
        loops(""),
        loops("{{reference}}"),
        format!("{job}{}\n", "{{values.a}}".repeat(80_000)),
        format!("{job}{}\n", "{{#if a}}".repeat(100_000)),
        format!("{job}{{{{q {}}}}}\n", "(not ".repeat(100_000)),
        format!("{job}a: {}\n", "[".repeat(100_000)),
        format!("{job}a: &a {}\nb: [{}]\n", "x".repeat(1000), "*a,".repeat(300_000)),
        "kind: Job\napiVersion: batch/v1\nspec: { template: { spec: { containers: [{{#each images}}{{#each @root.images}}{ tty: 5 },{{/each}}{{/each}}] } } }\n".to_owned(),
    ] {
        let config = format!("[[groups]]\nname = \"g\"\nimages = [{}]\ntemplate = \"mine\"\n\n[templates.mine]\nfile = \"mine.hbs\"\n", images.join(", "));
        let folder = folder(&[("quayctl.toml", &config), ("mine.hbs", &template)]);
        let started = Instant::now();
        let checked = check(&folder, &[]).expect_code(2);
        let took = started.elapsed();
        println!("{took:?} {}", checked.stderr.lines().next().unwrap_or_default());
        assert!(took < Duration::from_secs(20), "{took:?}: {}", checked.stderr);
        assert!(checked.stderr.contains("mine.hbs"), "{}", checked.stderr);
    }
}

#[test]
fn quiet_says_nothing_but_problems() {
    let scheduled = format!("{FINE}schedule = \"0 3 * * *\"\n");
    let fine = folder(&[("quayctl.toml", &scheduled)]);
    let nodes = root().join("tests/cases/nodes.yaml");
    let quiet = check(&fine, &["-q", "--nodes", nodes.to_str().unwrap()]).expect_code(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    assert!(check(&fine, &["-q", "--explain"]).expect_code(0).stdout.contains("schedule"));

    let wrong =
        folder(&[("quayctl.toml", &format!("namspace = \"a\"\n{FINE}").replace("@sha256", ":1@sha"))]);
    let quiet = check(&wrong, &["-q"]).expect_code(2);
    assert_eq!(quiet.stdout, "");
    assert_eq!(quiet.stderr, check(&wrong, &[]).stderr);
    let doubtful = folder(&[("quayctl.toml", &FINE.replace("image-volume", "auto"))]);
    let quiet = check(&doubtful, &["-q"]).expect_code(0);
    assert!(quiet.stdout.is_empty() && quiet.stderr.starts_with("warning["), "{}", quiet.stderr);
}

#[test]
fn what_may_surprise_is_told_of_a_wrong_config_too() {
    let text = "namspace = \"a\"\n[[groups]]\nname = \"wrong\"\nimages = []\n\
        [[groups]]\nname = \"g\"\nimages = [\"a:1\"]\nschedule = \"0 0 31 2 *\"\n";
    let report = check(&folder(&[("quayctl.toml", text)]), &["-o", "json", "--strict"]).expect_code(2).json();
    let problems = report["problems"].as_array().unwrap().iter();
    let mut found: Vec<(&str, &str)> = problems
        .map(|problem| (problem["code"].as_str().unwrap(), problem["key"].as_str().unwrap()))
        .collect();
    found.sort_unstable();
    let expected = [
        ("empty-images", "groups[0].images"),
        ("mutable-tag", "groups[1].images[0]"),
        ("never-due", "groups[1].schedule"),
        ("no-carrier-image", "groups[1].carrier_image"),
        ("unknown-key", "namspace"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn json_has_exactly_the_promised_shape() {
    let text = "namspace = \"x\"\n[[groups]]\nname = \"g\"\nimages = [\"é:1\", \"ä\"]\n";
    let wrong = folder(&[("quayctl.toml", text)]);
    let mut command = quayctl();
    command.current_dir(&wrong).args(["check", "-o", "json"]).env("QUAYCTL_CONCURRENCY", "ten");
    let checked = ended(&mut command).expect_code(2);
    assert_eq!(checked.stderr, "");
    let mut report = checked.json();
    report["problems"].as_array_mut().unwrap().sort_by_key(|problem| problem["key"].to_string());
    let help = "as `quay.io/team/app:1.0` or `registry.example.com:5000/team/app@sha256:…`";
    let expected = json!({"version": 1, "problems": [
        {"severity": "error", "code": "wrong-type", "file": null, "line": null, "column": null,
         "key": "concurrency", "help": null,
         "message": "environment variable QUAYCTL_CONCURRENCY: expected an integer, found the string \"ten\""},
        {"severity": "error", "code": "bad-reference", "file": "quayctl.toml", "line": 4, "column": 11,
         "key": "groups[0].images[0]", "help": help,
         "message": "invalid image reference \"é:1\": invalid part `é` of a repository's name"},
        {"severity": "error", "code": "bad-reference", "file": "quayctl.toml", "line": 4, "column": 18,
         "key": "groups[0].images[1]", "help": help,
         "message": "invalid image reference \"ä\": invalid part `ä` of a repository's name"},
        {"severity": "error", "code": "unknown-key", "file": "quayctl.toml", "line": 1, "column": 1,
         "key": "namspace", "message": "unknown key `namspace`", "help": "did you mean `namespace`?"},
    ]});
    assert_eq!(report, expected);
    let yaml: Value = serde_saphyr::from_str(&check(&wrong, &["-o", "yaml"]).expect_code(2).stdout).unwrap();
    assert_eq!(yaml["problems"].as_array().map(Vec::len), Some(3));

    let fine = folder(&[("quayctl.toml", FINE)]);
    let report = check(&fine, &["-o", "json"]).expect_code(0).json();
    assert_eq!(report, json!({"version": 1, "problems": []}));
    for unreadable in ["nowhere.toml", "."] {
        let report = check(&fine, &["-o", "json", "--config", unreadable]).expect_code(2).json();
        let problem = &report["problems"][0];
        assert!(problem["file"] == unreadable && problem["line"].is_null(), "{problem}");
    }
    check(&fine, &["-o", "junit"]).expect_code(2);
    check(&fine, &["-o", "json", "--explain"]).expect_code(2);
}

#[test]
fn a_config_may_come_through_a_pipe_and_a_template_through_a_link() {
    let folder = folder(&[("quayctl.toml", FINE)]);
    for script in [
        "\"$0\" check --config <(cat quayctl.toml)",
        "cat quayctl.toml | \"$0\" check --config /dev/stdin",
        "\"$0\" check --config /dev/stdin < quayctl.toml",
        "mkfifo pipe; cat quayctl.toml > pipe & \"$0\" check --config pipe",
    ] {
        let mut bash = Command::new("bash");
        bash.env_clear().env("PATH", "/usr/bin:/bin").current_dir(&folder).args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_quayctl-controller"),
        ]);
        let checked = ended(&mut bash).expect_code(0);
        assert_eq!(checked.stdout, "1 group, 1 image: no problems\n", "{script}\n{}", checked.stderr);
    }

    // As a ConfigMap is mounted, and named as its user sees it.
    let version = folder.path().join("..2026_11_25_04_00_00.123");
    std::fs::create_dir(&version).unwrap();
    let config = "[[groups]]\nname = \"g\"\nimages = [\"a:1\"]\ntemplate = \"mine\"\n\
        [templates.mine]\nfile = \"mine.hbs\"\n";
    for (name, text) in [("mounted.toml", config), ("mine.hbs", "kind: Job\n{{> part}}")] {
        std::fs::write(version.join(name), text).unwrap();
        std::os::unix::fs::symlink(format!("..data/{name}"), folder.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink("..2026_11_25_04_00_00.123", folder.path().join("..data")).unwrap();
    // It is no part of the mount's version.
    std::fs::write(folder.path().join("part.hbs"), "").unwrap();
    let report = check(&folder, &["-o", "json", "--config", "mounted.toml"]).expect_code(2).json();
    let problem = &report["problems"][0];
    assert!(problem["file"] == "mine.hbs" && problem["line"] == 2, "{report}");
}

#[test]
fn explain_says_where_each_value_comes_from() {
    let config = "concurrency = 7\n\
        [defaults]\n\
        deadline = \"10m\"\n\
        values = { low = 1, high = 1 }\n\
        job_labels = { team = \"a\", \"kueue.x-k8s.io/queue-name\" = \"pulls\" }\n\
        [[groups]]\n\
        name = \"g\"\n\
        images = [\"nginx:1.29\"]\n\
        template = \"mine\"\n\
        values = { high = 3 }\n\
        overlap = \"wait\"\n\
        remove_taint = \"a:NoSchedule\"\n\
        [templates.mine]\n\
        file = \"mine.yaml.hbs\"\n\
        values = { high = 2, middle = 2 }\n";
    let template = std::fs::read_to_string(root().join("templates/image-volume.yaml.hbs")).unwrap();
    let folder = folder(&[("quayctl.toml", config), ("mine.yaml.hbs", &template)]);
    let mut command = quayctl();
    command.current_dir(&folder).args(["check", "--explain", "--instance", "blue"]);
    command.env("QUAYCTL_DEFAULTS__JOB_LABELS", "{ team = \"b\" }");
    command.env("QUAYCTL_RUN_DEADLINE", "2h").env("MY_POD_NAMESPACE", "pulls");
    let explained = ended(command.env("QUAYCTL_CARRIER_IMAGE", "c:1")).expect_code(0);
    let lines = explained.stdout.lines().filter_map(|line| line.split_once("  # "));
    let lines: BTreeMap<&str, &str> = lines.map(|(value, origin)| (value.trim(), origin)).collect();
    for (value, origin) in [
        ("namespace = \"pulls\"", "environment variable MY_POD_NAMESPACE"),
        ("instance = \"blue\"", "--instance or QUAYCTL_INSTANCE"),
        ("concurrency = 7", "quayctl.toml:1:15"),
        ("run_deadline = \"2h\"", "environment variable QUAYCTL_RUN_DEADLINE"),
        ("name = \"g\"", "quayctl.toml:7:8"),
        ("deadline = \"10m\"", "quayctl.toml:3:12"),
        ("pull_policy = \"IfNotPresent\"", "built-in default"),
        ("keep_jobs = \"1h\"", "built-in default"),
        ("carrier_image = \"c:1\"", "environment variable QUAYCTL_CARRIER_IMAGE"),
        ("overlap = \"wait\"", "quayctl.toml:11:11"),
        ("catch_up = true", "built-in default"),
        ("remove_taint = \"a:NoSchedule\"", "quayctl.toml:12:16"),
        ("job_labels.team = \"b\"", "environment variable QUAYCTL_DEFAULTS__JOB_LABELS"),
        ("job_labels.\"kueue.x-k8s.io/queue-name\" = \"pulls\"", "quayctl.toml:5:58"),
        ("job_annotations = {}", "built-in default"),
        (
            "tolerations += [{\"effect\":\"NoSchedule\",\"key\":\"a\",\"operator\":\"Exists\"}]",
            "implied by remove_taint",
        ),
        ("values.low = 1", "quayctl.toml:4:18"),
        ("values.middle = 2", "quayctl.toml:15:31"),
        ("values.high = 3", "quayctl.toml:10:19"),
    ] {
        assert_eq!(lines.get(value), Some(&origin), "{value}\n{}", explained.stdout);
    }
}

#[test]
fn schedules_show_their_next_times_and_selectors_what_they_select() {
    let config = format!(
        "{FINE}schedule = \"0 3 * * *\"\ntime_zone = \"Asia/Kolkata\"\nnode_selector = \"zone=fra\"\n"
    );
    let folder = folder(&[("quayctl.toml", &config)]);
    let nodes = root().join("tests/cases/nodes.yaml");
    let checked = check(&folder, &["--nodes", nodes.to_str().unwrap()]).expect_code(0);
    let [times, count] = checked.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{}", checked.stderr) };
    assert!(times.starts_with("g: `0 3 * * *` is due at "), "{times}");
    assert_eq!(times.matches(" 03:00 IST").count(), 3, "{times}");
    assert_eq!(count, "g: selects 2 of 3 nodes");

    std::fs::write(folder.path().join("quayctl.toml"), config.replace("0 3 * *", "0 3 31 2")).unwrap();
    let warned = check(&folder, &[]).expect_code(0);
    assert!(warned.stderr.contains("warning[never-due]"), "{}", warned.stderr);
    let nowhere = check(&folder, &["--nodes", "nowhere.yaml"]).expect_code(2);
    assert!(nowhere.stderr.contains("nowhere.yaml"), "{}", nowhere.stderr);
}

#[test]
fn problems_of_templates_point_into_their_own_text() {
    // Umlauts before the places: columns count characters.
    let own = "apiVersion: batch/v1\nkind: Job # ä {{lower group}}\nspec: {{upper group}}\n";
    let config = "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\ntemplate = \"own\"\n\
        [templates.own]\nfile = \"own.yaml.hbs\"\n\
        [templates.basic]\ninline = \"\"\"\nä: {{one x}}\n  b: {{two x}}\"\"\"\n\
        [templates.literal]\ninline = '''x: {{three x}}\n\"ü\": {{four x}}'''\n\
        [templates.line]\ninline = \"ö: {{five x}}\"\n";
    let folder = folder(&[("quayctl.toml", config), ("own.yaml.hbs", own)]);
    let report = check(&folder, &["-o", "json"]).expect_code(2).json();
    let mut found: Vec<String> = Vec::new();
    for problem in report["problems"].as_array().unwrap() {
        let number = |field: &str| usize::try_from(problem[field].as_u64().unwrap()).unwrap();
        let text = match problem["file"].as_str().unwrap() {
            "own.yaml.hbs" => own,
            "quayctl.toml" => config,
            other => panic!("{other}"),
        };
        let line = text.lines().nth(number("line") - 1).unwrap();
        let rest: String = line.chars().skip(number("column") - 1).collect();
        let tag = rest.strip_prefix("{{").unwrap_or_else(|| panic!("{problem} points at {rest:?}"));
        let helper = tag.split(' ').next().unwrap();
        assert!(problem["message"].as_str().unwrap().contains(&format!("`{helper}`")), "{problem}");
        found.push(helper.to_owned());
    }
    found.sort();
    assert_eq!(found, ["five", "four", "lower", "one", "three", "two", "upper"]);
}

#[test]
fn ten_thousand_groups_are_checked_in_one_go() {
    let group = |n| format!("[[groups]]\nname = \"g-{n}\"\nimages = [\"quay.io/team/app-{n}:1.0\"]\n");
    let groups: String = (0..10_000).map(group).collect();
    let begun = Instant::now();
    let checked = check(&folder(&[("quayctl.toml", &groups)]), &[]).expect_code(0);
    assert_eq!(checked.stdout, "10000 groups, 10000 images: 1 warning\n");
    assert!(checked.stderr.contains("for 10000 groups"), "{}", checked.stderr);
    let wrong = folder(&[("quayctl.toml", &groups.replace("images", "imags"))]);
    assert_eq!(check(&wrong, &[]).expect_code(2).stdout, "10000 errors\n");
    // A release build takes a fraction of a second for each; anything quadratic takes minutes.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn a_group_may_have_a_hundred_images() {
    let images: Vec<String> = (0..100).map(|n| format!("\"quay.io/team/app-{n}:1\"")).collect();
    let config =
        format!("[[groups]]\nname = \"g\"\nimages = [{}]\ntemplate = \"image-volume\"\n", images.join(", "));
    let checked = check(&folder(&[("quayctl.toml", &config)]), &[]).expect_code(0);
    assert_eq!(checked.stdout, "1 group, 100 images: no problems\n");
}

#[test]
fn no_half_of_any_config_panics() {
    // What an editor hands to a checker while somebody types.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quayctl.toml");
    let sources = Sources { path: Some(path.clone()), ..Sources::default() };
    for entry in std::fs::read_dir(root().join("tests/cases")).unwrap() {
        let config = std::fs::read(entry.unwrap().path().join("quayctl.toml")).unwrap_or_default();
        for cut in (0..config.len().min(1500)).step_by(37) {
            for half in [&config[..cut], &config[cut..]] {
                std::fs::write(&path, half).unwrap();
                if let Err(error) = load(&sources) {
                    assert!(error.shown(false).contains("error"));
                    assert!(!error.problems().is_empty());
                }
            }
        }
    }
}

#[test]
fn editors_and_shells_get_what_they_ask_for() {
    let schema = ended(quayctl().arg("schema")).expect_code(0).json();
    assert_eq!(schema["additionalProperties"], false);
    for (name, table) in schema["$defs"].as_object().unwrap() {
        assert!(table["type"] != "object" || table["additionalProperties"] == false, "{name}");
    }
    assert_eq!(schema["$defs"]["Group"]["required"], json!(["name", "images"]));

    for shell in ["bash", "zsh", "fish"] {
        let script = ended(quayctl().args(["completions", shell])).expect_code(0);
        assert!(script.stderr.is_empty() && script.stdout.contains("explain"), "{shell}");
    }
    ended(quayctl().args(["completions", "csh"])).expect_code(2);
    let man = ended(quayctl().arg("man")).expect_code(0);
    assert!(man.stdout.contains(".TH quayctl-controller") && man.stdout.contains(".SH"), "{}", man.stdout);

    let commands = ["run", "render", "check", "schema", "completions", "man", "plan"];
    for command in commands {
        assert!(man.stdout.contains(&format!("quayctl\\-controller\\-{command}(1)")), "{command}");
        let page = ended(quayctl().args(["man", command])).expect_code(0).stdout;
        assert!(page.contains(&format!(".TH quayctl-controller-{command} 1")), "{page}");
        // Global options are options of each command.
        assert!(page.contains("\\-\\-kubeconfig"), "{page}");
    }
    assert!(ended(quayctl().args(["man", "check"])).stdout.contains("\\-\\-explain"));
    assert!(
        ended(quayctl().args(["man", "chek"])).expect_code(2).stderr.contains("there are run, serve, render")
    );

    // And bash can read its script.
    let script = ended(quayctl().args(["completions", "bash"])).stdout;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = folder(&[("quayctl.toml", FINE)]);
    for args in [
        &["check"][..],
        &["check", "-o", "json"],
        &["check", "--explain"],
        &["schema"],
        &["man"],
        &["completions", "zsh"],
    ] {
        let mut command = quayctl();
        command.current_dir(&folder).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(0) && stderr.is_empty(), "{args:?}: {stderr}");
    }
}

#[test]
fn a_variable_that_is_read_and_cannot_be_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let fine = folder(&[("quayctl.toml", FINE)]);
    let not_utf8 = std::ffi::OsStr::from_bytes(b"5m\xff");
    for name in [
        "DEADLINE_SECONDS",
        "MY_POD_NAMESPACE",
        "QUAYCTL_CARRIER_IMAGE",
        "QUAYCTL_CONCURRENCY",
        "QUAYCTL_DEFAULTS__DEADLINE",
        "QUAYCTL_INSTANCE",
        "QUAYCTL_LOG",
        "QUAYCTL_RUN_ID",
        "QUAY_IMAGES",
    ] {
        let mut command = quayctl();
        let refused = ended(command.current_dir(&fine).arg("check").env(name, not_utf8)).expect_code(2);
        assert!(refused.stderr.contains(name), "{name}: {}", refused.stderr);
    }
    // Nobody reads it.
    let mut command = quayctl();
    let foreign = ended(command.current_dir(&fine).arg("check").env("QUAYCTL_CONTROLLER_PORT", not_utf8));
    assert_eq!(foreign.expect_code(0).stderr, "");
    // It may have been all there was to do.
    let empty = folder(&[]);
    let mut command = quayctl();
    let refused = ended(command.current_dir(&empty).arg("run").env("QUAY_IMAGES", not_utf8));
    assert!(refused.stderr.contains("QUAY_IMAGES") && refused.code == Some(2), "{}", refused.stderr);
}

#[test]
fn a_run_id_that_no_run_can_have_is_refused() {
    let fine = folder(&[("quayctl.toml", FINE)]);
    for (text, code) in [("Not_OK", 2), ("", 0), ("nightly-1", 0)] {
        let mut command = quayctl();
        ended(command.current_dir(&fine).arg("check").env("QUAYCTL_RUN_ID", text)).expect_code(code);
    }
    let report = check(&fine, &["-o", "json", "--run-id", "Not_OK"]).expect_code(2).json();
    assert_eq!(report["problems"][0]["code"], "bad-run-id");
}

#[test]
fn a_wrong_config_is_not_taken_to_a_cluster() {
    let folder = folder(&[("quayctl.toml", "groups = []\n")]);
    let mut command = quayctl();
    command.current_dir(&folder).args(["check", "--cluster", "--kubeconfig", "nowhere"]);
    ended(&mut command).expect_code(2);
    std::fs::write(folder.path().join("quayctl.toml"), FINE).unwrap();
    ended(&mut command).expect_code(3);
}

fn check_cluster(bed: &Bed, namespace: &str, config: &str) -> Ended {
    bed.quayctl(&["check", "--cluster", "-n", namespace], config)
}

#[test]
fn a_deadline_that_earlier_runs_ran_into_is_warned_of() {
    let bed = shared();
    let namespace = bed.namespace("short");
    let config = |deadline: &str| {
        format!(
            "[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/slow-20s:1\"]\ndeadline = \"{deadline}\"\n\
             node_selector = \"kubernetes.io/hostname in (node-010,node-011)\"\n"
        )
    };
    let before = check_cluster(bed, &namespace, &config("2s")).expect_code(0);
    assert!(!before.stderr.contains("is short"), "{}", before.stderr);
    bed.run(&namespace, &config("2s"), &[]).expect_code(1);
    let short = check_cluster(bed, &namespace, &config("3s")).expect_code(0);
    let told = "group \"g\": its deadline of 3s is short: of 2 earlier Jobs, the slowest (g-node-01";
    assert!(short.stderr.contains(told), "{}", short.stderr);
    let told = ") ran into its deadline of 2s, and 2 ran into a deadline;";
    assert!(short.stderr.contains(told) && short.stderr.contains("use 4s or more"), "{}", short.stderr);
    let raised = check_cluster(bed, &namespace, &config("4s")).expect_code(0);
    assert!(!raised.stderr.contains("is short"), "{}", raised.stderr);
}

#[test]
fn a_cluster_that_takes_it_all_is_asked_without_a_trace() {
    let bed = shared();
    let namespace = bed.namespace("check");
    // The bed has nodes of both kinds, so both built-in templates are tried.
    let checked = check_cluster(bed, &namespace, &FINE.replace("image-volume", "auto")).expect_code(0);
    assert_eq!(checked.stdout, "1 group, 1 image: no problems\n");
    assert!(!checked.stderr.contains("NO "), "{}", checked.stderr);
    for template in ["image-volume", "helper"] {
        let taken = format!("group \"g\", template {template}: the cluster takes its Job and its pod");
        assert!(checked.stderr.contains(&taken), "{}", checked.stderr);
    }
    assert!(bed.jobs(&namespace).is_empty());
    assert_eq!(bed.get(&["get", "pods", "-n", &namespace])["items"], json!([]));
}

#[test]
fn a_namespace_that_is_missing_is_named() {
    let checked = check_cluster(shared(), "never-created", FINE).expect_code(3);
    assert!(checked.stderr.contains("namespace \"never-created\" does not exist"), "{}", checked.stderr);
}

#[test]
fn what_the_api_server_refuses_is_told_in_its_own_words() {
    let bed = shared();
    let namespace = bed.namespace("check-refused");
    let config = |pod: &str| {
        format!(
            "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\ntemplate = \"mine\"\n[templates.mine]\n\
             inline = '''\napiVersion: batch/v1\nkind: Job\nspec: {{ template: {{ spec: {{ {pod}containers: \
             [{{ name: a, image: \"{{{{images.[0].reference}}}}\" }}] }} }} }}\n'''\n"
        )
    };
    // A Job that is taken and then sits there: its pod is what Pod Security refuses.
    let host = check_cluster(bed, &namespace, &config("hostNetwork: true, ")).expect_code(2);
    let words = ["the pod is refused: ", "violates PodSecurity \"restricted", "hostNetwork=true"];
    assert!(words.iter().all(|words| host.stderr.contains(words)), "{}", host.stderr);
    // And one that is not taken at all.
    let zero = check_cluster(bed, &namespace, &config("activeDeadlineSeconds: 0, ")).expect_code(2);
    let words = ["the Job is refused: ", "activeDeadlineSeconds"];
    assert!(words.iter().all(|words| zero.stderr.contains(words)), "{}", zero.stderr);
}

/// `check --cluster` as a service account, again and again until `is_it` or nobody would wait longer: the
/// API server learns of a new role within a moment.
fn check_as(
    kubeconfig: &std::path::Path,
    namespace: &str,
    config: &str,
    is_it: &dyn Fn(&Ended) -> bool,
) -> Ended {
    let begun = Instant::now();
    loop {
        let folder = folder(&[("quayctl.toml", config)]);
        let mut command = quayctl();
        command.current_dir(&folder).args(["check", "--cluster", "-n", namespace, "--kubeconfig"]);
        let checked = ended(command.arg(kubeconfig));
        if is_it(&checked) || begun.elapsed() > Duration::from_secs(20) {
            return checked;
        }
    }
}

#[test]
fn pull_secrets_are_looked_for_where_one_may() {
    let bed = shared();
    let namespace = bed.namespace("check-secrets");
    let kubectl = |args: &[&str]| ended(&mut bed.kubectl(args)).expect_code(0);
    let registry = ["docker-registry", "--docker-username=u", "--docker-password=hunter2", "-n", &namespace];
    for name in ["there", "in-template"] {
        let create = ["create", "secret", registry[0], name, "--docker-server=r.example.com"];
        kubectl(&[&create[..], &registry[1..]].concat());
    }
    let config = |secrets: &str| {
        format!(
            "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\ntemplate = \"mine\"\n\
             pull_secrets = [{secrets}]\n[templates.mine]\ninline = \"\"\"\n{}\"\"\"\n",
            std::fs::read_to_string(root().join("templates/image-volume.yaml.hbs"))
                .unwrap()
                .replace(
                    "      containers:\n",
                    "      imagePullSecrets: [{ name: in-template }]\n      containers:\n"
                )
                .replace("\"", "\\\"")
        )
    };
    let fine = check_cluster(bed, &namespace, &config("\"there\"")).expect_code(0);
    for secret in ["there", "in-template"] {
        let line = format!("pull secret {secret:?} exists in namespace {namespace}\n");
        assert!(fine.stderr.contains(&line), "{}", fine.stderr);
    }
    let lacking = check_cluster(bed, &namespace, &config("\"there\", \"gone\"")).expect_code(3);
    let line = format!("pull secret \"gone\" does not exist in namespace {namespace}; create it");
    assert!(lacking.stderr.contains(&line), "{}", lacking.stderr);
    // It is no reason not to ask about the Jobs.
    assert!(lacking.stderr.contains("the cluster takes its Job and its pod"), "{}", lacking.stderr);
    let quiet =
        bed.quayctl(&["check", "--cluster", "-q", "-n", &namespace], &config("\"gone\"")).expect_code(3);
    assert!(quiet.stderr.starts_with(&line) && quiet.stderr.lines().count() == 1, "{}", quiet.stderr);
    // A namespace that is missing has no Secrets, and that is said once.
    let nowhere = check_cluster(bed, "never-created", &config("\"gone\"")).expect_code(3);
    assert!(!nowhere.stderr.contains("pull secret"), "{}", nowhere.stderr);

    // Who may run and may not look at Secrets is told what was not looked at.
    kubectl(&["create", "serviceaccount", "runner", "-n", &namespace]);
    let account = format!("--serviceaccount={namespace}:runner");
    for (role, verbs, resources) in [
        ("jobs", "--verb=create,get,list,watch,patch", "--resource=jobs.batch"),
        ("reads", "--verb=list,watch", "--resource=pods,events"),
    ] {
        kubectl(&["create", "role", role, verbs, resources, "-n", &namespace]);
        kubectl(&["create", "rolebinding", role, &format!("--role={role}"), &account, "-n", &namespace]);
    }
    kubectl(&["create", "clusterrole", &namespace, "--verb=get,list", "--resource=nodes"]);
    let role = format!("--clusterrole={namespace}");
    kubectl(&["create", "clusterrolebinding", &namespace, &role, &account]);
    let token = kubectl(&["create", "token", "runner", "-n", &namespace]).stdout;
    let kubeconfig = bed.kubeconfig_with(token.trim());
    let config = config("\"there\", \"gone\"");
    let checked = check_as(kubeconfig.path(), &namespace, &config, &|checked| checked.code == Some(0));
    let checked = checked.expect_code(0);
    for secret in ["there", "gone", "in-template"] {
        let line =
            format!("pull secret {secret:?} in namespace {namespace} is not checked: you may not get it\n");
        assert!(checked.stderr.contains(&line), "{}", checked.stderr);
    }
    // One of them is a name that it may get.
    let role = ["create", "role", "secret", "--verb=get", "--resource=secrets", "--resource-name=gone"];
    kubectl(&[&role[..], &["-n", &namespace]].concat());
    kubectl(&["create", "rolebinding", "secret", "--role=secret", &account, "-n", &namespace]);
    let checked = check_as(kubeconfig.path(), &namespace, &config, &|checked| checked.code == Some(3));
    let checked = checked.expect_code(3);
    assert!(checked.stderr.contains("pull secret \"gone\" does not exist"), "{}", checked.stderr);
    assert!(checked.stderr.contains("pull secret \"there\" in namespace"), "{}", checked.stderr);
}

#[test]
fn missing_rights_are_listed_by_verb() {
    let bed = shared();
    let namespace = bed.namespace("check-rights");
    let kubectl = |args: &[&str]| ended(&mut bed.kubectl(args)).expect_code(0);
    let account = format!("--serviceaccount={namespace}:checker");
    let grant = |role: &str, verbs: &str, resources: &str| {
        let (verbs, resources) = (format!("--verb={verbs}"), format!("--resource={resources}"));
        kubectl(&["create", "role", role, &verbs, &resources, "-n", &namespace]);
        let role_flag = format!("--role={role}");
        kubectl(&["create", "rolebinding", role, &role_flag, &account, "-n", &namespace]);
    };
    kubectl(&["create", "serviceaccount", "checker", "-n", &namespace]);
    grant("jobs", "create,get,list,watch", "jobs.batch");
    grant("reads", "list,watch", "pods,events");
    let token = kubectl(&["create", "token", "checker", "-n", &namespace]).stdout;
    let kubeconfig = bed.kubeconfig_with(token.trim());
    let until = |is_it: &dyn Fn(&Ended) -> bool| check_as(kubeconfig.path(), &namespace, FINE, is_it);

    let missing = |checked: &Ended| checked.stderr.matches("NO ").count();
    let checked = until(&|checked| missing(checked) == 3).expect_code(3);
    for line in [
        "NO   get    nodes  in the whole cluster\n",
        "NO   list   nodes  in the whole cluster\n",
        &format!("NO   patch  jobs   in namespace {namespace}\n"),
        &format!("yes  create jobs   in namespace {namespace}\n"),
        &format!("yes  watch  events in namespace {namespace}\n"),
    ] {
        assert!(checked.stderr.contains(line), "{line}{}", checked.stderr);
    }
    assert_eq!(missing(&checked), 3, "{}", checked.stderr);

    // With those it goes on. What needs a right that no run needs is left out, and said.
    grant("patches", "patch", "jobs.batch");
    kubectl(&["create", "clusterrole", &namespace, "--verb=get,list", "--resource=nodes"]);
    let role = format!("--clusterrole={namespace}");
    kubectl(&["create", "clusterrolebinding", &namespace, &role, &account]);
    let checked = until(&|checked| checked.code == Some(0)).expect_code(0);
    assert!(checked.stderr.contains("the pod is not checked: you may not create pods"), "{}", checked.stderr);
}
