//! The scripts behind the Makefile, with stand-ins for what takes long.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Ended, ended, root};

/// A folder with scripts of this repository, and stand-ins for everything they call.
struct Scripts {
    folder: TempDir,
}

impl Scripts {
    /// `real` are copied from the repository as they are.
    fn with(real: &[&str]) -> Scripts {
        let scripts = Scripts { folder: tempfile::tempdir().unwrap() };
        for path in real {
            scripts.write(path, &fs::read_to_string(root().join(path)).unwrap());
        }
        scripts
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program in its place that does what `body` says, after it has told `calls` that it was called.
    fn stand_in(&self, path: &str, body: &str) {
        let calls = self.folder.path().join("calls");
        let called = format!("echo {} \"$*\" >>'{}'", file_name(path), calls.display());
        self.write(path, &format!("#!/usr/bin/env bash\n{called}\n{body}\n"));
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        calls.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn run(&self, script: &str, args: &[&str], environment: &[(&str, &str)]) -> Ended {
        let folder = self.folder.path();
        let path = format!("{}:/usr/bin:/bin", folder.join("bin").display());
        let mut command = Command::new(folder.join(script));
        command.current_dir(folder).args(args).env_clear().env("PATH", path).env("HOME", folder);
        ended(command.envs(environment.iter().copied()))
    }
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().unwrap().to_str().unwrap()
}

/// `make test` with parts that end with these codes: the Rust tests, the bed's, deploy/, the image and real
/// nodes. Of real nodes this machine has only what `prerequisites` says.
fn make_test(codes: [u8; 5], prerequisites: &str) -> (Ended, Vec<String>) {
    let [rust, bed, deploy, image, nodes] = codes;
    let scripts = Scripts::with(&[
        "tests/test.sh",
        "tests/parts.sh",
        "scripts/cache.sh",
        "tests/cluster/go.sh",
        "Cargo.lock",
        "rust-toolchain.toml",
    ]);
    scripts.write("scripts/prerequisites.sh", &format!("#!/bin/sh\n{prerequisites}\n"));
    scripts.write("tests/cluster/build.sh", "#!/bin/sh\necho /nonexistent\n");
    let result = |failed: u8| if failed == 0 { "ok" } else { "FAILED" };
    let closing = format!(
        "[ \"$1\" != build ] || exit 0\necho 'test result: {}. 3 passed; {rust} failed; 0 ignored'\nexit {rust}",
        result(rust)
    );
    scripts.stand_in("bin/cargo", &closing);
    scripts.stand_in("bin/go", &format!("printf 'ok  \\tquayctl.test/bed\\t0.1s\\n'; exit {bed}"));
    scripts.stand_in("tests/deploy_test.sh", &format!("echo '52 passed, {deploy} failed'; exit {deploy}"));
    scripts.stand_in("tests/image_test.sh", &format!("echo '29 passed, {image} failed'; exit {image}"));
    scripts.stand_in(
        "tests/e2e.sh",
        &format!("echo 'test result: {}. 40 passed; {nodes} failed'; exit {nodes}", result(nodes)),
    );
    let ended = scripts.run("tests/test.sh", &[], &[]);
    let calls = scripts.calls();
    (ended, calls)
}

#[test]
fn make_test_runs_every_part_and_then_says_which_failed() {
    for (codes, failed) in [
        ([0, 0, 0, 0, 0], None),
        ([101, 0, 0, 0, 0], Some("1 of 5 parts failed: Rust (exit code 101)")),
        ([0, 1, 0, 0, 0], Some("1 of 5 parts failed: the test bed (exit code 1)")),
        ([0, 0, 0, 0, 101], Some("1 of 5 parts failed: real nodes (exit code 101)")),
        (
            [101, 0, 2, 1, 0],
            Some("3 of 5 parts failed: Rust (exit code 101), deploy/ (exit code 2), the image"),
        ),
    ] {
        let (ended, calls) = make_test(codes, "exit 0");
        let programs: Vec<&str> = calls.iter().filter_map(|call| call.split(' ').next()).collect();
        assert_eq!(
            programs,
            ["cargo", "go", "go", "cargo", "deploy_test.sh", "image_test.sh", "e2e.sh"],
            "{codes:?}"
        );
        assert!(calls[0].contains("--no-fail-fast"), "a test binary keeps none of the others from running");
        assert_eq!(ended.code, Some(failed.is_some().into()), "{codes:?}\n{}", ended.stderr);
        assert!(failed.is_none_or(|failed| ended.stderr.contains(failed)), "{codes:?}\n{}", ended.stderr);
        // The runners' own last lines, also of those that ran long ago, are the last on stdout.
        let last: Vec<&str> = ended.stdout.lines().rev().take(6).collect();
        let bed = "ok  \tquayctl.test/bed"; // its own module, and the registry's
        let starts = ["test result: ", "29 passed, ", "52 passed, ", bed, bed, "test result: "];
        assert!(last.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{last:?}");
    }
}

#[test]
fn make_test_says_what_this_machine_cannot_do_and_counts_it() {
    let missing = "case \"$*\" in *nodes*) ;; *) exit 0 ;; esac\n\
        echo 'missing on this machine:' >&2; echo '  root: nodes need it' >&2; echo '  runc: install runc' >&2; exit 1";
    let (ended, calls) = make_test([0; 5], missing);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = "make test: real nodes: skipped: root: nodes need it; runc: install runc\n";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(ended.stderr.contains("skipped: 1 of 5 parts: real nodes"), "{}", ended.stderr);
    assert!(!calls.iter().any(|call| call.starts_with("e2e.sh")), "{calls:?}");
}

/// `make demo` with a controller that ends with `code` and tells its environment.
fn make_demo(code: u8, environment: &[(&str, &str)]) -> (Ended, Vec<String>) {
    let scripts = Scripts::with(&["scripts/demo.sh"]);
    scripts.write("scripts/prerequisites.sh", "#!/bin/sh\nexit 0\n");
    scripts.stand_in("tests/cluster/build.sh", "echo \"$PWD/bed\"");
    scripts.stand_in("bed/bed", "exit 0");
    scripts.stand_in("scripts/binary.sh", "echo \"$PWD/built/quayctl-controller\"");
    scripts.stand_in("built/quayctl-controller", &format!("env | LC_ALL=C sort; exit {code}"));
    let ended = scripts.run("scripts/demo.sh", &[], environment);
    let calls = scripts.calls();
    (ended, calls)
}

#[test]
fn the_demo_prints_exactly_what_it_runs_and_ends_as_that_does() {
    // What a user's shell may hold does not speak for the controller.
    let environment =
        [("QUAYCTL_CARRIER_IMAGE", "c:1"), ("QUAYCTL_NAMESPACE", "mine"), ("QUAY_IMAGES", "nginx:1.29")];
    for code in [0, 1] {
        let (ended, calls) = make_demo(code, &environment);
        assert_eq!(ended.code, Some(code.into()), "{}", ended.stderr);
        let shown = ended.stderr.lines().find_map(|line| line.strip_prefix("$ ")).unwrap();
        let words: Vec<&str> = shown.split(' ').collect();
        let [kubeconfig, program, arguments @ ..] = &words[..] else { panic!("{shown}") };
        assert!(program.ends_with("/quayctl-controller"), "{shown}");
        let called = format!("quayctl-controller {}", arguments.join(" "));
        assert_eq!(called, "quayctl-controller run --config config/quayctl.toml");
        assert!(calls.contains(&called), "{calls:?}");
        let set: Vec<&str> =
            ended.stdout.lines().filter(|line| line.contains("QUAY") || line.contains("KUBE")).collect();
        assert_eq!(set, [*kubeconfig], "the environment that was printed, and no more");
        let ended_bed = calls.iter().any(|call| call.starts_with("bed down --dir "));
        assert!(ended_bed && calls.contains(&"binary.sh dev".to_owned()), "{calls:?}");
        assert!(calls.contains(&"build.sh kube etcd bed".to_owned()), "the demo needs no kubectl: {calls:?}");
    }
}

#[test]
fn the_demo_says_why_the_controller_was_not_built() {
    let scripts = Scripts::with(&["scripts/demo.sh"]);
    scripts.write("scripts/prerequisites.sh", "#!/bin/sh\nexit 0\n");
    scripts.stand_in("tests/cluster/build.sh", "echo \"$PWD/bed\"");
    scripts.stand_in("bed/bed", "exit 0");
    scripts.stand_in("scripts/binary.sh", "echo 'error[E0425]: cannot find value' >&2; exit 101");
    let ended = scripts.run("scripts/demo.sh", &[], &[]).expect_code(1);
    assert!(ended.stderr.contains("error[E0425]: cannot find value"), "{}", ended.stderr);
    assert!(!scripts.calls().iter().any(|call| call.starts_with("bed up")), "{:?}", scripts.calls());
}

/// The bed's build with a stand-in for go that compiles nothing.
fn bed_build() -> Scripts {
    let scripts = Scripts::with(&["tests/cluster/build.sh", "tests/cluster/go.sh"]);
    for program in ["kube", "kubectl", "bed", "node", "sandbox"] {
        scripts.write(&format!("tests/cluster/{program}/main.go"), "package main\n");
    }
    for module in [".", "etcd", "registry", "containerd"] {
        for file in ["go.mod", "go.sum", "main.go"] {
            scripts.write(&format!("tests/cluster/{module}/{file}"), "package main\n");
        }
    }
    let body = "case $1 in\n\
        env) echo go1.26.8 ;;\n\
        list) printf 'P a\\nF a %s\\nP b a\\nF b %s\\n' \"$PWD/go.mod\" \"$PWD/go.sum\" ;;\n\
        build)\n\
            printf 'a\\nb\\n' >&2\n\
            while [ \"$1\" != -o ]; do shift; done\n\
            printf '#!/bin/sh\\n' >\"$2\"; chmod 755 \"$2\" ;;\n\
        esac";
    scripts.stand_in("bin/go", body);
    scripts
}

#[test]
fn the_bed_is_built_of_the_programs_that_are_asked_for() {
    let scripts = bed_build();
    let cache = scripts.folder.path().join("cache");
    let environment = [("XDG_CACHE_HOME", cache.to_str().unwrap())];
    let built = |programs: &[&str]| {
        let ended = scripts.run("tests/cluster/build.sh", programs, &environment).expect_code(0);
        let folder = ended.stdout.trim().to_owned();
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        (names, ended.stderr)
    };
    let control_plane = ["kube", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    let (demo, said) = built(&["kube", "etcd", "bed"]);
    assert_eq!(demo, [&["bed", "etcd"][..], &control_plane].concat());
    assert_eq!(said.matches("built ").count(), 3, "{said}");
    let (all, said) = built(&[]);
    assert_eq!(all, [&["bed", "etcd"][..], &control_plane, &["kubectl"]].concat());
    assert_eq!(said.matches("built ").count(), 1, "the others were there: {said}");
    let (real, said) = built(&["all"]);
    let runtime = ["containerd", "containerd-shim-runc-v2", "ctr"];
    let nodes = ["kube-proxy", "kube-scheduler", "kubectl", "kubelet", "node", "registry", "sandbox"];
    let sorted = [&["bed"][..], &runtime, &["etcd"], &control_plane[..3], &nodes].concat();
    assert_eq!(real, sorted);
    assert_eq!(said.matches("built ").count(), 6, "the others were there: {said}");
    let refused = scripts.run("tests/cluster/build.sh", &["kwok"], &environment).expect_code(1);
    assert!(refused.stderr.contains("use: kube etcd kubectl bed node "), "{}", refused.stderr);
}

#[test]
fn every_target_of_make_calls_a_script_that_is_there() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let named = |line: &str| {
        let (target, rest) = line.split_once(':')?;
        (rest.contains("##") && !target.contains(' ')).then(|| target.to_owned())
    };
    let targets: Vec<String> = makefile.lines().filter_map(named).collect();
    assert!(targets.len() > 10, "{targets:?}");
    for (target, variable) in targets.iter().flat_map(|target| [(target, "REAL="), (target, "REAL=1")]) {
        let dry = Command::new("make").args(["-n", target, variable]).current_dir(root()).output().unwrap();
        assert!(dry.status.success(), "make -n {target}");
        let words = String::from_utf8(dry.stdout).unwrap();
        let is_end = |c: char| c.is_whitespace() || "()'\"@;".contains(c);
        for script in words.split(is_end).filter(|word| word.ends_with(".sh") || word.ends_with(".py")) {
            assert!(
                root().join(script).is_file(),
                "make {target} {variable} calls {script}, which is not there"
            );
        }
    }
}
