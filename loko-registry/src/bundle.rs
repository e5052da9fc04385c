//! A bundle: all images of an environment in one file, an OCI image layout in a tar (OCI image specification, "Image Layout") with
//! a list of contents of ours, so that an environment comes up where no registry can be reached.
//!
//! ```text
//! loko-bundle.txt          first: what this file is
//! oci-layout
//! blobs/sha256/…           each once, however many images name it
//! index.json               the images by name, for everything that reads OCI
//! manifest.json            the same for `docker load` of engines that keep no OCI content
//! loko-bundle.json         last: [`Contents`]; a file without it was cut off
//! ```

use std::collections::{BTreeMap, BTreeSet};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use crate::oci::manifest::{ImageManifest, Index};
use crate::oci::{Descriptor, Digest, Manifest, Platform, ProtocolError};

/// The first entry, by which a bundle is known even where its end is missing.
pub const MARKER: &str = "loko-bundle.txt";
/// The last entry: [`Contents`] as JSON.
pub const CONTENTS: &str = "loko-bundle.json";
/// The format that this version writes, and the highest that it reads.
pub const FORMAT: u32 = 1;
/// What is in `oci-layout`.
pub const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Indexes of indexes are allowed; nobody nests them deeper.
const MAX_DEPTH: usize = 4;
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Where containerd reads an image's name (containerd: `images.AnnotationImageName`).
const NAME: &str = "io.containerd.image.name";
/// The tag alone (OCI image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why a file is no bundle that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum BundleError {
    /// It is something else.
    #[error("{file} is no bundle of LoKO's")]
    #[diagnostic(code(loko::bundle::foreign), help("`loko bundle save FILE` makes one"))]
    Foreign {
        /// The file.
        file: String,
    },
    /// Its end is missing.
    #[error("the bundle {file} is cut off: {reason}")]
    #[diagnostic(
        code(loko::bundle::cut),
        help("copy it again and compare the sizes, or make it anew: `loko bundle save FILE`")
    )]
    Cut {
        /// The file.
        file: String,
        /// What is missing.
        reason: String,
    },
    /// A part of it is not what its digest says.
    #[error("the bundle {file} is damaged: the content of {digest} has the digest {found}")]
    #[diagnostic(
        code(loko::bundle::damaged),
        help("copy it again, or make it anew: `loko bundle save FILE`")
    )]
    Damaged {
        /// The file.
        file: String,
        /// What it should be.
        digest: Digest,
        /// What it is.
        found: Digest,
    },
    /// It was made by a newer version.
    #[error("the bundle {file} has the format {format}, made by LoKO {version}; this version reads up to {FORMAT}")]
    #[diagnostic(code(loko::bundle::newer), help("use that version of LoKO, or a newer one"))]
    Newer {
        /// The file.
        file: String,
        /// Its format.
        format: u32,
        /// Who made it.
        version: String,
    },
    /// Its list of contents cannot be read.
    #[error("the list of contents of the bundle {file} cannot be read: {reason}")]
    #[diagnostic(
        code(loko::bundle::contents),
        help("copy it again, or make it anew: `loko bundle save FILE`")
    )]
    Contents {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// It is for machines of another kind.
    #[error("the bundle {file} is for {bundle}, and the engine runs {engine}")]
    #[diagnostic(
        code(loko::bundle::platform),
        help("make it on a machine of that kind: `loko bundle save FILE`")
    )]
    Architecture {
        /// The file.
        file: String,
        /// For whom it is.
        bundle: String,
        /// What the engine is.
        engine: String,
    },
    /// Images of the environment are neither in it nor on the engine.
    #[error("neither the bundle {file} nor the engine has {}", .images.join(", "))]
    #[diagnostic(
        code(loko::bundle::lacks),
        help("make it anew with this loko.yaml, on a machine that reaches the registries: `loko bundle save FILE`")
    )]
    Lacks {
        /// The file.
        file: String,
        /// The images.
        images: Vec<String>,
    },
    /// The engine gave an image that is not whole.
    #[error("the engine has {image} only in part: {digest} is missing")]
    #[diagnostic(
        code(loko::bundle::incomplete),
        help("pull it again, for this platform: `docker pull {image}`")
    )]
    Incomplete {
        /// The image.
        image: String,
        /// The first part that is missing.
        digest: String,
    },
    /// A manifest cannot be read.
    #[error("a manifest of {image} cannot be read")]
    #[diagnostic(code(loko::bundle::manifest))]
    Manifest {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: ProtocolError,
    },
}

/// An image that is wanted in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As loko.yaml writes it.
    pub reference: String,
    /// As containerd holds it: host, path and tag written out.
    pub name: String,
    /// Whether it was asked for besides what loko.yaml names: a chart's, for example.
    pub extra: bool,
}

