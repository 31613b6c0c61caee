//! Node label selectors in kubectl's string syntax, evaluated locally.
//!
//! Follows `labels.Parse` of k8s.io/apimachinery, odd corners included (`a in (,x)` and `a in ()`
//! have an empty value), so that a selector that works with kubectl means the same here;
//! `tests/it/oracles.rs` compares the two. Only NUL is refused, where the API server stops reading.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::name::{is_label_key, is_label_value};

/// A parsed selector: requirements that must all hold. The empty one matches every node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    DoesNotExist,
    In(BTreeSet<String>),
    /// Holds for a node without the key, too.
    NotIn(BTreeSet<String>),
    GreaterThan(i64),
    LessThan(i64),
}

/// What is wrong with a selector, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    pub message: String,
    /// Byte offsets into the selector's text.
    pub span: std::ops::Range<usize>,
}

impl NodeSelector {
    /// Parses kubectl's syntax: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    pub fn parse(text: &str) -> Result<NodeSelector, SelectorError> {
        let mut parser = Parser { tokens: tokens(text), next: 0 };
        let mut requirements = Vec::new();
        if parser.peek().kind == Kind::End {
            return Ok(NodeSelector { requirements });
        }
        loop {
            requirements.push(parser.requirement()?);
            let token = parser.take();
            match token.kind {
                Kind::End => return Ok(NodeSelector { requirements }),
                Kind::Comma => {}
                _ => return Err(token.unexpected("`,` or the end")),
            }
        }
    }

    /// Whether a node with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::DoesNotExist => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
                Test::LessThan(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }

    /// The selector as the API server takes it; equal selectors give equal text.
    pub fn as_query(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Requirement { key, test }) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let list = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(",");
            match test {
                Test::Exists => write!(f, "{key}")?,
                Test::DoesNotExist => write!(f, "!{key}")?,
                Test::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values))?,
                Test::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", list(values))?,
                Test::In(values) => write!(f, "{key} in ({})", list(values))?,
                Test::NotIn(values) => write!(f, "{key} notin ({})", list(values))?,
                Test::GreaterThan(bound) => write!(f, "{key}>{bound}")?,
                Test::LessThan(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    End,
    Open,
    Close,
    Comma,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    Word,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    text: String,
    start: usize,
}

impl Token {
    fn error(&self, message: String) -> SelectorError {
        SelectorError { message, span: self.start..self.start + self.text.len() }
    }

