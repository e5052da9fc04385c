//! Puts an image of the engine into a registry: `docker save -o app.tar app:1`, then `load http://127.0.0.1:5000 app 1 app.tar`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints")]

use std::collections::BTreeMap;
use std::time::Duration;

use loko_registry::driver::{Client, ClientOptions, Progress, load};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("{what} is missing"));
    let client = Client::new(ClientOptions {
        registry: next("the address of a registry")?,
        authority: None,
        addresses: BTreeMap::new(),
        credentials: None,
        patience: Duration::from_mins(1),
    })?;
    let repository = next("a repository")?.parse()?;
    let reference = next("a tag")?.parse()?;
    let archive = tokio::fs::File::open(next("an archive")?).await?;
    let loaded = load(&client, &repository, &reference, archive, |progress| match progress {
        Progress::Sending { digest, size } => eprintln!("{}: {size} bytes", digest.short()),
        Progress::Done { digest, sent: true } => eprintln!("{}: sent", digest.short()),
        Progress::Done { digest, sent: false } => eprintln!("{}: there already", digest.short()),
    })
    .await?;
    println!(
        "{} ({} sent, {} there, {} bytes)",
        loaded.digest, loaded.sent, loaded.there, loaded.bytes
    );
    Ok(())
}
