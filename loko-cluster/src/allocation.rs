//! Node ports and cluster IPs that the API server says are taken, and what to do about it.
//!
//! The API server keeps what is allocated apart from the Services that hold it. A request that is cut off between the two leaves an
//! allocation that belongs to nobody. The API server frees it once it has found it so three times, and looks every three minutes
//! (`numRepairsBeforeLeakCleanup` and the interval in Kubernetes' `pkg/registry/core/service/portallocator/controller`); a restart
//! begins the count anew, so nothing is quicker than to wait.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::manifest::{ObjectKey, PART};

/// How long to wait for an allocation that nobody holds: three looks of the API server, and a minute for it to act.
pub const LIMIT: Duration = Duration::from_mins(10);
/// How long another of our objects may take to give up what it holds.
const OURS: Duration = Duration::from_secs(10);
/// How long a request that was cut off may still be under way.
const UNDER_WAY: Duration = Duration::from_secs(3);

/// What is allocated to one Service at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A port of every node.
    NodePort(u16),
    /// An address of the service subnet.
    ClusterIp(String),
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodePort(port) => write!(f, "the node port {port}"),
            Self::ClusterIp(address) => write!(f, "the cluster IP {address}"),
        }
    }
}

/// What to do about a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be free in a moment: ask again, and say nothing yet.
    Again,
    /// Nobody holds it: wait for the API server to find out.
    Wait {
        /// How long that may still take at most.
        left: Duration,
    },
    /// A Service holds it.
    Held {
        /// Which one.
        by: ObjectKey,
    },
    /// Nobody holds it, and [`LIMIT`] is over.
    Expired,
}

/// What the API refused with status `code` and `message` because it is taken; `None` where it refused for another reason.
#[must_use]
pub fn taken(code: u16, message: &str) -> Option<Taken> {
    if code != 422 {
        return None;
    }
    let last_word = |end| {
        let (before, _) = message.split_once(end)?;
        before.rsplit(' ').next()
    };
    if let Some(port) = last_word(": provided port is already allocated") {
        return Some(Taken::NodePort(port.parse().ok()?));
    }
    last_word(": provided IP is already allocated").map(|address| Taken::ClusterIp(address.to_owned()))
}

/// What to do where `service` was refused what is `taken`, was so first `waited` ago, and these are all Services of the cluster.
#[must_use]
pub fn decide(taken: &Taken, service: &ObjectKey, services: &[Value], waited: Duration) -> Verdict {
    let others = services.iter().map(|other| (key_of(other), other));
    let holder = others
        .filter(|(key, other)| key != service && holds(other, taken))
        .map(|(by, other)| (by, other["metadata"]["labels"][PART].is_string()))
        .next();
    match holder {
        // It may be about to change, or to go, by this very command.
        Some((_, true)) if waited < OURS => Verdict::Again,
        Some((by, _)) => Verdict::Held { by },
        None if waited < UNDER_WAY => Verdict::Again,
        None => match LIMIT.saturating_sub(waited) {
            Duration::ZERO => Verdict::Expired,
            left => Verdict::Wait { left },
        },
    }
}

/// What a person is told who waits.
#[must_use]
pub fn waiting(taken: &Taken, service: &ObjectKey, left: Duration) -> String {
    format!(
        "{service} waits for {taken}: a request that was cut off left it reserved, and no Service holds it; the API server \
         frees it when it has looked three times, three minutes apart: {} min at most",
        left.as_secs().div_ceil(60)
    )
}

fn key_of(service: &Value) -> ObjectKey {
    let text = |name: &str| service["metadata"][name].as_str().map(str::to_owned);
    ObjectKey {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        namespace: text("namespace"),
        name: text("name").unwrap_or_default(),
    }
}

