//! Renders haproxy.cfg from routes made by hand: `cargo run -p loko-haproxy --example render`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::collections::BTreeMap;

use loko_engine::EdgeMode;
use loko_haproxy::configuration::{STATISTICS_PORT, decide};
use loko_haproxy::{Limits, Routes, Settings, parse, render, routes};

const DEV: &str = "
environment: dev
address: 127.0.0.1
http: 80
https: 443
domain: dev.me
hosts: [www.example.org]
nodes: [{name: loko-dev-worker, address: 172.30.128.3}, {name: loko-dev-worker2, address: 172.30.128.4}]
tcp: [{workload: postgres, listen: 5432, node-port: 30001}]
udp: []
";
const SHOP: &str = "
environment: shop
address: 127.0.0.1
http: 80
https: 443
domain: shop.dev.me
hosts: []
nodes: [{name: loko-shop-control-plane, address: 172.30.128.5}]
tcp: [{workload: postgres, listen: 5432, node-port: 30001}]
udp: []
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dev: Routes = serde_yaml::from_str(DEV)?;
    let mut shop: Routes = serde_yaml::from_str(SHOP)?;
    let mut all = BTreeMap::from([(dev.environment.clone(), dev)]);

    // Both want 5432 of 127.0.0.1.
    for conflict in routes::conflicts(&all, &shop) {
        println!("# {conflict}");
    }
    // An address of its own solves it; 80 and 443 would have been shared.
    shop.address = "127.0.0.2".parse()?;
    assert!(routes::conflicts(&all, &shop).is_empty());
    all.insert(shop.environment.clone(), shop);

    let settings = Settings {
        limits: Limits::new(20_000, 2),
        prometheus: true,
        statistics: STATISTICS_PORT,
        mode: EdgeMode::HostNetwork,
        published: Vec::new(),
    };
    let configuration = decide(&all, &settings);
    let rendered = render::render(&configuration);
    print!("{}", rendered.text);
    assert_eq!(parse::parse(&rendered.text)?, configuration);
    Ok(())
}
