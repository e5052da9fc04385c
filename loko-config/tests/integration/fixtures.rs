//! `tests/fixtures/valid` and `tests/fixtures/invalid`, one file a case.
//!
//! An invalid file says itself what is wrong: `#! code` at the end of a line means a problem of that code whose place
//! is on that line, and there must be no other. A file that cannot carry such comments has `LINE code` lines in a file
//! of the same name that ends in `.expected`. The snapshot beside shows every message, column and remedy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use loko_config::{LoadOptions, Loaded, Problems, load, load_bytes, problem};
use serde_json::Value;

fn files(folder: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let mut files: Vec<_> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    files.sort();
    files
}

/// The same world for every file.
fn options() -> LoadOptions {
    let port = |number: u16| number.try_into().unwrap();
    let tcp = loko_config::model::Protocol::Tcp;
    LoadOptions {
        file_name: "loko.yaml".to_owned(),
        environment_variables: BTreeMap::from([
            ("TAG".to_owned(), "1.2".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]),
        host_addresses: Some(
            ["127.0.0.1", "192.168.1.20", "fd00::20"]
                .iter()
                .map(|a| a.parse().unwrap())
                .collect(),
        ),
        other_domains: BTreeMap::from([("other".parse().unwrap(), "taken.test".parse().unwrap())]),
        catalogue: Some(BTreeMap::from([
            ("postgres".parse().unwrap(), vec![(port(5432), tcp)]),
            ("valkey".parse().unwrap(), vec![(port(6379), tcp)]),
            ("mailpit".parse().unwrap(), vec![(port(1025), tcp)]),
        ])),
        directory: Some("/home/me/shop".to_owned()),
        strict: false,
    }
}

fn load_file(path: &Path) -> Result<Loaded, Problems> {
    load_bytes(&fs_err::read(path).unwrap(), &options())
}

/// `(line, code)` of everything that is expected, in order.
fn expected(path: &Path) -> Vec<(usize, String)> {
    let beside = path.with_extension("expected");
    if let Ok(text) = fs_err::read_to_string(beside) {
        let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
        return pairs
            .map(|(line, code)| (line.parse().unwrap(), code.to_owned()))
            .collect();
    }
    let bytes = fs_err::read(path).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut all = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let codes = line.split_once("#! ").map_or("", |(_, codes)| codes);
        all.extend(codes.split_whitespace().map(|code| (at + 1, code.to_owned())));
    }
    all.sort();
    all
}

#[test]
fn invalid_files_name_every_problem_at_its_place() {
    let files = files("invalid");
    assert!(files.len() >= 120, "{}", files.len());
    let mut wrong = Vec::new();
    for (name, path) in files {
        let Err(problems) = load_file(&path) else {
            wrong.push(format!("{name}: loads"));
            continue;
        };
        let mut found: Vec<_> = problems
            .list()
            .iter()
            .map(|problem| (problem.position.line, problem.code().replace("loko::config::", "")))
            .collect();
        found.sort();
        let expected = expected(&path);
        if found != expected {
            wrong.push(format!("{name}: expected {expected:?}\n{}", problems.to_text()));
        }
        for problem in problems.list() {
            assert!(
                problem.help().is_some_and(|help| !help.is_empty()),
                "{name}: {problem} has no remedy"
            );
            assert!(
                problem.span.end <= problems.text().len(),
                "{name}: {problem} points outside"
            );
        }
        insta::with_settings!({snapshot_path => "../fixtures/invalid/snapshots", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name, problems.to_text());
        });
    }
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every leaf as `path: value`.
fn flatten(value: &Value, path: &str, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                flatten(value, &format!("{path}.{key}"), out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, value) in items.iter().enumerate() {
                flatten(value, &format!("{path}[{at}]"), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            out.insert(path.trim_start_matches('.').to_owned(), value.to_string());
        }
    }
}

fn flat(loaded: &Loaded) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    flatten(&serde_json::to_value(&loaded.environment).unwrap(), "", &mut out);
    out
}

#[test]
fn valid_files_mean_what_they_say() {
    let files = files("valid");
    assert!(files.len() >= 40, "{}", files.len());
    let bare = flat(&load("name: dev\n", &options()).unwrap());
    for (name, path) in files {
        let loaded = load_file(&path).unwrap_or_else(|problems| panic!("{name}:\n{}", problems.to_text()));
        let mut text = String::new();
        for (path, value) in flat(&loaded) {
            let says_nothing = matches!(value.as_str(), "null" | "[]" | "{}") && !bare.contains_key(&path);
            if bare.get(&path) != Some(&value) && !says_nothing {
                text.push_str(&format!("{path}: {value}\n"));
            }
        }
        text.push_str(&problem::render_text("loko.yaml", &loaded.warnings));
        insta::with_settings!({snapshot_path => "../fixtures/valid/snapshots", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name.clone(), text);
        });
        // What `config show` prints is the same file with every default in it.
        let shown = load(&loaded.shown().to_yaml(), &options())
            .unwrap_or_else(|problems| panic!("{name}:\n{}\n{}", problems.to_text(), loaded.shown().to_yaml()));
        assert_eq!(
            shown.environment,
            loaded.environment,
            "{name}\n{}",
            loaded.shown().to_yaml()
        );
    }
}
