//! Names in a rule of Traefik: what an `IngressRoute` or `IngressRouteTCP` of the user's asks to be reached by.

use std::collections::BTreeSet;

use loko_config::names::HostName;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while1};
use nom::character::complete::{char, multispace0};
use nom::combinator::{map, value};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};

#[derive(Clone)]
enum Token<'a> {
    Matcher(&'a str, Vec<&'a str>),
    Not,
    Open,
    Close,
    Operator,
}

fn blanks<'a, O>(
    inner: impl Parser<&'a str, Output = O, Error = nom::error::Error<&'a str>>,
) -> impl Parser<&'a str, Output = O, Error = nom::error::Error<&'a str>> {
    preceded(multispace0, inner)
}

/// In backticks, or in double quotes; neither has escapes that could be in a name.
fn text(input: &str) -> IResult<&str, &str> {
    let quoted = |quote: char| delimited(char(quote), take_till(move |c| c == quote), char(quote));
    alt((quoted('`'), quoted('"'))).parse(input)
}

fn token(input: &str) -> IResult<&str, Token<'_>> {
    let name = take_while1(|c: char| c.is_ascii_alphanumeric());
    let values = delimited(
        blanks(char('(')),
        separated_list1(blanks(char(',')), blanks(text)),
        blanks(char(')')),
    );
    blanks(alt((
        map((name, values), |(name, values)| Token::Matcher(name, values)),
        value(Token::Operator, alt((tag("&&"), tag("||")))),
        value(Token::Not, char('!')),
        value(Token::Open, char('(')),
        value(Token::Close, char(')')),
    )))
    .parse(input)
}

/// The host names in `Host(…)` and `HostSNI(…)` of a rule (Traefik: routing, rules and priority; several values in one
/// matcher, as version 2 had them, too), except under an odd number of `!`. Patterns and wildcards are no names. A rule that
/// cannot be read has none.
///
/// ```
/// let names = loko_dns::rule::hosts("Host(`shop.dev.me`) && (PathPrefix(`/api`) || !Host(`x.dev.me`))");
/// assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["shop.dev.me"]);
/// ```
#[must_use]
pub fn hosts(rule: &str) -> BTreeSet<HostName> {
    let mut names = BTreeSet::new();
    let mut negated = false;
    let mut next_negated = false;
    let mut groups = Vec::new();
    let mut rest = rule.trim_end();
    while !rest.is_empty() {
        let Ok((after, token)) = terminated(token, multispace0).parse(rest) else {
            return BTreeSet::new();
        };
        rest = after;
        match token {
            Token::Not => {
                next_negated = !next_negated;
                continue;
            }
            Token::Open => {
                groups.push(negated);
                negated ^= next_negated;
            }
            Token::Close => match groups.pop() {
                Some(outer) => negated = outer,
                None => return BTreeSet::new(),
            },
            Token::Matcher("Host" | "HostSNI", values) if !(negated ^ next_negated) => {
                names.extend(
                    values
                        .into_iter()
                        .filter_map(|name| name.to_ascii_lowercase().parse().ok()),
                );
            }
            Token::Matcher(..) | Token::Operator => {}
        }
        next_negated = false;
    }
    if groups.is_empty() { names } else { BTreeSet::new() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found_wherever_they_stand() {
        for (rule, expected) in [
            ("Host(`a.b`)", "a.b"),
            ("Host(\"a.b\")", "a.b"),
            ("  Host( `A.b` , `c.d` )  ", "a.b c.d"),
            ("Host(`a.b`) || (Host(`c.d`) && PathPrefix(`/x`))", "a.b c.d"),
            ("HostSNI(`pg.dev.me`)", "pg.dev.me"),
            ("HostSNI(`*`)", ""),
            ("HostRegexp(`.+\\.dev\\.me`)", ""),
            ("!Host(`a.b`)", ""),
            ("!!Host(`a.b`)", "a.b"),
            ("!(Host(`a.b`) || !Host(`c.d`)) && Host(`e.f`)", "c.d e.f"),
            ("Header(`Host`, `a.b`)", ""),
            ("PathPrefix(`Host(x.y)`)", ""),
            ("", ""),
        ] {
            let found: Vec<String> = hosts(rule).iter().map(HostName::to_string).collect();
            assert_eq!(found.join(" "), expected, "{rule}");
        }
    }

    #[test]
    fn a_rule_that_cannot_be_read_has_no_names() {
        for rule in [
            "Host(`a.b`",
            "Host(`a.b`) &",
            "(Host(`a.b`)",
            "Host(`a.b`))",
            "Host(a.b)",
            "Host()",
        ] {
            assert!(hosts(rule).is_empty(), "{rule}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(rule in "[Host()`!&|, a.b]{0,40}") {
            let _ = hosts(&rule);
        }
    }
}
