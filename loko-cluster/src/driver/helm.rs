//! Runs the user's `helm`, and `git` for charts that lie in a repository of it.
//!
//! The cluster is named by our own kubeconfig file, values go through standard input: nothing secret is in an argument list. The
//! user's own settings of repositories and of registries (`helm registry login`) stay in force; those that would lead to another
//! cluster do not.

use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};
use loko_engine::container::short_hash;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::charts::{self, Origin, Wanted};
use crate::error::HelmError;
use crate::manifest::{Manifest, ObjectKey};

/// Variables of Helm (`pkg/cli/environment.go`) that lead to another cluster or another place for releases.
const MISLEADING: [&str; 12] = [
    "HELM_NAMESPACE",
    "HELM_KUBECONTEXT",
    "HELM_KUBETOKEN",
    "HELM_KUBEASUSER",
    "HELM_KUBEASGROUPS",
    "HELM_KUBEAPISERVER",
    "HELM_KUBECAFILE",
    "HELM_KUBETLS_SERVER_NAME",
    "HELM_KUBEINSECURE_SKIP_TLS_VERIFY",
    "HELM_DRIVER",
    "HELM_DEBUG",
    "HELM_MAX_HISTORY",
];
/// Revisions of a release that are kept.
const HISTORY: &str = "5";
/// Lines of what a program said that an error shows.
const SAID_LINES: usize = 15;
/// The most bytes of one chart's files that are read.
const MAX_FOLDER: u64 = 64 << 20;

/// The `helm` of the user, for one cluster.
#[derive(Debug, Clone)]
pub struct Helm {
    kubeconfig: Utf8PathBuf,
    authority: Utf8PathBuf,
    domain: String,
    checkouts: Utf8PathBuf,
}

/// Where `helm` finds a chart, and what its files or its commit are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The folder of a chart that was checked out of git.
    folder: Option<Utf8PathBuf>,
    /// The hash of its files or its commit; `None` where it has neither, or git did not answer.
    pub content: Option<String>,
}

/// What a chart becomes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    /// Its objects.
    pub objects: Vec<Manifest>,
    /// Kind and name of what is run beside them.
    pub hooks: Vec<String>,
}

