//! `loko registry …`: what the registry holds, what is put there, and what goes.
//!
//! The registry is asked as a user's Docker asks it: by its name, at the address of the environment, through HAProxy and
//! Traefik, trusting our authority alone. What only nodes reach is asked from a node ([`inside`]).

mod inside;
mod load;
mod look;
mod prune;
mod remove;
mod status;
mod warm;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use loko_cluster::driver::KubeApi;
use loko_config::names::ImageRef;
use loko_registry::RegistrySpec;
use loko_registry::driver::{Client, ClientOptions};
use loko_registry::oci::{Reference, Repository};

use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::state;

/// How long an answer may take: a mirror answers when it has the image.
const PATIENCE: Duration = Duration::from_mins(2);

/// `loko registry …`
#[derive(Debug, Subcommand)]
pub(crate) enum Registry {
    /// Show whether host, nodes and pods reach it, what it mirrors and how much it holds; exit code 3 where one does not
    Status,
    /// List the repositories: pushed ones, and mirrored ones with their source
    Repos {
        #[command(flatten)]
        page: Page,
        /// Only what was pushed
        #[arg(long, conflicts_with = "source")]
        local: bool,
        /// Only what is mirrored from a source, by its name in loko.yaml
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
    /// List the tags of a repository
    Tags {
        /// `app`, `ghcr.io/me/app`; the registry's own host may stand before it
        repository: ImageRef,
        #[command(flatten)]
        page: Page,
    },
    /// Show an image: what it is, for which platforms, its digest and size
    Show {
        /// `app:1`, `app@sha256:…`
        image: ImageRef,
    },
    /// Put images of the engine into the registry, or into the nodes
    Load {
        /// As the engine names them
        #[arg(required = true)]
        images: Vec<ImageRef>,
        /// Into every node instead: pods find them by the same names
        #[arg(long)]
        nodes: bool,
    },
    /// Take images out of the registry; without --yes it asks first
    Rm {
        /// `app:1`, `app@sha256:…`
        #[arg(required = true)]
        images: Vec<ImageRef>,
    },
    /// Take whole repositories out of the registry; without --yes it asks first
    Purge(Purge),
    /// Free the room of what no tag names any more; the registry is away for some seconds
    Prune,
    /// Fetch images through the mirrors before somebody waits for them
    Warm {
        /// Which; default: those of loko.yaml
        images: Vec<ImageRef>,
        /// All of the catalogue as well
        #[arg(long)]
        catalog: bool,
        /// How many at once
        #[arg(long, value_name = "NUMBER", default_value_t = 3)]
        parallel: usize,
    },
}

/// Which part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Page {
    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Only what comes after this name
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
}

/// Options of `registry purge`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Purge {
    /// `app`, `ghcr.io/me/app`
    #[arg(required_unless_present_any = ["mirrored", "all"])]
    repositories: Vec<ImageRef>,
    /// All that is mirrored
    #[arg(long, conflicts_with = "repositories")]
    mirrored: bool,
    /// Everything
    #[arg(long, conflicts_with_all = ["repositories", "mirrored"])]
    all: bool,
}

/// Runs one of the commands.
pub(crate) async fn run(context: &Context, command: Registry) -> Result<(), CliError> {
    let (source, loaded) = context.load()?;
    // Nodes take images whether or not there is a registry.
    if let Registry::Load { images, nodes: true } = &command {
        let platform = context.platform_of(source, loaded.environment).await?;
        return load::into_nodes(context, &platform, images).await;
    }
    let spec = RegistrySpec::of(&loaded.environment)?.ok_or_else(|| CliError::Usage {
        message: format!("{} has no registry", loaded.environment.name),
        help: "switch it on in loko.yaml, `registry: {enabled: true}`, and run `loko create`".to_owned(),
    })?;
    let platform = context.platform_of(source, loaded.environment).await?;
    let at = At {
        context,
        platform: &platform,
        spec: &spec,
    };
    match command {
        Registry::Status => status::run(at).await,
        Registry::Repos { page, local, source } => look::repositories(at, &page, local, source.as_deref()).await,
        Registry::Tags { repository, page } => look::tags(at, &repository, &page).await,
        Registry::Show { image } => look::show(at, &image).await,
        Registry::Load { images, .. } => load::into_registry(at, &images).await,
        Registry::Rm { images } => remove::images(at, &images).await,
        Registry::Purge(options) => remove::repositories(at, &options).await,
        Registry::Prune => prune::run(at).await,
        Registry::Warm {
            images,
            catalog,
            parallel,
        } => warm::run(at, &images, catalog, parallel).await,
    }
}

