//! Prints every object that a loko.yaml wants in its cluster, but for the registry's, as one YAML stream:
//!
//! ```text
//! cargo run -p loko-cluster --no-default-features --example manifests -- loko.yaml | kubectl apply --server-side -f -
//! ```
//!
//! The certificate authority is made for this one run; its certificate is in the config map `loko-ca`.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use loko_cluster::catalogue::Catalogue;
use loko_cluster::certificates::{Authority, Names};
use loko_cluster::secrets::Secrets;
use loko_cluster::wanted::{self, WantedInput};
use loko_config::{Facts, LoadOptions, load, slots};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("the path of a loko.yaml is wanted")?;
    let text = std::io::read_to_string(std::fs::File::open(&path)?)?;
    let catalogue = Catalogue::embedded()?;
    let options = LoadOptions {
        catalogue: Some(catalogue.ports()),
        ..LoadOptions::default()
    };
    let resolution = catalogue.resolve(&load(&text, &options)?.environment)?;
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let environment = resolution.environment.expand(&Facts {
        ip: address,
        environment_variables: BTreeMap::new(),
    })?;

    // Not secret at all, and so the same in each run.
    let mut secrets = Secrets::default();
    for (workload, recipes) in resolution.recipes() {
        secrets.ensure(workload, recipes, &mut |buffer| buffer.fill(7))?;
    }
    let now = Timestamp::now();
    let authority = Authority::create("example@localhost", now)?;
    let names = Names::of_environment(&environment);
    let leaf = authority.issue(&names, now)?;
    let slots = slots::assign(&BTreeMap::new(), &slots::wanted(&environment))?;

    let input = WantedInput {
        address,
        leaf: &leaf,
        authority_pem: authority.certificate_pem(),
        registry_leaf: None,
        network: "172.16.0.0/12".parse()?,
        slots: &slots,
        corefile: COREFILE,
        coredns_image: "registry.k8s.io/coredns/coredns:v1.14.2",
    };
    let mut objects = wanted::foundation(&environment, &input)?;
    objects.extend(wanted::platform(&environment, &input, &secrets)?);
    objects.extend(wanted::metrics(&environment)?);
    for object in objects {
        print!("---\n{}", loko_config::to_yaml(object.value()));
    }
    Ok(())
}

/// A plain one; loko-dns renders the one that knows the domain.
const COREFILE: &str = ".:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    forward . /etc/resolv.conf
    cache 30
    reload
    loadbalance
}
";
