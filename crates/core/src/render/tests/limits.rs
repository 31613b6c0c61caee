//! What no template may do: take seconds, overflow the stack, or print what somebody else wrote as it is.

use super::*;
use crate::render::work::{RENDERING_MAX, Work};

fn hundred() -> Vec<String> {
    let long = "x".repeat(100);
    (0..100).map(|n| format!("registry.example.com:5000/{long}/app{n}:1@sha256:{}", "0".repeat(64))).collect()
}

fn with_hundred(mut group: Group) -> Group {
    group.images = hundred().iter().map(|image| ImageRef::parse(image).unwrap()).collect();
    group
}

/// Why `mine`, which includes the other texts, cannot be rendered for a hundred images.
fn refusal(pod: &str, partials: &[(String, String)]) -> String {
    let mine = with_pod(pod);
    let mut texts: Vec<(&str, &str)> =
        partials.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    texts.push(("mine", &mine));
    match Renderer::new(&templates(&texts)) {
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Ok(renderer) => {
            let job = user_job(with_hundred(self::mine(&["nginx"])));
            renderer.render(&job).unwrap_err().to_string()
        }
    }
}

#[test]
fn a_hundred_images_render_in_every_built_in_template_and_in_copies_of_them() {
    let copies = [("image-volume", crate::config::IMAGE_VOLUME), ("helper", crate::config::HELPER)];
    for (name, text) in copies {
        let renderer = renderer(&[("mine", text)]);
        let group = with_hundred(mine(&["nginx"]));
        assert_eq!(renderer.probe(&group), Probe::default(), "{name}");
    }
    let renderer = renderer(&[]);
    for choice in [TemplateChoice::ImageVolume, TemplateChoice::Helper, TemplateChoice::Quayctl] {
        let job = job(with_hundred(group(&["nginx"], TemplateName::Auto)), choice);
        let work = Work::new();
        renderer.written(&job, "carrier", &work).unwrap();
        assert!(work.done() * 5 < RENDERING_MAX, "{} of {RENDERING_MAX}", work.done());
        let manifest = renderer.render(&job).unwrap();
        // The tool of 2017 pulls in containers of its own image.
        let shown = if job.template == TemplateChoice::Quayctl { 0 } else { 1 };
        assert!(manifest.image_containers.iter().all(|containers| containers.len() == shown));
    }
}

#[test]
fn the_reference_names_the_limits() {
    let reference = crate::config::schema::reference();
    for limit in [
        format!("prints at most {} MiB", crate::render::OUTPUT_BYTES_MAX >> 20),
        format!("at most {} deep", crate::render::scan::NESTING_MAX),
    ] {
        assert!(reference.contains(&limit), "{limit}");
    }
}

#[test]
fn partials_that_multiply_are_stopped_with_their_place() {
    let include = |n: usize| format!("{{{{> p{n}}}}}\n").repeat(10);
    let partials: Vec<_> =
        (1..=8).map(|n| (format!("p{n}"), if n == 8 { "#\n".into() } else { include(n + 1) })).collect();
    let refusal = refusal("{{> p1}}\n", &partials);
    assert!(refusal.starts_with("template `p"), "{refusal}");
    assert!(refusal.contains("line 1, column 1: rendering was stopped here"), "{refusal}");
}

#[test]
fn partials_that_copy_their_data_over_and_over_are_stopped() {
    let partials: Vec<_> = (1..=40)
        .map(|n| {
            (
                format!("p{n}"),
                if n == 40 { "#\n".into() } else { format!("{{{{> p{} a=this b=this}}}}\n", n + 1) },
            )
        })
        .collect();
    let refusal = refusal("{{> p1}}\n", &partials);
    assert!(refusal.contains("rendering was stopped here"), "{refusal}");
}

