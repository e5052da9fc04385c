use insta::{assert_snapshot, assert_yaml_snapshot};

use super::*;
use crate::samples::{names, zone};

#[test]
fn wildcard_on_the_hosts_network() {
    assert_snapshot!(conf(&zone(), Listen::Address));
}

#[test]
fn exact_and_published_with_ipv6() {
    let zone = Zone {
        wildcard: false,
        address: "fd00::1".parse().unwrap(),
        ..zone()
    };
    assert_snapshot!(conf(&zone, Listen::Everywhere));
}

#[test]
fn names_are_spread_over_files_by_their_hash() {
    let names = names(&["shop.dev.me", "cr.dev.me", "a.b.dev.me"]);
    assert_yaml_snapshot!(hosts(Source::Cluster, [10, 0, 0, 7].into(), &names));
    assert!(hosts(Source::Zone, [10, 0, 0, 7].into(), &BTreeSet::new()).is_empty());
}

#[test]
fn one_name_more_changes_one_file() {
    let many: BTreeSet<HostName> = (0..1000).map(|n| format!("n{n}.dev.me").parse().unwrap()).collect();
    let mut more = many.clone();
    more.insert("new.dev.me".parse().unwrap());
    let (before, after) = [many, more]
        .map(|names| hosts(Source::Zone, [10, 0, 0, 7].into(), &names))
        .into();
    let changed = after
        .iter()
        .filter(|(file, text)| before.get(*file) != Some(*text))
        .count();
    assert_eq!(changed, 1);
    assert!(after.len() > 200 && after.values().all(|text| text.lines().count() < 20));
}

#[test]
fn dnsmasq_sees_no_temporary_file() {
    for source in Source::ALL {
        for file in hosts(source, [10, 0, 0, 7].into(), &names(&["shop.dev.me"])).keys() {
            assert!(temporary(file).starts_with('.'));
            assert!(source.owns(file) && !source.owns(&temporary(file)) && !source.owns(README.0));
        }
    }
}
