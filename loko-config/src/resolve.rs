//! Raw → model: defaults are in the raw file already, so what is left is to check texts that have a grammar of their
//! own, to expand the variables that are known, and to bring both into the model's shape.
//!
//! A value that is wrong is reported and replaced, so that everything after it is checked as well; the result counts
//! only where nothing was reported.

mod workloads;

use std::collections::{BTreeMap, BTreeSet};

use crate::load::LoadOptions;
use crate::model::{
    Acme, Cluster, Component, Components, Environment, ExtraMount, IngressController, Kubernetes, LbPorts, Mirror,
    MirrorCredentials, Mirroring, Network, NetworkIp, NodeLabels, Nodes, Registry, Scanning, Scheduling,
    SwitchedComponent, Workload, Workloads,
};
use crate::names::{EnvName, Known, registry_host};
use crate::problem::{Cause, Span};
use crate::raw::{RawCluster, RawComponents, RawFile, RawNetwork, RawNodes, RawRegistry, RawSource};
use crate::read::{Annotations, Cx, Free, Spanned};
use crate::variables::{self, MistakeKind, Variable};

/// The model with the places that rules over several keys need.
pub(crate) struct Resolved {
    environment: Environment,
    pub(crate) placed: Vec<Placed>,
}

/// A workload with the places of its parts.
pub(crate) struct Placed {
    pub(crate) workload: Workload,
    /// From `workloads.system`.
    pub(crate) system: bool,
    /// Whether `ports` was written (else a catalogue entry has its own).
    pub(crate) own_ports: bool,
    pub(crate) name: Span,
    /// One for each of the workload's ports.
    pub(crate) ports: Vec<Span>,
    /// One for each of the workload's hosts; the place of `http` for the default host.
    pub(crate) hosts: Vec<Span>,
    pub(crate) depends_on: Vec<(crate::names::WorkloadName, Span)>,
}

impl Resolved {
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) fn into_environment(self) -> Environment {
        let mut environment = self.environment;
        environment.workloads.list = self.placed.into_iter().map(|placed| placed.workload).collect();
        environment
    }
}

/// Turns what was read into the model.
pub(crate) fn resolve(raw: &RawFile, options: &LoadOptions, cx: &mut Cx<'_>) -> Resolved {
    // A missing name has been reported.
    let name = raw
        .name
        .as_ref()
        .map_or_else(|| EnvName::known("unnamed"), |name| name.value.clone());
    let registry = registry(&raw.registry.value, &raw.components.value, cx);
    let environment = Environment {
        name,
        cluster: cluster(&raw.cluster.value, options.directory.as_deref(), cx),
        network: network(&raw.network.value),
        components: components(&raw.components.value, registry.enabled, cx),
        registry,
        workloads: Workloads {
            namespace: raw.workloads.value.namespace.value.clone(),
            helm_repositories: workloads::repositories(&raw.workloads.value, cx),
            list: Vec::new(),
        },
    };
    let mut scope = Scope {
        known: environment.known_variables(None),
        options,
        environment: &environment,
        raw_network: &raw.network.value,
        cx,
    };
    let mirroring = &raw.registry.value.mirroring.value;
    let used = mirroring.sources.value.iter().map(|source| &source.value);
    for source in used.filter(|source| mirroring.enabled.value && source.enabled) {
        let credentials = source.credentials.iter().map(|it| &it.value);
        for text in credentials.flat_map(|it| [&it.username, &it.password]).flatten() {
            scope.later(text);
        }
    }
    let placed = workloads::workloads(&raw.workloads.value, &mut scope);
    Resolved { environment, placed }
}

/// What resolving a workload needs.
struct Scope<'s, 'a> {
    known: BTreeMap<Variable, String>,
    options: &'s LoadOptions,
    environment: &'s Environment,
    raw_network: &'s RawNetwork,
    cx: &'s mut Cx<'a>,
}

impl Scope<'_, '_> {
    /// Expands a text whose value is needed now. None after a problem.
    fn now(&mut self, text: &Spanned<String>) -> Option<String> {
        match variables::expand(&text.value, &self.known, &self.options.environment_variables) {
            Ok(expanded) => Some(expanded),
            Err(mistakes) => {
                self.report(text, mistakes);
                None
            }
        }
    }

    /// Checks a text that is expanded when the environment runs, and gives it back as it is.
    fn later(&mut self, text: &Spanned<String>) -> String {
        if text.value.contains('$')
            && let Err(mut mistakes) = variables::expand(&text.value, &self.known, &self.options.environment_variables)
        {
            mistakes.retain(|mistake| !matches!(mistake.kind, MistakeKind::Late { .. }));
            self.report(text, mistakes);
        }
        text.value.clone()
    }