#[test]
fn chains_of_partials_and_blocks_end_before_the_stack_does() {
    let chain = |length: usize, around: &str, behind: &str| -> Vec<(String, String)> {
        let text = |n: usize| match n == length {
            true => "# end\n".to_owned(),
            false => format!("{around}\n{{{{> p{}}}}}\n{behind}\n", n + 1),
        };
        (1..=length).map(|n| (format!("p{n}"), text(n))).collect()
    };
    for partials in [chain(3000, "", ""), chain(40, &"{{#if group}}".repeat(40), &"{{/if}}".repeat(40))] {
        let refusal = refusal("{{> p1}}\n", &partials);
        assert!(refusal.contains("more than 50 blocks and partials stand inside one another"), "{refusal}");
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
    }
    let deepest = chain(25, "{{#if group}}", "{{/if}}");
    let texts: Vec<(&str, &str)> =
        deepest.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let renderer = renderer(&[&texts[..], &[("mine", &with_pod("{{> p1}}\n"))]].concat());
    renderer.render(&user_job(mine(&["nginx"]))).unwrap();
}

#[test]
fn loops_inside_one_another_are_stopped_even_if_they_print_nothing() {
    let loops =
        |inner: &str| format!("{}{inner}{}\n", "{{#each @root.images}}".repeat(4), "{{/each}}".repeat(4));
    for inner in [
        "",
        "{{#if (eq @root.images @root.images)}}{{/if}}",
        "{{#with @root.values.none}}{{else}}{{/with}}",
        "{{> p}}",
    ] {
        let refusal = refusal(&loops(inner), &[("p".into(), "{{!-- nothing --}}".into())]);
        assert!(refusal.contains("rendering was stopped here"), "{inner}: {refusal}");
    }
    let refusal = refusal(&loops("{{reference}}"), &[]);
    assert!(refusal.contains("line 9, column 89: here the manifest grows beyond 1 MiB"), "{refusal}");
}

#[test]
fn indenting_fills_no_memory() {
    let nested = format!("{{{{indent 0 {}(toYaml images){}}}}}\n", "(indent 200 ".repeat(48), ")".repeat(48));
    for pod in [nested, "{{indent 200 (toYaml images)}}\n".repeat(2000)] {
        let refusal = refusal(&pod, &[]);
        assert!(refusal.contains("here the manifest grows beyond 1 MiB"), "{refusal}");
    }
}

#[test]
fn each_unset_variable_is_told_and_how_many_more_there_are() {
    let pod: String = (0..60).map(|n| format!("      # {{{{values.x{n}}}}}\n")).collect();
    let probe = renderer(&[("mine", &with_pod(&pod))]).probe(&mine(&["nginx"]));
    assert_eq!(probe.errors.len(), 51);
    let told = |index: usize| probe.errors[index].to_string();
    assert!(told(49).contains("line 58, column 9: `values.x49` is not set"), "{}", told(49));
    assert_eq!(told(50), "template `mine`: and 10 more places at which it does not render");
}

#[test]
fn a_group_with_many_values_is_tried_without_trying_each() {
    let mut group = mine(&["nginx"]);
    group.values = (0..500).map(|n| (format!("k{n}"), json!("text"))).collect();
    let pod = "      nodeSelector:\n{{indent 8 (toYaml values)}}\n      hostname: {{values.k17}}\n";
    let probe = renderer(&[("mine", &with_pod(pod))]).probe(&group);
    let errors: Vec<String> = probe.errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(errors.join("\n"), @"template `mine`, line 11, column 17: `values.k17` can change the structure of the manifest; write it inside double quotes, or with `q`");
}

/// A branch that no rendering with invented values takes.
fn unreached(tag: &str) -> String {
    format!("{{{{#if (eq group \"never\")}}}}\n      hostname: {tag}\n{{{{/if}}}}\n")
}

