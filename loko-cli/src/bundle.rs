//! Images from a bundle: which the engine gets, and what is refused before anything is touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use camino::Utf8Path;
use futures_util::TryStreamExt as _;
use loko_cluster::wanted;
use loko_engine::EngineError;
use loko_engine::image::canonical;
use loko_registry::bundle::BundleError;
use loko_registry::driver::Bundle;

use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::progress::Outcome;
use crate::up;

/// The platform with a bundle that its images come from, which is looked through: whole, for this kind of machine, and with every
/// image that a first create needs and the engine lacks. `anew`: the nodes are made anew, and lose what they have.
pub(crate) async fn with(mut platform: Platform, file: &Utf8Path, anew: bool) -> Result<Platform, CliError> {
    let path = file.to_owned();
    let bundle = blocking(move || Bundle::open(path.as_std_path())).await??;
    let contents = bundle.contents();
    let unfit = |error: BundleError| loko_registry::driver::BundleFileError::from(error);
    contents
        .runs_on(file.as_str(), &platform.engine.facts().architecture)
        .map_err(unfit)?;
    // Nodes that are there may have what is in no bundle.
    if anew || !up::exists(&platform, &platform.cluster.containers().await?) {
        let mut images = Vec::new();
        for image in wanted::all_images(&platform.environment).into_keys() {
            if contents.image(&canonical(&image)).is_none() && platform.engine.image(&image).await?.is_none() {
                images.push(image);
            }
        }
        if !images.is_empty() {
            let file = file.to_string();
            return Err(unfit(BundleError::Lacks { file, images }).into());
        }
    }
    platform.cluster = platform.cluster.with_bundle(Arc::new(bundle));
    Ok(platform)
}

/// Work that reads or writes a file of gigabytes.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CliError> {
    // It ends without a value only where the program ends.
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|_| CliError::Interrupted)
}

/// Gives the engine what it runs itself, lacks, and the bundle has. Where it has the name it keeps what it has.
pub(crate) async fn into_engine(context: &Context, platform: &Platform) -> Result<(), CliError> {
    let Some(bundle) = platform.cluster.bundle() else {
        return Ok(());
    };
    let mut lacking = Vec::new();
    for image in wanted::engine_images(&platform.environment) {
        let bundled = bundle.contents().image(&canonical(&image)).is_some();
        if bundled && platform.engine.image(&image).await?.is_none() {
            lacking.push(image);
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let line = context.progress.start("bundle", "loading images into the engine");
    let names: BTreeSet<String> = lacking.iter().map(|image| canonical(image)).collect();
    let archive = bundle.stream(names).map_err(|source| EngineError::Input {
        into: "the engine".to_owned(),
        source: Box::new(source),
    });
    let taken = async {
        platform.engine.import_images(archive).await?;
        for image in &lacking {
            if platform.engine.image(image).await?.is_none() {
                return Err(EngineError::Image {
                    image: image.clone(),
                    message: "it took the bundle's, and does not list it".to_owned(),
                });
            }
        }
        Ok(())
    };
    if let Err(error) = taken.await {
        line.failed(&error.to_string());
        return Err(error.into());
    }
    line.done(&Outcome::Changed(format!("{} into the engine", lacking.join(", "))));
    Ok(())
}
