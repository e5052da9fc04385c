//! Whether the edge can use the host's own network, or must publish ports. One pure decision.

use serde::Serialize;

/// What the engine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EngineFacts {
    /// Where it was reached, for example `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// Version of the server.
    pub version: String,
    /// Highest API version of the server.
    pub api_version: String,
    /// `Docker Desktop`, `Debian GNU/Linux 13 (trixie)`, …
    pub operating_system: String,
    /// `uname -r` where it runs.
    pub kernel: String,
    /// Its host name.
    pub hostname: String,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Whether it runs without root.
    pub rootless: bool,
    /// Whether it remaps users by default.
    pub remaps_users: bool,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// CPUs it may use.
    pub cpus: u32,
    /// Memory it may use, in bytes.
    pub memory: u64,
    /// `overlayfs`, `overlay2`, `btrfs`, …
    pub storage_driver: String,
    /// Whether it is Podman behind Docker's API.
    pub podman: bool,
    /// Drivers of networks that it has: `bridge`, `macvlan`, …
    pub network_drivers: Vec<String>,
    /// Its clock when it was asked, RFC 3339; empty where it does not say.
    pub time: String,
    /// Where it keeps images and volumes, on the machine that it runs on.
    pub data_root: String,
    /// Whether it can limit memory, CPU and processes of a container: without root only where systemd delegates those
    /// controllers to the user.
    pub limits: bool,
}

/// What this host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// As [`std::env::consts::OS`] names it: `linux`, `macos`, `windows`.
    pub os: String,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -n`.
    pub hostname: String,
}

/// How ports of the host lead into the edge's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeMode {
    /// They are on the host's network and bind addresses themselves: a new port is a reload.
    HostNetwork,
    /// The engine publishes ports: a new port makes the container anew.
    Published,
}

/// Decides, and says why.
#[must_use]
pub fn decide(engine: &EngineFacts, host: &HostFacts) -> (EdgeMode, String) {
    let refuse = |why: String| (EdgeMode::Published, why);
    if host.os != "linux" {
        return refuse(format!("the engine of a {} host runs in a machine of its own", host.os));
    }
    if !engine.endpoint.starts_with("unix://") {
        return refuse(format!("the engine at {} may be another machine", engine.endpoint));
    }
    if engine.operating_system.contains("Docker Desktop") {
        return refuse("Docker Desktop runs in a machine of its own".to_owned());
    }
    if engine.kernel != host.kernel {
        return refuse(format!(
            "the engine's kernel is {}, this host's is {}",
            engine.kernel, host.kernel
        ));
    }
    if engine.rootless {
        return refuse("a rootless engine has a network namespace of its own".to_owned());
    }
    (EdgeMode::HostNetwork, "the engine runs on this very kernel".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_engine_on_this_kernel_gets_the_hosts_network() {
        let engine = EngineFacts {
            endpoint: "unix:///var/run/docker.sock".into(),
            kernel: "6.1".into(),
            ..EngineFacts::default()
        };
        let host = HostFacts {
            os: "linux".into(),
            kernel: "6.1".into(),
            hostname: "h".into(),
        };
        assert_eq!(decide(&engine, &host).0, EdgeMode::HostNetwork);
        let others = [
            EngineFacts {
                kernel: "6.10-linuxkit".into(),
                ..engine.clone()
            },
            EngineFacts {
                operating_system: "Docker Desktop".into(),
                ..engine.clone()
            },
            EngineFacts {
                rootless: true,
                ..engine.clone()
            },
            EngineFacts {
                endpoint: "tcp://10.0.0.1:2375".into(),
                ..engine.clone()
            },
        ];
        for other in others {
            assert_eq!(decide(&other, &host).0, EdgeMode::Published, "{other:?}");
        }
        let mac = HostFacts {
            os: "macos".into(),
            ..host
        };
        assert_eq!(decide(&engine, &mac).0, EdgeMode::Published);
    }
}
