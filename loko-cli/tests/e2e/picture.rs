//! What an environment is made of, so that one that was disturbed on its way can be compared with one that was not.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;

use crate::create;
use crate::environment::Environment;
use crate::run::Run;
use crate::suite;

/// Everything of one environment that stays the same while nobody changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Hash of its specification, whether it runs, and its address, of each container.
    containers: BTreeMap<String, String>,
    volumes: BTreeSet<String>,
    /// Hash of its manifest, of each object in the cluster that was applied.
    objects: BTreeMap<String, String>,
    /// Lines of HAProxy's configuration that speak of it.
    edge: Vec<String>,
    /// Permissions and contents of its files.
    files: BTreeMap<String, (u32, String)>,
    /// The user's kubeconfig.
    kubeconfig: String,
}

impl Picture {
    /// Of an environment that is up.
    #[track_caller]
    pub(crate) fn of(environment: &Environment) -> Self {
        let containers = suite::inspect(&environment.name).into_iter().map(|(name, container)| {
            let networks = &container["NetworkSettings"]["Networks"]["loko"];
            let told = format!(
                "{} {} {}",
                container["Config"]["Labels"]["dev.loko.spec"],
                container["State"]["Status"],
                networks["IPAMConfig"]["IPv4Address"]
            );
            (name, told)
        });
        let volume = format!("volume {}-", environment.cluster());
        let of_cluster = [environment.cluster(), environment.address.clone()];
        let edge = Run::new("docker")
            .words("exec loko-haproxy cat /usr/local/etc/haproxy/haproxy.cfg")
            .ok();
        let edge = edge.stdout.lines().filter(|line| {
            let mut names = of_cluster.iter().chain([&environment.name]);
            names.any(|name| line.contains(name.as_str()))
        });
        Self {
            containers: containers.collect(),
            volumes: suite::ours().into_iter().filter(|it| it.starts_with(&volume)).collect(),
            objects: objects(environment),
            edge: edge.map(str::to_owned).collect(),
            files: files(environment),
            kubeconfig: fs_err::read_to_string(environment.place.kubeconfig()).unwrap(),
        }
    }
}

fn objects(environment: &Environment) -> BTreeMap<String, String> {
    let kinds = "deployments,statefulsets,daemonsets,services,ingresses,configmaps,secrets,persistentvolumeclaims,ingressroutetcps";
    let listed = environment
        .kubectl(&format!(
            "get {kinds} --all-namespaces --selector dev.loko.part -o json"
        ))
        .ok()
        .json();
    let items = listed["items"].as_array().cloned().unwrap_or_default();
    assert!(!items.is_empty(), "nothing was applied: {listed:#}");
    let name = |item: &serde_json::Value| {
        let metadata = &item["metadata"];
        format!("{} {} {}", item["kind"], metadata["namespace"], metadata["name"])
    };
    items
        .iter()
        .map(|item| (name(item), item["metadata"]["annotations"]["dev.loko.spec"].to_string()))
        .collect()
}

fn files(environment: &Environment) -> BTreeMap<String, (u32, String)> {
    let files = create::files(&environment.state()).into_iter();
    // Who held it last.
    let files = files.filter(|file| !file.ends_with("lock"));
    files
        .map(|file| {
            let mode = fs_err::metadata(&file).unwrap().permissions().mode() & 0o777;
            let text = fs_err::read_to_string(&file).unwrap();
            (file.display().to_string(), (mode, text))
        })
        .collect()
}
