//! What a registry holds, as data.

use serde::Serialize;

use crate::oci::{Digest, Platform, Repository};

/// All that a registry holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// By name.
    pub repositories: Vec<RepositorySummary>,
    /// The bytes of all repositories; a blob that two of them have is counted twice. `None`: the registry does not say.
    pub size: Option<u64>,
}

/// One repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepositorySummary {
    /// Its name.
    pub name: Repository,
    /// The source that it is a mirror of; `None`: it was pushed.
    pub source: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The bytes of its blobs, each counted once; `None`: the registry does not say.
    pub size: Option<u64>,
}

/// One image, or whatever else a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Of the manifest, or of the index.
    pub digest: Digest,
    /// What it is.
    pub media_type: String,
    /// What kind of artifact, where it is no image: a chart, a signature, …
    pub artifact_type: Option<String>,
    /// One for each platform; just one where it is for one only.
    pub variants: Vec<Variant>,
    /// The bytes of all its blobs, each counted once.
    pub size: u64,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// For whom; `None` where nothing says it.
    pub platform: Option<Platform>,
    /// Of its manifest.
    pub digest: Digest,
    /// The bytes of its blobs; `None` where its manifest is not in the registry.
    pub size: Option<u64>,
}

impl Inventory {
    /// From its repositories, in any order.
    #[must_use]
    pub fn of(mut repositories: Vec<RepositorySummary>) -> Self {
        repositories.sort_by(|one, other| one.name.cmp(&other.name));
        let size = repositories
            .iter()
            .try_fold(0_u64, |sum, it| Some(sum.saturating_add(it.size?)));
        Self { repositories, size }
    }
}
