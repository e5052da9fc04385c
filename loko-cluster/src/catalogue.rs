//! The catalogue: services that one names in loko.yaml and has, each described by one YAML file as an *image* workload.
//!
//! ```text
//! catalogue/*.yaml ─→ Catalogue ─ ports() ─────────────────→ loko_config::LoadOptions, which sees clashes
//!                        └─ resolve(Environment) ─→ Resolution ─┬─ environment: only images and charts are left
//!                               ↑ `config`, deeply merged       ├─ recipes → Secrets
//!                                                               └─ connections, companions
//! ```
//!
//! Texts of an entry may hold `%{name}`, `%{host}` (`<workload>.<domain>`), `%{url}` (of its web pages, with the port where
//! HTTPS is not on 443), `%{port.5432}` (that port on the host, and so inside the cluster), `%{user}`, `%{env.POSTGRES_DB}`
//! (a variable that is a plain text) and, in connections alone, `%{secret.<field>}`. The variables of loko.yaml (`${LOKO_DOMAIN}`, …) work as well, as they do in `config`.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use loko_config::model::{Protocol, Source};
use loko_config::names::WorkloadName;
use loko_config::{Environment, ExpandError, Facts};
use serde_json::Value;

use crate::secrets::{Recipe, Secrets};

mod embedded;
mod entry;
mod resolve;
mod text;

pub use entry::{Category, Entry, EntryHttp, EntryStorage, Rotation};

/// Entries by name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(BTreeMap<WorkloadName, Value>);

/// Why a catalogue or a use of it is not right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum CatalogueError {
    /// The description of an entry, by itself or with `config` over it.
    #[error("read the catalogue's entry `{name}`: {reason}")]
    #[diagnostic(
        code(loko::catalogue::entry),
        help(
            "`loko catalog info {name}` prints the entry; what stands under `config` in loko.yaml is merged over it, by path"
        )
    )]
    Entry {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A name that the catalogue does not have.
    #[error("the catalogue has no entry `{name}`")]
    #[diagnostic(code(loko::catalogue::unknown), help("{remedy}"))]
    Unknown {
        /// As written in loko.yaml.
        name: String,
        /// What to do: the entry that was meant, where one is near.
        remedy: String,
    },
}

/// An environment in which the catalogue is applied, and what goes with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// Every [`Source::Catalogue`] is a [`Source::Image`], with the entry's ports, HTTP port and storage where loko.yaml gives
    /// none. To be expanded ([`Resolution::expand`]).
    pub environment: Environment,
    /// What else is known of the enabled workloads that came from the catalogue.
    pub services: BTreeMap<String, Service>,
}

/// What is known of a workload from the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// How its secrets are made, by field.
    pub recipes: BTreeMap<String, Recipe>,
    /// Whom to sign in as, where it has users.
    user: Option<String>,
    /// Ways to connect by name, with `%{secret.…}` still in them.
    connections: BTreeMap<String, String>,
    /// Other entries that go well with it.
    pub companions: Vec<String>,
    /// How it follows where its secrets are made anew, if it does.
    pub rotation: Option<Rotation>,
}

impl Catalogue {
    /// The entries that come with loko.
    pub fn embedded() -> Result<Self, CatalogueError> {
        let mut catalogue = Self::default();
        for (name, yaml) in embedded::ENTRIES {
            catalogue.add(name, yaml)?;
        }
        Ok(catalogue)
    }

    /// Adds an entry, or puts it in the place of the one of that name.
    pub fn add(&mut self, name: &str, yaml: &str) -> Result<(), CatalogueError> {
        let error = |reason: String| CatalogueError::Entry {
            name: name.to_owned(),
            reason,
        };
        let key: WorkloadName = name.parse().map_err(|wrong| error(format!("its name {wrong}")))?;
        let value: Value = serde_yaml::from_str(yaml).map_err(|wrong| error(wrong.to_string()))?;
        Entry::read(name, &value)?;
        self.0.insert(key, value);
        Ok(())
    }