    fn unexpected(&self, expected: &str) -> SelectorError {
        match self.kind {
            Kind::End => self.error(format!("the selector ends where {expected} is expected")),
            _ => self.error(format!("found `{}`, expected {expected}", self.text)),
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(c) = text[start..].chars().next() {
        if blank(c) {
            start += c.len_utf8();
            continue;
        }
        let rest = &text[start..];
        let (kind, length) = match c {
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            ',' => (Kind::Comma, 1),
            '>' => (Kind::Greater, 1),
            '<' => (Kind::Less, 1),
            '!' if rest.starts_with("!=") => (Kind::NotEquals, 2),
            '!' => (Kind::Not, 1),
            '=' if rest.starts_with("==") => (Kind::Equals, 2),
            '=' => (Kind::Equals, 1),
            _ => (Kind::Word, rest.find(|c| special(c) || blank(c)).unwrap_or(rest.len())),
        };
        tokens.push(Token { kind, text: rest[..length].to_owned(), start });
        start += length;
    }
    tokens.push(Token { kind: Kind::End, text: String::new(), start: text.len() });
    tokens
}

struct Parser {
    /// Ends in [`Kind::End`].
    tokens: Vec<Token>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> Token {
        self.tokens[self.next.min(self.tokens.len() - 1)].clone()
    }

    fn take(&mut self) -> Token {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek().kind == Kind::Not;
        if negated {
            self.take();
        }
        let key = self.key()?;
        if negated {
            return Ok(Requirement { key, test: Test::DoesNotExist });
        }
        if matches!(self.peek().kind, Kind::End | Kind::Comma) {
            return Ok(Requirement { key, test: Test::Exists });
        }
        let operator = self.take();
        let test = match (operator.kind.clone(), operator.text.as_str()) {
            (Kind::Equals, _) => Test::In([self.value()?].into()),
            (Kind::NotEquals, _) => Test::NotIn([self.value()?].into()),
            (Kind::Word, "in") => Test::In(self.values()?),
            (Kind::Word, "notin") => Test::NotIn(self.values()?),
            (Kind::Greater, _) => Test::GreaterThan(self.integer()?),
            (Kind::Less, _) => Test::LessThan(self.integer()?),
            _ => return Err(operator.unexpected("`=`, `!=`, `in`, `notin`, `<`, `>`, `,` or the end")),
        };
        Ok(Requirement { key, test })
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let token = self.take();
        match token.kind {
            Kind::Word if is_label_key(&token.text) => Ok(token.text),
            Kind::Word => Err(token.error(format!("invalid label key `{}`", token.text))),
            _ => Err(token.unexpected("a label's key")),
        }
    }

    /// May be left out: `a=` is the empty value.
    fn value(&mut self) -> Result<String, SelectorError> {
        match self.peek().kind {
            Kind::End | Kind::Comma => Ok(String::new()),
            _ => {
                let token = self.take();
                self.checked_value(token)
            }
        }
    }

    fn checked_value(&self, token: Token) -> Result<String, SelectorError> {
        match token.kind {
            Kind::Word if is_label_value(&token.text) => Ok(token.text),
            Kind::Word => Err(token.error(format!("invalid label value `{}`", token.text))),
            _ => Err(token.unexpected("a value")),
        }
    }

    /// No sign: it has to be a label's value, too.
    fn integer(&mut self) -> Result<i64, SelectorError> {
        let token = self.take();
        match token.text.parse() {
            Ok(number) if is_label_value(&token.text) => Ok(number),
            _ => Err(token.unexpected("an integer without a sign")),
        }
    }

    /// `(a,b)`; a place between commas, or between a comma and a parenthesis, is the empty value, and
    /// so is `()`.
    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let open = self.take();
        if open.kind != Kind::Open {
            return Err(open.unexpected("`(`"));
        }
        let mut values = BTreeSet::new();
        loop {
            match self.peek().kind {
                Kind::Comma | Kind::Close => drop(values.insert(String::new())),
                _ => {
                    let token = self.take();
                    values.insert(self.checked_value(token)?);
                }
            }
            let token = self.take();
            match token.kind {
                Kind::Close => return Ok(values),
                Kind::Comma => {}
                _ => return Err(token.unexpected("`,` or `)`")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(' ').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
    }

    #[test]
    fn selects_as_kubectl_does() {
        for (selector, on, off) in [
            ("", vec!["", "a=1"], vec![]),
            ("a=1", vec!["a=1"], vec!["a=2", ""]),
            ("a==1", vec!["a=1"], vec!["a=2", ""]),
            ("a!=1", vec!["a=2", ""], vec!["a=1"]),
            ("a", vec!["a=", "a=1"], vec!["b=1"]),
            ("!a", vec!["b=1", ""], vec!["a="]),
            ("a=", vec!["a="], vec!["a=1", ""]),
            ("a in (1,2)", vec!["a=1", "a=2"], vec!["a=3", ""]),
            ("a notin (1,2)", vec!["a=3", ""], vec!["a=1"]),
            (" a  in ( 1 , 2 ) , ! b ", vec!["a=1"], vec!["a=1 b=x"]),
            ("a in (,1)", vec!["a=", "a=1"], vec!["a=2"]),
            ("a in (1,)", vec!["a=", "a=1"], vec!["a=2"]),
            ("a in ()", vec!["a="], vec!["a=1", ""]),
            ("a notin ()", vec!["a=1", ""], vec!["a="]),
            ("in in (in,notin),!notin", vec!["in=notin"], vec!["in=", "in=in notin="]),
            ("a>007", vec!["a=8", "a=0010"], vec!["a=7", "a="]),
            ("a>3", vec!["a=4"], vec!["a=3", "a=x", ""]),
            ("a<3", vec!["a=2", "a=-1"], vec!["a=3", ""]),
            ("a=in,b=notin", vec!["a=in b=notin"], vec!["a=in"]),
            (
                "node-role.kubernetes.io/worker,zone in (fra,ams),!gpu",
                vec!["node-role.kubernetes.io/worker= zone=fra"],
                vec!["zone=fra"],
            ),
        ] {
            let parsed = NodeSelector::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e:?}"));
            for node in on {
                assert!(parsed.matches(&labels(node)), "{selector} on {node:?}");
            }
            for node in off {
                assert!(!parsed.matches(&labels(node)), "{selector} on {node:?}");
            }
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (selector, words, at) in [
            ("a=b,,c", "found `,`, expected a label's key", 4),
            ("a in 1", "found `1`, expected `(`", 5),
            ("a in (1", "the selector ends where `,` or `)` is expected", 7),
            ("a=b c", "found `c`, expected `,` or the end", 4),
            ("a=b,", "the selector ends where a label's key is expected", 4),
            ("=b", "found `=`, expected a label's key", 0),
            ("a=b=c", "found `=`, expected `,` or the end", 3),
            ("zone=fra/1", "invalid label value `fra/1`", 5),
            ("-a", "invalid label key `-a`", 0),
            ("a>b", "found `b`, expected an integer without a sign", 2),
            ("a>-1", "found `-1`, expected an integer without a sign", 2),
            ("a<+1", "found `+1`, expected an integer without a sign", 2),
            ("a=b\0", "invalid label value `b\0`", 2),
            ("!a=b", "found `=`, expected `,` or the end", 2),
            ("é", "invalid label key `é`", 0),
        ] {
            let error = NodeSelector::parse(selector).unwrap_err();
            assert_eq!((error.message.as_str(), error.span.start), (words, at), "{selector}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_prints_what_it_parsed(text in "[ a-c=!(),<>1é]{0,20}|\\PC*") {
            if let Ok(selector) = NodeSelector::parse(&text) {
                prop_assert_eq!(NodeSelector::parse(&selector.as_query()), Ok(selector));
            }
        }
    }
}
