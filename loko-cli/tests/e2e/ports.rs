//! TCP ports of workloads on the host, and a pod that is a client of them.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};

use crate::environment::Environment;
use crate::run::{Run, eventually, find};
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "ports",
    tests: &[
        Test("valkey_answers_through_the_hosts_port", &["dig"], valkey),
        Test("every_port_is_named_with_whose_it_is", &[], checked),
        Test("every_way_in_is_shown_and_mended", &["dig"], tunnels),
    ],
};

/// A pod with curl, dig and valkey-cli, and the authority at /loko/ca.crt.
pub(crate) const CLIENT: &str = "e2e-client";

fn valkey(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let address = quick.resolve(&quick.host("valkey"));
    assert_eq!(ping(&address, "6379"), "PONG");
}

fn checked(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let uses = |report: &Value| -> BTreeSet<String> {
        let ports = report["ports"].as_array().unwrap();
        ports.iter().map(|port| port["use"].to_string()).collect()
    };
    let report = quick.loko("config port-check -o json").ok().json();
    assert_eq!(uses(&report), BTreeSet::from(["\"own\"".to_owned()]), "{report:#}");

    // Of an environment that is not there: all free, then each held in another way.
    let busy = &suite.busy;
    let more = format!(
        "{}    - {{name: echo, image: \"testbed/wire:1\", ports: [9007/udp]}}\n",
        busy.yaml
    );
    let more = more.replace(", domain:", ", lb-ports: {http: 8085}, domain:");
    assert!(more.contains("8085"), "{more}");
    busy.write(&more);
    let free = busy.loko("config port-check -o json").ok().json();
    assert!(
        uses(&free).contains("\"free\"") && !uses(&free).contains("\"taken\""),
        "{free:#}"
    );
    // A socket of all addresses, IPv6's among them, takes the port of this one as well.
    let http = TcpListener::bind("[::]:8085")
        .or_else(|_| TcpListener::bind("0.0.0.0:8085"))
        .unwrap();
    let https = TcpListener::bind((busy.address.as_str(), 443)).unwrap();
    let datagrams = UdpSocket::bind((busy.address.as_str(), 9007)).unwrap();
    let taken = busy.loko("config port-check").ends_with(1);
    let report = busy.loko("config port-check -o json").ends_with(1).json();
    drop((https, datagrams));
    busy.write(&busy.yaml);
    let own = std::process::id();
    let process = fs_err::read_to_string("/proc/self/comm").unwrap();
    taken.says(&format!("{}:443/tcp in use", busy.address));
    for (port, protocol) in [(443, "tcp"), (9007, "udp")] {
        let address = format!("{}:{port}", busy.address);
        let mut ports = report["ports"].as_array().unwrap().iter();
        let port = ports.find(|port| port["address"] == address.as_str() && port["protocol"] == protocol);
        let owner = &port.unwrap()["conflicts"][0]["owner"];
        assert_eq!(owner["pid"], own, "{report:#}");
        assert_eq!(owner["process"], process.trim(), "{report:#}");
        assert!(owner["user"].is_string(), "{report:#}");
    }
    let any = http.local_addr().unwrap();
    taken.says(&format!("{}:8085 is in use (as {any})", busy.address));
}

fn tunnels(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let address = quick.resolve(&quick.host("valkey"));
    let way = |status: &Value, port: u16| -> Value {
        let address = format!("{}:{port}", quick.address);
        let mut ways = status["tunnels"].as_array().unwrap().iter();
        match ways.find(|way| way["address"] == address.as_str()) {
            Some(way) => way.clone(),
            None => panic!("no way in at {address}: {status:#}"),
        }
    };
    let mut session = session::open(&address, "6379");
    assert_eq!(session.ping(), "PONG");
    let status = quick.loko("tunnel status -o json").ok().json();
    for (port, entry_point) in [(80, "web"), (443, "websecure")] {
        let way = way(&status, port);
        assert_eq!(
            (way["state"].as_str(), way["entry-point"].as_str()),
            (Some("up"), Some(entry_point))
        );
    }
    let valkey = way(&status, 6379);
    assert_eq!(
        (&valkey["workload"], &valkey["state"]),
        (&json!("valkey"), &json!("up"))
    );
    assert!(valkey["entry-point"].as_str().unwrap().starts_with("tcp"), "{valkey:#}");
    assert_eq!(valkey["nodes"][quick.node()]["up"], true, "{valkey:#}");
    let number = |way: &Value, key: &str| way["traffic"][key].as_u64().unwrap();
    assert!(
        number(&valkey, "now") >= 1 && number(&valkey, "total") >= 1,
        "{valkey:#}"
    );
    for _ in 0..3 {
        assert_eq!(ping(&address, "6379"), "PONG");
    }
    // Bytes of a connection count when it ends.
    let more = eventually(Duration::from_secs(20), "three connections more are counted", || {
        let more = way(&quick.loko("tunnel status -o json").ok().json(), 6379);
        let counted = number(&more, "total") >= number(&valkey, "total") + 3 && number(&more, "bytes_in") > 0;
        if counted { Ok(more) } else { Err(format!("{more:#}")) }
    });
    assert!(number(&more, "bytes_out") > 0, "{more:#}");
    quick
        .loko("tunnel status")
        .ok()
        .says("PORT TO ENTRY POINT NODES NOW TOTAL IN OUT STATE")
        .says(&format!("{}:6379/tcp valkey", quick.address))
        .says("Counted since HAProxy's last change");
    quick.loko("tunnel sync").ok();
    quick.loko("tunnel sync").ok().says("nothing to do");

    // A file that a person changed is not what is served; it is seen, and mended while the session goes on.
    let edge = [
        "exec",
        "loko-haproxy",
        "sed",
        "-i",
        "s/^# Revision .*/# Revision 0000000000000000/",
    ];
    let file = "/usr/local/etc/haproxy/haproxy.cfg";
    Run::new("docker").args(edge).args([file]).ok();
    quick.loko("tunnel status").ok().says("`loko tunnel sync` mends it");
    quick.loko("tunnel sync").ok().says("synced");
    let served = Run::new("docker").words("exec loko-haproxy cat").args([file]).ok();
    served.says(&format!("{}: workload valkey at {}:6379", quick.name, quick.address));
    assert_eq!(session.ping(), "PONG");
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
