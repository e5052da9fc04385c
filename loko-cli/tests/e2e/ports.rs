//! TCP ports of workloads on the host, and a pod that is a client of them.

use std::time::Duration;

use crate::environment::Environment;
use crate::run::{Run, find};
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "ports",
    tests: &[Test("valkey_answers_through_the_hosts_port", &["dig"], valkey)],
};

/// A pod with curl, dig and valkey-cli, and the authority at /loko/ca.crt.
pub(crate) const CLIENT: &str = "e2e-client";

fn valkey(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let address = quick.resolve(&quick.host("valkey"));
    assert_eq!(ping(&address, "6379"), "PONG");
}

/// `valkey-cli ping`, or what Debian has instead of it; without either, the same bytes.
#[track_caller]
pub(crate) fn ping(address: &str, port: &str) -> String {
    match ["valkey-cli", "redis-cli"]
        .into_iter()
        .find(|program| find(program).is_some())
    {
        Some(program) => {
            let output = Run::new(program)
                .args(["-h", address, "-p", port, "ping"])
                .limit(Duration::from_secs(20));
            output.ok().text().to_owned()
        }
        None => session::open(address, port).ping(),
    }
}

/// A session of a database client that stays open.
pub(crate) mod session {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpStream;
    use std::time::Duration;

    #[derive(Debug)]
    pub(crate) struct Session(BufReader<TcpStream>);

    pub(crate) fn open(address: &str, port: &str) -> Session {
        let stream = TcpStream::connect((address, port.parse::<u16>().unwrap())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Session(BufReader::new(stream))
    }

    impl Session {
        /// The inline command of the Redis protocol and its answer.
        pub(crate) fn ping(&mut self) -> String {
            self.0.get_mut().write_all(b"PING\r\n").unwrap();
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            line.trim().trim_start_matches('+').to_owned()
        }
    }
}

/// Runs the client pod and waits until it can be used.
#[track_caller]
pub(crate) fn client(environment: &Environment) {
    let manifest = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": CLIENT, "namespace": "loko-workloads"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "client", "image": "testbed/tools:1", "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "infinity"],
                "volumeMounts": [{"name": "ca", "mountPath": "/loko"}],
            }],
            "volumes": [{"name": "ca", "configMap": {"name": "loko-ca"}}],
        },
    });
    load(environment, "testbed/tools:1");
    environment.apply(&manifest);
    environment
        .kubectl(&format!(
            "wait --namespace loko-workloads --for=condition=Ready --timeout=120s pod/{CLIENT}"
        ))
        .ok();
}

/// Puts an image of the engine into the nodes, as users of kind do.
#[track_caller]
pub(crate) fn load(environment: &Environment, image: &str) {
    environment
        .place
        .run("kind")
        .args(["load", "docker-image", image, "--name", &environment.cluster()])
        .ok();
}
