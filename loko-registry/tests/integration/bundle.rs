//! Bundles in files: what an engine exports goes in, what containerd and engines read comes out.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read as _};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use loko_registry::bundle::{BundleError, CONTENTS, MARKER, Wanted, digest_at, path};
use loko_registry::driver::{Added, Bundle, BundleFileError, BundleWriter};
use loko_registry::oci::{Digest, Platform};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn amd64() -> Platform {
    Platform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        variant: None,
    }
}

/// An image whose layers are these.
struct Image {
    wanted: Wanted,
    blobs: Vec<Vec<u8>>,
    manifest: Vec<u8>,
}

impl Image {
    fn new(reference: &str, layers: &[&[u8]]) -> Self {
        let config = json!({"architecture": "amd64", "os": "linux", "name": reference}).to_string();
        let described = |bytes: &[u8]| json!({"mediaType": "x", "digest": Digest::of(bytes), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(config.as_bytes()),
            "layers": layers.iter().map(|layer| described(layer)).collect::<Vec<_>>(),
        });
        let blobs = std::iter::once(config.into_bytes()).chain(layers.iter().map(|layer| layer.to_vec()));
        Self {
            wanted: Wanted {
                reference: reference.to_owned(),
                name: format!("docker.io/library/{reference}"),
                extra: false,
            },
            blobs: blobs.collect(),
            manifest: manifest.to_string().into_bytes(),
        }
    }

    fn id(&self) -> String {
        Digest::of(&self.manifest).to_string()
    }

    /// As an engine exports it.
    fn export(&self) -> Cursor<Vec<u8>> {
        let root = json!({"mediaType": MANIFEST, "digest": self.id(), "size": self.manifest.len()});
        let index = json!({"schemaVersion": 2, "manifests": [root]}).to_string();
        let mut tar = tar::Builder::new(Vec::new());
        let blobs = self.blobs.iter().chain([&self.manifest]);
        let mut files: Vec<(String, &[u8])> = blobs.map(|blob| (path(&Digest::of(blob)), blob.as_slice())).collect();
        files.push(("index.json".to_owned(), index.as_bytes()));
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, bytes).unwrap();
        }
        Cursor::new(tar.into_inner().unwrap())
    }
}

/// Two that have their lower layer in common; it is larger than what is read in one piece.
fn images() -> [Image; 2] {
    let base: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    [
        Image::new("a:1", &[&base, b"of a"]),
        Image::new("b:1", &[&base, b"of b"]),
    ]
}

/// Makes a bundle of those that are not in it already.
async fn save(file: &Path, images: &[Image]) -> Vec<Option<Added>> {
    let mut writer = BundleWriter::open(file, amd64()).unwrap();
    let mut all = Vec::new();
    for image in images {
        if writer.take(&image.wanted, &image.id()) {
            all.push(None);
            continue;
        }
        let (again, added) = writer.add(image.wanted.clone(), image.export()).await.unwrap();
        writer = again;
        all.push(Some(added));
    }
    writer.finish("0.1.0", "dev").unwrap();
    all
}

fn entries(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), bytes)
    });
    entries.collect()
}

#[tokio::test]
async fn every_layer_is_in_it_once_and_each_image_comes_out_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle.tar");
    let images = images();
    let added = save(&file, &images).await;
    assert_eq!(
        added[1].map(|added| (added.parts, added.there)),
        Some((3, 1)),
        "{added:?}"
    );
    assert!(!directory.path().join("bundle.tar.part").exists());

    let bundle = Arc::new(Bundle::open(&file).unwrap());
    assert_eq!(bundle.contents().environment, "dev");
    let mut read = 0;
    bundle.verify(|bytes| read = bytes).unwrap();
    assert!(read > 300_000);
    for image in &images {
        let pieces: Vec<_> = bundle
            .stream(BTreeSet::from([image.wanted.name.clone()]))
            .collect()
            .await;
        let tar: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap()).collect();
        let entries = entries(&tar);
        let blobs = image.blobs.iter().chain([&image.manifest]);
        for blob in blobs {
            assert_eq!(entries.get(&path(&Digest::of(blob))), Some(blob));
        }
        assert_eq!(entries.len(), 4 + 3, "{:?}", entries.keys());
        let index: serde_json::Value = serde_json::from_slice(&entries["index.json"]).unwrap();
        assert_eq!(index["manifests"][0]["digest"], image.id());
    }
}

