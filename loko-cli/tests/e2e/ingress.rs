//! What a user applies with kubectl, through our Traefik: Ingress, `IngressRoute` and Middleware; and the dashboard.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::environment::Environment;
use crate::run::{Output, eventually};
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "ingress",
    tests: &[
        Test(
            "a_rate_limit_refuses_what_is_too_much",
            &["curl", "dig", "kubectl"],
            rate_limit,
        ),
        Test(
            "basic_auth_asks_for_a_password",
            &["curl", "dig", "kubectl"],
            basic_auth,
        ),
        Test("large_answers_are_compressed", &["curl", "dig", "kubectl"], compression),
        Test("headers_are_set_both_ways", &["curl", "dig", "kubectl"], headers),
        Test(
            "a_prefix_is_stripped_by_an_ingress_route",
            &["curl", "dig", "kubectl"],
            strip_prefix,
        ),
        Test(
            "the_dashboard_is_there_only_where_it_is_wanted",
            &["curl", "dig"],
            dashboard,
        ),
    ],
};

const NAMESPACE: &str = "loko-workloads";

/// A Middleware, and an Ingress to `whoami` that goes through it; waits until Traefik leads there.
#[track_caller]
fn through(apps: &Environment, name: &str, spec: &Value) -> String {
    apps.up();
    let host = apps.host(name);
    apps.apply(&json!({
        "apiVersion": "traefik.io/v1alpha1", "kind": "Middleware",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    }));
    apps.apply(&json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {
            "traefik.ingress.kubernetes.io/router.middlewares": format!("{NAMESPACE}-{name}@kubernetescrd"),
        }},
        "spec": {"ingressClassName": "traefik", "rules": [{"host": host, "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "whoami", "port": {"number": 8080}}}},
        ]}}]},
    }));
    answers(apps, &host);
    host
}

/// Waits until a name leads anywhere: Traefik learns of objects by watching.
#[track_caller]
fn answers(apps: &Environment, host: &str) {
    eventually(Duration::from_mins(1), "Traefik knows the route", || {
        let code = code(apps, host, "/", &[]);
        // Nothing at all, nobody behind the edge, and no route yet.
        if ["000", "404", "502", "503"].contains(&code.as_str()) {
            Err(code)
        } else {
            Ok(())
        }
    });
}

/// The code of an answer; `000` where there is none.
#[track_caller]
fn code(apps: &Environment, host: &str, path: &str, more: &[&str]) -> String {
    let words = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let answer = apps
        .curl(host)
        .args(words)
        .args(more)
        .args([format!("https://{host}{path}")]);
    answer.any().text().to_owned()
}

/// An answer with its head.
#[track_caller]
fn whole(apps: &Environment, host: &str, path: &str, more: &[&str]) -> Output {
    let answer = apps.curl(host).args(["--include", "--fail"]).args(more);
    answer.args([format!("https://{host}{path}")]).ok()
}

fn rate_limit(suite: &Suite) {
    let apps = &suite.apps;
    // One an hour, and two at once.
    let host = through(
        apps,
        "limited",
        &json!({"rateLimit": {"average": 1, "period": "1h", "burst": 2}}),
    );
    let codes: BTreeSet<String> = (0..4).map(|_| code(apps, &host, "/headers", &[])).collect();
    assert!(codes.contains("429"), "{codes:?}");
    assert_eq!(
        code(apps, &apps.host("whoami"), "/headers", &[]),
        "200",
        "another route has no limit"
    );
}

fn basic_auth(suite: &Suite) {
    let apps = &suite.apps;
    apps.up();
    // The SHA-1 of `secret`, as htpasswd -s writes it.
    let users = "me:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    apps.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "users", "namespace": NAMESPACE},
        "stringData": {"users": users},
    }));
    let host = through(apps, "guarded", &json!({"basicAuth": {"secret": "users"}}));
    becomes(apps, &host, "/headers", "401");
    assert_eq!(code(apps, &host, "/headers", &["--user", "me:wrong"]), "401");
    assert_eq!(code(apps, &host, "/headers", &["--user", "me:secret"]), "200");
}

