//! Edits of a text: what changes, and that nothing else does.

use loko_config::edit::{Edit, EditError, WorkloadList, edit};
use loko_config::{GenerateOptions, LoadOptions, Style, generate, load};
use proptest::prelude::*;
use serde_json::{Value, json};

fn set(path: &str, value: &str) -> Edit {
    Edit::Set {
        path: path.to_owned(),
        value: value.to_owned(),
    }
}

fn enable(workload: &str, enabled: bool) -> Edit {
    Edit::Enable {
        workload: workload.parse().unwrap(),
        enabled,
    }
}

fn add(list: WorkloadList, fields: &[(&str, Value)]) -> Edit {
    Edit::AddWorkload {
        list,
        fields: fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    }
}

fn remove(workload: &str) -> Edit {
    Edit::RemoveWorkload {
        workload: workload.parse().unwrap(),
    }
}

#[track_caller]
fn gives(text: &str, change: &Edit, wanted: &str) {
    match edit(text, change, &LoadOptions::default()) {
        Ok(edited) => assert_eq!(edited.text, wanted, "{change:?}"),
        Err(error) => panic!(
            "{change:?}: {error}
{error:?}"
        ),
    }
    // The same with other line ends, and without the last of them.
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let edited = edit(&crlf(text), change, &LoadOptions::default()).unwrap();
    assert_eq!(edited.text, crlf(wanted), "{change:?} with CRLF");
    if let Some(bare) = text.strip_suffix('\n') {
        let edited = edit(bare, change, &LoadOptions::default()).unwrap();
        assert_eq!(
            edited.text.trim_end_matches('\n'),
            wanted.trim_end_matches('\n'),
            "{change:?} without the last line feed"
        );
    }
}

#[track_caller]
fn refuses(text: &str, change: &Edit) -> EditError {
    edit(text, change, &LoadOptions::default()).unwrap_err()
}

#[test]
fn set_keeps_quotes_and_comments() {
    let text = "name: dev # mine\ncomponents:\n  haproxy: {version: '3.3.6', image: haproxy} # edge\n  dnsmasq:\n    # renovate: datasource=docker depName=dockurr/dnsmasq\n    version:   \"2.91\"   # spaces stay\n";
    gives(
        text,
        &set("components.haproxy.version", "3.3.7"),
        &text.replace("3.3.6", "3.3.7"),
    );
    gives(
        text,
        &set("components.dnsmasq.version", "2.92"),
        &text.replace("2.91", "2.92"),
    );
    gives(text, &set("name", "other"), &text.replace("name: dev", "name: other"));
    gives(
        text,
        &set("components.haproxy.image", "me/haproxy"),
        &text.replace("image: haproxy", "image: me/haproxy"),
    );
}

#[test]
fn set_quotes_what_would_be_read_otherwise() {
    let text = "name: dev\ncomponents: {haproxy: {version: v3}}\n";
    gives(
        text,
        &set("components.haproxy.version", "3.10"),
        &text.replace("v3", "\"3.10\""),
    );
    gives(
        text,
        &set("components.haproxy.version", "'3.10'"),
        &text.replace("v3", "\"3.10\""),
    );
    gives("name: dev\n", &set("name", "no"), "name: \"no\"\n");
}

