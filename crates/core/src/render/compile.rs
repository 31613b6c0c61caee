//! Turns template texts into templates that print safely. Pure, and runs once at load.
//!
//! Handlebars finds unknown helpers and partials only when it reaches them, prints an object as
//! `[object]`, and counts nothing of what it does. All that is visible in the parsed template, so it is
//! decided here, for branches that no node takes as well: every expression prints through a helper of
//! ours, and before whatever is repeated or copied stands a step that `work` counts.
//!
//! Compiling never renders: what depends on values is found by `probe`.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::template::{
    BlockParam, DecoratorTemplate, HelperTemplate, Parameter, Subexpression, TemplateElement, TemplateMapping,
};
use handlebars::{Path, Template};
use serde_json::Value;

use super::TemplateError;
use super::cursor::Cursor;
use super::escape::{COUNTED, HELPERS, SCALAR, WRITE_YAML};
use super::execution::STEP;
use super::includes::{Includes, Inclusion};
use super::scan;
use super::scope::{Scopes, Source};
use crate::config::closest;

/// Helpers that say yes or no; as blocks they are an `if` of that.
const TESTS: [&str; 10] = ["eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len"];

/// Each is copied before a helper sees the first, so nothing can be counted in between.
const PARAMS_MAX: usize = 20;
/// A template that is wrong at more places is wrong as a whole.
const ERRORS_MAX: usize = 50;

/// Line and column, from 1, the column in characters.
type Place = (usize, usize);

/// A template ready to be registered, and what was seen on the way.
#[derive(Debug)]
pub(super) struct Compiled {
    pub template: Template,
    /// Names of the partials it includes.
    pub includes: BTreeSet<String>,
    /// Blocks inside one another.
    pub depth: usize,
    /// Labels of the node that it names; a probe's node must have them.
    pub node_labels: BTreeSet<String>,
    /// Paths it prints, as written, with their places.
    pub printed: Vec<(String, Place)>,
    /// It reads a table by a key that is not written out.
    pub computed_lookup: bool,
    /// Where it prints a text of the node so that this could write the manifest: whoever may name or label
    /// a node would say what runs on it.
    pub open_to_nodes: Vec<TemplateError>,
}

/// What was seen in the texts of all templates.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// What each text that parses includes.
    pub includes: Includes,
    pub errors: Vec<TemplateError>,
    pub warnings: Vec<TemplateError>,
}

