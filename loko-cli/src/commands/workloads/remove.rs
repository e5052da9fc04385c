//! `loko workloads remove`: out of loko.yaml, and its data where that is wanted.

use std::io::IsTerminal as _;

use loko_cluster::ObjectKey;
use loko_config::edit::Edit;

use super::{among, change};
use crate::args::WorkloadRemove;
use crate::context::{self, Context};
use crate::error::CliError;
use crate::{secrets, state};

/// Asks what is not said, edits loko.yaml, and takes the data away once nothing uses it any more.
pub(super) async fn run(context: &Context, options: &WorkloadRemove) -> Result<(), CliError> {
    let WorkloadRemove {
        name,
        now,
        data,
        keep_data,
    } = options;
    let (_, loaded) = context.load()?;
    let environment = &loaded.environment;
    among(&environment.name, &environment.workloads.list, name)?;
    let resolution = context::catalogue(&context.home)?.resolve(environment)?;
    let workload = among(&environment.name, &resolution.environment.workloads.list, name)?;
    let has_data = workload.storage.is_some();
    context.confirm(&format!("remove {name} from loko.yaml?"))?;
    // `--yes` says nothing of data: what cannot be had back is taken away only where that is said.
    let may_ask = has_data && !keep_data && !context.global.yes && std::io::stdin().is_terminal();
    let takes_data = *data
        || may_ask
            && is_yes(
                context,
                &format!("its data as well? {name} has some, and it is gone then"),
            )?;
    let name = name.clone();
    let what = Edit::RemoveWorkload { workload: name.clone() };
    if !takes_data {
        if has_data {
            context.progress.say(&format!(
                "the data of {name} stays, and its secrets with it: added again, it finds both"
            ));
        }
        return change(context, what, *now).await;
    }
    let namespace = environment.workloads.namespace.to_string();
    let api = context.api(environment.name.as_str()).await?;
    change(context, what, true).await?;
    let selector = format!("app.kubernetes.io/name={name}");
    for claim in api
        .list_metadata("v1", "PersistentVolumeClaim", Some(&namespace), &selector)
        .await?
    {
        let key = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "PersistentVolumeClaim".to_owned(),
            namespace: Some(namespace.clone()),
            name: claim["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        };
        api.delete(&key).await?;
    }
    let mut all = secrets::read(context, environment.name.as_str())?;
    all.forget(name.as_str());
    let path = context.home.secrets(environment.name.as_str());
    state::write(&path, all.render()?.as_bytes(), true)?;
    context
        .progress
        .say(&format!("{name}, its data and its secrets are gone"));
    Ok(())
}

/// A question whose answer may be no.
fn is_yes(context: &Context, question: &str) -> Result<bool, CliError> {
    match context.confirm(question) {
        Ok(()) => Ok(true),
        Err(CliError::Declined) => Ok(false),
        Err(other) => Err(other),
    }
}
