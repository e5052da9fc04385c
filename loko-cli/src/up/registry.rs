//! The step that tells nodes of the registry: one file for each registry host, read live by containerd.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use loko_cluster::driver::KubeApi;
use loko_cluster::{ClusterError, ObjectKey, addresses, nodes};
use loko_config::Environment;
use loko_config::names::EnvName;
use loko_engine::driver::{ExecSpec, File};
use loko_engine::image::canonical;
use loko_registry::hosts::{self, CA_PATH, CERTS_DIRECTORY};
use loko_registry::spec::PORT;
use loko_registry::{HostChanges, HostsFile, RegistrySpec, manifests};

use super::nodes::{Api, Nodes};
use super::{Stepped, Up, changed};
use crate::error::CliError;
use crate::progress::Line;
use crate::state;

/// The role of the volume that holds the registry's images.
pub(crate) const REGISTRY_ROLE: &str = "registry";
/// Where that volume is in the first control plane.
pub(super) const DATA_PATH: &str = loko_cluster::wanted::REGISTRY_DATA;
/// Limit for the nodes to reach the registry, once they and the registry are ready.
const REACHED_LIMIT: Duration = Duration::from_mins(2);
/// Pause between two questions to a node that does not reach it yet.
const PAUSE: Duration = Duration::from_millis(200);

/// The volume that holds the registry's images: it outlives the nodes.
pub(super) fn volume(environment: &EnvName) -> String {
    format!("loko-{environment}-registry")
}

/// The Deployment of the registry itself.
fn deployment(spec: &RegistrySpec) -> Option<ObjectKey> {
    let name = manifests::deployments(spec).into_iter().next()?;
    Some(ObjectKey {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some(loko_cluster::components::NAMESPACE.to_owned()),
        name,
    })
}

/// What nodes of an environment should know of registries.
fn hosts_of(environment: &Environment) -> Result<BTreeMap<String, HostsFile>, CliError> {
    let address = addresses::of(environment.cluster.service_subnet)
        .map_err(ClusterError::from)?
        .registry;
    Ok(match RegistrySpec::of(environment)? {
        Some(spec) => hosts::wanted(&spec, address.into()),
        None => BTreeMap::new(),
    })
}

/// Where nodes look for an image, in words: `cr.dev.me, the registry of this environment, then https://quay.io`.
pub(super) fn looked_for(environment: &Environment, image: &str) -> String {
    let name = canonical(image);
    let host = name.split('/').next().unwrap_or_default();
    let (Ok(files), Ok(spec)) = (hosts_of(environment), RegistrySpec::of(environment)) else {
        return host.to_owned();
    };
    let own = addresses::of(environment.cluster.service_subnet).map(|all| all.registry.to_string());
    let in_words = |url: String| match (&spec, &own) {
        (Some(spec), Ok(address)) if url.starts_with(&format!("https://{address}:")) => {
            format!("{}, the registry of this environment", spec.reference_host())
        }
        _ => url,
    };
    let places: Vec<String> = hosts::asked(host, &files).into_iter().map(in_words).collect();
    places.join(", then ")
}

