//! The steps that apply objects: the pod network and DNS first, then components and workloads, metrics-server last.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use loko_cluster::catalogue::Rotation;
use loko_cluster::driver::KubeApi;
use loko_cluster::plan::{self, LiveObject, ObjectChange, ObjectPlan};
use loko_cluster::secrets::{Secrets, object_name};
use loko_cluster::wanted::{self, WantedInput};
use loko_cluster::{ClusterError, Manifest, ObjectKey, addresses, components, workloads};
use loko_config::Environment;
use loko_config::model::Workload;
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

/// CoreDNS' configuration; `names` are those that were found in the cluster.
pub(crate) fn corefile(platform: &Platform, names: BTreeSet<HostName>) -> Result<String, CliError> {
    let environment = &platform.environment;
    let traefik = addresses::of(environment.cluster.service_subnet)
        .map_err(ClusterError::from)?
        .traefik;
    let zone = Zone::of(environment, platform.address, NonZeroU16::MIN, names);
    let corefile = loko_dns::corefile::corefile(&zone.domain, zone.wildcard, &zone.hosts, traefik.into());
    Ok(corefile)
}

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
        Ok(Self {
            certificates,
            network,
            corefile: corefile(platform, names)?,
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
        let held = self.platform.cluster.images_in(self.first).await?;
        let (inputs, watched, plan) = self.foundation_ahead(&live, certificates, network, &held).await?;
        api.carry_out(&plan).await?;
        Ok(((Arc::new(inputs), watched), done(plan.changes())))
    }

    /// What everything depends on, the objects that take time, and what must be applied first. `held` are the images in the
    /// first control plane.
    pub(super) async fn foundation_ahead(
        self,
        live: &BTreeMap<ObjectKey, LiveObject>,
        certificates: Arc<Certificates>,
        network: Division,
        held: &BTreeSet<String>,
    ) -> Result<(Inputs, Vec<ObjectKey>, ObjectPlan), CliError> {
        let Self {
            platform,
            observed,
            first,
            ..
        } = self;
        let coredns = held.iter().find(|name| name.contains("/coredns/coredns:"));
        let coredns = coredns.map_or_else(|| COREDNS_IMAGE.to_owned(), Clone::clone);
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
        let plan = plan::objects(manifests, &parts(live, |part| FOUNDATION.contains(&part)));
        Ok((inputs, watched, plan))
    }

    pub(super) async fn apply(
        self,
        (api, live): Api,
        inputs: Arc<Inputs>,
        secrets: Arc<Secrets>,
    ) -> Stepped<Arc<Applied>> {
        let (applied, plan) = self.apply_ahead(&live, &inputs, &secrets)?;
        api.carry_out(&plan).await?;
        self.follow_secrets(&api, plan.changes()).await?;
        let outcome = done(plan.changes());
        Ok((Arc::new(applied), outcome))
    }

    /// The objects of components and workloads: what waits for others, and what must be applied at once.
    pub(super) fn apply_ahead(
        self,
        live: &BTreeMap<ObjectKey, LiveObject>,
        inputs: &Inputs,
        secrets: &Secrets,
    ) -> Result<(Applied, ObjectPlan), CliError> {
        let manifests = wanted::platform(
            &self.platform.environment,
            &inputs.wanted(self.platform, &self.observed.slots),
            secrets,
        )?;
        let late = components::metrics_server::PART;
        let mut applied = Applied {
            watched: watched(&manifests),
            ..Applied::default()
        };
        for manifest in &manifests {
            if let (true, Some(part)) = (is_watched(&manifest.key()), manifest.part()) {
                let keys: &mut Vec<ObjectKey> = applied.by_part.entry(part.to_owned()).or_default();
                keys.push(manifest.key());
            }
        }
        let is_of_acme = |manifest: &&Manifest| !workloads::acme_hosts(manifest).is_empty();
        applied.acme = manifests.iter().filter(is_of_acme).cloned().map(plan::stamp).collect();
        let mut plan = plan::objects(
            manifests,
            &parts(live, |part| !FOUNDATION.contains(&part) && part != late),
        );
        applied.late = plan.take(|manifest| is_of_acme(&manifest));
        let waiting = self.platform.environment.enabled_workloads();
        let waiting = waiting.filter(|workload| !workload.depends_on.is_empty());
        let waiting = waiting
            .map(|workload| workloads::part(workload.name.as_str()))
            .collect();
        applied.aside = plan.set_aside(&waiting);
        Ok((applied, plan))
    }

    /// Starts workloads again that read their secrets when they start, and whose secrets are others now.
    pub(super) async fn follow_secrets(
        self,
        api: &KubeApi,
        changes: impl Iterator<Item = &ObjectChange>,
    ) -> Result<(), CliError> {
        let environment = &self.platform.environment;
        let renewed: BTreeSet<String> = changes
            .filter(|change| matches!(change, ObjectChange::Update(_)) && change.key().kind == "Secret")
            .map(|change| change.key().name)
            .collect();
        for workload in environment.enabled_workloads() {
            let service = self.platform.services.get(workload.name.as_str());
            let follows = service.is_some_and(|service| service.rotation == Some(Rotation::Restart));
            if follows && renewed.contains(&object_name(workload.name.as_str())) {
                let key = workload_key(environment, workload);
                if api.get(&key).await?.is_some() {
                    api.restart(&key, Timestamp::now()).await?;
                }
            }
        }
        Ok(())
    }

    /// metrics-server comes last, and is not waited for: nothing else needs it, and it takes work from what is waited for.
    pub(super) async fn metrics(self, (api, there): Api, nodes: Nodes, line: Line) -> Stepped<()> {
        let plan = self.metrics_ahead(&there)?;
        if let Some(image) = wanted::metrics_image(&self.platform.environment) {
            self.load(&nodes, &[image], &line).await?;
        }
        api.carry_out(&plan).await?;
        Ok(((), done(plan.changes())))
    }
}

