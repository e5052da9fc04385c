//! A bundle that is there: looked through once, then sent in parts, each verified on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

use super::{BundleFileError, Verified, append, places};
use crate::bundle::{BundleError, CONTENTS, Contents, LAYOUT, MARKER, path};
use crate::oci::Digest;

/// No list of contents is larger.
const MAX_CONTENTS: u64 = 64 << 20;
const PIECE: usize = 256 << 10;

/// A bundle in a file.
#[derive(Debug)]
pub struct Bundle {
    file: PathBuf,
    contents: Contents,
    /// Where the content of each blob begins.
    offsets: BTreeMap<Digest, u64>,
}

impl Bundle {
    /// Looks a file through: its list of contents, and whether every part is there. Contents of parts are verified when they
    /// are sent. It blocks.
    pub fn open(file: &Path) -> Result<Self, BundleFileError> {
        let name = file.display().to_string();
        let reading = |source| BundleFileError::of("read", file)(source);
        let mut opened = fs_err::File::open(file).map_err(reading)?.into_file();
        let found = places(&mut opened).map_err(reading)?;
        if found.first().is_none_or(|first| first.path != MARKER) {
            return Err(BundleError::Foreign { file: name }.into());
        }
        let last = found.last().filter(|last| last.path == CONTENTS);
        let last = last.ok_or_else(|| BundleError::Cut {
            file: name.clone(),
            reason: "it has no list of contents, which comes last".to_owned(),
        })?;
        let mut bytes = Vec::new();
        opened.seek(SeekFrom::Start(last.offset)).map_err(reading)?;
        opened
            .take(last.size.min(MAX_CONTENTS))
            .read_to_end(&mut bytes)
            .map_err(reading)?;
        let contents = Contents::parse(&name, &bytes)?;
        let mut offsets = BTreeMap::new();
        let mut sizes = BTreeMap::new();
        for place in &found {
            if let Some(digest) = place.digest() {
                offsets.insert(digest.clone(), place.offset);
                sizes.insert(digest, place.size);
            }
        }
        let mut parts = contents.images.iter().flat_map(|image| &image.parts);
        if let Some((digest, size)) = parts.find(|(digest, size)| sizes.get(digest) != Some(size)) {
            let reason = format!("{digest}, {size} bytes, is not in it");
            return Err(BundleError::Cut { file: name, reason }.into());
        }
        Ok(Self {
            file: file.to_owned(),
            contents,
            offsets,
        })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What is in it.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The images of these names as an archive that containerd and `docker load` read, each blob once. Of a blob that is not
    /// what its digest says, the last piece is not sent: the stream ends with an error.
    pub fn stream(
        self: &Arc<Self>,
        names: BTreeSet<String>,
    ) -> impl Stream<Item = Result<Bytes, BundleFileError>> + Send + use<> {
        let (sender, receiver) = mpsc::channel(4);
        let bundle = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let pieces = BufWriter::with_capacity(PIECE, Pieces(sender.clone()));
            if let Err(error) = bundle.write(&names, pieces) {
                // Nobody hears it who has gone away.
                drop(sender.blocking_send(Err(BundleFileError::of("read", &bundle.file)(error))));
            }
        });
        futures_util::stream::unfold(receiver, async |mut receiver| {
            let piece = receiver.recv().await?;
            Some((piece, receiver))
        })
    }

    /// Reads all of it and compares every digest. `told` hears how many bytes were read. It blocks.
    pub fn verify(&self, mut told: impl FnMut(u64)) -> Result<(), BundleFileError> {
        let all = self.contents.select(&self.contents.names());
        let mut read = 0;
        for (digest, size) in &all.parts {
            let reading = |source| BundleFileError::of("read", &self.file)(source);
            let mut part = self.part(digest, *size).map_err(reading)?;
            io::copy(&mut part, &mut io::sink()).map_err(reading)?;
            read += size;
            told(read);
        }
        Ok(())
    }

    fn part<'a>(&'a self, digest: &'a Digest, size: u64) -> io::Result<Verified<'a, impl io::Read + use<>>> {
        let offset = self.offsets.get(digest).copied().ok_or(io::ErrorKind::NotFound)?;
        let mut file = fs_err::File::open(&self.file)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Verified::new(file.take(size), &self.file, digest, size))
    }

    fn write(&self, names: &BTreeSet<String>, to: impl Write) -> io::Result<()> {
        let selection = self.contents.select(names);
        let mut tar = tar::Builder::new(to);
        append(&mut tar, "oci-layout", LAYOUT.len() as u64, LAYOUT.as_bytes())?;
        for (digest, size) in &selection.parts {
            append(&mut tar, &path(digest), *size, self.part(digest, *size)?)?;
        }
        for (path, bytes) in [("index.json", &selection.index), ("manifest.json", &selection.docker)] {
            append(&mut tar, path, bytes.len() as u64, bytes.as_slice())?;
        }
        tar.into_inner()?.flush()
    }
}

/// Bytes to whoever waits for them.
struct Pieces(mpsc::Sender<Result<Bytes, BundleFileError>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
