//! Turns template texts into templates that print safely. Pure, and runs once at load.
//!
//! Handlebars finds unknown helpers and partials only when it reaches them, prints an object as
//! `[object]`, and overflows the stack on partials that include each other. All that is visible in
//! the parsed template, so it is decided here, for branches that no node takes as well.
//!
//! Compiling never renders: what depends on values is found by `probe`.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::template::{DecoratorTemplate, HelperTemplate, Parameter, Subexpression, TemplateElement};
use handlebars::{Path, PathSeg, Template};

use super::TemplateError;
use super::escape::{HELPERS, SCALAR, WRITE_YAML};
use crate::config::closest;

/// Blocks, else-branches and parentheses inside one another. Parser and renderer recurse, and
/// a template that people read has fewer than ten; fifty fit a thread's stack many times.
const NESTING_MAX: usize = 50;

/// Helpers that do the same whatever a text says, as long as there is one.
const BLIND: [&str; 12] =
    ["q", "toYaml", "indent", "default", "lookup", "if", "unless", "each", "with", "and", "or", "not"];

/// Line and column, from 1, the column in characters.
type Place = (usize, usize);

/// By the name of the including template, and of the included one.
pub(super) type Includes = BTreeMap<String, BTreeMap<String, Place>>;

/// A template ready to be registered, and what was seen on the way.
#[derive(Debug)]
pub(super) struct Compiled {
    pub template: Template,
    /// Labels of the node that it names; a probe's node must have them.
    pub node_labels: BTreeSet<String>,
    /// Paths it prints, as written, with their places.
    pub printed: Vec<(String, Place)>,
    /// It reads a table by a key that is not written out.
    pub computed_lookup: bool,
    /// It compares, counts or looks up by what a text says.
    pub depends_on_texts: bool,
}

/// What was seen in the texts of all templates.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// What each text that parses includes, each partial with the place of its first inclusion.
    pub includes: Includes,
    pub errors: Vec<TemplateError>,
    pub warnings: Vec<TemplateError>,
}

/// Parses `text` and makes every expression print through a helper of ours. `None` for a text that
/// is wrong: that has been noted.
pub(super) fn compile(name: &str, text: &str, noted: &mut Noted) -> Option<Compiled> {
    if let Some(place) = too_deep(text) {
        let message = format!(
            "more than {NESTING_MAX} blocks or parentheses stand inside one another; make it flatter"
        );
        noted.errors.push(TemplateError::new(name, Some(place), message));
        return None;
    }
    let mut text = text.trim_start_matches('\u{feff}').to_owned();
    if !text.ends_with('\n') {
        // A standalone `{{> part}}` swallows its own line's end, so the last line of a partial
        // without one would be glued to the next line of the includer.
        text.push('\n');
    }
    let mut template = match Template::compile_with_name(&text, name.to_owned()) {
        Ok(template) => template,
        Err(error) => {
            let message = readable(&error.reason().to_string());
            noted.errors.push(TemplateError::new(name, error.pos(), message));
            return None;
        }
    };
    let mut walk = Walk::new(name);
    walk.template(&mut template);
    let Walk {
        name: _,
        place: _,
        includes,
        node_labels,
        printed,
        computed_lookup,
        depends_on_texts,
        warnings,
        errors,
    } = walk;
    let is_right = errors.is_empty();
    noted.includes.insert(name.to_owned(), includes);
    noted.errors.extend(errors);
    noted.warnings.extend(warnings);
    is_right.then_some(Compiled { template, node_labels, printed, computed_lookup, depends_on_texts })
}

/// The parser lists every rule of its grammar that would fit; where that is all of them, nothing is
/// said by it.
fn readable(message: &str) -> String {
    match message.contains("html_expression") {
        true => {
            "here the template ends, or stands a tag that fits nowhere: close each `{{` with `}}`, and each \
                 `{{#if}}` and `{{#each}}` with `{{/if}}` and `{{/each}}`"
                .to_owned()
        }
        false => message.to_owned(),
    }
}

