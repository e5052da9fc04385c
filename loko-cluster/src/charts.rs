//! Workloads that are Helm charts: where a chart comes from, and what has to be done to its release.
//!
//! ```text
//! ChartSource ─ Origin::of ─→ Origin ─┐
//! values, version ────────────────────┴─ hash ─→ Wanted ─┐
//! labels of Helm's own Secrets ─ releases ─→ Release ────┴─ decide ─→ Decision ─→ driver::helm
//! ```
//!
//! Helm keeps each revision of a release in a Secret whose labels name its status. `helm upgrade --labels` adds ours, so a look
//! at labels alone tells whether a release is as loko.yaml says, and nothing is stored a second time.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use loko_config::model::{ChartSource, Environment, Source};
use loko_engine::container::short_hash;
use serde_json::{Value, json};

/// Label of a release's Secrets: the workload that it was installed for.
pub const WORKLOAD: &str = "dev.loko.chart";
/// Label of a release's Secrets: the hash of what loko.yaml says, a dot, the hash of the chart's files or commit where it comes
/// from a folder or from git.
pub const HASH: &str = "dev.loko.chart-spec";
/// The annotation of what is run at a point of a release's life (Helm: `pkg/release`, `HookAnnotation`).
pub const HOOK: &str = "helm.sh/hook";
/// What every object of a release carries since Helm 3.2 (`pkg/action/validate.go`).
pub const RELEASE_NAME: &str = "meta.helm.sh/release-name";
/// The longest name of a release (`maxReleaseNameLen` of Helm's `pkg/action`).
pub const MAX_NAME: usize = 53;
/// The oldest Helm that is used: labels of releases came with 3.13, and behave on upgrades as they do now from 3.14 on.
pub const OLDEST: (u64, u64) = (3, 14);

/// Where a chart is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a repository that is asked over HTTP.
    Repository {
        /// Its address.
        url: String,
        /// The chart's name there.
        chart: String,
    },
    /// In an OCI registry: `oci://host/path/chart`.
    Oci(String),
    /// A folder or an archive on this machine.
    Folder(Utf8PathBuf),
    /// In a git repository.
    Git {
        /// What `git fetch` takes.
        url: String,
        /// A branch, tag or commit; `HEAD` where none is given.
        revision: String,
        /// The chart's folder in it, without a leading slash; empty for the root.
        path: String,
    },
}

/// Why a chart has no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum ChartError {
    /// The named repository is not in the list.
    #[error("the chart `{chart}` comes from the repository `{repository}`, which is not in the list")]
    #[diagnostic(
        code(loko::chart::repository),
        help("add it to `workloads.helm-repositories` in loko.yaml")
    )]
    Repository {
        /// As written.
        chart: String,
        /// The name that is not known.
        repository: String,
    },
    /// Helm refuses longer names.
    #[error("the workload `{workload}` is a Helm chart, whose release may have a name of {MAX_NAME} bytes")]
    #[diagnostic(code(loko::chart::long_name), help("choose a shorter name"))]
    LongName {
        /// The name.
        workload: String,
    },
    /// A path in a git repository that leads out of it.
    #[error("the chart's path `{path}` leads out of its git repository")]
    #[diagnostic(
        code(loko::chart::path),
        help("write it from the root of the repository, without `..`")
    )]
    Path {
        /// As written.
        path: String,
    },
}

