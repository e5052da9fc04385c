use std::net::IpAddr;

use loko_config::{Facts, LoadOptions, load, slots};
use miette::Diagnostic as _;

use super::*;
use crate::workloads::{self, WorkloadContext};

fn resolved(yaml: &str) -> Result<Resolution, CatalogueError> {
    let catalogue = Catalogue::embedded().unwrap();
    let options = LoadOptions {
        catalogue: Some(catalogue.ports()),
        ..LoadOptions::default()
    };
    let loaded = load(yaml, &options).unwrap_or_else(|problems| panic!("{problems:?}"));
    catalogue.resolve(&loaded.environment)
}

fn facts() -> Facts {
    Facts {
        ip: IpAddr::from([127, 0, 0, 1]),
        environment_variables: BTreeMap::new(),
    }
}

fn render(resolution: &Resolution) -> BTreeMap<String, Vec<crate::Manifest>> {
    let environment = resolution.expand(&facts()).unwrap().environment;
    let slots = slots::assign(&BTreeMap::new(), &slots::wanted(&environment)).unwrap();
    workloads::manifests(&environment, WorkloadContext { slots: &slots }).unwrap()
}

#[test]
fn the_list_is_the_folder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/catalogue");
    let mut files: Vec<String> = fs_err_names(folder);
    files.sort_unstable();
    let names: Vec<String> = embedded::ENTRIES
        .iter()
        .map(|(name, _)| format!("{name}.yaml"))
        .collect();
    assert_eq!(names, files);
}

fn fs_err_names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// One test per entry, so to speak: each is rendered, and shown whole.
#[test]
fn every_entry_renders() {
    let catalogue = Catalogue::embedded().unwrap();
    for name in catalogue.names() {
        let resolution = resolved(&format!("name: dev\nworkloads: {{system: [{{name: {name}}}]}}\n")).unwrap();
        insta::with_settings!({snapshot_suffix => name, omit_expression => true}, {
            insta::assert_yaml_snapshot!("entry", render(&resolution));
        });
    }
}

#[test]
fn every_entry_is_complete() {
    let catalogue = Catalogue::embedded().unwrap();
    for name in catalogue.names() {
        let entry = catalogue.entry(name).unwrap();
        assert!(entry.description.contains(','), "{name}: its name, a comma, what it is");
        assert!(!entry.connections.is_empty(), "{name}: how to connect");
        assert!(entry.http.is_some() || !entry.ports.is_empty(), "{name}: a way in");
        for companion in &entry.companions {
            assert!(catalogue.entry(companion).is_ok(), "{name} offers {companion}");
        }
        let yaml = embedded::ENTRIES.iter().find(|(other, _)| *other == name).unwrap().1;
        let renovate = format!("# renovate: datasource=docker depName={}", entry.image);
        assert!(yaml.contains(&renovate), "{name}: {renovate}");
    }
}

/// Ways in as they are shown and as they are, with everything that may differ from the usual: domain, ports, HTTPS' port.
#[test]
fn every_entry_says_how_to_connect() {
    let catalogue = Catalogue::embedded().unwrap();
    for name in catalogue.names() {
        let entry = catalogue.entry(name).unwrap();
        let moved: Vec<String> = entry
            .ports
            .iter()
            .map(|(port, _)| format!("{port}: {}", port.get() + 10000))
            .collect();
        let resolution = resolved(&format!(
            "name: dev\nnetwork: {{domain: shop.test, lb-ports: {{https: 8443}}, port-overrides: {{{name}: {{{}}}}}}}
workloads: {{system: [{{name: {name}}}]}}\n",
            moved.join(", ")
        ))
        .unwrap();
        let resolution = resolution.expand(&facts()).unwrap();
        let service = &resolution.services[name];
        let mut secrets = Secrets::default();
        // Each field as `<field>`, so that one sees which went where.
        let fields: BTreeMap<&str, String> = entry
            .secrets
            .keys()
            .map(|field| (field.as_str(), format!("<{field}>")))
            .collect();
        if !fields.is_empty() {
            secrets = Secrets::parse(&serde_yaml::to_string(&BTreeMap::from([(name, fields)])).unwrap()).unwrap();
        }
        let revealed = service.connections(name, &secrets, true);
        for text in revealed.values() {
            assert!(
                !text.contains("%{") && !text.contains("${") && !text.contains('•'),
                "{name}: {text}"
            );
            assert!(text.contains(&format!("{name}.shop.test")), "{name}: {text}");
        }
        let hidden = service.connections(name, &secrets, false);
        assert!(hidden.values().all(|text| !text.contains('<')), "{name}: {hidden:?}");
        for port in entry.ports.iter().map(|(port, _)| port.get() + 10000) {
            assert!(
                revealed
                    .values()
                    .any(|text| text.contains(&format!("{name}.shop.test:{port}"))),
                "{name}: port {port}"
            );
        }
        if entry.http.is_some() {
            let url = format!("{name}.shop.test:8443");
            assert!(revealed.values().any(|text| text.contains(&url)), "{name}: {url}");
        }
        let shown = serde_json::json!({
            "user": service.user(name, &secrets, true),
            "hidden": hidden,
            "revealed": revealed,
            "companions": service.companions,
        });
        insta::with_settings!({snapshot_suffix => name, omit_expression => true}, {
            insta::assert_yaml_snapshot!("connections", shown);
        });
    }
}

