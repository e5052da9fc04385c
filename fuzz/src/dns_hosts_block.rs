//! Our block in somebody's hosts file: set twice is set once, and what was there comes back byte by byte.

use std::num::NonZeroU16;

use loko_dns::resolver::block::{remove, set};
use loko_dns::{Zone, parse};

/// `bytes` are a hosts file, and its names those of the zone.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (Ok(environment), Ok(domain)) = ("dev".parse(), "dev.me".parse()) else {
        return;
    };
    let zone = Zone {
        environment,
        domain,
        address: [127, 0, 0, 1].into(),
        wildcard: false,
        hosts: parse::hosts(text),
        port: NonZeroU16::MIN,
    };
    let clean = remove(text, &zone.environment);
    let with = set(&clean, &zone);
    assert_eq!(remove(&with, &zone.environment), clean);
    assert_eq!(set(&with, &zone), with);
    // Whatever was there before, also half a block.
    let once = set(text, &zone);
    assert_eq!(set(&once, &zone), once);
    if !zone.hosts.is_empty() {
        assert!(parse::hosts(&once).is_superset(&zone.hosts));
    }
}
