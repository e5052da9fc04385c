//! Bundles in files: made from what an engine exports, and sent from, part by part.

mod read;
mod write;

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

pub use read::Bundle;
pub use write::{Added, BundleWriter};

use crate::bundle::{BundleError, digest_at};
use crate::oci::{Digest, Hasher};

/// Failure of something done with a bundle's file.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum BundleFileError {
    /// It is not what it should be.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BundleError),
    /// Somebody else writes it.
    #[error("another `loko bundle save` writes {}", .path.display())]
    #[diagnostic(code(loko::bundle::busy), help("wait for it, or name another file"))]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("failed to {action} {}", .path.display())]
    #[diagnostic(
        code(loko::bundle::file),
        help("check that the directory exists, is yours and has room")
    )]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

impl BundleFileError {
    /// Says what was being done, unless the error is one of ours on its way through `io`.
    fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let ours = source.get_ref().and_then(|inner| inner.downcast_ref::<BundleError>());
            match ours {
                Some(ours) => Self::Bundle(ours.clone()),
                None => Self::File {
                    action,
                    path: path.to_owned(),
                    source,
                },
            }
        }
    }
}

/// An entry of a tar that is wholly in the file.
struct Place {
    path: String,
    /// Where its content begins.
    offset: u64,
    size: u64,
}

impl Place {
    /// Where the next entry begins.
    fn end(&self) -> u64 {
        self.offset + self.size.next_multiple_of(512)
    }

    fn digest(&self) -> Option<Digest> {
        digest_at(&self.path)
    }
}

/// The entries of a tar up to where it ends or was cut off. Contents are not read.
fn places(file: &mut File) -> io::Result<Vec<Place>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(&mut *file);
    let mut found = Vec::new();
    for entry in archive.entries_with_seek()? {
        // What follows a header that cannot be read is no part of it.
        let Ok(entry) = entry else { break };
        let place = Place {
            path: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            offset: entry.raw_file_position(),
            size: entry.size(),
        };
        if place.end() > length {
            break;
        }
        found.push(place);
    }
    Ok(found)
}

/// A reader that ends with an error, before the last piece, where what it read is not what its digest says.
struct Verified<'a, R> {
    inner: R,
    file: &'a Path,
    digest: &'a Digest,
    hasher: Option<Hasher>,
    left: u64,
}

impl<'a, R: Read> Verified<'a, R> {
    fn new(inner: R, file: &'a Path, digest: &'a Digest, size: u64) -> Self {
        Self {
            inner,
            file,
            digest,
            hasher: Some(Hasher::like(digest)),
            left: size,
        }
    }
}

impl<R: Read> Read for Verified<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && self.left > 0 {
            return Err(io::Error::other(BundleError::Cut {
                file: self.file.display().to_string(),
                reason: format!("the last {} bytes of {} are missing", self.left, self.digest),
            }));
        }
        self.left = self.left.saturating_sub(read as u64);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        if self.left == 0
            && let Some(found) = self.hasher.take().map(Hasher::finish)
            && found != *self.digest
        {
            return Err(io::Error::other(BundleError::Damaged {
                file: self.file.display().to_string(),
                digest: self.digest.clone(),
                found,
            }));
        }
        Ok(read)
    }
}

/// Adds a file to a tar: the same bytes whoever makes it, and whenever.
fn append(tar: &mut tar::Builder<impl io::Write>, path: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(size);
    tar.append_data(&mut header, path, content)
}