/// The registry of an environment, and what it takes to speak to it.
#[derive(Debug, Clone, Copy)]
struct At<'a> {
    context: &'a Context,
    platform: &'a Platform,
    spec: &'a RegistrySpec,
}

impl At<'_> {
    /// The way of a user's Docker.
    fn client(self) -> Result<Client, CliError> {
        let (authority, _) = self.context.home.authority();
        let spec = self.spec;
        let address = SocketAddr::new(self.platform.address, spec.https_port);
        Ok(Client::new(ClientOptions {
            registry: format!("https://{}", spec.reference_host()),
            authority: state::read(&authority)?,
            addresses: BTreeMap::from([(spec.host.clone(), address)]),
            credentials: None,
            patience: PATIENCE,
        })?)
    }

    /// Where an image lies in the registry.
    fn place(self, image: &ImageRef) -> Result<(Repository, Reference), CliError> {
        self.spec.place_of(image).map_err(|wrong| CliError::Usage {
            message: format!("`{image}` names nothing in a registry: it {}", wrong.reason),
            help: "write it as app:1, me/app:1 or ghcr.io/me/app:1".to_owned(),
        })
    }

    /// The first control plane, where the registry's data is.
    fn node(self) -> String {
        let mut names = loko_cluster::nodes::names(&self.platform.environment);
        names.next().map(|(name, ..)| name).unwrap_or_default()
    }

    /// The cluster's API.
    async fn api(self) -> Result<KubeApi, CliError> {
        let name = self.platform.environment.name.as_str();
        let kubeconfig = state::read(&self.context.home.kubeconfig(name))?.ok_or_else(|| CliError::Down {
            summary: format!("{name} was never created, or was destroyed"),
        })?;
        Ok(KubeApi::new(&kubeconfig).await?)
    }
}

impl Page {
    /// Cuts a sorted list to this part of it, and says where the next one begins.
    fn of<T>(&self, mut items: Vec<T>, name: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
        if let Some(after) = &self.after {
            items.retain(|item| name(item) > after.as_str());
        }
        let limit = self.limit.unwrap_or(usize::MAX);
        let is_last = items.len() <= limit;
        items.truncate(limit);
        let next = items.last().filter(|_| !is_last).map(|item| name(item).to_owned());
        (items, next)
    }
}

/// Says how the next part of a list is asked for.
fn tell_next(context: &Context, next: Option<&str>) {
    if let Some(next) = next {
        context.progress.say(&format!("there are more: --after {next}"));
    }
}

/// Bytes for people: `1.2 GB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        (whole, rest, unit) = (whole / 1000, whole % 1000 / 100, unit + 1);
    }
    match unit {
        0 => format!("{whole} B"),
        _ => format!("{whole}.{rest} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: Option<usize>, after: Option<&str>) -> Page {
        Page {
            limit,
            after: after.map(str::to_owned),
        }
    }

    #[test]
    fn pages_follow_each_other_and_the_last_has_no_next() {
        let all = || vec!["a", "b", "c"];
        assert_eq!(page(None, None).of(all(), |it| it), (all(), None));
        assert_eq!(
            page(Some(2), None).of(all(), |it| it),
            (vec!["a", "b"], Some("b".to_owned()))
        );
        assert_eq!(page(Some(2), Some("b")).of(all(), |it| it), (vec!["c"], None));
        assert_eq!(page(Some(3), None).of(all(), |it| it), (all(), None));
        assert_eq!(page(Some(0), None).of(all(), |it| it), (vec![], None));
    }

    #[test]
    fn bytes_are_written_for_people() {
        assert_eq!(
            [0, 999, 1000, 1_960_000, u64::MAX].map(size),
            ["0 B", "999 B", "1.0 kB", "1.9 MB", "18446744.0 TB"]
        );
    }
}
