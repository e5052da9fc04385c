//! What is away for a while: a node, an address of the host, the engine. The rest goes on, and what comes back is used again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clients::{Clients, Crowd};
use crate::environment::{Environment, item};
use crate::ports::ping;
use crate::run::{Run, eventually};
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "absence",
    tests: &[
        Test(
            "a_node_that_runs_traefik_goes_and_comes_back",
            &["curl", "dig", "kubectl"],
            node,
        ),
        Test(
            "an_address_that_changes_is_noticed_and_mended",
            &["curl", "dig", "ip"],
            address,
        ),
        Test(
            "an_engine_that_restarts_brings_everything_back",
            &["curl", "dig"],
            engine,
        ),
        Test(
            "an_engine_that_goes_during_a_create_is_gone_on_from",
            &["curl", "dig"],
            engine_during_a_create,
        ),
    ],
};

/// How long errors may last when a node goes.
const ERRORS: Duration = Duration::from_secs(5);

fn node(suite: &Suite) {
    let pair = &suite.pair;
    pair.up();
    pair.write(&pair.yaml.replace(
        "      control-plane: {allow-workloads: false}\n",
        "      control-plane: {allow-workloads: false, isolate-internal-components: false}\n",
    ));
    pair.loko("create").ok();
    let nodes: Vec<String> = [pair.node()]
        .into_iter()
        .chain(["worker", "worker2"].map(|worker| format!("{}-{worker}", pair.cluster())))
        .collect();
    let up = |wanted: &[&String]| {
        eventually(Duration::from_mins(3), "the nodes are as they should be", || {
            let status = pair.loko("tunnel status -o json").any().json();
            let ways = status["tunnels"].as_array().cloned().unwrap_or_default();
            let as_wanted = |way: &Value| {
                nodes
                    .iter()
                    .all(|node| way["nodes"][node]["up"] == wanted.contains(&node))
            };
            if !ways.is_empty() && ways.iter().all(as_wanted) {
                Ok(())
            } else {
                Err(format!("{status:#}"))
            }
        });
    };
    up(&nodes.iter().collect::<Vec<_>>());

    // Not the one that the database is on.
    let database = pair
        .kubectl("get pods --namespace loko-workloads --selector app.kubernetes.io/name=valkey -o jsonpath={.items[0].spec.nodeName}")
        .ok();
    let gone = nodes[1..].iter().find(|node| *node != database.text()).unwrap();
    let clients = Clients::start(
        &pair.resolve(&pair.host("valkey")),
        6379,
        Crowd {
            reconnecting: 20,
            pause: Duration::from_millis(50),
            holding: 0,
        },
    );
    Run::new("docker").words("stop --time 2").args([gone]).ok();
    up(&nodes.iter().filter(|node| *node != gone).collect::<Vec<_>>());
    // What is on its way then has ended some seconds later.
    let quiet = clients.connections();
    eventually(Duration::from_mins(1), "clients go on", || {
        if clients.connections() > quiet + 1000 {
            Ok(())
        } else {
            Err(clients.connections().to_string())
        }
    });
    let troubles = clients.troubles();
    let (first, last) = (troubles.first().map(|it| it.at), troubles.last().map(|it| it.at));
    let lasted = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
    println!("measured: a node went: {} errors in {lasted:?}", troubles.len());
    assert!(lasted <= ERRORS, "{lasted:?}: {troubles:?}");

    Run::new("docker").words("start").args([gone]).ok();
    let started = Instant::now();
    up(&nodes.iter().collect::<Vec<_>>());
    println!("measured: it took connections {:?} after its start", started.elapsed());
    let back = clients.connections();
    eventually(Duration::from_mins(2), "clients go on over all nodes", || {
        if clients.connections() > back + 3000 {
            Ok(())
        } else {
            Err(clients.connections().to_string())
        }
    });
    let (connections, all) = clients.end();
    println!(
        "measured: {connections} connections, {} errors after it came back",
        all.len() - troubles.len()
    );
    assert_eq!(all.len(), troubles.len(), "{:?}", &all[troubles.len()..]);

    pair.write(&pair.yaml);
    pair.loko("create").ok();
    suite.settled(pair);
}

/// TEST-NET-2 (RFC 5737): addresses of nobody, which this host is given for the time of a test.
const BEFORE: &str = "198.51.100.7";
const AFTER: &str = "198.51.100.8";
/// What `network.ip: lan` looks up the route to; the address that the host would be seen from is the route's.
const ASKED: &str = "192.0.2.1/32";

