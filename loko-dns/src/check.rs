//! Does every name resolve, everywhere? Facts in, verdicts out: each with what was found, why, and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use loko_config::names::HostName;
use loko_engine::{ContainerFacts, ContainerState};
use serde::Serialize;

use crate::probe::{Answer, Code, Kind, ProbeError};
use crate::resolver::{self, Action, ResolverError};
use crate::zone::Zone;

#[cfg(feature = "driver")]
mod gather;
#[cfg(feature = "driver")]
pub use gather::gather;
mod status;
pub use status::{Status, status};

/// Addresses that a name has, or what the resolver said.
pub type Lookup = Result<BTreeSet<IpAddr>, String>;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckFacts {
    /// The container of the environment's dnsmasq.
    pub container: Option<ContainerFacts>,
    /// The end of its log, where it does not run.
    pub log: String,
    /// What dnsmasq itself said to [`questions`].
    pub answers: BTreeMap<(String, Kind), Result<Answer, ProbeError>>,
    /// What the host's own resolver said (getaddrinfo(3)), by name.
    pub host: BTreeMap<String, Lookup>,
    /// The host, for its resolver.
    pub resolver: resolver::Facts,
    /// What a pod's resolver said, by name; empty where no pod was asked.
    pub pod: BTreeMap<String, Lookup>,
    /// Traefik's address in the cluster, which is what a pod should hear.
    pub traefik: Option<IpAddr>,
}

/// What an answer should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The zone's address and no other.
    Address,
    /// No error and no record.
    Empty,
    /// No such name.
    NoSuchName,
    /// The server does not answer for such names.
    Refused,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be asked.
    Skipped,
    /// It works, with a limit that a person should know.
    Warning,
    /// It does not work.
    Failed,
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The container runs.
    Container,
    /// The port is that of the zone.
    Port,
    /// dnsmasq answers.
    Server,
    /// The host's resolver is told of the domain.
    Resolver,
    /// Programs of this host get the address.
    Host,
    /// Programs in a pod get Traefik's address.
    Pod,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// What it is about.
    pub subject: Subject,
    /// What was asked, for example `shop.dev.me A`.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// Why it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn ok(subject: Subject, name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            subject,
            name: name.into(),
            verdict: Verdict::Ok,
            found: found.into(),
            cause: None,
            remedy: None,
        }
    }

    fn not_asked(subject: Subject, name: &str) -> Self {
        Self {
            verdict: Verdict::Skipped,
            ..Self::ok(subject, name, "not asked")
        }
    }

    fn because(mut self, verdict: Verdict, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        self.verdict = verdict;
        self.cause = Some(cause.into());
        self.remedy = Some(remedy.into());
        self
    }
}

/// A name that nobody uses: it shows whether the wildcard works, or whether an unknown name is unknown.
#[must_use]
pub fn unknown_name(zone: &Zone) -> String {
    format!("loko-check.{}", zone.domain)
}

/// What dnsmasq is asked, and what it should say: each known name by the types that browsers and C libraries ask for, a
/// name that nobody uses, and a name that is not of the zone.
#[must_use]
pub fn questions(zone: &Zone) -> Vec<(String, Kind, Expected)> {
    let own = Kind::of(zone.address);
    let other = Kind::other_family(zone.address);
    let mut list = Vec::new();
    for host in &zone.hosts {
        list.push((host.to_string(), own, Expected::Address));
        list.push((host.to_string(), other, Expected::Empty));
        list.push((host.to_string(), Kind::Https, Expected::Empty));
    }
    let unknown = unknown_name(zone);
    let (address, empty) = if zone.wildcard {
        (Expected::Address, Expected::Empty)
    } else {
        (Expected::NoSuchName, Expected::NoSuchName)
    };
    list.push((unknown.clone(), own, address));
    list.push((unknown, other, empty));
    // Reserved for such uses, and so never a zone (RFC 2606).
    list.push(("loko-check.invalid".to_owned(), own, Expected::Refused));
    list
}

/// Names that the host's resolver is asked for: the known ones, and with a wildcard one that nobody uses.
#[must_use]
pub fn host_names(zone: &Zone) -> Vec<String> {
    let mut names: Vec<String> = zone.hosts.iter().map(HostName::to_string).collect();
    if zone.wildcard {
        names.push(unknown_name(zone));
    }
    names
}