impl Up<'_> {
    /// Written once the registry answers: a node that is told of one that does not loses seconds on each pull.
    pub(super) async fn registry(self, (api, _): Api, nodes: Nodes, line: Line) -> Stepped<()> {
        let environment = &self.platform.environment;
        let spec = RegistrySpec::of(environment).map_err(CliError::from)?;
        let wanted = self.wanted_hosts()?;
        if let Some(spec) = &spec {
            // The registry's own; a mirror that is a program of its own may start later, when its upstream is reached.
            if let Some(key) = deployment(spec) {
                let told = |why: &str| line.tell(&format!("{key}: {why}"));
                api.wait_ready(&key, super::ready::OBJECT_LIMIT, told).await?;
            }
        }
        let mut written = 0;
        for state in nodes.iter() {
            written += self.tell_node(&state.node.name, &wanted).await?;
        }
        Ok((
            (),
            changed(written > 0, || format!("{written} files about registries in the nodes")),
        ))
    }

    /// Waits until every node reaches the registry at its cluster address. To be called once the nodes are joined and ready:
    /// kube-proxy writes a node's rules a moment later, and until then containerd pulls nothing from the registry.
    /// Where somebody has scaled the registry to nothing there is nothing to wait for.
    pub(super) async fn registry_reached(self, api: &KubeApi, line: &Line) -> Result<(), CliError> {
        let environment = &self.platform.environment;
        let Some(key) = RegistrySpec::of(environment)?.as_ref().and_then(deployment) else {
            return Ok(());
        };
        let found = api.get(&key).await?.unwrap_or_default();
        if found["spec"]["replicas"] == 0 {
            return Ok(());
        }
        let subnet = environment.cluster.service_subnet;
        let address = addresses::of(subnet).map_err(ClusterError::from)?.registry;
        let url = format!("https://{address}:{PORT}/v2/");
        line.tell("waiting until the nodes reach the registry");
        let (url, names) = (url.as_str(), nodes::names(environment));
        try_join_all(names.map(|(node, ..)| async move { self.reaches(&node, url, line).await })).await?;
        Ok(())
    }

    async fn reaches(self, node: &str, url: &str, line: &Line) -> Result<(), CliError> {
        // A connection that nothing answers is given up soon, so that the next one is made under the new rules.
        let asked = ExecSpec::new([
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--output",
            "/dev/null",
            "--noproxy",
            "*",
            "--connect-timeout",
            "2",
            "--max-time",
            "10",
            "--cacert",
            CA_PATH,
            url,
        ]);
        let started = Instant::now();
        let mut told = false;
        loop {
            let output = self.platform.engine.exec(node, &asked).await?;
            if output.code == 0 {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let why = said.trim().trim_start_matches("curl: ");
            let summary = format!("{node} does not reach the registry at {url}: {why}");
            if started.elapsed() > REACHED_LIMIT {
                return Err(CliError::Down { summary });
            }
            // What curl says holds milliseconds: told once, not at every turn.
            if !told {
                line.tell(&summary);
                told = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn tell_node(self, node: &str, wanted: &BTreeMap<String, HostsFile>) -> Result<usize, CliError> {
        let engine = &self.platform.engine;
        let (changes, authority) = self.hosts_ahead(node, wanted).await?;
        for host in &changes.foreign {
            self.context.progress.say(&format!(
                "{node} has a hosts.toml of its own for {host}; it is left as it is"
            ));
        }
        let mut files: Vec<File> = changes
            .write
            .iter()
            .map(|(host, text)| File::new(hosts::path(host), text.as_bytes()))
            .collect();
        files.extend(authority.map(|authority| File::new(CA_PATH, authority)));
        if files.is_empty() && changes.remove.is_empty() {
            return Ok(0);
        }
        engine.put_files(node, &files).await?;
        for host in &changes.remove {
            engine
                .exec_ok(node, &ExecSpec::new(["rm", "-f", hosts::path(host).as_str()]))
                .await?;
        }
        Ok(files.len() + changes.remove.len())
    }

    /// What nodes should know of registries.
    pub(super) fn wanted_hosts(self) -> Result<BTreeMap<String, HostsFile>, CliError> {
        hosts_of(&self.platform.environment)
    }

    /// How what a node knows of registries differs from what it should, and the authority where it knows another or none.
    pub(super) async fn hosts_ahead(
        self,
        node: &str,
        wanted: &BTreeMap<String, HostsFile>,
    ) -> Result<(HostChanges, Option<String>), CliError> {
        let engine = &self.platform.engine;
        // What is no hosts.toml is the authority: no registry host begins with a dot.
        let script = format!(
            "cd {CERTS_DIRECTORY} 2>/dev/null || exit 0; for f in */hosts.toml {CA_PATH}; do [ -f \"$f\" ] && \
             printf '\\001%s\\n' \"${{f%/hosts.toml}}\" && cat \"$f\"; done; true"
        );
        let listed = engine
            .exec_ok(node, &ExecSpec::new(["sh", "-c", script.as_str()]))
            .await?;
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut found: BTreeMap<String, String> = text
            .split('\u{1}')
            .filter_map(|part| part.split_once('\n'))
            .map(|(host, contents)| (host.to_owned(), contents.to_owned()))
            .collect();
        let told = found.remove(CA_PATH);
        // Compared by itself: the authority may have been made anew while no other file changes.
        let (authority, _) = self.context.home.authority();
        let authority =
            state::read(&authority)?.filter(|authority| !wanted.is_empty() && told.as_ref() != Some(authority));
        Ok((HostChanges::between(wanted, &found), authority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_image_is_looked_for_is_said_as_the_user_knows_it() {
        let text =
            "name: dev\nnetwork: {domain: dev.test}\nregistry:\n  mirroring: {enabled: true, sources: [docker_hub]}\n";
        let environment = loko_config::load(text, &loko_config::LoadOptions::default())
            .unwrap()
            .environment;
        let all = ["cr.dev.test/a:1", "redis:8", "ghcr.io/a/b"].map(|image| looked_for(&environment, image));
        insta::assert_snapshot!(all.join("\n"), @"
        cr.dev.test, the registry of this environment
        cr.dev.test, the registry of this environment, then https://registry-1.docker.io
        https://ghcr.io
        ");
    }
}
