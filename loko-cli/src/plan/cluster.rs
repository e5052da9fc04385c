//! Changes of nodes and of what kubeadm fixes when it makes a cluster.

use loko_cluster::driver::{BalancerState, NodeState};
use loko_cluster::scheduling::MarkChange;
use loko_config::Environment;
use loko_config::model::AutoPort;
use loko_engine::container::ContainerChange;

use super::{Action, Change, Effect};
use crate::error::CliError;

/// An error where any of the changes cannot be made in place.
pub(crate) fn refuse(changes: &[Change]) -> Result<(), CliError> {
    let reasons: Vec<String> = changes
        .iter()
        .filter(|change| change.effect == Effect::NeedsRecreate)
        .map(|change| format!("{}: {}", change.what, change.reason))
        .collect();
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(CliError::NeedsRecreate { reasons })
    }
}

/// Keys of loko.yaml that only a new cluster takes, where they differ: `before` is what was applied.
pub(crate) fn settings(before: &Environment, now: &Environment) -> Vec<Change> {
    let (old, new) = (&before.cluster, &now.cluster);
    let mut changes = Vec::new();
    let mut differs = |key: &str, old: String, new: String, why: &str| {
        if old != new {
            changes.push(
                Change::live("nodes", Action::Update, key, format!("{old} → {new}: {why}")).at(Effect::NeedsRecreate),
            );
        }
    };
    differs(
        "cluster.kubernetes",
        old.kubernetes.reference(),
        new.kubernetes.reference(),
        "a node's container is made from its image",
    );
    // `auto` keeps the port that there is.
    if new.kubernetes.api_port != AutoPort::Auto {
        differs(
            "cluster.kubernetes.api-port",
            port(old.kubernetes.api_port),
            port(new.kubernetes.api_port),
            "the engine publishes it when the container is made",
        );
    }
    differs(
        "cluster.nodes.control-planes",
        old.nodes.control_planes.to_string(),
        new.nodes.control_planes.to_string(),
        "the address of the control plane is in every node's configuration",
    );
    differs(
        "cluster.pod-subnet",
        old.pod_subnet.to_string(),
        new.pod_subnet.to_string(),
        "every node has its range of it for life",
    );
    differs(
        "cluster.service-subnet",
        old.service_subnet.to_string(),
        new.service_subnet.to_string(),
        "the API server's certificate and every service have an address of it",
    );
    differs(
        "cluster.kube-proxy-mode",
        format!("{:?}", old.kube_proxy_mode).to_lowercase(),
        format!("{:?}", new.kube_proxy_mode).to_lowercase(),
        "kubeadm configures kube-proxy once",
    );
    differs(
        "cluster.extra-mounts",
        mounts(before),
        mounts(now),
        "mounts are of a container's making",
    );
    differs(
        "cluster.extra-cas",
        listed(&old.extra_cas),
        listed(&new.extra_cas),
        "containerd reads them when a node starts",
    );
    differs(
        "cluster.kubeadm-patches",
        patches(before),
        patches(now),
        "kubeadm reads them once",
    );
    changes
}

fn port(port: AutoPort) -> String {
    match port {
        AutoPort::Auto => "auto".to_owned(),
        AutoPort::Fixed(port) => port.to_string(),
    }
}

fn mounts(environment: &Environment) -> String {
    let mounts: Vec<String> = environment
        .cluster
        .extra_mounts
        .iter()
        .map(|mount| {
            let mode = if mount.read_only { ":ro" } else { "" };
            format!("{}:{}{mode}", mount.host_path, mount.container_path)
        })
        .collect();
    listed(&mounts)
}

fn patches(environment: &Environment) -> String {
    match environment.cluster.kubeadm_patches.as_slice() {
        [] => "none".to_owned(),
        patches => format!(
            "{} ({})",
            patches.len(),
            loko_engine::container::short_hash(patches.join("\n---\n").as_bytes())
        ),
    }
}

fn listed(list: &[String]) -> String {
    if list.is_empty() {
        "none".to_owned()
    } else {
        list.join(", ")
    }
}

