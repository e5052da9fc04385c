//! `loko registry prune`: the room of what no tag names any more.
//!
//! Zot collects its garbage by itself, once a day and whenever it starts: it is started anew. distribution collects it only
//! while nothing is written, so it is stopped, a program of its own collects, and it is started again. While it is stopped its
//! object in the cluster carries no mark of what it was applied from: should this run be killed, the next `create` mends it.

use std::time::Duration;

use loko_cluster::driver::KubeApi;
use loko_cluster::{ObjectKey, components};
use loko_config::model::RegistryEngine;
use loko_engine::driver::{ExecSpec, File};
use loko_engine::image::canonical;
use loko_registry::oci::calls::Ping;
use loko_registry::{distribution, manifests, spec};
use serde::Serialize;
use serde_json::{Value, json};

use super::{At, size};
use crate::error::CliError;
use crate::output;
use crate::progress::{Line, Outcome};

/// Limit for each wait.
const LIMIT: Duration = Duration::from_mins(5);
/// Where the configuration for the collection lies in the node meanwhile: not in /run, which is mounted over what the engine
/// writes there.
const CONFIG: &str = "/etc/loko-registry-prune.yml";

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    /// Bytes on disk before and after.
    before: u64,
    after: u64,
}

pub(super) async fn run(at: At<'_>) -> Result<(), CliError> {
    let api = at.api().await?;
    let line = at.context.progress.start("prune", "looking at the registry");
    let result = prune(at, &api, &line).await;
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            line.failed(&error.to_string());
            return Err(error);
        }
    };
    let freed = size(report.before.saturating_sub(report.after));
    line.done(&Outcome::Changed(format!("{freed} freed")));
    output::formatted(at.context.global.output, &report, || {
        format!("{} on disk, {freed} less than before", size(report.after))
    });
    if at.spec.engine == RegistryEngine::Zot {
        at.context
            .progress
            .say("Zot collects in the background, and only what has had no tag for an hour");
    }
    Ok(())
}

async fn prune(at: At<'_>, api: &KubeApi, line: &Line) -> Result<Report, CliError> {
    let key = ObjectKey {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some(components::NAMESPACE.to_owned()),
        name: manifests::NAME.to_owned(),
    };
    let before = disk(at).await?;
    let object = api.get(&key).await?.ok_or_else(|| CliError::Down {
        summary: "the registry is not in the cluster".to_owned(),
    })?;
    let mark = object["metadata"]["annotations"][loko_cluster::plan::SPEC].clone();
    line.tell("stopping the registry");
    api.merge(&key, &scaled(0, &Value::Null)).await?;
    let collected = async {
        gone(api, at, line).await?;
        if at.spec.engine == RegistryEngine::Distribution {
            line.tell("collecting");
            collect(at).await?;
        }
        Ok::<_, CliError>(())
    }
    .await;
    // Whatever came of it.
    line.tell("starting the registry");
    api.merge(&key, &scaled(1, &mark)).await?;
    api.wait_ready(&key, LIMIT, |why| line.tell(why)).await?;
    answers(at, line).await?;
    collected?;
    Ok(Report {
        before,
        after: disk(at).await?,
    })
}

fn scaled(replicas: u8, mark: &Value) -> Value {
    json!({
        "metadata": {"annotations": {loko_cluster::plan::SPEC: mark}},
        "spec": {"replicas": replicas},
    })
}

/// Waits until no pod of the registry's own program is left.
async fn gone(api: &KubeApi, at: At<'_>, line: &Line) -> Result<(), CliError> {
    let selector = format!("app.kubernetes.io/component={}", manifests::NAME);
    let left = async {
        loop {
            let pods = api.list("v1", "Pod", Some(components::NAMESPACE), &selector).await?;
            if pods.is_empty() {
                return Ok(());
            }
            line.tell("waiting for the registry to end");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let ended = tokio::time::timeout(LIMIT, left).await;
    ended.unwrap_or_else(|_| {
        Err(CliError::Down {
            summary: format!("{} does not end", at.spec.host),
        })
    })
}

/// Waits until nodes reach it: their rules follow a moment after the pod is ready.
async fn answers(at: At<'_>, line: &Line) -> Result<(), CliError> {
    let asked = async {
        while at.ask(spec::PORT, &Ping).await.is_err() {
            line.tell("waiting until nodes reach it");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(LIMIT, asked).await.map_err(|_| CliError::Down {
        summary: format!("{} is not reached from nodes", at.spec.host),
    })
}

/// Runs the registry's own image once, on its data, without Kubernetes.
async fn collect(at: At<'_>) -> Result<(), CliError> {
    let engine = &at.platform.engine;
    let node = at.node();
    let config = distribution::instances(at.spec).into_iter().next();
    let config = config.map(|own| own.config.render()).unwrap_or_default();
    engine.put_files(&node, &[File::new(CONFIG, config.as_bytes())]).await?;
    let data = format!("{}/distribution", loko_cluster::wanted::REGISTRY_DATA);
    let image = canonical(&at.spec.reference());
    let command = [
        "ctr",
        "--namespace",
        "k8s.io",
        "run",
        "--rm",
        "--mount",
        &format!("type=bind,src={data},dst={},options=rbind:rw", spec::DATA),
        "--mount",
        &format!("type=bind,src={CONFIG},dst={CONFIG},options=rbind:ro"),
        &image,
        "loko-registry-prune",
        "registry",
        "garbage-collect",
        "--delete-untagged",
        CONFIG,
    ];
    // What an earlier run that was killed may have left stands in the way of the name.
    let tidy = "ctr -n k8s.io tasks kill -s 9 loko-registry-prune; ctr -n k8s.io tasks rm loko-registry-prune; \
                ctr -n k8s.io containers rm loko-registry-prune; ctr -n k8s.io snapshots rm loko-registry-prune; true";
    engine.exec(&node, &ExecSpec::new(["sh", "-c", tidy])).await?;
    let collected = engine
        .exec_ok(&node, &ExecSpec::new(command).within(Duration::from_mins(10)))
        .await;
    engine.exec(&node, &ExecSpec::new(["rm", "-f", CONFIG])).await?;
    collected?;
    Ok(())
}

/// The bytes of all that the registry has on disk.
pub(super) async fn disk(at: At<'_>) -> Result<u64, CliError> {
    let spec = ExecSpec::new([
        "du",
        "--summarize",
        "--block-size=1",
        loko_cluster::wanted::REGISTRY_DATA,
    ]);
    let output = at.platform.engine.exec_ok(&at.node(), &spec).await?;
    let first = output.text().split_whitespace().next().unwrap_or_default().to_owned();
    Ok(first.parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_it_is_stopped_nothing_says_what_it_was_applied_from() {
        let stopped = scaled(0, &Value::Null);
        assert_eq!(stopped["spec"]["replicas"], 0);
        assert_eq!(stopped["metadata"]["annotations"], json!({"dev.loko.spec": null}));
        assert_eq!(
            scaled(1, &json!("a")),
            json!({
                "metadata": {"annotations": {"dev.loko.spec": "a"}}, "spec": {"replicas": 1}
            })
        );
    }
}
