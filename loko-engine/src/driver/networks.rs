//! Networks and volumes.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    InspectNetworkOptions, ListNetworksOptions, ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
};

use super::{Engine, convert, optional, refused};
use crate::error::EngineError;
use crate::network::{NetworkFacts, NetworkSpec};

impl Engine {
    /// All networks.
    pub async fn networks(&self) -> Result<Vec<NetworkFacts>, EngineError> {
        let list = self
            .docker
            .list_networks(None::<ListNetworksOptions>)
            .await
            .map_err(refused("list networks"))?;
        Ok(list.into_iter().map(convert::listed_network_facts).collect())
    }

    /// The network of that name.
    pub async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, EngineError> {
        let found = self.docker.inspect_network(name, None::<InspectNetworkOptions>).await;
        Ok(optional(found.map_err(refused(format!("inspect the network {name}"))))?.map(convert::network_facts))
    }

    /// Makes a bridge network.
    pub async fn create_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        let pool = IpamConfig {
            subnet: Some(spec.subnet.to_string()),
            ip_range: Some(spec.ip_range.to_string()),
            ..IpamConfig::default()
        };
        let mut options = HashMap::from([(
            "com.docker.network.bridge.enable_ip_masquerade".to_owned(),
            "true".to_owned(),
        )]);
        if let Some(mtu) = spec.mtu {
            options.insert("com.docker.network.driver.mtu".to_owned(), mtu.to_string());
        }
        let request = NetworkCreateRequest {
            name: spec.name.clone(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam {
                config: Some(vec![pool]),
                ..Ipam::default()
            }),
            options: Some(options),
            labels: Some(HashMap::from_iter(spec.labels.clone())),
            ..NetworkCreateRequest::default()
        };
        let created = self.docker.create_network(request).await;
        created
            .map(drop)
            .map_err(refused(format!("create the network {}", spec.name)))
    }

    /// Removes it; nothing happens where it is not there.
    pub async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        let removed = self.docker.remove_network(name).await;
        optional(removed.map_err(refused(format!("remove the network {name}")))).map(drop)
    }

    /// Makes a named volume; nothing happens where it is there.
    pub async fn ensure_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(HashMap::from_iter(labels.clone())),
            ..VolumeCreateRequest::default()
        };
        let created = self.docker.create_volume(request).await;
        created.map(drop).map_err(refused(format!("create the volume {name}")))
    }

    /// Names of the volumes that carry every one of `labels` (an empty value: any), sorted.
    pub async fn volumes(&self, labels: &BTreeMap<String, String>) -> Result<Vec<String>, EngineError> {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(k, v)| if v.is_empty() { k.clone() } else { format!("{k}={v}") })
            .collect();
        let filters = HashMap::from([("label".to_owned(), wanted)]);
        let query = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let list = self
            .docker
            .list_volumes(Some(query))
            .await
            .map_err(refused("list volumes"))?;
        let mut names: Vec<String> = list
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| volume.name)
            .collect();
        names.sort();
        Ok(names)
    }

    /// Removes a volume and what is in it; nothing happens where it is not there.
    pub async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        let removed = self.docker.remove_volume(name, Some(options)).await;
        optional(removed.map_err(refused(format!("remove the volume {name}")))).map(drop)
    }
}
