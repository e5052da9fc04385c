//! Traefik's static configuration.

use loko_config::model::{Acme, AcmeChallenge, Protocol};
use loko_config::slots::{PING_NODE_PORT, Slot, WEB_NODE_PORT, WEBSECURE_NODE_PORT};

use super::{ACME_RESOLVER, METRICS_PORT, TraefikInput, WEB, WEBSECURE};
use crate::components::NAMESPACE;

/// Where the ACME account and its certificates are kept.
pub(super) const ACME_STORAGE: &str = "/data";
/// Where the ACME server's own root is mounted.
pub(super) const ACME_CA: &str = "/etc/loko/acme";

/// Traefik's arguments (v3.7: `docs/content/reference/static-configuration/cli-ref.md`).
///
/// Every entry point listens inside the pod on the number of its NodePort, all above 1024, so that no privilege is needed.
#[must_use]
pub fn arguments(input: &TraefikInput<'_>) -> Vec<String> {
    let mut list: Vec<String> = FIXED.iter().map(|&argument| argument.to_owned()).collect();
    let mut set = |key: &str, value: &str| list.push(format!("--{key}={value}"));
    let trusted = input.trusted_proxies.trunc().to_string();

    let https = format!(":{}", input.lb_ports.https);
    set("entrypoints.web.address", &format!(":{WEB_NODE_PORT}"));
    set("entrypoints.web.http.redirections.entrypoint.to", &https);
    set("entrypoints.web.http.redirections.entrypoint.scheme", "https");
    set("entrypoints.web.proxyprotocol.trustedips", &trusted);

    set("entrypoints.websecure.address", &format!(":{WEBSECURE_NODE_PORT}"));
    set("entrypoints.websecure.asdefault", "true");
    set("entrypoints.websecure.http.tls", "true");
    set("entrypoints.websecure.proxyprotocol.trustedips", &trusted);
    // Pushing a large image takes longer than the default of 60 seconds for reading one request.
    set("entrypoints.websecure.transport.respondingtimeouts.readtimeout", "0s");
    // No forwardedheaders.trustedips: nobody between a client and Traefik writes X-Forwarded-For, and who sends one is not
    // believed. The PROXY header gives the client's address.

    set("entrypoints.ping.address", &format!(":{PING_NODE_PORT}"));
    set("entrypoints.metrics.address", &format!(":{METRICS_PORT}"));

    for slot in Slot::all(Protocol::Tcp) {
        set(
            &format!("entrypoints.{slot}.address"),
            &format!(":{}/tcp", slot.node_port()),
        );
    }
    for slot in Slot::all(Protocol::Udp) {
        set(
            &format!("entrypoints.{slot}.address"),
            &format!(":{}/udp", slot.node_port()),
        );
        // The default of 3 seconds ends conversations in which a side thinks.
        set(&format!("entrypoints.{slot}.udp.timeout"), "60s");
    }

    set("providers.kubernetesingress.ingressendpoint.ip", &input.ip.to_string());
    set("providers.kubernetescrd.defaulttlsresourcesnamespace", NAMESPACE);
    // Only [`super::routes`] leads to it, and the dashboard where it is asked for.
    set("api", "true");
    set("api.dashboard", &input.dashboard.to_string());
    if input.dashboard {
        set("api.disabledashboardad", "true");
    }
    if let Some(acme) = input.acme {
        list.extend(resolver(acme));
    }
    list.extend_from_slice(input.arguments);
    list
}

const FIXED: [&str; 13] = [
    "--global.checknewversion=false",
    "--global.sendanonymoususage=false",
    // One line for each request, which is what one looks for. Traefik's own log keeps its default level, ERROR: above it are
    // 60 lines at each start about headers of entry points that speak no HTTP.
    "--accesslog=true",
    "--ping=true",
    "--ping.entrypoint=ping",
    "--metrics.prometheus=true",
    "--metrics.prometheus.entrypoint=metrics",
    // The default of two seconds between two changes is felt by whoever waits for a route.
    "--providers.providersthrottleduration=100ms",
    "--providers.kubernetesingress=true",
    // A service whose pods are not ready yet answers 503, not 404.
    "--providers.kubernetesingress.allowemptyservices=true",
    "--providers.kubernetescrd=true",
    "--providers.kubernetescrd.allowemptyservices=true",
    // Names such as `<namespace>-<middleware>@kubernetescrd` in annotations, as Traefik's documentation writes them.
    "--providers.kubernetescrd.safenaming=false",
];

/// Routes ask for it by name: `traefik.ingress.kubernetes.io/router.tls.certresolver: acme`, or `tls.certResolver`.
fn resolver(acme: &Acme) -> Vec<String> {
    let prefix = format!("--certificatesresolvers.{ACME_RESOLVER}.acme");
    let mut list = vec![
        format!("{prefix}.email={}", acme.email),
        format!("{prefix}.caserver={}", acme.server),
        format!("{prefix}.storage={ACME_STORAGE}/acme.json"),
        format!("{prefix}.keytype=EC256"),
    ];
    list.push(match acme.challenge {
        AcmeChallenge::Tls => format!("{prefix}.tlschallenge=true"),
        AcmeChallenge::Http => format!("{prefix}.httpchallenge.entrypoint={WEB}"),
    });
    if acme.ca.is_some() {
        list.push(format!("{prefix}.cacertificates={ACME_CA}/ca.crt"));
    }
    list
}

const _: () = assert!(matches!(WEB.as_bytes(), b"web") && matches!(WEBSECURE.as_bytes(), b"websecure"));
