//! The key `workloads`, entry by entry.

use std::collections::BTreeMap;

use serde_json::{Map as JsonMap, Value as Json, json};

use super::{Placed, Scope, absolute, bad_value, url};
use crate::model::{ChartSource, GitSource, Http, ImageSource, Protocol, Source, Workload, WorkloadPort};
use crate::names::{HostName, ImageRef, Known, WorkloadName};
use crate::problem::{Cause, Severity, Span};
use crate::raw::{CHART_KEYS, RawConfig, RawHttp, RawPort, RawRepo, RawSystem, RawUser, RawWorkloads};
use crate::read::{Choice, Cx, Read, Section, Spanned, near};

/// The repositories, by name.
pub(super) fn repositories(raw: &RawWorkloads, cx: &mut Cx<'_>) -> BTreeMap<String, String> {
    let mut repositories = BTreeMap::new();
    let mut first: BTreeMap<&WorkloadName, Span> = BTreeMap::new();
    for repository in &raw.helm_repositories.value {
        let (Some(name), Some(address)) = (&repository.value.name, &repository.value.url) else {
            continue;
        };
        url(cx, address, &["https://", "http://", "oci://"]);
        if let Some(also) = first.get(&name.value) {
            let cause = Cause::DuplicateName {
                name: name.value.to_string(),
                what: "Helm repositories",
            };
            cx.report(Severity::Error, name.span, Some(*also), cause);
            continue;
        }
        first.insert(&name.value, name.span);
        repositories.insert(name.value.to_string(), address.value.clone());
    }
    repositories
}

/// Every workload that has a name and a source, in the order of the file.
pub(super) fn workloads(raw: &RawWorkloads, scope: &mut Scope<'_, '_>) -> Vec<Placed> {
    let system = raw.system.value.iter().filter_map(|entry| system(&entry.value, scope));
    let mut placed: Vec<_> = system.collect();
    placed.extend(raw.user.value.iter().filter_map(|entry| user(&entry.value, scope)));
    placed
}

fn system(raw: &RawSystem, scope: &mut Scope<'_, '_>) -> Option<Placed> {
    let name = raw.name.as_ref()?;
    let (http, hosts) = http(raw.http.as_ref(), &name.value, scope);
    let no_ports = Vec::new();
    let raw_ports = raw.ports.as_ref().map_or(&no_ports, |ports| &ports.value);
    let config = scope.later_free(&raw.config.value.0);
    let workload = Workload {
        name: name.value.clone(),
        enabled: raw.enabled.value,
        source: Source::Catalogue { config: object(config) },
        http,
        ports: ports(raw_ports, &name.value, scope),
        storage: raw.storage.as_ref().map(|storage| storage.value.clone()),
        depends_on: names(&raw.depends_on),
    };
    Some(Placed {
        workload,
        system: true,
        own_ports: raw.ports.is_some(),
        name: name.span,
        ports: raw_ports.iter().map(|port| port.span).collect(),
        hosts,
        depends_on: places(&raw.depends_on),
    })
}

fn user(raw: &RawUser, scope: &mut Scope<'_, '_>) -> Option<Placed> {
    let name = raw.name.as_ref()?;
    let wrong = |found: &'static str| Cause::WorkloadSource {
        name: name.value.to_string(),
        found,
    };
    let source = match (&raw.image, &raw.config) {
        (Some(image), Some(config)) => {
            let cause = wrong("both an `image` and a chart in `config`");
            scope.cx.report(Severity::Error, image.span, Some(config.span), cause);
            None
        }
        (None, None) => {
            // Where one of the two was written but not understood, that has been said.
            if !raw.has("image") && !raw.has("config") {
                scope
                    .cx
                    .error(name.span, wrong("neither an `image` nor a chart in `config`"));
            }
            None
        }
        (Some(reference), None) => {
            let expanded = scope.now(reference);
            let parsed = expanded.and_then(|text| match text.parse::<ImageRef>() {
                Ok(parsed) => Some(parsed),
                Err(error) => {
                    let wanted = "an image such as `ghcr.io/me/shop:1.2`";
                    let text = Spanned {
                        value: text,
                        span: reference.span,
                    };
                    bad_value(scope.cx, &text, &error.reason, wanted);
                    None
                }
            });
            // The rest is checked even where the image is wrong.
            let source = image(raw, parsed.clone().unwrap_or_else(|| ImageRef::known("wrong")), scope);
            parsed.map(|_| Source::Image(Box::new(source)))
        }
        (None, Some(config)) => {
            misplaced(raw, scope.cx);
            chart(&config.value, scope).map(|source| Source::Chart(Box::new(source)))
        }
    };
    let (http, hosts) = http(raw.http.as_ref(), &name.value, scope);
    let workload = Workload {
        name: name.value.clone(),
        enabled: raw.enabled.value,
        // A workload without a source stays in the list for the rules over names, ports and hosts.
        source: source.unwrap_or_else(|| Source::Catalogue { config: JsonMap::new() }),
        http,
        ports: ports(&raw.ports.value, &name.value, scope),
        storage: raw.storage.as_ref().map(|storage| storage.value.clone()),
        depends_on: names(&raw.depends_on),
    };
    Some(Placed {
        workload,
        system: false,
        own_ports: true,
        name: name.span,
        ports: raw.ports.value.iter().map(|port| port.span).collect(),
        hosts,
        depends_on: places(&raw.depends_on),
    })
}

