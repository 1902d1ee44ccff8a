//! Label selectors as they stand in a query: Kubernetes' whole grammar, read within bounds.

use gaugeway_index::Labels;

/// Longest selector, in bytes, and most terms and values in it. An HPA's comes from its workload, which has a few.
const BYTES: usize = 16 * 1024;
const TERMS: usize = 64;
const VALUES: usize = 256;

/// What labels must be like: all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Term>);

/// Of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) key: String,
    pub(crate) is: Is,
}

/// What its value must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    In(Vec<String>),
    /// Absent labels fit too.
    NotIn(Vec<String>),
    Present,
    Absent,
    Above(i64),
    Below(i64),
}

/// What is wrong with a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectorError {
    #[error("the selector is too long or has too many terms")]
    TooLong,
    #[error("expected {expected}, found {found:?}")]
    Unexpected {
        expected: &'static str,
        found: String,
    },
    #[error("{0:?} is no label's key")]
    Key(String),
    #[error("{0:?} is no label's value")]
    Value(String),
    #[error("{0:?} is no whole number")]
    Number(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Sign(&'static str),
    End,
}

impl Selector {
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > BYTES {
            return Err(SelectorError::TooLong);
        }
        let mut parser = Parser { rest: text };
        let mut terms = Vec::new();
        if parser.peek() == Token::End {
            return Ok(Self(terms));
        }
        loop {
            if terms.len() == TERMS {
                return Err(SelectorError::TooLong);
            }
            terms.push(parser.term()?);
            match parser.next() {
                Token::End => return Ok(Self(terms)),
                Token::Sign(",") => {}
                other => return Err(unexpected("',' or the end", other)),
            }
        }
    }

    pub(crate) fn matches(&self, labels: Labels<'_>) -> bool {
        self.fits(|key| labels.get(key))
    }

    pub(crate) fn terms(&self) -> &[Term] {
        &self.0
    }

    fn fits<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|term| term.is.fits(value(&term.key)))
    }
}

impl Is {
    fn fits(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|v| values.iter().any(|one| one == v)),
            Self::NotIn(values) => value.is_none_or(|v| values.iter().all(|one| one != v)),
            Self::Present => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Above(bound) => number().is_some_and(|n| n > *bound),
            Self::Below(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Token<'a> {
        let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        for sign in ["==", "!=", "=", "!", "(", ")", ",", ">", "<"] {
            if let Some(rest) = rest.strip_prefix(sign) {
                self.rest = rest;
                return Token::Sign(sign);
            }
        }
        let end = rest.find([' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '>', '<']);
        let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.rest = rest;
        if word.is_empty() {
            Token::End
        } else {
            Token::Word(word)
        }
    }

    fn peek(&self) -> Token<'a> {
        Parser { rest: self.rest }.next()
    }

    fn term(&mut self) -> Result<Term, SelectorError> {
        let (key, absent) = match self.next() {
            Token::Word(key) => (key, false),
            Token::Sign("!") => match self.next() {
                Token::Word(key) => (key, true),
                other => return Err(unexpected("a key", other)),
            },
            other => return Err(unexpected("a key or '!'", other)),
        };
        let key = checked_key(key)?;
        let is = if absent { Is::Absent } else { self.is()? };
        Ok(Term { key, is })
    }

    fn is(&mut self) -> Result<Is, SelectorError> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(Is::Present);
        }
        Ok(match self.next() {
            Token::Sign("=" | "==") => Is::In(vec![self.value()?]),
            Token::Sign("!=") => Is::NotIn(vec![self.value()?]),
            Token::Sign(">") => Is::Above(self.number()?),
            Token::Sign("<") => Is::Below(self.number()?),
            Token::Word("in") => Is::In(self.values()?),
            Token::Word("notin") => Is::NotIn(self.values()?),
            other => return Err(unexpected("an operator", other)),
        })
    }

    /// Nothing is the empty value, as in `key=`.
    fn value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.peek(), Token::End | Token::Sign("," | ")")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => checked_value(value),
            other => Err(unexpected("a value", other)),
        }
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let value = self.value()?;
        value.parse().map_err(|_| SelectorError::Number(value))
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(unexpected("'('", other)),
        }
        let mut values = Vec::new();
        loop {
            if values.len() == VALUES {
                return Err(SelectorError::TooLong);
            }
            values.push(self.value()?);
            match self.next() {
                Token::Sign(")") => return Ok(values),
                Token::Sign(",") => {}
                other => return Err(unexpected("',' or ')'", other)),
            }
        }
    }
}

fn unexpected(expected: &'static str, found: Token<'_>) -> SelectorError {
    let found = match found {
        Token::Word(word) => word.chars().take(64).collect(),
        Token::Sign(sign) => sign.to_owned(),
        Token::End => "the end".to_owned(),
    };
    SelectorError::Unexpected { expected, found }
}

/// `[prefix/]name`.
fn checked_key(key: &str) -> Result<String, SelectorError> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_fits = prefix.is_none_or(|prefix| {
        let part = |part: &str| {
            is_framed(part)
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        prefix.len() <= 253 && prefix.split('.').all(part)
    });
    if prefix_fits && is_name(name) {
        Ok(key.to_owned())
    } else {
        Err(SelectorError::Key(key.chars().take(64).collect()))
    }
}

fn checked_value(value: &str) -> Result<String, SelectorError> {
    if is_name(value) {
        Ok(value.to_owned())
    } else {
        Err(SelectorError::Value(value.chars().take(64).collect()))
    }
}

fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.len() <= 63 && is_framed(name) && name.bytes().all(legal)
}