    fn later_map(&mut self, map: &Annotations) -> BTreeMap<String, String> {
        let entries = map.entries.iter();
        entries.map(|(key, value)| (key.clone(), self.later(value))).collect()
    }

    fn later_free(&mut self, free: &Free) -> serde_json::Value {
        for template in &free.templates {
            self.later(template);
        }
        free.json.clone()
    }

    fn report(&mut self, text: &Spanned<String>, mistakes: Vec<variables::Mistake>) {
        // Where the file has the template as it is (plain, or in quotes without escapes) the place can be exact.
        let source = self.cx.source(text.span);
        let shift = [0, 1].into_iter().find(|shift| {
            source
                .get(*shift..shift + text.value.len())
                .is_some_and(|inner| inner == text.value)
        });
        for mistake in mistakes {
            let span = shift.map_or(text.span, |shift| {
                let start = text.span.start + shift;
                Span::new(start + mistake.range.start, start + mistake.range.end)
            });
            self.cx.error(span, cause(mistake.kind));
        }
    }
}

fn cause(kind: MistakeKind) -> Cause {
    match kind {
        MistakeKind::Unknown { name } => {
            let all: Vec<_> = Variable::ALL.iter().map(|variable| variable.name()).collect();
            let near = crate::read::near(&name, all.iter().copied());
            let first = near.map_or_else(String::new, |near| format!("did you mean `${{{near}}}`?\n"));
            let remedy = format!(
                "{first}there are {}; an environment variable is `${{env:{name}}}`; `$${{{name}}}` is the text `${{{name}}}` itself",
                all.join(", ")
            );
            Cause::UnknownVariable { name, remedy }
        }
        MistakeKind::Broken { found } => {
            let reason = if found.ends_with('}') {
                "a name has letters, digits and `_`, and does not start with a digit"
            } else {
                "it has no `}`"
            };
            Cause::BadVariable {
                found: crate::yaml::shorten(&found),
                reason: reason.to_owned(),
            }
        }
        MistakeKind::Unset { name } => Cause::UnsetVariable { name },
        MistakeKind::Late { name } => Cause::LateVariable { name },
    }
}

fn cluster(raw: &RawCluster, directory: Option<&str>, cx: &mut Cx<'_>) -> Cluster {
    let kubernetes = &raw.kubernetes.value;
    let mounts = raw.extra_mounts.value.iter().filter_map(|mount| {
        let mount = &mount.value;
        let container_path = mount.container_path.as_ref()?;
        absolute(container_path, cx);
        Some(ExtraMount {
            host_path: rooted(&mount.host_path.as_ref()?.value, directory),
            container_path: container_path.value.clone(),
            read_only: mount.read_only.value,
        })
    });
    let extra_mounts = mounts.collect();
    let authorities = raw.extra_cas.value.iter().map(|path| rooted(&path.value, directory));
    for patch in &raw.kubeadm_patches.value {
        if crate::yaml::parse(&patch.value)
            .root
            .is_none_or(|root| root.get("kind").is_none())
        {
            let wanted = "a YAML text that starts with `kind: ClusterConfiguration` or another kind of kubeadm's";
            bad_value(cx, patch, "has no `kind`", wanted);
        }
    }
    Cluster {
        kubernetes: Kubernetes {
            image: kubernetes.image.value.clone(),
            tag: kubernetes.tag.value.clone(),
            api_port: kubernetes.api_port.value,
        },
        nodes: nodes(&raw.nodes.value),
        pod_subnet: raw.pod_subnet.value,
        service_subnet: raw.service_subnet.value,
        kube_proxy_mode: raw.kube_proxy_mode.value,
        extra_mounts,
        extra_cas: authorities.collect(),
        kubeadm_patches: raw
            .kubeadm_patches
            .value
            .iter()
            .map(|patch| patch.value.clone())
            .collect(),
    }
}

fn nodes(raw: &RawNodes) -> Nodes {
    let labels = &raw.labels.value;
    let scheduling = &raw.scheduling.value;
    let individual = &labels.individual.value.entries;
    Nodes {
        control_planes: raw.control_planes.value.0,
        workers: raw.workers.value.0,
        labels: NodeLabels {
            control_plane: plain_map(&labels.control_plane.value),
            worker: plain_map(&labels.worker.value),
            individual: individual
                .iter()
                .map(|(node, entry)| (node.clone(), plain_map(&entry.value)))
                .collect(),
        },
        scheduling: Scheduling {
            allow_workloads_on_control_plane: scheduling.control_plane.value.allow_workloads.value,
            isolate_internal_components: scheduling.control_plane.value.isolate_internal_components.value,
            isolate_workloads: scheduling.workers.value.isolate_workloads.value,
        },
    }
}

