//! From an entry and what loko.yaml says to a workload of an image.

use std::collections::BTreeMap;

use loko_config::Environment;
use loko_config::model::{Http, ImageSource, Source, Workload, WorkloadPort};
use loko_config::names::{HostName, ImageRef};
use serde_json::{Map, Value, json};

use super::entry::{Entry, secret_of};
use super::text::{fill, fill_all};
use super::{CatalogueError, Service};
use crate::secrets;

/// `over` on `base`: maps are merged by key at every depth, `null` removes, everything else replaces.
pub(super) fn merged(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut result = base.clone();
            for (key, value) in over {
                if value.is_null() {
                    result.remove(key);
                } else {
                    let below = base.get(key).unwrap_or(&Value::Null);
                    result.insert(key.clone(), merged(below, value));
                }
            }
            Value::Object(result)
        }
        (_, over) => over.clone(),
    }
}

/// The workload with everything that the entry gives and loko.yaml does not, and what else is known of it.
pub(super) fn workload(
    environment: &Environment,
    given: &Workload,
    entry: &Entry,
) -> Result<(Workload, Service), CatalogueError> {
    let name = given.name.as_str();
    let error = |reason: String| CatalogueError::Entry {
        name: name.to_owned(),
        reason,
    };
    let mut workload = given.clone();
    if workload.ports.is_empty() {
        workload.ports = ports(environment, given, entry);
    }
    if workload.http.is_none() {
        workload.http = http(environment, given, entry).map_err(error)?;
    }
    let storage = entry.storage.as_ref();
    workload.storage = given
        .storage
        .clone()
        .or_else(|| storage.map(|storage| storage.size.clone()));

    let filler = Filler::new(environment, &workload, entry);
    let filler = filler.with_user().map_err(error)?;
    let image = image(entry, name, &filler).map_err(error)?;
    let connection = |template: &String| filler.fill(template, true);
    let connections = entry
        .connections
        .iter()
        .map(|(name, template)| Ok((name.clone(), connection(template)?)));
    let service = Service {
        recipes: entry.secrets.clone(),
        user: filler.user.clone(),
        connections: connections.collect::<Result<_, String>>().map_err(error)?,
        companions: entry.companions.clone(),
        rotation: entry.rotation,
    };
    workload.source = Source::Image(Box::new(image));
    Ok((workload, service))
}

fn ports(environment: &Environment, given: &Workload, entry: &Entry) -> Vec<WorkloadPort> {
    let overrides = environment.network.port_overrides.get(&given.name);
    let ports = entry.ports.iter().map(|&(port, protocol)| WorkloadPort {
        port,
        host_port: overrides.and_then(|ports| ports.get(&port)).copied().unwrap_or(port),
        protocol,
        sni: false,
    });
    ports.collect()
}

fn http(environment: &Environment, given: &Workload, entry: &Entry) -> Result<Option<Http>, String> {
    let Some(http) = &entry.http else {
        return Ok(None);
    };
    let host: HostName = format!("{}.{}", given.name, environment.network.domain)
        .parse()
        .map_err(|wrong| format!("its host {wrong}"))?;
    Ok(Some(Http {
        port: http.port,
        hosts: vec![host],
        service: None,
        annotations: BTreeMap::new(),
    }))
}

