//! What a program that embeds the crate relies on: options, JSON, bounds.

use std::path::Path;

use loko_config::{Cause, Facts, LoadOptions, Severity, Source, load, load_bytes};
use proptest::prelude::*;

const DESIGN_KEYS: &[&str] = &[
    "name",
    "cluster.kubernetes.image",
    "cluster.kubernetes.tag",
    "cluster.kubernetes.api-port",
    "cluster.nodes.control-planes",
    "cluster.nodes.workers",
    "cluster.nodes.labels.control-plane",
    "cluster.nodes.labels.worker",
    "cluster.nodes.labels.individual",
    "cluster.nodes.scheduling.control-plane.allow-workloads",
    "cluster.nodes.scheduling.control-plane.isolate-internal-components",
    "cluster.nodes.scheduling.workers.isolate-workloads",
    "cluster.pod-subnet",
    "cluster.service-subnet",
    "network.ip",
    "network.domain",
    "network.dns-port",
    "network.wildcard",
    "network.lb-ports.http",
    "network.lb-ports.https",
    "network.port-overrides",
    "components.dnsmasq.image",
    "components.dnsmasq.version",
    "components.haproxy.image",
    "components.haproxy.version",
    "components.ingress-controller.image",
    "components.ingress-controller.version",
    "components.ingress-controller.dashboard",
    "components.ingress-controller.acme",
    "components.ingress-controller.arguments",
    "components.metrics-server.image",
    "components.metrics-server.version",
    "components.metrics-server.enabled",
    "components.registry.image",
    "components.registry.version",
    "components.registry.enabled",
    "registry.enabled",
    "registry.name",
    "registry.storage",
    "registry.mirroring.enabled",
    "registry.mirroring.sources",
    "registry.scanning.enabled",
    "registry.scanning.interval",
    "workloads.namespace",
    "workloads.helm-repositories",
    "workloads.system",
    "workloads.user",
];

/// Keys of list entries.
const DESIGN_ENTRY_KEYS: &[(&str, &[&str])] = &[
    ("workloads.helm-repositories", &["name", "url"]),
    ("workloads.system", &["name", "enabled", "storage", "ports"]),
    (
        "workloads.user",
        &[
            "name",
            "enabled",
            "image",
            "http",
            "ports",
            "env",
            "depends-on",
            "config",
        ],
    ),
];

#[test]
fn every_key_of_the_design_is_in_schema_reference_and_file() {
    let schema: serde_json::Value = serde_json::from_str(&loko_config::json_schema()).unwrap();
    let reference = loko_config::reference();
    let at = |path: &str| {
        path.split('.')
            .fold(&schema, |node, key| &node["properties"][key])
            .clone()
    };
    for path in DESIGN_KEYS {
        assert!(at(path).is_object(), "{path} is not in the schema");
        let key = path.rsplit('.').next().unwrap();
        assert!(
            reference.contains(&format!("| `{key}` |")),
            "{path} is not in the reference"
        );
    }
    for (path, keys) in DESIGN_ENTRY_KEYS {
        for key in *keys {
            assert!(at(path)["items"]["properties"][key].is_object(), "{path}[].{key}");
        }
    }
    let text = loko_config::generate(&loko_config::GenerateOptions {
        name: "dev".parse().unwrap(),
        domain: None,
        style: loko_config::Style::Full,
    });
    let shown = load(&text, &LoadOptions::default()).unwrap().shown();
    for path in DESIGN_KEYS.iter().filter(|path| !path.ends_with("acme")) {
        let written = shown.lines.iter().any(|line| {
            let same = line.path == *path || line.path.starts_with(&format!("{path}["));
            same && line.origin != loko_config::Origin::Default
        });
        assert!(written, "{path} is not written in the generated file");
    }
}

