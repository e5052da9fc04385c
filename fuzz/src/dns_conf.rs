//! What dnsmasq is told of a zone is read back as that zone, and any other file is read or refused.

use std::net::IpAddr;

use loko_dns::render::{Names, conf, hosts, is_known};
use loko_dns::zone::is_within;
use loko_dns::{Zone, parse};

/// Reads `bytes` as a dnsmasq.conf; a zone in it is rendered and read again. Then as a hosts file.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((zone, listen)) = parse::conf(text) {
        let again = conf(&zone, listen);
        assert_eq!(parse::conf(&again), Ok((zone.clone(), listen)));
        names(&zone, text);
    }
    for line in text.lines() {
        let _ = parse::line(line);
    }
}

/// Names of a hosts file, given to the zone, survive its files.
fn names(zone: &Zone, text: &str) {
    let names = parse::names(text);
    let address: IpAddr = zone.address;
    let files = hosts(address, &names);
    let mut read = Names::default();
    for (file, text) in &files {
        assert!(is_known(file));
        for line in text.lines() {
            assert_eq!(parse::hosts_line(line).map(|(found, _)| found), Some(address));
        }
        read.extend(parse::names(text));
    }
    assert_eq!(read, names);
    for name in &names.all() {
        assert_eq!(
            zone.holds(name.as_str()),
            is_within(name.as_str(), zone.domain.as_str())
        );
    }
}
