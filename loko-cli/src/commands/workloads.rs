//! `loko workloads …`

use loko_config::edit::{Edit, WorkloadList, edit};
use loko_config::model::{Source, Workload};
use loko_config::names::{EnvName, WorkloadName};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{Create, WorkloadAdd, Workloads};
use crate::commands::create;
use crate::context::{self, Context, Platform};
use crate::error::CliError;
use crate::{find, output, secrets, state, up};

mod connect;
mod remove;
mod running;

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    enabled: bool,
    source: &'static str,
    image: Option<String>,
    addresses: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    #[serde(flatten)]
    row: Row,
    user: Option<String>,
    connections: std::collections::BTreeMap<String, String>,
    companions: Vec<String>,
}

/// Runs one of the commands.
pub(crate) async fn run(context: &Context, command: Workloads) -> Result<(), CliError> {
    match command {
        Workloads::List => list(context).await,
        Workloads::Info { name, reveal } => info(context, &name, reveal).await,
        Workloads::Connect { name, print } => connect::run(context, &name, print).await,
        Workloads::Deploy { name } => running::deploy(context, name.as_ref()).await,
        Workloads::Undeploy { name } => running::undeploy(context, &name).await,
        Workloads::Endpoints { name } => running::endpoints(context, name.as_ref()).await,
        Workloads::Health { name } => Box::pin(running::health(context, name.as_ref())).await,
        Workloads::Add(options) => add(context, &options).await,
        Workloads::Remove(options) => remove::run(context, &options).await,
        Workloads::Enable { name, now } => {
            change(
                context,
                Edit::Enable {
                    workload: name,
                    enabled: true,
                },
                now,
            )
            .await
        }
        Workloads::Disable { name, now } => {
            change(
                context,
                Edit::Enable {
                    workload: name,
                    enabled: false,
                },
                now,
            )
            .await
        }
    }
}

fn row(platform: &Platform, workload: &Workload) -> Row {
    let (source, image) = match &workload.source {
        Source::Image(image) if platform.services.contains_key(workload.name.as_str()) => {
            ("catalogue", Some(image.image.to_string()))
        }
        Source::Image(image) => ("image", Some(image.image.to_string())),
        Source::Catalogue { .. } => ("catalogue", None),
        Source::Chart(_) => ("chart", None),
    };
    Row {
        name: workload.name.to_string(),
        enabled: workload.enabled,
        source,
        image,
        addresses: up::addresses_of(platform, workload),
    }
}

async fn list(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let rows: Vec<Row> = platform
        .environment
        .workloads
        .list
        .iter()
        .map(|workload| row(&platform, workload))
        .collect();
    output::formatted(context.global.output, &rows, || {
        let line = |row: &Row| {
            [
                row.name.clone(),
                if row.enabled { "yes" } else { "no" }.to_owned(),
                row.source.to_owned(),
                row.image.clone().unwrap_or_default(),
                row.addresses.join(" "),
            ]
        };
        output::table(["NAME", "ENABLED", "FROM", "IMAGE", "ADDRESS"], rows.iter().map(line))
    });
    Ok(())
}

fn find<'a>(platform: &'a Platform, name: &WorkloadName) -> Result<&'a Workload, CliError> {
    among(&platform.environment.name, &platform.environment.workloads.list, name)
}

/// One of a list by its name.
fn among<'a>(environment: &EnvName, list: &'a [Workload], name: &WorkloadName) -> Result<&'a Workload, CliError> {
    list.iter()
        .find(|workload| workload.name == *name)
        .ok_or_else(|| CliError::Usage {
            message: format!("{environment} has no workload `{name}`"),
            help: format!(
                "there are: {}",
                list.iter().map(|w| w.name.to_string()).collect::<Vec<_>>().join(", ")
            ),
        })
}

fn info_of(context: &Context, platform: &Platform, name: &WorkloadName, reveal: bool) -> Result<Info, CliError> {
    let workload = find(platform, name)?;
    let secrets = secrets::read(context, platform.environment.name.as_str())?;
    let service = platform.services.get(name.as_str());
    Ok(Info {
        row: row(platform, workload),
        user: service.and_then(|service| service.user(name.as_str(), &secrets, reveal)),
        connections: service
            .map(|s| s.connections(name.as_str(), &secrets, reveal))
            .unwrap_or_default(),
        companions: service.map(|service| service.companions.clone()).unwrap_or_default(),
    })
}

async fn info(context: &Context, name: &WorkloadName, reveal: bool) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let info = info_of(context, &platform, name, reveal)?;
    output::formatted(context.global.output, &info, || {
        let mut rows = vec![
            ["name".to_owned(), info.row.name.clone()],
            ["enabled".to_owned(), info.row.enabled.to_string()],
            ["from".to_owned(), info.row.source.to_owned()],
        ];
        rows.extend(info.row.image.iter().map(|image| ["image".to_owned(), image.clone()]));
        rows.extend(
            info.row
                .addresses
                .iter()
                .map(|address| ["address".to_owned(), address.clone()]),
        );
        rows.extend(info.user.iter().map(|user| ["user".to_owned(), user.clone()]));
        rows.extend(info.connections.iter().map(|(name, text)| [name.clone(), text.clone()]));
        if !info.companions.is_empty() {
            rows.push(["goes well with".to_owned(), info.companions.join(" ")]);
        }
        output::table(["WHAT", "IS"], rows)
    });
    Ok(())
}

/// An entry of the catalogue by its name, or an image.
async fn add(context: &Context, options: &WorkloadAdd) -> Result<(), CliError> {
    let WorkloadAdd {
        name,
        image,
        http,
        ports,
        now,
    } = options;
    let mut fields: Vec<(String, Value)> = vec![("name".to_owned(), json!(name.as_str()))];
    let list = if let Some(image) = image {
        fields.push(("image".to_owned(), json!(image.as_str())));
        fields.extend(http.map(|port| ("http".to_owned(), json!({"port": port}))));
        if !ports.is_empty() {
            fields.push(("ports".to_owned(), ports.iter().map(|port| port_value(port)).collect()));
        }
        WorkloadList::User
    } else {
        // Refused here rather than at the next create.
        context::catalogue(&context.home)?.entry(name.as_str())?;
        WorkloadList::System
    };
    change(context, Edit::AddWorkload { list, fields }, *now).await
}

/// `5432` is a number in loko.yaml, `53/udp` a text.
fn port_value(port: &str) -> Value {
    port.parse::<u16>().map_or_else(|_| json!(port), |number| json!(number))
}

/// Edits loko.yaml without touching another byte, and brings the environment to it where `now` says so.
async fn change(context: &Context, what: Edit, now: bool) -> Result<(), CliError> {
    let source = find::source(&context.global, &context.home)?;
    let text = String::from_utf8_lossy(&source.bytes).into_owned();
    let edited = edit(&text, &what, &find::options(&source, &context.home, false))?;
    if edited.changes.is_empty() {
        context.progress.say(&format!("{} says so already", source.path));
    } else {
        state::replace(&source.path, edited.text.as_bytes())?;
        context.progress.say(&format!("{} is changed", source.path));
    }
    if now {
        return create::run(context, &Create::default()).await;
    }
    context.progress.say("`loko create` brings the environment to it");
    Ok(())
}
