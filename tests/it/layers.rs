//! Imports point the way that docs/architecture.md says, and no two files of a module need each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::root;

/// Files that still need each other in a circle. Nothing may be added.
const CIRCLES_LEFT: [&str; 13] = [
    "config::choice",
    "config::file",
    "config::keys",
    "config::kinds",
    "config::kinds::free",
    "config::kinds::images",
    "config::kinds::job_metadata",
    "config::kinds::tolerations",
    "config::schema",
    "config::template_tables",
    "config::validate",
    "config::values::check",
    "config::values::check::metadata",
];

type Segments = Vec<String>;

/// A file of either crate; to each other they are one tree, as the program's root re-exports the core's.
#[derive(Debug)]
struct Source {
    /// As `render::probe`; the file of a folder module is the module itself.
    module: Segments,
    /// Without comments and tests.
    text: String,
    /// What its `use` lines name: the name here, and the path.
    uses: Vec<(String, Segments)>,
    /// The same of `pub use` lines, which need nothing themselves.
    exported: Vec<Segments>,
}

#[derive(Debug)]
struct Tree(BTreeMap<Segments, Source>);

fn segments(path: &str) -> Segments {
    path.split("::").map(str::to_owned).collect()
}

fn collect(folder: &Path, module: &Segments, tree: &mut BTreeMap<Segments, Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if ["bin", "tests", "fixtures", "lib"].contains(&name.as_str()) {
            continue;
        }
        let module: Segments = module.iter().cloned().chain([name]).collect();
        if path.is_dir() {
            collect(&path, &module, tree);
        } else {
            let text = code(&fs::read_to_string(&path).unwrap());
            tree.insert(module.clone(), Source { module, text, uses: Vec::new(), exported: Vec::new() });
        }
    }
}

/// Without comments, and without the tests at the foot.
fn code(text: &str) -> String {
    let text = match text.find("#[cfg(test)]\nmod tests {") {
        Some(tests) => &text[..tests],
        None => text,
    };
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The paths that begin at the start of `text`: one, or with braces several.
fn paths(text: &str) -> Vec<Segments> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '*';
    let name: String = text.chars().take_while(|c| word(*c)).collect();
    let rest = &text[name.len()..];
    if let Some(inside) = rest.strip_prefix('{') {
        let mut depth = 0;
        let mut starts = vec![0];
        for (at, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => starts.push(at + 1),
                _ => {}
            }
        }
        return starts.into_iter().flat_map(|start| paths(inside[start..].trim_start())).collect();
    }
    match (name.as_str(), rest.strip_prefix("::")) {
        ("", _) => Vec::new(),
        ("self", None) => vec![Vec::new()],
        (name, None) => vec![vec![name.to_owned()]],
        (name, Some(rest)) => {
            let more = paths(rest.trim_start());
            let more = if more.is_empty() { vec![Vec::new()] } else { more };
            more.into_iter().map(|path| [vec![name.to_owned()], path].concat()).collect()
        }
    }
}

impl Tree {
    fn new() -> Tree {
        let mut files = BTreeMap::new();
        for folder in ["src", "crates/core/src"] {
            collect(&root().join(folder), &Vec::new(), &mut files);
        }
        let mut tree = Tree(files);
        let modules: Vec<Segments> = tree.0.keys().cloned().collect();
        for module in modules {
            let (mut uses, mut exported) = (Vec::new(), Vec::new());
            let source = &tree.0[&module];
            for (at, _) in source.text.match_indices("use ") {
                let before = source.text[..at].rsplit('\n').next().unwrap_or_default().trim();
                if !["", "pub", "pub(super)", "pub(crate)"].contains(&before) {
                    continue;
                }
                for path in paths(&source.text[at + "use ".len()..]) {
                    let Some(path) = tree.absolute(&source.module, &path) else { continue };
                    if before.starts_with("pub") {
                        exported.push(path.clone());
                    }
                    uses.push((path.last().unwrap().clone(), path));
                }
            }
            let source = tree.0.get_mut(&module).unwrap();
            (source.uses, source.exported) = (uses, exported);
        }
        tree
    }

