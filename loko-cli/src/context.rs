//! What every command stands on: options, the home, progress, and — once a command needs it — the platform.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use loko_cluster::catalogue::{Catalogue, CatalogueError, Service};
use loko_cluster::driver::{Cluster, KubeApi};
use loko_config::model::NetworkIp;
use loko_config::{Environment, Loaded};
use loko_engine::{EdgeMode, Engine, endpoint};

use crate::args::{Color, Format, Global};
use crate::error::CliError;
use crate::find::{self, Source};
use crate::host;
use crate::progress::{Progress, Style};
use crate::state::{self, Home};

/// Options, the home and progress.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) home: Home,
    pub(crate) progress: Progress,
}

/// An environment on an engine.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) source: Source,
    pub(crate) environment: Environment,
    pub(crate) engine: Engine,
    /// This host's clock when the engine said what its own is.
    pub(crate) connected: Timestamp,
    pub(crate) cluster: Cluster,
    pub(crate) mode: EdgeMode,
    pub(crate) address: IpAddr,
    /// What is known of the workloads that came from the catalogue.
    pub(crate) services: BTreeMap<String, Service>,
}

/// Whether standard error shows color.
pub(crate) fn color(choice: Color) -> bool {
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    }
}

impl Context {
    pub(crate) fn new(global: Global) -> Result<Self, CliError> {
        let home = match &global.home {
            Some(root) => root.clone(),
            None => user_home()?.join(".loko"),
        };
        let style = match (global.quiet, global.output) {
            (true, _) => Style::Quiet,
            (false, Format::Json) => Style::Json,
            (false, _) if std::io::stderr().is_terminal() => Style::Moving,
            (false, _) => Style::Plain,
        };
        let progress = Progress::new(style, color(global.color));
        Ok(Self {
            global,
            home: Home::new(home),
            progress,
        })
    }

    /// The loko.yaml that the command means, read and checked; warnings are said.
    pub(crate) fn load(&self) -> Result<(Source, Loaded), CliError> {
        let source = find::source(&self.global, &self.home)?;
        let loaded = find::load(&source, &self.home, false)?;
        if !loaded.warnings.is_empty() {
            self.progress.say(&loko_config::problem::render_text(
                source.path.as_str(),
                &loaded.warnings,
            ));
        }
        if let Some(warning) = find::foreign_address(&loaded) {
            self.progress.say(&format!("warning: {warning}"));
        }
        Ok((source, loaded))
    }

    /// A connection to the engine.
    pub(crate) async fn engine(&self) -> Result<Engine, CliError> {
        Ok(Engine::connect(&engine_endpoint()).await?)
    }

    /// The environment that the command means, on the engine.
    pub(crate) async fn platform(&self) -> Result<Platform, CliError> {
        let (source, loaded) = self.load()?;
        self.platform_of(source, loaded.environment).await
    }

    /// A given environment on the engine.
    pub(crate) async fn platform_of(&self, source: Source, environment: Environment) -> Result<Platform, CliError> {
        let engine = self.engine().await?;
        let connected = Timestamp::now();
        let (mode, why) = loko_engine::edge::decide(engine.facts(), &host::facts());
        tracing::debug!(?mode, %why, "edge");
        let address = address(environment.network.ip, mode)?;
        let facts = loko_config::Facts {
            ip: address,
            environment_variables: std::env::vars().collect(),
        };
        let resolution = catalogue(&self.home)?.resolve(&environment)?.expand(&facts)?;
        let environment = resolution.environment;
        let cluster = Cluster::new(engine.clone(), environment.clone());
        Ok(Platform {
            source,
            environment,
            engine,
            connected,
            cluster,
            mode,
            address,
            services: resolution.services,
        })
    }

    /// The Kubernetes API of an environment that was created.
    pub(crate) async fn api(&self, environment: &str) -> Result<KubeApi, CliError> {
        let kubeconfig = state::read(&self.home.kubeconfig(environment))?.ok_or_else(|| CliError::Down {
            summary: format!("{environment} was never created, or was destroyed"),
        })?;
        let progress = self.progress.clone();
        Ok(KubeApi::new(&kubeconfig).await?.telling(move |text| progress.say(text)))
    }