/// Changes of the nodes themselves. `explained`: keys of loko.yaml say already why nodes differ ([`settings`]).
pub(crate) fn nodes(states: &[NodeState], surplus: &[String], explained: bool) -> Vec<Change> {
    let mut changes: Vec<Change> = surplus
        .iter()
        .map(|name| {
            let reason = "loko.yaml has fewer nodes; what runs there moves first";
            Change::live("nodes", Action::Remove, format!("node {name}"), reason)
        })
        .collect();
    for state in states {
        let what = format!("node {}", state.node.name);
        match state.change {
            ContainerChange::Nothing => {}
            ContainerChange::Start => changes.push(Change::live("nodes", Action::Start, what, "it is stopped")),
            ContainerChange::Create => changes.push(Change::live("nodes", Action::Create, what, "it is not there")),
            ContainerChange::Replace if !state.initialised => {
                changes.push(Change::live(
                    "nodes",
                    Action::Create,
                    what,
                    "what is there was interrupted before it was a node",
                ));
            }
            ContainerChange::Replace | ContainerChange::Foreign if explained => {}
            ContainerChange::Replace | ContainerChange::Foreign => {
                let reason = "its container was made from another specification, by another version of loko or by hand";
                changes.push(Change::live("nodes", Action::Update, what, reason).at(Effect::NeedsRecreate));
            }
        }
    }
    changes
}

/// What becomes of the balancer before several control planes.
pub(crate) fn balancer(state: Option<&BalancerState>) -> Option<Change> {
    let (name, change) = match state? {
        BalancerState::Surplus { name } => {
            let reason = "there is one control plane";
            return Some(Change::live(
                "nodes",
                Action::Remove,
                format!("balancer {name}"),
                reason,
            ));
        }
        BalancerState::Wanted { spec, change, .. } => (&spec.name, change),
    };
    let what = format!("balancer {name}");
    match change {
        ContainerChange::Nothing => None,
        ContainerChange::Start => Some(Change::live("nodes", Action::Start, what, "it is stopped")),
        ContainerChange::Create => Some(Change::live("nodes", Action::Create, what, "it is not there")),
        ContainerChange::Replace => {
            let reason = "its image or its configuration is another; the API does not answer for a moment";
            Some(Change::live("nodes", Action::Update, what, reason).at(Effect::RestartsComponent))
        }
        ContainerChange::Foreign => {
            let reason = "a container that is not loko's has its name";
            Some(Change::live("nodes", Action::Update, what, reason).at(Effect::NeedsRecreate))
        }
    }
}

/// What kubeadm has to do: the cluster itself, and nodes that join it.
pub(crate) fn kubeadm(states: &[NodeState], first: &str) -> Vec<Change> {
    states
        .iter()
        .filter(|state| !state.initialised)
        .map(|state| {
            let name = &state.node.name;
            if name == first {
                Change::live(
                    "kubeadm",
                    Action::Create,
                    "the control plane",
                    "kubeadm makes the cluster",
                )
            } else {
                Change::live(
                    "workers",
                    Action::Create,
                    format!("Node {name}"),
                    "it joins the cluster",
                )
            }
        })
        .collect()
}

