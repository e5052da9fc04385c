//! `loko destroy`: take everything of the environment away, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use loko_cluster::nodes::NETWORK;
use loko_cluster::storage;
use loko_dns::resolver::{Action, HOSTS};
use loko_engine::{ContainerFacts, labels};
use loko_haproxy::driver::{Change, Done};
use loko_registry::RegistrySpec;
use serde::Serialize;

use crate::args::Destroy;
use crate::commands::power;
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::interrupt::{self, Held};
use crate::progress::Outcome;
use crate::trust::{self, Authority};
use crate::up;
use crate::{output, state};

/// An engine takes less for what it is making to be listed.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    environment: String,
    removed: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, options: &Destroy) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let name = platform.environment.name.to_string();
    context.confirm(&format!("destroy the environment {name}?"))?;
    // A create that runs is let to its end. Where nothing is kept nobody is at work, and the lock itself would be something.
    let _lock = if context.home.environment(&name).exists() {
        let waits = |holder: &str| context.progress.say(&format!("{name} waits for {holder}"));
        Some(context.home.lock_environment(&name, waits)?)
    } else {
        None
    };
    let removed = everything(context, &platform, options.purge).await?;
    let report = Report {
        environment: name,
        removed,
    };
    output::formatted(context.global.output, &report, || {
        if report.removed.is_empty() {
            format!("{}: nothing was there", report.environment)
        } else {
            format!("{} is gone: {}", report.environment, report.removed.join(", "))
        }
    });
    Ok(())
}

/// Removes containers, volumes, routes, the network where nothing is on it any more, kubeconfig entries and files.
/// Carries on after a failure and returns the first one at the end, so that as little as possible is left.
pub(crate) async fn everything(context: &Context, platform: &Platform, purge: bool) -> Result<Vec<String>, CliError> {
    let name = platform.environment.name.as_str();
    let mut undoing = Undoing::new(context);
    undoing
        .step(
            "routes",
            "taking its routes back",
            Box::pin(remove_routes(context, platform)),
        )
        .await;
    undoing
        .step("containers", "removing its containers", remove_containers(platform))
        .await;
    undoing.step("dns", "removing its DNS", remove_dns(platform)).await;
    let resolver = async { Ok(taken_back(&up::forget_resolver(context, platform).await)) };
    undoing
        .step("resolver", "taking back what this host was told", resolver)
        .await;
    undoing
        .step(
            "volumes",
            "removing its volumes",
            remove_volumes(context, platform, purge),
        )
        .await;
    undoing
        .step("network", "removing the network", remove_network(platform))
        .await;
    undoing.late(platform, purge).await;
    undoing
        .step("trust", "taking back what Docker was told", async {
            forget_registry(context, platform)
        })
        .await;
    undoing
        .step("files", "removing its files", async { remove_files(context, platform) })
        .await;
    let Undoing { removed, failures, .. } = undoing;
    tracing::debug!(environment = name, ?removed, "destroyed");
    match failures.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(removed),
    }
}

/// Steps that are all tried, whatever becomes of those before, unless Ctrl-C is pressed.
struct Undoing<'a> {
    context: &'a Context,
    held: Held,
    removed: Vec<String>,
    failures: Vec<CliError>,
}

impl<'a> Undoing<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            held: interrupt::hold(),
            removed: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Runs one; it gives what it removed.
    async fn step(
        &mut self,
        name: &'static str,
        title: &str,
        work: impl Future<Output = Result<Vec<String>, CliError>>,
    ) {
        if self.held.is_pressed() {
            self.failures.push(CliError::Interrupted);
            return;
        }
        let line = self.context.progress.start(name, title);
        match self.held.in_order(&self.context.progress, work).await.flatten() {
            Ok(removed) if removed.is_empty() => line.done(&Outcome::Unchanged),
            Ok(removed) => {
                line.done(&Outcome::Changed(format!("removed {}", removed.join(", "))));
                self.removed.extend(removed);
            }
            Err(error) => {
                line.failed(&error.to_string());
                self.failures.push(error);
            }
        }
    }
}

impl Undoing<'_> {
    /// Looks once more at the end: what came meanwhile goes, and what it kept from going.
    async fn late(&mut self, platform: &Platform, purge: bool) {
        let came = platform.engine.containers(&labels_of(platform)).await;
        if came.is_ok_and(|came| came.is_empty()) {
            return;
        }
        let context = self.context;
        let work = async {
            let mut removed = remove_containers(platform).await?;
            removed.extend(remove_volumes(context, platform, purge).await?);
            removed.extend(remove_network(platform).await?);
            Ok(removed)
        };
        self.step("late", "removing what came meanwhile", work).await;
    }
}

