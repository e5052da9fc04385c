//! Prints what dnsmasq, CoreDNS and a host's resolver are told about a loko.yaml, and changes nothing:
//! `cargo run -p loko-dns --example render -- loko.yaml 127.0.0.1`.
#![expect(clippy::print_stdout, reason = "an example that prints")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU16;

use loko_dns::render::{Listen, Names, conf, hosts};
use loko_dns::resolver::{self, Facts, Version};
use loko_dns::{Zone, corefile};

const SAMPLE: &str = "
name: dev
network: {domain: dev.me}
workloads:
  user:
    - {name: shop, image: ghcr.io/me/shop:1.2, http: {port: 8080}}
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let text = arguments
        .next()
        .map_or_else(|| Ok(SAMPLE.to_owned()), fs_err::read_to_string)?;
    let address: IpAddr = arguments.next().unwrap_or_else(|| "127.0.0.1".to_owned()).parse()?;
    let loaded = loko_config::load(&text, &loko_config::LoadOptions::default())?;
    let port = NonZeroU16::new(loko_dns::port::FIRST).ok_or("no port")?;
    let zone = Zone::of(&loaded.environment, address, port, BTreeSet::new());

    println!("== dnsmasq.conf\n{}", conf(&zone, Listen::Address));
    let names = Names {
        zone: zone.hosts.clone(),
        ..Names::default()
    };
    for (file, text) in hosts(zone.address, &names) {
        println!("== hosts.d/{file}\n{text}");
    }
    let traefik = IpAddr::from([10, 96, 0, 20]);
    println!(
        "== Corefile\n{}",
        corefile(&zone.domain, zone.wildcard, &zone.hosts, traefik)
    );

    // A host as Debian 13 is with systemd-resolved.
    let facts = Facts {
        os: "linux".to_owned(),
        resolved: Some(Version { major: 257, minor: 8 }),
        resolv_conf: Some("nameserver 127.0.0.53\n".to_owned()),
        ..Facts::default()
    };
    let plan = resolver::set(&zone, &facts)?;
    println!("== what a host with systemd 257 would do as root");
    println!("{}", resolver::action::script(&plan.actions));
    Ok(())
}