    /// The names of all entries, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(WorkloadName::as_str)
    }

    /// One entry.
    pub fn entry(&self, name: &str) -> Result<Entry, CatalogueError> {
        let found = self.0.iter().find(|(key, _)| key.as_str() == name);
        let (_, value) = found.ok_or_else(|| self.unknown(name))?;
        Entry::read(name, value)
    }

    fn unknown(&self, name: &str) -> CatalogueError {
        let list = "`loko catalog list` prints what it has";
        CatalogueError::Unknown {
            name: name.to_owned(),
            remedy: match loko_config::near(name, self.names()) {
                Some(near) => format!("did you mean `{near}`? {list}"),
                None => list.to_owned(),
            },
        }
    }

    /// The ports of every entry, for [`loko_config::LoadOptions`].
    #[must_use]
    pub fn ports(&self) -> BTreeMap<WorkloadName, Vec<(NonZeroU16, Protocol)>> {
        let ports = |(name, value): (&WorkloadName, &Value)| {
            let entry = Entry::read(name.as_str(), value).ok()?;
            Some((name.clone(), entry.ports))
        };
        self.0.iter().filter_map(ports).collect()
    }

    /// Applies the catalogue to an environment.
    pub fn resolve(&self, environment: &Environment) -> Result<Resolution, CatalogueError> {
        let mut resolution = Resolution {
            environment: environment.clone(),
            services: BTreeMap::new(),
        };
        for workload in &mut resolution.environment.workloads.list {
            let Source::Catalogue { config } = &workload.source else {
                continue;
            };
            let name = workload.name.as_str();
            let Some(value) = self.0.get(&workload.name) else {
                // What does not run needs no description.
                if workload.enabled {
                    return Err(self.unknown(name));
                }
                continue;
            };
            let entry = Entry::read(name, &resolve::merged(value, &Value::Object(config.clone())))?;
            let (resolved, service) = resolve::workload(environment, workload, &entry)?;
            if resolved.enabled {
                resolution.services.insert(name.to_owned(), service);
            }
            *workload = resolved;
        }
        Ok(resolution)
    }
}

impl Service {
    /// Ways to connect, by name (`url`, `jdbc`, `cli`, …). Secrets are shown where `reveal` says so, else as `••••`.
    #[must_use]
    pub fn connections(&self, workload: &str, secrets: &Secrets, reveal: bool) -> BTreeMap<String, String> {
        let show = |template: &String| text::with_secrets(template, workload, secrets, reveal);
        self.connections
            .iter()
            .map(|(name, template)| (name.clone(), show(template)))
            .collect()
    }

    /// Whom to sign in as, where it has users.
    #[must_use]
    pub fn user(&self, workload: &str, secrets: &Secrets, reveal: bool) -> Option<String> {
        self.user
            .as_ref()
            .map(|user| text::with_secrets(user, workload, secrets, reveal))
    }
}

impl Resolution {
    /// Replaces every variable of loko.yaml (`${LOKO_DOMAIN}`, …), in the environment as well as in what is known besides.
    pub fn expand(&self, facts: &Facts) -> Result<Self, ExpandError> {
        let mut expanded = Self {
            environment: self.environment.expand(facts)?,
            services: self.services.clone(),
        };
        for (name, service) in &mut expanded.services {
            for text in service.connections.values_mut().chain(&mut service.user) {
                *text = self.environment.expand_text(name, text, facts)?;
            }
        }
        Ok(expanded)
    }

    /// The workloads whose secrets are missing or not, for [`Secrets::ensure`].
    pub fn recipes(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, Recipe>)> {
        self.services
            .iter()
            .filter(|(_, service)| !service.recipes.is_empty())
            .map(|(name, service)| (name.as_str(), &service.recipes))
    }

    /// Companions that could be added: offered by what runs, and not in loko.yaml.
    #[must_use]
    pub fn offers(&self) -> BTreeSet<&str> {
        let there = |name: &&str| {
            self.environment
                .workloads
                .list
                .iter()
                .any(|workload| workload.name.as_str() == *name)
        };
        let all = self
            .services
            .values()
            .flat_map(|service| &service.companions)
            .map(String::as_str);
        all.filter(|name| !there(name)).collect()
    }
}

#[cfg(test)]
mod tests;