#[test]
fn set_adds_what_is_missing() {
    gives(
        "name: dev\n",
        &set("network.lb-ports.http", "8080"),
        "name: dev\nnetwork:\n  lb-ports:\n    http: 8080\n",
    );
    gives(
        "name: dev\nnetwork:\n    domain: a.test # here\n\n# the end\n",
        &set("network.wildcard", "false"),
        "name: dev\nnetwork:\n    domain: a.test # here\n    wildcard: false\n\n# the end\n",
    );
    gives(
        "{name: dev}\n",
        &set("network.wildcard", "false"),
        "{name: dev, network: {wildcard: false}}\n",
    );
    gives(
        "{\"name\": \"dev\", \"network\": {}}\n",
        &set("network.domain", "a.test"),
        "{\"name\": \"dev\", \"network\": {\"domain\": \"a.test\"}}\n",
    );
    gives(
        "name: dev\nnetwork: {}\n",
        &set("network.ip", "lan"),
        "name: dev\nnetwork: {ip: lan}\n",
    );
    gives(
        "name: dev\nnetwork: # later\n",
        &set("network.ip", "lan"),
        "name: dev\nnetwork: # later\n  ip: lan\n",
    );
    gives(
        "name: dev\nnetwork: ~\n",
        &set("network.ip", "lan"),
        "name: dev\nnetwork:\n  ip: lan\n",
    );
    gives(
        "name: dev\ncluster:\n  nodes: {workers: 1}\n",
        &set("cluster.nodes.labels.worker[\"example.com/zone\"]", "a"),
        "name: dev\ncluster:\n  nodes: {workers: 1, labels: {worker: {example.com/zone: a}}}\n",
    );
}

#[test]
fn set_in_lists_and_blocks() {
    let text = "name: dev\nworkloads:\n  user:\n  - name: shop\n    image: shop:1\n    args: [serve, \"8080\"]\n    env:\n      TEXT: |\n        one\n        two\n    replicas: 2\n";
    gives(
        text,
        &set("workloads.user[0].image", "shop:2"),
        &text.replace("shop:1", "shop:2"),
    );
    gives(
        text,
        &set("workloads.user[shop].replicas", "3"),
        &text.replace("replicas: 2", "replicas: 3"),
    );
    gives(
        text,
        &set("workloads.user[shop].args[1]", "9090"),
        &text.replace("8080", "9090"),
    );
    gives(
        text,
        &set("workloads.user[shop].env.TEXT", "three"),
        &text.replace("TEXT: |\n        one\n        two", "TEXT: three"),
    );
    gives(
        text,
        &set("workloads.user[shop].http.port", "80"),
        &format!("{text}    http:\n      port: 80\n"),
    );
    gives(
        text,
        &set("workloads.user[shop].resources.limits.memory", "64Mi"),
        &format!("{text}    resources:\n      limits:\n        memory: 64Mi\n"),
    );
}

#[test]
fn set_that_changes_nothing_changes_no_byte() {
    let text = "name: 'dev'\nnetwork: {lb-ports: {http: 80}}\n";
    let edited = edit(text, &set("network.lb-ports.http", "80"), &LoadOptions::default()).unwrap();
    assert_eq!((edited.text.as_str(), edited.changes.len()), (text, 0));
}

#[test]
fn set_refuses() {
    let text = "name: dev\nworkloads:\n  user:\n    - {name: a, image: &i x}\n    - {name: b, image: *i, env: &e {A: b}}\n    - {<<: {image: w}, name: c, env: *e}\n";
    assert!(
        matches!(refuses(text, &set("network.domian", "a.test")), EditError::UnknownPath { remedy, .. } if remedy == "did you mean `domain`?")
    );
    assert!(matches!(
        refuses(text, &set("network", "x")),
        EditError::NotScalar { .. }
    ));
    assert!(matches!(
        refuses(text, &set("network.lb-ports", "x")),
        EditError::NotScalar { .. }
    ));
    assert!(matches!(
        refuses(text, &set("network..ip", "x")),
        EditError::BadPath { .. }
    ));
    assert!(matches!(
        refuses(text, &set("workloads.user[9].image", "x")),
        EditError::BadPath { .. }
    ));
    assert!(matches!(
        refuses(text, &set("workloads.user[nobody].image", "x")),
        EditError::NotFound { .. }
    ));
    assert!(matches!(
        refuses(text, &set("workloads.user[b].image", "z")),
        EditError::Shared { .. }
    ));
    assert!(matches!(
        refuses(text, &set("workloads.user[c].env.A", "z")),
        EditError::Shared { .. }
    ));
    assert!(matches!(
        refuses(text, &set("network.ip", "300.0.0.1")),
        EditError::Problems { .. }
    ));
    assert!(matches!(
        refuses(text, &set("network.lb-ports.http", "443")),
        EditError::Problems { .. }
    ));
    assert!(matches!(
        refuses("name: [\n", &set("name", "a")),
        EditError::Unreadable { .. }
    ));
    // A merged value can be overridden.
    gives(
        text,
        &set("workloads.user[c].image", "z"),
        &text.replace("env: *e}", "env: *e, image: z}"),
    );
}

