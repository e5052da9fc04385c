//! Images into a mirror before somebody waits for them.

use futures_util::StreamExt as _;

use super::{Client, ClientError};
use crate::oci::{Digest, Manifest, Platform, Reference, Repository};

/// What came of one image.
#[derive(Debug)]
pub struct Warmed {
    /// Where it lies in the registry.
    pub repository: Repository,
    /// What it was asked for by.
    pub reference: Reference,
    /// Its digest and its bytes.
    pub outcome: Result<(Digest, u64), ClientError>,
}

/// Pulls images through the registry, so many at once, for one platform, and throws away what arrives: it stays in the mirror.
/// What the mirror has already it does not fetch again, so that after an interruption the same call goes on. An image that
/// fails keeps no other from being pulled. `progress` is told of each as it ends; the result is in the order asked for.
pub async fn warm(
    client: &Client,
    images: Vec<(Repository, Reference)>,
    platform: &Platform,
    parallel: usize,
    mut progress: impl FnMut(&Warmed),
) -> Vec<Warmed> {
    let mut ended: Vec<_> = futures_util::stream::iter(images.into_iter().enumerate())
        .map(|(index, (repository, reference))| async move {
            let outcome = pull(client, &repository, &reference, platform).await;
            let warmed = Warmed {
                repository,
                reference,
                outcome,
            };
            (index, warmed)
        })
        .buffer_unordered(parallel.max(1))
        .inspect(|(_, warmed)| progress(warmed))
        .collect()
        .await;
    ended.sort_by_key(|(index, _)| *index);
    ended.into_iter().map(|(_, warmed)| warmed).collect()
}

async fn pull(
    client: &Client,
    repository: &Repository,
    reference: &Reference,
    platform: &Platform,
) -> Result<(Digest, u64), ClientError> {
    let fetched = client.manifest(repository, reference).await?;
    let mut manifest = fetched.manifest;
    if let Manifest::Index(index) = &manifest
        && let Some(child) = index.for_platform(platform)
    {
        let child = Reference::Digest(child.digest.clone());
        manifest = client.manifest(repository, &child).await?.manifest;
    }
    let mut bytes = 0;
    for blob in manifest.blobs() {
        bytes += client
            .read_blob(repository, &blob.digest, &mut tokio::io::sink())
            .await?;
    }
    Ok((fetched.digest, bytes))
}
