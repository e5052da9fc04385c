//! Custom resources of `traefik.io/v1alpha1`: the definitions of all ten kinds, and what we write of them.
//!
//! Traefik watches all ten, and serves nothing before it has listed each, so that not one may be missing. Our definitions
//! take any `spec`: Traefik checks what it reads, says in its log what it refuses, and a field of a later Traefik is not
//! lost. The Rust types hold only the fields that we write.

use std::borrow::Cow;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::routes::{ROUTERS_PATH, VERSION_PATH};
use super::{METRICS, NAMESPACE, WEBSECURE};
use crate::components::named;

/// The group of all of them.
pub const GROUP: &str = "traefik.io";

/// Declares kinds whose definitions take any `spec`.
macro_rules! kinds {
    ($($kind:ident, $name:literal, $plural:literal, $spec:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            #[doc = concat!("The `spec` of `", $name, "`, as far as we write it.")]
            #[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
            #[kube(group = "traefik.io", version = "v1alpha1", kind = $name, plural = $plural, namespaced)]
            #[serde(rename_all = "camelCase")]
            pub struct $spec {
                $($(#[$attribute])* pub $field: $type,)*
            }

            impl JsonSchema for $spec {
                fn schema_name() -> Cow<'static, str> {
                    Cow::Borrowed(stringify!($spec))
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    anything()
                }
            }
        )*

        /// The definitions of all ten kinds.
        #[must_use]
        pub fn all() -> Vec<CustomResourceDefinition> {
            vec![$($kind::crd()),*]
        }
    };
}

kinds! {
    IngressRoute, "IngressRoute", "ingressroutes", IngressRouteSpec {
        /// Names of entry points.
        entry_points: Vec<String>,
        /// Routes, by rule.
        routes: Vec<Route>,
        /// Given, even if empty: over TLS.
        #[serde(skip_serializing_if = "Option::is_none")]
        tls: Option<Tls>,
    }
    IngressRouteTCP, "IngressRouteTCP", "ingressroutetcps", IngressRouteTCPSpec {
        /// Names of entry points.
        entry_points: Vec<String>,
        /// Routes, by rule.
        routes: Vec<Route>,
        /// Given, even if empty: Traefik ends TLS with its default certificate.
        #[serde(skip_serializing_if = "Option::is_none")]
        tls: Option<Tls>,
    }
    IngressRouteUDP, "IngressRouteUDP", "ingressrouteudps", IngressRouteUDPSpec {
        /// Names of entry points.
        entry_points: Vec<String>,
        /// Routes; UDP knows no rules.
        routes: Vec<Route>,
    }
    Middleware, "Middleware", "middlewares", MiddlewareSpec {}
    MiddlewareTCP, "MiddlewareTCP", "middlewaretcps", MiddlewareTCPSpec {}
    ServersTransport, "ServersTransport", "serverstransports", ServersTransportSpec {
        /// The name that the server's certificate must have.
        server_name: String,
        /// Whom the server's certificate must be signed by.
        #[serde(rename = "rootCAs")]
        root_cas: Vec<RootCa>,
    }
    ServersTransportTCP, "ServersTransportTCP", "serverstransporttcps", ServersTransportTCPSpec {}
    TLSOption, "TLSOption", "tlsoptions", TLSOptionSpec {}
    TLSStore, "TLSStore", "tlsstores", TLSStoreSpec {
        /// What is served where no certificate fits.
        default_certificate: DefaultCertificate,
    }
    TraefikService, "TraefikService", "traefikservices", TraefikServiceSpec {}
}

/// One route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// A rule in Traefik's language: ``Host(`a.dev.me`)``, ``HostSNI(`*`)``.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `Rule`, for HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it leads.
    pub services: Vec<RouteService>,
}

/// Where a route leads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteService {
    /// Of a service in the same namespace, or of one of Traefik's own.
    pub name: String,
    /// `TraefikService` for Traefik's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The service's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// TLS of a route; empty as we write it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Of whom to get a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_resolver: Option<String>,
}

/// A certificate authority in a config map, under the key `ca.crt`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootCa {
    /// In the same namespace.
    pub config_map: String,
}

/// A certificate in a Secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefaultCertificate {
    /// In the same namespace.
    pub secret_name: String,
}

/// The store that Traefik takes its default certificate from: the one named `default`.
#[must_use]
pub(super) fn default_store(secret: &str) -> TLSStore {
    TLSStore {
        metadata: named("default", NAMESPACE),
        spec: TLSStoreSpec {
            default_certificate: DefaultCertificate {
                secret_name: secret.to_owned(),
            },
        },
    }
}

/// The route to the dashboard, which is part of Traefik.
#[must_use]
pub(super) fn dashboard(host: &str) -> IngressRoute {
    IngressRoute {
        metadata: named("traefik-dashboard", NAMESPACE),
        spec: IngressRouteSpec {
            tls: Some(Tls::default()),
            ..to_api(WEBSECURE, format!("Host(`{host}`)"))
        },
    }
}

/// The route to what Traefik says of its own routes, at an entry point that only the cluster reaches. Not to the whole of its
/// API, which shows passwords' hashes of middlewares.
#[must_use]
pub(super) fn routes() -> IngressRoute {
    let rule = format!("Path(`{VERSION_PATH}`) || Path(`{ROUTERS_PATH}`)");
    IngressRoute {
        metadata: named("traefik-routes", NAMESPACE),
        spec: to_api(METRICS, rule),
    }
}

fn to_api(entry_point: &str, rule: String) -> IngressRouteSpec {
    IngressRouteSpec {
        entry_points: vec![entry_point.to_owned()],
        routes: vec![Route {
            rule: Some(rule),
            kind: Some("Rule".to_owned()),
            services: vec![RouteService {
                name: "api@internal".to_owned(),
                kind: Some("TraefikService".to_owned()),
                port: None,
            }],
        }],
        tls: None,
    }
}

fn anything() -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