    /// From the root; `None` for what is not ours.
    fn absolute(&self, from: &Segments, path: &[String]) -> Option<Segments> {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        let rest = &path[supers..];
        let base = match rest.first().map(String::as_str)? {
            _ if supers > 0 => from[..from.len().checked_sub(supers)?].to_vec(),
            "crate" | "quayctl_core" | "quayctl_controller" => return Some(rest[1..].to_vec()),
            "self" => return Some([from.clone(), rest[1..].to_vec()].concat()),
            child if self.0.contains_key(&[from.clone(), segments(child)].concat()) => from.clone(),
            _ => return None,
        };
        Some([base, rest.to_vec()].concat()).filter(|path| !path.is_empty())
    }

    /// The file that holds what a path names, through what modules re-export.
    fn file(&self, path: &[String], depth: usize) -> Option<&Segments> {
        let known = (1..=path.len()).rev().find_map(|length| self.0.get_key_value(&path[..length]))?;
        let (module, source) = known;
        let item = path.get(module.len());
        let through = item.and_then(|item| source.uses.iter().find(|(name, _)| name == item));
        match through {
            Some((_, path)) if depth < 8 => self.file(path, depth + 1),
            _ => Some(module),
        }
    }

    /// What the code of a file names of ours, from the root, apart from what it only hands on.
    fn named(&self, source: &Source) -> BTreeSet<Segments> {
        let mut named = BTreeSet::new();
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for (at, _) in source.text.match_indices("::") {
            let before = &source.text[..at];
            let start = before.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
            let first = &source.text[start..at];
            if !first.contains(':') {
                let found = paths(&source.text[start..]);
                named.extend(found.iter().filter_map(|path| self.absolute(&source.module, path)));
            }
        }
        named.retain(|path| !source.exported.contains(path));
        named
    }
}

/// The arrows of docs/architecture.md: `a → b, c` in the block below its heading.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, section) = text.split_once("\n## Dependency rules\n").expect("the section is there");
    let block = section.split("```").nth(1).and_then(|block| block.strip_prefix("text\n"));
    let lines = block.expect("its block is there").lines();
    let arrow = |line: &str| {
        let (from, to) = line.split_once('→').unwrap_or((line, ""));
        let to = to.split(',').map(|to| to.trim().to_owned()).filter(|to| !to.is_empty());
        (from.trim().to_owned(), to.collect())
    };
    lines.map(arrow).collect()
}

#[test]
fn imports_point_where_the_map_says() {
    let (tree, arrows) = (Tree::new(), arrows());
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in tree.0.values() {
        let module = &source.module[0];
        let imported = tree.named(source).into_iter().map(|path| path[0].clone());
        let known = imported.filter(|to| to != module && tree.0.contains_key(&segments(to)));
        let all = found.entry(module.clone()).or_default();
        for to in known {
            let allowed = arrows.get(module).is_some_and(|allowed| allowed.contains(&to));
            assert!(
                allowed,
                "{} imports {to}: docs/architecture.md has no such arrow",
                source.module.join("::")
            );
            all.insert(to);
        }
    }
    // And the map shows nothing that is not so.
    assert_eq!(arrows, found);
}

#[test]
fn no_files_of_a_module_need_each_other_in_a_circle() {
    let tree = Tree::new();
    let mut needs: BTreeMap<&Segments, BTreeSet<&Segments>> = BTreeMap::new();
    for source in tree.0.values() {
        let files = tree.named(source).into_iter().filter_map(|path| tree.file(&path, 0));
        // What a folder's module holds itself is there for all files in the folder.
        let needed = files.filter(|file| file[0] == source.module[0] && !source.module.starts_with(file));
        needs.insert(&source.module, needed.collect());
    }
    let reached = |from: &Segments| {
        let mut reached: BTreeSet<&Segments> = BTreeSet::new();
        let mut next: Vec<&Segments> = needs[from].iter().copied().collect();
        while let Some(file) = next.pop() {
            if reached.insert(file) {
                next.extend(&needs[file]);
            }
        }
        reached
    };
    let all: BTreeMap<&Segments, BTreeSet<&Segments>> =
        needs.keys().map(|file| (*file, reached(file))).collect();
    let circles: BTreeSet<Vec<String>> = all
        .iter()
        .filter(|(file, reached)| reached.contains(*file))
        .map(|(file, reached)| {
            let circle = reached.iter().filter(|other| all[**other].contains(file));
            circle.map(|file| file.join("::")).collect()
        })
        .collect();
    let left = |circle: &Vec<String>| circle.iter().all(|file| CIRCLES_LEFT.contains(&file.as_str()));
    let new: Vec<_> = circles.iter().filter(|circle| !left(circle)).collect();
    assert!(new.is_empty(), "{new:#?}");
}