/// Refuses partials that do not exist and partials that reach themselves: rendering those would
/// overflow the stack, and that ends the process. `known` are the names of all templates, those that
/// are wrong themselves too.
pub(super) fn check_includes(includes: &Includes, known: &BTreeSet<&str>) -> Vec<TemplateError> {
    let mut errors = Vec::new();
    for (name, partials) in includes {
        for (partial, place) in partials {
            let message = match path_between(includes, partial, name) {
                _ if !known.contains(partial.as_str()) => {
                    let like = did_you_mean(partial, known.iter().copied());
                    format!("there is no partial `{partial}`{like}")
                }
                // One mistake, one error: a cycle is reported at the first of its members by name.
                Some(path) if path.iter().all(|member| *member >= name.as_str()) => {
                    format!("`{name}` includes itself: {name} → {}", path.join(" → "))
                }
                Some(_) | None => continue,
            };
            errors.push(TemplateError::new(name, Some(*place), message));
        }
    }
    errors
}

/// Leaves only what can be rendered: whose inclusions all lead to something, and to an end.
pub(super) fn retain_sound(compiled: &mut BTreeMap<String, Compiled>, includes: &Includes) {
    loop {
        let is_wrong = |name: &&String| {
            let mut partials = includes.get(*name).into_iter().flat_map(BTreeMap::keys);
            partials.any(|partial| {
                !compiled.contains_key(partial) || path_between(includes, partial, name).is_some()
            })
        };
        let wrong: Vec<String> = compiled.keys().filter(is_wrong).cloned().collect();
        if wrong.is_empty() {
            return;
        }
        // What includes one of these is found in the next round.
        compiled.retain(|name, _| !wrong.contains(name));
    }
}

/// The inclusions that lead from one template to another, both named.
fn path_between<'a>(includes: &'a Includes, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::from([from]);
    let mut paths = vec![vec![from]];
    while let Some(path) = paths.pop() {
        let last = path[path.len() - 1];
        if last == to {
            return Some(path);
        }
        for next in includes.get(last).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(next) {
                let mut longer = path.clone();
                longer.push(next);
                paths.push(longer);
            }
        }
    }
    None
}

/// One pass over a parsed template, which it changes in place.
struct Walk<'a> {
    name: &'a str,
    /// Of the last element seen that has one.
    place: Place,
    includes: BTreeMap<String, Place>,
    node_labels: BTreeSet<String>,
    printed: Vec<(String, Place)>,
    computed_lookup: bool,
    depends_on_texts: bool,
    warnings: Vec<TemplateError>,
    errors: Vec<TemplateError>,
}

