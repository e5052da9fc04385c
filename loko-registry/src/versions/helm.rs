//! The index of a Helm repository (helm.sh, "The Chart Repository Guide").

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::oci::{Call, Method, ProtocolError, Request, Response, Scope};

/// Which versions of a chart are in a repository?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartIndex {
    /// The chart.
    pub chart: String,
}

impl Call for ChartIndex {
    type Output = Vec<String>;

    fn request(&self) -> Request {
        Request::new(Method::Get, "/index.yaml")
    }

    fn read(&self, response: &Response) -> Result<Vec<String>, ProtocolError> {
        #[derive(Deserialize)]
        struct Index {
            entries: BTreeMap<String, Vec<Entry>>,
        }
        #[derive(Deserialize)]
        struct Entry {
            /// Semantic versioning asks for three numbers, so YAML reads a right one as text.
            version: serde_yaml::Value,
        }
        response.expect(200, "read the index of charts", "index.yaml")?;
        let mut index: Index = serde_yaml::from_slice(&response.body).map_err(|error| ProtocolError::Malformed {
            what: "an index of charts",
            reason: error.to_string(),
        })?;
        let entries = index
            .entries
            .remove(&self.chart)
            .ok_or_else(|| ProtocolError::NotFound {
                what: format!("the chart {}", self.chart),
            })?;
        let version = |entry: &Entry| entry.version.as_str().map(str::to_owned);
        Ok(entries.iter().filter_map(version).collect())
    }

    fn scope(&self) -> Scope {
        Scope::None
    }
}
