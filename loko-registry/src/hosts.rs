//! `hosts.toml`: how containerd finds a registry, its mirrors and who signs their certificates
//! (containerd, `docs/hosts.md`). Read anew at each pull, so a node needs no restart.

pub mod parse;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

pub use parse::{ParseError, parse};
pub use wanted::{CA_PATH, CERTS_DIRECTORY, path, wanted};

/// The first line of what is ours; a file without it is left alone.
pub const MARKER: &str = "# Written by loko and written anew at each change. Without this line it stays as it is.";

/// One `hosts.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostsFile {
    /// Asked last, when no other host has it; `None`: the registry itself.
    pub server: Option<String>,
    /// How `server` is spoken to.
    pub server_settings: Settings,
    /// Asked in this order.
    pub hosts: Vec<Host>,
}

/// One table `[host."…"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Scheme, host, port and path.
    pub url: String,
    /// How it is spoken to.
    pub settings: Settings,
}

/// How a host is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What it is asked for; none is everything.
    pub capabilities: BTreeSet<Capability>,
    /// Files with the authorities that may sign its certificate, besides the system's.
    pub ca: Vec<String>,
    /// Whether any certificate will do. Never written by us.
    pub skip_verify: Option<bool>,
    /// Whether the URL's path is the whole path, `/v2` included.
    pub override_path: bool,
    /// How long a connection may take to come about; a Go duration.
    pub dial_timeout: Option<String>,
}

/// What a host is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Manifests and blobs by digest.
    Pull,
    /// Tags into digests.
    Resolve,
    /// Uploads.
    Push,
    /// What refers to a manifest.
    Referrers,
}

impl Capability {
    const ALL: [Self; 4] = [Self::Pull, Self::Resolve, Self::Push, Self::Referrers];

    fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Resolve => "resolve",
            Self::Push => "push",
            Self::Referrers => "referrers",
        }
    }

    fn of(word: &str) -> Option<Self> {
        // containerd compares without regard to case.
        Self::ALL
            .into_iter()
            .find(|capability| word.eq_ignore_ascii_case(capability.word()))
    }
}

/// What has to change on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostChanges {
    /// Registry host → the file's text.
    pub write: BTreeMap<String, String>,
    /// Registry hosts whose file goes.
    pub remove: BTreeSet<String>,
    /// Registry hosts that are wanted and have a file that is not ours; it is left as it is.
    pub foreign: BTreeSet<String>,
}

impl HostChanges {
    /// Compares what is wanted with the texts of the `hosts.toml` that a node holds, both by registry host.
    #[must_use]
    pub fn between(wanted: &BTreeMap<String, HostsFile>, found: &BTreeMap<String, String>) -> Self {
        let mut changes = Self::default();
        for (host, file) in wanted {
            let text = file.render();
            match found.get(host) {
                Some(there) if !is_ours(there) => drop(changes.foreign.insert(host.clone())),
                Some(there) if *there == text => {}
                _ => drop(changes.write.insert(host.clone(), text)),
            }
        }
        changes.remove = found
            .iter()
            .filter(|(host, text)| is_ours(text) && !wanted.contains_key(*host))
            .map(|(host, _)| host.clone())
            .collect();
        changes
    }

    /// Whether nothing has to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.write.is_empty() && self.remove.is_empty()
    }
}

/// Where a node asks for what a registry has, in this order: the mirrors of its file, then the registry itself or who stands for
/// it. `host` as image names write it.
#[must_use]
pub fn asked(host: &str, files: &BTreeMap<String, HostsFile>) -> Vec<String> {
    // Docker Hub's images are named after another host than the one that has them.
    let own = || match host {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        host => format!("https://{host}"),
    };
    let Some(file) = files.get(host) else {
        return vec![own()];
    };
    let last = file.server.clone().unwrap_or_else(own);
    let mirrors = file.hosts.iter().map(|host| host.url.clone());
    mirrors.chain([last]).collect()
}

/// Whether a file was written by us.
#[must_use]
pub fn is_ours(text: &str) -> bool {
    text.lines().next() == Some(MARKER)
}

impl HostsFile {
    /// The file's text, with [`MARKER`] as its first line.
    #[must_use]
    pub fn render(&self) -> String {
        let page = Page {
            marker: MARKER,
            server: self.server.as_deref().map(quoted),
            settings: self.server_settings.lines(),
            hosts: self
                .hosts
                .iter()
                .map(|host| PageHost {
                    url: quoted(&host.url),
                    settings: host.settings.lines(),
                })
                .collect(),
        };
        // Writing to a string cannot fail, and the template calls nothing that can.
        page.render().unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "hosts.toml", escape = "none")]
struct Page<'a> {
    marker: &'a str,
    server: Option<String>,
    settings: Vec<String>,
    hosts: Vec<PageHost>,
}

struct PageHost {
    url: String,
    settings: Vec<String>,
}

impl Settings {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.capabilities.is_empty() {
            let words = self.capabilities.iter().map(|capability| quoted(capability.word()));
            lines.push(format!("capabilities = {}", list(words)));
        }
        match self.ca.as_slice() {
            [] => {}
            [file] => lines.push(format!("ca = {}", quoted(file))),
            files => lines.push(format!("ca = {}", list(files.iter().map(|file| quoted(file))))),
        }
        if let Some(skip) = self.skip_verify {
            lines.push(format!("skip_verify = {skip}"));
        }
        if self.override_path {
            lines.push("override_path = true".to_owned());
        }
        if let Some(timeout) = &self.dial_timeout {
            lines.push(format!("dial_timeout = {}", quoted(timeout)));
        }
        lines
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A TOML basic string (toml.io, v1.0.0, "String").
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&escaped(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn escaped(c: char) -> String {
    format!("\\u{:04X}", u32::from(c))
}
