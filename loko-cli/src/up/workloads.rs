//! The step of workloads that cannot be applied at once: those that wait for others (`depends-on`), and Helm charts.
//!
//! Each workload is a shared future: it waits for those that it depends on, is applied, and is ready. What has nothing to be
//! applied waits for nobody, so that a second run is as short as one without them.

mod acme;
mod charts;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all, try_join_all};
use loko_cluster::charts::{Decision, surplus};
use loko_cluster::driver::{Helm, KubeApi};
use loko_cluster::plan::ObjectChange;
use loko_cluster::{ObjectKey, workloads};
use loko_config::model::Workload;

use super::nodes::Api;
use super::objects::{Applied, done};
use super::ready::{OBJECT_LIMIT, of_workload};
use super::{Stepped, Up};
use crate::error::CliError;
use crate::progress::{Line, Outcome};
use crate::steps::Stopped;

use charts::Chart;
pub(super) use charts::wanted_charts;
pub(crate) use charts::{helm, in_detail};

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
        let wanted = wanted_charts(self.context, self.platform)?;
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
        let surplus = surplus(&wanted, &there);
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
        let for_acme = work.certificates(&applied);
        let (_, asked) = futures_util::join!(join_all(tasks.into_values()), for_acme);
        asked?;
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

    /// Where another step failed the run ends, and this one with it.
    async fn way_is_up(&self) {
        if self.for_helm.clone().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn note(&self, text: String) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}