/// All checks, in the order in which a query passes through them.
#[must_use]
pub fn judge(zone: &Zone, facts: &CheckFacts) -> Vec<Check> {
    let mut checks = vec![container(zone, facts)];
    checks.extend(port(zone, facts));
    for (name, kind, expected) in questions(zone) {
        let answer = facts.answers.get(&(name.clone(), kind));
        checks.push(server(zone, &format!("{name} {kind}"), expected, answer));
    }
    let serves = checks.iter().all(|check| check.verdict != Verdict::Failed);
    let plan = resolver::set(zone, &facts.resolver);
    checks.push(resolver_check(&plan));
    let in_force = plan.as_ref().is_ok_and(|plan| plan.actions.is_empty());
    let by_hosts_file = plan.is_ok_and(|plan| plan.backend == Some(resolver::Kind::Hosts));
    for name in host_names(zone) {
        let limited = by_hosts_file && name == unknown_name(zone);
        checks.push(host(zone, &name, facts.host.get(&name), serves, in_force, limited));
    }
    checks.extend(facts.pod.iter().map(|(name, lookup)| pod(name, lookup, facts.traefik)));
    checks
}

/// Whether any failed: exit code 5.
#[must_use]
pub fn has_failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.verdict == Verdict::Failed)
}

fn container(zone: &Zone, facts: &CheckFacts) -> Check {
    let name = crate::container::name(&zone.environment);
    let Some(found) = &facts.container else {
        let check = Check::ok(Subject::Container, name, "not there");
        return check.because(
            Verdict::Failed,
            "it was never made, or removed by hand",
            "run `loko create`",
        );
    };
    let log = facts.log.trim();
    match found.state {
        ContainerState::Running => Check::ok(Subject::Container, name, "runs"),
        ContainerState::Created | ContainerState::Exited { code: 0 } | ContainerState::Paused => {
            let check = Check::ok(Subject::Container, name, "stopped");
            check.because(Verdict::Failed, "somebody stopped it", "run `loko start`")
        }
        ContainerState::Exited { .. } | ContainerState::Restarting | ContainerState::Dead => {
            let check = Check::ok(Subject::Container, name, "cannot stay up");
            check.because(Verdict::Failed, log, start_remedy(log))
        }
    }
}

/// What to do about what dnsmasq says when it does not start.
fn start_remedy(log: &str) -> &'static str {
    if log.contains("Address already in use") {
        "another program has the port: `ss -lnptu` names it; free the port or set `network.dns-port`, then `loko create`"
    } else if log.contains("Cannot assign requested address") {
        "`network.ip` is no address of this host: set it to one, or to `auto`, then `loko create`"
    } else if log.contains("inotify") {
        "raise the limit: `sysctl fs.inotify.max_user_instances=512`, then `loko start`"
    } else {
        "`loko logs dns` shows more; `loko create` makes it anew"
    }
}

fn port(zone: &Zone, facts: &CheckFacts) -> Option<Check> {
    let kept = crate::container::kept_port(facts.container.as_ref()?)?;
    let check = Check::ok(Subject::Port, zone.port.to_string(), kept.to_string());
    Some(if kept == zone.port {
        check
    } else {
        check.because(
            Verdict::Failed,
            "loko.yaml names another port than the one in use",
            "run `loko create`",
        )
    })
}

fn describe(answer: &Answer) -> String {
    if answer.addresses.is_empty() {
        let records = if answer.records == 0 {
            "empty".to_owned()
        } else {
            format!("{} records", answer.records)
        };
        return format!("{}, {records}", answer.code);
    }
    join(&answer.addresses)
}

fn join(addresses: &BTreeSet<IpAddr>) -> String {
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    list.join(", ")
}

fn server(zone: &Zone, name: &str, expected: Expected, answer: Option<&Result<Answer, ProbeError>>) -> Check {
    let answer = match answer {
        None => return Check::not_asked(Subject::Server, name),
        Some(Err(error)) => {
            let remedy = miette::Diagnostic::help(error).map_or_else(String::new, |help| help.to_string());
            let check = Check::ok(Subject::Server, name, "no answer");
            return check.because(Verdict::Failed, error.to_string(), remedy);
        }
        Some(Ok(answer)) => answer,
    };
    let only_address = answer.addresses == BTreeSet::from([zone.address]);
    let right = match expected {
        Expected::Address => answer.code == Code::NoError && only_address,
        Expected::Empty => answer.code == Code::NoError && answer.records == 0,
        Expected::NoSuchName => answer.code == Code::NxDomain,
        Expected::Refused => answer.code == Code::Refused,
    };
    let check = Check::ok(Subject::Server, name, describe(answer));
    if right {
        return check;
    }
    let wanted = match expected {
        Expected::Address => format!("{} was expected", zone.address),
        Expected::Empty => "an empty answer was expected".to_owned(),
        Expected::NoSuchName => "NXDOMAIN was expected".to_owned(),
        Expected::Refused => "REFUSED was expected: this server answers for other domains".to_owned(),
    };
    check.because(
        Verdict::Failed,
        format!("{wanted}; loko.yaml has changed, or another program has the port"),
        "run `loko create`; `ss -lnptu` names what has the port",
    )
}

