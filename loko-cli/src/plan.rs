//! What `create` would do, as data: one change for each thing that differs, with what it costs and why. `loko diff` and
//! `create --dry-run` print it; `create` refuses by it, and has nothing to do where it is empty.
//!
//! ```text
//! facts of one component + what is wanted ─(a function of this module)─→ changes ─┐
//! …                                                                               ├→ Plan ─→ text, JSON
//! loko.yaml as it was applied + as it is  ─(cluster::settings)──────────→ changes ─┘
//! ```

pub(crate) mod cluster;
pub(crate) mod edge;
pub(crate) mod objects;

use serde::Serialize;

/// What a change costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// Nothing that runs is disturbed.
    Live,
    /// One component answers nothing for a moment, or loses its connections.
    RestartsComponent,
    /// It cannot be done in place: the nodes are made anew, when the user says so.
    NeedsRecreate,
}

/// What is done to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// It is not there.
    Create,
    /// It is there and stopped.
    Start,
    /// It is there and differs.
    Update,
    /// It is there and no longer wanted.
    Remove,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Change {
    /// The step of `create` that makes it.
    pub(crate) step: &'static str,
    /// What is done.
    pub(crate) action: Action,
    /// To what: `node loko-dev-worker`, `Deployment loko-workloads/web`.
    pub(crate) what: String,
    /// What it costs.
    pub(crate) effect: Effect,
    /// Why it is done, and why at that cost.
    pub(crate) reason: String,
}

/// Everything that differs between an environment and its loko.yaml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Plan {
    /// The environment.
    pub(crate) environment: String,
    /// In the order of the steps.
    pub(crate) changes: Vec<Change>,
    /// What could not be looked at, and why: it is compared when the steps run.
    pub(crate) unknown: Vec<String>,
}

impl Change {
    /// One that disturbs nothing.
    pub(crate) fn live(step: &'static str, action: Action, what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            step,
            action,
            what: what.into(),
            effect: Effect::Live,
            reason: reason.into(),
        }
    }

    /// The same at another cost.
    pub(crate) fn at(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }
}

impl Plan {
    /// A plan in the order of the steps; within one, as given.
    pub(crate) fn new(environment: &str, mut changes: Vec<Change>, unknown: Vec<String>) -> Self {
        let place = |step: &str| STEPS.iter().position(|known| *known == step).unwrap_or(STEPS.len());
        changes.sort_by_key(|change| place(change.step));
        Self {
            environment: environment.to_owned(),
            changes,
            unknown,
        }
    }

    /// Whether nothing is to be done, and all could be looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.unknown.is_empty()
    }

    /// Changes of one cost.
    pub(crate) fn of(&self, effect: Effect) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.effect == effect)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let unknown = self.unknown.iter().map(|what| format!("not looked at: {what}"));
        if self.changes.is_empty() {
            let nothing = format!("{}: nothing to do", self.environment);
            return std::iter::once(nothing).chain(unknown).collect::<Vec<_>>().join("\n");
        }
        let rows = self.changes.iter().map(|change| {
            [
                change.action.word().to_owned(),
                change.what.clone(),
                change.effect.word().to_owned(),
                change.reason.clone(),
            ]
        });
        let mut lines = vec![crate::output::table(["ACTION", "WHAT", "EFFECT", "WHY"], rows)];
        lines.extend(unknown);
        if self.of(Effect::NeedsRecreate).next().is_some() {
            lines.push(format!(
                "`loko create` refuses this; `loko recreate` makes the nodes of {} anew and keeps its data",
                self.environment
            ));
        }
        lines.join("\n")
    }
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Update => "update",
            Self::Remove => "remove",
        }
    }
}

impl Effect {
    fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::RestartsComponent => "restarts it",
            Self::NeedsRecreate => "needs --recreate",
        }
    }
}

/// The steps of `create` in the order in which a plan names them.
const STEPS: [&str; 19] = [
    "certificates",
    "secrets",
    "node-image",
    "network",
    "nodes",
    "kubeadm",
    "api",
    "images",
    "foundation",
    "services",
    "apply",
    "workloads",
    "workers",
    "metrics",
    "registry",
    "kubeconfig",
    "dns",
    "resolver",
    "edge",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_in_the_order_of_the_steps_and_says_what_it_costs() {
        let plan = Plan::new(
            "dev",
            vec![
                Change::live(
                    "edge",
                    Action::Update,
                    "HAProxy",
                    "other routes, listens on 127.0.0.1:6380",
                ),
                Change::live("dns", Action::Update, "dnsmasq", "another configuration").at(Effect::RestartsComponent),
                Change::live(
                    "nodes",
                    Action::Update,
                    "cluster.pod-subnet",
                    "10.244.0.0/16 → 10.9.0.0/16",
                )
                .at(Effect::NeedsRecreate),
            ],
            vec!["the cluster's objects: its nodes are stopped".to_owned()],
        );
        insta::assert_snapshot!(plan.text(), @"
        ACTION  WHAT                EFFECT            WHY
        update  cluster.pod-subnet  needs --recreate  10.244.0.0/16 → 10.9.0.0/16
        update  dnsmasq             restarts it       another configuration
        update  HAProxy             live              other routes, listens on 127.0.0.1:6380
        not looked at: the cluster's objects: its nodes are stopped
        `loko create` refuses this; `loko recreate` makes the nodes of dev anew and keeps its data
        ");
        assert!(!plan.is_empty());
    }

    #[test]
    fn nothing_to_do_is_said_in_a_sentence() {
        let plan = Plan::new("dev", Vec::new(), Vec::new());
        assert!(plan.is_empty());
        insta::assert_snapshot!(plan.text(), @"dev: nothing to do");
    }
}
