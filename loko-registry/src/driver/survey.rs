//! Looking around: what a registry holds, and what an image consists of.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _};
use loko_config::model::RegistryEngine;
use serde::Deserialize;

use super::{Client, ClientError};
use crate::inventory::{ImageSummary, Inventory, RepositorySummary, Variant};
use crate::oci::{Descriptor, Digest, Manifest, Platform, Reference, Repository};
use crate::spec::RegistrySpec;
use crate::zot::search;

/// How many questions are under way at once.
const PARALLEL: usize = 8;

impl Client {
    /// What the registry of a specification holds. Nobody upstream is asked.
    pub async fn inventory(&self, spec: &RegistrySpec) -> Result<Inventory, ClientError> {
        let names: Vec<(Repository, Option<u64>)> = match spec.engine {
            RegistryEngine::Zot => match self.call(&search::Repositories).await {
                Ok(found) => found.into_iter().map(|it| (it.name, Some(it.size))).collect(),
                // An image of Zot without its extensions.
                Err(error) if error.is_not_found() => self.names().await?,
                Err(error) => return Err(error),
            },
            RegistryEngine::Distribution => self.names().await?,
        };
        let summaries = futures_util::stream::iter(names).map(|(name, size)| async move {
            let tags = match self.tags(&name).await {
                // The last tag was removed just now.
                Err(error) if error.is_not_found() => Vec::new(),
                tags => tags?,
            };
            let size = match (spec.engine, size) {
                // Its manifests may be asked for: here they are all its own.
                (RegistryEngine::Distribution, None) => Some(self.weigh(&name, &tags).await?),
                (_, size) => size,
            };
            Ok(RepositorySummary {
                source: spec.source_of(&name).map(|source| source.name.clone()),
                name,
                tags,
                size,
            })
        });
        let summaries: Result<_, ClientError> = summaries.buffer_unordered(PARALLEL).try_collect().await;
        Ok(Inventory::of(summaries?))
    }

    async fn names(&self) -> Result<Vec<(Repository, Option<u64>)>, ClientError> {
        Ok(self
            .repositories()
            .await?
            .into_iter()
            .map(|name| (name, None))
            .collect())
    }

    async fn weigh(&self, repository: &Repository, tags: &[String]) -> Result<u64, ClientError> {
        let mut blobs = BTreeMap::new();
        for tag in tags {
            let Ok(reference) = tag.parse() else { continue };
            match self.parts(repository, &reference).await {
                Ok((_, _, parts)) => blobs.extend(parts),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(blobs.into_values().fold(0, u64::saturating_add))
    }

    /// What an image consists of.
    pub async fn show(&self, repository: &Repository, reference: &Reference) -> Result<ImageSummary, ClientError> {
        let (fetched, mut variants, blobs) = self.parts(repository, reference).await?;
        let artifact_type = match &fetched.manifest {
            Manifest::Image(image) => {
                if let [only] = variants.as_mut_slice() {
                    only.platform = self.platform(repository, &image.config).await?;
                }
                let config = &image.config.media_type;
                let is_image =
                    config.ends_with(".image.config.v1+json") || config.ends_with(".container.image.v1+json");
                image
                    .artifact_type
                    .clone()
                    .or_else(|| (!is_image).then(|| config.clone()))
            }
            Manifest::Index(_) => None,
        };
        Ok(ImageSummary {
            digest: fetched.digest,
            media_type: fetched.media_type,
            artifact_type,
            variants,
            size: blobs.into_values().fold(0, u64::saturating_add),
        })
    }

    /// A manifest, what it has for each platform, and the blobs of all of them.
    async fn parts(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<(crate::oci::calls::Fetched, Vec<Variant>, BTreeMap<Digest, u64>), ClientError> {
        let fetched = self.manifest(repository, reference).await?;
        let mut blobs = BTreeMap::new();
        let mut variants = Vec::new();
        let mut add =
            |manifest: &Manifest| blobs.extend(manifest.blobs().into_iter().map(|it| (it.digest.clone(), it.size)));
        if let Manifest::Image(_) = &fetched.manifest {
            add(&fetched.manifest);
            variants.push(Variant {
                platform: None,
                digest: fetched.digest.clone(),
                size: Some(fetched.manifest.size()),
            });
        }
        for child in fetched
            .manifest
            .children()
            .iter()
            .filter(|child| !child.is_attestation())
        {
            let reference = Reference::Digest(child.digest.clone());
            let size = match self.manifest(repository, &reference).await {
                Ok(child) => {
                    add(&child.manifest);
                    Some(child.manifest.size())
                }
                // An index may name more than is there.
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error),
            };
            variants.push(Variant {
                platform: child.platform.clone(),
                digest: child.digest.clone(),
                size,
            });
        }
        Ok((fetched, variants, blobs))
    }

    /// For whom an image is, by its configuration; `None` where that does not say it.
    async fn platform(&self, repository: &Repository, config: &Descriptor) -> Result<Option<Platform>, ClientError> {
        #[derive(Deserialize)]
        struct Config {
            os: String,
            architecture: String,
            variant: Option<String>,
        }
        if config.size > super::MAX_BODY as u64 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.read_blob(repository, &config.digest, &mut bytes).await?;
        let config = serde_json::from_slice::<Config>(&bytes).ok();
        Ok(config.filter(|config| !config.os.is_empty()).map(|config| Platform {
            os: config.os,
            architecture: config.architecture,
            variant: config.variant.filter(|variant| !variant.is_empty()),
        }))
    }
}
