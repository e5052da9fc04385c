use super::*;
use crate::samples::{names, zone};

#[test]
fn a_name_belongs_to_the_zone_by_whole_labels() {
    let zone = zone();
    for inside in ["dev.me", "a.dev.me", "a.b.dev.me.", "A.DEV.me"] {
        assert!(zone.holds(inside), "{inside}");
    }
    for outside in ["xdev.me", "me", "dev.me.org", "", "."] {
        assert!(!zone.holds(outside), "{outside}");
    }
}

#[test]
fn without_the_wildcard_only_known_names_resolve() {
    let exact = Zone {
        wildcard: false,
        ..zone()
    };
    for (name, wild, known) in [
        ("shop.dev.me", true, true),
        ("other.dev.me", true, false),
        ("other.test.me", false, false),
    ] {
        let name = name.parse().unwrap();
        assert_eq!(zone().resolves(&name), wild, "{name}");
        assert_eq!(exact.resolves(&name), known, "{name}");
    }
    assert_eq!(exact.hosts, names(&["cr.dev.me", "shop.dev.me"]));
}

#[test]
fn loopback_is_always_heard() {
    let local = zone();
    assert_eq!(local.listen(), [local.address]);
    assert_eq!(local.server().to_string(), "127.0.0.1:5453");
    let lan = Zone {
        address: [192, 168, 1, 7].into(),
        ..local.clone()
    };
    assert_eq!(lan.listen(), [lan.address, local.address]);
    assert_eq!(lan.server().to_string(), "127.0.0.1:5453");
    let six = Zone {
        address: "::1".parse().unwrap(),
        ..local
    };
    assert_eq!(six.server().to_string(), "[::1]:5453");
}

fn names_of(yaml: &str, extra: &[&str]) -> Vec<String> {
    let loaded = loko_config::load(yaml, &loko_config::LoadOptions::default()).unwrap();
    let zone = Zone::of(
        &loaded.environment,
        [127, 0, 0, 1].into(),
        crate::samples::port(5453),
        names(extra),
    );
    zone.hosts.iter().map(ToString::to_string).collect()
}

#[test]
fn a_zone_knows_what_its_environment_uses() {
    let yaml = "
name: dev
network: {domain: dev.me, wildcard: false}
components: {ingress-controller: {dashboard: true}}
workloads:
  user:
    - {name: web, image: a, http: {port: 80}}
    - {name: shop, image: a, http: {port: 80, hosts: [shop.dev.me, www.shop.dev.me]}}
    - {name: db, image: a, ports: [5432]}
    - {name: both, image: a, http: {port: 80, hosts: [x.dev.me]}, ports: [9000]}
    - {name: inner, image: a}
    - {name: idle, image: a, http: {port: 80}, enabled: false}
";
    let expected = [
        "both.dev.me",
        "cr.dev.me",
        "db.dev.me",
        "ingress.dev.me",
        "shop.dev.me",
        "traefik.dev.me",
        "web.dev.me",
        "www.shop.dev.me",
        "x.dev.me",
    ];
    assert_eq!(names_of(yaml, &["ingress.dev.me", "elsewhere.org"]), expected);
}

#[test]
fn a_registry_that_is_off_has_no_name() {
    assert_eq!(names_of("name: dev\nregistry: {enabled: false}\n", &[]), [""; 0]);
    assert_eq!(
        names_of("name: dev\nregistry: {name: images}\n", &[]),
        ["images.dev.me"]
    );
}

#[test]
fn names_are_added_to_a_zone_if_they_are_its_own() {
    let more = zone().with_names(names(&["new.dev.me", "elsewhere.org"]));
    assert_eq!(more.hosts, names(&["cr.dev.me", "new.dev.me", "shop.dev.me"]));
}
