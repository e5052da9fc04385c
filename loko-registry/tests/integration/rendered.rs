//! Every rendered file and object, as a snapshot.

use loko_config::model::RegistryEngine::{Distribution, Zot};
use loko_registry::manifests::{certificate_names, manifests};
use loko_registry::{RegistrySpec, distribution, zot};

use crate::sample::{full, identity, place, spec};

#[test]
fn zot_with_everything() {
    insta::assert_snapshot!(zot::Config::of(&full(Zot)).render());
}

#[test]
fn zot_without_mirrors_has_no_sync_and_no_retention() {
    let text = zot::Config::of(&spec(Zot)).render();
    assert!(
        !text.contains("sync") && !text.contains("retention") && !text.contains("cve"),
        "{text}"
    );
}

#[test]
fn an_older_zot_gets_no_key_that_it_does_not_know() {
    let render = |version: &str| {
        let spec = RegistrySpec {
            version: version.to_owned(),
            ..full(Zot)
        };
        zot::Config::of(&spec).render()
    };
    assert!(render("v2.1.17").contains("readTimeout"));
    assert!(!render("v2.1.16").contains("Timeout"));
    assert!(render("v2.1.3").contains("preserveDigest"));
    assert!(!render("v2.1.2").contains("preserveDigest"));
    assert!(!render("v2.1.1").contains("compat"));
}

#[test]
fn whoever_is_mirrored_at_the_root_is_asked_last() {
    let config = zot::Config::of(&full(Zot));
    let registries = config.extensions.sync.unwrap().registries;
    assert_eq!(registries.last().unwrap().urls, ["https://registry-1.docker.io"]);
}

#[test]
fn distribution_with_everything() {
    let texts: Vec<_> = distribution::instances(&full(Distribution))
        .iter()
        .map(|instance| format!("# {}\n{}", instance.name, instance.config.render()))
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn zot_objects() {
    insta::assert_yaml_snapshot!(manifests(&full(Zot), &place(), &identity()));
}

#[test]
fn distribution_objects() {
    insta::assert_yaml_snapshot!(manifests(&full(Distribution), &place(), &identity()));
}

#[test]
fn another_certificate_makes_another_pod_and_the_same_does_not() {
    let annotation = |key: &str| {
        let mut identity = identity();
        identity.key = key.to_owned();
        let objects = manifests(&spec(Zot), &place(), &identity);
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        deployment["spec"]["template"]["metadata"]["annotations"].to_string()
    };
    assert_eq!(annotation("a"), annotation("a"));
    assert_ne!(annotation("a"), annotation("b"));
}

#[test]
fn the_certificate_holds_the_address_by_which_nodes_come() {
    let names = certificate_names(&spec(Zot), &place());
    assert_eq!(
        names,
        [
            "cr.dev.me",
            "registry.loko-system.svc",
            "registry.loko-system.svc.cluster.local",
            "10.96.0.50"
        ]
    );
}

#[test]
fn no_secret_is_shown_by_debug() {
    let text = format!("{:?} {:?}", full(Zot), identity());
    assert!(!text.contains("secret") && !text.contains("\"key\""), "{text}");
}

#[test]
fn switching_a_source_off_takes_its_own_program_away_and_leaves_the_others_alone() {
    let before = full(Distribution);
    let mut after = before.clone();
    after.sources.retain(|source| source.name != "quay");
    let deployments = |spec: &RegistrySpec| -> Vec<_> {
        let objects = manifests(spec, &place(), &identity());
        objects
            .into_iter()
            .filter(|object| object["kind"] == "Deployment")
            .collect()
    };
    let mut expected = deployments(&before);
    expected.retain(|object| object["metadata"]["name"] != "registry-mirror-quay");
    assert_eq!(deployments(&after), expected);
}
