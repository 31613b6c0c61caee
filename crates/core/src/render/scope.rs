//! What the names in a template stand for: whose texts they may be. Pure; reads parsed templates and knows
//! no values.

use handlebars::template::{Parameter, TemplateElement};
use handlebars::{Path, PathSeg};

/// Whose text is printed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    /// The node's: its name, its labels and what its kubelet says of itself.
    Node,
    /// Somebody else's, as far as the template shows: mostly of who writes the config.
    Other,
}

/// Helpers that give a number or yes or no, whatever they are given.
const HARMLESS: [&str; 14] =
    ["eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len", "if", "unless", "each", "with"];

/// What the blocks around a place have entered, the innermost last. Nothing: the data as a whole. Who includes
/// a partial with other data is not known; its names are taken for those of the whole.
#[derive(Debug, Default)]
pub(super) struct Scopes(Vec<Scope>);

#[derive(Debug)]
struct Scope {
    source: Within,
    /// Names that stand for what was entered, or for a key of it.
    names: Vec<String>,
}

/// Whether a name at this place can be the node's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Within {
    /// In the data as a whole only `node` is.
    Whole,
    Node,
    Other,
}

impl Scopes {
    /// Enters what `{{#with value as |name|}}` enters, or each item of it.
    pub(super) fn enter(&mut self, value: Option<&Parameter>, is_loop: bool, names: &[String]) {
        let source = match value.map_or(Within::Other, |value| self.within(value)) {
            // Who loops over the data as a whole meets the node among the rest.
            Within::Whole if is_loop => Within::Node,
            source => source,
        };
        self.0.push(Scope { source, names: names.to_vec() });
    }

    pub(super) fn leave(&mut self) {
        self.0.pop();
    }

    /// Whose text `parameter` may be.
    pub(super) fn source(&self, parameter: &Parameter) -> Source {
        match self.within(parameter) {
            Within::Node | Within::Whole => Source::Node,
            Within::Other => Source::Other,
        }
    }

    /// The same where it is a text that is printed as it is; `None` for YAML, numbers and what the template
    /// itself says.
    pub(super) fn raw(&self, parameter: &Parameter) -> Option<Source> {
        let Parameter::Subexpression(inner) = parameter else {
            return match parameter {
                Parameter::Literal(_) => None,
                _ => Some(self.source(parameter)),
            };
        };
        let TemplateElement::Expression(call) = inner.as_element() else { return None };
        match (call.name.as_name(), &call.params[..]) {
            (Some("q" | "toYaml"), _) => None,
            (Some("indent"), [_, block, ..]) => self.raw(block),
            (Some("default"), params) => {
                let mut raw = params.iter().filter_map(|param| self.raw(param));
                let first = raw.next()?;
                Some(raw.fold(first, |all, next| if next == Source::Node { next } else { all }))
            }
            (Some(helper), _) if HARMLESS.contains(&helper) => None,
            _ => Some(self.source(parameter)),
        }
    }

    fn within(&self, parameter: &Parameter) -> Within {
        match parameter {
            Parameter::Literal(_) => Within::Other,
            Parameter::Path(Path::Local((level, ..))) => {
                // `@key` of what is looped over.
                match self.0.iter().rev().nth(*level).map(|scope| scope.source) {
                    Some(Within::Node) => Within::Node,
                    _ => Within::Other,
                }
            }
            Parameter::Path(Path::Relative((segments, _))) => self.of_path(segments),
            Parameter::Subexpression(inner) => {
                let TemplateElement::Expression(call) = inner.as_element() else { return Within::Other };
                if call.name.as_name().is_some_and(|helper| HARMLESS.contains(&helper)) {
                    return Within::Other;
                }
                if call.params.is_empty() {
                    // `(x)` is a call or a value; either way it gives what its name says.
                    return self.within(&call.name);
                }
                if let (Some("lookup"), [table, Parameter::Literal(key)]) =
                    (call.name.as_name(), &call.params[..])
                    && self.within(table) == Within::Whole
                {
                    return if key == "node" { Within::Node } else { Within::Other };
                }
                let sources = call.params.iter().map(|param| self.within(param));
                match sources.fold(Within::Other, |all, next| if next == Within::Other { all } else { next })
                {
                    // A value of the whole by a key that is not known.
                    Within::Whole => Within::Node,
                    source => source,
                }
            }
            // A helper's name; handlebars may add kinds of parameters.
            _ => Within::Other,
        }
    }

    fn of_path(&self, segments: &[PathSeg]) -> Within {
        // The rules of the grammar have no public names.
        let is = |segment: &PathSeg, name: &str| matches!(segment, PathSeg::Ruled(rule) if format!("{rule:?}") == name);
        let names: Vec<&str> = names(segments).collect();
        let from_root = segments.iter().any(|segment| is(segment, "path_root"));
        let up = segments.iter().take_while(|segment| is(segment, "path_up")).count();
        let named = names
            .first()
            .and_then(|first| self.0.iter().rev().find(|scope| scope.names.iter().any(|name| name == first)));
        let (start, rest) = match (from_root, named) {
            (true, _) => (Within::Whole, &names[..]),
            (false, Some(scope)) => (scope.source, &names[1..]),
            (false, None) => {
                let scope = self.0.iter().rev().nth(up);
                (scope.map_or(Within::Whole, |scope| scope.source), &names[..])
            }
        };
        match (start, rest.first()) {
            (Within::Whole, Some(&"node")) => Within::Node,
            (Within::Whole, Some(_)) => Within::Other,
            (start, _) => start,
        }
    }
}

/// The names in a path.
pub(super) fn names(segments: &[PathSeg]) -> impl Iterator<Item = &str> {
    segments.iter().filter_map(|segment| match segment {
        PathSeg::Named(name) => Some(name.as_str()),
        _ => None,
    })
}
