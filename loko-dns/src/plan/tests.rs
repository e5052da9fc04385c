use loko_engine::{ContainerState, EdgeMode, labels};

use super::*;
use crate::samples::{names, placement, port, zone};

fn known(zone: &BTreeSet<HostName>, cluster: &[&str]) -> Names {
    Names {
        zone: zone.clone(),
        cluster: names(cluster),
    }
}

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
        hosts: render::hosts(zone.address, &known(&zone.hosts, cluster))
            .into_iter()
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
fn a_name_of_both_stays_where_one_lets_go_of_it() {
    let (zone, placement) = (zone(), placement(EdgeMode::HostNetwork));
    let facts = served(&zone, &placement, &["shop.dev.me"]);
    assert_eq!(facts.cluster_names(), names(&["shop.dev.me"]));
    let less = Zone {
        hosts: names(&["cr.dev.me"]),
        ..zone.clone()
    };
    for plan in [
        plan(&less, &placement, None, &facts),
        plan(&zone, &placement, Some(&BTreeSet::new()), &facts),
    ] {
        assert_eq!(plan.change(), Change::Names);
        assert_eq!(plan.names, zone.hosts);
        assert_eq!(
            (plan.hosts.len(), plan.stale.len()),
            (1, 0),
            "one file, and only its comment"
        );
    }
}

#[test]
fn files_of_an_older_layout_are_taken_over_by_a_restart() {
    let (zone, placement) = (zone(), placement(EdgeMode::HostNetwork));
    for older in [["zone", "cluster"], ["zone-0a", "cluster-ff"]] {
        let mut facts = served(&zone, &placement, &[]);
        facts.hosts = BTreeMap::from([
            (
                older[0].to_owned(),
                "127.0.0.1 cr.dev.me\n127.0.0.1 shop.dev.me\n".to_owned(),
            ),
            (older[1].to_owned(), "127.0.0.1 x.dev.me\n".to_owned()),
        ]);
        let plan = plan(&zone, &placement, None, &facts);
        assert_eq!(plan.change(), Change::Restart);
        assert_eq!(plan.names, names(&["cr.dev.me", "shop.dev.me", "x.dev.me"]));
        let files = plan.files();
        let text = |file: &str| {
            let path = format!("{HOSTS_DIRECTORY}/{file}");
            files.iter().find(|(at, _)| *at == path).map(|(_, text)| *text)
        };
        assert_eq!(older.map(text), [Some(""), Some("")], "no name is left in them");
        let written: String = plan.hosts.values().map(String::as_str).collect();
        assert_eq!(parse::names(&written), known(&zone.hosts, &["x.dev.me"]));
    }
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
