//! What an environment is doing: facts are read, a pure function judges them.

mod read;

use loko_cluster::readiness::{self, Readiness};
use loko_engine::ContainerState;
use serde::Serialize;
use serde_json::Value;

pub(crate) use read::read;

/// For how long after it was started something may be on its way, in seconds; after that it is down.
const GRACE: i64 = 120;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It does what it should.
    Up,
    /// loko.yaml says that it shall not be there.
    Disabled,
    /// It is on its way.
    Starting,
    /// It was stopped by `loko stop`.
    Stopped,
    /// It should be there, and is not, or does not answer.
    Down,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Disabled => "disabled",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Down => "down",
        }
    }
}

/// One line of the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Item {
    /// What it is.
    pub(crate) name: String,
    /// How it is.
    pub(crate) state: State,
    /// What it says, or waits for.
    pub(crate) detail: String,
    /// Where it is reached, if anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<String>,
}

/// An environment, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Status {
    /// Its name.
    pub(crate) environment: String,
    /// Its domain.
    pub(crate) domain: String,
    /// Where its names lead.
    pub(crate) address: String,
    /// The worst of all below.
    pub(crate) verdict: State,
    /// Why, in one sentence.
    pub(crate) summary: String,
    /// The Kubernetes API.
    pub(crate) cluster: Item,
    /// Nodes.
    pub(crate) nodes: Vec<Item>,
    /// The five components.
    pub(crate) components: Vec<Item>,
    /// Workloads that loko.yaml enables.
    pub(crate) workloads: Vec<Item>,
}

/// What is known of one thing in the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InCluster {
    /// Its name.
    pub(crate) name: String,
    /// The object, where it is there.
    pub(crate) object: Option<Value>,
    /// Seconds since it, or the node below it, was started; `None`: not known.
    pub(crate) age: Option<i64>,
    /// Where it is reached.
    pub(crate) addresses: Vec<String>,
}

/// Judges an object of the cluster. While `api` is not up nothing can be known of it.
pub(crate) fn in_cluster(found: InCluster, api: State) -> Item {
    let InCluster {
        name,
        object,
        age,
        addresses,
    } = found;
    let item = |state, detail: &str| Item {
        name,
        state,
        detail: detail.to_owned(),
        addresses,
    };
    if api != State::Up {
        return item(api, "the Kubernetes API does not answer");
    }
    let Some(object) = object else {
        return item(State::Down, "it is not in the cluster; `loko create` applies it");
    };
    match readiness::of(&object) {
        Readiness::Ready => item(State::Up, "ready"),
        Readiness::Waiting(why) => {
            let state = if age.is_some_and(|age| age < GRACE) {
                State::Starting
            } else {
                State::Down
            };
            item(state, &why)
        }
    }
}

/// Judges a container of ours by what it is doing; `answers` says whether it also does its work.
pub(crate) fn container(name: &str, state: Option<ContainerState>, answers: Option<&str>, detail: &str) -> Item {
    let (state, detail) = match state {
        None => (State::Down, "there is no container; `loko create` makes it".to_owned()),
        Some(ContainerState::Running) => match answers {
            None => (State::Up, detail.to_owned()),
            Some(problem) => (State::Down, problem.to_owned()),
        },
        Some(ContainerState::Exited { code }) => (State::Stopped, format!("ended with {code}")),
        Some(ContainerState::Created) => (State::Stopped, "was never started".to_owned()),
        Some(ContainerState::Paused) => (State::Stopped, "is paused".to_owned()),
        Some(ContainerState::Restarting) => (State::Down, "starts over and over".to_owned()),
        Some(ContainerState::Dead) => (State::Down, "is dead".to_owned()),
    };
    Item {
        name: name.to_owned(),
        state,
        detail,
        addresses: Vec::new(),
    }
}

/// The worst state of all, and why.
pub(crate) fn verdict<'a>(items: impl Iterator<Item = &'a Item> + Clone) -> (State, String) {
    let worst = items
        .clone()
        .map(|item| item.state)
        .filter(|state| *state != State::Disabled)
        .max()
        .unwrap_or(State::Up);
    let of_worst: Vec<&str> = items
        .filter(|item| item.state == worst)
        .map(|item| item.name.as_str())
        .collect();
    let summary = match worst {
        State::Up | State::Disabled => "everything answers".to_owned(),
        State::Starting | State::Stopped | State::Down => format!("{} {}", worst.as_str(), of_worst.join(", ")),
    };
    (worst, summary)
}

impl Status {
    /// Every line of it.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> + Clone {
        std::iter::once(&self.cluster)
            .chain(&self.nodes)
            .chain(&self.components)
            .chain(&self.workloads)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(available: i64) -> Value {
        json!({"kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 1},
            "status": {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": available}})
    }

    fn found(object: Option<Value>, age: i64) -> InCluster {
        InCluster {
            name: "metrics-server".into(),
            object,
            age: Some(age),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn what_is_young_is_starting_and_what_is_old_is_down() {
        assert_eq!(
            in_cluster(found(Some(deployment(0)), 10), State::Up).state,
            State::Starting
        );
        assert_eq!(
            in_cluster(found(Some(deployment(0)), GRACE), State::Up).state,
            State::Down
        );
        assert_eq!(
            in_cluster(found(Some(deployment(1)), GRACE), State::Up).state,
            State::Up
        );
        assert_eq!(in_cluster(found(None, 0), State::Up).state, State::Down);
    }

    #[test]
    fn without_an_api_nothing_in_the_cluster_is_up() {
        assert_eq!(
            in_cluster(found(Some(deployment(1)), 10), State::Stopped).state,
            State::Stopped
        );
    }

    #[test]
    fn the_verdict_is_the_worst_and_names_it() {
        let items = [
            container("a", Some(ContainerState::Running), None, "fine"),
            container("b", None, None, ""),
            Item {
                name: "c".into(),
                state: State::Disabled,
                detail: String::new(),
                addresses: Vec::new(),
            },
        ];
        assert_eq!(verdict(items.iter()), (State::Down, "down b".to_owned()));
        assert_eq!(verdict(items[..1].iter()), (State::Up, "everything answers".to_owned()));
    }
}
