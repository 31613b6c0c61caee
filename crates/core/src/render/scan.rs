//! Looks through a template's text before the parser does. Pure.
//!
//! The parser recurses for each block, parenthesis and list, looks for each tag's line from the beginning
//! of the text, and has no limit of its own where no stack guard is built in. So what would overflow its
//! stack, or keep it busy for seconds, is found here first, by a reading that never goes back.

/// Line and column, from 1, the column in characters.
type Place = (usize, usize);

/// Blocks, else-branches, parentheses and partials inside one another. Parser and renderer recurse, and
/// a template that people read has fewer than ten; fifty fit a thread's stack many times.
pub(super) const NESTING_MAX: usize = 50;
/// What parsing may cost, in nanoseconds of a usual machine. A template of 100 KiB may have 6,000 tags, one
/// that fills a ConfigMap 600.
const COST_MAX: usize = 1_000_000_000;
/// The parser finds the line of each part of a tag by reading the text up to it once more.
const COST_OF_A_BYTE_BEFORE_A_TAG: usize = 3;
/// It looks for the end of some things in all the rest of the text.
const COST_OF_A_BYTE_SEARCHED: usize = 10;
/// It moves the text behind each `\{{`, a few bytes in a nanosecond.
const BYTES_MOVED_AT_ONCE: usize = 8;

/// Why the parser must not see `text`, and where.
pub(super) fn refused(text: &str) -> Option<(Place, String)> {
    refused_beyond(NESTING_MAX, text)
}

fn refused_beyond(nesting_max: usize, text: &str) -> Option<(Place, String)> {
    let mut scan = Scan { text, nesting_max, at: 0, open: Vec::new(), cost: 0, tags: 0 };
    let refusal = scan.run().err()?;
    let message = match refusal.why {
        Why::Nesting => {
            format!(
                "more than {nesting_max} blocks or parentheses stand inside one another; reduce the nesting"
            )
        }
        Why::Cost => format!(
            "a template of {} KiB with this many tags ({} up to here) takes too long to parse; split it into partials",
            text.len().div_ceil(1024),
            scan.tags
        ),
    };
    Some((place(text, refusal.at), message))
}

fn place(text: &str, at: usize) -> Place {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

enum Why {
    Nesting,
    Cost,
}

struct Refusal {
    at: usize,
    why: Why,
}

struct Scan<'a> {
    text: &'a str,
    nesting_max: usize,
    at: usize,
    /// For each open block, itself and its else-branches, which the parser nests.
    open: Vec<usize>,
    cost: usize,
    tags: usize,
}

impl<'a> Scan<'a> {
    fn run(&mut self) -> Result<(), Refusal> {
        while let Some(start) = self.next_tag("{{")? {
            let rest = &self.text[start..];
            self.tags += 1;
            self.spend(start, start * COST_OF_A_BYTE_BEFORE_A_TAG)?;
            if let Some(comment) = rest.strip_prefix("{{!") {
                self.comment(start, comment)?;
            } else if rest.starts_with("{{{{") {
                self.tag(start, start + 4, true)?;
                // Nothing is a tag in there but the end.
                if let Some(end) = self.next_tag("{{{{")? {
                    self.tag(end, end + 4, true)?;
                }
            } else {
                self.tag(start, start + 2, false)?;
            }
        }
        Ok(())
    }

    /// Where the next `braces` are that no single backslash takes for text; they are not passed.
    fn next_tag(&mut self, braces: &str) -> Result<Option<usize>, Refusal> {
        while let Some(start) = self.text[self.at..].find(braces).map(|found| found + self.at) {
            let before = &self.text[self.at..start];
            let backslashes = before.len() - before.trim_end_matches('\\').len();
            self.at = start;
            if backslashes != 1 {
                return Ok(Some(start));
            }
            self.at += if self.text[start..].starts_with("{{{{") { 4 } else { 2 };
            self.spend(start, self.text.len() / BYTES_MOVED_AT_ONCE)?;
        }
        Ok(None)
    }

