//! An engine's image into the registry: each part once, and none that is there already.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use super::{Client, ClientError};
use crate::archive::{self, Layout, Step};
use crate::oci::{Digest, Reference, Repository};

/// Parts up to this size that look like JSON are kept until it is known which of them are manifests.
const MAX_DOCUMENT: u64 = 4 << 20;
const PIECE: usize = 256 << 10;

/// What came of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The digest that the tag now names.
    pub digest: Digest,
    /// How many parts were sent.
    pub sent: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many were there already.
    pub there: usize,
}

/// What a load is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A part's turn has come; it is sent, unless it is there.
    Sending {
        /// Its digest.
        digest: Digest,
        /// In bytes.
        size: u64,
    },
    /// A part was sent, or was there already.
    Done {
        /// Its digest.
        digest: Digest,
        /// Whether it had to be sent.
        sent: bool,
    },
}

/// Reads what `docker save` writes and puts its one image under a name. Nothing is written to disk; the archive is read once.
pub async fn load(
    client: &Client,
    repository: &Repository,
    reference: &Reference,
    archive: impl AsyncRead + Unpin + Send + 'static,
    mut progress: impl FnMut(Progress),
) -> Result<Loaded, ClientError> {
    let (parts, mut found) = mpsc::channel(1);
    let reader = SyncIoBridge::new(archive);
    let reading = tokio::task::spawn_blocking(move || read(reader, &parts));

    let mut layout = Layout::default();
    let mut count = Count::default();
    while let Some(part) = found.recv().await {
        match part {
            Part::Index(bytes) => layout.index = Some(bytes),
            Part::Document(digest, bytes) => drop(layout.documents.insert(digest, bytes)),
            Part::Blob { digest, size, pieces } => {
                progress(Progress::Sending {
                    digest: digest.clone(),
                    size,
                });
                let body = futures_util::stream::unfold(pieces, async |mut pieces| {
                    let piece = pieces.recv().await?;
                    Some((piece, pieces))
                });
                let sent = client.write_blob(repository, &digest, size, body).await?;
                count.add(sent, size);
                progress(Progress::Done {
                    digest: digest.clone(),
                    sent,
                });
                layout.blobs.insert(digest);
            }
        }
    }
    let read = reading.await.map_err(io::Error::other).and_then(|result| result);
    read.map_err(|source| ClientError::Io {
        action: "read the image's archive".to_owned(),
        source,
    })?;

    let mut steps = archive::plan(&layout)?;
    let root = steps.pop();
    for step in steps {
        count.put(client, repository, step, None, &mut progress).await?;
    }
    let digest = match root {
        Some(step) => {
            count
                .put(client, repository, step, Some(reference), &mut progress)
                .await?
        }
        None => return Err(archive::ArchiveError::NoIndex.into()),
    };
    Ok(Loaded {
        digest,
        sent: count.sent,
        bytes: count.bytes,
        there: count.there,
    })
}

#[derive(Default)]
struct Count {
    sent: usize,
    bytes: u64,
    there: usize,
}

impl Count {
    fn add(&mut self, sent: bool, size: u64) {
        if sent {
            self.sent += 1;
            self.bytes += size;
        } else {
            self.there += 1;
        }
    }

    async fn put(
        &mut self,
        client: &Client,
        repository: &Repository,
        step: Step,
        reference: Option<&Reference>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Digest, ClientError> {
        let (digest, sent, size) = match step {
            Step::Blob { digest, bytes } => {
                let size = bytes.len() as u64;
                let sent = client.put_blob(repository, &digest, bytes).await?;
                (digest, sent, size)
            }
            Step::Manifest {
                digest,
                media_type,
                bytes,
            } => {
                let size = bytes.len() as u64;
                let reference = reference.cloned().unwrap_or_else(|| Reference::Digest(digest.clone()));
                client.put_manifest(repository, &reference, &media_type, bytes).await?;
                (digest, true, size)
            }
        };
        self.add(sent, size);
        progress(Progress::Done {
            digest: digest.clone(),
            sent,
        });
        Ok(digest)
    }
}

/// A part of the archive, in the order in which they come.
enum Part {
    Index(Vec<u8>),
    Document(Digest, Vec<u8>),
    Blob {
        digest: Digest,
        size: u64,
        pieces: mpsc::Receiver<io::Result<Bytes>>,
    },
}

/// Takes the tar apart. Whoever receives a blob may drop it unread: the reader then goes on to the next.
fn read(reader: impl Read, parts: &mpsc::Sender<Part>) -> io::Result<()> {
    let mut seen = BTreeMap::new();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let size = entry.size();
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8_lossy(&path);
        let path = path.trim_start_matches("./");
        if path == "index.json" {
            let bytes = document(&mut entry, size)?;
            if parts.blocking_send(Part::Index(bytes)).is_err() {
                return Ok(());
            }
            continue;
        }
        let name = path.strip_prefix("blobs/").map(|rest| rest.replacen('/', ":", 1));
        let Some(digest) = name.and_then(|name| name.parse::<Digest>().ok()) else {
            continue;
        };
        if seen.insert(digest.clone(), size).is_some() {
            continue;
        }
        let mut first = [0];
        let begun = entry.read(&mut first)?;
        let body = io::Cursor::new(first[..begun].to_vec()).chain(entry);
        let sent = if size <= MAX_DOCUMENT && first == *b"{" {
            parts
                .blocking_send(Part::Document(digest, document(body, size)?))
                .is_ok()
        } else {
            send_blob(body, digest, size, parts)?
        };
        if !sent {
            return Ok(());
        }
    }
    Ok(())
}

fn document(reader: impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > MAX_DOCUMENT {
        return Err(io::Error::other("its index.json is larger than 4 MiB"));
    }
    let mut bytes = Vec::new();
    reader.take(MAX_DOCUMENT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// False where nobody waits for parts any more.
fn send_blob(mut reader: impl Read, digest: Digest, size: u64, parts: &mpsc::Sender<Part>) -> io::Result<bool> {
    let (sender, pieces) = mpsc::channel(4);
    if parts.blocking_send(Part::Blob { digest, size, pieces }).is_err() {
        return Ok(false);
    }
    loop {
        let mut piece = vec![0; PIECE];
        let length = match reader.read(&mut piece) {
            Ok(length) => length,
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                drop(sender.blocking_send(Err(copy)));
                return Err(error);
            }
        };
        if length == 0 {
            return Ok(true);
        }
        piece.truncate(length);
        if sender.blocking_send(Ok(Bytes::from(piece))).is_err() {
            return Ok(!parts.is_closed());
        }
    }
}