#[test]
fn enable_and_disable() {
    let block = "name: dev\nworkloads:\n  system:\n    # data\n    - name: postgres # the name\n      storage: 1Gi\n    - {name: valkey, enabled: false} # cache\n";
    gives(
        block,
        &enable("postgres", false),
        "name: dev\nworkloads:\n  system:\n    # data\n    - name: postgres # the name\n      enabled: false\n      storage: 1Gi\n    - {name: valkey, enabled: false} # cache\n",
    );
    gives(
        block,
        &enable("valkey", true),
        &block.replace("enabled: false", "enabled: true"),
    );
    gives(block, &enable("postgres", true), block);
    let flow = "name: dev\nworkloads: {user: [{name: a, image: x}]}\n";
    gives(
        flow,
        &enable("a", false),
        &flow.replace("name: a,", "name: a, enabled: false,"),
    );
    assert!(matches!(refuses(flow, &enable("b", true)), EditError::NotFound { .. }));
}

#[test]
fn add_a_workload() {
    let fields = [
        ("name", json!("postgres")),
        ("storage", json!("10Gi")),
        ("ports", json!([5432])),
    ];
    let edit = add(WorkloadList::System, &fields);
    gives(
        "name: dev\n",
        &edit,
        "name: dev\nworkloads:\n  system:\n    - name: postgres\n      storage: 10Gi\n      ports: [5432]\n",
    );
    gives(
        "name: dev\nworkloads:\n  user: []\n",
        &edit,
        "name: dev\nworkloads:\n  user: []\n  system:\n    - name: postgres\n      storage: 10Gi\n      ports: [5432]\n",
    );
    gives(
        "name: dev\nworkloads:\n  system: [] # none yet\n  user: []\n",
        &edit,
        "name: dev\nworkloads:\n  system: # none yet\n    - name: postgres\n      storage: 10Gi\n      ports: [5432]\n  user: []\n",
    );
    gives(
        "name: dev\nworkloads:\n  system:\n  - name: valkey # cache\n\n  user: []\n",
        &edit,
        "name: dev\nworkloads:\n  system:\n  - name: valkey # cache\n  - name: postgres\n    storage: 10Gi\n    ports: [5432]\n\n  user: []\n",
    );
    gives(
        "name: dev\nworkloads: {system: [{name: valkey}]}\n",
        &edit,
        "name: dev\nworkloads: {system: [{name: valkey}, {name: postgres, storage: 10Gi, ports: [5432]}]}\n",
    );
    gives(
        "{\"name\": \"dev\", \"workloads\": {\"user\": [{\"name\": \"a\", \"image\": \"x\"}]}}\n",
        &edit,
        "{\"name\": \"dev\", \"workloads\": {\"user\": [{\"name\": \"a\", \"image\": \"x\"}], \"system\": [{\"name\": \"postgres\",\"storage\": \"10Gi\",\"ports\": [5432]}]}}\n"
            .replace("\",\"", "\", \"")
            .as_str(),
    );
    gives(
        "name: dev\nworkloads:\n",
        &edit,
        "name: dev\nworkloads:\n  system:\n    - name: postgres\n      storage: 10Gi\n      ports: [5432]\n",
    );
    assert!(matches!(
        refuses("name: dev\nworkloads: {system: [{name: postgres}]}\n", &edit),
        EditError::Exists { .. }
    ));
    let clash = add(
        WorkloadList::User,
        &[("name", json!("a")), ("image", json!("x")), ("ports", json!([80]))],
    );
    assert!(matches!(refuses("name: dev\n", &clash), EditError::Problems { .. }));
}

