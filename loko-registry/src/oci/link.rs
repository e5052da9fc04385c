//! The `Link` header (RFC 8288), by which a registry says where the next page is.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, space0};
use nom::combinator::{all_consuming, map, opt};
use nom::multi::{many0, separated_list0};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser as _};

use super::auth::{is_token_char, quoted_string};

/// One link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it leads, as written.
    pub target: String,
    /// Its parameters in order, names in lower case; one without a value has an empty one.
    pub parameters: Vec<(String, String)>,
}

impl Link {
    /// Whether one of its relations is the given one.
    #[must_use]
    pub fn is(&self, relation: &str) -> bool {
        // Only the first `rel` counts (RFC 8288, section 3.3).
        let rel = self.parameters.iter().find(|(name, _)| name == "rel");
        rel.is_some_and(|(_, value)| {
            value
                .split_ascii_whitespace()
                .any(|word| word.eq_ignore_ascii_case(relation))
        })
    }
}

/// Reads a header's value; `None` where it is not one.
#[must_use]
pub fn parse(value: &str) -> Option<Vec<Link>> {
    all_consuming(delimited(space0, links, space0))
        .parse(value)
        .ok()
        .map(|(_, links)| links)
}

/// Where the next page is: a path of the same registry. A target that leads elsewhere is none.
#[must_use]
pub fn next(value: &str) -> Option<String> {
    let link = parse(value)?.into_iter().find(|link| link.is("next"))?;
    let target = link.target;
    if target.starts_with('/') && !target.starts_with("//") {
        return Some(target);
    }
    // Some registries write the whole URL, with a host that only they know: its path leads there as well.
    let (_, rest) = target.split_once("://")?;
    rest.find('/').map(|slash| rest[slash..].to_owned())
}

fn links(input: &str) -> IResult<&str, Vec<Link>> {
    let comma = (space0, char(','), space0);
    map(separated_list0(many_commas(comma), link), |links| links).parse(input)
}

/// A list may have empty members (RFC 9110, section 5.6.1).
fn many_commas<'a>(
    comma: impl nom::Parser<&'a str, Error = nom::error::Error<&'a str>>,
) -> impl nom::Parser<&'a str, Output = (), Error = nom::error::Error<&'a str>> {
    map(nom::multi::many1(comma), |_| ())
}

fn link(input: &str) -> IResult<&str, Link> {
    let target = delimited(char('<'), take_while(|c| c != '>' && c != '<'), char('>'));
    let separator = (space0, char(';'), space0);
    map(
        (target, many0(preceded(separator, parameter))),
        |(target, parameters)| Link {
            target: target.to_owned(),
            parameters,
        },
    )
    .parse(input)
}

fn parameter(input: &str) -> IResult<&str, (String, String)> {
    let name = map(take_while1(|c| is_token_char(c) || c == '*'), str::to_ascii_lowercase);
    let value = alt((quoted_string, map(take_while1(is_token_char), str::to_owned)));
    map(
        (name, opt(preceded((space0, tag("="), space0), value))),
        |(name, value)| (name, value.unwrap_or_default()),
    )
    .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        for (value, expected) in [
            (
                r#"</v2/_catalog?last=b&n=2>; rel="next""#,
                Some("/v2/_catalog?last=b&n=2"),
            ),
            ("</v2/a/tags/list?n=2>; rel=next", Some("/v2/a/tags/list?n=2")),
            (
                r#"<https://other:5000/v2/_catalog?n=1>; title="a, b\"; c"; rel="prev next""#,
                Some("/v2/_catalog?n=1"),
            ),
            (
                r#"</first>; rel="first", , </second> ; foo ; REL=Next"#,
                Some("/second"),
            ),
            (r#"</a>; rel="prev"; rel="next""#, None),
            ("<//elsewhere/v2/>; rel=next", None),
            ("<a>; rel=next", None),
            ("", None),
            ("</a>; rel=\"next", None),
        ] {
            assert_eq!(next(value).as_deref(), expected, "{value}");
        }
    }
}
