use std::net::IpAddr;

use loko_config::{Facts, LoadOptions, load, slots};

use super::*;

fn environment(yaml: &str) -> Environment {
    let loaded = load(yaml, &LoadOptions::default()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let facts = Facts {
        ip: IpAddr::from([127, 0, 0, 1]),
        environment_variables: BTreeMap::new(),
    };
    loaded.environment.expand(&facts).unwrap()
}

fn render(yaml: &str) -> Result<BTreeMap<String, Vec<Manifest>>, WorkloadError> {
    let environment = environment(yaml);
    let slots = slots::assign(&BTreeMap::new(), &slots::wanted(&environment)).unwrap();
    manifests(&environment, WorkloadContext { slots: &slots })
}

#[test]
fn an_image_with_hosts_and_ports() {
    insta::assert_yaml_snapshot!(
        render(
            r#"
name: dev
workloads:
  user:
    - name: shop
      image: ghcr.io/me/shop:1.2
      http: {port: 8080, hosts: ["shop.${LOKO_DOMAIN}", a.b.dev.me]}
      ports: [9000, 9001/udp, {port: 5432, tls: sni}]
      env: {DB: "postgres.${LOKO_DOMAIN}"}
    - {name: unused, image: x, enabled: false}
"#
        )
        .unwrap()
    );
}

#[test]
fn an_image_with_storage_files_and_fields_of_kubernetes() {
    insta::assert_yaml_snapshot!(
        render(
            r#"
name: dev
workloads:
  namespace: mine
  user:
    - name: store
      image: valkey/valkey:8.1
      ports: [6379]
      storage: 2Gi
      storage-path: /var/lib/valkey
      replicas: 2
      command: [valkey-server]
      args: [/etc/valkey.conf]
      files: {/etc/valkey.conf: "save 60 1\n", /etc/other/valkey.conf: "x\n"}
      resources: {limits: {cpu: 2, memory: 1Gi}}
      readinessProbe: {exec: {command: [valkey-cli, ping]}, periodSeconds: 2}
      volumes: [{name: scratch, emptyDir: {}}]
      volumeMounts: [{name: scratch, mountPath: /scratch}]
      nodeSelector: {disk: ssd}
      podSecurityContext: {fsGroup: 999}
      serviceAccountName: store
      sidecars: [{name: exporter, image: "exporter:1"}]
      labels: {team: blue}
"#
        )
        .unwrap()
    );
}

#[test]
fn a_host_outside_the_domain_gets_its_certificate_from_the_resolver() {
    let parts = render(
        r"
name: dev
components: {ingress-controller: {acme: {email: me@example.org}}}
workloads:
  user: [{name: shop, image: shop, http: {port: 80, hosts: [shop.dev.me, shop.example.org, notdev.me]}}]
",
    )
    .unwrap();
    let ingresses: Vec<_> = parts["workload-shop"]
        .iter()
        .filter(|manifest| manifest.key().kind == "Ingress")
        .map(|manifest| {
            let value = manifest.value();
            (
                manifest.key().name,
                value["metadata"]["annotations"].clone(),
                value["spec"]["tls"].clone(),
            )
        })
        .collect();
    insta::assert_yaml_snapshot!(ingresses);
    let hosts: Vec<String> = parts["workload-shop"].iter().flat_map(acme_hosts).collect();
    assert_eq!(hosts, ["shop.example.org", "notdev.me"]);
}

#[test]
fn what_traefik_reads_of_a_service_is_said_there() {
    let parts = render(
        r"
name: dev
workloads:
  user:
    - name: rpc
      image: rpc
      http:
        port: 50051
        annotations:
          traefik.ingress.kubernetes.io/service.serversscheme: h2c
          traefik.ingress.kubernetes.io/router.priority: '7'
",
    )
    .unwrap();
    let annotations = |kind: &str| {
        let mut of_kind = parts["workload-rpc"]
            .iter()
            .filter(|manifest| manifest.key().kind == kind);
        of_kind.next().unwrap().value()["metadata"]["annotations"].clone()
    };
    let service = annotations("Service");
    assert_eq!(service.as_object().unwrap().len(), 1);
    assert_eq!(service["traefik.ingress.kubernetes.io/service.serversscheme"], "h2c");
    let ingress = annotations("Ingress");
    assert_eq!(ingress["traefik.ingress.kubernetes.io/router.priority"], "7");
    assert_eq!(
        ingress["traefik.ingress.kubernetes.io/service.serversscheme"],
        serde_json::Value::Null
    );
}

#[test]
fn a_workload_of_the_catalogue_is_resolved_first() {
    let error = render("name: dev\nworkloads: {system: [{name: postgres}]}\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "deploy `postgres`: the catalogue was not applied to it"
    );
}

#[test]
fn of_a_chart_the_ways_in_are_ours() {
    let parts = render(
        "name: dev\nworkloads: {user: [{name: a, config: {chart: ./a}, http: {port: 80, service: a-web}, ports: [5432]}]}\n",
    )
    .unwrap();
    let objects = &parts["workload-a"];
    let kinds: Vec<String> = objects.iter().map(|object| object.key().kind).collect();
    assert_eq!(kinds, ["Ingress", "IngressRouteTCP"]);
    for object in objects {
        assert!(object.value().to_string().contains("\"name\":\"a-web\""), "{object:?}");
    }
}

#[test]
fn a_port_without_an_entry_point_is_a_mistake_of_ours() {
    let environment = environment("name: dev\nworkloads: {user: [{name: a, image: b, ports: [1]}]}\n");
    let slots = BTreeMap::new();
    assert_eq!(
        manifests(&environment, WorkloadContext { slots: &slots })
            .unwrap_err()
            .to_string(),
        "route tcp port 1 of `a`: it has no entry point"
    );
    assert_eq!(exposed_ports(&environment, &slots), []);
}

#[test]
fn a_part_fits_a_label_and_tells_long_names_apart() {
    assert_eq!(part("shop"), "workload-shop");
    let (one, two) = (format!("{}1", "a".repeat(62)), format!("{}2", "a".repeat(62)));
    assert_eq!(part(&one).len(), 63);
    assert_ne!(part(&one), part(&two));
    assert_eq!(part(&"a".repeat(54)), format!("workload-{}", "a".repeat(54)));
}

#[test]
fn a_long_name_with_storage_is_refused() {
    let name = "a".repeat(53);
    let yaml = format!("name: dev\nworkloads: {{user: [{{name: {name}, image: b, storage: 1Gi}}]}}\n");
    assert!(matches!(render(&yaml).unwrap_err(), WorkloadError::LongName { .. }));
}

#[test]
fn ports_that_share_a_host_port_by_sni_are_known_at_the_entry_points_of_all() {
    let parts = render(
        r"
name: dev
network: {port-overrides: {one: {6379: 7000}, two: {6379: 7000}}}
workloads:
  user:
    - {name: one, image: x, ports: [{port: 6379, tls: sni}]}
    - {name: two, image: x, ports: [{port: 6379, tls: sni}]}
    - {name: three, image: x, ports: [{port: 6379, tls: sni}, 81]}
",
    )
    .unwrap();
    let entry_points = |part: &str| {
        let routes = parts[part]
            .iter()
            .filter(|manifest| manifest.key().kind == "IngressRouteTCP");
        let lists = routes.map(|route| route.value()["spec"]["entryPoints"].to_string());
        lists.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(entry_points("workload-one"), r#"["tcp-1","tcp-4"]"#);
    assert_eq!(entry_points("workload-two"), r#"["tcp-1","tcp-4"]"#);
    assert_eq!(entry_points("workload-three"), r#"["tcp-3"] ["tcp-2"]"#);
}

#[test]
fn images_of_all_containers_are_known() {
    let environment = environment(
        r#"
name: dev
workloads:
  user:
    - name: shop
      image: "shop:1"
      initContainers: [{name: first, image: "migrate:1"}, {name: second, image: "shop:1"}]
      sidecars: [{name: exporter, image: "exporter:1"}]
"#,
    );
    assert_eq!(
        images(&environment.workloads.list[0]),
        ["shop:1", "migrate:1", "exporter:1"]
    );
}
