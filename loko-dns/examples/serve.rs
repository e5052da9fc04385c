//! Serves the names of a loko.yaml from a container: `cargo run -p loko-dns --example serve -- loko.yaml 5453`, and takes it
//! away: `… -- loko.yaml remove`.
#![expect(clippy::print_stdout, reason = "an example that prints")]

use std::collections::BTreeSet;

use loko_config::model::AutoPort;
use loko_dns::container::Placement;
use loko_dns::{Zone, driver};
use loko_engine::{EdgeMode, Engine, endpoint};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "serve LOKO_YAML (PORT | remove)";
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(what)) = (arguments.next(), arguments.next()) else {
        return Err(usage.into());
    };
    let loaded = loko_config::load(&fs_err::read_to_string(file)?, &loko_config::LoadOptions::default())?;
    let environment = loaded.environment;
    let engine = Engine::connect(&endpoint::resolve(&std::env::vars().collect(), None)).await?;
    if what == "remove" {
        driver::remove(&engine, &environment.name).await?;
        return Ok(());
    }
    let address = [127, 0, 0, 1].into();
    let wanted = AutoPort::Fixed(what.parse()?);
    let port = driver::choose_port(&engine, &environment.name, address, wanted).await?;
    let zone = Zone::of(&environment, address, port, BTreeSet::new());
    let placement = Placement {
        image: environment.components.dnsmasq.reference(),
        mode: EdgeMode::HostNetwork,
        network: String::new(),
    };
    let report = driver::ensure(&engine, &zone, &placement).await?;
    println!("{} names at {}: {:?}", report.names, zone.server(), report.change);
    Ok(())
}