/// Begins and ends with a letter or digit.
fn is_framed(text: &str) -> bool {
    let ends = (text.bytes().next(), text.bytes().last());
    matches!(ends, (Some(a), Some(b)) if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::btree_map, prelude::*, sample::select};

    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let selector = Selector::parse(selector).unwrap();
        let of: BTreeMap<_, _> = labels.iter().copied().collect();
        selector.fits(|key| of.get(key).copied())
    }

    /// From the tests of `k8s.io/apimachinery/pkg/labels`.
    #[test]
    fn what_matches() {
        for (selector, labels) in [
            ("", &[("x", "y")][..]),
            ("x=y", &[("x", "y")]),
            ("x=y,z=w", &[("x", "y"), ("z", "w")]),
            ("x!=y,z!=w", &[("x", "z"), ("z", "a")]),
            ("notin=in", &[("notin", "in")]),
            ("x", &[("x", "z")]),
            ("!x", &[("y", "z")]),
            ("x>1", &[("x", "2")]),
            ("x<1", &[("x", "0")]),
            ("x in (a, b)", &[("x", "b")]),
            ("x notin (a,b)", &[("x", "c")]),
            ("x notin (a,b)", &[("y", "a")]),
            ("x in (a,,b)", &[("x", "")]),
            ("x=", &[("x", "")]),
            ("in in (in)", &[("in", "in")]),
            (
                " app.kubernetes.io/name == cart ",
                &[("app.kubernetes.io/name", "cart")],
            ),
        ] {
            assert!(matches(selector, labels), "{selector} {labels:?}");
        }
    }

    #[test]
    fn what_does_not_match() {
        for (selector, labels) in [
            ("x=z", &[][..]),
            ("x=y", &[("x", "z")]),
            ("x=y,z=w", &[("x", "w"), ("z", "w")]),
            ("x!=y,z!=w", &[("x", "z"), ("z", "w")]),
            ("x", &[("y", "z")]),
            ("!x", &[("x", "z")]),
            ("x>1", &[("x", "0")]),
            ("x>1", &[("x", "two")]),
            ("x<1", &[("x", "2")]),
            ("x in (a)", &[]),
        ] {
            assert!(!matches(selector, labels), "{selector} {labels:?}");
        }
    }

    #[test]
    fn what_is_no_selector() {
        for selector in [
            "x=a||y=b",
            "x==a==b",
            "!x=a",
            "x<a",
            "x in a",
            "x in (a",
            "x in (a,b))",
            ",",
            "x,",
            "x=y,,z",
            "=y",
            "x =! y",
            "-x=y",
            "x=y-",
            "a/b/c=d",
            "A.b/c=d",
            "x=ü",
        ] {
            assert!(Selector::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn its_size_is_bounded() {
        let long = "a,".repeat(BYTES);
        assert_eq!(Selector::parse(&long), Err(SelectorError::TooLong));
        let many = vec!["a"; TERMS + 1].join(",");
        assert_eq!(Selector::parse(&many), Err(SelectorError::TooLong));
        let values = format!("a in ({})", vec!["b"; VALUES + 1].join(","));
        assert_eq!(Selector::parse(&values), Err(SelectorError::TooLong));
    }

    fn a_term() -> impl Strategy<Value = (String, Is)> {
        let key = select(vec!["a", "b", "in"]).prop_map(str::to_owned);
        let value = || select(vec!["", "1", "x", "notin"]).prop_map(str::to_owned);
        let values = || prop::collection::vec(value(), 1..4);
        let is = prop_oneof![
            values().prop_map(Is::In),
            values().prop_map(Is::NotIn),
            Just(Is::Present),
            Just(Is::Absent),
            (-2..3_i64).prop_map(Is::Above),
            (-2..3_i64).prop_map(Is::Below),
        ];
        (key, is)
    }

    fn written(key: &str, is: &Is) -> String {
        match is {
            Is::In(values) if values.len() == 1 => format!("{key}={}", values[0]),
            Is::In(values) => format!("{key} in ({})", values.join(",")),
            Is::NotIn(values) => format!("{key} notin ( {} )", values.join(" , ")),
            Is::Present => key.to_owned(),
            Is::Absent => format!("!{key}"),
            // Negative numbers are no labels' values.
            Is::Above(n) => format!("{key}>{}", n.unsigned_abs()),
            Is::Below(n) => format!("{key} < {}", n.unsigned_abs()),
        }
    }

    proptest! {
        #[test]
        fn it_selects_what_its_terms_say(
            terms in prop::collection::vec(a_term(), 0..4),
            labels in btree_map(select(vec!["a", "b", "in"]), select(vec!["", "0", "1", "2", "x", "notin"]), 0..4),
        ) {
            let text: Vec<_> = terms.iter().map(|(key, is)| written(key, is)).collect();
            let selector = Selector::parse(&text.join(" ,")).unwrap();
            let expected = terms.iter().all(|(key, is)| {
                let value = labels.get(&**key).copied();
                let number = value.and_then(|v| v.parse::<i64>().ok());
                match is {
                    Is::In(of) => of.iter().any(|v| Some(&**v) == value),
                    Is::NotIn(of) => !of.iter().any(|v| Some(&**v) == value),
                    Is::Present => labels.contains_key(&**key),
                    Is::Absent => !labels.contains_key(&**key),
                    Is::Above(n) => number.is_some_and(|v| v > n.abs()),
                    Is::Below(n) => number.is_some_and(|v| v < n.abs()),
                }
            });
            prop_assert_eq!(selector.fits(|key| labels.get(key).copied()), expected);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = Selector::parse(&text);
        }
    }
}
