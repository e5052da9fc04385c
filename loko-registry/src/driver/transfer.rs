//! Blobs and manifests, there and back.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{Client, ClientError, head};
use crate::oci::calls::{DeleteManifest, Fetched, GetBlob, GetManifest, HeadBlob, HeadManifest, Ping};
use crate::oci::upload::{FinishUpload, PutManifest, StartUpload, Started};
use crate::oci::{Call as _, Digest, Hasher, ProtocolError, Reference, Repository};

impl Client {
    /// Whether a registry answers.
    pub async fn ping(&self) -> Result<(), ClientError> {
        self.call(&Ping).await
    }

    /// A manifest, verified.
    pub async fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<Fetched, ClientError> {
        let call = GetManifest {
            repository: repository.clone(),
            reference: reference.clone(),
        };
        self.call(&call).await
    }

    /// A manifest's digest; `None` where there is none.
    pub async fn digest(&self, repository: &Repository, reference: &Reference) -> Result<Option<Digest>, ClientError> {
        let call = HeadManifest {
            repository: repository.clone(),
            reference: reference.clone(),
        };
        match self.call(&call).await? {
            None => Ok(None),
            Some(Some(digest)) => Ok(Some(digest)),
            // The registry does not say it: the content does.
            Some(None) => Ok(Some(self.manifest(repository, reference).await?.digest)),
        }
    }

    /// Puts a manifest whose parts are all there, and gives its digest.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Digest, ClientError> {
        let call = PutManifest {
            repository: repository.clone(),
            reference: reference.clone(),
            media_type: media_type.to_owned(),
            bytes,
        };
        self.call(&call).await
    }

    /// Takes a tag, or a manifest and all its tags, away. Where the registry takes no tags away, the tag's manifest goes,
    /// and with it every other tag of it.
    pub async fn remove(&self, repository: &Repository, reference: &Reference) -> Result<(), ClientError> {
        let delete = |reference: Reference| DeleteManifest {
            repository: repository.clone(),
            reference,
        };
        match self.call(&delete(reference.clone())).await {
            Err(ClientError::Protocol(error)) if error.is_unsupported() && matches!(reference, Reference::Tag(_)) => {
                let Some(digest) = self.digest(repository, reference).await? else {
                    return Ok(());
                };
                self.call(&delete(Reference::Digest(digest))).await
            }
            result => result,
        }
    }

    /// Takes all that a repository's tags name away, and gives how many manifests went. The registry forgets the blobs when it
    /// next collects its garbage.
    pub async fn purge(&self, repository: &Repository) -> Result<usize, ClientError> {
        let mut digests = BTreeSet::new();
        for tag in self.tags(repository).await? {
            let Ok(reference) = tag.parse() else { continue };
            digests.extend(self.digest(repository, &reference).await?);
        }
        let mut gone = 0;
        for digest in digests {
            let call = DeleteManifest {
                repository: repository.clone(),
                reference: Reference::Digest(digest),
            };
            match self.call(&call).await {
                Ok(()) => gone += 1,
                // Another did the same.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }

    /// A blob's size; `None` where it is not there.
    pub async fn blob_size(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, ClientError> {
        let call = HeadBlob {
            repository: repository.clone(),
            digest: digest.clone(),
        };
        self.call(&call).await
    }

    /// Writes a blob to `sink` and gives its size. What is written may be wrong until this has said that it is not.
    pub async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, ClientError> {
        let call = GetBlob {
            repository: repository.clone(),
            digest: digest.clone(),
        };
        let (request, scope) = (call.request(), call.scope());
        let send = async || {
            let answer = tokio::time::timeout(self.patience, self.prepare(&request, &scope).send()).await;
            let answer = answer.map_err(|_| self.too_slow(digest))?;
            answer.map_err(|source| self.failed(source))
        };
        let mut answer = send().await?;
        if answer.status() == 401 && self.authorize(&head(&answer), &scope).await? {
            answer = send().await?;
        }
        if answer.status() != 200 {
            call.read(&self.collect(answer).await?)?;
            return Ok(0);
        }
        let mut hasher = Hasher::like(digest);
        let mut size = 0;
        let mut pieces = answer.bytes_stream();
        loop {
            let next = tokio::time::timeout(self.patience, pieces.next()).await;
            let Some(piece) = next.map_err(|_| self.too_slow(digest))? else {
                break;
            };
            let piece = piece.map_err(|source| self.failed(source))?;
            hasher.update(&piece);
            size += piece.len() as u64;
            sink.write_all(&piece).await.map_err(|source| ClientError::Io {
                action: format!("write the blob {digest}"),
                source,
            })?;
        }
        digest
            .compare(hasher.finish())
            .map_err(|source| ProtocolError::Digest {
                what: format!("the blob {digest}"),
                source,
            })?;
        Ok(size)
    }

    /// Puts a small blob, unless it is there. Gives whether it had to be sent.
    pub async fn put_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        bytes: Vec<u8>,
    ) -> Result<bool, ClientError> {
        let size = bytes.len() as u64;
        let body = futures_util::stream::once(async { Ok(Bytes::from(bytes)) });
        self.write_blob(repository, digest, size, body).await
    }

    /// Puts a blob of a known size, unless it is there. Gives whether it had to be sent; where not, `body` is dropped unread.
    pub async fn write_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        body: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<bool, ClientError> {
        if self.blob_size(repository, digest).await?.is_some() {
            return Ok(false);
        }
        let start = StartUpload {
            repository: repository.clone(),
            mount: None,
        };
        let Started::At(location) = self.call(&start).await? else {
            return Ok(false);
        };
        let finish = FinishUpload {
            repository: repository.clone(),
            location,
            digest: digest.clone(),
        };
        let builder = self
            .prepare(&finish.request(), &finish.scope())
            .header("content-length", size)
            .body(reqwest::Body::wrap_stream(body.into_stream()));
        let answer = builder.send().await.map_err(|source| self.failed(source))?;
        let response = self.collect(answer).await?;
        finish.read(&response)?;
        Ok(true)
    }

    fn too_slow(&self, digest: &Digest) -> ClientError {
        ClientError::Timeout {
            action: format!("read the blob {digest}"),
            seconds: self.patience.as_secs(),
        }
    }
}
