//! Images: look, pull, stream out and in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::body_try_stream;
use bollard::query_parameters::{CreateImageOptionsBuilder, ImportImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};

use super::{Engine, optional, refused};
use crate::error::{EngineError, with_causes};
use crate::image::ImageFacts;

/// Limit until an archive of images is taken.
const IMPORT_LIMIT: Duration = Duration::from_mins(15);

impl Engine {
    /// The image, where the engine has it.
    pub async fn image(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError> {
        let found = self.docker.inspect_image(reference).await;
        let found = optional(found.map_err(refused(format!("inspect the image {reference}"))))?;
        Ok(found.map(|image| ImageFacts {
            id: image.id.unwrap_or_default(),
            tags: image.repo_tags.unwrap_or_default(),
            size: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            architecture: image.architecture.unwrap_or_default(),
        }))
    }

    /// Pulls the image where the engine does not have it. `progress` is told the share that is done, 0 to 100.
    /// Returns whether it was pulled.
    pub async fn ensure_image(&self, reference: &str, mut progress: impl FnMut(u8)) -> Result<bool, EngineError> {
        if self.image(reference).await?.is_some() {
            return Ok(false);
        }
        let failed = |message: String| EngineError::Image {
            image: reference.to_owned(),
            message,
        };
        let options = CreateImageOptionsBuilder::default().from_image(reference).build();
        let mut layers = std::collections::BTreeMap::<String, (i64, i64)>::new();
        let mut stream = self.docker.create_image(Some(options), None, None).boxed();
        while let Some(event) = stream.next().await {
            let event = event.map_err(|error| failed(with_causes(&error)))?;
            if let Some(message) = event.error_detail.and_then(|detail| detail.message) {
                return Err(failed(message));
            }
            if let (Some(id), Some(detail)) = (event.id, event.progress_detail)
                && let (Some(current), Some(total)) = (detail.current, detail.total)
            {
                layers.insert(id, (current, total));
                let (done, all) = layers
                    .values()
                    .fold((0, 0), |(d, a), (current, total)| (d + current, a + total));
                progress(u8::try_from(done * 100 / all.max(1)).unwrap_or(100));
            }
        }
        Ok(true)
    }

    /// Takes the images of an archive, as `docker save` writes it or as an OCI image layout.
    pub async fn import_images(
        &self,
        archive: impl Stream<Item = Result<Bytes, EngineError>> + Send + 'static,
    ) -> Result<(), EngineError> {
        // The engine hears only that the body ended; why is kept here.
        let unread = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&unread);
        let body = archive.map_err(move |error| {
            let text = error.to_string();
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            std::io::Error::other(text)
        });
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        // It answers when it has read all.
        let patient = self.docker.clone().with_timeout(IMPORT_LIMIT);
        let answers = patient.import_image(options, body_try_stream(body), None);
        let ended = answers.try_for_each(|_| std::future::ready(Ok(()))).await;
        if let Some(error) = unread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        ended.map_err(refused("load images into the engine"))
    }

    /// The images as one archive, as `docker save` writes it: layers that they share are in it once.
    pub fn export_images(
        &self,
        references: &[String],
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + use<> {
        // bollard borrows the names for as long as the stream lives; an owned copy goes with it.
        let docker = self.docker.clone();
        let references = references.to_vec();
        async_stream(move |sender| async move {
            let names: Vec<&str> = references.iter().map(String::as_str).collect();
            let action = format!("export the images {}", names.join(", "));
            let mut stream = docker
                .export_images(&names)
                .map_err(|error| refused(action.clone())(error))
                .boxed();
            while let Some(chunk) = stream.next().await {
                if sender.send(chunk).await.is_err() {
                    break;
                }
            }
        })
    }
}

/// A stream fed by a task of its own, at most 16 chunks ahead of its reader.
fn async_stream<F, Fut>(feed: F) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + use<F, Fut>
where
    F: FnOnce(tokio::sync::mpsc::Sender<Result<Bytes, EngineError>>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    tokio::spawn(feed(sender));
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
}
