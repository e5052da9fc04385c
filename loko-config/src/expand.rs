//! Variables of workloads and of mirrors' credentials, once the environment runs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value as Json;

use crate::model::{Environment, Source};
use crate::variables::{self, Mistake, Variable};

/// What is known only at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The address that names under the domain resolve to.
    pub ip: IpAddr,
    /// For `${env:NAME}`: the same that loading was given.
    pub environment_variables: BTreeMap<String, String>,
}

/// A template that could not be expanded. After a load it means that the facts hold fewer environment variables than
/// the load's options did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("cannot expand `{template}` in `{place}`")]
#[diagnostic(
    code(loko::config::expand),
    help("set the environment variables that loading the file was given")
)]
pub struct ExpandError {
    /// The workload, or the mirrored registry.
    pub place: String,
    /// The text.
    pub template: String,
    /// What is wrong with it.
    pub mistakes: Vec<Mistake>,
}

impl Environment {
    /// Replaces every variable in the workloads: environment, command, arguments, files, labels, annotations, values,
    /// and what is passed through; and in the credentials of mirrors that are switched on. A pure function; expanding twice is wrong, because a value may hold a dollar.
    ///
    /// ```
    /// use loko_config::{Facts, LoadOptions, Source, load};
    ///
    /// let text = "name: dev\nworkloads: {user: [{name: a, image: b, env: {HOST: '${LOKO_IP}'}}]}\n";
    /// let environment = load(text, &LoadOptions::default()).unwrap().environment;
    /// let facts = Facts { ip: [127, 0, 0, 1].into(), environment_variables: Default::default() };
    /// let environment = environment.expand(&facts).unwrap();
    /// let Source::Image(image) = &environment.workloads.list[0].source else { panic!() };
    /// assert_eq!(image.env["HOST"], "127.0.0.1");
    /// ```
    pub fn expand(&self, facts: &Facts) -> Result<Self, ExpandError> {
        let known = self.known_variables(Some(facts.ip));
        let mut environment = self.clone();
        for workload in &mut environment.workloads.list {
            let expander = Expander {
                place: workload.name.as_str(),
                known: &known,
                facts,
            };
            expander.source(&mut workload.source)?;
            if let Some(http) = &mut workload.http {
                expander.map(&mut http.annotations)?;
            }
        }
        let mirroring = &mut environment.registry.mirroring;
        let is_on = mirroring.enabled;
        for source in mirroring.sources.iter_mut().filter(|source| is_on && source.enabled) {
            let expander = Expander {
                place: &source.name,
                known: &known,
                facts,
            };
            if let Some(credentials) = &mut source.credentials {
                expander.text(&mut credentials.username)?;
                expander.text(&mut credentials.password)?;
            }
        }
        Ok(environment)
    }
}

impl Environment {
    /// Replaces every variable in one text, which the workload's description holds elsewhere than in the model: how one
    /// connects to it, for example.
    pub fn expand_text(&self, workload: &str, text: &str, facts: &Facts) -> Result<String, ExpandError> {
        let known = self.known_variables(Some(facts.ip));
        let expander = Expander {
            place: workload,
            known: &known,
            facts,
        };
        let mut text = text.to_owned();
        expander.text(&mut text)?;
        Ok(text)
    }
}

struct Expander<'e> {
    place: &'e str,
    known: &'e BTreeMap<Variable, String>,
    facts: &'e Facts,
}

impl Expander<'_> {
    fn source(&self, source: &mut Source) -> Result<(), ExpandError> {
        match source {
            Source::Catalogue { config } => self.object(config),
            Source::Chart(chart) => self.object(&mut chart.values),
            Source::Image(image) => {
                for text in image.command.iter_mut().chain(&mut image.args) {
                    self.text(text)?;
                }
                for map in [
                    &mut image.env,
                    &mut image.files,
                    &mut image.annotations,
                    &mut image.labels,
                ] {
                    self.map(map)?;
                }
                for json in image.env_value_from.iter_mut().chain(&mut image.sidecars) {
                    self.json(json)?;
                }
                self.object(&mut image.container)?;
                self.object(&mut image.pod)
            }
        }
    }

    fn text(&self, text: &mut String) -> Result<(), ExpandError> {
        match variables::expand(text, self.known, &self.facts.environment_variables) {
            Ok(expanded) => {
                *text = expanded;
                Ok(())
            }
            Err(mistakes) => Err(ExpandError {
                place: self.place.to_owned(),
                template: text.clone(),
                mistakes,
            }),
        }
    }

    fn map(&self, map: &mut BTreeMap<String, String>) -> Result<(), ExpandError> {
        map.values_mut().try_for_each(|text| self.text(text))
    }

    fn object(&self, object: &mut serde_json::Map<String, Json>) -> Result<(), ExpandError> {
        object.values_mut().try_for_each(|json| self.json(json))
    }

    fn json(&self, json: &mut Json) -> Result<(), ExpandError> {
        match json {
            Json::String(text) => self.text(text),
            Json::Array(items) => items.iter_mut().try_for_each(|item| self.json(item)),
            Json::Object(object) => self.object(object),
            Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
        }
    }
}
