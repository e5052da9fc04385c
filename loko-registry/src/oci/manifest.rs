//! Manifests and indexes, OCI's and Docker's.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::ProtocolError;

/// What is asked for: everything that [`Manifest::parse`] reads.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A manifest of one image (or chart, or anything else), or an index of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// One image.
    Image(Box<ImageManifest>),
    /// The same for several platforms.
    Index(Index),
}

/// OCI image specification, "Image Manifest"; Docker's has the same fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// 2.
    pub schema_version: u8,
    /// Its own type; OCI lets it be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact it is, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration blob.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// OCI image specification, "Image Index"; Docker's manifest list has the same fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u8,
    /// Its own type; OCI lets it be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// One for each platform, and what is attached to them.
    pub manifests: Vec<Descriptor>,
    /// Free words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// OCI image specification, "Content Descriptors".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of content it is.
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// In an index, for whom it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// For whom an image is, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Manifest {
    /// Reads a manifest. `media_type` is the type that it came with, which decides where it says none itself.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ProtocolError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            media_type: Option<String>,
            schema_version: Option<u64>,
        }
        let malformed = |reason: String| ProtocolError::Malformed {
            what: "a manifest",
            reason,
        };
        let head: Head = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if head.schema_version != Some(2) {
            return Err(malformed("it is not of schema version 2".to_owned()));
        }
        let kind = head.media_type.as_deref().or(media_type).map(essence);
        match kind {
            Some(OCI_INDEX | DOCKER_LIST) => Ok(Self::Index(read(bytes)?)),
            Some(OCI_MANIFEST | DOCKER_MANIFEST) => Ok(Self::Image(Box::new(read(bytes)?))),
            // Neither says it: it is what it looks like (containerd and docker decide so too).
            None | Some("application/json" | "application/octet-stream") => read(bytes)
                .map(Self::Index)
                .or_else(|_| read(bytes).map(Box::new).map(Self::Image)),
            Some(other) => Err(malformed(format!("its type is {other}"))),
        }
    }

    /// The type under which it is stored.
    #[must_use]
    pub fn media_type(&self) -> &str {
        match self {
            Self::Image(image) => image.media_type.as_deref().unwrap_or(OCI_MANIFEST),
            Self::Index(index) => index.media_type.as_deref().unwrap_or(OCI_INDEX),
        }
    }

    /// The blobs that it names itself: configuration and layers of an image, nothing of an index.
    #[must_use]
    pub fn blobs(&self) -> Vec<&Descriptor> {
        match self {
            Self::Image(image) => std::iter::once(&image.config).chain(&image.layers).collect(),
            Self::Index(_) => Vec::new(),
        }
    }

    /// The manifests that it names: those of an index, nothing of an image.
    #[must_use]
    pub fn children(&self) -> &[Descriptor] {
        match self {
            Self::Image(_) => &[],
            Self::Index(index) => &index.manifests,
        }
    }

    /// The bytes of the blobs that it names itself, each counted once.
    #[must_use]
    pub fn size(&self) -> u64 {
        let sizes: BTreeMap<_, _> = self.blobs().into_iter().map(|blob| (&blob.digest, blob.size)).collect();
        sizes.into_values().fold(0, u64::saturating_add)
    }
}

impl Descriptor {
    /// Whether it names a manifest or an index.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            OCI_INDEX | OCI_MANIFEST | DOCKER_LIST | DOCKER_MANIFEST
        )
    }

    /// Whether it is an attestation that buildx hangs on an image, which no platform runs.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }
}

impl Index {
    /// The descriptor for a platform: the one with the same variant, else one of the same system and architecture.
    #[must_use]
    pub fn for_platform(&self, wanted: &Platform) -> Option<&Descriptor> {
        let fits = |descriptor: &&Descriptor| {
            let platform = descriptor.platform.as_ref();
            platform.is_some_and(|it| it.os == wanted.os && it.architecture == wanted.architecture)
        };
        let candidates = || self.manifests.iter().filter(fits);
        let same = |descriptor: &&Descriptor| descriptor.platform.as_ref() == Some(wanted);
        candidates().find(same).or_else(|| candidates().next())
    }
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or(media_type).trim()
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(bytes).map_err(|error| ProtocolError::Malformed {
        what: "a manifest",
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(kind: &str, size: u64) -> serde_json::Value {
        serde_json::json!({"mediaType": kind, "digest": format!("sha256:{size:064x}"), "size": size})
    }

    fn image() -> serde_json::Value {
        serde_json::json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor("application/vnd.docker.container.image.v1+json", 10),
            "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", 20), descriptor("x", 30), descriptor("x", 30)],
            "future": {"unknown": true},
        })
    }

    #[test]
    fn an_image_counts_each_blob_once() {
        let manifest = Manifest::parse(image().to_string().as_bytes(), None).unwrap();
        assert_eq!(manifest.size(), 60);
        assert_eq!(manifest.blobs().len(), 4);
        assert_eq!(manifest.media_type(), DOCKER_MANIFEST);
    }

    #[test]
    fn the_type_comes_from_inside_then_from_outside_then_from_the_look() {
        let mut value = image();
        value.as_object_mut().unwrap().remove("mediaType");
        let bytes = value.to_string().into_bytes();
        for kind in [None, Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8")] {
            assert!(
                matches!(Manifest::parse(&bytes, kind), Ok(Manifest::Image(_))),
                "{kind:?}"
            );
        }
        assert!(Manifest::parse(&bytes, Some(OCI_INDEX)).is_err());
        assert!(Manifest::parse(&bytes, Some("text/html")).is_err());
        let index = serde_json::json!({"schemaVersion": 2, "manifests": []}).to_string();
        assert!(matches!(
            Manifest::parse(index.as_bytes(), None),
            Ok(Manifest::Index(_))
        ));
    }

    #[test]
    fn what_is_old_or_broken_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":1,"name":"a"}"#,
            r#"{"schemaVersion":2}"#,
        ] {
            assert!(Manifest::parse(text.as_bytes(), None).is_err(), "{text}");
        }
        let mut value = image();
        value["layers"][0]["size"] = (-1).into();
        assert!(Manifest::parse(value.to_string().as_bytes(), None).is_err());
    }

    #[test]
    fn a_platform_is_found_with_or_without_its_variant() {
        let mut list = Vec::new();
        for (size, os, architecture, variant) in [
            (1, "linux", "amd64", None),
            (2, "linux", "arm", Some("v6")),
            (3, "linux", "arm", Some("v7")),
            (4, "unknown", "unknown", None),
        ] {
            let mut it = descriptor(OCI_MANIFEST, size);
            it["platform"] = serde_json::json!({"os": os, "architecture": architecture, "variant": variant});
            list.push(it);
        }
        let bytes = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list}).to_string();
        let Ok(Manifest::Index(index)) = Manifest::parse(bytes.as_bytes(), None) else {
            panic!("an index");
        };
        let find = |architecture: &str, variant: Option<&str>| {
            let wanted = Platform {
                os: "linux".to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.map(str::to_owned),
            };
            index.for_platform(&wanted).map(|found| found.size)
        };
        assert_eq!(find("amd64", None), Some(1));
        assert_eq!(find("arm", Some("v7")), Some(3));
        assert_eq!(find("arm", None), Some(2));
        assert_eq!(find("riscv64", None), None);
        assert!(index.manifests[3].is_attestation());
        assert_eq!(
            index.manifests[2].platform.as_ref().unwrap().to_string(),
            "linux/arm/v7"
        );
    }
}
