//! A bundle that is being made. It grows in a file beside, image after image, and gets its name when it is whole: a run that was
//! cut off is gone on with, by what is whole in that file.

use std::fmt;
use std::fs::TryLockError;
use std::io::{self, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::{BundleFileError, Verified, append, places};
use crate::bundle::{Bundled, CONTENTS, Contents, LAYOUT, MARKER, Parts, Wanted, digest_at, path};
use crate::oci::manifest::Index;
use crate::oci::{Descriptor, Digest, Platform};

/// Parts up to this size that look like JSON are kept in memory: some of them are manifests.
const MAX_DOCUMENT: u64 = 4 << 20;
const MARK: &str = "All images of an environment of LoKO's: `loko create --bundle FILE`.\n";

/// A bundle that is being made.
pub struct BundleWriter {
    target: PathBuf,
    partial: PathBuf,
    tar: tar::Builder<BufWriter<std::fs::File>>,
    parts: Parts,
    images: Vec<Bundled>,
    platform: Platform,
}

impl fmt::Debug for BundleWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleWriter")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// What an image brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Added {
    /// Parts that were written.
    pub parts: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Parts that were there already.
    pub there: usize,
}

impl BundleWriter {
    /// Begins a bundle, or goes on with one that was cut off: what is whole and is what its digest says stays. Nothing is at
    /// `target` before [`Self::finish`]; meanwhile the file has `.part` behind its name. It blocks.
    pub fn open(target: &Path, platform: Platform) -> Result<Self, BundleFileError> {
        let mut partial = target.as_os_str().to_owned();
        partial.push(".part");
        let partial = PathBuf::from(partial);
        let failed = |source| BundleFileError::of("write", &partial)(source);
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(true).create(true);
        let mut file = options.open(&partial).map_err(failed)?.into_file();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(BundleFileError::Busy {
                    path: target.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let (parts, end) = kept(&mut file, &partial).map_err(failed)?;
        file.set_len(end).map_err(failed)?;
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
        if end == 0 {
            append(&mut tar, MARKER, MARK.len() as u64, MARK.as_bytes()).map_err(failed)?;
        }
        Ok(Self {
            target: target.to_owned(),
            partial,
            tar,
            parts,
            images: Vec::new(),
            platform,
        })
    }

    /// The bytes of what an earlier run left.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.parts.sizes.values().sum()
    }

    /// Takes an image that is in the file already, by the engine's id for it. False where it is not, or not whole.
    pub fn take(&mut self, image: &Wanted, id: &str) -> bool {
        let root = id.parse().ok().and_then(|id: Digest| self.parts.root_of(&id));
        let bundled = root.and_then(|root| self.parts.bundled(image, &root, &self.platform).ok());
        let taken = bundled.is_some();
        self.images.extend(bundled);
        taken
    }

    /// Adds an image as an engine exports it, each part that is not there already, verified on its way.
    pub async fn add(
        mut self,
        image: Wanted,
        export: impl AsyncRead + Unpin + Send + 'static,
    ) -> Result<(Self, Added), BundleFileError> {
        let export = SyncIoBridge::new(export);
        let partial = self.partial.clone();
        let adding = tokio::task::spawn_blocking(move || {
            let added = self.add_all(&image, export);
            (self, added)
        });
        let (writer, added) = adding
            .await
            .map_err(|error| BundleFileError::of("write", &partial)(io::Error::other(error)))?;
        Ok((writer, added?))
    }

    fn add_all(&mut self, image: &Wanted, export: impl Read) -> Result<Added, BundleFileError> {
        let partial = self.partial.clone();
        let failed = |source| BundleFileError::of("write", &partial)(source);
        let mut added = Added::default();
        let mut roots: Vec<Descriptor> = Vec::new();
        let mut archive = tar::Archive::new(export);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let size = entry.size();
            if name == "index.json" {
                let index: Index = serde_json::from_reader(entry)
                    .map_err(io::Error::from)
                    .map_err(failed)?;
                roots = index.manifests;
                continue;
            }
            let Some(digest) = digest_at(&name) else { continue };
            if self.parts.sizes.contains_key(&digest) {
                added.there += 1;
                continue;
            }
            self.part(&digest, size, &mut entry).map_err(failed)?;
            added.parts += 1;
            added.bytes += size;
        }
        // Under one name there is one image, though an engine may list it once for each of its names.
        let root = roots.first().ok_or_else(|| crate::bundle::BundleError::Incomplete {
            image: image.reference.clone(),
            digest: "its index.json".to_owned(),
        })?;
        self.images.push(self.parts.bundled(image, root, &self.platform)?);
        Ok(added)
    }

