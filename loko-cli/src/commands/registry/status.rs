//! `loko registry status`

use loko_config::model::RegistryEngine;
use loko_registry::oci::calls::Ping;
use loko_registry::spec::PORT;
use serde::Serialize;

use super::look::{self, Row};
use super::{At, prune, size};
use crate::error::CliError;
use crate::output;

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    host: String,
    engine: RegistryEngine,
    image: String,
    reached: Reached,
    sources: Vec<SourceRow>,
    repositories: usize,
    pushed: usize,
    mirrored: usize,
    tags: usize,
    /// Bytes on disk; `None`: the node does not say.
    disk: Option<u64>,
    /// `registry.storage`: from here on it is said that there is too much. Nothing stops it.
    storage: String,
    /// Whether `disk` is more than `storage`.
    over: bool,
}

/// From where it is reached.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Reached {
    host: Answer,
    node: Answer,
    pod: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct SourceRow {
    name: String,
    hosts: Vec<String>,
    url: String,
    /// Whether nodes are served; where not, they ask the upstream themselves.
    mirror: Answer,
    repositories: usize,
}

impl Answer {
    fn of<T, E: std::fmt::Display>(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self { ok: true, why: None },
            Err(error) => Self {
                ok: false,
                why: Some(error.to_string()),
            },
        }
    }

    fn text(&self) -> String {
        match &self.why {
            None => "yes".to_owned(),
            Some(why) => format!("NO: {why}"),
        }
    }
}

pub(super) async fn run(at: At<'_>) -> Result<(), CliError> {
    let client = at.client()?;
    let (host, node, pod) = tokio::join!(client.ping(), at.ask(PORT, &Ping), at.ask_from_pod());
    let reached = Reached {
        host: Answer::of(host),
        node: Answer::of(node),
        pod: Answer::of(pod),
    };
    let rows = if reached.host.ok {
        look::rows(at).await?
    } else {
        Vec::new()
    };
    let mut sources = Vec::new();
    for source in &at.spec.sources {
        let mirror = match at.spec.mirror_port(source) {
            PORT => reached.node.clone(),
            port => Answer::of(at.ask(port, &Ping).await),
        };
        sources.push(SourceRow {
            name: source.name.clone(),
            hosts: source.hosts.clone(),
            url: source.url.clone(),
            mirror,
            repositories: count(&rows, |row| row.source.as_ref() == Some(&source.name)),
        });
    }
    let disk = prune::disk(at).await.ok();
    let storage = &at.platform.environment.registry.storage;
    let status = Status {
        host: at.spec.reference_host(),
        engine: at.spec.engine,
        image: at.spec.reference(),
        reached,
        sources,
        repositories: rows.len(),
        pushed: count(&rows, |row| row.source.is_none()),
        mirrored: count(&rows, |row| row.source.is_some()),
        tags: rows.iter().filter_map(|row| row.tags).sum(),
        over: matches!((disk, bytes(storage.as_str())), (Some(disk), Some(limit)) if disk > limit),
        disk,
        storage: storage.to_string(),
    };
    output::formatted(at.context.global.output, &status, || text(&status));
    if status.over {
        at.context.progress.say(&format!(
            "it holds more than `registry.storage: {}`, which only says when to clean up: `loko registry purge --mirrored`, `loko registry prune`",
            status.storage
        ));
    }
    let places = [
        ("this host", &status.reached.host),
        ("nodes", &status.reached.node),
        ("pods", &status.reached.pod),
    ];
    let not: Vec<&str> = places.iter().filter(|(_, it)| !it.ok).map(|(from, _)| *from).collect();
    if not.is_empty() {
        Ok(())
    } else {
        Err(CliError::Down {
            summary: format!("{} is not reached from {}", status.host, not.join(", ")),
        })
    }
}

fn count(rows: &[Row], fits: impl Fn(&&Row) -> bool) -> usize {
    rows.iter().filter(fits).count()
}

/// The bytes of a quantity as Kubernetes writes it (`10Gi`, `500M`, `1e9`); `None` where it is too large to say.
fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = quantity.split_at(digits.unwrap_or(quantity.len()));
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1000,
        "M" => 1000_u64.pow(2),
        "G" => 1000_u64.pow(3),
        "T" => 1000_u64.pow(4),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let Some(tenths) = fraction.get(..1) else {
        return Some(whole);
    };
    Some(whole + factor / 10 * tenths.parse::<u64>().ok()?)
}

fn text(status: &Status) -> String {
    let mut rows = vec![
        ["host".to_owned(), status.host.clone()],
        ["image".to_owned(), status.image.clone()],
        ["reached from this host".to_owned(), status.reached.host.text()],
        ["reached from nodes".to_owned(), status.reached.node.text()],
        ["reached from pods".to_owned(), status.reached.pod.text()],
        [
            "repositories".to_owned(),
            format!("{} pushed, {} mirrored", status.pushed, status.mirrored),
        ],
        ["tags".to_owned(), status.tags.to_string()],
        [
            "on disk".to_owned(),
            format!(
                "{} of {}",
                status.disk.map_or_else(|| "?".to_owned(), size),
                status.storage
            ),
        ],
    ];
    rows.extend(status.sources.iter().map(|source| {
        let served = if source.mirror.ok {
            format!("{} repositories", source.repositories)
        } else {
            format!("nodes ask the upstream: {}", source.mirror.text())
        };
        [
            format!("mirror {}", source.name),
            format!("{} from {}, {served}", source.hosts.join(" "), source.url),
        ]
    }));
    output::table(["WHAT", "IS"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_bytes() {
        assert_eq!(bytes("10Gi"), Some(10 << 30));
        assert_eq!(bytes("1.5G"), Some(1_500_000_000));
        assert_eq!(bytes("7"), Some(7));
        assert_eq!(bytes("99999999999999T"), None);
        assert_eq!(bytes("1e9"), None);
    }

    #[test]
    fn an_answer_says_why_not() {
        assert_eq!(Answer::of(Ok::<_, String>(())).text(), "yes");
        assert_eq!(Answer::of(Err::<(), _>("refused")).text(), "NO: refused");
    }
}
