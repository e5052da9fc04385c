//! Prints all that is made for a registry that mirrors Docker Hub and GitHub's registry: its configuration, the nodes' files, and
//! the names of its objects.
#![expect(clippy::print_stdout, reason = "it prints")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use loko_config::model::{MirrorSource, RegistryEngine};
use loko_registry::{Identity, Place, RegistrySpec, Source, hosts, manifests, zot};

fn main() {
    let spec = RegistrySpec {
        engine: RegistryEngine::Zot,
        image: "ghcr.io/project-zot/zot".to_owned(),
        version: "v2.1.20".to_owned(),
        host: "cr.dev.me".to_owned(),
        https_port: 443,
        sources: [MirrorSource::DockerHub, MirrorSource::Ghcr]
            .map(Source::known)
            .to_vec(),
        scanning: None,
        credentials: BTreeMap::new(),
    };
    println!("config.json:\n{}", zot::Config::of(&spec).render());

    let address = Ipv4Addr::new(10, 96, 0, 50).into();
    for (host, file) in hosts::wanted(&spec, address) {
        println!("{}:\n{}\n", hosts::path(&host), file.render());
    }

    let place = Place {
        namespace: "loko-system".to_owned(),
        cluster_address: address,
        data_path: "/var/local/loko-registry".to_owned(),
        node_selector: BTreeMap::new(),
        ingress_class: None,
    };
    let identity = Identity {
        certificate: String::new(),
        key: String::new(),
        authority: String::new(),
    };
    for object in manifests::manifests(&spec, &place, &identity) {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
        };
        println!(
            "{} {}/{}",
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name")
        );
    }
}