/// Ready means that a client gets an answer of the service's own protocol, not that something listens.
#[test]
fn every_entry_is_ready_when_a_client_can_use_it() {
    let catalogue = Catalogue::embedded().unwrap();
    for name in catalogue.names() {
        let entry = catalogue.entry(name).unwrap();
        for probe in ["readinessProbe", "startupProbe"] {
            let Some(probe) = entry.container.get(probe) else {
                assert_ne!(probe, "readinessProbe", "{name}");
                continue;
            };
            assert!(
                probe.get("exec").is_some() || probe.get("httpGet").is_some(),
                "{name}: {probe}"
            );
            assert!(!probe.to_string().contains("secret."), "{name}: {probe}");
        }
    }
}

/// What `loko catalog info -o yaml` prints can be put into a file, changed and used.
#[test]
fn an_entry_as_it_is_printed_is_an_entry() {
    let mut catalogue = Catalogue::embedded().unwrap();
    let names: Vec<String> = catalogue.names().map(str::to_owned).collect();
    for name in names {
        let entry = catalogue.entry(&name).unwrap();
        let printed = loko_config::to_yaml(&serde_json::to_value(&entry).unwrap());
        catalogue.add("printed", &printed).unwrap();
        assert_eq!(catalogue.entry("printed").unwrap(), entry, "{printed}");
    }
}

