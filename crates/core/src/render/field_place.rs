//! Where a template writes a field of what it renders. Pure, and a guess: nothing leads back from
//! rendered text to the template, but a word that is written once can only be that one.

use super::FieldProblem;

/// Line and column, from 1, the column in characters.
type Place = (usize, usize);

impl FieldProblem {
    /// Where the template `text` writes the value or the key.
    pub fn place(&self, text: &str) -> Option<Place> {
        let is_index = |key: &&str| key.parse::<usize>().is_ok();
        let key = self.path.rsplit('.').find(|key| !is_index(key) && !key.is_empty());
        let mut spellings = self.spellings.iter();
        let scalar = spellings.find_map(|spelling| only_place(text, spelling, is_plain_scalar));
        scalar.or_else(|| only_place(text, key?, is_key))
    }

    /// The same for what differs in nothing but the round of a loop: one mistake of the template.
    pub fn alike(&self) -> String {
        let (parent, last) = self.path.rsplit_once('.').unwrap_or(("", &self.path));
        let steps = parent.split('.').map(|step| if step.parse::<usize>().is_ok() { "*" } else { step });
        let general = steps.chain([last]).collect::<Vec<_>>().join(".");
        self.message.replace(&self.path, &general)
    }
}

fn only_place(text: &str, word: &str, is_meant: fn(&str, &str) -> bool) -> Option<Place> {
    let mut places =
        text.match_indices(word).filter(|(at, _)| is_meant(&text[..*at], &text[at + word.len()..]));
    let (at, _) = places.next().filter(|_| places.next().is_none())?;
    let line_start = text[..at].rfind('\n').map_or(0, |line_break| line_break + 1);
    let line = text[..at].matches('\n').count() + 1;
    Some((line, text[line_start..at].chars().count() + 1))
}

/// Nothing of a name before it, a colon behind it.
fn is_key(before: &str, behind: &str) -> bool {
    let before = before.chars().next_back();
    before.is_none_or(|c| c.is_whitespace() || matches!(c, '{' | ',' | '"' | '\''))
        && behind.trim_start_matches(['"', '\'', ' ']).starts_with(':')
}

/// A key, an item or a value, from its first sign to its last.
fn is_plain_scalar(before: &str, behind: &str) -> bool {
    let last = before.trim_end_matches(' ').chars().next_back();
    let next = behind.trim_start_matches(' ').chars().next();
    last.is_none_or(|c| matches!(c, '{' | '[' | ',' | ':' | '-' | '\n'))
        && next.is_none_or(|c| matches!(c, '}' | ']' | ',' | ':' | '#' | '\n' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, path: &str, scalar: Option<&str>) -> Option<Place> {
        let (spellings, message) = (scalar.map(str::to_owned).into_iter().collect(), String::new());
        FieldProblem { path: path.to_owned(), spellings, message }.place(text)
    }

    #[test]
    fn what_is_written_once_has_a_place() {
        let text =
            "spec:\n  é: { comand: [], \"a\": 1 }\n  # command: x\n  args: a\n  args: [no, 'on', knot]\n";
        assert_eq!(place(text, "spec.containers.0.comand.1", None), Some((2, 8)));
        assert_eq!(place(text, "spec.a", None), Some((2, 21)));
        assert_eq!(place(text, "spec.and", None), None);
        assert_eq!(place(text, "spec.args", None), None);
        assert_eq!(place(text, "spec.args.0", Some("no")), Some((5, 10)));
        assert_eq!(place(text, "spec.args.1", Some("on")), None);
        assert_eq!(place(text, "0", None), None);
    }

    #[test]
    fn rounds_of_a_loop_are_alike() {
        let problem = |path: &str| {
            FieldProblem {
                path: path.to_owned(),
                spellings: Vec::new(),
                message: format!("`{path}` is wrong"),
            }
            .alike()
        };
        assert_eq!(problem("spec.containers.1.args.2"), "`spec.containers.*.args.2` is wrong");
        assert_eq!(problem("spec"), "`.spec` is wrong");
    }
}
