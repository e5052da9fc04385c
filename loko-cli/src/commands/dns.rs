//! `loko dns …` and `loko config dns-check`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroU16;

use loko_cluster::ObjectKey;
use loko_cluster::driver::KubeApi;
use loko_config::names::HostName;
use loko_dns::check::{self, Check, Verdict};
use loko_dns::resolver::host::Host;
use loko_dns::zone::Zone;
use loko_engine::driver::ExecSpec;

use crate::args::Dns;
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::progress::Outcome;
use crate::{output, state, up};

/// Runs one of the commands.
pub(crate) async fn run(context: &Context, command: &Dns) -> Result<(), CliError> {
    match command {
        Dns::Status => status(context).await,
        Dns::Sync => sync(context).await,
        Dns::Set => set(context).await,
        Dns::Unset => unset(context).await,
    }
}

/// The zone at the port that its dnsmasq has.
async fn zone(platform: &Platform) -> Result<(Zone, loko_dns::plan::Facts), CliError> {
    let facts = loko_dns::driver::facts(&platform.engine, &platform.environment.name).await?;
    let port = facts.container.as_ref().and_then(loko_dns::container::kept_port);
    let none = || CliError::DnsDown {
        summary: format!("{} has no dnsmasq", platform.environment.name),
    };
    Ok((up::zone(platform, port.ok_or_else(none)?), facts))
}

async fn status(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let (zone, facts) = zone(&platform).await?;
    let resolver = Host::this().facts(&zone).await;
    let status = check::status(&zone, facts.container.as_ref(), &facts.cluster_names(), &resolver);
    output::formatted(context.global.output, &status, || {
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let names: Vec<String> = status.names.iter().map(ToString::to_string).collect();
        let resolver = status
            .resolver
            .map_or_else(|| "none".to_owned(), |kind| kind.to_string());
        let mut rows = vec![
            ["domain".to_owned(), status.domain.clone()],
            ["address".to_owned(), status.address.to_string()],
            ["server".to_owned(), status.server.clone()],
            ["running".to_owned(), yes(status.running)],
            ["wildcard".to_owned(), yes(status.wildcard)],
            ["names".to_owned(), names.join(" ")],
            ["host resolver".to_owned(), resolver],
        ];
        rows.extend(
            status
                .refused
                .iter()
                .map(|r| [format!("not by {}", r.backend), r.reason.clone()]),
        );
        rows.extend(status.missing.iter().map(|what| ["missing".to_owned(), what.clone()]));
        rows.extend(status.notes.iter().map(|note| ["note".to_owned(), note.clone()]));
        output::table(["WHAT", "IS"], rows)
    });
    if status.running {
        Ok(())
    } else {
        Err(CliError::DnsDown {
            summary: "dnsmasq does not run".to_owned(),
        })
    }
}

/// Takes over the host names of `Ingress` and `IngressRoute` objects, whoever applied them.
async fn sync(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let (zone, _) = zone(&platform).await?;
    let name = platform.environment.name.as_str();
    let kubeconfig = state::read(&context.home.kubeconfig(name))?.ok_or_else(|| CliError::Down {
        summary: format!("{name} was never created, or was destroyed"),
    })?;
    let api = KubeApi::new(&kubeconfig).await?;
    let names = names_in_cluster(&api).await?;
    let report = loko_dns::driver::sync(&platform.engine, &zone, &up::placement(&platform), &names).await?;
    // Where any name resolves, pods know these already.
    if !zone.wildcard {
        tell_pods(&api, &platform, names.clone()).await?;
    }
    // A resolver that knows domains has nothing to learn; /etc/hosts has.
    let line = context.progress.start("resolver", "looking at this host's resolver");
    let told = up::tell_resolver(context, &zone.with_names(names), &line).await;
    line.done(&told);
    output::formatted(context.global.output, &report, || {
        format!("{} names are known under {}", report.names, zone.domain)
    });
    Ok(())
}

/// Brings CoreDNS' configuration to the names.
async fn tell_pods(api: &KubeApi, platform: &Platform, names: BTreeSet<HostName>) -> Result<(), CliError> {
    let corefile = up::corefile(platform, names)?;
    let wanted = loko_cluster::wanted::names(&corefile)?;
    let mut live = api.live_objects().await?;
    live.retain(|key, _| wanted.iter().any(|manifest| manifest.key() == *key));
    let plan = loko_cluster::plan::objects(wanted, &live);
    if plan.is_empty() {
        return Ok(());
    }
    api.carry_out(&plan).await?;
    // A kubelet looks at a pod's files each minute, or at once when the pod itself changes.
    let now = jiff::Timestamp::now().to_string();
    let patch = serde_json::json!({"metadata": {"annotations": {"dev.loko.names": now}}});
    for pod in api.list("v1", "Pod", Some("kube-system"), "k8s-app=kube-dns").await? {
        let key = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: Some("kube-system".to_owned()),
            name: pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        };
        api.merge(&key, &patch).await?;
    }
    Ok(())
}