#[test]
fn problems_for_machines() {
    let options = LoadOptions {
        file_name: "my.yaml".to_owned(),
        ..LoadOptions::default()
    };
    let problems = load("name: dev\nnetwork:\n  domian: dev.test\n", &options).unwrap_err();
    insta::assert_json_snapshot!(problems);
    assert_eq!(problems.to_string(), "1 error in my.yaml");
}

#[test]
fn problems_for_people() {
    use miette::Diagnostic;
    let problems = load("name: dev\nname: dev\nnetwork: {ip: x}\n", &LoadOptions::default()).unwrap_err();
    assert!(problems.source_code().is_some());
    let related: Vec<_> = problems.related().unwrap().collect();
    assert_eq!(related.len(), 2);
    assert_eq!(related[0].code().unwrap().to_string(), "loko::config::duplicate_key");
    assert_eq!(related[0].labels().unwrap().count(), 2);
    assert!(matches!(&problems.list()[1].cause, Cause::BadValue { found, .. } if found == "x"));
}

#[test]
fn strict_makes_errors_of_warnings() {
    let text = "name: dev\nnetwork: {domain: example-company.com}\n";
    let loaded = load(text, &LoadOptions::default()).unwrap();
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
    let strict = LoadOptions {
        strict: true,
        ..LoadOptions::default()
    };
    assert_eq!(load(text, &strict).unwrap_err().list(), loaded.warnings);
}

