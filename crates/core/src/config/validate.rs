//! From the layered tree to a [`Config`], or to everything that is wrong with it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use figment::value::{Dict, Value};
use serde_json::json;

use super::code::Code;
use super::file::{Findings, Path, Step, Table, closest, described, integer};
use super::problem::Severity;
use super::serving::ServeSettings;
use super::settings::Settings;
use super::template::{BUILT_IN_NAMES, TemplateName};
use super::values::check::{GroupValues, Noted, Values, check_defaults, check_group};
use super::{Config, Group, ImageRef, PullPolicy, Templates, name, sha256_hex};

/// Enough for every workload of a platform team; more belong into a second group.
const IMAGES_MAX: usize = 100;
/// What a misspelt key may be meant for.
const TOP_LEVEL: [&str; 7] =
    ["concurrency", "defaults", "groups", "instance", "namespace", "run_deadline", "templates"];
const DEFAULT_CONCURRENCY: usize = 20;
const DEFAULT_DEADLINE_SECONDS: u32 = 300;
const DEFAULT_KEEP_JOBS_SECONDS: u32 = 3600;

/// A `[templates.NAME]` table as written.
#[derive(Debug)]
pub struct TemplateTable {
    pub name: String,
    pub source: TemplateSource,
    pub values: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug)]
pub enum TemplateSource {
    /// A path relative to the config, and where it stands.
    File(String, Path),
    Inline(String),
}

/// The `[templates]` of the tree; their files are yet to be read.
pub fn template_tables(tree: &Dict, findings: &mut Findings) -> Vec<TemplateTable> {
    let Some(tables) = Table::root(tree).table("templates", findings) else { return Vec::new() };
    tables.entries().filter_map(|(name, value, path)| template_table(name, value, path, findings)).collect()
}

fn template_table(name: &str, value: &Value, path: Path, findings: &mut Findings) -> Option<TemplateTable> {
    let mut table = Table::of(value, path.clone(), findings)?;
    if BUILT_IN_NAMES.contains(&name) {
        let message = format!("`{name}` is a built-in template");
        findings.error_at(
            Code::ReservedTemplate,
            &path,
            super::file::Target::Key,
            message,
            "choose another name",
        );
    }
    if !name::is_label(name) {
        let help = "use lower-case letters, digits and dashes";
        findings.error_at(
            Code::BadName,
            &path,
            super::file::Target::Key,
            format!("{name:?} is no name of a template"),
            help,
        );
    }
    let file = table.string("file", findings);
    let inline = table.string("inline", findings);
    let values = table.table("values", findings).map(|table| super::settings::values(&table, findings));
    let has_none = table.lacks("file") && table.lacks("inline");
    let source = match (file, inline) {
        (Some(("", path)), None) => {
            let help = "name a file beside the config, as `mine.yaml.hbs`";
            findings.error(
                Code::BadTemplate,
                &path,
                format!("the file of template `{name}` has no name"),
                help,
            );
            None
        }
        (Some((file, path)), None) => Some(TemplateSource::File(file.to_owned(), path)),
        (None, Some((text, _))) => Some(TemplateSource::Inline(text.to_owned())),
        (Some(_), Some((_, path))) => {
            findings.error(
                Code::BadTemplate,
                &path,
                "a template has either `file` or `inline`, not both",
                "remove one",
            );
            None
        }
        (None, None) if !has_none => None,
        (None, None) => {
            findings.error(
                Code::BadTemplate,
                &path,
                format!("template `{name}` has no text"),
                "set `file` or `inline`",
            );
            None
        }
    };
    table.finish(findings, |_| None);
    let values = values.unwrap_or_default();
    Some(TemplateTable { name: name.to_owned(), source: source?, values })
}

