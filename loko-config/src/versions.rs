//! Versions in a loko.yaml: where newer ones are found, which of them to take, and the bytes that change.
//!
//! ```text
//! text ─ sources ─→ a Pinned for each `# renovate:` comment ─→ (the caller asks the datasource) ─→ tags
//!                                                                                                   │
//!            text ←─ apply ←─ Upgrade { old, new, span } ←─ newest(old, tags, policy) ←─────────────┘
//! ```
//!
//! All of it is pure: asking registries and repositories is the caller's work.

mod choice;
mod comment;

use std::collections::BTreeSet;

use miette::Diagnostic;
use thiserror::Error;

use crate::edit::{Change, splice};
use crate::problem::{LineIndex, Position, Span};
use crate::yaml::{self, Node, Value};

pub use choice::{Policy, is_prerelease, newest};
pub use comment::{RenovateComment, parse_comment};

/// A version with the comment that says where newer ones are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Keys and indices: `components.haproxy.version`.
    pub path: String,
    /// The version now. Of an `image` with its tag, the tag.
    pub version: String,
    /// The bytes of the version, without quotes.
    pub span: Span,
    /// Where they stand.
    pub position: Position,
    /// Where newer ones are found.
    pub source: RenovateComment,
}

/// A comment that starts with `renovate:` and leads to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[error("line {}: {reason}", position.line)]
#[diagnostic(
    code(loko::config::versions::comment),
    help("write `# renovate: datasource=docker depName=haproxy` on the line above a version")
)]
pub struct CommentProblem {
    /// Where it stands.
    pub position: Position,
    /// What is wrong.
    pub reason: String,
}

/// Every version of a text that has a comment, in the order of the text, and every comment that has no version or cannot
/// be read. A text that is no YAML has none.
#[must_use]
pub fn pinned(text: &str) -> (Vec<Pinned>, Vec<CommentProblem>) {
    let parsed = yaml::parse(text);
    let Some(root) = parsed.root else {
        return (Vec::new(), Vec::new());
    };
    let mut scalars = Vec::new();
    collect(&root, text, &mut scalars);
    // Copies of an anchor lie where the anchor does.
    scalars.sort_by_key(|scalar| scalar.outer);
    scalars.dedup_by_key(|scalar| scalar.outer);
    let lines = LineIndex::new(text);
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (start, line) in line_starts(text) {
        let bare = line.trim_start();
        let at = start + (line.len() - bare.len());
        // What looks like a comment inside a text is none.
        let before = scalars.partition_point(|scalar| scalar.outer.start <= at);
        let inside = before > 0 && at < scalars[before - 1].outer.end;
        if inside || !bare.starts_with('#') {
            continue;
        }
        let position = lines.position(at);
        match parse_comment(bare) {
            None => {}
            Some(Err(reason)) => problems.push(CommentProblem { position, reason }),
            Some(Ok(source)) => {
                let below = at + bare.len();
                match version_below(text, below, &scalars) {
                    Some(scalar) => found.push(Pinned {
                        path: crate::read::path_at(&root, scalar.outer.start),
                        version: text[scalar.inner.start..scalar.inner.end].to_owned(),
                        span: scalar.inner,
                        position: lines.position(scalar.inner.start),
                        source,
                    }),
                    None => problems.push(CommentProblem {
                        position,
                        reason: "no version stands on the line below this comment".to_owned(),
                    }),
                }
            }
        }
    }
    (found, problems)
}

impl Pinned {
    /// Whether a word of the user's means this one: its path, a key on its path (`haproxy`), what is looked up
    /// (`ghcr.io/project-zot/zot`), or the last part of that (`zot`).
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        let name = self.source.dep_name.as_str();
        self.path == word
            || name == word
            || name.rsplit('/').next() == Some(word)
            || self.path.split('.').rev().skip(1).any(|key| key == word)
    }
}

/// What could be done about the versions of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Newer ones, for [`apply`].
    pub upgrades: Vec<Upgrade>,
    /// Those that are the newest.
    pub current: Vec<Pinned>,
    /// Those whose datasource did not answer.
    pub unanswered: Vec<Pinned>,
    /// Comments that lead to nothing.
    pub problems: Vec<CommentProblem>,
}

