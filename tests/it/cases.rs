//! Golden folders: `tests/cases/<name>/quayctl.toml` goes in, `expected.yaml` or `expected.err` must
//! come out. A new behaviour is a new folder.
//!
//! `UPDATE_CASES=1 cargo test --test it cases` writes what came out, to be read in the diff.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{ended, quayctl, root};

#[test]
fn every_case_gives_what_its_folder_expects() {
    let mut wrong = Vec::new();
    let folders = folders();
    assert!(folders.len() >= 10, "cases are missing: {folders:?}");
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
    let mut command = quayctl();
    command.current_dir(folder).args([
        "render",
        "--config",
        "quayctl.toml",
        "--nodes",
        nodes,
        "--color",
        "never",
    ]);
    let run = ended(&mut command);
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let refused = if update { run.code == Some(2) } else { folder.join("expected.err").exists() };
    let (file, found, code) = match refused {
        true => ("expected.err", &run.stderr, 2),
        false => ("expected.yaml", &run.stdout, 0),
    };
    if run.code != Some(code) {
        return Err(format!("exit code {:?}, expected {code}\n{}", run.code, run.stderr));
    }
    if refused && !run.stdout.is_empty() {
        return Err(format!("a refused config still printed\n{}", run.stdout));
    }
    let path = folder.join(file);
    if update {
        fs::write(&path, found).expect("the expectation is written");
    }
    let expected = fs::read_to_string(&path).map_err(|e| format!("{file}: {e}"))?;
    match *found == expected {
        true => Ok(()),
        false => Err(format!("{file} differs\n--- expected\n{expected}\n--- found\n{found}")),
    }
}