impl Origin {
    /// Where the chart of a workload comes from. `repositories` are those of loko.yaml by name, `directory` is that of loko.yaml
    /// and `home` the user's, for folders.
    pub fn of(
        source: &ChartSource,
        repositories: &BTreeMap<String, String>,
        directory: &Utf8Path,
        home: &Utf8Path,
    ) -> Result<Self, ChartError> {
        let chart = source.chart.as_str();
        if let Some(git) = &source.git {
            let path = chart.trim_start_matches("./").trim_matches('/');
            if path.split('/').any(|part| part == "..") {
                return Err(ChartError::Path { path: chart.to_owned() });
            }
            return Ok(Self::Git {
                url: git.url.clone(),
                revision: git.revision.clone().unwrap_or_else(|| "HEAD".to_owned()),
                path: if path == "." { String::new() } else { path.to_owned() },
            });
        }
        if let Some(url) = &source.repository_url {
            return Ok(Self::in_repository(url, chart.rsplit('/').next().unwrap_or(chart)));
        }
        if let Some(name) = &source.repository {
            let url = repositories.get(name).ok_or_else(|| ChartError::Repository {
                chart: chart.to_owned(),
                repository: name.clone(),
            })?;
            let own = chart
                .strip_prefix(name.as_str())
                .and_then(|rest| rest.strip_prefix('/'));
            return Ok(Self::in_repository(url, own.unwrap_or(chart)));
        }
        if chart.starts_with("oci://") {
            return Ok(Self::Oci(chart.to_owned()));
        }
        let path = match chart.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => directory.join(chart),
        };
        // `a/./b` is `a/b`.
        Ok(Self::Folder(path.components().collect()))
    }

    fn in_repository(url: &str, chart: &str) -> Self {
        if url.starts_with("oci://") {
            return Self::Oci(format!("{}/{chart}", url.trim_end_matches('/')));
        }
        Self::Repository {
            url: url.to_owned(),
            chart: chart.to_owned(),
        }
    }

    /// The host that a chart is fetched from over HTTP or from a registry, without a port.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        let (Self::Repository { url, .. } | Self::Oci(url)) = self else {
            return None;
        };
        let (_, rest) = url.split_once("://")?;
        let authority = rest.split('/').next()?;
        let host = authority.rsplit('@').next()?;
        host.split(':').next()
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository { url, chart } => write!(f, "{chart} of {url}"),
            Self::Oci(reference) => f.write_str(reference),
            Self::Folder(path) => f.write_str(path.as_str()),
            Self::Git { url, revision, path } => write!(f, "{url}@{revision}/{path}"),
        }
    }
}

/// The release that a workload wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Name of the workload and of the release.
    pub name: String,
    /// Where it is installed.
    pub namespace: String,
    /// Where the chart is.
    pub origin: Origin,
    /// The chart's version, where given.
    pub version: Option<String>,
    /// What is merged, deeply, over the chart's own values.
    pub values: Value,
}

impl Wanted {
    /// The releases of all enabled workloads that are charts. The environment must be expanded.
    pub fn all(environment: &Environment, directory: &Utf8Path, home: &Utf8Path) -> Result<Vec<Self>, ChartError> {
        let repositories = &environment.workloads.helm_repositories;
        let charts = environment
            .enabled_workloads()
            .filter_map(|workload| match &workload.source {
                Source::Chart(chart) => Some((workload, chart)),
                Source::Image(_) | Source::Catalogue { .. } => None,
            });
        charts
            .map(|(workload, chart)| {
                let name = workload.name.to_string();
                if name.len() > MAX_NAME {
                    return Err(ChartError::LongName { workload: name });
                }
                Ok(Self {
                    name,
                    namespace: environment.workloads.namespace.to_string(),
                    origin: Origin::of(chart, repositories, directory, home)?,
                    version: chart.version.clone(),
                    values: Value::Object(chart.values.clone()),
                })
            })
            .collect()
    }

    /// The hash of what loko.yaml says of it, 16 digits. Where the folder lies does not count: its content does.
    #[must_use]
    pub fn hash(&self) -> String {
        let origin = match &self.origin {
            Origin::Folder(_) => json!("folder"),
            Origin::Git { url, revision, path } => json!([url, revision, path]),
            Origin::Repository { url, chart } => json!([url, chart]),
            Origin::Oci(reference) => json!(reference),
        };
        short_hash(json!([origin, self.version, self.values]).to_string().as_bytes())
    }

    /// The value of the label [`HASH`]; `content` is the hash of its files or its commit.
    #[must_use]
    pub fn label(&self, content: Option<&str>) -> String {
        match content {
            Some(content) => format!("{}.{}", self.hash(), content.get(..16).unwrap_or(content)),
            None => self.hash(),
        }
    }
}

