//! HAProxy's statistics: every line is a row, and rows are sorted by what they are of without one being lost.

use loko_haproxy::stats::{Statistics, parse};

/// Reads `bytes` as the CSV of HAProxy.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(rows) = parse(text) else { return };
    let lines = text.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
    assert_eq!(rows.len(), lines);
    let statistics = Statistics::of(&rows);
    let nodes: usize = statistics.backends.values().map(|backend| backend.nodes.len()).sum();
    assert!(statistics.frontends.len() + nodes <= rows.len());
    for backend in statistics.backends.values() {
        assert!(backend.up() <= backend.nodes.len());
    }
}