#[test]
fn variables_are_expanded_when_the_environment_runs() {
    let text = "\
name: dev
network: {lb-ports: {https: 8443}}
workloads:
  user:
    - name: a
      image: \"${LOKO_REGISTRY_HOST}/a:${env:TAG}\"
      env: {URL: \"https://a.${LOKO_DOMAIN}${LOKO_HTTPS_PORT_SUFFIX}\", IP: \"${LOKO_IP}\", TAG: \"${env:TAG}\", COST: \"$$5\"}
      readinessProbe: {exec: {command: [\"echo ${LOKO_ENV_NAME} ${LOKO_REGISTRY_NAME}\"]}}
";
    let environment_variables = [("TAG".to_owned(), "$1.2".replace('$', ""))].into();
    let options = LoadOptions {
        environment_variables,
        ..LoadOptions::default()
    };
    let environment = load(text, &options).unwrap().environment;
    let facts = Facts {
        ip: "192.168.1.20".parse().unwrap(),
        environment_variables: [("TAG".to_owned(), "$x".to_owned())].into(),
    };
    let expanded = environment.expand(&facts).unwrap();
    let Source::Image(image) = &expanded.workloads.list[0].source else {
        panic!()
    };
    assert_eq!(image.image.as_str(), "cr.dev.me:8443/a:1.2");
    assert_eq!(image.env["URL"], "https://a.dev.me:8443");
    assert_eq!(image.env["IP"], "192.168.1.20");
    assert_eq!(image.env["TAG"], "$x");
    assert_eq!(image.env["COST"], "$5");
    assert_eq!(image.container["readinessProbe"]["exec"]["command"][0], "echo dev cr");
    let error = environment
        .expand(&Facts {
            environment_variables: [].into(),
            ..facts
        })
        .unwrap_err();
    assert_eq!((error.place.as_str(), error.template.as_str()), ("a", "${env:TAG}"));
}

#[test]
fn credentials_of_mirrors_are_expanded_and_shown_nowhere() {
    let text = |enabled: bool| {
        format!(
            "name: dev\nregistry: {{mirroring: {{enabled: {enabled}, sources: [{{name: ghcr, credentials: {{username: me, password: \"${{env:TOKEN}}\"}}}}]}}}}\n"
        )
    };
    let problems = load(&text(true), &LoadOptions::default()).unwrap_err();
    assert!(problems.to_text().contains("TOKEN"), "{}", problems.to_text());
    // Nobody asks for it.
    let off = load(&text(false), &LoadOptions::default()).unwrap().environment;
    let facts = Facts {
        ip: "192.168.1.20".parse().unwrap(),
        environment_variables: [("TOKEN".to_owned(), "hush".to_owned())].into(),
    };
    let nothing = Facts {
        environment_variables: [].into(),
        ..facts
    };
    assert!(off.expand(&nothing).is_ok());

    let options = LoadOptions {
        environment_variables: facts.environment_variables.clone(),
        ..LoadOptions::default()
    };
    let environment = load(&text(true), &options).unwrap().environment;
    assert_eq!(environment.expand(&nothing).unwrap_err().place, "ghcr");
    let expanded = environment.expand(&facts).unwrap();
    let credentials = expanded.registry.mirroring.sources[0].credentials.as_ref().unwrap();
    assert_eq!(
        (credentials.username.as_str(), credentials.password.as_str()),
        ("me", "hush")
    );
    assert!(!format!("{expanded:?}").contains("hush"));
    assert!(!serde_json::to_string(&expanded).unwrap().contains("hush"));
}

#[test]
fn examples_of_the_workspace_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path().join("loko.yaml");
        if let Ok(bytes) = fs_err::read(&path) {
            let loaded = load_bytes(&bytes, &LoadOptions::default());
            assert!(loaded.is_ok(), "{}\n{}", path.display(), loaded.unwrap_err().to_text());
        }
    }
}

/// Texts that are cheap to write and could be dear to read. Each must end; the bounds and the lengths of lists keep the
/// work in step with the size.
#[test]
fn large_and_hostile_texts_end() {
    let code = |text: &str| load(text, &LoadOptions::default()).unwrap_err().list()[0].code();
    assert_eq!(code(&"#".repeat(10 << 20)), "loko::config::too_large");
    let many = load(
        &format!("name: dev\n{}", "a: 1\n".repeat(100_000)),
        &LoadOptions::default(),
    )
    .unwrap_err();
    assert_eq!(many.list().len(), 501);
    assert!(matches!(
        many.list()[500].cause,
        Cause::TooManyProblems { count: 99_500 }
    ));
    assert_eq!(code(&"[".repeat(100_000)), "loko::config::too_deep");
    assert_eq!(code(&"- ".repeat(100_000)), "loko::config::too_deep");
    assert_eq!(code(&"{a: ".repeat(100_000)), "loko::config::too_deep");
    let keys: String = (0..50_000)
        .map(|n| format!("k{n}: &a{n} {{x: *a{}}}\n", if n == 0 { 0 } else { n - 1 }))
        .collect();
    assert!(load(&keys, &LoadOptions::default()).is_err());
    let nested = format!("{}{}", "&a [".repeat(60), "x, ".repeat(100_000));
    assert_eq!(code(&nested), "loko::config::syntax");
    let nested = format!("{nested}{}\n", "]".repeat(60));
    assert_eq!(code(&nested), "loko::config::too_many_copies");
    let merges: String = (0..5_000)
        .map(|n| format!("m{n}: {{<<: &b{n} {{k{n}: 1}}}}\n"))
        .collect();
    assert!(load(&merges, &LoadOptions::default()).is_err());
    let line = format!("name: dev\nworkloads: {{user: [{}]}}\n", "{}, ".repeat(50_000));
    assert_eq!(code(&line), "loko::config::missing_key");
    // A chain of dependencies as long as the file.
    let chain: String = (0..5_000)
        .map(|n| format!("    - {{name: w{n}, image: x, depends-on: [w{}]}}\n", (n + 1) % 5_000))
        .collect();
    assert_eq!(
        code(&format!("name: dev\nworkloads:\n  user:\n{chain}")),
        "loko::config::dependency_cycle"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_bytes(&bytes, &LoadOptions::default());
    }

    #[test]
    fn anything_like_yaml_is_answered(text in "(name|network|workloads|user|image|[a-z]|[-:{}\\[\\],#&*!|>'\"%@`?\n\t $]| ){0,60}") {
        if let Err(problems) = load(&text, &LoadOptions::default()) {
            prop_assert!(!problems.list().is_empty());
        }
    }
}
