//! `# renovate: datasource=docker depName=haproxy`, as Renovate's documentation of custom managers has it.

use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{space0, space1};
use nom::combinator::all_consuming;
use nom::multi::separated_list1;
use nom::sequence::{delimited, separated_pair};
use nom::{IResult, Parser};

/// What such a comment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenovateComment {
    /// Where versions are listed: `docker`, `helm`, `github-releases`, …
    pub datasource: String,
    /// What is looked up there: an image, a chart, `owner/repository`.
    pub dep_name: String,
    /// The registry or repository, where it does not follow from the name.
    pub registry_url: Option<String>,
    /// How versions compare, where not as usual.
    pub versioning: Option<String>,
}

/// Reads a comment line from its `#` on. None where it is another comment; an error where it starts as this one does and
/// goes on otherwise.
#[must_use]
pub fn parse_comment(line: &str) -> Option<Result<RenovateComment, String>> {
    let body = line.strip_prefix('#')?.trim();
    let rest = body.strip_prefix("renovate:")?;
    Some(read(rest))
}

fn read(rest: &str) -> Result<RenovateComment, String> {
    let (_, pairs) = pairs(rest).map_err(|_| format!("`{}` is no list of `key=value`", rest.trim()))?;
    let mut comment = RenovateComment {
        datasource: String::new(),
        dep_name: String::new(),
        registry_url: None,
        versioning: None,
    };
    for (key, value) in pairs {
        match key {
            "datasource" => value.clone_into(&mut comment.datasource),
            "depName" | "packageName" => value.clone_into(&mut comment.dep_name),
            "registryUrl" => comment.registry_url = Some(value.to_owned()),
            "versioning" => comment.versioning = Some(value.to_owned()),
            // Renovate knows more keys (`extractVersion`, `currentDigest`); they do not change where versions come from.
            _ => {}
        }
    }
    match (comment.datasource.is_empty(), comment.dep_name.is_empty()) {
        (true, _) => Err("`datasource=` is missing".to_owned()),
        (_, true) => Err("`depName=` is missing".to_owned()),
        (false, false) => Ok(comment),
    }
}

fn pairs(input: &str) -> IResult<&str, Vec<(&str, &str)>> {
    all_consuming(delimited(space0, separated_list1(space1, pair), space0)).parse(input)
}

fn pair(input: &str) -> IResult<&str, (&str, &str)> {
    separated_pair(
        take_while1(|c: char| c.is_ascii_alphanumeric()),
        tag("="),
        take_while1(|c: char| !c.is_whitespace()),
    )
    .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form() {
        let comment = parse_comment(
            "# renovate: datasource=helm depName=grafana registryUrl=https://g.example/x?a=b versioning=semver extractVersion=^v",
        );
        assert_eq!(
            comment,
            Some(Ok(RenovateComment {
                datasource: "helm".into(),
                dep_name: "grafana".into(),
                registry_url: Some("https://g.example/x?a=b".into()),
                versioning: Some("semver".into()),
            }))
        );
        assert!(matches!(
            parse_comment("#renovate:   datasource=docker   depName=x  "),
            Some(Ok(_))
        ));
        assert_eq!(parse_comment("# a comment"), None);
        assert_eq!(parse_comment("# Renovate is a bot"), None);
        for bad in [
            "# renovate:",
            "# renovate: docker x",
            "# renovate: datasource=docker",
            "# renovate: depName=x",
            "# renovate: a=",
            "# renovate: datasource=docker, depName=x y",
        ] {
            assert!(matches!(parse_comment(bad), Some(Err(_))), "{bad}");
        }
    }
}
