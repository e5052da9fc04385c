//! A loko.yaml to start from.

mod examples;

use std::fmt::Write as _;

use crate::names::{Domain, EnvName};
use crate::raw::RawFile;
use crate::read::{Field, Read, Section};
use crate::shape::{KeyShape, Shape, Tree};
use crate::write;

pub(crate) use examples::EXAMPLES;

/// Where the JSON Schema is published; the first line of a generated file points editors there.
pub const SCHEMA_URL: &str = "https://raw.githubusercontent.com/getloko/loko/main/schema/loko.schema.json";

/// How much a generated file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Every key with its default, its meaning as a comment, and commented examples of what has no default.
    #[default]
    Full,
    /// The keys that must be there, and those that were asked for.
    Minimal,
}

/// What a generated file says.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// `name`.
    pub name: EnvName,
    /// `network.domain`, where it is not the default.
    pub domain: Option<Domain>,
    /// How much.
    pub style: Style,
}

/// Writes a loko.yaml. It loads, and means the same in both styles.
///
/// ```
/// use loko_config::{GenerateOptions, LoadOptions, Style, generate, load};
///
/// let options = GenerateOptions { name: "dev".parse().unwrap(), domain: None, style: Style::Full };
/// let text = generate(&options);
/// let loaded = load(&text, &LoadOptions::default()).unwrap();
/// assert_eq!(loaded.environment.name.as_str(), "dev");
/// assert!(text.contains("# renovate: datasource=docker depName=haproxy\n"));
/// ```
#[must_use]
pub fn generate(options: &GenerateOptions) -> String {
    let mut out = format!("# yaml-language-server: $schema={SCHEMA_URL}\n");
    if options.style == Style::Minimal {
        let _ = writeln!(out, "name: {}", write::text(options.name.as_str()));
        if let Some(domain) = &options.domain {
            let _ = writeln!(out, "network:\n  domain: {}", write::text(domain.as_str()));
        }
        return out;
    }
    full(options, Examples::Commented, &mut out);
    out
}

/// What becomes of examples.
#[derive(Clone, Copy, PartialEq)]
enum Examples {
    Commented,
    /// In place of the defaults: for a test.
    #[cfg(test)]
    Live,
}

fn full(options: &GenerateOptions, examples: Examples, out: &mut String) {
    let mut file = RawFile::named(options.name.clone());
    if let Some(domain) = &options.domain {
        file.network.value.domain = Read::unwritten(domain.clone());
    }
    map(&RawFile::keys(), &file.tree(), "", 0, examples, out);
}

fn map(keys: &[KeyShape], tree: &Tree, path: &str, level: usize, examples: Examples, out: &mut String) {
    let Tree::Map(branches) = tree else { return };
    for key in keys {
        let path = join(path, key.key);
        if level == 0 {
            out.push('\n');
        }
        comment(&key.doc, level, out);
        let value = branches
            .iter()
            .find(|branch| branch.key == key.key)
            .map(|branch| &branch.value);
        let example = EXAMPLES.iter().find(|(of, _)| *of == path).map(|(_, example)| *example);
        let commented = examples == Examples::Commented;
        match value {
            Some(_) if example.is_some() && !commented => {
                let _ = writeln!(out, "{}{}:", "  ".repeat(level), key.key);
            }
            Some(value) => {
                renovate(key.key, branches, level, out);
                entry(key, value, &path, level, examples, out);
            }
            None => {}
        }
        let indent = "  ".repeat(level + usize::from(value.is_some()));
        for line in example.unwrap_or_default().lines() {
            let _ = writeln!(out, "{indent}{}{line}", if commented { "# " } else { "" });
        }
    }
}

fn entry(key: &KeyShape, value: &Tree, path: &str, level: usize, examples: Examples, out: &mut String) {
    let indent = "  ".repeat(level);
    match (&key.shape, value) {
        (Shape::Map { keys, .. }, Tree::Map(branches)) if !branches.is_empty() => {
            let _ = writeln!(out, "{indent}{}:", key.key);
            map(keys, value, path, level + 1, examples, out);
        }
        _ => {
            let _ = writeln!(out, "{indent}{}: {}", key.key, write::flow(&value.to_json()));
        }
    }
}