    fn part(&mut self, digest: &Digest, size: u64, content: impl Read) -> io::Result<()> {
        let partial = self.partial.clone();
        let mut content = Verified::new(content, &partial, digest, size);
        let mut begun = vec![0; usize::try_from(size.min(MAX_DOCUMENT)).unwrap_or_default()];
        if size <= MAX_DOCUMENT {
            content.read_exact(&mut begun)?;
            append(&mut self.tar, &path(digest), size, begun.as_slice())?;
            if begun.starts_with(b"{") {
                self.parts.documents.insert(digest.clone(), begun);
            }
        } else {
            append(&mut self.tar, &path(digest), size, content)?;
        }
        self.parts.sizes.insert(digest.clone(), size);
        Ok(())
    }

    /// Writes what comes last and gives the file its name. It blocks.
    pub fn finish(mut self, version: &str, environment: &str) -> Result<Contents, BundleFileError> {
        let contents = Contents {
            format: crate::bundle::FORMAT,
            version: version.to_owned(),
            environment: environment.to_owned(),
            platform: self.platform.clone(),
            images: std::mem::take(&mut self.images),
        };
        let Self {
            target, partial, tar, ..
        } = self;
        end(tar, &contents).map_err(BundleFileError::of("write", &partial))?;
        fs_err::rename(&partial, &target).map_err(BundleFileError::of("write", &target))?;
        Ok(contents)
    }
}

fn end(mut tar: tar::Builder<BufWriter<std::fs::File>>, contents: &Contents) -> io::Result<()> {
    let all = contents.select(&contents.names());
    let list = serde_json::to_vec_pretty(contents).map_err(io::Error::from)?;
    for (path, bytes) in [
        ("oci-layout", LAYOUT.as_bytes()),
        ("index.json", &all.index),
        ("manifest.json", &all.docker),
        (CONTENTS, &list),
    ] {
        append(&mut tar, path, bytes.len() as u64, bytes)?;
    }
    let mut file = tar.into_inner()?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// What an earlier run left that is whole and is what its digest says, and where the first entry begins that is not.
fn kept(file: &mut std::fs::File, path: &Path) -> io::Result<(Parts, u64)> {
    let mut parts = Parts::default();
    let mut end = 0;
    for (index, place) in places(file)?.into_iter().enumerate() {
        let ours = if index == 0 {
            place.path == MARKER
        } else {
            place.digest().is_some()
        };
        if !ours {
            break;
        }
        if let Some(digest) = place.digest() {
            file.seek(SeekFrom::Start(place.offset))?;
            let mut content = Verified::new((&mut *file).take(place.size), path, &digest, place.size);
            let mut document = Vec::new();
            let read = if place.size <= MAX_DOCUMENT {
                content.read_to_end(&mut document).map(drop)
            } else {
                io::copy(&mut content, &mut io::sink()).map(drop)
            };
            if read.is_err() {
                break;
            }
            if document.starts_with(b"{") {
                parts.documents.insert(digest.clone(), document);
            }
            parts.sizes.insert(digest, place.size);
        }
        end = place.end();
    }
    Ok((parts, end))
}
