use insta::assert_snapshot;

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
fn hosts_files_hold_one_name_a_line() {
    assert_snapshot!(hosts([10, 0, 0, 7].into(), &names(&["shop.dev.me", "cr.dev.me"])));
}

#[test]
fn dnsmasq_sees_no_temporary_file() {
    for file in HostsFile::ALL {
        let temporary = file.temporary_path();
        let name = temporary.rsplit('/').next().unwrap();
        assert!(name.starts_with('.'), "{name}");
        assert_eq!(temporary.rsplit_once('/').unwrap().0, HOSTS_DIRECTORY);
    }
}
