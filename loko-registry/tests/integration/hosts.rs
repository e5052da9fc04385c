//! hosts.toml: what is written, that it reads back, and what changes on a node.

use std::collections::{BTreeMap, BTreeSet};

use loko_config::model::RegistryEngine::{Distribution, Zot};
use loko_registry::hosts::{Capability, Host, ParseError, Settings, parse, wanted};
use loko_registry::{HostChanges, HostsFile};
use proptest::prelude::*;

use crate::sample::{full, place, spec};

#[test]
fn zot_files() {
    insta::assert_snapshot!(files(&wanted(&full(Zot), place().cluster_address)));
}

#[test]
fn distribution_files() {
    insta::assert_snapshot!(files(&wanted(&full(Distribution), "fd00::50".parse().unwrap())));
}

#[test]
fn a_source_that_is_switched_off_loses_its_files_and_nothing_else_changes() {
    let address = place().cluster_address;
    let before = full(Zot);
    let mut after = before.clone();
    after.sources.retain(|source| source.name != "k8s_registry");
    let found: BTreeMap<_, _> = wanted(&before, address)
        .into_iter()
        .map(|(host, file)| (host, file.render()))
        .collect();
    assert!(HostChanges::between(&wanted(&before, address), &found).is_empty());
    let changes = HostChanges::between(&wanted(&after, address), &found);
    assert_eq!(changes.write, BTreeMap::new());
    let removed = ["k8s.gcr.io", "registry.k8s.io"].map(str::to_owned);
    assert_eq!(changes.remove, BTreeSet::from(removed));
}

#[test]
fn a_file_of_someone_elses_is_neither_written_nor_removed() {
    let wanted = wanted(&full(Zot), place().cluster_address);
    let found = ["quay.io", "corp.example"].map(|host| (host.to_owned(), "server = \"https://x\"\n".to_owned()));
    let changes = HostChanges::between(&wanted, &BTreeMap::from(found));
    assert!(!changes.write.contains_key("quay.io"));
    assert_eq!(changes.foreign, BTreeSet::from(["quay.io".to_owned()]));
    assert!(changes.remove.is_empty());
}

#[test]
fn without_mirrors_only_the_registry_itself_has_a_file() {
    let wanted = wanted(&spec(Zot), place().cluster_address);
    assert_eq!(wanted.keys().collect::<Vec<_>>(), ["cr.dev.me"]);
}

#[test]
fn a_file_of_someone_elses_is_read() {
    let text = "\
server = 'https://registry-1.docker.io' # the last to be asked
skip_verify = false\r
dns.other = 5

[host.\"https://mirror:5000/v2/docker.io\"]
  capabilities = [ \"Pull\", # both
    'resolve',
  ]
  ca = [\"/a.crt\", \"b.crt\"]
  client = [[\"/c.crt\", \"/c.key\"], \"/d\"]
  override_path=true
[host . \"https://mirror:5000/v2/docker.io\".header]
  x-a = [\"1\"]
[host.\"http://127.0.0.1\"]
  dial_timeout = \"1s\\u0041\"
  at = 1979-05-27T07:32:00Z
  inline = {a = 1, b = {}}
";
    let file = parse(text).unwrap();
    assert_eq!(file.server.as_deref(), Some("https://registry-1.docker.io"));
    assert_eq!(file.server_settings.skip_verify, Some(false));
    assert_eq!(file.hosts.len(), 2);
    let first = &file.hosts[0].settings;
    assert_eq!(
        first.capabilities,
        BTreeSet::from([Capability::Pull, Capability::Resolve])
    );
    assert_eq!(first.ca, ["/a.crt", "b.crt"]);
    assert!(first.override_path);
    assert_eq!(file.hosts[1].settings.dial_timeout.as_deref(), Some("1sA"));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let message = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(
        message("server = \"a\"\nserver: b\n"),
        "line 2 is not TOML: `server: b`"
    );
    assert_eq!(message("server = 5\n"), "`server` is 5; it takes a string");
    assert_eq!(
        message("override_path = \"yes\""),
        "`override_path` is \"yes\"; it takes true or false"
    );
    assert_eq!(
        message("capabilities = [\"fly\"]"),
        "`capabilities` is \"fly\"; it takes pull, resolve, push, referrers"
    );
    assert_eq!(message("[host.\"a\"]\n[host.\"a\"]"), "`host.a` is there twice");
    assert!(matches!(
        parse(&format!("a = {}", "[".repeat(10_000))),
        Err(ParseError::Syntax { line: 1, .. })
    ));
}

fn files(files: &BTreeMap<String, HostsFile>) -> String {
    let texts = files
        .iter()
        .map(|(host, file)| format!("## {}\n{}", loko_registry::hosts::path(host), file.render()));
    texts.collect::<Vec<_>>().join("\n")
}

fn settings() -> impl Strategy<Value = Settings> {
    let capability = prop_oneof![
        Just(Capability::Pull),
        Just(Capability::Resolve),
        Just(Capability::Push),
        Just(Capability::Referrers)
    ];
    (
        prop::collection::btree_set(capability, 0..4),
        prop::collection::vec(any::<String>(), 0..3),
        any::<Option<bool>>(),
        any::<bool>(),
        any::<Option<String>>(),
    )
        .prop_map(
            |(capabilities, ca, skip_verify, override_path, dial_timeout)| Settings {
                capabilities,
                ca,
                skip_verify,
                override_path,
                dial_timeout,
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        server in any::<Option<String>>(),
        server_settings in settings(),
        hosts in prop::collection::btree_map(any::<String>(), settings(), 0..4),
    ) {
        let hosts = hosts.into_iter().map(|(url, settings)| Host { url, settings }).collect();
        let file = HostsFile { server, server_settings, hosts };
        prop_assert_eq!(parse(&file.render()), Ok(file));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}|([a-z\\[\\]{}\",'#=. \n]|true|host){0,60}") {
        let _ = parse(&text);
    }
}
