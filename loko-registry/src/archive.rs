//! What `docker save` writes, as data: an OCI image layout in a tar (OCI image specification, "Image Layout"), and in which order
//! its parts go into a registry.

use std::collections::{BTreeMap, BTreeSet};

use miette::Diagnostic;
use thiserror::Error;

use crate::oci::manifest::Index;
use crate::oci::{Descriptor, Digest, Manifest, ProtocolError};

/// Why an archive cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It has no `index.json`.
    #[error("the archive is no OCI image layout: it has no index.json")]
    #[diagnostic(
        code(loko::registry::archive),
        help("Docker 25 and newer save images so; with an older engine, push the image: `docker push`")
    )]
    NoIndex,
    /// It has more or less than one image.
    #[error("the archive holds {count} images; one is loaded at a time")]
    #[diagnostic(code(loko::registry::archive))]
    Count {
        /// How many.
        count: usize,
    },
    /// Nothing in it is whole.
    #[error("the archive has no image whose parts are all there; {digest} is missing")]
    #[diagnostic(
        code(loko::registry::archive),
        help(
            "the engine has only the image's names, not its content: pull it again, for this platform: `docker pull`"
        )
    )]
    Incomplete {
        /// The first part that is missing.
        digest: Digest,
    },
    /// A part of it cannot be read.
    #[error("a part of the archive cannot be read")]
    #[diagnostic(code(loko::registry::archive))]
    Malformed {
        /// Why.
        #[source]
        source: ProtocolError,
    },
}

/// What is known of an archive when all of it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// `index.json`.
    pub index: Option<Vec<u8>>,
    /// The parts that may be manifests: small, and beginning as JSON does.
    pub documents: BTreeMap<Digest, Vec<u8>>,
    /// The other parts, which are in the registry already.
    pub blobs: BTreeSet<Digest>,
}

/// One thing to put into the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A small blob, such as an image's configuration.
    Blob {
        /// Its digest.
        digest: Digest,
        /// The whole.
        bytes: Vec<u8>,
    },
    /// A manifest or index, after all that it names.
    Manifest {
        /// Its digest.
        digest: Digest,
        /// Its type.
        media_type: String,
        /// The whole.
        bytes: Vec<u8>,
    },
}

/// What to put into the registry, in order; the last step is the manifest that gets the tag. Of an index whose platforms are not
/// all there, as an engine saves it that pulled only its own, the index of those that are.
pub fn plan(layout: &Layout) -> Result<Vec<Step>, ArchiveError> {
    let index = layout.index.as_deref().ok_or(ArchiveError::NoIndex)?;
    let index = read(index, Some("application/vnd.oci.image.index.v1+json"))?;
    // An image with several names is listed under each.
    let roots: BTreeMap<_, _> = index.children().iter().map(|root| (&root.digest, root)).collect();
    let (1, Some((_, root))) = (roots.len(), roots.first_key_value()) else {
        return Err(ArchiveError::Count { count: roots.len() });
    };
    let mut planner = Planner {
        layout,
        steps: Vec::new(),
        planned: BTreeSet::new(),
        missing: None,
    };
    match planner.add(root, MAX_DEPTH)? {
        Some(_) => Ok(planner.steps),
        None => Err(ArchiveError::Incomplete {
            digest: planner.missing.unwrap_or_else(|| root.digest.clone()),
        }),
    }
}

/// Indexes of indexes are allowed; nobody nests them deeper.
const MAX_DEPTH: usize = 4;

struct Planner<'a> {
    layout: &'a Layout,
    steps: Vec<Step>,
    planned: BTreeSet<Digest>,
    missing: Option<Digest>,
}

impl Planner<'_> {
    /// Adds a manifest and all that it names; `None`, and nothing added, where something is missing. Gives the descriptor of
    /// what was added, which is another where an index had to be shortened.
    fn add(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Option<Descriptor>, ArchiveError> {
        let Some(bytes) = self.layout.documents.get(&descriptor.digest).filter(|_| depth > 0) else {
            return Ok(self.lacks(&descriptor.digest));
        };
        match read(bytes, Some(&descriptor.media_type))? {
            Manifest::Image(image) => {
                let blobs = || std::iter::once(&image.config).chain(&image.layers);
                let there = |digest| self.layout.blobs.contains(digest) || self.layout.documents.contains_key(digest);
                if let Some(blob) = blobs().find(|blob| !there(&blob.digest)) {
                    return Ok(self.lacks(&blob.digest));
                }
                for blob in blobs() {
                    if let Some(bytes) = self.layout.documents.get(&blob.digest) {
                        self.push(Step::Blob {
                            digest: blob.digest.clone(),
                            bytes: bytes.clone(),
                        });
                    }
                }
                self.push_manifest(descriptor, bytes.clone());
                Ok(Some(descriptor.clone()))
            }
            Manifest::Index(index) => {
                let mut children = Vec::new();
                for child in &index.manifests {
                    children.extend(self.add(child, depth - 1)?);
                }
                if children.iter().all(Descriptor::is_attestation) {
                    return Ok(None);
                }
                if children == index.manifests {
                    self.push_manifest(descriptor, bytes.clone());
                    return Ok(Some(descriptor.clone()));
                }
                let shorter = Index {
                    manifests: children,
                    ..index
                };
                let bytes = serde_json::to_vec(&shorter).unwrap_or_default();
                let descriptor = Descriptor {
                    digest: Digest::of(&bytes),
                    size: bytes.len() as u64,
                    ..descriptor.clone()
                };
                self.push_manifest(&descriptor, bytes);
                Ok(Some(descriptor))
            }
        }
    }

    fn lacks(&mut self, digest: &Digest) -> Option<Descriptor> {
        self.missing.get_or_insert_with(|| digest.clone());
        None
    }

    fn push_manifest(&mut self, descriptor: &Descriptor, bytes: Vec<u8>) {
        self.push(Step::Manifest {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
            bytes,
        });
    }

    fn push(&mut self, step: Step) {
        let (Step::Blob { digest, .. } | Step::Manifest { digest, .. }) = &step;
        if self.planned.insert(digest.clone()) {
            self.steps.push(step);
        }
    }
}