/// The README says of each entry how it was tried.
#[test]
fn the_readme_knows_every_entry() {
    let readme = include_str!("../../README.md");
    let (_, table) = readme.split_once("| how it was tried | entries |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let entries = table.lines().filter_map(|line| line.split('|').nth(2));
    let mut listed: Vec<&str> = entries.flat_map(|cell| cell.split(',')).map(str::trim).collect();
    listed.retain(|name| !name.starts_with('-') && !name.is_empty());
    listed.sort_unstable();
    let catalogue = Catalogue::embedded().unwrap();
    assert_eq!(listed, catalogue.names().collect::<Vec<_>>());
}

#[test]
fn every_part_of_an_entry_can_be_overridden() {
    let resolution = resolved(
        r#"
name: dev
workloads:
  system:
    - name: prometheus
      config:
        args: [--config.file=/etc/prometheus/prometheus.yml]
        files: {/etc/prometheus/rules.yml: "groups: []\n"}
        pod: {securityContext: {runAsUser: 1000}}
        connections: {url: null, api: "%{url}/api/v1"}
        companions: []
    - name: postgres
      config:
        version: 16
        env: {POSTGRES_USER: shop, POSTGRES_DB: "${LOKO_ENV_NAME}-shop"}
        secrets: {password: {length: 40}, extra: {kind: uuid}}
"#,
    )
    .unwrap()
    .expand(&facts())
    .unwrap();
    let image = |name: &str| {
        let list = &resolution.environment.workloads.list;
        let workload = list.iter().find(|workload| workload.name.as_str() == name).unwrap();
        let Source::Image(image) = &workload.source else {
            panic!()
        };
        image.clone()
    };
    let prometheus = image("prometheus");
    assert_eq!(
        prometheus.args,
        ["--config.file=/etc/prometheus/prometheus.yml"],
        "a list is replaced"
    );
    assert_eq!(prometheus.files.len(), 2, "a map is added to");
    assert_eq!(
        prometheus.pod["securityContext"],
        serde_json::json!({"fsGroup": 65534, "runAsUser": 1000})
    );
    let none = Secrets::default();
    let connections = resolution.services["prometheus"].connections("prometheus", &none, true);
    assert_eq!(connections["api"], "https://prometheus.dev.me/api/v1");
    assert!(!connections.contains_key("url"), "`null` removes");
    assert!(resolution.services["prometheus"].companions.is_empty());

    let postgres = &resolution.services["postgres"];
    assert_eq!(image("postgres").image.to_string(), "postgres:16");
    assert_eq!(image("postgres").env["POSTGRES_DB"], "dev-shop");
    assert_eq!(postgres.user("postgres", &none, false).as_deref(), Some("shop"));
    assert_eq!(
        postgres.connections("postgres", &none, false)["url"],
        "postgresql://shop:••••@postgres.dev.me:5432/dev-shop",
        "what is set by a variable is what one connects to"
    );
    let mut secrets = Secrets::default();
    let made = secrets
        .ensure("postgres", &postgres.recipes, &mut |bytes| bytes.fill(7))
        .unwrap();
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!(secrets.get("postgres", "password").unwrap().reveal().len(), 40);
}

#[test]
fn config_is_merged_over_the_entry_by_path() {
    let resolution = resolved(
        r#"
name: dev
network: {port-overrides: {postgres: {5432: 15432}}, lb-ports: {https: 8443}}
workloads:
  system:
    - name: postgres
      storage: 3Gi
      config:
        version: "16.9"
        env: {POSTGRES_DB: "shop_${LOKO_ENV_NAME}", PGDATA: null}
        container: {resources: {limits: {memory: 1Gi}}}
    - name: rabbitmq
      enabled: false
"#,
    )
    .unwrap();
    insta::assert_yaml_snapshot!(render(&resolution));
    let secrets = Secrets::parse("postgres: {password: hunter2}").unwrap();
    let service = &resolution.services["postgres"];
    assert_eq!(
        service.connections("postgres", &secrets, true)["url"],
        "postgresql://postgres:hunter2@postgres.dev.me:15432/shop_${LOKO_ENV_NAME}"
    );
    assert_eq!(
        service.connections("postgres", &secrets, false)["url"],
        "postgresql://postgres:••••@postgres.dev.me:15432/shop_${LOKO_ENV_NAME}"
    );
    assert_eq!(service.user("postgres", &secrets, false).as_deref(), Some("postgres"));
    assert_eq!(resolution.offers().into_iter().collect::<Vec<_>>(), ["adminer"]);
    assert_eq!(
        resolution.recipes().map(|(name, _)| name).collect::<Vec<_>>(),
        ["postgres"]
    );
}

#[test]
fn web_pages_have_the_port_of_https_in_their_address() {
    let resolution =
        resolved("name: dev\nnetwork: {lb-ports: {https: 8443}}\nworkloads: {system: [{name: keycloak}]}\n").unwrap();
    let none = Secrets::default();
    assert_eq!(
        resolution.services["keycloak"].connections("keycloak", &none, false)["url"],
        "https://keycloak.dev.me:8443"
    );
}

#[test]
fn mistakes_name_the_entry_and_the_place() {
    let wrong = |config: &str| {
        resolved(&format!(
            "name: dev\nworkloads: {{system: [{{name: postgres, config: {config}}}]}}\n"
        ))
        .unwrap_err()
        .to_string()
    };
    assert!(wrong("{imagee: x}").starts_with("read the catalogue's entry `postgres`: unknown field `imagee`"));
    assert_eq!(
        wrong("{env: {A: {secret: other}}}"),
        "read the catalogue's entry `postgres`: `env.A` is the secret `other`, which is not under `secrets`"
    );
    assert!(wrong("{version: 1.10}").ends_with("`version: 1.1` is no text: put it in quotes"));
    assert!(wrong("{env: {A: 1}}").contains("`env.A` is neither a text"));
    assert!(wrong("{env: {A: '%{port.1}'}}").contains("nothing is known of `%{port.1}`"));
    assert!(
        wrong("{args: ['%{secret.password}']}").contains("nothing is known of `%{secret.password}`"),
        "no secret comes into an argument"
    );
}

#[test]
fn a_folder_of_ones_own_adds_and_replaces() {
    let mut catalogue = Catalogue::embedded().unwrap();
    let own =
        "{description: 'Mine, mine', category: utility, image: mine, version: '1', http: {port: 80}, ports: [53/udp]}";
    catalogue.add("mine", own).unwrap();
    assert_eq!(catalogue.entry("mine").unwrap().ports[0].1, Protocol::Udp);
    assert!(catalogue.add("Mine", own).is_err());
    assert!(catalogue.add("mine", "{description: x}").is_err());
    let refused = |name: &str| catalogue.entry(name).unwrap_err();
    assert!(matches!(refused("other"), CatalogueError::Unknown { name, .. } if name == "other"));
    let help = |name: &str| refused(name).help().unwrap().to_string();
    assert!(help("postgress").starts_with("did you mean `postgres`? "));
    assert_eq!(help("other"), "`loko catalog list` prints what it has");
}