/// Above every version stands where newer ones are found, for Renovate and for `config upgrade`.
fn renovate(key: &str, siblings: &[crate::shape::Branch], level: usize, out: &mut String) {
    if !matches!(key, "version" | "tag") {
        return;
    }
    let image = siblings.iter().find(|branch| branch.key == "image");
    if let Some(image) = image.and_then(|branch| branch.value.to_json().as_str().map(str::to_owned)) {
        let indent = "  ".repeat(level);
        let _ = writeln!(out, "{indent}# renovate: datasource=docker depName={image}");
    }
}

fn comment(doc: &str, level: usize, out: &mut String) {
    let indent = "  ".repeat(level);
    for line in doc.lines() {
        out.push_str(format!("{indent}# {line}").trim_end());
        out.push('\n');
    }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Whether a key needs an example in the generated file: it has no default, or an empty one that says nothing.
#[cfg(test)]
fn needs_example(key: &KeyShape) -> bool {
    use crate::shape::Need;
    match &key.need {
        Need::Required => false,
        Need::Optional => true,
        Need::Default(tree) => {
            matches!(tree, Tree::List(items) if items.is_empty())
                && matches!(&key.shape, Shape::List(item) if matches!(**item, Shape::Map { .. }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::load::{LoadOptions, load};

    fn text(style: Style) -> String {
        generate(&GenerateOptions {
            name: "dev".parse().unwrap(),
            domain: None,
            style,
        })
    }

    #[test]
    fn both_styles_mean_the_defaults() {
        let full = load(&text(Style::Full), &LoadOptions::default()).unwrap();
        let minimal = load(&text(Style::Minimal), &LoadOptions::default()).unwrap();
        let bare = load("name: dev", &LoadOptions::default()).unwrap();
        assert_eq!(full.environment, bare.environment);
        assert_eq!(minimal.environment, bare.environment);
        assert!(full.warnings.is_empty() && minimal.warnings.is_empty());
    }

    #[test]
    fn a_domain_of_ones_own() {
        for style in [Style::Full, Style::Minimal] {
            let options = GenerateOptions {
                name: "dev".parse().unwrap(),
                domain: Some("shop.test".parse().unwrap()),
                style,
            };
            let loaded = load(&generate(&options), &LoadOptions::default()).unwrap();
            assert_eq!(loaded.environment.network.domain.as_str(), "shop.test");
        }
    }

    #[test]
    fn the_examples_load() {
        let mut out = String::new();
        let name = "dev".parse().unwrap();
        let options = GenerateOptions {
            name,
            domain: None,
            style: Style::Full,
        };
        full(&options, Examples::Live, &mut out);
        let environment_variables = ["DATABASE_PASSWORD", "GHCR_TOKEN"]
            .map(|name| (name.to_owned(), "x".to_owned()))
            .into();
        let options = LoadOptions {
            environment_variables,
            ..LoadOptions::default()
        };
        let loaded = load(&out, &options).unwrap_or_else(|problems| panic!("{}\n{out}", problems.to_text()));
        assert_eq!(loaded.environment.workloads.list.len(), 4, "{out}");
        assert!(loaded.environment.components.ingress_controller.acme.is_some());
        let written: BTreeSet<_> = loaded.shown().lines.iter().map(|line| line.path.clone()).collect();
        assert!(written.contains("workloads.user[0].readinessProbe"), "{written:?}");
    }

    #[test]
    fn every_key_is_in_the_full_file() {
        fn check(keys: &[KeyShape], text: &str, path: &str) {
            for key in keys {
                let path = join(path, key.key);
                let stands = text.lines().any(|line| {
                    let bare = line.trim_start_matches([' ', '#', '-', '{']);
                    bare.starts_with(&format!("{}:", key.key)) || line.contains(&format!("{}: ", key.key))
                });
                assert!(stands, "{path} is not in the generated file");
                if needs_example(key) && matches!(path.matches('.').count(), 0..=2) && !path.contains("[]") {
                    assert!(EXAMPLES.iter().any(|(of, _)| *of == path), "{path} has no example");
                }
                descend(&key.shape, text, &path);
            }
        }
        fn descend(shape: &Shape, text: &str, path: &str) {
            match shape {
                Shape::Map { keys, .. } => check(keys, text, path),
                Shape::List(item) => descend(item, text, &format!("{path}[]")),
                Shape::Dict { value, .. } => descend(value, text, &format!("{path}[]")),
                Shape::Either(one, other) => {
                    descend(one, text, path);
                    descend(other, text, path);
                }
                Shape::Scalar { .. } | Shape::Free { .. } => {}
            }
        }
        check(&RawFile::keys(), &text(Style::Full), "");
    }
}
