//! Charts: what has to be done, doing it, and what that would change.

use std::collections::BTreeMap;

use futures_util::future::{join_all, try_join_all};
use loko_cluster::charts::{self, Decision, Release, Wanted};
use loko_cluster::difference::Difference;
use loko_cluster::driver::{Found, Helm, HookTold, KubeApi, Rendered};
use loko_cluster::error::HelmError;
use loko_cluster::{ClusterError, Manifest, ObjectKey, workloads};
use loko_config::Environment;
use loko_config::model::Workload;

use super::Work;
use crate::context::{self, Context, Platform};
use crate::error::CliError;
use crate::find;
use crate::plan::{Action, Change, Effect};
use crate::steps::Stopped;
use crate::up::Up;
use crate::up::ready::with_places;

/// The helm of this user for an environment.
pub(crate) fn helm(context: &Context, platform: &Platform) -> Helm {
    let name = platform.environment.name.as_str();
    Helm::new(
        &context.home.kubeconfig(name),
        &context.home.authority().0,
        platform.environment.network.domain.as_str(),
        &context.home.environment(name).join("charts"),
    )
}

/// The releases that an environment wants.
pub(crate) fn wanted_charts(context: &Context, platform: &Platform) -> Result<Vec<Wanted>, CliError> {
    let environment = &platform.environment;
    // The directory that it is in where nothing is known of one, as with a loko.yaml from standard input.
    let directory = find::directory(&platform.source, &context.home).unwrap_or_else(|| ".".into());
    Ok(Wanted::all(environment, &directory, &context::user_home()?).map_err(ClusterError::from)?)
}

/// A chart, what it is made of, and what has to be done.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) wanted: Wanted,
    found: Found,
    there: Option<Release>,
    pub(super) decision: Decision,
}

impl Up<'_> {
    /// What would be done about charts, and whose their objects are.
    pub(in crate::up) async fn charts_ahead(
        self,
        api: &KubeApi,
    ) -> Result<(Vec<Change>, BTreeMap<ObjectKey, String>), CliError> {
        let wanted = wanted_charts(self.context, self.platform)?;
        let there = api.releases().await?;
        let mut changes: Vec<Change> = charts::surplus(&wanted, &there)
            .into_iter()
            .map(|release| {
                let what = format!("chart {}", release.name);
                Change::live("workloads", Action::Remove, what, "loko.yaml does not have it any more")
            })
            .collect();
        if wanted.is_empty() {
            return Ok((changes, BTreeMap::new()));
        }
        let helm = helm(self.context, self.platform);
        for wanted in &wanted {
            let found = helm.look(wanted).await.map_err(ClusterError::from)?;
            let of_name = |release: &&Release| release.name == wanted.name && release.namespace == wanted.namespace;
            let there = there.iter().find(of_name);
            let decision = charts::decide(wanted, found.content.as_deref(), there);
            changes.extend(decision.verb().map(|verb| {
                let action = if there.is_some() {
                    Action::Update
                } else {
                    Action::Create
                };
                let change = Change::live(
                    "workloads",
                    action,
                    format!("chart {}", wanted.name),
                    format!("helm will {verb} it"),
                );
                // What a chart does with its pods is its own affair.
                if there.is_some() {
                    change.at(Effect::RestartsComponent)
                } else {
                    change
                }
            }));
        }
        let mut owners = BTreeMap::new();
        for ((_, release), keys) in api.release_objects().await? {
            if wanted.iter().any(|chart| chart.name == release) {
                owners.extend(keys.into_iter().map(|key| (key, release.clone())));
            }
        }
        Ok((changes, owners))
    }
}

