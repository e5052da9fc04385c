//! Asks everyone that a check wants to hear.

use std::collections::BTreeMap;
use std::time::Duration;

use loko_engine::{ContainerFacts, Engine};
use tokio::task::JoinSet;

use super::{CheckFacts, host_names, questions};
use crate::container;
use crate::error::DnsError;
use crate::probe::{Limits, ask};
use crate::resolver::host::{Host, look_up};
use crate::zone::Zone;

/// Lines of the log that say why a container does not stay up.
const LOG_LINES: u32 = 3;

/// Asks the engine, dnsmasq, and the host's resolver, all at once. What a pod says is not in it.
pub async fn gather(engine: &Engine, zone: &Zone, host: &Host) -> Result<CheckFacts, DnsError> {
    let name = container::name(&zone.environment);
    let limits = Limits {
        timeout: Duration::from_secs(1),
        attempts: 2,
        ..Limits::default()
    };
    let mut servers = JoinSet::new();
    for (name, kind, _) in questions(zone) {
        let server = zone.server();
        servers.spawn(async move {
            let answer = ask(server, &name, kind, limits).await;
            ((name, kind), answer)
        });
    }
    let mut lookups = JoinSet::new();
    for name in host_names(zone) {
        lookups.spawn(async move {
            let found = look_up(&name).await;
            (name, found)
        });
    }
    let (found, resolver, answers, host) = tokio::join!(
        engine.container(&name),
        host.facts(zone),
        servers.join_all(),
        lookups.join_all()
    );
    let found = found?;
    let log = match &found {
        Some(facts) if !facts.is_running() => engine.last_log_lines(&facts.name, LOG_LINES).await,
        _ => String::new(),
    };
    Ok(CheckFacts {
        container: found.filter(|facts: &ContainerFacts| {
            loko_engine::labels::is_ours(&facts.labels, Some(zone.environment.as_str()))
        }),
        log,
        answers: BTreeMap::from_iter(answers),
        host: BTreeMap::from_iter(host),
        resolver,
        ..CheckFacts::default()
    })
}
