//! `loko registry load`: what the engine has goes into the registry, or into the nodes. Nothing is written to disk on the way.

use futures_util::TryStreamExt as _;
use loko_config::names::ImageRef;
use loko_registry::driver::{Progress, load};
use serde::Serialize;
use tokio_util::io::StreamReader;

use super::look::named;
use super::{At, size};
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::output;
use crate::progress::Outcome;

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Loaded {
    image: String,
    /// As pods and users name it now.
    reference: String,
    digest: String,
    /// Parts that were sent, and their bytes.
    sent: usize,
    bytes: u64,
    /// Parts that were there already.
    there: usize,
}

/// Into the registry: each part once, and none that is there.
pub(super) async fn into_registry(at: At<'_>, images: &[ImageRef]) -> Result<(), CliError> {
    let client = at.client()?;
    let mut all = Vec::new();
    for image in images {
        let (repository, reference) = at.place(image)?;
        must_have(at.platform, image).await?;
        let line = at.context.progress.start("load", image.as_str());
        let archive = at.platform.engine.export_images(&[image.as_str().to_owned()]);
        let archive = StreamReader::new(Box::pin(archive.map_err(std::io::Error::other)));
        let mut sent = 0;
        let told = |progress| {
            if let Progress::Sending { size: bytes, .. } = progress {
                sent += bytes;
                line.tell(&format!("{image}: {}", size(sent)));
            }
        };
        let loaded = match load(&client, &repository, &reference, archive, told).await {
            Ok(loaded) => loaded,
            Err(error) => {
                line.failed(&error.to_string());
                return Err(error.into());
            }
        };
        let name = format!(
            "{}/{}",
            at.spec.reference_host(),
            named(&repository, &reference.to_string())
        );
        line.done(&Outcome::Changed(format!("{name}, {} sent", size(loaded.bytes))));
        all.push(Loaded {
            image: image.to_string(),
            reference: name,
            digest: loaded.digest.to_string(),
            sent: loaded.sent,
            bytes: loaded.bytes,
            there: loaded.there,
        });
    }
    output::formatted(at.context.global.output, &all, || {
        let line = |it: &Loaded| {
            [
                it.reference.clone(),
                it.digest.clone(),
                format!("{} in {}", size(it.bytes), it.sent),
                it.there.to_string(),
            ]
        };
        output::table(["IMAGE", "DIGEST", "SENT", "WAS THERE"], all.iter().map(line))
    });
    Ok(())
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct IntoNodes {
    image: String,
    nodes: Vec<String>,
}

/// Into every node, also where it has one of that name: the engine's may be newer.
pub(super) async fn into_nodes(context: &Context, platform: &Platform, images: &[ImageRef]) -> Result<(), CliError> {
    let cluster = &platform.cluster;
    let nodes: Vec<String> = loko_cluster::nodes::names(&platform.environment)
        .map(|(name, ..)| name)
        .collect();
    let mut all = Vec::new();
    for image in images {
        must_have(platform, image).await?;
        let line = context.progress.start("load", image.as_str());
        let one = [image.to_string()];
        let loads = nodes.iter().map(|node| cluster.load(node, &one));
        if let Err(error) = futures_util::future::try_join_all(loads).await {
            line.failed(&error.to_string());
            return Err(error.into());
        }
        line.done(&Outcome::Changed(format!("{image} into {} nodes", nodes.len())));
        all.push(IntoNodes {
            image: image.to_string(),
            nodes: nodes.clone(),
        });
    }
    output::formatted(context.global.output, &all, || {
        let line = |it: &IntoNodes| [it.image.clone(), it.nodes.join(" ")];
        output::table(["IMAGE", "NODES"], all.iter().map(line))
    });
    Ok(())
}

async fn must_have(platform: &Platform, image: &ImageRef) -> Result<(), CliError> {
    if platform.engine.image(image.as_str()).await?.is_some() {
        return Ok(());
    }
    Err(CliError::Usage {
        message: format!("the engine has no image {image}"),
        help: format!("`docker images` lists what it has; `docker pull {image}` fetches it"),
    })
}
