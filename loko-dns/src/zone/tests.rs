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