impl<'a> Walk<'a> {
    fn new(name: &'a str) -> Walk<'a> {
        Walk {
            name,
            place: (1, 1),
            includes: BTreeMap::new(),
            node_labels: BTreeSet::new(),
            printed: Vec::new(),
            computed_lookup: false,
            depends_on_texts: false,
            warnings: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn template(&mut self, template: &mut Template) {
        for (index, element) in template.elements.iter_mut().enumerate() {
            if let Some(place) = template.mapping.get(index) {
                self.place = (place.0, place.1);
            }
            self.element(element);
        }
    }

    fn element(&mut self, element: &mut TemplateElement) {
        match element {
            TemplateElement::Expression(call) => {
                let writes_yaml = self.expression(call);
                if writes_yaml {
                    // handlebars' name for an expression that is not escaped
                    *element = TemplateElement::HtmlExpression(call.clone());
                }
            }
            TemplateElement::HtmlExpression(call) => {
                let shown = call.name.as_name().unwrap_or("…").to_owned();
                if !self.expression(call) {
                    self.warn(format!(
                        "`{{{{{{{shown}}}}}}}` prints without escaping; write `{{{{{shown}}}}}` inside double quotes, or `{{{{q {shown}}}}}`"
                    ));
                }
            }
            TemplateElement::HelperBlock(call) => {
                self.call(&call.name, &call.params, call.hash.values());
                for branch in [&mut call.template, &mut call.inverse] {
                    branch.iter_mut().for_each(|branch| self.template(branch));
                }
            }
            TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                self.partial(partial)
            }
            TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => self
                .fail("inline partials and decorators are not supported; make it a [templates.NAME]".into()),
            // Text and comments; handlebars may add kinds of elements, and those of its version
            // that we build with are all here.
            _ => {}
        }
    }

    /// Wraps the expression in [`SCALAR`], but for the helpers that write YAML; true for those.
    fn expression(&mut self, call: &mut HelperTemplate) -> bool {
        let is_value = call.params.is_empty() && call.hash.is_empty();
        if is_value {
            let path = call.name.as_name().unwrap_or_default().to_owned();
            self.printed.push((path, self.place));
            self.parameter(&call.name);
        } else {
            self.call(&call.name, &call.params, call.hash.values());
            let writes_yaml = |name| WRITE_YAML.contains(&name);
            if call.name.as_name().is_some_and(writes_yaml) {
                return true;
            }
        }
        let name = std::mem::replace(&mut call.name, Parameter::Name(SCALAR.into()));
        let params = std::mem::take(&mut call.params);
        let hash = std::mem::take(&mut call.hash);
        call.params = vec![match is_value {
            true => name,
            false => Parameter::Subexpression(Subexpression::new(name, params, hash)),
        }];
        false
    }

    fn call<'p>(
        &mut self,
        name: &Parameter,
        params: &'p [Parameter],
        hash: impl Iterator<Item = &'p Parameter>,
    ) {
        match name.as_name() {
            Some(helper) if HELPERS.contains(&helper) => {}
            Some(helper) => {
                let like = did_you_mean(helper, HELPERS.into_iter());
                self.fail(format!("there is no helper `{helper}`{like}"));
            }
            None => self.fail("a helper's name must be written out".into()),
        }
        self.depends_on_texts |= name.as_name().is_none_or(|helper| !BLIND.contains(&helper));
        match (name.as_name(), params) {
            (Some("lookup"), [table, Parameter::Literal(key)]) => {
                if let (Some(&"labels"), Some(label)) = (names_of(table).last(), key.as_str()) {
                    self.node_labels.insert(label.to_owned());
                }
            }
            (Some("lookup"), _) => {
                self.computed_lookup = true;
                self.depends_on_texts = true;
            }
            _ => {}
        }
        params.iter().chain(hash).for_each(|param| self.parameter(param));
    }

    fn parameter(&mut self, parameter: &Parameter) {
        let names = names_of(parameter);
        let labels = names.windows(2).filter(|pair| pair[0] == "labels");
        self.node_labels.extend(labels.map(|pair| pair[1].to_owned()));
        if let Parameter::Subexpression(inner) = parameter
            && let TemplateElement::Expression(call) = inner.as_element()
        {
            self.call(&call.name, &call.params, call.hash.values());
        }
    }

    fn partial(&mut self, partial: &DecoratorTemplate) {
        match partial.name.as_name() {
            Some(name) if partial.template.is_none() => {
                self.includes.entry(name.to_owned()).or_insert(self.place);
            }
            Some(name) => self
                .fail(format!("a partial with a block is not supported; include it as `{{{{> {name}}}}}`")),
            // Which partial a computed name gives cannot be checked for cycles beforehand.
            None => self.fail("a partial's name must be written out".into()),
        }
        for param in partial.params.iter().chain(partial.hash.values()) {
            self.parameter(param);
        }
    }

    fn fail(&mut self, message: String) {
        let error = TemplateError::new(self.name, Some(self.place), message);
        self.errors.push(error);
    }

    fn warn(&mut self, message: String) {
        let warning = TemplateError::new(self.name, Some(self.place), message);
        self.warnings.push(warning);
    }
}

/// The names in a path such as `node.labels.[kubernetes.io/arch]`; none for anything else.
fn names_of(parameter: &Parameter) -> Vec<&str> {
    let Parameter::Path(Path::Relative((segments, _))) = parameter else {
        return Vec::new();
    };
    let names = segments.iter().filter_map(|segment| match segment {
        PathSeg::Named(name) => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}

fn did_you_mean<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> String {
    closest(found, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The place where tags are nested deeper than [`NESTING_MAX`]. Counts roughly (comments count
/// too): it is only there so that the recursive parser never sees such a text.
fn too_deep(text: &str) -> Option<Place> {
    // For each open block, itself and its else-branches, which the parser nests.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = 0;
    while let Some(start) = text[rest..].find("{{").map(|at| at + rest) {
        let tag = text[start..].trim_start_matches(['{', '~', ' ', '\t', '\r', '\n']);
        rest = text.len() - tag.len();
        let tag = &tag[..tag.find("}}").unwrap_or(tag.len())];
        if tag.starts_with('#') {
            open.push(1);
        } else if tag.starts_with('/') {
            open.pop();
        } else if (tag.starts_with("else") || tag.starts_with('^'))
            && let Some(block) = open.last_mut()
        {
            *block += 1;
        }
        let brackets = tag.matches(['(', '[', '{']).count();
        if open.iter().sum::<usize>() + brackets > NESTING_MAX {
            let before = &text[..start];
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            let line = before.matches('\n').count() + 1;
            return Some((line, before[line_start..].chars().count() + 1));
        }
    }
    None
}
