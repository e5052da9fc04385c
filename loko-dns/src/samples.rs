//! Values that tests of several modules share.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use loko_config::names::HostName;
use loko_engine::EdgeMode;
use proptest::prelude::*;

use crate::container::Placement;
use crate::zone::Zone;

pub(crate) fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

pub(crate) fn names(list: &[&str]) -> BTreeSet<HostName> {
    list.iter().map(|name| name.parse().unwrap()).collect()
}

pub(crate) fn zone() -> Zone {
    Zone {
        environment: "dev".parse().unwrap(),
        domain: "dev.me".parse().unwrap(),
        address: [127, 0, 0, 1].into(),
        wildcard: true,
        hosts: names(&["cr.dev.me", "shop.dev.me"]),
        port: port(5453),
    }
}

pub(crate) fn placement(mode: EdgeMode) -> Placement {
    Placement {
        image: "dockurr/dnsmasq:2.91".into(),
        mode,
        network: "loko".into(),
    }
}

pub(crate) fn any_zone() -> impl Strategy<Value = Zone> {
    let label = "[a-z0-9]([a-z0-9-]{0,12}[a-z0-9])?";
    (
        label,
        label,
        label,
        any::<std::net::IpAddr>(),
        any::<bool>(),
        proptest::collection::btree_set(label, 0..6),
        1..=u16::MAX,
    )
        .prop_map(|(environment, first, second, address, wildcard, hosts, number)| {
            let domain = format!("{first}.{second}");
            Zone {
                environment: environment.parse().unwrap(),
                hosts: hosts
                    .iter()
                    .map(|host| format!("{host}.{domain}").parse().unwrap())
                    .collect(),
                domain: domain.parse().unwrap(),
                address,
                wildcard,
                port: port(number),
            }
        })
}
