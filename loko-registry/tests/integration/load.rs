//! An engine's image into the registry.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use loko_registry::driver::{ClientError, Progress, load};
use loko_registry::oci::{Digest, Reference, Repository};
use serde_json::json;

use crate::bed::{Image, Registry, engines};

/// What `docker save` writes.
fn archive(image: &Image) -> Vec<u8> {
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{"mediaType": image.media_type, "digest": image.digest(), "size": image.manifest.len()}],
    });
    let mut files = BTreeMap::from([
        ("index.json".to_owned(), index.to_string().into_bytes()),
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ]);
    for part in image.blobs.iter().chain([&image.manifest]) {
        files.insert(
            format!("blobs/{}", Digest::of(part).as_str().replace(':', "/")),
            part.clone(),
        );
    }
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

#[tokio::test]
async fn an_image_is_loaded_and_the_second_time_nothing_is_sent_but_its_manifest() {
    for engine in engines() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(engine, directory.path(), Vec::new());
        // A layer of several pieces.
        let image = Image::with_layer((0..3_000_000_u32).map(|number| (number % 251) as u8).collect());

        let repository: Repository = "ghcr.io/me/app".parse().unwrap();
        let tag: Reference = "1".parse().unwrap();
        let mut sent = Vec::new();
        let mut counts = Vec::new();
        for _ in 0..2 {
            let archive = std::io::Cursor::new(archive(&image));
            let loaded = load(&registry.client, &repository, &tag, archive, |progress| {
                if let Progress::Done { digest, sent: true } = progress {
                    sent.push(digest);
                }
            });
            let loaded = loaded.await.unwrap();
            assert_eq!(loaded.digest, image.digest(), "{engine:?}");
            counts.push((loaded.sent, loaded.there));
        }
        assert_eq!(counts, [(3, 0), (1, 2)], "{engine:?}: {sent:?}");
        assert_eq!(Image::pull(&registry.client, &repository, "1").await, image.digest());
    }
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    let Some(&engine) = engines().first() else { return };
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(engine, directory.path(), Vec::new());
    let (repository, tag): (Repository, Reference) = ("app".parse().unwrap(), "1".parse().unwrap());
    let cut = archive(&Image::docker("a"));
    for (bytes, archive_error) in [
        (Vec::new(), true),
        (cut[..1500].to_vec(), false),
        (vec![b'x'; 2000], false),
    ] {
        let archive = std::io::Cursor::new(bytes);
        let error = load(&registry.client, &repository, &tag, archive, |_| ())
            .await
            .unwrap_err();
        assert_eq!(matches!(error, ClientError::Archive(_)), archive_error, "{error:?}");
        assert!(archive_error || matches!(error, ClientError::Io { .. }), "{error:?}");
    }
}