fn compression(suite: &Suite) {
    let apps = &suite.apps;
    let host = through(apps, "small", &json!({"compress": {}}));
    let head = [
        "--header",
        "Accept-Encoding: gzip",
        "--output",
        "/dev/null",
        "--dump-header",
        "-",
    ];
    let of = |host: &str| {
        let answer = apps.curl(host).args(head).args([format!("https://{host}/html")]).ok();
        answer.stdout.to_lowercase()
    };
    eventually(Duration::from_mins(1), "the answer is compressed", || {
        let answer = of(&host);
        if answer.contains("content-encoding: gzip") {
            Ok(())
        } else {
            Err(answer)
        }
    });
    let plain = of(&apps.host("whoami"));
    assert!(!plain.contains("content-encoding"), "{plain}");
}

fn headers(suite: &Suite) {
    let apps = &suite.apps;
    let spec = json!({"headers": {
        "customRequestHeaders": {"X-Shop": "open"}, "customResponseHeaders": {"X-Seen": "yes"}, "frameDeny": true,
    }});
    let host = through(apps, "headed", &spec);
    eventually(Duration::from_mins(1), "headers are set", || {
        let answer = whole(apps, &host, "/headers", &[]);
        let text = answer.stdout.to_lowercase();
        let all = ["x-seen: yes", "x-frame-options: deny", "\"x-shop\""];
        if all.iter().all(|header| text.contains(header)) {
            Ok(())
        } else {
            Err(text)
        }
    });
}

fn strip_prefix(suite: &Suite) {
    let apps = &suite.apps;
    apps.up();
    let host = apps.host("api");
    apps.apply(&json!({
        "apiVersion": "traefik.io/v1alpha1", "kind": "Middleware",
        "metadata": {"name": "strip", "namespace": NAMESPACE}, "spec": {"stripPrefix": {"prefixes": ["/v1"]}},
    }));
    apps.apply(&json!({
        "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute",
        "metadata": {"name": "api", "namespace": NAMESPACE},
        "spec": {"entryPoints": ["websecure"], "routes": [{
            "kind": "Rule", "match": format!("Host(`{host}`) && PathPrefix(`/v1`)"),
            "middlewares": [{"name": "strip"}], "services": [{"name": "whoami", "port": 8080}],
        }], "tls": {}},
    }));
    let seen = eventually(Duration::from_mins(1), "the route leads somewhere", || {
        let answer = apps
            .curl(&host)
            .args(["--fail", &format!("https://{host}/v1/headers")])
            .any();
        if answer.code == Some(0) {
            Ok(answer.json())
        } else {
            Err(answer.to_string())
        }
    });
    assert_eq!(seen["headers"]["X-Forwarded-Prefix"][0], "/v1", "{seen:#}");
}

fn dashboard(suite: &Suite) {
    let apps = &suite.apps;
    apps.up();
    let host = apps.host("traefik");
    // What the dashboard shows: its pages are not in the module that the test bed's Traefik is built from.
    let shown = "/api/version";
    assert_eq!(code(apps, &host, shown, &[]), "404");
    let on = "components:\n  ingress-controller: {dashboard: true}\n";
    apps.write(&apps.yaml.replace("components:\n", on));
    apps.loko("create").ok();
    becomes(apps, &host, shown, "200");
    let version = apps.get(&host, shown).json();
    assert!(version["Version"].is_string(), "{version}");
    apps.write(&apps.yaml);
    apps.loko("create").ok();
    becomes(apps, &host, shown, "404");
}

#[track_caller]
fn becomes(apps: &Environment, host: &str, path: &str, wanted: &str) {
    eventually(Duration::from_mins(1), &format!("{path} answers {wanted}"), || {
        let code = code(apps, host, path, &[]);
        if code == wanted { Ok(()) } else { Err(code) }
    });
}