/// The whole config. Where anything was wrong it has been noted, and the templates are given back, with
/// the groups that can be rendered all the same.
pub fn validate(
    tree: &Dict,
    templates: Templates,
    template_tables: &[TemplateTable],
    findings: &mut Findings,
) -> Result<Config, (Vec<Group>, Templates)> {
    let mut root = Table::root(tree);
    let mut user: BTreeSet<&str> = template_tables.iter().map(|table| table.name.as_str()).collect();
    // A table that is itself wrong is still defined: its groups are not to blame.
    user.extend(templates_in(tree));

    let namespace =
        root.string("namespace", findings).and_then(|(text, path)| label(text, &path, "namespace", findings));
    let instance =
        root.string("instance", findings).and_then(|(text, path)| label(text, &path, "instance", findings));
    let concurrency = root.take("concurrency").and_then(|(value, path)| at_least_one(value, &path, findings));
    let run_deadline_seconds = root
        .string("run_deadline", findings)
        .and_then(|(text, path)| super::settings::seconds(text, &path, 1, findings));
    let defaults = match root.table("defaults", findings) {
        Some(mut table) => {
            let mut settings = Settings::read(&mut table, &user, findings);
            settings.template_is_wrong |= table.misspells("template");
            table.finish(findings, |key| match key {
                "name" | "images" | "schedule" => Some(format!("`{key}` belongs into each group")),
                _ => None,
            });
            settings
        }
        None => Settings::default(),
    };
    root.take("templates");
    let mut shared = Shared {
        defaults: &defaults,
        user: &user,
        template_tables,
        noted: Noted::default(),
        knows_all_templates: true,
    };
    let groups = groups(&mut root, &mut shared, findings);
    if let (Some(values), true) = (&defaults.values, shared.knows_all_templates) {
        let of_groups: Vec<GroupValues<'_>> = groups.iter().map(|(group, _)| group.into()).collect();
        check_defaults(values, &of_groups, &templates, &mut shared.noted, findings);
    }
    let mut inherited = root.misspells("defaults") || root.misspells("templates");
    root.finish(findings, |_| None);
    if findings.has_errors() {
        // A value that is missing because it is wrong would be missed by the templates once more; any other
        // mistake in `[defaults]` leaves a default that renders as well.
        let mut wrong_templates = BTreeSet::new();
        for finding in findings.0.iter().filter(|finding| finding.severity == Severity::Error) {
            match &finding.path.0[..] {
                [Step::Key(table)] if table == "defaults" => inherited = true,
                [Step::Key(table), key, ..] if table == "defaults" => inherited |= renders_otherwise(key),
                [Step::Key(table), Step::Key(name), ..] if table == "templates" => {
                    wrong_templates.insert(name.as_str());
                }
                _ => {}
            }
        }
        let groups = groups.into_iter().filter(|(group, can_render)| {
            *can_render && !inherited && !wrong_templates.contains(group.template.as_str())
        });
        return Err((groups.map(|(group, _)| group).collect(), templates));
    }
    let groups = groups.into_iter().map(|(group, _)| group).collect();
    let mut config = Config {
        namespace,
        instance: instance.unwrap_or_else(|| "default".to_owned()),
        concurrency: concurrency.or(NonZeroUsize::new(DEFAULT_CONCURRENCY)).unwrap_or(NonZeroUsize::MIN),
        run_deadline_seconds,
        groups,
        templates,
        hash: String::new(),
    };
    config.hash = hash(&config);
    Ok(config)
}

/// What all groups are read with, and what was seen of all of them.
struct Shared<'a> {
    defaults: &'a Settings,
    /// The names of the templates that the file defines.
    user: &'a BTreeSet<&'a str>,
    template_tables: &'a [TemplateTable],
    noted: Noted,
    /// Of no group it is unknown which template it has.
    knows_all_templates: bool,
}

impl<'a> From<&'a Group> for GroupValues<'a> {
    fn from(group: &'a Group) -> GroupValues<'a> {
        let image_lengths = group.images.iter().map(|image| image.to_string().len()).collect();
        GroupValues {
            template: &group.template,
            own: None,
            path: Path::default(),
            inherited: None,
            image_lengths,
        }
    }
}

