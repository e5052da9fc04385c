use loko_config::model::{AcmeChallenge, Protocol};

use super::*;
use crate::scheduling;

fn leaf() -> Leaf {
    Leaf {
        certificate_pem: "the certificate\n".to_owned(),
        key_pem: "the key\n".to_owned(),
    }
}

fn input<'a>(certificate: &'a Leaf, ports: &'a [ExposedPort]) -> TraefikInput<'a> {
    TraefikInput {
        image: "traefik:v3.7.13",
        arguments: &[],
        lb_ports: LbPorts {
            http: 80.try_into().unwrap(),
            https: 443.try_into().unwrap(),
        },
        domain: "dev.me",
        ip: "127.0.0.1".parse().unwrap(),
        cluster_ip: "10.96.0.13".parse().unwrap(),
        certificate,
        trusted_proxies: "172.30.0.0/16".parse().unwrap(),
        placement: scheduling::components(),
        dashboard: false,
        acme: None,
        ports,
    }
}

fn exposed(host_port: u16, protocol: Protocol, slot: u16) -> ExposedPort {
    ExposedPort {
        host_port: host_port.try_into().unwrap(),
        slot: Slot::new(protocol, slot).unwrap(),
    }
}

fn of_kind(manifests: &[Manifest], kind: &str) -> Vec<serde_json::Value> {
    let all = manifests.iter().filter(|manifest| manifest.key().kind == kind);
    all.map(|manifest| manifest.value().clone()).collect()
}

#[test]
fn all_objects_but_the_definitions() {
    let leaf = leaf();
    let ports = [exposed(5432, Protocol::Tcp, 1), exposed(53, Protocol::Udp, 1)];
    let manifests = manifests(&input(&leaf, &ports)).unwrap();
    let rest = manifests
        .iter()
        .filter(|manifest| manifest.key().kind != "CustomResourceDefinition");
    insta::assert_yaml_snapshot!(rest.collect::<Vec<_>>());
}

#[test]
fn a_definition_keeps_what_it_does_not_know() {
    insta::assert_yaml_snapshot!(crds::all()[1]);
}

#[test]
fn all_ten_kinds_are_defined() {
    let names: Vec<Option<String>> = crds::all()
        .into_iter()
        .map(|definition| definition.metadata.name)
        .collect();
    let names: Vec<String> = names.into_iter().flatten().collect();
    assert_eq!(
        names,
        [
            "ingressroutes.traefik.io",
            "ingressroutetcps.traefik.io",
            "ingressrouteudps.traefik.io",
            "middlewares.traefik.io",
            "middlewaretcps.traefik.io",
            "serverstransports.traefik.io",
            "serverstransporttcps.traefik.io",
            "tlsoptions.traefik.io",
            "tlsstores.traefik.io",
            "traefikservices.traefik.io",
        ]
    );
}

#[test]
fn the_dashboard_is_there_when_asked_for() {
    let leaf = leaf();
    let names = |input: &TraefikInput<'_>| -> Vec<serde_json::Value> {
        let routes = of_kind(&manifests(input).unwrap(), "IngressRoute");
        routes.iter().map(|route| route["metadata"]["name"].clone()).collect()
    };
    let without = input(&leaf, &[]);
    assert_eq!(names(&without), ["traefik-routes"]);
    assert!(arguments(&without).contains(&"--api.dashboard=false".to_owned()));
    let with = TraefikInput {
        dashboard: true,
        ..input(&leaf, &[])
    };
    assert_eq!(names(&with), ["traefik-routes", "traefik-dashboard"]);
    let route = of_kind(&manifests(&with).unwrap(), "IngressRoute");
    assert_eq!(route[1]["spec"]["routes"][0]["match"], "Host(`traefik.dev.me`)");
    assert_eq!(route[1]["spec"]["tls"], serde_json::json!({}));
    assert!(arguments(&with).contains(&"--api.dashboard=true".to_owned()));
}

#[test]
fn it_is_started_once_it_knows_its_routes_unless_it_may_not_tell() {
    let leaf = leaf();
    let probe = |own: &str| {
        let own = [own.to_owned()];
        let with = TraefikInput {
            arguments: &own,
            ..input(&leaf, &[])
        };
        let pods = of_kind(&manifests(&with).unwrap(), "DaemonSet");
        pods[0]["spec"]["template"]["spec"]["containers"][0]["startupProbe"]["httpGet"]["path"].clone()
    };
    assert_eq!(probe("--log.level=DEBUG"), routes::VERSION_PATH);
    for own in ["--api=false", "--providers.kubernetesCRD.namespaces=mine"] {
        assert!(probe(own).is_null(), "{own}");
    }
}

#[test]
fn acme_adds_a_resolver_with_its_own_root() {
    let acme = Acme {
        email: "me@example.org".to_owned(),
        server: "https://pebble.example.org/dir".to_owned(),
        ca: Some("the root\n".to_owned()),
        challenge: AcmeChallenge::Http,
    };
    let leaf = leaf();
    let with = TraefikInput {
        acme: Some(&acme),
        ..input(&leaf, &[])
    };
    let own: Vec<String> = arguments(&with).into_iter().filter(|a| a.contains("acme")).collect();
    insta::assert_yaml_snapshot!(own);
    let pods = of_kind(&manifests(&with).unwrap(), "DaemonSet");
    insta::assert_yaml_snapshot!(pods[0]["spec"]["template"]["spec"]["volumes"]);
}

#[test]
fn the_users_arguments_come_last() {
    let leaf = leaf();
    let own = ["--accesslog=true".to_owned()];
    let with = TraefikInput {
        arguments: &own,
        ..input(&leaf, &[])
    };
    assert_eq!(arguments(&with).last(), Some(&own[0]));
}

#[test]
fn ports_shared_by_sni_and_ports_of_both_protocols_are_exposed_once_each() {
    let leaf = leaf();
    let ports = [
        exposed(5432, Protocol::Tcp, 1),
        exposed(5432, Protocol::Tcp, 2),
        exposed(5432, Protocol::Udp, 1),
        exposed(443, Protocol::Udp, 2),
    ];
    let services = of_kind(&manifests(&input(&leaf, &ports)).unwrap(), "Service");
    let ports = services[1]["spec"]["ports"].as_array().unwrap();
    let names: Vec<_> = ports.iter().map(|port| port["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web", "websecure", "tcp-1", "udp-1", "udp-2"]);
}