async fn remove_routes(context: &Context, platform: &Platform) -> Result<Vec<String>, CliError> {
    let waits = |holder: &str| context.progress.say(&format!("the edge waits for {holder}"));
    let _lock = state::lock_edge(waits)?;
    let change = Change::Remove(platform.environment.name.clone());
    let report = up::edge(platform).apply(&change).await?;
    Ok(match report.done {
        Done::Nothing => Vec::new(),
        Done::Started | Done::Reloaded | Done::Recreated | Done::Removed => vec!["its routes".to_owned()],
    })
}

/// What the host's resolver was told, of what was done to take it back: the lines in a file that is not ours, else the files.
fn taken_back(done: &[Action]) -> Vec<String> {
    let of = |action: &Action| match action {
        Action::Write { path, .. } if path == HOSTS => Some(format!("its names in {path}")),
        Action::Remove { path } => Some(path.clone()),
        // A file that is blanked before it goes, and who reads it.
        Action::Write { .. } | Action::Run { .. } => None,
    };
    done.iter().filter_map(of).collect()
}

async fn remove_dns(platform: &Platform) -> Result<Vec<String>, CliError> {
    // Its container went with the others; the volume is of no use to anybody.
    loko_dns::driver::remove(&platform.engine, &platform.environment.name).await?;
    Ok(Vec::new())
}

async fn remove_containers(platform: &Platform) -> Result<Vec<String>, CliError> {
    let ours = &labels_of(platform);
    // A create that failed may have asked for one that is not there yet.
    platform.engine.settled().await;
    let look = || async move { Ok::<_, CliError>(platform.engine.containers(ours).await?) };
    let remove = |container: ContainerFacts| async move {
        platform.engine.remove_container(&container.name).await?;
        Ok(container.name)
    };
    until_none_comes(look, remove).await
}

/// Removes what `look` finds until it finds nothing twice in a row: a command that was killed may have asked the engine for
/// what is listed only when it is made.
async fn until_none_comes<T, L, R>(
    mut look: impl FnMut() -> L,
    mut remove: impl FnMut(T) -> R,
) -> Result<Vec<String>, CliError>
where
    L: Future<Output = Result<Vec<T>, CliError>>,
    R: Future<Output = Result<String, CliError>>,
{
    let mut removed = Vec::new();
    let mut empty = 0;
    loop {
        let found = look().await?;
        if found.is_empty() {
            empty += 1;
            if empty == 2 {
                return Ok(removed);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        } else {
            empty = 0;
            let removals: Vec<R> = found.into_iter().map(&mut remove).collect();
            removed.extend(futures_util::future::try_join_all(removals).await?);
        }
    }
}

/// Removes the nodes alone, after what runs in them has written what it holds; the edge and everything that is kept outside
/// them stays.
pub(crate) async fn remove_nodes(platform: &Platform) -> Result<(), CliError> {
    let mut ours = labels_of(platform);
    ours.insert(labels::ROLE.to_owned(), "node".to_owned());
    let nodes = platform.engine.containers(&ours).await?;
    let ends = nodes.iter().filter(|node| node.is_running()).map(|node| async move {
        if let Err(error) = platform.cluster.end_pods(&node.name, power::POD_SECONDS).await {
            tracing::debug!(node = node.name, %error, "pods could not be ended");
        }
    });
    futures_util::future::join_all(ends).await;
    futures_util::future::try_join_all(nodes.iter().map(|node| platform.engine.remove_container(&node.name))).await?;
    Ok(())
}

/// Whether there is workloads' data of an environment.
pub(crate) async fn has_data(platform: &Platform) -> Result<bool, CliError> {
    let mut data = labels_of(platform);
    data.insert(labels::ROLE.to_owned(), storage::DATA_ROLE.to_owned());
    Ok(!platform.engine.volumes(&data).await?.is_empty())
}

/// Removes the workloads' data and the registry's images; nothing that runs uses them.
pub(crate) async fn remove_data(platform: &Platform) -> Result<(), CliError> {
    for role in [up::REGISTRY_ROLE, storage::DATA_ROLE] {
        let mut of_role = labels_of(platform);
        of_role.insert(labels::ROLE.to_owned(), role.to_owned());
        for volume in platform.engine.volumes(&of_role).await? {
            platform.engine.remove_volume(&volume).await?;
        }
    }
    Ok(())
}

fn labels_of(platform: &Platform) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::ENVIRONMENT.to_owned(), platform.environment.name.to_string()),
        (labels::ROLE.to_owned(), String::new()),
    ])
}

/// The registry's images are kept where there is a registry, unless they are to go as well.
async fn remove_volumes(context: &Context, platform: &Platform, purge: bool) -> Result<Vec<String>, CliError> {
    let mut removed = Vec::new();
    let mut registry = labels_of(platform);
    registry.insert(labels::ROLE.to_owned(), up::REGISTRY_ROLE.to_owned());
    let keep = platform.environment.registry.enabled && !purge;
    let kept = if keep {
        platform.engine.volumes(&registry).await?
    } else {
        Vec::new()
    };
    for volume in platform.engine.volumes(&labels_of(platform)).await? {
        if kept.contains(&volume) {
            context.progress.say(&format!(
                "kept: the registry's images (volume {volume}); `--purge` removes them too"
            ));
        } else {
            platform.engine.remove_volume(&volume).await?;
            removed.push(volume);
        }
    }
    Ok(removed)
}

