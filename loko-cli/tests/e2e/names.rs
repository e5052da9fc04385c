//! Names: what dnsmasq, this host and pods say of the domain.

use std::time::Duration;

use serde_json::{Value, json};

use crate::environment::Environment;
use crate::run::Run;
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "names",
    tests: &[
        Test("any_name_has_the_address", &["dig"], any_name),
        Test("aaaa_and_https_are_empty_and_no_error", &["dig"], empty_answers),
        Test("a_name_of_somebody_else_is_refused", &["dig"], others_names),
        Test("this_host_resolves_the_workloads_names", &["getent"], host_resolver),
        Test("the_check_says_what_is_wrong_and_ends_with_5", &["docker"], check),
        Test(
            "names_of_objects_in_the_cluster_come_and_go",
            &["curl", "dig", "kind", "kubectl"],
            sync,
        ),
    ],
};

fn any_name(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    for (name, how) in [
        ("anything", ""),
        ("whoami", ""),
        ("deep.below", ""),
        ("anything", "+tcp"),
    ] {
        let answer = quick.dig(&format!("{how} +short {} A", quick.host(name)));
        assert_eq!(answer.text(), quick.address, "{answer}");
    }
    assert_eq!(quick.dig(&format!("+short {} A", quick.domain)).text(), quick.address);
}

fn empty_answers(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    for kind in ["AAAA", "HTTPS"] {
        quick
            .dig(&format!("{} {kind}", quick.host("whoami")))
            .says("status: NOERROR")
            .says("ANSWER: 0");
    }
}

fn host_resolver(suite: &Suite) {
    let quick = &suite.quick;
    let steps = quick.up().report["steps"].as_array().unwrap();
    let told = steps.iter().find(|step| step["step"] == "resolver");
    if told.is_none_or(|step| step["outcome"]["changed"].is_null()) {
        println!("skipped: create could not, or need not, set up this host's resolver");
        return;
    }
    for name in ["whoami", "valkey"] {
        let found = Run::new("getent").args(["ahostsv4", &quick.host(name)]).ok();
        assert!(found.stdout.starts_with(&quick.address), "{found}");
    }
}

fn others_names(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    // `quick.loko.test` must not answer for `notquick.loko.test`, nor for the world.
    for name in [format!("not{}", quick.domain), "example.com".to_owned()] {
        quick
            .dig(&format!("{name} A"))
            .says("status: REFUSED")
            .says("ANSWER: 0");
    }
}

/// Verdicts of `config dns-check`, by subject.
#[track_caller]
fn verdicts(checks: &Value, subject: &str) -> Vec<String> {
    let checks = checks.as_array().unwrap().iter();
    let of_it = checks.filter(|check| check["subject"] == subject);
    let verdicts: Vec<String> = of_it
        .map(|check| check["verdict"].as_str().unwrap().to_owned())
        .collect();
    assert!(!verdicts.is_empty(), "nothing is said of the {subject}");
    verdicts
}

fn check(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let all = |verdicts: Vec<String>, wanted: &str| verdicts.iter().all(|verdict| verdict == wanted);
    let checks = quick.loko("config dns-check -o json").any().json();
    for subject in ["container", "port", "server", "pod"] {
        assert!(all(verdicts(&checks, subject), "ok"), "{subject}: {checks:#}");
    }
    let dnsmasq = format!("loko-{}-dnsmasq", quick.name);
    Run::new("docker").args(["stop", &dnsmasq]).ok();
    let failed = quick.loko("config dns-check -o json").any();
    let said = quick.loko("config dns-check").any();
    let status = quick.loko("dns status").any();
    Run::new("docker").args(["start", &dnsmasq]).ok();
    assert_eq!((failed.code, said.code, status.code), (Some(5), Some(5), Some(5)));
    let checks = failed.json();
    assert!(all(verdicts(&checks, "server"), "failed"), "{checks:#}");
    // Pods have a server of their own.
    assert!(all(verdicts(&checks, "pod"), "ok"), "{checks:#}");
    said.says("somebody stopped it").says("run `loko start`");
    suite.settled(quick);
}