#[test]
fn remove_a_workload() {
    let text = "\
name: dev
workloads:
  system:
    # The database.
    # It is large.
    - name: postgres # pg
      # deeper
      storage: 1Gi
      # still its own

    # The cache.
    - name: valkey
  # Ours.
  user:
    - {name: a, image: x}
    - {name: b, image: x}
";
    gives(
        text,
        &remove("postgres"),
        "name: dev\nworkloads:\n  system:\n\n    # The cache.\n    - name: valkey\n  # Ours.\n  user:\n    - {name: a, image: x}\n    - {name: b, image: x}\n",
    );
    gives(
        text,
        &remove("valkey"),
        &text.replace("    # The cache.\n    - name: valkey\n", ""),
    );
    gives(text, &remove("a"), &text.replace("    - {name: a, image: x}\n", ""));
    gives(text, &remove("b"), &text.replace("    - {name: b, image: x}\n", ""));
    let flow =
        "name: dev\nworkloads: {user: [{name: a, image: x}, {name: b, image: x}, {name: c, image: x}]} # three\n";
    gives(flow, &remove("a"), &flow.replace("{name: a, image: x}, ", ""));
    gives(flow, &remove("b"), &flow.replace(", {name: b, image: x}", ""));
    gives(flow, &remove("c"), &flow.replace(", {name: c, image: x}", ""));
    let one = "name: dev\nworkloads:\n  user: # mine\n    # a\n    - name: a\n      image: x\n  namespace: n\n";
    gives(
        one,
        &remove("a"),
        "name: dev\nworkloads:\n  user: [] # mine\n  namespace: n\n",
    );
    let needed =
        "name: dev\nworkloads:\n  user:\n    - {name: a, image: x}\n    - {name: b, image: x, depends-on: [a]}\n";
    assert!(matches!(refuses(needed, &remove("a")), EditError::Problems { .. }));
    assert!(matches!(refuses(needed, &remove("c")), EditError::NotFound { .. }));
}

#[test]
fn repositories() {
    let add = Edit::AddRepository {
        name: "grafana".parse().unwrap(),
        url: "https://g.example/charts".to_owned(),
    };
    let remove = Edit::RemoveRepository {
        name: "grafana".parse().unwrap(),
    };
    let with =
        "name: dev\nworkloads:\n  helm-repositories:\n    - name: grafana\n      url: \"https://g.example/charts\"\n";
    let text = edit("name: dev\n", &add, &LoadOptions::default()).unwrap().text;
    assert_eq!(text.replace('"', ""), with.replace('"', ""));
    gives(with, &remove, "name: dev\nworkloads:\n  helm-repositories: []\n");
    assert!(matches!(refuses(with, &add), EditError::Exists { .. }));
    assert!(matches!(refuses("name: dev\n", &remove), EditError::NotFound { .. }));
}

#[test]
fn the_generated_file_takes_every_edit() {
    let text = generate(&GenerateOptions {
        name: "dev".parse().unwrap(),
        domain: None,
        style: Style::Full,
    });
    let comments = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| line.trim_start().starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    let fields = [("name", json!("postgres")), ("storage", json!("10Gi"))];
    let with = edit(&text, &add(WorkloadList::System, &fields), &LoadOptions::default())
        .unwrap()
        .text;
    assert_eq!(comments(&with), comments(&text));
    let without = edit(&with, &remove("postgres"), &LoadOptions::default()).unwrap().text;
    assert_eq!(without, text);
    for (path, value) in [
        ("components.haproxy.version", "3.10"),
        ("network.wildcard", "false"),
        ("cluster.nodes.workers", "2"),
        ("network.dns-port", "5353"),
        ("cluster.nodes.labels.worker.disk", "ssd"),
        ("components.ingress-controller.acme.email", "me@example.com"),
    ] {
        let edited =
            edit(&text, &set(path, value), &LoadOptions::default()).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(comments(&edited.text), comments(&text), "{path}");
        let loaded = load(&edited.text, &LoadOptions::default()).unwrap();
        let found = loaded.shown().get(path).unwrap().value.clone();
        assert_eq!(
            found.as_str().map_or_else(|| found.to_string(), str::to_owned),
            value,
            "{path}"
        );
    }
}