/// An image of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bundled {
    /// As loko.yaml writes it.
    pub reference: String,
    /// As containerd holds it.
    pub name: String,
    /// Whether it was asked for besides what loko.yaml names: it goes into every node.
    #[serde(default)]
    pub extra: bool,
    /// The manifest or index that the name stands for.
    pub root: Descriptor,
    /// The configuration of the platform's image.
    pub config: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<Digest>,
    /// Everything that `root` leads to, itself included, with its size in bytes.
    pub parts: BTreeMap<Digest, u64>,
}

/// What is in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Contents {
    /// [`FORMAT`] of who wrote it.
    pub format: u32,
    /// LoKO's version.
    pub version: String,
    /// The environment that it was made for. It serves any other whose images are in it.
    pub environment: String,
    /// The machines that it is for.
    pub platform: Platform,
    /// The images.
    pub images: Vec<Bundled>,
}

/// What is sent of a bundle: some images as a layout of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Blobs with their sizes, each once.
    pub parts: BTreeMap<Digest, u64>,
    /// `index.json`.
    pub index: Vec<u8>,
    /// `manifest.json`.
    pub docker: Vec<u8>,
}

/// What is known of the parts of a bundle that is being made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// Sizes of all.
    pub sizes: BTreeMap<Digest, u64>,
    /// Those that may be manifests: small, and beginning as JSON does.
    pub documents: BTreeMap<Digest, Vec<u8>>,
}

impl Parts {
    /// An image whose parts are there, by the descriptor of its manifest or index. Of an index whose platforms are not all there,
    /// as an engine gives it that pulled only its own, the image for `platform`.
    pub fn bundled(&self, image: &Wanted, root: &Descriptor, platform: &Platform) -> Result<Bundled, BundleError> {
        let unread = |source| BundleError::Manifest {
            image: image.reference.clone(),
            source,
        };
        let incomplete = |digest: &dyn ToString| BundleError::Incomplete {
            image: image.reference.clone(),
            digest: digest.to_string(),
        };
        let mut root = Descriptor {
            platform: None,
            annotations: BTreeMap::new(),
            ..root.clone()
        };
        let mut parts = BTreeMap::new();
        let missing = self.collect(&root, &mut parts, MAX_DEPTH).map_err(unread)?;
        if let Some(missing) = missing {
            let top = self.read(&root).map_err(unread)?;
            let Some(Manifest::Index(index)) = top else {
                return Err(incomplete(&missing));
            };
            let child = index.for_platform(platform).ok_or_else(|| incomplete(platform))?;
            root = child.clone();
            parts.clear();
            if let Some(missing) = self.collect(&root, &mut parts, MAX_DEPTH).map_err(unread)? {
                return Err(incomplete(&missing));
            }
        }
        let runs = self.image_for(&root, platform, MAX_DEPTH).map_err(unread)?;
        let runs = runs.ok_or_else(|| incomplete(platform))?;
        Ok(Bundled {
            reference: image.reference.clone(),
            name: image.name.clone(),
            extra: image.extra,
            root,
            config: runs.config.digest,
            layers: runs.layers.into_iter().map(|layer| layer.digest).collect(),
            parts,
        })
    }

    /// The manifest or index that an engine means by an image's id: its own digest, or that of its configuration
    /// (which of the two depends on how the engine keeps images).
    #[must_use]
    pub fn root_of(&self, id: &Digest) -> Option<Descriptor> {
        let described = |digest: &Digest, bytes: &[u8]| {
            let manifest = Manifest::parse(bytes, None).ok()?;
            let descriptor = Descriptor {
                media_type: manifest.media_type().to_owned(),
                digest: digest.clone(),
                size: bytes.len() as u64,
                platform: None,
                annotations: BTreeMap::new(),
            };
            Some((manifest, descriptor))
        };
        let of_id = self.documents.get(id).and_then(|bytes| described(id, bytes));
        of_id
            .or_else(|| {
                let mut all = self
                    .documents
                    .iter()
                    .filter_map(|(digest, bytes)| described(digest, bytes));
                all.find(|(manifest, _)| matches!(manifest, Manifest::Image(image) if image.config.digest == *id))
            })
            .map(|(_, descriptor)| descriptor)
    }

    fn read(&self, descriptor: &Descriptor) -> Result<Option<Manifest>, ProtocolError> {
        let bytes = self.documents.get(&descriptor.digest);
        bytes
            .map(|bytes| Manifest::parse(bytes, Some(&descriptor.media_type)))
            .transpose()
    }

