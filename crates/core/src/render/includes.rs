//! Which templates lead to others, and whether every inclusion comes to an end. Pure.
//!
//! Rendering follows inclusions by recursion, so a partial that reaches itself, or a chain of thousands,
//! would overflow the stack, and that ends the process. All questions here are answered by passes over the
//! whole graph, never by following one path after another: a ConfigMap holds 30,000 small templates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::TemplateError;
use super::scan::NESTING_MAX;
use crate::config::closest;

/// Line and column, from 1, the column in characters.
type Place = (usize, usize);

/// A partial's inclusion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Inclusion {
    /// Of the first.
    pub place: Place,
    /// Of the deepest: blocks around it.
    pub depth: usize,
}

/// By the name of the including template, and of the included one.
pub(super) type Includes = BTreeMap<String, BTreeMap<String, Inclusion>>;

/// Members of a cycle that are named; more say no more.
const MEMBERS_SHOWN: usize = 8;
/// Each costs a look at all names.
const MISSING_MAX: usize = 50;
/// Cycles that are looked for: each costs a pass.
const CYCLES_MAX: usize = 50;

/// What is wrong with inclusions, and which templates can be rendered.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub errors: Vec<TemplateError>,
    /// All of their inclusions lead to something, and to an end.
    pub sound: BTreeSet<String>,
}

/// Checks all inclusions. `known` are the names of all templates, those that are wrong themselves too;
/// `compiled` are those that are not, each with the blocks inside one another in it.
pub(super) fn check(
    includes: &Includes,
    known: &BTreeSet<&str>,
    compiled: &BTreeMap<&str, usize>,
) -> Checked {
    let mut errors = missing(includes, known);
    let mut sound = BTreeSet::new();
    // Each template is looked at once all that it includes has been.
    let mut includers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut waits_for: BTreeMap<&str, usize> = BTreeMap::new();
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    let mut next = VecDeque::new();
    for (name, partials) in includes {
        let there = partials.keys().filter(|partial| includes.contains_key(*partial));
        let count = there.inspect(|partial| includers.entry(partial).or_default().push(name)).count();
        waits_for.insert(name, count);
        if count == 0 {
            next.push_back(name.as_str());
        }
    }
    while let Some(name) = next.pop_front() {
        let partials = includes.get(name).into_iter().flatten();
        let through = |(partial, inclusion): (&String, &Inclusion)| {
            let depth = depths.get(partial.as_str()).copied().unwrap_or_default();
            (inclusion.depth + 1 + depth, inclusion.place, sound.contains(partial))
        };
        let (mut depth, mut deepest, mut is_sound) = (compiled.get(name).copied(), None, true);
        for (through, place, leads_somewhere) in partials.map(through) {
            is_sound &= leads_somewhere;
            if depth.is_some_and(|depth| through > depth) {
                (depth, deepest) = (Some(through), Some(place));
            }
        }
        depths.insert(name, depth.unwrap_or_default());
        if is_sound && depth.is_some_and(|depth| depth > NESTING_MAX) {
            let message = format!(
                "more than {NESTING_MAX} blocks and partials stand inside one another from here on; reduce the nesting"
            );
            errors.push(TemplateError::new(name, deepest, message));
        } else if is_sound && depth.is_some() {
            sound.insert(name.to_owned());
        }
        for includer in includers.get(name).into_iter().flatten() {
            if let Some(count) = waits_for.get_mut(includer) {
                *count -= 1;
                if *count == 0 {
                    next.push_back(includer);
                }
            }
        }
    }
    let endless: BTreeSet<&str> =
        includes.keys().map(String::as_str).filter(|name| !depths.contains_key(name)).collect();
    errors.extend(cycles(includes, &endless));
    Checked { errors, sound }
}

fn missing(includes: &Includes, known: &BTreeSet<&str>) -> Vec<TemplateError> {
    let inclusions =
        includes.iter().flat_map(|(name, partials)| partials.iter().map(move |found| (name, found)));
    let mut missing = inclusions.filter(|(_, (partial, _))| !known.contains(partial.as_str()));
    let told = missing.by_ref().take(MISSING_MAX).map(|(name, (partial, inclusion))| {
        // To include what includes this one would be a cycle.
        let like = closest(partial, known.iter().copied())
            .filter(|like| path_between(includes, like, name, |_| true).is_none())
            .map_or_else(String::new, |like| format!("; did you mean `{like}`?"));
        TemplateError::new(name, Some(inclusion.place), format!("there is no partial `{partial}`{like}"))
    });
    let mut errors: Vec<TemplateError> = told.collect();
    if let Some((name, (partial, inclusion))) = missing.next() {
        let message = format!("there is no partial `{partial}`, nor {} more", missing.count());
        errors.push(TemplateError::new(name, Some(inclusion.place), message));
    }
    errors
}