/// Loose lines that a file may have anywhere between its own.
fn noise() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("# a comment\n".to_owned()),
        Just("\n".to_owned()),
        Just("      # deep: {[\n".to_owned())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn outside_an_edit_every_byte_stays(
        noises in prop::collection::vec(noise(), 16),
        crlf: bool,
        last_break: bool,
        which in 0usize..9,
    ) {
        let lines = [
            "name: dev", "network:", "  domain: 'a.test'", "  lb-ports: {http: 80}", "workloads:", "  system:",
            "  - name: postgres", "    enabled: true # now", "  - {name: valkey}", "  user:", "    - name: a",
            "      image: \"x:1\"", "      env: {A: b}", "    - image: w", "      name: b",
        ];
        let mut text = String::new();
        for (line, noise) in lines.iter().zip(&noises) {
            text.push_str(noise);
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&noises[15]);
        if !last_break {
            text = text.trim_end_matches('\n').to_owned();
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let change = match which {
            0 => set("network.domain", "b.test"),
            1 => set("network.wildcard", "false"),
            2 => enable("postgres", false),
            3 => enable("valkey", false),
            4 => enable("b", false),
            5 => add(WorkloadList::User, &[("name", json!("c")), ("image", json!("z"))]),
            6 => remove("postgres"),
            7 => remove("b"),
            _ => set("workloads.user[b].replicas", "2"),
        };
        let edited = edit(&text, &change, &LoadOptions::default());
        let edited = match edited {
            Ok(edited) => edited,
            Err(error) => return Err(TestCaseError::fail(format!("{change:?}: {error}\n{text}"))),
        };
        // What lies outside the changes is there, in order, and nothing else is.
        let mut rebuilt = String::new();
        let mut at = 0;
        for change in &edited.changes {
            prop_assert!(change.span.start >= at);
            rebuilt.push_str(&text[at..change.span.start]);
            rebuilt.push_str(&change.new);
            at = change.span.end;
        }
        rebuilt.push_str(&text[at..]);
        prop_assert_eq!(&rebuilt, &edited.text);
        // Only a removal takes lines away, and those are the entry's.
        if !matches!(change, Edit::RemoveWorkload { .. }) {
            let comments = |text: &str| text.matches('#').count();
            prop_assert_eq!(comments(&text), comments(&edited.text));
        }
        prop_assert!(!crlf || !edited.text.replace("\r\n", "").contains('\n'), "{:?}", edited.text);
        // And the meaning is the edited one.
        let before = load(&text, &LoadOptions::default()).unwrap().environment;
        let after = load(&edited.text, &LoadOptions::default()).unwrap().environment;
        let workload = |name: &str| after.workloads.list.iter().find(|workload| workload.name.as_str() == name);
        match which {
            0 => prop_assert_eq!(after.network.domain.as_str(), "b.test"),
            1 => prop_assert!(!after.network.wildcard),
            2 => prop_assert!(!workload("postgres").unwrap().enabled),
            3 => prop_assert!(!workload("valkey").unwrap().enabled),
            4 => prop_assert!(!workload("b").unwrap().enabled),
            5 => prop_assert!(workload("c").is_some()),
            6 => prop_assert!(workload("postgres").is_none()),
            7 => prop_assert!(workload("b").is_none()),
            _ => prop_assert!(before != after),
        }
    }
}