    /// Adds a manifest and all that it names; gives the first part that is not there.
    fn collect(
        &self,
        descriptor: &Descriptor,
        parts: &mut BTreeMap<Digest, u64>,
        depth: usize,
    ) -> Result<Option<Digest>, ProtocolError> {
        let Some(manifest) = self.read(descriptor)?.filter(|_| depth > 0) else {
            return Ok(Some(descriptor.digest.clone()));
        };
        for blob in std::iter::once(descriptor).chain(manifest.blobs()) {
            match self.sizes.get(&blob.digest) {
                Some(size) => parts.insert(blob.digest.clone(), *size),
                None => return Ok(Some(blob.digest.clone())),
            };
        }
        for child in manifest.children() {
            if let Some(missing) = self.collect(child, parts, depth - 1)? {
                return Ok(Some(missing));
            }
        }
        Ok(None)
    }

    fn image_for(
        &self,
        root: &Descriptor,
        platform: &Platform,
        depth: usize,
    ) -> Result<Option<ImageManifest>, ProtocolError> {
        match self.read(root)?.filter(|_| depth > 0) {
            Some(Manifest::Image(image)) => Ok(Some(*image)),
            Some(Manifest::Index(index)) => match index.for_platform(platform) {
                Some(child) => self.image_for(child, platform, depth - 1),
                None => Ok(None),
            },
            None => Ok(None),
        }
    }
}

impl Contents {
    /// Reads the list of contents of `file`.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            version: String,
        }
        let unread = |error: serde_json::Error| BundleError::Contents {
            file: file.to_owned(),
            reason: error.to_string(),
        };
        let head: Head = serde_json::from_slice(bytes).map_err(unread)?;
        if head.format > FORMAT {
            return Err(BundleError::Newer {
                file: file.to_owned(),
                format: head.format,
                version: head.version,
            });
        }
        serde_json::from_slice(bytes).map_err(unread)
    }

    /// The image that containerd would hold under this name.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&Bundled> {
        self.images.iter().find(|image| image.name == name)
    }

    /// Refuses what an engine cannot run. `architecture` is in the words of `uname -m`.
    pub fn runs_on(&self, file: &str, architecture: &str) -> Result<(), BundleError> {
        if self.platform.architecture == go_architecture(architecture) {
            return Ok(());
        }
        Err(BundleError::Architecture {
            file: file.to_owned(),
            bundle: self.platform.to_string(),
            engine: format!("linux/{}", go_architecture(architecture)),
        })
    }

    /// Some of the images as a layout of their own; names that are not in it are left out.
    #[must_use]
    pub fn select(&self, names: &BTreeSet<String>) -> Selection {
        let chosen = || self.images.iter().filter(|image| names.contains(&image.name));
        let index = Index {
            schema_version: 2,
            media_type: Some(INDEX_TYPE.to_owned()),
            manifests: chosen().map(Bundled::named).collect(),
            annotations: BTreeMap::new(),
        };
        let docker: Vec<_> = chosen()
            .map(|image| {
                // An engine takes tags alone; a name that is a digest is in `index.json`.
                let tags: Vec<&str> = image.tag().map(|_| image.name.as_str()).into_iter().collect();
                let layers: Vec<String> = image.layers.iter().map(path).collect();
                json!({"Config": path(&image.config), "RepoTags": tags, "Layers": layers})
            })
            .collect();
        Selection {
            parts: chosen().flat_map(|image| image.parts.clone()).collect(),
            index: serde_json::to_vec(&index).unwrap_or_default(),
            docker: serde_json::to_vec(&docker).unwrap_or_default(),
        }
    }

    /// Names of all images.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.images.iter().map(|image| image.name.clone()).collect()
    }
}

impl Bundled {
    fn tag(&self) -> Option<&str> {
        let (_, tag) = self.name.rsplit_once(':').filter(|_| !self.name.contains('@'))?;
        Some(tag)
    }

    fn named(&self) -> Descriptor {
        let mut annotations = BTreeMap::from([(NAME.to_owned(), self.name.clone())]);
        if let Some(tag) = self.tag() {
            annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        }
        Descriptor {
            annotations,
            ..self.root.clone()
        }
    }
}

/// Where a blob is in a layout.
#[must_use]
pub fn path(digest: &Digest) -> String {
    format!("blobs/{}", digest.as_str().replacen(':', "/", 1))
}

/// The blob that a path of a layout names.
#[must_use]
pub fn digest_at(path: &str) -> Option<Digest> {
    let path = path.trim_start_matches("./").strip_prefix("blobs/")?;
    path.replacen('/', ":", 1).parse().ok()
}

/// Go's word for what `uname -m` says, which is what images are marked with.
#[must_use]
pub fn go_architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" | "arm64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i386" | "i686" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests;
