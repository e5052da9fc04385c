//! Between the engine's own types and ours. Nothing here acts.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerState as ApiState, ContainerStateStatusEnum, DeviceMapping,
    EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigCgroupnsModeEnum, Ipam, Mount as ApiMount, MountType,
    Network, NetworkInspect, NetworkingConfig, PortBinding, PortMap, RestartPolicy, RestartPolicyNameEnum, SystemInfo,
    SystemInfoCgroupVersionEnum, SystemVersion,
};

use crate::container::{
    ContainerFacts, ContainerSpec, ContainerState, Mount, NetworkAttachment, PublishedPort, Restart,
};
use crate::edge::EngineFacts;
use crate::labels;
use crate::network::NetworkFacts;

pub(super) fn engine_facts(endpoint: &str, version: SystemVersion, info: SystemInfo) -> EngineFacts {
    let security = info.security_options.unwrap_or_default();
    let components = version.components.unwrap_or_default();
    EngineFacts {
        endpoint: endpoint.to_owned(),
        version: version.version.unwrap_or_default(),
        api_version: version.api_version.unwrap_or_default(),
        operating_system: info.operating_system.unwrap_or_default(),
        kernel: info.kernel_version.unwrap_or_default(),
        hostname: info.name.unwrap_or_default(),
        cgroup_version: if info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1) {
            1
        } else {
            2
        },
        rootless: security.iter().any(|option| option.contains("name=rootless")),
        remaps_users: security.iter().any(|option| option.contains("name=userns")),
        architecture: info.architecture.unwrap_or_default(),
        cpus: info.ncpu.and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
        memory: info.mem_total.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
        storage_driver: info.driver.unwrap_or_default(),
        podman: components.iter().any(|component| component.name.contains("Podman")),
        network_drivers: info.plugins.and_then(|plugins| plugins.network).unwrap_or_default(),
        time: info.system_time.unwrap_or_default(),
        data_root: info.docker_root_dir.unwrap_or_default(),
        limits: [info.memory_limit, info.cpu_shares, info.pids_limit] == [Some(true); 3],
    }
}

pub(super) fn container_facts(response: ContainerInspectResponse) -> ContainerFacts {
    let config = response.config.unwrap_or_default();
    let network = response.network_settings.unwrap_or_default();
    let host = response.host_config.unwrap_or_default();
    let state = response.state.unwrap_or_default();
    let addresses = BTreeMap::from_iter(network.networks.unwrap_or_default())
        .into_iter()
        .filter_map(|(name, endpoint)| {
            // A container that is stopped has no address, but the one it asked for is still its own.
            let pinned = endpoint.ipam_config.and_then(|ipam| ipam.ipv4_address);
            let address = endpoint.ip_address.filter(|a| !a.is_empty()).or(pinned)?;
            Some((name, address.parse::<IpAddr>().ok()?))
        })
        .collect();
    let bindings = host.port_bindings.filter(|map| !map.is_empty()).unwrap_or_default();
    // What is bound now says more than what was asked for, where a port was left to the engine.
    let ports = published(network.ports.unwrap_or_default());
    ContainerFacts {
        id: response.id.unwrap_or_default(),
        name: response.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        image_id: response.image.unwrap_or_default(),
        state: container_state(&state),
        started_at: state
            .started_at
            .filter(|at| !at.starts_with("0001"))
            .unwrap_or_default(),
        labels: BTreeMap::from_iter(config.labels.unwrap_or_default()),
        addresses,
        ports: if ports.is_empty() { published(bindings) } else { ports },
    }
}

fn container_state(state: &ApiState) -> ContainerState {
    use ContainerStateStatusEnum as Status;
    match state.status.unwrap_or(Status::EMPTY) {
        Status::CREATED => ContainerState::Created,
        Status::RUNNING | Status::STOPPING => ContainerState::Running,
        Status::PAUSED => ContainerState::Paused,
        Status::RESTARTING => ContainerState::Restarting,
        Status::EXITED => ContainerState::Exited {
            code: state.exit_code.unwrap_or_default(),
        },
        Status::DEAD | Status::REMOVING | Status::EMPTY => ContainerState::Dead,
    }
}

/// `"6443/tcp" → [{127.0.0.1, 40001}]` and the like.
fn published(map: PortMap) -> Vec<PublishedPort> {
    let mut ports: Vec<PublishedPort> = BTreeMap::from_iter(map)
        .into_iter()
        .filter_map(|(key, bindings)| {
            let (port, protocol) = key.split_once('/')?;
            Some((port.parse::<u16>().ok()?, protocol == "udp", bindings?))
        })
        .flat_map(|(container_port, udp, bindings)| {
            bindings.into_iter().filter_map(move |binding| {
                let host_ip = binding
                    .host_ip
                    .filter(|ip| !ip.is_empty())
                    .unwrap_or_else(|| "0.0.0.0".to_owned());
                Some(PublishedPort {
                    host_ip: host_ip.parse().ok()?,
                    host_port: binding.host_port?.parse().ok()?,
                    container_port,
                    udp,
                })
            })
        })
        .collect();
    ports.sort();
    ports
}