/// The newest revision of a release that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub namespace: String,
    /// Its number.
    pub revision: u64,
    /// `deployed`, `failed`, `pending-install`, …
    pub status: String,
    /// Our label [`WORKLOAD`]; `None`: somebody else installed it.
    pub workload: Option<String>,
    /// Our label [`HASH`].
    pub hash: Option<String>,
}

impl Release {
    /// Name of the Secret that holds this revision.
    #[must_use]
    pub fn secret(&self) -> String {
        format!("sh.helm.release.v1.{}.v{}", self.name, self.revision)
    }
}

/// The newest revision of each release, from the metadata of Secrets with the label `owner=helm`.
pub fn releases<'a>(secrets: impl IntoIterator<Item = &'a Value>) -> Vec<Release> {
    let mut newest: BTreeMap<(String, String), Release> = BTreeMap::new();
    for secret in secrets {
        let label = |name: &str| Some(secret["metadata"]["labels"].get(name)?.as_str()?.to_owned());
        let namespace = secret["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let revision = label("version").and_then(|text| text.parse().ok());
        let (Some(name), Some(status), Some(revision)) = (label("name"), label("status"), revision) else {
            continue;
        };
        let release = Release {
            name: name.clone(),
            namespace: namespace.clone(),
            revision,
            status,
            workload: label(WORKLOAD),
            hash: label(HASH),
        };
        let entry = newest.entry((namespace, name)).or_insert_with(|| release.clone());
        if entry.revision < release.revision {
            *entry = release;
        }
    }
    newest.into_values().collect()
}

/// What has to be done to a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is as wanted.
    Keep,
    /// It is not there.
    Install,
    /// It is another one than wanted.
    Upgrade,
    /// Its last change failed.
    Repair,
    /// Its last change was cut off: that revision is forgotten, then it is made again. What exists already carries Helm's
    /// annotations, and is taken over.
    Resume,
    /// It is being taken away: that is brought to its end, then it is installed.
    Again,
    /// Somebody else installed a release of that name.
    Foreign,
}

impl Decision {
    /// What the plan calls it; `None` for what stays.
    #[must_use]
    pub fn verb(&self) -> Option<&'static str> {
        match self {
            Self::Keep => None,
            Self::Install => Some("install"),
            Self::Upgrade => Some("upgrade"),
            Self::Repair | Self::Resume => Some("repair"),
            Self::Again => Some("reinstall"),
            Self::Foreign => Some("refuse"),
        }
    }
}

/// Compares a wanted release with the one that is there. `content`: the hash of its files or its commit, where it has some and
/// it could be found out; where it could not, what loko.yaml says counts alone.
#[must_use]
pub fn decide(wanted: &Wanted, content: Option<&str>, there: Option<&Release>) -> Decision {
    let Some(there) = there else {
        return Decision::Install;
    };
    if there.workload.as_deref() != Some(wanted.name.as_str()) {
        return Decision::Foreign;
    }
    match there.status.as_str() {
        "deployed" => {
            let known = there.hash.as_deref().unwrap_or_default();
            let is_same = match content {
                Some(_) => known == wanted.label(content),
                None => known.split('.').next() == Some(wanted.hash().as_str()),
            };
            if is_same { Decision::Keep } else { Decision::Upgrade }
        }
        "pending-install" | "pending-upgrade" | "pending-rollback" => Decision::Resume,
        "uninstalling" => Decision::Again,
        "uninstalled" => Decision::Install,
        // `failed`, `unknown`, and `superseded` without a successor.
        _ => Decision::Repair,
    }
}

/// The releases of ours that no enabled workload wants.
#[must_use]
pub fn surplus<'a>(wanted: &[Wanted], there: &'a [Release]) -> Vec<&'a Release> {
    let is_wanted = |release: &Release| {
        wanted
            .iter()
            .any(|one| one.name == release.name && one.namespace == release.namespace)
    };
    there
        .iter()
        .filter(|release| release.workload.is_some() && release.status != "uninstalled" && !is_wanted(release))
        .collect()
}

/// The numbers of a version as `helm version --template '{{.Version}}'` prints it: `v3.14.0`, `v4.3.1+gabc`, `v4.3`.
#[must_use]
pub fn version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.trim().trim_start_matches('v').split(['.', '-', '+']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
