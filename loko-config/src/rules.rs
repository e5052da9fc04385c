//! Rules over several keys: what no single value can know.

mod graph;
mod network;
mod nodes;
mod workloads;

use crate::load::LoadOptions;
use crate::raw::RawFile;
use crate::read::Cx;
use crate::resolve::Resolved;

/// Reports every broken rule.
pub(crate) fn check(raw: &RawFile, resolved: &Resolved, options: &LoadOptions, cx: &mut Cx<'_>) {
    network::check(raw, resolved, options, cx);
    nodes::check(raw, resolved, cx);
    workloads::check(raw, resolved, options, cx);
    graph::check(resolved, cx);
}
