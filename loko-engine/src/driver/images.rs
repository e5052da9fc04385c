//! Images: look, pull, stream out.

use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};

use super::{Engine, innermost, optional, refused};
use crate::error::EngineError;
use crate::image::ImageFacts;

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
            let event = event.map_err(|error| failed(innermost(&error)))?;
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
