//! `loko registry warm`: images into the mirrors before somebody waits for them.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use loko_cluster::wanted;
use loko_config::model::RegistryEngine;
use loko_config::names::ImageRef;
use loko_registry::driver;
use loko_registry::images::FullName;
use loko_registry::oci::calls::{GetBlob, GetManifest};
use loko_registry::oci::{Call as _, Manifest, Platform, Reference, Repository};
use serde::Serialize;

use super::{At, size};
use crate::context;
use crate::error::CliError;
use crate::output;
use crate::progress::Outcome;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Warmed {
    image: String,
    /// Where it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// All of it, whether it had to be fetched or was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(super) async fn run(at: At<'_>, images: &[ImageRef], catalog: bool, parallel: usize) -> Result<(), CliError> {
    if at.spec.sources.is_empty() {
        return Err(CliError::Usage {
            message: "nothing is mirrored".to_owned(),
            help: "switch it on in loko.yaml, `registry: {mirroring: {enabled: true}}`, and run `loko create`"
                .to_owned(),
        });
    }
    let images = which(at, images, catalog)?;
    let count = images.len();
    let line = at.context.progress.start("warm", &format!("{count} images"));
    let platform = Platform {
        os: "linux".to_owned(),
        architecture: match at.platform.engine.facts().architecture.as_str() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned(),
        variant: None,
    };
    let mut ended = futures_util::stream::iter(images)
        .map(|image| {
            let platform = &platform;
            async move { one(at, &image, platform).await }
        })
        .buffer_unordered(parallel.max(1));
    let mut all: Vec<Warmed> = Vec::with_capacity(count);
    while let Some(warmed) = ended.next().await {
        all.push(warmed);
        line.tell(&format!("{} of {count}", all.len()));
    }
    all.sort_by(|one, other| one.image.cmp(&other.image));
    let failed = all.iter().filter(|it| it.problem.is_some()).count();
    if failed == 0 {
        line.done(&Outcome::Changed(format!("{count} images are in the mirrors")));
    } else {
        line.failed(&format!("{failed} of {count} images are not in the mirrors"));
    }
    output::formatted(at.context.global.output, &all, || {
        let row = |it: &Warmed| {
            [
                it.image.clone(),
                it.bytes.map_or_else(|| "-".to_owned(), size),
                it.problem.clone().or_else(|| it.digest.clone()).unwrap_or_default(),
            ]
        };
        output::table(["IMAGE", "SIZE", "DIGEST"], all.iter().map(row))
    });
    match failed {
        0 => Ok(()),
        _ => Err(CliError::Down {
            summary: format!("{failed} of {count} images could not be fetched"),
        }),
    }
}

/// What was asked for, or what loko.yaml needs; and, where that is wanted, the catalogue. Images of registries that are not
/// mirrored are left out unless they were named.
fn which(at: At<'_>, images: &[ImageRef], catalog: bool) -> Result<BTreeSet<ImageRef>, CliError> {
    let mut all: BTreeSet<ImageRef> = images.iter().cloned().collect();
    let mut more = BTreeSet::new();
    if images.is_empty() {
        let wanted = wanted::images(&at.platform.environment);
        more.extend(wanted.iter().filter_map(|image| image.image.parse::<ImageRef>().ok()));
    }
    if catalog {
        let catalogue = context::catalogue(&at.context.home)?;
        for name in catalogue.names() {
            let entry = catalogue.entry(name)?;
            more.extend(format!("{}:{}", entry.image, entry.version).parse::<ImageRef>().ok());
        }
    }
    more.retain(|image| source_port(at, image).is_some());
    all.extend(more);
    Ok(all)
}

/// The port of the mirror that serves an image.
fn source_port(at: At<'_>, image: &ImageRef) -> Option<u16> {
    let name = FullName::of(image).ok()?;
    let source = at
        .spec
        .sources
        .iter()
        .find(|source| source.hosts.contains(&name.host))?;
    Some(at.spec.mirror_port(source))
}

async fn one(at: At<'_>, image: &ImageRef, platform: &Platform) -> Warmed {
    let (digest, bytes, problem) = match fetch(at, image, platform).await {
        Ok((digest, bytes)) => (Some(digest), Some(bytes), None),
        Err(error) => (None, None, Some(error.to_string())),
    };
    Warmed {
        image: image.to_string(),
        digest,
        bytes,
        problem,
    }
}

async fn fetch(at: At<'_>, image: &ImageRef, platform: &Platform) -> Result<(String, u64), CliError> {
    let port = source_port(at, image).ok_or_else(|| CliError::Usage {
        message: "its registry is not mirrored".to_owned(),
        help: "add it to `registry.mirroring.sources`".to_owned(),
    })?;
    match at.spec.engine {
        RegistryEngine::Zot => {
            let place = at.spec.mirrored(image).ok().flatten();
            let Some(place) = place else {
                return Ok((String::new(), 0));
            };
            let client = at.client()?;
            let warmed = driver::warm(&client, vec![place], platform, 1, |_| {}).await;
            let mut total = (String::new(), 0);
            for one in warmed {
                let (digest, bytes) = one.outcome?;
                total = (digest.to_string(), bytes);
            }
            Ok(total)
        }
        // Only nodes reach it.
        RegistryEngine::Distribution => from_node(at, port, image, platform).await,
    }
}

async fn from_node(at: At<'_>, port: u16, image: &ImageRef, platform: &Platform) -> Result<(String, u64), CliError> {
    let name = FullName::of(image).map_err(|wrong| CliError::Usage {
        message: format!("`{image}` {}", wrong.reason),
        help: "write it as nginx:1 or ghcr.io/me/app:1".to_owned(),
    })?;
    let get = |repository: &Repository, reference: Reference| GetManifest {
        repository: repository.clone(),
        reference,
    };
    let repository = &name.repository;
    let fetched = at.ask(port, &get(repository, name.reference.clone())).await?;
    let mut manifest = fetched.manifest;
    if let Manifest::Index(index) = &manifest
        && let Some(child) = index.for_platform(platform)
    {
        let child = Reference::Digest(child.digest.clone());
        manifest = at.ask(port, &get(repository, child)).await?.manifest;
    }
    let mut bytes = 0;
    for blob in manifest.blobs() {
        let call = GetBlob {
            repository: repository.clone(),
            digest: blob.digest.clone(),
        };
        bytes += at.fetch_blob(port, &call.request().target).await?;
    }
    Ok((fetched.digest.to_string(), bytes))
}