/// Parses `text` and makes every expression print through a helper of ours. `None` for a text that
/// is wrong: that has been noted.
pub(super) fn compile(name: &str, text: &str, noted: &mut Noted) -> Option<Compiled> {
    if let Some((place, message)) = scan::refused(text) {
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
    // There is one: the text is not empty.
    let mapping = template.mapping.first().cloned()?;
    let mut walk = Walk::new(name, mapping);
    walk.branch(&mut template, true);
    let Walk { includes, errors, warnings, compiled, more_errors, .. } = walk;
    let is_right = errors.is_empty();
    let included = includes.keys().cloned().collect();
    noted.includes.insert(name.to_owned(), includes);
    noted.errors.extend(errors);
    if more_errors > 0 {
        noted.errors.push(TemplateError::new(name, None, format!("and {more_errors} more mistakes")));
    }
    noted.warnings.extend(warnings);
    is_right.then_some(Compiled { template, includes: included, ..compiled })
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

/// One walk over a parsed template, which it changes in place.
struct Walk<'a> {
    name: &'a str,
    /// Any one, to make others of: handlebars lets nobody make one.
    mapping: TemplateMapping,
    /// Of the last element seen that has one.
    place: Place,
    /// Blocks around it.
    depth: usize,
    scopes: Scopes,
    cursor: Cursor,
    /// What the element is going to copy, apart from what helpers of ours count themselves.
    copied: Vec<Parameter>,
    includes: BTreeMap<String, Inclusion>,
    compiled: Compiled,
    warnings: Vec<TemplateError>,
    errors: Vec<TemplateError>,
    more_errors: usize,
}

impl<'a> Walk<'a> {
    fn new(name: &'a str, mapping: TemplateMapping) -> Walk<'a> {
        Walk {
            name,
            mapping,
            place: (1, 1),
            depth: 0,
            scopes: Scopes::default(),
            cursor: Cursor::default(),
            copied: Vec::new(),
            includes: BTreeMap::new(),
            compiled: Compiled {
                template: Template::new(),
                includes: BTreeSet::new(),
                depth: 0,
                node_labels: BTreeSet::new(),
                printed: Vec::new(),
                computed_lookup: false,
                open_to_nodes: Vec::new(),
            },
            warnings: Vec::new(),
            errors: Vec::new(),
            more_errors: 0,
        }
    }

    /// A whole template, or a block's branch.
    fn branch(&mut self, template: &mut Template, is_whole: bool) {
        self.compiled.depth = self.compiled.depth.max(self.depth);
        let elements = std::mem::take(&mut template.elements);
        let places = std::mem::take(&mut template.mapping);
        let length = Parameter::Literal(Value::from(elements.len()));
        let mut start = vec![length];
        if is_whole {
            start.push(Parameter::Literal(Value::Bool(true)));
        }
        self.push(template, step(start));
        for (index, mut element) in elements.into_iter().enumerate() {
            if let Some(place) = places.get(index) {
                self.place = (place.0, place.1);
            }
            let place = self.place;
            self.element(&mut element);
            let after = std::mem::replace(&mut self.place, place);
            for value in std::mem::take(&mut self.copied) {
                self.push(template, step(vec![value]));
            }
            self.push(template, element);
            self.place = after;
        }
    }

    fn push(&self, template: &mut Template, element: TemplateElement) {
        let mut mapping = self.mapping.clone();
        (mapping.0, mapping.1) = self.place;
        template.elements.push(element);
        template.mapping.push(mapping);
    }

    fn element(&mut self, element: &mut TemplateElement) {
        match element {
            TemplateElement::RawString(text) => self.cursor.pass(text),
            TemplateElement::Expression(call) => {
                let shown = shown(call);
                let writes_yaml = self.expression(call);
                if writes_yaml {
                    self.yaml(call, &shown);
                    // handlebars' name for an expression that is not escaped
                    *element = TemplateElement::HtmlExpression(call.clone());
                } else if !self.cursor.is_safe_for_text() {
                    self.open(&call.params, |name| {
                        format!(
                            "`{name}` can change the structure of the manifest; write it inside double quotes, or with `q`"
                        )
                    });
                }
                self.cursor.pass_value();
            }
            TemplateElement::HtmlExpression(call) => {
                let shown = shown(call);
                if self.expression(call) {
                    self.yaml(call, &shown);
                } else {
                    let message = format!(
                        "`{{{{{{{shown}}}}}}}` prints without escaping; write `{{{{{shown}}}}}` inside double quotes, or `{{{{q {shown}}}}}`"
                    );
                    self.warn(message.clone());
                    self.open(&call.params, |_| message.clone());
                }
                self.cursor.pass_value();
            }
            TemplateElement::HelperBlock(call) => self.block(call),
            TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                self.partial(partial);
                self.cursor.pass_lines();
            }
            TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => self
                .fail("inline partials and decorators are not supported; make it a [templates.NAME]".into()),
            // Text and comments; handlebars may add kinds of elements, and those of its version
            // that we build with are all here.
            _ => {}
        }
    }

    fn block(&mut self, call: &mut HelperTemplate) {
        self.call(&call.name, &call.params, call.hash.values());
        if call.name.as_name().is_some_and(|name| TESTS.contains(&name)) {
            let name = std::mem::replace(&mut call.name, Parameter::Name("if".into()));
            let params = std::mem::take(&mut call.params);
            let hash = std::mem::take(&mut call.hash);
            call.params = vec![Parameter::Subexpression(Subexpression::new(name, params, hash))];
        }
        let enters = match call.name.as_name() {
            Some(helper @ ("each" | "with")) => {
                let names = match &call.block_param {
                    Some(BlockParam::Single(Parameter::Name(value))) => vec![value.clone()],
                    Some(BlockParam::Pair((Parameter::Name(value), Parameter::Name(key)))) => {
                        vec![value.clone(), key.clone()]
                    }
                    _ => Vec::new(),
                };
                Some((helper == "each", names))
            }
            _ => None,
        };
        // The steps for what this block copies stand before it, not in it.
        let copied = std::mem::take(&mut self.copied);
        let before = self.cursor.clone();
        self.depth += 1;
        if let Some(branch) = &mut call.template {
            if let Some((is_loop, names)) = &enters {
                self.scopes.enter(call.params.first(), *is_loop, names);
            }
            self.branch(branch, false);
            if enters.is_some() {
                self.scopes.leave();
            }
        }
        if let Some(branch) = &mut call.inverse {
            let after = std::mem::replace(&mut self.cursor, before);
            self.branch(branch, false);
            self.cursor = after;
        }
        self.depth -= 1;
        self.copied = copied;
    }

    /// Wraps the expression in [`SCALAR`], but for the helpers that write YAML; true for those.
    fn expression(&mut self, call: &mut HelperTemplate) -> bool {
        let is_value = call.params.is_empty() && call.hash.is_empty();
        if is_value {
            let path = call.name.as_name().unwrap_or_default().to_owned();
            self.compiled.printed.push((path, self.place));
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

    /// What a helper that writes YAML may do wrong: print what is none, or stand inside of quotes.
    fn yaml(&mut self, call: &HelperTemplate, shown: &str) {
        if call.name.as_name() == Some("indent")
            && let Some(block) = call.params.get(1)
            && let Some(source) = self.scopes.raw(block)
        {
            let block = shown_parameter(block);
            let message = format!(
                "`{{{{{shown}}}}}` prints `{block}` without escaping; write `{{{{indent {} (toYaml {block})}}}}`",
                call.params.first().map(shown_parameter).unwrap_or_default()
            );
            self.warn(message.clone());
            self.open_if(source, message);
        }
        if self.cursor.is_in_quotes() {
            let message = format!(
                "`{{{{{shown}}}}}` writes quotes of its own and stands inside of others, which it ends; remove those around it"
            );
            self.warn(message.clone());
            self.open(&call.params, |_| message.clone());
        }
    }

    /// Notes that what is printed could write the manifest, where it is a text of the node.
    fn open(&mut self, params: &[Parameter], message: impl Fn(&str) -> String) {
        let printed = params.iter().find(|param| self.scopes.source(param) == Source::Node);
        if let Some(printed) = printed {
            self.open_if(Source::Node, message(&shown_parameter(printed)));
        }
    }

    fn open_if(&mut self, source: Source, message: String) {
        if source == Source::Node {
            let error = TemplateError::new(self.name, Some(self.place), message);
            self.compiled.open_to_nodes.push(error);
        }
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
        match (name.as_name(), params) {
            (Some("lookup"), [table, Parameter::Literal(key)]) => {
                if let (Some(&"labels"), Some(label)) = (names_of(table).last(), key.as_str()) {
                    self.compiled.node_labels.insert(label.to_owned());
                }
            }
            (Some("lookup"), _) => self.compiled.computed_lookup = true,
            _ => {}
        }
        let is_counted = name.as_name().is_some_and(|helper| COUNTED.contains(&helper));
        let params: Vec<&Parameter> = params.iter().chain(hash).collect();
        if params.len() > PARAMS_MAX {
            self.fail(format!("a helper is given more than {PARAMS_MAX} values"));
        }
        for param in params {
            self.parameter(param);
            if !is_counted && matches!(param, Parameter::Path(_)) {
                self.copied.push(param.clone());
            }
        }
    }

    fn parameter(&mut self, parameter: &Parameter) {
        let names = names_of(parameter);
        let labels = names.windows(2).filter(|pair| pair[0] == "labels");
        self.compiled.node_labels.extend(labels.map(|pair| pair[1].to_owned()));
        if let Parameter::Subexpression(inner) = parameter
            && let TemplateElement::Expression(call) = inner.as_element()
        {
            self.call(&call.name, &call.params, call.hash.values());
        }
    }

    fn partial(&mut self, partial: &DecoratorTemplate) {
        match partial.name.as_name() {
            Some(name) if partial.template.is_none() => {
                let inclusion = Inclusion { place: self.place, depth: self.depth };
                let known = self.includes.entry(name.to_owned()).or_insert(inclusion);
                known.depth = known.depth.max(self.depth);
            }
            Some(name) => self
                .fail(format!("a partial with a block is not supported; include it as `{{{{> {name}}}}}`")),
            // Which partial a computed name gives cannot be checked for cycles beforehand.
            None => self.fail("a partial's name must be written out".into()),
        }
        for param in partial.params.iter().chain(partial.hash.values()) {
            self.parameter(param);
            if matches!(param, Parameter::Path(_)) {
                self.copied.push(param.clone());
            }
        }
    }

    fn fail(&mut self, message: String) {
        if self.errors.len() == ERRORS_MAX {
            self.more_errors += 1;
            return;
        }
        let error = TemplateError::new(self.name, Some(self.place), message);
        self.errors.push(error);
    }

    fn warn(&mut self, message: String) {
        if self.warnings.len() < ERRORS_MAX {
            let warning = TemplateError::new(self.name, Some(self.place), message);
            self.warnings.push(warning);
        }
    }
}

/// Counts, and prints nothing.
fn step(params: Vec<Parameter>) -> TemplateElement {
    let step = Subexpression::new(Parameter::Name(STEP.into()), params, Default::default());
    *step.element
}

/// Whether an element is a step of ours.
pub(super) fn is_step(element: &TemplateElement) -> bool {
    matches!(element, TemplateElement::Expression(call) if call.name.as_name() == Some(STEP))
}

/// As people wrote it.
fn shown(call: &HelperTemplate) -> String {
    let name = shown_parameter(&call.name);
    call.params.iter().fold(name, |text, param| format!("{text} {}", shown_parameter(param)))
}

fn shown_parameter(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Name(_) | Parameter::Path(_) => parameter.as_name().unwrap_or("…").to_owned(),
        Parameter::Literal(value) => value.to_string(),
        Parameter::Subexpression(inner) => match inner.as_element() {
            TemplateElement::Expression(call) => format!("({})", shown(call)),
            _ => "(…)".to_owned(),
        },
        // handlebars may add kinds of them
        _ => "…".to_owned(),
    }
}

/// The names in a path such as `node.labels.[kubernetes.io/arch]`; none for anything else.
fn names_of(parameter: &Parameter) -> Vec<&str> {
    let Parameter::Path(Path::Relative((segments, _))) = parameter else {
        return Vec::new();
    };
    super::scope::names(segments).collect()
}

fn did_you_mean<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> String {
    closest(found, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
