//! A network as it is wanted and as it is.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::Serialize;

/// A bridge network as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// All its addresses.
    pub subnet: Ipv4Net,
    /// The part that the engine gives out by itself; the rest is ours to pin.
    pub ip_range: Ipv4Net,
    /// Largest packet, in bytes; `None`: the engine's default.
    pub mtu: Option<u16>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A network as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkFacts {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its IPv4 subnets.
    pub subnets: Vec<Ipv4Net>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Names of the containers on it that run.
    pub containers: Vec<String>,
    /// Driver options, among them the MTU.
    pub options: BTreeMap<String, String>,
}
