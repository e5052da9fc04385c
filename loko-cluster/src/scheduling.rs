//! What may run where: labels and taints of nodes, and the other side of both in pods.
//!
//! ```text
//! cluster.nodes ─┬─ node(role, index) ─→ labels, taints ─→ kubeadm, and live through the API
//!                ├─ components() ──────→ node selector, tolerations ─→ Traefik, metrics-server, registry
//!                └─ workloads() ───────→ node selector, tolerations ─→ image and catalogue workloads
//! ```
//!
//! Pods always select by our own two labels, with one node as with ten: a worker that comes or goes then changes labels of
//! nodes and no pod template, so nothing is restarted.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use loko_config::model::Nodes;

use crate::kubeadm::Taint;
use crate::nodes::Role;

mod live;

pub use live::{MANAGED_LABELS, MarkChange, ObservedMarks, changes, patch};

/// On nodes where components run; the value is `true`. Outside `kubernetes.io`, because a kubelet may not give itself labels
/// of that (Kubernetes' admission plug-in `NodeRestriction`).
pub const RUNS_COMPONENTS: &str = "dev.loko.runs/components";
/// On nodes where workloads run; the value is `true`.
pub const RUNS_WORKLOADS: &str = "dev.loko.runs/workloads";
/// Kubernetes' own taint of control planes.
pub const CONTROL_PLANE_TAINT: &str = "node-role.kubernetes.io/control-plane";

/// The taint of a node on which services do not answer yet; kube-proxy and the pod network tolerate every taint.
pub const STARTING_TAINT: &str = "dev.loko/starting";

/// [`STARTING_TAINT`], as kubeadm gives it to a node.
#[must_use]
pub fn starting_taint() -> Taint {
    Taint {
        key: STARTING_TAINT.to_owned(),
        value: String::new(),
        effect: "NoSchedule".to_owned(),
    }
}

/// Labels and taints of one Kubernetes node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeMarks {
    /// The user's and ours. Ours win: pods select by them.
    pub labels: BTreeMap<String, String>,
    /// All that it shall have.
    pub taints: Vec<Taint>,
}

/// Where pods go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placement {
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that do not keep the pods away.
    pub tolerations: Vec<Toleration>,
}

/// The marks of one node; `index` counts the nodes of a role from 1.
///
/// Without workers every node runs everything. With workers:
///
/// | switch | true (default) | false |
/// |---|---|---|
/// | `control-plane.allow-workloads` | no taint | control planes are tainted, for objects applied by hand as well |
/// | `control-plane.isolate-internal-components` | components on control planes only | on every node |
/// | `workers.isolate-workloads` | workloads on workers only | on workers, and on control planes where those allow it |
#[must_use]
pub fn node(nodes: &Nodes, role: Role, index: u8) -> NodeMarks {
    let switches = nodes.scheduling;
    let alone = nodes.workers == 0;
    let mut labels = match role {
        Role::ControlPlane => nodes.labels.control_plane.clone(),
        Role::Worker => nodes.labels.worker.clone(),
    };
    for (name, individual) in &nodes.labels.individual {
        if is_named(name, role, index) {
            labels.extend(individual.clone());
        }
    }
    let (components, workloads, tainted) = match role {
        Role::ControlPlane => (
            true,
            alone || (switches.allow_workloads_on_control_plane && !switches.isolate_workloads),
            !alone && !switches.allow_workloads_on_control_plane,
        ),
        Role::Worker => (!switches.isolate_internal_components, true, false),
    };
    for (label, runs) in [(RUNS_COMPONENTS, components), (RUNS_WORKLOADS, workloads)] {
        if runs {
            labels.insert(label.to_owned(), "true".to_owned());
        } else {
            labels.remove(label);
        }
    }
    let taint = || Taint {
        key: CONTROL_PLANE_TAINT.to_owned(),
        value: String::new(),
        effect: "NoSchedule".to_owned(),
    };
    NodeMarks {
        labels,
        taints: tainted.then(taint).into_iter().collect(),
    }
}

/// Where components run.
#[must_use]
pub fn components() -> Placement {
    Placement {
        node_selector: BTreeMap::from([(RUNS_COMPONENTS.to_owned(), "true".to_owned())]),
        tolerations: vec![control_plane_toleration()],
    }
}

