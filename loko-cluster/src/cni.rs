//! The pod network's configuration on the first control plane, before the program that writes it runs.
//!
//! A node is Ready once its kubelet finds such a file, and kindnetd writes it only when its own pod runs on that node:
//! until then nothing else may start there. The controller-manager gives the first /24 of the pod subnet to the first node
//! that registers (Kubernetes: `pkg/controller/nodeipam`, `--node-cidr-mask-size` 24), so what kindnetd will write for it
//! is known beforehand. kindnetd replaces the file when it comes up, with the same range and the same record of addresses.
//!
//! On every other node it is the other way round. The routes to the pods of other nodes are gone when such a node starts again, and
//! the file is not: pods would start there that reach no other node until kindnetd has run, and a Traefik among them says that it
//! is up. So the file is taken away once at each start ([`boot`]), and comes back with the routes.

use ipnet::Ipv4Net;

/// Where kindnetd writes (kind: `images/kindnetd`).
pub const PATH: &str = "/etc/cni/net.d/10-kindnet.conflist";
/// Where systemd reads [`boot`].
pub const BOOT_PATH: &str = "/etc/systemd/system/containerd.service.d/10-loko.conf";
/// Prefix length of the part of the pod subnet that one node gets.
const NODE_PREFIX: u8 = 24;

/// The file, or `None` where the pod subnet is too small to be divided by the default mask.
#[must_use]
pub fn first_node(pod_subnet: Ipv4Net) -> Option<String> {
    let range = pod_subnet.trunc().subnets(NODE_PREFIX).ok()?.next()?;
    let address_management = serde_json::json!({
        "type": "host-local",
        "dataDir": "/run/cni-ipam-state",
        "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": range.to_string()}]],
    });
    let file = serde_json::json!({
        "cniVersion": "0.3.1",
        "name": "kindnet",
        "plugins": [
            {"type": "ptp", "ipMasq": false, "ipam": address_management},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    Some(file.to_string())
}

/// What containerd does before it comes up for the first time after a start of the node: /run is empty then.
#[must_use]
pub fn boot() -> String {
    format!(
        "# Written by LoKO: pods start when there is a way to those of other nodes.\n\
         [Service]\n\
         ExecStartPre=/bin/sh -euc \"if mkdir /run/loko-pod-network 2>/dev/null; then rm -f {PATH}; fi\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_start_the_file_goes_once() {
        insta::assert_snapshot!(boot(), @r#"
        # Written by LoKO: pods start when there is a way to those of other nodes.
        [Service]
        ExecStartPre=/bin/sh -euc "if mkdir /run/loko-pod-network 2>/dev/null; then rm -f /etc/cni/net.d/10-kindnet.conflist; fi"
        "#);
    }

    #[test]
    fn the_first_node_gets_the_first_range() {
        let file = first_node("10.244.0.0/16".parse().unwrap()).unwrap();
        assert!(file.contains(r#""subnet":"10.244.0.0/24""#), "{file}");
        assert_eq!(first_node("10.244.0.0/25".parse().unwrap()), None);
    }
}
