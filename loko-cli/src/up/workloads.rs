//! The step of workloads that cannot be applied at once: those that wait for others (`depends-on`), and Helm charts.
//!
//! Each workload is a shared future: it waits for those that it depends on, is applied, and is ready. What has nothing to be
//! applied waits for nobody, so that a second run is as short as one without them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8Path;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all, try_join_all};
use loko_cluster::charts::{self, Decision, Release, Wanted};
use loko_cluster::driver::{Found, Helm, KubeApi};
use loko_cluster::error::HelmError;
use loko_cluster::plan::ObjectChange;
use loko_cluster::{ClusterError, ObjectKey, workloads};
use loko_config::model::Workload;

use super::nodes::Api;
use super::objects::{Applied, done};
use super::ready::{OBJECT_LIMIT, of_workload};
use super::{Stepped, Up};
use crate::context::{self, Context, Platform};
use crate::error::CliError;
use crate::plan::{Action, Change, Effect};
use crate::progress::{Line, Outcome};
use crate::steps::Stopped;

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
pub(crate) fn wanted_charts(platform: &Platform) -> Result<Vec<Wanted>, CliError> {
    let path = platform.source.path.canonicalize_utf8();
    let path = path.unwrap_or_else(|_| platform.source.path.clone());
    let directory = path.parent().unwrap_or(Utf8Path::new("."));
    Ok(Wanted::all(&platform.environment, directory, &context::user_home()?).map_err(ClusterError::from)?)
}

/// A chart, what it is made of, and what has to be done.
#[derive(Debug)]
struct Chart {
    wanted: Wanted,
    found: Found,
    there: Option<Release>,
    decision: Decision,
}

/// One workload's work, for those that depend on it.
type Task<'a> = Shared<BoxFuture<'a, Result<(), ()>>>;

/// What all of them share.
struct Work<'a, F> {
    up: Up<'a>,
    api: &'a KubeApi,
    helm: &'a Helm,
    for_helm: F,
    line: &'a Line,
    failure: Mutex<Option<CliError>>,
    changed: Mutex<Vec<String>>,
}

impl Up<'_> {
    /// Gives the objects of charts that take time to become ready, and whose they are.
    pub(super) async fn workloads<F, V>(
        self,
        (api, _): Api,
        applied: Arc<Applied>,
        for_helm: F,
        line: Line,
    ) -> Stepped<BTreeMap<ObjectKey, String>>
    where
        F: Future<Output = Result<V, Stopped>> + Clone + Send + Sync,
        V: Send,
    {
        let helm = helm(self.context, self.platform);
        let wanted = wanted_charts(self.platform)?;
        let there = api.releases().await?;
        let work = Work {
            up: self,
            api: &api,
            helm: &helm,
            for_helm,
            line: &line,
            failure: Mutex::default(),
            changed: Mutex::default(),
        };
        let surplus = charts::surplus(&wanted, &there);
        let removed = surplus.iter().map(|release| work.uninstall(release));
        try_join_all(removed).await?;
        let charts = work.looked_at(wanted, &there).await?;
        let mut tasks: BTreeMap<&str, Task<'_>> = BTreeMap::new();
        let mut left: Vec<&Workload> = self.platform.environment.enabled_workloads().collect();
        // Circles are refused when loko.yaml is read, so each round finds one that waits for none of those left.
        while let Some(at) = left.iter().position(|one| {
            let mut waits = one.depends_on.iter();
            !waits.any(|name| left.iter().any(|other| other.name == *name))
        }) {
            let workload = left.remove(at);
            let name = workload.name.as_str();
            let needs: Vec<Task<'_>> = workload
                .depends_on
                .iter()
                .filter_map(|name| tasks.get(name.as_str()).cloned())
                .collect();
            let part = workloads::part(name);
            let objects = applied.aside.get(&part).map(Vec::as_slice).unwrap_or_default();
            let keys = applied.by_part.get(&part).map(Vec::as_slice).unwrap_or_default();
            let is_needed = self.is_needed(workload);
            let task = work.task(workload, needs, objects, charts.get(name), keys, is_needed);
            tasks.insert(name, task.boxed().shared());
        }
        join_all(tasks.into_values()).await;
        if let Some(error) = work.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let mut owners = BTreeMap::new();
        if !charts.is_empty() {
            for ((_, release), keys) in api.release_objects().await? {
                if charts.contains_key(&release) {
                    owners.extend(keys.into_iter().map(|key| (key, release.clone())));
                }
            }
        }
        let mut changed = work.changed.into_inner().unwrap_or_else(PoisonError::into_inner);
        changed.sort();
        let outcome = if changed.is_empty() {
            Outcome::Unchanged
        } else {
            Outcome::Changed(changed.join(", "))
        };
        Ok((owners, outcome))
    }

    /// What would be done about charts, and whose their objects are.
    pub(super) async fn charts_ahead(
        self,
        api: &KubeApi,
    ) -> Result<(Vec<Change>, BTreeMap<ObjectKey, String>), CliError> {
        let wanted = wanted_charts(self.platform)?;
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

    /// Whether another workload waits for this one.
    fn is_needed(self, workload: &Workload) -> bool {
        let mut others = self.platform.environment.enabled_workloads();
        others.any(|other| other.depends_on.contains(&workload.name))
    }
}