async fn remove_network(platform: &Platform) -> Result<Vec<String>, CliError> {
    let Some(network) = platform.engine.network(NETWORK).await? else {
        return Ok(Vec::new());
    };
    // Nodes that are stopped are on it without being listed by it.
    let in_use = platform
        .cluster
        .containers()
        .await?
        .iter()
        .any(|c| c.addresses.contains_key(NETWORK));
    if labels::is_ours(&network.labels, None) && network.containers.is_empty() && !in_use {
        match platform.engine.remove_network(NETWORK).await {
            Ok(()) => return Ok(vec![format!("the network {NETWORK}")]),
            // Somebody came onto it meanwhile.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Vec::new())
}

/// What `certs trust` told this host's Docker of the registry; that the system trusts the authority is for `certs untrust`.
fn forget_registry(context: &Context, platform: &Platform) -> Result<Vec<String>, CliError> {
    let mut removed = Vec::new();
    let Some(authority) = Authority::read(&context.home.authority().0)? else {
        return Ok(removed);
    };
    // Also of one that is switched off by now.
    let mut environment = platform.environment.clone();
    environment.registry.enabled = true;
    environment.components.registry.enabled = true;
    let Ok(Some(spec)) = RegistrySpec::of(&environment) else {
        return Ok(removed);
    };
    let host = trust::Host::this();
    let acts = Authority::forget(&host.facts(&authority), &spec.reference_host());
    for act in &acts {
        if rustix::process::geteuid().is_root() {
            host.carry_out(std::slice::from_ref(act), &authority)?;
            removed.push(spec.docker_ca_path());
        } else {
            let command = act.command(&authority);
            context.progress.say(&format!("left for root to take away: {command}"));
        }
    }
    Ok(removed)
}

fn remove_files(context: &Context, platform: &Platform) -> Result<Vec<String>, CliError> {
    let mut removed = Vec::new();
    let name = platform.environment.name.as_str();
    // First what only goes: on a full disk the rest then has room to be written.
    let directory = context.home.environment(name);
    match fs_err::remove_dir_all(&directory) {
        Ok(()) => removed.push(directory.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(CliError::File {
                action: "remove",
                path: directory,
                source,
            });
        }
    }
    let path = crate::context::kubeconfig_path()?;
    if path.exists() {
        let cluster = platform.environment.cluster_name();
        let without = |theirs: &str| {
            let without = loko_cluster::kubeconfig::remove(path.as_str(), theirs, &cluster);
            Ok(without.map_err(loko_cluster::ClusterError::from)?)
        };
        if context.home.edit_kubeconfig(&path, without)? {
            removed.push("its kubeconfig entries".to_owned());
        }
    }
    if state::read(&context.home.current())?.is_some_and(|current| current.trim() == name) {
        state::write(&context.home.current(), b"", false)?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine that lists what it was asked for only after some looks.
    #[tokio::test]
    async fn what_the_engine_still_makes_is_waited_for() {
        use std::cell::RefCell;
        let looks = RefCell::new(
            vec![
                vec!["node", "dns"],
                vec![],
                vec!["late"],
                vec![],
                vec![],
                vec!["never seen"],
            ]
            .into_iter(),
        );
        let removed = until_none_comes(
            || async { Ok(looks.borrow_mut().next().unwrap_or_default()) },
            |name: &str| async move { Ok(name.to_owned()) },
        );
        assert_eq!(removed.await.unwrap(), ["node", "dns", "late"]);
        assert_eq!(looks.borrow_mut().next(), Some(vec!["never seen"]));
    }

    #[tokio::test]
    async fn what_cannot_be_removed_is_not_tried_for_ever() {
        let refuses = |(): ()| async { Err(CliError::Declined) };
        let tried = until_none_comes(|| async { Ok(vec![()]) }, refuses).await;
        assert!(matches!(tried, Err(CliError::Declined)));
    }

    #[test]
    fn what_was_taken_back_is_named_by_what_it_was() {
        let write = |path: &str| Action::Write {
            path: path.to_owned(),
            contents: String::new(),
        };
        let remove = |path: &str| Action::Remove { path: path.to_owned() };
        let unit = "/etc/systemd/dns-delegate.d/loko-dev.dns-delegate";
        let done = [
            write(unit),
            Action::run(["systemctl", "reload", "systemd-resolved"]),
            remove(unit),
            write(HOSTS),
        ];
        assert_eq!(taken_back(&done), [unit, "its names in /etc/hosts"]);
        assert_eq!(taken_back(&[]), Vec::<String>::new());
    }
}