fn plain_map(map: &Annotations) -> BTreeMap<String, String> {
    let entries = map.entries.iter();
    entries.map(|(key, value)| (key.clone(), value.value.clone())).collect()
}

fn network(raw: &RawNetwork) -> Network {
    let overrides = raw.port_overrides.value.entries.iter().map(|(workload, ports)| {
        let ports = ports.value.entries.iter().map(|(port, host)| (*port, host.value));
        (workload.clone(), ports.collect())
    });
    Network {
        ip: raw.ip.value,
        domain: raw.domain.value.clone(),
        dns_port: raw.dns_port.value,
        wildcard: raw.wildcard.value,
        lb_ports: LbPorts {
            http: raw.lb_ports.value.http.value,
            https: raw.lb_ports.value.https.value,
        },
        port_overrides: overrides.collect(),
    }
}

fn components(raw: &RawComponents, registry_enabled: bool, cx: &mut Cx<'_>) -> Components {
    let ingress = &raw.ingress_controller.value;
    let acme = ingress.acme.as_ref().and_then(|acme| {
        let acme = &acme.value;
        let email = acme.email.as_ref()?;
        let well_formed = email
            .value
            .split_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !email.value.contains(' '));
        if !well_formed {
            bad_value(cx, email, "is no mail address", "an address such as `me@example.com`");
        }
        if let Some(span) = acme.server.span {
            let server = Spanned {
                value: acme.server.value.clone(),
                span,
            };
            url(cx, &server, &["https://", "http://"]);
        }
        if let Some(ca) = &acme.ca
            && !ca.value.trim_start().starts_with("-----BEGIN CERTIFICATE-----")
        {
            bad_value(
                cx,
                ca,
                "is no PEM text",
                "the certificate itself, from `-----BEGIN CERTIFICATE-----` on",
            );
        }
        Some(Acme {
            email: email.value.clone(),
            server: acme.server.value.clone(),
            ca: acme.ca.as_ref().map(|ca| ca.value.clone()),
            challenge: acme.challenge.value,
        })
    });
    let dnsmasq = &raw.dnsmasq.value;
    let haproxy = &raw.haproxy.value;
    let metrics = &raw.metrics_server.value;
    let registry = &raw.registry.value;
    Components {
        dnsmasq: Component {
            image: dnsmasq.image.value.clone(),
            version: dnsmasq.version.value.clone(),
        },
        haproxy: Component {
            image: haproxy.image.value.clone(),
            version: haproxy.version.value.clone(),
        },
        ingress_controller: IngressController {
            image: ingress.image.value.clone(),
            version: ingress.version.value.clone(),
            dashboard: ingress.dashboard.value,
            acme,
            arguments: ingress.arguments.value.iter().map(|text| text.value.clone()).collect(),
        },
        metrics_server: SwitchedComponent {
            image: metrics.image.value.clone(),
            version: metrics.version.value.clone(),
            enabled: metrics.enabled.value,
        },
        registry: SwitchedComponent {
            image: registry.image.value.clone(),
            version: registry.version.value.clone(),
            enabled: registry_enabled,
        },
    }
}

fn registry(raw: &RawRegistry, components: &RawComponents, cx: &mut Cx<'_>) -> Registry {
    let component = &components.registry.value.enabled;
    if let (Some(one), Some(_)) = (raw.enabled.span, component.span)
        && raw.enabled.value != component.value
    {
        let cause = Cause::Disagreement {
            one: "registry.enabled",
            other: "components.registry.enabled",
        };
        cx.report(crate::problem::Severity::Error, one, component.span, cause);
    }
    let mirroring = &raw.mirroring.value;
    let mut seen = BTreeSet::new();
    for source in &mirroring.sources.value {
        let Spanned { value: source, span } = source;
        if mirroring.sources.span.is_some() && !seen.insert(source.name.as_str()) {
            let found = source.name.clone();
            cx.error(*span, Cause::DuplicateEntry { found });
        }
        if let Some(address) = &source.url {
            url(cx, address, &["https://", "http://"]);
        }
        if let Some(prefix) = &source.prefix
            && !registry_host(&prefix.value)
        {
            bad_value(
                cx,
                prefix,
                "is no host",
                "the host by which images are named, such as `registry.corp.example:5000`",
            );
        }
    }
    let interval = &raw.scanning.value.interval;
    if let Some(span) = interval.span
        && !interval.broken
        && !go_duration(&interval.value)
    {
        let text = Spanned {
            value: interval.value.clone(),
            span,
        };
        bad_value(
            cx,
            &text,
            "is no duration",
            "a number with its unit, such as `24h`, `90m` or `1h30m`",
        );
    }
    Registry {
        enabled: raw.enabled.value && component.value,
        engine: raw.engine.value,
        name: raw.name.value.clone(),
        storage: raw.storage.value.clone(),
        mirroring: Mirroring {
            enabled: mirroring.enabled.value,
            sources: mirroring
                .sources
                .value
                .iter()
                .map(|source| mirror(&source.value))
                .collect(),
        },
        scanning: Scanning {
            enabled: raw.scanning.value.enabled.value,
            interval: interval.value.clone(),
        },
    }
}

