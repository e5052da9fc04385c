//! resolv.conf and nsswitch.conf are anybody's: they are read without a panic, and what is read of one is stable.

use loko_dns::resolver::resolv_conf::{ResolvConf, host_sources};

/// Reads `bytes` as both; what was understood of resolv.conf is written down and read again.
pub fn check(bytes: &[u8]) {
    use std::fmt::Write as _;
    let text = String::from_utf8_lossy(bytes);
    for source in host_sources(&text) {
        assert!(!source.is_empty() && !source.contains(['[', ' ', '\n']));
    }
    let conf = ResolvConf::parse(&text);
    assert!(!(conf.asks_resolved() && conf.asks_this_host()));
    let mut again = String::new();
    for server in &conf.nameservers {
        let _ = writeln!(again, "nameserver {server}");
    }
    if !conf.search.is_empty() {
        let _ = writeln!(again, "search {}", conf.search.join(" "));
    }
    if !conf.options.is_empty() {
        let _ = writeln!(again, "options {}", conf.options.join(" "));
    }
    let read = ResolvConf::parse(&again);
    assert_eq!(read.nameservers, conf.nameservers);
    assert_eq!((read.search, read.options), (conf.search, conf.options));
}