fn holds(service: &Value, taken: &Taken) -> bool {
    let spec = &service["spec"];
    match taken {
        Taken::NodePort(port) => {
            let ports = spec["ports"].as_array().into_iter().flatten();
            let mut ports = ports.map(|one| &one["nodePort"]).chain([&spec["healthCheckNodePort"]]);
            ports.any(|one| *one == *port)
        }
        Taken::ClusterIp(address) => {
            let addresses = spec["clusterIPs"].as_array().into_iter().flatten();
            addresses.chain([&spec["clusterIP"]]).any(|one| one == address)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NODE_PORT: &str = "Service \"traefik\" is invalid: spec.ports[0].nodePort: Invalid value: 30081: provided port is already allocated";

    fn traefik() -> ObjectKey {
        key_of(&json!({"metadata": {"namespace": "loko-system", "name": "traefik"}}))
    }

    fn service(name: &str, labels: &Value, spec: &Value) -> Value {
        json!({"metadata": {"namespace": "shop", "name": name, "labels": labels}, "spec": spec})
    }

    fn after(seconds: u64, services: &[Value]) -> Verdict {
        decide(
            &Taken::NodePort(30081),
            &traefik(),
            services,
            Duration::from_secs(seconds),
        )
    }

    /// As Kubernetes 1.36 words them.
    #[test]
    fn what_is_taken_is_known_by_the_words_of_the_api() {
        assert_eq!(taken(422, NODE_PORT), Some(Taken::NodePort(30081)));
        let address = "Service \"kube-dns\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP \
                       10.96.0.10: provided IP is already allocated";
        assert_eq!(taken(422, address), Some(Taken::ClusterIp("10.96.0.10".to_owned())));
        assert_eq!(taken(409, NODE_PORT), None);
        assert_eq!(
            taken(
                422,
                "Service \"a\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range"
            ),
            None
        );
    }

    #[test]
    fn what_nobody_holds_is_waited_for_as_long_as_the_api_server_may_take() {
        let free = [
            service(
                "other",
                &json!({}),
                &json!({"ports": [{"nodePort": 30082}], "clusterIPs": ["10.96.0.7"]}),
            ),
            // What we are about to apply does not stand in its own way.
            json!({"metadata": {"namespace": "loko-system", "name": "traefik"}, "spec": {"ports": [{"nodePort": 30081}]}}),
        ];
        assert_eq!(after(0, &free), Verdict::Again);
        let left = Duration::from_mins(9);
        assert_eq!(after(60, &free), Verdict::Wait { left });
        assert!(LIMIT > 3 * Duration::from_mins(3), "three looks must fit in");
        assert_eq!(after(LIMIT.as_secs(), &free), Verdict::Expired);
        let said = waiting(&Taken::NodePort(30081), &traefik(), Duration::from_secs(541));
        assert!(
            said.starts_with("Service loko-system/traefik waits for the node port 30081"),
            "{said}"
        );
        assert!(said.ends_with("10 min at most"), "{said}");
    }

    #[test]
    fn a_service_of_somebody_elses_that_holds_it_is_named_at_once() {
        for spec in [
            json!({"ports": [{"nodePort": 30001}, {"nodePort": 30081}]}),
            json!({"healthCheckNodePort": 30081}),
        ] {
            let Verdict::Held { by } = after(0, &[service("web", &json!({"app": "web"}), &spec)]) else {
                panic!("{spec} holds it");
            };
            assert_eq!(by.to_string(), "Service shop/web");
        }
        let address = Taken::ClusterIp("10.96.0.10".to_owned());
        let services = [service("dns", &Value::Null, &json!({"clusterIP": "10.96.0.10"}))];
        let verdict = decide(&address, &traefik(), &services, Duration::ZERO);
        assert!(matches!(verdict, Verdict::Held { .. }), "{verdict:?}");
    }

    #[test]
    fn one_of_ours_is_given_a_moment_to_let_it_go() {
        let ours = [service(
            "db",
            &json!({PART: "workload-db"}),
            &json!({"ports": [{"nodePort": 30081}]}),
        )];
        assert_eq!(after(1, &ours), Verdict::Again);
        assert!(matches!(after(10, &ours), Verdict::Held { .. }));
    }
}
