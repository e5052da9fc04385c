//! An entry of the catalogue that is taken is rendered, and no secret comes anywhere but by reference.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use loko_cluster::catalogue::Catalogue;
use loko_cluster::secrets::Secrets;
use loko_cluster::workloads::{self, WorkloadContext};
use loko_config::{Facts, LoadOptions, load, slots};

/// Reads `bytes` as an entry, and runs it in an environment that holds nothing else.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut catalogue = Catalogue::default();
    if catalogue.add("entry", text).is_err() {
        return;
    }
    let options = LoadOptions {
        catalogue: Some(catalogue.ports()),
        ..LoadOptions::default()
    };
    let Ok(loaded) = load("name: dev\nworkloads: {system: [{name: entry}]}\n", &options) else {
        return;
    };
    let Ok(resolution) = catalogue.resolve(&loaded.environment) else {
        return;
    };
    let mut secrets = Secrets::default();
    for (workload, recipes) in resolution.recipes() {
        // An htpasswd takes 50 ms by design.
        let quick = recipes.iter().filter(|(_, recipe)| recipe.source().is_none());
        let quick: BTreeMap<_, _> = quick.map(|(field, recipe)| (field.clone(), recipe.clone())).collect();
        let made = secrets.ensure(workload, &quick, &mut |buffer| buffer.fill(9));
        assert_eq!(made.map(|made| made.len()), Ok(quick.len()));
    }
    for service in resolution.services.values() {
        let hidden = service.connections("entry", &secrets, false);
        assert_eq!(hidden.len(), service.connections("entry", &secrets, true).len());
    }
    let facts = Facts {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        environment_variables: BTreeMap::new(),
    };
    let Ok(environment) = resolution.environment.expand(&facts) else {
        return;
    };
    let Ok(slots) = slots::assign(&BTreeMap::new(), &slots::wanted(&environment)) else {
        return;
    };
    let _ = workloads::manifests(&environment, WorkloadContext { slots: &slots });
}