/// Labels and taints of nodes that are there.
pub(crate) fn marks(changes: &[(String, MarkChange)]) -> Vec<Change> {
    let marks = changes.iter();
    marks
        .map(|(node, change)| Change::live("workers", Action::Update, format!("Node {node}"), change.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use loko_cluster::nodes::{Node, Role};
    use loko_config::{LoadOptions, load};
    use loko_engine::ContainerSpec;

    use super::*;
    use crate::plan::Plan;

    fn environment(yaml: &str) -> Environment {
        load(yaml, &LoadOptions::default()).unwrap().environment
    }

    #[test]
    fn what_only_a_new_cluster_takes_is_named_with_both_values() {
        let before = environment("name: dev\n");
        let now = environment(
            "name: dev
cluster:
  kubernetes: {tag: v1.35.2, api-port: 7443}
  pod-subnet: 10.9.0.0/16
  service-subnet: 10.97.0.0/16
  kube-proxy-mode: ipvs
  nodes: {workers: 2}
  extra-mounts: [{hostPath: /srv, containerPath: /srv, readOnly: true}]
",
        );
        insta::assert_snapshot!(Plan::new("dev", settings(&before, &now), Vec::new()).text(), @"
        ACTION  WHAT                         EFFECT            WHY
        update  cluster.kubernetes           needs --recreate  kindest/node:v1.36.3 → kindest/node:v1.35.2: a node's container is made from its image
        update  cluster.kubernetes.api-port  needs --recreate  auto → 7443: the engine publishes it when the container is made
        update  cluster.pod-subnet           needs --recreate  10.244.0.0/16 → 10.9.0.0/16: every node has its range of it for life
        update  cluster.service-subnet       needs --recreate  10.96.0.0/16 → 10.97.0.0/16: the API server's certificate and every service have an address of it
        update  cluster.kube-proxy-mode      needs --recreate  iptables → ipvs: kubeadm configures kube-proxy once
        update  cluster.extra-mounts         needs --recreate  none → /srv:/srv:ro: mounts are of a container's making
        `loko create` refuses this; `loko recreate` makes the nodes of dev anew and keeps its data
        ");
        assert_eq!(settings(&now, &now), []);
    }

    #[test]
    fn a_port_that_is_chosen_freely_is_kept_whatever_it_was() {
        let fixed = environment("name: dev\ncluster: {kubernetes: {api-port: 7443}}\n");
        assert_eq!(settings(&fixed, &environment("name: dev\n")), []);
    }

    fn state(name: &str, change: ContainerChange, initialised: bool) -> NodeState {
        NodeState {
            node: Node {
                name: name.to_owned(),
                role: Role::Worker,
                index: 1,
                address: std::net::Ipv4Addr::LOCALHOST,
            },
            spec: ContainerSpec::default(),
            facts: None,
            initialised,
            change,
        }
    }

    #[test]
    fn the_balancer_says_what_becomes_of_it() {
        let wanted = |change| BalancerState::Wanted {
            spec: Box::new(ContainerSpec {
                name: "loko-dev-external-load-balancer".to_owned(),
                ..ContainerSpec::default()
            }),
            configuration: String::new(),
            change,
        };
        let surplus = BalancerState::Surplus {
            name: "loko-dev-external-load-balancer".to_owned(),
        };
        let states = [
            surplus,
            wanted(ContainerChange::Nothing),
            wanted(ContainerChange::Create),
            wanted(ContainerChange::Start),
            wanted(ContainerChange::Replace),
        ];
        let changes = states.iter().filter_map(|state| balancer(Some(state))).collect();
        insta::assert_snapshot!(Plan::new("dev", changes, Vec::new()).text(), @"
        ACTION  WHAT                                      EFFECT       WHY
        remove  balancer loko-dev-external-load-balancer  live         there is one control plane
        create  balancer loko-dev-external-load-balancer  live         it is not there
        start   balancer loko-dev-external-load-balancer  live         it is stopped
        update  balancer loko-dev-external-load-balancer  restarts it  its image or its configuration is another; the API does not answer for a moment
        ");
        assert_eq!(balancer(None), None);
    }

    #[test]
    fn each_node_says_what_becomes_of_it() {
        let states = [
            state("kept", ContainerChange::Nothing, true),
            state("stopped", ContainerChange::Start, true),
            state("new", ContainerChange::Create, false),
            state("interrupted", ContainerChange::Replace, false),
            state("other", ContainerChange::Replace, true),
        ];
        let mut changes = nodes(&states, &["gone".to_owned()], false);
        changes.extend(kubeadm(&states, "new"));
        insta::assert_snapshot!(Plan::new("dev", changes, Vec::new()).text(), @"
        ACTION  WHAT               EFFECT            WHY
        remove  node gone          live              loko.yaml has fewer nodes; what runs there moves first
        start   node stopped       live              it is stopped
        create  node new           live              it is not there
        create  node interrupted   live              what is there was interrupted before it was a node
        update  node other         needs --recreate  its container was made from another specification, by another version of loko or by hand
        create  the control plane  live              kubeadm makes the cluster
        create  Node interrupted   live              it joins the cluster
        `loko create` refuses this; `loko recreate` makes the nodes of dev anew and keeps its data
        ");
        // The key of loko.yaml that says why is named instead.
        assert!(
            !nodes(&states, &[], true)
                .iter()
                .any(|change| change.what == "node other")
        );
    }
}