async fn names_in_cluster(api: &KubeApi) -> Result<BTreeSet<HostName>, CliError> {
    let mut names = BTreeSet::new();
    for ingress in api.list("networking.k8s.io/v1", "Ingress", None, "").await? {
        let rules = ingress["spec"]["rules"].as_array();
        names.extend(
            rules
                .into_iter()
                .flatten()
                .filter_map(|rule| rule["host"].as_str()?.parse::<HostName>().ok()),
        );
    }
    for kind in ["IngressRoute", "IngressRouteTCP"] {
        for route in api.list("traefik.io/v1alpha1", kind, None, "").await? {
            let routes = route["spec"]["routes"].as_array();
            for rule in routes.into_iter().flatten().filter_map(|route| route["match"].as_str()) {
                names.extend(loko_dns::rule::hosts(rule));
            }
        }
    }
    Ok(names)
}

async fn set(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let (zone, facts) = zone(&platform).await?;
    let zone = zone.with_names(facts.cluster_names());
    match up::tell_resolver(
        context,
        &zone,
        &context.progress.start("resolver", "looking at this host's resolver"),
    )
    .await
    {
        Outcome::Changed(what) => output::data(&what),
        Outcome::Unchanged => output::data("nothing to do"),
    }
    Ok(())
}

async fn unset(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let done = up::forget_resolver(context, &platform).await;
    output::data(&if done.is_empty() {
        "nothing to do".to_owned()
    } else {
        let lines: Vec<String> = done.iter().map(ToString::to_string).collect();
        lines.join("\n")
    });
    Ok(())
}

/// Asks everyone that should know the names, and says of each whether it does, why not, and what to do.
pub(crate) async fn run_check(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let facts = loko_dns::driver::facts(&platform.engine, &platform.environment.name).await?;
    let port = facts.container.as_ref().and_then(loko_dns::container::kept_port);
    let preferred = NonZeroU16::new(loko_dns::port::FIRST).unwrap_or(NonZeroU16::MIN);
    let zone = up::zone(&platform, port.unwrap_or(preferred)).with_names(facts.cluster_names());
    let mut facts = check::gather(&platform.engine, &zone, &Host::this()).await?;
    facts.traefik = loko_cluster::addresses::of(platform.environment.cluster.service_subnet)
        .ok()
        .map(|addresses| addresses.traefik.into());
    facts.pod = in_pod(context, &platform, &zone).await;
    let checks = check::judge(&zone, &facts);
    output::formatted(context.global.output, &checks, || text(&checks));
    if check::has_failed(&checks) {
        return Err(CliError::DnsDown {
            summary: format!("names under {} do not resolve everywhere", zone.domain),
        });
    }
    Ok(())
}

/// What the cluster's DNS says. It is asked at a pod of CoreDNS, through the node that it runs on: the host has no route to
/// pods on every engine, a node always does. Empty where no pod runs.
async fn in_pod(context: &Context, platform: &Platform, zone: &Zone) -> BTreeMap<String, check::Lookup> {
    let mut found = BTreeMap::new();
    let Ok(Some(kubeconfig)) = state::read(&context.home.kubeconfig(platform.environment.name.as_str())) else {
        return found;
    };
    let Some((node, ..)) = loko_cluster::nodes::names(&platform.environment).next() else {
        return found;
    };
    let Ok(addresses) = loko_cluster::addresses::of(platform.environment.cluster.service_subnet) else {
        return found;
    };
    if KubeApi::new(&kubeconfig).await.is_err() {
        return found;
    }
    for name in check::host_names(zone) {
        // getent in a mount namespace of its own whose resolv.conf names the cluster's DNS, as a pod's does.
        let script = format!(
            "printf 'nameserver {}\\noptions timeout:2 attempts:1\\n' >/tmp/loko-resolv.conf && \
             unshare -m sh -c 'mount --bind /tmp/loko-resolv.conf /etc/resolv.conf && getent ahostsv4 {name}'",
            addresses.dns
        );
        let spec = ExecSpec::new(["sh", "-c", script.as_str()]);
        let lookup = match platform.engine.exec(&node, &spec).await {
            Ok(output) if output.code == 0 => {
                let fields = output.text();
                Ok(fields
                    .lines()
                    .filter_map(|line| line.split_whitespace().next()?.parse().ok())
                    .collect())
            }
            Ok(_) => Err("no such name".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        found.insert(name, lookup);
    }
    found
}

fn text(checks: &[Check]) -> String {
    let mark = |verdict: Verdict| match verdict {
        Verdict::Ok => "ok",
        Verdict::Skipped => "skipped",
        Verdict::Warning => "warning",
        Verdict::Failed => "FAILED",
    };
    let rows = checks
        .iter()
        .map(|check| [mark(check.verdict).to_owned(), check.name.clone(), check.found.clone()]);
    let mut text = output::table(["", "CHECK", "FOUND"], rows);
    for check in checks
        .iter()
        .filter(|check| check.cause.is_some() || check.remedy.is_some())
    {
        let _ = write!(
            text,
            "\n{}: {}",
            check.name,
            check.cause.as_deref().unwrap_or(&check.found)
        );
        if let Some(remedy) = &check.remedy {
            let _ = write!(text, "\n  → {remedy}");
        }
    }
    text
}
