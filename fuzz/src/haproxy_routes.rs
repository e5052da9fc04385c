//! Routes of environments, as the volume holds them: what serves them serves each its own.

use std::collections::BTreeMap;

use loko_engine::EdgeMode;
use loko_haproxy::configuration::{STATISTICS_PORT, decide};
use loko_haproxy::routes::{Routes, conflicts};
use loko_haproxy::{Limits, Settings, parse, render};

/// Reads `bytes` as files of routes, one after each `---`; those that exclude none before them are served together.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut all = BTreeMap::new();
    for document in text.split("\n---\n") {
        let Ok(routes) = serde_yaml::from_str::<Routes>(document) else {
            continue;
        };
        if conflicts(&all, &routes).is_empty() {
            all.insert(routes.environment.clone(), routes);
        }
    }
    for mode in [EdgeMode::HostNetwork, EdgeMode::Published] {
        let settings = Settings {
            limits: Limits::new(20_000, 2),
            prometheus: true,
            statistics: STATISTICS_PORT,
            mode,
            published: Vec::new(),
        };
        let configuration = decide(&all, &settings);
        for backend in &configuration.backends {
            assert_eq!(backend.nodes, all[&backend.id.environment].nodes);
        }
        for frontend in &configuration.frontends {
            for backend in frontend.rules.iter().map(|rule| &rule.backend).chain(&frontend.default) {
                assert_eq!(all[&backend.environment].address, frontend.listen.ip());
            }
        }
        let read = parse::parse(&render::render(&configuration).text);
        // Of a backend without nodes the file does not say the port.
        if all.values().all(|routes| !routes.nodes.is_empty()) {
            assert_eq!(read, Ok(configuration));
        }
    }
}