fn resolver_check(plan: &Result<resolver::Plan, ResolverError>) -> Check {
    let plan = match plan {
        Err(error) => {
            let remedy = miette::Diagnostic::help(error).map_or_else(String::new, |help| help.to_string());
            let check = Check::ok(Subject::Resolver, "this host", "not set up");
            return check.because(Verdict::Failed, error.to_string(), remedy);
        }
        Ok(plan) => plan,
    };
    let Some(backend) = plan.backend else {
        let check = Check::ok(Subject::Resolver, "this host", "no way is known");
        return check.because(Verdict::Warning, "this system is not supported", plan.notes.join("; "));
    };
    let check = Check::ok(Subject::Resolver, backend.to_string(), "set up");
    if !plan.actions.is_empty() {
        let steps: Vec<String> = plan.actions.iter().map(Action::to_string).collect();
        let check = Check {
            found: "not set up".to_owned(),
            ..check
        };
        return check.because(
            Verdict::Failed,
            "it needs root once, and was not given it".to_owned(),
            format!("run `sudo loko dns set`, which does this: {}", steps.join("; ")),
        );
    }
    match plan.notes.first() {
        None => check,
        Some(note) => {
            let why: Vec<String> = plan
                .refused
                .iter()
                .map(|r| format!("{}: {}", r.backend, r.reason))
                .collect();
            check.because(
                Verdict::Warning,
                note.clone(),
                format!("why no better way was taken: {}", why.join("; ")),
            )
        }
    }
}

fn host(zone: &Zone, name: &str, lookup: Option<&Lookup>, serves: bool, in_force: bool, limited: bool) -> Check {
    let Some(lookup) = lookup else {
        return Check::not_asked(Subject::Host, name);
    };
    match lookup {
        Ok(addresses) if *addresses == BTreeSet::from([zone.address]) => {
            Check::ok(Subject::Host, name, join(addresses))
        }
        Ok(addresses) if addresses.contains(&zone.address) => {
            let check = Check::ok(Subject::Host, name, join(addresses));
            check.because(
                Verdict::Warning,
                "another source knows the name too",
                "look for the name in /etc/hosts, or choose a domain that is nobody's, such as one under `.test`",
            )
        }
        Ok(addresses) => {
            let check = Check::ok(Subject::Host, name, join(addresses));
            check.because(
                Verdict::Failed,
                "another server answers for the domain first",
                "look for the name in /etc/hosts; a VPN or a browser's own DNS (DoH) may also take all queries",
            )
        }
        Err(said) => {
            let check = Check::ok(Subject::Host, name, said.clone());
            if limited {
                check.because(
                    Verdict::Warning,
                    "/etc/hosts knows no wildcard",
                    format!(
                        "use `dig @{} -p {} {name}`, or a resolver that knows domains",
                        zone.server().ip(),
                        zone.port
                    ),
                )
            } else if !serves {
                check.because(
                    Verdict::Failed,
                    "dnsmasq itself does not answer as it should",
                    "mend what is above first",
                )
            } else if in_force {
                check.because(
                    Verdict::Failed,
                    "the host's resolver is set up, but does not ask dnsmasq",
                    "a VPN may have taken over; `loko dns set` sets it up again",
                )
            } else {
                check.because(
                    Verdict::Failed,
                    "the host's resolver does not know the domain",
                    "run `sudo loko dns set`",
                )
            }
        }
    }
}

fn pod(name: &str, lookup: &Lookup, traefik: Option<IpAddr>) -> Check {
    match lookup {
        Ok(addresses) if traefik.is_some_and(|address| *addresses == BTreeSet::from([address])) => {
            Check::ok(Subject::Pod, name, join(addresses))
        }
        Ok(addresses) => {
            let check = Check::ok(Subject::Pod, name, join(addresses));
            check.because(
                Verdict::Failed,
                "CoreDNS gives another address than Traefik's",
                "run `loko create`, which writes the Corefile anew",
            )
        }
        Err(said) => {
            let check = Check::ok(Subject::Pod, name, said.clone());
            check.because(
                Verdict::Failed,
                "CoreDNS does not know the name, or does not run",
                "`kubectl -n kube-system get pods -l k8s-app=kube-dns`; `loko create` writes the Corefile anew",
            )
        }
    }
}

#[cfg(test)]
mod tests;
