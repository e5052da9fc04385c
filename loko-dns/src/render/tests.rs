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

fn known(zone: BTreeSet<HostName>, cluster: BTreeSet<HostName>) -> Names {
    Names { zone, cluster }
}

#[test]
fn names_are_spread_over_files_by_their_hash() {
    let zone = names(&["shop.dev.me", "cr.dev.me"]);
    let cluster = names(&["cr.dev.me", "a.b.dev.me"]);
    assert_yaml_snapshot!(hosts([10, 0, 0, 7].into(), &known(zone, cluster)));
    assert!(hosts([10, 0, 0, 7].into(), &Names::default()).is_empty());
}

#[test]
fn a_name_is_in_the_same_file_whoever_knows_it() {
    let many: BTreeSet<HostName> = (0..200).map(|n| format!("n{n}.dev.me").parse().unwrap()).collect();
    let files = [
        known(many.clone(), BTreeSet::new()),
        known(BTreeSet::new(), many.clone()),
        known(many.clone(), many),
    ]
    .map(|names| {
        let files = hosts([10, 0, 0, 7].into(), &names);
        let names = files.into_iter().map(|(file, text)| (file, crate::parse::hosts(&text)));
        names.collect::<BTreeMap<_, _>>()
    });
    assert!(files[0] == files[1] && files[0] == files[2]);
    assert_eq!(files[0].values().map(BTreeSet::len).sum::<usize>(), 200);
}

#[test]
fn one_name_more_changes_one_file() {
    let many: BTreeSet<HostName> = (0..1000).map(|n| format!("n{n}.dev.me").parse().unwrap()).collect();
    let mut more = many.clone();
    more.insert("new.dev.me".parse().unwrap());
    let (before, after) = [many, more]
        .map(|names| hosts([10, 0, 0, 7].into(), &known(names, BTreeSet::new())))
        .into();
    let changed = after
        .iter()
        .filter(|(file, text)| before.get(*file) != Some(*text))
        .count();
    assert_eq!(changed, 1);
    assert_eq!(after.len(), usize::from(FILES));
    assert!(after.values().all(|text| text.lines().count() < 40));
}

#[test]
fn dnsmasq_sees_no_temporary_file() {
    for file in hosts([10, 0, 0, 7].into(), &known(names(&["shop.dev.me"]), BTreeSet::new())).keys() {
        assert!(temporary(file).starts_with('.'));
        assert!(is_known(file) && !is_known(&temporary(file)) && is_known(README.0));
    }
}