#[tokio::test]
async fn a_save_that_was_cut_off_anywhere_goes_on_and_the_file_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole.tar");
    let images = images();
    save(&whole, &images).await;
    let bytes = fs_err::read(&whole).unwrap();
    let file = directory.path().join("bundle.tar");
    let part = directory.path().join("bundle.tar.part");
    let mut taken = BTreeSet::new();
    // The second image is at the end: it shares the large layer.
    let end = (bytes.len() - 12 * 1024..=bytes.len()).step_by(512);
    let cuts = (0..bytes.len()).step_by(bytes.len() / 23).chain([1, 511, 512, 1024]);
    for cut in cuts.chain(end) {
        fs_err::write(&part, &bytes[..cut]).unwrap();
        let added = save(&file, &images).await;
        taken.insert(added.iter().filter(|added| added.is_none()).count());
        assert!(fs_err::read(&file).unwrap() == bytes, "cut at {cut}: {added:?}");
    }
    assert_eq!(taken, BTreeSet::from([0, 1, 2]), "images that were there already");
    // What is there, but is not what its digest says, is not taken.
    let mut damaged = bytes.clone();
    damaged[150_000] ^= 1;
    fs_err::write(&part, &damaged).unwrap();
    assert!(save(&file, &images).await.iter().all(Option::is_some));
    assert!(fs_err::read(&file).unwrap() == bytes);
}

#[tokio::test]
async fn of_a_damaged_part_the_end_is_never_sent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle.tar");
    let images = images();
    save(&file, &images).await;
    let mut bytes = fs_err::read(&file).unwrap();
    bytes[150_000] ^= 1;
    fs_err::write(&file, &bytes).unwrap();
    let bundle = Arc::new(Bundle::open(&file).unwrap());
    let base = Digest::of(&images[0].blobs[1]);
    let damaged = |error: &BundleFileError| matches!(error, BundleFileError::Bundle(BundleError::Damaged { digest, .. }) if *digest == base);
    let error = bundle.verify(|_| ()).unwrap_err();
    assert!(damaged(&error), "{error:?}");
    let mut pieces: Vec<_> = bundle.stream(bundle.contents().names()).collect().await;
    let error = pieces.pop().unwrap().unwrap_err();
    assert!(damaged(&error), "{error:?}");
    let sent: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap()).collect();
    let mut archive = tar::Archive::new(sent.as_slice());
    for entry in archive.entries().unwrap() {
        let Ok(mut entry) = entry else { break };
        let Some(digest) = digest_at(&entry.path().unwrap().to_string_lossy()) else {
            continue;
        };
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if content.len() as u64 == entry.size() {
            assert_eq!(Digest::of(&content), digest);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_cut_or_something_else_is_refused_with_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle.tar");
    let images = images();
    save(&file, &images).await;
    let bytes = fs_err::read(&file).unwrap();
    let whole = entries(&bytes);
    assert!(whole.contains_key(MARKER) && whole.contains_key(CONTENTS));
    let kind = |bytes: &[u8]| {
        fs_err::write(&file, bytes).unwrap();
        match Bundle::open(&file) {
            Ok(_) => "whole",
            Err(BundleFileError::Bundle(BundleError::Cut { .. })) => "cut",
            Err(BundleFileError::Bundle(BundleError::Foreign { .. })) => "foreign",
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(kind(&bytes), "whole");
    for cut in [1024, 5000, 200_000, bytes.len() / 2, bytes.len() - 4096] {
        assert_eq!(kind(&bytes[..cut]), "cut", "{cut}");
    }
    let saved = images[0].export().into_inner();
    for other in [&saved[..], b"", b"name: dev\n", &[0; 4096]] {
        assert_eq!(kind(other), "foreign");
    }
    let missing = Bundle::open(&directory.path().join("none")).unwrap_err();
    assert!(
        matches!(missing, BundleFileError::File { action: "read", .. }),
        "{missing:?}"
    );
}

#[tokio::test]
async fn two_do_not_write_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle.tar");
    let first = BundleWriter::open(&file, amd64()).unwrap();
    let second = BundleWriter::open(&file, amd64());
    assert!(matches!(second, Err(BundleFileError::Busy { .. })), "{second:?}");
    drop(first);
    assert!(BundleWriter::open(&file, amd64()).is_ok());
}