fn image(raw: &RawUser, image: ImageRef, scope: &mut Scope<'_, '_>) -> ImageSource {
    let mut container = JsonMap::new();
    let mut pod = JsonMap::new();
    for (key, free) in raw.container_fields() {
        container.insert(key.to_owned(), scope.later_free(free));
    }
    for (key, free) in raw.pod_fields() {
        pod.insert(key.to_owned(), scope.later_free(free));
    }
    if let Some(directory) = &raw.working_dir {
        container.insert("workingDir".to_owned(), json!(scope.later(directory)));
    }
    if let Some(policy) = &raw.image_pull_policy {
        container.insert("imagePullPolicy".to_owned(), json!(policy.value.word()));
    }
    if let Some(account) = &raw.service_account_name {
        pod.insert("serviceAccountName".to_owned(), json!(scope.later(account)));
    }
    if let Some(seconds) = &raw.termination_grace_period_seconds {
        pod.insert("terminationGracePeriodSeconds".to_owned(), json!(seconds.value.0));
    }
    if let Some(span) = raw.storage_path.span {
        let value = raw.storage_path.value.clone();
        absolute(&Spanned { value, span }, scope.cx);
    }
    for (path, content) in &raw.files.value.entries {
        let (value, span) = (path.clone(), content.span);
        absolute(&Spanned { value, span }, scope.cx);
    }
    let env = &raw.env.value;
    let sidecars = scope.later_free(&raw.sidecars.value.0);
    ImageSource {
        image,
        command: later_list(&raw.command, scope),
        args: later_list(&raw.args, scope),
        env: scope.later_map(&env.values),
        replicas: raw.replicas.value.0,
        storage_path: raw.storage_path.value.clone(),
        env_value_from: env.from.iter().map(|free| scope.later_free(free)).collect(),
        files: scope.later_map(&raw.files.value),
        container,
        pod,
        sidecars: sidecars.as_array().cloned().unwrap_or_default(),
        annotations: scope.later_map(&raw.annotations.value),
        labels: scope.later_map(&raw.labels.value),
    }
}

fn later_list(list: &Read<Vec<Spanned<String>>>, scope: &mut Scope<'_, '_>) -> Vec<String> {
    list.value.iter().map(|text| scope.later(text)).collect()
}

/// Keys that mean nothing for a chart.
fn misplaced(raw: &RawUser, cx: &mut Cx<'_>) {
    for (key, span) in raw.written() {
        if !CHART_KEYS.contains(&key) {
            let cause = Cause::MisplacedKey {
                key: key.to_owned(),
                owner: "an image",
                remedy: "a chart takes such settings in `config.values`".to_owned(),
            };
            cx.error(span, cause);
        }
    }
}

fn chart(raw: &RawConfig, scope: &mut Scope<'_, '_>) -> Option<ChartSource> {
    let no_repo = RawRepo::unwritten();
    let repo = raw.repo.as_ref().map_or(&no_repo, |repo| &repo.value);
    one_origin(repo, scope.cx);
    let values = scope.later_free(&raw.values.value.0);
    let version = raw.version.as_ref().and_then(|version| scope.now(version));
    let repository_url = repo.url.as_ref().and_then(|address| {
        url(scope.cx, address, &["https://", "http://", "oci://"]);
        scope.now(address)
    });
    let git = repo.git.as_ref().and_then(|address| {
        Some(GitSource {
            url: scope.now(address)?,
            revision: repo.revision.as_ref().map(|revision| revision.value.clone()),
        })
    });
    if let (None, Some(revision)) = (&git, &repo.revision) {
        let cause = Cause::NoEffect {
            reason: "`revision` belongs to `git`".to_owned(),
            remedy: "remove it, or add `git`; a chart's version is `config.version`".to_owned(),
        };
        scope.cx.error(revision.span, cause);
    }
    if let Some(reference) = &repo.reference {
        known_repository(&reference.value, reference.span, scope);
    }
    let chart = raw.chart.as_ref()?;
    let text = scope.now(chart)?;
    let elsewhere = repo.reference.is_some() || repository_url.is_some() || git.is_some();
    let folder = ["./", "../", "/", "oci://", "~/"]
        .iter()
        .any(|start| text.starts_with(start));
    let mut repository = repo.reference.as_ref().map(|reference| reference.value.clone());
    if !elsewhere && !folder {
        if let Some((prefix, _)) = text.split_once('/') {
            known_repository(prefix, chart.span, scope);
            repository = Some(prefix.to_owned());
        } else {
            let wanted = "`repository/chart`, an `oci://` address, a folder such as `./chart`, or a `repo`";
            bad_value(scope.cx, chart, "does not say where the chart comes from", wanted);
        }
    }
    Some(ChartSource {
        chart: text,
        version,
        repository,
        repository_url,
        git,
        values: object(values),
    })
}