impl Helm {
    /// `kubeconfig`: a file whose current context is the cluster. `authority`: the certificate that registries and repositories
    /// under `domain` are trusted by. `checkouts`: a directory of ours for git.
    #[must_use]
    pub fn new(kubeconfig: &Utf8Path, authority: &Utf8Path, domain: &str, checkouts: &Utf8Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            authority: authority.to_owned(),
            domain: domain.to_owned(),
            checkouts: checkouts.to_owned(),
        }
    }

    /// The same with another directory for git.
    #[must_use]
    pub fn with_checkouts(self, checkouts: &Utf8Path) -> Self {
        Self {
            checkouts: checkouts.to_owned(),
            ..self
        }
    }

    /// Asks whether there is a `helm` on PATH that is new enough. `workloads`: for whom, for the error.
    pub async fn check(workloads: &[String]) -> Result<(), HelmError> {
        let mut command = helm(["version", "--template", "{{.Version}}"]);
        let output = match command.output().await {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(HelmError::Missing {
                    workloads: workloads.join(", "),
                });
            }
            Err(error) => return Err(failed("ask", "helm for its version", &error.to_string())),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        match charts::version(&text) {
            Some(version) if version >= charts::OLDEST => Ok(()),
            _ => Err(HelmError::TooOld {
                found: text.trim().to_owned(),
            }),
        }
    }

    /// Looks at what a chart is made of: files of a folder, or the commit that a revision of a git repository stands for.
    /// Nothing is fetched but that commit's name.
    pub async fn look(&self, wanted: &Wanted) -> Result<Found, HelmError> {
        let content = match &wanted.origin {
            Origin::Repository { .. } | Origin::Oci(_) => None,
            Origin::Folder(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || folder_hash(&path)).await;
                Some(read.unwrap_or_else(|error| Err(failed("read", "the chart", &error.to_string())))?)
            }
            Origin::Git { url, revision, .. } => commit(url, revision).await,
        };
        Ok(Found { folder: None, content })
    }

    /// Fetches a chart that lies in git; every other is fetched by Helm itself.
    pub async fn fetch(&self, wanted: &Wanted, found: Found) -> Result<Found, HelmError> {
        let Origin::Git { url, revision, path } = &wanted.origin else {
            return Ok(found);
        };
        let folder = self.checkouts.join(&wanted.name);
        // A checkout of before may be of another repository.
        let _ = fs_err::remove_dir_all(&folder);
        fs_err::create_dir_all(&folder).map_err(|error| failed("make", folder.as_str(), &error.to_string()))?;
        let at = folder.as_str();
        if revision.starts_with('-') {
            return Err(failed("check out", revision, "that is no revision"));
        }
        git(["init", "--quiet", at]).await?;
        // What a server lets one fetch by itself is a branch or a tag, and mostly a commit; where it does not, all is fetched.
        let one = git(["-C", at, "fetch", "--quiet", "--depth", "1", "--", url, revision]).await;
        let reached = if one.is_ok() { "FETCH_HEAD" } else { revision };
        if one.is_err() {
            git([
                "-C",
                at,
                "fetch",
                "--quiet",
                "--tags",
                "--",
                url,
                "+refs/heads/*:refs/remotes/origin/*",
            ])
            .await?;
        }
        git(["-C", at, "checkout", "--quiet", "--detach", reached, "--"]).await?;
        let content = git(["-C", at, "rev-parse", "HEAD"]).await?;
        Ok(Found {
            folder: Some(folder.join(path)),
            content: Some(content.trim().to_owned()),
        })
    }

    /// Installs a release, or brings it to what is wanted.
    pub async fn upgrade(&self, wanted: &Wanted, found: &Found) -> Result<(), HelmError> {
        let (mut command, chart) = self.upgrading(wanted, found)?;
        let is_here = matches!(wanted.origin, Origin::Folder(_) | Origin::Git { .. });
        if is_here && has_dependencies(Utf8Path::new(&chart)) {
            command.arg("--dependency-update");
        }
        command.args(["--", &wanted.name, &chart]);
        let action = format!("install {} from {}", wanted.name, wanted.origin);
        run(command, wanted.values.to_string(), action).await?;
        Ok(())
    }

    /// What [`Self::upgrade`] would apply, and its hooks; nothing is written, to the chart's folder neither. The API server is
    /// asked, so that a chart sees what is there.
    pub async fn foresee(&self, wanted: &Wanted, found: &Found) -> Result<Rendered, HelmError> {
        let (mut command, chart) = self.upgrading(wanted, found)?;
        command.args(["--dry-run=server", "--output", "json", "--", &wanted.name, &chart]);
        let action = format!("render {} from {}", wanted.name, wanted.origin);
        let text = run(command, wanted.values.to_string(), action.clone()).await?;
        let broken = |said: String| HelmError::Failed {
            action: action.clone(),
            said,
        };
        let release: Value = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        let manifest = release["manifest"].as_str().unwrap_or_default();
        let hooks = release["hooks"].as_array().into_iter().flatten();
        let hook = |hook: &Value| {
            let word = |field: &str| Some(hook[field].as_str()?.to_owned());
            Some(format!("{} {}", word("kind")?, word("name")?))
        };
        Ok(Rendered {
            objects: Manifest::parse_all(manifest).map_err(|error| broken(error.to_string()))?,
            hooks: hooks.filter_map(hook).collect(),
        })
    }

    /// What was applied of a release last.
    pub async fn applied(&self, name: &str, namespace: &str) -> Result<Vec<Manifest>, HelmError> {
        let mut command = self.command(["get", "manifest"], namespace);
        command.args(["--", name]);
        parsed(command, format!("read what was applied of {name}")).await
    }

    /// The hooks of a release, as its chart has them.
    pub async fn hooks(&self, name: &str, namespace: &str) -> Result<Vec<ObjectKey>, HelmError> {
        let mut command = self.command(["get", "hooks"], namespace);
        command.args(["--", name]);
        let hooks = parsed(command, format!("read the hooks of {name}")).await?;
        Ok(hooks
            .iter()
            .map(|hook| {
                let key = hook.key();
                ObjectKey {
                    namespace: key.namespace.or_else(|| Some(namespace.to_owned())),
                    ..key
                }
            })
            .collect())
    }

    /// `helm upgrade` up to the name of the release and the chart, and how the chart is named.
    fn upgrading(&self, wanted: &Wanted, found: &Found) -> Result<(Command, String), HelmError> {
        let mut command = self.command(["upgrade", "--install", "--reset-values"], &wanted.namespace);
        command.args(["--values", "-", "--history-max", HISTORY, "--labels"]);
        command.arg(format!(
            "{}={},{}={}",
            charts::WORKLOAD,
            wanted.name,
            charts::HASH,
            wanted.label(found.content.as_deref())
        ));
        if let Some(version) = &wanted.version {
            command.args(["--version", version]);
        }
        if let Some(host) = wanted.origin.host()
            && host.strip_suffix(&self.domain).is_some_and(|rest| rest.ends_with('.'))
        {
            command.args(["--ca-file", self.authority.as_str()]);
        }
        let chart = match &wanted.origin {
            Origin::Repository { url, chart } => {
                command.args(["--repo", url]);
                chart.clone()
            }
            Origin::Oci(reference) => reference.clone(),
            Origin::Folder(path) => path.to_string(),
            Origin::Git { .. } => found.folder.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        // Helm takes a folder of that name, where there is one, before it asks a repository.
        let empty = self.checkouts.join(".empty");
        fs_err::create_dir_all(&empty).map_err(|error| failed("make", empty.as_str(), &error.to_string()))?;
        command.current_dir(&empty);
        Ok((command, chart))
    }

    /// Takes a release away.
    pub async fn uninstall(&self, name: &str, namespace: &str) -> Result<(), HelmError> {
        let mut command = self.command(["uninstall"], namespace);
        command.args(["--", name]);
        match run(command, String::new(), format!("uninstall {name}")).await {
            // Helm's own words (`pkg/storage/driver`), the same since Helm 2.
            Err(HelmError::Failed { said, .. }) if said.contains("release: not found") => Ok(()),
            other => other.map(drop),
        }
    }

    fn command<const N: usize>(&self, words: [&str; N], namespace: &str) -> Command {
        let mut command = helm(words);
        command.args(["--namespace", namespace, "--kubeconfig", self.kubeconfig.as_str()]);
        command
    }
}

