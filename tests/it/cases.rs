//! Golden folders: `tests/cases/<name>/quayctl.toml` goes in, `expected.yaml` or `expected.err` must
//! come out. A new behaviour is a new folder.
//!
//! * `nodes.yaml`: the nodes, where `tests/cases/nodes.yaml` will not do.
//! * `env`: environment variables, one `KEY=VALUE` a line.
//! * `expected.warnings`: what `check` says of a config that renders; without it, nothing.
//!
//! `UPDATE_CASES=1 cargo test --test it cases` writes what came out, to be read in the diff.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ended, ended, quayctl, root};

#[test]
fn every_case_gives_what_its_folder_expects() {
    let mut wrong = Vec::new();
    let folders = folders();
    assert!(folders.len() >= 60, "cases are missing: {folders:?}");
    for folder in folders {
        if let Err(difference) = check(&folder) {
            wrong.push(format!("{}: {difference}", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn folders() -> Vec<PathBuf> {
    let cases = fs::read_dir(root().join("tests/cases")).expect("tests/cases is there");
    let mut folders: Vec<PathBuf> =
        cases.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn check(folder: &Path) -> Result<(), String> {
    let nodes = match folder.join("nodes.yaml").exists() {
        true => "nodes.yaml",
        false => "../nodes.yaml",
    };
    let rendered = ended(command(folder, "render").args(["--nodes", nodes]));
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let refused = if update { rendered.code == Some(2) } else { folder.join("expected.err").exists() };
    let (file, found, code) = match refused {
        true => ("expected.err", without_log(&rendered.stderr), 2),
        false => ("expected.yaml", rendered.stdout.clone(), 0),
    };
    if rendered.code != Some(code) {
        return Err(format!("exit code {:?}, expected {code}\n{}", rendered.code, rendered.stderr));
    }
    if refused && !rendered.stdout.is_empty() {
        return Err(format!("a refused config still printed\n{}", rendered.stdout));
    }
    if update {
        let other = if refused { "expected.yaml" } else { "expected.err" };
        let _ = fs::remove_file(folder.join(other));
    }
    expect(folder, file, &found, update)?;

    let checked = ended(&mut command(folder, "check"));
    match refused {
        true => agrees(&rendered, &checked),
        false => expect(folder, "expected.warnings", &warnings(&checked)?, update),
    }
}

/// A command in `folder` with the environment that it asks for.
fn command(folder: &Path, name: &str) -> Command {
    let mut command = quayctl();
    command.current_dir(folder).args([name, "--config", "quayctl.toml", "--color", "never"]);
    let environment = fs::read_to_string(folder.join("env")).unwrap_or_default();
    let lines = environment.lines().filter(|line| !line.starts_with('#'));
    command.envs(lines.filter_map(|line| line.split_once('=')));
    command
}

/// `found` is what `file` holds; nothing is expected where there is no such file.
fn expect(folder: &Path, file: &str, found: &str, update: bool) -> Result<(), String> {
    let path = folder.join(file);
    if update && (!found.is_empty() || file == "expected.yaml") {
        fs::write(&path, found).expect("the expectation is written");
    } else if update && path.exists() {
        fs::remove_file(&path).expect("the old expectation goes");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    match found == expected {
        true => Ok(()),
        false => Err(format!("{file} differs\n--- expected\n{expected}\n--- found\n{found}")),
    }
}

/// Warnings that `render` logs have the time in them; `check` shows the same without.
fn without_log(stderr: &str) -> String {
    stderr.split_inclusive('\n').filter(|line| !line.contains("  WARN ")).collect()
}

/// What `check` says of a config that renders, without the times at which its schedules are due.
fn warnings(checked: &Ended) -> Result<String, String> {
    if checked.code != Some(0) {
        return Err(format!(
            "`check` exits with {:?} where `render` works\n{}",
            checked.code, checked.stderr
        ));
    }
    Ok(checked.stderr.split_inclusive('\n').filter(|line| !line.contains(" is due at ")).collect())
}

/// `check` refuses what `render` refuses, with the same errors.
fn agrees(rendered: &Ended, checked: &Ended) -> Result<(), String> {
    let errors = |ended: &Ended| -> Vec<String> {
        let titles = ended.stderr.lines().filter(|line| line.starts_with("error["));
        titles.map(str::to_owned).collect()
    };
    // A file that cannot be read has no place, so `render` says it in a line of its own.
    let same = errors(rendered).is_empty() || errors(rendered) == errors(checked);
    match checked.code == Some(2) && same {
        true => Ok(()),
        false => Err(format!("`check` exits with {:?} and says\n{}", checked.code, checked.stderr)),
    }
}
