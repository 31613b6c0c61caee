//! Templates that ask for more work than any Job needs are answered within seconds: the whole program, from
//! reading the config to the last word about it.
//!
//! `cargo test` judges a build that is not optimised, and with patience. The bar is for the shipped one:
//! `QUAYCTL_BINARY=$(scripts/binary.sh) cargo test --test it hostile -- --nocapture`.

use std::time::{Duration, Instant};

use crate::support::{ended, optimised_binary, quayctl, root};

/// As large as a ConfigMap may be.
const CONFIG_BYTES_MAX: usize = 1 << 20;

fn bar() -> Duration {
    match optimised_binary() {
        Some(_) => Duration::from_secs(2),
        None => Duration::from_secs(40),
    }
}

/// A group of a hundred images, and a Job that has `pod` in it.
fn config(pod: &str, partials: &[(String, String)]) -> String {
    let images: String = (0..100).map(|n| format!("\"registry.example.com:5000/team/app{n}:1\",")).collect();
    let mut config = format!(
        "[[groups]]\nname = \"g\"\nimages = [{images}]\ntemplate = \"mine\"\n\n[templates.mine]\ninline = '''\n\
         apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n{pod}'''\n"
    );
    for (name, text) in partials {
        config.push_str(&format!("[templates.{name}]\ninline = '''\n{text}'''\n"));
    }
    assert!(config.len() <= CONFIG_BYTES_MAX, "{} bytes fit no ConfigMap", config.len());
    config
}

/// Containers for each image, so that nothing else is to be said of the template.
const ONE_FOR_EACH: &str = "      containers:\n{{#each images}}\n        - { name: \"i-{{index}}\", image: {{q reference}} }\n{{/each}}\n";

/// Partials, of which each includes the next one so many times, after `before`.
fn chain(length: usize, times: usize, before: &str) -> Vec<(String, String)> {
    let text = |n: usize| match n == length {
        true => "# end\n".to_owned(),
        false => format!("{before}{}", format!("{{{{> p{}}}}}\n", n + 1).repeat(times)),
    };
    (1..=length).map(|n| (format!("p{n}"), text(n))).collect()
}

fn each(levels: usize, inner: &str) -> String {
    format!("{}{inner}{}\n", "{{#each @root.images}}".repeat(levels), "{{/each}}".repeat(levels))
}

#[test]
fn hostile_templates_are_answered_within_seconds() {
    let containers =
        |container: &str, count: usize| format!("      containers:\n{}", container.repeat(count));
    let cases: Vec<(&str, String, &str)> = vec![
        (
            "eight partials x ten includes",
            config("{{> p1}}\n", &chain(8, 10, "")),
            "rendering was stopped here",
        ),
        ("chain of 3,000 partials", config("{{> p1}}\n", &chain(3000, 1, "")), "stand inside one another"),
        (
            "the same with text",
            config("{{> p1}}\n", &chain(3000, 1, &"# x\n".repeat(40))),
            "stand inside one another",
        ),
        (
            "partials given their data twice",
            config("{{> p1}}\n", &chain(40, 1, "{{> p40 a=this b=this}}\n")),
            "",
        ),
        ("four each over 100 images", config(&each(4, "{{reference}}"), &[]), "grows beyond 1 MiB"),
        ("four each that print nothing", config(&each(4, ""), &[]), "rendering was stopped here"),
        (
            "indent 200 x 2,000",
            config(&"{{indent 200 (toYaml images)}}\n".repeat(2000), &[]),
            "grows beyond 1 MiB",
        ),
        (
            "indent 200 x 20,000",
            config(&"{{indent 200 (toYaml images)}}\n".repeat(20_000), &[]),
            "too long to parse",
        ),
        (
            "5,000 containers with one type error",
            config(&containers("        - { name: a, image: b, args: [1] }\n", 5000), &[]),
            "invalid type: integer `1`",
        ),
        (
            "5,000 containers with five mistakes",
            config(
                &containers(
                    "        - { name: 1, image: b, args: [1], comand: [], tty: 5, stdin: x }\n",
                    5000,
                ),
                &[],
            ),
            "`spec.template.spec.containers.0.comand` is no field of a Job",
        ),
        (
            "20,000 containers of wrong fields and values",
            config(&containers("      - {name: A B, image: b, x: 1, env: [{}]}\n", 20_000), &[]),
            "",
        ),
        ("a million brackets", config(&"[".repeat(1_000_000), &[]), "inside one another"),
        (
            "60,000 variables that are not set",
            config(&"#{{values.x}}\n".repeat(60_000), &[]),
            "too long to parse",
        ),
        (
            "a hundred groups with the heaviest template that is let through",
            {
                let tests = format!(
                    "{ONE_FOR_EACH}{}",
                    each(1, &"{{#if (eq reference @root.group)}}{{/if}}".repeat(20))
                );
                let one = config(&tests, &[]);
                let (group, template) = one.split_once("[templates.mine]").unwrap();
                let groups: String = (0..100).map(|n| group.replace("\"g\"", &format!("\"g{n}\""))).collect();
                format!("{groups}[templates.mine]{template}")
            },
            "",
        ),
    ];
    let mut slow = Vec::new();
    for (name, config, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quayctl.toml");
        std::fs::write(&path, config).unwrap();
        let nodes = root().join("tests/cases/nodes.yaml");
        let commands = [&["check"][..], &["render", "--nodes", nodes.to_str().unwrap()]];
        // What is let through is rendered for each node of each group, and that takes as long as they are many.
        let count = if words.is_empty() && name.contains("hundred groups") { 1 } else { 2 };
        for more in &commands[..count] {
            let begun = Instant::now();
            let ended = ended(quayctl().args(*more).arg("--config").arg(&path));
            let took = begun.elapsed();
            println!("{:>8.3} s  {} {name}", took.as_secs_f64(), more[0]);
            if !words.is_empty() {
                assert_eq!(ended.code, Some(2), "{name}: {}", ended.stderr);
                assert!(ended.stderr.contains(words), "{name}: {}", ended.stderr);
            }
            if took > bar() {
                slow.push(format!("{name}: {} took {took:?}", more[0]));
            }
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