/// Plans the upgrades of a text. `only` limits them to those that [`Pinned::is`] that word. `tags` gives the versions that
/// a datasource lists, in any order, or None where it did not answer.
///
/// ```
/// use loko_config::versions::{Policy, apply, plan};
///
/// let text = "components:\n  haproxy:\n    # renovate: datasource=docker depName=haproxy\n    version: 3.3.6\n";
/// let tags = |_: &_| Some(vec!["3.3.7".to_owned(), "latest".to_owned()]);
/// let plan = plan(text, Policy::default(), None, tags);
/// assert_eq!(apply(text, &plan.upgrades), text.replace("3.3.6", "3.3.7"));
/// ```
pub fn plan(
    text: &str,
    policy: Policy,
    only: Option<&str>,
    mut tags: impl FnMut(&Pinned) -> Option<Vec<String>>,
) -> Plan {
    let (found, problems) = pinned(text);
    let mut plan = Plan {
        problems,
        ..Plan::default()
    };
    for pinned in found
        .into_iter()
        .filter(|pinned| only.is_none_or(|word| pinned.is(word)))
    {
        let Some(tags) = tags(&pinned) else {
            plan.unanswered.push(pinned);
            continue;
        };
        match newest(&pinned.version, tags.iter().map(String::as_str), policy) {
            Some(new) => plan.upgrades.push(Upgrade {
                new: new.to_owned(),
                pinned,
            }),
            None => plan.current.push(pinned),
        }
    }
    plan
}

/// A change of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// What is pinned now.
    pub pinned: Pinned,
    /// The version that it becomes.
    pub new: String,
}

/// The text with upgrades made. Only the bytes of versions change; an upgrade whose place does not hold its old version
/// any more is left out.
#[must_use]
pub fn apply(text: &str, upgrades: &[Upgrade]) -> String {
    let mut seen = BTreeSet::new();
    let mut changes: Vec<Change> = upgrades
        .iter()
        .filter(|upgrade| {
            let Span { start, end } = upgrade.pinned.span;
            text.get(start..end) == Some(upgrade.pinned.version.as_str()) && seen.insert(start)
        })
        .map(|upgrade| Change {
            span: upgrade.pinned.span,
            new: upgrade.new.clone(),
        })
        .collect();
    changes.sort_by_key(|change| change.span);
    splice(text, &changes)
}

/// A scalar of the text: its bytes with quotes, and those of its version.
struct Found {
    outer: Span,
    /// Empty where there is no version in it.
    inner: Span,
    key: Option<String>,
    /// Where the line of its key starts.
    line: usize,
}

fn collect(node: &Node, text: &str, out: &mut Vec<Found>) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(list) => {
            for item in &list.items {
                if let Value::Scalar(_) = item.value {
                    push(item, None, text, out);
                }
                collect(item, text, out);
            }
        }
        Value::Map(map) => {
            for entry in map.entries.iter().filter(|entry| !entry.merged) {
                if let Value::Scalar(_) = entry.value.value {
                    push(&entry.value, Some((entry.key.as_str(), entry.key_span)), text, out);
                }
                collect(&entry.value, text, out);
            }
        }
    }
}

fn push(node: &Node, key: Option<(&str, Span)>, text: &str, out: &mut Vec<Found>) {
    let outer = node.span;
    let Some(source) = text.get(outer.start..outer.end) else {
        return;
    };
    let quoted = source.len() >= 2 && source.starts_with(['"', '\'']);
    let inner = if quoted {
        Span::new(outer.start + 1, outer.end - 1)
    } else {
        outer
    };
    let inner = match key {
        // The version of `image: ghcr.io/me/shop:1.2` is its tag; a digest is nothing to choose from.
        Some(("image", _)) => match tag_of(&text[inner.start..inner.end]) {
            Some(tag) => Span::new(inner.start + tag.start, inner.start + tag.end),
            None => Span::new(inner.end, inner.end),
        },
        Some(_) | None => inner,
    };
    let line_of = key.map_or(outer.start, |(_, span)| span.start);
    out.push(Found {
        outer,
        inner,
        key: key.map(|(key, _)| key.to_owned()),
        line: text[..line_of].rfind('\n').map_or(0, |at| at + 1),
    });
}

fn tag_of(image: &str) -> Option<Span> {
    if image.contains('@') {
        return None;
    }
    let colon = image.rfind(':')?;
    (!image[colon..].contains('/')).then(|| Span::new(colon + 1, image.len()))
}

fn line_starts(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line.trim_end()))
    })
}