impl<F, V> Work<'_, F>
where
    F: Future<Output = Result<V, Stopped>> + Clone + Send + Sync,
    V: Send,
{
    /// What each chart is made of, and what has to be done.
    pub(super) async fn looked_at(
        &self,
        wanted: Vec<Wanted>,
        there: &[Release],
    ) -> Result<BTreeMap<String, Chart>, CliError> {
        let looked = wanted.into_iter().map(|wanted| async move {
            let found = self.helm.look(&wanted).await.map_err(ClusterError::from)?;
            let of_name = |release: &&Release| release.name == wanted.name && release.namespace == wanted.namespace;
            let there = there.iter().find(of_name).cloned();
            let decision = charts::decide(&wanted, found.content.as_deref(), there.as_ref());
            let chart = Chart {
                wanted,
                found,
                there,
                decision,
            };
            Ok::<_, CliError>((chart.wanted.name.clone(), chart))
        });
        Ok(try_join_all(looked).await?.into_iter().collect())
    }

    /// Brings a release to what is wanted, and checks that the ways into it lead somewhere.
    pub(super) async fn bring(&self, workload: &Workload, chart: &Chart) -> Result<(), CliError> {
        let Some(verb) = chart.decision.verb() else {
            return Ok(());
        };
        let Wanted { name, namespace, .. } = &chart.wanted;
        if chart.decision == Decision::Foreign {
            let (name, namespace) = (name.clone(), namespace.clone());
            return Err(ClusterError::from(HelmError::Foreign { name, namespace }).into());
        }
        self.way_is_up().await;
        self.line.tell(&format!("{verb} {name} from {}", chart.wanted.origin));
        match (&chart.decision, &chart.there) {
            (Decision::Resume, Some(there)) => self.forget(there).await?,
            (Decision::Again, Some(there)) => self.uninstall(there).await?,
            _ => {}
        }
        let brought = async {
            let found = self.helm.fetch(&chart.wanted, chart.found.clone()).await?;
            self.helm.upgrade(&chart.wanted, &found).await
        };
        let brought = tokio::select! {
            brought = brought => brought,
            // Helm is ended with this, and the next run goes on from what it has done.
            (hook, error) = self.failing_hook(name, namespace) => {
                return Err(of_hook(&self.up.platform.environment, name, &hook, error));
            }
        };
        if let Err(error) = brought {
            return Err(self.failed(name, namespace, error).await);
        }
        self.note(format!("{verb} the chart {name}"));
        self.leads_somewhere(workload, namespace).await
    }

    /// Says what the hooks of a release wait for, and ends with one that will not come up. Helm itself would say nothing for as
    /// long as it waits, five minutes.
    async fn failing_hook(&self, name: &str, namespace: &str) -> (ObjectKey, ClusterError) {
        let told = HookTold {
            waits: &|key, why| self.line.tell(&format!("{name} waits for its hook {key}: {why}")),
            long: &|key, evidence| {
                let text = format!("{name} still waits for its hook {key}, five minutes at most:\n{evidence}");
                self.up.context.progress.say(text.trim_end());
            },
        };
        self.api.failing_hook(self.helm, name, namespace, told).await
    }

    /// Forgets a revision that was cut off, and nothing else.
    async fn forget(&self, release: &Release) -> Result<(), CliError> {
        let key = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            namespace: Some(release.namespace.clone()),
            name: release.secret(),
        };
        Ok(self.api.delete(&key).await?)
    }

    pub(super) async fn uninstall(&self, release: &Release) -> Result<(), CliError> {
        self.way_is_up().await;
        Helm::check(std::slice::from_ref(&release.name))
            .await
            .map_err(ClusterError::from)?;
        self.line.tell(&format!("uninstalling {}", release.name));
        let gone = self.helm.uninstall(&release.name, &release.namespace).await;
        gone.map_err(ClusterError::from)?;
        self.note(format!("uninstall the chart {}", release.name));
        Ok(())
    }

    /// A release that failed, with what the cluster says of its objects.
    async fn failed(&self, name: &str, namespace: &str, error: HelmError) -> CliError {
        let HelmError::Failed { action, said } = error else {
            return ClusterError::from(error).into();
        };
        let objects = self.api.release_objects().await.unwrap_or_default();
        let keys = objects.get(&(namespace.to_owned(), name.to_owned()));
        let mut hooks = self.helm.hooks(name, namespace).await.unwrap_or_default();
        hooks.retain(|hook| hook.kind == "Job");
        let keys = keys.into_iter().flatten().chain(&hooks);
        let evidence = join_all(keys.map(|key| async move { format!("{key}\n{}", self.api.evidence(key).await) }));
        let mut evidence = evidence.await.join("\n");
        let warnings = self.api.warnings(namespace, name).await;
        evidence.push_str(&warnings);
        evidence.push_str("`loko create` tries it again; `helm history` and `helm get` tell more");
        CliError::Workload {
            name: name.to_owned(),
            reason: format!("failed to {action}: {said}"),
            evidence,
        }
    }

    /// A route to a service that the chart does not have would only be noticed by who uses it.
    async fn leads_somewhere(&self, workload: &Workload, namespace: &str) -> Result<(), CliError> {
        let http = workload.http.iter().map(|http| u64::from(http.port.get()));
        let ports: Vec<u64> = http
            .chain(workload.ports.iter().map(|port| u64::from(port.port.get())))
            .collect();
        if ports.is_empty() {
            return Ok(());
        }
        let name = workload.name.to_string();
        let services = self.api.release_services(namespace, &name).await?;
        let service = workloads::service_of(workload);
        let has = services.get(service);
        let Some(missing) = ports.iter().find(|port| has.is_none_or(|ports| !ports.contains(port))) else {
            return Ok(());
        };
        let known: Vec<String> = services
            .iter()
            .map(|(name, ports)| {
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                format!("{name}: {}", ports.join(" "))
            })
            .collect();
        Err(CliError::Workload {
            name,
            reason: format!("its chart has no service `{service}` with the port {missing}"),
            evidence: format!(
                "the chart's services are {}; name one with `http.service`, or have the chart name it `{service}` (often \
                 `fullnameOverride` in `config.values`)",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ),
        })
    }
}