/// Where image and catalogue workloads run.
#[must_use]
pub fn workloads() -> Placement {
    Placement {
        node_selector: BTreeMap::from([(RUNS_WORKLOADS.to_owned(), "true".to_owned())]),
        tolerations: Vec::new(),
    }
}

/// The toleration of [`CONTROL_PLANE_TAINT`].
#[must_use]
pub fn control_plane_toleration() -> Toleration {
    Toleration {
        key: Some(CONTROL_PLANE_TAINT.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Toleration::default()
    }
}

/// Whether a key of `cluster.nodes.labels.individual` means this node: the first of a role is `worker` or `worker-1`, the
/// second `worker-2` or `worker2`, as kind writes it.
fn is_named(name: &str, role: Role, index: u8) -> bool {
    match name.strip_prefix(role.as_str()) {
        Some("") => index == 1,
        Some(number) => number.strip_prefix('-').unwrap_or(number).parse() == Ok(index),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use loko_config::model::{NodeLabels, Scheduling};

    use super::*;

    fn nodes(workers: u8, allow: bool, isolate_components: bool, isolate_workloads: bool) -> Nodes {
        Nodes {
            control_planes: 1,
            workers,
            labels: NodeLabels::default(),
            scheduling: Scheduling {
                allow_workloads_on_control_plane: allow,
                isolate_internal_components: isolate_components,
                isolate_workloads,
            },
        }
    }

    /// `c` runs components, `w` workloads, `!` tainted.
    fn marks(nodes: &Nodes, role: Role) -> String {
        let marks = node(nodes, role, 1);
        let letters = [
            (marks.labels.contains_key(RUNS_COMPONENTS), 'c'),
            (marks.labels.contains_key(RUNS_WORKLOADS), 'w'),
            (!marks.taints.is_empty(), '!'),
        ];
        letters.iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect()
    }

    #[test]
    fn a_single_node_runs_everything_whatever_the_switches_say() {
        for switches in 0..8_u8 {
            let nodes = nodes(0, switches & 1 > 0, switches & 2 > 0, switches & 4 > 0);
            assert_eq!(marks(&nodes, Role::ControlPlane), "cw", "{nodes:?}");
        }
    }

    #[test]
    fn with_workers_each_switch_says_what_runs_where() {
        let table = [
            // allow, isolate components, isolate workloads → control plane, worker
            (true, true, true, "c", "w"),
            (true, true, false, "cw", "w"),
            (true, false, true, "c", "cw"),
            (true, false, false, "cw", "cw"),
            (false, true, true, "c!", "w"),
            (false, true, false, "c!", "w"),
            (false, false, true, "c!", "cw"),
            (false, false, false, "c!", "cw"),
        ];
        for (allow, components, workloads, control_plane, worker) in table {
            let nodes = nodes(2, allow, components, workloads);
            assert_eq!(marks(&nodes, Role::ControlPlane), control_plane, "{nodes:?}");
            assert_eq!(marks(&nodes, Role::Worker), worker, "{nodes:?}");
        }
    }

    #[test]
    fn labels_of_one_node_add_to_those_of_its_role() {
        let mut nodes = nodes(3, true, true, true);
        nodes.labels.worker.insert("disk".to_owned(), "hdd".to_owned());
        for (name, value) in [("worker", "first"), ("worker-2", "ssd"), ("worker3", "nvme")] {
            let labels = BTreeMap::from([("disk".to_owned(), value.to_owned())]);
            nodes.labels.individual.insert(name.to_owned(), labels);
        }
        let disk = |index| node(&nodes, Role::Worker, index).labels["disk"].clone();
        assert_eq!([disk(1), disk(2), disk(3)], ["first", "ssd", "nvme"]);
        assert!(!node(&nodes, Role::ControlPlane, 2).labels.contains_key("disk"));
    }

    #[test]
    fn a_users_label_of_our_name_changes_nothing() {
        let mut nodes = nodes(1, true, true, true);
        nodes
            .labels
            .worker
            .insert(RUNS_COMPONENTS.to_owned(), "true".to_owned());
        assert_eq!(marks(&nodes, Role::Worker), "w");
    }
}