/// The version on the line after a comment. Where that line has several values (`{image: x, version: 1}`), the one whose
/// key is a version's, else the image's tag.
fn version_below<'f>(text: &str, comment_end: usize, scalars: &'f [Found]) -> Option<&'f Found> {
    let start = text[comment_end..].find('\n').map(|at| comment_end + at + 1)?;
    let first = scalars.partition_point(|scalar| scalar.outer.start < start);
    let on_line: Vec<_> = scalars[first..]
        .iter()
        .take_while(|scalar| scalar.line == start)
        .collect();
    let keyed = |keys: &[&str]| {
        let has_key = |scalar: &&Found| scalar.key.as_deref().is_some_and(|key| keys.contains(&key));
        on_line
            .iter()
            .copied()
            .find(|scalar| has_key(scalar) && !scalar.inner.is_empty())
    };
    match on_line.as_slice() {
        [one] => Some(*one).filter(|one| !one.inner.is_empty()),
        _ => keyed(&["version", "tag", "revision"]).or_else(|| keyed(&["image"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GenerateOptions, LoadOptions, Style, generate, load};

    fn full() -> String {
        generate(&GenerateOptions {
            name: "dev".parse().unwrap(),
            domain: None,
            style: Style::Full,
        })
    }

    #[test]
    fn every_version_of_the_generated_file_is_pinned() {
        let (found, problems) = pinned(&full());
        assert_eq!(problems, []);
        let found: Vec<_> = found
            .iter()
            .map(|pinned| {
                (
                    pinned.path.as_str(),
                    pinned.version.as_str(),
                    pinned.source.dep_name.as_str(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("cluster.kubernetes.tag", "v1.36.3", "kindest/node"),
                ("components.dnsmasq.version", "2.91", "dockurr/dnsmasq"),
                ("components.haproxy.version", "3.3.6", "haproxy"),
                ("components.ingress-controller.version", "v3.7.13", "traefik"),
                (
                    "components.metrics-server.version",
                    "v0.9.0",
                    "registry.k8s.io/metrics-server/metrics-server"
                ),
                ("components.registry.version", "v2.1.20", "ghcr.io/project-zot/zot"),
            ]
        );
    }

    #[test]
    fn an_upgrade_changes_its_bytes_and_no_other() {
        let text = full();
        let (found, _) = pinned(&text);
        let upgrades: Vec<_> = found
            .into_iter()
            .map(|pinned| Upgrade {
                new: format!("{}0", pinned.version),
                pinned,
            })
            .collect();
        let new = apply(&text, &upgrades);
        let changed = text.lines().zip(new.lines()).filter(|(old, new)| old != new).count();
        assert_eq!((changed, text.lines().count()), (6, new.lines().count()));
        let environment = load(&new, &LoadOptions::default()).unwrap().environment;
        assert_eq!(environment.components.dnsmasq.version.as_str(), "2.910");
        assert_eq!(environment.cluster.kubernetes.tag.as_str(), "v1.36.30");
        // Upgrades of another text are left out.
        assert_eq!(apply("name: dev\n", &upgrades), "name: dev\n");
    }

    #[test]
    fn plans_tell_newer_current_and_unanswered_apart() {
        let text = full();
        let answer = |pinned: &Pinned| match pinned.source.dep_name.as_str() {
            "haproxy" => Some(vec!["3.3.7".to_owned(), "4.0.0".to_owned()]),
            "traefik" => Some(vec!["v3.7.13".to_owned()]),
            _ => None,
        };
        let whole = plan(&text, Policy::default(), None, answer);
        let new: Vec<_> = whole.upgrades.iter().map(|upgrade| upgrade.new.as_str()).collect();
        assert_eq!(
            (new, whole.current.len(), whole.unanswered.len()),
            (vec!["3.3.7"], 1, 4)
        );
        for word in ["haproxy", "components.haproxy.version"] {
            let one = plan(&text, Policy { major: true }, Some(word), answer);
            assert_eq!((one.upgrades.len(), one.current.len(), one.unanswered.len()), (1, 0, 0));
            assert_eq!(one.upgrades[0].new, "4.0.0");
        }
        let zot = plan(&text, Policy::default(), Some("zot"), answer);
        assert_eq!(zot.unanswered[0].path, "components.registry.version");
        assert_eq!(plan(&text, Policy::default(), Some("nothing"), answer), Plan::default());
    }

    #[test]
    fn comments_of_other_shapes() {
        let text = "\
name: dev
components:
  # renovate: datasource=docker depName=haproxy
  haproxy: {image: haproxy, version: '3.3.6'} # edge
workloads:
  user:
    - name: shop
      # renovate: datasource=docker depName=ghcr.io/me/shop
      image: ghcr.io/me/shop:1.2
      args:
        # renovate: datasource=github-releases depName=me/tool versioning=semver
        - v1.0.0
      files:
        /x: |
          # renovate: datasource=docker depName=not-a-comment
          version: 1
    # renovate: datasource=docker depName=x
    - {name: pinned, image: 'x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'}
    - name: chart
      config:
        chart: ./x
        # renovate: datasource=helm depName=x registryUrl=https://charts.example
        version: 9.0.0
    # renovate: datasource
# renovate: datasource=docker depName=nothing-below
";
        let (found, problems) = pinned(text);
        let found: Vec<_> = found
            .iter()
            .map(|pinned| (pinned.path.as_str(), pinned.version.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("components.haproxy.version", "3.3.6"),
                ("workloads.user[0].image", "1.2"),
                ("workloads.user[0].args[0]", "v1.0.0"),
                ("workloads.user[2].config.version", "9.0.0"),
            ]
        );
        let lines: Vec<_> = problems.iter().map(|problem| problem.position.line).collect();
        assert_eq!(lines, [17, 24, 25], "{problems:?}");
    }
}
