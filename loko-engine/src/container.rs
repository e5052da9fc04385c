//! A container as it is wanted ([`ContainerSpec`]), as it is ([`ContainerFacts`]), and the difference.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::labels;

/// A container as it is wanted. Two specs that are equal make the same container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ContainerSpec {
    /// Unique on the engine.
    pub name: String,
    /// Image reference; it must be on the engine before the container is created.
    pub image: String,
    /// Host name inside; `None`: the engine's choice.
    pub hostname: Option<String>,
    /// Replaces the image's entry point where `Some`.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command where `Some`.
    pub command: Option<Vec<String>>,
    /// `user`, `uid` or `uid:gid`; `None`: the image's.
    pub user: Option<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Labels without [`labels::SPEC`], which the driver adds.
    pub labels: BTreeMap<String, String>,
    /// Volumes and binds.
    pub mounts: Vec<Mount>,
    /// Paths that are a fresh tmpfs at each start.
    pub tmpfs: Vec<String>,
    /// Which network it is on.
    pub network: NetworkAttachment,
    /// Ports published on the host. Meaningless on the host's network.
    pub ports: Vec<PublishedPort>,
    /// All capabilities and devices, as a Kubernetes node needs.
    pub privileged: bool,
    /// `--security-opt` values.
    pub security_opt: Vec<String>,
    /// Capabilities added, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities dropped, without `CAP_`; `ALL` is allowed.
    pub cap_drop: Vec<String>,
    /// A cgroup namespace of its own.
    pub private_cgroup_namespace: bool,
    /// The host's user namespace where the engine remaps users.
    pub host_user_namespace: bool,
    /// When the engine starts it again by itself.
    pub restart: Restart,
    /// `Some(false)`: never the engine's own init, whatever its default.
    pub init: Option<bool>,
    /// A terminal, so that its output is one raw stream.
    pub tty: bool,
    /// Host devices passed through, by path.
    pub devices: Vec<String>,
    /// Kernel settings of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Signal that stops it, where not the image's.
    pub stop_signal: Option<String>,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Mount {
    /// A named volume.
    Volume {
        /// Name of the volume.
        name: String,
        /// Path inside.
        target: String,
        /// Whether writing is refused.
        read_only: bool,
    },
    /// A volume that lives and dies with the container.
    Anonymous {
        /// Path inside.
        target: String,
    },
    /// A path of the engine's host.
    Bind {
        /// Path on the engine's host.
        source: String,
        /// Path inside.
        target: String,
        /// Whether writing is refused.
        read_only: bool,
    },
}

/// The network a container is on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub enum NetworkAttachment {
    /// None.
    #[default]
    None,
    /// The host's own.
    Host,
    /// A named network.
    Named {
        /// Name of the network.
        name: String,
        /// A fixed address in it; `None`: the engine's choice.
        address: Option<Ipv4Addr>,
    },
}

/// One port of the host that leads into a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Address on the host.
    pub host_ip: IpAddr,
    /// Port on the host.
    pub host_port: u16,
    /// Port inside.
    pub container_port: u16,
    /// True: UDP, false: TCP.
    pub udp: bool,
}

/// When the engine starts a container again by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// Always, unless a person stopped it.
    UnlessStopped,
    /// Once after a failure, and after a restart of the engine: what kind's nodes have.
    OnFailureOnce,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Between two runs.
    Restarting,
    /// Ended.
    Exited {
        /// Exit code of its first process.
        code: i64,
    },
    /// Being removed, or beyond help.
    Dead,
}

/// A container as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerFacts {
    /// The engine's id.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// The reference it was created from.
    pub image: String,
    /// Id of the image it was created from.
    pub image_id: String,
    /// What it is doing.
    pub state: ContainerState,
    /// When it was last started, RFC 3339; empty where never.
    pub started_at: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// Network name → address in it.
    pub addresses: BTreeMap<String, IpAddr>,
    /// Ports on the host.
    pub ports: Vec<PublishedPort>,
}

impl ContainerFacts {
    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == ContainerState::Running
    }
}

impl ContainerSpec {
    /// 16 hexadecimal digits that change when anything in the specification does. What is empty or off does not count,
    /// so that a later version of this crate, which knows more fields, finds the containers of this one as wanted.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        prune(&mut json);
        short_hash(json.to_string().as_bytes())
    }
}

/// Takes away what is null, false or empty; true where nothing is left.
fn prune(value: &mut Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        // Elements keep their places: an empty argument is an argument.
        Value::Array(list) => {
            for element in list.iter_mut() {
                prune(element);
            }
            list.is_empty()
        }
        Value::Object(map) => {
            map.retain(|_, inner| !prune(inner));
            map.is_empty()
        }
    }
}