/// Cycles among `endless`, which lead into some, each told at the first of its members by name.
fn cycles(includes: &Includes, endless: &BTreeSet<&str>) -> Vec<TemplateError> {
    let mut errors: Vec<TemplateError> = Vec::new();
    for name in endless.iter().take(CYCLES_MAX) {
        for (partial, inclusion) in includes.get(*name).into_iter().flatten() {
            // One mistake, one error: this one is told at an earlier member.
            let later = |member: &str| member >= *name && endless.contains(member);
            if let Some(path) = path_between(includes, partial, name, later) {
                let message = format!("`{name}` includes itself: {name} → {}", shown(&path));
                errors.push(TemplateError::new(name, Some(inclusion.place), message));
            }
        }
    }
    if let (true, Some(name)) = (errors.is_empty(), endless.first()) {
        let place =
            includes.get(*name).and_then(|partials| partials.values().next()).map(|first| first.place);
        errors.push(TemplateError::new(
            name,
            place,
            format!("`{name}` leads to partials that include themselves"),
        ));
    }
    errors
}

fn shown(path: &[&str]) -> String {
    match path.len() > MEMBERS_SHOWN {
        true => {
            let (first, last) = (&path[..MEMBERS_SHOWN / 2], &path[path.len() - MEMBERS_SHOWN / 2..]);
            let more = path.len() - MEMBERS_SHOWN;
            format!("{} → … {more} more … → {}", first.join(" → "), last.join(" → "))
        }
        false => path.join(" → "),
    }
}

/// The fewest inclusions that lead from one template to another, both named, through those that `may` be.
fn path_between<'a>(
    includes: &'a Includes,
    from: &'a str,
    to: &str,
    may: impl Fn(&str) -> bool,
) -> Option<Vec<&'a str>> {
    let mut reached_from: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from, None)]);
    let mut next = VecDeque::from([from]);
    if !may(from) {
        return None;
    }
    while let Some(name) = next.pop_front() {
        if name == to {
            let mut path = vec![name];
            while let Some(Some(before)) = reached_from.get(path[path.len() - 1]) {
                path.push(before);
            }
            path.reverse();
            return Some(path);
        }
        for partial in includes.get(name).into_iter().flat_map(BTreeMap::keys).filter(|partial| may(partial))
        {
            if !reached_from.contains_key(partial.as_str()) {
                reached_from.insert(partial, Some(name));
                next.push_back(partial);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(edges: &[(&str, &str)]) -> Includes {
        let mut includes = Includes::new();
        for (from, to) in edges {
            let partials = includes.entry((*from).to_owned()).or_default();
            if !to.is_empty() {
                partials.insert((*to).to_owned(), Inclusion { place: (1, 1), depth: 0 });
            }
        }
        includes
    }

    fn checked(includes: &Includes) -> (Vec<String>, usize) {
        let known = includes.keys().map(String::as_str).collect();
        let compiled = includes.keys().map(|name| (name.as_str(), 0)).collect();
        let Checked { errors, sound } = check(includes, &known, &compiled);
        (errors.into_iter().map(|error| error.message).collect(), sound.len())
    }

    #[test]
    fn cycles_are_told_once_and_what_leads_into_them_is_not_sound() {
        let edges = [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", ""), ("e", "e"), ("f", "d")];
        let (errors, sound) = checked(&includes(&edges));
        assert_eq!(errors, ["`b` includes itself: b → c → b", "`e` includes itself: e → e"]);
        assert_eq!(sound, 2, "d and f");
    }

    #[test]
    fn no_advice_makes_a_cycle() {
        let edges = [("main", "part"), ("part", "mian"), ("other", "parts"), ("parrot", "")];
        let (errors, _) = checked(&includes(&edges));
        assert_eq!(
            errors,
            ["there is no partial `parts`; did you mean `part`?", "there is no partial `mian`"]
        );
    }

    #[test]
    fn tens_of_thousands_of_inclusions_take_no_time_and_no_stack() {
        let name = |n: usize| format!("p{n:05}");
        let chain = |ends: &str| {
            let mut includes = Includes::new();
            for n in 0..30_000 {
                let next = if n + 1 == 30_000 { ends.to_owned() } else { name(n + 1) };
                let partials = [(next, Inclusion { place: (1, 1), depth: 0 })];
                includes.insert(name(n), partials.into_iter().filter(|(name, _)| !name.is_empty()).collect());
            }
            includes
        };
        let (errors, sound) = checked(&chain(""));
        insta::assert_snapshot!(errors.join("\n"), @"more than 50 blocks and partials stand inside one another from here on; reduce the nesting");
        assert_eq!(sound, 51);
        let (errors, sound) = checked(&chain("p00000"));
        insta::assert_snapshot!(errors.join("\n"), @"`p00000` includes itself: p00000 → p00001 → p00002 → p00003 → p00004 → … 29992 more … → p29997 → p29998 → p29999 → p00000");
        assert_eq!(sound, 0);
        let gone = chain("gone").remove("p29999").unwrap();
        let (errors, _) = checked(&(0..200).map(|n| (name(n), gone.clone())).collect());
        assert_eq!(errors.len(), 51);
        assert_eq!(errors[50], "there is no partial `gone`, nor 149 more");
    }
}