impl Up<'_> {
    /// What must be applied of metrics-server.
    pub(super) fn metrics_ahead(self, live: &BTreeMap<ObjectKey, LiveObject>) -> Result<ObjectPlan, CliError> {
        let late = |part: &str| part == components::metrics_server::PART;
        Ok(plan::objects(
            wanted::metrics(&self.platform.environment)?,
            &parts(live, late),
        ))
    }
}

/// What `apply` did, for the steps after it.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Objects that take time to become ready.
    pub(super) watched: Vec<ObjectKey>,
    /// The same by part.
    pub(super) by_part: BTreeMap<String, Vec<ObjectKey>>,
    /// Changes that wait for other workloads, by part.
    pub(super) aside: BTreeMap<String, Vec<ObjectChange>>,
    /// Routes whose certificates an ACME server signs.
    pub(super) acme: Vec<Manifest>,
    /// Changes of them: they wait until a challenge of that server would find its way in.
    pub(super) late: Vec<ObjectChange>,
}

/// What runs the pods of a workload of an image.
pub(crate) fn workload_key(environment: &Environment, workload: &Workload) -> ObjectKey {
    let kind = if workload.storage.is_some() {
        "StatefulSet"
    } else {
        "Deployment"
    };
    ObjectKey {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        namespace: Some(environment.workloads.namespace.to_string()),
        name: workload.name.to_string(),
    }
}

/// A few changes by name, many as a number.
pub(super) fn done<'a>(changes: impl Iterator<Item = &'a ObjectChange>) -> Outcome {
    let changes: Vec<String> = changes
        .map(|change| format!("{} {}", change.verb(), change.key()))
        .collect();
    match changes.as_slice() {
        [] => Outcome::Unchanged,
        few if few.len() <= 4 => Outcome::Changed(few.join(", ")),
        many => Outcome::Changed(format!("{} objects", many.len())),
    }
}

fn is_watched(key: &ObjectKey) -> bool {
    loko_cluster::readiness::WATCHED.contains(&key.kind.as_str())
}

/// Objects that take time to become ready.
fn watched(manifests: &[Manifest]) -> Vec<ObjectKey> {
    manifests.iter().map(Manifest::key).filter(is_watched).collect()
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
