//! Specifications to test with.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use loko_config::model::{MirrorSource, RegistryEngine};
use loko_registry::{Credentials, Identity, Place, RegistrySpec, Source};

pub(crate) const ALL: [MirrorSource; 5] = [
    MirrorSource::DockerHub,
    MirrorSource::Quay,
    MirrorSource::Ghcr,
    MirrorSource::K8sRegistry,
    MirrorSource::Mcr,
];

pub(crate) fn spec(engine: RegistryEngine) -> RegistrySpec {
    let (image, version) = match engine {
        RegistryEngine::Zot => ("ghcr.io/project-zot/zot", "v2.1.20"),
        RegistryEngine::Distribution => ("registry", "3"),
    };
    RegistrySpec {
        engine,
        image: image.to_owned(),
        version: version.to_owned(),
        host: "cr.dev.me".to_owned(),
        https_port: 443,
        sources: Vec::new(),
        scanning: None,
        credentials: BTreeMap::new(),
    }
}

/// The same with every known source, a name and password for one, and scanning.
pub(crate) fn full(engine: RegistryEngine) -> RegistrySpec {
    RegistrySpec {
        https_port: 8443,
        sources: ALL.map(Source::known).to_vec(),
        scanning: Some("24h".to_owned()),
        credentials: BTreeMap::from([(
            "ghcr.io".to_owned(),
            Credentials {
                username: "me".to_owned(),
                password: "secret".to_owned(),
            },
        )]),
        ..spec(engine)
    }
}

pub(crate) fn place() -> Place {
    Place {
        namespace: "loko-system".to_owned(),
        cluster_address: Ipv4Addr::new(10, 96, 0, 50).into(),
        data_path: "/var/local/loko-registry".to_owned(),
        node_selector: BTreeMap::from([("kubernetes.io/hostname".to_owned(), "loko-dev-control-plane".to_owned())]),
        ingress_class: Some("traefik".to_owned()),
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        certificate: "certificate".to_owned(),
        key: "key".to_owned(),
        authority: "authority".to_owned(),
    }
}
