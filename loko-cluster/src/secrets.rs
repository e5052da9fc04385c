//! Secrets of workloads: made once, kept, and the same after everything but a rotation.
//!
//! ```text
//! secrets.yaml ─ parse ─→ Secrets ─ ensure(workload, recipes, random) ─→ Secrets ─ render ─→ secrets.yaml
//!                            └─ object(workload) ─→ Secret `<workload>-credentials`
//! ```
//!
//! Random numbers are an argument. A secret shows itself only through [`Secret::reveal`], never in a log line or an error.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Serialize};

use crate::components::{Objects, named};
use crate::manifest::{Manifest, NotAnObject};
use crate::workloads;

mod recipe;

pub use recipe::{Charset, Recipe};

/// A text that is nobody's business.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Gives it out: to the workload itself, and to a user who asks for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets of an environment: workload → field → value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, BTreeMap<String, Secret>>);

/// Why secrets cannot be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum SecretsError {
    /// The file is not what [`Secrets::render`] writes. Never replaced by itself: its data may open databases that live on.
    #[error("read the secrets: {reason}")]
    #[diagnostic(
        code(loko::secrets::unreadable),
        help("mend the file, or move it away to have all secrets made anew, which existing databases will not know")
    )]
    Unreadable {
        /// Line and column, without the text that is there.
        reason: String,
    },
    /// A field is made from another one that is not there.
    #[error("make the secret `{field}` of `{workload}`: it is made from `{from}`, which is not there")]
    #[diagnostic(code(loko::secrets::missing))]
    Missing {
        /// Whose secret.
        workload: String,
        /// Which one.
        field: String,
        /// What it is made from.
        from: String,
    },
    /// The hash of a password cannot be computed.
    #[error("make the secret `{field}` of `{workload}`: {reason}")]
    #[diagnostic(code(loko::secrets::hash))]
    Hash {
        /// Whose secret.
        workload: String,
        /// Which one.
        field: String,
        /// What the library says.
        reason: String,
    },
}

/// Fills a buffer with random bytes, unpredictable ones.
pub type Random<'a> = &'a mut dyn FnMut(&mut [u8]);

impl Secrets {
    /// Reads what [`Secrets::render`] wrote. An empty text has no secrets.
    pub fn parse(text: &str) -> Result<Self, SecretsError> {
        let map: Option<BTreeMap<String, BTreeMap<String, Secret>>> =
            serde_yaml::from_str(text).map_err(|error| SecretsError::Unreadable {
                // The library's own message may quote the value.
                reason: match error.location() {
                    Some(at) => format!("line {}, column {} is not as expected", at.line(), at.column()),
                    None => "it is not a map of workloads to fields to texts".to_owned(),
                },
            })?;
        Ok(Self(map.unwrap_or_default()))
    }

    /// The content of `secrets.yaml`: YAML, sorted, with a comment for who opens it.
    pub fn render(&self) -> Result<String, SecretsError> {
        let yaml = serde_yaml::to_string(&self.0).map_err(|error| SecretsError::Unreadable {
            reason: error.to_string(),
        })?;
        Ok(format!(
            "# Made by loko, once for each workload, and kept. A value that you change here is used from the next `loko create` on;\n\
             # a database that exists already keeps the password it was made with.\n{yaml}"
        ))
    }

    /// One value.
    #[must_use]
    pub fn get(&self, workload: &str, field: &str) -> Option<&Secret> {
        self.0.get(workload)?.get(field)
    }

    /// All values of a workload.
    pub fn of(&self, workload: &str) -> impl Iterator<Item = (&str, &Secret)> {
        let fields = self.0.get(workload).into_iter().flatten();
        fields.map(|(field, secret)| (field.as_str(), secret))
    }

    /// Names of workloads that have secrets.
    pub fn workloads(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Makes what is not there yet, and gives the names of the fields that were made. What is there is never touched, also
    /// where its recipe has changed.
    pub fn ensure(
        &mut self,
        workload: &str,
        recipes: &BTreeMap<String, Recipe>,
        random: Random<'_>,
    ) -> Result<Vec<String>, SecretsError> {
        let mut fields = self.0.get(workload).cloned().unwrap_or_default();
        let mut made = Vec::new();
        // What is made from another field comes after all that are not.
        let (first, then): (Vec<_>, Vec<_>) = recipes.iter().partition(|(_, recipe)| recipe.source().is_none());
        for (field, recipe) in first.into_iter().chain(then) {
            if !fields.contains_key(field) {
                let secret = recipe::make(workload, field, recipe, &fields, random)?;
                fields.insert(field.clone(), secret);
                made.push(field.clone());
            }
        }
        if !fields.is_empty() {
            self.0.insert(workload.to_owned(), fields);
        }
        Ok(made)
    }

    /// Makes every field of `recipes` anew; other fields stay. Nothing changes where an error is given.
    pub fn rotate(
        &mut self,
        workload: &str,
        recipes: &BTreeMap<String, Recipe>,
        random: Random<'_>,
    ) -> Result<Vec<String>, SecretsError> {
        let mut rotated = self.clone();
        if let Some(fields) = rotated.0.get_mut(workload) {
            fields.retain(|field, _| !recipes.contains_key(field));
        }
        let made = rotated.ensure(workload, recipes, random)?;
        *self = rotated;
        Ok(made)
    }

    /// Forgets the secrets of a workload, for when its data is gone as well.
    pub fn forget(&mut self, workload: &str) {
        self.0.remove(workload);
    }

    /// The Secret [`object_name`] with one key for each field; `None` where the workload has none.
    pub fn object(&self, workload: &str, namespace: &str) -> Result<Option<Manifest>, NotAnObject> {
        let Some(fields) = self.0.get(workload) else {
            return Ok(None);
        };
        let data = fields
            .iter()
            .map(|(field, secret)| (field.clone(), ByteString(secret.reveal().as_bytes().to_vec())));
        let mut objects = Objects::of(&workloads::part(workload));
        objects.add(&core::Secret {
            metadata: named(&object_name(workload), namespace),
            data: Some(data.collect()),
            type_: Some("Opaque".to_owned()),
            ..core::Secret::default()
        })?;
        Ok(objects.into_list().pop())
    }
}

/// Name of the Secret of a workload: `<workload>-credentials`.
#[must_use]
pub fn object_name(workload: &str) -> String {
    format!("{workload}-credentials")
}

#[cfg(test)]
mod tests;
