//! What a registry holds, and warming a mirror up.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use loko_config::model::MirrorSource;
use loko_registry::driver::warm;
use loko_registry::oci::{Digest, Platform, Reference, Repository};
use loko_registry::{RegistrySpec, Source};
use serde_json::json;

use crate::bed::{Image, Registry, engines, has_upstreams, upstream};
use crate::sample::spec;

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

fn amd64() -> Platform {
    Platform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        variant: None,
    }
}

#[tokio::test]
async fn everything_is_listed_with_its_size_and_its_source() {
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(engine, directory.path(), Vec::new());
        let client = &registry.client;
        let spec = RegistrySpec {
            sources: vec![Source::known(MirrorSource::Ghcr)],
            ..spec(engine)
        };
        assert_eq!(client.inventory(&spec).await.unwrap().repositories, []);
        let image = Image::docker("a");
        for (repository, tag) in [("app", "1"), ("app", "2"), ("ghcr.io/me/app", "1")] {
            image.push(client, &name(repository), tag).await;
        }
        let inventory = client.inventory(&spec).await.unwrap();
        let short: Vec<_> = inventory
            .repositories
            .iter()
            .map(|it| (it.name.as_str(), it.source.as_deref(), it.tags.join(" ")))
            .collect();
        let expected = [
            ("app", None, "1 2".to_owned()),
            ("ghcr.io/me/app", Some("ghcr"), "1".to_owned()),
        ];
        assert_eq!(short, expected, "{engine:?}");
        let blobs: usize = image.blobs.iter().map(Vec::len).sum();
        // Zot counts the manifest too.
        let size = inventory.repositories[0].size.unwrap();
        assert!(
            (blobs as u64..=(blobs + image.manifest.len()) as u64).contains(&size),
            "{engine:?}: {size}"
        );
        assert_eq!(inventory.size, Some(2 * size), "{engine:?}");
    }
}

#[tokio::test]
async fn an_image_shows_its_platforms() {
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(engine, directory.path(), Vec::new());
        let client = &registry.client;
        let repository = name("app");
        let images = [Image::docker("a"), Image::docker("b")];
        let mut children = Vec::new();
        for (image, architecture) in images.iter().zip(["amd64", "arm64"]) {
            image.push(client, &repository, architecture).await;
            children.push(json!({
                "mediaType": image.media_type, "digest": image.digest(), "size": image.manifest.len(),
                "platform": {"os": "linux", "architecture": architecture},
            }));
        }
        let kind = "application/vnd.docker.distribution.manifest.list.v2+json";
        let list = json!({"schemaVersion": 2, "mediaType": kind, "manifests": children}).to_string();
        let digest = Digest::of(list.as_bytes());
        let tag: Reference = "1".parse().unwrap();
        client
            .put_manifest(&repository, &tag, kind, list.into_bytes())
            .await
            .unwrap();

        let shown = client.show(&repository, &tag).await.unwrap();
        assert_eq!(shown.digest, digest, "{engine:?}");
        let platforms: Vec<_> = shown
            .variants
            .iter()
            .map(|it| it.platform.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
        assert_eq!(
            shown.variants.iter().map(|it| it.size.unwrap()).sum::<u64>(),
            shown.size
        );

        let one = client.show(&repository, &"amd64".parse().unwrap()).await.unwrap();
        assert_eq!(one.variants[0].platform, Some(amd64()), "{engine:?}");
        assert_eq!(one.artifact_type, None);
    }
}

#[tokio::test]
async fn a_warm_mirror_needs_no_upstream_and_one_failure_stops_nothing() {
    if !has_upstreams() {
        return;
    }
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let (mut hub, to_hub) = upstream(directory.path());
        let image = Image::docker("x");
        image.push(&to_hub, &name("library/x"), "1").await;
        let source = Source {
            url: format!("http://127.0.0.1:{}", hub.port),
            ..Source::known(MirrorSource::DockerHub)
        };
        let registry = Registry::start(engine, directory.path(), vec![source.clone()]);
        let (mirror, x) = registry.mirror(&source, &name("library/x"));
        let (_, nothing) = registry.mirror(&source, &name("library/nothing"));
        let tag: Reference = "1".parse().unwrap();
        let images = vec![(nothing, tag.clone()), (x.clone(), tag)];
        let mut ended = 0;
        let warmed = warm(mirror, images, &amd64(), 2, |_| ended += 1).await;
        assert_eq!(ended, 2);
        assert!(warmed[0].outcome.as_ref().unwrap_err().is_not_found(), "{engine:?}");
        let bytes: usize = image.blobs.iter().map(Vec::len).sum();
        let (digest, size) = warmed[1].outcome.as_ref().unwrap();
        assert_eq!((digest, *size), (&image.digest(), bytes as u64), "{engine:?}");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        hub.kill();
        assert_eq!(Image::pull(mirror, &x, "1").await, image.digest(), "{engine:?}");
    }
}
