//! Variables in the strings of workloads: `${NAME}`, `${env:NAME}`, `${env:NAME:-default}`, and `$$` for a dollar.
//!
//! ```text
//! text ─ parse ─→ parts, or every mistake with its offset ─ expand(values) ─→ text
//! ```
//!
//! A dollar that is followed by neither `{` nor `$` is an ordinary character, so that `$HOME` in a shell line needs no
//! care. Environment variables are read only where `env:` says so, and from a map that the caller gives.

use std::collections::BTreeMap;
use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while, take_while1};
use nom::combinator::{map, opt, recognize, verify};
use nom::sequence::{delimited, pair, preceded};
use nom::{IResult, Parser};

/// The variables that loko defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// `network.domain`.
    Domain,
    /// The address that names under the domain resolve to. Known only when the environment runs.
    Ip,
    /// `name`.
    EnvName,
    /// The registry's host, with its port where HTTPS is not on 443: `cr.dev.me`.
    RegistryHost,
    /// `registry.name`.
    RegistryName,
    /// Empty where HTTPS is on 443, else `:` and the port.
    HttpsPortSuffix,
}

impl Variable {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Domain,
        Self::Ip,
        Self::EnvName,
        Self::RegistryHost,
        Self::RegistryName,
        Self::HttpsPortSuffix,
    ];

    /// As it is written between the braces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Domain => "LOKO_DOMAIN",
            Self::Ip => "LOKO_IP",
            Self::EnvName => "LOKO_ENV_NAME",
            Self::RegistryHost => "LOKO_REGISTRY_HOST",
            Self::RegistryName => "LOKO_REGISTRY_NAME",
            Self::HttpsPortSuffix => "LOKO_HTTPS_PORT_SUFFIX",
        }
    }

    /// The variable of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variable| variable.name() == name)
    }
}

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// As it stands.
    Text(&'a str),
    /// `$$`.
    Dollar,
    /// `${NAME}`, whether or not NAME exists.
    Named(&'a str),
    /// `${env:NAME}` or `${env:NAME:-default}`.
    Env {
        /// Of the environment variable.
        name: &'a str,
        /// Used where the variable is not set or empty, as a shell does.
        default: Option<&'a str>,
    },
    /// `${` that goes on like neither: the rest up to `}`, or to the end.
    Broken(&'a str),
}

/// A mistake in a template, by the bytes of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Within the template.
    pub range: Range<usize>,
    /// What is wrong.
    pub kind: MistakeKind,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MistakeKind {
    /// `${NAME}` where loko defines no NAME.
    Unknown {
        /// NAME.
        name: String,
    },
    /// `${` that is no variable.
    Broken {
        /// Everything up to `}`.
        found: String,
    },
    /// `${env:NAME}` without value and default.
    Unset {
        /// NAME.
        name: String,
    },
    /// A variable that is not known yet.
    Late {
        /// Its name.
        name: String,
    },
}

/// Splits a template. Never fails: what is no variable becomes [`Part::Broken`]. Joining the source of the parts gives
/// the template back.
#[must_use]
pub fn parse(template: &str) -> Vec<(Part<'_>, Range<usize>)> {
    let mut parts = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let start = template.len() - rest.len();
        // `part` takes at least one character of anything that is not empty.
        let Ok((after, part)) = part(rest) else { break };
        let end = template.len() - after.len();
        parts.push((part, start..end));
        rest = after;
    }
    parts
}

fn part(input: &str) -> IResult<&str, Part<'_>> {
    alt((
        map(tag("$$"), |_| Part::Dollar),
        env,
        map(delimited(tag("${"), identifier, tag("}")), Part::Named),
        map(
            recognize((tag("${"), take_till(|c| c == '}'), opt(tag("}")))),
            Part::Broken,
        ),
        map(recognize(pair(tag("$"), take_till(|c| c == '$'))), Part::Text),
        map(take_while1(|c| c != '$'), Part::Text),
    ))
    .parse(input)
}

fn env(input: &str) -> IResult<&str, Part<'_>> {
    let default = preceded(tag(":-"), take_till(|c| c == '}'));
    let inner = map((preceded(tag("env:"), identifier), opt(default)), |(name, default)| {
        Part::Env { name, default }
    });
    delimited(tag("${"), inner, tag("}")).parse(input)
}