fn one_origin(repo: &RawRepo, cx: &mut Cx<'_>) {
    let written = [
        ("repo.ref", &repo.reference),
        ("repo.url", &repo.url),
        ("repo.git", &repo.git),
    ];
    let mut written = written
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?.span)));
    if let (Some((one, also)), Some((other, span))) = (written.next(), written.next()) {
        cx.report(Severity::Error, span, Some(also), Cause::Disagreement { one, other });
    }
}

fn known_repository(name: &str, span: Span, scope: &mut Scope<'_, '_>) {
    let known = &scope.environment.workloads.helm_repositories;
    if known.contains_key(name) {
        return;
    }
    let near = near(name, known.keys().map(String::as_str)).map(str::to_owned);
    let remedy = match (&near, known.is_empty()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, true) => format!("add `- {{name: {name}, url: https://…}}` to `workloads.helm-repositories`"),
        (None, false) => {
            let names: Vec<_> = known.keys().map(String::as_str).collect();
            format!("`workloads.helm-repositories` has {}", names.join(", "))
        }
    };
    let cause = Cause::UnknownReference {
        what: "Helm repository",
        name: name.to_owned(),
        near,
        remedy,
    };
    scope.cx.error(span, cause);
}

fn http(
    raw: Option<&Spanned<RawHttp>>,
    workload: &WorkloadName,
    scope: &mut Scope<'_, '_>,
) -> (Option<Http>, Vec<Span>) {
    let Some(Spanned { value: raw, span }) = raw else {
        return (None, Vec::new());
    };
    let mut hosts = Vec::new();
    let mut spans = Vec::new();
    for host in &raw.hosts.value {
        let Some(text) = scope.now(host) else { continue };
        match text.parse::<HostName>() {
            Ok(name) => {
                hosts.push(name);
                spans.push(host.span);
            }
            Err(error) => {
                let text = Spanned {
                    value: text,
                    span: host.span,
                };
                bad_value(
                    scope.cx,
                    &text,
                    &error.reason,
                    "a host name such as `shop.${LOKO_DOMAIN}`",
                );
            }
        }
    }
    if raw.hosts.value.is_empty() {
        let default = format!("{workload}.{}", scope.environment.network.domain);
        // Both parts are checked, and their lengths fit.
        if let Ok(name) = default.parse() {
            hosts.push(name);
            spans.push(*span);
        }
    }
    let annotations = scope.later_map(&raw.annotations.value);
    let http = raw.port.as_ref().map(|port| Http {
        port: port.value,
        hosts,
        service: raw.service.as_ref().map(|service| service.value.clone()),
        annotations,
    });
    (http, spans)
}

fn ports(raw: &[Spanned<RawPort>], workload: &WorkloadName, scope: &Scope<'_, '_>) -> Vec<WorkloadPort> {
    let overrides = scope.raw_network.port_overrides.value.entries.get(workload);
    let ports = raw.iter().map(|port| {
        let port = &port.value;
        let over = overrides.and_then(|ports| ports.value.entries.get(&port.port));
        WorkloadPort {
            port: port.port,
            host_port: over.map_or(port.port, |entry| entry.value),
            protocol: port.protocol,
            sni: port.sni && port.protocol == Protocol::Tcp,
        }
    });
    ports.collect()
}

fn names(list: &Read<Vec<Spanned<WorkloadName>>>) -> std::collections::BTreeSet<WorkloadName> {
    list.value.iter().map(|name| name.value.clone()).collect()
}

fn places(list: &Read<Vec<Spanned<WorkloadName>>>) -> Vec<(WorkloadName, Span)> {
    list.value.iter().map(|name| (name.value.clone(), name.span)).collect()
}

fn object(json: Json) -> JsonMap<String, Json> {
    if let Json::Object(map) = json {
        map
    } else {
        JsonMap::new()
    }
}