fn read(bytes: &[u8], media_type: Option<&str>) -> Result<Manifest, ArchiveError> {
    Manifest::parse(bytes, media_type).map_err(|source| ArchiveError::Malformed { source })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    #[derive(Default)]
    struct Archive(Layout);

    impl Archive {
        fn document(&mut self, media_type: &str, value: &Value) -> Value {
            let bytes = value.to_string().into_bytes();
            let digest = Digest::of(&bytes);
            let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
            self.0.documents.insert(digest, bytes);
            descriptor
        }

        fn image(&mut self, architecture: &str, there: bool) -> Value {
            let config = self.document("config", &json!({"architecture": architecture}));
            let layer = Digest::of(architecture.as_bytes());
            if there {
                self.0.blobs.insert(layer.clone());
            }
            let layer = json!({"mediaType": "layer", "digest": layer, "size": 5});
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
            let mut descriptor = self.document(MANIFEST, &manifest);
            descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
            descriptor
        }

        fn index(&mut self, children: &[Value]) -> Value {
            self.document(
                INDEX,
                &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}),
            )
        }

        fn plan(mut self, roots: &[Value]) -> Result<Vec<Step>, ArchiveError> {
            let index = json!({"schemaVersion": 2, "manifests": roots}).to_string();
            self.0.index = Some(index.into_bytes());
            plan(&self.0)
        }
    }

    fn last(steps: &[Step]) -> (&Digest, Value) {
        let Some(Step::Manifest { digest, bytes, .. }) = steps.last() else {
            panic!("the last step is a manifest");
        };
        (digest, serde_json::from_slice(bytes).unwrap())
    }

    #[test]
    fn what_is_named_goes_before_what_names_it() {
        let mut archive = Archive::default();
        let (amd, arm) = (archive.image("amd64", true), archive.image("arm64", true));
        let root = archive.index(&[amd, arm]);
        let steps = archive.plan(std::slice::from_ref(&root)).unwrap();
        let kinds: String = steps
            .iter()
            .map(|step| if matches!(step, Step::Blob { .. }) { 'b' } else { 'm' })
            .collect();
        assert_eq!(kinds, "bmbmm");
        assert_eq!(last(&steps).0.as_str(), root["digest"].as_str().unwrap());
    }

    #[test]
    fn an_index_is_shortened_to_what_is_there() {
        let mut archive = Archive::default();
        let (amd, arm) = (archive.image("amd64", true), archive.image("arm64", false));
        let root = archive.index(&[amd.clone(), arm]);
        let steps = archive.plan(std::slice::from_ref(&root)).unwrap();
        let (digest, index) = last(&steps);
        assert_ne!(digest.as_str(), root["digest"].as_str().unwrap());
        assert_eq!(index["manifests"], json!([amd]));
    }

    #[test]
    fn an_image_with_two_names_is_one_and_two_images_are_two() {
        let mut archive = Archive::default();
        let root = archive.image("amd64", true);
        assert!(archive.plan(&[root.clone(), root]).is_ok());
        let mut archive = Archive::default();
        let roots = [archive.image("amd64", true), archive.image("arm64", true)];
        assert_eq!(archive.plan(&roots), Err(ArchiveError::Count { count: 2 }));
    }

    #[test]
    fn what_is_not_whole_is_refused_with_what_is_missing() {
        let mut archive = Archive::default();
        let root = archive.image("amd64", false);
        let digest = Digest::of(b"amd64");
        assert_eq!(archive.plan(&[root]), Err(ArchiveError::Incomplete { digest }));
        assert_eq!(plan(&Layout::default()), Err(ArchiveError::NoIndex));
    }
}