#[test]
fn a_text_of_the_node_that_is_printed_as_it_is_is_refused_in_every_branch() {
    let tags = [
        "{{{node.name}}}",
        "{{&node.labels.x}}",
        "{{node.name}}",
        "'{{node.name}}'",
        "a-{{lookup node.labels \"x\"}}",
        "{{{default values.none node.name}}}",
        "{{indent 6 node.labels.x}}",
        "{{indent 6 (default node.labels.x \"y\")}}",
        "{{indent 6 (indent 2 (lookup node.labels values.key))}}",
        "{{{indent 6 node.name}}}",
        "\"{{q node.name}}\"",
        "'{{toYaml node.labels}}'",
        "{{#with node}}{{{name}}}{{/with}}",
        "{{#with node as |n|}}{{{n.name}}}{{/with}}",
        "{{#each node.labels}}{{{this}}}{{/each}}",
        "{{#each node.labels}}{{{@key}}}{{/each}}",
        "{{#each node.labels as |value key|}}{{{value}}}{{{key}}}{{/each}}",
        "{{#each images}}{{{@root.node.name}}}{{/each}}",
        "{{#each images}}{{{../node.name}}}{{/each}}",
        "{{{lookup (lookup this \"node\") \"name\"}}}",
    ];
    for tag in tags {
        let probe = renderer(&[("mine", &with_pod(&unreached(tag)))]).probe(&mine(&["nginx"]));
        assert!(!probe.errors.is_empty(), "{tag}");
        assert!(probe.errors.iter().all(|error| error.to_string().contains("line 10, column ")), "{tag}");
    }
    let texts = [("mine", with_pod(&unreached("{{> part}}"))), ("part", "\n{{{node.name}}}".to_owned())];
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let errors = renderer(&texts).probe(&mine(&["nginx"])).errors;
    insta::assert_snapshot!(errors.iter().map(ToString::to_string).collect::<String>(), @"template `part`, line 2, column 1: `{{{node.name}}}` prints without escaping; write `{{node.name}}` inside double quotes, or `{{q node.name}}`");
}

#[test]
fn other_texts_that_are_printed_as_they_are_are_warned_of_in_every_branch() {
    for tag in [
        "{{{values.x}}}",
        "{{indent 6 values.x}}",
        "{{indent 6 (default values.x values.y)}}",
        "\"{{q values.x}}\"",
        "'{{toYaml values}}'",
    ] {
        let renderer = renderer(&[("mine", &with_pod(&unreached(tag)))]);
        assert_eq!(renderer.warnings.len(), 1, "{tag}");
        assert_eq!(renderer.probe(&mine(&["nginx"])).errors, [], "{tag}");
    }
    for tag in [
        "{{q node.name}}",
        "\"{{node.name}}-{{group}}\"",
        "{{indent 6 (toYaml node.labels)}}",
        "{{indent 6 (q node.name)}}",
        "{{indent 6 \"text\"}}",
        "{{{toYaml node.labels}}}",
        "{{len node.name}}",
        "x # {{node.name}}",
        "|\n        {{node.name}}\n      subdomain: \"{{node.name}}\"",
        "{{#if node.name}}x{{/if}}",
    ] {
        let renderer = renderer(&[("mine", &with_pod(&unreached(tag)))]);
        assert_eq!(renderer.warnings, [], "{tag}");
        assert_eq!(renderer.probe(&mine(&["nginx"])).errors, [], "{tag}");
    }
}

#[test]
fn trying_many_groups_ends() {
    let tests = "{{#if (eq reference @root.group)}}{{/if}}".repeat(20);
    let renderer = renderer(&[("mine", &with_pod(&format!("{{{{#each images}}}}{tests}{{{{/each}}}}\n")))]);
    let mut prober = Prober::new(&renderer);
    let mut tried = 0;
    while prober.is_affordable() && tried < 1000 {
        let mut group = with_hundred(mine(&["nginx"]));
        group.name = format!("g{tried}");
        prober.probe(&group);
        tried += 1;
    }
    assert!((5..1000).contains(&tried), "{tried}");
}
