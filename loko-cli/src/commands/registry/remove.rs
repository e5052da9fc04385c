//! `loko registry rm` and `purge`

use loko_config::names::ImageRef;
use loko_registry::driver::ClientError;
use loko_registry::oci::{ProtocolError, Repository};
use serde::Serialize;

use super::look::{self, named};
use super::{At, Purge};
use crate::error::CliError;
use crate::output;

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Removed {
    name: String,
    /// How many manifests went.
    manifests: usize,
}

/// Takes images away by tag or digest. One that is not there is an error, after all others were taken away.
pub(super) async fn images(at: At<'_>, images: &[ImageRef]) -> Result<(), CliError> {
    let places = images
        .iter()
        .map(|image| at.place(image))
        .collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = places
        .iter()
        .map(|(repository, reference)| named(repository, &reference.to_string()))
        .collect();
    at.context.confirm(&format!(
        "remove {} from {}?",
        names.join(", "),
        at.spec.reference_host()
    ))?;
    let client = at.client()?;
    let mut removed = Vec::new();
    let mut missing = Vec::new();
    for (name, (repository, reference)) in names.into_iter().zip(&places) {
        // Looked for first: a registry that takes no tags away says nothing of one that it does not have.
        if client.digest(repository, reference).await?.is_none() {
            missing.push(name);
            continue;
        }
        client.remove(repository, reference).await?;
        removed.push(Removed { name, manifests: 1 });
    }
    tell(at, &removed);
    if missing.is_empty() {
        return Ok(());
    }
    let what = missing.join(", ");
    Err(ClientError::from(ProtocolError::NotFound { what }).into())
}

/// Takes whole repositories away.
pub(super) async fn repositories(at: At<'_>, options: &Purge) -> Result<(), CliError> {
    let client = at.client()?;
    let (repositories, what) = if options.all || options.mirrored {
        let inventory = client.inventory(at.spec).await?;
        let found = inventory
            .repositories
            .into_iter()
            .filter(|it| !it.tags.is_empty() && (options.all || it.source.is_some()))
            .map(|it| it.name)
            .collect::<Vec<_>>();
        let which = if options.all {
            "repositories"
        } else {
            "mirrored repositories"
        };
        let what = format!("all {} {which}", found.len());
        (found, what)
    } else {
        let places = options.repositories.iter().map(|name| Ok(at.place(name)?.0));
        let places = places.collect::<Result<Vec<_>, CliError>>()?;
        let names: Vec<&str> = places.iter().map(Repository::as_str).collect();
        let what = names.join(", ");
        (places, what)
    };
    at.context
        .confirm(&format!("remove {what} from {}?", at.spec.reference_host()))?;
    let mut removed = Vec::new();
    for repository in repositories {
        removed.push(Removed {
            manifests: client.purge(&repository).await?,
            name: repository.as_str().to_owned(),
        });
    }
    tell(at, &removed);
    if options.mirrored || options.all {
        look::tell_of_mirrors(at);
    }
    Ok(())
}

fn tell(at: At<'_>, removed: &[Removed]) {
    output::formatted(at.context.global.output, &removed, || {
        if removed.is_empty() {
            return "nothing was there".to_owned();
        }
        let line = |it: &Removed| [it.name.clone(), it.manifests.to_string()];
        output::table(["REMOVED", "MANIFESTS"], removed.iter().map(line))
    });
    if !removed.is_empty() {
        at.context
            .progress
            .say("`loko registry prune` frees the room that this took");
    }
}
