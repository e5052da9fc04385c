use insta::assert_yaml_snapshot;

use super::*;
use crate::samples::{placement, port, zone};

#[test]
fn on_the_hosts_network() {
    assert_yaml_snapshot!(spec(&zone(), &placement(EdgeMode::HostNetwork)));
}

#[test]
fn published() {
    let published = spec(&zone(), &placement(EdgeMode::Published));
    assert_yaml_snapshot!((published.user, published.network, published.ports, published.sysctls));
}

#[test]
fn only_a_low_port_on_the_hosts_network_needs_root_and_one_capability() {
    let low = Zone {
        port: port(53),
        ..zone()
    };
    let host = spec(&low, &placement(EdgeMode::HostNetwork));
    assert_eq!(host.user.as_deref(), Some("0:0"));
    assert_eq!(host.cap_add, ["NET_BIND_SERVICE"]);
    let published = spec(&low, &placement(EdgeMode::Published));
    assert_eq!(published.user.as_deref(), Some(NOBODY));
    assert!(published.cap_add.is_empty());
}
