//! Where in a YAML document a template's tag stands: in quotes, in a comment, in a block of text. Pure; reads
//! the template's own text only, so it knows nothing of what values bring, which are one word each.

/// Reads on as text is passed.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    spot: Spot,
    /// The last character of the line that is no space, comments apart.
    last: Option<char>,
    /// Whether a space is right before.
    is_after_space: bool,
    /// Spaces at the start of the line.
    spaces: usize,
    /// The same with the dashes of list items among them; `None` once the line says something.
    lead: Option<usize>,
    /// Where the line's first word begins.
    column: usize,
    /// How the last word begins, how long it is, and whether it is the line's first.
    word: (char, usize, bool),
    /// A block of text, and the indent that ends it.
    block: Option<usize>,
    /// A backslash in double quotes was right before.
    is_escaped: bool,
}

impl Default for Cursor {
    fn default() -> Cursor {
        Cursor {
            spot: Spot::Unknown,
            last: None,
            is_after_space: true,
            spaces: 0,
            lead: Some(0),
            column: 0,
            word: (' ', 0, true),
            block: None,
            is_escaped: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Spot {
    /// In the first line, which another template may have begun.
    Unknown,
    Plain,
    Quotes(char),
    Comment,
}

impl Cursor {
    /// Passes text of the template.
    pub(super) fn pass(&mut self, text: &str) {
        text.chars().for_each(|c| self.char(c));
    }

    /// Passes what a tag prints in the line.
    pub(super) fn pass_value(&mut self) {
        self.char('x');
    }

    /// Passes whole lines that something else prints.
    pub(super) fn pass_lines(&mut self) {
        if self.lead.is_none() {
            self.char('\n');
        }
    }

    /// In single or double quotes.
    pub(super) fn is_in_quotes(&self) -> bool {
        !self.is_in_block() && matches!(self.spot, Spot::Quotes(_))
    }

    /// Where an escaped text cannot change what the document is: double quotes, a block of text, a comment.
    pub(super) fn is_safe_for_text(&self) -> bool {
        self.is_in_block() || matches!(self.spot, Spot::Unknown | Spot::Quotes('"') | Spot::Comment)
    }

    /// A line that has not begun is in the block if it is indented like it.
    fn is_in_block(&self) -> bool {
        self.block.is_some_and(|ends_at| self.lead.is_none() || self.spaces > ends_at)
    }

    fn char(&mut self, c: char) {
        if c == '\n' {
            return self.end_line();
        }
        if let Some(lead) = &mut self.lead {
            if c == ' ' || c == '-' {
                *lead += 1;
                self.spaces += usize::from(c == ' ' && self.last.is_none());
                self.last = self.last.or((c == '-').then_some('-'));
                self.is_after_space = c == ' ';
                return;
            }
            self.column = *lead;
            self.lead = None;
            self.word = (c, 0, true);
            if self.block.is_some_and(|ends_at| self.spaces <= ends_at) {
                self.block = None;
            }
        }
        if self.block.is_some() {
            return;
        }
        let is_start = self.last.is_none_or(|last| ":,-[{?".contains(last));
        let doubles = self.last == Some('\'') && !self.is_after_space;
        self.spot = match (self.spot, c) {
            (Spot::Quotes('"'), '\\') if !self.is_escaped => {
                self.is_escaped = true;
                return;
            }
            (Spot::Quotes(quote), c) if c == quote && !self.is_escaped => Spot::Plain,
            (Spot::Plain, '\'') if is_start || doubles => Spot::Quotes(c),
            (Spot::Plain, '"') if is_start => Spot::Quotes(c),
            (Spot::Plain, '#') if self.is_after_space => Spot::Comment,
            (spot, _) => spot,
        };
        self.is_escaped = false;
        if !c.is_whitespace() && self.spot != Spot::Comment {
            self.last = Some(c);
            match self.is_after_space && self.word.1 > 0 {
                true => self.word = (c, 1, false),
                false => self.word.1 += 1,
            }
        }
        self.is_after_space = c.is_whitespace();
    }

    fn end_line(&mut self) {
        // As `|`, `>-` and `|2+`.
        let (first, length, is_only) = self.word;
        let opens = matches!(first, '|' | '>') && (1..=3).contains(&length);
        if self.block.is_none() && opens && !matches!(self.spot, Spot::Quotes(_)) {
            self.block = Some(if is_only { self.spaces } else { self.column });
        }
        if matches!(self.spot, Spot::Unknown | Spot::Comment) {
            self.spot = Spot::Plain;
        }
        let Cursor { spot, block, .. } = self.clone();
        *self = Cursor { spot, block, ..Cursor::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `q`: in quotes, `s`: safe for escaped text, at each `@` of the text.
    fn spots(text: &str) -> String {
        let mut cursor = Cursor::default();
        assert!(cursor.is_safe_for_text() && !cursor.is_in_quotes(), "not known");
        cursor.pass("\n");
        let mut found = Vec::new();
        for (index, part) in text.split('@').enumerate() {
            if index > 0 {
                let quotes = if cursor.is_in_quotes() { "q" } else { "" };
                let safe = if cursor.is_safe_for_text() { "s" } else { "" };
                found.push(format!("{quotes}{safe}"));
                cursor.pass_value();
            }
            cursor.pass(part);
        }
        found.join(",")
    }

    #[test]
    fn quotes_comments_and_blocks_are_known() {
        assert_eq!(spots("a: @\nb: \"@\"\nc: '@' @\n"), ",qs,q,");
        assert_eq!(spots("a: { b: \"\\\"@\", c: [\"x\", '@'], d: @ }"), "qs,q,");
        assert_eq!(spots("# it's \"@\n@: a # @\nb#@"), "s,,s,");
        assert_eq!(spots("it's @ \"@\"\n- '@'\n"), ",,q");
        assert_eq!(spots("a: |\n  \"@\" '@'\n  # @\nb: @\n  c: >-\n    @\n  d: @"), "s,s,s,,s,");
        assert_eq!(spots("a: \"one\n  @ two\" @"), "qs,");
        assert_eq!(spots("a: 'it''s @'"), "q");
        assert_eq!(spots("- a: |2-  # text\n    @\n  b: @\n- |\n  @\n- @"), "s,,s,");
    }
}
