//! `loko logs`

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use loko_cluster::driver::PodLogOptions;
use loko_engine::driver::LogOptions;

use crate::args::Logs;
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::output;

/// Where a log is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Container(String),
    Pods { namespace: String, selector: String },
}

/// Prints a log, whole lines at a time.
pub(crate) async fn run(context: &Context, options: &Logs) -> Result<(), CliError> {
    let platform = context.platform().await?;
    match place(&platform, &options.of)? {
        Place::Container(name) => of_container(&platform, &name, options).await,
        Place::Pods { namespace, selector } => of_pods(context, &platform, &namespace, &selector, options).await,
    }
}

fn place(platform: &Platform, of: &str) -> Result<Place, CliError> {
    let environment = &platform.environment;
    let component = |name: &str| Place::Pods {
        namespace: "loko-system".to_owned(),
        selector: format!("app.kubernetes.io/name={name}"),
    };
    Ok(match of {
        "dns" | "dnsmasq" => Place::Container(loko_dns::container::name(&environment.name)),
        "tunnel" | "haproxy" => Place::Container(loko_haproxy::container::Names::default().container),
        "ingress" | "traefik" => component("traefik"),
        "metrics" | "metrics-server" => component("metrics-server"),
        "registry" => component("registry"),
        workload
            if environment
                .workloads
                .list
                .iter()
                .any(|other| other.name.as_str() == workload) =>
        {
            Place::Pods {
                namespace: environment.workloads.namespace.to_string(),
                selector: format!("app.kubernetes.io/name={workload}"),
            }
        }
        unknown => {
            let workloads: Vec<String> = environment.workloads.list.iter().map(|w| w.name.to_string()).collect();
            return Err(CliError::Usage {
                message: format!(
                    "`{unknown}` is neither a component nor a workload of {}",
                    environment.name
                ),
                help: format!(
                    "there are: dns, tunnel, ingress, registry, metrics, {}",
                    workloads.join(", ")
                ),
            });
        }
    })
}

async fn of_container(platform: &Platform, name: &str, options: &Logs) -> Result<(), CliError> {
    let since = options.since.map(|age| Timestamp::now().as_second() - i64::from(age));
    let log = LogOptions {
        follow: options.follow,
        tail: options.tail,
        since: since.and_then(|since| i32::try_from(since).ok()).unwrap_or(0),
        timestamps: false,
    };
    let mut stream = platform.engine.logs(name, &log);
    while let Some(chunk) = stream.try_next().await? {
        output::data(&String::from_utf8_lossy(&chunk));
    }
    Ok(())
}

async fn of_pods(
    context: &Context,
    platform: &Platform,
    namespace: &str,
    selector: &str,
    options: &Logs,
) -> Result<(), CliError> {
    let api = context.api(platform.environment.name.as_str()).await?;
    let pods = api.list("v1", "Pod", Some(namespace), selector).await?;
    let names: Vec<String> = pods
        .iter()
        .filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned()))
        .collect();
    if names.is_empty() {
        return Err(CliError::Down {
            summary: format!("{} has no pods", options.of),
        });
    }
    let log = PodLogOptions {
        follow: options.follow,
        tail: options.tail.map(i64::from),
        since_seconds: options.since.map(i64::from),
    };
    let mut streams = Vec::new();
    for pod in &names {
        let lines = api.follow_pod_log(namespace, pod, &log).await?;
        // One pod speaks for itself; of several each line says whose it is.
        let prefix = if names.len() > 1 {
            format!("{pod} ")
        } else {
            String::new()
        };
        streams.push(prefixed(lines, prefix).boxed());
    }
    let mut all = futures_util::stream::select_all(streams);
    while let Some(line) = all.try_next().await? {
        output::data(&line);
    }
    Ok(())
}

fn prefixed<E>(lines: impl Stream<Item = Result<String, E>>, prefix: String) -> impl Stream<Item = Result<String, E>> {
    lines.map_ok(move |line| format!("{prefix}{line}"))
}
