//! Cut off at every request to the engine in turn, the same again ends where an undisturbed run ends: making nodes, an edit, a stop, a
//! start, taking them away. The engine is one in memory, and so is the Kubernetes API server in the module `objects`.
#![cfg(feature = "driver")]
#![expect(clippy::unwrap_used, reason = "all of it is a test")]

mod engine;
mod http;
mod kubernetes;
mod objects;

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use loko_cluster::driver::Cluster;
use loko_cluster::nodes::{NodeInput, Role, names, surplus};
use loko_cluster::{ClusterError, scheduling, storage};
use loko_config::Environment;
use loko_engine::{Engine, labels};
use serde_json::Value;

use crate::engine::{Cut, Memory};

fn environment(workers: u8, control_planes: u8) -> Environment {
    let yaml = format!(
        "name: dev\nnetwork: {{domain: dev.loko.test}}\n\
         cluster: {{nodes: {{workers: {workers}, control-planes: {control_planes}}}}}\n"
    );
    loko_config::load(&yaml, &loko_config::LoadOptions::default())
        .unwrap()
        .environment
}

/// What a command does with the engine.
#[derive(Debug, Clone)]
enum Do {
    /// The nodes of an environment, as `create` and `start` bring them up.
    Up(Box<Environment>),
    Stop,
    Destroy,
}

async fn run(memory: &Memory, what: &Do) -> Result<(), ClusterError> {
    let engine = Engine::connect(&memory.endpoint()).await?;
    match what {
        Do::Up(environment) => up(engine, environment).await,
        Do::Stop => stop(engine).await,
        Do::Destroy => destroy(engine).await,
    }
}

/// The steps network, nodes, kubeadm and workers, in their order.
async fn up(engine: Engine, environment: &Environment) -> Result<(), ClusterError> {
    let cluster = Cluster::new(engine.clone(), environment.clone());
    let name = environment.name.as_str();
    let containers = cluster.containers().await?;
    let (division, _) = cluster.ensure_network(&[]).await?;
    let volume = storage::volume(name);
    engine
        .ensure_volume(&volume, &labels::of(Some(name), storage::DATA_ROLE))
        .await?;
    let api_port = cluster.api_port(&containers).unwrap_or(40_001.try_into().unwrap());
    let input = NodeInput {
        engine: engine.facts(),
        api_port,
        proxy: cluster.proxies(&containers, &BTreeMap::new(), division.subnet).await?,
        authorities: BTreeMap::from([("/etc/ssl/certs/corp.pem".to_owned(), b"corp".to_vec())]),
        registry_volume: None,
        data_volume: Some(volume),
    };
    let states = cluster.observe(&division, &containers, &input).await?;
    for name in surplus(environment, &containers) {
        engine.remove_container(&name).await?;
    }
    let balancer = cluster.observe_balancer(&states, &containers, api_port)?;
    cluster.ensure_balancer(balancer).await?;
    let first = names(environment).next().map(|(name, ..)| name).unwrap_or_default();
    try_join_all(states.iter().map(|state| {
        let (cluster, first, input) = (&cluster, &first, &input);
        let marks = scheduling::node(&environment.cluster.nodes, state.node.role, state.node.index);
        async move {
            // Random in a real run; the same here, so that two runs can be compared.
            let token = "abcdef.0123456789abcdef";
            cluster
                .ensure_node(state, first, token, &marks, &input.authorities)
                .await
        }
    }))
    .await?;
    for state in states.iter().filter(|state| !state.initialised) {
        let node = &state.node;
        if node.name == first {
            cluster.init(&first).await?;
            continue;
        }
        if node.role == Role::ControlPlane {
            cluster.share_with(&first, node).await?;
        }
        cluster.join(&node.name).await?;
    }
    Ok(())
}

async fn stop(engine: Engine) -> Result<(), ClusterError> {
    let cluster = Cluster::new(engine.clone(), environment(0, 1));
    for container in cluster.containers().await? {
        if container.is_running() {
            cluster.stop_node(&container.name, 1).await?;
        }
    }
    Ok(())
}

async fn destroy(engine: Engine) -> Result<(), ClusterError> {
    let cluster = Cluster::new(engine.clone(), environment(0, 1));
    for container in cluster.containers().await? {
        engine.remove_container(&container.name).await?;
    }
    engine.remove_volume(&storage::volume("dev")).await?;
    Ok(engine.remove_network(loko_cluster::nodes::NETWORK).await?)
}