fn identifier(input: &str) -> IResult<&str, &str> {
    verify(
        take_while(|c: char| c.is_ascii_alphanumeric() || c == '_'),
        |name: &str| name.starts_with(|c: char| !c.is_ascii_digit()),
    )
    .parse(input)
}

/// Replaces every variable, or names every mistake. `values` holds the variables that are known now; one that exists
/// but is not in it is [`MistakeKind::Late`].
pub fn expand(
    template: &str,
    values: &BTreeMap<Variable, String>,
    environment: &BTreeMap<String, String>,
) -> Result<String, Vec<Mistake>> {
    if !template.contains('$') {
        return Ok(template.to_owned());
    }
    let mut out = String::with_capacity(template.len());
    let mut mistakes = Vec::new();
    for (part, range) in parse(template) {
        let mut wrong = |kind| {
            mistakes.push(Mistake {
                range: range.clone(),
                kind,
            });
        };
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Dollar => out.push('$'),
            Part::Named(name) => match Variable::by_name(name) {
                None => wrong(MistakeKind::Unknown { name: name.to_owned() }),
                Some(variable) => match values.get(&variable) {
                    Some(value) => out.push_str(value),
                    None => wrong(MistakeKind::Late { name: name.to_owned() }),
                },
            },
            Part::Env { name, default } => {
                let set = environment.get(name).map(String::as_str);
                match (set.filter(|value| !value.is_empty() || default.is_none()), default) {
                    (Some(value), _) | (None, Some(value)) => out.push_str(value),
                    (None, None) => wrong(MistakeKind::Unset { name: name.to_owned() }),
                }
            }
            Part::Broken(found) => wrong(MistakeKind::Broken {
                found: found.to_owned(),
            }),
        }
    }
    if mistakes.is_empty() { Ok(out) } else { Err(mistakes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> BTreeMap<Variable, String> {
        BTreeMap::from([
            (Variable::Domain, "dev.me".to_owned()),
            (Variable::EnvName, "dev".to_owned()),
        ])
    }

    #[test]
    fn each_form() {
        let environment = BTreeMap::from([
            ("SET".to_owned(), "value".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        let table = [
            ("plain", "plain"),
            ("a.${LOKO_DOMAIN}:5432", "a.dev.me:5432"),
            ("$$${LOKO_ENV_NAME}$$", "$dev$"),
            ("$HOME and $1 and a$", "$HOME and $1 and a$"),
            ("$${LOKO_DOMAIN}", "${LOKO_DOMAIN}"),
            ("${env:SET}", "value"),
            ("${env:SET:-x}", "value"),
            ("${env:UNSET:-x:-y}", "x:-y"),
            ("${env:UNSET:-}", ""),
            ("${env:EMPTY}", ""),
            ("${env:EMPTY:-x}", "x"),
        ];
        for (template, wanted) in table {
            assert_eq!(
                expand(template, &values(), &environment).as_deref(),
                Ok(wanted),
                "{template}"
            );
        }
    }

    #[test]
    fn every_mistake_with_its_place() {
        let mistakes = expand("${X} ${LOKO_IP} ${env:NO} ${1} ${", &values(), &BTreeMap::new()).unwrap_err();
        let found: Vec<_> = mistakes
            .iter()
            .map(|mistake| (mistake.range.clone(), mistake.kind.clone()))
            .collect();
        assert_eq!(
            found,
            [
                (0..4, MistakeKind::Unknown { name: "X".into() }),
                (5..15, MistakeKind::Late { name: "LOKO_IP".into() }),
                (16..25, MistakeKind::Unset { name: "NO".into() }),
                (26..30, MistakeKind::Broken { found: "${1}".into() }),
                (31..33, MistakeKind::Broken { found: "${".into() }),
            ]
        );
    }

    proptest! {
        #[test]
        fn parts_cover_the_template(template in "([$]|[{]|[}]|env:|:-|LOKO_IP|[a-z ü\n]){0,20}") {
            let joined: String = parse(&template).into_iter().map(|(_, range)| &template[range]).collect();
            prop_assert_eq!(joined, template);
        }

        #[test]
        fn a_text_whose_dollars_are_doubled_comes_back(text in "\\PC*") {
            let template = text.replace('$', "$$");
            prop_assert_eq!(expand(&template, &BTreeMap::new(), &BTreeMap::new()), Ok(text));
        }
    }
}