    /// Asks a question that is answered with yes or no; `--yes` answers it.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), CliError> {
        if self.global.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(CliError::NoTerminal {
                question: question.to_owned(),
            });
        }
        crate::output::talk(&format!("{question} [y/N]"));
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        match (read, answer.trim()) {
            (Ok(_), "y" | "Y" | "yes") => Ok(()),
            _ => Err(CliError::Declined),
        }
    }
}

/// What names resolve to and where the edge listens.
fn address(wanted: NetworkIp, mode: EdgeMode) -> Result<IpAddr, CliError> {
    let lan = || {
        host::lan_address().ok_or_else(|| CliError::Usage {
            message: "this host has no route to any network, so `network.ip: lan` has no address".to_owned(),
            help: "connect to a network, or set `network.ip: 127.0.0.1`".to_owned(),
        })
    };
    match (wanted, mode) {
        (NetworkIp::Address(address), _) => Ok(address),
        (NetworkIp::Lan, _) => lan(),
        // A published port reaches a loopback address on every engine, and nothing outside sees it.
        (NetworkIp::Auto, EdgeMode::HostNetwork) => Ok(Ipv4Addr::LOCALHOST.into()),
        (NetworkIp::Auto, EdgeMode::Published) => lan().or(Ok(Ipv4Addr::LOCALHOST.into())),
    }
}

/// The user's home directory.
pub(crate) fn user_home() -> Result<Utf8PathBuf, CliError> {
    let home = etcetera::home_dir()
        .ok()
        .and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    home.ok_or_else(|| CliError::Usage {
        message: "the home directory of this user is not known".to_owned(),
        help: "set HOME, or say where LoKO keeps its files with LOKO_HOME".to_owned(),
    })
}

/// Where the engine is, by the rules of the `docker` command.
fn engine_endpoint() -> String {
    let env: BTreeMap<String, String> = std::env::vars().filter(|(key, _)| key.starts_with("DOCKER_")).collect();
    let read = |name: &str| fs_err::read_to_string(docker_directory()?.join(name)).ok();
    let context = endpoint::current_context(&env, read("config.json").as_deref());
    let meta = context.and_then(|name| read(&endpoint::context_file(&name)));
    endpoint::resolve(&env, meta.as_deref())
}

/// What `docker login` left, where there is something.
pub(crate) fn docker_config() -> Option<String> {
    fs_err::read_to_string(docker_directory()?.join("config.json")).ok()
}

fn docker_directory() -> Option<Utf8PathBuf> {
    let named = std::env::var("DOCKER_CONFIG").ok().filter(|path| !path.is_empty());
    named
        .map(Utf8PathBuf::from)
        .or_else(|| Some(user_home().ok()?.join(".docker")))
}

/// The catalogue: what comes with loko, and over it the user's own entries, `<home>/catalogue/<name>.yaml`.
pub(crate) fn catalogue(home: &Home) -> Result<Catalogue, CliError> {
    let mut catalogue = Catalogue::embedded()?;
    for path in home.entries()? {
        let text = state::read(&path)?.unwrap_or_default();
        let name = path.file_stem().unwrap_or_default();
        catalogue.add(name, &text).map_err(|error| match error {
            CatalogueError::Entry { name, reason } => CatalogueError::Entry {
                reason: format!("{reason} (in {path})"),
                name,
            },
            other @ CatalogueError::Unknown { .. } => other,
        })?;
    }
    Ok(catalogue)
}

/// `<user>@<host>`, for the authority's subject.
pub(crate) fn holder() -> String {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| "root".to_owned());
    format!("{user}@{}", host::facts().hostname)
}

/// Base directory of the user's kubeconfig.
pub(crate) fn kubeconfig_path() -> Result<Utf8PathBuf, CliError> {
    // As kubectl: the first file of $KUBECONFIG is the one that is written to.
    if let Ok(list) = std::env::var("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
        && let Ok(path) = Utf8PathBuf::from_path_buf(first)
    {
        return Ok(path);
    }
    Ok(user_home()?.join(".kube/config"))
}
