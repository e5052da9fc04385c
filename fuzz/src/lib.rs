//! One property per parser and renderer, as functions from bytes that panic where the property breaks.
//!
//! See the README for how seeds are replayed and how a target is added.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a property says that it broke")]

pub mod cluster_catalogue;
pub mod cluster_certificate;
pub mod cluster_secrets;
pub mod cluster_workloads;
pub mod config_edit;
pub mod config_load;
pub mod config_variables;
pub mod config_versions;
pub mod dns_conf;
pub mod dns_hosts_block;
pub mod dns_message;
pub mod dns_resolv_conf;
pub mod dns_rule;
pub mod haproxy_configuration;
pub mod haproxy_routes;
pub mod haproxy_statistics;
pub mod haproxy_tables;
pub mod mutate;
pub mod registry_headers;
pub mod registry_hosts;
pub mod registry_manifest;
pub mod registry_versions;

/// A property over bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The module's name, and that of its folder under `seeds/`.
    pub name: &'static str,
    /// Panics where the property breaks.
    pub check: fn(&[u8]),
}

/// Every target, in the order of their names.
pub const TARGETS: &[Target] = &[
    Target {
        name: "cluster_catalogue",
        check: cluster_catalogue::check,
    },
    Target {
        name: "cluster_certificate",
        check: cluster_certificate::check,
    },
    Target {
        name: "cluster_secrets",
        check: cluster_secrets::check,
    },
    Target {
        name: "cluster_workloads",
        check: cluster_workloads::check,
    },
    Target {
        name: "config_edit",
        check: config_edit::check,
    },
    Target {
        name: "config_load",
        check: config_load::check,
    },
    Target {
        name: "config_variables",
        check: config_variables::check,
    },
    Target {
        name: "config_versions",
        check: config_versions::check,
    },
    Target {
        name: "dns_conf",
        check: dns_conf::check,
    },
    Target {
        name: "dns_hosts_block",
        check: dns_hosts_block::check,
    },
    Target {
        name: "dns_message",
        check: dns_message::check,
    },
    Target {
        name: "dns_resolv_conf",
        check: dns_resolv_conf::check,
    },
    Target {
        name: "dns_rule",
        check: dns_rule::check,
    },
    Target {
        name: "haproxy_configuration",
        check: haproxy_configuration::check,
    },
    Target {
        name: "haproxy_routes",
        check: haproxy_routes::check,
    },
    Target {
        name: "haproxy_statistics",
        check: haproxy_statistics::check,
    },
    Target {
        name: "haproxy_tables",
        check: haproxy_tables::check,
    },
    Target {
        name: "registry_headers",
        check: registry_headers::check,
    },
    Target {
        name: "registry_hosts",
        check: registry_hosts::check,
    },
    Target {
        name: "registry_manifest",
        check: registry_manifest::check,
    },
    Target {
        name: "registry_versions",
        check: registry_versions::check,
    },
];