pub(super) fn create_body(spec: &ContainerSpec) -> ContainerCreateBody {
    let mut labels = spec.labels.clone();
    labels.insert(labels::SPEC.to_owned(), spec.hash());
    let anonymous: Vec<String> = spec
        .mounts
        .iter()
        .filter_map(|mount| {
            if let Mount::Anonymous { target } = mount {
                Some(target.clone())
            } else {
                None
            }
        })
        .collect();
    ContainerCreateBody {
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        tty: Some(spec.tty),
        env: Some(spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.clone(),
        image: Some(spec.image.clone()),
        labels: Some(HashMap::from_iter(labels)),
        stop_signal: spec.stop_signal.clone(),
        volumes: (!anonymous.is_empty()).then_some(anonymous),
        exposed_ports: (!spec.ports.is_empty()).then(|| spec.ports.iter().map(port_key).collect()),
        host_config: Some(host_config(spec)),
        networking_config: networking(&spec.network),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let (restart, retries) = match spec.restart {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        Restart::OnFailureOnce => (RestartPolicyNameEnum::ON_FAILURE, Some(1)),
    };
    let mut bindings = BTreeMap::<String, Vec<PortBinding>>::new();
    for port in &spec.ports {
        bindings.entry(port_key(port)).or_default().push(PortBinding {
            host_ip: Some(port.host_ip.to_string()),
            host_port: Some(port.host_port.to_string()),
        });
    }
    HostConfig {
        network_mode: Some(match &spec.network {
            NetworkAttachment::None => "none".to_owned(),
            NetworkAttachment::Host => "host".to_owned(),
            NetworkAttachment::Named { name, .. } => name.clone(),
        }),
        port_bindings: Some(bindings.into_iter().map(|(key, list)| (key, Some(list))).collect()),
        restart_policy: Some(RestartPolicy {
            name: Some(restart),
            maximum_retry_count: retries,
        }),
        mounts: Some(spec.mounts.iter().filter_map(mount).collect()),
        tmpfs: Some(spec.tmpfs.iter().map(|path| (path.clone(), String::new())).collect()),
        privileged: Some(spec.privileged),
        security_opt: Some(spec.security_opt.clone()),
        cap_add: Some(spec.cap_add.clone()),
        cap_drop: Some(spec.cap_drop.clone()),
        cgroupns_mode: spec
            .private_cgroup_namespace
            .then_some(HostConfigCgroupnsModeEnum::PRIVATE),
        userns_mode: spec.host_user_namespace.then(|| "host".to_owned()),
        init: spec.init,
        devices: Some(spec.devices.iter().map(|path| device(path)).collect()),
        sysctls: Some(HashMap::from_iter(spec.sysctls.clone())),
        ..HostConfig::default()
    }
}

fn device(path: &str) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(path.to_owned()),
        path_in_container: Some(path.to_owned()),
        cgroup_permissions: Some("rwm".to_owned()),
    }
}

fn mount(mount: &Mount) -> Option<ApiMount> {
    let (kind, source, target, read_only) = match mount {
        Mount::Volume {
            name,
            target,
            read_only,
        } => (MountType::VOLUME, name, target, *read_only),
        Mount::Bind {
            source,
            target,
            read_only,
        } => (MountType::BIND, source, target, *read_only),
        Mount::Anonymous { .. } => return None,
    };
    Some(ApiMount {
        typ: Some(kind),
        source: Some(source.clone()),
        target: Some(target.clone()),
        read_only: Some(read_only),
        ..ApiMount::default()
    })
}

fn networking(attachment: &NetworkAttachment) -> Option<NetworkingConfig> {
    let NetworkAttachment::Named { name, address } = attachment else {
        return None;
    };
    let ipam = address.map(|address| EndpointIpamConfig {
        ipv4_address: Some(address.to_string()),
        ..EndpointIpamConfig::default()
    });
    let endpoint = EndpointSettings {
        ipam_config: ipam,
        ..EndpointSettings::default()
    };
    Some(NetworkingConfig {
        endpoints_config: Some(HashMap::from([(name.clone(), endpoint)])),
    })
}

fn port_key(port: &PublishedPort) -> String {
    format!("{}/{}", port.container_port, if port.udp { "udp" } else { "tcp" })
}

pub(super) fn listed_network_facts(network: Network) -> NetworkFacts {
    NetworkFacts {
        id: network.id.unwrap_or_default(),
        name: network.name.unwrap_or_default(),
        subnets: subnets(network.ipam),
        labels: BTreeMap::from_iter(network.labels.unwrap_or_default()),
        containers: Vec::new(),
        options: BTreeMap::from_iter(network.options.unwrap_or_default()),
    }
}

pub(super) fn network_facts(network: NetworkInspect) -> NetworkFacts {
    let mut containers: Vec<String> = BTreeMap::from_iter(network.containers.unwrap_or_default())
        .into_values()
        .filter_map(|container| container.name)
        .collect();
    containers.sort();
    NetworkFacts {
        id: network.id.unwrap_or_default(),
        name: network.name.unwrap_or_default(),
        subnets: subnets(network.ipam),
        labels: BTreeMap::from_iter(network.labels.unwrap_or_default()),
        containers,
        options: BTreeMap::from_iter(network.options.unwrap_or_default()),
    }
}

fn subnets(ipam: Option<Ipam>) -> Vec<ipnet::Ipv4Net> {
    let pools = ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    pools.into_iter().filter_map(|pool| pool.subnet?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Podman 4.3.1 of Debian 12, `podman system service`.
    #[test]
    fn podman_behind_dockers_api_is_known_and_what_its_networks_are_made_with() {
        let version = include_str!("../../tests/fixtures/podman-4.3.1-version.json");
        let info = include_str!("../../tests/fixtures/podman-4.3.1-info.json");
        let facts = engine_facts(
            "unix:///run/podman/podman.sock",
            serde_json::from_str(version).unwrap(),
            serde_json::from_str(info).unwrap(),
        );
        assert!(facts.podman && !facts.rootless && facts.limits, "{facts:?}");
        assert_eq!((facts.version.as_str(), facts.api_version.as_str()), ("4.3.1", "1.41"));
        assert_eq!(facts.network_drivers, ["bridge", "macvlan", "ipvlan"]);
        assert_eq!((facts.cgroup_version, facts.cpus), (1, 2));
    }
}
