//! Whatever is sent as a manifest is read or refused; what was read is planned soundly when it lies in an archive.

use std::collections::{BTreeMap, BTreeSet};

use loko_registry::archive::{Layout, Step, plan};
use loko_registry::oci::{Digest, Manifest};

/// Reads `bytes` as a manifest, and as each part of an archive.
pub fn check(bytes: &[u8]) {
    let digest = Digest::of(bytes);
    assert_eq!(digest.verify(bytes), Ok(()));
    for media_type in [None, Some("application/vnd.oci.image.index.v1+json")] {
        if let Ok(manifest) = Manifest::parse(bytes, media_type) {
            let sum = manifest
                .blobs()
                .iter()
                .fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
            assert!(manifest.size() <= sum, "a blob is counted twice");
            assert!(manifest.blobs().is_empty() || manifest.children().is_empty());
            assert!(!manifest.media_type().is_empty());
        }
    }
    // The bytes are the index, and the manifest that an index of ours names, all of whose blobs are there.
    let named = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{}}}]}}"#,
        bytes.len()
    );
    for index in [bytes.to_vec(), named.into_bytes()] {
        let manifest = Manifest::parse(bytes, None);
        let blobs = manifest
            .iter()
            .flat_map(Manifest::blobs)
            .map(|blob| blob.digest.clone());
        let layout = Layout {
            index: Some(index),
            documents: BTreeMap::from([(digest.clone(), bytes.to_vec())]),
            blobs: blobs.collect(),
        };
        if let Ok(steps) = plan(&layout) {
            sound(&steps, &layout);
        }
    }
}

/// Every step once, its bytes what its digest says, and each manifest after all that it names.
fn sound(steps: &[Step], layout: &Layout) {
    assert!(
        matches!(steps.last(), Some(Step::Manifest { .. })),
        "the last step is no manifest"
    );
    let mut done: BTreeSet<Digest> = layout.blobs.clone();
    let mut planned = BTreeSet::new();
    for step in steps {
        let (Step::Blob { digest, bytes } | Step::Manifest { digest, bytes, .. }) = step;
        assert_eq!(digest.verify(bytes), Ok(()));
        assert!(planned.insert(digest), "{digest} is there twice");
        if let Step::Manifest { media_type, .. } = step
            && let Ok(manifest) = Manifest::parse(bytes, Some(media_type))
        {
            let named = manifest.blobs().into_iter().chain(manifest.children());
            for part in named {
                assert!(done.contains(&part.digest), "{} comes after what names it", part.digest);
            }
        }
        done.insert(digest.clone());
    }
}
