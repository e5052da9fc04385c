//! Paths into loko.yaml: `network.domain`, `workloads.user[0].image`, `workloads.user[shop].image`,
//! `cluster.nodes.labels.worker["example.com/zone"]`.

use std::fmt::Write as _;

use nom::branch::alt;
use nom::bytes::complete::{escaped_transform, is_not, tag, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map, map_opt, opt, value};
use nom::multi::fold_many0;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// A key of a map.
    Key(String),
    /// An entry of a list, from 0.
    Index(usize),
    /// The entry of a list whose `name` is this.
    Named(String),
}

/// Reads a path.
///
/// Errors: what is wrong with it, as a fragment.
pub fn parse_path(path: &str) -> Result<Vec<PathStep>, String> {
    let mut parser = all_consuming((first, rest));
    match parser.parse(path) {
        Ok((_, (first, rest))) => Ok(std::iter::once(first).chain(rest).collect()),
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) if error.input.is_empty() => {
            Err("it ends too early".to_owned())
        }
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) => {
            Err(format!("`{}` cannot be read", crate::yaml::shorten(error.input)))
        }
        Err(nom::Err::Incomplete(_)) => Err("it ends too early".to_owned()),
    }
}

fn first(input: &str) -> IResult<&str, PathStep> {
    alt((map(key, PathStep::Key), quoted_key)).parse(input)
}

fn rest(input: &str) -> IResult<&str, Vec<PathStep>> {
    let step = alt((
        map(preceded(char('.'), key), PathStep::Key),
        quoted_key,
        map_opt(delimited(char('['), digit1, char(']')), |digits: &str| {
            digits.parse().ok().map(PathStep::Index)
        }),
        map(delimited(char('['), key, char(']')), PathStep::Named),
    ));
    fold_many0(step, Vec::new, |mut steps, step| {
        steps.push(step);
        steps
    })
    .parse(input)
}

fn key(input: &str) -> IResult<&str, String> {
    map(
        take_while1(|c: char| !matches!(c, '.' | '[' | ']' | '"') && !c.is_whitespace()),
        str::to_owned,
    )
    .parse(input)
}

/// `["any text"]`.
fn quoted_key(input: &str) -> IResult<&str, PathStep> {
    let escape = alt((value("\\", tag("\\")), value("\"", tag("\""))));
    let inner = opt(escaped_transform(is_not("\\\""), '\\', escape));
    let quoted = delimited(tag("[\""), inner, tag("\"]"));
    map(quoted, |text| PathStep::Key(text.unwrap_or_default())).parse(input)
}

/// Writes a path that [`parse_path`] reads back.
pub(crate) fn write(steps: &[PathStep]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            PathStep::Key(key) => crate::read::push_key(&mut path, key),
            PathStep::Index(index) => {
                let _ = write!(path, "[{index}]");
            }
            PathStep::Named(name) => {
                let _ = write!(path, "[{name}]");
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_form() {
        let key = |text: &str| PathStep::Key(text.to_owned());
        assert_eq!(parse_path("name"), Ok(vec![key("name")]));
        assert_eq!(
            parse_path("workloads.user[12].http.hosts[0]"),
            Ok(vec![
                key("workloads"),
                key("user"),
                PathStep::Index(12),
                key("http"),
                key("hosts"),
                PathStep::Index(0)
            ])
        );
        assert_eq!(
            parse_path("workloads.user[shop]"),
            Ok(vec![key("workloads"), key("user"), PathStep::Named("shop".into())])
        );
        assert_eq!(parse_path(r#"a["b.c/\"d\\"]"#), Ok(vec![key("a"), key("b.c/\"d\\")]));
        for bad in ["", ".", "a.", "a..b", "a[", "a[]", "a b", "a[1", ".a", "a[1]b"] {
            assert!(parse_path(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn written_paths_read_back(keys in prop::collection::vec("[a-z.\"\\\\ ü/-]{1,8}", 1..5), index in 0usize..99) {
            let mut steps: Vec<_> = keys.into_iter().map(PathStep::Key).collect();
            steps.push(PathStep::Index(index));
            prop_assert_eq!(parse_path(&write(&steps)), Ok(steps));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a\\[\\]\".0-9\\\\]{0,12}") {
            let _ = parse_path(&text);
        }
    }
}