    fn comment(&mut self, start: usize, behind: &'a str) -> Result<(), Refusal> {
        let length = |end: usize, ending: &str| self.text.len() - behind.len() + end + ending.len();
        let end = match behind.trim_start().starts_with("--") {
            true => behind.find("--}}").map(|end| length(end, "--}}")),
            false => None,
        };
        let end = end.or_else(|| behind.find("}}").map(|end| length(end, "}}")));
        // Where it is not closed as it was opened, the parser has looked for that in all the text.
        let searched = match behind.trim_start().starts_with("--") && !behind.contains("--}}") {
            true => behind.len(),
            false => 0,
        };
        self.at = end.unwrap_or(self.text.len());
        self.spend(start, searched * COST_OF_A_BYTE_SEARCHED)
    }

    /// Passes a tag whose braces end at `inner`. One of a raw block nests nothing.
    fn tag(&mut self, start: usize, inner: usize, is_raw: bool) -> Result<(), Refusal> {
        let tag = self.text[inner..].trim_start_matches(['{', '~', ' ', '\t', '\r', '\n']);
        self.at = self.text.len() - tag.len();
        let is_word_end =
            |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || "-_$:./".contains(c));
        let sign = if is_raw { "" } else { tag };
        if sign.starts_with('#') {
            self.open.push(1);
        } else if sign.starts_with('/') {
            self.open.pop();
        } else if (sign.starts_with('^') || sign.strip_prefix("else").is_some_and(is_word_end))
            && let Some(block) = self.open.last_mut()
        {
            *block += 1;
        }
        let blocks: usize = self.open.iter().sum();
        self.nest(start, blocks)?;
        if let Some(name) = tag.trim_start_matches('#').trim_start().strip_prefix('>') {
            let name = name.trim_start();
            match name.chars().next() {
                Some('\'') => self.at = self.text.len() - name.len() + quoted_name(name),
                Some('[') => self.spend(start, tag.len() * COST_OF_A_BYTE_SEARCHED)?,
                _ => {}
            }
        }
        let mut parentheses: usize = 0;
        let mut word = self.at;
        while let Some(c) = self.text[self.at..].chars().next() {
            if self.text[self.at..].starts_with("}}") {
                self.at += 2;
                return Ok(());
            }
            match c {
                '(' => {
                    parentheses += 1;
                    self.nest(start, blocks + parentheses)?;
                    self.at += 1;
                }
                ')' => {
                    parentheses = parentheses.saturating_sub(1);
                    self.at += 1;
                }
                '"' | '\'' => self.string(c),
                '[' | '{' => {
                    // Behind a path it is a key of that; behind `1.` it is a list.
                    let path = &self.text[word..self.at];
                    let literal = match path.ends_with(['.', '/']) && !is_number(path) {
                        true => None,
                        false => self.literal(start, self.at, blocks + parentheses)?,
                    };
                    let key = || self.text[self.at..].find(']').map(|end| self.at + end + 1);
                    self.at = match (literal, c) {
                        (Some(end), _) => end,
                        (None, '[') => key().unwrap_or(self.text.len()),
                        (None, _) => self.at + 1,
                    };
                }
                c => self.at += c.len_utf8(),
            }
            if c.is_whitespace() || matches!(c, '(' | ')' | '=' | '|' | '"' | '\'') {
                word = self.at;
            }
        }
        Ok(())
    }

    fn string(&mut self, quote: char) {
        self.at = string_end(self.text, self.at, quote).unwrap_or(self.text.len());
    }

    /// Where the JSON that begins at `at` ends; `None` where it is none.
    fn literal(&self, tag: usize, at: usize, nesting: usize) -> Result<Option<usize>, Refusal> {
        self.nest(tag, nesting)?;
        let skip =
            |at: usize| self.text.len() - self.text[at..].trim_start_matches([' ', '\t', '\r', '\n']).len();
        let is = |at: usize, c: char| self.text[at..].starts_with(c);
        let mut at = skip(at);
        let (end, is_table) = match self.text[at..].chars().next() {
            Some('[') => (']', false),
            Some('{') => ('}', true),
            Some(quote @ ('"' | '\'')) => return Ok(string_end(self.text, at, quote)),
            _ => {
                let rest = &self.text[at..];
                let ends = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_$:.".contains(c);
                let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
                let is_literal = matches!(word, "null" | "true" | "false") || is_number(word);
                return Ok(is_literal.then_some(at + word.len()));
            }
        };
        at = skip(at + 1);
        let mut is_first = true;
        while !is(at, end) {
            if is(at, ',') {
                at = skip(at + 1);
            } else if !is_first {
                return Ok(None);
            }
            is_first = false;
            if is_table {
                let quote = self.text[at..].chars().next().filter(|c| matches!(c, '"' | '\''));
                let Some(key) = quote.and_then(|quote| string_end(self.text, at, quote)) else {
                    return Ok(None);
                };
                at = skip(key);
                if !is(at, ':') {
                    return Ok(None);
                }
                at = skip(at + 1);
            }
            match self.literal(tag, at, nesting + 1)? {
                Some(end) => at = skip(end),
                None => return Ok(None),
            }
        }
        Ok(Some(at + 1))
    }

    fn nest(&self, at: usize, depth: usize) -> Result<(), Refusal> {
        match depth > self.nesting_max {
            true => Err(Refusal { at, why: Why::Nesting }),
            false => Ok(()),
        }
    }

    fn spend(&mut self, at: usize, cost: usize) -> Result<(), Refusal> {
        self.cost = self.cost.saturating_add(cost);
        match self.cost > COST_MAX {
            true => Err(Refusal { at, why: Why::Cost }),
            false => Ok(()),
        }
    }
}

