use loko_engine::{ContainerState, EdgeMode, labels};

use super::*;
use crate::samples::{names, placement, port, zone};

fn served(zone: &Zone, placement: &Placement, cluster: &[&str]) -> Facts {
    let spec = ours::spec(zone, placement);
    let mut labels = spec.labels.clone();
    labels.insert(labels::SPEC.into(), spec.hash());
    Facts {
        container: Some(ContainerFacts {
            id: "1".into(),
            name: spec.name,
            image: spec.image,
            image_id: "sha256:0".into(),
            state: ContainerState::Running,
            started_at: String::new(),
            labels,
            addresses: BTreeMap::new(),
            ports: Vec::new(),
        }),
        conf: Some(render::conf(zone, placement.listen())),
        hosts: render::hosts(Source::Zone, zone.address, &zone.hosts)
            .into_iter()
            .chain(render::hosts(Source::Cluster, zone.address, &names(cluster)))
            .chain([(render::README.0.to_owned(), render::README.1.to_owned())])
            .collect(),
    }
}

#[test]
fn what_is_as_wanted_is_left_alone() {
    let (zone, placement) = (zone(), placement(EdgeMode::HostNetwork));
    let plan = plan(&zone, &placement, None, &served(&zone, &placement, &["x.dev.me"]));
    assert_eq!(plan.change(), Change::Nothing);
    assert!(plan.files().is_empty());
}

#[test]
fn names_come_and_go_live() {
    let (zone, placement) = (zone(), placement(EdgeMode::HostNetwork));
    let facts = served(&zone, &placement, &["x.dev.me"]);
    let more = Zone {
        hosts: names(&["cr.dev.me", "new.dev.me"]),
        ..zone.clone()
    };
    let by_user = plan(&more, &placement, None, &facts);
    assert_eq!(by_user.change(), Change::Names);
    assert_eq!(by_user.names, names(&["cr.dev.me", "new.dev.me", "x.dev.me"]));
    assert_eq!(by_user.hosts.len(), 1, "the file of new.dev.me");
    assert_eq!(by_user.stale.len(), 1, "the file of shop.dev.me");

    let found = names(&["y.dev.me", "elsewhere.org"]);
    let by_cluster = plan(&zone, &placement, Some(&found), &facts);
    assert_eq!(by_cluster.change(), Change::Names);
    let written: BTreeSet<HostName> = by_cluster.hosts.values().flat_map(|text| parse::hosts(text)).collect();
    assert_eq!(written, names(&["y.dev.me"]));
    assert_eq!(by_cluster.stale.len(), 1);
}

#[test]
fn a_change_of_address_moves_the_names_found_in_the_cluster_too() {
    let (zone, placement) = (zone(), placement(EdgeMode::HostNetwork));
    let facts = served(&zone, &placement, &["x.dev.me"]);
    let moved = Zone {
        address: [10, 0, 0, 7].into(),
        ..zone
    };
    let plan = plan(&moved, &placement, None, &facts);
    assert_eq!(plan.change(), Change::Restart);
    assert!(plan.hosts.values().any(|text| text.contains("10.0.0.7 x.dev.me")));
    assert_eq!(
        plan.files().len(),
        1 + 3,
        "the configuration, and the file of each name"
    );
}

#[test]
fn only_domain_address_and_mode_restart_it_and_the_port_or_image_makes_it_anew() {
    let (zone, placement) = (zone(), placement(EdgeMode::HostNetwork));
    let facts = served(&zone, &placement, &[]);
    let restarts = [
        Zone {
            domain: "other.me".parse().unwrap(),
            ..zone.clone()
        },
        Zone {
            wildcard: false,
            ..zone.clone()
        },
    ];
    for zone in restarts {
        assert_eq!(plan(&zone, &placement, None, &facts).change(), Change::Restart);
    }
    let other_port = Zone {
        port: port(5454),
        ..zone.clone()
    };
    assert_eq!(plan(&other_port, &placement, None, &facts).change(), Change::Replace);
    let newer = Placement {
        image: "dockurr/dnsmasq:2.92".into(),
        ..placement
    };
    let plan = plan(&zone, &newer, None, &facts);
    assert_eq!(plan.change(), Change::Replace);
    assert_eq!(plan.files().len(), 1 + 1 + 2, "a new container gets every file");
}

#[test]
fn a_stopped_one_is_started_and_a_missing_one_is_made() {
    let (zone, placement) = (zone(), placement(EdgeMode::Published));
    let mut facts = served(&zone, &placement, &[]);
    if let Some(container) = &mut facts.container {
        container.state = ContainerState::Exited { code: 0 };
    }
    assert_eq!(plan(&zone, &placement, None, &facts).change(), Change::Start);
    if let Some(container) = &mut facts.container {
        container.state = ContainerState::Restarting;
    }
    assert_eq!(plan(&zone, &placement, None, &facts).change(), Change::Start);
    let fresh = plan(&zone, &placement, None, &Facts::default());
    assert_eq!(fresh.change(), Change::Create);
    assert_eq!(fresh.files().len(), 1 + 1 + 2);
}
