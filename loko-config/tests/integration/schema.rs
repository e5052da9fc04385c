//! The JSON Schema takes every valid fixture, so that an editor marks nothing that loads.

use std::path::Path;

use regex::Regex;
use serde_json::Value;

/// The keywords that our schema uses, by the rules of draft 2020-12.
fn mismatches(schema: &Value, value: &Value, path: &str, out: &mut Vec<String>) {
    let Value::Object(rules) = schema else {
        panic!("{schema}")
    };
    for (rule, wanted) in rules {
        let fits = match rule.as_str() {
            "type" => wanted.as_array().map_or_else(
                || is_kind(wanted.as_str().unwrap(), value),
                |kinds| kinds.iter().any(|kind| is_kind(kind.as_str().unwrap(), value)),
            ),
            "enum" => wanted.as_array().unwrap().contains(value),
            "const" => wanted == value,
            "pattern" => value
                .as_str()
                .is_none_or(|text| Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text)),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| text.len() as u64 <= wanted.as_u64().unwrap()),
            "minimum" => value.as_i64().is_none_or(|number| number >= wanted.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|number| number <= wanted.as_i64().unwrap()),
            "required" => value.as_object().is_none_or(|map| {
                wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|key| map.contains_key(key.as_str().unwrap()))
            }),
            "anyOf" | "oneOf" => {
                let fitting = wanted.as_array().unwrap().iter().filter(|schema| {
                    let mut inner = Vec::new();
                    mismatches(schema, value, path, &mut inner);
                    inner.is_empty()
                });
                let count = fitting.count();
                count == 1 || (rule == "anyOf" && count > 1)
            }
            "properties" | "additionalProperties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    let path = format!("{path}.{key}");
                    let own = rules.get("properties").and_then(|properties| properties.get(key));
                    match (rule.as_str(), own) {
                        ("properties", Some(schema)) => mismatches(schema, inner, &path, out),
                        ("additionalProperties", None) if wanted == &Value::Bool(false) => {
                            out.push(format!("{path}: no such key"));
                        }
                        ("additionalProperties", None) => mismatches(wanted, inner, &path, out),
                        _ => {}
                    }
                }
                true
            }
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    mismatches(wanted, item, &format!("{path}[{at}]"), out);
                }
                true
            }
            "$schema" | "$id" | "title" | "description" | "default" | "format" => true,
            other => panic!("the schema uses `{other}`, which this test does not know"),
        };
        if !fits {
            out.push(format!("{path}: {value} breaks {rule}: {wanted}"));
        }
    }
}

fn is_kind(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    }
}

#[test]
fn takes_every_valid_fixture() {
    let schema: Value = serde_json::from_str(&loko_config::json_schema()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/valid");
    let mut tried = 0;
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = fs_err::read_to_string(&path) else {
            continue;
        };
        // An editor's YAML server resolves merges, a byte order mark and directives before the schema; serde_yaml, a
        // second reader that knows nothing of ours, does not.
        if path.extension().is_none_or(|end| end != "yaml")
            || text.contains("<<")
            || text.starts_with(['\u{FEFF}', '%'])
        {
            continue;
        }
        let value: Value = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut out = Vec::new();
        mismatches(&schema, &value, "", &mut out);
        assert!(out.is_empty(), "{}: {out:#?}", path.display());
        tried += 1;
    }
    assert!(tried >= 40, "{tried}");
}

#[test]
fn refuses_what_it_can_say() {
    let schema: Value = serde_json::from_str(&loko_config::json_schema()).unwrap();
    for text in [
        "{}",
        "name: Dev",
        "{name: dev, netwrok: {}}",
        "{name: dev, network: {lb-ports: [80, 443]}}",
        "{name: dev, network: {dns-port: 0}}",
        "{name: dev, cluster: {nodes: {control-planes: 2}}}",
        "{name: dev, components: {haproxy: {version: 3.3}}}",
        "{name: dev, workloads: {user: [{image: x}]}}",
        "{name: dev, workloads: {user: [{name: a, image: x, ports: [70000]}]}}",
        "{name: dev, registry: {mirroring: {sources: [dockerhub]}}}",
    ] {
        let value: Value = serde_yaml::from_str(text).unwrap();
        let mut out = Vec::new();
        mismatches(&schema, &value, "", &mut out);
        assert!(!out.is_empty(), "{text}");
        assert!(
            loko_config::load(text, &loko_config::LoadOptions::default()).is_err(),
            "{text}"
        );
    }
}
