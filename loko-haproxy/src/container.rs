//! HAProxy's container as it is wanted.

use loko_config::names::EnvName;
use loko_engine::labels;
use loko_engine::{ContainerSpec, EdgeMode, Mount, NetworkAttachment, PublishedPort, Restart};

/// The directory that the volume is mounted at: where the official image looks for its configuration. The directory and
/// not the file, so that a rename in it is seen.
pub const DIRECTORY: &str = "/usr/local/etc/haproxy";
/// The configuration, in [`DIRECTORY`].
pub const CONFIGURATION: &str = "haproxy.cfg";
/// The routes of each environment, in [`DIRECTORY`].
pub const ROUTES: &str = "routes";

/// Names on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// HAProxy's container.
    pub container: String,
    /// The volume with the configuration and the routes.
    pub volume: String,
    /// The network of the nodes.
    pub network: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            container: "loko-haproxy".to_owned(),
            volume: "loko-edge".to_owned(),
            network: "loko".to_owned(),
        }
    }
}

/// The path of an environment's routes in [`DIRECTORY`].
#[must_use]
pub fn routes_file(environment: &EnvName) -> String {
    format!("{ROUTES}/{environment}.yaml")
}

/// The environment whose routes a path in [`DIRECTORY`] holds.
#[must_use]
pub fn environment_of(path: &str) -> Option<EnvName> {
    let file = path.strip_prefix(ROUTES)?.strip_prefix('/')?;
    file.strip_suffix(".yaml")?.parse().ok()
}

/// The container. `published` counts only where ports are published; on the host's network the container never changes
/// with them. User, entry point and command are always given, because the images of HAProxy differ in all three.
#[must_use]
pub fn spec(names: &Names, image: &str, mode: EdgeMode, published: Vec<PublishedPort>) -> ContainerSpec {
    let (network, ports) = match mode {
        EdgeMode::HostNetwork => (NetworkAttachment::Host, Vec::new()),
        EdgeMode::Published => {
            let name = names.network.clone();
            (NetworkAttachment::Named { name, address: None }, published)
        }
    };
    ContainerSpec {
        name: names.container.clone(),
        image: image.to_owned(),
        entrypoint: Some(vec!["haproxy".to_owned()]),
        // Master and worker, so that a signal reloads; in the foreground, so that the engine sees it end.
        command: Some(
            ["-W", "-db", "-f"]
                .map(str::to_owned)
                .into_iter()
                .chain([format!("{DIRECTORY}/{CONFIGURATION}")])
                .collect(),
        ),
        // Root, because the engine gives capabilities to no other user; and of root's only this one.
        user: Some("0:0".to_owned()),
        // An engine that remaps users refuses the host's network without this.
        host_user_namespace: mode == EdgeMode::HostNetwork,
        cap_drop: vec!["ALL".to_owned()],
        cap_add: vec!["NET_BIND_SERVICE".to_owned()],
        security_opt: vec!["no-new-privileges".to_owned()],
        labels: labels::of(None, "haproxy"),
        mounts: vec![Mount::Volume {
            name: names.volume.clone(),
            target: DIRECTORY.to_owned(),
            read_only: false,
        }],
        network,
        ports,
        restart: Restart::UnlessStopped,
        // The image's own waits until the last connection has ended.
        stop_signal: Some("SIGTERM".to_owned()),
        ..ContainerSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_hosts_network_a_port_does_not_change_the_container() {
        let port = PublishedPort {
            host_ip: "127.0.0.1".parse().unwrap(),
            host_port: 80,
            container_port: 80,
            udp: false,
        };
        let names = Names::default();
        let hash = |mode, ports: &[PublishedPort]| spec(&names, "haproxy:3", mode, ports.to_vec()).hash();
        let port = [port];
        assert_eq!(hash(EdgeMode::HostNetwork, &port), hash(EdgeMode::HostNetwork, &[]));
        assert_ne!(hash(EdgeMode::Published, &port), hash(EdgeMode::Published, &[]));
    }

    #[test]
    fn only_files_of_routes_name_an_environment() {
        let dev: EnvName = "dev".parse().unwrap();
        assert_eq!(environment_of(&routes_file(&dev)), Some(dev));
        for path in [
            "haproxy.cfg",
            "routes/dev.yaml.new",
            "routes/a_b.yaml",
            "routes/",
            "routesdev.yaml",
        ] {
            assert_eq!(environment_of(path), None, "{path}");
        }
    }
}