/// An engine on which all of `before` was done.
async fn prepared(before: &[Do]) -> Memory {
    let memory = Memory::new();
    for what in before {
        run(&memory, what).await.unwrap();
    }
    memory
}

/// Cuts the last of `all` off at each of its requests, lost or unheard of, and does it again.
async fn at_every_request(all: &[Do]) -> Value {
    let (last, before) = all.split_last().unwrap();
    let undisturbed = prepared(before).await;
    undisturbed.cut(None);
    run(&undisturbed, last).await.unwrap();
    let (requests, wanted) = (undisturbed.requests(), undisturbed.everything());
    assert!(requests > 3, "{requests} requests");
    // Again, there is nothing to do.
    undisturbed.cut(None);
    run(&undisturbed, last).await.unwrap();
    assert_eq!(undisturbed.everything(), wanted);
    for cut in (1..=requests).flat_map(|number| [Cut::Before(number), Cut::After(number)]) {
        let memory = prepared(before).await;
        memory.cut(Some(cut));
        let disturbed = run(&memory, last).await;
        assert!(disturbed.is_err(), "{cut:?} of {requests} was not noticed");
        memory.cut(None);
        if let Err(error) = run(&memory, last).await {
            panic!("{cut:?} of {requests}, then {last:?}: {error}");
        }
        assert_eq!(memory.everything(), wanted, "{cut:?} of {requests}");
    }
    wanted
}

fn up_to(workers: u8, control_planes: u8) -> Do {
    Do::Up(Box::new(environment(workers, control_planes)))
}

fn running(everything: &Value) -> BTreeMap<&str, bool> {
    let containers = everything["containers"].as_object().into_iter().flatten();
    containers
        .map(|(name, it)| (name.as_str(), it["running"] == true))
        .collect()
}

#[tokio::test]
async fn a_create_with_one_node() {
    let all = at_every_request(&[up_to(0, 1)]).await;
    assert_eq!(running(&all), BTreeMap::from([("loko-dev-control-plane", true)]));
    let files = all["containers"]["loko-dev-control-plane"]["files"]
        .as_object()
        .unwrap();
    for path in [
        "/kind/kubeadm.conf",
        "/kind/loko-initialised",
        "/etc/ssl/certs/corp.pem",
    ] {
        assert!(files.contains_key(path), "{path}: {:?}", files.keys());
    }
}

#[tokio::test]
async fn a_create_with_three_control_planes_and_a_worker() {
    let all = at_every_request(&[up_to(1, 3)]).await;
    assert_eq!(running(&all).len(), 5, "{all}");
    let joined = &all["containers"]["loko-dev-control-plane3"]["files"];
    assert!(
        joined["/etc/kubernetes/pki/ca.key"]
            .as_str()
            .unwrap()
            .starts_with("600 "),
        "{joined}"
    );
}

#[tokio::test]
async fn an_edit_that_adds_a_worker_and_one_that_takes_it_away() {
    let added = at_every_request(&[up_to(1, 1), up_to(2, 1)]).await;
    assert!(running(&added)["loko-dev-worker2"]);
    let gone = at_every_request(&[up_to(2, 1), up_to(1, 1)]).await;
    assert_eq!(running(&gone).len(), 2, "{gone}");
}

#[tokio::test]
async fn a_stop_and_a_start() {
    let stopped = at_every_request(&[up_to(1, 1), Do::Stop]).await;
    assert!(running(&stopped).values().all(|running| !running), "{stopped}");
    let started = at_every_request(&[up_to(1, 1), Do::Stop, up_to(1, 1)]).await;
    assert!(running(&started).values().all(|running| *running), "{started}");
}

#[tokio::test]
async fn a_destroy() {
    let all = at_every_request(&[up_to(1, 3), Do::Destroy]).await;
    assert_eq!(
        all,
        serde_json::json!({"networks": {}, "volumes": {}, "containers": {}})
    );
}

#[tokio::test]
async fn a_create_of_what_is_there_writes_nothing() {
    let memory = prepared(&[up_to(1, 3)]).await;
    memory.cut(None);
    run(&memory, &up_to(1, 3)).await.unwrap();
    // The volume is asked for in the way in which it is made.
    assert_eq!(memory.writes(), 1);
}
