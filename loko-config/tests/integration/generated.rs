//! Files made from the types, checked in and kept in step. `LOKO_BLESS=1 cargo test -p loko-config` writes them.

use std::path::Path;

use loko_config::{GenerateOptions, Style, generate, json_schema, reference};

fn in_step(path: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    // The packaged crate has no workspace around it.
    if !path.parent().is_some_and(Path::is_dir) {
        return;
    }
    if std::env::var_os("LOKO_BLESS").is_some() {
        fs_err::write(&path, wanted).unwrap();
    }
    let found = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is out of step; run `LOKO_BLESS=1 cargo test -p loko-config`",
        path.display()
    );
}

#[test]
fn schema_is_in_step() {
    in_step("../schema/loko.schema.json", &json_schema());
}

#[test]
fn reference_is_in_step() {
    in_step("REFERENCE.md", &reference());
}

#[test]
fn example_is_in_step() {
    in_step("../examples/full/loko.yaml", &file(Style::Full));
}

fn file(style: Style) -> String {
    generate(&GenerateOptions {
        name: "dev".parse().unwrap(),
        domain: None,
        style,
    })
}

#[test]
fn full_file() {
    insta::assert_snapshot!(file(Style::Full));
}

#[test]
fn minimal_file() {
    insta::assert_snapshot!(file(Style::Minimal));
}

#[test]
fn schema_is_json_and_names_every_key_of_the_full_file() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    let loaded = loko_config::load(&file(Style::Full), &loko_config::LoadOptions::default()).unwrap();
    for line in &loaded.shown().lines {
        let mut at = &schema;
        for key in line.path.split('.').map(|key| key.split('[').next().unwrap()) {
            at = &at["properties"][key];
            assert!(at.is_object(), "{} is not in the schema", line.path);
        }
    }
}
