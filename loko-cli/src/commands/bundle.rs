//! `loko bundle …`

use camino::Utf8PathBuf;
use clap::Subcommand;
use futures_util::{StreamExt as _, TryStreamExt as _};
use loko_cluster::wanted;
use loko_config::names::ImageRef;
use loko_engine::EngineError;
use loko_engine::image::canonical;
use loko_registry::bundle::{Contents, Wanted, go_architecture};
use loko_registry::driver::{self, BundleWriter};
use loko_registry::oci::Platform;
use serde::Serialize;
use tokio_util::io::StreamReader;

use crate::bundle::blocking;
use crate::commands::registry::size;
use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::progress::Outcome;

/// So many images are pulled at once.
const PULLS: usize = 4;

/// `loko bundle …`
#[derive(Debug, Subcommand)]
pub(crate) enum Bundle {
    /// Put every image that loko.yaml needs into a file; after a run that was cut off, the rest
    Save {
        /// The file; while it grows it has `.part` behind its name
        file: Utf8PathBuf,
        /// Also this image, for every node: of a chart, which names its images only when it is rendered
        #[arg(long = "image", value_name = "IMAGE")]
        images: Vec<ImageRef>,
    },
    /// Show what is in a file
    Show {
        /// The file
        file: Utf8PathBuf,
        /// And read all of it, and compare every digest
        #[arg(long)]
        verify: bool,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    file: Utf8PathBuf,
    environment: String,
    platform: String,
    /// In bytes, each part counted once.
    size: u64,
    images: Vec<Row>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    image: String,
    digest: String,
    /// In bytes, with what it shares with others.
    size: u64,
    layers: usize,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: Bundle) -> Result<(), CliError> {
    match command {
        Bundle::Save { file, images } => save(context, file, &images).await,
        Bundle::Show { file, verify } => show(context, file, verify).await,
    }
}

async fn save(context: &Context, file: Utf8PathBuf, extra: &[ImageRef]) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let engine = &platform.engine;
    let of_file = wanted::all_images(&platform.environment).into_keys();
    let mut all: Vec<Wanted> = of_file.map(|image| wanted_image(image, false)).collect();
    for image in extra {
        let image = wanted_image(image.to_string(), true);
        if all.iter().all(|other| other.name != image.name) {
            all.push(image);
        }
    }
    let machine = Platform {
        os: "linux".to_owned(),
        architecture: go_architecture(&engine.facts().architecture).to_owned(),
        variant: None,
    };
    let target = file.clone();
    let mut writer = blocking(move || BundleWriter::open(target.as_std_path(), machine)).await??;
    if writer.kept() > 0 {
        let kept = size(writer.kept());
        context
            .progress
            .say(&format!("{kept} of {file} are there from a run before"));
    }
    // The next images are pulled while one is written.
    let pulls = futures_util::stream::iter(all).map(|image| {
        let engine = engine.clone();
        tokio::spawn(async move {
            engine.ensure_image(&image.reference, |_| ()).await?;
            let facts = engine.image(&image.reference).await?;
            Ok::<_, EngineError>((image, facts))
        })
    });
    let mut pulls = pulls.buffered(PULLS);
    while let Some(pulled) = pulls.next().await {
        let (image, facts) = pulled.map_err(|_| CliError::Interrupted)??;
        let line = context.progress.start("image", &image.reference);
        if facts.is_some_and(|facts| writer.take(&image, &facts.id)) {
            line.done(&Outcome::Changed(format!("{} is there already", image.reference)));
            continue;
        }
        let export = engine.export_images(std::slice::from_ref(&image.reference));
        let export = StreamReader::new(Box::pin(export.map_err(std::io::Error::other)));
        let reference = image.reference.clone();
        match writer.add(image, export).await {
            Ok((again, added)) => {
                writer = again;
                line.done(&Outcome::Changed(format!("{reference}, {} written", size(added.bytes))));
            }
            Err(error) => {
                line.failed(&error.to_string());
                return Err(error.into());
            }
        }
    }
    drop(pulls);
    let name = platform.environment.name.to_string();
    let contents = blocking(move || writer.finish(env!("CARGO_PKG_VERSION"), &name)).await??;
    report(context, file, &contents);
    Ok(())
}

fn wanted_image(reference: String, extra: bool) -> Wanted {
    Wanted {
        name: canonical(&reference),
        reference,
        extra,
    }
}

async fn show(context: &Context, file: Utf8PathBuf, verify: bool) -> Result<(), CliError> {
    let path = file.clone();
    let line = verify.then(|| context.progress.start("verify", file.as_str()));
    let contents = blocking(move || {
        let bundle = driver::Bundle::open(path.as_std_path())?;
        if verify {
            bundle.verify(|_| ())?;
        }
        Ok::<_, driver::BundleFileError>(bundle.contents().clone())
    });
    let contents = contents.await??;
    if let Some(line) = line {
        line.done(&Outcome::Changed("every part is what its digest says".to_owned()));
    }
    report(context, file, &contents);
    Ok(())
}

fn report(context: &Context, file: Utf8PathBuf, contents: &Contents) {
    let parts = contents.select(&contents.names()).parts;
    let images = contents.images.iter().map(|image| Row {
        image: image.reference.clone(),
        digest: image.root.digest.to_string(),
        size: image.parts.values().sum(),
        layers: image.layers.len(),
    });
    let report = Report {
        file,
        environment: contents.environment.clone(),
        platform: contents.platform.to_string(),
        size: parts.values().sum(),
        images: images.collect(),
    };
    output::formatted(context.global.output, &report, || {
        let line = |row: &Row| {
            [
                row.image.clone(),
                row.digest.clone(),
                size(row.size),
                row.layers.to_string(),
            ]
        };
        let table = output::table(["IMAGE", "DIGEST", "SIZE", "LAYERS"], report.images.iter().map(line));
        let all = size(report.size);
        format!(
            "{table}\n{}: {} images of {} for {}, {all} in all",
            report.file,
            report.images.len(),
            report.environment,
            report.platform
        )
    });
}