/// The groups that have a name, each with whether its template can be tried, whatever else is wrong.
fn groups(root: &mut Table<'_>, shared: &mut Shared<'_>, findings: &mut Findings) -> Vec<(Group, bool)> {
    let list = match root.take("groups") {
        Some((Value::Array(_, values), path)) => Some((values.as_slice(), path)),
        Some((other, path)) => {
            let message = format!("expected a list of tables, found {}", described(other));
            findings.error(Code::WrongType, &path, message, "each group is a table of its own: `[[groups]]`");
            None
        }
        None => None,
    };
    if root.lacks("groups") || list.as_ref().is_some_and(|(values, _)| values.is_empty()) {
        findings.error(
            Code::NoGroups,
            &Path::default(),
            "there are no groups",
            "add a [[groups]] table with `name` and `images`",
        );
    }
    let (values, path) = list.unwrap_or_default();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups = Vec::new();
    for (i, value) in values.iter().enumerate() {
        let noted = findings.0.len();
        let group = match Table::of(value, path.index(i), findings) {
            Some(table) => group(table, shared, findings),
            None => None,
        };
        let Some(group) = group else {
            shared.knows_all_templates = false;
            continue;
        };
        match names.get(&group.name) {
            Some(first) => {
                let message = format!("group {:?} is there twice", group.name);
                let help = format!("groups[{first}] has the name already; choose another");
                findings.error(Code::DuplicateGroup, &path.index(i).key("name"), message, help);
            }
            None => drop(names.insert(group.name.clone(), i)),
        }
        let lacks_carrier = group.template == TemplateName::Helper && group.carrier_image.is_none();
        let mut wrong = findings.0[noted..].iter().filter(|finding| finding.severity == Severity::Error);
        // A group that is a little shorter than it was meant to be renders as well as any other.
        let can_render = !lacks_carrier
            && (1..=IMAGES_MAX).contains(&group.images.len())
            && wrong.all(|finding| finding.path.0.get(2).is_some_and(|key| !renders_otherwise(key)));
        groups.push((group, can_render));
    }
    groups
}

/// Whether a template may miss what a mistake in this key of a group, or of `[defaults]`, leaves out; a
/// misspelt key may be meant for such a one.
fn renders_otherwise(key: &Step) -> bool {
    match key {
        Step::Key(key) => closest(key, ["template", "values"].into_iter()).is_some(),
        Step::Index(_) => true,
    }
}

