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

    fn run(&self, script: &str) -> Ended {
        let folder = self.folder.path();
        let path = format!("{}:/usr/bin:/bin", folder.join("bin").display());
        let mut command = Command::new(folder.join(script));
        command.current_dir(folder).env_clear().env("PATH", path).env("HOME", folder);
        ended(&mut command)
    }
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().unwrap().to_str().unwrap()
}

/// `make test` with parts that end with these codes: the Rust tests, the bed's, deploy/ and the image.
fn make_test(rust: u8, bed: u8, deploy: u8, image: u8) -> (Ended, Vec<String>) {
    let scripts = Scripts::with(&[
        "tests/test.sh",
        "tests/parts.sh",
        "tests/cache.sh",
        "Cargo.lock",
        "rust-toolchain.toml",
    ]);
    scripts.write("tests/prerequisites.sh", "#!/bin/sh\nexit 0\n");
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
    let ended = scripts.run("tests/test.sh");
    let calls = scripts.calls();
    (ended, calls)
}

#[test]
fn make_test_runs_every_part_and_then_says_which_failed() {
    for (codes, failed) in [
        ([0, 0, 0, 0], None),
        ([101, 0, 0, 0], Some("1 of 4 parts failed: Rust (exit code 101)")),
        ([0, 1, 0, 0], Some("1 of 4 parts failed: the test bed (exit code 1)")),
        ([101, 0, 2, 1], Some("3 of 4 parts failed: Rust (exit code 101), deploy/ (exit code 2), the image")),
    ] {
        let [rust, bed, deploy, image] = codes;
        let (ended, calls) = make_test(rust, bed, deploy, image);
        let programs: Vec<&str> = calls.iter().filter_map(|call| call.split(' ').next()).collect();
        assert_eq!(programs, ["cargo", "go", "cargo", "deploy_test.sh", "image_test.sh"], "{codes:?}");
        assert!(calls[0].contains("--no-fail-fast"), "a test binary keeps none of the others from running");
        assert_eq!(ended.code, Some(failed.is_some().into()), "{codes:?}\n{}", ended.stderr);
        assert!(failed.is_none_or(|failed| ended.stderr.contains(failed)), "{codes:?}\n{}", ended.stderr);
        // The runners' own last lines, also of those that ran long ago, are the last on stdout.
        let last: Vec<&str> = ended.stdout.lines().rev().take(4).collect();
        let starts = ["29 passed, ", "52 passed, ", "ok  \tquayctl.test/bed", "test result: "];
        assert!(last.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{last:?}");
    }
}
