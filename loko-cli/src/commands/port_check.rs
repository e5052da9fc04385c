//! `loko config port-check`

use loko_haproxy::HaproxyError;
use loko_haproxy::routes::Routes;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::preflight::{self, PortState, Use};
use crate::{output, up};

#[derive(Debug, Serialize)]
struct Report {
    /// Every port of the host that the environment needs.
    ports: Vec<PortState>,
    /// What another environment has, one sentence for each.
    environments: Vec<String>,
}

/// Says of every port of the host that the environment needs whose it is. Changes nothing.
pub(crate) async fn run(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let observed = up::observe(&platform).await?;
    let routes = Routes::new(&platform.environment, platform.address, Vec::new(), &observed.slots);
    let refused = up::edge(&platform).check(&routes).await.err();
    let report = Report {
        ports: preflight::ports(&platform, &observed).await?,
        environments: match &refused {
            Some(HaproxyError::Conflicts { conflicts, .. }) => conflicts.iter().map(ToString::to_string).collect(),
            Some(other) => vec![other.to_string()],
            None => Vec::new(),
        },
    };
    output::formatted(context.global.output, &report, || text(&report.ports));
    preflight::refuse(&report.ports)?;
    refused.map_or(Ok(()), |error| Err(error.into()))
}

fn text(ports: &[PortState]) -> String {
    let row = |port: &PortState| {
        let by: Vec<String> = port
            .conflicts
            .iter()
            .map(|conflict| conflict.owner.to_string())
            .collect();
        let whose = match port.whose {
            Use::Free => "free",
            Use::Own => "LoKO's own",
            Use::Taken => "in use",
        };
        [
            format!("{}/{}", port.address, port.protocol),
            whose.to_owned(),
            by.join(", "),
        ]
    };
    output::table(["PORT", "STATE", "BY"], ports.iter().map(row))
}
