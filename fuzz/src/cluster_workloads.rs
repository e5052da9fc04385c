//! Workloads of any loko.yaml that is accepted are objects with a name, in the workloads' namespace, of their part; and
//! their YAML reads as the same objects.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use loko_cluster::Manifest;
use loko_cluster::manifest::PART;
use loko_cluster::workloads::{self, WorkloadContext};
use loko_config::{Facts, LoadOptions, load, slots, to_yaml};

/// Reads `bytes` as a loko.yaml.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let facts = Facts {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        environment_variables: BTreeMap::new(),
    };
    let Ok(loaded) = load(text, &LoadOptions::default()) else {
        return;
    };
    let Ok(environment) = loaded.environment.expand(&facts) else {
        return;
    };
    let Ok(slots) = slots::assign(&BTreeMap::new(), &slots::wanted(&environment)) else {
        return;
    };
    let exposed = workloads::exposed_ports(&environment, &slots);
    assert_eq!(
        exposed.len(),
        environment
            .enabled_workloads()
            .map(|workload| workload.ports.len())
            .sum::<usize>()
    );
    let Ok(parts) = workloads::manifests(&environment, WorkloadContext { slots: &slots }) else {
        return;
    };
    assert_eq!(parts.len(), environment.enabled_workloads().count());
    for (part, manifests) in parts {
        assert!(part.len() <= 63, "a label's value: {part}");
        for manifest in manifests {
            let key = manifest.key();
            assert_eq!(key.namespace.as_deref(), Some(environment.workloads.namespace.as_str()));
            assert_eq!(manifest.value()["metadata"]["labels"][PART], part.as_str());
            let read = Manifest::parse_all(&to_yaml(manifest.value()));
            assert_eq!(read, Ok(vec![manifest]), "{key}");
        }
    }
}
