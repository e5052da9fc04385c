//! The steps that bring an environment up, or to what loko.yaml says now. Each is *ensure*: look, compare, act; so the
//! same steps serve the first create, the one after an edit, the one after a kill, and `start`.
//!
//! ```text
//! certificates, secrets ─────────────────────────────────┐
//! node-image ─┐                                          │
//! network ────┴→ nodes ─┬→ api ─┬→ foundation ───────────┤
//!         │             │       └→ services              │
//!         │             ├→ images ───────────────────────┴→ apply ─┬→ metrics
//!         │             └→ kubeadm ─┬→ workers                     ├→ registry
//!         │                         └→ kubeconfig                  └→ workloads (those that wait for others, and charts)
//!         ├→ dns → resolver
//!         └→ edge                                   ready ← all but metrics
//! ```

mod ahead;
mod edge;
mod nodes;
mod objects;
mod observe;
mod ready;
mod registry;
mod workloads;

use futures_util::FutureExt as _;

use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::progress::Outcome;
use crate::steps::{Runner, StepReport, needs, nothing, to_run};

pub(crate) use ahead::{ahead, settle};
pub(crate) use edge::{edge, forget_resolver, placement, route, tell_resolver, upstreams_there, zone};
pub(crate) use objects::{COREDNS_IMAGE, Inputs, corefile, workload_key};
pub(crate) use observe::{Observed, exists, observe};
pub(crate) use ready::{addresses_of, ask, urls, urls_of};
pub(crate) use registry::REGISTRY_ROLE;
pub(crate) use workloads::helm;

/// What `up` may be told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Leave the user's kubeconfig alone.
    pub(crate) no_kubeconfig: bool,
    /// Leave this host's resolver alone.
    pub(crate) no_resolver: bool,
}

/// One run of the steps.
#[derive(Debug, Clone, Copy)]
struct Up<'a> {
    context: &'a Context,
    platform: &'a Platform,
    observed: &'a Observed,
    options: Options,
    /// Name of the first control plane.
    first: &'a str,
}

/// Runs all steps. Returns what each did.
#[expect(
    clippy::too_many_lines,
    reason = "a few lines of wiring for each step: split, the graph could not be seen"
)]
pub(crate) async fn up(
    context: &Context,
    platform: &Platform,
    observed: &Observed,
    options: Options,
) -> Result<Vec<StepReport>, CliError> {
    let first = first_of(platform);
    let up = Up {
        context,
        platform,
        observed,
        options,
        first: &first,
    };
    let run = Runner::new(context.progress.clone());

    let certificates = run.step(
        "certificates",
        "looking for the certificate",
        nothing(),
        move |(), _| async move { up.certificates() },
    );
    let secrets = run.step(
        "secrets",
        "looking for the secrets",
        nothing(),
        move |(), _| async move { up.secrets() },
    );
    let node_image = run.step(
        "node-image",
        "looking for the node image",
        nothing(),
        move |(), line| up.node_image(line),
    );
    let network = run.step("network", "looking for the network", nothing(), move |(), _| {
        up.network()
    });
    let nodes = run.step(
        "nodes",
        "looking at the nodes",
        needs!(network, node_image),
        move |(network, ()), line| up.nodes(network, line),
    );
    let kubeadm = run.step(
        "kubeadm",
        "starting the control plane",
        needs!(nodes),
        move |(nodes,), _| up.kubeadm(nodes),
    );
    let api = run.step(
        "api",
        "waiting for the Kubernetes API",
        needs!(nodes),
        move |(nodes,), _| up.api(nodes),
    );
    let images = run.step(
        "images",
        "looking at the nodes' images",
        needs!(nodes),
        move |(nodes,), line| up.images(nodes, line),
    );
    let foundation = run.step(
        "foundation",
        "applying the pod network and DNS",
        needs!(api, certificates, network),
        move |(api, certificates, network), _| up.foundation(api, certificates, network),
    );
    let apply = run.step(
        "apply",
        "applying components and workloads",
        needs!(api, images, foundation, secrets),
        move |(api, (), (inputs, _), secrets), _| up.apply(api, inputs, secrets),
    );
    let metrics = run.step(
        "metrics",
        "applying metrics-server",
        needs!(api, nodes, apply),
        move |(api, nodes, _), line| up.metrics(api, nodes, line),
    );
    let registry = run.step(
        "registry",
        "telling the nodes of the registry",
        needs!(api, nodes, apply),
        move |(api, nodes, _), line| up.registry(api, nodes, line),
    );
    let services = run.step(
        "services",
        "waiting until services answer in the cluster",
        needs!(api),
        move |(api,), _| up.services(api),
    );
    let workers = run.step(
        "workers",
        "joining further nodes",
        needs!(kubeadm, nodes, api),
        move |(_, nodes, api), line| up.workers(nodes, api, line),
    );
    let kubeconfig = run.step(
        "kubeconfig",
        "writing the kubeconfig",
        needs!(kubeadm),
        move |(fresh,), _| up.kubeconfig(fresh),
    );
    let dns = run.step("dns", "starting dnsmasq", needs!(network), move |(_,), _| up.dns());
    let resolver = run.step(
        "resolver",
        "looking at this host's resolver",
        needs!(dns),
        move |(port,), line| up.resolver(port, line),
    );
    let edge = run.step("edge", "starting HAProxy", needs!(network), move |(network,), _| {
        up.edge(network)
    });
    // Helm reads the kubeconfig, and may fetch a chart from our own registry by its name.
    let for_helm = needs!(kubeconfig, edge, registry, resolver).shared();
    let workloads = run.step(
        "workloads",
        "looking at workloads that wait for others",
        needs!(api, apply),
        move |(api, applied), line| up.workloads(api, applied, for_helm, line),
    );
    let ready = run.step(
        "ready",
        "waiting until everything answers",
        needs!(api, foundation, apply, workers, workloads, registry, edge, kubeconfig),
        move |(api, (_, mut keys), applied, (), charts, (), (), ()), line| async move {
            keys.extend(applied.watched.iter().chain(charts.keys()).cloned());
            ready::wait(context, platform, &api.0, &keys, &charts, &line).await?;
            up.registry_reached(&api.0, &line).await?;
            Ok(((), Outcome::Unchanged))
        },
    );

    run.run(vec![
        to_run(&certificates),
        to_run(&secrets),
        to_run(&node_image),
        to_run(&network),
        to_run(&nodes),
        to_run(&kubeadm),
        to_run(&api),
        to_run(&images),
        to_run(&foundation),
        to_run(&apply),
        to_run(&metrics),
        to_run(&registry),
        to_run(&services),
        to_run(&workers),
        to_run(&kubeconfig),
        to_run(&dns),
        to_run(&resolver),
        to_run(&edge),
        to_run(&workloads),
        to_run(&ready),
    ])
    .await
}

/// Name of the first control plane.
fn first_of(platform: &Platform) -> String {
    let names = loko_cluster::nodes::names(&platform.environment);
    names.map(|(name, ..)| name).next().unwrap_or_default()
}

/// A value with whether anything was done for it, and what.
type Stepped<T> = Result<(T, Outcome), CliError>;

fn changed(changed: bool, text: impl FnOnce() -> String) -> Outcome {
    if changed {
        Outcome::Changed(text())
    } else {
        Outcome::Unchanged
    }
}