/// An address of this host, behind which the rest of the world seems to be; taken away when it is dropped.
#[derive(Debug)]
struct Lan(&'static str);

impl Lan {
    /// `None` where this host may not be given one.
    fn at(address: &'static str) -> Option<Self> {
        let lan = Self(address);
        let made = ip(&format!("address add {address}/32 dev lo"))
            && ip(&format!("route replace {ASKED} dev lo src {address}"));
        made.then_some(lan)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        ip(&format!("route del {ASKED} dev lo src {}", self.0));
        ip(&format!("address del {}/32 dev lo", self.0));
    }
}

fn ip(words: &str) -> bool {
    Run::new("ip").words(words).any().code == Some(0)
}

fn address(suite: &Suite) {
    let (quick, pair) = (&suite.quick, &suite.pair);
    quick.up();
    pair.up();
    let Some(before) = Lan::at(BEFORE) else {
        println!("skipped: this host cannot be given an address");
        return;
    };
    let network = format!("  domain: {}\n", quick.domain);
    let (start, end) = quick.yaml.split_once(&network).unwrap();
    let end = end.trim_start_matches(&format!("  ip: {}\n", quick.address));
    quick.write(&format!("{start}{network}  ip: lan\n{end}"));
    quick.loko("create").ok();
    answers_at(quick, BEFORE);

    drop(before);
    let after = Lan::at(AFTER).unwrap();
    // The rest keeps serving, and what happened is said.
    pair.answers();
    let status = quick.loko("tunnel status").ends_with(3);
    status
        .says(&format!("{BEFORE}:443/tcp"))
        .says("address not on this host");
    let status = quick.loko("status -o json").ends_with(3).json();
    let haproxy = item(&status, "components", "haproxy");
    assert_ne!(haproxy["state"], "up", "{status:#}");
    pair.loko("tunnel status").ok();

    quick.loko("create").ok();
    answers_at(quick, AFTER);
    quick.loko("tunnel status").ok().says(&format!("{AFTER}:443/tcp"));
    pair.answers();

    quick.write(&quick.yaml);
    quick.loko("create").ok();
    drop(after);
    quick.answers();
    suite.settled(quick);
}

#[track_caller]
fn answers_at(quick: &Environment, address: &str) {
    assert_eq!(quick.resolve(&quick.host("whoami")), address);
    quick.answers();
    assert_eq!(ping(address, "6379"), "PONG");
}

/// `LOKO_E2E_RESTART` is a command line that restarts the engine; others who use it would notice.
fn restart(suite: &Suite) -> Option<Run> {
    let Some(restart) = std::env::var_os("LOKO_E2E_RESTART").filter(|_| suite.is_alone()) else {
        println!("skipped: LOKO_E2E_RESTART is not set, or others use this engine");
        return None;
    };
    Some(Run::new("sh").args(["-c".into(), restart]))
}

fn engine(suite: &Suite) {
    let Some(restart) = restart(suite) else { return };
    let environments = [&suite.quick, &suite.pair];
    for environment in environments {
        environment.up();
    }
    restart.ok();
    // No command: what answers is what the engine starts by itself.
    for environment in environments {
        let host = environment.host("whoami");
        eventually(Duration::from_mins(4), &format!("{host} answers again"), || {
            let address = &environment.address;
            let answer = environment
                .place
                .run("curl")
                .words("--silent --show-error --fail --max-time 5 --noproxy * --cacert")
                .args([environment.place.authority().into_os_string()])
                .args([
                    "--resolve".to_owned(),
                    format!("{host}:443:{address}"),
                    format!("https://{host}/headers"),
                ])
                .any();
            if answer.code == Some(0) {
                Ok(())
            } else {
                Err(answer.to_string())
            }
        });
        eventually(Duration::from_mins(2), "everything is up", || {
            let status = environment.status();
            if status["verdict"] == "up" {
                Ok(())
            } else {
                Err(format!("{status:#}"))
            }
        });
        assert_eq!(ping(&environment.resolve(&environment.host("valkey")), "6379"), "PONG");
        environment.answers();
        suite.settled(environment);
    }
}

fn engine_during_a_create(suite: &Suite) {
    let Some(restart) = restart(suite) else { return };
    let beaten = &suite.beaten;
    beaten.write(&beaten.yaml);
    beaten.loko("destroy --yes").ok();
    let creating = beaten.loko("create --keep -o json").start();
    creating.writes(Duration::from_mins(3), "that kubeadm starts", |line| {
        let said: Value = serde_json::from_str(line).unwrap_or_default();
        said["step"] == "kubeadm" && said["event"] == "started"
    });
    restart.ok();
    let broken = creating.wait();
    assert!(broken.code.is_some_and(|code| (1..10).contains(&code)), "{broken}");
    broken.says("loko::");
    beaten.loko("create").ok();
    beaten.answers();
    suite.settled(beaten);
    beaten.loko("destroy --yes").ok();
}