fn group(mut table: Table<'_>, shared: &mut Shared<'_>, findings: &mut Findings) -> Option<Group> {
    let path = table.path.clone();
    let name =
        table.string("name", findings).and_then(|(text, path)| label(text, &path, "group name", findings));
    let images = images(&mut table, findings);
    let schedule = table
        .string("schedule", findings)
        .and_then(|(text, path)| super::settings::schedule(text, &path, findings));
    let mut settings = Settings::read(&mut table, shared.user, findings);
    for (key, help) in
        [("name", "add one, such as `name = \"logging\"`"), ("images", "add a list of references")]
    {
        if table.lacks(key) {
            findings.error(Code::MissingKey, &path, format!("the group has no `{key}`"), help);
        }
    }
    settings.template_is_wrong |= table.misspells("template");
    table.finish(findings, |_| None);

    let Settings {
        node_selector,
        tolerations,
        concurrency,
        deadline_seconds,
        namespace,
        template,
        template_is_wrong,
        pull_policy,
        pull_secrets,
        service_account,
        keep_jobs_seconds,
        carrier_image,
        carrier_image_is_set,
        time_zone,
        serve,
        job_metadata,
        values,
    } = settings.over(shared.defaults);
    let (template, template_path) = template.unwrap_or((TemplateName::Auto, path.key("template")));
    let needs_carrier = template == TemplateName::Helper && !carrier_image_is_set;
    if needs_carrier && !findings.holds(Code::NoCarrierImage, &template_path) {
        let help = "set `carrier_image` to the image of quayctl-controller or a mirror of it";
        findings.error(
            Code::NoCarrierImage,
            &template_path,
            "the template `helper` needs a carrier image",
            help,
        );
    }
    shared.knows_all_templates &= !template_is_wrong;
    if !template_is_wrong {
        let image_lengths = images.iter().map(|image| image.to_string().len()).collect();
        let (own, inherited) = (values.as_ref(), shared.defaults.values.as_ref());
        let path = path.key("values");
        let group = GroupValues { template: &template, own, path, inherited, image_lengths };
        check_group(&group, &mut shared.noted, findings);
    }
    let of_template = shared.template_tables.iter().find(|table| table.name == template.as_str());
    let mut all_values: Values = shared.defaults.values.clone().unwrap_or_default();
    all_values.extend(of_template.map(|table| table.values.clone()).unwrap_or_default());
    all_values.extend(values.unwrap_or_default());
    let tolerations = tolerations.unwrap_or_default();
    let catch_up_limit_seconds = serve.catch_up_limit_or_default();
    let ServeSettings { overlap, catch_up, run_on_change, new_nodes, ready_label, remove_taint, .. } = serve;
    Some(Group {
        name: name?,
        images,
        node_selector: node_selector.unwrap_or_default(),
        // The taint is still there when the Job is to run.
        tolerations: match &remove_taint {
            Some(taint) => taint.tolerated_by(tolerations),
            None => tolerations,
        },
        concurrency,
        deadline_seconds: deadline_seconds.unwrap_or(DEFAULT_DEADLINE_SECONDS),
        namespace,
        template,
        pull_policy: pull_policy.unwrap_or(PullPolicy::IfNotPresent),
        pull_secrets: pull_secrets.unwrap_or_default(),
        service_account: service_account.unwrap_or_else(|| "default".to_owned()),
        keep_jobs_seconds: keep_jobs_seconds.unwrap_or(DEFAULT_KEEP_JOBS_SECONDS),
        carrier_image,
        schedule,
        time_zone: time_zone.unwrap_or_else(|| "Etc/UTC".to_owned()),
        overlap: overlap.unwrap_or_default(),
        catch_up: catch_up.unwrap_or(true),
        catch_up_limit_seconds,
        run_on_change: run_on_change.unwrap_or(true),
        new_nodes: new_nodes.unwrap_or(true),
        ready_label: ready_label.unwrap_or(false),
        remove_taint,
        job_labels: job_metadata.labels.unwrap_or_default(),
        job_annotations: job_metadata.annotations.unwrap_or_default(),
        values: all_values,
    })
}

fn images(table: &mut Table<'_>, findings: &mut Findings) -> Vec<ImageRef> {
    let Some((texts, path)) = table.strings("images", findings) else { return Vec::new() };
    let listed = table.list("images", findings).map_or(0, |(values, _)| values.len());
    if listed == 0 {
        findings.error(Code::EmptyImages, &path, "the list of images is empty", "name 1 to 100 images");
    }
    if listed > IMAGES_MAX {
        let message = format!("{listed} images in one group");
        findings.error(
            Code::TooManyImages,
            &path,
            message,
            format!("split it: a group holds at most {IMAGES_MAX}"),
        );
    }
    let mut seen: BTreeMap<String, Path> = BTreeMap::new();
    let mut images = Vec::new();
    for (text, path) in texts {
        let Some(image) = super::settings::image(text, &path, findings) else { continue };
        if image.lacks_tag() {
            let message = format!("{text:?} has no tag, so `latest` is meant");
            findings.warning(Code::MissingTag, &path, message, "write a tag or a digest");
        }
        match seen.get(&image.identity()) {
            Some(first) => {
                let message = format!("{text:?} is the same image as {first}");
                findings.error(Code::DuplicateImage, &path, message, "remove one of them");
            }
            None => drop(seen.insert(image.identity(), path)),
        }
        images.push(image);
    }
    images
}

