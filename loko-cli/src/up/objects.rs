//! The steps that apply objects: the pod network and DNS first, then components and workloads, metrics-server last.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::Ipv4Net;
use loko_cluster::plan::{self, LiveObject, ObjectPlan};
use loko_cluster::secrets::Secrets;
use loko_cluster::wanted::{self, WantedInput};
use loko_cluster::{ClusterError, Manifest, ObjectKey, addresses, components};
use loko_config::names::HostName;
use loko_config::slots::{PortKey, Slot};
use loko_dns::zone::Zone;
use loko_engine::subnet::Division;

use super::nodes::{Api, Nodes};
use super::{Stepped, Up};
use crate::certs::Certificates;
use crate::context::Platform;
use crate::error::CliError;
use crate::progress::{Line, Outcome};

/// Parts that are applied as soon as the API answers, before everything else.
const FOUNDATION: [&str; 3] = ["cni", "storage", "coredns"];
/// CoreDNS' image where a node image says nothing of it.
pub(crate) const COREDNS_IMAGE: &str = "registry.k8s.io/coredns/coredns:v1.14.2";

/// Everything that the cluster's objects depend on, owned.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    certificates: Arc<Certificates>,
    network: Ipv4Net,
    corefile: String,
    coredns_image: String,
}

impl Inputs {
    pub(crate) fn new(
        platform: &Platform,
        certificates: Arc<Certificates>,
        network: Ipv4Net,
        coredns_image: String,
        names: BTreeSet<HostName>,
    ) -> Result<Self, CliError> {
        let environment = &platform.environment;
        let traefik = addresses::of(environment.cluster.service_subnet)
            .map_err(ClusterError::from)?
            .traefik;
        let zone = Zone::of(environment, platform.address, NonZeroU16::MIN, names);
        let corefile = loko_dns::corefile::corefile(&zone.domain, zone.wildcard, &zone.hosts, traefik.into());
        Ok(Self {
            certificates,
            network,
            corefile,
            coredns_image,
        })
    }

    pub(crate) fn wanted<'a>(&'a self, platform: &Platform, slots: &'a BTreeMap<PortKey, Slot>) -> WantedInput<'a> {
        WantedInput {
            address: platform.address,
            leaf: &self.certificates.leaf,
            authority_pem: &self.certificates.authority_pem,
            registry_leaf: self.certificates.registry.as_ref(),
            network: self.network,
            slots,
            corefile: &self.corefile,
            coredns_image: &self.coredns_image,
        }
    }
}

impl Up<'_> {
    pub(super) async fn foundation(
        self,
        (api, live): Api,
        certificates: Arc<Certificates>,
        network: Division,
    ) -> Stepped<(Arc<Inputs>, Vec<ObjectKey>)> {
        let Self {
            platform,
            observed,
            first,
            ..
        } = self;
        let held = platform.cluster.images_in(first).await?;
        let coredns = held.into_iter().find(|name| name.contains("/coredns/coredns:"));
        let coredns = coredns.unwrap_or_else(|| COREDNS_IMAGE.to_owned());
        // Names of objects that somebody applied; with a wildcard they resolve without being known.
        let names = if platform.environment.network.wildcard {
            BTreeSet::new()
        } else {
            loko_dns::driver::facts(&platform.engine, &platform.environment.name)
                .await?
                .cluster_names()
        };
        let inputs = Inputs::new(platform, certificates, network.subnet, coredns, names)?;
        let mut manifests = platform.cluster.bundled_manifests(first).await?;
        manifests.extend(wanted::foundation(
            &platform.environment,
            &inputs.wanted(platform, &observed.slots),
        )?);
        let watched = watched(&manifests);
        let plan = plan::objects(manifests, &parts(&live, |part| FOUNDATION.contains(&part)));
        api.carry_out(&plan).await?;
        Ok(((Arc::new(inputs), watched), applied(&plan)))
    }

    pub(super) async fn apply(
        self,
        (api, live): Api,
        inputs: Arc<Inputs>,
        secrets: Arc<Secrets>,
    ) -> Stepped<Vec<ObjectKey>> {
        let manifests = wanted::platform(
            &self.platform.environment,
            &inputs.wanted(self.platform, &self.observed.slots),
            &secrets,
        )?;
        let watched = watched(&manifests);
        let late = components::metrics_server::PART;
        let plan = plan::objects(
            manifests,
            &parts(&live, |part| !FOUNDATION.contains(&part) && part != late),
        );
        api.carry_out(&plan).await?;
        Ok((watched, applied(&plan)))
    }

    /// metrics-server comes last, and is not waited for: nothing else needs it, and it takes work from what is waited for.
    pub(super) async fn metrics(self, (api, there): Api, nodes: Nodes, line: Line) -> Stepped<()> {
        let environment = &self.platform.environment;
        let manifests = wanted::metrics(environment)?;
        let plan = plan::objects(
            manifests,
            &parts(&there, |part| part == components::metrics_server::PART),
        );
        if environment.components.metrics_server.enabled {
            self.load(&nodes, &[environment.components.metrics_server.reference()], &line)
                .await?;
        }
        api.carry_out(&plan).await?;
        Ok(((), applied(&plan)))
    }
}

fn applied(plan: &ObjectPlan) -> Outcome {
    let changes: Vec<String> = plan
        .changes()
        .map(|change| format!("{} {}", change.verb(), change.key()))
        .collect();
    match changes.as_slice() {
        [] => Outcome::Unchanged,
        few if few.len() <= 4 => Outcome::Changed(few.join(", ")),
        many => Outcome::Changed(format!("{} objects", many.len())),
    }
}

/// Objects that take time to become ready.
fn watched(manifests: &[Manifest]) -> Vec<ObjectKey> {
    let slow = |key: &ObjectKey| loko_cluster::readiness::WATCHED.contains(&key.kind.as_str());
    manifests.iter().map(Manifest::key).filter(slow).collect()
}

/// Those of `live` whose part is of interest.
fn parts(
    live: &BTreeMap<ObjectKey, LiveObject>,
    of_interest: impl Fn(&str) -> bool,
) -> BTreeMap<ObjectKey, LiveObject> {
    live.iter()
        .filter(|(_, object)| of_interest(&object.part))
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect()
}