fn mirror(raw: &RawSource) -> Mirror {
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|text| text.value.clone());
    Mirror {
        name: raw.name.clone(),
        known: raw.known,
        enabled: raw.enabled,
        url: text(&raw.url),
        prefix: text(&raw.prefix),
        credentials: raw.credentials.as_ref().and_then(|it| {
            Some(MirrorCredentials {
                username: text(&it.value.username)?,
                password: text(&it.value.password)?,
            })
        }),
    }
}

/// Whether a text is a positive duration as Go's `time.ParseDuration` takes it.
fn go_duration(text: &str) -> bool {
    let mut rest = text;
    let mut positive = false;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<f64>() else {
            return false;
        };
        positive |= number > 0.0;
        rest = &rest[digits..];
        let unit = ["ns", "us", "ms", "h", "m", "s"]
            .into_iter()
            .find(|unit| rest.starts_with(unit));
        let Some(unit) = unit else { return false };
        rest = &rest[unit.len()..];
    }
    positive
}

fn bad_value(cx: &mut Cx<'_>, text: &Spanned<String>, reason: &str, wanted: &str) {
    let cause = Cause::BadValue {
        found: crate::yaml::shorten(&text.value),
        reason: reason.to_owned(),
        wanted: wanted.to_owned(),
    };
    cx.error(text.span, cause);
}

fn absolute(path: &Spanned<String>, cx: &mut Cx<'_>) {
    if !path.value.starts_with('/') {
        bad_value(cx, path, "is no absolute path", "a path that starts with `/`");
    }
}

/// A path of the file's author: relative ones start where the file is.
fn rooted(path: &str, directory: Option<&str>) -> String {
    let Some(directory) = directory.filter(|_| !path.starts_with('/')) else {
        return path.to_owned();
    };
    let below = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    std::iter::once(directory.trim_end_matches('/'))
        .chain(below)
        .collect::<Vec<_>>()
        .join("/")
}

fn url(cx: &mut Cx<'_>, text: &Spanned<String>, schemes: &[&str]) {
    let rest = schemes.iter().find_map(|scheme| text.value.strip_prefix(scheme));
    let sound = rest.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') && !rest.contains(char::is_whitespace)
    });
    if !sound {
        let wanted = format!("an address that starts with {}", schemes.join(" or "));
        bad_value(cx, text, "is no such address", &wanted);
    }
}

impl Environment {
    /// The values of the variables, the address among them where it is given or written in the file.
    pub(crate) fn known_variables(&self, ip: Option<std::net::IpAddr>) -> BTreeMap<Variable, String> {
        let written = match self.network.ip {
            NetworkIp::Address(address) => Some(address),
            NetworkIp::Auto | NetworkIp::Lan => None,
        };
        let suffix = self.https_port_suffix();
        let mut known = BTreeMap::from([
            (Variable::Domain, self.network.domain.to_string()),
            (Variable::EnvName, self.name.to_string()),
            (Variable::RegistryHost, format!("{}{suffix}", self.registry_host())),
            (Variable::RegistryName, self.registry.name.to_string()),
            (Variable::HttpsPortSuffix, suffix),
        ]);
        if let Some(ip) = ip.or(written) {
            known.insert(Variable::Ip, ip.to_string());
        }
        known
    }

    /// What follows a host name in an `https://` address: empty where HTTPS is on 443, else `:` and the port.
    #[must_use]
    pub fn https_port_suffix(&self) -> String {
        match self.network.lb_ports.https.get() {
            443 => String::new(),
            port => format!(":{port}"),
        }
    }
}