fn image(entry: &Entry, name: &str, filler: &Filler<'_>) -> Result<ImageSource, String> {
    let image: ImageRef = entry.reference().parse().map_err(|wrong| format!("`image` {wrong}"))?;
    let plain = |text: &String| filler.fill(text, false);
    let mut env = BTreeMap::new();
    let mut env_value_from = Vec::new();
    for (variable, value) in &entry.env {
        if let Some(field) = secret_of(value) {
            env_value_from.push(json!({
                "name": variable,
                "valueFrom": {"secretKeyRef": {"name": secrets::object_name(name), "key": field}},
            }));
        } else if let Some(text) = value.as_str() {
            env.insert(variable.clone(), filler.fill(text, false)?);
        }
    }
    let files = entry
        .files
        .iter()
        .map(|(path, content)| Ok((path.clone(), plain(content)?)));
    let sidecars = entry.sidecars.iter().map(|sidecar| {
        let mut sidecar = sidecar.clone();
        filler.fill_json(&mut sidecar)?;
        Ok(sidecar)
    });
    Ok(ImageSource {
        image,
        command: entry.command.iter().map(plain).collect::<Result<_, _>>()?,
        args: entry.args.iter().map(plain).collect::<Result<_, _>>()?,
        env,
        replicas: 1,
        storage_path: entry
            .storage
            .as_ref()
            .map_or_else(|| "/data".to_owned(), |storage| storage.path.clone()),
        env_value_from,
        files: files.collect::<Result<_, String>>()?,
        container: filler.fill_map(&entry.container)?,
        pod: filler.fill_map(&entry.pod)?,
        sidecars: sidecars.collect::<Result<_, String>>()?,
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
    })
}

/// What the placeholders of one workload stand for.
struct Filler<'a> {
    workload: &'a Workload,
    entry: &'a Entry,
    host: String,
    url: Option<String>,
    /// Whom to sign in as, once that is known.
    user: Option<String>,
}

impl<'a> Filler<'a> {
    fn new(environment: &Environment, workload: &'a Workload, entry: &'a Entry) -> Self {
        let first = workload.http.as_ref().and_then(|http| http.hosts.first());
        let port = environment.network.lb_ports.https.get();
        let suffix = if port == 443 { String::new() } else { format!(":{port}") };
        Self {
            workload,
            entry,
            host: format!("{}.{}", workload.name, environment.network.domain),
            url: first.map(|host| format!("https://{host}{suffix}")),
            user: None,
        }
    }

    /// The same with what `%{user}` stands for. It may itself be a secret, and then stands for one.
    fn with_user(mut self) -> Result<Self, String> {
        let user = self.entry.user.as_ref();
        self.user = user.map(|template| self.fill(template, true)).transpose()?;
        Ok(self)
    }

    /// A variable that is a plain text: none that is a secret, and none with placeholders, which could go round in circles.
    fn variable(&self, name: &str) -> Option<String> {
        let value = self.entry.env.get(name)?.as_str()?;
        (!value.contains("%{")).then(|| value.to_owned())
    }

    fn value_of(&self, inside: &str, keep_secrets: bool) -> Option<String> {
        match inside {
            "name" => Some(self.workload.name.to_string()),
            "host" => Some(self.host.clone()),
            "url" => self.url.clone(),
            "user" => self.user.clone().filter(|user| keep_secrets || !user.contains("%{")),
            _ if keep_secrets && inside.starts_with("secret.") => Some(format!("%{{{inside}}}")),
            _ if inside.starts_with("env.") => self.variable(inside.trim_start_matches("env.")),
            _ => {
                let port: u16 = inside.strip_prefix("port.")?.parse().ok()?;
                let found = self.workload.ports.iter().find(|other| other.port.get() == port)?;
                Some(found.host_port.to_string())
            }
        }
    }

    fn fill(&self, template: &str, keep_secrets: bool) -> Result<String, String> {
        fill(template, &|inside| self.value_of(inside, keep_secrets)).map_err(unknown)
    }

    fn fill_json(&self, value: &mut Value) -> Result<(), String> {
        fill_all(value, &|inside| self.value_of(inside, false)).map_err(unknown)
    }

    fn fill_map(&self, map: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        let mut map = map.clone();
        map.values_mut().try_for_each(|value| self.fill_json(value))?;
        Ok(map)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn unknown(inside: String) -> String {
    format!(
        "nothing is known of `%{{{inside}}}`: there are name, host, url, user, port.<port>, env.<variable> and, in connections, secret.<field>"
    )
}
