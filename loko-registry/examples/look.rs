//! Lists what a registry holds: `look http://127.0.0.1:5000`, or `look https://cr.dev.me ca.crt`.
#![expect(clippy::print_stdout, reason = "it prints")]

use std::collections::BTreeMap;
use std::time::Duration;

use loko_registry::driver::{Client, ClientOptions};
use loko_registry::oci::Reference;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let registry = arguments.next().ok_or("the address of a registry is missing")?;
    let authority = match arguments.next() {
        Some(path) => Some(fs_err::read_to_string(path)?),
        None => None,
    };
    let client = Client::new(ClientOptions {
        registry,
        authority,
        addresses: BTreeMap::new(),
        credentials: None,
        patience: Duration::from_secs(30),
    })?;
    for repository in client.repositories().await? {
        for tag in client.tags(&repository).await? {
            let reference: Reference = tag.parse()?;
            let image = client.show(&repository, &reference).await?;
            let platforms: Vec<_> = image
                .variants
                .iter()
                .filter_map(|variant| variant.platform.as_ref().map(ToString::to_string))
                .collect();
            println!(
                "{repository}:{tag}  {}  {} bytes  {}",
                image.digest.short(),
                image.size,
                platforms.join(" ")
            );
        }
    }
    Ok(())
}
