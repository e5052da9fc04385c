//! To kind it is one of kind's own clusters.

use crate::run::Run;
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "kind",
    tests: &[
        Test("lists_the_cluster_and_its_nodes", &["kind"], lists),
        Test("loads_an_image_of_the_engine", &["kind"], loads),
        Test("exports_a_kubeconfig_that_works", &["kind", "kubectl"], exports),
    ],
};

/// A small image of the engine under a name that no node has.
const LOADED: &str = "loko-e2e/loaded:1";

fn lists(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let version = quick.place.run("kind").words("version").ok();
    version.says("kind v0.33.0");
    let clusters = quick.place.run("kind").words("get clusters").ok();
    assert!(
        clusters.stdout.lines().any(|line| line == quick.cluster()),
        "{clusters}"
    );
    let nodes = quick
        .place
        .run("kind")
        .args(["get", "nodes", "--name", &quick.cluster()])
        .ok();
    assert_eq!(nodes.text(), quick.node());
}

fn loads(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    // The node image's own pause image is small, and any engine that runs a node can make this one of it.
    let id = Run::new("docker")
        .words("images --quiet --filter reference=registry.k8s.io/pause")
        .ok();
    let small = id.text().lines().next().unwrap_or("mccutchen/go-httpbin:2.25.0");
    Run::new("docker").args(["tag", small, LOADED]).ok();
    let load = quick
        .place
        .run("kind")
        .args(["load", "docker-image", LOADED, "--name", &quick.cluster()])
        .any();
    Run::new("docker").args(["rmi", LOADED]).ok();
    assert_eq!(load.code, Some(0), "{load}");
    // As kind itself asks.
    let images = Run::new("docker")
        .args(["exec", &quick.node()])
        .words("ctr --namespace k8s.io images list --quiet")
        .ok();
    images.says(LOADED);
}

fn exports(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let exported = quick.place.home.join("exported");
    let kind = quick
        .place
        .run("kind")
        .args(["export", "kubeconfig", "--name", &quick.cluster()]);
    kind.args(["--kubeconfig".as_ref(), exported.as_os_str()]).ok();
    let nodes = quick
        .place
        .run("kubectl")
        .args(["--kubeconfig".as_ref(), exported.as_os_str()])
        .words("get nodes -o name")
        .ok();
    assert_eq!(nodes.text(), format!("node/{}", quick.node()));
    fs_err::remove_file(&exported).unwrap();
    // Both write the same context: whoever comes last changes nothing for the other.
    quick
        .place
        .run("kubectl")
        .args(["config", "use-context", &quick.context()])
        .ok();
}