/// A hook that will not come up is its workload's failure.
fn of_hook(environment: &Environment, name: &str, hook: &ObjectKey, error: ClusterError) -> CliError {
    let ClusterError::NotReady {
        reason,
        image,
        evidence,
        ..
    } = error
    else {
        return error.into();
    };
    CliError::Workload {
        name: name.to_owned(),
        reason: format!("its hook {hook} does not come up: {reason}"),
        evidence: with_places(environment, image.as_deref(), evidence),
    }
}

/// What `helm` would change in the cluster, object by object, of the charts that have something to be done; and what could not be
/// found out.
pub(crate) async fn in_detail(
    context: &Context,
    platform: &Platform,
    api: &KubeApi,
) -> Result<(Vec<Change>, Vec<String>), CliError> {
    let (mut changes, mut unknown) = (Vec::new(), Vec::new());
    let wanted = wanted_charts(context, platform)?;
    if wanted.is_empty() {
        return Ok((changes, unknown));
    }
    let there = api.releases().await?;
    // Charts from git are checked out where nobody else looks.
    let directory = tempfile::tempdir().map_err(|source| CliError::File {
        action: "make",
        path: "a temporary directory".into(),
        source,
    })?;
    let checkouts = camino::Utf8Path::from_path(directory.path()).unwrap_or(camino::Utf8Path::new("."));
    let helm = helm(context, platform).with_checkouts(checkouts);
    for wanted in &wanted {
        let of_name = |release: &&Release| release.name == wanted.name && release.namespace == wanted.namespace;
        let release = there.iter().find(of_name);
        let looked = async {
            let found = helm.look(wanted).await?;
            let decision = charts::decide(wanted, found.content.as_deref(), release);
            if matches!(decision, Decision::Keep | Decision::Foreign) {
                return Ok(None);
            }
            let before = match release {
                Some(_) => helm.applied(&wanted.name, &wanted.namespace).await?,
                None => Vec::new(),
            };
            let found = helm.fetch(wanted, found).await?;
            Ok::<_, HelmError>(Some((before, helm.foresee(wanted, &found).await?)))
        };
        match looked.await {
            Ok(None) => {}
            Ok(Some((before, rendered))) => changes.extend(detail(&wanted.name, &before, &rendered)),
            Err(error) => unknown.push(format!("the objects of the chart {}: {error}", wanted.name)),
        }
    }
    Ok((changes, unknown))
}

/// What was applied of a release against what its chart renders now.
fn detail(name: &str, before: &[Manifest], rendered: &Rendered) -> Vec<Change> {
    let by_key = |manifests: &[Manifest]| -> BTreeMap<ObjectKey, Manifest> {
        let manifests = manifests.iter();
        manifests.map(|manifest| (manifest.key(), manifest.clone())).collect()
    };
    let (before, after) = (by_key(before), by_key(&rendered.objects));
    let change = |action, key: &ObjectKey, why: String| {
        Change::live("workloads", action, format!("{key} of the chart {name}"), why)
    };
    let mut changes = Vec::new();
    for (key, manifest) in &after {
        match before.get(key) {
            None => changes.push(change(
                Action::Create,
                key,
                "the chart did not make it before".to_owned(),
            )),
            Some(there) if there == manifest => {}
            Some(there) => {
                let difference = Difference::between(there.value(), manifest.value());
                let change = change(Action::Update, key, difference.summary());
                changes.push(if difference.renews_pods {
                    change.at(Effect::RestartsComponent)
                } else {
                    change
                });
            }
        }
    }
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    changes.extend(gone.map(|key| change(Action::Remove, key, "the chart does not make it any more".to_owned())));
    changes.extend(rendered.hooks.iter().map(|hook| {
        let what = format!("{hook} of the chart {name}");
        Change::live(
            "workloads",
            Action::Start,
            what,
            "a hook: what it does is not known before",
        )
    }));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn a_chart_is_told_object_by_object() {
        let parsed = |yaml: &str| Manifest::parse_all(yaml).unwrap();
        let deployment = |image: &str| {
            format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {{template: {{spec: {{containers: \
                 [{{name: web, image: '{image}'}}]}}}}}}\n---\n"
            )
        };
        let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n---\n");
        let before = parsed(&(deployment("web:1") + &map("same") + &map("old")));
        let rendered = Rendered {
            objects: parsed(&(deployment("web:2") + &map("same") + &map("new"))),
            hooks: vec!["Job web-migrate".to_owned()],
        };
        let changes = detail("web", &before, &rendered);
        insta::assert_snapshot!(Plan::new("dev", changes, Vec::new()).text());
    }
}
