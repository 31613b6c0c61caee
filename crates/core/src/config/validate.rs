//! From the layered tree to a [`Config`], or to everything that is wrong with it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use figment::value::{Dict, Value};

use super::code::Code;
use super::file::{Findings, Path, Step, Table, closest, described};
use super::keys::{GROUP, GroupTable, TopLevel};
use super::kinds::IMAGES_MAX;
use super::problem::Severity;
use super::template::{BUILT_IN_NAMES, TemplateName};
use super::template_tables::{DefinedTemplate, templates_in};
use super::values::check::{GroupValues, Noted, Values, check_defaults, check_group};
use super::{Config, Group, Templates, sha256_hex};

/// Keys that each group must have, and what to do where one is missing.
pub const REQUIRED: [(&str, &str); 2] =
    [("name", "add one, such as `name = \"logging\"`"), ("images", "add a list of references")];

/// The whole config. Where anything was wrong it has been noted, and the templates are given back, with
/// the groups that can be rendered all the same.
pub fn validate(
    tree: &Dict,
    templates: Templates,
    defined: &[DefinedTemplate],
    findings: &mut Findings,
) -> Result<Config, (Vec<Group>, Templates)> {
    let mut root = Table::root(tree);
    let mut user: BTreeSet<&str> = defined.iter().map(|template| template.name.as_str()).collect();
    // A table that is itself wrong is still defined: its groups are not to blame.
    user.extend(templates_in(tree));

    let top_level = TopLevel::read(&mut root, findings);
    let defaults = match root.table("defaults", findings) {
        Some(mut table) => {
            let defaults = group_keys(&mut table, &user, findings);
            table.finish(findings, |key| {
                let belongs_elsewhere = GROUP.iter().any(|known| known.name == key && !known.is_shared);
                belongs_elsewhere.then(|| format!("`{key}` belongs into each group"))
            });
            defaults
        }
        None => GroupTable::default(),
    };
    root.take("templates");
    let mut shared = Shared {
        defaults: &defaults,
        user: &user,
        defined,
        noted: Noted::default(),
        knows_all_templates: true,
    };
    let groups = groups(&mut root, &mut shared, findings);
    if let (Some(Some(values)), true) = (&defaults.values, shared.knows_all_templates) {
        let of_groups: Vec<GroupValues<'_>> = groups.iter().map(|(group, _)| group.into()).collect();
        check_defaults(values, &of_groups, &templates, &mut shared.noted, findings);
    }
    let is_misspelt = root.misspells("defaults") || root.misspells("templates");
    root.finish(findings, |_| None);
    if findings.has_errors() {
        return Err((renderable(groups, is_misspelt, findings), templates));
    }
    let groups = groups.into_iter().map(|(group, _)| group).collect();
    let mut config = top_level.checked(groups, templates, String::new());
    // serde_json keeps keys sorted, so equal configs give equal bytes.
    config.hash = sha256_hex(serde_json::json!(config).to_string().as_bytes());
    Ok(config)
}

/// The groups that can be rendered although something is wrong.
///
/// A value that is missing because it is wrong would be missed by the templates once more; any other
/// mistake in `[defaults]` leaves a default that renders as well.
fn renderable(groups: Vec<(Group, bool)>, is_misspelt: bool, findings: &Findings) -> Vec<Group> {
    let mut inherited = is_misspelt;
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
    let can_render = |(group, can_render): &(Group, bool)| {
        *can_render && !inherited && !wrong_templates.contains(group.template.as_str())
    };
    groups.into_iter().filter(can_render).map(|(group, _)| group).collect()
}