fn helm<const N: usize>(words: [&str; N]) -> Command {
    let mut command = Command::new("helm");
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    for variable in MISLEADING {
        command.env_remove(variable);
    }
    command
}

/// Runs a program to its end with something on its standard input; gives what it printed.
async fn run(mut command: Command, input: String, action: String) -> Result<String, HelmError> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let broken = |error: std::io::Error| HelmError::Failed {
        action: action.clone(),
        said: error.to_string(),
    };
    tracing::debug!(?command, "run");
    let mut child = command.spawn().map_err(broken)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended before it read all says itself why.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(broken)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    // Helm 4 logs before it says the same as an error.
    let error = lines
        .iter()
        .rposition(|line| line.starts_with("Error: "))
        .unwrap_or_default();
    let last = lines
        .get(error.max(lines.len().saturating_sub(SAID_LINES))..)
        .unwrap_or_default();
    Err(HelmError::Failed {
        action,
        said: last.join("\n").trim_start_matches("Error: ").to_owned(),
    })
}

/// Runs a program that prints objects.
async fn parsed(command: Command, action: String) -> Result<Vec<Manifest>, HelmError> {
    let text = run(command, String::new(), action.clone()).await?;
    Manifest::parse_all(&text).map_err(|error| HelmError::Failed {
        action,
        said: error.to_string(),
    })
}

async fn git<const N: usize>(words: [&str; N]) -> Result<String, HelmError> {
    let mut command = Command::new("git");
    // It must fail rather than ask for a password.
    command.args(words).env("GIT_TERMINAL_PROMPT", "0").kill_on_drop(true);
    run(command, String::new(), format!("run git {}", words.join(" "))).await
}

/// The commit that a revision stands for; one that is whole stands for itself. `None` where the repository does not answer.
async fn commit(url: &str, revision: &str) -> Option<String> {
    if revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(revision.to_ascii_lowercase());
    }
    let peeled = format!("{revision}^{{}}");
    let listed = git(["ls-remote", "--", url, revision, &peeled]).await.ok()?;
    // An annotated tag is followed by the commit that it is of.
    let line = listed
        .lines()
        .find(|line| line.ends_with("^{}"))
        .or_else(|| listed.lines().next())?;
    line.split_whitespace().next().map(str::to_owned)
}

/// Whether `Chart.yaml` names charts that it stands on.
fn has_dependencies(folder: &Utf8Path) -> bool {
    let text = fs_err::read_to_string(folder.join("Chart.yaml"));
    text.is_ok_and(|text| text.lines().any(|line| line.starts_with("dependencies:")))
}

/// The hash of all files of a folder, or of an archive. What `helm dependency update` writes does not count.
fn folder_hash(path: &Utf8Path) -> Result<String, HelmError> {
    let unreadable = |error: std::io::Error| failed("read", path.as_str(), &error.to_string());
    if path.is_file() {
        return Ok(short_hash(&fs_err::read(path).map_err(unreadable)?));
    }
    if !path.join("Chart.yaml").is_file() {
        return Err(HelmError::NoChart { path: path.to_string() });
    }
    let mut files = Vec::new();
    let mut directories = vec![path.to_owned()];
    let mut left = MAX_FOLDER;
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir_utf8().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            let name = entry.path().strip_prefix(path).unwrap_or(entry.path()).to_owned();
            let is_made = name == "Chart.lock"
                || name.as_str().starts_with("tmpcharts")
                || name.as_str().starts_with("charts/") && name.extension() == Some("tgz")
                || name.as_str().starts_with(".git/");
            if is_made {
                continue;
            }
            // A link to a directory may lead round in a circle; Helm follows it, and one to a file.
            if kind.is_dir() {
                directories.push(entry.path().to_owned());
            } else if entry.path().is_file() {
                let content = fs_err::read(entry.path()).map_err(unreadable)?;
                left = left
                    .checked_sub(content.len() as u64)
                    .ok_or_else(|| failed("read", path.as_str(), "it has more than 64 MiB"))?;
                files.push((name, short_hash(&content)));
            }
        }
    }
    files.sort();
    let list: Vec<String> = files.iter().map(|(name, hash)| format!("{hash} {name}")).collect();
    Ok(short_hash(list.join("\n").as_bytes()))
}

fn failed(action: &str, what: &str, said: &str) -> HelmError {
    HelmError::Failed {
        action: format!("{action} {what}"),
        said: said.to_owned(),
    }
}