/// Behind the quote that closes the one at `at`; `None` where it is not closed, or holds what is no escape.
fn string_end(text: &str, at: usize, quote: char) -> Option<usize> {
    let mut chars = text[at + 1..].char_indices();
    while let Some((offset, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next().filter(|(_, escaped)| "\"\\/bfnrtu".contains(*escaped))?;
            }
            c if c == quote => return Some(at + 1 + offset + 1),
            _ => {}
        }
    }
    None
}

/// The bytes of a partial's name in single quotes, in which only a quote is escaped.
fn quoted_name(name: &str) -> usize {
    let mut at = 1;
    loop {
        let rest = &name[at..];
        at += match rest.chars().next() {
            None => return at,
            Some('\'') => return at + 1,
            Some('\\') if rest.starts_with("\\'") => 2,
            Some(c) => c.len_utf8(),
        };
    }
}

fn is_number(word: &str) -> bool {
    let word = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = word.split_once('E').unwrap_or((word, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.strip_prefix('-').unwrap_or(exponent);
    !whole.is_empty() && !exponent.is_empty() && digits(whole) && digits(part) && digits(exponent)
}

#[cfg(test)]
mod tests {
    use handlebars::Template;
    use handlebars::template::{Parameter, TemplateElement};
    use proptest::prelude::*;

    use super::*;

    /// Blocks and parentheses inside one another, as the parser has read them.
    fn depth(template: &Template) -> usize {
        let of_params = |params: &[Parameter]| params.iter().map(depth_of_param).max().unwrap_or_default();
        let of_element = |element: &TemplateElement| match element {
            TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => {
                of_params(&call.params)
            }
            TemplateElement::HelperBlock(call) => {
                let branches = call.template.iter().chain(&call.inverse).map(depth).max().unwrap_or_default();
                1 + branches.max(of_params(&call.params))
            }
            TemplateElement::PartialBlock(block) => 1 + block.template.as_ref().map_or(0, depth),
            _ => 0,
        };
        template.elements.iter().map(of_element).max().unwrap_or_default()
    }

    fn depth_of_param(parameter: &Parameter) -> usize {
        match parameter {
            Parameter::Subexpression(inner) => {
                1 + inner
                    .params()
                    .map_or(0, |params| params.iter().map(depth_of_param).max().unwrap_or_default())
            }
            _ => 0,
        }
    }

    proptest! {
        /// What passes here is as flat as it is said to be, whatever the parser makes of it.
        #[test]
        fn no_text_that_passes_is_deeper_than_allowed(pieces in prop::collection::vec(prop::sample::select(vec![
            "{{#if a}}", "{{#if (not a)}}", "{{/if}}", "{{else}}", "{{else if b}}", "{{q (q a)}}", "{{q (q (q a))}}",
            "{{!", "{{!--", "--}}", "}}", "{{", "\\", "\"", "'", "[", "]", "{", "}", "(", ")", ",", " ", "a", "1", ".", "/",
            "{{q ", "{{> ", "{{{{raw}}}}", "{{{{/raw}}}}", "{{#> a}}", "{{/a}}", "~", "|", "=", "as", "null",
        ]), 0..40)) {
            let text = pieces.concat();
            if refused_beyond(2, &text).is_none() && let Ok(template) = Template::compile(&text) {
                prop_assert!(depth(&template) <= 2, "{text}");
            }
        }
    }

    #[test]
    fn nesting_cannot_be_hidden_from_the_parser() {
        let block = "{{#if a}}";
        let hiding = [
            "{{! {{/if}}",
            "{{!-- }} {{/if}} --}}",
            "{{! -- }} {{/if}} --}}",
            "\\{{/if}}",
            "x\\{{{{/if}}",
            "{{{{raw}}}} {{/if}} \\{{{{/if}}}} {{{{/raw}}}}",
            "{{q \"}}{{/if}}\"}}",
            "{{q '}}{{/if}}'}}",
            "{{q a.[}}{{/if}}]}}",
            "{{q [}}{{/if}}\"]}}",
            "{{q [\"]}}{{/if}}\"]}}",
            "{{q {\"a\": \"}}{{/if}}\"}}}",
            "{{> 'a\\\\' }}{{/if}}'}}",
            "\\\\{{#if b}}",
            "{{elsewhere}}",
        ];
        for hidden in hiding {
            let text = format!("{block}{hidden}").repeat(51);
            let (_, message) = refused(&text).unwrap_or_else(|| panic!("{hidden} hides it"));
            assert!(message.starts_with("more than 50"), "{message}");
        }
        for parentheses in [
            "{{q (",
            "{{q \"}}\" (",
            "{{q a.[(] (",
            "{{q \")\" (",
            "{{q [1, \")\"] (",
            "{{q [\"]\" \"(",
            "{{q [a,\"]\",\"(",
            "{{q [\"\\x]\",\"(",
            "{{q 1.[\"]\"] (",
        ] {
            let text = format!("{parentheses}{}", "not (".repeat(50));
            assert!(refused(&text).is_some(), "{text}");
        }
        for list in ["[", "{\"a\": ", "[1, ", "{\"a\": 1, \"b\": ["] {
            assert!(refused(&format!("{{{{q {}", list.repeat(60))).is_some(), "{list}");
        }
    }

    #[test]
    fn what_people_write_passes() {
        let texts = [
            include_str!("../../../../templates/helper.yaml.hbs").to_owned(),
            format!("{}{}", "{{#if a}}".repeat(50), "{{/if}}".repeat(50)),
            "{{#if a}}(((((((((((((((((((((((((((((((((((((((((((((((((((((((({{/if}}".repeat(50),
            format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{elsewhere}}{{else.b}}".repeat(60)),
            "a: {{q (default values.[a}}b(] {\"x\": [1, \"(\"]})}}\n".repeat(500),
            "{{!-- no end }}".repeat(20),
            "{{> [a]}}".repeat(20),
            "\\{{ \\\\{{a}} \\{{{{b}}".repeat(100),
            "{{a".to_owned(),
            "{{".to_owned(),
            "{{q \"".to_owned(),
            "{{q [".to_owned(),
        ];
        for text in texts {
            assert_eq!(refused(&text).map(|(_, message)| message), None, "{text}");
        }
    }

    #[test]
    fn what_the_parser_would_be_busy_with_is_refused() {
        for part in ["{{a}}\n", "{{!-- a}}", "{{> [a]}}", "\\{{", "{{{{a}}}}{{{{/a}}}}"] {
            let text = part.repeat((1 << 20) / part.len());
            let (place, message) = refused(&text).unwrap_or_else(|| panic!("{part} passes"));
            assert!(message.contains("1024 KiB"), "{message}");
            assert!(place > (1, 1));
        }
    }
}
