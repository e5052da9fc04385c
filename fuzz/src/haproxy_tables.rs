//! The kernel's tables of sockets: what was read is found as a conflict with itself, and with nothing else's port.

use std::collections::BTreeSet;

use loko_config::model::Protocol;
use loko_haproxy::portcheck::{Facts, Wanted, conflicts, container_of_cgroup, parse_table, parse_users};

/// Reads `bytes` as `/proc/net/tcp`, and as the other files that are read beside it.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(id) = container_of_cgroup(text) {
        assert_eq!(id.len(), 64);
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let facts = Facts {
            sockets: parse_table(text, protocol),
            processes: Vec::new(),
            users: parse_users(text),
        };
        for socket in &facts.sockets {
            let wanted = Wanted {
                address: socket.address,
                protocol,
            };
            let found = conflicts(&[wanted], &facts, &[], &BTreeSet::new());
            assert!(!found.is_empty());
            assert!(
                found
                    .iter()
                    .all(|conflict| conflict.bound.port() == socket.address.port())
            );
        }
    }
}