impl<F, V> Work<'_, F>
where
    F: Future<Output = Result<V, Stopped>> + Clone + Send + Sync,
    V: Send,
{
    /// Everything of one workload, in order; where there is nothing to do, and nobody waits for it, nothing is waited for.
    async fn task(
        &self,
        workload: &Workload,
        needs: Vec<Task<'_>>,
        objects: &[ObjectChange],
        chart: Option<&Chart>,
        keys: &[ObjectKey],
        is_needed: bool,
    ) -> Result<(), ()> {
        let has_work = !objects.is_empty() || chart.is_some_and(|chart| chart.decision != Decision::Keep);
        if (has_work || is_needed) && !needs.is_empty() {
            let names: Vec<&str> = workload.depends_on.iter().map(AsRef::as_ref).collect();
            if has_work {
                self.line
                    .tell(&format!("{} waits for {}", workload.name, names.join(", ")));
            }
            try_join_all(needs).await?;
        }
        let done = async {
            self.apply(objects).await?;
            if let Some(chart) = chart {
                self.bring(workload, chart).await?;
            }
            if is_needed {
                self.ready(workload, chart, keys).await?;
            }
            Ok(())
        };
        done.await.map_err(|error| {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(error);
        })
    }

    async fn apply(&self, objects: &[ObjectChange]) -> Result<(), CliError> {
        self.api.carry_out_all(objects).await?;
        self.up.follow_secrets(self.api, objects.iter()).await?;
        if let Outcome::Changed(text) = done(objects.iter()) {
            self.note(text);
        }
        Ok(())
    }

    /// Waits until those that depend on a workload may be applied.
    async fn ready(&self, workload: &Workload, chart: Option<&Chart>, keys: &[ObjectKey]) -> Result<(), CliError> {
        let (platform, name) = (self.up.platform, workload.name.to_string());
        let mut owners = BTreeMap::new();
        let mut keys = keys.to_vec();
        if let Some(chart) = chart {
            let mut objects = self.api.release_objects().await?;
            let of_chart = objects.remove(&(chart.wanted.namespace.clone(), name.clone()));
            keys = of_chart.unwrap_or_default();
            owners.extend(keys.iter().map(|key| (key.clone(), name.clone())));
        }
        let told = |key: &ObjectKey, why: &str| self.line.tell(&format!("{key}: {why}"));
        let waited = self.api.wait_all_ready(&keys, OBJECT_LIMIT, told).await;
        waited.map_err(|(key, error)| of_workload(platform, &owners, &key, error))
    }

    /// What each chart is made of, and what has to be done.
    async fn looked_at(&self, wanted: Vec<Wanted>, there: &[Release]) -> Result<BTreeMap<String, Chart>, CliError> {
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
    async fn bring(&self, workload: &Workload, chart: &Chart) -> Result<(), CliError> {
        let Some(verb) = chart.decision.verb() else {
            return Ok(());
        };
        let Wanted { name, namespace, .. } = &chart.wanted;
        if chart.decision == Decision::Foreign {
            let (name, namespace) = (name.clone(), namespace.clone());
            return Err(ClusterError::from(HelmError::Foreign { name, namespace }).into());
        }
        self.helm_may_run().await;
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
        if let Err(error) = brought.await {
            return Err(self.failed(name, namespace, error).await);
        }
        self.note(format!("{verb} the chart {name}"));
        self.leads_somewhere(workload, namespace).await
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

    async fn uninstall(&self, release: &Release) -> Result<(), CliError> {
        self.helm_may_run().await;
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
        let evidence = join_all(
            keys.into_iter()
                .flatten()
                .map(|key| async move { format!("{key}\n{}", self.api.evidence(key).await) }),
        );
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

    /// Where another step failed the run ends, and this one with it.
    async fn helm_may_run(&self) {
        if self.for_helm.clone().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn note(&self, text: String) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}