/// The names of all `[templates]`, those that are wrong too, and those below a misspelt `[template]`.
pub fn templates_in(tree: &Dict) -> impl Iterator<Item = &str> {
    let is_meant = |key: &str| closest(key, TOP_LEVEL.into_iter()) == Some("templates");
    let tables = tree.iter().filter(move |(key, _)| is_meant(key)).filter_map(|(_, value)| value.as_dict());
    tables.flat_map(|dict| dict.keys().map(String::as_str))
}

/// `text` as a DNS-1123 label.
pub fn label(text: &str, path: &Path, what: &str, findings: &mut Findings) -> Option<String> {
    if name::is_label(text) {
        return Some(text.to_owned());
    }
    let help = "use 1 to 63 lower-case letters, digits and dashes, with a letter or digit at both ends";
    findings.error(Code::BadName, path, format!("{text:?} is no valid {what}"), help);
    None
}

/// `value` as a count of nodes.
pub fn at_least_one(value: &Value, path: &Path, findings: &mut Findings) -> Option<NonZeroUsize> {
    let number = integer(value, path, findings)?;
    let count = usize::try_from(number).ok().and_then(NonZeroUsize::new);
    if count.is_none() {
        let message = format!("expected at least 1 node, found {}", described(value));
        findings.error(Code::BadConcurrency, path, message, "use a number of nodes, at least 1");
    }
    count
}

/// SHA-256 of the effective config as JSON, whose keys serde_json keeps sorted.
fn hash(config: &Config) -> String {
    let Config { namespace, instance, concurrency, run_deadline_seconds, groups, templates, hash: _ } =
        config;
    let groups: Vec<serde_json::Value> = groups.iter().map(group_json).collect();
    let texts = |templates: &BTreeMap<String, super::Template>| -> BTreeMap<String, String> {
        templates.iter().map(|(name, template)| (name.clone(), template.text.clone())).collect()
    };
    let view = json!({
        "namespace": namespace,
        "instance": instance,
        "concurrency": concurrency,
        "run_deadline": run_deadline_seconds,
        "groups": groups,
        "templates": texts(&templates.user),
        "partials": texts(&templates.partials),
    });
    sha256_hex(view.to_string().as_bytes())
}

fn group_json(group: &Group) -> serde_json::Value {
    let Group {
        name,
        images,
        node_selector,
        tolerations,
        concurrency,
        deadline_seconds,
        namespace,
        template,
        pull_policy,
        pull_secrets,
        service_account,
        keep_jobs_seconds,
        carrier_image,
        schedule,
        time_zone,
        overlap,
        catch_up,
        catch_up_limit_seconds,
        run_on_change,
        new_nodes,
        ready_label,
        remove_taint,
        job_labels,
        job_annotations,
        values,
    } = group;
    let tolerations: Vec<_> = tolerations
        .iter()
        .map(|t| {
            json!({
                "key": t.key, "operator": t.operator.as_str(), "value": t.value,
                "effect": t.effect.map(|effect| effect.as_str()), "tolerationSeconds": t.toleration_seconds,
            })
        })
        .collect();
    json!({
        "name": name,
        "images": images.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "node_selector": node_selector.to_string(),
        "tolerations": tolerations,
        "concurrency": concurrency.map(|limit| limit.to_string()),
        "deadline": deadline_seconds,
        "namespace": namespace,
        "template": template.as_str(),
        "pull_policy": pull_policy.as_str(),
        "pull_secrets": pull_secrets,
        "service_account": service_account,
        "keep_jobs": keep_jobs_seconds,
        "carrier_image": carrier_image.as_ref().map(ToString::to_string),
        "schedule": schedule.as_ref().map(ToString::to_string),
        "time_zone": time_zone,
        "overlap": overlap.as_str(),
        "catch_up": catch_up,
        "catch_up_limit": catch_up_limit_seconds,
        "run_on_change": run_on_change,
        "new_nodes": new_nodes,
        "ready_label": ready_label,
        "remove_taint": remove_taint.as_ref().map(ToString::to_string),
        "job_labels": job_labels,
        "job_annotations": job_annotations,
        "values": values,
    })
}
