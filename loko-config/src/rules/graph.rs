//! `depends-on`: unknown names, disabled workloads, and circles.

use std::collections::BTreeMap;

use crate::names::WorkloadName;
use crate::problem::{Cause, Span};
use crate::read::{Cx, near};
use crate::resolve::{Placed, Resolved};

/// Circles that are printed: enough to see what is wrong, and a bound on the work.
const MAX_CYCLES: usize = 20;

pub(super) fn check(resolved: &Resolved, cx: &mut Cx<'_>) {
    let placed = &resolved.placed;
    let mut index: BTreeMap<&WorkloadName, usize> = BTreeMap::new();
    for (at, one) in placed.iter().enumerate() {
        index.entry(&one.workload.name).or_insert(at);
    }
    let mut edges: Vec<Vec<(usize, Span)>> = Vec::with_capacity(placed.len());
    for one in placed {
        let mut out: Vec<(usize, Span)> = Vec::new();
        for (name, span) in &one.depends_on {
            match index.get(name) {
                None => unknown(name, *span, &index, cx),
                Some(at) if out.iter().any(|(other, _)| other == at) => {
                    let found = name.to_string();
                    cx.error(*span, Cause::DuplicateEntry { found });
                }
                Some(at) => {
                    if one.workload.enabled && !placed[*at].workload.enabled {
                        let name = name.to_string();
                        cx.warning(*span, Cause::DisabledDependency { name });
                    }
                    out.push((*at, *span));
                }
            }
        }
        edges.push(out);
    }
    cycles(placed, &edges, cx);
}

fn unknown(name: &WorkloadName, span: Span, index: &BTreeMap<&WorkloadName, usize>, cx: &mut Cx<'_>) {
    let near = near(name.as_str(), index.keys().map(|name| name.as_str())).map(str::to_owned);
    let remedy = match &near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`depends-on` lists names of `workloads.system` and `workloads.user`".to_owned(),
    };
    let cause = Cause::UnknownReference {
        what: "workload",
        name: name.to_string(),
        near,
        remedy,
    };
    cx.error(span, cause);
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Depth-first search with a stack of its own, because a chain may be as long as the file.
fn cycles(placed: &[Placed], edges: &[Vec<(usize, Span)>], cx: &mut Cx<'_>) {
    let mut marks = vec![Mark::New; placed.len()];
    let mut found = 0;
    for root in 0..placed.len() {
        if marks[root] != Mark::New {
            continue;
        }
        let mut path: Vec<(usize, usize)> = vec![(root, 0)];
        marks[root] = Mark::Open;
        while let Some((at, next)) = path.last_mut() {
            let Some((to, span)) = edges[*at].get(*next).copied() else {
                marks[*at] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[to] {
                Mark::New => {
                    marks[to] = Mark::Open;
                    path.push((to, 0));
                }
                Mark::Open if found < MAX_CYCLES => {
                    found += 1;
                    let start = path.iter().position(|(at, _)| *at == to).unwrap_or(0);
                    let names = path[start..].iter().map(|(at, _)| *at).chain([to]);
                    let names: Vec<_> = names.map(|at| placed[at].workload.name.as_str()).collect();
                    let cycle = match names.len() {
                        0..=12 => names.join(" → "),
                        long => format!(
                            "{} → … ({} more) → {}",
                            names[..6].join(" → "),
                            long - 7,
                            names[long - 1]
                        ),
                    };
                    cx.error(span, Cause::DependencyCycle { cycle });
                }
                Mark::Open | Mark::Done => {}
            }
        }
    }
}
