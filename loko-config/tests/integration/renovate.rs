//! The Renovate configuration of the README finds what `versions::pinned` finds.

use std::path::Path;

use loko_config::versions::pinned;
use loko_config::{GenerateOptions, Style, generate};
use regex::Regex;

/// The expressions of the README's `renovate.json`. The crate `regex` shares the syntax of RE2, which Renovate uses.
fn expressions() -> Vec<Regex> {
    let readme = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let json = readme.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let manager = &json["customManagers"][0];
    let file = manager["managerFilePatterns"][0].as_str().unwrap().trim_matches('/');
    let file = Regex::new(file).unwrap();
    assert!(file.is_match("loko.yaml") && file.is_match("a/loko.yml") && !file.is_match("xloko.yaml"));
    let strings = manager["matchStrings"].as_array().unwrap();
    strings
        .iter()
        .map(|string| Regex::new(string.as_str().unwrap()).unwrap())
        .collect()
}

/// `(depName, currentValue)`, in the order of the text.
fn matches(text: &str) -> Vec<(String, String)> {
    let mut all: Vec<_> = expressions()
        .iter()
        .flat_map(|expression| expression.captures_iter(text).collect::<Vec<_>>())
        .map(|captures| {
            assert!(!captures["datasource"].is_empty());
            let at = captures.get(0).unwrap().start();
            (at, captures["depName"].to_owned(), captures["currentValue"].to_owned())
        })
        .collect();
    all.sort();
    all.into_iter().map(|(_, name, value)| (name, value)).collect()
}

fn ours(text: &str) -> Vec<(String, String)> {
    let (found, problems) = pinned(text);
    assert_eq!(problems, []);
    found
        .into_iter()
        .map(|pinned| (pinned.source.dep_name, pinned.version))
        .collect()
}

#[test]
fn finds_every_version_of_the_generated_file() {
    let text = generate(&GenerateOptions {
        name: "dev".parse().unwrap(),
        domain: None,
        style: Style::Full,
    });
    assert_eq!(matches(&text), ours(&text));
    assert_eq!(matches(&text).len(), 6);
    let crlf = text.replace('\n', "\r\n");
    assert_eq!(matches(&crlf), ours(&text));
}

#[test]
fn finds_images_and_charts_of_workloads() {
    let text = "\
workloads:
  user:
    - name: shop
      # renovate: datasource=docker depName=registry.example:5000/me/shop
      image: 'registry.example:5000/me/shop:1.2'
    - name: grafana
      config:
        chart: grafana/grafana
        # renovate: datasource=helm depName=grafana registryUrl=https://grafana.github.io/helm-charts versioning=helm
        version: 9.0.0 # pinned
";
    let wanted = [("registry.example:5000/me/shop", "1.2"), ("grafana", "9.0.0")];
    let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(matches(text), wanted);
    assert_eq!(ours(text), wanted);
}