/// Asks again until the answer is as wanted: a moment for dnsmasq, some seconds for CoreDNS.
#[track_caller]
fn becomes(mut ask: impl FnMut() -> String, wanted: &str) {
    let mut last = String::new();
    for _ in 0..180 {
        last = ask();
        if last == wanted {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("{last}, not {wanted}");
}

fn rule(pair: &Environment, host: &str) -> [Value; 2] {
    let meta = |name: &str| json!({"name": name, "namespace": "loko-workloads"});
    let backend = json!({"service": {"name": "whoami", "port": {"number": 8080}}});
    [
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta("late"),
            "spec": {"rules": [
                {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}},
                // Somebody else's domain is not ours to answer.
                {"host": "late.elsewhere.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}},
            ]},
        }),
        json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": meta("late"),
            "spec": {
                "entryPoints": ["websecure"],
                "routes": [{
                    "kind": "Rule",
                    "match": format!("Host(`{}`) && PathPrefix(`/`)", pair.host("route")),
                    "services": [{"name": "whoami", "port": 8080}],
                }],
                "tls": {},
            },
        }),
    ]
}

/// Objects that a user applied have names only after `dns sync` where the zone knows no wildcard; on this host and in pods.
fn sync(suite: &Suite) {
    let pair = &suite.pair;
    pair.up();
    crate::ports::client(pair);
    let hosts = [pair.host("late"), pair.host("route")];
    let unknown = |host: &String| {
        pair.dig(&format!("{host} A")).says("status: NXDOMAIN");
    };
    hosts.iter().for_each(unknown);
    let exec = format!("exec --namespace loko-workloads {} --", crate::ports::CLIENT);
    let in_pod = |host: &str| {
        pair.kubectl(&format!("{exec} dig +short {host} A"))
            .ok()
            .text()
            .to_owned()
    };
    let traefik = in_pod(&pair.host("whoami"));
    assert!(traefik.parse::<std::net::Ipv4Addr>().is_ok(), "{traefik}");
    let on_host = |host: &str| {
        let found = Run::new("getent").args(["ahostsv4", host]).any();
        found.stdout.split_whitespace().next().unwrap_or_default().to_owned()
    };
    // Without root, and with resolvers that cannot be told, nothing of the domain is known here.
    let host_knows = on_host(&pair.host("whoami")) == pair.address;

    let objects = rule(pair, &hosts[0]);
    for object in &objects {
        pair.apply(object);
    }
    let synced = pair.loko("dns sync -o json").ok().json();
    assert_eq!(synced["change"], "names", "{synced:#}");
    for host in &hosts {
        becomes(
            || pair.dig(&format!("+short {host} A")).text().to_owned(),
            &pair.address,
        );
        becomes(|| in_pod(host), &traefik);
        if host_knows {
            becomes(|| on_host(host), &pair.address);
        }
        // By name, the certificate checked: from here, and from a pod with the authority that it is offered. Each CoreDNS learns of
        // the name in its own time, and which of them a pod asks is chance.
        pair.get(host, "/headers");
        let path = format!("--cacert /loko/ca.crt https://{host}/headers");
        let curl = format!("{exec} curl -sS --max-time 20 --output /dev/null --write-out %{{http_code}} {path}");
        becomes(|| pair.kubectl(&curl).any().text().to_owned(), "200");
    }
    pair.dig("late.elsewhere.test A").says("status: REFUSED");
    // What the cluster holds is what create holds to.
    suite.settled(pair);

    pair.kubectl("delete --namespace loko-workloads ingress/late ingressroute.traefik.io/late")
        .ok();
    pair.loko("dns sync").ok();
    for host in &hosts {
        becomes(|| pair.dig(&format!("+short {host} A")).text().to_owned(), "");
        unknown(host);
        becomes(|| in_pod(host), "");
    }
    suite.settled(pair);
}
