//! One entry, typed.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use loko_config::model::Protocol;
use loko_config::names::{ImageName, Quantity, Tag};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::CatalogueError;
use crate::secrets::Recipe;

/// One entry of the catalogue. Fields that are spelt as Kubernetes spells them are passed through, as in image workloads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Entry {
    /// One line: its name, a comma, what it is.
    pub description: String,
    /// What it is good for.
    pub category: Category,
    /// Without tag.
    pub image: ImageName,
    /// The tag. A whole number counts as its digits; any other number is refused, because 1.10 and 1.1 are the same.
    #[serde(deserialize_with = "version")]
    pub version: Tag,
    /// Replaces the image's entry point.
    #[serde(default)]
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Name → text, or `{secret: <field>}`.
    #[serde(default)]
    pub env: BTreeMap<String, Value>,
    /// Absolute path → content.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Ports on the host: `5432`, `53/udp`.
    #[serde(default, with = "ports")]
    pub ports: Vec<(NonZeroU16, Protocol)>,
    /// Web pages or an API over HTTP, if any.
    #[serde(default)]
    pub http: Option<EntryHttp>,
    /// Its volume, if any.
    #[serde(default)]
    pub storage: Option<EntryStorage>,
    /// Whom to sign in as, if it has users.
    #[serde(default)]
    pub user: Option<String>,
    /// How its secrets are made.
    #[serde(default)]
    pub secrets: BTreeMap<String, Recipe>,
    /// How it follows where its secrets are made anew. Default: it does not, because it keeps them in its data.
    #[serde(default)]
    pub rotation: Option<Rotation>,
    /// Fields of Kubernetes' `Container`.
    #[serde(default)]
    pub container: Map<String, Value>,
    /// Fields of Kubernetes' `PodSpec`.
    #[serde(default)]
    pub pod: Map<String, Value>,
    /// Further containers, as Kubernetes' `Container` objects.
    #[serde(default)]
    pub sidecars: Vec<Value>,
    /// Ways to connect: a name (`url`, `jdbc`, `cli`, …) and a text.
    #[serde(default)]
    pub connections: BTreeMap<String, String>,
    /// Other entries that go well with it.
    #[serde(default)]
    pub companions: Vec<String>,
}

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Keeps data and answers questions about it.
    Database,
    /// Keeps data for a while.
    Cache,
    /// Takes messages from one program to others.
    Messaging,
    /// Keeps objects.
    Storage,
    /// Takes mail.
    Mail,
    /// Says who somebody is.
    Identity,
    /// Says how programs are.
    Observability,
    /// Stands in for a provider of clouds.
    Cloud,
    /// Web pages for another one.
    Ui,
    /// Everything else.
    Utility,
}

/// How a service follows where its secrets are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// It reads them at each start, and so is started again.
    Restart,
}

/// The key `http` of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EntryHttp {
    /// In the container.
    pub port: NonZeroU16,
}

/// The key `storage` of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EntryStorage {
    /// How large.
    pub size: Quantity,
    /// Where it is mounted.
    pub path: String,
}

impl Entry {
    /// Reads one, and checks what its types do not say.
    pub(super) fn read(name: &str, value: &Value) -> Result<Self, CatalogueError> {
        let error = |reason: String| CatalogueError::Entry {
            name: name.to_owned(),
            reason,
        };
        let entry: Self = serde_json::from_value(value.clone()).map_err(|wrong| error(wrong.to_string()))?;
        for (variable, value) in &entry.env {
            if let Some(field) = secret_of(value) {
                if !entry.secrets.contains_key(field) {
                    return Err(error(format!(
                        "`env.{variable}` is the secret `{field}`, which is not under `secrets`"
                    )));
                }
            } else if !value.is_string() {
                return Err(error(format!(
                    "`env.{variable}` is neither a text (numbers and booleans in quotes) nor `{{secret: <field>}}`"
                )));
            }
        }
        Ok(entry)
    }

    /// `image:version`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.image, self.version)
    }
}

/// The field of `{secret: <field>}`.
pub(super) fn secret_of(value: &Value) -> Option<&str> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    map.get("secret")?.as_str()
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tag, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = value
        .as_str()
        .map(str::to_owned)
        .or_else(|| value.as_u64().map(|number| number.to_string()));
    let text = text.ok_or_else(|| D::Error::custom(format!("`version: {value}` is no text: put it in quotes")))?;
    text.parse()
        .map_err(|wrong| D::Error::custom(format!("`version` {wrong}")))
}

/// Ports as people write them.
mod ports {
    use std::num::NonZeroU16;

    use loko_config::model::Protocol;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};
    use serde_json::Value;

    type Ports = Vec<(NonZeroU16, Protocol)>;

    pub(super) fn serialize<S: Serializer>(ports: &Ports, serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = ports
            .iter()
            .map(|(port, protocol)| match protocol {
                Protocol::Tcp => port.to_string(),
                Protocol::Udp => format!("{port}/{protocol}"),
            })
            .collect();
        texts.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ports, D::Error> {
        let values = Vec::<Value>::deserialize(deserializer)?;
        values
            .iter()
            .map(|value| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no port: 5432 and 53/udp are")))
            })
            .collect()
    }

    fn parse(text: &str) -> Option<(NonZeroU16, Protocol)> {
        let (port, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((port, "udp")) => (port, Protocol::Udp),
            Some(_) => return None,
        };
        Some((port.parse().ok()?, protocol))
    }
}