/// What all groups are read with, and what was seen of all of them.
struct Shared<'a> {
    defaults: &'a GroupTable,
    /// The names of the templates that the file defines.
    user: &'a BTreeSet<&'a str>,
    defined: &'a [DefinedTemplate],
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
            let help = "each group is a table of its own: `[[groups]]`";
            findings.refuse(Code::WrongType, &path, message, help)
        }
        None => None,
    };
    if root.lacks("groups") || list.as_ref().is_some_and(|(values, _)| values.is_empty()) {
        let help = "add a [[groups]] table with `name` and `images`";
        findings.error(Code::NoGroups, &Path::default(), "there are no groups", help);
    }
    let (values, path) = list.unwrap_or_default();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups = Vec::new();
    for (i, value) in values.iter().enumerate() {
        let noted = findings.0.len();
        let table = Table::of(value, path.index(i), findings);
        let Some(group) = table.and_then(|table| group(table, shared, findings)) else {
            shared.knows_all_templates = false;
            continue;
        };
        match names.get(&group.name) {
            Some(first) => {
                let message = format!("duplicate group {:?}", group.name);
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

/// The keys of a group in `table`, with a template that exists; the table is yet to be finished.
fn group_keys(table: &mut Table<'_>, user: &BTreeSet<&str>, findings: &mut Findings) -> GroupTable {
    let mut written = GroupTable::read(table, findings);
    match &written.template {
        Some(Some(TemplateName::User(name))) if !user.contains(name.as_str()) => {
            let known = BUILT_IN_NAMES.iter().copied().chain(user.iter().copied());
            let help = match closest(name, known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("use auto, image-volume, helper or quayctl, or define [templates.{name}]"),
            };
            let message = format!("there is no template {name:?}");
            written.template =
                Some(findings.refuse(Code::MissingTemplate, &table.path.key("template"), message, help));
        }
        None if table.misspells("template") => written.template = Some(None),
        _ => {}
    }
    written
}

fn group(mut table: Table<'_>, shared: &mut Shared<'_>, findings: &mut Findings) -> Option<Group> {
    let path = table.path.clone();
    let own = group_keys(&mut table, shared.user, findings);
    for (key, help) in REQUIRED.iter().filter(|(key, _)| table.lacks(key)) {
        findings.error(Code::MissingKey, &path, format!("the group has no `{key}`"), *help);
    }
    table.finish(findings, |_| None);

    let has_own_template = own.template.is_some();
    let own_values = own.values.clone().flatten();
    let defaults = shared.defaults;
    let inherited_values = defaults.values.as_ref().and_then(Option::as_ref);
    let mut written = own.over(defaults);
    let knows_template = written.template != Some(None);
    let has_carrier = written.carrier_image.is_some();
    shared.knows_all_templates &= knows_template;
    let template = written.template.clone().flatten().unwrap_or(TemplateName::Auto);
    if template == TemplateName::Helper && !has_carrier {
        let table = if has_own_template { path.clone() } else { Path::default().key("defaults") };
        let place = table.key("template");
        // What is inherited is wrong once, not once a group.
        if shared.noted.insert(place.to_string()) {
            let help = "set `carrier_image` to the image of quayctl-controller or a mirror of it";
            findings.error(Code::NoCarrierImage, &place, "the template `helper` needs a carrier image", help);
        }
    }
    if knows_template {
        let images = written.images.iter().flatten().flatten();
        let image_lengths = images.map(|image| image.to_string().len()).collect();
        let (own, inherited) = (own_values.as_ref(), inherited_values);
        let path = path.key("values");
        let group = GroupValues { template: &template, own, path, inherited, image_lengths };
        check_group(&group, &mut shared.noted, findings);
    }
    let of_template = shared.defined.iter().find(|defined| defined.name == template.as_str());
    let mut values: Values = inherited_values.cloned().unwrap_or_default();
    values.extend(of_template.map(|defined| defined.values.clone()).unwrap_or_default());
    values.extend(own_values.unwrap_or_default());
    written.values = Some(Some(values));
    if let Some(Some(taint)) = &written.remove_taint {
        // The taint is still there when the Job is to run.
        let tolerations = written.tolerations.flatten().unwrap_or_default();
        written.tolerations = Some(Some(taint.tolerated_by(tolerations)));
    }
    let is_named = matches!(written.name, Some(Some(_)));
    is_named.then(|| written.checked())
}
