use std::net::IpAddr;

use loko_config::{Facts, LoadOptions, load, slots};

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

fn render(resolution: &Resolution) -> BTreeMap<String, Vec<crate::Manifest>> {
    let facts = Facts {
        ip: IpAddr::from([127, 0, 0, 1]),
        environment_variables: BTreeMap::new(),
    };
    let environment = resolution.environment.expand(&facts).unwrap();
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
        "postgresql://postgres:hunter2@postgres.dev.me:15432/postgres"
    );
    assert_eq!(
        service.connections("postgres", &secrets, false)["url"],
        "postgresql://postgres:••••@postgres.dev.me:15432/postgres"
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
    assert_eq!(
        catalogue.entry("other").unwrap_err(),
        CatalogueError::Unknown {
            name: "other".to_owned()
        }
    );
}