/// First 16 hexadecimal digits of the SHA-256 of `bytes`: enough to tell versions of one thing apart.
#[must_use]
pub fn short_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// What must be done so that a container is as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerChange {
    /// It runs as wanted.
    Nothing,
    /// It is as wanted, but does not run.
    Start,
    /// There is none.
    Create,
    /// There is one of ours, made from another specification.
    Replace,
    /// There is one under that name that is not ours.
    Foreign,
}

/// Compares a wanted container with the one under its name. `environment` says whose it must be ([`labels::is_ours`]).
#[must_use]
pub fn compare(spec: &ContainerSpec, facts: Option<&ContainerFacts>) -> ContainerChange {
    let Some(facts) = facts else {
        return ContainerChange::Create;
    };
    let environment = spec.labels.get(labels::ENVIRONMENT).map(String::as_str);
    if !labels::is_ours(&facts.labels, environment) {
        return ContainerChange::Foreign;
    }
    if facts.labels.get(labels::SPEC) != Some(&spec.hash()) || facts.state == ContainerState::Dead {
        return ContainerChange::Replace;
    }
    match facts.state {
        ContainerState::Running | ContainerState::Restarting => ContainerChange::Nothing,
        ContainerState::Created | ContainerState::Paused | ContainerState::Exited { .. } | ContainerState::Dead => {
            ContainerChange::Start
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            name: "loko-dev-dnsmasq".into(),
            image: "dockurr/dnsmasq:2.91".into(),
            labels: labels::of(Some("dev"), "dnsmasq"),
            ..ContainerSpec::default()
        }
    }

    fn facts(spec: &ContainerSpec) -> ContainerFacts {
        let mut labels = spec.labels.clone();
        labels.insert(labels::SPEC.into(), spec.hash());
        ContainerFacts {
            id: "1".into(),
            name: spec.name.clone(),
            image: spec.image.clone(),
            image_id: "sha256:0".into(),
            state: ContainerState::Running,
            started_at: String::new(),
            labels,
            addresses: BTreeMap::new(),
            ports: Vec::new(),
        }
    }

    #[test]
    fn a_container_is_left_alone_only_while_it_is_as_wanted() {
        let wanted = spec();
        let there = facts(&wanted);
        assert_eq!(compare(&wanted, None), ContainerChange::Create);
        assert_eq!(compare(&wanted, Some(&there)), ContainerChange::Nothing);
        let stopped = ContainerFacts {
            state: ContainerState::Exited { code: 137 },
            ..there.clone()
        };
        assert_eq!(compare(&wanted, Some(&stopped)), ContainerChange::Start);
        let newer = ContainerSpec {
            image: "dockurr/dnsmasq:2.92".into(),
            ..wanted
        };
        assert_eq!(compare(&newer, Some(&there)), ContainerChange::Replace);
    }

    #[test]
    fn a_container_of_somebody_else_is_foreign_whatever_its_state() {
        let wanted = spec();
        let unlabelled = ContainerFacts {
            labels: BTreeMap::new(),
            ..facts(&wanted)
        };
        assert_eq!(compare(&wanted, Some(&unlabelled)), ContainerChange::Foreign);
        let other = ContainerFacts {
            labels: labels::of(Some("other"), "dnsmasq"),
            ..facts(&wanted)
        };
        assert_eq!(compare(&wanted, Some(&other)), ContainerChange::Foreign);
    }

    #[test]
    fn a_field_that_is_empty_does_not_count_in_the_hash() {
        let mut known = serde_json::json!({"name": "a", "ports": [""], "labels": {"x": ""}});
        let mut later = serde_json::json!({"name": "a", "ports": [""], "labels": {}, "new": null, "newer": false});
        prune(&mut known);
        prune(&mut later);
        assert_eq!(known, later);
        assert_eq!(known["ports"], serde_json::json!([""]));
    }

    #[test]
    fn the_hash_sees_every_field_that_makes_a_difference() {
        let base = spec();
        let changed = [
            ContainerSpec {
                user: Some("0".into()),
                ..base.clone()
            },
            ContainerSpec {
                network: NetworkAttachment::Host,
                ..base.clone()
            },
            ContainerSpec {
                tmpfs: vec!["/run".into()],
                ..base.clone()
            },
            ContainerSpec {
                restart: Restart::UnlessStopped,
                ..base.clone()
            },
        ];
        for other in changed {
            assert_ne!(base.hash(), other.hash());
        }
    }
}
