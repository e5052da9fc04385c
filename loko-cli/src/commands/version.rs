//! `loko version`

use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::output;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Version {
    loko: &'static str,
    engine: Option<Engine>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Engine {
    endpoint: String,
    version: String,
    api_version: String,
    operating_system: String,
}

/// Prints the version of LoKO, and of the engine where one answers.
pub(crate) async fn run(context: &Context) -> Result<(), CliError> {
    let engine = context.engine().await.ok().map(|engine| {
        let facts = engine.facts();
        Engine {
            endpoint: facts.endpoint.clone(),
            version: facts.version.clone(),
            api_version: facts.api_version.clone(),
            operating_system: facts.operating_system.clone(),
        }
    });
    let version = Version {
        loko: env!("CARGO_PKG_VERSION"),
        engine,
    };
    output::formatted(context.global.output, &version, || match &version.engine {
        Some(engine) => format!(
            "loko {}\nengine {} (API {}) at {}, {}",
            version.loko, engine.version, engine.api_version, engine.endpoint, engine.operating_system
        ),
        None => format!("loko {}\nengine: none answers", version.loko),
    });
    Ok(())
}
