//! Files in containers, through the engine's archive API: it works with a remote engine, on a container that does not
//! run, and needs no bind mount.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use bollard::body_full;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::{Engine, optional, refused, within};
use crate::error::EngineError;

/// Limit for what is read of a container: configuration and logs, nothing large.
const READ_LIMIT: Duration = Duration::from_mins(2);

/// A file to write into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Permission bits, for example `0o644`.
    pub mode: u32,
    /// Numeric owner and group.
    pub owner: (u64, u64),
    /// What is in it.
    pub contents: Vec<u8>,
}

impl File {
    /// A file that all may read, of root.
    #[must_use]
    pub fn new(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            owner: (0, 0),
            contents: contents.into(),
        }
    }

    /// The same, for the owner alone.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.mode = 0o600;
        self
    }
}

impl Engine {
    /// Writes files into a container that may or may not run. Directories on the way are made, 0755 of root.
    /// Each file is replaced as a whole, but not atomically: rename inside the container where readers watch.
    pub async fn put_files(&self, container: &str, files: &[File]) -> Result<(), EngineError> {
        if files.is_empty() {
            return Ok(());
        }
        let action = format!("write {} files into {container}", files.len());
        let archive = archive(files).map_err(|error| EngineError::Refused {
            action: action.clone(),
            status: 0,
            message: error.to_string(),
        })?;
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let sent = self
            .docker
            .upload_to_container(container, Some(options), body_full(Bytes::from(archive)))
            .await;
        sent.map_err(refused(action))
    }

    /// The contents of every regular file below a directory of a container, by its path relative to that directory;
    /// `None` where there is no such directory. One request, however many files there are.
    pub async fn get_files(
        &self,
        container: &str,
        directory: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, EngineError> {
        let action = format!("read {directory} of {container}");
        let Some(bytes) = self.download(container, directory, &action).await? else {
            return Ok(None);
        };
        files_of(&bytes).map(Some).map_err(|error| EngineError::Refused {
            action,
            status: 0,
            message: error.to_string(),
        })
    }

    async fn download(&self, container: &str, path: &str, action: &str) -> Result<Option<Vec<u8>>, EngineError> {
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let stream = self.docker.download_from_container(container, Some(options));
        let read = async {
            let chunks: Vec<Bytes> = stream.try_collect().await.map_err(refused(action))?;
            Ok(chunks.concat())
        };
        optional(within(READ_LIMIT, action, read).await)
    }

    /// The contents of one file of a container; `None` where there is no such file.
    pub async fn get_file(&self, container: &str, path: &str) -> Result<Option<Vec<u8>>, EngineError> {
        let action = format!("read {path} of {container}");
        let Some(bytes) = self.download(container, path, &action).await? else {
            return Ok(None);
        };
        let unreadable = |error: std::io::Error| EngineError::Refused {
            action,
            status: 0,
            message: error.to_string(),
        };
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut contents = Vec::new();
        match archive.entries().and_then(|mut entries| entries.next().transpose()) {
            Ok(Some(mut entry)) => entry
                .read_to_end(&mut contents)
                .map(|_| Some(contents))
                .map_err(unreadable),
            Ok(None) => Ok(None),
            Err(error) => Err(unreadable(error)),
        }
    }
}

/// Regular files of an archive of one directory, by the path below it.
fn files_of(archive: &[u8]) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        // The first component is the directory that was asked for.
        if let Some((_, below)) = path.split_once('/')
            && entry.header().entry_type().is_file()
        {
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents)?;
            files.insert(below.to_owned(), contents);
        }
    }
    Ok(files)
}

fn archive(files: &[File]) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut made = std::collections::BTreeSet::new();
    for file in files {
        let path = file.path.trim_start_matches('/');
        for (index, _) in path.match_indices('/') {
            if made.insert(path[..index].to_owned()) {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                builder.append_data(&mut header, format!("{}/", &path[..index]), std::io::empty())?;
            }
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(file.mode);
        header.set_uid(file.owner.0);
        header.set_gid(file.owner.1);
        header.set_size(file.contents.len() as u64);
        builder.append_data(&mut header, path, file.contents.as_slice())?;
    }
    builder.into_inner()
}
